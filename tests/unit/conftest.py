# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests of limits and costs share, so that none of them depends on how fast the machine is."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType, ModuleType, SimpleNamespace

import pytest

LIMIT = 120  # seconds: only a hang takes as long


@pytest.fixture
def stop_clock_until(monkeypatch: pytest.MonkeyPatch) -> Callable[[ModuleType, Path], None]:
    """Give a module a clock that stands still until a file is there; then more time than any limit has passed.

    So a limit is reached when the child has done what the test needs of it, be it in a millisecond or in a minute.
    """

    def stop(module: ModuleType, event: Path) -> None:
        clock = SimpleNamespace(sleep=time.sleep, monotonic=lambda: 1e6 + time.monotonic() if event.exists() else 0.0)
        monkeypatch.setattr(module, "time", clock)

    return stop


@pytest.fixture
def has_ended() -> Callable[[int], bool]:
    """Whether a process is dead, which one that was killed becomes in a moment; one that was not is killed here."""

    def ended(pid: int) -> bool:
        stat, end = Path(f"/proc/{pid}/stat"), time.monotonic() + LIMIT
        while time.monotonic() < end:
            try:
                state = stat.read_text().rpartition(")")[2].split()[0]
            except (FileNotFoundError, ProcessLookupError):
                return True
            if state in {"X", "Z"}:
                return True
            time.sleep(0.02)
        os.kill(pid, signal.SIGKILL)
        return False

    return ended


@pytest.fixture
def count_calls() -> Callable[[Callable[[], object]], int]:
    """How many functions, Python's own included, a call makes in all: what it costs, on every machine the same."""

    def count(work: Callable[[], object]) -> int:
        calls = 0

        def see(_frame: FrameType, event: str, _argument: object) -> None:
            nonlocal calls
            calls += event in {"call", "c_call"}

        before = sys.getprofile()
        sys.setprofile(see)
        try:
            work()
        finally:
            sys.setprofile(before)
        return calls

    return count
