# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the records of the checks limits, workers, nvrtc, triton and peers mean. Nothing here reads or runs anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Record = dict[str, Any]

UNITS: Mapping[str, str] = {"mib": "MiB", "kib": "KiB"}
KINDS: Mapping[str, str] = {"cubin": "machine code", "ptx": "PTX"}
SHM_ADVICE = (
    "Start the container with --shm-size=8g or --ipc=host; a program that uses num_workers=0 needs none."
    " To go live as it is, leave workers out of gpu_verify_checks."
)
# MiB; what the check's batches and a little more need: below it the size is the cause, above it need not be.
SHM_ENOUGH = 16


def judge_limits(record: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]]) -> list[Record]:
    """A finding ``{name, severity, text}`` for each limit, and ``advice`` where it is too low, which is a warning.

    :param record: ``shm_mib`` (None: there is no /dev/shm), ``open_files``, ``memlock_kib`` (None: no limit), and
        ``container``, whether that is what is limited.
    :param rows: the catalogue's ``process_limits``.
    """
    findings = []
    for name, row in rows.items():
        value = record.get(name)
        lacking = value is None and name == "shm_mib"
        text = "there is no /dev/shm" if lacking else str(row["what"]).format(value=amount(name, value))
        found: Record = {"name": name, "severity": "ok", "text": text}
        if lacking or (value is not None and value <= row["too_little"]):
            remedy = row["remedy_container"] if record.get("container") else row["remedy"]
            found.update(severity="warning", advice=f"{row['cause']} {remedy}")
        findings.append(found)
    return findings


def amount(name: str, value: float | None) -> str:
    """A limit with its unit, which its name ends in: (shm_mib, 64) → 64 MiB."""
    last = name.rpartition("_")[2]
    if value is None:
        return "any amount" if last in UNITS else f"any number of {last}"
    return f"{value} {UNITS.get(last, last)}"


def judge_workers(record: Mapping[str, Any]) -> list[str]:
    """Every batch came, with the values that were sent."""
    if record.get("failure"):
        place = "without /dev/shm"
        if record.get("shm_mib") is not None:
            place = f"through /dev/shm ({record['shm_mib']} MiB, {record['shm_free_mib']} MiB free)"
        what = f"A DataLoader with {record['workers']} workers cannot send batches of {record['batch_mib']} MiB"
        return [f"{what} {place}: {str(record['failure']).rstrip('.')}."]
    if not record.get("batches"):
        return ["The DataLoader sent no batch."]
    return [f"{record['wrong']} values that the DataLoader's workers sent are wrong."] if record["wrong"] else []


def advise_workers(record: Mapping[str, Any]) -> str | None:
    """The flag that raises the shared memory, where its size explains the failure; None elsewhere."""
    free = record.get("shm_free_mib")
    return SHM_ADVICE if record.get("failure") and (free is None or free < SHM_ENOUGH) else None


def judge_nvrtc(record: Mapping[str, Any]) -> list[str]:
    """Every device ran what NVRTC compiled for it, as machine code or PTX, and computed the right values."""
    if record.get("failure"):
        return [f"{record['failure'].rstrip('.')}."]
    runs = record["runs"]
    problems = []
    for run in runs:
        if run.get("error"):
            problems.append(f"Device {run['device']}: {run['error'].rstrip('.')}.")
            continue
        what = f"NVRTC {record['nvrtc']} as {KINDS[run['kind']]} ({run['target']}) on device {run['device']}"
        if run.get("call"):
            problems.append(f"The kernel of {what} does not run: {run['call']} returned {run['code']}.")
        elif run["wrong"]:
            problems.append(f"The kernel of {what} computed {run['wrong']} wrong values.")
    return problems + _idle(record, runs, record.get("ptx_not_run"))


def judge_triton(record: Mapping[str, Any]) -> list[str]:
    """Every device ran the kernel, and every value is right."""
    wrong = [run for run in record["runs"] if run["wrong"]]
    return [
        f"The kernel of Triton {record['triton']} computed {run['wrong']} wrong values on device {run['device']}."
        for run in wrong
    ] + _idle(record, record["runs"])


def _idle(record: Mapping[str, Any], runs: list[Record], because: str | None = None) -> list[str]:
    """That a device ran nothing, or that there is none."""
    if not record["devices"]:
        return ["The kernel did not run on any device: none is visible."]
    seen = {run["device"] for run in runs}
    told = f": {because}" if because else ""
    return [f"No kernel ran on device {index}{told}." for index in range(record["devices"]) if index not in seen]


def judge_peers(record: Mapping[str, Any]) -> list[str]:
    """Every copy arrived bit for bit, and the sum over all GPUs is exact in every process."""
    if record.get("failure"):
        return [f"{record['failure'].rstrip('.')}."]
    problems = [
        f"{copy['wrong']} of the values copied from GPU {copy['source']} to GPU {copy['target']} are wrong"
        f" ({'direct' if copy['direct'] else 'through the host'})."
        for copy in record["copies"]
        if copy["wrong"]
    ]
    if record["backend"] is None:
        return [*problems, f"torch {record['version']} is built without NCCL, so its GPUs cannot work together."]
    return problems + [
        f"The sum of an all-reduce over {record['devices']} devices ({record['backend']}) has {rank['wrong']} wrong"
        f" values in process {rank['rank']}."
        for rank in record["ranks"]
        if rank["wrong"]
    ]
