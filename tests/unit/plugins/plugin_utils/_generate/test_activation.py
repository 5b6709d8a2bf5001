"""What is generated, and the start-up hook in real interpreters with stub libraries that share one SONAME."""

from __future__ import annotations

import configparser
import hashlib
import importlib.util
import io
import json
import os
import resource
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._generate.activation import (
    BODIES,
    digest,
    generation_digests,
    generation_files,
    host_digests,
    host_files,
)

PACKAGES = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
ENVIRONMENT: dict[str, Any] = {
    "scope": "system", "prefix": "/opt/podsmith", "home": "/root", "name": "2-torch", "pytorch": True,
    "path": "/opt/podsmith/environments/2-torch", "site_packages": PACKAGES,
    "constraints": ["torch==2.9.1+cu130", "a==1"], "compat_enabled": False, "compat_path": None,
}  # fmt: skip
MACHINE = os.uname().machine
FLAGS = {"x86_64": 0x0303, "aarch64": 0x0A03}
# The answers of what a later dlopen by name finds: libcuda as torch asks for it, the compiler as libcuda does.
ASK = """
import ctypes
print(*(ctypes.CDLL(f"{name}.so.1").answer() for name in ("libcuda", "libnvidia-ptxjitcompiler")))
"""


def test_digest_is_the_sha256_of_utf8() -> None:
    assert digest("é\n") == hashlib.sha256("é\n".encode()).hexdigest()


def test_generation_files_stand_where_python_and_pip_look() -> None:
    assert [file.path for file in generation_files(ENVIRONMENT)] == [
        "activate.sh",
        "constraints.txt",
        "pip.conf",
        f"{PACKAGES}/_podsmith_cuda.py",
        f"{PACKAGES}/_podsmith_cuda.pth",
    ]


def test_a_generation_says_what_it_was_built_for() -> None:
    contents = {file.path: file.content for file in generation_files(ENVIRONMENT | {"identity": "abc"})}
    assert json.loads(contents["generation.json"]) == {"identity": "abc"}


def test_without_pytorch_there_is_only_the_activation() -> None:
    assert [file.path for file in generation_files(ENVIRONMENT | {"pytorch": False})] == ["activate.sh"]


def test_every_file_says_who_overwrites_it() -> None:
    files = [file for file in generation_files(ENVIRONMENT) + host_files(ENVIRONMENT) if not file.block]
    assert {
        file.path for file in files if "podsmith.gpu; edits are overwritten" not in file.content.splitlines()[0]
    } == {f"{PACKAGES}/_podsmith_cuda.pth"}


def test_a_path_file_must_hold_one_import_only() -> None:
    """What site finds in it besides an import it takes for a folder."""
    contents = {file.path: file.content for file in generation_files(ENVIRONMENT)}
    assert contents[f"{PACKAGES}/_podsmith_cuda.pth"] == "import _podsmith_cuda\n"


def test_pip_reads_the_constraints_without_any_activation() -> None:
    contents = {file.path: file.content for file in generation_files(ENVIRONMENT)}
    config = configparser.ConfigParser()
    config.read_string(contents["pip.conf"])
    assert config["install"]["constraint"] == "/opt/podsmith/environments/2-torch/constraints.txt"
    assert contents["constraints.txt"].splitlines()[1:] == ["torch==2.9.1+cu130", "a==1"]


def test_system_scope_reaches_every_shell() -> None:
    files = {file.path: (file.block, file.mode) for file in host_files(ENVIRONMENT)}
    assert files == {
        "/opt/podsmith/activate.sh": (False, "0644"),
        "/etc/profile.d/podsmith.sh": (False, "0644"),
        "/etc/bash.bashrc": (True, "0644"),
        "/etc/environment": (True, "0644"),
        "/root/.bashrc": (True, "0644"),
    }


def test_user_scope_stays_inside_the_prefix() -> None:
    files = host_files(ENVIRONMENT | {"scope": "user"})
    assert [file.path for file in files] == ["/opt/podsmith/activate.sh"]


def test_what_cannot_check_the_driver_only_points_at_what_can() -> None:
    files = host_files(ENVIRONMENT | {"compat_enabled": True, "compat_path": "/c"})
    contents = {file.path: file.content for file in files}
    assert contents["/etc/environment"] == "BASH_ENV=/opt/podsmith/activate.sh\n"
    assert not any("LD_LIBRARY_PATH" in content for content in contents.values())


def test_digests_are_keyed_as_they_are_observed() -> None:
    files = {file.path: file.content for file in generation_files(ENVIRONMENT)}
    found = generation_digests(ENVIRONMENT)
    assert list(found) == [
        "activate.sh",
        "constraints.txt",
        "pip.conf",
        "site-packages/_podsmith_cuda.py",
        "site-packages/_podsmith_cuda.pth",
    ]
    assert found["site-packages/_podsmith_cuda.py"] == digest(files[f"{PACKAGES}/_podsmith_cuda.py"])
    assert host_digests(ENVIRONMENT)["/root/.bashrc"] == digest(host_files(ENVIRONMENT)[-1].content)


def test_an_absent_key_means_unset() -> None:
    least = {"prefix": "/p", "path": "/p/environments/1"}
    same = least | dict.fromkeys(("cuda_home", "cutlass_home", "compat_path", "arch_list", "constraints", "home"))
    assert generation_files(least) == generation_files(same)
    assert host_files(least) == host_files(same)


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path, str, int], None]:
    """Lay out one stub libcuda as the driver and the compat packages do."""
    compiler = shutil.which("gcc")
    if not compiler:
        pytest.skip("needs gcc")
    work = tmp_path_factory.mktemp("stubs")

    def put(directory: Path, version: str, answer: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        for name in ("libcuda.so", "libnvidia-ptxjitcompiler.so"):
            library = work / f"{name}.{answer}"
            if not library.exists():
                source = work / f"{answer}.c"
                source.write_text(f"int answer(void) {{ return {answer}; }}\n")
                argv = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{name}.1", "-o", str(library), str(source)]
                subprocess.run(argv, check=True)
            shutil.copy(library, directory / f"{name}.{version}")
            (directory / f"{name}.1").symlink_to(f"{name}.{version}")

    return put


def load_hook() -> Any:
    """The hook's functions alone; nothing is called."""
    spec = importlib.util.spec_from_file_location("hook", BODIES / "_podsmith_cuda.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HOOK = load_hook()


def cache_of(entries: Sequence[tuple[int, str]], before: bytes = b"") -> bytes:
    """A loader's cache: flags and path of each entry, in its order; ``before`` is what stands before the new format."""
    strings, rows = b"", b""
    at = 48 + 24 * len(entries)
    for flags, path in entries:
        key = at + len(strings)
        strings += Path(path).name.encode() + b"\0"
        rows += struct.pack("<iIIIQ", flags, key, at + len(strings), 0, 0)
        strings += path.encode() + b"\0"
    head = b"glibc-ld.so.cache1.1" + struct.pack("<II", len(entries), len(strings)) + bytes(20)
    return before + head + rows + strings


class Generation:
    """A real virtual environment with our files, a driver library, a compat library and a stale foreign one."""

    def __init__(self, root: Path, build: Callable[[Path, str, int], None]) -> None:
        self.root = root
        self.compat = root / "cuda-13.0" / "compat"
        self.foreign = root / "cuda-12.8" / "compat"
        self.native = root / "host" / "usr" / "lib64"
        self.path = root / "environments" / "1"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(self.path)], check=True)
        build(self.compat, "580.95.05", 13)
        build(self.foreign, "570.26", 12)
        self.build = build

    def put_driver(self, version: str | None, *, library: bool = True) -> None:
        shutil.rmtree(self.root / "host", ignore_errors=True)
        if version is None:
            return
        file = self.root / "host/sys/module/nvidia/version"
        file.parent.mkdir(parents=True)
        file.write_text(f"{version}\n")
        if library:
            self.build(self.native, version, 1)
            self.put_cache(self.native)

    def put_cache(self, *folders: Path) -> None:
        """What the loader of this host knows, in its order."""
        root = self.root / "host"
        (root / "etc").mkdir(parents=True, exist_ok=True)
        paths = [f"/{folder.relative_to(root)}/libcuda.so.1" for folder in folders]
        (root / "etc/ld.so.cache").write_bytes(cache_of([(FLAGS[MACHINE], path) for path in paths]))

    def write(self, *, enabled: bool = True, sysroot: str | None = None, **changes: Any) -> None:
        environment = {
            "prefix": str(self.root), "path": str(self.path), "pytorch": True, "site_packages": PACKAGES,
            "compat_enabled": enabled, "compat_path": str(self.compat), "constraints": [], **changes,
        }  # fmt: skip
        for file in generation_files(environment, sysroot=str(self.root / "host") if sysroot is None else sysroot):
            (self.path / file.path).write_text(file.content)

    def run(self, code: str, library_path: str | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": "/usr/bin:/bin", **variables} | (
            {} if library_path is None else {"LD_LIBRARY_PATH": library_path}
        )
        argv = [str(self.path / "bin/python"), "-c", code]
        return subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def generation(tmp_path: Path, build: Callable[[Path, str, int], None]) -> Generation:
    return Generation(tmp_path, build)


@pytest.mark.parametrize(
    ("driver", "enabled", "library_path", "answer"),
    [
        pytest.param("570.26", True, None, 13, id="older-driver-without-any-shell"),
        pytest.param("570.26", True, "{native}", 13, id="older-driver-behind-another-libcuda"),
        pytest.param("580.159.04", True, "{native}", 1, id="newer-driver"),
        pytest.param("580.159.04", True, "{compat}", 1, id="newer-driver-own-compat-left-behind"),
        pytest.param("580.159.04", True, "{foreign}:{native}", 1, id="newer-driver-foreign-compat"),
        pytest.param("575.57.08", True, "{foreign}", 13, id="older-driver-foreign-compat"),
        pytest.param("570.26", False, "{compat}", 1, id="refused-compat-left-behind"),
        pytest.param(None, True, "{foreign}", 12, id="no-driver-nothing-known"),
    ],
)
def test_the_library_that_a_later_dlopen_finds(
    generation: Generation, driver: str | None, library_path: str | None, answer: int, *, enabled: bool
) -> None:
    generation.put_driver(driver)
    generation.write(enabled=enabled)
    paths = {"compat": generation.compat, "foreign": generation.foreign, "native": generation.native}
    done = generation.run(ASK, library_path.format(**paths) if library_path else None)
    assert (done.stdout, done.stderr) == (f"{answer} {answer}\n", "")


@pytest.mark.parametrize(
    ("driver", "models", "branches", "answer"),
    [
        pytest.param("570.26", ["NVIDIA H200"], (535, 570), 13, id="listed"),
        pytest.param("560.35.03", ["NVIDIA H200"], (535, 570), 1, id="branch-not-listed"),
        pytest.param("570.26", ["NVIDIA GeForce RTX 4090"], (535, 570), 1, id="geforce"),
        pytest.param("570.26", ["NVIDIA GeForce RTX 4090", "NVIDIA L4"], (), 1, id="one-of-two"),
        pytest.param("570.26", ["NVIDIA GeForce RTX 4090 not given", "NVIDIA L4"], (), 13, id="not-given-here"),
    ],
)
def test_where_the_compat_library_is_of_no_use_the_drivers_own_is_found(
    generation: Generation, driver: str, models: list[str], branches: tuple[int, ...], answer: int
) -> None:
    generation.put_driver(driver)
    for number, model in enumerate(models):
        folder = generation.root / f"host/proc/driver/nvidia/gpus/{number}"
        folder.mkdir(parents=True)
        (folder / "information").write_text(f"Model: \t\t {model}\nDevice Minor: \t {number}\n")
        device = generation.root / f"host/dev/nvidia{number}"
        device.parent.mkdir(exist_ok=True)
        if not model.endswith("not given"):
            device.touch()
    generation.write(compat_branches=branches)
    done = generation.run(ASK, str(generation.native))
    assert (done.stdout, done.stderr) == (f"{answer} {answer}\n", "")


@pytest.mark.parametrize("library_path", ["{compat}", "/a:{foreign}", "{wsl}:{foreign}"])
def test_on_wsl2_windows_library_is_found_behind_a_compat_directory(generation: Generation, library_path: str) -> None:
    wsl = generation.root / "host/usr/lib/wsl/lib"
    generation.build(wsl, "9", 2)
    (wsl / "libcuda.so.9").replace(wsl / "libcuda.so.1")
    generation.write(enabled=True)
    paths = {"compat": generation.compat, "foreign": generation.foreign, "wsl": wsl}
    code = 'import ctypes, os; print(ctypes.CDLL("libcuda.so.1").answer(), os.environ.get("LD_LIBRARY_PATH"))'
    done = generation.run(code, library_path.format(**paths))
    assert (done.stdout.split()[0], done.stderr) == ("2", "")
    assert "compat" not in done.stdout


def test_without_the_hook_the_foreign_library_wins(generation: Generation) -> None:
    """What the table above heals: the stubs behave like the real thing."""
    done = generation.run(ASK, f"{generation.foreign}:{generation.native}")
    assert done.stdout == "12 12\n"


@pytest.mark.parametrize(
    ("driver", "before", "after"),
    [
        pytest.param("570.26", None, "{compat}", id="on"),
        pytest.param("570.26", "/a:", "{compat}:/a:", id="on-first"),
        pytest.param("580.159.04", "{compat}:/a", "/a", id="off"),
        pytest.param("580.159.04", "{foreign}", None, id="off-foreign"),
        pytest.param("580.159.04", "/a:/b", "/a:/b", id="untouched"),
    ],
)
def test_children_inherit_the_same_choice(
    generation: Generation, driver: str, before: str | None, after: str | None
) -> None:
    generation.put_driver(driver)
    generation.write()
    paths = {"compat": generation.compat, "foreign": generation.foreign}
    code = 'import os; print(os.environ.get("LD_LIBRARY_PATH"))'
    done = generation.run(code, before.format(**paths) if before else None)
    assert done.stdout == (after.format(**paths) if after else "None") + "\n"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({}, "EAGER expandable_segments:True None", id="unset"),
        pytest.param({"CUDA_MODULE_LOADING": "LAZY"}, "LAZY expandable_segments:True None", id="set"),
        pytest.param({"CUDA_MODULE_LOADING": ""}, " expandable_segments:True None", id="set-to-nothing"),
        pytest.param(
            {"PYTORCH_CUDA_ALLOC_CONF": "backend:native"}, "EAGER None backend:native", id="by-its-other-name"
        ),
    ],
)
def test_a_python_that_no_shell_started_has_the_settings(
    generation: Generation, given: dict[str, str], expected: str
) -> None:
    """The libraries that read them see the process's own environment, and so do its children."""
    rows: list[dict[str, Any]] = [
        {"variable": "CUDA_MODULE_LOADING", "value": "EAGER", "unless": []},
        {"variable": "PYTORCH_ALLOC_CONF", "value": "expandable_segments:True", "unless": ["PYTORCH_CUDA_ALLOC_CONF"]},
        {"variable": None, "value": "torch.backends.cudnn.benchmark = True", "unless": []},
    ]
    told = {"setting": "x", "what": "y", "default": "z"}
    generation.write(enabled=False, settings=[row | told for row in rows])
    names = ("CUDA_MODULE_LOADING", "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
    code = f"""
import ctypes
getenv = ctypes.CDLL(None).getenv
getenv.restype = ctypes.c_char_p
found = [getenv(name) for name in {[name.encode() for name in names]}]
print(*(value if value is None else value.decode() for value in found))
"""
    done = generation.run(code, **given)
    assert (done.stdout, done.stderr) == (f"{expected}\n", "")


@pytest.mark.parametrize("version", ["garbage", "", "570..1", "1" * 5000 + ".1"])
def test_it_never_raises_and_never_prints(generation: Generation, version: str) -> None:
    generation.put_driver(version, library=False)
    (generation.compat / "libcuda.so.580.95.05").write_text("no library")
    generation.write()
    assert (generation.run("pass", "/a").stdout, generation.run("pass", "/a").stderr) == ("", "")


def test_a_library_that_does_not_load_stops_nobody(generation: Generation) -> None:
    generation.put_driver("570.26")
    (generation.compat / "libcuda.so.580.95.05").write_text("no library")
    generation.write()
    done = generation.run("print(1)")
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


def test_while_it_is_off_it_imports_nothing(generation: Generation) -> None:
    generation.put_driver("580.159.04")
    generation.write()
    code = "import sys; print([name for name in ('ctypes', 'pathlib', 're') if name in sys.modules])"
    done = generation.run(code, "/a")
    assert done.stdout == "[]\n"


def test_while_it_is_off_it_costs_less_than_a_tenth_of_a_start(generation: Generation) -> None:
    """1 ms is the promise: a start of Python takes some ten. Both are CPU time of one process."""
    generation.put_driver("580.159.04")
    generation.write()
    host = str(generation.root / "host")
    code = (
        "import _podsmith_cuda as hook, time; start = time.process_time()\n"
        f"for _ in range(200): hook.activate({str(generation.compat)!r}, enabled=True, sysroot={host!r})\n"
        "print((time.process_time() - start) / 200)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    cost = float(generation.run(code, "/a:/b").stdout)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime - 200 * cost
    assert cost < start / 10


LIB = "/usr/lib/x86_64-linux-gnu/libcuda.so.1"
CACHES = [
    pytest.param([(0x0303, LIB)], LIB, id="one"),
    pytest.param([(0x0303, "/usr/lib/libz.so.1")], "", id="none"),
    pytest.param([], "", id="empty"),
    pytest.param([(0x0003, "/usr/lib/i386-linux-gnu/libcuda.so.1"), (0x0303, LIB)], LIB, id="of-another-machine-first"),
    pytest.param([(0x0303, "/c/compat/libcuda.so.1"), (0x0303, LIB)], "/c/compat/libcuda.so.1", id="compat-first"),
    pytest.param([(0x0303, LIB), (0x0303, "/c/compat/libcuda.so.1")], LIB, id="compat-behind"),
    pytest.param([(0x0A03, LIB)], "", id="of-another-machine-alone"),
]


@pytest.mark.parametrize("before", [b"", b"ld.so-1.7.0\0\1\0\0\0" + bytes(12)], ids=["new", "both-formats"])
@pytest.mark.parametrize(("entries", "path"), CACHES)
def test_what_the_loaders_cache_gives_first(entries: list[tuple[int, str]], before: bytes, path: str) -> None:
    assert HOOK.read_cache(cache_of(entries, before), HOOK.MACHINES["x86_64"]) == path


@pytest.mark.parametrize("data", [b"", b"garbage", b"glibc-ld.so.cache1.1", bytes(100), b"\xff" * 5000])
def test_a_cache_that_is_none(data: bytes) -> None:
    assert HOOK.read_cache(data, HOOK.MACHINES["x86_64"]) == ""


def test_a_path_that_is_the_end_of_another_shares_its_text() -> None:
    """As ldconfig writes it since 2.33: the second entry's path begins inside the first one's."""
    data = bytearray(cache_of([(0x0003, "/i386/usr/lib/libcuda.so.1"), (0x0303, "/")]))
    data[48 + 24 + 8 : 48 + 24 + 12] = struct.pack("<I", data.index(b"/usr/lib/libcuda.so.1"))
    assert HOOK.read_cache(bytes(data), HOOK.MACHINES["x86_64"]) == "/usr/lib/libcuda.so.1"


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_a_cache_of_ldconfigs_own(build: Callable[..., None], tmp_path: Path, order: tuple[str, ...]) -> None:
    program = shutil.which("ldconfig", path="/usr/sbin:/sbin")
    if not program:
        pytest.skip("needs ldconfig")
    for folder in order:
        build(tmp_path / folder, "580.159.04", 1)
    (tmp_path / "conf").write_text("".join(f"{tmp_path / folder}\n" for folder in order))
    subprocess.run([program, "-X", "-f", tmp_path / "conf", "-C", tmp_path / "cache"], check=True, capture_output=True)
    data = (tmp_path / "cache").read_bytes()
    assert HOOK.read_cache(data, HOOK.MACHINES[MACHINE]) == f"{tmp_path / order[0]}/libcuda.so.1"


@pytest.mark.parametrize(
    ("files", "cached", "found"),
    [
        pytest.param([LIB], LIB, LIB, id="cached"),
        pytest.param([LIB], None, LIB, id="no-cache"),
        pytest.param([LIB], "/gone/libcuda.so.1", LIB, id="cached-and-gone"),
        pytest.param(["/usr/lib64/libcuda.so.1"], None, "", id="lib64-where-the-loader-does-not-search-it"),
        pytest.param(["/usr/lib64/libcuda.so.1", "/usr/lib64/libc.so.6"], None, "/usr/lib64/libcuda.so.1", id="lib64"),
        pytest.param(["/usr/local/nvidia/lib64/libcuda.so.1"], None, "", id="gke"),
    ],
)
def test_what_the_loader_takes_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: list[str], cached: str | None, found: str
) -> None:
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "h", "6", "1", "x86_64")))
    for name in (*files, "/etc/x"):
        (tmp_path / name[1:]).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name[1:]).touch()
    if cached:
        (tmp_path / "etc/ld.so.cache").write_bytes(cache_of([(0x0303, cached)]))
    assert HOOK.find_default(str(tmp_path)) == (f"{tmp_path}{found}" if found else "")


PLACES = [
    *("usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib64", "usr/lib"),
    *("usr/lib/x86_64-linux-gnu/nvidia/current", "usr/lib/aarch64-linux-gnu/nvidia", "usr/lib64-nvidia"),
    *("usr/local/nvidia/lib64", "usr/local/nvidia/lib", "run/opengl-driver/lib", "usr/lib/nvidia"),
]


@pytest.mark.parametrize("place", PLACES)
def test_the_drivers_own_library_is_found_wherever_it_lies(generation: Generation, place: str) -> None:
    generation.put_driver("580.159.04", library=False)
    generation.build(generation.root / "host" / place, "580.159.04", 5)
    other = generation.root / "host" / PLACES[PLACES.index(place) - 1]
    generation.build(other, "570.26", 6)  # left behind by another driver
    generation.put_cache(other)
    generation.write(enabled=False)
    done = generation.run(ASK)
    assert (done.stdout, done.stderr) == ("5 5\n", "")


def test_tegras_library_carries_no_version(generation: Generation) -> None:
    generation.put_driver("540.3.0", library=False)
    generation.build(generation.root / "host/usr/lib/aarch64-linux-gnu/nvidia", "1.1", 5)
    generation.write(enabled=False)
    assert generation.run(ASK, str(generation.foreign)).stdout == "5 5\n"


# What a host was broken by. Each: the driver's folder, what the loader's cache has in its order, LD_LIBRARY_PATH and
# LD_PRELOAD, and what children then get for a library path.
BROKEN = [
    pytest.param("usr/lib64", ["native"], None, None, None, id="nothing"),
    pytest.param("usr/lib64", ["native"], "{foreign}:/a", None, "/a", id="compat-on-the-path"),
    pytest.param("usr/lib64", ["cached", "native"], None, None, None, id="compat-in-the-configuration-or-the-cache"),
    pytest.param("usr/local/nvidia/lib64", ["cached", "native"], "/a", None, "/a:{native}", id="the-same-own-folder"),
    pytest.param("usr/lib64", ["cached", "native"], "/a:{other}", None, "/a:{other}", id="another-version-on-the-path"),
    pytest.param("usr/local/nvidia/lib64", [], "{other}", None, "{native}:{other}", id="the-same-nowhere-configured"),
    pytest.param("usr/local/nvidia/lib64", [], None, None, "{native}", id="a-folder-that-the-loader-does-not-know"),
    pytest.param("usr/lib64", ["native"], None, "{foreign}/libcuda.so.1", None, id="compat-preloaded"),
    pytest.param("usr/local/nvidia/lib64", [], "/a", "{other}/libcuda.so.1", "/a:{native}", id="preloaded-and-unknown"),
    pytest.param("usr/lib64", ["native"], "{stubs}", None, None, id="a-stub-on-the-path"),
]


@pytest.mark.parametrize(("place", "cached", "library_path", "preload", "after"), BROKEN)
def test_it_works_whatever_the_loader_says(
    generation: Generation, place: str, cached: list[str], library_path: str | None, preload: str | None, after: str
) -> None:
    generation.put_driver("580.159.04", library=False)
    host = generation.root / "host"
    paths = {"native": host / place, "cached": host / "opt/cached", "foreign": generation.foreign}
    paths |= {"other": generation.root / "other", "stubs": generation.root / "stubs"}
    for name, version, answer in (("native", "580.159.04", 1), ("cached", "580.95.05", 8), ("other", "580.95.05", 9)):
        generation.build(paths[name], version, answer)
    generation.build(paths["stubs"], "so", 34)
    generation.put_cache(*(paths[name] for name in cached))
    generation.write(enabled=False)
    variables = {"LD_PRELOAD": preload.format(**paths)} if preload else {}
    show = 'import ctypes, os, sys\nloaded = "ctypes" in sys.modules\n'
    show += 'maps = {line.split()[-1] for line in open("/proc/self/maps") if "/libcuda.so" in line}\n'
    show += 'print(os.environ.get("LD_LIBRARY_PATH"), os.environ.get("LD_PRELOAD"), sorted(maps))'
    text = generation.run(show, library_path.format(**paths) if library_path else None, **variables)
    # No cache of this machine has a stub, so that a healthy host's library is not found in truth, and none is mapped.
    right = [] if library_path is None and cached == ["native"] else [f"{paths['native']}/libcuda.so.580.159.04"]
    wanted = after.format(**paths) if after else None
    assert (text.stdout, text.stderr) == (f"{wanted} None {right}\n", "")


@pytest.mark.parametrize(
    ("place", "before", "after"),
    [
        pytest.param("usr/local/nvidia/lib64", "/l", "/l:{native}", id="gke"),
        pytest.param("usr/local/nvidia/lib64", None, "{native}", id="gke-alone"),
        pytest.param("usr/local/nvidia/lib64", "{native}:/l", "{native}:/l", id="gke-there-already"),
        pytest.param("usr/lib64", "/l", "/l", id="linkers-search-it"),
    ],
)
def test_a_compiler_that_it_starts_finds_the_drivers_own_library(
    generation: Generation, place: str, before: str | None, after: str
) -> None:
    """As Triton starts one, with -l:libcuda.so.1; NVML lies in the same folder and is found by name, too."""
    generation.put_driver("580.159.04", library=False)
    native = generation.root / "host" / place
    generation.build(native, "580.159.04", 1)
    shutil.copy(native / "libnvidia-ptxjitcompiler.so.1", native / "libnvidia-ml.so.580.159.04")
    generation.write(enabled=False)
    show = 'import os; print(os.environ["LIBRARY_PATH"], "libnvidia-ml" in open("/proc/self/maps").read())'
    done = generation.run(show, **({"LIBRARY_PATH": before.format(native=native)} if before else {}))
    assert (done.stdout, done.stderr) == (f"{after.format(native=native)} True\n", "")


def test_debians_folder_of_the_driver_needs_no_name(generation: Generation) -> None:
    """The distribution's folder has a link to it, by which loaders and linkers find it."""
    generation.put_driver("580.159.04", library=False)
    folder = generation.root / "host/usr/lib/x86_64-linux-gnu"
    generation.build(folder / "nvidia/current", "580.159.04", 1)
    (folder / "libcuda.so.1").symlink_to("nvidia/current/libcuda.so.1")
    generation.put_cache(folder)
    generation.write(enabled=False)
    names = 'os.environ.get("LIBRARY_PATH"), os.environ.get("LD_LIBRARY_PATH")'
    show = f'import os, sys; print({names}, "ctypes" in sys.modules)'
    assert generation.run(show).stdout == "None None False\n"


def test_where_nothing_is_wrong_nothing_is_loaded_even_on_the_drivers_own_path(generation: Generation) -> None:
    generation.put_driver("580.159.04")
    generation.write()
    code = 'import sys; print("ctypes" in sys.modules)'
    assert [generation.run(code, path).stdout for path in (None, str(generation.native))] == ["False\n", "False\n"]
    generation.put_driver("570.26")  # compat is on, and a parent that went through the hook has put it first
    assert [generation.run(code, path).stdout for path in (None, str(generation.compat))] == ["True\n", "False\n"]


SAY = "import os, sys; print(os.getpid() == int(os.environ['_PODSMITH_CUDA_RESTARTED']), sys.argv, sys.flags.isolated)"


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        pytest.param(["-c", SAY, "a b", ""], "", "True ['-c', 'a b', ''] 0", id="command"),
        pytest.param(["-I", "-c", SAY], "", "True ['-c'] 1", id="isolated"),
        pytest.param(["-", "x"], SAY, "True ['-', 'x'] 0", id="standard-input"),
        pytest.param(["{file}", "--y"], "", "True ['{file}', '--y'] 0", id="script"),
        pytest.param(["-m", "said", "--z"], "", "True ['{file}', '--z'] 0", id="module"),
    ],
)
def test_a_restart_is_the_same_program(generation: Generation, arguments: list[str], stdin: str, said: str) -> None:
    """The process keeps its number, its arguments and its input, and CUDA's library is the driver's."""
    generation.put_driver("580.159.04")
    generation.write()
    file = generation.root / "said.py"
    file.write_text(SAY)
    argv = [str(generation.path / "bin/python"), *(argument.format(file=file) for argument in arguments)]
    env = {"PATH": "/usr/bin:/bin", "LD_PRELOAD": f"{generation.foreign}/libcuda.so.1", "PYTHONPATH": str(file.parent)}
    done = subprocess.run(argv, env=env, input=stdin, capture_output=True, text=True, check=False, timeout=120)
    assert (done.stdout, done.stderr) == (said.format(file=file) + "\n", "")


@pytest.mark.parametrize(
    "preload", ["{native}/libcuda.so.1", "{harmless}", "/gone/libcuda.so.1"], ids=["the-drivers", "another", "gone"]
)
def test_what_is_not_wrong_starts_nothing_anew(generation: Generation, preload: str) -> None:
    generation.put_driver("580.159.04")
    generation.write()
    paths = {"native": generation.native, "harmless": f"{generation.native}/libnvidia-ptxjitcompiler.so.1"}
    given = preload.format(**paths)
    done = generation.run(
        "import os; print(os.environ.get('_PODSMITH_CUDA_RESTARTED'), os.environ['LD_PRELOAD'])", LD_PRELOAD=given
    )
    assert done.stdout == f"None {given}\n"


def test_a_library_that_comes_again_starts_it_anew_only_once(generation: Generation) -> None:
    """One that an innocent preloaded library needs, so that no entry can be left out: the driver's own goes first."""
    generation.put_driver("580.159.04")
    generation.write()
    source = generation.root / "tool.c"
    source.write_text("int answer(void); int tool(void) { return answer(); }\n")
    tool, link = generation.root / "tool.so", f"-Wl,-rpath,{generation.foreign}"
    argv = ["gcc", "-shared", "-fPIC", "-o", tool, source, f"-L{generation.foreign}", link, "-l:libcuda.so.1"]
    subprocess.run(argv, check=True)
    code = 'import ctypes, os; print(ctypes.CDLL("libcuda.so.1").answer(), os.environ["LD_PRELOAD"])'
    done = generation.run(code, LD_PRELOAD=str(tool))
    assert (done.stdout, done.stderr) == (f"1 {generation.native}/libcuda.so.580.159.04:{tool}\n", "")


def test_what_every_process_preloads_gets_the_drivers_own_before_it(generation: Generation) -> None:
    """/etc/ld.so.preload, which no variable switches off; LD_PRELOAD comes before it."""
    generation.put_driver("580.159.04")
    (generation.root / "host/etc/ld.so.preload").touch()
    generation.write()
    code = 'import ctypes, os; print(ctypes.CDLL("libcuda.so.1").answer(), os.environ["LD_PRELOAD"])'
    done = generation.run(code, LD_PRELOAD=f"{generation.foreign}/libcuda.so.1")
    assert (done.stdout, done.stderr) == (f"1 {generation.native}/libcuda.so.580.159.04\n", "")


WRONG = "7f00-7f01 r-xp 00000000 08:01 42   /c/compat/libcuda.so.580.95.05\n"
RIGHT = "7f00-7f01 r-xp 00000000 08:01 42   /l/libcuda.so.580.159.04\n"


@pytest.mark.parametrize(
    ("maps", "program", "given", "restarted", "anew"),
    [
        pytest.param(WRONG, "/usr/bin/python3.12", "LD_PRELOAD=/c/compat/libcuda.so.1", None, True, id="python"),
        pytest.param(WRONG, "/usr/bin/uwsgi", "LD_PRELOAD=/c/compat/libcuda.so.1", None, False, id="embedded"),
        pytest.param(WRONG, "/usr/bin/python3.12", "LD_PRELOAD=/c/compat/libcuda.so.1", "self", False, id="once"),
        pytest.param(WRONG, "/usr/bin/python3.12", "LD_PRELOAD=/c/compat/libcuda.so.1", "1", True, id="of-a-parent"),
        pytest.param(WRONG, "/usr/bin/python3.12", "A=b", None, False, id="set-by-the-running-program"),
        pytest.param(RIGHT, "/usr/bin/python3.12", "LD_PRELOAD=/l/libcuda.so.1", None, False, id="the-drivers"),
        pytest.param("", "/usr/bin/python3.12", "LD_PRELOAD=/c/compat/libcuda.so.1", None, False, id="not-mapped"),
    ],
)
def test_who_is_started_anew(
    monkeypatch: pytest.MonkeyPatch, maps: str, program: str, given: str, restarted: str | None, *, anew: bool
) -> None:
    files = {"/proc/self/maps": maps, "/proc/self/environ": f"{given}\0B=c\0", "/proc/self/cmdline": "python\0a b\0\0"}
    started: list[Any] = []

    def fake_open(name: str, mode: str = "r") -> Any:
        return io.BytesIO(files[name].encode()) if "b" in mode else io.StringIO(files[name])

    monkeypatch.setattr(HOOK, "open", fake_open, raising=False)
    monkeypatch.setattr(os, "readlink", lambda path: program if path == "/proc/self/exe" else path)
    monkeypatch.setattr(os, "execve", lambda *arguments: started.append(arguments))
    monkeypatch.setenv("LD_PRELOAD", "/c/compat/libcuda.so.1")
    monkeypatch.delenv("_PODSMITH_CUDA_RESTARTED", raising=False)
    if restarted:
        monkeypatch.setenv("_PODSMITH_CUDA_RESTARTED", str(os.getpid()) if restarted == "self" else restarted)
    HOOK.restart_without(("/l", "580.159.04"), "/nowhere")
    assert [arguments[:2] for arguments in started] == [("/proc/self/exe", [b"python", b"a b", b""])][:anew]
    assert all("LD_PRELOAD" not in arguments[2] for arguments in started)


# What a private mount namespace makes of this machine: a driver, its library in a folder of its own, a loader's cache.
NAMESPACE = """
set -eu
mount --bind "$1/proc" /proc/driver
mount -t tmpfs none /run
mkdir -p /run/opengl-driver
cp -R "$1/native" /run/opengl-driver/lib
ldconfig -X -f "$1/conf" -C "$1/cache"
mount --bind "$1/cache" /etc/ld.so.cache
shift
exec "$@"
"""


@pytest.mark.parametrize(
    ("configured", "without"),
    [
        pytest.param("/run/opengl-driver/lib\n{foreign}\n", "1 1", id="nothing"),
        pytest.param("{foreign}\n/run/opengl-driver/lib\n", "12 12", id="another-first"),
        pytest.param("{foreign}\n", "12 12", id="another-alone"),
        pytest.param("", "", id="none"),
    ],
)
def test_with_the_loader_of_this_machine(generation: Generation, configured: str, without: str) -> None:
    """The same by the real loader and its own cache, where a private mount namespace may be had."""
    if Path("/sys/module/nvidia").exists() or not Path("/proc/driver").is_dir():
        pytest.skip("needs a machine without a driver of its own")
    tried = ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/run"]
    if not shutil.which("unshare") or subprocess.run(tried, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount")
    root, version = (
        generation.root / "machine",
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  R\n",
    )
    generation.build(root / "native", "580.159.04", 1)
    (root / "proc/nvidia").mkdir(parents=True)
    (root / "proc/nvidia/version").write_text(version)
    (root / "conf").write_text(configured.format(foreign=generation.foreign))
    generation.write(enabled=False, sysroot="")

    def ask(*command: str) -> str:
        argv = ["unshare", "-m", "sh", "-c", NAMESPACE, "sh", str(root), *command]
        env = {"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"}
        return subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=120).stdout.strip()

    python = str(generation.path / "bin/python")
    activated = f'. {generation.path}/activate.sh && exec {python} -S -c "$1"'  # -S: this Python reads no hook
    answers = (ask(python, "-S", "-c", ASK), ask(python, "-c", ASK), ask("sh", "-euc", activated, "sh", ASK))
    assert answers == (without, "1 1", "1 1")


@pytest.mark.parametrize(
    ("arguments", "variables", "bound"),
    [
        (["-m", "install", "flash-attn", "--no-build-isolation"], {}, False),
        (["-m", "install", "flash-attn"], {"PIP_NO_BUILD_ISOLATION": "0"}, False),
        (["-m", "install", "flash-attn"], {}, True),
        (["train.py"], {}, True),
    ],
)
def test_a_build_that_is_not_isolated_is_not_constrained(
    arguments: list[str], variables: dict[str, str], bound: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pip 26.3: "--build-constraint cannot be used with --no-build-isolation", of the variable as well."""
    monkeypatch.setattr("sys.argv", arguments)
    for name, value in {"PIP_BUILD_CONSTRAINT": "/c.txt", "PIP_CONSTRAINT": "/c.txt", **variables}.items():
        monkeypatch.setenv(name, value)
    HOOK.unbind_open_build()
    assert ("PIP_BUILD_CONSTRAINT" in os.environ, os.environ["PIP_CONSTRAINT"]) == (bound, "/c.txt")
