# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._benchmark.judge import render_lines
from ansible_collections.podsmith.gpu.plugins.plugin_utils._benchmark.page import render_page
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import load_catalogue


def benchmark_report(judged: Mapping[str, Any], host: str, form: str = "lines") -> list[str] | str:
    """The lines of a host's block, or its page."""
    return render_page(judged, host, load_catalogue()) if form == "page" else render_lines(judged, host)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"benchmark_report": benchmark_report}
