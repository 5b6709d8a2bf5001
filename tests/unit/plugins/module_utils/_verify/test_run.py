from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from ansible_collections.podsmith.gpu.plugins.module_utils._verify import run as _verify_run
from ansible_collections.podsmith.gpu.plugins.module_utils._verify.run import Job, Outcome, run_jobs

ENV = {"PATH": os.environ["PATH"]}
LIMIT = 120.0  # seconds: only a hang takes as long


def run(folder: Path, *jobs: Job, **options: Any) -> dict[str, Outcome]:
    known = {"activation": None, "env": ENV, "workers": 2, "seconds": 4 * LIMIT, **options}
    return run_jobs(jobs, folder=str(folder), **known)


def sh(name: str, script: str, *needs: str, timeout: float = LIMIT) -> Job:
    return Job(name, ("/bin/sh", "-c", script), timeout, needs)


def test_output_status_and_folder(tmp_path: Path) -> None:
    done = run(tmp_path, sh("a", "pwd; echo err >&2; exit 3"))["a"]
    assert (done.code, done.output, done.started) == (3, f"{tmp_path}\nerr\n", True)


def test_activation_is_sourced(tmp_path: Path) -> None:
    (tmp_path / "activate.sh").write_text("export GREETING=hello\n")
    assert run(tmp_path, sh("a", "echo $GREETING"), activation=f"{tmp_path}/activate.sh")["a"].output == "hello\n"


def test_missing_activation_is_a_failure(tmp_path: Path) -> None:
    done = run(tmp_path, sh("a", "echo ran"), activation=f"{tmp_path}/none.sh")["a"]
    assert done.code != 0
    assert "none.sh" in done.output
    assert "ran" not in done.output


def test_late_command_is_killed_with_its_children(
    tmp_path: Path, stop_clock_until: Callable[[ModuleType, Path], None], has_ended: Callable[[int], bool]
) -> None:
    stop_clock_until(_verify_run, tmp_path / "begun")
    done = run(tmp_path, sh("a", "sleep 600 & echo $!; : >begun; wait", timeout=5.0))["a"]
    assert (done.code, done.limit) == (None, 5.0)
    assert has_ended(int(done.output))


def test_what_a_failed_job_was_needed_for_does_not_start(tmp_path: Path) -> None:
    done = run(tmp_path, sh("b", "echo b >b", "a"), sh("a", "exit 1"), sh("c", "echo c", "b"))
    assert [done[name].started for name in "abc"] == [True, False, False]
    assert not (tmp_path / "b").exists()


def test_needs_are_waited_for(tmp_path: Path) -> None:
    done = run(tmp_path, sh("b", "cat a", "a"), sh("a", "sleep 0.2; echo made >a"))
    assert (done["b"].code, done["b"].output) == (0, "made\n")


def test_jobs_run_side_by_side(tmp_path: Path) -> None:
    # Each waits for the other's file: one after the other they would never end.
    jobs = [sh(a, f"touch {a}; while [ ! -e {b} ]; do sleep 0.02; done") for a, b in ("xy", "yx")]
    assert {name: done.code for name, done in run(tmp_path, *jobs).items()} == {"x": 0, "y": 0}


def test_all_jobs_share_one_limit(tmp_path: Path, stop_clock_until: Callable[[ModuleType, Path], None]) -> None:
    stop_clock_until(_verify_run, tmp_path / "begun")
    done = run(tmp_path, sh("a", ": >begun; exec sleep 600"), sh("b", "echo b"), workers=1, seconds=5)
    assert (done["a"].code, done["a"].started) == (None, True)
    assert (done["b"].code, done["b"].started) == (None, False)


def test_a_function_answers_as_json_in_the_checks_environment(tmp_path: Path) -> None:
    done = run(tmp_path, Job("a", ("NVML",), LIMIT, call=lambda: dict(os.environ)), env={"ONLY": "this"})["a"]
    assert (done.code, json.loads(done.output)) == (0, {"ONLY": "this"})


def test_a_function_that_raises_says_why(tmp_path: Path) -> None:
    def broken() -> None:
        raise OSError("no such library")

    done = run(tmp_path, Job("a", ("NVML",), LIMIT, call=broken))["a"]
    assert (done.code, json.loads(done.output)) == (1, {"failure": "OSError: no such library"})


def test_a_function_that_hangs_is_killed_at_its_limit(tmp_path: Path) -> None:
    done = run(tmp_path, Job("a", ("NVML",), 0.3, call=lambda: time.sleep(600)))["a"]
    assert (done.code, done.started) == (None, True)
