# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long an operation takes, by the libraries that are made for that."""

# ruff: noqa: PLC0415 - triton need not be there

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.utils import benchmark

SLOW_MS = 1000.0  # an operation that takes longer is measured a few times only
FEW = 3


class Settings(NamedTuple):
    """How long an operation is warmed up and measured, in milliseconds."""

    warmup_ms: int
    measure_ms: int


def choose_timer(device: torch.device) -> str:
    """triton's do_bench, which times each run with CUDA events and empties the L2 cache before it, where it works."""
    if device.type == "cuda":
        try:
            from triton.testing import do_bench

            do_bench(lambda: torch.zeros(1, device=device), warmup=1, rep=1, return_mode="all")
        except Exception as problem:  # noqa: BLE001 - no triton, or none that works here: there is another way
            warnings.warn(f"triton.testing.do_bench does not work here: {problem}", stacklevel=2)
        else:
            return "triton.testing.do_bench"
    return "torch.utils.benchmark"


def clocked(run: Callable[[], Any], device: torch.device) -> float:
    """The milliseconds of one run by the host's clock."""
    begin = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - begin) * 1e3


def measure(run: Callable[[], Any], settings: Settings, timer: str, device: torch.device) -> tuple[list[float], str]:
    """The milliseconds of each run, warm-up left out, and what timed them."""
    probe_ms = clocked(run, device)
    if probe_ms > SLOW_MS:
        return [clocked(run, device) for _run in range(FEW)], "time.perf_counter"
    if timer == "triton.testing.do_bench":
        from triton.testing import do_bench

        with torch.cuda.device(device):
            times = do_bench(run, warmup=settings.warmup_ms, rep=settings.measure_ms, return_mode="all")
        return [float(milliseconds) for milliseconds in times], timer
    once = benchmark.Timer("run()", globals={"run": run})
    once.timeit(max(1, int(settings.warmup_ms / max(probe_ms, 1e-3))))
    measured = once.blocked_autorange(min_run_time=settings.measure_ms / 1e3)
    return [seconds * 1e3 for seconds in measured.times], timer
