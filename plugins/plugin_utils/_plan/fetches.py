# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which sources a decision's pending changes fetch from, so that all are asked before anything is changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.parts import BY_ROLE, roles_where

FETCHES = ("install", "replace", "repair")

Mirrors = Mapping[str, str | None]
Source = dict[str, str]


def required_sources(decision: Mapping[str, Any], mirrors: Mirrors, known: Catalogue) -> list[Source]:
    """``{name, url, variable}`` of each vendor's source that pending changes need.

    ``mirrors`` is variable → address as the operator set it, None where it is not set.
    """
    pending = pending_parts(decision)
    found = [
        *_repository(pending, mirrors, known),
        *_wheels(pending, mirrors, known),
        *_git(pending, mirrors, known),
        *_compiled(decision),
    ]
    return list({source["url"]: source for source in found}.values())


def needs_pypi(decision: Mapping[str, Any]) -> bool:
    """Whether a pending change fetches from the indexes of the host's own pip configuration."""
    pending = pending_parts(decision)
    wheels = set(roles_where("environment")) & pending.keys()
    if any(build["pending"] for build in (decision.get("source") or {}).get("builds", ())):
        return True  # what a build needs, its own environment and often the source itself
    return bool(wheels) or any(part.get("provider") == "pypi" for part in pending.values())


def pending_parts(decision: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Role → its part of the decision, for roles that are to fetch something."""
    roles = {change["role"] for change in decision["changes"] if change["action"] in FETCHES}
    return {role: _part(decision, role) for role in sorted(roles)}


def _part(decision: Mapping[str, Any], role: str) -> Mapping[str, Any]:
    part = BY_ROLE[role]
    return decision.get(str(part.key)) or {} if part.fetched else {}


def _repository(pending: Mapping[str, Mapping[str, Any]], mirrors: Mirrors, known: Catalogue) -> Iterator[Source]:
    base = mirrors.get("nvidia_repository_url") or known["cuda"]["bases"]["cuda"]["url"]
    for role, part in pending.items():  # of the driver, a pin alone may be pending
        if part.get("repository") if role == "nvidia_driver" else part.get("provider") in ("apt", "rpm"):
            yield {"name": "NVIDIA's package repository", "url": base, "variable": "nvidia_repository_url"}


def _wheels(pending: Mapping[str, Mapping[str, Any]], mirrors: Mirrors, known: Catalogue) -> Iterator[Source]:
    part = pending.get("pytorch", {})
    if part.get("provider") == "pytorch_index":
        index = mirrors.get("pytorch_index_url") or known["pytorch"]["indexes"][part["index"]]["url"]
        url = f"{index.rstrip('/')}/torch/"
        yield {"name": "PyTorch's wheel index", "url": url, "variable": "pytorch_index_url"}


def _git(pending: Mapping[str, Mapping[str, Any]], mirrors: Mirrors, known: Catalogue) -> Iterator[Source]:
    if pending.get("cutlass", {}).get("provider") == "git":
        url = mirrors.get("cutlass_git_url") or known["cutlass"]["sources"]["git"]["url"]
        yield {"name": "CUTLASS's repository", "url": url, "variable": "cutlass_git_url"}


def _compiled(decision: Mapping[str, Any]) -> Iterator[Source]:
    for build in (decision.get("source") or {}).get("builds", ()):
        if build["pending"] and build["origin"]["url"]:
            variable = f"stack_plan_request.source.urls.{build['name']}"
            yield {"name": f"the source of {build['name']}", "url": build["origin"]["url"], "variable": variable}
