# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is gathered on the way to a plan: reasons, warnings, and why something was refused."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.driver import Driver
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import Host
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.now import Now
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Reason, Refusal, Rejection, WayOut

ROUTE = "the route"  # what is unmet where nothing that was requested runs, or something else does


@dataclass
class Draft:
    """What is gathered on the way to a plan."""

    case: Case
    observed: Host  # with the driver that runs now; the case's host has the one that will
    reasons: list[Reason] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    remedies: list[str | WayOut] = field(default_factory=list)  # untried
    warnings: list[str] = field(default_factory=list)
    degraded: bool = False
    lacking: list[str] = field(default_factory=list)  # the parts of the request that are not met
    blocked: str | None = None  # why nothing works
    driver: Driver = field(default_factory=Driver)
    now: Now = field(default_factory=Now)  # of the driver that runs now

    @property
    def ways_out(self) -> tuple[WayOut, ...]:
        """What may help, each sentence once; not yet tried."""
        found = (WayOut(entry) if isinstance(entry, str) else entry for entry in self.remedies)
        return tuple({way.text: way for way in found if way.text}.values())

    def block(self, refusal: Refusal, *remedies: str, option: str = "") -> None:
        """Nothing works; the first reason is kept."""
        self.blocked = self.blocked or refusal.because
        self.suggest(refusal.ways_out, option)
        self.remedies.extend(filter(None, remedies))
        if option:
            self.rejected.append(Rejection(option, refusal.because))

    def degrade(self, option: str, refusal: Refusal) -> None:
        """A part of the request is not met."""
        self.degraded = True
        self.lacking.append(option)
        self.rejected.append(Rejection(option, refusal.because))
        self.suggest(refusal.ways_out, option)

    def suggest(self, ways: Iterable[WayOut], option: str = "") -> None:
        """Note what may help with a part of the request."""
        self.remedies += [replace(way, option=way.option or option) for way in ways]
