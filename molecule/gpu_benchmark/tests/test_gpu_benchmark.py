# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role ships its program, runs it in the live environment, judges the figures and keeps them on the controller.

Left out: whatever a kernel would do, for a simulated GPU runs none. torch is a stand-in (../torch.py) that computes
nothing and says itself how long a run took. So the program's own lines are run here, and what it reads from NVML is
read, from the simulated driver; its operations and their references are not. The main job's tests run those with the
real PyTorch on the CPU, the acceptance tests on GPUs.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from fleet import ROOT, Run, play

POD = "role-gpu-benchmark"
GEMM = {f"gemm/8192-{precision}" for precision in ("fp16", "bf16", "fp8", "tf32", "fp32", "fp64")}
GPU = "NVIDIA H200"
ROWS = yaml.safe_load((ROOT / "catalogue/benchmarks.yml").read_text(encoding="utf-8"))["references"]
KNOWN = {name: row["results"]["gemm/8192-fp16"] for name, row in ROWS.items() if "gemm/8192-fp16" in row["results"]}
LEAST = min(value for name, value in KNOWN.items() if ROWS[name]["device"] == GPU)
FLOOR = f"{0.85 * LEAST:.0f}"

# What goes wrong, and what the report says: where, what was found, what was expected and what helps.
FAULTS = {
    "slow": [
        f"GPU 0 ({GPU}): gemm/8192-fp16: found 344 TFLOPS (at 525 MHz, 122 W, 39 °C)",
        f"at least {FLOOR} TFLOPS (85% of the {LEAST:.0f} TFLOPS measured on",
        f"GPU 1 ({GPU}): gemm/8192-bf16: found 344 TFLOPS",
        "return this pod",
    ],
    "wrong": [f"GPU 1 ({GPU}): gemm/8192-fp16: found results off by 0.5", "Return this pod"],
    "memory": ["gemm/8192-fp16: found no figure: CUDA out of memory. Tried to allocate 128.00 MiB", "nvidia-smi"],
    "killed": ["the program: gemm/8192-fp16: found it exited with status -9", "playbooks/verify.yml"],
    "hangs": ["the program: gemm/8192-fp16: found it did not finish within 8 s", "playbooks/verify.yml"],
    "broken": ["exited with status 1: ImportError: libcudart.so.13: cannot open shared object", "playbooks/verify.yml"],
    "bare": ["/opt/bare/current/bin/python", "bootstrap.yml", "gpu_benchmark_environment"],
}  # fmt: skip
MEASURED = {"slow": 8, "wrong": 8, "memory": 8, "killed": 2, "hangs": 2}  # cases that stand in the result


def results(folder: Path, host: str) -> dict[str, Any]:
    """What the role keeps of a host."""
    found: dict[str, Any] = json.loads((folder / f"{host}-quick/results.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def kept() -> Path:
    """The folder on the controller in which the converge left its figures."""
    return Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "benchmarks")


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """One run over the pod under all its faults, and where it leaves its figures."""
    folder = tmp_path_factory.mktemp("faulty")
    extra = json.dumps({"gpu_benchmark_output_dir": str(folder)})
    return play("molecule/gpu_benchmark/converge.yml", "faulty", folder, "-e", extra), folder


def test_every_case_is_measured_and_what_tells_is_measured_on_each_gpu(kept: Path) -> None:
    result = results(kept, POD)
    assert (result["complete"], result["level"], result["verdict"]["ok"]) == (True, "quick", True)
    assert {case["name"] for case in result["cases"]} == GEMM
    everywhere = [case["name"] for case in result["cases"] if case["device"] == 1]
    assert everywhere == ["gemm/8192-fp16", "gemm/8192-bf16"]
    assert {case["status"] for case in result["cases"]} == {"ok"}


def test_figures_stand_beside_the_catalogue_s(kept: Path) -> None:
    case = results(kept, POD)["cases"][0]
    assert round(case["value"]) == 687  # 2 · 8192³ FLOP in 1.6 ms
    assert case["references"] == KNOWN
    assert f"{case['floor']['value']:.0f}" == FLOOR


def test_what_the_devices_are_is_told_by_the_driver(kept: Path) -> None:
    result = results(kept, POD)
    assert [device["name"] for device in result["devices"]] == [GPU, GPU]
    assert result["software"]["driver"] == "580.95.05"
    assert result["cases"][0]["state"]["temperature_c"] == 39
    assert {link["link"] for link in result["links"]} == {"PCIe"}


def test_the_program_sees_what_the_activation_sets(kept: Path) -> None:
    assert results(kept, POD)["settings"] == {"CUDA_MODULE_LOADING": "LAZY"}


def test_the_page_is_beside_the_figures(kept: Path) -> None:
    page = (kept / f"{POD}-quick/report.html").read_text(encoding="utf-8")
    assert "<td>8192-fp16</td>" in page
    assert "<span class=ok>ok</span>" in page


def test_nothing_is_left_on_the_host(host: Any) -> None:
    assert host.run("find / -xdev -name 'podsmith-benchmark-*' -o -xdev -name 'benchmark_*.py'").stdout == ""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_fails_the_host_and_is_told(faulty: tuple[Run, Path], fault: str) -> None:
    run, _folder = faulty
    assert run.rc != 0
    assert run.recap[f"benchmark-{fault}"]["failed"] == 1, run.out
    blocks = " ".join(run.out.split()).split("fatal: ")
    told = " ".join(text for text in blocks if text.startswith(f"[benchmark-{fault}]"))
    assert [words for words in FAULTS[fault] if words not in told] == []


@pytest.mark.parametrize("fault", MEASURED)
def test_what_was_measured_is_kept_all_the_same(faulty: tuple[Run, Path], fault: str) -> None:
    result = results(faulty[1], f"benchmark-{fault}")
    assert len(result["cases"]) == MEASURED[fault]
    assert result["complete"] is (fault not in ("killed", "hangs"))
    page = (faulty[1] / f"benchmark-{fault}-quick/report.html").read_text(encoding="utf-8")
    assert "<span class=failed>failed</span>" in page


@pytest.mark.parametrize("fault", sorted(FAULTS.keys() - MEASURED.keys()))
def test_where_nothing_was_measured_nothing_is_kept(faulty: tuple[Run, Path], fault: str) -> None:
    assert not (faulty[1] / f"benchmark-{fault}-quick").exists()
