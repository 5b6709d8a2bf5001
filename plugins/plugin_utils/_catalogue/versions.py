# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of versions: of CUDA, drivers, Python and packages alike."""

from __future__ import annotations

import functools
import re

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.pep import InvalidVersion, Version

PARTS = 5
_PHASES = {"a": -3, "b": -2, "rc": -1}
# PEP 440 allows more than a catalogue's row, a wish or a driver may hold: blanks, a "v", an epoch.
_VERSION = re.compile(r"[0-9][0-9A-Za-z.]*(?:\+[0-9A-Za-z.]+)?")


@functools.lru_cache(maxsize=4096)
def parse_version(text: str) -> tuple[int, ...]:
    """The sort key of a version: five numeric parts, zero where absent, then phase and number of a pre/post-release.

    Works for CUDA ("13.0"), drivers ("570.124.06"), Python ("3.12") and packages ("2.9.1+cu130", "0.0.33.post1"),
    each read by ``packaging`` (PEP 440). Parts compare as integers, so 570.26 is older than 570.124.06; absent parts
    are zero, so 580 equals 580.0.0; what follows a "+" is ignored: +cu130 and +cu126 are one release. The key always
    has the same length: its first element is the major, `[:2]` major and minor.

    >>> parse_version("570.26") < parse_version("570.124.06")
    True

    Raises ValueError for anything that is not such a version, surrounding blanks included.
    """
    try:
        version = Version(text) if _VERSION.fullmatch(text) else None
    except InvalidVersion:
        version = None
    if version is None or len(version.release) > PARTS:
        raise ValueError(f"{text!r} is not a version; expected numbers separated by dots, such as 13.0 or 580.65.06.")
    if version.pre:
        phase = (_PHASES[version.pre[0]], version.pre[1])
    elif version.post is not None:
        phase = (1, version.post)
    elif version.dev is not None:
        phase = (-4, version.dev)
    else:
        phase = (0, 0)
    return (*version.release, *[0] * (PARTS - len(version.release)), *phase)


def compare(left: str, right: str) -> int:
    """-1, 0 or 1: whether version `left` is older than, equal to or newer than `right`; see parse_version."""
    first, second = parse_version(left), parse_version(right)
    return (first > second) - (first < second)
