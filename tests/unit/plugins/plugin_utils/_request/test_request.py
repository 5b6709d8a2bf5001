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
        ([], "stack_plan_request is [], a mapping is wanted; write it as keys and values."),
        ({"toolkit": "apt"}, 'stack_plan_request.toolkit is "apt", a mapping is wanted; write it as keys and values.'),
        (
            {"pytorch": "2.9; rm -rf /"},
            'stack_plan_request.pytorch is "2.9; rm -rf /", a version is wanted; write it such as 2.9 or 2.9.1,',
        ),
        ({"pytorch": "2.9\n"}, 'is "2.9\\n", a version is wanted'),
        (
            {"cuda": "13"},
            'stack_plan_request.cuda is "13", a version is wanted; write it such as 13.0, or newest, or none.',
        ),
        ({"cuda": 13.0}, "stack_plan_request.cuda is the number 13.0, text is wanted; put it in quotes"),
        ({"cuda": ["13.0"]}, "stack_plan_request.cuda is ['13.0'], text is wanted"),
        ({"cutlass": "v4"}, 'stack_plan_request.cutlass is "v4", a version is wanted'),
        ({"scope": "sytem"}, 'is "sytem", one of auto, system, user is wanted; did you mean system?'),
        ({"toolkit": {"provider": "pip"}}, "did you mean pypi?"),
        ({"wheels": {"provider": "conda"}}, "one of auto, adopt, pytorch_index, pypi, host_wheels, source is wanted"),
        (
            {"on_old_driver": "fallback"},
            'on_old_driver is "fallback", a list is wanted; write it such as [forward_compat].',
        ),
        (
            {"forward_compat": "stand-by"},
            'forward_compat is "stand-by", one of auto, standby is wanted; did you mean standby?',
        ),
        ({"forward_compat": True}, "forward_compat is the number True, text is wanted"),
        ({"on_old_driver": ["fall_back"]}, "did you mean fallback?"),
        ({"on_old_driver": ["fail", "fallback"]}, "fail excludes the others; keep fail alone, or drop it."),
        (
            {"extensions": ["xformers==0.0.33"]},
            'extensions holds "xformers==0.0.33", entries such as triton are wanted',
        ),
        ({"extensions": "triton"}, "a list is wanted; write it such as [triton]."),
        ({"python": "python3"}, "a Python is wanted; write 3.12, the path of an interpreter, or auto."),
        ({"prefix": "opt"}, "an absolute folder without blanks, quotes, colons or .. is wanted"),
        ({"prefix": "/opt/../etc"}, "an absolute folder"),
        ({"prefix": "/opt/my files"}, "an absolute folder"),
        ({"prefix": "/"}, "a folder of its own is wanted"),
        ({"architectures": "9.0"}, "auto or a list is wanted; write it such as [9.0a, 12.0]."),
        ({"architectures": ["sm_90"]}, "entries such as 9.0a are wanted"),
        ({"overrides": {"disk": "no"}}, 'overrides.disk is "no", false or true is wanted'),
        (
            {"overrides": {"driver": "new"}},
            'overrides.driver is "new", a version is wanted; write it such as 580.95.05.',
        ),
        ({"settings": "tf32"}, 'stack_plan_request.settings is "tf32", a mapping is wanted'),
        ({"settings": {"tf33": True}}, 'stack_plan_request.settings has the unknown key "tf33"; did you mean tf32?'),
        (
            {"settings": {"tf32": "on"}},
            'settings.tf32 is "on", true or false is wanted; write null, or nothing, to leave it as it is.',
        ),
        ({"settings": {"expandable_segments": 1}}, "settings.expandable_segments is 1, true or false is wanted"),
        (
            {"settings": {"module_loading": "LAZY"}},
            'settings.module_loading is "LAZY", one of lazy, eager is wanted; choose one of lazy, eager.',
        ),
        ({"settings": {"module_loading": True}}, "settings.module_loading is the number True, text is wanted"),
        ({"overrides": {"brand_id": "14"}}, "NVML's number of a brand is wanted; write it such as 14."),
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
            'stack_plan_request.cuda names "13.9", which the catalogue does not have; the nearest is 13.4.',
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
