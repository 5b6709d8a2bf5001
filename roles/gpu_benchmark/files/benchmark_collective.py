# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All-reduce over all devices of the host, one process a device: NCCL on GPUs, gloo without."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from benchmark_counts import all_reduce_bytes, spread
from torch import distributed, multiprocessing

MIB = 2**20
WARMUPS, RUNS = 5, 20
GRACE_S = 5.0


def worker(rank: int, ranks: int, kind: str, sizes_mib: list[int], folder: str) -> None:
    """One rank: sum tensors of each size over all ranks; the first writes what all saw."""
    device = torch.device(kind, rank) if kind == "cuda" else torch.device(kind)
    if kind == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group(
        "nccl" if kind == "cuda" else "gloo", init_method=f"file://{folder}/ranks", rank=rank, world_size=ranks
    )
    rows = [all_reduce(rank, ranks, mib * MIB, device) for mib in sizes_mib]
    if rank == 0:
        Path(folder, "all_reduce.json").write_text(json.dumps(rows), encoding="utf-8")
    distributed.destroy_process_group()


def all_reduce(rank: int, ranks: int, size: int, device: torch.device) -> dict[str, Any]:
    """The times of the slowest rank, and the share of wrong elements over all ranks.

    Every rank contributes whole numbers below 2^24 / ranks, so that the sum in fp32 is exact in any order.
    """
    length = size // 4

    def contribution(of: int) -> Any:
        generator = torch.Generator(device=device).manual_seed(of)
        return torch.randint(2**10, (length,), generator=generator, device=device).float()

    values = contribution(rank)
    distributed.all_reduce(values)
    wanted = sum(contribution(of) for of in range(ranks))
    wrong = (values != wanted).double().mean()
    distributed.all_reduce(wrong)
    # From here on sums of sums: below 2^10 · ranks^26, which fp32 holds for up to sixteen ranks.
    times = [timed(values, device) for _run in range(WARMUPS + RUNS)][WARMUPS:]
    slowest = torch.tensor(times, device=device)
    distributed.all_reduce(slowest, op=distributed.ReduceOp.MAX)
    p20, median, p80 = spread(slowest.tolist())
    return {
        "bytes": size,
        "bus_bytes": all_reduce_bytes(size, ranks),
        "error": float(wrong),
        "p20_ms": p20,
        "median_ms": median,
        "p80_ms": p80,
        "repeats": RUNS,
    }


def timed(values: Any, device: torch.device) -> float:
    """Milliseconds of one all-reduce that all ranks begin together."""
    distributed.barrier()
    if device.type == "cuda":
        begin, end = (torch.cuda.Event(enable_timing=True) for _event in range(2))
        begin.record()
        distributed.all_reduce(values)
        end.record()
        torch.cuda.synchronize()
        return float(begin.elapsed_time(end))
    started = time.perf_counter()
    distributed.all_reduce(values)
    return (time.perf_counter() - started) * 1e3


def run(kind: str, ranks: int, sizes_mib: list[int], folder: str, limit_s: float) -> list[dict[str, Any]]:
    """Start the ranks and wait for them.

    Raises RuntimeError where one fails, TimeoutError where they are not done in time; either way none is left.
    """
    os.environ.setdefault("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1")
    context = multiprocessing.spawn(worker, (ranks, kind, sizes_mib, folder), nprocs=ranks, join=False)
    deadline = time.monotonic() + limit_s
    try:
        while not context.join(timeout=1.0):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{ranks} ranks did not finish within {limit_s:.0f} s")
    except multiprocessing.ProcessRaisedException as problem:
        raise RuntimeError(str(problem).strip().splitlines()[-1]) from problem
    except multiprocessing.ProcessExitedException as problem:
        raise RuntimeError(str(problem)) from problem
    finally:
        for process in context.processes:
            if process.is_alive():
                process.kill()
            process.join(GRACE_S)
    rows: list[dict[str, Any]] = json.loads(Path(folder, "all_reduce.json").read_text(encoding="utf-8"))
    return rows
