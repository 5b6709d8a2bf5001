from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.podsmith.gpu.plugins.filter.project_request import FilterModule

project_request = FilterModule().filters()["project_request"]


def test_the_request_is_plain_data() -> None:
    request = project_request(
        {"path": "/srv/app/", "cuda": "13.0", "manager": "auto"}, {"pytorch": "2.9", "extensions": ["vllm"]}
    )
    assert (request["path"], request["state"]) == ("/srv/app", "present")
    assert (request["manager"], request["edit"]) == (None, False)
    assert request["stack"]["cuda"] == "13.0"
    assert request["stack"]["pytorch"] == "2.9"
    assert request["stack"]["extensions"] == []


def test_a_request_that_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match=r'project_environment_cuda is "new".*a version'):
        project_request({"path": "/srv/app", "cuda": "new"}, {})
