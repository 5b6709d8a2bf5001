# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a way out costs: minutes, and what is lost by it. Pure."""

from __future__ import annotations

import math

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.builds import matches
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.decision import Plan
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.driver import NEEDED
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import Request


def count_minutes(plan: Plan, known: Catalogue) -> int | None:
    """Minutes that a plan takes, rounded up: fetching, unpacking, builds, the reboot and the proof.

    None where a package is compiled that nobody timed. The rates are those of ``costs.yml``, ``steps``.
    """
    steps = known["costs"]["steps"]
    minutes: float = plan.download.mib / steps["fetch"]["mib_per_minute"]
    minutes += plan.download.installed_mib / steps["unpack"]["mib_per_minute"]
    minutes += steps["proof"]["minutes"] if plan.proof.checks else 0
    minutes += steps["reboot"]["minutes"] if plan.driver.reboot == NEEDED else 0
    for build in plan.source.builds if plan.source else ():
        if build.pending and build.minutes is None:
            return None
        minutes += build.minutes or 0 if build.pending else 0
    return math.ceil(minutes)


def name_losses(asked: Request, changed: Request, plan: Plan, known: Catalogue) -> tuple[str, ...]:
    """What the plan of a changed request does not have of what was asked for, in words."""
    found = []
    torch = plan.pytorch
    if asked.pytorch not in ("newest", "none") and not (torch and matches(torch.version, asked.pytorch)):
        found.append(f"another PyTorch than the requested {asked.pytorch}")
    moved = changed.cuda != asked.cuda or plan.route == "fallback"
    if moved and asked.cuda not in ("newest", "none") and plan.cuda != asked.cuda:
        found.append(f"another CUDA than the requested {asked.cuda}")
    if changed.cuda == "none" != asked.cuda:
        found.append("the GPU is not used")
    if changed.toolkit.provider == "none" != asked.toolkit.provider:
        found.append("no CUDA toolkit: nothing is compiled for the GPU")
    if plan.driver.reboot == NEEDED:
        found.append("the machine reboots")
    by_minor = any(reason.rule == "minor-version" for reason in plan.reasons)  # a fallback may run by it as well
    if row := known["costs"]["losses"].get("minor_version" if by_minor else plan.route):
        found.append(str(row["what"]))
    return tuple(found)
