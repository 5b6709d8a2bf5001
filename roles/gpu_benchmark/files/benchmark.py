# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure what the devices of this host do with PyTorch: ``benchmark.py --level quick --output result.json``.

Runs with torch alone. Each operation is checked against a reference of higher precision before it is timed. What is too
large for a device or unknown to it is a finding of that case; the rest goes on. The result is written after each case,
so that a run that is cut short leaves what it saw.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import math
import os
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

# Images of NVIDIA's switch TF32 on for everybody; here it is on where a case says so.
for variable in ("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "NVIDIA_TF32_OVERRIDE"):
    os.environ.pop(variable, None)

import benchmark_collective as collective
import torch
from benchmark_cases import SHAPES, Case, cases, peer_cases
from benchmark_counts import spread, tolerance
from benchmark_hardware import Hardware
from benchmark_operations import Operation, set_precision
from benchmark_timing import Settings, choose_timer, measure
from nvml import load_first

Record = dict[str, Any]

# Seconds in which a level begins new cases, and how long each is warmed up and measured.
BUDGET_S = {"tiny": 240.0, "quick": 45.0, "full": 420.0}
TIMES = {"tiny": Settings(1, 5), "quick": Settings(50, 150), "full": Settings(100, 300)}
COLLECTIVE_S = {"tiny": 120.0, "quick": 40.0, "full": 90.0}
# What a library says of an operation that it does not have.
UNSUPPORTED = (
    "not implemented",
    "not supported",
    "only supported",
    "No available kernel",
    "no kernel image",
    "Unsupported",
    "CUBLAS_STATUS_NOT_SUPPORTED",
    "requires compute capability",
)
# Settings of the environment that change what is measured.
TELLING = (
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_DEVICE_MAX_CONNECTIONS",
    "CUDA_LAUNCH_BLOCKING",
    "CUDA_MODULE_LOADING",
    "NCCL_ALGO",
    "NCCL_NVLS_ENABLE",
    "NCCL_P2P_DISABLE",
    "NCCL_P2P_LEVEL",
    "NCCL_PROTO",
    "NCCL_SHM_DISABLE",
    "OMP_NUM_THREADS",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
)


class Recorder:
    """The result so far, kept in a file that is never half written."""

    def __init__(self, path: Path, record: Record) -> None:
        self.path, self.record = path, record

    def write(self, **changes: Any) -> None:
        """Take over the changes and keep the whole."""
        self.record.update(changes)
        fresh = self.path.with_name(f".{self.path.name}.new")
        fresh.write_text(json.dumps(self.record, ensure_ascii=False), encoding="utf-8")
        fresh.replace(self.path)


class Host:
    """The devices that PyTorch sees, and NVML's word on each."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.count = torch.cuda.device_count() if kind == "cuda" else 1
        self.hardware: Hardware | None = None
        self.handles: list[Any] = [None] * self.count
        if kind == "cuda":
            library = load_first(["libnvidia-ml.so.1"])
            with contextlib.suppress(OSError):  # without NVML there are figures, but no clocks beside them
                self.hardware = Hardware(library) if library else None
        if self.hardware:
            uuids = [f"GPU-{torch.cuda.get_device_properties(index).uuid}" for index in range(self.count)]
            self.handles = [self.hardware.handle(uuid) for uuid in uuids]

    def device(self, index: int) -> torch.device:
        """PyTorch's name of a device."""
        return torch.device(self.kind, index) if self.kind == "cuda" else torch.device(self.kind)

    def state(self, index: int) -> Record | None:
        """Clocks, power and temperature now; None where there is no NVML."""
        handle = self.handles[index]
        return self.hardware.state(handle) if self.hardware and handle else None

    def describe(self, index: int) -> Record:
        """What a device is."""
        if self.kind != "cuda":
            return {"index": index, "name": "CPU", "compute_capability": None, "memory_mib": None}
        properties, handle = torch.cuda.get_device_properties(index), self.handles[index]
        return {
            "index": index,
            "name": properties.name,
            "compute_capability": f"{properties.major}.{properties.minor}",
            "memory_mib": properties.total_memory // 2**20,
            **(self.hardware.fixed(handle) if self.hardware and handle else {}),
            "before": self.state(index),
        }

    def links(self) -> dict[tuple[int, int], str]:
        """What joins each pair of devices, and whether one may read the other's memory."""
        found = {}
        for first in range(self.count):
            for second in range(self.count):
                one, other = self.handles[first], self.handles[second]
                if first != second and self.kind == "cuda":
                    name = self.hardware.link(one, other) if self.hardware and one and other else "unknown link"
                    direct = torch.cuda.can_device_access_peer(first, second)
                    found[first, second] = name if direct else f"{name}, through the host's memory"
        return found


def software(host: Host) -> Record:
    """The versions and settings under which the figures were made."""
    found: Record = {
        "python": ".".join(map(str, sys.version_info[:3])),
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "driver": host.hardware.driver() if host.hardware else None,
        "nccl": ".".join(map(str, torch.cuda.nccl.version())) if host.kind == "cuda" else None,
    }
    for name in ("triton", "torchvision"):
        try:
            found[name] = __import__(name).__version__
        except Exception:  # noqa: BLE001 - not there, or broken: either way it is not used
            found[name] = None
    return found


def classify(problem: BaseException) -> tuple[str, str]:
    """The status of a case that failed, and why in a line."""
    words = (str(problem).strip() or type(problem).__name__).splitlines()
    if isinstance(problem, torch.cuda.OutOfMemoryError) or "out of memory" in str(problem):
        return "out_of_memory", words[0][:300]
    if isinstance(problem, NotImplementedError) or any(text in str(problem) for text in UNSUPPORTED):
        return "unsupported", words[0][:300]
    return "failed", f"{type(problem).__name__}: {words[0]}"[:300]


def is_alive(device: torch.device) -> bool:
    """Whether the device still answers this process; after some errors it answers no more."""
    try:
        torch.zeros(1, device=device).add_(1)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    except Exception:  # noqa: BLE001 - whatever it is, the device is lost to this process
        return False
    return True


def family(case: Case) -> str:
    """What a case is one of: the part of its name before the slash."""
    return case.name.partition("/")[0]


def begin_record(case: Case, device: int) -> Record:
    """What is known of a case before it runs."""
    return {
        "name": case.name,
        "family": family(case),
        "device": device,
        "shape": case.shape,
        "precision": case.precision,
        "unit": case.unit,
        "peak": case.peak,
        "flops": case.flops,
        "bytes": case.bytes,
    }


def rates(record: Record, items: int | None, baseline_ms: float | None) -> Record:
    """The figures that follow from a median time; ``value`` is the headline, in the case's unit."""
    seconds = record["median_ms"] / 1e3
    found: Record = {}
    if record["flops"]:
        found["tflops"] = record["flops"] / seconds / 1e12
    if record["bytes"]:
        found["gb_per_s"] = record["bytes"] / seconds / 1e9
    headline = {
        "TFLOPS": found.get("tflops"),
        "GB/s": found.get("gb_per_s"),
        "images/s": items / seconds if items else None,
        "x": baseline_ms / record["median_ms"] if baseline_ms else None,
    }
    return {**found, "value": headline[record["unit"]]}


def summarize(times: list[float]) -> Record:
    """The spread of a list of milliseconds."""
    p20, median, p80 = spread(times)
    return {"median_ms": median, "p20_ms": p20, "p80_ms": p80, "repeats": len(times)}


def kernels(operation: Operation, device: torch.device) -> list[str]:
    """The names of the kernels that an operation runs, longest first; none where the profiler sees none."""
    if device.type != "cuda":
        return []
    try:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            operation.run()
            torch.cuda.synchronize(device)
        events = [event for event in profile.key_averages() if event.device_time_total > 0]
    except Exception:  # noqa: BLE001 - a container may not let anybody profile; the case is measured all the same
        return []
    return [event.key[:160] for event in sorted(events, key=lambda event: -event.device_time_total)][:3]


def run_case(case: Case, index: int, host: Host, settings: Settings, timer: str) -> Record:
    """Build, check and time one case."""
    begin, device, record = time.monotonic(), host.device(index), begin_record(case, index)
    operation: Operation | None = None
    try:
        torch.manual_seed(0)
        set_precision(case.precision)
        operation = case.build(device)
        record["backend"] = operation.backend
        error = operation.error()
        error = error if math.isfinite(error) else sys.float_info.max  # JSON has no other word for it
        record.update(error=error, tolerance=case.tolerance, correct=error <= case.tolerance)
        if record["family"] == "attention":
            record["kernels"] = kernels(operation, device)
        times, used = measure(operation.run, settings, timer, device)
        record.update(timer=used, **summarize(times))
        baseline_ms = None
        if operation.baseline:
            baseline_ms = summarize(measure(operation.baseline, settings, timer, device)[0])["median_ms"]
            record["baseline_ms"] = baseline_ms
        record.update(state=host.state(index), **rates(record, case.items, baseline_ms))
        record.update(status="ok" if record["correct"] else "wrong")
    except Exception as problem:  # noqa: BLE001 - a finding of this case; the others go on
        status, reason = classify(problem)
        record.update(status=status, reason=reason)
    if operation and operation.baseline:
        torch._dynamo.reset()  # what was compiled holds memory
    del operation
    gc.collect()
    if device.type == "cuda" and is_alive(device):
        torch.cuda.empty_cache()
    record["seconds"] = round(time.monotonic() - begin, 2)
    return record


def plan(level: str, families: list[str], host: Host) -> list[tuple[Case, int]]:
    """Each case with the device that runs it: what tells whether a device is sound comes first."""
    wanted = [(case, index) for index in range(host.count) for case in cases(level) if case.everywhere]
    wanted += [(case, case.device) for case in peer_cases(level, host.count, host.links())]
    wanted += [(case, case.device) for case in cases(level) if not case.everywhere]
    return [(case, index) for case, index in wanted if not families or family(case) in families]


def all_reduce_records(level: str, host: Host, folder: str) -> Iterator[Record]:
    """One record for each size of the all-reduce; one that says why where it could not run."""
    ranks = host.count if host.kind == "cuda" else 2
    sizes = [1] if level == "tiny" else [16, 256, 1024]
    links = sorted(set(host.links().values()))
    shared: Record = {
        "family": "all_reduce",
        "device": 0,
        "precision": "fp32",
        "unit": "GB/s",
        "peak": "nvlink" if links and all(link.startswith("NVLink") for link in links) else "pcie",
        "flops": None,
        "backend": "; ".join(["NCCL" if host.kind == "cuda" else "gloo", *links]),
        "timer": "torch.cuda.Event, the slowest rank",
    }
    begin = time.monotonic()
    try:
        rows = collective.run(host.kind, ranks, sizes, folder, COLLECTIVE_S[level])
    except Exception as problem:  # noqa: BLE001 - a finding
        status, reason = classify(problem)
        yield {**shared, "name": f"all_reduce/{ranks}", "shape": f"{ranks} ranks", "status": status, "reason": reason}
        return
    for mib, row in zip(sizes, rows):
        record = {**shared, **row, "name": f"all_reduce/{ranks}-{mib}MiB", "shape": f"{ranks} ranks, {mib} MiB"}
        record["bytes"] = record.pop("bus_bytes")
        record.update(rates(record, None, None), tolerance=tolerance("exact"), correct=row["error"] == 0)
        record["status"] = "ok" if record["correct"] else "wrong"
        yield {**record, "seconds": round((time.monotonic() - begin) / len(sizes), 2)}


def run_all(level: str, families: list[str], host: Host, recorder: Recorder, deadline: float) -> None:
    """Run the cases in order until the time is over; what is left over is said to be."""
    timer = choose_timer(host.device(0))
    lost: dict[int, str] = {}
    done = recorder.record["cases"]
    planned = plan(level, families, host)
    collective_due = (host.count > 1 or host.kind != "cuda") and (not families or "all_reduce" in families)
    for position, (case, index) in enumerate(planned):
        if collective_due and (case.needs_s or not (case.everywhere or family(case) == "peer")):
            collective_due = False
            recorder.write(running="all_reduce")
            done.extend(all_reduce_records(level, host, str(recorder.path.parent)))
        recorder.write(running=case.name)
        left = deadline - time.monotonic()
        if index in lost:
            status, reason = "failed", f"device {index} stopped responding in {lost[index]}"
            done.append({**begin_record(case, index), "status": status, "reason": reason})
        elif left < case.needs_s or left <= 0:
            needed = max(case.needs_s, 1)
            reason = f"{max(left, 0):.0f} s of the level's time budget were left; this case needs {needed:.0f} s"
            done.append({**begin_record(case, index), "status": "skipped", "reason": reason})
        else:
            done.append(run_case(case, index, host, TIMES[level], timer))
            if done[-1]["status"] == "failed" and not is_alive(host.device(index)):
                lost[index] = case.name
        recorder.write(progress=[position + 1, len(planned)])
    if collective_due:
        done.extend(all_reduce_records(level, host, str(recorder.path.parent)))


def main(arguments: list[str]) -> int:
    """Run a level; 0 where it came to its end, whatever it found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--level", choices=sorted(SHAPES), default="quick")
    parser.add_argument("--device", choices=["cuda", "cpu", "auto"], default="cuda")
    parser.add_argument("--families", default="", help="the families to run, as gemm,attention; all without it")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    begin = time.monotonic()
    kind = options.device
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    if kind == "cuda" and not torch.cuda.is_available():
        sys.stderr.write(f"Error: PyTorch {torch.__version__} sees no GPU here.\n")
        return 2
    torch.set_grad_enabled(False)
    host = Host(kind)
    recorder = Recorder(
        options.output.resolve(),
        {
            "schema": 1,
            "level": options.level,
            "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "software": software(host),
            "settings": {name: os.environ[name] for name in TELLING if name in os.environ},
            "devices": [host.describe(index) for index in range(host.count)],
            "links": [{"from": first, "to": second, "link": name} for (first, second), name in host.links().items()],
            "complete": False,
            "running": None,
            "cases": [],
        },
    )
    recorder.write()
    families = [name for name in options.families.split(",") if name]
    run_all(options.level, families, host, recorder, begin + BUDGET_S[options.level])
    for device in recorder.record["devices"]:
        device["after"] = host.state(device["index"])
    recorder.write(complete=True, running=None, seconds=round(time.monotonic() - begin, 1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
