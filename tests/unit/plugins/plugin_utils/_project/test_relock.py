"""How the project's own files would keep PyTorch."""

from __future__ import annotations

from typing import Any

import pytest
from projects import HOST, UV, lock, plan, project, requirements


def test_the_hosts_own_wheels_are_no_index() -> None:
    offered = {
        "name": "torch",
        "version": "2.10.0+cu126",
        "path": "/w",
        "python_tag": "cp311",
        "arch": "x86_64",
        "cuda": "12.6",
    }
    host = {**HOST, "sources": {"wheels": [offered]}}
    found = plan(project(locks={"uv.lock": lock(torch="2.10.0")}), host, edit=True)
    assert (found["expected"]["url"], found["edit"]) == (None, None)
    assert "which uv.lock cannot name as an index. Run this playbook again after uv sync." in found["notes"][0]


def test_the_edit_is_shown_and_made_on_request_alone() -> None:
    locked = project(locks={"uv.lock": lock(torch="2.10.0")})
    shown = plan(locked)
    assert '+torch = {index = "pytorch-cu126"}' in shown["edit"]["diff"]
    assert {change["action"] for change in shown["changes"]} == {"replace", "fence"}
    assert "-e project_environment_edit=true" in shown["help"][0]
    made = plan(locked, edit=True)
    assert [change["what"] for change in made["changes"]][:2] == ["pyproject.toml", "uv.lock"]
    assert made["edit"]["command"] == ["/usr/bin/uv", "lock"]


def test_a_lock_for_several_systems_is_held_by_the_one_for_this() -> None:
    several = lock(torch="2.10.0")
    several["packages"]["torch"]["versions"] = ["2.10.0", "2.10.0+cu126"]
    assert plan(project(locks={"uv.lock": several}))["edit"] is None


def test_compiled_requirements_are_compiled_again_with_the_constraints() -> None:
    edit = plan(project(requirements={"requirements.txt": requirements("pip-compile", torch="2.11.0")}))["edit"]
    assert edit["command"] == ["/srv/app/.venv/bin/pip-compile", "-q", "requirements.in"]
    assert edit["variables"]["PIP_CONSTRAINT"] == "/srv/app/.venv/podsmith-constraints.txt"
    edit = plan(project(requirements={"requirements.txt": requirements("uv", torch="2.11.0")}))["edit"]
    assert edit["command"] == ["/usr/bin/uv", "pip", "compile", "-q", "requirements.in"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param(
            {"tools": {"uv": None}},
            ["uv was not found on this host", "nothing else can write uv.lock", "Install uv"],
            id="no-uv",
        ),
        pytest.param(
            {"texts": {"pyproject.toml": UV, "uv.toml": ""}}, ["uv.toml hides the indexes", "by hand"], id="uv-toml"
        ),
        pytest.param(
            {"texts": {"pyproject.toml": UV + '[tool.uv.sources]\ntorch = {path = "x.whl"}\n'}},
            ["expected one index", "The file is not edited"],
            id="another-source",
        ),
    ],
)
def test_an_edit_that_is_not_made_is_told(changes: dict[str, Any], words: list[str]) -> None:
    found = plan(project(locks={"uv.lock": lock(torch="2.10.0")}, **changes), edit=True)
    assert found["edit"] is None
    assert [word for word in words if word not in " ".join(found["notes"])] == []
