# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wheels that are compiled on a host: from which source, with what, under which key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.podsmith.gpu.plugins.module_utils._build.plan import wheel_key
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compile.architectures import built_architectures
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compile.estimate import (
    choose_jobs,
    duration,
    estimate_minutes,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compile.features import (
    chosen_libraries,
    torch_features,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compile.preflight import header_package
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compile.request import PROVIDER, TORCH
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import Host
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host_compiler import compiler_environment
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.layout import no_apt
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.toolkit import Toolkit
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.torch import PythonChoice, PyTorch


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


def name_torch(case: Case, torch: PyTorch) -> PyTorch:
    """The PyTorch with the version of an own build: no index has it, so nothing swaps it, and each key has its own."""
    architectures = built_architectures(case, TORCH, torch)
    local = f"{torch.version}+{torch.index}.src{_torch_key(case, torch, architectures)[:8]}"
    return replace(
        torch,
        local=local,
        provider=PROVIDER,
        arch_list=tuple(f"sm_{name.replace('.', '')}" for name in architectures),
        requirements=(f"{TORCH}=={local}",),
    )


def plan_source(
    case: Case, extensions: Mapping[str, str], torch: PyTorch | None, toolkit: Toolkit | None
) -> Source | None:
    """All that is built for a decision; ``extensions`` is package → version. Whether it is pending comes later."""
    if torch is None or (torch.provider != PROVIDER and not extensions):
        return None
    features: dict[str, bool] = {}
    builds = []
    if torch.provider == PROVIDER:
        features, _refused = torch_features(case, torch)
        builds.append(_torch_build(case, torch, features, toolkit))
    builds += [_extension_build(case, name, version, torch, toolkit) for name, version in extensions.items()]
    return Source(f"{case.layout.prefix}/wheels", (), tuple(builds), features)


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
    return f"for {code}" + (f", about {duration(build.minutes)} on {cores}" if build.minutes else "")


def explain(case: Case, build: Build) -> tuple[str, str]:
    """Why a build is planned as it is, and where the figures come from."""
    host, known = case.host, case.known
    package = known["source"]["packages"][build.name]
    memory = f"{package['job_mib'] / 1024:.1f} GiB for each"
    memory += f" of {host.memory_free_gib:.1f} GiB free" if host.memory_free_gib is not None else ""
    estimate = estimate_minutes(build.name, build.jobs, len(build.architectures), known)
    timed = (
        f"; {duration(estimate[0])} is an estimate (confidence {estimate[1]})" if estimate else "; nobody timed it yet"
    )
    origin = {"pypi": "its sdist", "git": f"{build.origin.url} at {build.origin.ref}", "archive": str(build.origin.url)}
    code = describe_build(build).split(",", maxsplit=1)[0]
    told = f"{build.name} {build.version} is compiled from {origin[build.origin.kind]} {code}"
    at_once = f"{build.jobs} compiler{'s' if build.jobs > 1 else ''} at once"
    return f"{told}: {at_once}, {memory}{timed if build.pending else ''}", str(package["source"])


def _torch_build(case: Case, torch: PyTorch, features: Mapping[str, bool], toolkit: Toolkit | None) -> Build:
    libraries = chosen_libraries(torch, features, case.known)
    environment = {name: "1" if value else "0" for name, value in features.items()}
    environment["PYTORCH_BUILD_VERSION"] = torch.local
    if needed := _run_requirements(case, torch, libraries):
        environment["PYTORCH_EXTRA_INSTALL_REQUIREMENTS"] = " | ".join(needed)
    links: dict[str, str] = {}
    for name in libraries:
        layout = case.known["source"]["layouts"][re.sub(r"-cu\d+$", "", name)]
        environment.update(layout["environment"])
        links.update(layout["links"])
    build = _build(case, TORCH, torch.version, torch, toolkit)
    return replace(
        build,
        version=torch.local,
        requirement=torch.requirements[0],
        environment={**build.environment, **environment},
        build_requires=(*build.build_requires, *(f"{name}=={version}" for name, version in libraries.items())),
        links=links,
        torch=None,
        key=_torch_key(case, torch, build.architectures),
    )


def _extension_build(case: Case, name: str, version: str, torch: PyTorch, toolkit: Toolkit | None) -> Build:
    build = _build(case, name, version, torch, toolkit)
    forced = {"FORCE_CUDA": "1"} if torch.cuda else {}  # PyTorch's extension builder looks for a GPU otherwise
    build = replace(build, environment={**build.environment, **forced})
    return replace(build, key=_key(build, torch, case.host))


def _build(case: Case, name: str, version: str, torch: PyTorch, toolkit: Toolkit | None) -> Build:
    """What builds of PyTorch and of extensions have in common; the key comes later."""
    host, known = case.host, case.known
    package = known["source"]["packages"][name]
    architectures = built_architectures(case, name, torch)
    jobs = choose_jobs(host.cpus, host.memory_free_gib, int(package["job_mib"]), case.request.source.jobs) or 1
    estimate = estimate_minutes(name, jobs, len(architectures), known)
    written = {variable: _write(architectures, form) for variable, form in package["architectures"].items()}
    fixed = {variable: text.replace("{version}", version) for variable, text in package["environment"].items()}
    return Build(
        name=name,
        version=version,
        origin=_origin(case, name, version),
        requirement=f"{name}=={version}",
        environment={
            **fixed,
            **(written if architectures else {}),
            **compiler_environment(toolkit.compiler if toolkit else None),
            "MAX_JOBS": str(jobs),
        },
        build_requires=tuple(package["build_requires"]),
        links={},
        torch=torch.local,
        python=torch.python,
        cuda_home=toolkit.path if toolkit else None,
        system_packages=_system_packages(case, package, torch),
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


def _torch_key(case: Case, torch: PyTorch, architectures: tuple[str, ...]) -> str:
    """PyTorch's version holds its key, so the key is made without the build's variables, from what decides them."""
    features, _refused = torch_features(case, torch)
    decides = {
        "cuda": torch.cuda,
        "architectures": architectures,
        "features": features,
        "libraries": chosen_libraries(torch, features, case.known),
    }
    build = {"name": TORCH, "version": torch.version, "origin": _content_of(_origin(case, TORCH, torch.version))}
    return wheel_key(build, {**decides, **_platform(torch, case.host)})


def _key(build: Build, torch: PyTorch, host: Host) -> str:
    content = {
        "name": build.name,
        "version": build.version,
        "origin": _content_of(build.origin),
        "environment": build.environment,
        "torch": torch.local,
    }
    return wheel_key(content, {"cuda": torch.cuda, **_platform(torch, host)})


def _platform(torch: PyTorch, host: Host) -> Row:
    return {"python": torch.python.version, "platform": (host.arch, host.glibc)}


def _content_of(origin: Origin) -> Row:
    """A request's address is a mirror of the release's own, so that it does not count."""
    return {"kind": origin.kind, "ref": origin.ref, "sha256": origin.sha256}


def _origin(case: Case, name: str, version: str) -> Origin:
    package = case.known["source"]["packages"][name]
    sha256 = (package["releases"].get(version) or {}).get("sha256")
    ref = package["ref"].replace("{version}", version) if package["ref"] else None
    url = case.request.source.urls.get(name)
    if url is None:
        return Origin(package["kind"], package["url"], ref, sha256, package["submodules"])
    address = url.replace("{version}", version)
    if re.search(r"\.(tar(\.\w+)?|tgz|zip|whl)$", address):
        return Origin("archive", address, None, sha256, False)
    return Origin("git", address, ref or f"v{version}", None, True)


def _run_requirements(case: Case, torch: PyTorch, libraries: Mapping[str, str]) -> list[str]:
    """What the built wheel asks for at run time, as PyTorch's own wheels do."""
    if torch.cuda is None:
        return []
    published = case.known["pypi"]["packages"]
    found = [f"{name}=={version}" for name, version in libraries.items()]
    row = case.known["source"]["run_time"].get(torch.cuda.partition(".")[0])
    toolkits = [version for version in published["cuda-toolkit"] if version.startswith(f"{torch.cuda}.")]
    if row and toolkits:
        found.append(f"cuda-toolkit[{','.join(row['extras'])}]=={max(toolkits, key=parse_version)}")
    if triton := ((published[TORCH].get(torch.version) or {}).get("requires") or {}).get("triton"):
        found.append(f"triton{triton}")
    return found


def _system_packages(case: Case, package: Row, torch: PyTorch) -> tuple[str, ...]:
    """The system's packages that are missing and can be installed."""
    if no_apt(case):
        return ()
    tools = [tool for tool in (*package["tools"], *package["optional_tools"]) if case.host.lacks(tool)]
    header = header_package(case, torch)
    return (*tools, *((header,) if header else ()))


def _write(architectures: tuple[str, ...], form: str) -> str:
    if form == "dotted":
        return ";".join(architectures)
    return ";".join(name.rstrip("af").replace(".", "") for name in architectures)
