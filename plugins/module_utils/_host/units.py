# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sizes as people read them."""

from __future__ import annotations

_MIB = {"KiB": 1 / 1024, "MiB": 1.0, "GiB": 1024.0}


def to_mib(size: int) -> float:
    """A size in bytes as MiB, to one decimal place."""
    return round(size / (1 << 20), 1)


def parse_mib(number: str, unit: str) -> float:
    """A size such as ``1.5`` ``GiB`` as MiB, to one decimal place. The unit is KiB, MiB or GiB."""
    return round(float(number) * _MIB[unit], 1)
