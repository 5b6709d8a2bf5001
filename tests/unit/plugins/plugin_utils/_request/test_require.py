"""What may stand in stack_plan_require, and what is said of what may not."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.require import Requirements, parse_requirements
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import RequestError

READ = [
    (None, Requirements()),
    ({}, Requirements()),
    ({"gpus": None}, Requirements()),
    ({"gpus": 8}, Requirements(gpus=8)),
    ({"gpus": "8"}, Requirements(gpus=8)),
    ({"model": "H100"}, Requirements(models=("H100",))),
    ({"model": ["H100", "H200"]}, Requirements(models=("H100", "H200"))),
    ({"memory_gib": 80}, Requirements(memory_gib=80)),
    ({"memory_gib": "79.5"}, Requirements(memory_gib=79.5)),
    ({"driver": ">=570"}, Requirements(driver=">=570")),
    ({"driver": ">=570,<600"}, Requirements(driver="<600,>=570")),
    ({"driver": "580"}, Requirements(driver="==580.*")),
    ({"driver": 580}, Requirements(driver="==580.*")),
    ({"shm_gib": 16, "disk_gib": 200}, Requirements(shm_gib=16, disk_gib=200)),
    ({"extensions": "all"}, Requirements(extensions=("all",))),
    ({"extensions": ["vLLM", "flash_attn"]}, Requirements(extensions=("vllm", "flash-attn"))),
    ({"route": "native"}, Requirements(routes=("native",))),
    ({"route": ["native", "forward_compat"]}, Requirements(routes=("native", "forward_compat"))),
    ({"health": "ok"}, Requirements(health=True)),
]
REFUSED = [
    ("8", 'stack_plan_require is "8"; expected a mapping of keys and values such as {gpus: 8, model: H100}.'),
    ({"gpu": 8}, 'stack_plan_require has the unknown key "gpu"; did you mean gpus?'),
    ({"gpus": 0}, "stack_plan_require.gpus is 0; expected a number of GPUs, 1 or more."),
    ({"gpus": True}, "stack_plan_require.gpus is True; expected a number of GPUs, 1 or more."),
    ({"gpus": "eight"}, 'stack_plan_require.gpus is "eight"; expected a number of GPUs, 1 or more.'),
    ({"model": 100}, "stack_plan_require.model is 100; expected text such as H100, or a list such as [H100]."),
    ({"model": []}, "stack_plan_require.model is []; expected text such as H100, or a list such as [H100]."),
    ({"model": ["H100", 5]}, "stack_plan_require.model holds 5; expected text such as H100."),
    ({"memory_gib": -1}, "stack_plan_require.memory_gib is -1; expected a number of GiB such as 80."),
    ({"memory_gib": "80GB"}, 'stack_plan_require.memory_gib is "80GB"; expected a number of GiB such as 80.'),
    (
        {"driver": "new"},
        'stack_plan_require.driver is "new"; expected a branch such as "580", or a bound such as ">=570".',
    ),
    (
        {"driver": 580.10},
        'stack_plan_require.driver is the number 580.1; expected text: put it in quotes, such as ">=570".',
    ),
    (
        {"extensions": ["all", "vllm"]},
        "stack_plan_require.extensions is [all, vllm]; expected all alone, or a list without it.",
    ),
    (
        {"route": "nativ"},
        (
            'stack_plan_require.route names "nativ"; expected one of native, minor_version, forward_compat, fallback, '
            "cpu; did you mean native?"
        ),
    ),
    ({"health": "good"}, 'stack_plan_require.health is "good"; expected ok, or leave the key out.'),
    ({"health": True}, "stack_plan_require.health is True; expected ok, or leave the key out."),
]


@pytest.mark.parametrize(("given", "expected"), READ)
def test_what_is_understood(given: Any, expected: Requirements) -> None:
    assert parse_requirements(given) == expected


@pytest.mark.parametrize(("given", "words"), REFUSED)
def test_what_is_refused(given: Any, words: str) -> None:
    with pytest.raises(RequestError) as refused:
        parse_requirements(given)
    assert str(refused.value) == words
