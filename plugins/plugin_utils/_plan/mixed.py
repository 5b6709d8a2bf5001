# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host with different GPUs, not all of which can have what is wished: which of them to leave out. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import rules
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compile.architectures import misfit
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import Gpu, is_consumer
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.route import choose

Gpus = tuple[Gpu, ...]


def remedies(case: Case) -> list[str]:
    """Which GPUs are to be hidden so that the others get what is wished; tried on this host before it is told.

    Empty where all GPUs are alike, and where leaving some out does not help either.
    """
    gpus = case.host.gpus or ()
    for kept in _subsets(gpus):
        choice = _choose(replace(case, host=replace(case.host, gpus=kept)))
        if choice:
            hidden = [gpu for gpu in gpus if gpu not in kept]
            return [_tell(case, hidden, kept, choice)]
    return []


def _subsets(gpus: Gpus) -> Iterator[Gpus]:
    """The GPUs that may stay: all but those of one kind, the most first; then those of one kind alone."""
    groups = list(dict.fromkeys(map(_kind, gpus)))
    if len(groups) < 2:
        return
    without = [tuple(gpu for gpu in gpus if _kind(gpu) != group) for group in groups]
    alone = [tuple(gpu for gpu in gpus if _kind(gpu) == group) for group in groups] if len(groups) > 2 else []
    yield from sorted(without, key=len, reverse=True)
    yield from sorted(alone, key=len, reverse=True)


def _kind(gpu: Gpu) -> tuple[str | None, int | None, bool]:
    return gpu.capability, gpu.brand_id, is_consumer(gpu)


def _choose(case: Case) -> str | None:
    """What runs as it was wished, by name; None where nothing does."""
    if rules.gpu_floor(case) or rules.gpu_dropped(case) or misfit(case):
        return None
    policies = tuple(policy for policy in case.request.on_old_driver if policy != "fallback")
    choice = choose(replace(case, request=replace(case.request, on_old_driver=policies)))
    return choice.build.name if choice.build else None


def _tell(case: Case, hidden: list[Gpu], kept: Gpus, name: str) -> str:
    names = ", ".join(dict.fromkeys(gpu.name for gpu in hidden))
    uuids = ",".join(gpu.uuid for gpu in kept if gpu.uuid) if all(gpu.uuid for gpu in kept) else ""
    value = uuids or "the UUIDs of the others, which nvidia-smi -L lists"
    sets = f"set CUDA_VISIBLE_DEVICES={value}" if uuids else f"set CUDA_VISIBLE_DEVICES to {value}"
    where = "for every program (in /etc/environment, and in ~/.bashrc above all else)"
    start = "start the container with the other GPUs alone, or " if case.host.kind == "container" else ""
    return f"Leave out {names}: {start}{sets} {where}; {name} then runs here."
