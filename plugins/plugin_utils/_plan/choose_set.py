# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PyTorch, its CUDA, its Python and every wished extension, chosen as one set.

The order of the builds is the route's: what runs better first, then the newest. A release of PyTorch or CUDA that the
request names is never moved for an extension; where it says newest, the extensions decide which one is the newest
that can be had with them. Where not all can be had together, what is named first comes first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import route, torch
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.builds import Build, find_pythons, matches
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compile.request import (
    PROVIDER,
    releases,
    wished_extensions,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.extensions import (
    BEFORE,
    Built,
    Options,
    check_listed,
    keep,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Reason, Refusal, Rejection
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.releases import fits_python
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.route import Choice
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import STABLE, Request, Wheels

NEWEST = "newest"
ROUTES = ("native", "minor_version", "forward_compat", "fallback", "cpu")  # the best first


@dataclass(frozen=True)
class Candidate:
    """A build that runs here, by some route and with some Python, and what can be had beside it."""

    choice: Choice
    build: Build
    options: Options


@dataclass
class Walk:
    """The builds that run here, as they are met, until one has all that is wished."""

    case: Case
    wished: tuple[str, ...]
    built: Built
    memo: dict[Any, Any]  # what the walks of one decision share
    goal: tuple[str, ...]  # those that a build must have to end the walk
    met: list[Candidate] = field(default_factory=list)
    full: Candidate | None = None  # the first that has all

    def accept(self, choice: Choice) -> bool:
        """Whether the walk may end at this build; it is noted otherwise, once for each Python that it could have."""
        if choice.fallback and self.met and not self.met[0].choice.fallback:
            return True  # what is as wished runs, with fewer extensions; these are no reason for another wish
        if choice.build is None or not self._is_as_near(choice):
            return False
        if self.full and self.full.build.torch != choice.build.torch:
            return True
        for candidate in _with_pythons(self, choice):
            if not self.met and not self.case.host.pytorches:
                self.goal = tuple(name for name in self.goal if not candidate.options.is_hopeless(name))
            self.met.append(candidate)
            if candidate.options.can(self.goal):
                self.full = self.full or candidate
                if _inexact(candidate, self.goal) == 0:
                    return True
        return False

    def _is_as_near(self, choice: Choice) -> bool:
        """Whether what stands in for the wish is as near to it as what would without extensions."""
        if not choice.fallback or not self.met:
            return True
        first = self._nearness(self.met[0].choice)
        return all(new >= old for new, old in zip(self._nearness(choice), first, strict=True))

    def _nearness(self, choice: Choice) -> tuple[bool, bool]:
        request, build = self.case.request, choice.build
        of_torch = matches(str(build.torch), request.pytorch) if build else False
        return of_torch, request.cuda == NEWEST or (build is not None and build.cuda == request.cuda)


def choose(case: Case) -> Choice:
    """The build of a host with GPUs, with ``skipped``: the wished extensions that it cannot have, and why."""
    wished, built = _wished(case)
    if not wished or case.request.pytorch == "none":
        return route.choose(case)
    walk = _walk(Walk(case, wished, built, {}, wished))
    if not walk.met:
        return route.choose(case)
    choice = _settle(walk)
    left = torch.not_adopted(case, torch.settle(case, choice.build)) if choice.build else None
    return replace(choice, rejected=(*choice.rejected, left)) if left else choice


def choose_cpu(case: Case) -> Choice:
    """The build for a host without a usable GPU, in the same way. Without one ``rejected`` says why."""
    wished, built = _wished(case)
    walk = Walk(case, wished, built, {}, wished)
    build, rejected = torch.choose_cpu(case, lambda found: not wished or walk.accept(Choice("cpu", found)))
    if not walk.met:
        return Choice("cpu", build, rejected=tuple(rejected))
    return _settle(walk)


def _wished(case: Case) -> tuple[tuple[str, ...], Built]:
    """All wished extensions in their order, and the releases of those that are compiled here."""
    built: dict[str, Any] = {}
    for name, version in wished_extensions(case.request).items():
        listed = releases(name, case.known)
        built[name] = {version: listed[version]} if version else listed
    wished = tuple(dict.fromkeys((*case.request.extensions, *built)))
    check_listed(wished, case.known, built)
    return wished, built


def _walk(walk: Walk) -> Walk:
    route.choose(walk.case, walk.accept)
    return walk


def _with_pythons(walk: Walk, choice: Choice) -> Iterator[Candidate]:
    """A build with each Python that it could have: the one that it gets without extensions first."""
    case, build = walk.case, choice.build
    if build is None or build.torch is None:
        return
    settled = torch.settle(case, build)
    pythons = () if settled.adopt else _unlike(walk, [python.version for python in find_pythons(case, settled)])
    for number, version in enumerate(pythons or (None,)):
        found = replace(build, python=version) if number else build
        described = torch.describe_torch(case, torch.settle(case, found) if number else settled)
        if case.request.wheels.provider == PROVIDER:
            described = replace(described, provider=PROVIDER)
        yield Candidate(choice, found, Options(case, described, walk.wished, walk.built, walk.memo))


def _unlike(walk: Walk, pythons: Sequence[str]) -> list[str]:
    """Of some Pythons, the best first, those for which other releases of the extensions are than for those before."""
    if len(set(pythons)) < 2:
        return list(pythons[:1])
    closure = list(walk.wished)
    packages = walk.case.known["pypi"]["packages"]
    for name in closure:
        needed = {package for row in packages.get(name, {}).values() for package in row.get("requires") or {}}
        closure += sorted(needed - {*closure, "torch"})
    found: dict[frozenset[tuple[str, str]], str] = {}
    for python in pythons:
        key = ("python", python)
        if key not in walk.memo:
            every = ((name, version, row) for name in closure for version, row in packages.get(name, {}).items())
            walk.memo[key] = frozenset(
                (name, version) for name, version, row in every if fits_python(row, python, walk.case.host.arch)
            )
        found.setdefault(walk.memo[key], python)
    return list(found.values())


def _settle(walk: Walk) -> Choice:
    """The choice of a walk: the best of the builds that were met, told why it is not the first of them."""
    every = [candidate.options for candidate in walk.met]
    number, kept = keep(every, walk.wished)
    number = _find_exact(walk, number, kept)
    taken, first = walk.met[number], walk.met[0]
    skipped = {name: _explain(walk, number, kept, name) for name in walk.wished if name not in kept}
    choice = replace(taken.choice, build=taken.build, skipped=skipped)
    if taken is first or not kept:
        return choice
    because = _why_moved(walk, number, kept)
    option = f"{first.build.name}{_python(first)}"
    text = f"{taken.build.name}{_python(taken)} is chosen for the extensions: on {option}, {because}"
    rejected = (*choice.rejected, Rejection(option, because))
    return replace(choice, rejected=rejected, reasons=(*choice.reasons, Reason("extensions", text, taken.build.source)))


def _python(candidate: Candidate) -> str:
    return f" with Python {candidate.build.python}" if candidate.build.python else ""


def _why_moved(walk: Walk, number: int, kept: Sequence[str]) -> str:
    """What the first build lacks of what is kept, in the words of its one constraint."""
    options = walk.met[0].options
    _unused, there = keep([options], kept)
    lacking = next((name for name in kept if name not in there), None)
    if lacking is None:
        return f"the extensions' wheels are built for CUDA {walk.met[number].build.cuda}"
    return f"{lacking} {options.why_not(lacking, options.solve(there)).because}"


# --- the same PyTorch, on the very CUDA that the extensions' wheels are built for ---


def _inexact(candidate: Candidate, wished: Sequence[str]) -> int:
    """How many wheels of a set are built for another CUDA than PyTorch; those that are for several do not count."""
    cuda = candidate.build.cuda
    solution = candidate.options.solve(wished)
    found = (solution[name].extra.cuda for name in wished if name in solution)
    return sum(built is not None and built != cuda for built in found)


def _find_exact(walk: Walk, number: int, kept: Sequence[str]) -> int:
    """Of the builds of the same PyTorch, by no worse route, the first whose CUDA most of the wheels are built for."""
    taken = walk.met[number]
    if walk.case.request.cuda != NEWEST or not kept:
        return number
    solution = taken.options.solve(kept)
    best = number
    for other, candidate in enumerate(walk.met[number + 1 :], number + 1):
        worse = ROUTES.index(candidate.choice.route) > ROUTES.index(taken.choice.route)
        if worse or candidate.build.torch != taken.build.torch or not candidate.options.can(kept):
            continue
        found = candidate.options.solve(kept)
        if any(found[name].version != solution[name].version for name in kept):
            continue
        if _inexact(candidate, kept) < _inexact(walk.met[best], kept):
            best = other
    return best


# --- what cannot be had ---


def _explain(walk: Walk, number: int, kept: Sequence[str], name: str) -> Refusal:
    """Why a wish is not met, by the one constraint that stands in the way, and a remedy that holds on this host."""
    taken = walk.met[number].options
    every = [candidate.options for candidate in walk.met]
    alone = _together(every, (name,))
    nearest = next((one for one in (taken, *every) if one.offers(name)), taken)
    refusal = taken.why_not(name, taken.solve(kept))
    if nearest is not taken and not alone:
        refusal = Refusal(f"{nearest.why_not(name, {}).because} (with PyTorch {nearest.torch.local})")
    leave_out = replace(refusal, remedy=f"Leave {name} out of extensions.", wish=_without(walk, name))
    if refusal.remedy or taken.is_hopeless(name):
        return refusal if refusal.remedy else leave_out
    earlier = [other for other in kept if walk.wished.index(other) < walk.wished.index(name)]
    guilty = next((other for other in earlier if alone and not _together(every, (other, name))), None)
    if guilty:
        because = f"{refusal.because}; {guilty}, {BEFORE}, cannot be had with that"
        return Refusal(because, f"Leave {guilty} out of extensions to have {name}.", wish=_without(walk, guilty))
    other = None if walk.met[number].choice.route == "cpu" else _other_wish(walk, kept, name, refusal)
    return other or leave_out


def _together(every: Sequence[Options], names: Sequence[str]) -> bool:
    return any(options.can(names) for options in every)


def _without(walk: Walk, name: str) -> dict[str, Any]:
    """The wish that leaves one extension out; one that is compiled here is left out there as well."""
    request = walk.case.request
    wish: dict[str, Any] = {"extensions": [other for other in request.extensions if other != name]}
    if name in walk.built:
        compiled = [entry for entry in request.source.extensions if entry.partition("==")[0] != name]
        wish["source"] = {"extensions": compiled}
    return wish


def _other_wish(walk: Walk, kept: Sequence[str], name: str, refusal: Refusal) -> Refusal | None:
    """The refusal with the least change of the request with which the wish is met here, beside all that is kept.

    One that runs by the driver itself comes before one that needs a compat library.
    """
    names, others = (*kept, name), []
    for wish, request in _relaxed(walk.case.request):
        case = replace(walk.case, request=request)
        other = _walk(Walk(case, walk.wished, walk.built, walk.memo, names))
        number, met = keep([one.options for one in other.met], names) if other.met else (0, ())
        if met != names:
            continue
        found = other.met[_find_exact(other, number, names)]
        if found.choice.fallback:
            continue
        solution = found.options.solve(names)
        asked = ", ".join(f"{key}: {_value(value)}" for key, value in wish.items())
        how = " by forward compatibility" if found.choice.compat else ""
        text = f"Set {asked}: {found.build.name} then runs here{how}, with {name} {solution[name].version}."
        others.append((ROUTES.index(found.choice.route), replace(refusal, remedy=text, wish=wish)))
    return min(others, key=lambda other: other[0])[1] if others else None


def _relaxed(request: Request) -> Iterator[tuple[dict[str, Any], Request]]:
    """What the request names and could leave to the plan, the least first."""
    if request.channel != STABLE:
        yield {"channel": STABLE}, replace(request, channel=STABLE)
    if request.python != "auto":
        yield {"python": "auto"}, replace(request, python="auto")
    if request.wheels.provider not in ("auto", PROVIDER):
        yield {"wheels": {"provider": "auto"}}, replace(request, wheels=Wheels())
    of_cuda, of_torch = request.cuda not in (NEWEST, "none"), request.pytorch != NEWEST
    if of_cuda:
        yield {"cuda": NEWEST}, replace(request, cuda=NEWEST)
    if of_torch:
        yield {"pytorch": NEWEST}, replace(request, pytorch=NEWEST)
    if of_cuda and of_torch:
        yield {"cuda": NEWEST, "pytorch": NEWEST}, replace(request, cuda=NEWEST, pytorch=NEWEST)


def _value(value: Any) -> str:
    return "{" + ", ".join(f"{key}: {item}" for key, item in value.items()) + "}" if isinstance(value, dict) else value
