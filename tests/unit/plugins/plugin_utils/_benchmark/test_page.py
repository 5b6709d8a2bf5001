"""The page of a run: whole, self-contained, and escaped."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._benchmark import page
from ansible_collections.podsmith.gpu.plugins.plugin_utils._benchmark.judge import judge
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import load_catalogue

RUN = pathlib.Path(__file__).resolve().parents[4] / "fixtures" / "benchmarks" / "cpu-tiny.json"
PLOTS = pytest.mark.skipif(
    page.load_matplotlib() is None, reason="matplotlib is not installed: run scripts/prepare.sh dev"
)


def judged(**changes: Any) -> dict[str, Any]:
    return judge(json.loads(RUN.read_text(encoding="utf-8")) | changes, load_catalogue())


def render(result: dict[str, Any], host: str = "pod-1") -> str:
    return page.render_page(result, host, load_catalogue())


@pytest.fixture(scope="module")
def page_of_the_run() -> tuple[dict[str, Any], str]:
    """The run, and its page; its plots are what takes long."""
    result = judged()
    return result, render(result)


def test_the_page_has_every_case_and_every_reference(page_of_the_run: tuple[dict[str, Any], str]) -> None:
    result, text = page_of_the_run
    for case in result["cases"]:
        assert f"<td>{case['name'].partition('/')[2]}</td>" in text, case["name"]
    for name, row in load_catalogue()["benchmarks"]["references"].items():
        assert f"<td>{name}</td><td>{row['device']}</td>" in text
    assert "<h1>Benchmark of pod-1: <span class=ok>ok</span></h1>" in text


def test_every_family_of_the_run_has_a_title() -> None:
    assert {case["family"] for case in judged()["cases"]} <= page.TITLES.keys()


def test_the_page_needs_nothing_else(page_of_the_run: tuple[dict[str, Any], str]) -> None:
    text = page_of_the_run[1]
    assert not re.search(r"<(script|link|img|iframe)\b|@import|url\((?!#)", text)


def test_a_failed_run_says_why_at_its_top(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "load_matplotlib", lambda: None)  # the top has no plot
    result = judged(complete=False, running="gemm/64-fp32", stopped="did not end within 9 s")
    head = render(result).partition("<h2>")[0]
    assert "<span class=failed>failed</span>" in head
    assert "gemm/64-fp32: found it did not end within 9 s" in head


def test_what_others_wrote_is_escaped() -> None:
    result = judged()
    result["cases"][0]["backend"] = "<b>&"
    text = render(result, host="<pod>")
    assert "<pod>" not in text
    assert "&lt;b&gt;&amp;" in text


def test_without_matplotlib_the_tables_stay_and_the_page_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "load_matplotlib", lambda: None)
    text = render(judged())
    assert page.NO_PLOTS in text
    assert "<svg" not in text
    assert "ResNet-50, inference" in text


def test_matplotlib_is_loaded_by_the_page_alone() -> None:
    """Every run of Ansible loads this collection's filters: whoever writes no page must not pay for its plots."""
    name = "ansible_collections.podsmith.gpu.plugins.filter.benchmark_report"
    code = f"import sys; sys.path[:0] = {sys.path!r}; import {name}; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_cases_stand_in_the_order_of_their_numbers() -> None:
    names = ["gemm/16384-fp16", "gemm/1024-fp16", "gemm/1024-bf16", "gemm/8192-fp16"]
    ordered = sorted(({"name": name} for name in names), key=page.by_number)
    assert [case["name"] for case in ordered] == [names[2], names[1], names[3], names[0]]


@PLOTS
def test_each_measured_family_has_a_plot_that_is_well_formed(page_of_the_run: tuple[dict[str, Any], str]) -> None:
    result, text = page_of_the_run
    plots = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(plots) == len({case["family"] for case in result["cases"]})
    for plot in plots:
        ET.fromstring(plot)
    assert page.NO_PLOTS not in text


@PLOTS
def test_a_plot_shows_cases_peaks_and_known_devices() -> None:
    case = {
        "name": "gemm/8192-fp16",
        "device": 0,
        "unit": "TFLOPS",
        "value": 750.0,
        "median_ms": 1.4,
        "p20_ms": 1.3,
        "p80_ms": 1.5,
        "percent_of_peak": 76.0,
        "peak_value": 989.4,
        "references": {"RTX 5090": 233.0},
    }
    plot = page.plot_bars([case, {**case, "device": 1, "references": {}}])
    for words in ("8192-fp16 · GPU 0", "8192-fp16 · GPU 1", "data sheet", "RTX 5090", "this host", "TFLOPS"):
        assert words in plot
    assert page.plot_bars([case]) == page.plot_bars([case])
