from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.podsmith.gpu.plugins.filter.project_wish import FilterModule

project_wish = FilterModule().filters()["project_wish"]


def test_the_wish_is_plain_data() -> None:
    wish = project_wish(
        {"path": "/srv/app/", "cuda": "13.0", "manager": "auto"}, {"pytorch": "2.9", "extensions": ["vllm"]}
    )
    assert (wish["path"], wish["state"], wish["manager"], wish["edit"]) == ("/srv/app", "present", None, False)
    assert wish["request"]["cuda"] == "13.0"
    assert wish["request"]["pytorch"] == "2.9"
    assert wish["request"]["extensions"] == []


def test_a_wish_that_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match='project_environment_cuda is "new"; expected a version'):
        project_wish({"path": "/srv/app", "cuda": "new"}, {})
