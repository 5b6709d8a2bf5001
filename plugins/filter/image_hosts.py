# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the hosts that stand for images during a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.podsmith.gpu.plugins.plugin_utils._image.image import ImageError, find_hosts


def image_hosts(wanted: str, groups: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each named profile, or host, the host that stands for its image."""
    try:
        return find_hosts(str(wanted), {str(name): list(groups[name]) for name in groups})
    except ImageError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → function."""
        return {"image_hosts": image_hosts}
