# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scenario now: a pod for each fault of a round, and rows that are whole and differ from each other."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml
from faults import FAULTS, REPAIR, ROUNDS, Fault

ROOT = Path(__file__).resolve().parents[3]


def test_every_fault_of_a_round_has_a_pod() -> None:
    inventory = yaml.safe_load((ROOT / "molecule/shared/inventory/now.yml").read_text(encoding="utf-8"))
    assert list(inventory["all"]["children"]["now"]["hosts"]) == [f"now-[01:{max(map(len, ROUNDS)):02}]"]


def test_names_are_unique() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_row_is_whole(fault: Fault) -> None:
    """What it does is a shell's command, it is told, and what a run mends it may mend."""
    done = subprocess.run(["sh", "-n"], input=fault.do, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert fault.words
    file = (fault.place or "").partition(":")[0]
    assert not fault.mends or fault.by_itself or file in REPAIR
