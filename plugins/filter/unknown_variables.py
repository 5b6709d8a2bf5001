# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable, Iterable

import yaml

from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.parts import RESULTS
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import nearest

ROLES = pathlib.Path(__file__).resolve().parents[2] / "roles"


@functools.cache
def declared_variables() -> dict[str, frozenset[str]]:
    """Role → its declared options and results."""
    found = {}
    for path in sorted(ROLES.glob("*/meta/argument_specs.yml")):
        role = path.parents[1].name
        specs = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].values()
        options = {name for spec in specs for name in spec.get("options") or {}}
        found[role] = frozenset(options | {name for name in RESULTS if name.startswith(f"{role}_")})
    return found


def unknown_variables(names: Iterable[str]) -> list[str]:
    """A sentence for each name that begins like a role's variable and is none."""
    told = []
    for name in sorted({str(name) for name in names}):
        roles = [role for role in declared_variables() if name.startswith(f"{role}_")]
        if roles and not any(name in declared_variables()[role] for role in roles):
            declared = sorted(declared_variables()[max(roles, key=len)])
            told.append(f"The variable {name} is unknown; {nearest(name, declared)}")
    return told


class FilterModule:
    def filters(self) -> dict[str, Callable[..., list[str]]]:
        return {"unknown_variables": unknown_variables}
