"""The role accepts what each decision that calls it says: Ansible checks a role's arguments before its first task."""

from __future__ import annotations

import json
import pathlib
import re
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import load_catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.decision import to_decision
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.plan import resolve

ROOT = pathlib.Path(__file__).resolve().parents[3]
RECORDED = json.loads((ROOT / "tests/fixtures/h200-driver-580-facts.json").read_text(encoding="utf-8"))["gpu"]
LIBRARY = {
    "package": "cuda-compat-13-0",
    "version": "580.95.05",
    "path": "/usr/local/cuda-13.0/compat",
    "cuda": "13.0",
    "branches": [535, 550, 570],
    "brands": [14],
    "managed": True,
}
OLDER = {"driver": {**RECORDED["driver"], "version": "570.133.20", "branch": 570, "cuda": "12.8"}}


def with_library(**parts: Any) -> dict[str, Any]:
    """The recorded host with a compat library that the collection installed."""
    return {**RECORDED, **parts, "installed": {**RECORDED["installed"], "compat": [LIBRARY]}}


def load(name: str) -> dict[str, Any]:
    text = (ROOT / "roles/forward_compat" / name).read_text(encoding="utf-8")
    # A decision that has the path needs no release of it; outside of a run the collection's own filters are not there.
    return yaml.safe_load(re.sub(r"podsmith\.gpu\.\w+(?:\(\w+\))?", "string", text))


@pytest.mark.parametrize(
    ("observed", "action"),
    [
        pytest.param({**RECORDED, **OLDER}, "switch", id="a-library-of-the-image-is-switched-on"),
        pytest.param(with_library(**OLDER), "switch", id="ours-is-switched-on"),
        pytest.param(with_library(), "remove", id="ours-goes"),
        pytest.param({**RECORDED, **OLDER, "installed": {}}, "install", id="none-is-there"),
    ],
)
def test_the_role_accepts_the_decision_that_calls_it(observed: dict[str, Any], action: str) -> None:
    decision = to_decision(resolve(observed, {"cuda": "13.0", "pytorch": "2.9"}, load_catalogue()))
    assert [change["action"] for change in decision["changes"] if change["role"] == "forward_compat"] == [action]
    variables = {**load("vars/main.yml"), **load("defaults/main.yml")}
    trusted = {name: trust_as_template(value) if isinstance(value, str) else value for name, value in variables.items()}
    templar = Templar(loader=DataLoader(), variables={**trusted, "stack_plan_decision": decision})
    assert templar.template(trusted["forward_compat_standby"]) is False
    options = load("meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    given = {name: templar.template(trusted[name]) for name in options}
    accepted = {name: {**option, "default": None} for name, option in options.items()}
    assert ArgumentSpecValidator(accepted).validate(given).error_messages == []
