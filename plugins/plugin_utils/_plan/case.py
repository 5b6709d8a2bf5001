# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every rule of the plan looks at: the host, the request, where things go, and the catalogue."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import Host
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import Request

SYSTEM_PREFIX = "/opt/podsmith"
USER_PREFIX = ".local/share/podsmith"


@dataclass(frozen=True)
class Layout:
    """Where things go."""

    scope: str  # system, user
    prefix: str
    home: str


@dataclass(frozen=True)
class Case:
    """One host with one request. A rule is a function of the case: ``rule(case, …) -> Refusal | None``."""

    host: Host
    request: Request
    layout: Layout
    known: Catalogue
