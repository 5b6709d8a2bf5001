"""Is this difference of versions a problem? Each row a stack, what is said of it, and whether it is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.helps import what_helps
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import WayOut
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.versions import Versions, compare_versions
from ansible_collections.podsmith.gpu.plugins.plugin_utils._report.stack import render_text

Decide = Callable[..., dict[str, Any]]
WINDOWS = {"driver": "581.42", "driver_cuda": "13.0", "windows": True}
OLD_WINDOWS = {"driver": "566.36", "driver_cuda": "12.7", "windows": True}
PROBLEM, FINE = True, False
NATIVE = "no problem, a newer driver runs what is built for older CUDA releases"

CASES = [
    pytest.param(
        {**WINDOWS, "torch": "2.9.1+cu126", "torch_cuda": "12.6", "toolkit": "12.6"},
        [
            "Windows driver 581.42 supports CUDA 13.0; "
            "PyTorch 2.9.1+cu126 and the CUDA toolkit are built for CUDA 12.6: " + NATIVE
        ],
        FINE,
        id="newer-windows-driver",
    ),
    pytest.param(
        {**OLD_WINDOWS, "torch": "2.9.1+cu130", "torch_cuda": "13.0"},
        [
            (
                "PyTorch 2.9.1+cu130 is built for CUDA 13.0: a problem, CUDA 13 does not start on this driver; "
                "update the Windows driver to 580 or newer, or use CUDA 12.6."
            )
        ],
        PROBLEM,
        id="older-windows-driver",
    ),
    pytest.param(
        {**OLD_WINDOWS, "torch": "2.9.1+cu128", "torch_cuda": "12.8"},
        [
            (
                "supports CUDA 12.7; PyTorch 2.9.1+cu128 is built for CUDA 12.8: no problem, within CUDA 12 "
                "compiled code runs on an older driver; PTX does not."
            )
        ],
        FINE,
        id="minor-version",
    ),
    pytest.param(
        {"driver": "570.133.20", "driver_cuda": "12.8", "torch": "2.9.1+cu130", "torch_cuda": "13.0", "compat": "13.0"},
        ["no problem while the compat library of CUDA 13.0 is active."],
        FINE,
        id="forward-compat",
    ),
    pytest.param(
        {"driver": "570.133.20", "driver_cuda": "12.8", "torch": "2.9.1+cu130", "torch_cuda": "13.0"},
        [
            (
                "PyTorch 2.9.1+cu130 is built for CUDA 13.0: a problem, CUDA 13 does not start on this"
                " driver; update the driver to 580 or newer, or use CUDA 12.8."
            )
        ],
        PROBLEM,
        id="older-driver",
    ),
    pytest.param(
        {**WINDOWS, "torch": "2.9.1+cu126", "torch_cuda": "12.6", "toolkit": "13.0"},
        [
            "PyTorch 2.9.1+cu126 is built for CUDA 12.6: " + NATIVE,
            (
                "CUDA toolkit 13.0; PyTorch 2.9.1+cu126 is built with CUDA 12.6: a problem, PyTorch refuses to build"
                " extensions across CUDA majors; use a CUDA toolkit 12.6, or a PyTorch for CUDA 13.0."
            ),
        ],
        PROBLEM,
        id="toolkit-of-another-major",
    ),
    pytest.param(
        {"torch": "2.9.1+cu126", "torch_cuda": "12.6", "toolkit": "12.8"},
        ["no problem, extensions build across releases of CUDA 12; PyTorch only warns."],
        FINE,
        id="toolkit-of-another-minor",
    ),
    pytest.param(
        {"driver": "550.90.07", "driver_cuda": "12.4", "toolkit": "13.0"},
        [
            (
                "the CUDA toolkit is built for CUDA 13.0: a problem for what it compiles: that does"
                " not start on this driver; update the driver to 580 or newer, or only compile here."
            )
        ],
        PROBLEM,
        id="toolkit-newer-than-the-driver",
    ),
    pytest.param(
        {"torch": "2.8.0+cu128", "torch_cuda": "12.8", "toolkit": "12.8", "beside": ("13.0",)},
        [
            (
                "CUDA toolkit 13.0 is installed as well; PyTorch is built with CUDA 12.8: no problem, extensions of"
                " PyTorch build with CUDA toolkit 12.8, which is the active one."
            )
        ],
        FINE,
        id="toolkit-beside",
    ),
    pytest.param(
        {"torch": "2.8.0+cu128", "torch_cuda": "12.8", "beside": ("13.0", "12.6")},
        [
            "no problem for what it compiles by itself; extensions of PyTorch do not build with it.",
            "no problem, extensions of PyTorch would build with it too.",
        ],
        FINE,
        id="toolkits-beside-and-none-active",
    ),
    pytest.param({**WINDOWS, "torch": "2.9.1+cu130", "torch_cuda": "13.0", "toolkit": "13.0"}, [], FINE, id="all-same"),
    pytest.param({"torch": "2.13.0+cpu", "toolkit": "13.0"}, [], FINE, id="cpu"),
    pytest.param({"driver": "580.95.05", "driver_cuda": "13.0"}, [], FINE, id="driver-alone"),
    pytest.param({}, [], FINE, id="nothing"),
]


@pytest.mark.parametrize(("stack", "told", "problem"), CASES)
def test_a_difference_is_judged_in_words(
    stack: dict[str, Any], told: list[str], problem: bool, known: Catalogue
) -> None:
    found = [row for row in compare_versions(Versions(**stack), known, helps=lambda _way: True) if row.differs]
    assert len(found) == len(told)
    for row, words in zip(found, told, strict=True):
        assert words in row.text
    assert any(row.problem for row in found) is problem


@pytest.mark.parametrize(
    ("stack", "helpful", "told"),
    [
        pytest.param(
            {"container": True},
            {"driver", "cuda"},
            "use a host with driver 580 or newer, or use CUDA 12.8.",
            id="container",
        ),
        pytest.param(
            {}, {"driver"}, "does not start on this driver; update the driver to 580 or newer.", id="only-driver"
        ),
        pytest.param({}, {"cuda"}, "does not start on this driver; use CUDA 12.8.", id="only-cuda"),
        pytest.param({}, set(), "CUDA 13 does not start on this driver.", id="nothing"),
    ],
)
def test_only_what_was_tried_is_told(stack: dict[str, Any], helpful: set[str], told: str, known: Catalogue) -> None:
    """A container's driver is another machine's; and what the rules refuse on this host is not told."""
    versions = {"driver": "570.133.20", "driver_cuda": "12.8", "torch": "2.9.1+cu130", "torch_cuda": "13.0", **stack}

    def helps(way: WayOut) -> bool:
        return ("driver" if way.host else "cuda") in helpful

    (row,) = compare_versions(Versions(**versions), known, helps)
    assert row.text.endswith(told)


@pytest.mark.parametrize(
    ("gpu", "kind", "told"),
    [
        pytest.param("H100", "bare_metal", "update the driver to 580 or newer, or use CUDA 12.8.", id="own"),
        pytest.param("H100", "container", "use a host with driver 580 or newer, or use CUDA 12.8.", id="rented"),
        pytest.param("V100", "container", "does not start on this driver; use CUDA 12.8.", id="no-code-in-cuda-13"),
    ],
)
def test_what_helps_is_decided_for_the_host(gpu: str, kind: str, told: str, host: Any, known: Catalogue) -> None:
    observed = host(gpu, "570.133.20", kind=kind)
    versions = Versions("570.133.20", "12.8", container=kind == "container", torch="2.9.1+cu130", torch_cuda="13.0")
    (row,) = compare_versions(versions, known, what_helps(observed, {}, known))
    assert row.text.endswith(told)


def test_the_numbers_stand_side_by_side(known: Catalogue) -> None:
    stack = Versions(**WINDOWS, torch="2.9.1+cu126", torch_cuda="12.6", toolkit="12.8")
    assert [(row.what, row.numbers) for row in compare_versions(stack, known)] == [
        ("driver and PyTorch", {"driver": "13.0", "pytorch": "12.6"}),
        ("driver and toolkit", {"driver": "13.0", "toolkit": "12.8"}),
        ("toolkit and PyTorch", {"toolkit": "12.8", "pytorch": "12.6"}),
    ]


def test_a_decision_carries_them_and_its_report_shows_those_that_differ(host: Any, decide: Decide) -> None:
    observed = host("RTX4090", "581.42", kind="wsl2")
    stable, newer = decide(observed, cuda="12.6"), decide(observed, cuda="13.0")
    assert [row["problem"] for row in stable["versions"]] == [False, False]
    assert "  versions Windows driver 581.42 supports CUDA 13.0; PyTorch" in render_text(stable, observed, "laptop")
    assert {len(set(row["numbers"].values())) for row in newer["versions"]} == {1}
    assert "  versions" not in render_text(newer, observed, "laptop")


def test_a_host_without_a_gpu_compares_no_driver(host: Any, decide: Decide) -> None:
    observed = host(None, "580.95.05")
    observed["driver"]["status"] = "no_device"
    assert decide(observed, cuda="13.0")["versions"] == []
