# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which build runs on a host with GPUs, and by which route: the heart of the plan."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import rules
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.builds import (
    Build,
    fallback_builds,
    published_cudas,
    span,
    version_key,
    why_not_build,
    wished_builds,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compat import (
    DOCUMENTED,
    Compat,
    forward_compat,
    no_compat_package,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.minor import (
    find_ptx_needs,
    refuse_needs,
    runs_by_minor_version,
    tell_needs,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Reason, Refusal, Rejection
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.toolkit import provide_toolkit
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.torch import adoptable_builds, not_offered

# Minor releases of PyTorch, about five a year, that a build which runs on the driver itself may be behind one that runs
# by minor-version compatibility: within a year or so newest is the one without limits, beyond it the newer one.
NATIVE_WITHIN = 4


@dataclass(frozen=True)
class Choice:
    """The build that was chosen, and how it runs; without one ``rejected`` says why there is none."""

    route: str
    build: Build | None
    reasons: tuple[Reason, ...] = ()
    rejected: tuple[Rejection, ...] = ()
    compat: Compat | None = None
    fallback: bool = False  # something else than what was wished
    unmet: tuple[Refusal, ...] = ()  # what of the wish will not run by this route


@dataclass
class Search:
    """What was tried on the way to a choice. The rejections come out merged and in the order they were met."""

    case: Case
    _rejected: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def why_not(self, build: Build, *, ptx: bool) -> Refusal | None:
        """Why a build cannot be used here whatever the driver is, or None."""
        return not_offered(self.case, build) or why_not_build(self.case, build, ptx=ptx)

    def reject(self, route: str, build: Build, because: str) -> None:
        """Note why a build was not chosen; the same reason for several releases becomes one entry."""
        torches = self._rejected.setdefault((f"{route} {build.index}".strip(), because), [])
        if build.torch and build.torch not in torches:
            torches.append(build.torch)

    def reject_unpublished(self) -> None:
        """Note that nobody publishes the requested PyTorch for the requested CUDA and this architecture."""
        cudas, request = published_cudas(self.case), self.case.request
        listed = ", ".join(cudas) or "none"
        because = f"there is no such build for {self.case.host.arch}; there is one for CUDA {listed}"
        self._rejected[f"PyTorch {request.pytorch} on CUDA {request.cuda}", because] = []

    def rejected(self) -> tuple[Rejection, ...]:
        """The rejections so far."""
        found = []
        for (option, because), torches in self._rejected.items():
            suffix = f" of PyTorch {span(torches)}" if torches else ""
            found.append(Rejection(f"{option}{suffix}", because))
        return tuple(found)


def choose(case: Case) -> Choice:
    """The best build for a host with GPUs.

    In this order: what is there already and runs, where no CUDA is named; as requested, by the driver itself or by
    minor-version compatibility; then the policies of ``on_old_driver``. Where no CUDA is named, a build that runs on
    the driver itself comes before one that runs by minor-version compatibility.
    """
    search, free = Search(case), case.request.cuda == "newest"
    if free and (choice := _first(Search(case), adoptable_builds(case), native_first=True)):
        return _serve_ptx(search, replace(_keep(case, choice), rejected=()))
    wished = _main_first(wished_builds(case), case.known)
    if not wished:
        search.reject_unpublished()
    if choice := _first(search, wished, native_first=free):
        return _serve_ptx(search, choice)
    for policy in case.request.on_old_driver:
        if policy == "forward_compat":
            choice = _forward(search, wished)
        elif policy == "fallback":
            choice = _first(search, _main_first(fallback_builds(case), case.known), fallback=True)
        else:
            choice = None
        if choice:
            return _serve_ptx(search, choice)
    return Choice("blocked", None, rejected=search.rejected())


def _keep(case: Case, choice: Choice) -> Choice:
    """Say that a PyTorch that is there already is kept."""
    build = choice.build
    if build is None or not build.adopt:
        return choice
    name = str(build.adopt.get("local") or build.adopt["version"])
    text = f'PyTorch {name} is installed here, runs and meets "{case.request.pytorch}": it is used as it is'
    return replace(choice, reasons=(*choice.reasons, Reason("adopt", text, build.source)))


def _first(
    search: Search, builds: Iterable[Build], *, fallback: bool = False, native_first: bool = False
) -> Choice | None:
    """The first build that runs without help; with ``native_first`` the first that runs on the driver itself.

    The latter where such a build is of a PyTorch at most :data:`NATIVE_WITHIN` minor releases older than the first.
    """
    case = search.case
    limited: Choice | None = None
    for build in builds:
        cuda = build.cuda or ""
        reason = rules.native(case, cuda) or rules.driver_unknown(case, cuda)
        route = "native" if reason else "minor_version"
        reason = reason or rules.minor_version(case, cuda)
        if limited and (route != "native" or not _is_near(build, limited.build, case.known)):
            continue
        if limited and build.torch is None and isinstance(provide_toolkit(case, cuda), Refusal):
            continue
        if refusal := search.why_not(build, ptx=reason is None or route == "native"):
            if not limited:
                search.reject("", build, refusal.because)
        elif reason and (route == "native" or not native_first):
            if limited and limited.build:
                search.reject("minor_version", limited.build, f"{build.name} needs no minor-version compatibility")
            why = _why(case, build, reason)
            return Choice("fallback" if fallback else route, build, why, search.rejected(), None, fallback)
        elif reason:
            limited = Choice(route, build, _why(case, build, reason))
        else:
            search.reject("native", build, (rules.driver_floor(case, cuda) or _too_old(case, cuda)).because)
    return replace(limited, rejected=search.rejected()) if limited else None


def _is_near(build: Build, other: Build | None, known: Catalogue) -> bool:
    """Whether a build's PyTorch is not much older than another's; CUDA releases without a PyTorch are all near."""
    if build.torch is None or other is None or other.torch is None:
        return True
    series = sorted({parse_version(release)[:2] for release in known["pytorch"]["releases"]})
    mine, newest = parse_version(build.torch)[:2], parse_version(other.torch)[:2]
    return sum(mine < one <= newest for one in series) <= NATIVE_WITHIN


def _serve_ptx(search: Search, choice: Choice) -> Choice:
    """A choice by minor-version compatibility, with forward compatibility where a wish needs its PTX compiled.

    Where that is not to be had, the choice stays and says what of the wish will not run.
    """
    case, build = search.case, choice.build
    if build is None or choice.compat or not runs_by_minor_version(case, build):
        return choice
    needs = find_ptx_needs(case, build)
    if not needs:
        return choice
    because = tell_needs(case, build, needs)
    compat = forward_compat(case, build.cuda or "")
    if (
        not isinstance(compat, Refusal)
        and not compat.installed
        and (no_package := no_compat_package(case, compat.cuda))
    ):
        compat = no_package
    allowed = "forward_compat" in case.request.on_old_driver
    if isinstance(compat, Refusal):
        search.reject("forward_compat", _without_torch(build), compat.because)
    elif allowed and not choice.fallback:
        reasons = (because, compat.reason, *(reason for reason in choice.reasons if reason.rule != "minor-version"))
        return replace(choice, route="forward_compat", reasons=reasons, compat=compat)
    refusal = refuse_needs(case, build, needs)
    if not isinstance(compat, Refusal) and not allowed:
        policies = [*(one for one in case.request.on_old_driver if one != "fail"), "forward_compat"]
        told = f"Add forward_compat to on_old_driver: {compat.package} compiles it."
        refusal = replace(refusal, remedy=told, wish={"on_old_driver": policies})
    rejected = dict.fromkeys((*choice.rejected, *search.rejected()))
    return replace(choice, rejected=tuple(rejected), unmet=(refusal,))


def _forward(search: Search, builds: list[Build]) -> Choice | None:
    """The best build through a compat library: the newest PyTorch, on a documented pair before a listed one."""
    found: list[tuple[tuple[tuple[int, ...], bool, tuple[int, ...]], Build, Compat]] = []
    for build in builds:
        if search.why_not(build, ptx=True):
            continue
        compat = forward_compat(search.case, build.cuda or "")
        if isinstance(compat, Refusal):
            search.reject("forward_compat", _without_torch(build), compat.because)
        elif not compat.installed and (no_package := no_compat_package(search.case, compat.cuda)):
            search.reject("forward_compat", _without_torch(build), no_package.because)
        else:
            documented = compat.confidence == DOCUMENTED
            found.append(((version_key(build.torch), documented, version_key(build.cuda)), build, compat))
    if not found:
        return None
    _unused, build, compat = max(found, key=lambda entry: entry[0])
    return Choice("forward_compat", build, _why(search.case, build, compat.reason), search.rejected(), compat)


def _why(case: Case, build: Build, reason: Reason) -> tuple[Reason, ...]:
    host = case.host
    if not host.capabilities or not build.torch:
        return (reason,)
    capabilities = ", ".join(host.capabilities)
    text = f"{build.name} has machine code for {host.gpu_names} (compute capability {capabilities})"
    return (reason, Reason("machine-code", text, build.source))


def _too_old(case: Case, cuda: str) -> Refusal:
    return Refusal(f"the driver supports CUDA {case.host.driver_cuda}, which is older than CUDA {cuda}")


def _without_torch(build: Build) -> Build:
    """Forward compatibility depends on the CUDA release alone: it is the same for every PyTorch on it."""
    return Build(None, build.index, build.cuda, (), False, (), None, "")


def _main_first(builds: Iterable[Build], known: Catalogue) -> list[Build]:
    """The wheels of side indexes last, otherwise in their order."""
    indexes = known["pytorch"]["indexes"]
    return sorted(builds, key=lambda build: build.torch is not None and bool(indexes.get(build.index, {}).get("side")))
