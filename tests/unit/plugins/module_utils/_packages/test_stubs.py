# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stub of the driver's library: which functions it has, by CUDA's headers."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._packages.stubs import (
    driver_functions,
    is_complete,
    stub_command,
    stub_source,
)

HEADER = """
#define cuMemAlloc                          cuMemAlloc_v2
#define cuLaunchKernel                      __CUDA_API_PTSZ(cuLaunchKernel)
    #define cuMemcpyHtoD                    __CUDA_API_PTDS(cuMemcpyHtoD_v2)
#define cuda_is_no_function 3
CUresult CUDAAPI cuInit(unsigned int Flags);
CUresult CUDAAPI cuMemAlloc(CUdeviceptr *dptr, size_t bytesize);
typedef CUresult (CUDAAPI *PFN_cuInit_v2000)(unsigned int Flags);
"""


def test_the_functions_of_a_header() -> None:
    """By the names that are declared, that macros put in their place, and those with a stream for each thread."""
    assert driver_functions([HEADER]) == (
        "cuInit",
        "cuLaunchKernel",
        "cuLaunchKernel_ptsz",
        "cuMemAlloc",
        "cuMemAlloc_v2",
        "cuMemcpyHtoD_v2",
        "cuMemcpyHtoD_v2_ptds",
    )
    assert driver_functions([]) == ()


def test_each_function_answers_that_this_is_a_stub() -> None:
    source = stub_source(["cuInit"])
    assert "int cuInit(void) { return 34; }" in source  # CUDA_ERROR_STUB_LIBRARY


def test_what_is_linked_with_the_stub_asks_for_the_driver() -> None:
    command = stub_command("/usr/bin/g++-13", "/t/stub.c", "/t/libcuda.so")
    assert command[0] == "/usr/bin/g++-13"
    assert "-Wl,-soname,libcuda.so.1" in command


@pytest.mark.parametrize(
    ("data", "complete"),
    [(b"\0cuInit\0cuMemAlloc_v2\0", True), (b"\0cuInit\0cuMemAlloc\0", False), (None, False)],
)
def test_a_stub_of_an_older_toolkit_lacks_names(data: bytes | None, complete: bool, tmp_path: Path) -> None:
    path = tmp_path / "libcuda.so"
    if data is not None:
        path.write_bytes(data)
    assert is_complete(path, ["cuInit", "cuMemAlloc_v2"]) is complete
