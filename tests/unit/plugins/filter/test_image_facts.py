from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.podsmith.gpu.plugins.filter.image_facts import FilterModule

image_facts = FilterModule().filters()["image_facts"]


def test_the_target_is_what_the_image_will_meet() -> None:
    facts = image_facts(None, {"gpus": ["NVIDIA H200"], "driver": "570"})
    assert (facts["driver"]["version"], facts["devices"][0]["compute_capability"]) == ("570", "9.0")
    assert facts["target"] == {"gpus": ["NVIDIA H200"], "driver": "570", "system": "ubuntu24.04"}


def test_a_target_that_cannot_be_understood() -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        image_facts({}, {"gpus": ["NVIDIA H200"], "drivers": "570"})
    assert caught.value.message == 'stack_plan_target has the unknown key "drivers"; did you mean driver?'
