# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what an image is built from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.podsmith.gpu.plugins.filter.unknown_variables import declared_variables
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import load_catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._image import image
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.parts import RESULTS
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.target import parse_target
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import RequestError


def image_contents(
    decision: Mapping[str, Any],
    settings: Mapping[str, Any],
    target: Any,
    request: Mapping[str, Any] | None = None,
    variables: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The settings with their defaults, the CUDA levels that are served, and the files without the fixed ones."""
    known, wish, hosts = load_catalogue(), request or {}, variables or {}
    names = set(image.list_names(declared_variables())) - RESULTS
    try:
        aim = parse_target(target, known)
        chosen = image.check_settings(settings, decision, aim, known)
        given = image.build_variables(decision, wish, {name: hosts[name] for name in hosts if name in names})
    except (RequestError, image.ImageError) as error:
        raise AnsibleFilterError(str(error).replace("stack_plan_target", "container_image_target")) from error
    served = image.served_cudas(decision, wish, aim, known)
    files = {
        "variables.json": given,
        "target.json": {"stack_plan_target": {key: value for key, value in dataclasses.asdict(aim).items() if value}},
        "image.json": image.describe_start(decision, known),
        "template.json": image.describe_template(chosen, served),
        "pod.json": image.describe_pod(chosen, served, known),
    }
    return {
        **dataclasses.asdict(chosen),
        "home": image.HOME,
        "prefix": decision["environment"]["prefix"],
        "served": served,
        "gaps": image.has_gaps(served, known),
        "files": [
            *({"path": name, "content": image.dump(content)} for name, content in files.items()),
            *(
                {"path": name, "content": text, "mode": "0755" if name.endswith(".sh") else "0644"}
                for name, text in image.render_scripts(chosen, decision["environment"]["prefix"]).items()
            ),
        ],
    }


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → function."""
        return {"image_contents": image_contents}
