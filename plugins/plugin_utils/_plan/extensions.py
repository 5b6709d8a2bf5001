# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One coherent set of extensions beside a PyTorch: a version each, or the reason why one is skipped."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue, Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.pep import InvalidSpecifier, SpecifierSet
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.builds import CPU, fits_tag
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.held import built_with
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.published import (
    asked_for,
    find_variant,
    index_name,
    real_name,
    why_not_here,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.torch import PyTorch
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import unlisted

COMPANIONS = ("torchvision", "torchaudio")  # built together with PyTorch and installed in the same step


@dataclass(frozen=True)
class Extension:
    """A version, and what to ask the installer for; ``requirement`` is None where it comes with PyTorch itself."""

    version: str
    requirement: str | None
    index: str
    mib: int = 0


Set = dict[str, "Extension | Refusal"]  # a refusal: why it is not in the set


@dataclass(frozen=True)
class Release:
    """One release of an extension: its row of pypi.yml, and what extensions.yml says about the package."""

    name: str
    version: str
    row: Row
    about: Row


@dataclass(frozen=True)
class Around:
    """What an extension is chosen for: the case, PyTorch, and package → version of what is chosen already."""

    case: Case
    torch: PyTorch
    pins: dict[str, str] = field(default_factory=dict)
    bundled: Mapping[str, str] = field(default_factory=dict)  # comes with PyTorch


def choose_extensions(
    case: Case,
    wished: tuple[str, ...],
    torch: PyTorch | None,
    built: Mapping[str, Mapping[str, Row] | Refusal] | None = None,
) -> Set:
    """The newest release of each requested extension that fits PyTorch and the others.

    ``built`` are those that are compiled here: package → its releases, or why it cannot be built.

    Raises RequestError for a package that the catalogue does not have.
    """
    packages, built = extension_names(case.known), built or {}
    for name in wished:
        if name not in packages and name not in built:
            raise unlisted("extensions", name, sorted(packages))
    if torch is None:
        return {name: Refusal("pytorch is none, and it extends PyTorch") for name in wished}
    adopted = _adopted(case, torch)
    bundled = _bundled(case, torch)
    around = Around(case, torch, {"torch": torch.version, **bundled}, bundled)
    chosen: Set = {}
    for name in sorted(wished, key=lambda name: (name not in COMPANIONS, wished.index(name))):
        package = real_name(name, torch.cuda, case.known)
        if isinstance(package, Refusal):
            chosen[name] = package
        elif name in built:
            chosen[name] = _compiled(around, name, built[name])
        elif torch.adopt:
            chosen[name] = Extension(adopted[package if package in adopted else name], None, "adopt")
        else:
            chosen[name] = _choose(around, package)
        if isinstance(found := chosen[name], Extension):
            around.pins[str(package)] = found.version
    return {name: chosen[name] for name in wished}


def extension_names(known: Catalogue) -> set[str]:
    """What may be wished: the packages, and the names that stand for one per CUDA."""
    return {*known["extensions"]["packages"], *known["extensions"].get("alternatives", {})}


def _adopted(case: Case, torch: PyTorch) -> dict[str, str]:
    """Package → version of what lies beside a PyTorch that is used as it is."""
    row = next((row for row in case.host.pytorches if torch.adopt and row.get("path") == torch.adopt), {})
    return {str(name): str(version) for name, version in (row.get("packages") or {}).items()}


def _compiled(around: Around, name: str, releases: Mapping[str, Row] | Refusal) -> Extension | Refusal:
    """The newest release whose metadata fits; what its wheels are for does not count, as there are none."""
    if isinstance(releases, Refusal):
        return releases
    newest = ""
    for version in sorted(releases, key=parse_version, reverse=True):
        refusal = _misfit_metadata(around, Release(name, version, releases[version], {}))
        if refusal is None:
            return Extension(version, f"{name}=={version}", "source")
        newest = newest or f"{version} {refusal.because}"
    return Refusal(newest or "the catalogue has no release of it")


def split_companions(torch: PyTorch, chosen: Set) -> PyTorch:
    """The PyTorch with its companions, which are installed in the same step as itself."""
    companions = {name: chosen[name] for name in COMPANIONS if isinstance(chosen.get(name), Extension)}
    found = {name: entry for name, entry in companions.items() if isinstance(entry, Extension) and entry.requirement}
    return replace(
        torch,
        companions={name: entry.version for name, entry in found.items()},
        requirements=(*torch.requirements, *(str(entry.requirement) for entry in found.values())),
    )


def _bundled(case: Case, torch: PyTorch) -> dict[str, str]:
    """What PyTorch brings itself: the newest triton that its metadata allows; a build for the CPU brings none."""
    known = case.known
    row = known["pypi"]["packages"]["torch"].get(torch.version)
    if row is None or torch.cuda is None:
        return {}
    found = {}
    for name, spec in row["requires"].items():
        if known["extensions"]["packages"].get(name, {}).get("bundled"):
            versions = [version for version in known["pypi"]["packages"].get(name, {}) if satisfies(version, spec)]
            if versions:
                found[name] = max(versions, key=parse_version)
    return found


def _choose(around: Around, name: str) -> Extension | Refusal:
    known, torch = around.case.known, around.torch
    about = known["extensions"]["packages"][name]
    if name in around.bundled:
        return Extension(around.bundled[name], None, torch.index)
    if refusal := _hardware(around, about):
        return refusal
    releases = known["pypi"]["packages"].get(name, {})
    newest = nearest = ""
    for version in sorted(releases, key=parse_version, reverse=True):
        release = Release(name, version, releases[version], about)
        refusal = _misfit(around, release) or _unbuilt(around, release)
        if refusal is None:
            return _extension(around, release)
        newest = newest or f"{version} {refusal.because}"
        if _is_near(release, torch):
            nearest = nearest or f"{version} {refusal.because}"
    return Refusal(nearest or newest or "the catalogue has no release of it")


def _hardware(around: Around, about: Row) -> Refusal | None:
    """What rules a package out whatever its release."""
    torch = around.torch
    if about.get("bundled"):
        cpu = torch.cuda is None
        return Refusal("PyTorch's build for the CPU comes without it" if cpu else f"PyTorch {torch.version} has none")
    if not about.get("wheels", True):
        compiled = "it is published as source only; list it in source.extensions to have it compiled here"
        return Refusal(str(about.get("instead") or compiled))
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


def _misfit(around: Around, release: Release) -> Refusal | None:
    """Why one release does not fit, or None. What its metadata says of PyTorch comes first."""
    if refusal := _misfit_metadata(around, release):
        return refusal
    python, arch = around.torch.python.version, around.case.host.arch
    tags = (release.row.get("tags") or {}).get(arch, [])
    if not tags:
        return Refusal(f"has no wheel for {arch}")
    if python and not any(fits_tag(tag, python) for tag in tags):
        return Refusal(f"has no wheel for Python {python}")
    return _misfit_cuda(around, release) or _misfit_glibc(around, release)


def _misfit_metadata(around: Around, release: Release) -> Refusal | None:
    """What rules a release out in its own words."""
    row, python = release.row, around.torch.python.version
    if row.get("yanked"):
        return Refusal("was withdrawn")
    requires = row.get("requires") or {}
    if "torch" not in requires and release.about.get("index") == "pytorch":
        return Refusal("does not say which PyTorch it needs")
    for package, spec in requires.items():
        if package in around.pins and not satisfies(around.pins[package], spec):
            return Refusal(f"requires {package} {_words(spec)}")
    if python and row.get("python") and not satisfies(python, row["python"]):
        return Refusal(f"requires Python {_words(row['python'])}")
    return None


def _misfit_glibc(around: Around, release: Release) -> Refusal | None:
    """The C library that the wheel needs; a build for another CUDA has been held against it already."""
    host, torch = around.case.host, around.torch
    if not around.case.request.overrides.glibc or find_variant(release.row, host.arch, torch.cuda, host.glibc):
        return None
    return why_not_here(release.row, host.arch, host.glibc)


def _unbuilt(around: Around, release: Release) -> Refusal | None:
    """A package that is numbered as PyTorch (torchaudio) was built for the CUDAs of the PyTorch of its own number."""
    torch = around.torch
    number = torch.version if torch.provider == "source" else built_with(release.row, release.version)
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
    cuda = release.row.get("cuda" if around.case.host.arch == "x86_64" else "cuda_aarch64")
    host = around.case.host
    if find_variant(release.row, host.arch, torch.cuda, host.glibc):
        return None
    if cuda and parse_version(cuda)[0] != parse_version(torch.cuda)[0]:
        return Refusal(f"is built for CUDA {cuda}, not for CUDA {torch.cuda}")
    return None


def _per_cuda(about: Row, torch: PyTorch) -> bool:
    """Whether PyTorch's index has a build of it per CUDA, and this PyTorch is from there."""
    return about.get("index") == "pytorch" and torch.provider != "pypi"


def _extension(around: Around, release: Release) -> Extension:
    torch, host, name, version = around.torch, around.case.host, release.name, release.version
    mib = int((release.row.get("size_mib") or {}).get(host.arch, 0))
    if variant := find_variant(release.row, host.arch, torch.cuda, host.glibc):
        index = index_name(variant.index, around.case.known)
        return Extension(version, asked_for(name, f"{version}+{variant.name}", release.about, torch.cuda), index, mib)
    if not _per_cuda(release.about, torch):
        return Extension(version, asked_for(name, version, release.about, torch.cuda), "pypi", mib)
    for wheel in host.wheels if torch.provider == "host_wheels" else ():
        if wheel.get("name") == name and str(wheel["version"]).partition("+")[0] == version:
            return Extension(version, f"{name}=={wheel['version']}", "host_wheels", mib)
    return Extension(version, f"{name}=={version}+{torch.index or CPU}", torch.index, mib)


@functools.lru_cache(maxsize=4096)
def satisfies(version: str, spec: str) -> bool:
    """Whether a version satisfies a specifier such as ``>=2.10,<3`` or ``==2.9.*``: PEP 440, by ``packaging``.

    Pre-releases count, since a version that is installed or planned is asked about; the local part (``+cu130``) does
    not. A specifier that is none is satisfied by nothing.
    """
    try:
        return SpecifierSet(spec).contains(version.partition("+")[0], prereleases=True)
    except InvalidSpecifier:
        return False


def _words(spec: str) -> str:
    """A specifier as a person says it: ==2.8.0 → 2.8.0."""
    return spec.removeprefix("==") if spec.count(",") == 0 else spec
