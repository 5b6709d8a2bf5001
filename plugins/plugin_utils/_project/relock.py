# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the project's own files would keep PyTorch, where they do not. Pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field

from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project import edit as editing
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.case import ProjectCase
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.expected import Expected
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.fence import CONSTRAINTS
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.pins import right_pin
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.words import FAMILY, SYNC


@dataclass(frozen=True)
class Edit:
    """New texts of project files, and the command by which the manager writes its ``lock`` again."""

    lock: str
    command: list[str]
    files: list[dict[str, str]] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    diff: list[str] = field(default_factory=list)


def edit_pyproject(lock: str, command: list[str], old: str, new: str) -> Edit:
    """The edit that replaces one text of pyproject.toml by another."""
    files = [{"name": "pyproject.toml", "content": new}] if new != old else []
    return Edit(lock, command, files, diff=editing.unified("pyproject.toml", old, new))


def plan_edit(case: ProjectCase, expected: Expected) -> Edit | Refusal | None:
    """The edit by which the project's own files keep PyTorch; None where they keep it or do not name it."""
    pins = case.pins
    if pins.file is None or case.manager == "pip" or right_pin(pins, expected, case.known):
        return None
    if expected.url is None:
        return Refusal(
            f"PyTorch comes from this host's own wheels, which {pins.file} cannot name as an index",
            f"Run this playbook again after {SYNC[case.manager]}.",
        )
    if case.manager == "pip-tools":
        return _compile(case, expected, pins.file)
    return _edit(case, expected, pins.file)


def _edit(case: ProjectCase, expected: Expected, lock: str) -> Edit | Refusal:
    """pyproject.toml with an explicit index, locked again by uv or Poetry."""
    manager, texts, url = case.manager, case.project["texts"], str(expected.url)
    if manager == "uv" and "uv.toml" in texts:
        index = f'[[index]] name = "pytorch-{expected.index}", url = "{url}", explicit = true'
        because = "uv.toml hides the indexes of pyproject.toml, and is not edited"
        return Refusal(because, f"Add PyTorch's index to it by hand: {index}.")
    text = texts.get("pyproject.toml", "")
    packages = [name for name in FAMILY if name == "torch" or name in case.pins.packages]
    new = editing.edit(text, manager, expected.index, url, packages)
    if isinstance(new, Refusal):
        return new
    tool = case.project["tools"].get(manager)
    if tool is None:
        because = f"{manager} was not found on this host, and nothing else can write {lock}"
        return Refusal(because, f"Install {manager} on the host, or add its folder to PATH.")
    command = [tool, "lock"]
    if manager == "uv" and case.request.pytorch:
        command += ["--upgrade-package", f"torch=={expected.version}"]
    return edit_pyproject(lock, command, text, new)


def _compile(case: ProjectCase, expected: Expected, file: str) -> Edit | Refusal:
    """The command that compiled a requirements file, run again with PyTorch's index beside the others."""
    row = case.project["requirements"][file]
    words, uv = shlex.split(row["command"] or ""), row["compiler"] == "uv"
    tool = case.project["tools"].get("uv" if uv else "pip-compile")
    if not words or tool is None:
        why = "which was not found on this host" if words else "and does not name its command"
        return Refusal(
            f"{file} was compiled by {row['compiler']}, {why}",
            f"Compile it again by hand with torch=={expected.local} as a constraint and the index {expected.url}.",
        )
    urls = " ".join([*(case.project.get("pip") or {}).get("extra_index_urls", []), str(expected.url)])
    constraints = f"{case.environment['path']}/{CONSTRAINTS}"
    if uv:
        variables = {"UV_INDEX": urls, "UV_CONSTRAINT": constraints, "UV_INDEX_STRATEGY": "unsafe-best-match"}
        return Edit(file, [tool, "pip", "compile", *words[3:]], variables=variables)
    variables = {"PIP_EXTRA_INDEX_URL": urls, "PIP_CONSTRAINT": constraints}
    return Edit(file, [tool, *words[1:]], variables=variables)
