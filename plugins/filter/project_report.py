# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._report.project import render_project


def project_report(plan: Mapping[str, Any], host: str, told: Mapping[str, Any] | None = None) -> list[str]:
    """The lines of a project's block."""
    told = told or {}
    return render_project(plan, host, changed=told.get("applied"), unfinished=bool(told.get("unfinished")))


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"project_report": project_report}
