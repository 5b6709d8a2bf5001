"""What one pod costs: from nothing, again, and beside the script that people run by hand; see docs/performance.md."""

from __future__ import annotations

import measure
import pytest

POD = measure.names(1)
CALLS = 28  # of a cold run; one of them asks apt whether a driver would come along
TRIES = 3
FRACTION = 4  # a converged run takes a seventh of a cold one's CPU time


@pytest.fixture(scope="module")
def cold() -> measure.Cost:
    """The first bootstrap of a machine that nobody has used; without the compilers' part, which is the same for all."""
    measure.start(POD)
    return measure.bootstrap(POD, "light")


def test_a_cold_run_makes_no_more_calls_than_it_did(cold: measure.Cost) -> None:
    assert cold.calls <= CALLS


def test_a_converged_pod_costs_one_call_and_a_fraction_of_a_cold_one(cold: measure.Cost) -> None:
    """The best of some, in CPU time: something else may be at work. How many seconds it takes, the measure tells."""
    costs = [measure.bootstrap(POD) for _trial in range(TRIES)]
    assert {cost.calls for cost in costs} == {1}  # of three that would do
    assert min(cost.cpu for cost in costs) < cold.cpu / FRACTION


def test_the_script_sets_up_what_the_bootstrap_does() -> None:
    """It is measured by what works in the end: its last step starts CUDA under PyTorch."""
    measure.start(POD)
    done = measure.by_hand(POD[0])
    assert list(done.steps)[-1] == "verification"
    assert sum(done.steps.values()) <= done.wall
