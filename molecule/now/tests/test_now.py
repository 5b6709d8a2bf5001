# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verdict ok is a statement about now: a converged pod that is broken does not get it, and one run makes it whole."""

from __future__ import annotations

import pytest
from faults import FAULTS, OK, Fault
from now import Story

OF_FAULTS = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)


@OF_FAULTS
def test_the_verdict_is_true_and_says_why(stories: dict[str, Story], fault: Fault) -> None:
    plan = stories[fault.name].plan
    assert plan["verdict"] == fault.verdict
    assert [words for words in fault.words if words not in plan["told"]] == [], plan["told"]


@OF_FAULTS
def test_the_cause_is_named_down_to_file_and_line(stories: dict[str, Story], fault: Fault) -> None:
    plan = stories[fault.name].plan
    causes = [(row["kind"], place(row)) for row in plan["now"]["causes"]]
    if fault.kind is None:
        return
    assert fault.kind in [kind for kind, _place in causes]
    if fault.place:
        named = [found for kind, found in causes if kind == fault.kind]
        assert [found for found in named if found.startswith(fault.place)], named
        assert fault.place in plan["told"]


def place(row: dict[str, object]) -> str:
    """File and line of a cause."""
    return ":".join(str(row[key]) for key in ("file", "line") if row[key])


@OF_FAULTS
def test_our_own_python_starts_cuda_where_the_driver_does(stories: dict[str, Story], fault: Fault) -> None:
    assert stories[fault.name].code == fault.code


@OF_FAULTS
def test_a_run_that_may_repair_nothing_fails_where_it_is_broken(stories: dict[str, Story], fault: Fault) -> None:
    story = stories[fault.name]
    counts, decision = story.told.recap[story.pod], story.told.plans[story.pod]
    assert counts["failed"] == int(fault.fails)
    assert decision["verdict"] == (OK if fault.by_itself else fault.verdict)
    if fault.kind == "driver":
        assert (counts["changed"], decision["changes"]) == (0, []), "something was installed for a driver that fails"


@OF_FAULTS
def test_one_run_mends_what_it_may(stories: dict[str, Story], fault: Fault) -> None:
    story = stories[fault.name]
    counts, decision = story.mended.recap[story.pod], story.mended.plans[story.pod]
    assert (counts["failed"], decision["verdict"]) == (0, OK), story.mended.said_of(story.pod)
    assert (counts["changed"] > 0) == (fault.mends and not fault.by_itself)


@OF_FAULTS
def test_the_next_run_is_clean(stories: dict[str, Story], fault: Fault) -> None:
    story = stories[fault.name]
    counts, decision = story.clean.recap[story.pod], story.clean.plans[story.pod]
    assert (counts["failed"], counts["changed"], decision["changes"]) == (0, 0, [])
    assert (decision["verdict"], decision["now"]["works"], decision["now"]["causes"]) == (OK, True, [])
