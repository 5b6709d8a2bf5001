# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Some pods of the fleet are broken and one has stopped answering: they are named, and nobody else suffers."""

from __future__ import annotations

import pytest
from fleet import GONE, Run, observe
from test_fleet import FLEET

XID = "Reboot the host and look for Xid lines in dmesg; in a rented container ask for another host."

# What is told of each that nothing can be done for: why, and what would help. CUDA does not work on the broken ones.
BLOCKED = {
    "b200-570-07": (
        "NVIDIA B200 (Blackwell) needs driver 570.133.20; found 570.133.07",
        "Use a host with driver 570.133.20 or newer.",
    ),
    "v100-595": (
        "driver branch 580 is the last for Volta (Tesla V100-SXM2-16GB); found 595.71.05",
        "Use a host with a driver of branch 580.",
    ),
}
BROKEN = {
    "hang-570": ("the driver does not answer in time", XID),
    "lost-580": ("the driver knows of a GPU that does not answer: it has fallen off the bus or failed", XID),
    "mismatch-570": (
        "the kernel runs driver 570.133.20 and its libraries on the disk are of 565.57.01 (driver/library mismatch)",
        "Restart the container: its runtime then mounts the libraries of the host's driver.",
    ),
}


def test_the_exit_code_tells(first: Run) -> None:
    assert first.rc != 0


def test_nothing_was_warned_of(first: Run, second: Run) -> None:
    assert [line for line in first.lines + second.lines if "WARNING]" in line] == []


@pytest.mark.parametrize("name", FLEET)
def test_the_rest_is_finished(first: Run, name: str) -> None:
    assert (first.recap[name]["failed"], first.recap[name]["unreachable"]) == (0, 0)
    applied = [change["role"] for change in first.plans[name]["applied"]]
    assert applied[-2:] == ["gpu_verify", "gpu_environment"]
    assert first.plans[name]["changes"] == []


@pytest.mark.parametrize(
    ("verdict", "name"), [*(("blocked", name) for name in BLOCKED), *(("broken", name) for name in BROKEN)]
)
def test_the_others_are_named_with_reason_and_remedy(first: Run, verdict: str, name: str) -> None:
    because, remedy = (BLOCKED | BROKEN)[name]
    said = first.said_of(name)
    assert f"{'route' if verdict == 'blocked' else 'now'} {because}" in said
    assert f"help {remedy}" in said
    assert said.endswith(f"verdict {verdict}: nothing was changed")
    assert f"{verdict}: {because}. {remedy}" in first.out
    assert (first.recap[name]["failed"], first.recap[name]["changed"]) == (1, 0)
    assert first.plans[name]["verdict"] == verdict


def test_the_unreachable_one_is_named_with_reason_and_remedy(first: Run) -> None:
    assert first.recap[GONE]["unreachable"] == 1
    told = first.out.partition(f"fatal: [{GONE}]: UNREACHABLE!")[0].rpartition("[ERROR]")[2]
    assert "Connection timed out during banner exchange" in told
    assert "Make sure this host can be reached over ssh" in told


def test_nobody_waits_for_the_unreachable_one(first: Run) -> None:
    """One of those that are begun beside it or later is told of before it is given up; the inventory gives it long."""
    given_up = first.place(f"fatal: [{GONE}]: UNREACHABLE!")
    assert min(first.place(f"{name}   ") for name in BLOCKED | BROKEN) < given_up


def test_a_driver_that_hangs_is_a_finding() -> None:
    """That nothing else waits behind it: tests/unit/plugins/module_utils/test_observe.py."""
    facts = observe("hang-570")["hang-570"]
    assert facts["driver"]["status"] == "timeout"
    assert facts["driver"]["version"] == "570.133.20"  # the kernel tells it without the driver
