# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is proved of a stack, and the digest that a proof is kept under."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compile.architectures import sm_number
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.environment import Environment
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.releases import Extension
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.stack import Stack
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.toolkit import Toolkit

OF_SEVERAL = "peers"  # goes with the number of GPUs, which is not wished for and makes no other stack


@dataclass(frozen=True)
class Proof:
    """What ``gpu_verify`` proves; ``digest`` is the plan's own."""

    architectures: tuple[str, ...]
    gpu: bool
    checks: tuple[str, ...]
    digest: str


def proof_architectures(case: Case, stack: Stack) -> tuple[tuple[str, ...], list[str]]:
    """What the proof compiles for, as nvcc names it (sm_90a), and the capabilities that the toolkit does not support.

    Without a GPU, and without requested architectures, the first of each major that has its own code.
    """
    toolkit, targets = stack.toolkit, stack.targets
    if toolkit is None:
        return (), []
    rows = case.known["gpus"]["capabilities"]
    codes = case.known["cuda"]["releases"][toolkit.version]["gpu_code"]
    found, left_out = [], []
    for target in targets or _one_a_major(case, toolkit):
        name = target if case.request.architectures else str(rows.get(target, {}).get("arch_specific") or target)
        if sm_number(target) in codes:
            found.append(f"sm_{name.replace('.', '')}")
        else:
            left_out.append(target)
    return tuple(found), left_out


def _one_a_major(case: Case, toolkit: Toolkit) -> tuple[str, ...]:
    rows = case.known["gpus"]["capabilities"]
    codes = case.known["cuda"]["releases"][toolkit.version]["gpu_code"]
    majors: dict[int, str] = {}
    for capability in sorted(rows, key=parse_version):
        row = rows[capability]
        if row.get("arch_specific") and not row.get("tegra") and sm_number(capability) in codes:
            majors.setdefault(parse_version(capability)[0], capability)
    return tuple(majors.values())


def choose_checks(case: Case, stack: Stack, *, gpu: bool) -> tuple[str, ...]:
    """The checks that fit the stack; ``gpu``: it has a GPU to run on."""
    torch, toolkit = stack.torch, stack.toolkit
    same_major = (
        not (torch and torch.cuda and toolkit) or parse_version(torch.cuda)[0] == parse_version(toolkit.version)[0]
    )
    on_gpu = gpu and torch is not None and torch.cuda is not None
    headers = next((p.headers for p in case.host.pythons or () if torch and p.path == torch.python.path), None)
    wanted = {
        "cuinit": gpu,
        # An image says nothing of the containers that will be started from it.
        "limits": torch is not None and not case.host.target,
        "nvcc": toolkit is not None,
        "kernel": toolkit is not None,
        "cutlass": toolkit is not None and stack.cutlass is not None,
        "torch": torch is not None,
        "matmul": torch is not None,
        "nvrtc": on_gpu,
        "triton": on_gpu and stack.triton,
        OF_SEVERAL: on_gpu and len(case.host.gpus or ()) > 1,
        "workers": torch is not None and not case.host.target,
        "packages": any(isinstance(entry, Extension) for entry in stack.extensions.values()),
        "extension": toolkit is not None and torch is not None and same_major and headers is not False,
        "health": gpu,
    }
    return tuple(name for name, fits in wanted.items() if fits)


def digest_of(stack: Stack, environment: Environment, architectures: tuple[str, ...], checks: tuple[str, ...]) -> str:
    """A digest of all that is wanted, and of nothing that is installed: where a part comes from does not count."""
    torch, cutlass = stack.torch, stack.cutlass
    content: dict[str, Any] = {
        "toolkits": [(entry.version, entry.path, entry.components) for entry in stack.toolkits],
        "compat": (stack.compat.enabled, stack.compat.package),
        "cutlass": (cutlass.version, cutlass.path) if cutlass else None,
        "torch": (torch.local, torch.index, torch.python.version, torch.companions, torch.adopt) if torch else None,
        "environment": (environment.scope, environment.prefix, environment.constraints, environment.arch_list),
        "proof": (architectures, tuple(name for name in checks if name != OF_SEVERAL)),
    }
    if stack.source:
        content["source"] = stack.keys
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
