"""What the check at a container's start says of each driver."""

from __future__ import annotations

import importlib.util
import json
import pathlib
import sys
from typing import Any

import pytest

PATH = pathlib.Path(__file__).resolve().parents[3] / "roles" / "container_image" / "files" / "check.py"
SPEC = importlib.util.spec_from_file_location("container_image_check", PATH)
assert SPEC is not None
assert SPEC.loader is not None
check = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(check)

IMAGE: dict[str, Any] = {
    "cuda": "13.0",
    "least_driver": "580",
    "package": "cuda-compat-13-0",
    "branches": [535, 570, 580],
    "compat": "/usr/local/cuda-13.0/compat",
    "errors": {"803": {"name": "SYSTEM_DRIVER_MISMATCH", "cause": "It is older.", "remedy": "Take it off."}},
}
PLAIN = {**IMAGE, "package": None, "compat": None, "branches": []}
H100, RTX = ["NVIDIA H100 80GB HBM3"], ["NVIDIA GeForce RTX 4090"]
CASES = [
    (IMAGE, None, [], False, None, "cpu", "no NVIDIA driver in this container"),
    (IMAGE, "535.183.01", H100, True, 0, "ok", "NVIDIA H100 80GB HBM3: CUDA 13.0 by cuda-compat-13-0"),
    (IMAGE, "560.35.03", H100, False, 0, "failed", "supports the branches 535, 570, 580; use a host with"),
    (IMAGE, "580.95.05", H100, False, 0, "ok", "by the driver itself; cuda-compat-13-0 stays off."),
    (IMAGE, "615.71.09", [], False, 0, "ok", "driver 615.71.09: CUDA 13.0 by the driver itself"),
    (IMAGE, "570.26", RTX, False, 0, "failed", "too old for CUDA 13.0, and cuda-compat-13-0 does not support this GPU"),
    (IMAGE, "580.95.05", H100, False, 803, "failed", "SYSTEM_DRIVER_MISMATCH (803): It is older. Take it off."),
    (IMAGE, "580.95.05", H100, False, 999, "failed", "error 999 (999): cuInit failed"),
    (IMAGE, "580.95.05", H100, False, None, "failed", "there is no libcuda.so.1. Start the container with --gpus all."),
    (PLAIN, "570.26", H100, False, 0, "failed", "it is too old for CUDA 13.0; use a host with driver 580 or newer."),
    (PLAIN, "580.95.05", H100, False, 0, "ok", "CUDA 13.0 by the driver itself."),
]  # fmt: skip


@pytest.mark.parametrize(("image", "driver", "models", "active", "code", "verdict", "told"), CASES)
def test_verdict(
    image: dict[str, Any],
    driver: str | None,
    models: list[str],
    code: int | None,
    verdict: str,
    told: str,
    *,
    active: bool,
) -> None:
    found = check.judge(image, driver, models, active, code, 1)
    assert (found["verdict"], told in found["text"]) == (verdict, True), found["text"]
    assert found["compat"] is active


def test_the_driver_and_the_gpus_are_the_kernels(tmp_path: pathlib.Path) -> None:
    assert (check.read_driver(str(tmp_path)), check.read_models(str(tmp_path))) == (None, [])
    folder = tmp_path / "proc/driver/nvidia/gpus/0000:00:06.0"
    folder.mkdir(parents=True)
    (folder / "information").write_text("Model: \t\t NVIDIA H200\nIRQ: 41\n")
    nvrm = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.133.20  Release Build\n"
    (tmp_path / "proc/driver/nvidia/version").write_text(nvrm)
    assert (check.read_driver(str(tmp_path)), check.read_models(str(tmp_path))) == ("570.133.20", ["NVIDIA H200"])
    (tmp_path / "sys/module/nvidia").mkdir(parents=True)
    (tmp_path / "sys/module/nvidia/version").write_text("580.95.05\n")
    assert check.read_driver(str(tmp_path)) == "580.95.05"


def test_it_writes_what_it_says(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    (tmp_path / "image.json").write_text(json.dumps(IMAGE))
    monkeypatch.setattr(check, "read_driver", lambda: "570.26")
    monkeypatch.setattr(check, "read_models", lambda: H100)
    monkeypatch.setattr(check, "init_cuda", lambda: (0, 1))
    for path, status, verdict in ((f"{IMAGE['compat']}:/a", 0, "ok"), ("/a", 1, "failed"), ("", 1, "failed")):
        monkeypatch.setenv("LD_LIBRARY_PATH", path)
        assert check.main(str(tmp_path / "image.json"), str(tmp_path / "start.json")) == status
        written = json.loads((tmp_path / "start.json").read_text())
        assert (written["verdict"], capsys.readouterr().out) == (verdict, f"podsmith: {written['text']}\n")


def test_it_runs_on_the_oldest_python_of_hosts() -> None:
    compile(PATH.read_text(encoding="utf-8"), str(PATH), "exec")
    assert sys.version_info >= (3, 9)
