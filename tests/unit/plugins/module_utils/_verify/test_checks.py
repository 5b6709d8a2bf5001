from __future__ import annotations

import importlib
import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._verify.checks import (
    CHECKS,
    NEEDS,
    PLANS,
    Finding,
    Settings,
    choose_checks,
    choose_cutlass_architectures,
    count_build_jobs,
    plan_check,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._verify.run import Outcome
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import load_catalogue

PROOF = Path(__file__).resolve().parents[5] / "roles" / "gpu_verify" / "files" / "proof.py"
ALL = {
    "environment": "/env",
    "cuda_home": "/cuda",
    "cutlass_home": "/cutlass",
    "architectures": ("sm_90a",),
    "health": {"limits": {}},
}


PACKAGES = {"vllm": {"version": "0.31.0", "requirement": "vllm==0.31.0+cu129"}, "xformers": {"skipped": "needs CUDA"}}
BUT_PACKAGES = [name for name in CHECKS if name != "packages"]


def settings(**changes: Any) -> Settings:
    return Settings(**{"folder": "/work", "python": "/usr/bin/python3", **changes})


@pytest.mark.parametrize(
    ("wanted", "changes", "expected"),
    [
        pytest.param(None, {}, [], id="nothing"),
        pytest.param(None, {"cuda_home": "/cuda"}, ["nvcc"], id="no-architecture"),
        pytest.param(None, {"cuda_home": "/cuda", "architectures": ("sm_90a",)}, ["nvcc", "kernel"], id="toolkit"),
        pytest.param(None, {"environment": "/env"}, ["torch", "matmul", "workers", "extension"], id="torch"),
        pytest.param(None, {**ALL, "level": "light"}, ["limits", "nvcc", "torch", "matmul"], id="light"),
        pytest.param(
            None, {**ALL, "gpu": True, "level": "full", "expected": {"packages": PACKAGES}}, list(CHECKS), id="all"
        ),
        pytest.param(None, {**ALL, "gpu": True, "level": "full"}, [*BUT_PACKAGES], id="no-extension-is-planned"),
        pytest.param(None, {"gpu": True}, ["cuinit"], id="health-without-rules"),
        pytest.param(None, {"health": {"limits": {}}}, ["limits"], id="health-without-gpu"),
        pytest.param(
            ["nvrtc", "triton", "peers"], {**ALL, "level": "standard"}, ["nvrtc", "triton", "peers"], id="asked-for"
        ),
        pytest.param(["torch", "kernel"], {**ALL, "level": "light"}, ["torch"], id="asked-for-light"),
        pytest.param(["nvcc"], {**ALL, "level": "full"}, ["nvcc"], id="full-without-torch"),
        pytest.param(
            ["torch"], {**ALL, "level": "full"}, ["torch", "features", "compile", "pip_fence"], id="full-with-torch"
        ),
        pytest.param(
            ["torch", "features"],
            {**ALL, "level": "light", "expected": {"features": {"USE_NCCL": True}}},
            ["torch", "features"],
            id="features-wanted",
        ),
        pytest.param(
            None,
            {"environment": "/env", "level": "light", "expected": {"features": {"USE_NCCL": True}}},
            ["torch", "matmul", "features"],
            id="features-wanted-of-all-that-fit",
        ),
        pytest.param(
            ["torch"], {**ALL, "level": "light", "expected": {"features": {}}}, ["torch"], id="no-features-wanted"
        ),
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


def features_of(record: dict[str, Any], **expected: Any) -> Finding:
    chosen = settings(environment="/env", expected={"features": expected})
    told = {"version": "2", "cuda": None, "arch_list": [], "config": "", "answers": {}, "versions": {}}
    return plan_check("features", chosen).judge({"features": Outcome(0, json.dumps(told | record), 1.0, 9.0)})


def test_features_are_told_and_compared() -> None:
    built = {"answers": {"USE_NCCL": False, "USE_MPI": True, "USE_GLOO": True}}
    found = features_of(built)
    assert (found.problems, found.warnings, found.advice) == ([], [], None)
    assert found.evidence["features"] == {"USE_GLOO": True, "USE_MPI": True, "USE_NCCL": False}
    found = features_of(built, USE_NCCL=True, USE_MPI=False, USE_GLOO=True, USE_CUFILE=True)
    assert found.problems == [
        "USE_MPI is on in this PyTorch; expected off.",
        "USE_NCCL is off in this PyTorch; expected on.",
    ]
    assert str(found.advice).startswith(
        "Rebuild PyTorch with USE_MPI=0 USE_NCCL=1, or change gpu_verify_features to match"
    )
    assert found.warnings == ["Unknown for this PyTorch: USE_CUFILE; neither its build summary nor its code shows it."]


def test_a_torch_that_tells_nothing_is_no_torch_without_features() -> None:
    found = features_of({})
    assert (found.problems, found.skipped) == ((), "this PyTorch does not report its build options")
    found = features_of({}, USE_NCCL=True)
    assert found.problems == ["This PyTorch does not report its build options; expected USE_NCCL."]


def health_of(readings: dict[str, Any], **changes: Any) -> Finding:
    chosen = settings(**{"gpu": True, "health": load_catalogue()["health"], **changes})
    return plan_check("health", chosen).judge({"health": Outcome(0, json.dumps(readings), 1.0, 9.0)})


def test_health_without_nvml_is_skipped_and_says_so() -> None:
    found = health_of({"init": None, "xids": None, "devices": [], "load": None})
    assert not found.problems
    assert "the GPU's health is unknown" in str(found.skipped)


def test_health_of_a_lost_gpu_fails_with_the_advice_of_its_finding() -> None:
    found = health_of({"init": 0, "xids": None, "devices": [{"index": 0, "code": 15}], "load": None})
    assert found.problems == ["GPU 0: it does not respond: the GPU has fallen off the bus."]
    assert str(found.advice).startswith("Return this pod")


def test_health_at_level_full_without_torch_says_what_was_not_measured() -> None:
    readings = {"init": 0, "xids": None, "devices": [{"index": 0, "code": 15}], "load": None}
    words = "nothing was measured under load: there is no environment with torch to put a load on the GPU."
    assert words in health_of(readings, level="full").warnings
    assert words not in health_of(readings).warnings


@pytest.mark.parametrize(
    ("level", "environment", "limit"), [("standard", "/env", 10.0), ("full", "/env", 55.0), ("full", None, 10.0)]
)
def test_health_has_a_limit_of_its_own(level: str, environment: str | None, limit: float) -> None:
    (job,) = plan_check("health", settings(gpu=True, level=level, environment=environment, timeout=300.0)).jobs
    assert job.timeout == limit


def test_low_limits_are_warnings_with_the_flag_that_raises_them() -> None:
    record = {"shm_mib": 64, "open_files": 1024, "memlock_kib": None, "container": True}
    chosen = settings(health=load_catalogue()["health"])
    found = plan_check("limits", chosen).judge({"limits": Outcome(0, json.dumps(record), 0.1, 9.0)})
    assert not found.problems
    (words,) = found.warnings
    assert words.startswith("/dev/shm has 64 MiB. ")
    assert "--shm-size=8g or --ipc=host" in words
    assert [row["severity"] for row in found.evidence["findings"]] == ["warning", "ok", "ok"]


def test_workers_that_fail_for_lack_of_room_name_the_flag() -> None:
    words = "RuntimeError: unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)"
    record = {"shm_mib": 1, "shm_free_mib": 1, "workers": 2, "batch_mib": 2, "batches": 0, "wrong": 0, "failure": words}
    found = plan_check("workers", settings(environment="/env")).judge({"workers": Outcome(0, json.dumps(record), 1, 9)})
    through = "through /dev/shm (1 MiB, 1 MiB free)"
    assert found.problems == [f"A DataLoader with 2 workers cannot send batches of 2 MiB {through}: {words}."]
    assert "--shm-size=8g" in str(found.advice)


@pytest.fixture
def proof(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.syspath_prepend(str(PROOF.parent))
    return vars(importlib.import_module("proof_driver")) | runpy.run_path(str(PROOF))


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


@pytest.mark.parametrize(("cicc", "problems"), [("13.0.88", 0), ("13.2.86", 1)])
def test_the_parts_of_the_compiler_are_of_one_version(cicc: str, problems: int, tmp_path: Path) -> None:
    (tmp_path / "nvvm/bin").mkdir(parents=True)
    (tmp_path / "nvvm/bin/cicc").write_text(f"Cuda compilation tools, release 13.0, V{cicc}")
    said = "Cuda compilation tools, release 13.0, V13.0.88"
    chosen = settings(cuda_home=str(tmp_path), expected={"nvcc": "13.0"})
    found = plan_check("nvcc", chosen).judge({"nvcc": Outcome(0, said, 1.0, 9.0)})
    assert (len(found.problems), found.evidence["exact"], found.evidence["cicc"]) == (problems, "13.0.88", cicc)


def test_each_planned_package_is_named_to_the_check() -> None:
    planned = settings(environment="/env", gpu=True, timeout=200.0, expected={"packages": PACKAGES, "torch": "2.13.0"})
    check = plan_check("packages", planned)
    assert check.jobs[0].argv[-5:] == ("/work/proof.py", "packages", "200", "gpu", "vllm")
    broken = {
        "error": "ImportError: libcudart.so.13: cannot open shared object file",
        "output": "libcudart.so.13: cannot",
    }
    output = json.dumps({"packages": {"vllm": broken}, "ffmpeg": []})
    finding = check.judge({"packages": Outcome(0, output, 1.0, 200.0)})
    assert finding.problems == ["vllm 0.31.0+cu129: ImportError: libcudart.so.13: cannot open shared object file."]
    assert finding.evidence["packages"] == {"vllm": broken}


def test_no_planned_package_is_skipped() -> None:
    check = plan_check("packages", settings(environment="/env", expected={"packages": {"xformers": {"skipped": "x"}}}))
    finding = check.judge({"packages": Outcome(0, '{"packages": {}, "ffmpeg": []}', 1.0, 200.0)})
    assert (finding.skipped, finding.problems) == ("no extension is planned", ())
