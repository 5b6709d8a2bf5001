# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of the proof: which apply, what each runs, and what its outcome means."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Callable

from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root
from ansible_collections.podsmith.gpu.plugins.module_utils._verify import (
    health,
    judge,
    judge_packages,
    judge_parts,
    toolkit_parts,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._verify.host import fit_remedies
from ansible_collections.podsmith.gpu.plugins.module_utils._verify.readings import find_libraries, read_health
from ansible_collections.podsmith.gpu.plugins.module_utils._verify.run import Job, Outcome, shell_argv

Record = dict[str, Any]

# check → the first level at which it runs
LEVELS = ("light", "standard", "full")
CHECKS: Mapping[str, str] = {
    "cuinit": "light",
    "limits": "light",
    "nvcc": "light",
    "torch": "light",
    "matmul": "light",
    "kernel": "standard",
    "cutlass": "standard",
    "nvrtc": "standard",
    "triton": "standard",
    "peers": "standard",
    "workers": "standard",
    "extension": "standard",
    "packages": "standard",
    "health": "standard",
    "features": "full",
    "compile": "full",
    "pip_fence": "full",
}
# check → the settings without which it has nothing to look at
NEEDS: Mapping[str, Sequence[str]] = {
    "limits": ("health",),
    "nvcc": ("cuda_home",),
    "kernel": ("cuda_home", "architectures"),
    "cutlass": ("cuda_home", "cutlass_home", "architectures"),
    "torch": ("environment",),
    "matmul": ("environment",),
    "nvrtc": ("environment",),
    "triton": ("environment",),
    "peers": ("environment",),
    "workers": ("environment",),
    "extension": ("environment",),
    "packages": ("environment",),
    "health": ("health",),
    "features": ("environment",),
    "compile": ("environment",),
    "pip_fence": ("environment",),
}
# The long ones begin first, so that the short ones fill the gaps.
LONGEST = ("packages", "compile", "health", "extension", "peers", "cutlass", "kernel", "triton")
# Those that have nothing to look at without a GPU.
GPU_ONLY = ("cuinit", "nvrtc", "triton", "peers", "health")
PREFERRED = "sm_90a"  # its instructions are what a CUTLASS kernel is most often compiled for
MEMORY_PER_JOB_GIB = 2
LOAD_SECONDS = 5
# Seconds that reading the GPUs' health may take at rest, and that a load may take with the import of torch before it.
REST_LIMIT, LOAD_LIMIT = 10.0, 45.0


@dataclass(frozen=True)
class Settings:
    """What is to be proved; ``expected`` has any of nvcc, torch, cuda, arch_list, site_packages, packages, features.

    Its packages are the extensions as a decision has them.
    ``host`` is what is known of it where an error is explained, see module_utils/_verify/errors.py.
    """

    folder: str
    python: str
    environment: str | None = None
    activation: str | None = None
    cuda_home: str | None = None
    cutlass_home: str | None = None
    architectures: tuple[str, ...] = ()
    gpu: bool = False
    level: str = "standard"
    expected: Mapping[str, Any] = field(default_factory=dict)
    errors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    host: Mapping[str, Any] = field(default_factory=dict)
    health: health.Rules = field(default_factory=dict)
    timeout: float = 120.0
    cpus: int = 2


@dataclass(frozen=True)
class Finding:
    """What a judgement found: problems in words (none: the check passed), evidence, and why it was skipped.

    ``advice`` says what to do about the problems, ``warnings`` what is to be known although the check passed.
    """

    problems: Sequence[str] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)
    skipped: str | None = None
    advice: str | None = None
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class Check:
    """A check: its commands, and what their outcomes (job name → outcome) mean once all of them ended with status 0."""

    name: str
    jobs: tuple[Job, ...]
    judge: Callable[[Mapping[str, Outcome]], Finding]


def choose_checks(wanted: Sequence[str] | None, settings: Settings) -> list[str]:
    """The checks to run up to the level: those asked for, or with None all that fit.

    Those of level full go with torch, so that a plan need not name them.
    """
    depth = LEVELS.index(settings.level)
    names = [name for name in CHECKS if LEVELS.index(_first_level(name, settings)) <= depth]
    if wanted is not None:
        return [name for name in names if name in wanted or (CHECKS[name] == "full" and "torch" in wanted)]
    idle = set() if settings.gpu else set(GPU_ONLY)
    idle |= set() if settings.expected.get("packages") else {"packages"}
    return [name for name in names if not find_lacking(name, settings) and name not in idle]


def _first_level(name: str, settings: Settings) -> str:
    """The level from which on a check runs: what a build is to have is looked at in every proof of it."""
    return "light" if name == "features" and settings.expected.get("features") else CHECKS[name]


def find_lacking(name: str, settings: Settings) -> list[str]:
    """The settings that a check needs and does not have."""
    return [need for need in NEEDS.get(name, ()) if not getattr(settings, need)]


def choose_cutlass_architectures(settings: Settings) -> tuple[str, ...]:
    """What the CUTLASS kernel is compiled for, at many seconds each.

    All on a GPU, where they are the GPUs' own, and at level full; else one.
    """
    if settings.gpu or settings.level == "full":
        return settings.architectures
    return (PREFERRED,) if PREFERRED in settings.architectures else settings.architectures[:1]


def count_build_jobs(cpus: int, memory_gib: float) -> int:
    """Compilers to run at once, by processors and memory."""
    return max(1, min(cpus, int(memory_gib // MEMORY_PER_JOB_GIB)))


def run_order(check: Check) -> int:
    """The place of a check in the queue."""
    return LONGEST.index(check.name) if check.name in LONGEST else len(LONGEST)


def plan_check(name: str, settings: Settings) -> Check:
    """The commands of a check and their judgement."""
    return PLANS[name](settings)


def _proof(settings: Settings, python: str, *arguments: str) -> tuple[str, ...]:
    return (python, "-W", "ignore", f"{settings.folder}/proof.py", *arguments)


def _environment_python(settings: Settings) -> str:
    return f"{settings.environment}/bin/python"


def _devices(settings: Settings) -> tuple[str, ...]:
    return ("gpu",) if settings.gpu else ()


def _record(outcome: Outcome) -> Record:
    records = judge.parse_records(outcome.output)
    return records[-1] if records else {}


def _read(settings: Settings, name: str) -> bytes:
    """What a compiler wrote, nothing where it wrote no file."""
    path = Path(settings.folder, name)
    return path.read_bytes() if path.is_file() else b""


def _plan_nvcc(settings: Settings) -> Check:
    def judged(outcomes: Mapping[str, Outcome]) -> Finding:
        text = outcomes["nvcc"].output
        found, parts = judge.parse_nvcc(text) or {}, toolkit_parts.read_versions(settings.cuda_home or "")
        problems = judge.judge_nvcc(text, settings.expected.get("nvcc"))
        problems += toolkit_parts.judge_parts(str(found.get("exact") or ""), parts)
        return Finding(problems, {**found, **parts})

    return Check("nvcc", (Job("nvcc", (f"{settings.cuda_home}/bin/nvcc", "--version"), settings.timeout),), judged)


def _plan_kernel(settings: Settings) -> Check:
    targets = [f"-gencode=arch={name.replace('sm', 'compute')},code={name}" for name in settings.architectures]
    compiler = (f"{settings.cuda_home}/bin/nvcc", "-std=c++17", "--no-compress", *targets, "kernel.cu", "-o", "kernel")
    jobs = [Job("kernel", compiler, settings.timeout)]
    if settings.gpu:
        jobs.append(Job("kernel_run", (f"{settings.folder}/kernel",), settings.timeout, ("kernel",)))

    def judged(outcomes: Mapping[str, Outcome]) -> Finding:
        data = _read(settings, "kernel")
        problems = judge.judge_cubins(data, settings.architectures)
        evidence: Record = {"architectures": [f"sm_{number}" for number in sorted(judge.find_cubins(data))]}
        if settings.gpu:
            evidence["runs"] = judge.parse_records(outcomes["kernel_run"].output)
            problems = problems + judge.judge_kernel_runs(evidence["runs"])
        return Finding(problems, evidence)

    return Check("kernel", tuple(jobs), judged)


def _plan_cutlass(settings: Settings) -> Check:
    architectures = choose_cutlass_architectures(settings)
    cubins = [f"cutlass_{name}.cubin" for name in architectures]
    jobs = []
    for name, cubin in zip(architectures, cubins):
        argv = (
            *(f"{settings.cuda_home}/bin/nvcc", "-std=c++17", "--expt-relaxed-constexpr", "-cubin"),
            *(f"-gencode=arch={name.replace('sm', 'compute')},code={name}", f"-I{settings.cutlass_home}/include"),
            *("cutlass.cu", "-o", cubin),
        )
        jobs.append(Job(f"cutlass_{name}", argv, settings.timeout))
    if settings.gpu:
        needs = tuple(job.name for job in jobs)
        run = _proof(settings, settings.python, "cutlass", *cubins)
        jobs.append(Job("cutlass_run", run, settings.timeout, needs))

    def judged(outcomes: Mapping[str, Outcome]) -> Finding:
        problems = []
        for name, cubin in zip(architectures, cubins):
            problems += judge.judge_cubins(_read(settings, cubin), [name])
        evidence: Record = {"architectures": list(architectures)}
        if settings.gpu:
            evidence.update(_record(outcomes["cutlass_run"]))
            problems += judge.judge_cutlass_runs(evidence)
        return Finding(problems, evidence)

    return Check("cutlass", tuple(jobs), judged)


def _plan_record(
    name: str, settings: Settings, argv: tuple[str, ...], problems: Callable[[Record], Sequence[str]]
) -> Check:
    """A check of one command that prints what it saw as a line of JSON."""

    def judged(outcomes: Mapping[str, Outcome]) -> Finding:
        record = _record(outcomes[name])
        if not record:
            return Finding([f"It printed no result: {judge.last_words(outcomes[name].output)}."])
        if record.get("skipped"):
            return Finding(skipped=record["skipped"])
        return Finding(problems(record), record)

    return Check(name, (Job(name, argv, settings.timeout),), judged)


def _plan_cuinit(settings: Settings) -> Check:
    return _plan_record("cuinit", settings, _proof(settings, settings.python, "cuinit"), judge.judge_cuinit)


def _plan_torch(settings: Settings) -> Check:
    home = os.path.realpath(settings.expected.get("site_packages") or settings.environment or "")

    def problems(record: Record) -> list[str]:
        return judge.judge_torch(record, settings.expected, home, gpu=settings.gpu)

    return _plan_record("torch", settings, _proof(settings, _environment_python(settings), "torch"), problems)


def _plan_matmul(settings: Settings) -> Check:
    argv = _proof(settings, _environment_python(settings), "matmul", *_devices(settings))
    return _plan_record("matmul", settings, argv, judge.judge_products)


def _plan_nvrtc(settings: Settings) -> Check:
    argv = _proof(settings, _environment_python(settings), "nvrtc")
    return _plan_record("nvrtc", settings, argv, judge_parts.judge_nvrtc)


def _plan_triton(settings: Settings) -> Check:
    argv = _proof(settings, _environment_python(settings), "triton", *_devices(settings))
    return _plan_record("triton", settings, argv, judge_parts.judge_triton)


def _plan_peers(settings: Settings) -> Check:
    argv = _proof(settings, _environment_python(settings), "peers", *_devices(settings))
    return _plan_record("peers", settings, argv, judge_parts.judge_peers)


def _plan_limits(settings: Settings) -> Check:
    """Tell what the container limits; a low limit is a warning, as most programs work with it."""

    def judged(outcomes: Mapping[str, Outcome]) -> Finding:
        record = _record(outcomes["limits"])
        findings = judge_parts.judge_limits(record, settings.health.get("process_limits") or {})
        warnings = health.pick(findings, "warning")
        told = [f"{finding['text'][0].upper()}{finding['text'][1:]}. {finding['advice']}" for finding in warnings]
        return Finding(evidence={**record, "findings": findings}, warnings=told)

    return Check("limits", (Job("limits", _proof(settings, settings.python, "limits"), settings.timeout),), judged)


def _plan_workers(settings: Settings) -> Check:
    def judged(outcomes: Mapping[str, Outcome]) -> Finding:
        record = _record(outcomes["workers"])
        return Finding(judge_parts.judge_workers(record), record, advice=judge_parts.advise_workers(record))

    job = Job("workers", _proof(settings, _environment_python(settings), "workers"), settings.timeout)
    return Check("workers", (job,), judged)


def _plan_extension(settings: Settings) -> Check:
    argv = _proof(settings, _environment_python(settings), "extension", settings.folder, *_devices(settings))
    return _plan_record("extension", settings, argv, judge.judge_wrong)


def _plan_packages(settings: Settings) -> Check:
    """Import each planned extension and have it do one operation, each in a process of its own."""
    wanted = judge_packages.planned(settings.expected.get("packages") or {})
    torch = settings.expected.get("torch")

    def judged(outcomes: Mapping[str, Outcome]) -> Finding:
        record = _record(outcomes["packages"])
        if not wanted:
            return Finding(skipped="no extension is planned")
        return Finding(
            judge_packages.judge_packages(record, wanted, torch),
            record,
            advice=judge_packages.advise_packages(record, wanted, torch),
            warnings=judge_packages.warn_packages(record, wanted),
        )

    limit = f"{settings.timeout:g}"
    argv = _proof(settings, _environment_python(settings), "packages", limit, *_devices(settings), *wanted)
    return Check("packages", (Job("packages", argv, settings.timeout),), judged)


def _plan_features(settings: Settings) -> Check:
    """Show what PyTorch was built with, and compare it with what is wanted of the build."""
    expected = settings.expected.get("features") or {}

    def judged(outcomes: Mapping[str, Outcome]) -> Finding:
        record = _record(outcomes["features"])
        found = judge.find_features(record)
        if not found and not expected:
            return Finding(skipped="this PyTorch does not report its build options")
        if not found:
            return Finding([f"This PyTorch does not report its build options; expected {', '.join(expected)}."])
        kept = {name: record[name] for name in ("version", "cuda", "arch_list", "versions")}
        return Finding(
            judge.judge_features(found, expected),
            {**kept, "features": found, "config": record["config"]},
            advice=judge.advise_features(found, expected),
            warnings=judge.unknown_features(found, expected),
        )

    job = Job("features", _proof(settings, _environment_python(settings), "features"), settings.timeout)
    return Check("features", (job,), judged)


def _plan_compile(settings: Settings) -> Check:
    argv = _proof(settings, _environment_python(settings), "compile", *_devices(settings))
    return _plan_record("compile", settings, argv, judge.judge_wrong)


def _plan_pip_fence(settings: Settings) -> Check:
    argv = _proof(settings, _environment_python(settings), "pip_fence")
    return _plan_record("pip_fence", settings, argv, judge.judge_fence)


def _plan_health(settings: Settings) -> Check:
    """Read the GPUs at rest, and at level full while torch keeps them busy."""
    load, limit = None, REST_LIMIT
    if settings.level == "full" and settings.environment:
        argv = _proof(settings, _environment_python(settings), "load", str(LOAD_SECONDS))
        load, limit = shell_argv(settings.activation, settings.folder, argv), REST_LIMIT + LOAD_LIMIT

    def read() -> Record:
        libraries = find_libraries(Root(), os.environ)
        return read_health(libraries, load, f"{settings.folder}/load.log", min(LOAD_LIMIT, settings.timeout))

    return Check(
        "health", (Job("health", ("NVML",), min(limit, settings.timeout), call=read),), partial(_judge_health, settings)
    )


def _judge_health(settings: Settings, outcomes: Mapping[str, Outcome]) -> Finding:
    readings = _record(outcomes["health"])
    if readings["init"] is None:
        words = "NVML (libnvidia-ml.so.1) cannot be loaded, so the GPU's health is unknown"
        return Finding(skipped=f"{words}; add utility to the container's NVIDIA_DRIVER_CAPABILITIES")
    findings = health.judge_health(readings, fit_remedies(settings.health, settings.host.get("kind")))
    if settings.level == "full" and not settings.environment:
        findings += health.judge_load({"error": "there is no environment with torch to put a load on the GPU"})
    failures, warnings = health.pick(findings, "failure"), health.pick(findings, "warning")
    return Finding(
        problems=[health.say(finding) for finding in failures],
        evidence={"findings": findings, "load": readings["load"]},
        advice=" ".join(dict.fromkeys(finding["advice"] for finding in failures)) or None,
        warnings=[
            *(f"{health.say(finding)} {finding['advice']}" for finding in warnings),
            *health.say_unknown(findings),
        ],
    )


PLANS: Mapping[str, Callable[[Settings], Check]] = {
    "cuinit": _plan_cuinit,
    "nvcc": _plan_nvcc,
    "torch": _plan_torch,
    "matmul": _plan_matmul,
    "nvrtc": _plan_nvrtc,
    "triton": _plan_triton,
    "peers": _plan_peers,
    "limits": _plan_limits,
    "workers": _plan_workers,
    "kernel": _plan_kernel,
    "cutlass": _plan_cutlass,
    "extension": _plan_extension,
    "packages": _plan_packages,
    "health": _plan_health,
    "features": _plan_features,
    "compile": _plan_compile,
    "pip_fence": _plan_pip_fence,
}
