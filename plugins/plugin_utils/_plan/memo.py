# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is worked out once for a catalogue: it depends on that and on what its key names, so that decisions share it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue

Found = TypeVar("Found")

CATALOGUES = 4  # that are remembered: one, and those of a test
ENTRIES = 1024  # of one kind; the oldest go first

_MEMOS: dict[
    int, tuple[Catalogue, dict[str, dict[Hashable, Any]]]
] = {}  # with its catalogue, so that an id is not met again


def remember(known: Catalogue, kind: str, key: Hashable, make: Callable[[], Found]) -> Found:
    """What ``make`` returns, asked once for each kind and key, which name all that it depends on beside ``known``.

    A catalogue is told from others by its identity: nobody may change it in place, as :func:`load_catalogue` says.
    """
    kept = _MEMOS.get(id(known))
    if kept is None or kept[0] is not known:
        kept = _MEMOS[id(known)] = (known, {})
        while len(_MEMOS) > CATALOGUES:
            del _MEMOS[next(iter(_MEMOS))]
    memo = kept[1].setdefault(kind, {})
    try:
        found: Found = memo[key]
    except KeyError:
        found = memo[key] = make()
        if len(memo) > ENTRIES:
            memo.pop(next(iter(memo)), None)
    return found


def forget() -> None:
    """Remember nothing, as in a process that has decided nothing yet."""
    _MEMOS.clear()
