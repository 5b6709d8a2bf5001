# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the state of a GPU says before CUDA is asked: errors in the kernel's log, and its compute mode. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.causes import halve
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.containers import remedy_of
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.devices import seen
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import Gpu, Host
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.ways import ENVIRONMENT

FAILURE, WARNING = "failure", "warning"  # severities of catalogue/health.yml
PROHIBITED, EXCLUSIVE = "prohibited", "exclusive_process"  # compute modes of NVML


# --- the kernel's log ---


def grave_xid(case: Case) -> Refusal | None:
    """The driver has reported an error after which a GPU has to be reset or returned; the proof fails by it, too."""
    for index, code, row in _xids(case, FAILURE):
        because = f"GPU {index} had Xid {code} ({row['name']}) since the kernel started: {halve(str(row['cause']))}"
        return Refusal(because, remedy_of(case.host, row))
    return None


def lesser_xid(case: Case) -> Iterator[str]:
    """Errors after which a GPU still works. They make no verdict: the kernel's log keeps one until the next boot."""
    for index, code, row in _xids(case, WARNING):
        when = f"GPU {index} had Xid {code} ({row['name']}) since the kernel started"
        yield f"{when}: {halve(str(row['cause']))}. {remedy_of(case.host, row)}"


def _xids(case: Case, severity: str) -> Iterator[tuple[int, int, Mapping[str, object]]]:
    """Index, code and row of each Xid of that severity, each once; a code that is not listed is a warning."""
    rows = case.known["health"]["xids"]
    unlisted = {
        "name": "not in the catalogue",
        "severity": WARNING,
        "cause": "An error of the driver or the GPU.",
        "remedy": "Look it up in NVIDIA's Xid catalogue.",
    }
    for index, gpu in enumerate(case.host.gpus or ()):
        for code in dict.fromkeys(gpu.xids):
            row = rows.get(str(code), unlisted)
            if row["severity"] == severity:
                yield index, code, row


# --- compute mode ---


def compute_prohibited(case: Case) -> Refusal | None:
    """A GPU that is set to run no CUDA program: cuInit and the count of devices do not notice, error 46 comes later.

    One that may be hidden from programs is only noted. Source: nvmlComputeMode_t in NVIDIA's NVML API reference;
    setting it needs root and lasts until the next boot.
    """
    barred = _in_mode(case.host, PROHIBITED)
    if not barred or _may_be_hidden(case.host):
        return None
    return Refusal(_barred(barred), f"{_lift(case.host, barred)}.")


def exclusive_process(case: Case) -> Iterator[str]:
    """A GPU that one process at a time may use, and one that none may use and that programs may not see."""
    barred = _in_mode(case.host, PROHIBITED)
    if barred and _may_be_hidden(case.host):
        yield f"{_barred(barred)}, unless CUDA_VISIBLE_DEVICES hides it. {_lift(case.host, barred)}."
    found = _in_mode(case.host, EXCLUSIVE)
    if found:
        told = "only one process at a time can use it, and a second one fails with error 46"
        gpus = f"GPU {', '.join(str(index) for index, _gpu in found)} {'are' if len(found) > 1 else 'is'}"
        yield f"{gpus} in compute mode Exclusive_Process: {told}. To share it: {_lower(_lift(case.host, found))}."


def _in_mode(host: Host, mode: str) -> list[tuple[int, Gpu]]:
    """Index and GPU of those that programs see and that are in a compute mode."""
    visible = seen(host) or ()
    return [(index, gpu) for index, gpu in enumerate(host.gpus or ()) if gpu in visible and gpu.compute_mode == mode]


def _may_be_hidden(host: Host) -> bool:
    """Whether every way was given some of the GPUs by their index, so that nobody can tell which."""
    asked = [way for name, way in (host.ways or {}).items() if name != ENVIRONMENT and way.asked]
    gpus = host.gpus or ()
    return bool(asked) and seen(host) == gpus and all(way.is_chosen(len(gpus)) for way in asked)


def _barred(barred: list[tuple[int, Gpu]]) -> str:
    which = ", ".join(f"GPU {index} ({gpu.name})" for index, gpu in barred)
    verb = "are" if len(barred) > 1 else "is"
    return f"{which} {verb} in compute mode Prohibited: CUDA starts, and every program on it fails with error 46"


def _lift(host: Host, gpus: list[tuple[int, Gpu]]) -> str:
    """The command that sets the default compute mode, and who has to run it."""
    where = " on the host of this container" if host.kind == "container" else ""
    number = "" if len(gpus) == len(host.gpus or ()) else f" -i {','.join(str(index) for index, _gpu in gpus)}"
    return f"Run as root{where}: nvidia-smi{number} -c 0"


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]
