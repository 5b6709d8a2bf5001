# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a build is to do, how far it is, and why it failed: tables of what is given and what comes of it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._build import build as source
from ansible_collections.podsmith.gpu.plugins.module_utils._build.build import Progress

BUILD: dict[str, Any] = {
    "name": "flash-attn",
    "version": "2.8.3",
    "origin": {"kind": "git", "url": "https://git.example.org/flash", "ref": "v2.8.3", "submodules": True},
    "environment": {"TORCH_CUDA_ARCH_LIST": "9.0a;12.0+PTX"},
    "build_requires": ["ninja"],
    "torch": "2.9.1+cu130",
    "python": {"path": "/usr/bin/python3"},
    "cuda_home": "/usr/local/cuda-13.0",
    "jobs": 8,
}
HOST = {"machine": "x86_64", "libc": "glibc 2.39", "python": "cpython-312", "nvcc": "release 13.0"}
SHA256 = "a" * 64


def test_a_whole_entry_has_no_problem() -> None:
    assert source.check_build(BUILD) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"refs": "v1"}, ["has refs", "the keys are name, version"]),
        ({"name": "-x"}, ["the name '-x'"]),
        ({"version": "newest"}, ["the version 'newest'", "exact"]),
        ({"origin": {"kind": "svn"}}, ["'svn'", "pypi, archive, git"]),
        ({"origin": {"kind": "git", "ref": "v1"}}, ["kind git", "no url"]),
        ({"origin": {"kind": "git", "url": "https://x.org/y"}}, ["the ref None", "a tag, a branch"]),
        (
            {"origin": {"kind": "git", "url": "https://x.org/y", "ref": "--upload-pack=x"}},
            ["the ref '--upload-pack=x'"],
        ),
        ({"origin": {"kind": "git", "url": "ext::sh -c x", "ref": "v1"}}, ["the url 'ext::sh -c x'"]),
        ({"origin": {"kind": "archive", "url": "https://x.org/y", "sha256": "abc"}}, ["'abc'", "64 hexadecimal"]),
        ({"python": {"path": "python3"}}, ["the python", "/usr/bin/python3"]),
        ({"environment": {"A-B": "1"}}, ["'A-B'", "letters"]),
        ({"environment": {"A": "1\n2"}}, ["'A'", "one line"]),
        ({"environment": {"TORCH_CUDA_ARCH_LIST": "sm_120"}}, ["'sm_120'", "compute capabilities"]),
        ({"jobs": 0}, ["0 jobs", "from 1 on"]),
        ({"links": {"a": "b"}}, ["links and a python without version"]),
        ({"key": "../../etc"}, ["'../../etc'", "16 hexadecimal"]),
    ],
)
def test_what_is_wrong_with_an_entry(changes: dict[str, Any], words: list[str]) -> None:
    [problem] = source.check_build({**BUILD, **changes})
    assert [word for word in words if word not in problem] == []


@pytest.mark.parametrize(
    ("changes", "host", "is_other"),
    [
        ({"jobs": 2}, {}, False),
        ({"minutes": 5, "wheel": "/x", "steps": 7, "system_packages": ["git"]}, {}, False),
        ({"environment": {**BUILD["environment"], "MAX_JOBS": "2"}}, {}, False),
        ({"name": "Flash_Attn"}, {}, False),
        ({"cuda_home": "/opt/elsewhere"}, {}, False),
        ({"environment": {"TORCH_CUDA_ARCH_LIST": "12.0"}}, {}, True),
        ({"environment": {**BUILD["environment"], "USE_NCCL": "0"}}, {}, True),
        ({"torch": "2.9.0+cu130"}, {}, True),
        ({"origin": {**BUILD["origin"], "ref": "main"}}, {}, True),
        ({}, {"libc": "glibc 2.36"}, True),
        ({}, {"machine": "aarch64"}, True),
        ({}, {"python": "cpython-313"}, True),
        ({}, {"nvcc": "release 12.8"}, True),
    ],
)
def test_the_key_is_of_what_changes_the_wheel(changes: dict[str, Any], host: dict[str, str], is_other: bool) -> None:
    before, after = source.content_key(BUILD, HOST), source.content_key({**BUILD, **changes}, {**HOST, **host})
    assert len(after) == 16
    assert (before != after) is is_other


def test_a_mirror_replaces_the_longest_beginning() -> None:
    mirrors = {"https://github.com/": "https://m/", "https://github.com/nvidia/": "https://n/"}
    assert source.mirrored("https://github.com/nvidia/x", mirrors) == "https://n/x"
    assert source.mirrored("https://github.com/a/x", mirrors) == "https://m/a/x"
    assert source.mirrored("https://gitlab.com/a", mirrors) == "https://gitlab.com/a"


def words(step: dict[str, Any]) -> list[list[str]]:
    """The first way of each command."""
    return [ways[0] for ways in step["commands"]]


def test_a_tag_is_fetched_alone_with_its_submodules_from_the_mirror() -> None:
    fetch, build = source.plan_steps(BUILD, "/w", {"https://git.example.org/": "https://mirror/"})
    assert (fetch["name"], fetch["once"], fetch["rename"]) == ("fetch", True, ["/w/source.part", "/w/source"])
    commands = words(fetch)
    assert [
        next(word for word in command if word in ("init", "config", "fetch", "checkout", "submodule"))
        for command in commands
    ] == [
        *("init", "config", "fetch", "checkout", "submodule"),
    ]
    assert commands[2][-2:] == ["https://mirror/flash", "refs/tags/v2.8.3:refs/tags/v2.8.3"]
    assert fetch["commands"][2][1][-1] == "v2.8.3"  # or a branch of that name
    assert "url.https://mirror/.insteadOf=https://git.example.org/" in commands[4]
    assert words(build)[0][:3] == ["/w/environment/bin/python", "-m", "pip"]
    assert {"--no-deps", "--no-build-isolation"} <= set(words(build)[0])
    assert not build.get("once")


def test_a_commit_is_no_tag_and_submodules_are_asked_for() -> None:
    origin = {"kind": "git", "url": "https://x.org/y", "ref": "b" * 40, "submodules": False}
    commands = source.git_commands(origin, "/w/source.part", {})
    assert [len(ways) for ways in commands] == [1, 1, 1, 1]
    assert commands[2][0][-1] == "b" * 40


@pytest.mark.parametrize(
    ("origin", "download", "argv"),
    [
        ({"kind": "archive", "url": "https://x.org/y.tar.gz", "sha256": SHA256}, "https://m/y.tar.gz", []),
        ({"kind": "pypi", "url": "https://x.org/y.tar.gz"}, "https://m/y.tar.gz", []),
        ({"kind": "pypi"}, None, ["--no-binary", "flash-attn", "--dest", "/w/download", "flash-attn==2.8.3"]),
    ],
)
def test_an_archive_is_unpacked(origin: dict[str, Any], download: str | None, argv: list[str]) -> None:
    fetch = source.plan_steps({**BUILD, "origin": origin}, "/w", {"https://x.org/": "https://m/"})[0]
    assert (fetch.get("download"), fetch["unpack"], fetch["to"]) == (download, "/w/download", "/w/source")
    assert fetch["sha256"] == origin.get("sha256")
    assert (words(fetch)[0][-len(argv) :] if argv else words(fetch)) == argv


def test_the_build_sees_its_toolkit_its_switches_and_the_way_to_the_network() -> None:
    outer = {
        "HOME": "/root",
        "https_proxy": "http://p",
        "PIP_INDEX_URL": "http://i",
        "LD_LIBRARY_PATH": "/compat",
        "PATH": "/bin",
    }
    seen = source.build_environment(
        BUILD, "/w", outer, site="/s", adopt=None, ccache=None, ccache_links=None, cache="/c"
    )
    assert seen["PATH"] == "/w/environment/bin:/usr/local/cuda-13.0/bin:/bin"
    assert (seen["CUDA_HOME"], seen["MAX_JOBS"], seen["TORCH_CUDA_ARCH_LIST"]) == (
        "/usr/local/cuda-13.0",
        "8",
        "9.0a;12.0+PTX",
    )
    assert (seen["https_proxy"], seen["PIP_INDEX_URL"], seen["HOME"]) == ("http://p", "http://i", "/root")
    assert "LD_LIBRARY_PATH" not in seen
    assert not [name for name in seen if "CCACHE" in name or "LAUNCHER" in name]


def test_ccache_is_used_where_it_is_and_an_entry_has_the_last_word() -> None:
    build = {**BUILD, "environment": {"MAX_JOBS": "3", "CMAKE_CXX_COMPILER_LAUNCHER": ""}}
    seen = source.build_environment(
        build, "/w", {}, site="/s", adopt=None, ccache="/usr/bin/ccache", ccache_links="/usr/lib/ccache", cache="/c"
    )
    assert seen["PATH"].split(":")[:3] == ["/w/environment/bin", "/usr/lib/ccache", "/usr/local/cuda-13.0/bin"]
    assert (seen["CCACHE_DIR"], seen["CMAKE_CUDA_COMPILER_LAUNCHER"]) == ("/c/ccache", "/usr/bin/ccache")
    assert seen["PYTORCH_NVCC"] == "/usr/bin/ccache /usr/local/cuda-13.0/bin/nvcc"
    assert (seen["MAX_JOBS"], seen["CMAKE_CXX_COMPILER_LAUNCHER"]) == ("3", "")


def test_the_programs_of_what_is_adopted_are_found() -> None:
    site = "/e/1/lib/python3.12/site-packages"
    seen = source.build_environment(
        BUILD, "/w", {"PATH": "/bin"}, site="/s", adopt=site, ccache=None, ccache_links=None, cache="/c"
    )
    assert seen["PATH"] == "/w/environment/bin:/e/1/bin:/usr/local/cuda-13.0/bin:/bin"


def test_what_a_build_needs_in_its_own_site_packages() -> None:
    build = {**BUILD, "environment": {"CUDNN_ROOT": "{site}/nvidia/cudnn"}, "links": {"nvidia/lib/a.so": "a.so.9"}}
    seen = source.build_environment(build, "/w", {}, site="/s", adopt=None, ccache=None, ccache_links=None, cache="/c")
    assert seen["CUDNN_ROOT"] == "/s/nvidia/cudnn"
    build["python"] = {"path": "/usr/bin/python3", "version": "3.12.3"}
    assert source.links_of(build) == {"lib/python3.12/site-packages/nvidia/lib/a.so": "a.so.9"}


# How far it is


def ninja(last: int, size: int, first: int = 1) -> str:
    """What ninja prints for these steps, as pip passes it on."""
    return "".join(f"  [{step}/{size}] nvcc -c {step}.cu\n" for step in range(first, last + 1))


ATTEMPT = f"{source.ATTEMPT}2\n"


@pytest.mark.parametrize(
    ("log", "done", "total"),
    [
        pytest.param("Preparing metadata\n[notice] 1/2\n", 0, 0, id="nothing-counted"),
        pytest.param(ninja(7, 73), 7, 73, id="ninja"),
        pytest.param("[ 12%] Building CXX object a.o\n[ 13%] Building\n", 13, 100, id="make"),
        pytest.param(ninja(7, 73) + ATTEMPT, 7, 73, id="resumed-not-begun"),
        pytest.param(ninja(7, 73) + ATTEMPT + ninja(2, 66), 9, 73, id="resumed"),
        pytest.param(ninja(7, 73) + ATTEMPT + ninja(66, 66), 73, 73, id="resumed-to-the-end"),
        pytest.param(ninja(7, 73) + ATTEMPT + ninja(3, 73), 3, 73, id="begun-again"),
        pytest.param(ninja(10, 10) + ninja(2, 4), 12, 14, id="a-second-extension"),
        pytest.param(ninja(100, 1921) + ninja(5, 40) + ninja(101, 1921, 101), 101, 1921, id="one-inside-of-another"),
        pytest.param(ninja(40, 40) + ninja(3, 1921), 43, 1961, id="a-larger-one-after-a-small-one"),
    ],
)
def test_progress(log: str, done: int, total: int) -> None:
    found = source.scan(log, Progress())
    assert (found.done, found.total) == (done, total)
    half = log.index("\n", len(log) // 2) + 1
    assert source.scan(log[half:], source.scan(log[:half], Progress())) == found  # whatever the pieces


@pytest.mark.parametrize(
    ("samples", "total", "minutes", "left"),
    [
        pytest.param([], 0, 20.0, None, id="nothing-seen"),
        pytest.param([(60.0, 0)], 0, None, None, id="no-estimate"),
        pytest.param([(60.0, 0)], 0, 20.0, 1140.0, id="the-plan-s-estimate"),
        pytest.param([(1800.0, 0)], 0, 20.0, 0.0, id="longer-than-estimated"),
        pytest.param([(10.0, 0), (20.0, 10)], 110, 20.0, 100.0, id="by-pace"),
        pytest.param([(10.0, 0), (100.0, 10), (200.0, 60)], 110, None, 100.0, id="by-the-newer-half"),
        pytest.param([(20.0, 10)], 110, None, None, id="one-look-has-no-pace"),
        pytest.param([(10.0, 10), (20.0, 110)], 110, None, 0.0, id="done"),
    ],
)
def test_seconds_left(samples: list[tuple[float, int]], total: int, minutes: float | None, left: float | None) -> None:
    assert source.seconds_left(samples, total, minutes=minutes) == left


@pytest.mark.parametrize(
    ("progress", "phase", "seconds", "left", "line"),
    [
        (Progress(123, 1921), "build", 240.0, 1080.0, "torch 2.13.0: 123 of 1921 steps, 4 min, about 18 min left"),
        (Progress(), "fetch", 12.0, None, "torch 2.13.0: fetching the source, 12 s"),
        (Progress(), "build", 89.0, 7200.0, "torch 2.13.0: preparing the build, 89 s, about 2.0 h left"),
        (Progress(9, 9), "store", 5400.0, None, "torch 2.13.0: keeping the wheel, 1.5 h"),
    ],
)
def test_a_line(progress: Progress, phase: str, seconds: float, left: float | None, line: str) -> None:
    assert source.describe("torch 2.13.0", progress, phase=phase, seconds=seconds, left=left) == line


def test_looks_grow_rarer_up_to_one_a_minute() -> None:
    waits = [source.interval(looks) for looks in range(30)]
    assert (waits[0], waits[-1]) == (2.0, 60.0)
    assert waits == sorted(waits)


# Whether it can, and why it did not


@pytest.mark.parametrize(
    ("architectures", "listed", "unknown"),
    [
        ("12.0", "sm_80 sm_90", ["sm_120"]),
        ("9.0a;12.0+PTX", "sm_90 sm_100 sm_120", []),
        ("7.0 9.0", "sm_75 sm_90", ["sm_70"]),
        ("10.3a", "sm_100 sm_103", []),
        ("12.0", "", []),  # an nvcc too old to say
        ("", "sm_90", []),
    ],
)
def test_gpus_that_nvcc_does_not_know(architectures: str, listed: str, unknown: list[str]) -> None:
    assert source.unknown_code(architectures, listed.split()) == unknown


@pytest.mark.parametrize(
    ("jobs", "gib", "words"),
    [
        (64, 23.4, ["64 compilers", "128 GiB", "23 GiB are free", "MAX_JOBS to 11"]),
        (64, 64.0, None),
        (1, 0.5, ["MAX_JOBS to 1"]),
        (None, 1.0, None),
        (8, None, None),
    ],
)
def test_memory(jobs: int | None, gib: float | None, words: list[str] | None) -> None:
    said = source.check_memory(jobs, gib)
    assert (said is None) if words is None else [word for word in words if word not in str(said)] == []


@pytest.mark.parametrize(
    ("line", "cause", "remedy"),
    [
        (
            "c++: fatal error: Killed signal terminated program cc1plus",
            "memory did not suffice for 8 compilers",
            "MAX_JOBS, to 4 or less",
        ),
        ("/bin/sh: line 1: 4711 Killed  nvcc -c x.cu", "memory did not suffice", "MAX_JOBS"),
        ("nvcc error   : 'cicc' died due to signal 9 (Kill signal)", "memory did not suffice", "MAX_JOBS"),
        ("virtual memory exhausted: Cannot allocate memory", "memory did not suffice", "MAX_JOBS"),
        ("OSError: [Errno 28] No space left on device", "the disk is full", "pytorch_source_work_dir"),
        ("nvcc fatal   : Unsupported gpu architecture 'compute_120'", "does not know compute_120", "newer toolkit"),
        (
            "#error -- unsupported GNU version! gcc versions later than 13 are not supported!",
            "as too new",
            "CUDAHOSTCXX",
        ),
        (
            "The detected CUDA version (13.0) mismatches the version that was used to compile",
            "different CUDA majors",
            "cuda_home",
        ),
        ("x.cpp:1:10: fatal error: Python.h: No such file or directory", "headers of this Python", "python3-dev"),
        ("ModuleNotFoundError: No module named 'setuptools'", "package setuptools is missing", "build_requires"),
        ("ModuleNotFoundError: No module named 'triton'", "package triton is missing", "build_requires"),
        (
            "error: command 'g++' failed: No such file or directory",
            "no C++ compiler (g++)",
            "pytorch_source_system_packages",
        ),
        ("error: [Errno 2] No such file or directory: '/usr/local/cuda/bin/nvcc'", "did not find nvcc", "cuda_home"),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'ninja'", "there is no ninja", "add ninja"),
        ("CMake 3.27 or higher is required.  You are running version 3.25.1", "CMake 3.27 or newer", "add cmake"),
        ("/usr/bin/ld: cannot find -lcuda: No such file", "did not find libcuda", "stubs"),
        (
            "a.cu:3:10: fatal error: cutlass/cutlass.h: No such file or directory",
            "the header cutlass/cutlass.h",
            "submodules to true",
        ),
        ("fatal: couldn't find remote ref refs/tags/v9", "has no refs/tags/v9", "ref"),
        (
            "fatal: unable to access 'https://x.org/': Could not resolve host: x.org",
            "could not be fetched",
            "pytorch_source_mirrors",
        ),
        (
            "podsmith: fetch: URLError: <urlopen error [Errno -2] Name or service not known>",
            "could not be fetched",
            "mirrors",
        ),
        ("ERROR: No matching distribution found for flash-attn==9", "no source of flash-attn==9", "pip configuration"),
        ("podsmith: the source built x-2-py3-none-any.whl, wanted was x 1.", "the source built x-2", "entry"),
    ],
)
def test_known_causes(line: str, cause: str, remedy: str) -> None:
    log = f"{source.ATTEMPT}1\nstarts\n{line}\nninja: build stopped: subcommand failed.\n"
    found = source.find_cause(log, jobs=8)
    assert found is not None
    assert cause in found.cause
    assert remedy in found.remedy


def test_what_an_earlier_attempt_said_does_not_count() -> None:
    log = f"{source.ATTEMPT}1\nNo space left on device\n{source.ATTEMPT}2\nsomething else\n"
    assert source.find_cause(log, jobs=None) is None


CMAKE = f"""{source.ATTEMPT}1
  -- Performing Test HAS_WERROR - Failed
  CMake Error at cmake/public/cuda.cmake:156 (set_property):
    The link interface of target "caffe2::cuda" contains:

      CUDA::cuda_driver

    but the target was not found.  Possible reasons include:
  Call Stack (most recent call first):
  error: subprocess-exited-with-error
  Preparing metadata (pyproject.toml): finished with status 'error'
error: metadata-generation-failed
"""


def test_what_the_configure_step_found_wrong() -> None:
    """As PyTorch's own said it, with a toolkit of wheels, which have no stub of libcuda."""
    said = source.explain("torch 2.6.0", CMAKE, path="/w/log", jobs=2, code=1, step="build")
    assert "the toolkit lacks CUDA::cuda_driver, which the project links" in said
    assert "cuda.cmake:156 (set_property): The link interface of target" in said
    assert "metadata" not in said
    assert "cuda-driver-dev" in said


def test_what_was_missing_long_before_does_not_count() -> None:
    log = "ModuleNotFoundError: No module named 'triton'\n" + "[1/2] x\n" * source.RECENT + "something else\n"
    assert source.find_cause(log, jobs=None) is None


def test_a_command_is_no_cause() -> None:
    assert source.find_cause("podsmith: runs git init\npodsmith: fetches https://x.org\n", jobs=None) is None


def test_the_whole_error() -> None:
    log = f"{source.ATTEMPT}1\n[1/2] nvcc x.cu\nx.cu(3): error: expected a ;\n1 error\nTraceback (most recent):\n"
    said = source.explain("flash-attn 2.8.3", log, path="/w/log", jobs=8, code=1, step="build")
    assert said.startswith(
        "flash-attn 2.8.3 was not built: the step build ended with status 1. It said: x.cu(3): error: expected a ;"
    )
    assert "/w/log on this host; read the log" in said
    assert "Traceback" not in said
    killed = source.explain(
        "flash-attn 2.8.3", f"{source.ATTEMPT}1\n[1/2] nvcc x.cu\n", path="/w/log", jobs=8, code=None, step="build"
    )
    assert "the step build was killed. It said: [1/2] nvcc x.cu" in killed
    assert killed.endswith("run again: it goes on from there.")
