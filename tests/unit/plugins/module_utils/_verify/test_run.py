from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from ansible_collections.podsmith.gpu.plugins.module_utils._verify.run import Job, Outcome, run_jobs

ENV = {"PATH": os.environ["PATH"]}


def run(folder: Path, *jobs: Job, **options: Any) -> dict[str, Outcome]:
    known = {"activation": None, "env": ENV, "workers": 2, "seconds": 20.0, **options}
    return run_jobs(jobs, folder=str(folder), **known)


def sh(name: str, script: str, *needs: str, timeout: float = 10.0) -> Job:
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


def test_late_command_is_killed_with_its_children(tmp_path: Path) -> None:
    begin = time.monotonic()
    done = run(tmp_path, sh("a", "echo begun; sleep 60 & echo $! >child; wait", timeout=0.5))["a"]
    assert time.monotonic() - begin < 5
    assert (done.code, done.limit, done.output) == (None, 0.5, "begun\n")
    child = Path("/proc", (tmp_path / "child").read_text().strip(), "stat")
    assert not child.exists() or child.read_text().split()[2] == "Z"


def test_what_a_failed_job_was_needed_for_does_not_start(tmp_path: Path) -> None:
    done = run(tmp_path, sh("b", "echo b >b", "a"), sh("a", "exit 1"), sh("c", "echo c", "b"))
    assert [done[name].started for name in "abc"] == [True, False, False]
    assert not (tmp_path / "b").exists()


def test_needs_are_waited_for(tmp_path: Path) -> None:
    done = run(tmp_path, sh("b", "cat a", "a"), sh("a", "sleep 0.2; echo made >a"))
    assert (done["b"].code, done["b"].output) == (0, "made\n")


def test_jobs_run_side_by_side(tmp_path: Path) -> None:
    begin = time.monotonic()
    # Each waits for the other's file: one after the other they would never end.
    run(tmp_path, *(sh(a, f"touch {a}; while [ ! -e {b} ]; do sleep 0.02; done") for a, b in ("xy", "yx")))
    assert time.monotonic() - begin < 5


def test_all_jobs_share_one_limit(tmp_path: Path) -> None:
    done = run(tmp_path, sh("a", "sleep 60"), sh("b", "echo b"), workers=1, seconds=0.5)
    assert (done["a"].code, done["a"].started) == (None, True)
    assert (done["b"].code, done["b"].started) == (None, False)


def test_a_function_answers_as_json_in_the_checks_environment(tmp_path: Path) -> None:
    done = run(tmp_path, Job("a", ("NVML",), 10.0, call=lambda: dict(os.environ)), env={"ONLY": "this"})["a"]
    assert (done.code, json.loads(done.output)) == (0, {"ONLY": "this"})


def test_a_function_that_raises_says_why(tmp_path: Path) -> None:
    def broken() -> None:
        raise OSError("no such library")

    done = run(tmp_path, Job("a", ("NVML",), 10.0, call=broken))["a"]
    assert (done.code, json.loads(done.output)) == (1, {"failure": "OSError: no such library"})


def test_a_function_that_hangs_is_killed_at_its_limit(tmp_path: Path) -> None:
    done = run(tmp_path, Job("a", ("NVML",), 0.3, call=lambda: time.sleep(60)))["a"]
    assert done.code is None
    assert done.seconds < 5
