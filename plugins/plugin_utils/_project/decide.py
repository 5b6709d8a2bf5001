# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which PyTorch a project should have on its host, by the rules of the host's own stack. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.decision import to_decision
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.extensions import COMPANIONS
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.plan import resolve
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.resolver import satisfies
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.case import ProjectCase
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.document import named_packages
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.expected import Expected, public
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.specifier import find_specifier
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.words import FAMILY, VARIABLE

Decision = dict[str, Any]


def decide(case: ProjectCase) -> tuple[Expected, Decision] | Refusal:
    """The PyTorch that fits project and host, and the decision it comes from.

    The project's own release stays: what its files pin, else what is installed. Another one comes only where that has
    no build for the CUDA that is asked for and the project allows another.
    """
    request, packages = case.request, case.environment["packages"]
    named = named_packages(case.project, case.document)
    installed = (case.environment.get("torch") or {}).get("version")
    own = request.pytorch or public(case.pins.packages.get("torch")) or public(installed)
    if own is None and not named & set(FAMILY):
        return Refusal(
            f"{case.project['path']} has no PyTorch: it is neither installed nor named in the project's files",
            f"Install it with the project's manager, or name a release with {VARIABLE}_pytorch.",
        )
    # A companion that is left out beside an installed torch is left out on purpose.
    used = set() if installed else {*case.pins.packages, *named}
    companions = [name for name in COMPANIONS if name in packages or name in used]
    decision = _kept(case, own, companions) or _resolve(case, own or request.stack.get("pytorch", "newest"), companions)
    if request.pytorch is None and request.cuda and (decision["pytorch"] or {}).get("cuda") != request.cuda:
        decision = _another(case, companions) or decision
    torch = decision["pytorch"]
    if torch is None:
        return Refusal(decision["summary"], " ".join(decision["remedies"]))
    return _expect(case, torch, companions), decision


def _kept(case: ProjectCase, own: str | None, companions: Sequence[str]) -> Decision | None:
    """The decision for the very build that is installed, where it runs here and nobody asked for a CUDA.

    What runs stays: a newer index of the same release is no reason to replace it.
    """
    torch, stack = case.environment.get("torch") or {}, case.request.stack
    cuda = str(torch.get("cuda") or "")
    if (
        not own
        or not cuda
        or case.request.cuda
        or stack.get("cuda", "newest") != "newest"
        or public(torch["version"]) != own
    ):
        return None
    pinned = str(case.pins.packages.get("torch") or "").partition("+")[2]  # a label names a CUDA as well
    if cuda not in case.known["cuda"]["releases"] or pinned not in ("", f"cu{cuda.replace('.', '')}"):
        return None
    decision = _resolve(case, own, companions, cuda)
    runs = decision["route"] in ("native", "minor_version") and (decision["pytorch"] or {}).get("cuda") == cuda
    return decision if runs and decision["pytorch"]["version"] == own else None


def _expect(case: ProjectCase, torch: Mapping[str, Any], companions: Sequence[str]) -> Expected:
    """The decided PyTorch; a companion keeps its release where that is one for this PyTorch."""
    versions = {name: version for name, _sign, version in (row.partition("==") for row in torch["requirements"])}
    for name in companions:
        kept = public(case.pins.packages.get(name)) or public(case.environment["packages"].get(name))
        if name in versions and kept and _fits(case, f"{name}=={kept}", torch):
            versions[name] = f"{kept}+{torch['index']}"
    return Expected(
        version=torch["version"],
        local=versions.pop("torch"),
        cuda=torch["cuda"],
        index=torch["index"],
        url=None if torch["provider"] == "host_wheels" else _url(case, torch["index"]),
        companions=versions,
    )


def _resolve(case: ProjectCase, pytorch: str, companions: Sequence[str], cuda: str | None = None) -> Decision:
    """The stack's own decision, for the project's Python and without what the host has of PyTorch."""
    host, environment = case.host, case.environment
    python = {"path": environment["python"], "version": environment["python_version"], "headers": True, "pip": True}
    installed = {**(host.get("installed") or {}), "pytorch": [], "environment": None, "environments": []}
    observed = {**host, "platform": {**(host.get("platform") or {}), "pythons": [python]}, "installed": installed}
    listed = pytorch in ("newest", "none") or any(
        release == pytorch or release.startswith(f"{pytorch}.") for release in case.known["pytorch"]["releases"]
    )
    request = {
        **case.request.stack,
        "pytorch": pytorch if listed else "newest",
        "python": environment["python"],
        "extensions": list(companions),
        **({"cuda": cuda} if cuda else {}),
    }
    return to_decision(resolve(observed, request, case.known))


def _another(case: ProjectCase, companions: Sequence[str]) -> Decision | None:
    """The newest release that the project allows and that has a build for the requested CUDA, None: there is none."""
    specifier = find_specifier(case)
    for release in sorted(case.known["pytorch"]["releases"], key=parse_version, reverse=True):
        if not specifier or satisfies(release, specifier):
            decision = _resolve(case, release, companions)
            if (decision["pytorch"] or {}).get("cuda") == case.request.cuda:
                return decision
    return None


def _fits(case: ProjectCase, companion: str, torch: Mapping[str, Any]) -> bool:
    """Whether a release of a companion (``torchvision==0.25.0``) is one for this PyTorch."""
    name, _sign, version = companion.partition("==")
    row = case.known["pypi"]["packages"].get(name, {}).get(version)
    spec = (row or {}).get("requires", {}).get("torch")
    return bool(spec) and satisfies(torch["version"], spec)


def _url(case: ProjectCase, index: str) -> str:
    """PyTorch's index, or the mirror of it that the user names, with ``{index}`` for its last part."""
    if case.request.index_url:
        return case.request.index_url.replace("{index}", index)
    return str(case.known["pytorch"]["indexes"][index]["url"])


def explain_cuda(case: ProjectCase, expected: Expected, decision: Mapping[str, Any]) -> str | None:
    """Why PyTorch is for another CUDA than the requested one, None where it is not."""
    if not case.request.cuda or expected.cuda == case.request.cuda:
        return None
    used = f"CUDA {expected.cuda}" if expected.cuda else "the CPU"
    because = "; ".join(f"{row['option']}: {row['because']}" for row in decision["rejected"][:3])
    specifier = find_specifier(case)
    allowed = f"; the project allows torch {specifier} only" if specifier else ""
    return f"CUDA {case.request.cuda} was requested, but PyTorch for {used} is used{allowed}. {because}".strip()
