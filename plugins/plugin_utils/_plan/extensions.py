# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One coherent set of extensions beside a PyTorch: a version each, or the reason why one is skipped."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue, Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.builds import CPU, fits_tag
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import Host
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.provide import PyTorch
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import unlisted

COMPANIONS = ("torchvision", "torchaudio")  # built together with PyTorch and installed in the same step
_CLAUSE = re.compile(r"(==|!=|~=|>=|<=|>|<)\s*([0-9A-Za-z.+]+?)(\.\*)?")


@dataclass(frozen=True)
class Extension:
    """A version, and what to ask the installer for; ``requirement`` is None where it comes with PyTorch itself."""

    version: str
    requirement: str | None
    index: str
    mib: int = 0


@dataclass(frozen=True)
class Skipped:
    """Why an extension is not in the set."""

    skipped: str


Set = dict[str, "Extension | Skipped"]


def choose_extensions(
    wished: tuple[str, ...],
    torch: PyTorch | None,
    host: Host,
    known: Catalogue,
    built: Mapping[str, Mapping[str, Row] | str] | None = None,
) -> Set:
    """The newest release of each wished extension that fits PyTorch and the others.

    ``built`` are those that are compiled here: package → its releases, or why it cannot be built.

    Raises RequestError for a package that the catalogue does not have.
    """
    packages = known["extensions"]["packages"]
    for name in wished:
        if name not in packages and name not in (built or {}):
            raise unlisted("extensions", name, sorted(packages))
    if torch is None:
        return {name: Skipped("no PyTorch is wished, which it extends") for name in wished}
    if torch.adopt:
        row = next((row for row in host.pytorches if row.get("path") == torch.adopt), {})
        adopted = {str(name): str(version) for name, version in (row.get("packages") or {}).items()}
    chosen: Set = {}
    pins: dict[str, str] = {"torch": torch.version}
    bundled = _bundled(torch, known)
    pins.update(bundled)
    for name in sorted(wished, key=lambda name: (name not in COMPANIONS, wished.index(name))):
        if name in (built or {}):
            chosen[name] = _compiled(name, (built or {})[name], torch, pins)
        elif torch.adopt:
            chosen[name] = Extension(adopted[name], None, "adopt")
        else:
            chosen[name] = _choose(name, torch, host, known, pins, bundled)
        if isinstance(found := chosen[name], Extension):
            pins[name] = found.version
    return {name: chosen[name] for name in wished}


def _compiled(
    name: str, releases: Mapping[str, Row] | str, torch: PyTorch, pins: Mapping[str, str]
) -> Extension | Skipped:
    """The newest release whose metadata fits; what its wheels are for does not count, as there are none."""
    if isinstance(releases, str):
        return Skipped(releases)
    newest = ""
    for version in sorted(releases, key=parse_version, reverse=True):
        row = releases[version]
        because = _misfit_metadata(row, {}, torch, pins)
        if because is None:
            return Extension(version, f"{name}=={version}", "source")
        newest = newest or f"{version} {because}"
    return Skipped(newest or "the catalogue has no release of it")


def split_companions(torch: PyTorch, chosen: Set) -> PyTorch:
    """The PyTorch with its companions, which are installed in the same step as itself."""
    companions = {name: chosen[name] for name in COMPANIONS if isinstance(chosen.get(name), Extension)}
    found = {name: entry for name, entry in companions.items() if isinstance(entry, Extension) and entry.requirement}
    return replace(
        torch,
        companions={name: entry.version for name, entry in found.items()},
        requirements=(*torch.requirements, *(str(entry.requirement) for entry in found.values())),
    )


def _bundled(torch: PyTorch, known: Catalogue) -> dict[str, str]:
    """What PyTorch brings itself: the newest triton that its metadata allows; a build for the CPU brings none."""
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


def _choose(
    name: str, torch: PyTorch, host: Host, known: Catalogue, pins: Mapping[str, str], bundled: Mapping[str, str]
) -> Extension | Skipped:
    about = known["extensions"]["packages"][name]
    if name in bundled:
        return Extension(bundled[name], None, torch.index)
    if because := _hardware(about, torch, host):
        return Skipped(because)
    releases = known["pypi"]["packages"].get(name, {})
    newest = nearest = ""
    for version in sorted(releases, key=parse_version, reverse=True):
        row = releases[version]
        because = _misfit(version, row, about, torch, host, pins) or _unbuilt(version, about, torch, known)
        if because is None:
            return _extension(name, version, row, about, torch, host)
        newest = newest or f"{version} {because}"
        if _is_near(row, about, torch):
            nearest = nearest or f"{version} {because}"
    return Skipped(nearest or newest or "the catalogue has no release of it")


def _hardware(about: Row, torch: PyTorch, host: Host) -> str | None:
    """What speaks against a package whatever its release."""
    if about.get("bundled"):
        return (
            "PyTorch's build for the CPU comes without it"
            if torch.cuda is None
            else f"PyTorch {torch.version} has none"
        )
    if not about.get("wheels", True):
        return "it is published as source only; list it in source.extensions to have it compiled here"
    least = about.get("least_capability")
    if least is None:
        return None
    if torch.cuda is None:
        return "it needs CUDA, and this environment is for the CPU"
    for capability in host.capabilities:
        if parse_version(capability) < parse_version(least):
            return f"it needs compute capability {least}; found {capability}"
    return None


def _is_near(row: Row, about: Row, torch: PyTorch) -> bool:
    """Whether a release is one for this PyTorch, so that what speaks against it tells more than that of a newer one."""
    spec = (row.get("requires") or {}).get("torch")
    fits = about.get("index") != "pytorch" if spec is None else satisfies(torch.version, spec)
    return fits and not row.get("yanked")


def _misfit(version: str, row: Row, about: Row, torch: PyTorch, host: Host, pins: Mapping[str, str]) -> str | None:
    """Why one release does not fit, or None. What its metadata says of PyTorch comes first."""
    if because := _misfit_metadata(row, about, torch, pins):
        return because
    python = torch.python.version
    tags = (row.get("tags") or {}).get(host.arch, [])
    if not tags:
        return f"has no wheel for {host.arch}"
    if python and not any(fits_tag(tag, python) for tag in tags):
        return f"has no wheel for Python {python}"
    return _misfit_cuda(version, row, about, torch, host)


def _misfit_metadata(row: Row, about: Row, torch: PyTorch, pins: Mapping[str, str]) -> str | None:
    """What speaks against a release in its own words."""
    if row.get("yanked"):
        return "was withdrawn"
    requires = row.get("requires") or {}
    if "torch" not in requires and about.get("index") == "pytorch":
        return "does not say which PyTorch it needs"
    for package, spec in requires.items():
        if package in pins and not satisfies(pins[package], spec):
            return f"requires {package} {_words(spec)}"
    python = torch.python.version
    if python and row.get("python") and not satisfies(python, row["python"]):
        return f"requires Python {_words(row['python'])}"
    return None


def _unbuilt(version: str, about: Row, torch: PyTorch, known: Catalogue) -> str | None:
    """A package that is numbered as PyTorch (torchaudio) was built for the CUDAs of the PyTorch of its own number."""
    release = known["pytorch"]["releases"].get(torch.version if torch.provider == "source" else version)
    if release is None or not _per_cuda(about, torch) or (torch.index or CPU) in release["indexes"]:
        return None
    return f"has no build for CUDA {torch.cuda}"


def _misfit_cuda(version: str, row: Row, about: Row, torch: PyTorch, host: Host) -> str | None:
    """CUDA 12 and CUDA 13 libraries never mix in one process."""
    if torch.cuda is None or _per_cuda(about, torch):
        return None
    listed = about.get("cuda")
    if listed:
        keys = [key for key in listed if version == key or version.startswith(f"{key}.")]
        built = [str(cuda) for cuda in listed[max(keys, key=len)]] if keys else []
        return None if torch.cuda in built else f"has no build for CUDA {torch.cuda}"
    cuda = row.get("cuda" if host.arch == "x86_64" else "cuda_aarch64")
    if cuda and parse_version(cuda)[0] != parse_version(torch.cuda)[0]:
        return f"is built for CUDA {cuda}, not for CUDA {torch.cuda}"
    return None


def _per_cuda(about: Row, torch: PyTorch) -> bool:
    """Whether PyTorch's index has a build of it per CUDA, and this PyTorch is from there."""
    return about.get("index") == "pytorch" and torch.provider != "pypi"


def _extension(name: str, version: str, row: Row, about: Row, torch: PyTorch, host: Host) -> Extension:
    mib = int((row.get("size_mib") or {}).get(host.arch, 0))
    if not _per_cuda(about, torch):
        return Extension(version, f"{name}=={version}", "pypi", mib)
    for wheel in host.wheels if torch.provider == "host_wheels" else ():
        if wheel.get("name") == name and str(wheel["version"]).partition("+")[0] == version:
            return Extension(version, f"{name}=={wheel['version']}", "host_wheels", mib)
    return Extension(version, f"{name}=={version}+{torch.index or CPU}", torch.index, mib)


def satisfies(version: str, spec: str) -> bool:
    """Whether a version satisfies a specifier such as ``>=2.10,<3`` or ``==2.9.*`` (PEP 440, no local versions)."""
    return all(_clause(version.partition("+")[0], clause.strip()) for clause in spec.split(",") if clause.strip())


def _clause(version: str, clause: str) -> bool:
    match = _CLAUSE.fullmatch(clause)
    if match is None:
        return False
    operator, wanted, star = match[1], match[2], match[3]
    left, right = parse_version(version), parse_version(wanted.partition("+")[0])
    parts = wanted.count(".") + 1
    if operator == "~=":
        return left >= right and left[: parts - 1] == right[: parts - 1]
    equal = left[:parts] == right[:parts] if star else left == right
    return {
        "==": equal,
        "!=": not equal,
        ">=": left >= right,
        "<=": left <= right,
        ">": left > right,
        "<": left < right,
    }[operator]


def _words(spec: str) -> str:
    """A specifier as a person says it: ==2.8.0 → 2.8.0."""
    return spec.removeprefix("==") if spec.count(",") == 0 else spec
