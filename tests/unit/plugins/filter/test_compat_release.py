# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.podsmith.gpu.plugins.filter.compat_release import FilterModule

compat_release = FilterModule().filters()["compat_release"]


@pytest.mark.parametrize(
    ("package", "release"),
    [
        ("cuda-compat-13-0", "13.0"),
        ("cuda-compat-12-10", "12.10"),
        ("cuda-compat", "cuda-compat"),
        ("", ""),
        (None, ""),
    ],
)
def test_release(package: str | None, release: str) -> None:
    assert compat_release(package) == release
