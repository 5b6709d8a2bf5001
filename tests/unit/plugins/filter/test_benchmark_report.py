"""The filter gives lines or a page."""

from __future__ import annotations

import json
import pathlib

from ansible_collections.podsmith.gpu.plugins.filter.benchmark_report import FilterModule

RUN = pathlib.Path(__file__).resolve().parents[3] / "fixtures" / "benchmarks" / "cpu-tiny.json"
benchmark_report = FilterModule().filters()["benchmark_report"]


def test_lines_and_page() -> None:
    judged = json.loads(RUN.read_text(encoding="utf-8"))
    lines = benchmark_report(judged, "pod-1")
    assert lines[0].startswith("pod-1   1x CPU · torch ")
    assert benchmark_report(judged, "pod-1", "page").startswith("<!DOCTYPE html>")
