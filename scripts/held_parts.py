# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of CUDA a torch takes from another release than its own, where nobody holds it: for refresh_catalogue.py."""

from __future__ import annotations

import email.parser
from collections.abc import Callable

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from wheel_metadata import extras_of, requirements

TOOLKIT = "cuda-toolkit"
# Name and specifier of a package -> the METADATA of the newest version that it admits, None where there is none.
Read = Callable[[str, str], str | None]


def held_parts(metadata: str, read: Read) -> dict[str, str]:
    """Package -> version of what a torch asks for without a bound, and its own CUDA release names; sorted by name.

    Followed are NVIDIA's packages, from the torch down: what one of them pins or bounds (``<=``) is held. A range such
    as ``<14,>=13.2.86`` gets the newest of the day, a minor release that the torch was not built with.
    """
    wanted: list[tuple[str, str, tuple[str, ...]]] = [
        (canonicalize_name(found.name), str(found.specifier), tuple(sorted(found.extras)))
        for text in email.parser.HeaderParser().parsestr(metadata).get_all("Requires-Dist", [])
        if (found := Requirement(text)).extras or found.name.startswith("nvidia-")
    ]
    asked: dict[str, list[str]] = {}
    named: dict[str, str] = {}
    seen = set()
    while wanted:
        name, specifier, extras = wanted.pop()
        if not (name == TOOLKIT or name.startswith("nvidia-")):
            continue
        asked.setdefault(name, []).append(specifier)
        text = None if name in seen else read(name, specifier)
        if text is None:
            continue
        seen.add(name)
        if name == TOOLKIT:
            for pins in extras_of(text).values():
                named |= pins
        for extra in ("", *extras):
            wanted += [(one, other, ()) for one, other in requirements(text, "x86_64", extra).items()]
    loose = [name for name, specifiers in asked.items() if not any(_is_pin(one) for one in specifiers)]
    return {name: named[name] for name in sorted(loose) if name in named}


def _is_pin(specifier: str) -> bool:
    return any(one.operator in ("==", "<=") for one in SpecifierSet(specifier))
