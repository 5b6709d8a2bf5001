"""The two filters in front of the generators."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.podsmith.gpu.plugins.filter.generation_files import FilterModule as GenerationFiles
from ansible_collections.podsmith.gpu.plugins.filter.host_files import FilterModule as HostFiles

generation_files = GenerationFiles().filters()["generation_files"]
host_files = HostFiles().filters()["host_files"]
ENVIRONMENT: dict[str, Any] = {"scope": "user", "prefix": "/p", "path": "/p/environments/1", "live": False}


def test_generation_files_suit_the_module() -> None:
    (file,) = generation_files(ENVIRONMENT)
    assert (file["path"], file["mode"], file["block"]) == ("activate.sh", "0644", False)


def test_host_files_suit_the_module() -> None:
    assert [(file["path"], file["state"]) for file in host_files(ENVIRONMENT)] == [("/p/activate.sh", "present")]
    assert [file["state"] for file in host_files(ENVIRONMENT, state="absent")] == ["absent"]


def test_the_record_of_a_decision_does_not_change_with_what_was_installed() -> None:
    first = {"digest": "d", "changes": [{"role": "pytorch"}], "download": {"mib": 1}, "environment": ENVIRONMENT}
    later = first | {"changes": [], "download": {"mib": 0}, "environment": ENVIRONMENT | {"live": True}}
    record = host_files(ENVIRONMENT, first)[-1]
    assert record["path"] == "/p/state/decision.json"
    assert record == host_files(ENVIRONMENT, later)[-1]
    assert json.loads(record["content"])["digest"] == "d"


@pytest.mark.parametrize(
    ("convert", "environment", "message"),
    [
        (generation_files, {"path": "/p"}, "has no 'prefix'; generation_files wants prefix, path and"),
        (generation_files, {"prefix": "/p", "path": "/p/e", "pytorch": True}, "has no 'site_packages'"),
        (host_files, {}, "has no 'prefix'; podsmith.gpu.host_files wants it"),
    ],
)
def test_a_missing_key_is_named(convert: Any, environment: dict[str, Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        convert(environment)
