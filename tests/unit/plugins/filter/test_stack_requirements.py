from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.podsmith.gpu.plugins.filter.stack_requirements import FilterModule

stack_requirements = FilterModule().filters()["stack_requirements"]


def test_the_requirements_as_plain_data() -> None:
    found = stack_requirements({"gpus": 8, "model": "H100"})
    assert (found["gpus"], found["models"], found["driver"], found["health"]) == (8, ("H100",), None, False)


def test_a_requirement_that_cannot_be_understood_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match=r'stack_plan_require has the unknown key "gpu"; did you mean gpus\?'):
        stack_requirements({"gpu": 8})
