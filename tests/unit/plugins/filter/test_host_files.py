"""The filter in front of the host's generator."""

from __future__ import annotations

import json

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.podsmith.gpu.plugins.filter.host_files import FilterModule

host_files = FilterModule().filters()["host_files"]
ENVIRONMENT = {"scope": "user", "prefix": "/p", "path": "/p/environments/1", "live": False}


def test_the_files_suit_the_module() -> None:
    assert [(file["path"], file["state"]) for file in host_files(ENVIRONMENT)] == [("/p/activate.sh", "present")]
    assert [file["state"] for file in host_files(ENVIRONMENT, state="absent")] == ["absent"]


def test_the_record_of_a_decision_does_not_change_with_what_was_found_on_the_host() -> None:
    first = {"digest": "d", "changes": [{"role": "pytorch"}], "download": {"mib": 1}, "environment": ENVIRONMENT}
    later = first | {"changes": [], "download": {"mib": 0}, "environment": ENVIRONMENT | {"live": True}}
    later |= {"now": {"works": False}, "verdict": "broken", "warnings": ["/root/.bashrc:3 hides every GPU from CUDA"]}
    later["environment"] |= {"repairs": [{"path": "/root/.bashrc", "number": 3}]}
    record = host_files(ENVIRONMENT, first)[-1]
    assert record["path"] == "/p/state/decision.json"
    assert record == host_files(ENVIRONMENT, later)[-1]
    assert json.loads(record["content"])["digest"] == "d"


def test_a_missing_key_is_named() -> None:
    with pytest.raises(AnsibleFilterError, match=r"has no 'prefix'; host_files expects the environment of a decision"):
        host_files({})
