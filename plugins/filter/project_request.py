# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import load_catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.request import parse_request
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import RequestError


def project_request(given: Mapping[str, Any], stack: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The checked request for a project."""
    try:
        return dataclasses.asdict(parse_request(given, stack, load_catalogue()))
    except RequestError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"project_request": project_request}
