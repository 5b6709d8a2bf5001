# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check peers: whether the GPUs of a host reach each other, by copies between all pairs and by an all-reduce.

A host whose IOMMU or PCIe switch is set up wrongly copies without an error and delivers something else, so every copy
is compared bit for bit.
"""

# ruff: noqa: PLC0415 - torch is there in the environment alone

from __future__ import annotations

import contextlib
import multiprocessing
import os
import tempfile
import time
from datetime import timedelta
from multiprocessing import connection
from pathlib import Path
from typing import Any, Callable

from proof_driver import Driver

Record = dict[str, Any]

COPY_MIB = 16
REDUCE_COUNT = 2**20  # elements; 4 MiB
PERIOD = 1021  # of the values: small enough that sums over a thousand ranks are exact in float32
LIMIT_S = 90.0
QUIET = {
    # NVLink SHARP (multicast) is left out: it depends on how the switches are set up, its failure ends a program that
    # would work without it, and on a virtual machine it may disturb the other users of the switch.
    "NCCL_NVLS_ENABLE": "0",
    "TORCH_SYMM_MEM_DISABLE_MULTICAST": "1",
}


class RankError(Exception):
    """A process of the check failed or did not answer; the message says which and why."""


def peers(*devices: str) -> Record:
    """Copies between all pairs of GPUs, and an all-reduce over all of them with one process for each.

    :param devices: ``gpu``, or ``cpu`` and a number: gloo between that many processes, a stand-in without GPUs.
    """
    os.environ.update(QUIET)
    on_gpu = "gpu" in devices
    try:
        # This process must not start CUDA: what it forks could not use it.
        count = _ask([count_devices])[0]["devices"] if on_gpu else int(devices[1])
        if count < 2:
            return {"skipped": f"it takes two GPUs, and this process sees {count}"}
        import torch
        from torch import distributed  # before the processes part: each would load it again

        if not distributed.is_available():
            return {"skipped": "this PyTorch is built without torch.distributed"}
        record: Record = _ask([copy_all])[0] if on_gpu else {"devices": count, "copies": []}
        backend = "nccl" if on_gpu else "gloo"
        if on_gpu and not distributed.is_nccl_available():
            return {**record, "backend": None, "version": str(torch.__version__), "ranks": []}
        with tempfile.TemporaryDirectory(prefix="ranks-") as folder:
            jobs = [_reduction(rank, record["devices"], backend, folder) for rank in range(record["devices"])]
            record.update(backend=backend, ranks=_ask(jobs))
    except RankError as error:
        return {"failure": str(error)}
    return record


def count_devices() -> Record:
    """``{devices}`` by the driver alone, which takes a tenth of the time that loading torch does."""
    driver = Driver()
    driver.call("cuInit", 0)
    return {"devices": len(driver.devices())}


def copy_all() -> Record:
    """Copy random bits from every GPU to every other: ``{devices, copies: [{source, target, direct, wrong}]}``."""
    import torch

    count = torch.cuda.device_count()
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(-(2**62), 2**62, (COPY_MIB * 2**17,), generator=generator) if count > 1 else None
    copies = []
    for source in range(count):
        for target in range(count):
            if source == target or drawn is None:
                continue
            values = drawn.to(f"cuda:{source}")
            found = values.to(f"cuda:{target}").cpu()
            copies.append(
                {
                    "source": source,
                    "target": target,
                    "direct": bool(torch.cuda.can_device_access_peer(source, target)),
                    "wrong": int((found != drawn).sum()),
                }
            )
    return {"devices": count, "mib": COPY_MIB, "copies": copies}


def _reduction(rank: int, ranks: int, backend: str, folder: str) -> Callable[[], Record]:
    return lambda: reduce_all(rank, ranks, backend, folder)


def reduce_all(rank: int, ranks: int, backend: str, folder: str) -> Record:
    """One rank of an all-reduce: ``{rank, wrong}``, how many of its sums differ from the exact ones."""
    import torch
    from torch import distributed

    device = torch.device("cpu")
    if backend == "nccl":
        device = torch.device("cuda", rank)
        torch.cuda.set_device(device)
    distributed.init_process_group(
        backend,
        init_method=f"file://{Path(folder, 'store')}",
        rank=rank,
        world_size=ranks,
        timeout=timedelta(seconds=LIMIT_S / 2),
    )
    base = (torch.arange(REDUCE_COUNT, device=device) % PERIOD).float()
    values = base * (rank + 1)
    distributed.all_reduce(values)
    wrong = int((values != base * (ranks * (ranks + 1) // 2)).sum())
    distributed.destroy_process_group()
    return {"rank": rank, "wrong": wrong}


def _ask(jobs: list[Callable[[], Record]]) -> list[Record]:
    """Run each in a process of its own, all at once; their answers.

    Raises RankError where one fails, dies or is late; either way none is left.
    """
    context = multiprocessing.get_context("fork")
    started = []
    try:
        for job in jobs:
            mine, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_answer, args=(job, theirs), daemon=True)
            process.start()
            theirs.close()
            started.append((process, mine))
        return _hear(started)
    finally:
        for process, end in started:
            if process.is_alive():
                process.kill()
            process.join()
            end.close()


def _hear(started: list[tuple[Any, Any]]) -> list[Record]:
    """The answers in order; the first process that fails ends it, as the others wait for it in vain."""
    answers: dict[int, Record] = {}
    deadline = time.monotonic() + LIMIT_S
    while len(answers) < len(started):
        silent = {end: rank for rank, (_process, end) in enumerate(started) if rank not in answers}
        ready = connection.wait(list(silent), max(0.0, deadline - time.monotonic()))
        if not ready:
            raise RankError(f"process {min(silent.values())} did not answer within {LIMIT_S:g} s")
        for end in ready:
            rank = silent[end]
            answers[rank] = _receive(rank, *started[rank])
    return [answers[rank] for rank in range(len(started))]


def _receive(rank: int, process: Any, end: Any) -> Record:
    try:
        answer: Record = end.recv()
    except EOFError:
        process.join()
        raise RankError(f"process {rank} died with exit code {process.exitcode}") from None
    if "failure" in answer:
        raise RankError(f"process {rank}: {answer['failure']}")
    return answer


def _answer(job: Callable[[], Record], end: Any) -> None:
    """In the child: send what the job returns, or why it failed."""
    try:
        record = job()
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent is to tell it
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        # NCCL says what is wrong in its last lines, PyTorch where it was called in the first.
        record = {"failure": f"{type(error).__name__}: {' '.join(lines[:1] + lines[1:][-2:])}"[:600]}
    with contextlib.suppress(OSError):
        end.send(record)
