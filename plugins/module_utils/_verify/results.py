# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The results of checks: what their commands' outcomes and findings come to, as records and in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ansible_collections.podsmith.gpu.plugins.module_utils._verify import judge
from ansible_collections.podsmith.gpu.plugins.module_utils._verify.checks import Check, Finding, Record, Settings
from ansible_collections.podsmith.gpu.plugins.module_utils._verify.run import Job, Outcome

OUTPUT_TAIL = 4000  # characters of a command's output that are kept as evidence

# check → what helps where nothing else is known
AGAIN: Mapping[str, str] = {
    "cuinit": "Check the driver with nvidia-smi and the kernel log; in a rented container, ask for another host.",
    "limits": "Check that the Python of this host is whole: the limits are read with its standard library.",
    "nvcc": "Run the cuda_toolkit role again.",
    "torch": "Run the pytorch role again; a later pip install may have replaced packages.",
    "matmul": "If torch sees no device, fix that first; do not use a device that computes wrong results.",
    "kernel": "Run the cuda_toolkit role again, and install a g++ that this CUDA release supports.",
    "cutlass": "Run the cutlass role again, and check that this CUTLASS release supports the CUDA release.",
    "nvrtc": "Run the pytorch role again: NVRTC or its built-in functions are damaged, or too old for this GPU.",
    "triton": "Run the pytorch role again, and check that the C compiler and this Python's headers work.",
    "peers": (
        "Run the programs with NCCL_P2P_DISABLE=1 to see whether the direct path between the GPUs is at fault. An IOMMU"
        " or PCIe access control may be the reason, which the host's owner can change; if values are wrong, return this"
        " pod."
    ),
    "workers": "Use num_workers=0 until it works, and check what the error names.",
    "extension": "Check that PyTorch supports the C++ compiler and the toolkit.",
    "packages": "Run the ml_extensions role again, or leave the package out of the request's extensions.",
    "health": "Check nvidia-smi -q and the kernel log; if the pod is rented, return it.",
    "features": "Run the pytorch role again; a PyTorch that cannot report its build options is broken.",
    "compile": "Check that a C++ compiler, this Python's headers and, on a GPU, triton are installed.",
    "pip_fence": "Source the environment's activate.sh, which sets PIP_CONSTRAINT, before pip install.",
}


def conclude(check: Check, outcomes: Mapping[str, Outcome], settings: Settings) -> Record:
    """The result of a check: ``{check, ok, seconds, evidence}`` and, where due, the keys below.

    ``error`` and ``advice`` are one sentence or a few, ``skipped`` says why, ``warnings`` is a list of sentences;
    ``evidence`` has the commands, the end of their output, and what was read from it.
    """
    mine = [(job, outcomes[job.name]) for job in check.jobs]
    text = "\n".join(outcome.output for _job, outcome in mine)
    finding = _judge(check, outcomes)
    result: Record = {
        "check": check.name,
        "ok": not finding.problems,
        "seconds": round(sum(outcome.seconds for _job, outcome in mine), 2),
        "evidence": {
            "commands": [" ".join(job.argv) for job, outcome in mine if outcome.started],
            **finding.evidence,
        },
    }
    if finding.skipped:
        result["skipped"] = finding.skipped
    if finding.warnings:
        result["warnings"] = list(finding.warnings)
    if finding.problems:
        result["error"] = " ".join(finding.problems)
        context = {**settings.host, "where": "probe" if check.name == "cuinit" else "program"}
        result["advice"] = finding.advice or judge.advise(text, settings.errors, AGAIN[check.name], context)
        result["evidence"]["output"] = text[-OUTPUT_TAIL:]
    return result


def _judge(check: Check, outcomes: Mapping[str, Outcome]) -> Finding:
    for job in check.jobs:
        outcome = outcomes[job.name]
        if not outcome.started:
            return Finding([f"{_title(job)} was not started: the total time limit was reached."])
        if outcome.code is None:
            return Finding([f"{_title(job)} did not finish within {outcome.limit:g} s."])
        if outcome.code != 0:
            records = judge.parse_records(outcome.output)
            return Finding([_describe_failure(job, outcome, records)], records[-1] if records else {})
    return check.judge(outcomes)


def _describe_failure(job: Job, outcome: Outcome, records: Sequence[Record]) -> str:
    record = records[-1] if records else {}
    if record.get("call"):
        name = f" ({record['name']})" if record.get("name") else ""
        return f"{record['call']} returned {record['code']}{name}."
    words = record.get("failure") or judge.last_words(outcome.output)
    code = outcome.code or 0
    ended = f"was killed by signal {-code}" if code < 0 else f"exited with status {code}"
    return f"{_title(job)} {ended}: {words.rstrip('.')}."


def _title(job: Job) -> str:
    """How a sentence names a command: nvcc, kernel, proof.py torch."""
    words = [Path(word).name for word in job.argv]
    return " ".join(words[words.index("proof.py") :][:2]) if "proof.py" in words else words[0]


def lack(name: str, lacking: Sequence[str]) -> Record:
    """The result of a check that was asked for and has nothing to look at."""
    needed = " and ".join(lacking)
    return {
        "check": name,
        "ok": False,
        "seconds": 0.0,
        "evidence": {},
        "error": f"The check {name} was requested, but {needed} is not set.",
        "advice": f"Set {needed}, or leave {name} out of the checks.",
    }


def skip(name: str, reason: str) -> Record:
    """The result of a check that was not run."""
    return {"check": name, "ok": True, "seconds": 0.0, "evidence": {}, "skipped": reason}


def summarize(results: Sequence[Record]) -> str:
    """What failed and what to do, in sentences; otherwise how many checks passed, what was skipped, and warnings."""
    failed = [f"{result['check']}: {result['error']} {result['advice']}" for result in results if not result["ok"]]
    if failed:
        return " ".join(failed)
    skipped = [f"{result['check']} skipped: {result['skipped']}" for result in results if result.get("skipped")]
    warnings = [f"{result['check']}: {words}" for result in results for words in result.get("warnings", ())]
    return " ".join(["; ".join([f"{len(results) - len(skipped)} checks passed", *skipped]) + ".", *warnings])
