# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which commands of a project's manager will leave PyTorch as it is, and why. Pure."""

from __future__ import annotations

from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.case import ProjectCase
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.expected import Expected
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.fence import has_foreign_conf
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.pins import pinned_cuda, right_pin
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.words import SYNC, build_name

UNLOCKED = {  # what each manager does to a torch that its lock file does not name
    "poetry": "leaves it as it is",
    "uv": "removes it, and this playbook installs it again",
    "pip-tools": "removes it, and this playbook installs it again",
}


def find_held(case: ProjectCase, expected: Expected) -> list[dict[str, Any]]:
    """For each command that could replace PyTorch, whether it is kept from it, and why: once the plan is applied."""
    foreign = has_foreign_conf(case.environment)
    pip = "the environment's pip.conf was not written by this role" if foreign else "by the environment's pip.conf"
    return [
        _row("pip install", not foreign, pip),
        _row("uv pip install", True, "in the activated environment, by UV_CONSTRAINT"),
        *(_hashed(case) if case.manager == "pip" else [_synced(case, expected)]),
    ]


def _hashed(case: ProjectCase) -> list[dict[str, Any]]:
    """The requirements files whose checksums are those of another build."""
    files = case.project["requirements"]
    hashed = [name for name, row in files.items() if row["hashes"] and "torch" in row["pins"]]
    verb = "pins" if len(hashed) == 1 else "pin"
    because = f"{', '.join(hashed)} {verb} the checksum of another wheel: pip refuses it, and replaces nothing"
    return [_row(f"pip install -r {name}", True, because) for name in hashed]


def _synced(case: ProjectCase, expected: Expected) -> dict[str, Any]:
    """The manager's own command."""
    pins, command = case.pins, SYNC[case.manager]
    if pins.file is None:
        because = f"no lock file names torch: {command} {UNLOCKED[case.manager]}"
        return _row(command, case.manager == "poetry", because)
    if right := right_pin(pins, expected, case.known):
        return _row(command, True, f"{pins.file} pins torch {right}")
    pinned = pins.packages["torch"]
    named = build_name(pinned, pinned_cuda(pinned, case.known))
    return _row(command, False, f"{pins.file} pins torch {named}, which it installs again")


def _row(command: str, held: bool, because: str) -> dict[str, Any]:
    return {"command": command, "held": held, "because": because}
