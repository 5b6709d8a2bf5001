# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files in an environment that keep installations from replacing PyTorch, and their removal to the byte. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import BEGIN, END, without_block

CONSTRAINTS = "podsmith-constraints.txt"
# pip has one for isolated builds as well, PIP_BUILD_CONSTRAINT, with which it refuses --no-build-isolation.
VARIABLES = ("PIP_CONSTRAINT", "UV_CONSTRAINT", "UV_BUILD_CONSTRAINT")
MARK = "# podsmith.gpu: "  # how a file that is ours begins
HEAD = f"{MARK}keeps PyTorch at the build for this host; project_environment_state=absent removes this file\n"
_DEACTIVATE = re.compile(r"^deactivate *\(\) *\{[ ]*\n", re.MULTILINE)
_START = re.compile(r"^deactivate nondestructive[ ]*\n", re.MULTILINE)
_PLAIN = re.compile(r"[\w./+@:-]+")  # what neither a shell nor a list of paths takes apart


def render_constraints(versions: Mapping[str, str]) -> str:
    """The constraints file."""
    return HEAD + "".join(f"{name}=={version}\n" for name, version in versions.items())


def render_pip_conf(folder: str, pip: Mapping[str, Any], url: str | None) -> str:
    """The environment's pip.conf. A later file hides the lists of an earlier one, so what the host has is repeated."""
    urls = [*pip.get("extra_index_urls", []), *([url] if url else [])]
    constraints = [*pip.get("constraints", []), f"{folder}/{CONSTRAINTS}"]
    lines = [HEAD]
    if urls and not pip.get("secret"):  # a credential is not copied; pip goes on using the indexes of now
        lines += ["[global]\n", "extra-index-url =\n", *(f"    {entry}\n" for entry in dict.fromkeys(urls))]
    lines += ["[install]\n", "constraint =\n", *(f"    {entry}\n" for entry in dict.fromkeys(constraints))]
    return "".join(lines)


def render_activate(text: str, folder: str) -> str | None:
    """An ``activate`` that sets the constraints, which ``deactivate`` takes back; None where it is unlike any."""
    plain = without_block(text)
    path = f"{folder}/{CONSTRAINTS}"
    if not _DEACTIVATE.search(plain) or not _START.search(plain) or not _PLAIN.fullmatch(path):
        return None
    back = "".join(
        f'        {name}="${{_PODSMITH_{name}-}}"\n        [ -n "${name}" ] || unset {name}\n' for name in VARIABLES
    )
    leave = (
        f'    {BEGIN}\n    if [ -n "${{_PODSMITH_FENCE-}}" ]; then\n{back}'
        f"        unset _PODSMITH_FENCE {' '.join(f'_PODSMITH_{name}' for name in VARIABLES)}\n"
        f"    fi\n    {END}\n"
    )
    enter = f"{BEGIN}\n_PODSMITH_FENCE=1\n"
    for name in VARIABLES:
        enter += f'_PODSMITH_{name}="${{{name}-}}"\n{name}="{path}${{{name}:+ ${name}}}"\nexport {name}\n'
    enter += f"{END}\n"
    plain = _START.sub(lambda match: match[0] + enter, plain, count=1)
    return _DEACTIVATE.sub(lambda match: match[0] + leave, plain, count=1)


def is_ours(text: str | None) -> bool:
    """Whether a whole file is one of ours."""
    return text is not None and text.startswith(MARK)


def has_foreign_conf(environment: Mapping[str, Any]) -> bool:
    """Whether the environment has a pip.conf of somebody else's."""
    text = environment["fence"].get("pip.conf")
    return text is not None and not is_ours(text)


def fence(
    environment: Mapping[str, Any], pip: Mapping[str, Any], versions: Mapping[str, str], url: str | None
) -> tuple[list[dict[str, Any]], list[str]]:
    """What of the fence is to be written, and what could not be: a row a file, and sentences."""
    folder, there = environment["path"], environment["fence"]
    files, notes = {CONSTRAINTS: render_constraints(versions)}, []
    if has_foreign_conf(environment):
        notes.append(
            f"{folder}/pip.conf was not written by this role and is not changed; to keep pip from replacing PyTorch "
            f"without activation, add to it: [install] constraint = {folder}/{CONSTRAINTS}"
        )
    else:
        files["pip.conf"] = render_pip_conf(folder, pip, url)
    activate = there.get("bin/activate")
    fenced = render_activate(activate, folder) if activate is not None else None
    if fenced is None:
        notes.append(
            f"{folder}/bin/activate is not as venv, virtualenv or uv write it, and is not changed; set PIP_CONSTRAINT "
            f"and UV_CONSTRAINT to {folder}/{CONSTRAINTS} before installing into the environment."
        )
    else:
        files["bin/activate"] = fenced
    rows = [
        {
            "path": f"{folder}/{name}",
            "content": content,
            "mode": "0644",
            "state": "present",
            "what": name,
            "action": "sets the constraints" if name == "bin/activate" else "written",
        }
        for name, content in files.items()
        if there.get(name) != content
    ]
    return rows, notes


def unfence(environment: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What of the fence is to go: our own files, and our lines in the one that is not."""
    folder, there = environment["path"], environment["fence"]
    rows = [
        {"path": f"{folder}/{name}", "content": "", "mode": "0644", "state": "absent", "what": name}
        for name in (CONSTRAINTS, "pip.conf")
        if is_ours(there.get(name))
    ]
    activate = there.get("bin/activate")
    if activate is not None and without_block(activate) != activate:
        rows.append(
            {
                "path": f"{folder}/bin/activate",
                "content": without_block(activate),
                "mode": "0644",
                "state": "present",
                "what": "bin/activate",
            }
        )
    return rows
