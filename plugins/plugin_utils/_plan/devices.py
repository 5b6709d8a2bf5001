# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The GPUs of a host as a plan looks at them: which of them programs see, and what kind they are. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import rules
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import Gpu, Host
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.torch import PyTorch
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.ways import ENVIRONMENT, Way
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import KEEP

GUEST = "Leave driver: keep, and get a guest driver that fits the hypervisor's release from whoever runs it."
DRIVER = re.compile(r"\bdrivers? \d|\bdriver:|\bthe driver\b|NVIDIA's driver")  # a remedy that asks for another one
VGPU, TEGRA = "vgpu", "tegra"  # kinds of host beside those of platform.kind


# --- what programs see ---


def seen(host: Host) -> tuple[Gpu, ...] | None:
    """The GPUs that programs see: all, but for those that CUDA_VISIBLE_DEVICES hides from every way into the host.

    Which GPU an index means depends on CUDA's own order, which is not NVML's where GPUs differ. So a hidden GPU counts
    as hidden only where GPUs are named by their UUID, or where all are alike.
    """
    asked = [way for name, way in (host.ways or {}).items() if name != ENVIRONMENT and way.asked]
    gpus = host.gpus
    if not gpus or not asked:
        return gpus
    chosen: set[int] = set()
    for way in asked:
        found = _chosen(gpus, way)
        if found is None:
            return gpus
        chosen |= found
    return tuple(gpu for index, gpu in enumerate(gpus) if index in chosen) or gpus


def only_seen(host: Host) -> Host:
    """The host with the GPUs that programs see; the others are ``hidden``, and nothing is decided by them."""
    visible = seen(host)
    if visible == host.gpus:
        return host
    return replace(host, gpus=visible, hidden=tuple(gpu for gpu in host.gpus or () if gpu not in (visible or ())))


def _chosen(gpus: tuple[Gpu, ...], way: Way) -> set[int] | None:
    """The positions of the GPUs that one way was given; None where it was given all, or nobody can tell which."""
    if way.visible is None or way.answer is None or not way.answer.works:
        return None
    found = set()
    for name in way.visible:
        same = [index for index, gpu in enumerate(gpus) if gpu.uuid and name.startswith("GPU-") and _is(gpu, name)]
        if len(same) != 1:
            return None
        found.add(same[0])
    return found or None


def _is(gpu: Gpu, name: str) -> bool:
    """Whether a name in CUDA_VISIBLE_DEVICES, which may be the begin of a UUID, means this GPU."""
    return bool(gpu.uuid) and str(gpu.uuid).lower().startswith(name.lower())


# --- virtual GPUs ---


def kinds(case: Case) -> frozenset[str]:
    """What a host is, as far as run-time settings depend on it: its kind, and whether it has vGPUs or is a Tegra."""
    host, rows = case.host, case.known["gpus"]["capabilities"]
    found = {host.kind} if host.kind else set()
    if any(gpu.virtual for gpu in host.gpus or ()):
        found.add(VGPU)
    if any(rows.get(gpu.capability or "", {}).get("tegra") for gpu in host.gpus or ()):
        found.add(TEGRA)
    return frozenset(found)


def guest_driver(case: Case) -> Refusal | None:
    """A vGPU is driven by a guest driver of NVIDIA's vGPU software, which its host's release must support.

    Source: NVIDIA's vGPU software documentation, on the compatibility of guest drivers with the Virtual GPU Manager.
    """
    virtual = [gpu for gpu in case.host.gpus or () if gpu.virtual]
    if not virtual:
        return None
    because = f"{virtual[0].name} is a vGPU: only a guest driver of NVIDIA's vGPU software drives it"
    return Refusal(because, GUEST, wish={"driver": KEEP})


def note_guest_driver(case: Case, remedies: Iterable[str]) -> Iterator[str]:
    """That another driver is not the user's to choose: where one is advised, and the GPU is a vGPU."""
    refusal = guest_driver(case)
    if refusal and any(DRIVER.search(text) and text != refusal.remedy for text in remedies):
        fits = "and it must fit the hypervisor's release. Another driver has to come from whoever runs that host"
        yield f"{refusal.because}, {fits}."


# --- unknown GPUs ---


def assumed_code(case: Case, torch: PyTorch | None) -> Refusal | None:
    """A PyTorch that is taken for a GPU of unknown compute capability: nobody can say before the proof that it fits."""
    if torch is None or torch.cuda is None or not case.request.overrides.arch_list:
        return None
    unknown = [gpu.name for gpu in case.host.gpus or () if gpu.capability is None]
    if case.host.gpus is not None and not unknown:
        return None
    which = ", ".join(dict.fromkeys(unknown)) or "the GPU"
    code = " ".join(torch.arch_list) or "unknown targets"
    because = f"the compute capability of {which} is unknown: PyTorch {torch.local} has code for {code}"
    ask = "nvidia-smi --query-gpu=compute_cap --format=csv says it"
    remedy = f"Set overrides.compute_capability to that of the GPU ({ask}), or let the proof decide."
    return Refusal(f"{because}, and is assumed to fit until the proof has passed", remedy)


def assumed_driver(case: Case, cuda: str | None) -> Refusal | None:
    """A CUDA release that is taken for a driver of which neither version nor CUDA is known: only the proof can tell."""
    if cuda is None or (unknown := rules.driver_unknown(case, cuda)) is None:
        return None
    ask = "cat /proc/driver/nvidia/version says it"
    remedy = f"Set overrides.driver to the version of the driver ({ask}), or let the proof decide."
    return Refusal(unknown.text, remedy)


# --- packages that PyTorch brings along ---


def too_old(case: Case, package: str) -> Gpu | None:
    """The first GPU whose compute capability is below what a package needs; one of unknown capability counts as new."""
    least = case.known["extensions"]["packages"].get(package, {}).get("least_capability")
    for gpu in case.host.gpus or ():
        if least and gpu.capability and parse_version(gpu.capability) < parse_version(str(least)):
            return gpu
    return None
