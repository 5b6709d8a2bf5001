# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of what the host or the container limits: shared memory, open files, locked memory."""

# ruff: noqa: PLC0415 - torch is there in the environment alone

from __future__ import annotations

import os
import resource
import tempfile
from typing import Any

Record = dict[str, Any]

SHM = "/dev/shm"  # noqa: S108 - where shared memory is
CONTAINER = ("/.dockerenv", "/run/.containerenv")
WORKERS = 2
BATCH_MIB = 2
ROWS = 4  # of a batch
BATCHES = 4
LIMIT_S = 60  # seconds for a batch
SOCKET_NAME = 60  # characters of a temporary folder in which a worker's socket has a name that is short enough


def limits() -> Record:
    """The limits of a program of this shell: sizes in MiB and KiB, None where there is no limit.

    ``open_files`` and ``memlock_kib`` are what a program may use, ``…_most`` is up to where it may raise them itself.
    """
    files, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    locked, most_locked = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return {
        **shared_memory(),
        "open_files": _limited(files),
        "open_files_most": _limited(most_files),
        "memlock_kib": _limited(locked, 1024),
        "memlock_kib_most": _limited(most_locked, 1024),
        "container": any(map(os.path.exists, CONTAINER)) or bool(os.environ.get("KUBERNETES_SERVICE_HOST")),
    }


def _limited(value: int, unit: int = 1) -> int | None:
    return None if value == resource.RLIM_INFINITY else value // unit


def shared_memory() -> Record:
    """``{shm_mib, shm_free_mib}`` of /dev/shm; None for both where there is none."""
    try:
        found = os.statvfs(SHM)
    except OSError:
        return {"shm_mib": None, "shm_free_mib": None}
    size = found.f_frsize / 2**20
    return {"shm_mib": round(found.f_blocks * size), "shm_free_mib": round(found.f_bavail * size)}


class Numbers:
    """A data set of ``BATCH_MIB`` of float32 for each ``ROWS`` rows; row i holds i."""

    def __len__(self) -> int:
        return ROWS * BATCHES

    def __getitem__(self, index: int) -> Any:
        import torch

        return torch.full((BATCH_MIB * 2**18 // ROWS,), float(index))


def workers() -> Record:
    """Have a DataLoader's worker processes send batches, which PyTorch does through /dev/shm, and look at each value.

    ``failure`` is what the program met where that does not work.
    """
    from torch.utils.data import DataLoader

    # The workers hand their file descriptors over by a socket below it. One with a longer name cannot be bound, and the
    # DataLoader waits for ever; a check's own folder is such a one.
    if len(tempfile.gettempdir()) > SOCKET_NAME:
        tempfile.tempdir = "/tmp"  # noqa: S108 - multiprocessing makes a folder of its own in it
    record: Record = {**shared_memory(), "workers": WORKERS, "batch_mib": BATCH_MIB, "batches": 0, "wrong": 0}
    loader: Any = DataLoader(
        Numbers(),
        batch_size=ROWS,
        num_workers=WORKERS,
        prefetch_factor=1,
        timeout=LIMIT_S,
        multiprocessing_context="fork",
    )
    try:
        for number, batch in enumerate(loader):
            for row in range(ROWS):
                record["wrong"] += int((batch[row] != float(number * ROWS + row)).sum())
            record["batches"] += 1
    except (RuntimeError, OSError) as error:
        # A worker's error comes as its whole traceback, whose last line says what it is.
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        record["failure"] = lines[-1][:600] if lines else type(error).__name__
    return record
