# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which generation of the environment is wanted: the live one, or a new one beside it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.extensions import COMPANIONS
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.held import held_parts
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import Host
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.releases import Extension
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.repairs import Repair, find_repairs
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.settings import Setting
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.stack import Stack

_NAME = re.compile(r"([0-9]+)-(.+)")
_EXTRA = re.compile(r"\[[^]]*\]")  # installers take no extra in a constraint


@dataclass(frozen=True)
class Environment:
    """All that the activation needs; what ``_activation`` reads."""

    scope: str
    prefix: str
    home: str
    name: str
    path: str
    identity: str  # digest of what a generation is built for; another wish gets another generation
    live: bool  # this generation is the live one
    reused: bool  # it is not live, was built for this very wish before, and is there: proved and switched to, not built
    previous: str | None
    pytorch: bool  # there is a virtual environment at path
    python: str | None
    site_packages: str | None  # relative to path
    constraints: tuple[str, ...]
    compat_enabled: bool
    compat_path: str | None
    compat_version: str | None
    compat_branches: tuple[int, ...]  # of drivers under which the compat library may be used
    cuda_home: str | None
    cutlass_home: str | None
    adopt: str | None
    arch_list: str | None  # for TORCH_CUDA_ARCH_LIST
    settings: tuple[Setting, ...]  # what else every process gets; no part of the identity
    repairs: tuple[Repair, ...]  # foreign settings that break CUDA, where the user lets us; made before all else


def choose_environment(case: Case, stack: Stack) -> Environment:
    """The environment of a decision."""
    host, layout, torch, compat = case.host, case.layout, stack.torch, stack.compat
    python = torch.python.version if torch else None
    constraints, identity = (*_constraints(stack), *_held(stack, case)), identify(stack)
    name = choose_name(kind_of(stack), identity, python, host)
    live = host.live is not None and host.live.get("name") == name
    return Environment(
        scope=layout.scope,
        prefix=layout.prefix,
        home=layout.home,
        name=name,
        path=f"{layout.prefix}/environments/{name}",
        identity=identity,
        live=live,
        reused=not live and bool((find_built(name, host) or {}).get("complete")),
        previous=_previous(name, host),
        pytorch=torch is not None,
        python=python,
        site_packages=f"lib/python{python}/site-packages" if torch else None,
        constraints=constraints,
        compat_enabled=compat.enabled,
        compat_path=compat.path,
        compat_version=compat.version,
        compat_branches=compat.branches,
        cuda_home=stack.toolkit.path if stack.toolkit else None,
        cutlass_home=stack.cutlass.path if stack.cutlass else None,
        adopt=torch.adopt if torch else None,
        arch_list=";".join(stack.targets) if stack.toolkit and torch and stack.targets else None,
        settings=stack.settings,
        repairs=find_repairs(case.request.repair_files, host, layout.scope),
    )


def kind_of(stack: Stack) -> str:
    """What a generation's name says after its number."""
    torch = stack.torch
    if torch is None:
        return f"cuda{stack.toolkit.version}" if stack.toolkit else "empty"
    suffix = "-adopted" if torch.adopt else "-source" if torch.provider == "source" else ""
    return f"torch{torch.version}-{torch.index}{suffix}"


def identify(stack: Stack) -> str:
    """What a generation is built for: another wheel of the same version, for another GPU, is another environment.

    Forward compatibility and GPUs are not part of it: they change with the host.
    """
    python = stack.torch.python.version if stack.torch else None
    releases = (
        stack.toolkit.version if stack.toolkit else None,
        stack.cutlass.version if stack.cutlass else None,
    )
    what = (kind_of(stack), python, _constraints(stack), releases, *([stack.keys] if stack.keys else []))
    return hashlib.sha256(repr(what).encode()).hexdigest()[:16]


def choose_name(kind: str, identity: str, python: str | None, host: Host) -> str:
    """The live generation's name where it was built for this, an earlier one that was, one unfinished, or a new one.

    What was lost or swapped by hand is put right in place; another wish is built beside, so that a failed proof of it
    leaves the live one as it is. Where it is not known what the live one was built for, its kind decides.
    """
    live = str((host.live or {}).get("name") or "")
    match = _NAME.fullmatch(live)
    number = int(match[1]) if match else 0
    same = live_identity(host) in (None, identity)
    if match and same and match[2] == kind and python in (None, (host.live or {}).get("python") or python):
        return live
    found = {int(item[1]): item[2] for name in host.generations or () if (item := _NAME.fullmatch(name))}
    built = {int(item[1]): row for row in host.built if (item := _NAME.fullmatch(str(row.get("name"))))}
    earlier = [n for n, row in built.items() if found.get(n) == kind and row.get("identity") == identity]
    if earlier:
        return f"{max(earlier)}-{kind}"
    unfinished = [n for n, other in found.items() if n > number and other == kind and n not in built]
    return f"{max(unfinished)}-{kind}" if unfinished else f"{max([number, *found]) + 1}-{kind}"


def live_identity(host: Host) -> str | None:
    """What the live generation was built for: as it says, else as the decision that stands says; None: unknown."""
    own = (host.live or {}).get("identity")
    found = own or (host.state or {}).get("identity")
    return str(found) if found else None


def find_built(name: str, host: Host) -> Mapping[str, Any] | None:
    """The observed generation of that name: the live one, or one beside it that says what it was built for."""
    if host.live is not None and host.live.get("name") == name:
        return host.live
    return next((row for row in host.built if row.get("name") == name), None)


def _previous(name: str, host: Host) -> str | None:
    """The generation to go back to: the live one, or the newest beside it."""
    live = str((host.live or {}).get("name") or "") or None
    if live != name:
        return live
    others = {
        int(item[1]): other for other in host.generations or () if (item := _NAME.fullmatch(other)) and other != name
    }
    return others[max(others)] if others else None


def _constraints(stack: Stack) -> tuple[str, ...]:
    """What a later installation in the environment may not change."""
    if stack.torch is None:
        return ()
    chosen = (
        _EXTRA.sub("", entry.requirement)
        for name, entry in stack.extensions.items()
        if isinstance(entry, Extension) and entry.requirement and name not in COMPANIONS
    )
    pins = stack.torch.requirements or (f"torch=={stack.torch.version}",)
    return (*pins, *chosen)


def _held(stack: Stack, case: Case) -> tuple[str, ...]:
    """The parts of CUDA that are to stay of PyTorch's own release. No part of the identity: an older one still runs."""
    torch = stack.torch
    if torch is None or torch.provider not in ("pypi", "pytorch_index"):
        return ()
    return held_parts(torch.version, torch.cuda, case.known)
