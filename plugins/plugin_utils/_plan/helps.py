# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a way out works on a host, for those who tell of one beside a decision. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.decision import BLOCKED, BROKEN
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.draft import ROUTE
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import read_host
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.plan import check_request, decide_for
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import WayOut
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.tries import on_host, with_wish, without_fallback
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import RequestError


def what_helps(observed: Mapping[str, Any], wished: Mapping[str, Any], known: Catalogue) -> Callable[[WayOut], bool]:
    """A test of ways out on this host with this request: true for one that the rules of the plan accept as it is.

    ``observed`` is ``ansible_facts['gpu']`` and ``wished`` a ``stack_plan_request``. Nothing is decided before a way
    out is asked about; one that cannot be understood does not help.
    """

    def helps(way: WayOut) -> bool:
        try:
            request = with_wish(check_request(wished, known), way.wish or {})
            host = on_host(read_host(observed, request.overrides, known), way.host or {}, known)
            plan = decide_for(known, host, without_fallback(request))
        except RequestError:
            return False
        lacks_toolkit = any(option.startswith("CUDA toolkit") for option in plan.lacking)
        return plan.verdict not in (BLOCKED, BROKEN) and ROUTE not in plan.lacking and not lacks_toolkit

    return helps
