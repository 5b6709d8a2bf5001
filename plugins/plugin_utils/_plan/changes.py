# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is pending on a host: the wanted stack against what is installed. Empty where nothing must change."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.podsmith.gpu.plugins.module_utils._repair.lines import CACHE, FOLDERS, form_of
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.pep import canonicalize_name
from ansible_collections.podsmith.gpu.plugins.plugin_utils._generate.activation import generation_digests, host_digests
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compile.request import TORCH
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compile.wheels import describe_build
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.cutlass import Cutlass
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.environment import Environment, find_built
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.extensions import COMPANIONS
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import Host
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.parts import BY_ROLE, owner_of
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.reach import why_lapsed
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.releases import Extension
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.repairs import preview, told_as
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.resolver import satisfies
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.settings import all_choices
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.stack import Stack
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.toolkit import Toolkit
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.torch import PyTorch

INSTALL, REMOVE, REPLACE, REPAIR, PROVE, SWITCH = "install", "remove", "replace", "repair", "prove", "switch"
DAMAGED = "files are missing or altered"
BUILD = "build"
UNPACKED = 2.5  # a wheel's or a package's size on disk, compared with what is fetched
RECORD, SHOWN = "decision on record", 12  # digits that are shown of a digest
LOST_NAMED = 3  # files that are named where they are missing; more are counted


@dataclass(frozen=True)
class Change:
    """One pending change. ``mib`` is what is fetched for it, ``disk_mib`` what it takes on the disk at ``place``."""

    role: str
    action: str
    what: str
    old: str | None = None
    new: str | None = None
    mib: int = 0
    disk_mib: int = 0
    place: str = ""


@dataclass(frozen=True)
class Wanted:
    """What is wanted on a host: the parts, the environment that they make up, and the digest of both."""

    stack: Stack
    environment: Environment
    digest: str


def find_changes(case: Case, wanted: Wanted) -> tuple[Change, ...]:
    """All that is pending, in the order of application."""
    host = case.host
    changes = [
        *_toolkits(case, wanted),
        *_compat(case, wanted),
        *_cutlass(case, wanted),
        *_source(wanted, torch=True),
        *_pytorch(case, wanted),
        *_source(wanted, torch=False),
        *_extensions(wanted, host),
    ]
    environment = list(_environment(case, wanted)) or list(_record(wanted, host))
    if any(BY_ROLE[change.role].proven for change in changes) or not is_proven(wanted, host):
        changes.append(Change("gpu_verify", PROVE, "the stack", why_lapsed(host) if has_passed(wanted, host) else None))
    return (*changes, *environment)


def find_repairs_made(environment: Environment) -> Iterator[Change]:
    """What is taken out of files of others before anything else is done, and the loader's cache made anew."""
    refreshes = False
    for repair in environment.repairs:
        path, what = repair["path"], told_as(repair)
        refreshes = refreshes or path == CACHE or form_of(path) == FOLDERS
        edit = preview(repair)
        if path == CACHE:
            continue
        if edit is None or edit.kept is None:
            yield Change("gpu_environment", REMOVE, what, repair["line"])
        else:
            yield Change("gpu_environment", REPAIR, what, f"with {' and '.join(edit.taken)}", edit.kept)
    if refreshes:
        yield Change("gpu_environment", REPAIR, CACHE, "out of date", "made anew by ldconfig")


def is_proven(wanted: Wanted, host: Host) -> bool:
    """Whether this stack was proved here, and with the driver, the libcuda and the GPUs that are here now."""
    return has_passed(wanted, host) and why_lapsed(host) is None


def has_passed(wanted: Wanted, host: Host) -> bool:
    """Whether this stack has passed its checks here, whatever it ran with."""
    state = host.state or {}
    return state.get("verdict") == "ok" and state.get("decision") == wanted.digest


def _toolkits(case: Case, wanted: Wanted) -> Iterator[Change]:
    host, compiler = case.host, case.known["sizes"]["sizes"]["compiler"]
    for toolkit in wanted.stack.toolkits:
        if toolkit.system_packages:
            packages, sizes = ", ".join(toolkit.system_packages), (compiler["mib"], compiler["disk_mib"])
            yield Change("cuda_toolkit", INSTALL, "C++ compiler", None, packages, *sizes, "/")
        if toolkit.provider == "adopt":
            continue
        row = next((row for row in host.toolkits if row.get("path") == toolkit.path), None)
        whole = row is not None and not row.get("broken") and bool(row.get("nvcc"))
        components_seen = _has_components(toolkit, row) or has_passed(wanted, host)
        other = bool(row and toolkit.patch and toolkit.exact and str(row.get("version")) != toolkit.exact)
        if row is not None and whole and components_seen and not other:
            continue
        lost = _lost(row)
        origin = {"pypi": "PyPI", "rpm": "NVIDIA's rpm packages"}.get(toolkit.provider, toolkit.provider)
        new = f"{toolkit.exact or toolkit.version} from {origin}"
        mib = _toolkit_mib(toolkit, case.known)
        place = toolkit.path if toolkit.provider == "pypi" else "/"
        action = INSTALL if row is None else REPLACE if other else REPAIR
        old = None if row is None else f"without {lost}" if lost else str(row.get("version"))
        yield Change(
            "cuda_toolkit", action, f"CUDA toolkit {toolkit.version}", old, new, mib, int(mib * UNPACKED), place
        )


def _has_components(toolkit: Toolkit, row: Mapping[str, Any] | None) -> bool:
    """Whether all that is wanted of a toolkit was seen; of most only the compiler is wanted."""
    return toolkit.components == ("compiler",) or set(toolkit.components) <= set((row or {}).get("components") or ())


def _lost(row: Mapping[str, Any] | None) -> str:
    """What is missing of an installation: the names of one or two files, or how many."""
    broken = list((row or {}).get("broken") or ())
    return ", ".join(map(str, broken)) if len(broken) <= LOST_NAMED else f"{len(broken)} or more of its files"


def _toolkit_mib(toolkit: Toolkit, known: Catalogue) -> int:
    sizes = known["cuda"]["releases"][toolkit.version]["sizes_mib"]
    extent = "full" if "full" in toolkit.components else "minimal"
    return int(sizes.get(f"{extent}_{toolkit.provider}") or sizes.get(f"{extent}_apt") or 0)


def _compat(case: Case, wanted: Wanted) -> Iterator[Change]:
    host = case.host
    compat = wanted.stack.compat
    for package in compat.remove:
        yield Change("forward_compat", REMOVE, package, "installed")
    if not compat.enabled or not compat.package:
        return
    there = [row for row in host.compat if row.get("package") == compat.package or row.get("path") == compat.path]
    lost = next((_lost(row) for row in there if row.get("broken")), None)
    if not there:
        row = {row["package"]: row for row in case.known["drivers"]["compat"].values()}[compat.package]
        size, disk = int(row["size_mib"]), int(row["installed_mib"])
        yield Change("forward_compat", INSTALL, compat.package, None, compat.version, size, disk, "/")
    elif lost:
        yield Change("forward_compat", REPAIR, compat.package, f"without {lost}", str(compat.version))
    elif not compat.standby and not is_proven(wanted, host):
        yield Change("forward_compat", SWITCH, f"{compat.package} {compat.version}", "off", "on")


def _cutlass(case: Case, wanted: Wanted) -> Iterator[Change]:
    cutlass = wanted.stack.cutlass
    if cutlass is None or cutlass.provider == "adopt":
        return
    row = next((row for row in case.host.cutlasses if row.get("path") == cutlass.path), None)
    if row is not None and not row.get("broken") and row.get("version") == cutlass.version:
        return
    size = _cutlass_mib(case, cutlass)
    action = INSTALL if row is None else REPAIR
    lost = _lost(row)
    old = None if row is None else f"without {lost}" if lost else str(row.get("version"))
    yield Change("cutlass", action, "CUTLASS headers", old, cutlass.version, size, int(size * UNPACKED), cutlass.path)


def _cutlass_mib(case: Case, cutlass: Cutlass) -> int:
    """The size of the wheel, or of a shallow clone."""
    host, known = case.host, case.known
    if cutlass.requirement:
        package, version = cutlass.requirement.split("==", 1)
        sizes = known["pypi"]["packages"].get(package, {}).get(version, {}).get("size_mib", {})
        if host.arch in sizes:
            return int(sizes[host.arch])
    return int(known["cutlass"]["releases"][cutlass.version]["size_mib"])


def _source(wanted: Wanted, *, torch: bool) -> Iterator[Change]:
    """What is compiled: the source is fetched, the build tree and the wheel lie in the prefix."""
    for build in wanted.stack.source.builds if wanted.stack.source else ():
        if build.pending and (build.name == TORCH) == torch:
            what, place = f"{build.name} {build.version}", wanted.environment.prefix
            mib = build.fetch_mib
            yield Change("pytorch_source", BUILD, what, None, describe_build(build), mib, build.disk_mib, place)


def _pytorch(case: Case, wanted: Wanted) -> Iterator[Change]:
    host = case.host
    torch, environment = wanted.stack.torch, wanted.environment
    if torch is None:
        return
    sizes = case.known["pytorch"]["sizes"].get(torch.index.rpartition("-")[2], {})
    size, disk = int(sizes.get("download_mib", 0)), int(sizes.get("installed_mib", 0))
    if torch.adopt:
        adopted = case.known["sizes"]["sizes"]["adopted_environment"]
        size, disk = adopted["mib"], adopted["disk_mib"]
    if torch.provider in ("host_wheels", "source"):
        size = 0
    what = f"PyTorch {torch.local}{' (adopted)' if torch.adopt else ''}"
    if not (environment.live or environment.reused):
        old = str(host.live["name"]) if host.live and host.live.get("name") else None
        yield Change("pytorch", INSTALL, what, old, environment.name, size, disk, environment.path)
        return
    there = _there(wanted, host)
    packages: Mapping[str, Any] = there.get("packages") or {}
    extensions = {name for name, entry in wanted.stack.extensions.items() if name not in COMPANIONS}
    for name, version in _pins(torch).items():
        found = packages.get(name)
        if not _is_met(version, found and str(found)):
            mib = size if name == "torch" else 0
            action = REPLACE if found else REPAIR
            yield Change("pytorch", action, name, found and str(found), version, mib, mib * 2, environment.path)
    for name in there.get("broken") or ():
        if canonicalize_name(name) not in extensions:
            version = str(packages.get(canonicalize_name(name)) or "whole")
            yield Change("pytorch", REPAIR, str(name), DAMAGED, version)


def _pins(torch: PyTorch) -> dict[str, str]:
    """Package → version as its metadata has it, or >= and the least one; nothing where a PyTorch is adopted."""
    pairs = (re.fullmatch(r"([^=>]+)(?:==)?(.*)", requirement) for requirement in torch.requirements)
    return {pair[1]: pair[2] for pair in pairs if pair}


def _is_met(wanted: str, found: str | None) -> bool:
    """Whether a version is the wanted one: exactly, or of those that are at least as new."""
    return found is not None and (satisfies(found, wanted) if wanted.startswith(">=") else found == wanted)


def _extensions(wanted: Wanted, host: Host) -> Iterator[Change]:
    there = _there(wanted, host)
    packages = there.get("packages") or {}
    broken = {canonicalize_name(name) for name in there.get("broken") or ()}
    for name, entry in wanted.stack.extensions.items():
        if not isinstance(entry, Extension) or not entry.requirement or name in COMPANIONS:
            continue
        asked, version = entry.requirement.split("==", 1)
        package = canonicalize_name(asked.partition("[")[0])  # cupy is asked for as cupy-cuda13x
        found = packages.get(package)
        sizes = (entry.mib, int(entry.mib * UNPACKED), wanted.environment.path)
        role = owner_of(name)
        if found is None:
            yield Change(role, INSTALL, name, None, version, *sizes)
        elif found != version:
            yield Change(role, REPLACE, name, str(found), version, *sizes)
        elif package in broken:
            yield Change(role, REPAIR, name, DAMAGED, version, *sizes)


def _there(wanted: Wanted, host: Host) -> Mapping[str, Any]:
    """What was observed of the wanted generation; nothing where it is still to be built."""
    environment = wanted.environment
    return (find_built(environment.name, host) or {}) if environment.live or environment.reused else {}


def _environment(case: Case, wanted: Wanted) -> Iterator[Change]:
    """The switch to a new generation, and our own files that are gone or were edited."""
    host = case.host
    environment = wanted.environment
    values = dataclasses.asdict(environment)
    if not environment.live:
        old = str(host.live["name"]) if host.live and host.live.get("name") else None
        yield Change("gpu_environment", SWITCH, "live environment", old, environment.name)
        return
    seen = (host.live or {}).get("files")
    differing = _differing(generation_digests(values), seen)
    others = _of_other_settings(wanted, case.known) if differing else set()
    for path in differing:
        old = "other settings" if (path, (seen or {}).get(path)) in others else _was(path, seen)
        yield Change("gpu_environment", REPAIR, path, old, "as generated")
    for path in _differing(host_digests(values), host.files):
        yield Change("gpu_environment", REPAIR, path, _was(path, host.files), "as generated")


def _record(wanted: Wanted, host: Host) -> Iterator[Change]:
    """The decision on record, where another one stands there that took the same files: as one for other GPUs does."""
    stands = (host.state or {}).get("decision")
    if stands != wanted.digest:
        old = str(stands)[:SHOWN] if stands else None
        yield Change("gpu_environment", REPLACE, RECORD, old, wanted.digest[:SHOWN])


def _of_other_settings(wanted: Wanted, known: Catalogue) -> set[tuple[str, str]]:
    """Path and digest of what this generation's files would be with any other wish for the settings."""
    torch = wanted.stack.torch.version if wanted.stack.torch else None
    choices = set(all_choices(torch, known, wanted.environment.settings))
    environments = (dataclasses.replace(wanted.environment, settings=choice) for choice in choices)
    return {item for one in environments for item in generation_digests(dataclasses.asdict(one)).items()}


def _differing(wanted: Mapping[str, str], seen: Mapping[str, Any] | None) -> list[str]:
    return [path for path, digest in wanted.items() if (seen or {}).get(path) != digest]


def _was(path: str, seen: Mapping[str, Any] | None) -> str | None:
    return "edited" if (seen or {}).get(path) else None
