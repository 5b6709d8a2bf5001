# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the CUDA toolkit of a release comes from: the host's own, NVIDIA's packages, or PyPI."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue, Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.builds import (
    Build,
    index_cuda,
    published_cudas,
    torch_indexes,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host_compiler import (
    HostCompiler,
    cannot_compile,
    choose_compiler,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.layout import (
    APT,
    RPM,
    find_manager,
    find_repository,
    is_ours,
    no_apt,
    no_packages,
    system_name,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.patches import (
    NVCC,
    is_whole,
    other_patch,
    pin_packages,
    split_patch,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.platforms import no_sbsa_toolkit
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal, WayOut
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.rules import driver_floor
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import Request
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import unlisted

NO_TOOLKIT = WayOut("Set toolkit.provider: none.", {"toolkit": {"provider": "none"}})


@dataclass(frozen=True)
class Toolkit:
    """A CUDA toolkit of the decision."""

    version: str
    exact: str | None
    provider: str  # adopt, apt, rpm, pypi
    path: str
    components: tuple[str, ...]
    packages: tuple[str, ...]
    system_packages: tuple[str, ...]
    repository: str | None
    patch: str | None = None  # the patch release that was asked for
    compiler: HostCompiler | None = None  # that nvcc is to call; None: the one of the path
    system_provider: str | None = None  # apt, rpm: of the system's own packages, where there are any


def check_components(request: Request, known: Catalogue) -> None:
    """Raise RequestError for a component that the catalogue does not have."""
    components = known["cuda"]["components"]
    for name in request.toolkit.components:
        if name not in components:
            raise unlisted("toolkit.components", name, components)


def provide_toolkit(case: Case, wanted: str) -> Toolkit | Refusal:
    """Where the toolkit of a release, or of a patch release such as 13.0.2, comes from, or why it cannot be had."""
    request = case.request
    release, patch = split_patch(wanted)
    refused, own = [], find_manager(case)["provider"]
    for name, provider in _PROVIDERS.items():
        if request.toolkit.provider == name or (request.toolkit.provider == "auto" and name in ("adopt", "pypi", own)):
            found = provider(case, release, patch)
            if isinstance(found, Toolkit):
                return replace(found, system_provider=own if found.system_packages else None)
            refused.append(found)
    because = dict.fromkeys(refusal.because for refusal in refused)
    return Refusal("; ".join(because), next((refusal.remedy for refusal in refused if refusal.remedy), ""))


def _adopt_toolkit(case: Case, release: str, patch: str | None) -> Toolkit | Refusal:
    """A toolkit that is there, is whole and is not ours."""
    request = case.request
    strict = request.toolkit.provider != "adopt"
    for row in case.host.toolkits:
        if str(row.get("release")) != release or is_ours(row, case.layout):
            continue
        if row.get("broken"):
            return Refusal(f"the one at {row['path']} lacks {', '.join(row['broken'])}")
        if not row.get("nvcc") or row.get("cudart") is False:
            return Refusal(f"the one at {row['path']} has no compiler")
        if refusal := _lacks_components(row, request):
            return refusal
        if patch and (refusal := other_patch(row, patch, case.known, strict=strict)):
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
            patch,
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


def _apt_toolkit(case: Case, release: str, patch: str | None) -> Toolkit | Refusal:
    """NVIDIA's packages for apt."""
    if refusal := no_sbsa_toolkit(case, release) or no_apt(case):
        return refusal
    return _packaged_toolkit(case, release, patch, APT)


def _rpm_toolkit(case: Case, release: str, patch: str | None) -> Toolkit | Refusal:
    """NVIDIA's packages for dnf and zypper; the release's folder is the same as apt's."""
    if find_manager(case)["provider"] != RPM:
        return Refusal(f"{case.host.os_id or 'this system'} has no rpm packages")
    if patch:
        return Refusal(f"which versions NVIDIA's rpm packages have in CUDA {patch} is not known here")
    return no_sbsa_toolkit(case, release) or no_packages(case) or _packaged_toolkit(case, release, None, RPM)


def _packaged_toolkit(case: Case, release: str, patch: str | None, provider: str) -> Toolkit | Refusal:
    request = case.request
    repository = find_repository(case, release)
    if repository is None and not case.host.os_version:
        return Refusal(f"the version of {case.host.os_id or 'this system'} is unknown, and with it NVIDIA's repository")
    if repository is None:
        return Refusal(f"NVIDIA's repository has no CUDA {release} for {system_name(case.host)}")
    rows, dashed = case.known["cuda"]["components"], release.replace(".", "-")
    names = (name for part in request.toolkit.components for name in rows[part][provider])
    packages = tuple(dict.fromkeys(name.replace("{release}", dashed) for name in names))
    exact = None
    if patch:
        pinned = pin_packages(packages, release, patch, case.known)
        if isinstance(pinned, Refusal):
            return pinned
        packages, exact = pinned, str(case.known["toolkits"]["patches"][patch]["nvcc"])
    path = f"/usr/local/cuda-{release}"
    parts = request.toolkit.components
    return Toolkit(release, exact, provider, path, parts, packages, _missing_compiler(case), repository, patch)


def _pypi_toolkit(case: Case, release: str, patch: str | None) -> Toolkit | Refusal:
    """The components on PyPI, inside the prefix: of the newest patch release whose compiler is of one piece."""
    request, known = case.request, case.known
    if refusal := no_sbsa_toolkit(case, release):
        return refusal
    rows = known["pypi"]["packages"].get("cuda-toolkit", {})
    versions = [version for version in rows if version == patch or (not patch and version.startswith(f"{release}."))]
    if not known["cuda"]["releases"][release]["pypi"] or not (versions or patch):
        return Refusal(f"PyPI has no compiler of CUDA {release}")
    if not versions:
        return Refusal(f"PyPI has no cuda-toolkit {patch}")
    whole = [version for version in versions if is_whole(rows[version]["extras"])]
    if not whole:
        because = "leaves the parts of its compiler to the installer, which takes those of other releases"
        return Refusal(f"cuda-toolkit {max(versions, key=parse_version)} on PyPI {because}")
    extras = rows[max(whole, key=parse_version)]["extras"]
    wanted = {}
    for part in request.toolkit.components:
        for extra in known["cuda"]["components"][part]["pypi"]:
            wanted.update(extras.get(extra, {}))
    exact = wanted.get(NVCC)
    return Toolkit(
        version=release,
        exact=str(exact) if exact else None,
        provider="pypi",
        path=f"{case.layout.prefix}/toolkits/{release}/nvidia/cu{parse_version(release)[0]}",
        components=request.toolkit.components,
        packages=tuple(f"{name}=={version}" for name, version in sorted(wanted.items())),
        system_packages=_missing_compiler(case),
        repository=None,
        patch=patch,
    )


_PROVIDERS: dict[str, Callable[[Case, str, str | None], Toolkit | Refusal]] = {
    "adopt": _adopt_toolkit,
    "apt": _apt_toolkit,
    "pypi": _pypi_toolkit,
    "rpm": _rpm_toolkit,  # after PyPI, which is proved on such systems
}


def _missing_compiler(case: Case) -> tuple[str, ...]:
    """The system package of a C++ compiler where there is none and it can be installed."""
    return tuple(find_manager(case)["compiler"]) if case.host.compiler_missing and not no_packages(case) else ()


def suit_toolkit(case: Case, toolkit: Toolkit, torch: str | None = None) -> Toolkit | Refusal:
    """The toolkit with the host's compiler that its nvcc supports, or why nothing compiles with it here.

    :param torch: the release of PyTorch that is compiled against: of several compilers one that its headers know.
    """
    if refusal := cannot_compile(case, toolkit.version, toolkit.exact, toolkit.path):
        return refusal
    chosen = choose_compiler(case, toolkit.version, toolkit.exact, torch)
    if not isinstance(chosen, HostCompiler):
        return toolkit
    return replace(toolkit, compiler=chosen, system_packages=())


def obtain_toolkit(case: Case, wanted: str) -> Toolkit | Refusal:
    """The toolkit of a release, or of a patch release, that can be had and compiles here, or why there is none."""
    provided = provide_toolkit(case, wanted)
    return suit_toolkit(case, provided) if isinstance(provided, Toolkit) else provided


# --- which of them ---


@dataclass(frozen=True)
class Toolkits:
    """The active toolkit and those beside it; what could not be had, and why.

    ``refused``: option → refusal, each of which leaves a part of the request unmet. ``missing``: there is no active
    toolkit. ``unusable``: there is one, and nvcc cannot compile with what the host has. ``unfit``: release → why it
    compiles nothing here, where another one of its major release is taken.
    """

    toolkit: Toolkit | None = None
    beside: tuple[Toolkit, ...] = ()
    refused: dict[str, Refusal] = field(default_factory=dict)
    missing: Refusal | None = None
    unusable: Refusal | None = None
    unfit: dict[str, Refusal] = field(default_factory=dict)


def choose_toolkits(case: Case, build: Build | None, *, fallback: bool) -> Toolkits:
    """The toolkits for a build; ``fallback``: it is not of the CUDA that was requested."""
    request = case.request
    if request.toolkit.provider == "none" or request.cuda == "none":
        return Toolkits()
    refused: dict[str, Refusal] = {}
    releases = wanted_releases(case, build, fallback=fallback)
    extends = build is not None and build.torch is not None and request.wheels.provider != "source"
    toolkit, found, unfit = _first_toolkit(case, releases, may_differ=extends)
    if toolkit and build and build.torch and isinstance(suited := suit_toolkit(case, toolkit, build.torch), Toolkit):
        toolkit = suited
    name = f"CUDA toolkit {next(iter(releases), '')}".strip()
    missing = None
    if toolkit is None:
        ways = () if found.remedy else _without_toolkit(case, next(iter(releases), None))
        found = _with_way_out(case, releases[0], found) if unfit else replace(found, ways=ways)
        refused[name] = found
        missing = replace(found, because=f"{name} is not available: {found.because}")
    elif unfit and request.cuda != "newest" and not fallback:
        refused[name] = next(iter(unfit.values()))
    beside = []
    for release in request.toolkit.also:
        provided = obtain_toolkit(case, release)
        if isinstance(provided, Toolkit):
            beside.append(provided)
        else:
            kept = {"toolkit": {"also": [entry for entry in request.toolkit.also if entry != release]}}
            ways = (
                WayOut(f"Remove {release} from toolkit.also.", kept),
                WayOut(f"Use an image that has CUDA toolkit {release}.", host={"toolkit": release}),
            )
            refused[f"CUDA toolkit {release}"] = replace(provided, ways=() if provided.remedy else ways)
    return Toolkits(
        toolkit=toolkit,
        beside=tuple(entry for entry in beside if toolkit is None or entry.path != toolkit.path),
        refused=refused,
        missing=missing,
        unusable=no_compiler_at_all(case, toolkit) if toolkit else None,
        unfit={f"CUDA toolkit {release}": refusal for release, refusal in unfit.items() if toolkit},
    )


def _first_toolkit(
    case: Case, releases: list[str], *, may_differ: bool
) -> tuple[Toolkit | None, Refusal, dict[str, Refusal]]:
    """The first toolkit that can be had and compiles here; the last refusal; release → why it compiles nothing here.

    :param may_differ: whether a newer release of the same major serves as well, as for extensions of PyTorch.
    """
    refusal, unfit = Refusal("no CUDA release is known to compile with"), dict[str, Refusal]()
    for release in releases:
        provided = provide_toolkit(case, release)
        suited = suit_toolkit(case, provided) if isinstance(provided, Toolkit) else None
        if isinstance(suited, Toolkit):
            return suited, refusal, unfit
        refusal = provided if isinstance(provided, Refusal) else refusal
        if why := suited or cannot_compile(case, *_exact(case, release)):
            unfit[release] = why
    for release in _newer(case, next(iter(unfit))) if unfit and may_differ else ():
        other = obtain_toolkit(case, release)
        if isinstance(other, Toolkit):
            return other, refusal, unfit
    return None, next(iter(unfit.values()), refusal), unfit


def _exact(case: Case, wanted: str) -> tuple[str, str | None]:
    """The release and the version of nvcc that a patch release has, as far as it is known."""
    release, patch = split_patch(wanted)
    return release, case.known["toolkits"]["patches"].get(patch, {}).get("nvcc") if patch else None


def _newer(case: Case, wanted: str) -> Iterator[str]:
    """The newer releases of the same major, the next one first."""
    release = parse_version(split_patch(wanted)[0])
    for other in sorted(case.known["cuda"]["releases"], key=parse_version):
        if parse_version(other) > release and parse_version(other)[0] == release[0]:
            yield other


def _with_way_out(case: Case, wanted: str, refusal: Refusal) -> Refusal:
    """With the next newer release that compiles here, that this driver runs, and that can be had; else as it is."""
    release, every = split_patch(wanted)[0], sorted(case.known["cuda"]["releases"], key=parse_version)
    for other in every if case.request.pytorch == "none" else published_cudas(case):
        codes = case.known["cuda"]["releases"][other]["gpu_code"]
        lacks = any(int(capability.replace(".", "")) not in codes for capability in case.host.capabilities)
        if parse_version(other) <= parse_version(release) or lacks or driver_floor(case, other):
            continue
        if isinstance(obtain_toolkit(case, other), Toolkit):
            return replace(refusal, remedy=f'Ask for cuda: "{other}", which compiles here.', wish={"cuda": other})
    return refusal


def wanted_releases(case: Case, build: Build | None, *, fallback: bool) -> list[str]:
    """The releases that may be the active toolkit, best first: always of PyTorch's CUDA major."""
    host, request, known = case.host, case.request, case.known
    every = sorted(known["cuda"]["releases"], key=parse_version, reverse=True)
    if request.cuda != "newest" and not fallback:
        return [request.toolkit.patch or request.cuda]
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
    if not case.host.compiler_missing or toolkit.system_packages or toolkit.compiler:
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
