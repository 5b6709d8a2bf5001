# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is compiled on a host, PyTorch itself or extensions: from which source, for which GPUs, how long, or why not."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.podsmith.gpu.plugins.module_utils._build.plan import wheel_key
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue, Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import rules
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import Host
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.provide import (
    Layout,
    PythonChoice,
    PyTorch,
    Toolkit,
    choose_layout,
    compiler_note,
    no_apt,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import (
    NAME,
    Request,
    RequestError,
    nearest,
    unlisted,
)

TORCH = "torch"
PROVIDER = "source"
RESERVE_MIB = 1024  # memory that is left to the rest of the host
NEAR = 0.1  # a timed build on as many cores, but for this share, is as good as the build itself


@dataclass(frozen=True)
class Origin:
    """Where a source comes from; ``url`` is None for a sdist on the host's index."""

    kind: str  # pypi, archive, git
    url: str | None
    ref: str | None
    sha256: str | None
    submodules: bool


@dataclass(frozen=True)
class Build:
    """One wheel that is built, or was. ``wheel`` is its path where it is in the store."""

    name: str
    version: str
    origin: Origin
    requirement: str
    environment: dict[str, str]
    build_requires: tuple[str, ...]
    links: dict[str, str]
    torch: str | None
    python: PythonChoice
    cuda_home: str | None
    system_packages: tuple[str, ...]
    architectures: tuple[str, ...]
    jobs: int
    steps: int | None
    minutes: int | None
    key: str
    wheel: str | None
    pending: bool
    fetch_mib: int
    disk_mib: int


@dataclass(frozen=True)
class Source:
    """All that is built from source, PyTorch first, and the folders in which an installer finds it."""

    store: str
    links: tuple[str, ...]
    builds: tuple[Build, ...]
    features: dict[str, bool]

    @property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """Package and key of each build: another key is another wheel."""
        return tuple((build.name, build.key) for build in self.builds)


@dataclass(frozen=True)
class Refusal:
    """Why something cannot be built here, and what would help."""

    because: str
    remedy: str


# --- the wish ---


def check_source(request: Request, known: Catalogue) -> None:
    """Raise RequestError for a package that cannot be built, a switch that is none, and a wish without PyTorch."""
    packages, features = known["source"]["packages"], known["source"]["features"]
    extensions = [name for name in packages if name != TORCH]
    for name, version in wished_extensions(request).items():
        if name == TORCH:
            raise RequestError(
                f"{NAME}.source.extensions lists torch, extensions of it are wanted; "
                "set wheels.provider: source to build PyTorch itself."
            )
        if name not in packages:
            raise RequestError(
                f'{NAME}.source.extensions names "{name}", which the catalogue cannot build; '
                f"{nearest(name, sorted(extensions))}"
            )
        if version is not None and version not in releases(name, known):
            raise unlisted(f"source.extensions: {name}", version, releases(name, known))
    for name in request.source.urls:
        if name not in packages:
            told = f'{NAME}.source.urls names "{name}", which the catalogue cannot build'
            raise RequestError(f"{told}; {nearest(name, sorted(packages))}")
    for name in request.source.features:
        if name in known["source"]["unreal"]:
            because = known["source"]["unreal"][name]["because"]
            raise RequestError(f"{NAME}.source.features.{name} is no switch of PyTorch's build: {because}; remove it.")
        if name not in features:
            raise RequestError(
                f"{NAME}.source.features.{name} is no switch of PyTorch's build that the catalogue has; "
                f"{nearest(name, sorted(features))}"
            )
    if request.wheels.provider == PROVIDER and request.pytorch == "none":
        raise RequestError(
            f"{NAME}.wheels.provider is source and pytorch is none; wish a PyTorch, or drop the provider."
        )


def wished_extensions(request: Request) -> dict[str, str | None]:
    """Package → version, or None where the newest that fits is wished."""
    pairs = (name.partition("==") for name in request.source.extensions)
    return {name: version or None for name, _sign, version in pairs}


def for_other_gpus(request: Request, known: Catalogue) -> bool:
    """Whether a host without a GPU is to compile for those of others: PyTorch itself, or what needs one for CUDA."""
    packages = known["source"]["packages"]
    needed = [name for name in wished_extensions(request) if packages[name]["cuda"] == "required"]
    return request.wheels.provider == PROVIDER or bool(needed and request.architectures)


def releases(name: str, known: Catalogue) -> Mapping[str, Row]:
    """Version → what it requires, as in pypi.yml."""
    own = known["source"]["packages"][name]["releases"]
    if not own:
        return known["pypi"]["packages"].get(name, {})
    return {
        version: {"python": row["python"], "requires": {TORCH: row["torch"]}, "yanked": False, **row}
        for version, row in own.items()
    }


def components(names: Iterable[str], wished: tuple[str, ...], known: Catalogue) -> tuple[str, ...]:
    """The toolkit's components: as wished, and all that the builds of these packages need."""
    needed = [part for name in names for part in known["source"]["packages"][name]["components"]]
    every = tuple(dict.fromkeys((*wished, *needed)))
    return ("full",) if "full" in every else every


# --- the rules ---


def targets(host: Host, request: Request) -> tuple[str, ...]:
    """The capabilities to compile for: as wished, or those of the GPUs."""
    return request.architectures or host.capabilities


def choose_architectures(
    wished: tuple[str, ...], cuda: str, offers: Iterable[str] | None, known: Catalogue
) -> tuple[str, ...] | Refusal:
    """What is compiled, so that each wished capability has machine code: never more than nvcc of the release has.

    A capability that nvcc, or the package, does not know by itself runs the code of the nearest one below in its major.
    """
    rows = known["gpus"]["capabilities"]
    code = set(known["cuda"]["releases"][cuda]["gpu_code"])
    possible = [name for name in rows if _code(name) in code and (offers is None or name in offers)]
    found = []
    for target in wished:
        base = target.rstrip("af")
        if base in possible:
            found.append(target if offers is None else base)
            continue
        same_kind = [name for name in possible if rows[name]["tegra"] == rows.get(base, {}).get("tegra", False)]
        below = [
            name
            for name in same_kind
            if parse_version(name)[0] == parse_version(base)[0] and parse_version(name) <= parse_version(base)
        ]
        if target != base or not below:
            compiled = ", ".join(sorted(possible, key=parse_version)) or "none"
            other = None if _code(base) in code else _nearest_release(base, cuda, known)
            remedy = f"Ask for cuda: {other}, which compiles for it." if other else ""
            return Refusal(
                f"it is to be compiled for {target}; with CUDA {cuda} it compiles for {compiled}",
                remedy or "Take the architecture out, or install it as a wheel.",
            )
        found.append(max(below, key=parse_version))
    return tuple(sorted(dict.fromkeys(found), key=lambda name: parse_version(name.rstrip("af"))))


def choose_jobs(cpus: int | None, free_gib: float | None, job_mib: int, wished: int | None = None) -> int:
    """How many compilers may run at once; 0 where there is not memory for one."""
    if wished:
        return wished
    fits = cpus or 1
    if free_gib is not None:
        free = free_gib * 1024
        fits = min(fits, int((free - RESERVE_MIB) // job_mib) or int(free >= job_mib))
    return max(fits, 0)


def estimate_minutes(package: str, jobs: int, architectures: int, known: Catalogue) -> tuple[int, str] | None:
    """Minutes and the confidence in them, from builds that were timed; None where none was.

    Between two timed builds the line through their logarithms, below the smallest in proportion to the jobs, above the
    largest no faster than it. Each further architecture costs what it cost where that was timed.
    """
    rows = [row for row in known["source"]["times"].values() if row["package"] == package]
    one = {int(row["cores"]): float(row["minutes"]) for row in rows if row["architectures"] <= 1}
    if not one:
        return None
    count, cores = max(architectures, 1), max(jobs, 1)
    for row in rows:
        if row["architectures"] == count and abs(row["cores"] - cores) <= NEAR * row["cores"]:
            return round(row["minutes"]), str(row["confidence"])
    return max(1, round(_interpolate(one, cores) * (1 + _slope(rows, one) * (count - 1)))), "C"


def _slope(rows: Iterable[Row], one: Mapping[int, float]) -> float:
    """What each further architecture adds, as a share of the first."""
    several = [row for row in rows if row["architectures"] > 1 and row["cores"] in one]
    shares = [(row["minutes"] / one[row["cores"]] - 1) / (row["architectures"] - 1) for row in several]
    return sum(shares) / len(shares) if shares else 1.0


def _interpolate(points: Mapping[int, float], cores: int) -> float:
    known = sorted(points)
    if cores <= known[0]:
        return points[known[0]] * known[0] / cores
    for low, high in itertools.pairwise(known):
        if cores <= high:
            share = math.log(cores / low) / math.log(high / low)
            return float(points[low] * (points[high] / points[low]) ** share)
    return points[known[-1]]


def choose_features(
    torch: str, cuda: str | None, arch: str, wished: Mapping[str, bool], known: Catalogue
) -> tuple[dict[str, bool], list[Refusal]]:
    """The switches that are set, and those that were wished and that this build cannot have."""
    chosen, refused = {}, []
    for name, row in known["source"]["features"].items():
        value = wished.get(name, row["default"])
        because = _featureless(row, torch, cuda, arch)
        if because is None and value is not None:
            chosen[name] = value
        elif because and wished.get(name):
            refused.append(Refusal(f"{name}: {because}", f"Take {name} out of source.features."))
    chosen["USE_CUDA"] = cuda is not None
    return dict(sorted(chosen.items())), refused


def _featureless(row: Row, torch: str, cuda: str | None, arch: str) -> str | None:
    if row["needs"] == "cuda" and cuda is None:
        return "needs CUDA, and this build is for the CPU"
    if row["needs"] not in (None, "cuda", arch):
        return f"is for {row['needs']}; found {arch}"
    if row["first"] and parse_version(torch) < parse_version(row["first"]):
        return f"came with PyTorch {row['first']}; {torch} is to be built"
    if row["last"] and parse_version(torch) > parse_version(row["last"]):
        return f"went after PyTorch {row['last']}; {torch} is to be built"
    return None


def choose_libraries(torch: str, cuda: str, known: Catalogue) -> dict[str, str]:
    """NVIDIA's libraries at the versions that PyTorch's own wheels of the release and the CUDA major require."""
    rows = known["source"]["libraries"]
    same = sorted((name for name in rows if rows[name]["cuda"] == cuda.split(".", maxsplit=1)[0]), key=parse_version)
    newer = [name for name in same if parse_version(name) >= parse_version(torch)]
    return dict(rows[(newer or same[::-1])[0]]["packages"]) if same else {}


def refuse(
    name: str, torch: PyTorch, toolkit: Toolkit | None, host: Host, request: Request, known: Catalogue
) -> Refusal | None:
    """Why a package cannot be built on this host, or None."""
    package = known["source"]["packages"][name]
    for rule in (_no_cuda, _no_toolkit, _no_targets, _no_compiler, _no_headers, _no_tools, _no_memory):
        if refusal := rule(package, torch, toolkit, host, request, known):
            return refusal
    if torch.cuda:
        found = choose_architectures(targets(host, request), torch.cuda, package["offers"], known)
        if isinstance(found, Refusal):
            return found
        return _uncovered(found, host, known)
    return None


def _no_cuda(
    package: Row, torch: PyTorch, _toolkit: Toolkit | None, _host: Host, _request: Request, _known: Catalogue
) -> Refusal | None:
    if torch.cuda is None and package["cuda"] == "required":
        because = f"it is compiled against a PyTorch for CUDA; found PyTorch {torch.local}"
        return Refusal(
            because, "Build it on a host with a GPU, or set architectures to the compute capabilities it is for."
        )
    return None


def _no_toolkit(
    _package: Row, torch: PyTorch, toolkit: Toolkit | None, _host: Host, _request: Request, _known: Catalogue
) -> Refusal | None:
    """nvcc of PyTorch's own CUDA major; another one is refused by PyTorch's extension builder."""
    if torch.cuda is None:
        return None
    remedy = f"Wish a toolkit of CUDA {torch.cuda}, with toolkit.provider: auto."
    if toolkit is None:
        return Refusal(f"nvcc of CUDA {torch.cuda} is wanted to compile it; found no CUDA toolkit", remedy)
    if parse_version(toolkit.version)[0] != parse_version(torch.cuda)[0]:
        because = f"nvcc of CUDA {torch.cuda} is wanted to compile it; found CUDA {toolkit.version}"
        return Refusal(because, remedy)
    return None


def _no_targets(
    package: Row, torch: PyTorch, _toolkit: Toolkit | None, host: Host, request: Request, _known: Catalogue
) -> Refusal | None:
    wished = targets(host, request)
    if torch.cuda is None:
        return None
    if not wished:
        found = f"{host.gpu_names}, whose compute capability is unknown" if host.gpus else "no GPU"
        return Refusal(
            f"a GPU, or architectures, are wanted to compile for; found {found} and architectures: auto",
            "Set architectures to the compute capabilities that the wheel is for.",
        )
    least = str(package["least_capability"])
    lower = [name for name in wished if parse_version(name.rstrip("af")) < parse_version(least)]
    if lower:
        return Refusal(f"it needs compute capability {least}; found {lower[0]}", "Leave it out on this host.")
    return None


def _no_compiler(
    _package: Row, _torch: PyTorch, toolkit: Toolkit | None, host: Host, _request: Request, known: Catalogue
) -> Refusal | None:
    if host.compiler_missing and not (toolkit and toolkit.system_packages):
        return Refusal("a C++ compiler is wanted; found none", "Install g++ on the host.")
    note = compiler_note(toolkit, host, known) if toolkit else None
    if note:
        told, _sign, remedy = note.rstrip(".").partition(": ")
        return Refusal(told, f"{remedy[:1].upper()}{remedy[1:]}.")
    return None


def _no_headers(
    _package: Row, torch: PyTorch, _toolkit: Toolkit | None, host: Host, request: Request, _known: Catalogue
) -> Refusal | None:
    python = next((entry for entry in host.pythons or () if entry.path == torch.python.path), None)
    if python is None or python.headers is not False or _header_package(torch, host, request):
        return None
    return Refusal(
        f"Python.h of Python {python.version} is wanted; {python.path} has no headers",
        f"Install python{python.version}-dev, or name another interpreter in stack_plan_request.python.",
    )


def _no_tools(
    package: Row, _torch: PyTorch, _toolkit: Toolkit | None, host: Host, request: Request, _known: Catalogue
) -> Refusal | None:
    lacking = [tool for tool in package["tools"] if host.lacks(tool)]
    if lacking and (because := no_apt(host, choose_layout(host, request))):
        return Refusal(
            f"{', '.join(lacking)} is wanted to fetch the source; found none, and {because}",
            f"Install {', '.join(lacking)} on the host.",
        )
    return None


def _no_memory(
    package: Row, _torch: PyTorch, _toolkit: Toolkit | None, host: Host, request: Request, _known: Catalogue
) -> Refusal | None:
    free = host.memory_free_gib
    if free is None or choose_jobs(host.cpus, free, int(package["job_mib"])):
        return None
    wanted = f"{int(package['job_mib']) / 1024:.1f} GiB of free memory"
    if request.source.jobs:
        return None
    return Refusal(
        f"{wanted} are wanted for one compiler; found {free:.1f} GiB",
        f"Use a host with {wanted}, or set source.jobs: 1 to try all the same.",
    )


def _uncovered(found: tuple[str, ...], host: Host, known: Catalogue) -> Refusal | None:
    """Wished architectures under which a GPU of this host would find no machine code."""
    code = tuple(f"sm_{name.replace('.', '')}" for name in found)
    because = rules.machine_code(host, code, ptx=False, known=known)
    return (
        Refusal(because, "Add the GPU's capability to architectures, or set architectures: auto.") if because else None
    )


# --- the builds ---


def name_torch(torch: PyTorch, host: Host, request: Request, known: Catalogue) -> PyTorch:
    """The PyTorch with the version of an own build: no index has it, so nothing swaps it, and each key has its own."""
    architectures = _architectures(TORCH, torch, host, request, known)
    local = f"{torch.version}+{torch.index}.src{_torch_key(torch, architectures, host, request, known)[:8]}"
    return replace(
        torch,
        local=local,
        provider=PROVIDER,
        arch_list=tuple(f"sm_{name.replace('.', '')}" for name in architectures),
        requirements=(f"{TORCH}=={local}",),
    )


def plan_source(
    extensions: Mapping[str, str],
    torch: PyTorch | None,
    toolkit: Toolkit | None,
    layout: Layout,
    host: Host,
    request: Request,
    known: Catalogue,
) -> Source | None:
    """All that is built for a decision; ``extensions`` is package → version. Whether it is pending comes later."""
    if torch is None or (torch.provider != PROVIDER and not extensions):
        return None
    features: dict[str, bool] = {}
    builds = []
    if torch.provider == PROVIDER:
        features, _refused = choose_features(torch.version, torch.cuda, host.arch, request.source.features, known)
        builds.append(_torch_build(torch, features, toolkit, layout, host, request, known))
    builds += [
        _extension_build(name, version, torch, toolkit, layout, host, request, known)
        for name, version in extensions.items()
    ]
    return Source(f"{layout.prefix}/wheels", (), tuple(builds), features)


def settle(source: Source | None, generation: Mapping[str, Any] | None, host: Host) -> Source | None:
    """The builds with what is there already: a wheel in the store, or the package in the generation that is wanted."""
    if source is None:
        return None
    packages, broken = (generation or {}).get("packages") or {}, set((generation or {}).get("broken") or ())
    builds = []
    for build in source.builds:
        wheel = next(
            (
                str(row["path"])
                for row in host.compiled
                if row.get("key") == build.key and str(row.get("path")).startswith(f"{source.store}/")
            ),
            None,
        )
        installed = packages.get(build.name) == build.version and build.name not in broken
        builds.append(replace(build, wheel=wheel, pending=wheel is None and not installed))
    links = tuple(f"{source.store}/{build.key}" for build in builds if build.wheel or build.pending)
    return replace(source, builds=tuple(builds), links=links)


def describe_build(build: Build) -> str:
    """For what a build is, and how long it takes."""
    code = " ".join(f"sm_{name.replace('.', '')}" for name in build.architectures) or "the CPU"
    cores = f"{build.jobs} core{'s' if build.jobs > 1 else ''}"
    return f"for {code}" + (f", about {_duration(build.minutes)} on {cores}" if build.minutes else "")


def explain(build: Build, host: Host, known: Catalogue) -> tuple[str, str]:
    """Why a build is planned as it is, and where the figures come from."""
    package = known["source"]["packages"][build.name]
    memory = f"{package['job_mib'] / 1024:.1f} GiB for each"
    memory += f" of {host.memory_free_gib:.1f} GiB free" if host.memory_free_gib is not None else ""
    estimate = estimate_minutes(build.name, build.jobs, len(build.architectures), known)
    timed = (
        f"; {_duration(estimate[0])} is an estimate (confidence {estimate[1]})" if estimate else "; nobody timed it yet"
    )
    origin = {"pypi": "its sdist", "git": f"{build.origin.url} at {build.origin.ref}", "archive": str(build.origin.url)}
    code = describe_build(build).split(",", maxsplit=1)[0]
    told = f"{build.name} {build.version} is compiled from {origin[build.origin.kind]} {code}"
    at_once = f"{build.jobs} compiler{'s' if build.jobs > 1 else ''} at once"
    return f"{told}: {at_once}, {memory}{timed if build.pending else ''}", str(package["source"])


def tell_features(features: Mapping[str, bool], known: Catalogue) -> tuple[str, str]:
    """Which switches PyTorch's build is asked for, and where they are read."""
    on, off = ([name for name, value in features.items() if value is wanted] for wanted in (True, False))
    without = f", without {', '.join(off)}" if off else ""
    source = str(known["source"]["features"]["USE_CUDA"]["source"])
    return f"PyTorch is built with {', '.join(on)}{without}; the rest is its own choice", source


def _torch_build(
    torch: PyTorch,
    features: Mapping[str, bool],
    toolkit: Toolkit | None,
    layout: Layout,
    host: Host,
    request: Request,
    known: Catalogue,
) -> Build:
    architectures = _architectures(TORCH, torch, host, request, known)
    libraries = _libraries(torch, features, known)
    environment = {name: "1" if value else "0" for name, value in features.items()}
    environment["PYTORCH_BUILD_VERSION"] = torch.local
    if needed := _run_requirements(torch, libraries, known):
        environment["PYTORCH_EXTRA_INSTALL_REQUIREMENTS"] = " | ".join(needed)
    links: dict[str, str] = {}
    for name in libraries:
        layout_row = known["source"]["layouts"][re.sub(r"-cu\d+$", "", name)]
        environment.update(layout_row["environment"])
        links.update(layout_row["links"])
    build = _build(TORCH, torch.version, torch, architectures, toolkit, layout, host, request, known)
    return replace(
        build,
        version=torch.local,
        requirement=torch.requirements[0],
        environment={**build.environment, **environment},
        build_requires=(*build.build_requires, *(f"{name}=={version}" for name, version in libraries.items())),
        links=links,
        torch=None,
        key=_torch_key(torch, architectures, host, request, known),
    )


def _extension_build(
    name: str,
    version: str,
    torch: PyTorch,
    toolkit: Toolkit | None,
    layout: Layout,
    host: Host,
    request: Request,
    known: Catalogue,
) -> Build:
    architectures = _architectures(name, torch, host, request, known)
    build = _build(name, version, torch, architectures, toolkit, layout, host, request, known)
    forced = {"FORCE_CUDA": "1"} if torch.cuda else {}  # PyTorch's extension builder looks for a GPU otherwise
    build = replace(build, environment={**build.environment, **forced})
    return replace(build, key=_key(build, torch, host))


def _build(
    name: str,
    version: str,
    torch: PyTorch,
    architectures: tuple[str, ...],
    toolkit: Toolkit | None,
    layout: Layout,
    host: Host,
    request: Request,
    known: Catalogue,
) -> Build:
    package = known["source"]["packages"][name]
    jobs = choose_jobs(host.cpus, host.memory_free_gib, int(package["job_mib"]), request.source.jobs) or 1
    estimate = estimate_minutes(name, jobs, len(architectures), known)
    written = {variable: _write(architectures, form) for variable, form in package["architectures"].items()}
    fixed = {variable: text.replace("{version}", version) for variable, text in package["environment"].items()}
    return Build(
        name=name,
        version=version,
        origin=_origin(name, version, request, known),
        requirement=f"{name}=={version}",
        environment={**fixed, **(written if architectures else {}), "MAX_JOBS": str(jobs)},
        build_requires=tuple(package["build_requires"]),
        links={},
        torch=torch.local,
        python=torch.python,
        cuda_home=toolkit.path if toolkit else None,
        system_packages=_system_packages(package, torch, layout, host, request),
        architectures=architectures,
        jobs=jobs,
        steps=package["steps"],
        minutes=estimate[0] if estimate else None,
        key="",
        wheel=None,
        pending=True,
        fetch_mib=int(package["fetch_mib"]),
        disk_mib=int(package["disk_mib"]),
    )


def _torch_key(torch: PyTorch, architectures: tuple[str, ...], host: Host, request: Request, known: Catalogue) -> str:
    """PyTorch's version holds its key, which so is made without the build's variables, from what decides them."""
    features, _refused = choose_features(torch.version, torch.cuda, host.arch, request.source.features, known)
    origin = _origin(TORCH, torch.version, request, known)
    decides = {
        "cuda": torch.cuda,
        "architectures": architectures,
        "features": features,
        "libraries": _libraries(torch, features, known),
    }
    build = {"name": TORCH, "version": torch.version, "origin": _content_of(origin)}
    return wheel_key(build, {**decides, **_platform(torch, host)})


def _key(build: Build, torch: PyTorch, host: Host) -> str:
    known = {
        "name": build.name,
        "version": build.version,
        "origin": _content_of(build.origin),
        "environment": build.environment,
        "torch": torch.local,
    }
    return wheel_key(known, {"cuda": torch.cuda, **_platform(torch, host)})


def _platform(torch: PyTorch, host: Host) -> Row:
    return {"python": torch.python.version, "platform": (host.arch, host.glibc)}


def _content_of(origin: Origin) -> Row:
    """A request's address is a mirror of the release's own, so that it does not count."""
    return {"kind": origin.kind, "ref": origin.ref, "sha256": origin.sha256}


def _origin(name: str, version: str, request: Request, known: Catalogue) -> Origin:
    package = known["source"]["packages"][name]
    sha256 = (package["releases"].get(version) or {}).get("sha256")
    ref = package["ref"].replace("{version}", version) if package["ref"] else None
    url = request.source.urls.get(name)
    if url is None:
        return Origin(package["kind"], package["url"], ref, sha256, package["submodules"])
    address = url.replace("{version}", version)
    if re.search(r"\.(tar(\.\w+)?|tgz|zip|whl)$", address):
        return Origin("archive", address, None, sha256, False)
    return Origin("git", address, ref or f"v{version}", None, True)


def _architectures(name: str, torch: PyTorch, host: Host, request: Request, known: Catalogue) -> tuple[str, ...]:
    """The architectures of a build that was not refused; none for the CPU."""
    wished = targets(host, request)
    if torch.cuda is None or not wished:
        return ()
    found = choose_architectures(wished, torch.cuda, known["source"]["packages"][name]["offers"], known)
    return () if isinstance(found, Refusal) else found


def _libraries(torch: PyTorch, features: Mapping[str, bool], known: Catalogue) -> dict[str, str]:
    """The libraries of the switches that are on."""
    if torch.cuda is None:
        return {}
    found = choose_libraries(torch.version, torch.cuda, known)
    layouts = known["source"]["layouts"]
    return {
        name: version
        for name, version in found.items()
        if features.get(layouts[re.sub(r"-cu\d+$", "", name)]["switch"])
    }


def _run_requirements(torch: PyTorch, libraries: Mapping[str, str], known: Catalogue) -> list[str]:
    """What the built wheel asks for at run time, as PyTorch's own wheels do."""
    if torch.cuda is None:
        return []
    published = known["pypi"]["packages"]
    row = published[TORCH].get(torch.version) or {}
    found = [f"{name}=={version}" for name, version in libraries.items()]
    toolkits = [version for version in published["cuda-toolkit"] if version.startswith(f"{torch.cuda}.")]
    if toolkits and parse_version(torch.cuda)[0] >= 13:
        parts = "cublas,cudart,cufft,cufile,cupti,curand,cusolver,cusparse,nvjitlink,nvrtc,nvtx"
        found.append(f"cuda-toolkit[{parts}]=={max(toolkits, key=parse_version)}")
    if triton := (row.get("requires") or {}).get("triton"):
        found.append(f"triton{triton}")
    return found


def _system_packages(package: Row, torch: PyTorch, layout: Layout, host: Host, request: Request) -> tuple[str, ...]:
    """The system's packages that are missing and can be installed."""
    if no_apt(host, layout):
        return ()
    tools = [tool for tool in (*package["tools"], *package["optional_tools"]) if host.lacks(tool)]
    header = _header_package(torch, host, request)
    return (*tools, *((header,) if header else ()))


def _header_package(torch: PyTorch, host: Host, request: Request) -> str | None:
    """The package of Python.h, for a system Python that lacks it."""
    python = next((entry for entry in host.pythons or () if entry.path == torch.python.path), None)
    if python is None or python.headers is not False or not python.path.startswith("/usr/bin/"):
        return None
    return None if no_apt(host, choose_layout(host, request)) else f"python{python.version}-dev"


def _write(architectures: tuple[str, ...], form: str) -> str:
    if form == "dotted":
        return ";".join(architectures)
    return ";".join(name.rstrip("af").replace(".", "") for name in architectures)


def _duration(minutes: int | None) -> str:
    """92 → 1 h 32 min."""
    if not minutes or minutes < 60:
        return f"{minutes or 0} min"
    return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")


def _code(capability: str) -> int:
    return int(capability.rstrip("af").replace(".", ""))


def _nearest_release(capability: str, cuda: str, known: Catalogue) -> str | None:
    """The CUDA release nearest to ``cuda`` whose nvcc compiles for a capability; a newer one first."""
    releases = known["cuda"]["releases"]
    found = sorted((name for name in releases if _code(capability) in releases[name]["gpu_code"]), key=parse_version)
    newer = [name for name in found if parse_version(name) > parse_version(cuda)]
    return newer[0] if newer else found[-1] if found else None
