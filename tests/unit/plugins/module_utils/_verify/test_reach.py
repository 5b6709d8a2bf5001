"""What a proof ran with: the library that the environment loaded, and the GPUs that NVML names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._verify import reach

COMPAT, OWN = "/nowhere/compat/libcuda.so.580.95.05", "/nowhere/libcuda.so.580.159.04"


def check(name: str, *libraries: str) -> dict[str, Any]:
    return {"check": name, "ok": True, "evidence": {"libcuda": list(libraries)} if libraries else {}}


USED = check("torch", COMPAT, OWN)
USED["evidence"]["used"] = {"path": OWN, "version": "580.159.04"}


@pytest.mark.parametrize(
    ("results", "found"),
    [
        pytest.param([check("cuinit", OWN), check("torch", COMPAT)], (COMPAT, "580.95.05"), id="the-environment-first"),
        pytest.param([check("nvcc"), check("cuinit", OWN)], (OWN, "580.159.04"), id="no-pytorch"),
        pytest.param([check("torch", COMPAT, OWN), check("cuinit", OWN)], None, id="two-at-once"),
        pytest.param([USED, check("cuinit", OWN)], (OWN, "580.159.04"), id="two-at-once-and-which-is-used"),
        pytest.param([check("torch"), check("nvcc")], None, id="none-was-seen"),
        pytest.param([{"check": "torch", "ok": True, "skipped": "no"}], None, id="skipped"),
        pytest.param([check("torch", "/nowhere/wsl/libcuda.so.1")], ("/nowhere/wsl/libcuda.so.1", None), id="wsl"),
    ],
)
def test_the_library_of_a_proof(results: list[dict[str, Any]], found: tuple[str, str] | None) -> None:
    assert reach.find_library(results) == (dict(zip(("path", "version"), found, strict=True)) if found else None)


def test_the_library_is_the_file_behind_its_links(tmp_path: Path) -> None:
    (tmp_path / "libcuda.so.580.95.05").touch()
    (tmp_path / "libcuda.so.1").symlink_to("libcuda.so.580.95.05")
    found = reach.find_library([check("torch", f"{tmp_path}/libcuda.so.1")])
    assert found == {"path": f"{tmp_path}/libcuda.so.580.95.05", "version": "580.95.05"}


def nvml(init: int | None = 0, count: int = 2, uuids: tuple[str | None, ...] = ("GPU-b", "GPU-a")) -> dict[str, Any]:
    return {"init": init, "count": count, "devices": [{"uuid": uuid} for uuid in uuids]}


@pytest.mark.parametrize(
    ("answer", "gpus"),
    [
        pytest.param(nvml(), ["GPU-a", "GPU-b"], id="in-order"),
        pytest.param(nvml(count=0, uuids=()), [], id="none"),
        pytest.param(nvml(init=None), None, id="no-nvml"),
        pytest.param(nvml(init=9), None, id="no-driver"),
        pytest.param(nvml(count=3), None, id="one-is-lost"),
        pytest.param(nvml(uuids=("GPU-a", None)), None, id="one-without-a-name"),
    ],
)
def test_the_gpus_of_a_proof(answer: dict[str, Any], gpus: list[str] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "read_nvml", lambda _libraries, _own_cuda: answer)
    assert reach.read_gpus(120) == gpus
    assert reach.find_reach([check("torch", OWN)], "580.159.04", gpu=True) == {
        "driver": "580.159.04",
        "libcuda": {"path": OWN, "version": "580.159.04"},
        "gpus": gpus,
    }


def test_a_proof_without_a_gpu_reaches_every_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "read_nvml", lambda _libraries, _own_cuda: pytest.fail("nobody needs to ask"))
    assert reach.find_reach([check("torch", OWN)], None, gpu=False) == {"driver": None, "libcuda": None, "gpus": None}


@pytest.mark.parametrize(
    ("gpus", "before", "seen"),
    [
        (["a", "b"], None, ["a", "b"]),
        (["a"], {"gpus": ["a", "b"]}, ["a", "b"]),
        (["a"], {"gpus": ["a"], "seen": ["a", "b"]}, ["a", "b"]),
        (["a", "c"], {"gpus": ["a", "b"]}, ["a", "b", "c"]),
        (["x", "y"], {"gpus": ["a", "b"]}, ["x", "y"]),  # another host, which a volume was moved to
        (None, {"gpus": ["a", "b"]}, ["a", "b"]),
        (None, None, None),
        (["a"], {"gpus": "nonsense"}, ["a"]),
    ],
)
def test_a_gpu_that_was_seen_is_not_forgotten(gpus: Any, before: Any, seen: Any) -> None:
    assert reach.keep_seen(gpus, before) == seen


def test_what_was_seen_is_kept_where_it_is_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "read_gpus", lambda timeout: ["a"])
    found = reach.find_reach([check("torch", OWN)], "580.159.04", gpu=True, before={"gpus": ["a", "b"]})
    assert (found["gpus"], found["seen"]) == (["a"], ["a", "b"])
    assert "seen" not in reach.find_reach([check("torch", OWN)], "580.159.04", gpu=True, before={"gpus": ["a"]})
