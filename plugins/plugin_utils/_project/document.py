# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a project's pyproject.toml and requirements files name. Pure."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.pep import (
    InvalidRequirement,
    Requirement,
    canonicalize_name,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal

_TAIL = re.compile(r"(?:^|\s+)(?:#|--?[A-Za-z]|\\\s*$).*")  # a comment, an option or a continuation of a line


def parse_pyproject(project: Mapping[str, Any]) -> dict[str, Any] | Refusal:
    """A project's pyproject.toml, empty where it has none."""
    try:
        return tomllib.loads(project["texts"].get("pyproject.toml", ""))
    except tomllib.TOMLDecodeError as error:
        return not_toml(error)


def not_toml(error: Exception) -> Refusal:
    """The refusal of a pyproject.toml that no parser reads."""
    return Refusal(f"pyproject.toml is not valid TOML ({error})", "Correct it and run again.")


def requirement_lists(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every list of requirements of the standard tables, with the name of its group: '' for the project itself."""
    project = document.get("project") or {}
    if "dependencies" in project:
        yield "", project["dependencies"]
    for extra in (project.get("optional-dependencies") or {}).values():
        yield "", extra
    for name, group in (document.get("dependency-groups") or {}).items():
        yield str(name), group


def poetry_tables(document: Mapping[str, Any]) -> Iterator[Any]:
    """Every table of dependencies in Poetry's own form."""
    poetry = (document.get("tool") or {}).get("poetry") or {}
    for table in (poetry, *(poetry.get("group") or {}).values()):
        if "dependencies" in table:
            yield table["dependencies"]
    if "dev-dependencies" in poetry:
        yield poetry["dev-dependencies"]


def parse_requirement(text: Any) -> Requirement | None:
    """A requirement (PEP 508), None for what is none: a group may include others by a table, a file name paths."""
    try:
        return Requirement(text) if isinstance(text, str) else None
    except InvalidRequirement:
        return None


def names(requirements: Iterable[Any]) -> set[str]:
    """The normalised names in a list of requirements."""
    return {canonicalize_name(found.name) for text in requirements if (found := parse_requirement(text))}


def find_requirements(project: Mapping[str, Any], document: Mapping[str, Any]) -> list[str]:
    """What the standard tables and the requirements files that a person writes require, as text."""
    found = [entry for _group, entries in requirement_lists(document) for entry in entries]
    for row in project["requirements"].values():
        found += [_TAIL.sub("", line).strip() for line in row["text"].splitlines() if not row["compiler"]]
    return [entry for entry in found if isinstance(entry, str)]


def named_packages(project: Mapping[str, Any], document: Mapping[str, Any]) -> set[str]:
    """Every distribution that the project itself names, normalised."""
    found = names(find_requirements(project, document))
    return found | {canonicalize_name(name) for table in poetry_tables(document) for name in table}
