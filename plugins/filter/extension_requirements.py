# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what of the chosen extensions is asked of the indexes and of the wheels built here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

BUILT = "source"


def extension_requirements(
    packages: Mapping[str, Mapping[str, Any]],
    wheels: Mapping[str, str] | None = None,
    *,
    check_mode: bool = False,
) -> list[str]:
    """The requirements of all chosen extensions, and those of the wheels that were built for them.

    In check mode there may be no wheel yet of what is built here, so that nothing could be found for its version.
    """
    built = wheels or {}
    wanted = [row for row in packages.values() if row.get("requirement")]
    asked = [str(row["requirement"]) for row in wanted if not (check_mode and row.get("index") == BUILT)]
    return [*asked, *(str(built[name]) for name in packages if name in built)]


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → function."""
        return {"extension_requirements": extension_requirements}
