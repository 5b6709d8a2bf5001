"""Which PyTorch a project should have on its host: a table of projects."""

from __future__ import annotations

from typing import Any

import pytest
from projects import HOST, POETRY, UV, environment, lock, plan, project


@pytest.mark.parametrize(
    ("changes", "given", "local"),
    [
        pytest.param({}, {}, "2.10.0+cu126", id="the-installed-release-stays"),
        pytest.param({"locks": {"uv.lock": lock(torch="2.9.1")}}, {}, "2.9.1+cu126", id="the-locked-one-first"),
        pytest.param({}, {"cuda": "13.0"}, "2.10.0+cu130", id="another-cuda"),
        pytest.param({}, {"pytorch": "2.9.1"}, "2.9.1+cu126", id="another-release"),
        pytest.param(
            {"environment": environment("2.7.1", "12.6"), "texts": {"pyproject.toml": UV.replace(">=2.9,", "")}},
            {"cuda": "13.0"},
            "2.10.0+cu130",
            id="the-newest-that-the-project-allows",
        ),
        pytest.param(
            {"environment": environment("2.7.1", "12.6"), "texts": {"pyproject.toml": POETRY.replace("^2.9", "~2.7")}},
            {"cuda": "13.0"},
            "2.7.1+cu128",
            id="the-project-allows-none",
        ),
    ],
)
def test_release(changes: dict[str, Any], given: dict[str, str], local: str) -> None:
    assert plan(project(**changes), **given)["expected"]["local"] == local


def test_a_cuda_that_cannot_be_had_is_told() -> None:
    there = environment("2.7.1", "12.6")
    found = plan(project(environment=there, texts={"pyproject.toml": POETRY.replace("^2.9", "~2.7")}), cuda="13.0")
    assert "CUDA 13.0 was requested, but PyTorch for CUDA 12.8 is used; the project" in found["notes"][0]
    assert "; the project allows torch >=2.7,<2.8 only." in found["notes"][0]


def test_an_old_driver_is_honoured() -> None:
    host = {
        **HOST,
        "driver": {**HOST["driver"], "version": "535.183.01", "branch": 535, "cuda": "12.2"},
        "installed": {},
    }
    found = plan(project(), host, {"cuda": "13.0", "on_old_driver": ["fallback"]})
    assert found["expected"]["cuda"].startswith("12.")


def test_no_gpu_is_the_cpu() -> None:
    host = {**HOST, "driver": {"status": "missing"}, "devices": []}
    assert plan(project(), host)["expected"]["local"] == "2.10.0+cpu"
