from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.podsmith.gpu.plugins.filter.stack_plan import FilterModule
from ansible_collections.podsmith.gpu.plugins.filter.stack_request import stack_request
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import load_catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import plan

stack_plan = FilterModule().filters()["stack_plan"]
HOST = {"driver": {"status": "ok", "version": "580.95.05"}, "devices": [{"name": "NVIDIA H200"}]}
KEYS = [
    *(
        "verdict",
        "now",
        "route",
        "summary",
        "cuda",
        "driver",
        "toolkit",
        "toolkits",
        "forward_compat",
        "pytorch",
        "extensions",
        "source",
        "cutlass",
    ),
    *(
        "environment",
        "settings",
        "proof",
        "download",
        "versions",
        "reasons",
        "rejected",
        "remedies",
        "ways_out",
        "warnings",
        "changes",
        "digest",
    ),
]


def test_the_decision_is_plain_data() -> None:
    decision = stack_plan(HOST, {"cuda": "13.0"})
    assert list(decision) == KEYS
    assert (decision["route"], decision["pytorch"]["index"]) == ("native", "cu130")
    assert isinstance(decision["changes"], list)


def test_another_catalogue_may_be_given() -> None:
    assert stack_plan(HOST, {}, load_catalogue()) == stack_plan(HOST)


def test_a_wish_that_cannot_be_understood() -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        stack_plan(HOST, {"cudaa": "13.0"})
    assert caught.value.message == 'stack_plan_request has the unknown key "cudaa"; did you mean cuda?'


def test_what_is_no_observation() -> None:
    with pytest.raises(AnsibleFilterError, match="stack_plan expects the mapping that gpu_facts returns; found list"):
        stack_plan([])


def test_a_checked_request_is_not_parsed_again(monkeypatch: pytest.MonkeyPatch, host: Any) -> None:
    """A host's wish is parsed once, by the entry point check of the role."""
    observed, wished = host("H100"), {"cuda": "13.0", "extensions": ["triton"], "architectures": ["9.0a"]}
    expected = stack_plan(observed, wished)
    checked = stack_request(wished)
    monkeypatch.setattr(plan, "parse_request", lambda _wished: pytest.fail("parsed again"))
    assert stack_plan(observed, checked, checked=True) == expected
