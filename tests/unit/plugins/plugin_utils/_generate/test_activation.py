"""What is generated, and the start-up hook in real interpreters with stub libraries that share one SONAME."""

from __future__ import annotations

import configparser
import hashlib
import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._generate.activation import (
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

    def write(self, *, enabled: bool = True, **changes: Any) -> None:
        environment = {
            "prefix": str(self.root), "path": str(self.path), "pytorch": True, "site_packages": PACKAGES,
            "compat_enabled": enabled, "compat_path": str(self.compat), "constraints": [], **changes,
        }  # fmt: skip
        for file in generation_files(environment, sysroot=str(self.root / "host")):
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
        pytest.param("570.26", ["NVIDIA GeForce RTX 4090", "NVIDIA L4"], (), 13, id="one-of-two"),
    ],
)
def test_where_the_compat_library_is_of_no_use_the_drivers_own_is_found(
    generation: Generation, driver: str, models: list[str], branches: tuple[int, ...], answer: int
) -> None:
    generation.put_driver(driver)
    for number, model in enumerate(models):
        folder = generation.root / f"host/proc/driver/nvidia/gpus/{number}"
        folder.mkdir(parents=True)
        (folder / "information").write_text(f"Model: \t\t {model}\n")
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
