# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the wheels of PyTorch and its companions tell: what has to be held beside them, and where builds are."""

from __future__ import annotations

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue, Row


def held_parts(version: str, cuda: str | None, known: Catalogue) -> tuple[str, ...]:
    """Requirements that hold what a PyTorch of PyPI's CUDA takes of another CUDA release, where nobody holds it.

    PyTorch 2.15 pins CUDA 13.2, and its METADATA accepts any nvJitLink below 14: installers take the newest of the day.
    Source: the requirements of torch's wheel and of those below it, in the generated row ``held``.
    """
    row = known["pypi"]["packages"]["torch"].get(version) or {}
    if cuda is None or row.get("cuda") != cuda:
        return ()
    return tuple(f"{name}=={pin}" for name, pin in sorted((row.get("held") or {}).items()))


def built_with(row: Row, version: str) -> str:
    """The PyTorch for whose CUDAs a release is on PyTorch's indexes: that of its own number, or of its row."""
    return str(row.get("built_with") or version)
