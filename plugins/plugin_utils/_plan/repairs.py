# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which foreign settings that break CUDA a run takes out by itself, and why it leaves the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.podsmith.gpu.plugins.module_utils._repair.lines import (
    CACHE,
    FOLDERS,
    LIBRARIES,
    Edit,
    edit_line,
    form_of,
    is_system_folder,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._repair.values import find_breaking
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import Host
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.ways import LIBRARY_PATH, PRELOAD, VISIBLE

ROLE, SYSTEM = "gpu_environment", "system"
TRACED = "traced"  # kind of what a shell's own trace has named
STALE = ("loader_cache", "wsl_cache")  # ldconfig alone puts these right; it changes no file of anybody
VARIABLES = {  # conflict → the variable that its line sets
    "ld_library_path": LIBRARY_PATH,
    "stubs": LIBRARY_PATH,
    "wsl_hidden": LIBRARY_PATH,
    "preload": PRELOAD,
    "hidden_devices": VISIBLE,
    "repeated_devices": VISIBLE,
    "cuda_home": "CUDA_HOME",
    "loader_order": "",
}

Repair = dict[str, Any]  # {path, line, number, variable, values, kind}: what the module file_repairs takes


def find_repairs(repair_files: Sequence[str], host: Host, scope: str = SYSTEM) -> tuple[Repair, ...]:
    """What is taken out of the files that the user lists, and ldconfig where the loader's cache alone is wrong.

    Each line once for each variable that it sets. ``~`` in ``repair_files`` is the home of the user on the host.
    """
    found: dict[tuple[str, int, str], Repair] = {}
    for repair in settings_of(host):
        if is_listed(repair["path"], repair_files, host) and not why_left(repair, host, scope):
            key = (repair["path"], repair["number"], repair["variable"])
            known = found.setdefault(key, repair)
            known["values"] = list(dict.fromkeys([*known["values"], *repair["values"]]))
    may_refresh = scope == SYSTEM and host.root is not False
    stale = [row for row in host.conflicts if may_refresh and row.get("kind") in STALE]
    if stale:
        folders = list(dict.fromkeys(str(row.get("path") or "") for row in stale))
        found[(CACHE, 0, "")] = _repair(CACHE, 0, "", "", folders) | {"kind": str(stale[0]["kind"])}
    return tuple(found.values())


def settings_of(host: Host) -> Iterator[Repair]:
    """The lines of files that break CUDA: those found by reading, then those that a failing shell's trace has named."""
    for row in host.conflicts:
        if repair := setting_of(row):
            yield repair
    for way in (host.ways or {}).values():
        for trace in way.causes:
            values = list(find_breaking(trace.variable, trace.value, way.libcuda))
            if trace.file and trace.line and trace.text:
                yield _repair(trace.file, trace.line, trace.text, trace.variable, values) | {"kind": TRACED}


def setting_of(row: Row) -> Repair | None:
    """The line of a conflict that a repair would change; None where the conflict is no line of a file."""
    kind, path, number, text = (row.get(key) for key in ("kind", "file", "line", "text"))
    if not (path and text and isinstance(number, int)) or kind not in VARIABLES:
        return None
    is_variable = form_of(str(path)) not in (FOLDERS, LIBRARIES)
    values = [str(row["path"])] if row.get("path") else []
    return _repair(str(path), number, str(text), VARIABLES[kind] if is_variable else "", values) | {"kind": kind}


def is_listed(path: str, repair_files: Sequence[str], host: Host) -> bool:
    """Whether the user lists a file; ``~`` is the home of the user on the host."""
    return path in {f"{host.home}{file[1:]}" if file.startswith("~/") else file for file in repair_files}


def why_left(repair: Repair, host: Host, scope: str) -> str | None:
    """Why a line of a listed file is left as it is, as a half sentence; None where a run changes it."""
    path, form = repair["path"], form_of(repair["path"])
    if not (host.home and path.startswith(f"{host.home.rstrip('/')}/")):
        if host.root is False:
            return "to change it needs root, and this is not root"
        if scope != SYSTEM:
            return "in user scope only files below the home are changed"
    if form == FOLDERS and any(is_system_folder(value) for value in repair["values"]):
        return "the system keeps libraries in that folder, and what does not belong there is to be removed from it"
    if preview(repair) is None:
        return "a run cannot remove it from that line without changing what else the line does"
    return None


def preview(repair: Repair) -> Edit | None:
    """What becomes of the line; None where it cannot be changed by itself."""
    return edit_line(repair["line"], form_of(repair["path"]), repair["variable"], repair["values"])


def changes_of_repairs(decision: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The changes of a decision that its repairs are: they are made before all others."""
    repairs = (decision.get("environment") or {}).get("repairs") or ()
    told = {told_as(repair) for repair in repairs} | ({CACHE} if repairs else set())
    return [change for change in decision["changes"] if change["role"] == ROLE and change["what"] in told]


def told_as(repair: Mapping[str, Any]) -> str:
    """How a change names the line."""
    return f"{repair['path']}: {repair['line']}"


def _repair(path: str, number: int, line: str, variable: str, values: list[str]) -> Repair:
    return {"path": path, "line": line.strip(), "number": number, "variable": variable, "values": values}
