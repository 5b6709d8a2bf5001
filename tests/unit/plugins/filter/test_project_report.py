from __future__ import annotations

from ansible_collections.podsmith.gpu.plugins.filter.project_plan import project_plan
from ansible_collections.podsmith.gpu.plugins.filter.project_report import FilterModule

project_report = FilterModule().filters()["project_report"]


def test_the_lines_of_a_project_that_is_left_alone() -> None:
    found = {"path": "/srv/app", "exists": False, "texts": {}, "locks": {}, "others": [], "requirements": {}}
    plan = project_plan({**found, "environments": [], "environment": None}, {}, {"path": "/srv/app"})
    lines = project_report(plan, "pod", {"unfinished": True})
    assert lines[0] == "pod   /srv/app"
    assert lines[-1] == "  verdict  left_alone: nothing was changed"
