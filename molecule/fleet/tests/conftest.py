# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two runs over the fleet, on which all tests look."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from fleet import GONE, Run, play

# Twenty machines share this one: more at once would keep each other waiting past gpu_facts' time limit.
FORKS = "--forks=8"


@pytest.fixture(scope="session")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """One bootstrap over all pods; one of them takes connections and says nothing, as a host that is dying does."""
    for word in ("unpause", "pause"):  # an interrupted run may have left it paused
        done = subprocess.run(["docker", word, f"podsmith-{GONE}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    yield play("bootstrap.yml", "fleet", tmp_path_factory.mktemp("first"), FORKS)
    subprocess.run(["docker", "unpause", f"podsmith-{GONE}"], check=True, capture_output=True)


@pytest.fixture(scope="session")
def second(first: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Another one over those that are not broken, which tells each call."""
    assert first.recap, first.out
    return play("bootstrap.yml", "sound", tmp_path_factory.mktemp("second"), FORKS, "-vvv")
