# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import load_catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.plan import check_request
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import as_mapping
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import RequestError


def stack_request(wished: Mapping[str, Any] | None, shortcuts: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The request, checked and complete; a shortcut that is set wins over its key."""
    given = {key: value for key, value in (shortcuts or {}).items() if value is not None}
    if "wheels" in given:
        given["wheels"] = {"provider": given["wheels"]}
    try:
        merged = {**wished, **given} if isinstance(wished, Mapping) else wished or given
        return as_mapping(check_request(merged, load_catalogue()))
    except RequestError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"stack_request": stack_request}
