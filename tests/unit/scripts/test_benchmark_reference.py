"""A run becomes a row of the catalogue, or is refused."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
from typing import Any

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
RESULT: dict[str, Any] = {
    "complete": True,
    "time": "2026-11-21T07:12:41+00:00",
    "software": {"torch": "2.11.0+cu130", "driver": "580.159.04"},
    "devices": [{"name": "NVIDIA H200"}, {"name": "NVIDIA H200"}],
    "cases": [
        {"name": "gemm/8192-fp16", "status": "ok", "value": 753.4321},
        {"name": "gemm/8192-fp16", "status": "ok", "value": 749.9876},
        {"name": "gemm/16384-fp64", "status": "skipped"},
    ],
}


def run(folder: pathlib.Path, result: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    path = folder / "results.json"
    path.write_text(json.dumps(result), encoding="utf-8")
    argv = [sys.executable, ROOT / "scripts/benchmark_reference.py", path, "--name", "H200", "--source", "measured"]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_a_run_becomes_a_row(tmp_path: pathlib.Path) -> None:
    assert yaml.safe_load(run(tmp_path, RESULT).stdout) == {
        "H200": {
            "device": "NVIDIA H200",
            "torch": "2.11.0+cu130",
            "driver": "580.159.04",
            "date": "2026-11",
            "results": {"gemm/8192-fp16": 750.0},
            "confidence": "A",
            "source": "measured",
        }
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"complete": False}, "complete: False", id="cut-short"),
        pytest.param({"devices": [{"name": "A"}, {"name": "B"}]}, "devices: A, B", id="two-kinds"),
        pytest.param({"cases": [{"name": "gemm/1-fp16", "status": "wrong"}]}, "wrong: gemm/1-fp16", id="wrong"),
    ],
)
def test_a_run_to_which_nobody_should_refer_is_refused(
    tmp_path: pathlib.Path, changes: dict[str, Any], words: str
) -> None:
    done = run(tmp_path, RESULT | changes)
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
