# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the facts of an image under build."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import load_catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.target import observe_target, parse_target
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import RequestError


def image_facts(observed: Mapping[str, Any] | None, target: Any) -> dict[str, Any]:
    """What was observed, with the driver and the GPUs that the image is for."""
    known = load_catalogue()
    try:
        return observe_target(parse_target(target, known), observed or {}, known)
    except RequestError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → function."""
        return {"image_facts": image_facts}
