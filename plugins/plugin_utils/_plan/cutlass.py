# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the CUTLASS headers come from: the host's own, a wheel on PyPI, or git."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.builds import matches
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.layout import is_ours, no_apt
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal, WayOut
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.route import choose
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.toolkit import Toolkit
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import unlisted

FIRST_OWN = 9  # the major of the first GPUs with instructions of one architecture alone: Hopper


@dataclass(frozen=True)
class Cutlass:
    """The CUTLASS headers of the decision."""

    version: str
    provider: str  # git, pypi, adopt
    path: str
    tag: str | None = None
    commit: str | None = None
    requirement: str | None = None
    system_packages: tuple[str, ...] = ()


def provide_cutlass(case: Case) -> Cutlass | Refusal | None:
    """The CUTLASS headers, None where none are wished, or why they cannot be had."""
    host, request, layout, known = case.host, case.request, case.layout, case.known
    if request.cutlass == "none":
        return None
    releases = sorted(known["cutlass"]["releases"], key=parse_version)
    matching = [release for release in releases if matches(release, request.cutlass)]
    if not matching:
        raise unlisted("cutlass", request.cutlass, releases)
    version = matching[-1]
    row, path = known["cutlass"]["releases"][version], f"{layout.prefix}/cutlass/{version}"
    for found in host.cutlasses:
        if str(found.get("version")) == version and not found.get("broken") and not is_ours(found, layout):
            return Cutlass(version, "adopt", str(found["path"]))
    if row.get("pypi"):
        package = known["cutlass"]["sources"]["pypi"]["package"]
        return Cutlass(version, "pypi", path, row["tag"], row.get("commit"), f"{package}=={row['pypi']}")
    if host.lacks("git") and (refusal := no_apt(case)):
        because = f"CUTLASS {version} comes by git, which is not installed, and {refusal.because}"
        return Refusal(because, "Install git.", ways=_from_pypi(known))
    return Cutlass(version, "git", path, row["tag"], row.get("commit"), None, ("git",) if host.lacks("git") else ())


def unknown_target(case: Case, cutlass: Cutlass, toolkits: tuple[Toolkit, ...]) -> Refusal | None:
    """A target whose own instructions this CUTLASS release, or the toolkit that compiles it, does not know yet.

    Targets are those that were requested with a suffix (9.0a), else the GPUs' own. From Hopper on they have
    instructions that older releases know nothing of; code for others compiles with every release that is listed.
    """
    rows, version = case.known["cutlass"]["architectures"], cutlass.version
    for target, whose in _own_targets(case).items():
        row = rows.get(target)
        if row is None:
            because = f"no CUTLASS release in the catalogue is known to have instructions for {target} ({whose})"
            return Refusal(because, "What is compiled with CUTLASS uses those of older GPUs there, where it compiles.")
        if parse_version(version) < parse_version(row["least_cutlass"]):
            first = row["least_cutlass"]
            because = f"CUTLASS {version} has no instructions for {target} ({whose}); {first} was the first"
            other = _other_release(case, row["least_cutlass"])
            wish = {"cutlass": other} if other else None
            return Refusal(because, f'Set cutlass: "{other}", which has them.' if other else "", wish=wish)
        toolkit = toolkits[0] if toolkits else None
        if toolkit and parse_version(toolkit.version) < parse_version(row["least_cuda"]):
            needs = f"CUTLASS needs CUDA {row['least_cuda']} for {target} ({whose})"
            because = f"{needs}; found CUDA toolkit {toolkit.version}"
            cuda = _other_cuda(case, row["least_cuda"])
            return Refusal(because, f'Set cuda: "{cuda}".' if cuda else "", wish={"cuda": cuda} if cuda else None)
    return None


def _own_targets(case: Case) -> dict[str, str]:
    """Target, as the catalogue writes it (9.0a) → what asks for it."""
    capabilities, wished = case.known["gpus"]["capabilities"], case.request.architectures
    if wished:
        return {f"{name.rstrip('af')}a": f"architectures: {name}" for name in wished if name[-1] in "af"}
    found = {}
    for gpu in case.host.gpus or ():
        own = capabilities.get(gpu.capability or "", {}).get("arch_specific")
        if gpu.capability and (own or parse_version(gpu.capability)[0] >= FIRST_OWN):
            found[str(own or f"{gpu.capability}a")] = gpu.name
    return found


def _other_release(case: Case, least: str) -> str | None:
    """The oldest release from ``least`` on that this host can have."""
    for release in sorted(case.known["cutlass"]["releases"], key=parse_version):
        one = replace(case, request=replace(case.request, cutlass=release))
        if parse_version(release) >= parse_version(least) and not isinstance(provide_cutlass(one), Refusal):
            return str(release)
    return None


def _other_cuda(case: Case, least: str) -> str | None:
    """The oldest CUDA release from ``least`` on that runs here with what else is requested."""
    for release in sorted(case.known["cuda"]["releases"], key=parse_version):
        if parse_version(release) < parse_version(least):
            continue
        choice = choose(replace(case, request=replace(case.request, cuda=release)))
        if choice.build and not choice.fallback:
            return str(release)
    return None


def _from_pypi(known: Catalogue) -> tuple[WayOut, ...]:
    """The newest release that needs no git."""
    rows = known["cutlass"]["releases"]
    found = max((version for version in rows if rows[version].get("pypi")), key=parse_version, default=None)
    return (WayOut(f'Set cutlass: "{found}", which PyPI has.', {"cutlass": found}),) if found else ()
