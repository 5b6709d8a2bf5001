# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What GPU code a library holds, read from the section in which nvcc puts it, as cuobjdump lists it."""

from __future__ import annotations

import struct

from ansible_collections.podsmith.gpu.plugins.module_utils._host.elf import read_section

MAGIC, PTX, ELF = 0xBA55ED50, 1, 2


def list_code(library: bytes) -> list[str]:
    """``sm_120`` for each piece of machine code, ``compute_120`` for each of PTX."""
    section, found, place = read_section(library, ".nv_fatbin") or b"", [], 0
    while place + 16 <= len(section):
        magic, _version, header, size = struct.unpack_from("<IHHQ", section, place)
        if magic != MAGIC:  # padding between two
            place += 8
            continue
        entry, end = place + header, place + header + size
        while entry < end:
            kind, _unused, entry_header, length = struct.unpack_from("<HHIQ", section, entry)
            [architecture] = struct.unpack_from("<I", section, entry + 28)
            name = {PTX: "compute", ELF: "sm"}[kind]
            found.append(f"{name}_{architecture}")
            entry += entry_header + length
        place = end
    return found
