from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.plan import check_request
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import (
    Request,
    as_mapping,
    parse_request,
    restore_request,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import RequestError


class Tagged(str):
    """Text as Ansible hands it over: a subclass."""

    __slots__ = ()


def test_defaults() -> None:
    request = parse_request({})
    assert request == Request()
    assert (request.cuda, request.pytorch, request.cutlass) == ("newest", "newest", "none")
    assert request.on_old_driver == ("forward_compat", "fallback")
    assert (request.toolkit.provider, request.toolkit.components) == ("auto", ("compiler",))


def test_null_means_the_default() -> None:
    assert parse_request({"cuda": None, "toolkit": None, "overrides": {"driver": None}}) == Request()


@pytest.mark.parametrize(
    "wished",
    [
        {},
        {"cuda": "13.0", "pytorch": "2.9", "cutlass": "4.3.0", "extensions": ["flash_attn", "Triton"]},
        {"forward_compat": "standby", "on_old_driver": ["fallback"]},
        {"architectures": ["9.0a", "12.0"], "overrides": {"driver": "580.95.05", "brand_id": 14, "disk": False}},
        {
            "toolkit": {"also": ["12.8"], "components": ["full"]},
            "wheels": {"provider": "pypi"},
            "python": "/usr/bin/python3",
        },
        {"channel": "nightly", "cuda": "13.2"},
        {"source": {"extensions": ["flash-attn==2.8.3"], "jobs": 8, "features": {"USE_NCCL": True}}},
        {"settings": {"tf32": False, "module_loading": "eager", "expandable_segments": True, "cudnn_benchmark": None}},
        {Tagged("cuda"): Tagged("13.0"), "extensions": (Tagged("vllm"),)},
    ],
)
def test_a_request_reads_back_as_itself(wished: dict[str, Any]) -> None:
    request = parse_request(wished)
    assert parse_request(as_mapping(request)) == request
    assert restore_request(json.loads(json.dumps(as_mapping(request)))) == request


def test_names_are_normalised_and_kept_once() -> None:
    assert parse_request({"extensions": ["flash_attn", "flash-attn"]}).extensions == ("flash-attn",)


@pytest.mark.parametrize(
    ("wished", "told"),
    [
        ({"cudaa": "13.0"}, 'stack_plan_request has the unknown key "cudaa"; did you mean cuda?'),
        ({"tool_kit": {}}, "did you mean toolkit?"),
        (
            {"toolkit": {"provder": "apt"}},
            'stack_plan_request.toolkit has the unknown key "provder"; did you mean provider?',
        ),
        ({"overrides": {"gpu": 1}}, 'stack_plan_request.overrides has the unknown key "gpu"; choose one of driver,'),
        ([], "stack_plan_request is []; expected a mapping of keys and values."),
        ({"toolkit": "apt"}, 'stack_plan_request.toolkit is "apt"; expected a mapping of keys and values.'),
        (
            {"pytorch": "2.9; rm -rf /"},
            'stack_plan_request.pytorch is "2.9; rm -rf /"; expected a version such as 2.9 or 2.9.1,',
        ),
        ({"pytorch": "2.9\n"}, 'is "2.9\\n"; expected a version'),
        (
            {"cuda": "13"},
            'stack_plan_request.cuda is "13"; expected a version such as 13.0, newest or none.',
        ),
        ({"cuda": 13.0}, "stack_plan_request.cuda is the number 13.0; expected text: put it in quotes"),
        ({"cuda": ["13.0"]}, "stack_plan_request.cuda is ['13.0']; expected text such as 13.0."),
        ({"cutlass": "v4"}, 'stack_plan_request.cutlass is "v4"; expected a version'),
        ({"scope": "sytem"}, 'is "sytem"; expected one of auto, system, user; did you mean system?'),
        ({"toolkit": {"provider": "pip"}}, "did you mean pypi?"),
        ({"wheels": {"provider": "conda"}}, "expected one of auto, adopt, pytorch_index, pypi, host_wheels, source"),
        (
            {"on_old_driver": "fallback"},
            'on_old_driver is "fallback"; expected a list such as [forward_compat].',
        ),
        (
            {"forward_compat": "stand-by"},
            'forward_compat is "stand-by"; expected one of auto, standby; did you mean standby?',
        ),
        ({"forward_compat": True}, "forward_compat is the number True; expected text"),
        ({"on_old_driver": ["fall_back"]}, "did you mean fallback?"),
        ({"on_old_driver": ["fail", "fallback"]}, "is [fail, fallback]; expected fail alone, or a list without it."),
        (
            {"extensions": ["xformers==0.0.33"]},
            'extensions holds "xformers==0.0.33"; expected entries such as triton; correct it or remove it.',
        ),
        ({"extensions": "triton"}, 'extensions is "triton"; expected a list such as [triton].'),
        ({"python": "python3"}, "expected a Python version such as 3.12, the path of an interpreter, or auto."),
        ({"prefix": "opt"}, "expected an absolute path without spaces, quotes, colons or .., such as /opt/podsmith"),
        ({"prefix": "/opt/../etc"}, "expected an absolute path"),
        ({"prefix": "/opt/my files"}, "expected an absolute path"),
        ({"prefix": "/"}, "prefix is /; expected a folder of its own such as /opt/podsmith, or auto."),
        ({"architectures": "9.0"}, "expected auto or a list such as [9.0a, 12.0]."),
        ({"architectures": ["sm_90"]}, "expected entries such as 9.0a"),
        ({"overrides": {"disk": "no"}}, 'overrides.disk is "no"; expected true, or false to skip this check.'),
        (
            {"overrides": {"driver": "new"}},
            'overrides.driver is "new"; expected a version such as 580.95.05.',
        ),
        ({"settings": "tf32"}, 'stack_plan_request.settings is "tf32"; expected a mapping'),
        ({"settings": {"tf33": True}}, 'stack_plan_request.settings has the unknown key "tf33"; did you mean tf32?'),
        (
            {"settings": {"tf32": "on"}},
            'settings.tf32 is "on"; expected true or false, or null to leave it as it is.',
        ),
        ({"settings": {"expandable_segments": 1}}, "settings.expandable_segments is 1; expected true or false"),
        (
            {"settings": {"module_loading": "LAZY"}},
            'settings.module_loading is "LAZY"; expected one of lazy, eager.',
        ),
        ({"settings": {"nccl_debug": "trace"}}, 'settings.nccl_debug is "trace"; expected one of version, warn, info.'),
        ({"settings": {"nccl_p2p": "off"}}, 'settings.nccl_p2p is "off"; expected true or false'),
        ({"settings": {"module_loading": True}}, "settings.module_loading is the number True; expected text"),
        ({"overrides": {"brand_id": "14"}}, "expected NVML's number of a brand, such as 14."),
    ],
)
def test_what_cannot_be_understood_is_refused_in_one_sentence(wished: Any, told: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_request(wished)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("wished", "told"),
    [
        (
            {"cuda": "13.9"},
            'stack_plan_request.cuda names "13.9", which the catalogue does not have; the nearest is 13.5.',
        ),
        ({"cuda": "9.0"}, "the nearest is 11.8."),
        (
            {"pytorch": "2.9.7"},
            'stack_plan_request.pytorch names "2.9.7", which the catalogue does not have; the nearest is 2.9.1.',
        ),
        ({"toolkit": {"also": ["12.7"]}}, 'stack_plan_request.toolkit.also names "12.7"'),
        ({"toolkit": {"components": ["compilers"]}}, "did you mean compiler?"),
        ({"cutlass": "4.9.9"}, 'stack_plan_request.cutlass names "4.9.9"'),
        (
            {"extensions": ["xformer"]},
            'extensions names "xformer", which the catalogue does not have; did you mean xformers?',
        ),
    ],
)
def test_what_the_catalogue_lacks_is_refused_with_the_nearest(wished: Any, told: str, known: Catalogue) -> None:
    with pytest.raises(RequestError) as caught:
        check_request(wished, known)
    assert told in str(caught.value)
