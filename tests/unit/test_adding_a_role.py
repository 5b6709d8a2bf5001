"""A made-up role in a copy: its own folder, one row of parts.py, one include; planned, told and bundled."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PARTS = "plugins/plugin_utils/_plan/parts.py"
APPLY = "playbooks/tasks/packages.yml"
ROW = '    Part("quantization", "extensions", proven=True, environment=True, packages=("bitsandbytes",)),\n'
INCLUDE = """
- name: packages | Install the quantization kernels
  ansible.builtin.include_role:
    name: podsmith.gpu.quantization
  when: "'quantization' in bootstrap_pending"
"""
SPEC = {
    "argument_specs": {
        "main": {
            "short_description": "Install the quantization kernels",
            "description": ["Installs them into the environment."],
            "author": ["Podsmith developers"],
            "version_added": "1.0.0",
            "options": {
                "quantization_requirement": {
                    "description": "What to install.",
                    "type": "str",
                    "default": "{{ stack_plan_decision['extensions']['bitsandbytes']['requirement'] }}",
                }
            },
        }
    }
}

# What a planner's filter, the report and the bundle say of a host that asks for the package of the made-up role.
ASK = """
import json, sys
from ansible_collections.podsmith.gpu.plugins.filter.stack_plan import stack_plan
from ansible_collections.podsmith.gpu.plugins.filter.unknown_variables import unknown_variables
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import load_catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._offline import bundle
from ansible_collections.podsmith.gpu.plugins.plugin_utils._report.stack import render_text

observed = json.load(open("tests/fixtures/h200-driver-580-facts.json"))["gpu"]
observed["installed"]["pytorch"] = []
decision = stack_plan(observed, {"cuda": "13.0", "pytorch": "2.9", "extensions": ["bitsandbytes"]})
target = bundle.find_target(decision, observed, {})
needs = bundle.list_needs(decision, observed, target, {}, load_catalogue())
print(json.dumps({
    "roles": [change["role"] for change in decision["changes"]],
    "text": render_text(decision, observed, "pod"),
    "wheels": [requirement for entry in needs.wheels for requirement in entry.requirements],
    "variables": unknown_variables(["quantization_requirement", "quantization_requirment"]),
}))
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The product's files, with the made-up role."""
    top = tmp_path_factory.mktemp("copy") / "ansible_collections" / "podsmith" / "gpu"
    for name in ("plugins", "catalogue", "roles", "playbooks", "meta", "tests/fixtures"):
        shutil.copytree(ROOT / name, top / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "root"))
    role = top / "roles" / "quantization"
    for folder in ("meta", "defaults", "tasks/state"):
        (role / folder).mkdir(parents=True)
    (role / "meta" / "argument_specs.yml").write_text(yaml.safe_dump(SPEC), encoding="utf-8")
    table = (top / PARTS).read_text(encoding="utf-8")
    first = '    Part("ml_extensions"'
    assert table.count(first) == 1
    (top / PARTS).write_text(table.replace(first, ROW + first), encoding="utf-8")
    with (top / APPLY).open("a", encoding="utf-8") as file:
        file.write(INCLUDE)
    return top


@pytest.fixture(scope="module")
def told(copy: Path) -> dict[str, object]:
    environment = {"PYTHONPATH": str(copy.parents[2]), "PYTHONDONTWRITEBYTECODE": "1", "PATH": "/usr/bin:/bin"}
    asked = [sys.executable, "-c", ASK]
    done = subprocess.run(asked, check=False, cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_it_is_planned(told: dict[str, object]) -> None:
    roles = told["roles"]
    assert isinstance(roles, list)
    assert "quantization" in roles
    assert "ml_extensions" not in roles, "its package is its own"
    assert roles.index("quantization") < roles.index("gpu_verify"), "what it changes is proved"


def test_it_is_told(told: dict[str, object]) -> None:
    assert "  + bitsandbytes" in str(told["text"])


def test_it_is_bundled(told: dict[str, object]) -> None:
    wheels = told["wheels"]
    assert isinstance(wheels, list)
    assert [wheel for wheel in wheels if wheel.startswith("bitsandbytes==")] != []


def test_its_variables_are_known_and_its_misspelt_ones_refused(told: dict[str, object]) -> None:
    assert told["variables"] == [
        "The variable quantization_requirment is unknown; did you mean quantization_requirement?"
    ]


def test_the_roles_of_the_table_are_included(copy: Path) -> None:
    """The row without the include, or the include without the row, is what the promises refuse."""
    conditions = [task["when"] for task in yaml.safe_load((copy / APPLY).read_text(encoding="utf-8"))]
    assert "'quantization' in bootstrap_pending" in conditions
    assert sorted(path.name for path in (copy / "roles").iterdir()) == sorted(
        [*(path.name for path in (ROOT / "roles").iterdir()), "quantization"]
    )
