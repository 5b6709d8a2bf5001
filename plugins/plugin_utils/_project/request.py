# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is requested for a project: the variables of the role ``project_environment``, checked. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.plan import check_request
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project import edit as editing
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.words import VARIABLE, tell
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import RequestError, show

MANAGERS = ("poetry", "uv", "pip-tools", "pip")
STATES = ("present", "checked", "absent")
_PATH = re.compile(r"/[^\x00-\x1f\x7f]*")


@dataclass(frozen=True)
class ProjectRequest:
    """What is requested for a project; ``stack`` is what is requested of its host, with what the project changes."""

    path: str
    state: str
    environment: str | None
    manager: str | None
    cuda: str | None
    pytorch: str | None
    edit: bool
    index_url: str
    stack: Mapping[str, Any]


def parse_request(given: Mapping[str, Any], stack: Mapping[str, Any] | None, known: Catalogue) -> ProjectRequest:
    """Check the role's variables, before any host is touched. ``stack`` is ``stack_plan_request``.

    Raises RequestError in the words of ``stack_plan_request``'s own errors.
    """
    path = given.get("path")
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        raise RequestError(
            f"{VARIABLE}_path is {show(path)}; expected the folder of a project on the host, such as "
            f"-e {VARIABLE}_path=/srv/app."
        )
    for key, choices in (("state", STATES), ("manager", ("auto", *MANAGERS))):
        if given.get(key) not in (None, *choices):
            raise RequestError(f"{VARIABLE}_{key} is {show(given[key])}; expected one of {', '.join(choices)}.")
    if given.get("edit") and not editing.can_edit():
        raise RequestError(f"{VARIABLE}_edit is true, but {tell(editing.NO_TOMLKIT)}")
    manager = given.get("manager")
    return ProjectRequest(
        path=path.rstrip("/") or "/",
        state=str(given.get("state") or "present"),
        environment=str(given["environment"]) if given.get("environment") else None,
        manager=None if manager in (None, "auto") else str(manager),
        cuda=str(given["cuda"]) if given.get("cuda") else None,
        pytorch=str(given["pytorch"]) if given.get("pytorch") else None,
        edit=bool(given.get("edit")),
        index_url=str(given.get("index_url") or ""),
        stack=_stack(given, stack, known),
    )


def _stack(given: Mapping[str, Any], stack: Mapping[str, Any] | None, known: Catalogue) -> dict[str, Any]:
    """The request of the host as the project has it: its own CUDA and release, and PyTorch alone."""
    merged = {**(stack or {})}
    own = [key for key in ("cuda", "pytorch") if given.get(key)]
    merged.update({key: given[key] for key in own})
    merged.update(toolkit={"provider": "none"}, cutlass="none", extensions=[], wheels={"provider": "auto"})
    merged.pop("python", None)
    try:
        check_request(merged, known)
    except RequestError as error:
        text = str(error)
        for key in own:
            text = text.replace(f"stack_plan_request.{key}", f"{VARIABLE}_{key}")
        raise RequestError(text) from error
    return merged
