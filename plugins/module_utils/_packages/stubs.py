# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stub of the driver's library that a toolkit of wheels lacks: it has the driver API's names and does nothing."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterable

HEADERS = ("cuda.h", "cudaProfiler.h", "cudaGL.h", "cudaEGL.h", "cudaVDPAU.h")  # that declare the driver API
SONAME = "libcuda.so.1"  # what a program that is linked with the stub asks the loader for: the driver's own
STUB_LIBRARY = 34  # CUDA_ERROR_STUB_LIBRARY, which NVIDIA's own stubs answer

_DECLARED = re.compile(r"\bCUDAAPI\s+(cu[A-Z]\w*)\s*\(")
_RENAMED = re.compile(
    r"^\s*#\s*define\s+cu[A-Z]\w*\s+(?:__CUDA_API_\w+\((cu[A-Z]\w*)\)|(cu[A-Z]\w*))\s*$", re.MULTILINE
)
_PER_THREAD = re.compile(r"^\s*#\s*define\s+cu[A-Z]\w*\s+__CUDA_API_(PTDS|PTSZ)\((cu[A-Z]\w*)\)", re.MULTILINE)


def driver_functions(headers: Iterable[str]) -> tuple[str, ...]:
    """The names of all functions that CUDA's driver API has by its headers, sorted, each once.

    A header renames many by macros: ``#define cuMemAlloc cuMemAlloc_v2``, and with a stream for each thread
    ``#define cuLaunchKernel __CUDA_API_PTSZ(cuLaunchKernel)``, which appends ``_ptsz``. Both names are there.
    """
    found: set[str] = set()
    for text in headers:
        found.update(_DECLARED.findall(text))
        found.update(name for names in _RENAMED.findall(text) for name in names if name)
        found.update(f"{name}_{kind.lower()}" for kind, name in _PER_THREAD.findall(text))
    return tuple(sorted(found))


def is_complete(path: pathlib.Path, names: Iterable[str]) -> bool:
    """Whether a library has all these names; one that is not there has none."""
    try:
        data = path.read_bytes()
    except OSError:
        return False
    return all(b"\0" + name.encode() + b"\0" in data for name in names)


def stub_source(names: Iterable[str]) -> str:
    """A C source of which a compiler makes the stub: each function answers that this is one."""
    lines = [f"int {name}(void) {{ return {STUB_LIBRARY}; }}" for name in names]
    return "\n".join(["/* Written by podsmith.gpu. */", *lines, ""])


def stub_command(compiler: str, source: str, target: str) -> list[str]:
    """The command that makes the stub: a library of nothing but these functions, under the driver's name."""
    flags = ["-shared", "-fPIC", "-O1", "-nostdlib", "-x", "c", source, f"-Wl,-soname,{SONAME}"]
    return [compiler, *flags, "-o", target]
