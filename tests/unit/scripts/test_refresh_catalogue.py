"""What the script makes of recorded metadata, offline."""

from __future__ import annotations

import importlib.util
import pathlib
import re
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
EDITED = (
    "catalogue/pypi.yml was edited by hand: its rows do not match their checksum or layout; "
    "restore it with git, or write it anew with scripts/refresh_catalogue.py."
)

TORCH_291 = """\
Metadata-Version: 2.4
Name: torch
Version: 2.9.1
Requires-Python: >=3.10
Requires-Dist: filelock
Requires-Dist: setuptools; python_version >= "3.12"
Requires-Dist: nvidia-cuda-nvrtc-cu12==12.8.93; platform_system == "Linux" and platform_machine == "x86_64"
Requires-Dist: nvidia-cuda-runtime-cu12==12.8.90; platform_system == "Linux" and platform_machine == "x86_64"
Requires-Dist: triton==3.5.1; platform_system == "Linux" and platform_machine == "x86_64"
Requires-Dist: optree>=0.13.0; extra == "optree"

Requires-Dist: this-is-the-description
"""
TORCH_2141 = """\
Metadata-Version: 2.4
Name: torch
Requires-Dist: setuptools>=77.0.3
Requires-Dist: cuda-toolkit[cublas,cudart]==13.0.3; platform_system == "Linux"
Requires-Dist: triton~=3.8.0; platform_system == "Linux" and python_version < "3.15"
"""
TOOLKIT = """\
Metadata-Version: 2.4
Name: cuda-toolkit
Provides-Extra: nvcc
Requires-Dist: nvidia-cuda-nvcc==13.0.88.*; sys_platform == 'linux' and platform_machine == 'x86_64' and extra == 'nvcc'
Requires-Dist: nvidia-cuda-crt==13.0.88.*; sys_platform == 'linux' and platform_machine == 'x86_64' and extra == 'nvcc'
Provides-Extra: cufft
Requires-Dist: nvidia-cufft==12.0.0.61.*; sys_platform == 'linux' and extra == 'cufft'
Requires-Dist: nvidia-nvjitlink<14,>=13.0.88; sys_platform == 'linux' and extra == 'cufft'
Provides-Extra: visual-studio
Requires-Dist: nvidia-windows==13.0.88.*; sys_platform == 'win32' and extra == 'visual-studio'
"""
XFORMERS = '{"version": {"cuda": 1300, "hip": null, "torch": "2.9.0+cu130"}}'


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("refresh_catalogue", ROOT / "scripts" / "refresh_catalogue.py")
    if spec is None or spec.loader is None:
        pytest.fail("scripts/refresh_catalogue.py cannot be imported")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


class Published:
    """An index of recorded wheels: project -> version -> file names; every file of a version has the same METADATA."""

    def __init__(self, script: ModuleType, projects: dict[str, dict[str, tuple[str, list[str]]]]) -> None:
        self._script, self._projects = script, projects

    def files(self, project: str) -> tuple[Any, ...]:
        return tuple(
            self._script.File(name, version, "https://index.example/" + name, ">=3.10", yanked=False)
            for version, (_unused, names) in self._projects[project].items()
            for name in names
        )

    def wheel(self, file: Any) -> Any:
        project = file.name.split("-")[0].replace("_", "-")
        return sys.modules["package_index"].Wheel(self._projects[project][file.version][0], 3 * 1024 * 1024 + 1, None)


def row(**changes: Any) -> dict[str, Any]:
    """A row of pypi.yml."""
    kept = {"python": ">=3.10", "tags": {"x86_64": ["cp312"]}, "glibc": "2.28", "cuda": "12.8", "cuda_aarch64": None}
    return {
        **kept,
        "requires": {"torch": "==2.9.1"},
        "size_mib": {"x86_64": 1},
        "yanked": False,
        "source": "x",
        **changes,
    }


# --- metadata ---


@pytest.mark.parametrize(
    ("metadata", "arch", "kept", "cuda"),
    [
        pytest.param(TORCH_291, "x86_64", {"triton": "==3.5.1", "setuptools": ""}, "12.8", id="runtime-of-cuda-12"),
        pytest.param(TORCH_291, "aarch64", {"setuptools": ""}, None, id="cpu-on-arm"),
        pytest.param(
            TORCH_2141,
            "aarch64",
            {"cuda-toolkit": "==13.0.3", "triton": "~=3.8.0", "setuptools": ">=77.0.3"},
            "13.0",
            id="cuda-toolkit",
        ),
        pytest.param("Name: empty\n", "x86_64", {}, None, id="nothing"),
    ],
)
def test_requirements(metadata: str, arch: str, kept: dict[str, str], cuda: str | None, script: ModuleType) -> None:
    required = script.requirements(metadata, arch)
    assert {name: required[name] for name in script.KEPT_REQUIREMENTS if name in required} == kept
    assert script.cuda_of(required) == cuda
    assert "this-is-the-description" not in required
    assert "optree" not in required


@pytest.mark.parametrize(
    ("required", "cuda"),
    [
        ({"cuda-toolkit": "==13.2.2"}, "13.2"),
        ({"cuda-toolkit": "==13.2.2", "nvidia-cuda-runtime-cu12": "==12.8.90"}, "13.2"),
        ({"nvidia-cuda-runtime": "==13.0.96"}, "13.0"),
        ({"nvidia-cuda-runtime-cu11": "==11.8.89"}, "11.8"),
        ({"cuda-toolkit": "<14,>=13"}, None),
        ({"nvidia-cuda-runtimes-cu12": "==12.8.90", "torch": "==2.9.1"}, None),
    ],
)
def test_the_cuda_of_requirements(required: dict[str, str], cuda: str | None, script: ModuleType) -> None:
    assert script.cuda_of(required) == cuda


def test_the_cuda_of_a_build_record(script: ModuleType) -> None:
    assert script.recorded_cuda(XFORMERS) == "13.0"
    assert script.recorded_cuda(XFORMERS.replace("1300", "1208")) == "12.8"
    assert script.recorded_cuda(XFORMERS.replace("1300", "null")) is None
    assert script.recorded_cuda(None) is None


def test_the_extras_of_a_toolkit(script: ModuleType) -> None:
    assert script.extras_of(TOOLKIT) == {
        "cufft": {"nvidia-cufft": "12.0.0.61", "nvidia-nvjitlink": "13.0.88"},
        "nvcc": {"nvidia-cuda-crt": "13.0.88", "nvidia-cuda-nvcc": "13.0.88"},
        "visual-studio": {},
    }


@pytest.mark.parametrize(
    ("specifier", "version"),
    [
        ("==2.9.1", "2.9.1"),
        ("==2.9.*", "2.9"),
        ("<3,>=2.14.0", "2.14.0"),
        ("~=3.8.0", "3.8.0"),
        ("<3", None),
        ("", None),
    ],
)
def test_the_version_a_specifier_names(specifier: str, version: str | None, script: ModuleType) -> None:
    assert script.named_version(specifier) == version


# --- file names ---


@pytest.mark.parametrize(
    ("names", "tags", "glibc"),
    [
        pytest.param(
            [
                "torch-2.9.1-cp310-cp310-manylinux_2_28_x86_64.whl",
                "torch-2.9.1-cp312-cp312-manylinux_2_28_x86_64.whl",
                "torch-2.9.1-cp39-cp39-manylinux_2_28_x86_64.whl",
            ],
            ["cp39", "cp310", "cp312"],
            "2.28",
            id="in-the-order-of-pythons",
        ),
        pytest.param(["torch-2.9.1-cp313-cp313t-manylinux_2_28_x86_64.whl"], [], "2.28", id="free-threaded"),
        pytest.param(["torch-2.9.1-cp312-cp312-manylinux_2_28_aarch64.whl"], [], "2.28", id="another-architecture"),
        pytest.param(
            ["torch-2.9.1-cp312-cp312-win_amd64.whl", "torch-2.9.1-cp312-none-macosx_11_0_arm64.whl"],
            [],
            None,
            id="other-systems",
        ),
        pytest.param(["ninja-1.13-py3-none-musllinux_1_2_x86_64.whl"], [], None, id="musl"),
        pytest.param(["vllm-0.16.0-cp38-abi3-manylinux_2_31_x86_64.whl"], ["cp38-abi3"], "2.31", id="stable-interface"),
        pytest.param(["cuda_toolkit-13.0.3.0-py2.py3-none-any.whl"], ["py3"], None, id="any"),
        pytest.param(
            ["triton-3.2.0-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"],
            ["cp312"],
            "2.17",
            id="two-names",
        ),
        pytest.param(["old-1-cp312-cp312-manylinux1_x86_64.whl"], ["cp312"], "2.5", id="manylinux1"),
        pytest.param(
            ["a-1-cp312-cp312-manylinux_2_17_x86_64.whl", "a-1-cp313-cp313-manylinux_2_28_x86_64.whl"],
            ["cp312", "cp313"],
            "2.28",
            id="the-strictest-glibc",
        ),
    ],
)
def test_file_names(names: list[str], tags: list[str], glibc: str | None, script: ModuleType) -> None:
    assert script.python_tags(names, "x86_64") == tags
    assert script.least_glibc(names) == glibc


# --- which releases are kept ---


def test_the_newest_patches(script: ModuleType) -> None:
    found = ["0.9.2", "0.10.0", "0.10.1", "0.10.1.1", "0.9.10"]
    assert script.newest_patches(found) == ["0.10.1.1", "0.9.10"]


@pytest.mark.parametrize(
    ("version", "value"), [("0.49.2", "a"), ("0.49", "a"), ("0.4.9", "b"), ("0.490", None), ("1.0", None)]
)
def test_what_hand_written_rows_cover(version: str, value: str | None, script: ModuleType) -> None:
    assert script.covering(version, {"0.49": "a", "0.4": "b"}) == value


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        pytest.param({}, ["2"], id="the-same"),
        pytest.param({"size_mib": {"x86_64": 2}, "source": "y"}, ["2"], id="another-size"),
        pytest.param({"requires": {"torch": "==2.9.1", "setuptools": ">=80"}}, ["2"], id="another-setuptools"),
        pytest.param({"requires": {"torch": "==2.9.0"}}, ["2", "1"], id="another-torch"),
        pytest.param({"python": ">=3.9"}, ["2", "1"], id="another-python"),
        pytest.param({"tags": {"x86_64": ["cp311"]}}, ["2", "1"], id="another-tag"),
        pytest.param({"cuda": "12.6"}, ["2", "1"], id="another-cuda"),
        pytest.param({"glibc": "2.17"}, ["2", "1"], id="another-glibc"),
    ],
)
def test_of_releases_that_ask_for_the_same_the_first(
    changes: dict[str, Any], kept: list[str], script: ModuleType
) -> None:
    assert list(script.distinct({"2": row(), "1": row(**changes)})) == kept


def names(project: str, version: str, *platforms: str) -> list[str]:
    return [f"{project}-{version}-cp38-abi3-manylinux_2_28_{platform}.whl" for platform in platforms]


def requires(torch: str) -> str:
    return f"Requires-Dist: torch{torch}\n" if torch else "Name: no-torch\n"


@pytest.mark.parametrize(
    ("hand", "published", "kept"),
    [
        pytest.param(
            {"patches": "all"},
            {"3": "==2.9.1", "2": "==2.9.0", "1": "==1.13.0", "0.9": "==2.9.0"},
            {"3": "==2.9.1", "2": "==2.9.0"},
            id="until-one-fits-no-torch",
        ),
        pytest.param(
            {"patches": "newest"}, {"1.1.2": "==2.9.1", "1.1.1": "==2.9.0"}, {"1.1.2": "==2.9.1"}, id="newest-patch"
        ),
        pytest.param(
            {"patches": "distinct"},
            {"1.2": "==2.9.1", "1.1.2": "==2.9.1", "1.1.1": "==2.9.0"},
            {"1.2": "==2.9.1", "1.1.1": "==2.9.0"},
            id="newest-for-each-torch",
        ),
        pytest.param(
            {"patches": "all", "index": "pytorch", "torch": {"1": "==2.9.*"}},
            {"2.0": "", "1.1": "", "0.9": "", "0.8": ""},
            {"2.0": None, "1.1": "==2.9.*"},
            id="torch-named-by-hand",
        ),
        pytest.param(
            {"patches": "all", "cuda": {"2": ["12.8"]}},
            {"2.0": ">=2.0", "1.0": ">=2.0"},
            {"2.0": ">=2.0"},
            id="until-its-cuda-is-unknown",
        ),
        pytest.param({"wheels": False}, {"2": "", "1": ""}, {"2": None}, id="sources-only"),
    ],
)
def test_the_releases_of_an_extension(
    hand: dict[str, Any], published: dict[str, str], kept: dict[str, str | None], script: ModuleType
) -> None:
    about = {"index": "pypi", "cuda": None, "torch": {}, "patches": "all", "wheels": True, **hand}
    index = Published(
        script,
        {"ext": {version: (requires(torch), names("ext", version, "x86_64")) for version, torch in published.items()}},
    )
    torch = {"2.9.1": row(cuda="12.8"), "2.9.0": row(cuda="12.8")}
    known = script.Known({}, {}, {"packages": {"ext": about}}, {}, {}, torch)
    rows = script.extension_rows(index, known, "ext")
    assert {version: found["requires"].get("torch") for version, found in rows.items()} == kept


def test_the_cuda_of_an_extension_is_that_of_its_torch(script: ModuleType) -> None:
    published = {"ext": {"1": (requires("==2.9.1"), names("ext", "1", "x86_64", "aarch64"))}}
    about = {"index": "pypi", "cuda": None, "torch": {}, "patches": "all", "wheels": True}
    known = script.Known({}, {}, {"packages": {"ext": about}}, {}, {}, {"2.9.1": row(cuda="12.8")})
    found = script.extension_rows(Published(script, published), known, "ext")["1"]
    assert (found["cuda"], found["cuda_aarch64"]) == ("12.8", "12.8")
    about["index"] = "pytorch"
    found = script.extension_rows(Published(script, published), known, "ext")["1"]
    assert (found["cuda"], found["cuda_aarch64"]) == ("12.8", None)


def test_a_row(script: ModuleType) -> None:
    files = [
        "torch-2.9.1-cp312-cp312-manylinux_2_28_x86_64.whl",
        "torch-2.9.1-cp312-cp312-manylinux_2_28_aarch64.whl",
        "torch-2.9.1-cp312-cp312-win_amd64.whl",
    ]
    index = Published(script, {"torch": {"2.9.1": (TORCH_291, files)}})
    assert script.describe(index, "torch", "2.9.1", list(index.files("torch"))) == {
        "python": ">=3.10",
        "tags": {"x86_64": ["cp312"], "aarch64": ["cp312"]},
        "glibc": "2.28",
        "cuda": "12.8",
        "cuda_aarch64": None,
        "requires": {"setuptools": "", "triton": "==3.5.1"},
        "size_mib": {"aarch64": 4, "x86_64": 4},
        "yanked": False,
        "source": "torch 2.9.1, its METADATA on PyPI",
    }


def test_the_rows_of_the_toolkit(script: ModuleType) -> None:
    parts = {"nvidia-cuda-nvcc": "13.0.88", "nvidia-cuda-crt": "13.0.88"}
    published: dict[str, dict[str, tuple[str, list[str]]]] = {
        name: {pin: ("Name: part\n", names(name.replace("-", "_"), pin, "x86_64"))} for name, pin in parts.items()
    }
    published["cuda-toolkit"] = {
        version: (TOOLKIT, [f"cuda_toolkit-{version}-py2.py3-none-any.whl"]) for version in ("13.0.3.0", "12.9.1")
    }
    cuda = {
        "releases": {"13.0": {"pypi": True}, "12.9": {"pypi": False}},
        "components": {"compiler": {"pypi": ["nvcc"]}},
    }
    known = script.Known(cuda, {}, {}, {}, {}, {})
    assert script.toolkit_rows(Published(script, published), known) == {
        "13.0.3": {
            "extras": {"nvcc": {"nvidia-cuda-crt": "13.0.88", "nvidia-cuda-nvcc": "13.0.88"}},
            "size_mib": {"x86_64": 7, "aarch64": 0},
            "yanked": False,
            "source": "cuda-toolkit 13.0.3, its METADATA on PyPI",
        }
    }


# --- the file ---


def test_the_text_is_the_same_for_the_same_rows(script: ModuleType) -> None:
    packages = {"b": {"1.10": row(), "1.9": row(python=None)}, "a": {"1": row()}}
    turned = {name: dict(reversed(rows.items())) for name, rows in reversed(packages.items())}
    text = script.render(packages)
    assert text == script.render(turned)
    assert script.verify(text) is None
    assert list(yaml.safe_load(text)["packages"]["b"]) == ["1.9", "1.10"]
    assert re.search(r'^ {4}"1\.10":$', text, re.MULTILINE)


@pytest.mark.parametrize(
    ("found", "edited"),
    [
        pytest.param('"==3.5.1"', '"==3.5.0"', id="value"),
        pytest.param("      yanked: false\n", "      yanked:  false\n", id="layout"),
        pytest.param("# GENERATED", "# Written", id="head"),
        pytest.param("sha256: ", "sha256: 0", id="checksum"),
        pytest.param("packages:\n", "packages:\n<<<<<<<\n", id="not-yaml"),
        pytest.param("generated:", "generator:", id="section"),
        pytest.param('"2.9.1":', '"2.9.x":', id="version"),
        pytest.param("packages:\n", "packages: {}\nrows:\n", id="no-rows"),
    ],
)
def test_an_edit_by_hand_is_told(
    found: str,
    edited: str,
    script: ModuleType,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = script.render({"torch": {"2.9.1": row(requires={"triton": "==3.5.1"})}})
    monkeypatch.setattr(script, "CATALOGUE", tmp_path)
    (tmp_path / "pypi.yml").write_text(text, encoding="utf-8")
    assert script.main(["--check"]) == 0
    assert capsys.readouterr().out == "catalogue/pypi.yml is as the script wrote it.\n"
    assert found in text
    (tmp_path / "pypi.yml").write_text(text.replace(found, edited, 1), encoding="utf-8")
    assert script.main(["--check"]) == 1
    assert capsys.readouterr().out == f"{EDITED}\n"


def test_the_committed_file_is_as_written(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(["--check"]) == 0
    assert capsys.readouterr().out == "catalogue/pypi.yml is as the script wrote it.\n"


def test_a_package_of_no_row_is_refused(script: ModuleType) -> None:
    hand = {name: yaml.safe_load((script.CATALOGUE / f"{name}.yml").read_text()) for name in script.Known._fields[:-1]}
    with pytest.raises(
        SystemExit, match=r"^vlm is not a package of the catalogue; expected one of bitsandbytes, causal-conv1d, .*\.$"
    ):
        script.collect(Published(script, {}), hand, {}, "vlm")
