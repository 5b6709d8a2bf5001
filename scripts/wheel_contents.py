# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the files inside wheels tell that their METADATA does not: for refresh_catalogue.py, which reads them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from packaging.specifiers import InvalidSpecifier, SpecifierSet

_RELEASE = re.compile(rb"Cuda compilation tools, release (\d+\.\d+), V")
_NEEDED = re.compile(rb"libcudart\.so\.(\d+)")
_THRESHOLD = re.compile(r"\barch (>=|<) (\d+)\b")
_INSTALL = r"pip install [^\n]*\b{project}\b[^\n]*--index-url=?\s*https://download\.pytorch\.org/whl/(\w+)"


def cuda_of_library(members: Mapping[str, bytes]) -> str | None:
    """The CUDA, as major.0, of the first of these shared libraries that asks for a CUDA runtime; None where none does.

    >>> cuda_of_library({"lib.so": b"libtorch.so libcudart.so.13"})
    '13.0'
    """
    found = (_NEEDED.search(data) for data in members.values())
    return next((f"{match[1].decode()}.0" for match in found if match), None)


def label_of(members: Mapping[str, bytes]) -> str | None:
    """The local part of the version in a build's own version.py: cu132 of ``__version__ = '0.29.2+cu132'``.

    PyTorch's own packages have it there on PyPI as well, where the name of the wheel has none.
    """
    found = (re.search(rb"__version__ = ['\"][^'\"+]+\+(\w+)['\"]", data) for data in members.values())
    return next((match[1].decode() for match in found if match), None)


def ptxas_of(members: Mapping[str, bytes]) -> dict[str, str | None]:
    """The CUDA releases of the programs ptxas and ptxas-blackwell in a Triton, and the least capability of the second.

    ``members`` are these programs and ``compiler.py``, whose ``get_ptxas`` chooses between them by architecture.
    """
    programs = {name.rpartition("/")[2]: _RELEASE.search(data) for name, data in members.items() if "/bin/" in name}
    source = next((data.decode() for name, data in members.items() if name.endswith("compiler.py")), "")
    chosen = _THRESHOLD.search(source.partition("def get_ptxas(")[2])
    legacy, blackwell = programs.get("ptxas"), programs.get("ptxas-blackwell")
    least = f"{int(chosen[2]) // 10}.{int(chosen[2]) % 10}" if blackwell and chosen else None
    return {
        "legacy": legacy[1].decode() if legacy else None,
        "blackwell": blackwell[1].decode() if blackwell else None,
        "blackwell_from": least,
    }


def tabled_torches(metadata: str, project: str) -> dict[str, str]:
    """Release -> specifier of the torch it works with, from a table in the description headed by the project and torch.

    A release that is told as 2.9 covers its patches: ``==2.9.*``.
    """
    found, inside = {}, False
    for line in metadata.splitlines():
        cells = [cell.strip().strip("`") for cell in line.strip().strip("|").split("|")]
        if len(cells) < 2 or not line.strip().startswith("|"):
            inside = False
        elif cells[:2] == [project, "torch"]:
            inside = True
        elif inside and re.fullmatch(r"\d+(\.\d+)+", cells[0]):
            wanted = f"=={cells[1]}.*" if re.fullmatch(r"\d+\.\d+", cells[1]) else cells[1]
            try:
                found[cells[0]] = str(SpecifierSet(wanted))
            except InvalidSpecifier:
                continue  # a word such as nightly
    return found


def documented_indexes(metadata: str, project: str, known: Iterable[str]) -> list[str]:
    """Those of PyTorch's indexes (cpu, cu130) that the description's own commands name for the project."""
    named = re.findall(_INSTALL.format(project=re.escape(project)), metadata)
    return sorted(set(named) & set(known))
