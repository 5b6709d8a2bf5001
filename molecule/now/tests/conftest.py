# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pods, converged once; and what became of each fault."""

from __future__ import annotations

import pytest
from faults import ROUNDS
from fleet import play
from now import FORKS, KEEP, Story, host_of, play_round, sh


@pytest.fixture(scope="session")
def stories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Story]:
    """Converge the pods, then play each round of faults."""
    first = play("bootstrap.yml", "now", tmp_path_factory.mktemp("first"), FORKS)
    assert first.rc == 0, first.out
    assert {pod: plan["verdict"] for pod, plan in first.plans.items() if plan["verdict"] != "ok"} == {}
    sh({host_of(number): KEEP for number in range(len(first.plans))})
    found: dict[str, Story] = {}
    for number, faults in enumerate(ROUNDS):
        found |= play_round(faults, tmp_path_factory.mktemp(f"round-{number}"))
    return found
