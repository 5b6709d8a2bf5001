# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: those of some packages that would install an NVIDIA driver."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import load_catalogue


def forbidden_packages(names: Iterable[str]) -> list[str]:
    """The names that the catalogue's section ``forbidden`` matches, in their order."""
    patterns = tuple(load_catalogue()["cuda"]["forbidden"])
    return [str(name) for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → function."""
        return {"forbidden_packages": forbidden_packages}
