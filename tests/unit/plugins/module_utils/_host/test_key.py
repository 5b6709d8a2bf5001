# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules that add a repository share; how each tells a refusal is in their tests."""

from __future__ import annotations

import hashlib
import pathlib

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host.key import (
    KeyRefusedError,
    fetch_key,
    has_key,
    normalise,
)

KEY = b"\x99\x00\x04\x04abc"
PINNED = hashlib.sha1(KEY).hexdigest().upper()


def test_a_fingerprint_is_compared_without_blanks_and_case() -> None:
    assert normalise("610c 7b14\tE068") == "610C7B14E068"


def test_the_pinned_key_alone_is_taken(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "key.pub"
    assert not has_key(file, PINNED)
    file.write_bytes(KEY)
    assert has_key(file, PINNED)
    assert fetch_key(file.as_uri(), PINNED, seconds=5, what="rpm", hint="do this") == KEY
    assert not has_key(file, "F" * 40)
    with pytest.raises(
        KeyRefusedError, match=f"holds the key {PINNED}; expected {'F' * 40}. Nothing was changed; do this"
    ):
        fetch_key(file.as_uri(), "F" * 40, seconds=5, what="rpm", hint="do this")
    file.write_bytes(b"<html>")
    assert not has_key(file, PINNED)
    with pytest.raises(KeyRefusedError, match=r"is not a key for rpm: .*; do this"):
        fetch_key(file.as_uri(), PINNED, seconds=5, what="rpm", hint="do this")
