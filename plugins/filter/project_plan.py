# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue, load_catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.plan import plan_project
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.request import parse_request
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import RequestError, show


def project_plan(
    project: Mapping[str, Any],
    host: Mapping[str, Any] | None,
    given: Mapping[str, Any],
    stack: Mapping[str, Any] | None = None,
    known: Catalogue | None = None,
) -> dict[str, Any]:
    """The plan for a project on an observed host."""
    if not isinstance(project, Mapping) or "texts" not in project:
        raise AnsibleFilterError(
            f"The input of project_plan is {show(project)}; expected what project_facts read, a mapping with texts. "
            "Use the key project of that module's result."
        )
    catalogue = known or load_catalogue()
    try:
        return plan_project(project, host or {}, parse_request(given, stack, catalogue), catalogue)
    except RequestError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"project_plan": project_plan}
