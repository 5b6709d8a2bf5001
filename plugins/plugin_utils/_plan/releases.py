# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The releases of one extension, and the rules for one of them beside a PyTorch on a host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue, Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.builds import CPU, fits_tag
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.held import built_with
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.resolver import satisfies
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.torch import PyTorch
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import STABLE

TORCH = "torch"


@dataclass(frozen=True)
class Extension:
    """A version, and what to ask the installer for; ``requirement`` is None where it comes with PyTorch itself."""

    version: str
    requirement: str | None
    index: str
    mib: int = 0
    cuda: str | None = None  # that its wheel is built for; None where it is for several, or for PyTorch's own


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


def newest_first(name: str, known: Catalogue) -> tuple[str, ...]:
    """The releases of a package in pypi.yml, the newest first. Cached: they depend on the catalogue alone."""
    rows = known["pypi"]["packages"].get(name, {})
    cached = _SORTED.get(id(rows))
    if cached is None or cached[0] is not rows:
        cached = _SORTED[id(rows)] = (rows, tuple(sorted(rows, key=parse_version, reverse=True)))
    return cached[1]


_SORTED: dict[int, tuple[Mapping[str, Row], tuple[str, ...]]] = {}  # with its rows, so that an id is not met again


def releases_of(name: str, known: Catalogue, about: Row, cuda: str | None) -> Iterable[Release]:
    """The releases of a package, the newest first; of one with builds for several CUDAs first those for ``cuda``.

    Of two that are for it, or not for it, PyPI's own comes first. None is the CPU.
    """
    rows = known["pypi"]["packages"].get(name, {})
    for version in newest_first(name, known):
        row = rows[version]
        variants = row.get("variants")
        if not variants:
            yield Release(name, version, row, about)
            continue
        own = Release(name, version, row, about)
        builds = [own, *(_variant(own, str(key), variant) for key, variant in variants.items())]
        yield from sorted(builds, key=lambda build: build.row.get("cuda") != cuda)


def _variant(own: Release, key: str, variant: Row) -> Release:
    """A build that is published elsewhere than on PyPI; its wheels' tags are those of PyPI's."""
    tags = own.row.get("tags") or {}
    here: dict[str, list[str]] = {
        arch: tags.get(arch) or next(iter(tags.values()), []) for arch in variant.get("architectures") or tags
    }
    cuda = variant.get("cuda")
    row = {key: value for key, value in own.row.items() if key != "glibc_aarch64"}  # a variant names its own for all
    return replace(own, row={**row, **variant, "tags": here, "cuda_aarch64": cuda}, variant=key)


def all_releases(name: str, rows: Mapping[str, Row], about: Row) -> Iterable[Release]:
    """The releases of some rows, the newest first."""
    return (Release(name, version, rows[version], about) for version in sorted(rows, key=parse_version, reverse=True))


def misfit_package(around: Around, about: Row) -> Refusal | None:
    """What rules a package out whatever its release."""
    torch = around.torch
    if torch.cuda and (refusal := misfit_gpu(around, about)):
        return refusal
    if about.get("bundled"):
        cpu = torch.cuda is None
        return Refusal("PyTorch's build for the CPU comes without it" if cpu else f"PyTorch {torch.version} has none")
    if not about.get("wheels", True):
        return Refusal(str(about.get("instead") or "it is published as source only"))
    if about.get("least_capability") and torch.cuda is None:
        return Refusal("it needs CUDA, and this environment is for the CPU")
    return None


def misfit_gpu(around: Around, about: Row) -> Refusal | None:
    """A GPU that a package does not run on, whatever its release; also of one that PyTorch brings along."""
    least = about.get("least_capability")
    for gpu in around.case.host.gpus or () if least else ():
        if gpu.capability and parse_version(gpu.capability) < parse_version(str(least)):
            return Refusal(f"it needs compute capability {least}; found {gpu.capability} ({gpu.name})")
    return None


def is_near(release: Release, torch: PyTorch) -> bool:
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
    if python and not fits_python(release.row, python, host.arch):
        return Refusal(f"has no wheel for Python {python}")
    least = release.row.get("glibc_aarch64" if host.arch == "aarch64" else "glibc", release.row.get("glibc"))
    checked = least and host.glibc and around.case.request.overrides.glibc
    if checked and parse_version(str(host.glibc)) < parse_version(least):
        return Refusal(f"needs glibc {least}; found {host.glibc}")
    of_needs = release.about.get("needs_glibc")
    if of_needs and host.glibc and around.case.request.overrides.glibc:
        newer = parse_version(release.version) >= parse_version(of_needs["since"])
        if newer and parse_version(str(host.glibc)) < parse_version(of_needs["glibc"]):
            return Refusal(
                f"needs {of_needs['package']}, whose wheels need glibc {of_needs['glibc']}; found {host.glibc}"
            )
    return _misfit_cuda(around, release) or _unbuilt(around, release)


def fits_python(row: Row, python: str, arch: str) -> bool:
    """Whether a release has a wheel for a Python such as 3.12, and says that it works with it."""
    named = not row.get("python") or satisfies(python, row["python"])
    return named and any(fits_tag(tag, python) for tag in (row.get("tags") or {}).get(arch, ()))


def misfit_metadata(around: Around, release: Release) -> Refusal | None:
    """What rules a release out in its own words."""
    row, python = release.row, around.torch.python.version
    if row.get("yanked"):
        return Refusal("was withdrawn")
    requires = row.get("requires") or {}
    if TORCH not in requires and release.about.get("index") == "pytorch":
        return Refusal("does not say which PyTorch it needs")
    if not satisfies(around.torch.version, requires.get(TORCH, "")):
        return Refusal(f"requires {TORCH} {as_words(requires[TORCH])}")
    for package, spec in requires.items():
        if package in around.pins and not satisfies(around.pins[package], spec):
            return Refusal(f"requires {package} {as_words(spec)}")
    if python and row.get("python") and not satisfies(python, row["python"]):
        return Refusal(f"requires Python {as_words(row['python'])}")
    return None


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
    if release.variant and not release.row.get("cuda"):
        return Refusal(f"is built for the CPU, not for CUDA {torch.cuda}") if torch.cuda else None
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
    return about.get("index") == "pytorch" and torch.provider != "pypi" and torch.channel == STABLE


def describe_extension(around: Around, release: Release) -> Extension:
    """What to ask the installer for, and where it is."""
    torch, host, name, version = around.torch, around.case.host, release.name, release.version
    mib = int((release.row.get("size_mib") or {}).get(host.arch, 0))
    cuda = built_for(release, host.arch)
    if release.variant:
        address = str(release.row["index"])
        indexes = around.case.known["pytorch"]["indexes"]
        index = next((key for key, row in indexes.items() if row["url"] == address), address)
        return Extension(version, f"{name}=={version}+{release.variant}", index, mib, cuda)
    if not _per_cuda(release.about, torch):
        major = str(parse_version(torch.cuda)[0]) if torch.cuda else ""
        extra = (release.about.get("extras") or {}).get(major)
        asked = f"{name}[{extra}]" if extra else name
        return Extension(version, f"{asked}=={version}", "pypi", mib, None if release.about.get("cuda") else cuda)
    for wheel in host.wheels if torch.provider == "host_wheels" else ():
        if wheel.get("name") == name and str(wheel["version"]).partition("+")[0] == version:
            return Extension(version, f"{name}=={wheel['version']}", "host_wheels", mib)
    return Extension(version, f"{name}=={version}+{torch.index or CPU}", torch.index, mib)


def as_words(spec: str) -> str:
    """A specifier as a person says it: ==2.8.0 → 2.8.0."""
    return spec.removeprefix("==") if spec.count(",") == 0 else spec
