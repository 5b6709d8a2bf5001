# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fingerprints in an OpenPGP key file, read without gpg, which minimal hosts lack (RFC 9580, 4.2 and 5.5.4)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator

PUBLIC_KEY = 6
_ARMOR = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(?:[^\r\n]+: [^\r\n]*\r?\n)*\r?\n(?P<body>[A-Za-z0-9+/=\r\n]+?)"
    rb"(?:\r?\n=[A-Za-z0-9+/]{4})?\r?\n-----END PGP PUBLIC KEY BLOCK-----"
)


class KeyFileError(Exception):
    """The file is no OpenPGP public key; the text says why."""


def dearmor(content: bytes) -> bytes:
    """The binary form of a key file, which every apt reads; binary content comes back as it is.

    Raises KeyFileError where the armor is damaged.
    """
    return b"".join(_decode(match["body"]) for match in _ARMOR.finditer(content)) or content


def fingerprints(content: bytes) -> list[str]:
    """The fingerprints of the primary keys in a key file, binary or armored, as upper-case hexadecimal.

    Raises KeyFileError for anything else, keys of another version than 4 included.
    """
    found = []
    for tag, body in _packets(dearmor(content)):
        if tag == PUBLIC_KEY:
            if body[:1] != b"\x04":
                raise KeyFileError("it holds a key that is not of OpenPGP version 4")
            framed = b"\x99" + len(body).to_bytes(2, "big") + body
            found.append(hashlib.sha1(framed, usedforsecurity=False).hexdigest().upper())
    if not found:
        raise KeyFileError("it holds no OpenPGP public key")
    return found


def _decode(body: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(body.split()), validate=True)
    except binascii.Error as error:
        raise KeyFileError(f"its armor is damaged ({error})") from error


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and body of each packet."""
    position = 0
    while position < len(data):
        header = data[position]
        if not header & 0x80:
            raise KeyFileError("it holds no OpenPGP public key")
        if header & 0x40:
            tag, (length, start) = header & 0x3F, _new_length(data, position + 1)
        else:
            size = 1 << (header & 3)
            tag, start = (header >> 2) & 0x0F, position + 1 + size
            length = int.from_bytes(data[position + 1 : start], "big") if size < 8 else -1
        if length < 0 or start + length > len(data):
            raise KeyFileError("it is cut off or damaged")
        yield tag, data[start : start + length]
        position = start + length


def _new_length(data: bytes, position: int) -> tuple[int, int]:
    """Length of a packet in the new format and where its body starts; -1 for what a key never has."""
    first = data[position] if position < len(data) else 255
    if first < 192:
        return first, position + 1
    if first < 224 and position + 1 < len(data):
        return ((first - 192) << 8) + data[position + 1] + 192, position + 2
    if first == 255:
        return int.from_bytes(data[position + 1 : position + 5], "big"), position + 5
    return -1, position
