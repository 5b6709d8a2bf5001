# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host.elf import (
    COMPAT_SECTION,
    CompatNote,
    parse_compat_note,
    parse_note,
    read_compat_note,
    read_section,
)

NOTE_13_0 = b'{"format":1,"CUDA version":"13.0","driver":[535,550,565,570,575,580],"device":[1,2,7,8,9,10,11,12,13,14]}'
NOTE_ORIN = b'{"format":1,"CUDA version":"13.2"}'


def note(description: bytes) -> bytes:
    """A note as the linker lays it out: sizes, type, owner and description, each padded to four bytes."""
    owner = b"NVIDIA Corporation\0"
    padded = owner + b"\0" * (-len(owner) % 4) + description + b"\0" * (-len(description) % 4)
    return struct.pack("<III", len(owner), len(description), 1) + padded


def elf(sections: dict[str, bytes]) -> bytes:
    """A 64-bit little-endian ELF file of nothing but these sections."""
    contents = {"": b"", **sections, ".shstrtab": b""}
    labels, names = {}, b""
    for name in contents:
        labels[name] = len(names)
        names += name.encode() + b"\0"
    contents[".shstrtab"] = names
    body, offsets = b"", {}
    for name, data in contents.items():
        offsets[name] = 64 + len(body)
        body += data
    table = b"".join(
        struct.pack("<IIQQQQ", labels[name], 7, 0, 0, offsets[name], len(data)) + b"\0" * 24
        for name, data in contents.items()
    )
    header = b"\x7fELF\x02\x01\x01" + b"\0" * 9
    header += struct.pack(
        "<HHIQQQIHHHHHH", 3, 62, 1, 0, 0, 64 + len(body), 0, 64, 0, 0, 64, len(contents), len(contents) - 1
    )
    return header + body + table


def test_the_note_of_a_compatibility_library_is_read() -> None:
    library = elf({".text": b"code" * 9, COMPAT_SECTION: note(NOTE_13_0), ".data": b"x"})
    found = CompatNote("13.0", [535, 550, 565, 570, 575, 580], [1, 2, 7, 8, 9, 10, 11, 12, 13, 14])
    assert read_compat_note(library) == found


def test_a_description_may_end_in_nothing() -> None:
    assert read_compat_note(elf({COMPAT_SECTION: note(NOTE_ORIN + b"\0\0")})) == CompatNote("13.2", None, None)


def test_lists_that_the_note_lacks_are_unknown() -> None:
    assert read_compat_note(elf({COMPAT_SECTION: note(NOTE_ORIN)})) == CompatNote("13.2", None, None)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"#!/bin/sh\nexit 0\n", id="script"),
        pytest.param(elf({".text": b"code"}), id="no-note"),
        pytest.param(elf({COMPAT_SECTION: note(NOTE_13_0)})[:100], id="cut-off"),
        pytest.param(b"\x7fELF\x01\x01" + b"\0" * 60, id="32-bit"),
        pytest.param(elf({COMPAT_SECTION: note(b"not json")}), id="not-json"),
        pytest.param(elf({COMPAT_SECTION: b"short"}), id="short-note"),
    ],
)
def test_a_file_without_the_note_has_none(data: bytes) -> None:
    assert read_compat_note(data) is None


def test_a_section_whose_name_only_begins_alike_is_another() -> None:
    assert read_section(elf({".note.cuda": b"1", ".note": b"2"}), ".note") == b"2"


def test_a_note_that_claims_more_than_its_section_has_is_refused() -> None:
    assert parse_note(struct.pack("<III", 4, 400, 1) + b"NVI\0{}") is None


@pytest.mark.parametrize("text", [b"[1]", b"3", b"\xff"])
def test_a_description_that_is_no_object_is_refused(text: bytes) -> None:
    assert parse_compat_note(text) is None
