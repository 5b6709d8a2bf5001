# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.require import parse_requirements
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import RequestError


def stack_requirements(require: Mapping[str, Any] | None) -> dict[str, Any]:
    """What is required of a host, checked and complete."""
    try:
        return asdict(parse_requirements(require))
    except RequestError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"stack_requirements": stack_requirements}
