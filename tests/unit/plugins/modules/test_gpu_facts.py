# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import basic

from ansible_collections.podsmith.gpu.plugins.modules import gpu_facts


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """Run the module as Ansible does and return what it printed."""
    monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode())
    monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
    monkeypatch.setattr(sys, "argv", ["gpu_facts"])
    with pytest.raises(SystemExit) as end:
        gpu_facts.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return {**result, "status": end.value.code}


@pytest.mark.parametrize("check", [False, True])
def test_facts_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], check: bool
) -> None:
    result = run(monkeypatch, capsys, {"sysroot": str(tmp_path), "_ansible_check_mode": check})
    assert (result["status"], result["changed"], list(result["ansible_facts"])) == (0, False, ["gpu"])
    assert result["ansible_facts"]["gpu"]["driver"]["status"] == "missing"
    assert list(tmp_path.iterdir()) == []


def test_a_prefix_is_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "srv/stack/environments/3-x").mkdir(parents=True)
    (tmp_path / "srv/stack/current").symlink_to("environments/3-x")
    result = run(monkeypatch, capsys, {"sysroot": str(tmp_path), "prefixes": ["/srv/stack"]})
    assert result["ansible_facts"]["gpu"]["installed"]["environment"]["name"] == "3-x"


def test_an_unknown_option_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(monkeypatch, capsys, {"prefix": "/srv"})
    assert result["failed"]
    assert "prefix. Supported parameters include: prefixes, sysroot, timeout" in result["msg"]
