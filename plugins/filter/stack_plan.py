# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue, load_catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.decision import to_decision
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.plan import resolve
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import restore_request
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import RequestError, show


def stack_plan(
    observed: Mapping[str, Any] | None,
    request: Mapping[str, Any] | None = None,
    known: Catalogue | None = None,
    checked: bool = False,
    hourly_price: float | str | None = None,
) -> dict[str, Any]:
    """The decision for an observed host.

    ``checked``: the request is what ``stack_request`` returned. ``hourly_price``: what the host costs per hour.
    """
    if observed is not None and not isinstance(observed, Mapping):
        raise AnsibleFilterError(
            f"stack_plan expects the mapping that gpu_facts returns; found {type(observed).__name__}."
        )
    try:
        wished = restore_request(request) if checked and request else request or {}
        return to_decision(resolve(observed or {}, wished, known or load_catalogue()), _price(hourly_price))
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
