# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which releases of the extensions fit beside one PyTorch, and which of these go together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue, Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.builds import CPU, fits_tag
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.resolver import Offer, satisfies, solve
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.torch import PyTorch
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import unlisted

COMPANIONS = ("torchvision", "torchaudio")  # built together with PyTorch and installed in the same step
TORCH = "torch"
BEFORE = "which is named before it"


@dataclass(frozen=True)
class Extension:
    """A version, and what to ask the installer for; ``requirement`` is None where it comes with PyTorch itself."""

    version: str
    requirement: str | None
    index: str
    mib: int = 0
    cuda: str | None = None  # that its wheel is built for; None where it is for several, or for PyTorch's own


Set = dict[str, "Extension | Refusal"]  # a refusal: why it is not in the set
Solution = Mapping[str, Offer]  # package → its release, of the wished ones and of what these need
Built = Mapping[str, "Mapping[str, Row] | Refusal"]  # what is compiled here: its releases, or why it cannot be


@dataclass(frozen=True)
class Release:
    """One release of an extension: its row of pypi.yml, and what extensions.yml says about the package.

    ``variant`` is the ending of a build for another CUDA than PyPI's (cu129), empty for PyPI's own.
    """

    name: str
    version: str
    row: Row
    about: Row
    variant: str = ""


@dataclass(frozen=True)
class Around:
    """What an extension is chosen for: the case, PyTorch, and package → version of what is chosen already."""

    case: Case
    torch: PyTorch
    pins: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Options:
    """What can be had beside one PyTorch: of each package the releases that fit it and the host, the best first.

    ``built`` are those that are compiled here, for which no wheel is needed.
    """

    case: Case
    torch: PyTorch
    wished: tuple[str, ...]
    built: Built = field(default_factory=dict)
    _offers: dict[str, tuple[Offer, ...]] = field(default_factory=dict)
    _solved: dict[tuple[str, ...], Solution | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Note what is there whatever is chosen: what PyTorch brings, or what lies beside an adopted one."""
        self.around = Around(self.case, self.torch, {TORCH: self.torch.version})
        self.bundled = _bundled(self.case, self.torch)
        self.adopted = _adopted(self.case, self.torch)

    def offers(self, name: str) -> tuple[Offer, ...]:
        """The releases of a package that fit, the best first; what nobody wished for may be PyPI's of any build."""
        if name not in self._offers:
            self._offers[name] = tuple(self._find(name))
        return self._offers[name]

    def solve(self, names: Sequence[str]) -> Solution | None:
        """One release for each of ``names`` and for what these need, or None where they cannot be had together."""
        key = tuple(names)
        if key not in self._solved:
            self._solved[key] = self._solve(key)
        return self._solved[key]

    def _solve(self, names: tuple[str, ...]) -> Solution | None:
        if not all(self.offers(name) for name in names):
            return None
        found = {name: self.offers(name) for name in names}
        waiting = list(names)
        while waiting:
            for offer in found[waiting.pop(0)]:
                for package, _spec in offer.requires:
                    if package not in found:
                        found[package] = self.offers(package)
                        waiting.append(package)
        return solve(found, names)

    def _find(self, name: str) -> Iterable[Offer]:
        known = self.case.known
        releases = self.built.get(name)
        if isinstance(releases, Refusal):
            return
        if releases is not None:
            for version in sorted(releases, key=parse_version, reverse=True):
                release = Release(name, version, releases[version], {})
                if misfit_metadata(self.around, release) is None:
                    yield self._offer(release, Extension(version, f"{name}=={version}", "source"))
        elif name in self.adopted:
            yield Offer(name, self.adopted[name], extra=Extension(self.adopted[name], None, "adopt"))
        elif name in self.bundled:
            for version in self.bundled[name]:
                yield Offer(name, version, extra=Extension(version, None, self.torch.index))
        elif not self.torch.adopt and (about := known["extensions"]["packages"].get(name)):
            if name not in self.wished:
                about = {**about, "index": "pypi"}
            if misfit_package(self.around, about) is None:
                for release in releases_of(name, known, about):
                    if misfit(self.around, release) is None:
                        yield self._offer(release, _extension(self.around, release))

    def _offer(self, release: Release, extension: Extension) -> Offer:
        """A release as the resolver sees it; what it requires of a package that nobody knows constrains nothing."""
        requires = (release.row.get("requires") or {}).items()
        needs = tuple((package, str(spec)) for package, spec in requires if self._is_known(package, str(spec)))
        return Offer(release.name, release.version, needs, release.variant, extension)

    def _is_known(self, package: str, spec: str) -> bool:
        """Whether a requirement can be judged: of a package whose rows were thinned out a release may be missing."""
        if package == TORCH:
            return False  # every offer fits PyTorch
        if package in self.wished or package in self.bundled or package in self.adopted:
            return True
        known = self.case.known
        if self.torch.adopt or package not in known["extensions"]["packages"]:
            return False
        return any(satisfies(version, spec) for version in known["pypi"]["packages"].get(package, {}))

    def is_hopeless(self, name: str) -> bool:
        """Whether no PyTorch for this host's GPU would help: it has no wheels, or is for other GPUs."""
        about = self.case.known["extensions"]["packages"].get(name, {})
        is_found = name in self.built or name in self.adopted or about.get("bundled")
        return not is_found and misfit_package(self.around, about) is not None

    def why_not(self, name: str, solution: Solution) -> Refusal:
        """The one constraint that keeps a package from being added to a set: that of its nearest release."""
        case, known = self.case, self.case.known
        releases = self.built.get(name)
        if isinstance(releases, Refusal):
            return releases
        if self.torch.adopt and releases is None:
            return Refusal(f"it does not lie beside the PyTorch at {self.torch.adopt}")
        about: Row = {} if releases is not None else known["extensions"]["packages"][name]
        if releases is None and (refusal := misfit_package(self.around, about)):
            return refusal
        pins = {TORCH: self.torch.version, **{package: offer.version for package, offer in solution.items()}}
        around = Around(case, self.torch, pins)
        listed = releases_of(name, known, about) if releases is None else _all_releases(name, releases, about)
        newest = nearest = ""
        for release in listed:
            refusal = misfit_metadata(around, release) if releases is not None else misfit(around, release)
            refusal = refusal or self._misfit_set(release, solution)
            newest = newest or f"{release.version} {refusal.because}"
            if _is_near(release, self.torch):
                nearest = nearest or f"{release.version} {refusal.because}"
        return Refusal(nearest or newest or "the catalogue has no release of it")

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
                return Refusal(f"requires {package} {as_words(str(spec))}, which cannot be had here")
        return Refusal(f"needs other releases than {', '.join(solution) or 'PyTorch'}")


def choose_extensions(
    case: Case, wished: tuple[str, ...], torch: PyTorch | None, built: Built | None = None
) -> Set:
    """One coherent set beside a PyTorch: the newest releases that fit it, the host and each other.

    Where not all can be had together, what is wished first comes first; the others are refused, each with the one
    constraint that stands in the way. ``built`` are those that are compiled here: package → its releases, or why it
    cannot be built.

    Raises RequestError for a package that the catalogue does not have.
    """
    check_listed(wished, case.known, built or {})
    if torch is None:
        return {name: Refusal("pytorch is none, and it extends PyTorch") for name in wished}
    options = Options(case, torch, wished, built or {})
    _unused, kept = keep([options], wished)
    return as_set(options, wished, kept)


def check_listed(wished: Iterable[str], known: Catalogue, built: Iterable[str] = ()) -> None:
    """Raise RequestError for a wished package that the catalogue does not have, and that is not compiled here."""
    packages = known["extensions"]["packages"]
    for name in wished:
        if name not in packages and name not in built:
            raise unlisted("extensions", name, sorted(packages))


def keep(candidates: Sequence[Options], wished: Sequence[str]) -> tuple[int, tuple[str, ...]]:
    """Which of some PyTorches, the best first, to take, and which wishes are met beside it: those named first.

    A PyTorch on which all can be had is taken; else each wish in turn is met if it can be beside those before it, on
    the best PyTorch that has them all.
    """
    for number, options in enumerate(candidates):
        if options.solve(wished) is not None:
            return number, tuple(wished)
    taken, kept = 0, ()
    for name in wished:
        more = (*kept, name)
        found = (number for number in range(taken, len(candidates)) if candidates[number].solve(more) is not None)
        if (number := next(found, None)) is not None:
            taken, kept = number, more
    return taken, kept


def as_set(options: Options, wished: Iterable[str], kept: Sequence[str]) -> Set:
    """The set of a PyTorch: of what is kept its release, of the rest why it is left out."""
    solution = options.solve(kept) or {}
    return {name: solution[name].extra if name in kept else options.why_not(name, solution) for name in wished}


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


# --- one package, one release ---


def newest_first(name: str, known: Catalogue) -> tuple[str, ...]:
    """The releases of a package in pypi.yml, the newest first. Cached: they depend on the catalogue alone."""
    rows = known["pypi"]["packages"].get(name, {})
    cached = _SORTED.get(id(rows))
    if cached is None or cached[0] is not rows:
        cached = _SORTED[id(rows)] = (rows, tuple(sorted(rows, key=parse_version, reverse=True)))
    return cached[1]


_SORTED: dict[int, tuple[Mapping[str, Row], tuple[str, ...]]] = {}  # with its rows, so that an id is not met again


def releases_of(name: str, known: Catalogue, about: Row) -> Iterable[Release]:
    """The releases of a package, the newest first, each of PyPI before its builds for other CUDAs."""
    rows = known["pypi"]["packages"].get(name, {})
    for version in newest_first(name, known):
        row = rows[version]
        yield Release(name, version, row, about)
        for key, variant in (row.get("variants") or {}).items():
            yield Release(name, version, {**row, **variant, "cuda_aarch64": variant.get("cuda")}, about, str(key))


def _all_releases(name: str, rows: Mapping[str, Row], about: Row) -> Iterable[Release]:
    return (Release(name, version, rows[version], about) for version in sorted(rows, key=parse_version, reverse=True))


def misfit_package(around: Around, about: Row) -> Refusal | None:
    """What rules a package out whatever its release."""
    torch = around.torch
    if about.get("bundled"):
        cpu = torch.cuda is None
        return Refusal("PyTorch's build for the CPU comes without it" if cpu else f"PyTorch {torch.version} has none")
    if not about.get("wheels", True):
        return Refusal("it is published as source only")
    least = about.get("least_capability")
    if least is None:
        return None
    if torch.cuda is None:
        return Refusal("it needs CUDA, and this environment is for the CPU")
    for capability in around.case.host.capabilities:
        if parse_version(capability) < parse_version(least):
            return Refusal(f"it needs compute capability {least}; found {capability}")
    return None


def _is_near(release: Release, torch: PyTorch) -> bool:
    """Whether a release is one for this PyTorch, so that what rules it out tells more than that of a newer one."""
    spec = (release.row.get("requires") or {}).get("torch")
    fits = release.about.get("index") != "pytorch" if spec is None else satisfies(torch.version, spec)
    return fits and not release.row.get("yanked")


def misfit(around: Around, release: Release) -> Refusal | None:
    """Why one release does not fit, or None. What its metadata says of PyTorch comes first."""
    if refusal := misfit_metadata(around, release):
        return refusal
    host, python = around.case.host, around.torch.python.version
    tags = (release.row.get("tags") or {}).get(host.arch, [])
    if not tags:
        return Refusal(f"has no wheel for {host.arch}")
    if python and not any(fits_tag(tag, python) for tag in tags):
        return Refusal(f"has no wheel for Python {python}")
    least = release.row.get("glibc")
    if least and host.glibc and around.case.request.overrides.glibc:
        if parse_version(host.glibc) < parse_version(least):
            return Refusal(f"needs glibc {least}; found {host.glibc}")
    return _misfit_cuda(around, release) or _unbuilt(around, release)


def misfit_metadata(around: Around, release: Release) -> Refusal | None:
    """What rules a release out in its own words."""
    row, python = release.row, around.torch.python.version
    if row.get("yanked"):
        return Refusal("was withdrawn")
    requires = row.get("requires") or {}
    if TORCH not in requires and release.about.get("index") == "pytorch":
        return Refusal("does not say which PyTorch it needs")
    for package, spec in requires.items():
        if package in around.pins and not satisfies(around.pins[package], spec):
            return Refusal(f"requires {package} {as_words(spec)}")
    if python and row.get("python") and not satisfies(python, row["python"]):
        return Refusal(f"requires Python {as_words(row['python'])}")
    return None


def _unbuilt(around: Around, release: Release) -> Refusal | None:
    """A package that is numbered as PyTorch (torchaudio) was built for the CUDAs of the PyTorch of its own number."""
    torch = around.torch
    number = torch.version if torch.provider == "source" else release.version
    row = around.case.known["pytorch"]["releases"].get(number)
    if row is None or not _per_cuda(release.about, torch) or (torch.index or CPU) in row["indexes"]:
        return None
    return Refusal(f"has no build for CUDA {torch.cuda}")


def _misfit_cuda(around: Around, release: Release) -> Refusal | None:
    """CUDA 12 and CUDA 13 libraries never mix in one process."""
    torch, version = around.torch, release.version
    if torch.cuda is None or _per_cuda(release.about, torch):
        return None
    listed = release.about.get("cuda")
    if listed:
        keys = [key for key in listed if version == key or version.startswith(f"{key}.")]
        built = [str(cuda) for cuda in listed[max(keys, key=len)]] if keys else []
        return None if torch.cuda in built else Refusal(f"has no build for CUDA {torch.cuda}")
    cuda = built_for(release, around.case.host.arch)
    if cuda and parse_version(cuda)[0] != parse_version(torch.cuda)[0]:
        return Refusal(f"is built for CUDA {cuda}, not for CUDA {torch.cuda}")
    return None


def built_for(release: Release, arch: str) -> str | None:
    """The CUDA of a release's wheel, or None where its metadata names none."""
    cuda = release.row.get("cuda" if arch == "x86_64" else "cuda_aarch64")
    return str(cuda) if cuda else None


def _per_cuda(about: Row, torch: PyTorch) -> bool:
    """Whether PyTorch's index has a build of it per CUDA, and this PyTorch is from there."""
    return about.get("index") == "pytorch" and torch.provider != "pypi"


def _extension(around: Around, release: Release) -> Extension:
    torch, host, name, version = around.torch, around.case.host, release.name, release.version
    mib = int((release.row.get("size_mib") or {}).get(host.arch, 0))
    cuda = built_for(release, host.arch)
    if release.variant:
        return Extension(version, f"{name}=={version}+{release.variant}", str(release.row["index"]), mib, cuda)
    if not _per_cuda(release.about, torch):
        return Extension(version, f"{name}=={version}", "pypi", mib, None if release.about.get("cuda") else cuda)
    for wheel in host.wheels if torch.provider == "host_wheels" else ():
        if wheel.get("name") == name and str(wheel["version"]).partition("+")[0] == version:
            return Extension(version, f"{name}=={wheel['version']}", "host_wheels", mib)
    return Extension(version, f"{name}=={version}+{torch.index or CPU}", torch.index, mib)


def as_words(spec: str) -> str:
    """A specifier as a person says it: ==2.8.0 → 2.8.0."""
    return spec.removeprefix("==") if spec.count(",") == 0 else spec
