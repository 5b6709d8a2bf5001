# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.podsmith.gpu.plugins.plugin_utils._benchmark.judge import ResultError, judge
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import load_catalogue


def benchmark_verdict(result: Mapping[str, Any]) -> dict[str, Any]:
    """The result, judged by the catalogue."""
    try:
        return judge(result, load_catalogue())
    except ResultError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"benchmark_verdict": benchmark_verdict}
