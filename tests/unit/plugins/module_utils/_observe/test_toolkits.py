# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.toolkits import (
    LIBRARY_HEADERS,
    find_compat,
    find_compilers,
    find_cutlasses,
    find_toolkits,
    find_wheels,
    parse_cuda_header,
    parse_cutlass_version,
    parse_dpkg_status,
    parse_math_functions,
    parse_nvcc_version,
    parse_patch,
    parse_version_json,
)

PREFIX = "/opt/podsmith"
VERSION_H = "#define CUTLASS_MAJOR 4\n#define CUTLASS_MINOR 3\n#define CUTLASS_PATCH 0\n"
STATUS = """\
Package: cuda-nvcc-13-0
Status: install ok installed
Architecture: amd64
Version: 13.0.88-1

Package: cuda-nvcc-12-8
Status: deinstall ok config-files
Version: 12.8.93-1

Package: zlib1g
Status: install ok installed
Version: 1:1.2.13
"""


def write(folder: Path, files: Mapping[str, str | bytes]) -> Root:
    for name, content in files.items():
        path = folder / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        if path.name == "nvcc":
            path.chmod(0o755)
    return Root(str(folder))


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ('{"cuda": {"name": "CUDA SDK", "version": "13.0.2"}, "cuda_nvcc": {"version": "13.0.88"}}', "13.0.88"),
        ('{"cuda": {"version": "13.0.2"}}', "13.0.2"),
        ("{}", None),
        ("[]", None),
        ('{"cuda": 3}', None),
        ('{"cuda": {"version": 13}}', None),
        ("", None),
    ],
)
def test_version_json(text: str, version: str | None) -> None:
    assert parse_version_json(text) == version


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("/* x */\n#define CUDA_VERSION 13000\n", "13.0"),
        ("#define CUDA_VERSION 12080\n", "12.8"),
        ("#define CUDA 1\n", None),
    ],
)
def test_cuda_header(text: str, release: str | None) -> None:
    assert parse_cuda_header(text) == release


@pytest.mark.parametrize(
    ("text", "version"),
    [("Cuda compilation tools, release 13.0, V13.0.88\nBuild x\n", "13.0.88"), ("release 13.0", None)],
)
def test_nvcc_version(text: str, version: str | None) -> None:
    assert parse_nvcc_version(text) == version


@pytest.mark.parametrize(("text", "version"), [(VERSION_H, "4.3.0"), ("#define CUTLASS_MAJOR 4\n", None), ("", None)])
def test_cutlass_version(text: str, version: str | None) -> None:
    assert parse_cutlass_version(text) == version


def test_dpkg_status() -> None:
    assert parse_dpkg_status(STATUS, "cuda-") == {"cuda-nvcc-13-0": "13.0.88-1"}


def image_toolkit(path: str = "/usr/local/cuda-13.0") -> dict[str, str | bytes]:
    return {
        f"{path}/bin/nvcc": "#!/bin/sh\n",
        f"{path}/include/cuda.h": "#define CUDA_VERSION 13000\n",
        f"{path}/include/cuda_runtime_api.h": "",
        f"{path}/lib64/libcudart.so.13": "",
    }


def record(**values: Any) -> dict[str, Any]:
    base = {"version": "13.0.88", "release": "13.0", "path": "/usr/local/cuda-13.0", "provider": "image"}
    return {**base, "cudart": True, "nvcc": True, "components": ["compiler"], "broken": [], **values}


def test_an_images_toolkit(tmp_path: Path) -> None:
    files = {**image_toolkit(), "usr/local/cuda-13.0/version.json": '{"cuda_nvcc": {"version": "13.0.88"}}'}
    root = write(tmp_path, files)
    (tmp_path / "usr/local/cuda").symlink_to("cuda-13.0")
    assert find_toolkits(root, [PREFIX], {"CUDA_HOME": "/usr/local/cuda/"}) == [record()]


@pytest.mark.parametrize(
    ("headers", "components"),
    [
        pytest.param([], ["compiler"], id="compiler"),
        pytest.param(["nvrtc.h", "cccl/thrust/version.h"], ["compiler", "runtime_dev"], id="cuda-13-layout"),
        pytest.param(
            ["nvrtc.h", "thrust/version.h", *LIBRARY_HEADERS], ["compiler", "runtime_dev", "libraries"], id="libraries"
        ),
        pytest.param(list(LIBRARY_HEADERS[1:]), ["compiler"], id="one-is-missing"),
        pytest.param(
            [*LIBRARY_HEADERS, "nvrtc.h", "thrust/version.h", "nvtx3/nvToolsExt.h", "cuda_profiler_api.h", "nvml.h"],
            ["compiler", "runtime_dev", "libraries"],
            id="without-cupti",
        ),
    ],
)
def test_the_components_of_a_toolkit(headers: list[str], components: list[str], tmp_path: Path) -> None:
    files = {**image_toolkit(), **{f"usr/local/cuda-13.0/include/{name}": "" for name in headers}}
    (toolkit,) = find_toolkits(write(tmp_path, files), [], {})
    assert toolkit["components"] == components


def test_a_full_toolkit_has_cupti_beside_its_headers(tmp_path: Path) -> None:
    names = [*LIBRARY_HEADERS, "nvrtc.h", "thrust/version.h", "nvtx3/nvToolsExt.h", "cuda_profiler_api.h", "nvml.h"]
    files = {**image_toolkit(), **{f"usr/local/cuda-13.0/targets/x86_64-linux/include/{name}": "" for name in names}}
    files["usr/local/cuda-13.0/extras/CUPTI/include/cupti.h"] = ""
    (toolkit,) = find_toolkits(write(tmp_path, files), [], {})
    assert toolkit["components"] == ["compiler", "runtime_dev", "libraries", "full"]


def test_the_distributions_toolkit_has_its_packages_version(tmp_path: Path) -> None:
    dpkg = {"var/lib/dpkg/info/cuda-nvcc-13-0.list": "", "var/lib/dpkg/status": STATUS}
    assert find_toolkits(write(tmp_path, {**image_toolkit(), **dpkg}), [PREFIX], {}) == [record(provider="apt")]


def test_nvcc_is_asked_last(tmp_path: Path) -> None:
    root = write(tmp_path, image_toolkit())
    asked: list[str] = []

    def ask(path: str) -> str:
        asked.append(path)
        return "release 13.0, V13.0.88"

    assert find_toolkits(root, [], {})[0]["version"] == "13.0"
    assert find_toolkits(root, [], {}, ask) == [record()]
    assert asked == ["/usr/local/cuda-13.0/bin/nvcc"]


def test_a_toolkit_made_of_wheels_beside_their_list(tmp_path: Path) -> None:
    files = {**image_toolkit(), "usr/local/cuda-13.0/dist-info/nvidia_cuda_nvcc-13.0.88.dist-info/RECORD": ""}
    assert find_toolkits(write(tmp_path, files), [], {}) == [record()]


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"usr/local/cuda-13.0/compat/libcuda.so.580.95.05": ""}, id="compat-alone"),
        pytest.param({"usr/local/cuda-13.0/lib64/libcudart.so.13": ""}, id="run-time-alone"),
        pytest.param({"opt/cuda-samples/README": ""}, id="samples"),
    ],
)
def test_not_every_folder_is_a_toolkit(tmp_path: Path, files: dict[str, str | bytes]) -> None:
    assert find_toolkits(write(tmp_path, files), [], {}) == []


def pypi_toolkit() -> dict[str, str | bytes]:
    site = f"{PREFIX}/toolkits/13.0"
    listed = "nvidia/cu13/bin/nvcc,sha256=a,10\nnvidia/cu13/include/cuda.h,sha256=b,27\n"
    return {
        **image_toolkit(f"{site}/nvidia/cu13"),
        f"{site}/nvidia/cu13/lib/stubs/libcuda.so": "",
        f"{site}/nvidia_cuda_nvcc-13.0.88.dist-info/RECORD": listed,
        f"{site}/nvidia_cuda_runtime-13.0.96.dist-info/RECORD": "nvidia/cu13/lib64/libcudart.so.13,sha256=c,0\n",
    }


def test_our_toolkit_is_whole(tmp_path: Path) -> None:
    path = f"{PREFIX}/toolkits/13.0/nvidia/cu13"
    assert find_toolkits(write(tmp_path, pypi_toolkit()), [PREFIX], {}) == [record(path=path, provider="pypi")]


def test_what_our_toolkit_lacks_is_named(tmp_path: Path) -> None:
    root = write(tmp_path, pypi_toolkit())
    (tmp_path / f"{PREFIX}/toolkits/13.0/nvidia/cu13/bin/nvcc".lstrip("/")).unlink()
    (toolkit,) = find_toolkits(root, [PREFIX], {})
    assert (toolkit["nvcc"], toolkit["broken"], toolkit["version"]) == (False, ["bin/nvcc"], "13.0.88")


@pytest.mark.parametrize(
    ("more", "gone", "broken"),
    [
        pytest.param([], "nvidia/cu13/lib/stubs/libcuda.so", ["lib/stubs/libcuda.so"], id="stub"),
        pytest.param(["nvidia_nvvm-13.0.88"], None, [], id="one-compiler"),
        pytest.param(["nvidia_nvvm-13.2.86"], None, ["nvidia-nvvm 13.0.88"], id="nvvm-of-another-release"),
        pytest.param(["nvidia_cuda_crt-13.5.37"], None, ["nvidia-cuda-crt 13.0.88"], id="crt-of-another-release"),
    ],
)
def test_what_wheels_leave_out_of_a_toolkit_is_named(
    tmp_path: Path, more: list[str], gone: str | None, broken: list[str]
) -> None:
    site = f"{PREFIX}/toolkits/13.0"
    listed = "nvidia/cu13/bin/nvcc,sha256=a,10\n"
    files = {**pypi_toolkit(), **{f"{site}/{name}.dist-info/RECORD": listed for name in more}}
    root = write(tmp_path, {path: text for path, text in files.items() if not gone or not path.endswith(gone)})
    (toolkit,) = find_toolkits(root, [PREFIX], {})
    assert toolkit["broken"] == broken


@pytest.mark.parametrize(
    ("text", "patch"),
    [
        ('{"cuda": {"name": "CUDA SDK", "version": "13.0.2"}}', "13.0.2"),
        ('{"cuda": {"version": "11.8.20220929"}}', None),
        ('{"cuda_nvcc": {"version": "13.0.88"}}', None),
        ("[]", None),
        ("", None),
    ],
)
def test_the_patch_release_that_a_toolkit_says_it_is(text: str, patch: str | None, tmp_path: Path) -> None:
    files = {**image_toolkit(), "/usr/local/cuda-13.0/version.json": text}
    (toolkit,) = find_toolkits(write(tmp_path, files), [], {})
    assert (parse_patch(text), toolkit.get("patch", None)) == (patch, patch)


def test_our_toolkit_without_any_file_is_still_ours(tmp_path: Path) -> None:
    listed = {f"{PREFIX}/toolkits/13.0/nvidia_cuda_nvcc-13.0.88.dist-info/RECORD": "nvidia/cu13/bin/nvcc,sha256=a,10\n"}
    (toolkit,) = find_toolkits(write(tmp_path, listed), [PREFIX], {})
    assert (toolkit["provider"], toolkit["broken"], toolkit["cudart"]) == ("pypi", ["bin/nvcc"], False)


def test_a_toolkit_that_lost_a_list_of_files_is_broken(tmp_path: Path) -> None:
    """Two answers before: python_packages reinstalls such a package, but gpu_facts, which plans read, saw nothing."""
    info = f"{PREFIX}/toolkits/13.0/nvidia_cuda_nvcc-13.0.88.dist-info"
    root = write(tmp_path, {f"{info}/METADATA": "", f"{PREFIX}/toolkits/13.0/nvidia/cu13/bin/nvcc": ""})
    (toolkit,) = find_toolkits(root, [PREFIX], {})
    assert toolkit["broken"] == ["nvidia_cuda_nvcc-13.0.88.dist-info/RECORD"]


def test_compat_libraries_without_a_note_have_unknown_lists(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "usr/local/cuda-13.0/compat/libcuda.so.580.95.05": b"\x7fELF",
            f"{PREFIX}/compat/12.8/usr/local/cuda-12.8/compat/libcuda.so.570.26": b"\x7fELF",
            "usr/local/cuda-11.8/compat/README": "",
        },
    )
    (tmp_path / "usr/local/cuda-13.0/compat/libcuda.so.1").symlink_to("libcuda.so.580.95.05")
    (tmp_path / "usr/local/cuda").symlink_to("cuda-13.0")
    assert find_compat(root, [PREFIX]) == [
        {
            "package": "cuda-compat-13-0",
            "version": "580.95.05",
            "path": "/usr/local/cuda-13.0/compat",
            "cuda": "13.0",
            "branches": None,
            "brands": None,
            "managed": False,
            "broken": [],
        },
        {
            "package": "cuda-compat-12-8",
            "version": "570.26",
            "path": f"{PREFIX}/compat/12.8/usr/local/cuda-12.8/compat",
            "cuda": "12.8",
            "branches": None,
            "brands": None,
            "managed": True,
            "broken": ["libcuda.so.1"],
        },
    ]


@pytest.mark.parametrize(
    ("links", "broken"),
    [
        pytest.param({"libcuda.so.1": 1, "libnvidia-ptxjitcompiler.so.1": 1}, [], id="whole"),
        pytest.param({"libnvidia-ptxjitcompiler.so.1": 1}, ["libcuda.so.1"], id="libcuda"),
        pytest.param({"libcuda.so.1": 1}, ["libnvidia-ptxjitcompiler.so.1"], id="compiler"),
        pytest.param({"libcuda.so.1": 0, "libnvidia-ptxjitcompiler.so.1": 1}, ["libcuda.so.1"], id="leads-nowhere"),
    ],
)
def test_a_compat_library_without_its_links_is_broken(tmp_path: Path, links: dict[str, int], broken: list[str]) -> None:
    folder, names = "usr/local/cuda-13.0/compat", ("libcuda", "libnvidia-ptxjitcompiler")
    root = write(tmp_path, {f"{folder}/{name}.so.580.95.05": b"" for name in names})
    for name, good in links.items():
        target = f"{name.removesuffix('1')}{'580.95.05' if good else '570.26'}"
        (tmp_path / folder / name).symlink_to(target)
    (row,) = find_compat(root, [])
    assert row["broken"] == broken


@pytest.mark.parametrize(("recorded", "managed"), [("[]", False), ('["cuda-compat-13-0"]', True), ("null", False)])
def test_compat_is_managed_where_our_record_says_so(tmp_path: Path, recorded: str, managed: bool) -> None:
    library, record = "/usr/local/cuda-13.0/compat/libcuda.so.580.95.05", f"{PREFIX}/state/compat.json"
    root = write(tmp_path, {library: b"", record: f'{{"installed": {recorded}}}'})
    assert [row["managed"] for row in find_compat(root, [PREFIX])] == [managed]


def headers(folder: str) -> dict[str, str | bytes]:
    return {
        f"{folder}/include/cutlass/version.h": VERSION_H,
        f"{folder}/include/cutlass/cutlass.h": "",
        f"{folder}/include/cute/tensor.hpp": "",
    }


def test_cutlass_of_a_working_tree_has_its_commit(tmp_path: Path) -> None:
    commit = "8afb19d9" * 5
    tree = {
        "opt/cutlass/.git/HEAD": "ref: refs/heads/main\n",
        "opt/cutlass/.git/packed-refs": f"{commit} refs/heads/main\n",
    }
    found = find_cutlasses(write(tmp_path, {**headers("/opt/cutlass"), **tree}), [PREFIX], {})
    assert found == [{"version": "4.3.0", "commit": commit, "path": "/opt/cutlass", "broken": []}]


def test_our_cutlass_comes_first_and_the_system_ones_too(tmp_path: Path) -> None:
    root = write(tmp_path, {**headers("/usr/local"), **headers(f"{PREFIX}/cutlass/4.3.0"), **headers("/srv/cutlass")})
    found = find_cutlasses(root, [PREFIX], {"CUTLASS_HOME": "/srv/cutlass"})
    assert [cutlass["path"] for cutlass in found] == [f"{PREFIX}/cutlass/4.3.0", "/srv/cutlass", "/usr/local"]


@pytest.mark.parametrize(
    ("gone", "broken"),
    [("cute/tensor.hpp", ["include/cute/tensor.hpp"]), ("cutlass/version.h", ["include/cutlass/version.h"])],
)
def test_what_our_cutlass_lacks_is_named(tmp_path: Path, gone: str, broken: list[str]) -> None:
    root = write(tmp_path, headers(f"{PREFIX}/cutlass/4.3.0"))
    (tmp_path / f"opt/podsmith/cutlass/4.3.0/include/{gone}").unlink()
    (cutlass,) = find_cutlasses(root, [PREFIX], {})
    assert (cutlass["version"], cutlass["broken"]) == ("4.3.0", broken)


def test_the_wheels_list_counts_where_there_is_one(tmp_path: Path) -> None:
    listed = "cutlass_library/source/include/cute/layout.hpp,sha256=x,5\ncutlass_library/a.py,sha256=y,5\n"
    folder = f"{PREFIX}/cutlass/4.2.0"
    root = write(tmp_path, {**headers(folder), f"{folder}/nvidia_cutlass-4.2.0.0.dist-info/RECORD": listed})
    assert find_cutlasses(root, [PREFIX], {})[0]["broken"] == ["cutlass_library/source/include/cute/layout.hpp"]


def test_wheels_that_were_built_here(tmp_path: Path) -> None:
    store = f"{PREFIX}/wheels"
    files = {
        f"{store}/0123456789abcdef/Flash_Attn-2.8.3-cp312-cp312-linux_x86_64.whl": "",
        f"{store}/0123456789abcdef/build.json": "{}",
        f"{store}/fedcba9876543210/torch-2.13.0+cu130.src0a1b2c3d-cp312-cp312-linux_x86_64.whl": "",
        f"{store}/unfinished/torch-2.13.0-cp312-cp312-linux_x86_64.whl": "",
        f"{store}/aaaaaaaaaaaaaaaa/notes.whl": "",
    }
    found = find_wheels(write(tmp_path, {path[1:]: text for path, text in files.items()}), [PREFIX, "/none"])
    assert [(row["key"], row["name"], row["version"]) for row in found] == [
        ("0123456789abcdef", "flash-attn", "2.8.3"),
        ("fedcba9876543210", "torch", "2.13.0+cu130.src0a1b2c3d"),
    ]
    assert found[0]["path"] == f"{store}/0123456789abcdef/Flash_Attn-2.8.3-cp312-cp312-linux_x86_64.whl"


PLAIN = "extern __device_builtin__ double                 {}(double x){};\n"


@pytest.mark.parametrize(
    ("text", "may_throw"),
    [
        pytest.param(
            "".join(PLAIN.format(name, "") for name in ("rsqrt", "sinpi", "cospi")), ["cospi", "rsqrt", "sinpi"]
        ),
        pytest.param(PLAIN.format("rsqrt", "") + PLAIN.format("sinpi", " __NV_SPECIFIER"), ["rsqrt"]),
        pytest.param(PLAIN.format("rsqrt", " noexcept(true)"), []),
        pytest.param("", None),
        pytest.param("extern double rsqrtf(float x);", None),
    ],
)
def test_the_functions_of_a_toolkits_own_header(text: str, may_throw: list[str] | None, tmp_path: Path) -> None:
    """An image's header may have been patched for a newer glibc, and one of wheels never was."""
    assert parse_math_functions(text) == may_throw
    header = "include/crt/math_functions.h"
    (toolkit,) = find_toolkits(write(tmp_path, {**image_toolkit(), f"/usr/local/cuda-13.0/{header}": text}), [], {})
    assert toolkit.get("may_throw") == may_throw


# --- the C++ compilers beside it ---


@pytest.fixture
def programs(tmp_path: Path) -> Callable[..., Root]:
    """A root with these programs, each a file that may be run or, with an arrow, a link to another one."""

    def make(*names: str, folders: tuple[str, ...] = ()) -> Root:
        for folder in folders:
            (tmp_path / folder).mkdir(parents=True)
        for name in names:
            path, _arrow, target = name.partition(" -> ")
            place = tmp_path / path
            place.parent.mkdir(parents=True, exist_ok=True)
            if target:
                place.symlink_to(target)
            else:
                place.write_text("")
                place.chmod(0o755)
        return Root(str(tmp_path))

    return make


DEBIAN = (
    "usr/bin/x86_64-linux-gnu-g++-12",
    "usr/bin/g++-12 -> x86_64-linux-gnu-g++-12",
    "usr/bin/g++ -> g++-12",
    "usr/bin/g++-11",
    "usr/lib/llvm-14/bin/clang",
    "usr/lib/llvm-14/bin/clang++ -> clang",
    "usr/bin/clang++-14 -> ../lib/llvm-14/bin/clang++",
    "usr/bin/g++.real",
    "usr/bin/clang++-format",
)
FEDORA = ("usr/bin/g++", "usr/bin/c++ -> g++", "usr/bin/clang-20", "usr/bin/clang++ -> clang-20")
RHEL = ("usr/bin/g++", "opt/rh/gcc-toolset-13/root/usr/bin/g++")


@pytest.mark.parametrize(
    ("names", "folders", "found"),
    [
        pytest.param(
            DEBIAN,
            (),
            [
                ("clang", "/usr/bin/clang++-14", "14"),
                ("gcc", "/usr/bin/g++", "12"),
                ("gcc", "/usr/bin/g++-11", "11"),
            ],
            id="debian",
        ),
        pytest.param(
            FEDORA,
            ("usr/lib/gcc/x86_64-redhat-linux/16",),
            [("clang", "/usr/bin/clang++", "20"), ("gcc", "/usr/bin/g++", "16")],
            id="fedora",
        ),
        pytest.param(
            RHEL,
            ("usr/lib/gcc/x86_64-redhat-linux/8", "usr/lib/gcc/x86_64-redhat-linux/11"),
            [("gcc", "/usr/bin/g++", None), ("gcc", "/opt/rh/gcc-toolset-13/root/usr/bin/g++", "13")],
            id="rhel-with-a-toolset",
        ),
        pytest.param((), (), [], id="none"),
    ],
)
def test_every_compiler_by_its_name_alone(
    names: tuple[str, ...], folders: tuple[str, ...], found: list[tuple[str, str, str | None]], programs: Any
) -> None:
    root = programs(*names, folders=folders)
    rows = find_compilers(root, ["/usr/local/bin", "/usr/bin", "/opt/shims", "/bin"])
    assert [(row["kind"], row["path"], row["version"]) for row in rows] == found


def test_what_the_default_compiler_said_counts(programs: Any) -> None:
    root = programs("usr/bin/g++", "usr/bin/c++ -> g++")
    rows = find_compilers(root, ["/usr/bin"], {"path": "/usr/bin/c++", "version": "16.1.1"})
    assert rows == [{"kind": "gcc", "path": "/usr/bin/c++", "version": "16.1.1"}]


def test_a_folder_of_many_compilers_is_not_listed_without_end(programs: Any) -> None:
    root = programs(*(f"usr/bin/g++-{number}" for number in range(40)))
    assert len(find_compilers(root, ["/usr/bin"])) == 24
