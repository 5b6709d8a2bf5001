# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host.units import parse_mib, to_mib


@pytest.mark.parametrize(("size", "mib"), [(0, 0.0), (1 << 20, 1.0), (1_600_000, 1.5), (3 << 30, 3072.0)])
def test_bytes_as_mib(size: int, mib: float) -> None:
    assert to_mib(size) == mib


@pytest.mark.parametrize(
    ("number", "unit", "mib"), [("512", "KiB", 0.5), ("35.7", "MiB", 35.7), ("1.5", "GiB", 1536.0), ("1", "KiB", 0.0)]
)
def test_a_size_as_mib(number: str, unit: str, mib: float) -> None:
    assert parse_mib(number, unit) == mib
