# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps versions in a project's own files. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.expected import Expected, is_right
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.words import LOCK_OF


@dataclass(frozen=True)
class Pins:
    """What a lock file or a requirements file pins; ``file`` is None where PyTorch is kept out of all of them."""

    file: str | None
    packages: Mapping[str, str]
    others: tuple[str, ...] = ()  # further versions of torch, for other systems


def find_pins(project: Mapping[str, Any], manager: str) -> Pins:
    """What the files that the manager installs from pin of PyTorch."""
    if manager in LOCK_OF:
        lock = project["locks"].get(LOCK_OF[manager])
        packages = lock["packages"] if lock else {}
        if "torch" not in packages:
            return Pins(None, {})
        pins = {name: row["version"] for name, row in packages.items()}
        return Pins(LOCK_OF[manager], pins, tuple(packages["torch"]["versions"][1:]))
    for name, row in project["requirements"].items():
        if name.endswith(".txt") and "torch" in row["pins"]:
            return Pins(name, row["pins"])
    return Pins(None, {})


def right_pin(pins: Pins, expected: Expected, known: Catalogue) -> str | None:
    """The pinned torch that is the expected one, None where none is."""
    pinned = [pins.packages["torch"], *pins.others] if pins.file else []
    return next((one for one in pinned if is_right(one, pinned_cuda(one, known), expected)), None)


def pinned_cuda(version: str, known: Catalogue) -> str | None:
    """The CUDA of a torch that a file pins: by its local label, else that of PyPI's build."""
    _public, _plus, local = version.partition("+")
    row = known["pytorch"]["indexes"].get(local) if local else known["pypi"]["packages"]["torch"].get(version)
    return row["cuda"] if row else None
