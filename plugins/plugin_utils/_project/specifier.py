# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which releases of torch a project allows. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.pep import (
    Requirement,
    SpecifierSet,
    canonicalize_name,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.case import ProjectCase
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.document import (
    find_requirements,
    parse_requirement,
    poetry_tables,
)

_POETRY = re.compile(r"(\^|~(?!=))\s*(\d+(?:\.\d+)*)")  # Poetry's own operators, which PEP 440 does not have


def find_specifier(case: ProjectCase) -> str:
    """Which releases of torch the project allows here, as a specifier; empty: any, or it is not named.

    A requirement whose marker is for other systems or another Python does not count.
    """
    for text in find_requirements(case.project, case.document):
        found = parse_requirement(text)
        if found and canonicalize_name(found.name) == "torch" and _applies(found, case):
            return _render(found.specifier)
    for table in poetry_tables(case.document):
        for name, value in table.items():
            if canonicalize_name(name) == "torch":
                version = value.get("version", "") if isinstance(value, Mapping) else value
                return from_poetry(version) if isinstance(version, str) else ""
    return ""


def _applies(requirement: Requirement, case: ProjectCase) -> bool:
    """Whether a requirement is one for the host and its Python, by its marker."""
    if requirement.marker is None:
        return True
    python = str(case.environment["python_version"]).rstrip("t")  # 3.13t: without a lock
    machine = (case.host.get("platform") or {}).get("arch") or ""
    system = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": machine}
    return requirement.marker.evaluate({**system, "python_version": python, "python_full_version": python, "extra": ""})


def _render(specifier: SpecifierSet) -> str:
    """A specifier from its lowest number to its highest, as a person writes it."""
    clauses = sorted(specifier, key=lambda clause: parse_version(clause.version.removesuffix(".*")))
    return ",".join(map(str, clauses))


def from_poetry(text: str) -> str:
    """A constraint of Poetry's as a specifier (PEP 440): ``^2.5`` is ``>=2.5,<3``, ``2.5`` is ``==2.5``."""
    if text in ("", "*"):
        return ""
    clauses = []
    for clause in (part.strip() for part in text.split(",")):
        if match := _POETRY.fullmatch(clause):
            parts = [int(part) for part in match[2].split(".")]
            keep = 1 if match[1] == "^" or len(parts) == 1 else 2
            upper = [*parts[: keep - 1], parts[keep - 1] + 1]
            clauses += [f">={match[2]}", f"<{'.'.join(map(str, upper))}"]
        else:
            clauses.append(f"=={clause}" if clause[:1].isdigit() else clause)
    return ",".join(clauses)
