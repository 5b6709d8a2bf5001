# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a build is, by what its log counts, and how long it still takes. Nothing here touches a host."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

ATTEMPT = "podsmith: attempt "  # begins the line in the log that each start of a build writes
PHASES = {"fetch": "fetching the source", "build": "preparing the build", "store": "keeping the wheel"}

_STEP = re.compile(r"^\s*(?:\S+ )?\[(?P<done>\d+)/(?P<total>\d+)\] ", re.MULTILINE)
_PERCENT = re.compile(r"^\s*\[ *(?P<percent>\d+)%\] ", re.MULTILINE)
_COUNT = re.compile(rf"{_STEP.pattern}|{_PERCENT.pattern}|^(?P<attempt>{re.escape(ATTEMPT)})", re.MULTILINE)


class Progress(NamedTuple):
    """How far a build is. ``total`` counts what earlier attempts did, too; 0: nothing is counted yet."""

    done: int = 0
    total: int = 0
    skipped: int = 0  # steps that this attempt found done
    before: int = 0  # steps of counters that have come to their end in this attempt
    last: int = 0  # of the counter at work
    size: int = 0  # the same counter's total; 0 before the first step of an attempt


def scan(text: str, progress: Progress) -> Progress:
    """Go on with what a further piece of the log counts: ninja's ``[123/1921]`` or make's ``[ 12%]``.

    A resumed build counts only what is left: what earlier attempts did is what its first total lacks. A smaller counter
    after one that came to its end adds to it (several extensions in one project); one inside of another is part of it.
    """
    now = progress
    for match in _COUNT.finditer(text):
        if match["attempt"]:
            now = Progress(done=now.done, total=now.total)
            continue
        last, size = (int(match["done"]), int(match["total"])) if match["total"] else (int(match["percent"]), 100)
        if size < now.size and now.last < now.size:
            continue
        before = now.before
        if now.size and last < now.last:
            before += now.last if now.last == now.size else 0
        first = not now.size
        skipped = max(0, now.total - size) if first else now.skipped
        total = max(now.total, skipped + before + size)
        now = Progress(min(total, skipped + before + last), total, skipped, before, last, size)
    return now


def seconds_left(samples: Sequence[tuple[float, int]], total: int, *, minutes: float | None) -> float | None:
    """About how long a build still takes: by the pace of its newer half, before there is one by the plan's estimate.

    :param samples: seconds since this attempt began and steps done, in order.
    :param minutes: the plan's estimate for the whole.
    """
    if not samples:
        return None
    now, done = samples[-1]
    begun = [sample for sample in samples if sample[0] <= now / 2] or list(samples[:1])
    then, before = begun[-1]
    if total and done > before and now > then:
        return (total - done) * (now - then) / (done - before)
    return max(0.0, minutes * 60 - now) if minutes and not samples[-1][1] else None


def describe(name: str, progress: Progress, *, phase: str, seconds: float, left: float | None) -> str:
    """One line on how far a build is: ``torch 2.13.0: 123 of 1921 steps, 4 min, about 18 min left``."""
    counted = (
        f"{progress.done} of {progress.total} steps"
        if progress.total and phase == "build"
        else PHASES.get(phase, phase)
    )
    words = [counted, duration(seconds), *([f"about {duration(left)} left"] if left is not None else [])]
    return f"{name}: {', '.join(words)}"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def interval(looks: int) -> float:
    """Seconds until the next look: often at first, once a minute in a long build."""
    return min(60.0, 2.0 * 1.4**looks)
