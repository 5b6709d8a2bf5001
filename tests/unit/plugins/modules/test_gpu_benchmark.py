"""The module, run as Ansible runs it, with a shell script in the place of Python."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._verify import run as running

Run = Callable[..., dict[str, Any]]
HANG = "touch $0.late; exec sleep 600"  # the clock goes on when the file is there: all that is wanted was said by then
LIMIT = 120  # seconds: only a hang takes as long
SOME = '{"schema": 1, "complete": false, "running": "gemm/64-fp16", "cases": [{"name": "gemm/32-fp16"}]}'
NONE = '{"schema": 1, "complete": false, "running": null, "cases": []}'
WHOLE = '{"schema": 1, "complete": true, "running": null, "cases": []}'


def python(folder: Path, script: str) -> None:
    """An environment whose python runs this script; $result is the file that it is to write."""
    path = folder / "env/bin/python"
    path.parent.mkdir(parents=True)
    path.write_text(
        f'#!/bin/sh\nfor result in "$@"; do [ "$last" = --output ] && break; last=$result; done\n{script}\n'
    )
    path.chmod(0o755)


@pytest.fixture
def run(run_module: Callable[..., Any], stop_clock_until: Callable[..., None]) -> Run:
    def call(folder: Path, *, check: bool = False, **params: Any) -> dict[str, Any]:
        stop_clock_until(running, folder / "env/bin/python.late")
        given = {"environment": f"{folder}/env", "sources": {"benchmark.py": "print(1)"}, "timeout": LIMIT}
        return dict(run_module("gpu_benchmark", given | params, check=check).data)

    return call


def test_a_whole_run_is_returned_and_changes_nothing(tmp_path: Path, run: Run) -> None:
    python(tmp_path, f"echo '{WHOLE}' > $result")
    answer = run(tmp_path)
    assert (answer["changed"], answer["result"]) == (False, json.loads(WHOLE))


def test_the_program_gets_its_level_families_sources_caches_and_activation(tmp_path: Path, run: Run) -> None:
    (tmp_path / "activate.sh").write_text("export ACTIVATED=yes")
    show = f'echo "$ACTIVATED|$*|$(cat "$1")|$TRITON_CACHE_DIR|$TORCHINDUCTOR_CACHE_DIR" > {tmp_path}/seen'
    python(tmp_path, f"{show}; echo '{WHOLE}' > $result")
    run(tmp_path, level="full", families=["gemm", "attention"], activation=f"{tmp_path}/activate.sh")
    activated, argv, source, *caches = (tmp_path / "seen").read_text().strip().split("|")
    folder = argv.split()[0].rpartition("/")[0]
    assert activated == "yes"
    assert argv.split()[1:] == ["--level", "full", "--output", f"{folder}/result.json", "--families", "gemm,attention"]
    assert source == "print(1)"
    assert caches == [f"{folder}/triton", f"{folder}/inductor"]
    assert not Path(folder).exists()


@pytest.mark.parametrize(("level", "free"), [("tiny", True), ("quick", False)])
def test_only_the_tiny_level_may_run_without_a_gpu(tmp_path: Path, level: str, free: bool, run: Run) -> None:
    python(tmp_path, f"echo \"$*\" > {tmp_path}/seen; echo '{WHOLE}' > $result")
    run(tmp_path, level=level)
    assert ("--device auto" in (tmp_path / "seen").read_text()) is free


def test_without_an_environment_it_says_what_to_do(tmp_path: Path, run: Run) -> None:
    assert run(tmp_path)["msg"] == (
        f"{tmp_path}/env/bin/python was not found; expected an environment with PyTorch. Run bootstrap.yml on this "
        "host first, or set gpu_benchmark_environment to an environment that has it."
    )


@pytest.mark.parametrize(
    ("script", "words"),
    [
        pytest.param(
            "echo 'Error: no GPU.' >&2; exit 2", "exited with status 2: Error: no GPU. Run playbooks", id="no-result"
        ),
        pytest.param(
            f"echo '{NONE}' > $result; echo Error: lost; exit 1", "exited with status 1: Error: lost.", id="none"
        ),
        pytest.param("echo '{' > $result", "exited with status 0: no output. Run playbooks", id="half-a-result"),
        pytest.param(f"echo waiting; {HANG}", "did not finish within 120 s: waiting. Run playbooks", id="hung"),
    ],
)
def test_a_run_without_figures_fails(tmp_path: Path, script: str, words: str, run: Run) -> None:
    python(tmp_path, script)
    answer = run(tmp_path)
    assert answer["failed"] is True
    assert words in answer["msg"]


@pytest.mark.parametrize(
    ("end", "stopped"),
    [
        pytest.param("kill -9 $$", "exited with status -9: no output", id="killed"),
        pytest.param(HANG, "did not finish within 120 s: no output", id="hung"),
    ],
)
def test_what_was_measured_before_the_end_is_kept(tmp_path: Path, end: str, stopped: str, run: Run) -> None:
    python(tmp_path, f"echo '{SOME}' > $result; {end}")
    assert run(tmp_path)["result"] == json.loads(SOME) | {"stopped": stopped}


def test_check_mode_runs_nothing(tmp_path: Path, run: Run) -> None:
    python(tmp_path, f"touch {tmp_path}/ran")
    assert run(tmp_path, check=True)["result"] == {}
    assert not (tmp_path / "ran").exists()
