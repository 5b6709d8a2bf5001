"""The history grows by an entry, keeps so many, and survives what cannot be read."""

from __future__ import annotations

import json

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host.history import add_entry


@pytest.mark.parametrize(
    ("before", "names"),
    [
        pytest.param(None, ["new"], id="none"),
        pytest.param("", ["new"], id="empty"),
        pytest.param("{cut", ["new"], id="cut-off"),
        pytest.param("{}", ["new"], id="no-list"),
        pytest.param('[{"name": "a"}]', ["a", "new"], id="one"),
        pytest.param('[{"name": "a"}, {"name": "b"}]', ["b", "new"], id="full"),
    ],
)
def test_the_history_grows(before: str | None, names: list[str]) -> None:
    entries = json.loads(add_entry(before, {"name": "new"}, ["/etc/environment"], 2))
    assert [entry["name"] for entry in entries] == names
    assert entries[-1]["changed"] == ["/etc/environment"]
    assert entries[-1]["time"].endswith("Z")
