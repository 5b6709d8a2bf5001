# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the programs that nvcc calls are of nvcc's own version: wheels of several patch releases mix them."""

from __future__ import annotations

import mmap
import re
from collections.abc import Mapping
from pathlib import Path

PROGRAMS = {"cicc": "nvvm/bin/cicc", "ptxas": "bin/ptxas"}  # of which cicc prints its version nowhere
_VERSION = re.compile(rb"Cuda compilation tools, release \d+\.\d+, V(\d+\.\d+\.\d+)")


def read_versions(cuda_home: str) -> dict[str, str]:
    """Program -> the version that stands in its file, ``{cicc: "13.0.88", ptxas: "13.0.88"}``.

    One that is not there, or says none, is left out.
    """
    found = {}
    for name, path in PROGRAMS.items():
        try:
            with Path(cuda_home, path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                match = _VERSION.search(data)
                version = match[1].decode() if match else None  # while the file is mapped
        except (OSError, ValueError):
            continue
        if version:
            found[name] = version
    return found


def judge_parts(nvcc: str, parts: Mapping[str, str]) -> list[str]:
    """One sentence for each program of another version than nvcc's; none where nvcc's is unknown."""
    return [
        f"nvcc is {nvcc}, but the {name} that it calls is {version}: two compilers are mixed. Install all packages of"
        " the compiler (nvcc, crt, nvvm) in one version."
        for name, version in parts.items()
        if nvcc and version != nvcc
    ]
