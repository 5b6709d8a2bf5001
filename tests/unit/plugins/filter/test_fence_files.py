# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.filter.fence_files import FilterModule

fence_files = FilterModule().filters()["fence_files"]

FILE = {"path": "/srv/app/.venv/pip.conf", "content": "[install]\n", "mode": "0644", "state": "present"}


@pytest.mark.parametrize(
    ("rows", "files"),
    [
        ([], []),
        ([{**FILE, "what": "pip.conf", "action": "written"}], [FILE]),
        ([{"path": "/a", "state": "absent", "what": "a"}, FILE], [{"path": "/a", "state": "absent"}, FILE]),
    ],
)
def test_files(rows: list[dict[str, Any]], files: list[dict[str, Any]]) -> None:
    assert fence_files(rows) == files
