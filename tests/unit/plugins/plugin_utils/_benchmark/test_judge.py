"""What figures mean: shares of the peak, floors, and when a pod is to be given back."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._benchmark.judge import (
    ADVICE,
    KEEP,
    WRONG,
    ResultError,
    figure,
    find_floor,
    find_peak,
    judge,
    render_lines,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue, load_catalogue

RUNS = sorted((pathlib.Path(__file__).resolve().parents[4] / "fixtures" / "benchmarks").glob("*.json"))
H200, L4 = "NVIDIA H200", "NVIDIA L4"
FLOP_8192 = 2 * 8192**3


def known() -> Catalogue:
    """The catalogue with references that do not change when somebody measures again."""
    references = {
        "H200": {"device": H200, "results": {"gemm/8192-fp16": 753, "all_reduce/2-1024MiB": 300}},
        "slower H200": {"device": H200, "results": {"gemm/8192-fp16": 700}},
        "RTX 5090": {"device": "NVIDIA GeForce RTX 5090", "results": {"gemm/8192-fp16": 233, "memory/copy": 1545}},
    }
    return {**load_catalogue(), "benchmarks": {"references": references}}


def case(name: str = "gemm/8192-fp16", value: float | None = 750.0, **changes: Any) -> dict[str, Any]:
    """A measured case, or one without a figure."""
    memory = name.startswith(("memory", "transfer", "peer", "all_reduce"))
    made: dict[str, Any] = {
        "name": name,
        "family": name.partition("/")[0],
        "device": 0,
        "shape": "shape",
        "unit": "GB/s" if memory else "TFLOPS",
        "peak": "memory" if memory else "fp16",
        "status": "ok",
        "error": 0.001,
        "tolerance": 0.0078,
        "backend": "flash",
        "state": {"sm_mhz": 1200, "power_w": 699.6, "temperature_c": 88, "throttling": ["hardware thermal slowdown"]},
    }
    if value is not None:
        made |= {"value": value, ("gb_per_s" if memory else "tflops"): value}
    return made | changes


def result(*cases: dict[str, Any], device: str = H200, **changes: Any) -> dict[str, Any]:
    made = {
        "schema": 1,
        "level": "quick",
        "seconds": 41.2,
        "complete": True,
        "running": None,
        "software": {"torch": "2.11.0+cu130", "driver": "580.159.04"},
        "devices": [{"index": 0, "name": device}, {"index": 1, "name": device}],
        "cases": list(cases),
    }
    return made | changes


def sentences(judged: dict[str, Any]) -> list[str]:
    return [finding["text"] for finding in judged["verdict"]["findings"]]


@pytest.mark.parametrize(
    ("name", "value", "changes", "percent"),
    [
        pytest.param("gemm/8192-fp16", 494.7, {}, 50.0, id="tflops"),
        pytest.param("memory/copy", 4320.0, {}, 90.0, id="bandwidth"),
        pytest.param("transfer/h2d-pinned", 32.0, {"peak": "pcie"}, 50.0, id="pcie-one-direction"),
        pytest.param("resnet50/b1-fp16", 9000.0, {"tflops": 98.94, "unit": "images/s"}, 10.0, id="images"),
        pytest.param("compile/b1", 2.0, {"peak": None, "unit": "x"}, None, id="no-peak"),
        pytest.param("gemm/8192-fp16", 1100.0, {}, 111.2, id="above-the-data-sheet"),
    ],
)
def test_percent_of_peak(name: str, value: float, changes: dict[str, Any], percent: float | None) -> None:
    judged = judge(result(case(name, value, **changes)), known())
    assert judged["cases"][0]["percent_of_peak"] == percent


@pytest.mark.parametrize(
    ("peak", "device", "wanted"),
    [
        ("fp16", H200, 989.4),
        ("memory", L4, 300),
        ("nvlink", L4, None),
        ("fp8", "Tesla T4", None),
        ("fp16", "NVIDIA H200 MIG 1g.18gb", None),
        (None, H200, None),
    ],
)
def test_peak(peak: str | None, device: str, wanted: float | None) -> None:
    assert find_peak(peak, device, known()) == wanted


@pytest.mark.parametrize(
    ("name", "peak", "device", "least", "because"),
    [
        pytest.param(
            "gemm/8192-fp16", "fp16", H200, 0.85 * 700, "85% of the 700 TFLOPS measured on slower H200", id="own"
        ),
        pytest.param("gemm/8192-fp16", "fp16", L4, 0.35 * 121, "35% of the data sheet's 121 TFLOPS", id="data-sheet"),
        pytest.param(
            "memory/copy", "memory", H200, 0.7 * 4800, "70% of the data sheet's 4,800 GB/s", id="other-device"
        ),
        pytest.param("all_reduce/2-1024MiB", "nvlink", H200, 225, "75% of the 300 GB/s measured on H200", id="pattern"),
        pytest.param("all_reduce/8-1024MiB", "nvlink", H200, 180, "40% of the data sheet's 450 GB/s", id="more-ranks"),
        pytest.param("all_reduce/2-1024MiB", "pcie", H200, None, None, id="not-over-nvlink"),
        pytest.param("gemm/4096-fp16", "fp16", H200, None, None, id="no-row"),
        pytest.param("gemm/8192-fp16", "fp16", "NVIDIA Unheard Of", None, None, id="unknown-device"),
    ],
)
def test_floor(name: str, peak: str, device: str, least: float | None, because: str | None) -> None:
    floor = find_floor(case(name, peak=peak), device, known())
    assert (floor and floor.because) == because
    assert (floor.value if floor else None) == (pytest.approx(least) if least else None)


def test_a_sound_device_passes() -> None:
    judged = judge(result(case(), case("memory/copy", 4300.0)), known())
    assert judged["verdict"] == {"ok": True, "findings": [], "notes": []}
    assert judged["cases"][0]["references"] == {"H200": 753, "slower H200": 700, "RTX 5090": 233}


@pytest.mark.parametrize(("value", "ok"), [(595.0, True), (594.9, False)])
def test_the_floor_is_sharp(value: float, ok: bool) -> None:
    assert judge(result(case(value=value)), known())["verdict"]["ok"] is ok


def test_a_figure_below_the_floor_names_device_case_found_expected_and_what_to_do() -> None:
    found = "400 TFLOPS (at 1200 MHz, 700 W, 88 °C, hardware thermal slowdown)"
    wanted = "at least 595 TFLOPS (85% of the 700 TFLOPS measured on slower H200)"
    assert sentences(judge(result(case(value=400.0, device=1)), known())) == [
        f"GPU 1 (NVIDIA H200): gemm/8192-fp16: found {found}; expected {wanted}. {KEEP}"
    ]
    assert "return this pod" in KEEP


def test_a_wrong_result_fails_whatever_its_speed_and_floor() -> None:
    judged = judge(result(case("softmax/8x8-fp16", 9.0, status="wrong", error=0.31)), known())
    assert sentences(judged) == [
        f"GPU 0 (NVIDIA H200): softmax/8x8-fp16: found results off by 0.31; expected at most 0.0078. {WRONG}"
    ]


@pytest.mark.parametrize("status", sorted(ADVICE))
def test_a_floor_without_a_figure_fails_and_any_other_case_is_noted(status: str) -> None:
    absent = {"status": status, "reason": "it said why"}
    judged = judge(result(case(value=None, **absent), case("gemm/64-fp16", None, **absent)), known())
    wanted = "at least 595 TFLOPS (85% of the 700 TFLOPS measured on slower H200)"
    assert sentences(judged) == [
        f"GPU 0 (NVIDIA H200): gemm/8192-fp16: found no figure: it said why; expected {wanted}. {ADVICE[status]}"
    ]
    assert judged["verdict"]["notes"] == [f"gemm/64-fp16: {status.replace('_', ' ')}: it said why"]


def test_a_run_that_was_cut_short_fails() -> None:
    cut = result(case(), complete=False, running="gemm/64-fp16", stopped="did not end within 9 s: it said nothing")
    (sentence,) = sentences(judge(cut, known()))
    assert sentence.startswith("the program: gemm/64-fp16: found it did not end within 9 s: it said nothing; expected")


def test_a_run_without_cases_proves_nothing() -> None:
    assert "found no case; expected figures" in sentences(judge(result(), known()))[0]


def test_an_unknown_device_is_compared_with_nothing_and_says_so() -> None:
    judged = judge(result(case(value=1.0), device="NVIDIA Unheard Of"), known())
    assert judged["verdict"]["ok"]
    assert judged["verdict"]["notes"] == [
        "The catalogue has no data sheet for NVIDIA Unheard Of: its figures are not compared."
    ]


@pytest.mark.parametrize("answer", [{}, {"schema": 2, "cases": []}, {"schema": 1}])
def test_what_is_no_result_is_refused(answer: dict[str, Any]) -> None:
    with pytest.raises(ResultError, match=r"expected the results\.json of a benchmark, schema 1\. Measure again"):
        judge(answer, known())


def test_to_judge_again_changes_nothing() -> None:
    once = judge(result(case(value=400.0), case("memory/copy", 4300.0)), known())
    assert judge(once, known()) == once


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (517.49, "TFLOPS", "517 TFLOPS"),
        (4310.2, "GB/s", "4,310 GB/s"),
        (10.89, "x", "10.9x"),
        (1.5, "x", "1.50x"),
        (0.01234, "TFLOPS", "0.0123 TFLOPS"),
    ],
)
def test_figure(value: float, unit: str, text: str) -> None:
    assert figure(value, unit) == text


def test_the_block_shows_floors_the_best_of_the_others_and_the_verdict() -> None:
    cases = [
        case(),
        case("gemm/1024-fp16", 300.0),
        case("linear/1", 500.0),
        case("linear/2", 700.0, backend=None),
        case("conv2d/1", None, status="out_of_memory", reason="too large"),
    ]
    assert render_lines(judge(result(*cases), known()), "pod-1") == [
        "pod-1   2x NVIDIA H200 · driver 580.159.04 · torch 2.11.0+cu130 · quick, 5 cases, 41 s",
        "  gemm/8192-fp16                                   750 TFLOPS  76 % of peak   flash",
        "  linear/2                                         700 TFLOPS  71 % of peak",
        "  note     conv2d/1: out of memory: too large",
        "  verdict  ok: 4 of 5 cases measured and correct",
    ]
    failed = render_lines(judge(result(case(value=1.0)), known()), "pod-1")
    assert failed[-1] == "  verdict  failed"
    assert failed[-2].startswith("  failed   GPU 0 (NVIDIA H200): gemm/8192-fp16: found 1.00 TFLOPS")


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_every_kept_run_is_whole_correct_and_above_its_floors(path: pathlib.Path) -> None:
    judged = judge(json.loads(path.read_text(encoding="utf-8")), load_catalogue())
    assert sentences(judged) == []
    assert {entry["status"] for entry in judged["cases"]} <= {"ok", "unsupported", "out_of_memory", "skipped"}


def test_there_are_kept_runs() -> None:
    assert RUNS
