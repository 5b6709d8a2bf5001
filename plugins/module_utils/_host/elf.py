# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Just enough ELF to read the note in which a libcuda says for which drivers and GPUs it is a compatibility library."""

from __future__ import annotations

import json
import struct
from typing import Any, NamedTuple

COMPAT_SECTION = ".note.cuda.fwd_compatibility"


class CompatNote(NamedTuple):
    """``cuda`` is the level the library brings; a list that the note lacks is ``None``: unknown, not empty."""

    cuda: str | None
    branches: list[int] | None
    brands: list[int] | None


def read_section(data: Any, name: str) -> bytes | None:
    """The bytes of a named section of a 64-bit little-endian ELF file (x86_64, aarch64), ``None`` where it has none.

    :param data: the file, as bytes or as a memory map, of which only the headers and the section are touched.
    """
    try:
        if data[:6] != b"\x7fELF\x02\x01":
            return None
        table, size, count, strings = struct.unpack_from("<40xQ10xHHH", data)
        sections = [struct.unpack_from("<IIQQQQ", data, table + index * size) for index in range(count)]
        names = sections[strings][4]
        wanted = name.encode() + b"\0"
        for label, _kind, _flags, _address, offset, length in sections:
            if data[names + label : names + label + len(wanted)] == wanted:
                return bytes(data[offset : offset + length])
    except (IndexError, struct.error):
        return None
    return None


def parse_note(section: bytes) -> bytes | None:
    """The description of the first note of a section, without its padding."""
    if len(section) < 12:
        return None
    name_size, size, _kind = struct.unpack_from("<III", section)
    start = 12 + (name_size + 3) // 4 * 4
    return section[start : start + size].rstrip(b"\0") if start + size <= len(section) else None


def parse_compat_note(description: bytes) -> CompatNote | None:
    """Read ``{"format":1,"CUDA version":"13.0","driver":[535,…],"device":[1,…]}``; else ``None``."""
    try:
        note = json.loads(description.decode("utf-8"))
    except ValueError:
        return None
    if not isinstance(note, dict):
        return None

    def numbers(key: str) -> list[int] | None:
        found = note.get(key)
        return [int(number) for number in found if isinstance(number, int)] if isinstance(found, list) else None

    cuda = note.get("CUDA version")
    return CompatNote(cuda if isinstance(cuda, str) else None, numbers("driver"), numbers("device"))


def read_compat_note(data: Any) -> CompatNote | None:
    """The compatibility note of a libcuda, ``None`` where it carries none (as older ones do)."""
    section = read_section(data, COMPAT_SECTION)
    description = parse_note(section) if section else None
    return parse_compat_note(description) if description else None
