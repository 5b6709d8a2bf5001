# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The PyTorch that a project should have, and whether one that is there is it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version


@dataclass(frozen=True)
class Expected:
    """The PyTorch that a project should have: ``local`` is ``2.9.1+cu126``; ``companions`` the same of each."""

    version: str
    local: str
    cuda: str | None
    index: str
    url: str | None  # None: the host's own wheels
    companions: Mapping[str, str]

    @property
    def versions(self) -> dict[str, str]:
        """Every package with its exact version."""
        return {"torch": self.local, **self.companions}


def public(version: str | None) -> str | None:
    """A version without its local label."""
    return version.partition("+")[0] if version else None


def is_right(version: str | None, cuda: str | None, expected: Expected) -> bool:
    """Whether a torch is the expected one. A build without a local label is judged by its CUDA."""
    if version is None:
        return False
    release, _plus, local = version.partition("+")
    same = parse_version(release) == parse_version(expected.version)
    return same and (version == expected.local if local else cuda == expected.cuda)


def exact(environment: Mapping[str, Any], expected: Expected) -> dict[str, str]:
    """Every package with the version to ask for: without a label where the right torch that is there has none.

    PyPI's torch calls itself 2.9.1+cu128, and its distribution is 2.9.1: that is the name that installers compare.
    """
    torch, name = environment.get("torch"), environment["packages"].get("torch", "")
    if torch and "+" not in name and is_right(torch["version"], torch["cuda"], expected):
        return {name: version.partition("+")[0] for name, version in expected.versions.items()}
    return expected.versions
