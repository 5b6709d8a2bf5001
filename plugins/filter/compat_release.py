# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the CUDA release of a forward-compatibility package."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

NAME = re.compile(r"cuda-compat-(\d+)-(\d+)")


def compat_release(package: str | None) -> str:
    """``cuda-compat-13-0`` → ``13.0``; another name as it is, and nothing for none."""
    found = NAME.fullmatch(package or "")
    return f"{found[1]}.{found[2]}" if found else str(package or "")


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → function."""
        return {"compat_release": compat_release}
