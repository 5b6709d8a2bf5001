# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be known of NCCL on a host: wishes that change nothing there, and faults that were reported. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.devices import kinds
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.resolver import satisfies
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.torch import PyTorch

BETWEEN_HOSTS = "nccl_ib"  # whatever the number of GPUs


def note(case: Case, torch: PyTorch | None) -> Iterator[str]:
    """What a person should know of NCCL here; nothing where the GPUs are not known, or PyTorch has no NCCL."""
    if case.host.gpus is None or torch is None:
        return
    yield from _idle_wishes(case, len(case.host.gpus))
    if torch.cuda:
        yield from (
            row["told"] for row in case.known["settings"]["collective_faults"].values() if _has(case, row, torch)
        )


def _idle_wishes(case: Case, gpus: int) -> Iterator[str]:
    """What is wished of NCCL and changes nothing on a host with so many GPUs."""
    rows = case.known["settings"]["collectives"]
    for name, value in asdict(case.request.settings).items():
        if value is None or name not in rows or (gpus >= rows[name]["gpus"] and name != BETWEEN_HOSTS):
            continue
        there = "this host has one GPU" if gpus == 1 else f"this host has {gpus or 'no'} GPUs"
        alone = "it changes nothing in a program that runs on this host alone" if gpus else "it changes nothing here"
        yield f"settings.{name} is set: {rows[name]['told']}, and {there}; {alone}."


def _has(case: Case, row: Row, torch: PyTorch) -> bool:
    """Whether a fault that was reported is one of this host: of its GPUs, their number, its kind and its PyTorch."""
    gpus = case.host.gpus or ()
    among = [gpu for gpu in gpus if row["capabilities"] is None or gpu.capability in row["capabilities"]]
    is_kind = row["kinds"] is None or not kinds(case).isdisjoint(row["kinds"])
    return len(among) >= row["gpus"] and is_kind and satisfies(torch.version, row["torch"])
