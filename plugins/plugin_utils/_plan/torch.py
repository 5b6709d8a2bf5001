# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a build of PyTorch comes from: one that is there, a wheel that the host is offered, or an index."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.builds import (
    CPU,
    Build,
    channel_builds,
    cpu_build,
    matches,
    pick_python,
    version_key,
    why_not_build,
    wished_torches,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import Host
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.platforms import check_wheels
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal, Rejection
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.rules import no_machine_code
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import STABLE, Request


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
    channel: str = STABLE  # of another one version is the least that it can be, and local names the channel


def not_offered(case: Case, build: Build) -> Refusal | None:
    """Why the wished source of wheels does not have a build, or None."""
    host = case.host
    provider = case.request.wheels.provider
    offered = provider in ("auto", "host_wheels") and next(_host_wheels(build, host), None)
    if not offered and (refusal := check_wheels(case, build)):
        return refusal
    if provider == "pypi":
        row = case.known["pypi"]["packages"]["torch"].get(build.torch or "")
        cuda = row["cuda" if host.arch == "x86_64" else "cuda_aarch64"] if row else None
        if row is None or cuda != build.cuda:
            return Refusal(f"PyPI's PyTorch {build.torch} is built for {f'CUDA {cuda}' if cuda else 'no CUDA'}")
    if provider == "host_wheels" and next(_host_wheels(build, host), None) is None:
        return Refusal(f"this host's pip configuration offers no wheel of {build.name}")
    if provider == "adopt" and find_adoptable(case, build) is None:
        return Refusal(f"the host has no {build.name} of its own that could be adopted")
    return None


def settle(case: Case, build: Build) -> Build:
    """The build with its source: what is there already, a wheel of the host's own configuration, or an index."""
    request = case.request
    if build.adopt:
        return build
    if request.wheels.provider in ("auto", "adopt") and (row := find_adoptable(case, build)):
        cuda = str(row["cuda"]) if row.get("cuda") else None
        index = f"cu{cuda.replace('.', '')}" if cuda else CPU
        torch = str(row["version"]).partition("+")[0]
        return replace(build, torch=torch, cuda=cuda, index=index, archs=_archs(case, row), adopt=row)
    if request.wheels.provider in ("auto", "host_wheels"):
        for wheel in _host_wheels(build, case.host):
            if pick_python(case, replace(build, wheel=wheel)):
                return replace(build, wheel=wheel)
    return build


def find_adoptable(case: Case, build: Build) -> Row | None:
    """An unbroken PyTorch that is not ours, beside parts of one CUDA, and does what the build would, for the same GPUs.

    Every wished extension must lie beside it: nothing is installed into an environment that is not ours.
    """
    rows = (row for row in case.host.pytorches if not _lacking(case, row) and _is_adoptable(case, row))
    return next((row for row in rows if build.index == CPU or row.get("cuda") == build.cuda), None)


def adoptable_builds(case: Case) -> list[Build]:
    """The builds for CUDA that are there already and are what was wished, whatever their CUDA; the newest first.

    What runs stays: where no CUDA is named, a PyTorch of the image that runs here is what ``newest`` asks for.
    """
    if case.request.wheels.provider not in ("auto", "adopt"):
        return []
    found = []
    for row in case.host.pytorches:
        cuda = str(row.get("cuda") or "")
        if cuda not in case.known["cuda"]["releases"] or _lacking(case, row) or not _is_adoptable(case, row):
            continue
        torch, index = str(row["version"]).partition("+")[0], f"cu{cuda.replace('.', '')}"
        source = str(row.get("path") or "observed on the host")
        found.append(Build(torch, index, cuda, _archs(case, row), (), (), None, source, adopt=row))
    return sorted(found, key=lambda build: (version_key(build.torch), version_key(build.cuda)), reverse=True)


def not_adopted(case: Case, build: Build) -> Rejection | None:
    """Why a PyTorch that is there is not used, where only damage, or the extensions that it lacks, are in the way."""
    if build.adopt or case.request.wheels.provider not in ("auto", "adopt"):
        return None
    for row in case.host.pytorches:
        cuda, lacking = row.get("cuda"), _lacking(case, row)
        same = build.index == CPU or cuda == build.cuda or (cuda and case.request.cuda == "newest")
        option = f"PyTorch {row.get('local') or row.get('version')} at {row.get('path')}"
        if same and (damage := _damage(row)) and _is_adoptable(case, {**row, "broken": [], "incoherent": []}):
            return Rejection(option, f"it is damaged ({damage}), and what is not ours is not changed")
        if same and lacking and _is_adoptable(case, row):
            return Rejection(
                option, f"it lacks {', '.join(lacking)}, and nothing is installed into an environment of others"
            )
    return None


def _damage(row: Row) -> str:
    """The first sign that an observed PyTorch, or one of NVIDIA's packages beside it, is damaged; empty without one."""
    missing, mixed = list(row.get("broken") or ()), list(row.get("incoherent") or ())
    return f"{missing[0]} is missing" if missing else str(mixed[0]) if mixed else ""


def _lacking(case: Case, row: Row) -> list[str]:
    """The wished extensions that do not lie beside an observed PyTorch."""
    return [name for name in case.request.extensions if name not in (row.get("packages") or ())]


def _is_adoptable(case: Case, row: Row) -> bool:
    """Whether an observed PyTorch is what was wished, whole and for the GPUs here, whatever lies beside it."""
    version = str(row.get("version") or "").partition("+")[0]
    damaged = row.get("broken") or row.get("incoherent")
    if row.get("managed") or damaged or not version or not row.get("python") or case.request.channel != STABLE:
        return False
    return _serves(row, version, case.request) and _covers(case, row)


def _serves(row: Row, version: str, request: Request) -> bool:
    """Whether an observed PyTorch is of the wished release and for the wished Python; ``newest`` is any that runs."""
    try:
        parse_version(version)
    except ValueError:
        return False
    right_python = request.python in ("auto", row.get("python_version"), row.get("python"))
    return matches(version, request.pytorch) and right_python


def _covers(case: Case, row: Row) -> bool:
    if not case.host.gpus or not case.request.overrides.arch_list or not row.get("cuda"):
        return True
    archs = _archs(case, row)
    return bool(archs) and no_machine_code(case, archs, ptx=False, cuda=str(row["cuda"])) is None


def _archs(case: Case, row: Row) -> tuple[str, ...]:
    """What an observed PyTorch was compiled for: as read, or as the catalogue knows this release."""
    if row.get("arch_list"):
        return tuple(arch for arch in map(str, row["arch_list"]) if re.fullmatch(r"sm_[0-9]{2,3}[af]?", arch))
    release = case.known["pytorch"]["releases"].get(str(row["version"]).partition("+")[0])
    index = f"cu{str(row.get('cuda')).replace('.', '')}"
    content = release["indexes"].get(index, {}).get(case.host.arch) if release else None
    return tuple(content["linux"]) if content else ()


def _host_wheels(build: Build, host: Host) -> Iterator[Row]:
    """The wheels of exactly this build that the host's own pip configuration offers."""
    for wheel in host.wheels:
        same = str(wheel.get("version")).partition("+")[0] == build.torch and wheel.get("cuda") == build.cuda
        if wheel.get("name") == "torch" and same and wheel.get("arch") in (None, host.arch):
            yield wheel


def choose_cpu(
    case: Case, accept: Callable[[Build], bool] = lambda _build: True
) -> tuple[Build | None, list[Rejection]]:
    """The build of PyTorch without CUDA, the first that ``accept`` takes, and what was rejected on the way.

    Where the host's own pip configuration offers such wheels, ``newest`` is the newest of these.
    """
    request = case.request
    rejected: list[Rejection] = []
    builds = [
        build
        for torch in wished_torches(request, case.known)
        if (build := cpu_build(case, str(torch), compiled=request.wheels.provider == "source"))
    ]
    if request.channel != STABLE:
        builds = [build for build in channel_builds(case) if build.cuda is None]
    if request.wheels.provider in ("auto", "host_wheels"):
        builds = [build for build in builds if next(_host_wheels(build, case.host), None)] + builds
    for build in builds:
        settled = settle(case, build)
        refusal = not_offered(case, build) or why_not_build(case, settled, ptx=False)
        if not refusal and accept(settled):
            return settled, rejected
        if refusal:
            rejected.append(Rejection(build.name, refusal.because))
    return None, rejected


def describe_torch(case: Case, build: Build) -> PyTorch:
    """The decision's record of a build; companions and requirements of these come with the extensions."""
    python = pick_python(case, build)
    if build.adopt:
        provider, local = "adopt", str(build.adopt.get("local") or build.adopt["version"])
    elif build.wheel:
        provider, local = "host_wheels", str(build.wheel["version"])
    elif build.channel != STABLE:
        provider, local = "pytorch_index", build.index.replace("-", "+")
    elif case.request.wheels.provider == "pypi":
        provider, local = "pypi", f"{build.torch}+{build.index}"
    else:
        provider, local = "pytorch_index", f"{build.torch}+{build.index}"
    asked = f"torch=={build.torch if provider == 'pypi' else local}"
    if build.channel != STABLE:
        asked = f"torch>={build.torch}"
    return PyTorch(
        version=str(build.torch),
        local=local,
        index=build.index,
        provider=provider,
        cuda=build.cuda,
        python=PythonChoice(python.path, python.version) if python else PythonChoice(None, None),
        arch_list=build.archs,
        requirements=() if build.adopt else (asked,),
        adopt=str(build.adopt["path"]) if build.adopt else None,
        channel=STABLE if build.adopt else build.channel,
    )
