# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who manages a project, and which environment of it may be changed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.document import parse_pyproject
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.words import LOCK_OF, VARIABLE

# Files of managers that are not supported -> which manager.
STRANGERS = {
    "Pipfile": "Pipenv",
    "Pipfile.lock": "Pipenv",
    "conda-lock.yml": "conda",
    "environment.yaml": "conda",
    "environment.yml": "conda",
    "hatch.toml": "Hatch",
    "pdm.lock": "PDM",
    "pdm.toml": "PDM",
    "pixi.lock": "pixi",
    "pixi.toml": "pixi",
}
MAKE = {  # how each manager's environment is created
    "poetry": "poetry install",
    "uv": "uv sync",
    "pip-tools": "python3 -m venv .venv, then pip-sync",
    "pip": "python3 -m venv .venv, then pip install",
}


def find_manager(project: Mapping[str, Any], requested: str | None) -> str | Refusal:
    """The manager of a project, by its files; refused where there is none, another, or more than one."""
    path = project["path"]
    if not project["exists"]:
        because = f"{path} does not exist; expected the folder of a project on the host"
        return Refusal(because, f"Check {VARIABLE}_path.")
    if requested:
        return requested
    document = parse_pyproject(project)
    if isinstance(document, Refusal):
        return document
    if others := _strangers(project, document.get("tool") or {}):
        listed = ", ".join(f"{name} ({evidence})" for name, evidence in sorted(others.items()))
        return Refusal(
            f"{path} is managed by {listed}; expected Poetry, uv, pip-tools or pip",
            "Add PyTorch's index to the configuration of that manager by hand, or name the one of the four that owns "
            f"the environment with {VARIABLE}_manager.",
        )
    return _own_manager(project, document)


def _strangers(project: Mapping[str, Any], tools: Mapping[str, Any]) -> dict[str, str]:
    """The managers that are not supported and own this project -> by what that is known."""
    environment = project.get("environment") or {}
    found = {STRANGERS[name]: name for name in project["others"]}
    found.update({"PDM": "tool.pdm in pyproject.toml"} if "pdm" in tools else {})
    found.update({"Hatch": "tool.hatch.envs in pyproject.toml"} if "envs" in tools.get("hatch", {}) else {})
    found.update({"conda": f"{environment['path']}/conda-meta"} if environment.get("conda") else {})
    return found


def _own_manager(project: Mapping[str, Any], document: Mapping[str, Any]) -> str | Refusal:
    """Which of the supported managers it is: a lock file outweighs a table, and both outweigh requirements files."""
    path, tools = project["path"], document.get("tool") or {}
    locked = [manager for manager, lock in LOCK_OF.items() if lock in project["locks"]]
    own = locked or [manager for manager in LOCK_OF if manager in tools]
    if len(own) > 1:
        evidence = " and ".join(LOCK_OF[name] if locked else f"tool.{name} in pyproject.toml" for name in own)
        return Refusal(
            f"{path} has {evidence}; expected one manager",
            f"Remove what is not used, or name the manager that owns the environment with {VARIABLE}_manager.",
        )
    if own:
        return own[0]
    files = project["requirements"]
    if any(row["compiler"] for row in files.values()):
        return "pip-tools"
    if files or "project" in document or (project.get("environment") or {}).get("creator"):
        return "pip"
    because = f"{path} has no pyproject.toml, no lock file and no requirements file; expected one of them"
    return Refusal(because, f"Check {VARIABLE}_path.")


def check_environment(project: Mapping[str, Any], manager: str) -> Mapping[str, Any] | Refusal:
    """The environment of a project; refused where there is none that may be changed."""
    path, found, make = project["path"], project["environments"], MAKE[manager]
    environment: Mapping[str, Any] | None = project.get("environment")
    if len(found) > 1:
        because = f"{path} has {len(found)} environments ({', '.join(found)}); expected one"
        return Refusal(because, f"Name it with {VARIABLE}_environment, or choose one with poetry env use.")
    if not environment:
        return Refusal(
            f"{path} has no environment: neither .venv, venv or env in it nor one of Poetry's, and this role creates "
            "none",
            f"Create it with {make}, or name it with {VARIABLE}_environment.",
        )
    if not environment["works"] or not environment["site_packages"]:
        return Refusal(f"{environment['path']} has no Python that runs", f"Create the environment again with {make}.")
    owner = project.get("owner") or {}
    name, reader = owner.get("name"), owner.get("reader")
    if name != reader:
        return Refusal(
            f"{environment['path']} belongs to {name}, who could not change the files that {reader} would write there",
            f"Run as that user: -e ansible_become=true -e ansible_become_user={name}.",
        )
    return environment
