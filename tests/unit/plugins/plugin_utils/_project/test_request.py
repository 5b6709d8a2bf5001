"""What is requested for a project is checked before any host is touched."""

from __future__ import annotations

from typing import Any

import pytest
from projects import KNOWN, lock, plan, project

from ansible_collections.podsmith.gpu.plugins.plugin_utils._project import edit as editing
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.request import parse_request
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import RequestError


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"path": None},
            ["project_environment_path is None", "folder of a project", "-e project_environment_path=/srv/app"],
        ),
        ({"path": "app"}, ['project_environment_path is "app"; expected the folder of a project on the host']),
        ({"path": "/srv/a\nb"}, ['project_environment_path is "/srv/a\\nb"; expected']),
        ({"cuda": "13"}, ['project_environment_cuda is "13"', "a version", "13.0"]),
        ({"cuda": "13.7"}, ["project_environment_cuda names", "13.7"]),
        ({"pytorch": "2.9; rm -rf /"}, ["project_environment_pytorch is", "a version"]),
        ({"state": "there"}, ['project_environment_state is "there"', "expected one of present, checked, absent."]),
        (
            {"manager": "pdm"},
            ['project_environment_manager is "pdm"', "expected one of auto, poetry, uv, pip-tools, pip."],
        ),
    ],
)
def test_a_request_that_is_refused(given: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(RequestError) as caught:
        parse_request({"path": "/srv/app", **given}, {}, KNOWN)
    assert [word for word in words if word not in str(caught.value)] == []


def test_an_edit_without_tomlkit_is_refused_before_any_host_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(editing, "tomlkit", None)
    with pytest.raises(RequestError, match=r"project_environment_edit is true.*no tomlkit.*pip install tomlkit"):
        parse_request({"path": "/srv/app", "edit": True}, {}, KNOWN)
    assert "no tomlkit" in plan(project(locks={"uv.lock": lock(torch="2.10.0")}))["notes"][0]
