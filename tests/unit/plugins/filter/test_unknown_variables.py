from __future__ import annotations

from ansible_collections.podsmith.gpu.plugins.filter.unknown_variables import FilterModule, declared_variables
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.parts import RESULTS

unknown_variables = FilterModule().filters()["unknown_variables"]


def test_declared_ones_and_results_pass() -> None:
    declared = [name for names in declared_variables().values() for name in names]
    assert {"stack_plan_request", "stack_plan_decision", "forward_compat_result"} <= set(declared)
    assert unknown_variables(declared) == []


def test_what_is_not_ours_passes() -> None:
    assert unknown_variables(["ansible_host", "__stack_plan_wish", "inventory_hostname", "stack", "wsl2_cuda"]) == []


def test_a_misspelt_one_is_named_with_the_nearest() -> None:
    assert unknown_variables(["stack_plan_requst", "ansible_user", "stack_plan_requst"]) == [
        "The variable stack_plan_requst is unknown; did you mean stack_plan_request?"
    ]


def test_what_one_playbook_publishes_the_next_one_of_the_run_accepts() -> None:
    """After a benchmark every later playbook of the same run was refused for gpu_benchmark_results."""
    assert unknown_variables(RESULTS) == []
    assert "gpu_benchmark_results" in RESULTS
