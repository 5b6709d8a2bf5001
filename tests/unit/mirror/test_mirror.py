from __future__ import annotations

import base64
import ctypes
import hashlib
import importlib
import pathlib
import re
import sys
import zipfile
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace

import pytest

from ansible_collections.podsmith.gpu.plugins.filter.forbidden_packages import forbidden_packages
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import load_catalogue

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "molecule" / "shared" / "mirror"))

import build
import downloads
import packages
import standins
import wheels

KNOWN = load_catalogue()
RUNTIMES = {row["cuda"]: f"{row['cuda']}.1" for row in KNOWN["pytorch"]["indexes"].values() if row["cuda"]}
RELEASES = ("12.6", "12.8", "13.0")


def make_wheel(folder: pathlib.Path, name: str, files: dict[str, bytes], tag: str = "py3-none-any") -> pathlib.Path:
    """A wheel as PyPI would have it."""
    path = folder / f"{name}-{tag}.whl"
    distribution = name.partition("-")[0]
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in {f"{name}.dist-info/METADATA": f"Name: {distribution}\n".encode(), **files}.items():
            archive.writestr(member, content)
    return path


@pytest.fixture
def listed(tmp_path: pathlib.Path) -> dict[str, packages.Package]:
    """Every package of the apt repository, made from small wheels."""
    library = {"nvidia/cu13/lib/libcudart.so.13": b"", "nvidia/cu13/include/cuda.h": b""}
    names = [wanted.name for wanted in downloads.compiler_of(KNOWN)]
    compiler = {name: make_wheel(tmp_path, f"{name.replace('-', '_')}-13.0.88", library) for name in names}
    runtimes = {cuda: make_wheel(tmp_path, f"runtime-{cuda}.90", library) for cuda in RUNTIMES}
    return {package.name: package for package in packages.list_toolkits(KNOWN, compiler, runtimes)}


def test_wheel_lists_its_files_with_their_digests(tmp_path: pathlib.Path) -> None:
    wheel = wheels.write_wheel(
        tmp_path,
        "flash-attn",
        "1.0+cu130",
        {"a.py": b"x = 1\n"},
        summary="A test",
        requires=["torch==2"],
        python=">=3.9",
    )
    with zipfile.ZipFile(wheel.path) as archive:
        record = archive.read("flash_attn-1.0+cu130.dist-info/RECORD").decode()
        metadata = archive.read("flash_attn-1.0+cu130.dist-info/METADATA")
        assert sorted(line.partition(",")[0] for line in record.splitlines()) == sorted(archive.namelist())
    digest = base64.urlsafe_b64encode(hashlib.sha256(b"x = 1\n").digest()).rstrip(b"=").decode()
    assert f"a.py,sha256={digest},6\n" in record
    assert b"Requires-Python: >=3.9\nRequires-Dist: torch==2\n" in metadata
    assert wheel.path.with_name(f"{wheel.path.name}.metadata").read_bytes() == metadata


def test_same_content_is_the_same_wheel(tmp_path: pathlib.Path) -> None:
    wheel = wheels.write_wheel(tmp_path, "a", "1", {"a.py": b""}, summary="A test")
    with zipfile.ZipFile(wheel.path) as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_index_links_each_wheel_with_its_digest(tmp_path: pathlib.Path) -> None:
    wheel = wheels.write_wheel(tmp_path / "pypi" / "a-b", "a-b", "1+cu1", {}, summary="A test", python=">=3.9,<4")
    wheels.write_index(tmp_path / "whl" / "cu1", [wheel])
    page = (tmp_path / "whl" / "cu1" / "a-b" / "index.html").read_text()
    digest = hashlib.sha256(wheel.path.read_bytes()).hexdigest()
    assert f'<a href="../../../pypi/a-b/a_b-1%2Bcu1-py3-none-any.whl#sha256={digest}"' in page
    assert 'data-requires-python="&gt;=3.9,&lt;4"' in page
    assert '<a href="a-b/">' in (tmp_path / "whl" / "cu1" / "index.html").read_text()


def test_every_build_of_pytorch_has_its_stand_in(tmp_path: pathlib.Path) -> None:
    made = standins.write_all(tmp_path, KNOWN, RUNTIMES)
    for torch, release in KNOWN["pytorch"]["releases"].items():
        for index, rows in release["indexes"].items():
            names = [wheel.path.name for wheel in made[f"whl/{index}"]]
            assert (f"torch-{torch}+{index}-py3-none-any.whl" in names) == ("x86_64" in rows)
    assert any(wheel.path.name.startswith("torch-2.9.1-") for wheel in made["pypi"])


def test_pytorchs_indexes_are_enough_to_install_it(tmp_path: pathlib.Path) -> None:
    for place, made in standins.write_all(tmp_path, KNOWN, RUNTIMES).items():
        assert any(wheel.path.name.startswith("triton-3.5.1-") for wheel in made), place


@pytest.mark.parametrize(
    ("index", "wanted"),
    [
        pytest.param("cu130", ["nvidia-cuda-runtime==13.0.1", "triton==3.5.1"], id="since-13"),
        pytest.param("cu128", ["nvidia-cuda-runtime-cu12==12.8.1", "triton==3.5.1"], id="before-13"),
        pytest.param("cpu", [], id="cpu"),
    ],
)
def test_stand_in_requires_what_pytorch_does(tmp_path: pathlib.Path, index: str, wanted: list[str]) -> None:
    build = next(one for one in standins.list_builds(KNOWN) if one.version == f"2.9.1+{index}")
    wheel = standins.write_torch(tmp_path, build, KNOWN, RUNTIMES)
    metadata = wheel.path.with_name(f"{wheel.path.name}.metadata").read_text()
    assert re.findall(r"^Requires-Dist: ((?!setuptools).+)$", metadata, re.MULTILINE) == wanted


class Runtime:
    """A libcudart whose cudaGetDeviceCount answers with one code."""

    def __init__(self, code: int, driver: int = 0) -> None:
        self.code, self.driver = code, driver
        self.cudaGetErrorString = lambda code: b"the reason"

    def cudaGetDeviceCount(self, count: object) -> int:  # noqa: N802
        ctypes.cast(count, ctypes.POINTER(ctypes.c_int))[0] = 2
        return self.code

    def cudaDriverGetVersion(self, version: object) -> int:  # noqa: N802
        ctypes.cast(version, ctypes.POINTER(ctypes.c_int))[0] = self.driver
        return 0


@pytest.fixture
def load_torch(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Imports the stand-in for a build as Python would after its installation."""

    def load(version: str) -> ModuleType:
        build = next(one for one in standins.list_builds(KNOWN) if one.version == version)
        with zipfile.ZipFile(standins.write_torch(tmp_path, build, KNOWN, RUNTIMES).path) as archive:
            archive.extractall(tmp_path / "site")
        monkeypatch.syspath_prepend(tmp_path / "site")
        return importlib.import_module("torch")

    yield load
    for name in [name for name in sys.modules if name.partition(".")[0] == "torch"]:
        del sys.modules[name]


def test_stand_in_tells_its_build(load_torch: Callable[[str], ModuleType]) -> None:
    torch = load_torch("2.9.1+cu130")
    assert (torch.__version__, torch.version.cuda) == ("2.9.1+cu130", "13.0")
    assert torch._C._cuda_getArchFlags() == "sm_75 sm_80 sm_86 sm_90 sm_100 sm_120 compute_120"


@pytest.mark.parametrize(
    ("runtime", "wanted"),
    [
        pytest.param(Runtime(35), "Found no NVIDIA driver on your system.", id="no-driver"),
        pytest.param(Runtime(35, 12080), r"driver on your system is too old \(found version 12080\)", id="old-driver"),
        pytest.param(Runtime(803), r"from cudaGetDeviceCount\(\)\..* Error 803: the reason", id="mismatch"),
        pytest.param(Runtime(100), "No CUDA GPUs are available", id="no-gpu"),
    ],
)
def test_stand_in_fails_as_pytorch_does(
    load_torch: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, runtime: Runtime, wanted: str
) -> None:
    torch = load_torch("2.9.1+cu130")
    monkeypatch.setattr(torch.cuda, "_runtime", lambda: runtime)
    with pytest.raises(RuntimeError, match=wanted):
        torch.cuda.init()
    assert not torch.cuda.is_available()
    assert torch.cuda.get_arch_list() == []


def test_stand_in_counts_with_a_simulated_driver(
    load_torch: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = load_torch("2.9.1+cu130")
    monkeypatch.setattr(torch.cuda, "_runtime", lambda: Runtime(500))
    asked: list[str] = []
    monkeypatch.setattr(torch.cuda, "_ask", lambda name, *_arguments: asked.append(name))
    assert torch.cuda.device_count() == 2
    assert asked == ["cuInit", "cuDeviceGetCount"]


def test_stand_in_for_the_cpu_has_no_cuda(load_torch: Callable[[str], ModuleType]) -> None:
    torch = load_torch("2.9.1+cpu")
    assert torch.version.cuda is None
    assert torch._C._cuda_getArchFlags() is None
    with pytest.raises(AssertionError, match="Torch not compiled with CUDA enabled"):
        torch.cuda.init()


@pytest.mark.parametrize("release", RELEASES)
def test_repository_has_what_the_components_name(listed: dict[str, packages.Package], release: str) -> None:
    tag = release.replace(".", "-")
    named = [name.format(release=tag) for row in KNOWN["cuda"]["components"].values() for name in row["apt"]]
    assert set(named) <= set(listed)


def test_every_dependency_is_there(listed: dict[str, packages.Package]) -> None:
    needed = {name for package in listed.values() for name in package.depends}
    drivers = {package.name for package in packages.list_drivers(KNOWN)}
    assert needed - set(listed) - drivers == set()


def test_what_brings_a_driver_is_there_and_forbidden(listed: dict[str, packages.Package]) -> None:
    names = [*packages.DRIVERS.values(), *(name for name in listed if re.fullmatch(r"cuda(-\d+-\d+)?", name))]
    assert {"cuda", "cuda-13-0"} <= set(names)
    assert forbidden_packages(names) == names


def test_only_the_real_release_has_a_real_compiler(listed: dict[str, packages.Package]) -> None:
    real = {name for name in listed if name.startswith("cuda-nvcc-") and listed[name].parts}
    assert real == {"cuda-nvcc-13-0"}
    text = listed["cuda-nvcc-12-8"].texts["usr/local/cuda-12.8/bin/nvcc"]
    assert "Cuda compilation tools, release 12.8, V12.8.90\n" in text


def test_staged_tree_has_the_files_in_nvidias_places(
    tmp_path: pathlib.Path, listed: dict[str, packages.Package]
) -> None:
    for name in ("cuda-cudart-13-0", "cuda-cudart-dev-13-0", "cuda-toolkit-13-0-config-common"):
        packages.stage(tmp_path / "trees", listed[name])
    home = "usr/local/cuda-13.0"
    trees = tmp_path / "trees"
    found = {path.relative_to(trees).as_posix().partition("/")[2] for path in trees.rglob("*.*")}
    assert {f"{home}/targets/x86_64-linux/lib/libcudart.so.13", f"{home}/targets/x86_64-linux/include/cuda.h"} <= found
    control = next(trees.glob("cuda-cudart-dev-13-0_*/DEBIAN/control")).read_text()
    assert re.search(r"^Depends: .*\bcuda-cudart-13-0, cuda-driver-dev-13-0\b", control, re.MULTILINE)


def test_compat_packages_have_the_catalogues_versions_and_lists() -> None:
    found = {(one.cuda, one.version): one for one in packages.list_compat(KNOWN)}
    for cuda, row in KNOWN["drivers"]["compat"].items():
        assert found[cuda, row["version"]].package.name == row["package"]
    one = found["13.0", "580.95.05"]
    assert (one.branches, one.brands) == ("535,550,565,570,575,580", "1,2,7,8,9,10,11,12,13,14")
    assert len([cuda for cuda, _version in found if cuda == "13.0"]) > 1


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        (downloads.Wanted("numpy", "", "3.11"), "numpy-2.4.1-cp311-cp311-linux_x86_64.whl"),
        (downloads.Wanted("nvidia-x", "==12.8.*"), "nvidia_x-12.8.90-py3-none-any.whl"),
        (downloads.Wanted("nvidia-x", "==12.6.*"), None),
        (downloads.Wanted("nvidia-x"), "nvidia_x-12.9.1-py3-none-any.whl"),
        (downloads.Wanted("numpy", "", "3.12"), None),
    ],
)
def test_wheel_is_found(tmp_path: pathlib.Path, wanted: downloads.Wanted, name: str | None) -> None:
    for stem in (
        "numpy-2.4.1-cp311-cp311-linux_x86_64",
        "nvidia_x-12.8.90-py3-none-any",
        "nvidia_x-12.9.1-py3-none-any",
    ):
        (tmp_path / f"{stem}.whl").touch()
    assert downloads.find_wheel(tmp_path, wanted) == (tmp_path / name if name else None)


def test_nothing_is_fetched_twice(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a-1-py3-none-any.whl").touch()
    asked: list[str] = []

    def run(argv: list[str], **_settings: object) -> SimpleNamespace:
        asked.append(argv[-1])
        (tmp_path / "b-2.1-py3-none-any.whl").touch()
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(downloads.subprocess, "run", run)
    wanted = [downloads.Wanted("a"), downloads.Wanted("b", "==2.*")]
    found = downloads.fetch(wanted, tmp_path)
    assert [path.name for path in found.values()] == ["a-1-py3-none-any.whl", "b-2.1-py3-none-any.whl"]
    assert downloads.fetch(wanted, tmp_path) == found
    assert asked == ["b==2.*"]


def test_failed_download_says_what_and_why(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = SimpleNamespace(returncode=1, stderr="WARNING: x\nERROR: No matching distribution found\n")
    monkeypatch.setattr(downloads.subprocess, "run", lambda *_words, **_settings: answer)
    wanted = (
        "pip could not fetch b==2 for Python 3.13: ERROR: No matching distribution found; check the pip configuration"
    )
    with pytest.raises(downloads.DownloadError, match=re.escape(wanted)):
        downloads.fetch([downloads.Wanted("b", "==2")], tmp_path)


def test_new_mirror_takes_the_place_inside_the_old_folder(tmp_path: pathlib.Path) -> None:
    old, new = tmp_path / "mirror", tmp_path / "new"
    for folder, text in ((old, "old"), (new, "new")):
        for name in build.ENTRIES:
            (folder / name).mkdir(parents=True)
            (folder / name / text).touch()
    inode = old.stat().st_ino
    build.replace_contents(old, new)
    assert old.stat().st_ino == inode
    assert {path.name for path in old.glob("*/*")} == {"new"}
    assert not build.is_current(old, "digest")
    (old / build.STAMP).write_text("digest")
    assert build.is_current(old, "digest")
    assert not build.is_current(old, "another")


def test_drivers_are_whole_and_exclude_each_others_modules() -> None:
    found = {(package.name, package.version): package for package in packages.list_drivers(KNOWN)}
    names = {name for name, _version in found}
    assert names == {"nvidia-open", "cuda-drivers", "nvidia-kernel-open-dkms", "nvidia-kernel-dkms", "libcuda1"}
    versions = {version for _name, version in found}
    assert {"570.124.06-1", "580.95.05-1", "590.44.01-1"} <= versions
    for version in versions:
        assert found["nvidia-open", version].depends == (
            f"nvidia-kernel-open-dkms (= {version})",
            f"libcuda1 (= {version})",
        )
        assert found["nvidia-kernel-open-dkms", version].conflicts == ("nvidia-kernel-dkms",)
    postinst = found["nvidia-kernel-dkms", "580.95.05-1"].scripts["postinst"]
    assert postinst.endswith("simulated-disk module 580.95.05 proprietary 13.0")


def test_conflicts_are_written(tmp_path: pathlib.Path) -> None:
    package = packages.Package("one", "1-1", "A test", conflicts=("other",))
    control = (packages.stage(tmp_path, package) / "DEBIAN/control").read_text(encoding="utf-8")
    assert "\nConflicts: other\n" in control


def test_managers_are_fetched_once(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(requirements: tuple[str, ...], python: str, folder: pathlib.Path) -> None:
        asked.append((requirements, python))
        make_wheel(folder, "poetry-2.0", {})

    monkeypatch.setattr(downloads, "_pip_download", download)
    for _time in range(2):
        assert [path.name for path in downloads.fetch_managers(tmp_path)] == ["poetry-2.0-py3-none-any.whl"]
    assert asked == [(("poetry", "pip-tools"), "3.13")]


def test_a_download_that_was_cut_off_is_made_again(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_words: object) -> None:
        raise downloads.DownloadError("no")

    monkeypatch.setattr(downloads, "_pip_download", fail)
    make_wheel(tmp_path, "poetry-2.0", {})
    with pytest.raises(downloads.DownloadError):
        downloads.fetch_managers(tmp_path)


def test_a_controllers_wheels_are_those_of_its_lock(tmp_path: pathlib.Path) -> None:
    lock = tmp_path / "requirements.txt"
    lines = (
        "# made",
        "ansible-core==2.19.14 ; python_full_version < '3.12' \\",
        "    --hash=sha256:0",
        "ansible-core==2.21.5 ; python_full_version >= '3.12' \\",
        "jinja2==3.1.6 \\",
        "PyYAML==6.0.3 \\",
    )
    lock.write_text("\n".join(lines))
    assert downloads.controller_of(lock) == [
        downloads.Wanted("ansible-core", "==2.21.5"),
        downloads.Wanted("jinja2", "==3.1.6"),
        downloads.Wanted("PyYAML", "==6.0.3", "3.13"),
    ]
