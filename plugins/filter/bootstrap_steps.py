# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: which steps a bootstrap has to take for a decision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.repairs import changes_of_repairs


def bootstrap_steps(decision: Mapping[str, Any], *, check_mode: bool = False) -> dict[str, Any]:
    """What a run does: ``{pending, repairs, builds, waits}``.

    Roles with something to change, the changes of files of others, what is compiled, whether a reboot comes first.
    """
    source = decision.get("source") or {}
    return {
        "pending": list(dict.fromkeys(str(change["role"]) for change in decision["changes"])),
        "repairs": changes_of_repairs(decision),
        "builds": source.get("builds") or [],
        "waits": decision["driver"]["reboot"] == "pending" and not check_mode,
    }


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → function."""
        return {"bootstrap_steps": bootstrap_steps}
