# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names that linkers look for beside the libraries of a folder."""

from __future__ import annotations

import pathlib
import re

_LINKER_NAME = re.compile(r"^(lib.+\.so)\.[0-9]+$")


def linker_names(folder: pathlib.Path) -> dict[str, str]:
    """The names that a linker looks for and a wheel lacks: ``libcudart.so`` -> ``libcudart.so.13``."""
    matches = (_LINKER_NAME.match(path.name) for path in sorted(folder.glob("lib*.so.*")))
    return {match[1]: match[0] for match in matches if match}
