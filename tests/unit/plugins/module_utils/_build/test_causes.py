# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a build failed: what tools say in the log, and what is made of it."""

from __future__ import annotations

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._build import causes
from ansible_collections.podsmith.gpu.plugins.module_utils._build.progress import ATTEMPT


@pytest.mark.parametrize(
    ("line", "cause", "remedy"),
    [
        (
            "c++: fatal error: Killed signal terminated program cc1plus",
            "out of memory with 8 parallel compilers",
            "MAX_JOBS to 4 or less",
        ),
        ("/bin/sh: line 1: 4711 Killed  nvcc -c x.cu", "out of memory", "MAX_JOBS"),
        ("nvcc error   : 'cicc' died due to signal 9 (Kill signal)", "out of memory", "MAX_JOBS"),
        ("virtual memory exhausted: Cannot allocate memory", "out of memory", "MAX_JOBS"),
        ("OSError: [Errno 28] No space left on device", "the disk is full", "pytorch_source_work_dir"),
        ("nvcc fatal   : Unsupported gpu architecture 'compute_120'", "does not support compute_120", "newer toolkit"),
        (
            "#error -- unsupported GNU version! gcc versions later than 13 are not supported!",
            "does not support the host's C++ compiler (GNU): it is too new",
            "CUDAHOSTCXX",
        ),
        (
            "#error -- unsupported clang version! clang version must be less than 21 and greater than 3.2 .",
            "does not support the host's C++ compiler (clang)",
            "NVCC_CCBIN",
        ),
        (
            (
                "/usr/include/bits/mathcalls.h(79): error: exception specification is incompatible with that of previous"
                ' function "cospi" (declared at line 2601 of /usr/local/cuda-12.9/include/crt/math_functions.h)'
            ),
            "the host's glibc declares cospi differently from this toolkit's headers",
            "another g++ changes nothing",
        ),
        (
            "The detected CUDA version (13.0) mismatches the version that was used to compile",
            "different CUDA major versions",
            "cuda_home",
        ),
        ("x.cpp:1:10: fatal error: Python.h: No such file or directory", "headers of this Python", "python3-dev"),
        ("ModuleNotFoundError: No module named 'setuptools'", "package setuptools is not installed", "build_requires"),
        ("ModuleNotFoundError: No module named 'triton'", "package triton is not installed", "build_requires"),
        (
            "error: command 'g++' failed: No such file or directory",
            "no C++ compiler (g++)",
            "pytorch_source_system_packages",
        ),
        ("error: [Errno 2] No such file or directory: '/usr/local/cuda/bin/nvcc'", "nvcc was not found", "cuda_home"),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'ninja'", "ninja was not found", "add ninja"),
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
            "could not be downloaded",
            "pytorch_source_mirrors",
        ),
        (
            "podsmith: fetch: URLError: <urlopen error [Errno -2] Name or service not known>",
            "could not be downloaded",
            "mirrors",
        ),
        (
            "ERROR: No matching distribution found for flash-attn==9",
            "no source distribution of flash-attn==9",
            "pip configuration",
        ),
        ("podsmith: the build produced x-2-py3-none-any.whl; expected x 1.", "the build produced x-2", "entry"),
    ],
)
def test_known_causes(line: str, cause: str, remedy: str) -> None:
    log = f"{ATTEMPT}1\nstarts\n{line}\nninja: build stopped: subcommand failed.\n"
    found = causes.find_cause(log, jobs=8)
    assert found is not None
    assert cause in found.cause
    assert remedy in found.remedy


def test_what_an_earlier_attempt_said_does_not_count() -> None:
    log = f"{ATTEMPT}1\nNo space left on device\n{ATTEMPT}2\nsomething else\n"
    assert causes.find_cause(log, jobs=None) is None


CMAKE = f"""{ATTEMPT}1
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
    said = causes.explain("torch 2.6.0", CMAKE, path="/w/log", jobs=2, code=1, step="build")
    assert "the toolkit has no CUDA::cuda_driver, which the project links against" in said
    assert "cuda.cmake:156 (set_property): The link interface of target" in said
    assert "metadata" not in said
    assert "cuda-driver-dev" in said


def test_what_was_missing_long_before_does_not_count() -> None:
    log = "ModuleNotFoundError: No module named 'triton'\n" + "[1/2] x\n" * causes.RECENT + "something else\n"
    assert causes.find_cause(log, jobs=None) is None


def test_a_command_is_no_cause() -> None:
    assert causes.find_cause("podsmith: runs git init\npodsmith: fetches https://x.org\n", jobs=None) is None


def test_the_whole_error() -> None:
    log = f"{ATTEMPT}1\n[1/2] nvcc x.cu\nx.cu(3): error: expected a ;\n1 error\nTraceback (most recent):\n"
    said = causes.explain("flash-attn 2.8.3", log, path="/w/log", jobs=8, code=1, step="build")
    assert said == (
        "Building flash-attn 2.8.3 failed: the build step exited with status 1. Last errors: x.cu(3): error: expected"
        " a ; | 1 error. Read the log and correct the build's environment. The full log is /w/log on this host. Rerun"
        " to resume: what is compiled stays."
    )


def test_a_build_that_was_killed_from_outside() -> None:
    log = f"{ATTEMPT}1\n[1/2] nvcc x.cu\n"
    said = causes.explain("flash-attn 2.8.3", log, path="/w/log", jobs=8, code=None, step="build")
    assert said == (
        "Building flash-attn 2.8.3 failed: the build step was killed (check dmesg for the OOM killer). Last errors:"
        " [1/2] nvcc x.cu. The full log is /w/log on this host. Rerun to resume: what is compiled stays."
    )


def test_a_known_cause_is_told_instead_of_the_step() -> None:
    log = f"{ATTEMPT}1\nOSError: [Errno 28] No space left on device\n"
    said = causes.explain("torch 2.13.0", log, path="/w/log", jobs=8, code=1, step="fetch")
    assert said.startswith("Building torch 2.13.0 failed: the disk is full. Last errors: OSError: [Errno 28] No space")
    assert " Free up space, or set pytorch_source_work_dir to a larger file system. The full log is" in said
