# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pods, converged once; and what became of each fault."""

from __future__ import annotations

import pytest
from faults import ROUNDS
from fleet import play
from now import FORKS, KEEP, Story, play_round, sh


@pytest.fixture(scope="session")
def stories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Story]:
    """See that the pods have converged, then play each round of faults."""
    whole = play("playbooks/plan.yml", "now", tmp_path_factory.mktemp("whole"), FORKS)
    assert {(plan["verdict"], len(plan["changes"])) for plan in whole.plans.values()} == {("ok", 0)}, whole.out
    sh(dict.fromkeys(whole.plans, KEEP))
    found: dict[str, Story] = {}
    for number, faults in enumerate(ROUNDS):
        found |= play_round(faults, tmp_path_factory.mktemp(f"round-{number}"))
    return found
