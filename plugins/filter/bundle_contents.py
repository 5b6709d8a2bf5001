# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what a bundle for a decision holds, and the variables that go with it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import load_catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._offline import bundle


def bundle_contents(
    decision: Mapping[str, Any],
    observed: Mapping[str, Any],
    request: Mapping[str, Any],
    folder: str,
    *,
    target: Mapping[str, Any] | None = None,
    mirrors: Mapping[str, str | None] | None = None,
) -> dict[str, Any]:
    """The needs of a decision and the host's variables, as plain data."""
    try:
        chosen = bundle.find_target(decision, observed, target or {})
        needs = bundle.list_needs(decision, observed, chosen, mirrors or {}, load_catalogue())
    except bundle.BundleError as error:
        raise AnsibleFilterError(str(error)) from error
    variables = bundle.host_variables(decision, observed, request, folder)
    plain: dict[str, Any] = json.loads(json.dumps({**dataclasses.asdict(needs), "variables": variables}))
    return plain


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → function."""
        return {"bundle_contents": bundle_contents}
