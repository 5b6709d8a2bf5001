# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue, load_catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.decision import to_decision
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.plan import check_request
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.require import decide
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import restore_request
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.require import parse_requirements
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import RequestError, show


def stack_plan(
    observed: Mapping[str, Any] | None,
    request: Mapping[str, Any] | None = None,
    known: Catalogue | None = None,
    checked: bool = False,
    require: Mapping[str, Any] | None = None,
    health: Sequence[Mapping[str, Any]] | None = None,
    hourly_price: float | str | None = None,
) -> dict[str, Any]:
    """The decision for an observed host; ``checked``: the request is what ``stack_request`` returned.

    ``require`` is ``stack_plan_require``; ``health`` are the results of that check of gpu_verify, where it ran.
    ``hourly_price``: what the host costs per hour.
    """
    if observed is not None and not isinstance(observed, Mapping):
        raise AnsibleFilterError(
            f"stack_plan expects the mapping that gpu_facts returns; found {type(observed).__name__}."
        )
    try:
        known = known or load_catalogue()
        wished = restore_request(request) if checked and request else check_request(request or {}, known)
        plan = decide(observed or {}, wished, known, require=parse_requirements(require), health=health)
        return to_decision(plan, _price(hourly_price))
    except RequestError as error:
        raise AnsibleFilterError(str(error)) from error


def _price(given: float | str | None) -> float | None:
    """A price per hour, which comes as text from ``-e``."""
    if given is None or given == "":
        return None
    try:
        price = float(given)
    except ValueError:
        price = math.nan
    if isinstance(given, bool) or not 0 <= price < math.inf:
        raise AnsibleFilterError(f"stack_plan_hourly_price is {show(given)}; expected a number such as 2.5.")
    return price


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"stack_plan": stack_plan}
