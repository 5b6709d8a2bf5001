# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan says of its builds is what the role takes: Ansible checks its arguments before the first task."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.podsmith.gpu.plugins.module_utils._build import plan
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import load_catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.decision import to_decision
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.plan import resolve

ROOT = pathlib.Path(__file__).resolve().parents[3]
RECORDED = json.loads((ROOT / "tests/fixtures/h200-driver-580-facts.json").read_text(encoding="utf-8"))["gpu"]
WISHES: dict[str, dict[str, Any]] = {
    "torch": {"wheels": {"provider": "source"}},
    "extension": {"source": {"extensions": ["flash-attn"]}},
    "both-and-a-mirror": {
        "wheels": {"provider": "source"},
        "source": {"extensions": ["flash-attn"], "urls": {"torch": "https://git.example.org/pytorch.git"}},
    },
    "an-archive": {
        "wheels": {"provider": "source"},
        "source": {"urls": {"torch": "https://x.example.org/torch.tar.gz"}},
    },
}


@pytest.mark.parametrize("name", WISHES)
def test_planned_builds_are_taken(name: str) -> None:
    wish = {"cuda": "13.0", "pytorch": "2.13", **WISHES[name]}
    source = to_decision(resolve(RECORDED, wish, load_catalogue()))["source"]
    assert source["builds"]
    specs = yaml.safe_load((ROOT / "roles/pytorch_source/meta/argument_specs.yml").read_text(encoding="utf-8"))
    options = {
        option: {key: value for key, value in row.items() if key != "default"}
        for option, row in specs["argument_specs"]["main"]["options"].items()
    }
    given = {"pytorch_source_builds": source["builds"], "pytorch_source_store": source["store"]}
    assert ArgumentSpecValidator(options).validate(given).error_messages == []
    for build in source["builds"]:
        assert plan.check_build(build) == []
        assert plan.plan_steps(build, "/w", {})
        assert all(path.startswith("lib/python3.") for path in plan.links_of(build))
