# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which build runs on a host with GPUs, and by which route: the heart of the plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
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
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Reason, Refusal, Rejection
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.torch import not_offered
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import STABLE


@dataclass(frozen=True)
class Choice:
    """The build that was chosen, and how it runs; without one ``rejected`` says why there is none."""

    route: str
    build: Build | None
    reasons: tuple[Reason, ...] = ()
    rejected: tuple[Rejection, ...] = ()
    compat: Compat | None = None
    fallback: bool = False  # something else than what was wished
    skipped: Mapping[str, Refusal] = field(default_factory=dict)  # wished extensions that no build here can have


@dataclass
class Search:
    """What was tried on the way to a choice. The rejections come out merged and in the order they were met."""

    case: Case
    accept: Callable[[Choice], bool] = lambda _choice: True
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


def choose(case: Case, accept: Callable[[Choice], bool] = lambda _choice: True) -> Choice:
    """The best build for a host with GPUs: of those that run here the first that ``accept`` takes.

    In this order: as requested, by the driver itself or by minor-version compatibility; then the policies of
    ``on_old_driver``.
    """
    search = Search(case, accept)
    wished = _main_first(wished_builds(case), case.known)
    if not wished:
        search.reject_unpublished()
    if choice := _first(search, wished):
        return choice
    for policy in case.request.on_old_driver:
        if policy == "forward_compat":
            choice = _forward(search, wished)
        elif policy == "fallback":
            choice = _first(search, _main_first(fallback_builds(case), case.known), fallback=True)
        else:
            choice = None
        if choice:
            return choice
    return Choice("blocked", None, rejected=search.rejected())


def _first(search: Search, builds: Iterable[Build], *, fallback: bool = False) -> Choice | None:
    """The first build that runs without help."""
    case = search.case
    for build in builds:
        cuda = build.cuda or ""
        reason = rules.native(case, cuda) or rules.driver_unknown(case, cuda)
        route = "native" if reason else "minor_version"
        reason = reason or rules.minor_version(case, cuda)
        if refusal := search.why_not(build, ptx=reason is None or route == "native"):
            search.reject("", build, refusal.because)
        elif reason:
            why = _why(case, build, reason)
            choice = Choice("fallback" if fallback else route, build, why, search.rejected(), None, fallback)
            if search.accept(choice):
                return choice
        else:
            search.reject("native", build, (rules.driver_floor(case, cuda) or _too_old(case, cuda)).because)
    return None


def _forward(search: Search, builds: list[Build]) -> Choice | None:
    """The best build through a compat library: the newest PyTorch, on a documented pair before a listed one."""
    found: list[tuple[tuple[tuple[int, ...], bool, tuple[int, ...]], Build, Compat]] = []
    no_package = no_compat_package(search.case)
    for build in builds:
        if search.why_not(build, ptx=True):
            continue
        compat = forward_compat(search.case, build.cuda or "")
        if isinstance(compat, Refusal):
            search.reject("forward_compat", _without_torch(build), compat.because)
        elif no_package and not compat.installed:
            search.reject("forward_compat", _without_torch(build), no_package.because)
        else:
            documented = compat.confidence == DOCUMENTED
            found.append(((version_key(build.torch), documented, version_key(build.cuda)), build, compat))
    for _unused, build, compat in sorted(found, key=lambda entry: entry[0], reverse=True):
        why = _why(search.case, build, compat.reason)
        choice = Choice("forward_compat", build, why, search.rejected(), compat)
        if search.accept(choice):
            return choice
    return None


def _why(case: Case, build: Build, reason: Reason) -> tuple[Reason, ...]:
    host = case.host
    if not host.capabilities or not build.torch:
        return (reason,)
    if build.channel != STABLE:
        text = f"what {build.name} has machine code for is not known before it is installed; the proof decides"
        return (reason, Reason("channel", text, build.source))
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
