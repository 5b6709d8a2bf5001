# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what a removed CUDA release has left that nothing needs any more."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

REMOVED = re.compile(r"^(?:Remv|Purg) (?P<name>[^\s:]+)", re.MULTILINE)
SHARED = r"cuda-toolkit(?:-\d+)?-config-common|nsight-(?:compute|systems)-\S+"


def apt_leftovers(simulation: str, release: str) -> list[str]:
    """The packages of one CUDA release that ``apt-get --simulate autoremove`` names, and what releases share.

    What was left over before and is not CUDA's stays. What releases share is named only once no release needs it.
    """
    dashed = re.escape(str(release).replace(".", "-"))
    of_release = re.compile(rf"\S+-{dashed}(?:-config-common)?|{SHARED}")
    return [found["name"] for found in REMOVED.finditer(simulation) if of_release.fullmatch(found["name"])]


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → function."""
        return {"apt_leftovers": apt_leftovers}
