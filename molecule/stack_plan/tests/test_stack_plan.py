# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan changes nothing on the host and is kept on the controller."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def decision() -> dict[str, Any]:
    """What the role wrote on the controller."""
    folder = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
    found: dict[str, Any] = json.loads((folder / "role-stack-plan.json").read_text(encoding="utf-8"))
    return found


def test_the_decision_is_kept_on_the_controller(decision: dict[str, Any]) -> None:
    assert (decision["verdict"], decision["route"], decision["cuda"]) == ("degraded", "forward_compat", "13.0")
    assert decision["pytorch"]["local"] == "2.9.1+cu130"
    assert decision["forward_compat"]["package"] == "cuda-compat-13-0"
    assert "published as source only" in decision["extensions"]["flash-attn"]["skipped"]


def test_it_says_what_a_bootstrap_would_change(decision: dict[str, Any]) -> None:
    roles = [change["role"] for change in decision["changes"]]
    assert roles == ["cuda_toolkit", "forward_compat", "cutlass", "pytorch", "gpu_verify", "gpu_environment"]


def test_nothing_changed_on_the_host(host: Any) -> None:
    assert not host.file("/opt/podsmith").exists
    assert host.run("find /etc /home /opt /root /usr /var -newer /run/prepared -type f").stdout.split() == []
