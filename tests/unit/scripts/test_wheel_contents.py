# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the script reads inside wheels, and what it makes of it; the bytes are excerpts of published ones."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

SCRIPTS = pathlib.Path(__file__).resolve().parents[3] / "scripts"
MODULES = ("held_parts", "package_index", "refresh_catalogue", "wheel_contents", "wheel_metadata")
PTXAS_12 = b"...Cuda compilation tools, release 12.9, V12.9.86\nBuild cuda_12.9.r12.9/compiler..."
PTXAS_13 = b"...Cuda compilation tools, release 13.4, V13.4.59\nBuild cuda_13.4.r13.4/compiler..."
TABLE = """\
### Compatibility
| `torchcodec` | `torch` | Python |
| --- | --- | --- |
| `main` / `nightly` | `main` / `nightly` | `>=3.10` |
| `0.16` | `>=2.11` | `>=3.10`, `<=3.14` |
| `0.9` | `2.9` | `>=3.10`, `<=3.14` |

| `other` | `torch` |
| --- | --- |
| `7.1` | `2.1` |

| `torchcodec` | `torch` |
| `0.0.3` | `2.4` |
"""


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, ModuleType]]:
    sys.path.insert(0, str(SCRIPTS))
    try:
        yield {name: __import__(name) for name in MODULES}
    finally:
        sys.path.remove(str(SCRIPTS))
        for name in MODULES:
            sys.modules.pop(name, None)


def test_the_cuda_of_a_library(scripts: Any) -> None:
    read = scripts["wheel_contents"].cuda_of_library
    assert read({"a.so": b"libc10.so\0libcudart.so.13\0"}) == "13.0"
    assert read({"a.so": b"libc10.so\0", "b.so": b"libcudart.so.12\0"}) == "12.0"
    assert read({"a.so": b"libtorch_cuda.so\0libcudart.so\0"}) is None
    assert read({}) is None


def test_the_label_of_a_build(scripts: Any) -> None:
    read = scripts["wheel_contents"].label_of
    assert read({"a/version.py": b"__version__ = '0.29.2+cu132'\n"}) == "cu132"
    assert read({"a/version.py": b'__version__ = "0.0.35"\n'}) is None


@pytest.mark.parametrize(
    ("source", "programs", "found"),
    [
        pytest.param(
            "def get_ptxas(arch: int):\n    if arch < 90:\n        return ptxas\n    return ptxas_blackwell\n",
            {"ptxas": PTXAS_12, "ptxas-blackwell": PTXAS_13},
            {"legacy": "12.9", "blackwell": "13.4", "blackwell_from": "9.0"},
            id="3.9",
        ),
        pytest.param(
            "def first(arch):\n    return arch >= 80\n\n"
            "def get_ptxas(arch: int):\n    return ptxas_blackwell if arch >= 100 else ptxas\n",
            {"ptxas": PTXAS_12, "ptxas-blackwell": PTXAS_13},
            {"legacy": "12.9", "blackwell": "13.4", "blackwell_from": "10.0"},
            id="3.8",
        ),
        pytest.param(
            "def get_ptxas():\n    return ptxas\n\ndef other(arch):\n    return arch >= 100\n",
            {"ptxas": PTXAS_12},
            {"legacy": "12.9", "blackwell": None, "blackwell_from": None},
            id="3.5",
        ),
    ],
)
def test_the_ptxas_of_a_triton(source: str, programs: dict[str, bytes], found: Any, scripts: Any) -> None:
    members = {f"triton/backends/nvidia/bin/{name}": data for name, data in programs.items()}
    members["triton/backends/nvidia/compiler.py"] = source.encode()
    assert scripts["wheel_contents"].ptxas_of(members) == found


def test_the_torch_in_a_table(scripts: Any) -> None:
    read = scripts["wheel_contents"].tabled_torches
    assert read(TABLE, "torchcodec") == {"0.16": ">=2.11", "0.9": "==2.9.*", "0.0.3": "==2.4.*"}
    assert read("no table", "torchcodec") == {}


def test_the_indexes_that_a_description_names(scripts: Any) -> None:
    text = (
        "pip install torch torchcodec --index-url=https://download.pytorch.org/whl/cu130\n"
        "pip install torchcodec --index-url https://download.pytorch.org/whl/cpu\n"
        "pip install torchcodec-xpu --extra-index-url=https://download.pytorch.org/whl/xpu\n"
        "pip install torch --index-url=https://download.pytorch.org/whl/cu126\n"
    )
    assert scripts["wheel_contents"].documented_indexes(text, "torchcodec", ["cpu", "cu126", "cu130"]) == [
        "cpu",
        "cu130",
    ]


# --- what has to be held ---

TORCH = """\
Name: torch
Requires-Dist: cuda-toolkit[cudart,nvjitlink]==13.2.2; platform_system == "Linux"
Requires-Dist: nvidia-nvshmem-cu13==3.7.2; platform_system == "Linux"
Requires-Dist: nvidia-cublas<=13.1.1.3,>=13.1.0.3; platform_system == "Linux"
Requires-Dist: filelock
"""
PUBLISHED = {
    "cuda-toolkit": """\
Provides-Extra: cudart
Requires-Dist: nvidia-cuda-runtime==13.2.86.*; sys_platform == "linux" and extra == "cudart"
Provides-Extra: nvjitlink
Requires-Dist: nvidia-nvjitlink<14,>=13.2.86; sys_platform == "linux" and extra == "nvjitlink"
Provides-Extra: cccl
Requires-Dist: nvidia-cuda-cccl==13.2.86.*; sys_platform == "linux" and extra == "cccl"
Provides-Extra: cublas
Requires-Dist: nvidia-cublas==13.1.0.3.*; sys_platform == "linux" and extra == "cublas"
""",
    "nvidia-nvshmem-cu13": "Requires-Dist: nvidia-cuda-cccl\nRequires-Dist: nvidia-unnamed\n",
    "nvidia-cuda-runtime": "Name: x\n",
}


def test_what_nobody_pins_is_held(scripts: Any) -> None:
    """nvJitLink by a range, CCCL by another package; what is pinned, bounded or unknown to the toolkit is left."""
    held = scripts["held_parts"].held_parts(TORCH, lambda name, _specifier: PUBLISHED.get(name))
    assert held == {"nvidia-cuda-cccl": "13.2.86", "nvidia-nvjitlink": "13.2.86"}


# --- rows ---


def hand(**changes: Any) -> dict[str, Any]:
    return {"index": "pypi", "cuda": None, "torch": {}, "patches": "all", "wheels": True, "import": "ext", **changes}


def test_the_builds_for_other_cudas(scripts: Any) -> None:
    refresh = scripts["refresh_catalogue"]
    indexes = {"cu130": {"cuda": "13.0", "url": "https://whl.example/cu130"}}
    variant = {"name": "cu129", "cuda": "12.9", "first": "0.20.0", "last": "0.20.2", "glibc": None}
    variant |= {"index": "https://own.example/{version}/cu129", "architectures": ["x86_64"]}
    row = {"tags": {"x86_64": ["py3"]}, "glibc": "2.28"}
    text = "pip install ext --index-url=https://download.pytorch.org/whl/cu130"
    found = refresh.variants_of(hand(variants=[variant]), "0.20.1", text, ("ext", row, {"indexes": indexes}))
    assert found == {
        "cu129": {
            "cuda": "12.9",
            "index": "https://own.example/0.20.1/cu129",
            "architectures": ["x86_64"],
            "glibc": None,
        },
        "cu130": {
            "cuda": "13.0",
            "index": "https://whl.example/cu130",
            "architectures": ["x86_64"],
            "glibc": "2.28",
        },
    }
    later = refresh.variants_of(hand(variants=[variant]), "0.21.0", "", ("ext", row, {"indexes": indexes}))
    assert later == {}


@pytest.mark.parametrize(
    ("label", "wanted", "torch"),
    [
        ("cu132", ">=2.14", "2.15.0"),
        ("cu130", ">=2.14", "2.14.0"),
        ("cu130", ">=2.11", "2.11.0"),
        ("cu118", ">=2", None),
    ],
)
def test_the_torch_that_a_release_was_built_with(label: str, wanted: str, torch: str | None, scripts: Any) -> None:
    refresh = scripts["refresh_catalogue"]
    cudas = {"2.11.0": "13.0", "2.14.0": "13.0", "2.14.1": "13.0", "2.15.0": "13.2"}
    indexes = {"cu118": {"cuda": "11.8"}, "cu130": {"cuda": "13.0"}, "cu132": {"cuda": "13.2"}}
    rows = {version: {"cuda": cuda} for version, cuda in cudas.items()}
    known = refresh.Known({}, {"indexes": indexes}, {}, {}, {}, rows)
    assert refresh.built_with(label, wanted, known).get("built_with") == torch


def test_what_another_package_pins_is_kept(scripts: Any) -> None:
    refresh, index_module = scripts["refresh_catalogue"], scripts["package_index"]

    class Index:
        def files(self, project: str) -> tuple[Any, ...]:
            return tuple(
                index_module.File(f"{project}-{version}-py3-none-any.whl", version, "https://x", None, yanked=False)
                for version in ("0.7.4", "0.7.2", "0.6.0")
            )

        def wheel(self, _file: Any) -> Any:
            return index_module.Wheel("Name: ext\n", 1, None)

    known = refresh.Known({}, {"indexes": {}}, {"packages": {"ext": hand()}}, {}, {}, {})
    user = {"requires": {"ext": "==0.7.2"}}, {"requires": {"ext": ">=0.6.0"}}, {"requires": {"ext": "==0.6.*"}}
    rows = {"ext": {"0.7.4": {}}, "user": dict(enumerate(user))}
    assert list(refresh.pinned_rows(Index(), known, "ext", rows)) == ["0.7.2"]


def test_the_c_library_by_machine(scripts: Any) -> None:
    least = scripts["wheel_metadata"].least_glibc
    names = ["torch-2.6.0-cp312-cp312-manylinux1_x86_64.whl", "torch-2.6.0-cp312-cp312-manylinux_2_28_aarch64.whl"]
    assert (least(names), least(names, "x86_64"), least(names, "aarch64")) == ("2.28", "2.5", "2.28")
