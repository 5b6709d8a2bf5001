from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.podsmith.gpu.plugins.filter.project_plan import FilterModule

project_plan = FilterModule().filters()["project_plan"]
EMPTY: dict[str, Any] = {
    "path": "/srv/app",
    "exists": True,
    "texts": {},
    "locks": {},
    "others": ["pdm.lock"],
    "requirements": {},
    "environments": [],
    "environment": None,
    "tools": {},
    "pip": {},
    "state": None,
}


def test_the_plan_is_plain_data() -> None:
    plan = project_plan(EMPTY, None, {"path": "/srv/app"})
    assert json.loads(json.dumps(plan)) == plan
    assert plan["verdict"] == "left_alone"
    assert "/srv/app is managed by PDM (pdm.lock)" in plan["help"][0]


@pytest.mark.parametrize("found", [None, {"project": EMPTY}])
def test_what_project_facts_did_not_read_is_refused(found: object) -> None:
    with pytest.raises(AnsibleFilterError, match=r"expected what project_facts read.*Use the key project"):
        project_plan(found, {}, {"path": "/srv/app"})


def test_a_request_that_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="project_environment_path is None"):
        project_plan(EMPTY, {}, {})
