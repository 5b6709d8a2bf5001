# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the files of a fence without what a report says of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

FIELDS = ("path", "content", "mode", "state")


def fence_files(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of each row what the module managed_files takes."""
    return [{field: row[field] for field in FIELDS if field in row} for row in rows]


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → function."""
        return {"fence_files": fence_files}
