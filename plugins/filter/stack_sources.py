# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what a decision's pending changes fetch from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import load_catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.fetches import needs_pypi, required_sources


def stack_sources(decision: Mapping[str, Any], mirrors: Mapping[str, str | None] | None = None) -> dict[str, Any]:
    """The sources to ask, and whether the host's own pip configuration is one of them."""
    return {"sources": required_sources(decision, mirrors or {}, load_catalogue()), "pip": needs_pypi(decision)}


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → function."""
        return {"stack_sources": stack_sources}
