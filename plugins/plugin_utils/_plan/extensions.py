# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which releases of the extensions fit beside one PyTorch, and which of these go together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue, Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.memo import remember
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.releases import (
    TORCH,
    Around,
    Extension,
    Release,
    all_releases,
    as_words,
    describe_extension,
    is_near,
    misfit,
    misfit_gpu,
    misfit_metadata,
    misfit_package,
    newest_first,
    releases_of,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.resolver import (
    Offer,
    find_any,
    satisfies,
    satisfies_any,
    solve,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.torch import PyTorch
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import STABLE
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import unlisted

COMPANIONS = ("torchvision", "torchaudio")  # built together with PyTorch and installed in the same step
BEFORE = "which is named before it"


Set = dict[str, Extension | Refusal]  # a refusal: why it is not in the set
Solution = Mapping[str, Offer]  # package → its release, of the wished ones and of what these need
Built = Mapping[str, Mapping[str, Row] | Refusal]  # what is compiled here: its releases, or why it cannot be


@dataclass
class Options:
    """What can be had beside one PyTorch: of each package the releases that fit it and the host, the best first.

    ``built`` are those that are compiled here, for which no wheel is needed.
    """

    case: Case
    torch: PyTorch
    wished: tuple[str, ...]
    built: Built = field(default_factory=dict)
    memo: dict[Any, Any] = field(default_factory=dict)  # of this host; shared by the PyTorches of one decision

    def __post_init__(self) -> None:
        """Note what is there whatever is chosen: what PyTorch brings, or what lies beside an adopted one."""
        store: dict[str, Any] = self._store()
        self._offers: dict[str, tuple[Offer, ...]] = store.setdefault("offers", {})
        self._solved: dict[tuple[str, ...], Solution | None] = store.setdefault("solved", {})
        self._usable: dict[str, tuple[Offer, ...]] = store.setdefault("usable", {})
        self._can: dict[frozenset[str], bool] = store.setdefault("can", {})
        self.around = Around(self.case, self.torch, {TORCH: self.torch.version})
        self.bundled = _bundled(self.case, self.torch)
        self.adopted = _adopted(self.case, self.torch)

    def _store(self) -> dict[str, Any]:
        """Where what is found is kept: with the catalogue, for every host and request that are alike in what counts.

        What is compiled here depends on more of the host: that is kept for one decision.
        """
        adopted = tuple(sorted(_adopted(self.case, self.torch).items()))
        key = (self._place(), self.torch.adopt, adopted, self.case.host.capabilities, self.wished)
        if self.built:
            kept: dict[str, Any] = self.memo.setdefault(key, {})
            return kept
        return remember(self.case.known, "set", key, dict)

    def _place(self) -> tuple[Any, ...]:
        """What of PyTorch and the host decides whether a wheel fits, beside the GPUs."""
        torch, host = self.torch, self.case.host
        rows = host.wheels if torch.provider == "host_wheels" else ()
        wheels = tuple((row.get("name"), row["version"]) for row in rows)
        build = (torch.version, torch.local, torch.cuda, torch.provider, torch.channel, torch.index)
        glibc = host.glibc if self.case.request.overrides.glibc else None
        return (*build, torch.python.version, host.arch, glibc, wheels)

    def offers(self, name: str) -> tuple[Offer, ...]:
        """The releases of a package that fit PyTorch and the host, the best first, whatever else they need."""
        if name not in self._offers:
            self._offers[name] = tuple(self._find(name))
        return self._offers[name]

    def usable(self, name: str) -> tuple[Offer, ...]:
        """Those of its releases for which each of the packages that they need has a usable one."""
        if name not in self._usable:
            self._usable[name] = self.offers(name)  # for packages that need each other
            self._usable[name] = tuple(offer for offer in self.offers(name) if self._has_needs(offer))
        return self._usable[name]

    def _has_needs(self, offer: Offer) -> bool:
        needs = offer.requires
        return all(any(satisfies(other.version, spec) for other in self.usable(name)) for name, spec in needs)

    def package(self, name: str) -> str:
        """The package that a name stands for beside this PyTorch: of one that is published per CUDA major, that one."""
        row = self.case.known["extensions"].get("alternatives", {}).get(name)
        major = str(parse_version(self.torch.cuda)[0]) if self.torch.cuda else ""
        return str(row["packages"].get(major, name)) if row else name

    def can(self, names: Sequence[str]) -> bool:
        """Whether these can be had together."""
        key = frozenset(names)
        if key not in self._can:
            self._can[key] = all(self.usable(name) for name in names) and (
                len(names) == 1
                or (self._find_apart(names) is None and find_any(self._universe(names), names) is not None)
            )
        return self._can[key]

    def _find_apart(self, names: Collection[str]) -> tuple[str, str, str] | None:
        """Two of some packages that go together in no release, and why; None where there are none."""
        if "apart" not in self.memo:
            rows = self.case.known["extensions"]["packages"].items()
            self.memo["apart"] = [(name, *pair) for name, row in rows for pair in row.get("apart", {}).items()]
        return next((found for found in self.memo["apart"] if found[0] in names and found[1] in names), None)

    def solve(self, names: Sequence[str]) -> Solution:
        """One release for each of ``names`` and for what these need; they can be had together."""
        key = tuple(names)
        if key not in self._solved:
            self._solved[key] = solve(self._universe(names), names)
        return self._solved[key] or {}

    def _universe(self, names: Sequence[str]) -> dict[str, tuple[Offer, ...]]:
        """Package → releases, of some packages and of all that they might need."""
        found = {name: self.usable(name) for name in names}
        waiting = list(names)
        while waiting:
            for offer in found[waiting.pop(0)]:
                for package, _spec in offer.requires:
                    if package not in found:
                        found[package] = self.usable(package)
                        waiting.append(package)
        return found

    def _find(self, name: str) -> Iterable[Offer]:
        known = self.case.known
        releases, package = self.built.get(name), self.package(name)
        if isinstance(releases, Refusal):
            return
        if self.torch.channel != STABLE and name in (*COMPANIONS, *self.bundled):
            yield Offer(name, self.torch.channel, extra=self._of_channel(name))
            return
        if releases is not None:
            for version in sorted(releases, key=parse_version, reverse=True):
                release = Release(name, version, releases[version], {})
                if misfit_metadata(self.around, release) is None:
                    yield self._offer(name, release, Extension(version, f"{name}=={version}", "source"))
        elif self._is_bundled_for_others(package):
            return
        elif package in self.adopted:
            yield Offer(name, self.adopted[package], extra=Extension(self.adopted[package], None, "adopt"))
        elif name in self.bundled:
            for version in self.bundled[name]:
                yield Offer(name, version, extra=Extension(version, None, self.torch.index))
        elif not self.torch.adopt and package in known["extensions"]["packages"]:
            yield from self._published(name, package)

    def _is_bundled_for_others(self, package: str) -> bool:
        """Whether a package comes along with PyTorch and does not run on a GPU of this host."""
        about = self.case.known["extensions"]["packages"].get(package, {})
        return bool(self.torch.cuda and about.get("bundled")) and misfit_gpu(self.around, about) is not None

    def _of_channel(self, name: str) -> Extension:
        """What comes from the test or nightly index beside PyTorch, in a release that is not known."""
        asked = None if name in self.bundled else f"{name}>=0.dev0"  # as pre-releases are not taken by themselves
        return Extension(self.torch.channel, asked, self.torch.index)

    def _published(self, name: str, package: str) -> Iterable[Offer]:
        """The wheels of a package. What is only needed by others may be PyPI's where PyTorch's index has none."""
        known = self.case.known
        about = known["extensions"]["packages"][package]
        if misfit_package(self.around, about):
            return
        key = (package, name in self.wished, self._place())
        fit = remember(known, "fit", key, lambda: tuple(self._fit(name, package)))
        for release, extension in fit:
            yield self._offer(name, release, extension)

    def _fit(self, name: str, package: str) -> Iterable[tuple[Release, Extension]]:
        """The wheels of a package that fit PyTorch and the host, and what to ask the installer for."""
        known, cuda = self.case.known, self.torch.cuda
        about = known["extensions"]["packages"][package]

        def list_releases() -> tuple[Release, ...]:
            listed = list(releases_of(package, known, about, cuda))
            if name not in self.wished and about.get("index") == "pytorch":
                own = {**about, "index": "pypi"}
                listed = [one for release in listed for one in (release, replace(release, about=own))]
            return tuple(listed)

        for release in remember(known, "releases", (package, cuda, name in self.wished), list_releases):
            if misfit(self.around, release) is None:
                yield release, describe_extension(self.around, release)

    def _offer(self, name: str, release: Release, extension: Extension) -> Offer:
        """A release as the resolver sees it; what it requires of a package that nobody knows constrains nothing."""
        requires = (release.row.get("requires") or {}).items()
        needs = tuple((package, str(spec)) for package, spec in requires if self._is_known(package, str(spec)))
        return Offer(name, release.version, needs, release.variant, extension)

    def _is_known(self, package: str, spec: str) -> bool:
        """Whether a requirement can be judged: of a package whose rows were thinned out a release may be missing."""
        if package == TORCH:
            return False  # every offer fits PyTorch
        if self.torch.channel != STABLE and package in (*COMPANIONS, *self.bundled):
            return False
        if package in self.wished or package in self.bundled or package in self.adopted:
            return True
        known = self.case.known
        if self.torch.adopt or package not in known["extensions"]["packages"]:
            return False
        return satisfies_any(newest_first(package, known), spec)

    def is_hopeless(self, name: str) -> bool:
        """Whether no PyTorch for this host's GPU would help: it has no wheels, or is for other GPUs."""
        package = self.package(name)
        about = self.case.known["extensions"]["packages"].get(package, {})
        is_found = name in self.built or package in self.adopted or about.get("bundled")
        if self._is_bundled_for_others(package):
            return True
        return not is_found and misfit_package(self.around, about) is not None

    def why_not(self, name: str, solution: Solution) -> Refusal:
        """The one constraint that keeps a package from being added to a set: that of its nearest release."""
        case, known = self.case, self.case.known
        releases, package = self.built.get(name), self.package(name)
        if isinstance(releases, Refusal):
            return releases
        if self.torch.adopt and releases is None and not self._is_bundled_for_others(package):
            return Refusal(f"it is not installed beside the PyTorch at {self.torch.adopt}")
        if releases is None and package not in known["extensions"]["packages"]:
            return Refusal(f"it is published for each CUDA major, not for {self.torch.cuda or 'the CPU'}")
        about: Row = {} if releases is not None else known["extensions"]["packages"][package]
        if releases is None and (refusal := misfit_package(self.around, about)):
            return refusal
        if name not in solution and (apart := self._find_apart((*solution, name))):
            other = apart[1] if apart[0] == name else apart[0]
            return Refusal(f"it goes with no release of {other}: {apart[2]}")
        pins = {TORCH: self.torch.version, **{other: offer.version for other, offer in solution.items()}}
        around = Around(case, self.torch, pins)
        listed = all_releases(name, releases or {}, about)
        if releases is None:
            listed = releases_of(package, known, about, self.torch.cuda)
        offered = {(offer.version, offer.key) for offer in self.offers(name)}
        newest = nearest = fit = ""
        for release in listed:
            refusal = misfit_metadata(around, release) if releases is not None else misfit(around, release)
            refusal = refusal or self._misfit_set(release, solution)
            newest = newest or f"{release.version} {refusal.because}"
            if is_near(release, self.torch):
                nearest = nearest or f"{release.version} {refusal.because}"
            if (release.version, release.variant) in offered:
                fit = fit or f"{release.version} {refusal.because}"
        return Refusal(fit or nearest or newest or "the catalogue has no release of it")

    def _misfit_set(self, release: Release, solution: Solution) -> Refusal:
        """Why a release that fits PyTorch and the host cannot join a set: for others' sake, or for its own needs'."""
        for other in solution.values():
            for package, spec in other.requires:
                if package == release.name and not satisfies(release.version, spec):
                    return Refusal(f"is not what {other.name} {other.version} requires: {package} {as_words(spec)}")
        for package, spec in (release.row.get("requires") or {}).items():
            if package == TORCH or not self._is_known(package, str(spec)):
                continue
            if not any(satisfies(offer.version, str(spec)) for offer in self.offers(package)):
                wanted = f"{package} {as_words(str(spec))}".strip()
                return Refusal(f"requires {wanted}, which cannot be had here: {self._why_none(package, str(spec))}")
        return Refusal(f"needs other releases than {', '.join(solution) or 'PyTorch'}")

    def _why_none(self, name: str, spec: str) -> str:
        """Why there is no release of a needed package that is as specified."""
        about = self.case.known["extensions"]["packages"].get(name, {})
        if self.torch.adopt or not about:
            return "it is not installed beside PyTorch"
        if refusal := misfit_package(self.around, about):
            return refusal.because
        listed = releases_of(name, self.case.known, about, self.torch.cuda)
        found = ((one, misfit(self.around, one)) for one in listed if satisfies(one.version, spec))
        return next((f"{one.version} {refusal.because}" for one, refusal in found if refusal), "no release fits")

    def needed(self, kept: Sequence[str]) -> dict[str, Extension]:
        """What the set needs beside what is wished, of the packages that PyTorch's index has for each CUDA.

        An installer would take PyPI's of them, which may be for another CUDA.
        """
        found = {name: offer.extra for name, offer in self.solve(kept).items() if name not in self.wished}
        packages = self.case.known["extensions"]["packages"]
        return {
            name: extra
            for name, extra in found.items()
            if extra.requirement and packages.get(name, {}).get("index") == "pytorch"
        }


def choose_extensions(case: Case, wished: tuple[str, ...], torch: PyTorch | None, built: Built | None = None) -> Set:
    """One coherent set beside a PyTorch: the newest releases that fit it, the host and each other.

    Where not all can be had together, what is wished first comes first; the others are refused, each with the one
    constraint that stands in the way. ``built`` are those that are compiled here: package → its releases, or why it
    cannot be built.

    Beside the wished ones it holds what these need, of the packages that PyTorch's index has for each CUDA.

    Raises RequestError for a package that the catalogue does not have.
    """
    check_listed(wished, case.known, built or {})
    if torch is None:
        return {name: Refusal("pytorch is none, and it extends PyTorch") for name in wished}
    options = Options(case, torch, wished, built or {})
    _unused, kept = keep([options], wished)
    return {**as_set(options, wished, kept), **options.needed(kept)}


def check_listed(wished: Iterable[str], known: Catalogue, built: Iterable[str] = ()) -> None:
    """Raise RequestError for a wished package that the catalogue does not have, and that is not compiled here."""
    packages = {**known["extensions"]["packages"], **known["extensions"].get("alternatives", {})}
    for name in wished:
        if name not in packages and name not in built:
            raise unlisted("extensions", name, sorted(packages))


def keep(candidates: Sequence[Options], wished: Sequence[str]) -> tuple[int, tuple[str, ...]]:
    """Which of some PyTorches, the best first, to take, and which wishes are met beside it: those named first.

    A PyTorch on which all can be had is taken; else each wish in turn is met if it can be beside those before it, on
    the best PyTorch that has them all.
    """
    for number, options in enumerate(candidates):
        if options.can(wished):
            return number, tuple(wished)
    taken = 0
    kept: tuple[str, ...] = ()
    for name in wished:
        more = (*kept, name)
        found = (number for number in range(taken, len(candidates)) if candidates[number].can(more))
        if (best := next(found, None)) is not None:
            taken, kept = best, more
    return taken, kept


def as_set(options: Options, wished: Iterable[str], kept: Sequence[str]) -> Set:
    """The set of a PyTorch: of what is kept its release, of the rest why it is left out."""
    solution = options.solve(kept)
    found: Set = {}
    for name in wished:
        if name in kept:
            found[options.package(name)] = solution[name].extra
        else:
            found[name] = options.why_not(name, solution)
    return found


def _adopted(case: Case, torch: PyTorch) -> dict[str, str]:
    """Package → version of what lies beside a PyTorch that is used as it is."""
    row = next((row for row in case.host.pytorches if torch.adopt and row.get("path") == torch.adopt), {})
    return {str(name): str(version) for name, version in (row.get("packages") or {}).items()}


def split_companions(torch: PyTorch, chosen: Set) -> PyTorch:
    """The PyTorch with its companions, which are installed in the same step as itself."""
    companions = {name: chosen[name] for name in COMPANIONS if isinstance(chosen.get(name), Extension)}
    found = {name: entry for name, entry in companions.items() if isinstance(entry, Extension) and entry.requirement}
    return replace(
        torch,
        companions={name: entry.version for name, entry in found.items()},
        requirements=(*torch.requirements, *(str(entry.requirement) for entry in found.values())),
    )


def _bundled(case: Case, torch: PyTorch) -> dict[str, list[str]]:
    """What PyTorch brings itself: of triton the releases that its metadata allows, the newest first.

    A build for the CPU brings none.
    """
    known = case.known
    if torch.channel != STABLE and torch.cuda:
        about = known["extensions"]["packages"]
        return {name: [torch.channel] for name, entry in about.items() if entry.get("bundled")}
    row = known["pypi"]["packages"][TORCH].get(torch.version)
    if row is None or torch.cuda is None or torch.adopt:
        return {}
    found = {}
    for name, spec in row["requires"].items():
        if known["extensions"]["packages"].get(name, {}).get("bundled"):
            versions = [version for version in newest_first(name, known) if satisfies(version, spec)]
            if versions:
                found[name] = versions
    return found
