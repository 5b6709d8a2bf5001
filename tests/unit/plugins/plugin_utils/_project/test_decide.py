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


def on(driver: str, cuda: str, **device: Any) -> dict[str, Any]:
    branch = int(driver.partition(".")[0])
    gpu = {**HOST["devices"][0], **device}
    return {**HOST, "driver": {"status": "ok", "version": driver, "branch": branch, "cuda": cuda}, "devices": [gpu]}


@pytest.mark.parametrize(
    ("torch", "cuda", "host", "request_", "locked", "verdict", "local"),
    [
        pytest.param("2.6.0", "12.4", on("550.163.01", "12.4"), {}, None, "ok", "2.6.0+cu124", id="an-exact-fit"),
        pytest.param("2.6.0", "12.4", on("560.35.03", "12.6"), {}, None, "ok", "2.6.0+cu124", id="not-cu126"),
        pytest.param("2.9.1+cu128", "12.8", on("580.95.05", "13.0"), {}, None, "ok", "2.9.1+cu128", id="not-cu130"),
        pytest.param(
            "2.9.1+cu128", "12.8", on("550.163.01", "12.4"), {}, None, "ok", "2.9.1+cu128", id="by-minor-version"
        ),
        pytest.param(
            "2.9.1+cu130", "13.0", on("560.35.03", "12.6"), {}, None, "swapped", "2.9.1+cu126", id="it-does-not-run"
        ),
        pytest.param(
            "2.9.1+cu128",
            "12.8",
            on("580.95.05", "13.0"),
            {"cuda": "13.0"},
            None,
            "swapped",
            "2.9.1+cu130",
            id="a-cuda-was-asked-for",
        ),
        pytest.param(
            "2.9.1+cu128", "12.8", on("580.95.05", "13.0"), {}, "2.9.1+cu130", "swapped", "2.9.1+cu130", id="a-label"
        ),
        pytest.param(
            "2.9.1+cu128", "12.8", on("580.95.05", "13.0"), {}, "2.9.0", "swapped", "2.9.0+cu130", id="another-release"
        ),
        pytest.param(
            "2.9.1", None, on("580.95.05", "13.0"), {}, None, "swapped", "2.9.1+cu130", id="a-build-for-the-cpu"
        ),
    ],
)
def test_a_torch_that_runs_is_right(
    torch: str, cuda: str | None, host: Any, request_: Any, locked: str | None, verdict: str, local: str
) -> None:
    """What runs stays, unless a CUDA or another release is asked for: a newer index alone replaces nothing."""
    locks = {"locks": {"uv.lock": lock(torch=locked)}} if locked else {}
    found = plan(project(environment=environment(torch, cuda), **locks), host, request_ or {"scope": "system"})
    assert (found["verdict"], found["expected"]["local"]) == (verdict, local)
    if verdict == "ok":
        assert found["packages"] is None
