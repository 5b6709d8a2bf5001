# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rule answers: why something is so, why it is not, and what was therefore not chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class WayOut:
    """One thing that would help, as a whole sentence, and what it takes.

    ``wish``: keys of ``stack_plan_request`` with their values, as they are written there; of a mapping such as
    ``toolkit`` the keys that change. ``host``: what another host has, see :func:`remedies.on_host`. One with either is
    tried by the rules before it is told, and only then has a cost: MiB to fetch, minutes, and what is lost by it.
    ``option``: the part of the request that it is for. ``is_last``: it is told only where nothing else helps with that.
    """

    text: str
    wish: Mapping[str, Any] | None = None
    host: Mapping[str, Any] | None = None
    option: str = ""
    is_last: bool = False
    mib: int | None = None
    minutes: int | None = None
    loses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refusal:
    """Why something is not possible here, as a half sentence with the numbers, and what would help.

    ``remedy`` is a whole sentence, empty where the rule knows none by itself. ``possible`` are the things that may be
    behind it, the most frequent first, where nobody can tell from here which of them it is. ``wish`` is what the
    remedy would have a person ask for: keys of ``stack_plan_request`` with their values, as they are written there.
    A remedy with a wish is tried on the very host before it is told, and left out where the same rules refuse it.
    ``ways`` are further ways out, each told by itself.
    """

    because: str
    remedy: str = ""
    possible: tuple[Refusal, ...] = ()
    wish: Mapping[str, Any] | None = None
    ways: tuple[WayOut, ...] = ()

    @property
    def ways_out(self) -> tuple[WayOut, ...]:
        """The remedy and the further ways out, the best first."""
        return (*((WayOut(self.remedy, self.wish),) if self.remedy else ()), *self.ways)


@dataclass(frozen=True)
class Reason:
    """A rule that fired, in words a user can act on; ``source`` is where the rule is published or was observed."""

    rule: str
    text: str
    source: str


@dataclass(frozen=True)
class Rejection:
    """What was not chosen, and why, with the numbers."""

    option: str
    because: str
