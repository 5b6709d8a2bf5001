"""The filter hands the catalogue to the pure function."""

from __future__ import annotations

from ansible_collections.podsmith.gpu.plugins.filter.stack_sources import FilterModule


def test_sources_of_a_decision() -> None:
    stack_sources = FilterModule().filters()["stack_sources"]
    changes = [{"role": "pytorch", "action": "install"}]
    decision = {"changes": changes, "pytorch": {"provider": "pytorch_index", "index": "cu130"}}
    told = stack_sources(decision, {"pytorch_index_url": "http://mirror"})
    assert told["pip"] is True
    assert [source["url"] for source in told["sources"]] == ["http://mirror/torch/"]
    assert stack_sources({"changes": []}) == {"sources": [], "pip": False}
