# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names that linkers look for."""

from __future__ import annotations

import pathlib

from ansible_collections.podsmith.gpu.plugins.module_utils._packages.links import linker_names


def test_linker_names(tmp_path: pathlib.Path) -> None:
    for name in ("libcudart.so.13", "libnvvm.so.4", "libcudart_static.a", "libx.so.1.2"):
        (tmp_path / name).touch()
    assert linker_names(tmp_path) == {"libcudart.so": "libcudart.so.13", "libnvvm.so": "libnvvm.so.4"}
    assert linker_names(tmp_path / "absent") == {}
