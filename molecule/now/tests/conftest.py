# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pods, converged once; and what became of each fault."""

from __future__ import annotations

import pytest
from faults import ROUNDS
from now import KEEP, Story, host_of, play_round, sh


@pytest.fixture(scope="session")
def stories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Story]:
    """Keep what the converged pods have, then play each round of faults."""
    sh({host_of(number): KEEP for number in range(max(map(len, ROUNDS)))})
    found: dict[str, Story] = {}
    for number, faults in enumerate(ROUNDS):
        found |= play_round(faults, tmp_path_factory.mktemp(f"round-{number}"))
    return found
