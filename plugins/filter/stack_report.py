# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._report.stack import render_text


def stack_report(
    decision: Mapping[str, Any],
    observed: Mapping[str, Any],
    host: str,
    told: Mapping[str, Any] | None = None,
) -> list[str]:
    """The lines of a host's block."""
    told = told or {}
    text = render_text(
        decision,
        observed,
        host,
        results=told.get("results"),
        changed=told.get("applied"),
        unfinished=bool(told.get("unfinished")),
        color=bool(told.get("color")),
    )
    return text.splitlines()


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"stack_report": stack_report}
