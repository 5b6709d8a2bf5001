# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A repository's key, fetched and compared with the pinned fingerprint before anything trusts it."""

from __future__ import annotations

import pathlib
import re

from ansible.module_utils.urls import open_url

from ansible_collections.podsmith.gpu.plugins.module_utils._host.openpgp import KeyFileError, fingerprints
from ansible_collections.podsmith.gpu.plugins.module_utils._host.pip import mask
from ansible_collections.podsmith.gpu.plugins.module_utils._host.reach import explain


class KeyRefusedError(Exception):
    """The key cannot be had or is another one; the text is a sentence for people."""


def normalise(fingerprint: str) -> str:
    """A fingerprint as it is compared: upper case, without blanks."""
    return re.sub(r"\s", "", fingerprint).upper()


def has_key(path: pathlib.Path, pinned: str) -> bool:
    """Whether a file holds the pinned key and no other."""
    try:
        return fingerprints(path.read_bytes()) == [pinned]
    except (OSError, KeyFileError):
        return False


def fetch_key(url: str, pinned: str, *, seconds: int, what: str, hint: str) -> bytes:
    """The key file as the address has it.

    :param pinned: the fingerprint that its only key must have, as :func:`normalise` gives it.
    :param seconds: how long fetching may take.
    :param what: the program that is to trust it, for the sentence.
    :param hint: what the user can do about it; ends the sentence.

    Raises KeyRefusedError where it does not answer, holds no key, or holds another one.
    """
    try:
        content: bytes = open_url(url, timeout=seconds).read()
    except (OSError, ValueError) as error:
        reason = explain(error, seconds)
        raise KeyRefusedError(f"The key {mask(url)} could not be fetched ({reason}); {hint}.") from None
    try:
        found = fingerprints(content)
    except KeyFileError as error:
        text = f"{mask(url)} is not a key for {what}: {error}; expected the key {pinned}; {hint}."
        raise KeyRefusedError(text) from None
    if found != [pinned]:
        text = f"{mask(url)} holds the key {' and '.join(found)}; expected {pinned}. Nothing was changed; {hint}."
        raise KeyRefusedError(text)
    return content
