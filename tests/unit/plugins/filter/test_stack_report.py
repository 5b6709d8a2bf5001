from __future__ import annotations

from ansible_collections.podsmith.gpu.plugins.filter.stack_plan import stack_plan
from ansible_collections.podsmith.gpu.plugins.filter.stack_report import FilterModule

stack_report = FilterModule().filters()["stack_report"]
HOST = {"driver": {"status": "ok", "version": "580.95.05"}, "devices": [{"name": "NVIDIA H200"}]}


def test_the_lines_of_a_plan() -> None:
    lines = stack_report(stack_plan(HOST, {"cuda": "13.0"}), HOST, "h200-1")
    assert lines[0] == "h200-1   NVIDIA H200 · driver 580.95.05"
    assert lines[-1].startswith("  verdict  ")


def test_the_lines_of_a_run() -> None:
    told = {"results": [{"check": "cuinit", "ok": True}], "applied": None}
    assert "  proof    1 check passed" in stack_report(stack_plan(HOST), HOST, "h200-1", told)
    assert stack_report(stack_plan(HOST), HOST, "h200-1", {"results": None, "applied": None})[-1].endswith("pending")
