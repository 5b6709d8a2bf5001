# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.podsmith.gpu.plugins.plugin_utils._generate.activation import generation_files


def to_generation_files(environment: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The files inside a generation, as C(podsmith.gpu.managed_files) takes them."""
    try:
        return [asdict(file) for file in generation_files(environment)]
    except KeyError as error:
        raise AnsibleFilterError(
            f"The environment has no {error}; generation_files expects prefix, path and, with pytorch, site_packages."
        ) from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"generation_files": to_generation_files}
