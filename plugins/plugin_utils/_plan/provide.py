# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where each part comes from on a host: the toolkit, forward compatibility, CUTLASS, PyTorch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue, Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import builds as wheels
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import rules
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.builds import CPU, Build, Choice
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import Host
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.rules import Compat
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import KEEP, STANDBY, Request, unlisted

SYSTEM_PREFIX = "/opt/podsmith"
USER_PREFIX = ".local/share/podsmith"
BUILDS_THE_COMPILER_IN = ("g++",)  # apt's package for a missing C++ compiler


@dataclass(frozen=True)
class Layout:
    """Where things go."""

    scope: str  # system, user
    prefix: str
    home: str


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


@dataclass(frozen=True)
class ForwardCompat:
    """The forward-compatibility part of the decision."""

    enabled: bool = False
    package: str | None = None
    provider: str | None = None  # adopt, apt
    path: str | None = None
    version: str | None = None
    confidence: str | None = None
    remove: tuple[str, ...] = ()
    repository: str | None = None
    standby: bool = False  # installed and not tried: off until a start meets an older driver
    branches: tuple[int, ...] = ()  # of drivers, under which the activation may use it


@dataclass(frozen=True)
class Cutlass:
    """The CUTLASS headers of the decision."""

    version: str
    provider: str  # git, pypi, adopt
    path: str
    tag: str | None = None
    commit: str | None = None
    requirement: str | None = None
    system_packages: tuple[str, ...] = ()


@dataclass(frozen=True)
class PythonChoice:
    """The interpreter of an environment; null where the host's interpreters are unknown."""

    path: str | None
    version: str | None


@dataclass(frozen=True)
class PyTorch:
    """The PyTorch of the decision."""

    version: str
    local: str
    index: str
    provider: str  # adopt, pytorch_index, pypi, host_wheels
    cuda: str | None
    python: PythonChoice
    arch_list: tuple[str, ...]
    companions: dict[str, str] = field(default_factory=dict)
    requirements: tuple[str, ...] = ()
    adopt: str | None = None


def choose_layout(host: Host, request: Request) -> Layout:
    """Scope, prefix and home. ``auto`` is system for root on a host with a driver or a GPU."""
    gpu = host.status in ("ok", "mismatch", "timeout", "lost", "no_device") or bool(host.gpus) or request.driver != KEEP
    scope = request.scope if request.scope != "auto" else "system" if host.root and gpu else "user"
    home = host.home or ("/root" if host.root else "~")
    if request.prefix != "auto":
        prefix = request.prefix
    elif scope == "user":
        prefix = f"{home}/{USER_PREFIX}"
    else:
        prefix = f"{host.persistent_dir.rstrip('/')}/podsmith" if host.persistent_dir else SYSTEM_PREFIX
    return Layout(scope, prefix, home)


def confine(host: Host, layout: Layout) -> Host:
    """The host as seen from the chosen prefix: a live environment in another one is not this plan's to change."""
    prefix = (host.live or {}).get("prefix")
    if prefix in (None, layout.prefix):
        return host
    return replace(host, live=None, generations=(), built=(), state=None)


# --- NVIDIA's repository ---


def no_apt(host: Host, layout: Layout) -> str | None:
    """Why system packages cannot be installed, or None."""
    if layout.scope != "system":
        return "in user scope nothing is installed outside the prefix"
    if host.root is False:
        return "system packages need root"
    if host.family not in (None, "debian") or host.lacks("apt"):
        return f"{host.os_id or 'this system'} has no apt"
    return None


def find_repository(host: Host, cuda: str, known: Catalogue) -> str | None:
    """The folder of NVIDIA's apt repository that has a CUDA release for this host, or None."""
    for name, row in known["cuda"]["repositories"].items():
        fits = row["os"] == host.os_id and bool(row.get("wsl")) == host.wsl and host.arch in row["architectures"]
        if not fits or row["version"] not in (None, host.os_version):
            continue
        first, last = row.get("first_cuda"), row.get("last_cuda")
        if (first and parse_version(cuda) < parse_version(first)) or (
            last and parse_version(cuda) > parse_version(last)
        ):
            continue
        return str(name)
    return None


def no_compat_package(host: Host, layout: Layout, known: Catalogue) -> str | None:
    """Why a compat package cannot be fetched here, or None. An unknown distribution is taken for one that has it."""
    if because := no_apt(host, layout):
        return f"the compat library is not installed, and {because}"
    newest = max(known["drivers"]["compat"], key=parse_version)
    if host.os_id and not find_repository(host, newest, known):
        return f"the compat library is not installed, and NVIDIA's repository has no packages for {_system(host)}"
    return None


def find_standby(choice: Choice, host: Host, request: Request, known: Catalogue) -> Compat | str | None:
    """The compat library that is wished for later starts, why it is of no use, or None where none is wished."""
    if request.forward_compat != STANDBY or choice.compat or choice.build is None or choice.build.cuda is None:
        return None
    return rules.standby(host, choice.build.cuda, known)


def provide_compat(choice: Choice, standby: Compat | None, host: Host, known: Catalogue) -> ForwardCompat:
    """The forward-compatibility part of a choice. Only packages that the collection installed are to be removed."""
    compat = choice.compat or standby
    kept = compat.package if compat else None
    remove = tuple(str(row["package"]) for row in host.compat if row.get("managed") and row["package"] != kept)
    if compat is None:
        return ForwardCompat(remove=remove)
    return ForwardCompat(
        enabled=True,
        package=compat.package,
        provider="adopt" if compat.installed else "apt",
        path=compat.path,
        version=compat.version,
        confidence=compat.confidence,
        remove=remove,
        repository=None if compat.installed else find_repository(host, compat.cuda, known),
        standby=choice.compat is None or host.target,
        branches=rules.usable_branches(host, compat.cuda, known),
    )


# --- the toolkit ---


def check_components(request: Request, known: Catalogue) -> None:
    """Raise RequestError for a component that the catalogue does not have."""
    components = known["cuda"]["components"]
    for name in request.toolkit.components:
        if name not in components:
            raise unlisted("toolkit.components", name, components)


def provide_toolkit(release: str, host: Host, request: Request, layout: Layout, known: Catalogue) -> Toolkit | str:
    """Where the toolkit of a release comes from, or why it cannot be had."""
    because = []
    for name, provider in _PROVIDERS.items():
        if request.toolkit.provider in ("auto", name):
            found = provider(release, host, request, layout, known)
            if isinstance(found, Toolkit):
                return found
            because.append(found)
    return "; ".join(because)


def _adopt_toolkit(release: str, host: Host, request: Request, layout: Layout, _known: Catalogue) -> Toolkit | str:
    """A toolkit that is there, is whole and is not ours."""
    for row in host.toolkits:
        if str(row.get("release")) != release or _under(row, layout):
            continue
        if row.get("broken"):
            return f"the one at {row['path']} lacks {', '.join(row['broken'])}"
        if not row.get("nvcc") or row.get("cudart") is False:
            return f"the one at {row['path']} has no compiler"
        if because := _lacks_components(row, request):
            return because
        exact = str(row["version"]) if row.get("version") else None
        return Toolkit(
            release,
            exact,
            "adopt",
            str(row["path"]),
            request.toolkit.components,
            (),
            _missing_compiler(host, layout),
            None,
        )
    return f"the host has no CUDA toolkit {release}"


def _lacks_components(row: Row, request: Request) -> str | None:
    """What a toolkit lacks of the wished components; ``adopt`` takes it as it is where they are unknown."""
    wished = request.toolkit.components
    if wished == ("compiler",):
        return None
    seen = row.get("components")
    if seen is None:
        unknown = f"of the one at {row['path']} only the compiler is known"
        return None if request.toolkit.provider == "adopt" else unknown
    lacking = [name for name in wished if name not in seen]
    return f"the one at {row['path']} lacks the headers of {', '.join(lacking)}" if lacking else None


def _apt_toolkit(release: str, host: Host, request: Request, layout: Layout, known: Catalogue) -> Toolkit | str:
    """NVIDIA's packages."""
    if because := no_apt(host, layout):
        return because
    repository = find_repository(host, release, known)
    if repository is None:
        return f"NVIDIA's repository has no CUDA {release} for {_system(host)}"
    rows, dashed = known["cuda"]["components"], release.replace(".", "-")
    packages = _unique(
        name.replace("{release}", dashed) for part in request.toolkit.components for name in rows[part]["apt"]
    )
    path = f"/usr/local/cuda-{release}"
    return Toolkit(
        release, None, "apt", path, request.toolkit.components, packages, _missing_compiler(host, layout), repository
    )


def _pypi_toolkit(release: str, host: Host, request: Request, layout: Layout, known: Catalogue) -> Toolkit | str:
    """The components on PyPI, inside the prefix."""
    versions = [
        version for version in known["pypi"]["packages"].get("cuda-toolkit", {}) if version.startswith(f"{release}.")
    ]
    if not known["cuda"]["releases"][release]["pypi"] or not versions:
        return f"PyPI has no compiler of CUDA {release}"
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
        path=f"{layout.prefix}/toolkits/{release}/nvidia/cu{parse_version(release)[0]}",
        components=request.toolkit.components,
        packages=tuple(f"{name}=={version}" for name, version in sorted(wanted.items())),
        system_packages=_missing_compiler(host, layout),
        repository=None,
    )


_PROVIDERS = {"adopt": _adopt_toolkit, "apt": _apt_toolkit, "pypi": _pypi_toolkit}


def _missing_compiler(host: Host, layout: Layout) -> tuple[str, ...]:
    """The system package of a C++ compiler where there is none and it can be installed."""
    return BUILDS_THE_COMPILER_IN if host.compiler_missing and not no_apt(host, layout) else ()


def compiler_note(toolkit: Toolkit, host: Host, known: Catalogue) -> str | None:
    """A C++ compiler that the toolkit or PyTorch's extension builder refuses."""
    bounds = known["cuda"]["releases"][toolkit.version].get("gcc")
    if not bounds or not host.compiler:
        return None
    major = parse_version(host.compiler)[0]
    if bounds["least"] <= major < bounds["below"]:
        return None
    wanted = f"{bounds['least']} to {bounds['below'] - 1}"
    return f"CUDA {toolkit.version} compiles with g++ {wanted}; found {host.compiler}: install one of these beside it."


# --- CUTLASS ---


def provide_cutlass(host: Host, request: Request, layout: Layout, known: Catalogue) -> Cutlass | str | None:
    """The CUTLASS headers, None where none are wished, or why they cannot be had."""
    if request.cutlass == "none":
        return None
    releases = sorted(known["cutlass"]["releases"], key=parse_version)
    matching = [release for release in releases if wheels.matches(release, request.cutlass)]
    if not matching:
        raise unlisted("cutlass", request.cutlass, releases)
    version = matching[-1]
    row, path = known["cutlass"]["releases"][version], f"{layout.prefix}/cutlass/{version}"
    for found in host.cutlasses:
        if str(found.get("version")) == version and not found.get("broken") and not _under(found, layout):
            return Cutlass(version, "adopt", str(found["path"]))
    if row.get("pypi"):
        package = known["cutlass"]["sources"]["pypi"]["package"]
        return Cutlass(version, "pypi", path, row["tag"], row.get("commit"), f"{package}=={row['pypi']}")
    if host.lacks("git") and (because := no_apt(host, layout)):
        return f"CUTLASS {version} comes by git, which is not installed, and {because}"
    return Cutlass(version, "git", path, row["tag"], row.get("commit"), None, ("git",) if host.lacks("git") else ())


# --- PyTorch ---


def offered(build: Build, host: Host, request: Request, known: Catalogue) -> str | None:
    """Why the wished source of wheels does not have a build, or None."""
    provider = request.wheels.provider
    if provider == "pypi":
        row = known["pypi"]["packages"]["torch"].get(build.torch or "")
        cuda = row["cuda" if host.arch == "x86_64" else "cuda_aarch64"] if row else None
        if row is None or cuda != build.cuda:
            return f"PyPI's PyTorch {build.torch} is built for {f'CUDA {cuda}' if cuda else 'no CUDA'}"
    if provider == "host_wheels" and next(_host_wheels(build, host), None) is None:
        return f"this host's pip configuration offers no wheel of {build.name}"
    if provider == "adopt" and find_adoptable(build, host, request, known) is None:
        return f"the host has no {build.name} of its own that could be adopted"
    return None


def settle(build: Build, host: Host, request: Request, known: Catalogue) -> Build:
    """The build with its source: what is there already, a wheel of the host's own configuration, or an index."""
    if request.wheels.provider in ("auto", "adopt") and (row := find_adoptable(build, host, request, known)):
        cuda = str(row["cuda"]) if row.get("cuda") else None
        index = f"cu{cuda.replace('.', '')}" if cuda else CPU
        torch = str(row["version"]).partition("+")[0]
        return replace(build, torch=torch, cuda=cuda, index=index, archs=_archs(row, known, host), adopt=row)
    if request.wheels.provider in ("auto", "host_wheels"):
        for wheel in _host_wheels(build, host):
            if wheels.pick_python(replace(build, wheel=wheel), host, request):
                return replace(build, wheel=wheel)
    return build


def find_adoptable(build: Build, host: Host, request: Request, known: Catalogue) -> Row | None:
    """An unbroken PyTorch that is not ours and does what the build would, for the same GPUs.

    Every wished extension must lie beside it: nothing is installed into an environment that is not ours.
    """
    for row in host.pytorches:
        if not set(request.extensions) <= set(row.get("packages") or ()):
            continue
        version = str(row.get("version") or "").partition("+")[0]
        if row.get("managed") or row.get("broken") or not version or not row.get("python"):
            continue
        if _serves(row, version, build, request) and _covers(row, host, request, known):
            return row
    return None


def _serves(row: Row, version: str, build: Build, request: Request) -> bool:
    """Whether an observed PyTorch is as new as the build, or as the wish names it, on the same CUDA."""
    try:
        as_new = parse_version(version) >= parse_version(build.torch or "")
    except ValueError:
        return False
    if not as_new and (request.pytorch == "newest" or not wheels.matches(version, request.pytorch)):
        return False
    if request.pytorch != "newest" and not wheels.matches(version, request.pytorch):
        return False
    if request.python not in ("auto", row.get("python_version"), row.get("python")):
        return False
    return build.index == CPU or row.get("cuda") == build.cuda


def _covers(row: Row, host: Host, request: Request, known: Catalogue) -> bool:
    if not host.gpus or not request.overrides.arch_list or not row.get("cuda"):
        return True
    archs = _archs(row, known, host)
    return bool(archs) and rules.machine_code(host, archs, ptx=False, known=known) is None


def _archs(row: Row, known: Catalogue, host: Host) -> tuple[str, ...]:
    """What an observed PyTorch was compiled for: as read, or as the catalogue knows this release."""
    if row.get("arch_list"):
        return tuple(arch for arch in map(str, row["arch_list"]) if re.fullmatch(r"sm_[0-9]{2,3}[af]?", arch))
    release = known["pytorch"]["releases"].get(str(row["version"]).partition("+")[0])
    index = f"cu{str(row.get('cuda')).replace('.', '')}"
    content = release["indexes"].get(index, {}).get(host.arch) if release else None
    return tuple(content["linux"]) if content else ()


def _host_wheels(build: Build, host: Host) -> Iterator[Row]:
    """The wheels of exactly this build that the host's own pip configuration offers."""
    for wheel in host.wheels:
        same = str(wheel.get("version")).partition("+")[0] == build.torch and wheel.get("cuda") == build.cuda
        if wheel.get("name") == "torch" and same and wheel.get("arch") in (None, host.arch):
            yield wheel


def choose_cpu(host: Host, request: Request, known: Catalogue) -> tuple[Build | None, list[rules.Rejection]]:
    """The build of PyTorch without CUDA, and what was rejected on the way.

    Where the host's own pip configuration offers such wheels, ``newest`` is the newest of these.
    """
    rejected: list[rules.Rejection] = []
    builds = [
        build
        for torch in wheels.wished_torches(request, known)
        if (build := wheels.cpu_build(str(torch), host, known, compiled=request.wheels.provider == "source"))
    ]
    if request.wheels.provider in ("auto", "host_wheels"):
        builds = [build for build in builds if next(_host_wheels(build, host), None)] + builds
    for build in builds:
        settled = settle(build, host, request, known)
        because = offered(build, host, request, known) or wheels.unfit(settled, host, request, known, ptx=False)
        if not because:
            return settled, rejected
        rejected.append(rules.Rejection(build.name, because))
    return None, rejected


def describe_torch(build: Build, host: Host, request: Request) -> PyTorch:
    """The decision's record of a build; companions and requirements of these come with the extensions."""
    python = wheels.pick_python(build, host, request)
    if build.adopt:
        provider, local = "adopt", str(build.adopt.get("local") or build.adopt["version"])
    elif build.wheel:
        provider, local = "host_wheels", str(build.wheel["version"])
    elif request.wheels.provider == "pypi":
        provider, local = "pypi", f"{build.torch}+{build.index}"
    else:
        provider, local = "pytorch_index", f"{build.torch}+{build.index}"
    return PyTorch(
        version=str(build.torch),
        local=local,
        index=build.index,
        provider=provider,
        cuda=build.cuda,
        python=PythonChoice(python.path, python.version) if python else PythonChoice(None, None),
        arch_list=build.archs,
        requirements=() if build.adopt else (f"torch=={build.torch if provider == 'pypi' else local}",),
        adopt=str(build.adopt["path"]) if build.adopt else None,
    )


def _under(row: Row, layout: Layout) -> bool:
    """Whether an observed thing lies in our prefix."""
    return f"{row.get('path')}/".startswith(f"{layout.prefix}/")


def _system(host: Host) -> str:
    return f"{host.os_id or 'this system'} {host.os_version or ''}".strip() + f" on {host.arch}"


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
