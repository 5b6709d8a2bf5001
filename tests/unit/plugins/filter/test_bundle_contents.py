"""The filter hands out plain data, and refuses in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.podsmith.gpu.plugins.filter.bundle_contents import FilterModule
from ansible_collections.podsmith.gpu.plugins.filter.stack_plan import stack_plan

RECORDING = Path(__file__).resolve().parents[4] / "tests/fixtures/h200-driver-580-facts.json"
WISH = {"cuda": "13.0", "pytorch": "2.11", "cutlass": "4.2.0"}


def contents(observed: dict[str, Any], **options: Any) -> dict[str, Any]:
    return FilterModule().filters()["bundle_contents"](
        stack_plan(observed, WISH), observed, WISH, "bundle/h200", **options
    )


def test_plain_data_for_a_recorded_host() -> None:
    told = contents(json.loads(RECORDING.read_text(encoding="utf-8"))["gpu"])
    assert told == json.loads(json.dumps(told)), "a template adds lists to lists"
    assert told["target"] == {"python": "3.12", "glibc": "2.39", "arch": "x86_64"}
    assert told["variables"]["bundle_dir"] == "bundle/h200"


def test_an_unknown_target_is_refused() -> None:
    observed = json.loads(RECORDING.read_text(encoding="utf-8"))["gpu"]
    del observed["platform"]["glibc"]
    with pytest.raises(AnsibleFilterError, match="set it in bundle_target"):
        contents(observed)
    assert contents(observed, target={"glibc": "2.35"})["target"]["glibc"] == "2.35"
