# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which build runs on a host with GPUs, and by which route: the heart of the plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.memo import remember
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.minor import (
    find_ptx_needs,
    newest_need,
    refuse_needs,
    runs_by_minor_version,
    tell_needs,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.platforms import no_sbsa, own_builds
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Reason, Refusal, Rejection
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.toolkit import Toolkit, choose_toolkits, obtain_toolkit
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.torch import adoptable_builds, not_offered
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import STABLE

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
    ptx: str | None = None  # the CUDA whose PTX the compat library is for, inside a major
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

    In this order: what is there already and runs, where no CUDA is named; as requested, by the driver itself or by
    minor-version compatibility; then the policies of ``on_old_driver``. Where no CUDA is named, a build that runs on
    the driver itself comes before one that runs by minor-version compatibility.
    """
    search, free = Search(case, accept), case.request.cuda == "newest"
    if free and (choice := _first(Search(case, accept), _there(case), native_first=True)):
        return choice
    wished = [*own_builds(case), *_main_first(wished_builds(case), case.known)]
    if not wished:
        search.reject_unpublished()
    if choice := _first(search, wished, native_first=free):
        return choice
    for policy in case.request.on_old_driver:
        if policy == "forward_compat":
            choice = _forward(search, wished)
        elif policy == "fallback":
            choice = _first(search, _fallback(case), fallback=True)
        else:
            choice = None
        if choice:
            return choice
    return Choice("blocked", None, rejected=search.rejected())


def _fallback(case: Case) -> list[Build]:
    """What may stand in for the wish, best first."""
    return [*own_builds(case, fallback=True), *_main_first(fallback_builds(case), case.known)]


def _there(case: Case) -> list[Build]:
    """The builds that are there already: of PyTorch, or where none is wished the CUDA releases of whole toolkits.

    What a Jetson has of its own is told from what does not run there by :func:`own_builds`.
    """
    if no_sbsa(case):
        return []
    if case.request.pytorch != "none":
        return adoptable_builds(case)
    toolkits = ((build, obtain_toolkit(case, build.cuda or "")) for build in wished_builds(case))
    return [build for build, found in toolkits if isinstance(found, Toolkit) and found.provider == "adopt"]


def _first(
    search: Search, builds: Iterable[Build], *, fallback: bool = False, native_first: bool = False
) -> Choice | None:
    """The first build that runs without help; with ``native_first`` in the order of :func:`_native_first`."""
    case = search.case
    limited: Build | None = None
    if native_first:
        builds, limited = _native_first(search, list(builds))
    for build in builds:
        cuda = build.cuda or ""
        reason = rules.native(case, cuda) or rules.driver_unknown(case, cuda)
        route = "native" if reason else "minor_version"
        reason = reason or rules.minor_version(case, cuda)
        if refusal := search.why_not(build, ptx=reason is None or route == "native"):
            search.reject("", build, refusal.because)
        elif reason:
            rejected = search.rejected()
            if limited and route == "native":
                option = f"minor_version {limited.index} of PyTorch {limited.torch}" if limited.torch else limited.name
                rejected += (Rejection(option, f"{build.name} needs no minor-version compatibility"),)
            why = _why(case, build, reason)
            choice = Choice("fallback" if fallback else route, build, why, rejected, None, fallback)
            if search.accept(choice):
                return choice
        else:
            search.reject("native", build, (rules.driver_floor(case, cuda) or _too_old(case, cuda)).because)
    return None


def _native_first(search: Search, builds: list[Build]) -> tuple[list[Build], Build | None]:
    """The builds with those last that run by minor-version compatibility, and the one that would else be the first.

    The others come before them where their PyTorch is at most :data:`NATIVE_WITHIN` minor releases older than that of
    the first which runs at all, and their toolkit can be had if that one's can.
    """
    case = search.case
    by_minor = [runs_by_minor_version(case, build) for build in builds]
    runs = (
        number
        for number, build in enumerate(builds)
        if not rules.driver_floor(case, build.cuda or "") and not search.why_not(build, ptx=not by_minor[number])
    )
    first = next(runs, None)
    if first is None or not any(by_minor):
        return builds, None
    have: dict[str | None, bool] = {}
    near = [
        not minor and _is_near(build, builds[first], case, have) for minor, build in zip(by_minor, builds, strict=True)
    ]
    ordered = [build for is_near, build in zip(near, builds, strict=True) if is_near]
    ordered += [build for is_near, build in zip(near, builds, strict=True) if not is_near]
    return ordered, builds[first] if by_minor[first] else None


def _is_near(build: Build, other: Build, case: Case, have: dict[str | None, bool]) -> bool:
    """Whether a build's PyTorch is not much older than another's; of a CUDA release alone, whether it can be had.

    ``have`` is filled: CUDA release → whether its toolkit can be had.
    """
    for one in (build, other):
        if one.cuda not in have:
            have[one.cuda] = _has_toolkit(case, one)
    if build.torch is None or other.torch is None:
        return have[build.cuda]
    if not have[build.cuda] and have[other.cuda]:
        return False
    series = remember(case.known, "series", (), lambda: _series(case.known))
    mine, newest = parse_version(build.torch)[:2], parse_version(other.torch)[:2]
    return sum(mine < one <= newest for one in series) <= NATIVE_WITHIN


def _series(known: Catalogue) -> frozenset[tuple[int, ...]]:
    """The minor releases of PyTorch."""
    return frozenset(parse_version(release)[:2] for release in known["pytorch"]["releases"])


def _has_toolkit(case: Case, build: Build) -> bool:
    """Whether a toolkit for a build can be had that compiles here, or none is wished; of PyTorch any that serves it."""
    if case.request.toolkit.provider == "none":
        return True
    if not isinstance(obtain_toolkit(case, build.cuda or ""), Refusal):
        return True
    return build.torch is not None and choose_toolkits(case, build, fallback=False).toolkit is not None


def serve_ptx(case: Case, choice: Choice) -> Choice:
    """A choice with forward compatibility, inside a major too, where a wish has PTX that the driver does not compile.

    Where that is not to be had, the choice stays and says what of the wish will not run.
    """
    build = choice.build
    needs = () if build is None or choice.compat else find_ptx_needs(case, build)
    if not needs:
        return choice
    search, because, cuda = Search(case), tell_needs(case, needs), newest_need(needs)
    compat = forward_compat(case, cuda)
    if not isinstance(compat, Refusal) and not compat.installed:
        compat = no_compat_package(case, compat.cuda) or compat
    allowed = "forward_compat" in case.request.on_old_driver
    if isinstance(compat, Refusal):
        search.reject(
            "forward_compat", Build(None, f"cu{cuda.replace('.', '')}", cuda, (), (), (), None, ""), compat.because
        )
    elif allowed and not choice.fallback:
        kept = (reason for reason in choice.reasons if reason.rule != "minor-version")
        return replace(choice, route="forward_compat", reasons=(because, compat.reason, *kept), compat=compat, ptx=cuda)
    refusal = refuse_needs(case, needs)
    if not isinstance(compat, Refusal) and not allowed:
        policies = [*(one for one in case.request.on_old_driver if one != "fail"), "forward_compat"]
        told = f"Add forward_compat to on_old_driver: {compat.package} compiles it."
        refusal = replace(refusal, remedy=told, wish={"on_old_driver": policies})
    return replace(choice, rejected=(*choice.rejected, *search.rejected()), unmet=(refusal,))


def _forward(search: Search, builds: list[Build]) -> Choice | None:
    """The best build through a compat library: the newest PyTorch, on a documented pair before a listed one."""
    found: list[tuple[tuple[tuple[int, ...], bool, tuple[int, ...]], Build, Compat]] = []
    by_cuda: dict[str, Compat | Refusal] = {}
    for build in builds:
        if search.why_not(build, ptx=True):
            continue
        cuda = build.cuda or ""
        if cuda not in by_cuda:
            by_cuda[cuda] = forward_compat(search.case, cuda)
        compat = by_cuda[cuda]
        if isinstance(compat, Refusal):
            search.reject("forward_compat", _without_torch(build), compat.because)
        elif not compat.installed and (no_package := no_compat_package(search.case, compat.cuda)):
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
    host, reasons = case.host, [reason]
    if build.channel != STABLE:
        text = f"what {build.name} has machine code for is not known before it is installed; the proof decides"
        reasons.append(Reason("channel", text, build.source))
    elif host.capabilities and build.torch:
        reasons.append(_why_code(case, build))
    if build.adopt:
        name = str(build.adopt.get("local") or build.adopt["version"])
        text = f'PyTorch {name} is installed here, runs and meets "{case.request.pytorch}": it is used as it is'
        reasons.append(Reason("adopt", text, build.source))
    return tuple(reasons)


def _why_code(case: Case, build: Build) -> Reason:
    """What runs the host's GPUs in a build that was found to run there."""
    host = case.host
    capabilities = ", ".join(host.capabilities)
    lacks = case.request.overrides.arch_list and rules.no_machine_code(case, build.archs, ptx=False, cuda=build.cuda)
    what = f"PTX ({', '.join(build.ptx)}), which the driver compiles" if lacks and build.ptx else "machine code"
    text = f"{build.name} has {what} for {host.gpu_names} (compute capability {capabilities})"
    return Reason("machine-code", text, build.source)


def take(case: Case, choice: Choice, build: Build) -> Choice:
    """The choice with its build as it is had: of one that lies on the host the reasons tell what that one runs."""
    code = _why_code(case, build) if build.adopt and build.name != (choice.build and choice.build.name) else None
    reasons = tuple(code if code and reason.rule == code.rule else reason for reason in choice.reasons)
    return replace(choice, build=build, reasons=reasons)


def _too_old(case: Case, cuda: str) -> Refusal:
    return Refusal(f"the driver supports CUDA {case.host.driver_cuda}, which is older than CUDA {cuda}")


def _without_torch(build: Build) -> Build:
    """Forward compatibility depends on the CUDA release alone: it is the same for every PyTorch on it."""
    return Build(None, build.index, build.cuda, (), (), (), None, "")


def _main_first(builds: Iterable[Build], known: Catalogue) -> list[Build]:
    """The wheels of side indexes last, otherwise in their order."""
    indexes = known["pytorch"]["indexes"]
    return sorted(builds, key=lambda build: build.torch is not None and bool(indexes.get(build.index, {}).get("side")))
