# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role compiles real kernels and leaves the evidence on the host."""

from __future__ import annotations

import json
from typing import Any

import pytest


@pytest.fixture(scope="module")
def verdict(host: Any) -> dict[str, Any]:
    """The evidence that the role wrote."""
    found: dict[str, Any] = json.loads(host.file("/opt/podsmith/state/verdict.json").content_string)
    return found


def test_every_check_ran_and_passed(verdict: dict[str, Any]) -> None:
    assert {check["check"]: check["ok"] for check in verdict["checks"]} == dict.fromkeys(
        ["cuinit", "nvcc", "kernel", "cutlass"], True
    )
    assert not any(check.get("skipped") for check in verdict["checks"])


def test_the_kernels_hold_the_gpu_s_machine_code(verdict: dict[str, Any]) -> None:
    evidence = {check["check"]: check["evidence"] for check in verdict["checks"]}
    assert evidence["kernel"]["architectures"] == ["sm_90"]
    assert evidence["cutlass"]["architectures"] == ["sm_90a"]
    assert evidence["cuinit"]["devices"] == 1


def test_it_says_what_was_proved_under_which_driver(verdict: dict[str, Any]) -> None:
    assert (verdict["digest"], verdict["driver"], verdict["ok"]) == ("a-plan-of-ours", "580.95.05", True)
