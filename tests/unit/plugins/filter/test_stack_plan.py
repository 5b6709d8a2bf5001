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
        "unmet",
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


@pytest.mark.parametrize(
    ("price", "money"),
    [
        pytest.param(None, None, id="none"),
        pytest.param("", None, id="empty"),
        pytest.param(3, 0.2, id="whole"),
        pytest.param("3.0", 0.2, id="text-of-the-command-line"),
        pytest.param(0, 0.0, id="free"),
    ],
)
def test_a_price_per_hour_becomes_what_each_way_out_costs(price: Any, money: float | None, host: Any) -> None:
    observed = host("H100", "550.163.01", kind="container")
    decision = stack_plan(observed, {"cuda": "13.0", "on_old_driver": ["fail"]}, hourly_price=price)
    assert {(way["minutes"], way["money"]) for way in decision["ways_out"]} == {(4, money)}


@pytest.mark.parametrize("price", ["cheap", -1, True, "nan", "inf"])
def test_what_is_no_price(price: Any) -> None:
    with pytest.raises(AnsibleFilterError, match=r"stack_plan_hourly_price is .*; expected a number such as 2.5."):
        stack_plan(HOST, hourly_price=price)


def test_a_checked_request_is_not_parsed_again(monkeypatch: pytest.MonkeyPatch, host: Any) -> None:
    """A host's wish is parsed once, by the entry point check of the role."""
    observed, wished = host("H100"), {"cuda": "13.0", "extensions": ["triton"], "architectures": ["9.0a"]}
    expected = stack_plan(observed, wished)
    checked = stack_request(wished)
    monkeypatch.setattr(plan, "parse_request", lambda _wished: pytest.fail("parsed again"))
    assert stack_plan(observed, checked, checked=True) == expected
