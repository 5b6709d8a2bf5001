# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.podsmith.gpu.plugins.plugin_utils._generate.activation import decision_file, host_files


def to_host_files(
    environment: Mapping[str, Any], decision: Mapping[str, Any] | None = None, state: str = "present"
) -> list[dict[str, Any]]:
    """The files outside the generations, as C(podsmith.gpu.managed_files) takes them."""
    try:
        files = host_files(environment) + ([decision_file(decision)] if decision else [])
    except KeyError as error:
        raise AnsibleFilterError(
            f"The environment has no {error}; host_files expects the environment of a decision."
        ) from error
    return [{**asdict(file), "state": state} for file in files]


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"host_files": to_host_files}
