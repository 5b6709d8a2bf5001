# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what came of a forward-compatibility library, and which packages must go."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

LIBRARY = re.compile(r"(?:.*/)?libcuda\.so\.(?P<version>\d+(?:\.\d+)+)")


def compat_outcome(wanted: Mapping[str, Any], probe: Mapping[str, Any]) -> dict[str, Any]:
    """``{version, refused, unwanted}`` of a library.

    :param wanted: ``package`` and ``version`` as planned, ``state``, whether it was ``tried``, and what to ``remove``.
    :param probe: ``code`` of cuInit and the ``libcuda`` that it loaded; both None where nothing was tried.
    """
    found = LIBRARY.fullmatch(str(probe.get("libcuda") or ""))
    refused = bool(wanted["tried"]) and probe["code"] != 0
    leaves = refused or wanted["state"] == "absent"
    unwanted = [*wanted["remove"], *([wanted["package"]] if leaves and wanted["package"] else [])]
    return {
        "version": found["version"] if found else wanted["version"],
        "refused": refused,
        "unwanted": list(dict.fromkeys(map(str, unwanted))),
    }


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → function."""
        return {"compat_outcome": compat_outcome}
