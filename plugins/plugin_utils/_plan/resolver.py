# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages that go together, found by ``resolvelib``: the resolver that pip uses and ansible-core itself requires.

It is imported here alone, and guarded, because ansible-test imports every plugin in an environment without it. Only
what all of its releases from 0.8 on have alike is used.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.pep import InvalidSpecifier, SpecifierSet

try:
    from resolvelib import AbstractProvider, BaseReporter, ResolutionImpossible, Resolver
except ImportError:  # no controller: every ansible-core brings it
    AbstractProvider = BaseReporter = Resolver = object  # type: ignore[assignment,misc]
    ResolutionImpossible = ValueError  # type: ignore[assignment,misc]


@dataclass(frozen=True)
class Offer:
    """One release of a package that could be taken: what else it requires, as package and specifier (PEP 440).

    ``key`` tells apart what has one version: the builds of a release for several CUDAs. ``extra`` is the caller's.
    """

    name: str
    version: str
    requires: tuple[tuple[str, str], ...] = ()
    key: str = ""
    extra: Any = field(default=None, compare=False)


@dataclass(frozen=True)
class Need:
    """A package that somebody needs: the request (an empty specifier), or a release that is in the set."""

    name: str
    spec: str = ""


if TYPE_CHECKING:
    Base = AbstractProvider[Need, Offer, str]
else:
    Base = AbstractProvider


class Provider(Base):
    """What resolvelib asks about packages: ``offers`` are the releases of each that fit the host, the best first.

    A package without an entry is unknown: what is required of it constrains nothing. The packages with the fewest
    releases are settled first, so that what cannot go together is seen early.
    """

    def __init__(self, offers: Mapping[str, Sequence[Offer]]) -> None:
        self.offers = offers
        self.order = {name: (len(found), number) for number, (name, found) in enumerate(offers.items())}

    def identify(self, requirement_or_candidate: Need | Offer) -> str:
        """The package's name."""
        return requirement_or_candidate.name

    def get_preference(self, identifier: str, *_unused: Any, **_more: Any) -> tuple[int, int]:
        """The package's place in the order."""
        return self.order[identifier]

    def find_matches(
        self,
        identifier: str,
        requirements: Mapping[str, Iterator[Need]],
        incompatibilities: Mapping[str, Iterator[Offer]],
    ) -> list[Offer]:
        """The releases of a package that meet every need and were not tried in vain, the best first."""
        needs = list(requirements[identifier])
        tried = list(incompatibilities[identifier])
        return [
            offer
            for offer in self.offers[identifier]
            if offer not in tried and all(satisfies(offer.version, need.spec) for need in needs)
        ]

    def is_satisfied_by(self, requirement: Need, candidate: Offer) -> bool:
        """Whether a release meets a need."""
        return satisfies(candidate.version, requirement.spec)

    def get_dependencies(self, candidate: Offer) -> list[Need]:
        """What a release needs of the packages that are known."""
        return [Need(name, spec) for name, spec in candidate.requires if name in self.offers]


def solve(offers: Mapping[str, Sequence[Offer]], wished: Iterable[str]) -> dict[str, Offer] | None:
    """One release for each wished package, and for each known one that these need, or None where none go together.

    Deterministic, whatever release of resolvelib there is: of all sets that with the best release of the first wished
    package, of these that with the best of the second, and so on. resolvelib alone finds a set, but changes its mind
    on a package where a later one asks for another release of it.
    """
    names = list(wished)
    found = find_any(offers, names)
    if found is None:
        return None
    fixed = dict(offers)
    for name in [*names, *sorted(set(found) - set(names))]:
        for offer in offers[name] if name in found else ():
            if offer == found[name]:
                break
            better = find_any({**fixed, name: (offer,)}, names)
            if better is not None and name in better:
                found = better
                break
        if name in found:
            fixed[name] = (found[name],)
    return found


def find_any(offers: Mapping[str, Sequence[Offer]], wished: Sequence[str]) -> dict[str, Offer] | None:
    """Some set of the wished packages and of what these need, or None where there is none."""
    left = _narrow(offers, wished)
    if left is None:
        return None
    if first := _take_first(left, wished):
        return first
    resolver = Resolver(Provider(left), BaseReporter())
    try:
        found = resolver.resolve([Need(name) for name in wished], max_rounds=ROUNDS)
    except ResolutionImpossible:
        return None
    return dict(found.mapping)


def _narrow(offers: Mapping[str, Sequence[Offer]], wished: Sequence[str]) -> dict[str, Sequence[Offer]] | None:
    """The releases that are left by what is needed in any case: by packages of which there is one release only.

    None where nothing is left of a package that is needed. It spares resolvelib most of what cannot go together.
    """
    left, done = dict(offers), set()
    waiting = list(wished)
    if not all(left.get(name) for name in wished):
        return None
    while waiting:
        name = waiting.pop()
        if len(left[name]) > 1 or name in done:
            continue
        done.add(name)
        for package, spec in left[name][0].requires:
            if package not in left:
                continue
            left[package] = [offer for offer in left[package] if satisfies(offer.version, spec)]
            if not left[package]:
                return None
            waiting.append(package)
    return left


def _take_first(offers: Mapping[str, Sequence[Offer]], wished: Sequence[str]) -> dict[str, Offer] | None:
    """The best release of each, where these go together as they are: then nothing is to be searched."""
    found: dict[str, Offer] = {}
    waiting = list(wished)
    while waiting:
        name = waiting.pop()
        if name in found or name not in offers:
            continue
        if not offers[name]:
            return None
        found[name] = offers[name][0]
        waiting += [package for package, _spec in found[name].requires]
    needs = (need for offer in found.values() for need in offer.requires if need[0] in found)
    return found if all(satisfies(found[package].version, spec) for package, spec in needs) else None


ROUNDS = 2000  # of the resolver: far more than packages and their releases in the catalogue can take


@functools.lru_cache(maxsize=8192)
def satisfies(version: str, spec: str) -> bool:
    """Whether a version satisfies a specifier such as ``>=2.10,<3`` or ``==2.9.*``: PEP 440, by ``packaging``.

    Pre-releases count, since a version that is installed or planned is asked about; the local part (``+cu130``) does
    not. No specifier is satisfied by anything, one that is none by nothing.
    """
    try:
        return not spec or bool(SpecifierSet(spec).contains(version.partition("+")[0], prereleases=True))
    except InvalidSpecifier:
        return False


@functools.lru_cache(maxsize=4096)
def satisfies_any(versions: tuple[str, ...], spec: str) -> bool:
    """Whether any of some versions satisfies a specifier; see :func:`satisfies`."""
    return any(satisfies(version, spec) for version in versions)
