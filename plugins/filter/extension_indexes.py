# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the indexes beside PyPI that the chosen extensions come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import load_catalogue

OTHERS = ("pypi", "host_wheels", "source")  # what the host's pip configuration or the host itself has


def extension_indexes(packages: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The address of each index, once, in the order of the extensions: PyTorch's by their names, others as they are."""
    known = load_catalogue()["pytorch"]["indexes"]
    wanted = [row.get("index") or "pypi" for row in packages.values() if row.get("requirement")]
    names = dict.fromkeys(name for name in wanted if name not in OTHERS)
    for name in names:
        if name not in known and not name.startswith("https://"):
            raise AnsibleFilterError(
                f"ml_extensions_packages has the index {name!r}; expected one of {', '.join([*OTHERS, *known])}, "
                "or an https address."
            )
    return [str(known[name]["url"]) if name in known else name for name in names]


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → function."""
        return {"extension_indexes": extension_indexes}
