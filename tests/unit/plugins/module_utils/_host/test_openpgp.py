# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fingerprints, compared with what gpg says of the same throw-away key."""

from __future__ import annotations

import base64

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host.openpgp import KeyFileError, dearmor, fingerprints

ARMORED = b"""-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawEefRYJKwYBBAHaRw8BAQdAJb7MFyVpzmPYnNje23PSx2ZfysTR2PkHNWgP
4NclaIi0FFRlc3QgPHRAZXhhbXBsZS5vcmc+iJAEExYIADgWIQSpIuWrKH1cXsee
vJ7oNQkzuKxpuAUCawEefQIbAwULCQgHAgYVCgkICwIEFgIDAQIeAQIXgAAKCRDo
NQkzuKxpuD0zAQCLiY0PyLS5nVw4kGDmpsLat81tsE3hv4mhYLs4ZiAvEAD/Sfu/
FMqMyJiKD8F3Uqrn9Q307CnnfG4KT7DXuvdSmgs=
=pxBY
-----END PGP PUBLIC KEY BLOCK-----
"""
FINGERPRINT = "A922E5AB287D5C5EC79EBC9EE8350933B8AC69B8"


def test_fingerprint_is_gpgs() -> None:
    assert fingerprints(ARMORED) == [FINGERPRINT]


def test_binary_form() -> None:
    binary = dearmor(ARMORED)
    assert binary[0] & 0x80
    assert fingerprints(binary) == [FINGERPRINT]
    assert dearmor(binary) == binary


def test_every_key_counts() -> None:
    assert fingerprints(ARMORED + ARMORED) == [FINGERPRINT] * 2


@pytest.mark.parametrize(("tag", "header"), [("old", b"\x99\x00\x04"), ("new", b"\xc6\x04")])
def test_packet_headers_of_both_formats(tag: str, header: bytes) -> None:
    assert fingerprints(header + b"\x04abc") == ["34AA630DC54717F5D1065238755E131144944493"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<html>not found</html>", "it holds no OpenPGP public key"),
        (b"", "it holds no OpenPGP public key"),
        (b"\x99\x01\x00\x04abc", "it is cut off or damaged"),
        (b"\xc6\x04\x06abc", "it holds a key that is not of OpenPGP version 4"),
        (b"\xb4\x01x", "it holds no OpenPGP public key"),
        (ARMORED.replace(base64.b64encode(dearmor(ARMORED))[:8], b"mDMEaaa"), "its armor is damaged"),
    ],
)
def test_anything_else_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(KeyFileError, match=words):
        fingerprints(content)
