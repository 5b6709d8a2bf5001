"""Whose a project is, and which of its environments may be changed."""

from __future__ import annotations

from typing import Any

import pytest
from projects import POETRY, UV, environment, lock, plan, project, requirements


@pytest.mark.parametrize(
    ("changes", "manager"),
    [
        pytest.param({"locks": {"uv.lock": lock()}}, "uv", id="uv-lock"),
        pytest.param({"locks": {"poetry.lock": lock()}}, "poetry", id="poetry-lock"),
        pytest.param({"texts": {"pyproject.toml": POETRY}}, "poetry", id="poetry-table"),
        pytest.param({"texts": {"pyproject.toml": UV + "[tool.uv]\n"}}, "uv", id="uv-table"),
        pytest.param(
            {"locks": {"uv.lock": lock()}, "texts": {"pyproject.toml": POETRY}}, "uv", id="a-lock-outweighs-a-table"
        ),
        pytest.param(
            {"requirements": {"requirements.txt": requirements("pip-compile")}}, "pip-tools", id="pip-compile"
        ),
        pytest.param({"requirements": {"requirements.txt": requirements("uv")}}, "pip-tools", id="uv-pip-compile"),
        pytest.param({"requirements": {"requirements.txt": requirements()}, "texts": {}}, "pip", id="requirements"),
        pytest.param({}, "pip", id="a-pyproject-alone"),
        pytest.param({"texts": {}}, "pip", id="an-environment-alone"),
    ],
)
def test_manager(changes: dict[str, Any], manager: str) -> None:
    assert plan(project(**changes))["manager"] == manager


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param(
            {"exists": False},
            ["/srv/app does not exist; expected the folder", "Check project_environment_path."],
            id="no-folder",
        ),
        pytest.param(
            {"others": ["pdm.lock"]},
            ["is managed by PDM (pdm.lock); expected Poetry, uv, pip-tools or pip", "by hand"],
            id="pdm",
        ),
        pytest.param({"others": ["environment.yml"]}, ["is managed by conda (environment.yml)"], id="conda"),
        pytest.param(
            {"environment": environment(conda=True)}, ["conda (/srv/app/.venv/conda-meta)"], id="conda-environment"
        ),
        pytest.param({"texts": {"pyproject.toml": "[tool.hatch.envs.default]\n"}}, ["is managed by Hatch"], id="hatch"),
        pytest.param(
            {"locks": {"uv.lock": lock(), "poetry.lock": lock()}},
            ["poetry.lock and uv.lock", "expected one manager", "project_environment_manager"],
            id="two-locks",
        ),
        pytest.param(
            {"texts": {"pyproject.toml": "[tool.uv]\n[tool.poetry]\n"}}, ["expected one manager"], id="two-tables"
        ),
        pytest.param(
            {"locks": {"poetry.lock": lock()}, "environment": None},
            ["has no environment", "creates none", "poetry install", "project_environment_environment"],
            id="no-environment",
        ),
        pytest.param(
            {"environments": ["/a", "/b"], "environment": None},
            ["has 2 environments (/a, /b)", "expected one"],
            id="two-environments",
        ),
        pytest.param(
            {"environment": environment(works=False)}, ["no Python that runs", "again with"], id="dead-python"
        ),
        pytest.param(
            {"owner": {"name": "dev", "reader": "root"}},
            ["belongs to dev", "could not change the files that root would write", "-e ansible_become_user=dev"],
            id="another-user",
        ),
        pytest.param(
            {"environment": environment(None), "texts": {"pyproject.toml": '[project]\ndependencies = ["flask"]\n'}},
            ["has no PyTorch", "neither installed nor named", "project_environment_pytorch"],
            id="no-pytorch",
        ),
        pytest.param({"texts": {"pyproject.toml": "[project\n"}}, ["is not valid TOML", "Correct it"], id="not-toml"),
        pytest.param(
            {"texts": {}, "environment": None},
            ["no pyproject.toml, no lock file", "Check project_environment_path."],
            id="empty",
        ),
    ],
)
def test_left_alone(changes: dict[str, Any], words: list[str]) -> None:
    found = plan(project(**changes))
    assert (found["verdict"], found["changes"], found["packages"], found["fence"]) == ("left_alone", [], None, [])
    assert [word for word in words if word not in found["help"][0]] == []


def test_the_user_says_whose_it_is() -> None:
    both = project(locks={"uv.lock": lock(torch="2.10.0"), "poetry.lock": lock()})
    assert plan(both, manager="uv")["manager"] == "uv"
