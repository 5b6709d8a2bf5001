# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize("check", [False, True])
def test_facts_change_nothing(tmp_path: Path, run_module: Callable[..., Any], check: bool) -> None:
    ran = run_module("gpu_facts", {"sysroot": str(tmp_path)}, check=check)
    assert (ran.rc, ran.data["changed"], list(ran.data["ansible_facts"])) == (0, False, ["gpu"])
    assert ran.data["ansible_facts"]["gpu"]["driver"]["status"] == "missing"
    assert list(tmp_path.iterdir()) == []


def test_a_prefix_is_searched(tmp_path: Path, run_module: Callable[..., Any]) -> None:
    (tmp_path / "srv/stack/environments/3-x").mkdir(parents=True)
    (tmp_path / "srv/stack/current").symlink_to("environments/3-x")
    ran = run_module("gpu_facts", {"sysroot": str(tmp_path), "prefixes": ["/srv/stack"]})
    assert ran.data["ansible_facts"]["gpu"]["installed"]["environment"]["name"] == "3-x"


def test_an_unknown_option_is_refused(run_module: Callable[..., Any]) -> None:
    ran = run_module("gpu_facts", {"prefix": "/srv"})
    assert ran.failed
    assert "prefix. Supported parameters include: prefixes, sysroot, timeout" in ran.msg
