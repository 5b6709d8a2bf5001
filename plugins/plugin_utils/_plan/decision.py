# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decision for one host, as the planner makes it and as roles and reports read it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.changes import Change
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compat import ForwardCompat
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compile.wheels import Source
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.cutlass import Cutlass
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.driver import Driver
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.environment import Environment
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.extensions import Set
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.now import Now
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.proof import Proof
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Reason, Refusal, Rejection, WayOut
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.settings import Setting
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.toolkit import Toolkit
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.torch import PyTorch
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.versions import Difference

OK, DEGRADED, BROKEN, BLOCKED = "ok", "degraded", "broken", "blocked"
UNMET = "unmet"  # the host is not what stack_plan_require asks for


@dataclass(frozen=True)
class Download:
    """What the pending changes fetch and take on disk, and what is free at the prefix; None: unknown."""

    mib: int
    installed_mib: int
    free_mib: int | None


@dataclass(frozen=True)
class Plan:
    """The decision for one host; ``to_decision`` turns it into ``stack_plan_decision``."""

    verdict: str
    now: Now
    route: str
    summary: str
    cuda: str | None
    driver: Driver
    toolkit: Toolkit | None
    toolkits: tuple[Toolkit, ...]
    forward_compat: ForwardCompat
    pytorch: PyTorch | None
    extensions: Set
    source: Source | None
    cutlass: Cutlass | None
    environment: Environment | None
    settings: tuple[Setting, ...]
    proof: Proof
    download: Download
    versions: tuple[Difference, ...]
    reasons: tuple[Reason, ...]
    rejected: tuple[Rejection, ...]
    remedies: tuple[str, ...]
    ways_out: tuple[WayOut, ...]  # each of the remedies, with what it takes and costs
    warnings: tuple[str, ...]
    changes: tuple[Change, ...]
    digest: str
    lacking: tuple[str, ...] = ()  # the parts of the request that are not met
    unmet: tuple[str, ...] = ()  # what stack_plan_require asks for and the host does not have, a sentence each


def to_decision(plan: Plan, hourly_price: float | None = None) -> dict[str, Any]:
    """The plan as ``stack_plan_decision``: plain dictionaries and lists.

    ``hourly_price``: what this host costs per hour, in any currency; then each way out is told with what it costs.
    """
    decision: dict[str, Any] = json.loads(json.dumps(asdict(plan)))
    decision.pop("lacking")
    for way in decision["ways_out"]:
        for key in ("option", "is_last"):
            way.pop(key)
        way["money"] = count_money(way["minutes"], hourly_price)
    decision["changes"] = [
        {
            "role": change["role"],
            "action": change["action"],
            "what": change["what"],
            "from": change["old"],
            "to": change["new"],
            "mib": change["mib"],
        }
        for change in decision["changes"]
    ]
    for part in ("reasons", "warnings"):
        decision["driver"].pop(part)
    for name, entry in plan.extensions.items():
        if isinstance(entry, Refusal):
            decision["extensions"][name] = {"skipped": entry.because}
        else:
            for key in ("mib", "cuda"):
                decision["extensions"][name].pop(key)
    for build in (decision["source"] or {}).get("builds", ()):
        build.pop("fetch_mib")
    return decision


def count_money(minutes: int | None, hourly_price: float | None) -> float | None:
    """What these minutes cost at a price per hour, in its currency, to the cent; None where either is unknown."""
    if minutes is None or hourly_price is None:
        return None
    return round(minutes / 60 * hourly_price, 2)
