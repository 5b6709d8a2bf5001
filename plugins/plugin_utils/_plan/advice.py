# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person should know beside the decision: what would help, and what was seen that changes nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.podsmith.gpu.plugins.module_utils._repair.lines import CACHE, FOLDERS, form_of
from ansible_collections.podsmith.gpu.plugins.module_utils._verify.coverage import split_architecture
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import builds, rules
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compat import ForwardCompat
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import Host
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.minor import driver_of
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.repairs import (
    STALE,
    find_repairs,
    is_listed,
    setting_of,
    why_left,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.route import Choice, choose

CONFLICTS = {
    "ld_library_path": "puts another libcuda before the driver's",
    "preload": "preloads another libcuda than the driver's",
    "loader_order": "puts another libcuda before the driver's",
    "loader_cache": "does not agree with the loader's configuration about libcuda",
    "loader_missing": "has the driver's libcuda, and the loader does not look there",
    "second_libcuda": "is a second libcuda beside the driver's",
    "stubs": "puts the toolkit's stub libraries on the loader's path",
    "cuda_home": "names another CUDA toolkit than the plan",
    "hidden_devices": "hides every GPU from CUDA",
    "repeated_devices": "names a GPU twice, so that CUDA starts with none (error 101)",
    "some_devices": "hides some of the GPUs from CUDA",
    "toolkit_library": "puts an older toolkit's libraries before those that PyTorch brings",
    "wsl_files": "is not as Windows' driver puts it there",
    "wsl_loader": "is not in the loader's configuration, so that programs do not find Windows' driver",
    "wsl_cache": "is not in the loader's cache, so that programs do not find Windows' driver",
    "wsl_hidden": "puts another libcuda before that of Windows' driver in /usr/lib/wsl/lib",
    "wsl_linux_driver": "belongs to an NVIDIA driver for Linux, which WSL2 must not have: Windows' is the only one",
    "wsl_linux_library": "is a libcuda of a driver for Linux, which WSL2 must not have: Windows' is the only one",
}
COMMANDS = {  # conflict → what puts it right where no line of a file is to be removed
    "loader_order": "remove the line, or list the file in repair_files, and run: sudo ldconfig",
    "loader_cache": "run: sudo ldconfig",
    "loader_missing": "run: echo {path} | sudo tee -a /etc/ld.so.conf.d/nvidia-driver.conf && sudo ldconfig",
    "wsl_files": "run in Windows: wsl --shutdown; the next start of WSL2 mounts the folder anew",
    "wsl_loader": "run: echo /usr/lib/wsl/lib | sudo tee /etc/ld.so.conf.d/ld.wsl.conf && sudo ldconfig",
    "wsl_cache": "run: sudo ldconfig",
    "wsl_linux_driver": "run: sudo apt-get purge {text} && sudo ldconfig",
    "wsl_linux_library": "remove what was put there by hand: sudo rm {path} && sudo ldconfig",
}


def remedies(case: Case, *, other_wishes: bool) -> tuple[str, ...]:
    """What would meet the request; with ``other_wishes`` also which other request would be met here."""
    host = case.host
    found = []
    wished = list(builds.wished_builds(case))
    fit = [build for build in wished if not builds.why_not_build(case, build, ptx=True)]
    if not wished:
        cudas = builds.published_cudas(case)
        other = f"Set cuda: {' or '.join(cudas)} with this PyTorch, or" if cudas else "Set"
        found.append(f"{other} {'set ' if cudas else ''}pytorch: newest.")
    elif fit:
        floors = [floor for build in fit if (floor := rules.floor(case, str(build.cuda)))]
        least = min(floors, key=parse_version, default=None)
        if host.driver and least and parse_version(host.driver) < parse_version(least):
            verb = "Update the Windows driver to" if host.wsl else "Use a host with driver"
            found.append(f"{verb} {least} or newer.")
    elif host.pythons is not None and not any(builds.has_python(case, build) for build in wished):
        found += python_remedies(case)
    if other_wishes:
        found += _other_wishes(case)
    return tuple(found or _gpu_remedies(case))


def _other_wishes(case: Case) -> list[str]:
    """What the policies that the request leaves out would bring."""
    found = []
    for policy in ("forward_compat", "fallback"):
        if policy in case.request.on_old_driver:
            continue
        choice = choose(replace(case, request=replace(case.request, on_old_driver=(policy,))))
        if choice.build:
            found.append(f"Add {policy} to on_old_driver: {choice.build.name} runs here that way.")
    return found


def _gpu_remedies(case: Case) -> list[str]:
    host = case.host
    floors = {
        parse_version(split_architecture(arch)[0]): split_architecture(arch)[0]
        for release in case.known["pytorch"]["releases"].values()
        for index in release["indexes"].values()
        for arch in index.get(host.arch, {}).get("linux", ())
    }
    if host.capabilities and floors and parse_version(host.capabilities[0]) < min(floors):
        return [f"Use a GPU of compute capability {floors[min(floors)]} or newer, or set cuda: none."]
    newest = replace(case, request=replace(case.request, pytorch="newest", cuda="newest"))
    fit = (build for build in builds.wished_builds(newest) if not builds.why_not_build(case, build, ptx=True))
    if build := next(fit, None):
        return [f"Ask for {build.name}, which has machine code for {host.gpu_names or 'this GPU'}."]
    return ["Use another host, or set cuda: none to run on the CPU."]


def python_remedies(case: Case) -> list[str]:
    """What to do where no interpreter, or no C library, fits any wished PyTorch."""
    host, known = case.host, case.known
    row = known["pytorch"]["releases"][builds.wished_torches(case.request, known)[0] or ""]
    glibc = row.get("glibc")
    if glibc and host.glibc and parse_version(host.glibc) < parse_version(glibc):
        return [f"Use a distribution with glibc {glibc} or newer; found {host.glibc}."]
    found = ", ".join(dict.fromkeys(python.version for python in host.pythons or ())) or "none"
    wanted = f"{row['pythons'][0]} to {row['pythons'][-1]}"
    return [f"Install Python {wanted} with its venv module; found {found}. Or correct stack_plan_request.python."]


def better(case: Case, choice: Choice) -> str | None:
    """What would be better than a route that works."""
    if choice.build is None or choice.build.cuda is None:
        return None
    row = case.known["cuda"]["releases"][choice.build.cuda]
    built_with = row["driver_windows" if case.host.wsl else "driver"]
    if choice.route == "forward_compat":
        inside = choice.ptx or (choice.build.cuda if rules.minor_version(case, choice.build.cuda) else None)
        least = driver_of(case, inside) if inside else row["least_driver"]
        return f"A host with driver {least} or newer needs no forward compatibility."
    if choice.route == "minor_version" and built_with:
        return f"A host with driver {built_with} or newer also compiles PTX of CUDA {choice.build.cuda}."
    return None


def observed_warnings(case: Case, observed: Mapping[str, Any], told: Collection[tuple[Any, Any]] = ()) -> list[str]:
    """Overrides, foreign settings and what the observation could not read.

    ``told`` are the places of the foreign settings that are told elsewhere, as causes.
    """
    host, request = case.host, case.request
    overrides, driver = request.overrides, observed.get("driver") or {}
    devices = observed.get("devices") or [{}]
    ways = (host.ways or {}).values()
    found = []
    taken = {
        "driver": (driver.get("version"), overrides.driver),
        "compute_capability": (devices[0].get("compute_capability"), overrides.compute_capability),
        "brand_id": (devices[0].get("brand_id"), overrides.brand_id),
    }
    for key, (seen, given) in taken.items():
        if given is not None:
            found.append(f"override {key}: observed {seen or 'nothing'}, used {given}.")
    skipped = {"arch_list": "machine code for the GPU", "python": "the Python version", "glibc": "the C library"}
    for key, what in skipped.items():
        if not getattr(overrides, key):
            found.append(f"override {key}: {what} is not checked.")
    for row in host.conflicts:
        if row.get("kind") == "some_devices" and any(way.is_chosen(len(host.gpus or ())) for way in ways):
            continue  # it is told with the way that shows it
        if find_place(row) in told or _is_repaired(case, row):
            continue
        places = [str(row[key]) for key in ("file", "line") if row.get(key)]
        where = ":".join(places) or str(row.get("path") or "the environment")
        text = f" ({row['text']})" if row.get("text") else ""
        found.append(f"{where} {CONFLICTS.get(str(row.get('kind')), 'disturbs CUDA')}{text}; {_by_hand(case, row)}.")
    found += [f"not read: {problem}" for problem in observed.get("problems") or ()]
    return found


def find_place(row: Mapping[str, Any]) -> tuple[Any, Any]:
    """What tells one foreign setting from another: its file and line, or its file and path where there is no line."""
    return row.get("file") or None, row.get("line") or row.get("path")


def _is_repaired(case: Case, row: Row) -> bool:
    """Whether a run puts a conflict right by itself: then it is a change, and no warning."""
    setting, made = setting_of(row), find_repairs(case.request.repair_files, case.host, case.layout.scope)
    if row.get("kind") in STALE:
        return any(repair["path"] == CACHE for repair in made)
    places = {(repair["path"], repair["number"], repair["variable"]) for repair in made}
    return setting is not None and (setting["path"], setting["number"], setting["variable"]) in places


def _by_hand(case: Case, row: Row) -> str:
    """What to do about a conflict that stays; of a file that is listed, why a run leaves it."""
    setting = setting_of(row)
    if setting is None:
        command = COMMANDS.get(str(row.get("kind")), "remove it")
        return command.format(text=row.get("text") or "", path=row.get("path") or "")
    because = why_left(setting, case.host, case.layout.scope)
    remove = "remove it and run ldconfig" if form_of(setting["path"]) == FOLDERS else "remove it"
    if is_listed(setting["path"], case.request.repair_files, case.host):
        return f"{remove} by hand: {because}"
    return remove if because else f"{remove}, or list the file in repair_files"


def unknown_warnings(host: Host) -> list[str]:
    """What was needed and is unknown."""
    found = []
    if host.driver is None:
        found.append("The driver's version is unknown; the plan goes by what else is known, and the proof decides.")
    if host.gpus is None or any(gpu.capability is None for gpu in host.gpus):
        found.append("The GPU's compute capability is unknown; whether the wheels cover it is not checked.")
    return found


def compat_warnings(compat: ForwardCompat, host: Host) -> list[str]:
    """Compat libraries that lie about; one that a way into the host loads is judged there."""
    if (compat.enabled and not compat.standby) or any(way.compat for way in (host.ways or {}).values()):
        return []
    kept = [row for row in host.compat if row.get("package") not in (*compat.remove, compat.package)]
    return [f"{row.get('package')} {row.get('version')} is present; it stays off the path." for row in kept]
