# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person should know beside the decision: a broken driver, and what was seen that changes nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ansible_collections.podsmith.gpu.plugins.module_utils._repair.lines import CACHE, FOLDERS, form_of
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compat import ForwardCompat
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import Host
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.repairs import (
    STALE,
    find_repairs,
    is_listed,
    setting_of,
    why_left,
)

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


def observed_warnings(case: Case, observed: Mapping[str, Any], told: Collection[tuple[Any, Any]] = ()) -> list[str]:
    """Overrides, foreign settings and what the observation could not read.

    ``told`` are the places of the foreign settings that are told elsewhere, as causes.
    """
    host, request = case.host, case.request
    overrides, driver = request.overrides, observed.get("driver") or {}
    devices = [one for one in observed.get("devices") or () if isinstance(one, Mapping)] or [{}]
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
