from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.podsmith.gpu.plugins.filter.image_contents import FilterModule
from ansible_collections.podsmith.gpu.plugins.filter.image_facts import image_facts
from ansible_collections.podsmith.gpu.plugins.filter.stack_plan import stack_plan

image_contents = FilterModule().filters()["image_contents"]
TARGET = {"gpus": ["NVIDIA H200"], "driver": "580"}
WISH = {"cuda": "13.0", "forward_compat": "standby"}
SETTINGS: dict[str, Any] = {
    "name": "h200",
    "reference": "",
    "base": "",
    "flavor": "base",
    "packages": ["python3"],
    "ports": ["22/tcp"],
    "disk_gb": 40,
    "volume_gb": 0,
    "volume_path": "/workspace",
    "cloud": "SECURE",
    "gpu": "",
    "gpu_count": 1,
    "environment": {},
}


@pytest.fixture(scope="module")
def decision() -> dict[str, Any]:
    return stack_plan(image_facts({}, TARGET), WISH)


def test_the_files_come_as_managed_files_takes_them(decision: dict[str, Any]) -> None:
    found = image_contents(decision, SETTINGS, TARGET, WISH, {})
    files = {file["path"]: file for file in found["files"]}
    assert set(files) == {
        *(
            "variables.json",
            "target.json",
            "image.json",
            "template.json",
            "pod.json",
            "build.sh",
            "start.sh",
            "check.py",
        )
    }
    assert files["start.sh"]["mode"] == "0755"
    assert json.loads(files["target.json"]["content"])["stack_plan_target"]["system"] == "ubuntu24.04"
    assert (found["base"].startswith("nvidia/cuda:"), found["prefix"], found["gaps"]) == (True, "/opt/podsmith", True)


def test_only_variables_of_roles_that_install_go_along(decision: dict[str, Any]) -> None:
    given = {
        "pytorch_index_url": "https://mirror.example.com/whl",
        "ansible_password": "x",
        "container_image_name": "a",
        "mine": 1,
    }
    found = image_contents(decision, SETTINGS, TARGET, WISH, given)
    variables = json.loads(next(file["content"] for file in found["files"] if file["path"] == "variables.json"))
    assert set(variables) == {"stack_plan_request", "pytorch_index_url"}


@pytest.mark.parametrize(
    ("settings", "target", "told"),
    [
        ({"disk_gb": 0}, TARGET, "container_image_disk_gb is 0; expected a whole number from 5 to 10000."),
        ({}, {}, "container_image_target has no gpus, which an image cannot be planned without"),
    ],
)
def test_what_cannot_be_used_is_refused(settings: Any, target: Any, told: str, decision: dict[str, Any]) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        image_contents(decision, {**SETTINGS, **settings}, target, WISH, {})
    assert told in str(caught.value.message)
