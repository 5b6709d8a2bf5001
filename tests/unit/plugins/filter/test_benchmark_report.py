"""The filter gives lines or a page."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

from ansible_collections.podsmith.gpu.plugins.filter.benchmark_report import FilterModule

RUN = pathlib.Path(__file__).resolve().parents[3] / "fixtures" / "benchmarks" / "cpu-tiny.json"
benchmark_report = FilterModule().filters()["benchmark_report"]


def test_lines_and_page() -> None:
    judged = json.loads(RUN.read_text(encoding="utf-8"))
    lines = benchmark_report(judged, "pod-1")
    assert lines[0].startswith("pod-1   1x CPU · torch ")
    assert benchmark_report(judged, "pod-1", "page").startswith("<!DOCTYPE html>")


def test_loading_the_filter_loads_no_matplotlib() -> None:
    """Ansible loads every filter for every playbook."""
    name = benchmark_report.__module__
    code = f"import sys, {name}; print('matplotlib' in sys.modules, {name!r} in sys.modules)"
    argv = [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path}\n{code}"]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split() == ["False", "True"]
