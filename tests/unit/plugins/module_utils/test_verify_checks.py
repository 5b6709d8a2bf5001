from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._verify_checks import (
    CHECKS,
    NEEDS,
    PLANS,
    Check,
    Finding,
    Settings,
    choose_checks,
    choose_cutlass_architectures,
    conclude,
    count_build_jobs,
    lack,
    plan_check,
    skip,
    summarize,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._verify_run import Job, Outcome

PROOF = Path(__file__).resolve().parents[4] / "roles" / "gpu_verify" / "files" / "proof.py"
ALL = {"environment": "/env", "cuda_home": "/cuda", "cutlass_home": "/cutlass", "architectures": ("sm_90a",)}


def settings(**changes: Any) -> Settings:
    return Settings(**{"folder": "/work", "python": "/usr/bin/python3", **changes})


@pytest.mark.parametrize(
    ("wanted", "changes", "expected"),
    [
        pytest.param(None, {}, [], id="nothing"),
        pytest.param(None, {"cuda_home": "/cuda"}, ["nvcc"], id="no-architecture"),
        pytest.param(None, {"cuda_home": "/cuda", "architectures": ("sm_90a",)}, ["nvcc", "kernel"], id="toolkit"),
        pytest.param(None, {"environment": "/env"}, ["torch", "matmul", "extension"], id="torch"),
        pytest.param(None, {**ALL, "level": "light"}, ["nvcc", "torch", "matmul"], id="light"),
        pytest.param(None, {**ALL, "gpu": True, "level": "full"}, list(CHECKS), id="all"),
        pytest.param(["torch", "kernel"], {**ALL, "level": "light"}, ["torch"], id="asked-for-light"),
        pytest.param(["nvcc"], {**ALL, "level": "full"}, ["nvcc"], id="full-without-torch"),
        pytest.param(["torch"], {**ALL, "level": "full"}, ["torch", "compile", "pip_fence"], id="full-with-torch"),
        pytest.param(["kernel"], {}, ["kernel"], id="asked-for-and-lacking"),
    ],
)
def test_choose_checks(wanted: list[str] | None, changes: dict[str, Any], expected: list[str]) -> None:
    assert choose_checks(wanted, settings(**changes)) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("sm_90a",)),
        ({"architectures": ("sm_100a", "sm_120a")}, ("sm_100a",)),
        ({"level": "full"}, ("sm_75", "sm_90a")),
        ({"gpu": True}, ("sm_75", "sm_90a")),
    ],
)
def test_choose_cutlass_architectures(changes: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert choose_cutlass_architectures(settings(**{"architectures": ("sm_75", "sm_90a"), **changes})) == expected


@pytest.mark.parametrize(("cpus", "memory", "jobs"), [(2, 23.0, 2), (64, 16.0, 8), (8, 0.5, 1), (1, 100.0, 1)])
def test_count_build_jobs(cpus: int, memory: float, jobs: int) -> None:
    assert count_build_jobs(cpus, memory) == jobs


def test_every_check_is_planned() -> None:
    assert set(PLANS) == set(CHECKS)
    assert set(NEEDS) == set(CHECKS) - {"cuinit"}


def test_a_gpu_runs_what_was_compiled() -> None:
    on_gpu = settings(**ALL, gpu=True)
    assert [job.name for job in plan_check("kernel", on_gpu).jobs] == ["kernel", "kernel_run"]
    assert plan_check("cutlass", on_gpu).jobs[-1].needs == ("cutlass_sm_90a",)
    assert [job.name for job in plan_check("kernel", settings(**ALL)).jobs] == ["kernel"]


def check_of(finding: Finding) -> Check:
    return Check("torch", (Job("torch", ("/env/bin/python", "/w/proof.py", "torch"), 9),), lambda outcomes: finding)


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        pytest.param(Outcome(None, "", 9.0, 9.0), "proof.py torch gave no answer within 9 s.", id="hang"),
        pytest.param(
            Outcome(None, "", 0.0, 0.0, started=False),
            "proof.py torch was not started: no time was left of the proof's own limit.",
            id="no-time",
        ),
        pytest.param(
            Outcome(1, "Traceback\nModuleNotFoundError: No module named 'torch'", 1.0, 9.0),
            "proof.py torch ended with status 1: ModuleNotFoundError: No module named 'torch'.",
            id="status",
        ),
        pytest.param(
            Outcome(-11, "", 1.0, 9.0), "proof.py torch was ended by signal 11: it said nothing.", id="signal"
        ),
        pytest.param(Outcome(1, '{"call": "cuInit", "code": 803}', 1.0, 9.0), "cuInit returned 803.", id="cuda-error"),
        pytest.param(
            Outcome(1, '{"call": "cudaMalloc", "code": 2, "name": "cudaErrorMemoryAllocation"}', 1.0, 9.0),
            "cudaMalloc returned 2 (cudaErrorMemoryAllocation).",
            id="runtime-error",
        ),
        pytest.param(
            Outcome(1, '{"failure": "libcuda.so.1: cannot open"}', 1.0, 9.0),
            "proof.py torch ended with status 1: libcuda.so.1: cannot open.",
            id="failure",
        ),
    ],
)
def test_conclude_failed(outcome: Outcome, error: str) -> None:
    result = conclude(check_of(Finding()), {"torch": outcome}, settings())
    assert (result["ok"], result["error"]) == (False, error)
    assert result["advice"]
    assert result["evidence"]["output"] == outcome.output


def test_conclude_ok_keeps_the_evidence() -> None:
    result = conclude(check_of(Finding(evidence={"version": "2"})), {"torch": Outcome(0, "x", 1.5, 9.0)}, settings())
    assert result == {
        "check": "torch",
        "ok": True,
        "seconds": 1.5,
        "evidence": {"commands": ["/env/bin/python /w/proof.py torch"], "version": "2"},
    }


def test_conclude_skipped_says_why() -> None:
    result = conclude(check_of(Finding(skipped="no compiler")), {"torch": Outcome(0, "", 1.5, 9.0)}, settings())
    assert (result["ok"], result["skipped"]) == (True, "no compiler")


def test_summarize() -> None:
    good = {"check": "nvcc", "ok": True}
    bad = {"check": "torch", "ok": False, "error": "torch is gone.", "advice": "Install it."}
    assert summarize([good, bad]) == "torch: torch is gone. Install it."
    assert summarize([good, skip("extension", "no compiler")]) == "1 checks passed; extension skipped: no compiler."
    assert summarize([lack("kernel", ["cuda_home"])]) == (
        "kernel: The check kernel was asked for, but cuda_home is not set. "
        "Set cuda_home, or leave kernel out of the checks."
    )


@pytest.fixture(scope="module")
def proof() -> dict[str, Any]:
    return runpy.run_path(str(PROOF))


def test_matmul_bound_grows_with_the_root_of_the_depth(proof: dict[str, Any]) -> None:
    half, single = 2.0**-10, 2.0**-23
    assert proof["matmul_bound"](256, single, half) == (4 * 16 * single / 2, half / 2)
    # Below what TF32's ten bits do to a product over the depth in use, so that TF32 is not taken for float32.
    assert proof["matmul_bound"](proof["SIDE"], single, single)[0] * proof["SIDE"] < 2.0**-11 * proof["SIDE"] ** 0.5


def test_tile_counts_what_is_wrong(proof: dict[str, Any]) -> None:
    right = [
        float(sum(proof["left"](row, k) * proof["right"](column, k) for k in range(proof["DEPTH"])))
        for row in range(proof["ROWS"])
        for column in range(proof["COLUMNS"])
    ]
    assert proof["count_wrong"](tuple(right)) == 0
    assert len(set(right)) > 50  # elements in the wrong place show
    assert proof["count_wrong"]((right[0] + 1, float("nan"), *right[2:])) == 2


def test_tile_has_the_shape_of_the_kernel(proof: dict[str, Any]) -> None:
    source = (PROOF.parent / "cutlass.cu").read_text()
    for name, value in (("kRows", "ROWS"), ("kColumns", "COLUMNS"), ("kDepth", "DEPTH")):
        assert f"constexpr int {name} = {proof[value]};" in source
