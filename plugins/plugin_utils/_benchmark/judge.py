# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What measured figures mean: their share of the data sheet, their floor, and whether the pod is to be kept."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue

Case = Mapping[str, Any]
Record = dict[str, Any]

SCHEMA = 1
LINKS = ("memory", "nvlink", "pcie")  # peaks in GB/s; the others are precisions, in TFLOPS
KEEP = "Stop what else runs on the GPU (nvidia-smi lists it) and run it again; if nothing changes, return this pod."
WRONG = "Return this pod; if another pod computes the same, this PyTorch is broken: bootstrap.yml installs another."
MEMORY = "Free the GPU's memory (nvidia-smi lists what uses it) and run it again."
ERROR = "Search the kernel log for Xid and run playbooks/verify.yml; if both point to the GPU, return this pod."
TIME = "Run it again with a longer gpu_benchmark_timeout; if the GPU is still as slow, return this pod."
ADVICE = {"out_of_memory": MEMORY, "failed": ERROR, "unsupported": ERROR, "skipped": TIME}
COLUMN = 44  # characters of a case's name in the report


class ResultError(Exception):
    """What is to be judged is no result of the benchmark."""


@dataclass(frozen=True)
class Floor:
    """The least figure that a sound device reaches in a case, and what it follows from."""

    value: float
    because: str


@dataclass(frozen=True)
class Finding:
    """Why a run is a failed proof: on which device, what was found, what was expected, what to do."""

    device: str
    case: str
    found: str
    wanted: str
    advice: str

    def sentence(self) -> str:
        """The finding for a person."""
        return f"{self.device}: {self.case}: found {self.found}; expected {self.wanted}. {self.advice}"


def judge(result: Mapping[str, Any], known: Catalogue) -> Record:
    """The result with a peak, its percentage, a floor and known devices' figures in each case, and a verdict.

    ``verdict`` is ``{ok, findings, notes}``. To judge a judged result again, by another catalogue, gives what judging
    the result itself gives.

    Raises ResultError where it is no result of this schema.
    """
    if result.get("schema") != SCHEMA or not isinstance(result.get("cases"), Sequence):
        found = f"schema {result.get('schema')!r}"
        raise ResultError(f"Found {found}; expected the results.json of a benchmark, schema {SCHEMA}. Measure again.")
    names = {device["index"]: device["name"] for device in result["devices"]}
    cases = [judge_case(case, names.get(case["device"], ""), known) for case in result["cases"]]
    findings = [finding for case in cases for finding in find_faults(case, name_device(case["device"], names))]
    if not cases:
        findings.append(
            Finding("every GPU", "all cases", "no case", "figures", "Choose other families, or a higher level.")
        )
    if not result["complete"]:
        running, stopped = result.get("running") or "no case", result.get("stopped") or "stopped"
        findings.append(Finding("the program", running, f"it {stopped}", "the end of its level", ERROR))
    verdict = {
        "ok": not findings,
        "findings": [{**asdict(finding), "text": finding.sentence()} for finding in findings],
        "notes": list(find_notes(cases, names, known)),
    }
    return {**result, "cases": cases, "verdict": verdict}


def judge_case(case: Case, device: str, known: Catalogue) -> Record:
    """A case with ``peak_value``, ``percent_of_peak``, ``floor`` and ``references``."""
    peak = find_peak(case.get("peak"), device, known)
    rate = case.get("gb_per_s") if case.get("peak") in LINKS else case.get("tflops")
    floor = find_floor(case, device, known)
    return {
        **case,
        "peak_value": peak,
        "percent_of_peak": round(100 * rate / peak, 1) if rate and peak else None,
        "floor": asdict(floor) if floor else None,
        "references": {
            name: row["results"][case["name"]]
            for name, row in known["benchmarks"]["references"].items()
            if case["name"] in row["results"]
        },
    }


def find_peak(peak: str | None, device: str, known: Catalogue) -> float | None:
    """The data sheet's figure, GB/s for a link and TFLOPS for a precision; None where it has none."""
    row = known["devices"]["devices"].get(device)
    if row is None or peak is None:
        return None
    found: float | None = row["gb_per_s" if peak in LINKS else "tflops"].get(peak)
    return found


def find_floor(case: Case, device: str, known: Catalogue) -> Floor | None:
    """The floor of a case on a device; None where the catalogue has none, or does not know the device."""
    for pattern, row in known["devices"]["floors"].items():
        if not fnmatch.fnmatchcase(case["name"], pattern) or row.get("peak", case["peak"]) != case["peak"]:
            continue
        measured = [
            (reference["results"][case["name"]], name)
            for name, reference in known["benchmarks"]["references"].items()
            if reference["device"] == device and case["name"] in reference["results"]
        ]
        if measured:
            least, name = min(measured)
            because = f"{row['of_reference']:.0%} of the {figure(least, case['unit'])} measured on {name}"
            return Floor(row["of_reference"] * least, because)
        peak = find_peak(case["peak"], device, known)
        if peak:
            because = f"{row['of_peak']:.0%} of the data sheet's {figure(peak, case['unit'])}"
            return Floor(row["of_peak"] * peak, because)
    return None


def name_device(index: int, names: Mapping[int, str]) -> str:
    """GPU 0 (NVIDIA H200)."""
    return f"GPU {index} ({names.get(index, 'unknown')})"


def find_faults(case: Case, device: str) -> Iterator[Finding]:
    """A wrong result, a figure below its floor, or no figure where there is a floor."""
    status, floor = case["status"], case["floor"]
    if status == "wrong":
        found = f"results off by {case['error']:.3g}"
        yield Finding(device, case["name"], found, f"at most {case['tolerance']:.3g}", WRONG)
    if not floor:
        return
    wanted = f"at least {figure(floor['value'], case['unit'])} ({floor['because']})"
    if status in ADVICE:
        yield Finding(device, case["name"], f"no figure: {case['reason']}", wanted, ADVICE[status])
    elif case["value"] < floor["value"]:
        found = figure(case["value"], case["unit"]) + describe_state(case.get("state"))
        yield Finding(device, case["name"], found, wanted, KEEP)


def find_notes(cases: Sequence[Case], names: Mapping[int, str], known: Catalogue) -> Iterator[str]:
    """What is worth a word and fails nothing."""
    for name in sorted(set(names.values()) - set(known["devices"]["devices"])):
        yield f"The catalogue has no data sheet for {name}: its figures are not compared."
    for case in cases:
        if case["status"] in ADVICE and not case["floor"]:
            yield f"{case['name']}: {case['status'].replace('_', ' ')}: {case['reason']}"


def describe_state(state: Mapping[str, Any] | None) -> str:
    """Clock, power, temperature and throttling right after a case, as part of a sentence; "" where they are unknown."""
    if not state:
        return ""
    units = (("sm_mhz", "MHz"), ("power_w", "W"), ("temperature_c", "°C"))
    parts = [f"{state[name]:.0f} {unit}" for name, unit in units if state.get(name) is not None]
    parts += state.get("throttling") or []
    return f" (at {', '.join(parts)})" if parts else ""


def figure(value: float, unit: str) -> str:
    """A value with three digits and its unit: 517 TFLOPS, 4,310 GB/s, 10.9x, 0.0124 TFLOPS."""
    text = f"{value:.3g}" if value < 1 else f"{value:,.{max(0, 3 - len(str(int(value))))}f}"
    return f"{text}{'' if unit == 'x' else ' '}{unit}"


def render_lines(judged: Mapping[str, Any], host: str) -> list[str]:
    """The block that a person reads: the best case of each family and all with a floor, what failed, the verdict."""
    software, devices = judged["software"], [device["name"] for device in judged["devices"]]
    names = ", ".join(f"{devices.count(name)}x {name}" for name in dict.fromkeys(devices))
    about = f"torch {software['torch']} · {judged['level']}, {len(judged['cases'])} cases"
    driver = f"driver {software['driver']} · " if software["driver"] else ""
    lines = [f"{host}   {names} · {driver}{about}, {judged.get('seconds') or 0:.0f} s"]
    lines += [f"  {line}" for line in map(render_case, choose_cases(judged["cases"]))]
    verdict = judged["verdict"]
    lines += [f"  note     {note}" for note in verdict["notes"]]
    lines += [f"  failed   {finding['text']}" for finding in verdict["findings"]]
    correct = sum(case["status"] == "ok" for case in judged["cases"])
    told = f"ok: {correct} of {len(judged['cases'])} cases measured and correct"
    return [*lines, f"  verdict  {told if verdict['ok'] else 'failed'}"]


def choose_cases(cases: Sequence[Case]) -> list[Case]:
    """Of each family, in order, the cases with a floor, or the one that comes closest to its peak."""
    chosen: list[Case] = []
    for family in dict.fromkeys(case["family"] for case in cases):
        members = [case for case in cases if case["family"] == family and case["status"] in ("ok", "wrong")]
        floored = [case for case in members if case["floor"]]
        best = sorted(members, key=lambda case: case["percent_of_peak"] or 0.0)[-1:]
        chosen += floored or best
    return chosen


def render_case(case: Case) -> str:
    """A case as a line: name, figure, share of the peak, what did the work."""
    peak = f"{case['percent_of_peak']:.0f} % of peak" if case["percent_of_peak"] else ""
    name = case["name"] + (f" GPU {case['device']}" if case["device"] else "")
    return (
        f"{name:<{COLUMN}} {figure(case['value'], case['unit']):>14}  {peak:<14} {case.get('backend') or ''}".rstrip()
    )
