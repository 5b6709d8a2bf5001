# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the CUDA toolkit of a release comes from: the host's own, NVIDIA's packages, or PyPI."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue, Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.builds import Build, index_cuda, torch_indexes
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.layout import (
    find_repository,
    is_ours,
    no_apt,
    system_name,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal, WayOut
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import Request
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import unlisted

NO_TOOLKIT = WayOut("Set toolkit.provider: none.", {"toolkit": {"provider": "none"}})
COMPILER_PACKAGES = ("g++",)  # of apt, where the host has no C++ compiler


@dataclass(frozen=True)
class Toolkit:
    """A CUDA toolkit of the decision."""

    version: str
    exact: str | None
    provider: str  # adopt, apt, pypi
    path: str
    components: tuple[str, ...]
    packages: tuple[str, ...]
    system_packages: tuple[str, ...]
    repository: str | None


def check_components(request: Request, known: Catalogue) -> None:
    """Raise RequestError for a component that the catalogue does not have."""
    components = known["cuda"]["components"]
    for name in request.toolkit.components:
        if name not in components:
            raise unlisted("toolkit.components", name, components)


def provide_toolkit(case: Case, release: str) -> Toolkit | Refusal:
    """Where the toolkit of a release comes from, or why it cannot be had."""
    request = case.request
    because = []
    for name, provider in _PROVIDERS.items():
        if request.toolkit.provider in ("auto", name):
            found = provider(case, release)
            if isinstance(found, Toolkit):
                return found
            because.append(found.because)
    return Refusal("; ".join(because))


def _adopt_toolkit(case: Case, release: str) -> Toolkit | Refusal:
    """A toolkit that is there, is whole and is not ours."""
    request = case.request
    for row in case.host.toolkits:
        if str(row.get("release")) != release or is_ours(row, case.layout):
            continue
        if row.get("broken"):
            return Refusal(f"the one at {row['path']} lacks {', '.join(row['broken'])}")
        if not row.get("nvcc") or row.get("cudart") is False:
            return Refusal(f"the one at {row['path']} has no compiler")
        if refusal := _lacks_components(row, request):
            return refusal
        exact = str(row["version"]) if row.get("version") else None
        return Toolkit(
            release,
            exact,
            "adopt",
            str(row["path"]),
            request.toolkit.components,
            (),
            _missing_compiler(case),
            None,
        )
    return Refusal(f"the host has no CUDA toolkit {release}")


def _lacks_components(row: Row, request: Request) -> Refusal | None:
    """What a toolkit lacks of the wished components; ``adopt`` takes it as it is where they are unknown."""
    wished = request.toolkit.components
    if wished == ("compiler",):
        return None
    seen = row.get("components")
    if seen is None:
        unknown = Refusal(f"of the one at {row['path']} only the compiler is known")
        return None if request.toolkit.provider == "adopt" else unknown
    lacking = [name for name in wished if name not in seen]
    return Refusal(f"the one at {row['path']} lacks the headers of {', '.join(lacking)}") if lacking else None


def _apt_toolkit(case: Case, release: str) -> Toolkit | Refusal:
    """NVIDIA's packages."""
    request = case.request
    if refusal := no_apt(case):
        return refusal
    repository = find_repository(case, release)
    if repository is None:
        return Refusal(f"NVIDIA's repository has no CUDA {release} for {system_name(case.host)}")
    rows, dashed = case.known["cuda"]["components"], release.replace(".", "-")
    names = (name for part in request.toolkit.components for name in rows[part]["apt"])
    packages = tuple(dict.fromkeys(name.replace("{release}", dashed) for name in names))
    path = f"/usr/local/cuda-{release}"
    return Toolkit(
        release, None, "apt", path, request.toolkit.components, packages, _missing_compiler(case), repository
    )


def _pypi_toolkit(case: Case, release: str) -> Toolkit | Refusal:
    """The components on PyPI, inside the prefix."""
    request, known = case.request, case.known
    versions = [
        version for version in known["pypi"]["packages"].get("cuda-toolkit", {}) if version.startswith(f"{release}.")
    ]
    if not known["cuda"]["releases"][release]["pypi"] or not versions:
        return Refusal(f"PyPI has no compiler of CUDA {release}")
    extras = known["pypi"]["packages"]["cuda-toolkit"][max(versions, key=parse_version)]["extras"]
    wanted = {}
    for part in request.toolkit.components:
        for extra in known["cuda"]["components"][part]["pypi"]:
            wanted.update(extras.get(extra, {}))
    exact = wanted.get("nvidia-cuda-nvcc")
    return Toolkit(
        version=release,
        exact=str(exact) if exact else None,
        provider="pypi",
        path=f"{case.layout.prefix}/toolkits/{release}/nvidia/cu{parse_version(release)[0]}",
        components=request.toolkit.components,
        packages=tuple(f"{name}=={version}" for name, version in sorted(wanted.items())),
        system_packages=_missing_compiler(case),
        repository=None,
    )


_PROVIDERS: dict[str, Callable[[Case, str], Toolkit | Refusal]] = {
    "adopt": _adopt_toolkit,
    "apt": _apt_toolkit,
    "pypi": _pypi_toolkit,
}


def _missing_compiler(case: Case) -> tuple[str, ...]:
    """The system package of a C++ compiler where there is none and it can be installed."""
    return COMPILER_PACKAGES if case.host.compiler_missing and not no_apt(case) else ()


def unfit_compiler(case: Case, toolkit: Toolkit) -> Refusal | None:
    """A C++ compiler that the toolkit, or PyTorch's extension builder, does not support."""
    host = case.host
    bounds = case.known["cuda"]["releases"][toolkit.version].get("gcc")
    if not bounds or not host.compiler:
        return None
    major = parse_version(host.compiler)[0]
    if bounds["least"] <= major < bounds["below"]:
        return None
    expected = f"{bounds['least']} to {bounds['below'] - 1}"
    because = f"CUDA {toolkit.version} supports g++ {expected}; found {host.compiler}"
    return Refusal(because, "Install one of these beside it.")


# --- which of them ---


@dataclass(frozen=True)
class Toolkits:
    """The active toolkit and those beside it; what could not be had, and why.

    ``refused``: option → refusal, each of which leaves a part of the request unmet. ``missing``: there is no active
    toolkit. ``unusable``: there is one, and nvcc cannot compile with what the host has.
    """

    toolkit: Toolkit | None = None
    beside: tuple[Toolkit, ...] = ()
    refused: dict[str, Refusal] = field(default_factory=dict)
    missing: Refusal | None = None
    unusable: Refusal | None = None
    warnings: tuple[str, ...] = ()


def choose_toolkits(case: Case, build: Build | None, *, fallback: bool) -> Toolkits:
    """The toolkits for a build; ``fallback``: it is not of the CUDA that was requested."""
    request = case.request
    if request.toolkit.provider == "none" or request.cuda == "none":
        return Toolkits()
    refused: dict[str, Refusal] = {}
    releases = wanted_releases(case, build, fallback=fallback)
    found = Refusal("no CUDA release is known to compile with")
    toolkit, missing = None, None
    for release in releases:
        provided = provide_toolkit(case, release)
        if isinstance(provided, Toolkit):
            toolkit = provided
            break
        found = provided
    if toolkit is None:
        name = f"CUDA toolkit {next(iter(releases), '')}".strip()
        ways = _without_toolkit(case, next(iter(releases), None))
        refused[name] = replace(found, ways=ways)
        missing = Refusal(f"{name} is not available: {found.because}", ways=ways)
    beside = []
    for release in request.toolkit.also:
        provided = provide_toolkit(case, release)
        if isinstance(provided, Toolkit):
            beside.append(provided)
        else:
            kept = {"toolkit": {"also": [entry for entry in request.toolkit.also if entry != release]}}
            ways = (
                WayOut(f"Remove {release} from toolkit.also.", kept),
                WayOut(f"Use an image that has CUDA toolkit {release}.", host={"toolkit": release}),
            )
            refused[f"CUDA toolkit {release}"] = replace(provided, ways=ways)
    unfit = unfit_compiler(case, toolkit) if toolkit else None
    return Toolkits(
        toolkit=toolkit,
        beside=tuple(entry for entry in beside if toolkit is None or entry.version != toolkit.version),
        refused=refused,
        missing=missing,
        unusable=no_compiler_at_all(case, toolkit) if toolkit else None,
        warnings=(f"{unfit.because}. {unfit.remedy}",) if unfit else (),
    )


def wanted_releases(case: Case, build: Build | None, *, fallback: bool) -> list[str]:
    """The releases that may be the active toolkit, best first: always of PyTorch's CUDA major."""
    host, request, known = case.host, case.request, case.known
    every = sorted(known["cuda"]["releases"], key=parse_version, reverse=True)
    if request.cuda != "newest" and not fallback:
        return [request.cuda]
    if build is None or build.cuda is None:
        torch = build.torch if build and build.torch in known["pytorch"]["releases"] else None
        indexes = torch_indexes(torch, known) if torch else []
        return [str(index_cuda(index, known)) for index in indexes] or every
    if request.wheels.provider == "source" and build.torch:
        return [build.cuda]  # what it is compiled with is what it is named after
    major = parse_version(build.cuda)[0]
    seen = {str(row.get("release")) for row in host.toolkits}
    nearby = [release for release in every if release in seen and parse_version(release)[0] == major]
    return [build.cuda, *(release for release in nearby if release != build.cuda)]


def no_compiler_at_all(case: Case, toolkit: Toolkit) -> Refusal | None:
    """nvcc needs a C++ compiler on the host."""
    if not case.host.compiler_missing or toolkit.system_packages:
        return None
    ways = (WayOut("Install g++ on the host.", host={"compiler": True}), NO_TOOLKIT)
    return Refusal("the host has no C++ compiler, which nvcc needs", ways=ways)


def _without_toolkit(case: Case, release: str | None) -> tuple[WayOut, ...]:
    """What may help where the toolkit of a release cannot be had."""
    ways = []
    if case.request.toolkit.provider != "auto":
        ways.append(WayOut("Set toolkit.provider: auto.", {"toolkit": {"provider": "auto"}}))
    if case.host.root is False:
        system = {"scope": "system"}
        ways.append(WayOut("Set scope: system and run with become: true.", system, {"root": True}))
    elif case.layout.scope != "system":
        ways.append(WayOut("Set scope: system.", {"scope": "system"}))
    if release:
        ways.append(WayOut(f"Use an image that has CUDA toolkit {release}.", host={"toolkit": release}))
    return (*ways, *([NO_TOOLKIT] if case.request.pytorch != "none" else []))
