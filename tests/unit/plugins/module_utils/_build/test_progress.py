# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a build is by its log, and how long it still takes."""

from __future__ import annotations

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._build import progress
from ansible_collections.podsmith.gpu.plugins.module_utils._build.progress import Progress


def ninja(last: int, size: int, first: int = 1) -> str:
    """What ninja prints for these steps, as pip passes it on."""
    return "".join(f"  [{step}/{size}] nvcc -c {step}.cu\n" for step in range(first, last + 1))


ATTEMPT = f"{progress.ATTEMPT}2\n"


@pytest.mark.parametrize(
    ("log", "done", "total"),
    [
        pytest.param("Preparing metadata\n[notice] 1/2\n", 0, 0, id="nothing-counted"),
        pytest.param(ninja(7, 73), 7, 73, id="ninja"),
        pytest.param("[ 12%] Building CXX object a.o\n[ 13%] Building\n", 13, 100, id="make"),
        pytest.param(ninja(7, 73) + ATTEMPT, 7, 73, id="resumed-not-begun"),
        pytest.param(ninja(7, 73) + ATTEMPT + ninja(2, 66), 9, 73, id="resumed"),
        pytest.param(ninja(7, 73) + ATTEMPT + ninja(66, 66), 73, 73, id="resumed-to-the-end"),
        pytest.param(ninja(7, 73) + ATTEMPT + ninja(3, 73), 3, 73, id="begun-again"),
        pytest.param(ninja(10, 10) + ninja(2, 4), 12, 14, id="a-second-extension"),
        pytest.param(ninja(100, 1921) + ninja(5, 40) + ninja(101, 1921, 101), 101, 1921, id="one-inside-of-another"),
        pytest.param(ninja(40, 40) + ninja(3, 1921), 43, 1961, id="a-larger-one-after-a-small-one"),
    ],
)
def test_progress(log: str, done: int, total: int) -> None:
    found = progress.scan(log, Progress())
    assert (found.done, found.total) == (done, total)
    half = log.index("\n", len(log) // 2) + 1
    assert progress.scan(log[half:], progress.scan(log[:half], Progress())) == found  # whatever the pieces


@pytest.mark.parametrize(
    ("samples", "total", "minutes", "left"),
    [
        pytest.param([], 0, 20.0, None, id="nothing-seen"),
        pytest.param([(60.0, 0)], 0, None, None, id="no-estimate"),
        pytest.param([(60.0, 0)], 0, 20.0, 1140.0, id="the-plan-s-estimate"),
        pytest.param([(1800.0, 0)], 0, 20.0, 0.0, id="longer-than-estimated"),
        pytest.param([(10.0, 0), (20.0, 10)], 110, 20.0, 100.0, id="by-pace"),
        pytest.param([(10.0, 0), (100.0, 10), (200.0, 60)], 110, None, 100.0, id="by-the-newer-half"),
        pytest.param([(20.0, 10)], 110, None, None, id="one-look-has-no-pace"),
        pytest.param([(10.0, 10), (20.0, 110)], 110, None, 0.0, id="done"),
    ],
)
def test_seconds_left(samples: list[tuple[float, int]], total: int, minutes: float | None, left: float | None) -> None:
    assert progress.seconds_left(samples, total, minutes=minutes) == left


@pytest.mark.parametrize(
    ("now", "phase", "seconds", "left", "line"),
    [
        (Progress(123, 1921), "build", 240.0, 1080.0, "torch 2.13.0: 123 of 1921 steps, 4 min, about 18 min left"),
        (Progress(), "fetch", 12.0, None, "torch 2.13.0: fetching the source, 12 s"),
        (Progress(), "build", 89.0, 7200.0, "torch 2.13.0: preparing the build, 89 s, about 2.0 h left"),
        (Progress(9, 9), "store", 5400.0, None, "torch 2.13.0: keeping the wheel, 1.5 h"),
    ],
)
def test_a_line(now: Progress, phase: str, seconds: float, left: float | None, line: str) -> None:
    assert progress.describe("torch 2.13.0", now, phase=phase, seconds=seconds, left=left) == line


def test_looks_grow_rarer_up_to_one_a_minute() -> None:
    waits = [progress.interval(looks) for looks in range(30)]
    assert (waits[0], waits[-1]) == (2.0, 60.0)
    assert waits == sorted(waits)
