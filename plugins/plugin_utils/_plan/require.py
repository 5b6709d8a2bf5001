# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a host is what was required of it: each rule is a function of what was required and what is there. Pure.

What is unknown is not met: a host is not taken for one that it may not be.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.decision import UNMET, Plan
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.driver import CHANGING
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import Gpu, Host, read_host
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.plan import resolve
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.resolver import satisfies
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import Request
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.require import ALL, Requirements

HEALTH = "health"  # the check of gpu_verify
# What a GPU reports of the memory that it is sold with: ECC keeps a sixteenth, and the firmware some (an A10G of 24 GB
# reports 22,731 MiB, an H100 of 80 GB 81,559 MiB: nvidia-smi of these).
REPORTED = 0.92


@dataclass(frozen=True)
class Held:
    """A host and its plan, beside what was required. ``health`` are the results of that check, None: nobody looked."""

    required: Requirements
    host: Host
    plan: Plan
    wished: tuple[str, ...] = ()  # the extensions of the request
    health: Sequence[Mapping[str, Any]] | None = None


def decide(
    observed: Mapping[str, Any],
    request: Request,
    known: Catalogue,
    *,
    require: Requirements,
    health: Sequence[Mapping[str, Any]] | None = None,
) -> Plan:
    """The plan for a host, held against what is required of it."""
    host, plan = read_host(observed, request.overrides, known), resolve(observed, request, known)
    return hold(Held(require, host, plan, request.extensions, health))


def hold(held: Held) -> Plan:
    """The plan as it is, or the plan of a host that is not what was required: with nothing to change, and why."""
    unmet = tuple(text for rule in RULES for text in rule(held))
    if not unmet:
        return held.plan
    remedy = "Use a host that meets stack_plan_require, or change what it requires."
    download = replace(held.plan.download, mib=0, installed_mib=0)
    remedies = (remedy, *held.plan.remedies)
    return replace(held.plan, verdict=UNMET, unmet=unmet, changes=(), download=download, remedies=remedies)


# --- the rules ---


def too_few_gpus(held: Held) -> Iterator[str]:
    """The number of GPUs, as NVML counts them."""
    wanted, gpus = held.required.gpus, held.host.gpus
    if wanted is None or (gpus is not None and len(gpus) >= wanted):
        return
    found = "their number is unknown" if gpus is None else f"the host has {_of(gpus, held.host)}"
    yield f"{wanted} {'GPU is' if wanted == 1 else 'GPUs are'} required; {found}."


def another_model(held: Held) -> Iterator[str]:
    """Each GPU is of a required model: all words of it stand in NVML's name, as words (H100 is no H1000)."""
    models = held.required.models
    if not models:
        return
    wanted = " or ".join(models)
    if not held.host.gpus:
        yield f"{wanted} is required; {'no GPU was observed' if held.host.gpus is None else 'the host has no GPU'}."
    others = [gpu for gpu in held.host.gpus or () if not any(is_model(gpu.name, model) for model in models)]
    for name, count in _counted(gpu.name for gpu in others):
        yield f"{wanted} is required; the host has {f'{count}x ' if count > 1 else ''}{name}."


def is_model(name: str, model: str) -> bool:
    """Whether NVML's name of a GPU has all words of a model: "NVIDIA H100 80GB HBM3" is an H100, and an h100 80gb."""
    words = re.findall(r"[a-z0-9]+", name.lower())
    return all(word in words for word in re.findall(r"[a-z0-9]+", model.lower()))


def too_little_memory(held: Held) -> Iterator[str]:
    """The memory of each GPU as its maker counts it, which is a little more than it reports."""
    wanted = held.required.memory_gib
    if wanted is None:
        return
    if not held.host.gpus:
        yield f"{wanted:g} GiB of memory in each GPU are required; no GPU was observed."
    for gpu, index in _unlike(held.host.gpus or (), lambda gpu: gpu.memory_mib):
        if gpu.memory_mib is None:
            yield f"{wanted:g} GiB of memory in each GPU are required; that of GPU {index} ({gpu.name}) is unknown."
        elif gpu.memory_mib < wanted * 1024 * REPORTED:
            has = f"GPU {index} ({gpu.name}) has {gpu.memory_mib / 1024:.1f}"
            yield f"{wanted:g} GiB of memory in each GPU are required; {has}."


def another_driver(held: Held) -> Iterator[str]:
    """The driver that runs now, or that the request has installed."""
    wanted, driver = held.required.driver, held.host.driver
    if held.plan.driver.action in CHANGING:
        driver = held.plan.driver.version or driver
    if wanted is None or (driver and _is_within(driver, wanted)):
        return
    found = f"found {driver}" if driver else "its version is unknown" if held.host.status == "ok" else "found none"
    yield f"A driver {_bound(wanted)} is required; {found}."


def too_little_shm(held: Held) -> Iterator[str]:
    """``/dev/shm``, which workers and NCCL hand their data over by."""
    wanted, found = held.required.shm_gib, held.host.shm_mib
    if wanted is None or (found is not None and found >= wanted * 1024):
        return
    has = "its size is unknown" if found is None else f"it has {found / 1024:g}"
    yield f"{wanted:g} GiB of /dev/shm are required; {has}. A container gets them by --shm-size={wanted:g}g."


def too_little_disk(held: Held) -> Iterator[str]:
    """Where the collection installs: free before the first set-up, and the whole file system's size after it."""
    wanted, host = held.required.disk_gib, held.host
    if wanted is None:
        return
    prefix = held.plan.environment.prefix if held.plan.environment else "/"
    free, size = host.free_mib(prefix), host.size_mib(prefix)
    measured = size if host.live and size is not None else free
    if measured is not None and measured >= wanted * 1024:
        return
    what = "are there" if measured is size and host.live else "are free"
    found = "what is free is unknown" if measured is None else f"{measured / 1024:.1f} {what}"
    yield f"{wanted:g} GiB of disk at {prefix} are required; {found}."


def missing_extensions(held: Held) -> Iterator[str]:
    """Each required extension is in the set."""
    required = held.required.extensions
    for name in held.wished if required == (ALL,) else required:
        found = held.plan.extensions.get(name)
        if isinstance(found, Refusal):
            yield f"The extension {name} is required; {found.because}."
        elif found is None:
            because = held.plan.summary if held.plan.route == "blocked" else "the request does not name it"
            yield f"The extension {name} is required; {because}."


def another_route(held: Held) -> Iterator[str]:
    """The way by which CUDA runs."""
    routes, plan = held.required.routes, held.plan
    if routes and plan.route not in routes:
        found = plan.summary if plan.route == "blocked" else f"found {plan.route}"
        yield f"The route {' or '.join(routes)} is required; {found}."


def not_healthy(held: Held) -> Iterator[str]:
    """CUDA works now, and the check health of gpu_verify has no failure."""
    if not held.required.health:
        return
    now = held.plan.now
    if now.works is False:
        yield f"Healthy GPUs are required; {now.summary or 'CUDA does not work by every way into the host'}."
    results = None if held.health is None else [row for row in held.health if row.get("check") == HEALTH]
    if not results or results[0].get("skipped"):
        because = (results or [{}])[0].get("skipped") or "their health was not read here"
        yield f"Healthy GPUs are required; {str(because).rstrip('.')}."
    elif not results[0].get("ok"):
        yield f"Healthy GPUs are required; {str(results[0].get('error') or 'the check failed').rstrip('.')}."


RULES: tuple[Callable[[Held], Iterator[str]], ...] = (
    too_few_gpus,
    another_model,
    too_little_memory,
    another_driver,
    too_little_shm,
    too_little_disk,
    missing_extensions,
    another_route,
    not_healthy,
)


# --- words ---


def _of(gpus: Sequence[Gpu], host: Host) -> str:
    return f"{len(gpus)} ({host.gpu_names})" if gpus else "none"


def _counted(names: Iterator[str]) -> list[tuple[str, int]]:
    found: dict[str, int] = {}
    for name in names:
        found[name] = found.get(name, 0) + 1
    return list(found.items())


def _unlike(gpus: Sequence[Gpu], value: Callable[[Gpu], object]) -> Iterator[tuple[Gpu, int]]:
    """The first GPU of each name and value, with its number: eight alike are told once."""
    seen = set()
    for index, gpu in enumerate(gpus):
        if (key := (gpu.name, value(gpu))) not in seen:
            seen.add(key)
            yield gpu, index


def _is_within(driver: str, bound: str) -> bool:
    """Whether a driver's version is within a bound, its numbers compared one by one: 570.26 is before 570.124.06."""
    return satisfies(".".join(map(str, parse_version(driver))), bound)


def _bound(spec: str) -> str:
    """A specifier as a person says it: ==570.* → of branch 570."""
    branch = re.fullmatch(r"==(\d+)\.\*", spec)
    return f"of branch {branch[1]}" if branch else spec
