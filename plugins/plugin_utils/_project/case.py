# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every decision on a project looks at: the project, its environment, the host, the request and the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.pins import Pins
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.request import ProjectRequest


@dataclass(frozen=True)
class ProjectCase:
    """One project on one host with one request.

    ``project`` is what ``project_facts`` read, ``document`` its pyproject.toml, ``host`` is ``ansible_facts['gpu']``.
    """

    project: Mapping[str, Any]
    document: Mapping[str, Any]
    environment: Mapping[str, Any]
    manager: str
    pins: Pins
    host: Mapping[str, Any]
    request: ProjectRequest
    known: Catalogue
