from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.podsmith.gpu.plugins.filter.stack_request import FilterModule

stack_request = FilterModule().filters()["stack_request"]


def test_the_whole_request() -> None:
    request = stack_request({"cuda": "13.0"})
    assert (request["cuda"], request["pytorch"], request["architectures"]) == ("13.0", "newest", "auto")
    assert request["toolkit"] == {"provider": "auto", "components": ["compiler"], "also": [], "patch": None}
    assert stack_request(request) == request


@pytest.mark.parametrize(
    ("shortcuts", "pytorch"),
    [({"pytorch": "2.8", "cuda": None}, "2.8"), ({"pytorch": None}, "2.9"), (None, "2.9")],
)
def test_shortcuts_win_where_they_are_set(shortcuts: Any, pytorch: str) -> None:
    request = stack_request({"cuda": "12.6", "pytorch": "2.9"}, shortcuts)
    assert (request["cuda"], request["pytorch"]) == ("12.6", pytorch)


def test_the_shortcut_for_the_wheels() -> None:
    request = stack_request({"wheels": {"provider": "pypi"}}, {"wheels": "source", "cuda": None})
    assert request["wheels"] == {"provider": "source"}
    assert stack_request(request) == request
    with pytest.raises(
        AnsibleFilterError, match=r'wheels\.provider is "sorce"; expected one of .*; did you mean source\?'
    ):
        stack_request({}, {"wheels": "sorce"})


@pytest.mark.parametrize(
    ("wished", "told"),
    [
        ({"pytorch": "2.9; rm -rf /"}, 'stack_plan_request.pytorch is "2.9; rm -rf /"; expected a version'),
        (
            {"cuda": "13.9"},
            'stack_plan_request.cuda names "13.9", which the catalogue does not have; the nearest is 13.5.',
        ),
        (["cuda"], "stack_plan_request is ['cuda']; expected a mapping"),
    ],
)
def test_refusals(wished: Any, told: str) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        stack_request(wished, {})
    assert told in caught.value.message
