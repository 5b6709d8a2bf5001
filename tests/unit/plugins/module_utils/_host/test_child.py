# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host import child as _observe_child
from ansible_collections.podsmith.gpu.plugins.module_utils._host.child import (
    Outcome,
    become,
    exit_code,
    start_call,
    start_command,
)

ENV = {"PATH": "/usr/bin:/bin"}
LIMIT = 120  # seconds: only a hang takes as long


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        pytest.param("echo one; echo two >&2", Outcome(0, "one\n"), id="output-without-errors"),
        pytest.param("exit 18", Outcome(18, ""), id="status"),
        pytest.param("kill -SEGV $$", Outcome(-11, ""), id="signal"),
        pytest.param("echo $PATH", Outcome(0, "/usr/bin:/bin\n"), id="only-the-given-environment"),
        pytest.param("cat; echo end", Outcome(0, "end\n"), id="nothing-to-read"),
    ],
)
def test_a_command_ends(script: str, outcome: Outcome) -> None:
    assert start_command(["/bin/sh", "-c", script], ENV, LIMIT).result() == outcome


def test_a_large_output_arrives_whole() -> None:
    outcome = start_command(["/bin/sh", "-c", "head -c 300000 /dev/zero | tr '\\0' x"], ENV, LIMIT).result()
    assert (outcome.code, len(outcome.out)) == (0, 300000)


def test_of_an_output_that_is_too_large_the_end_is_kept() -> None:
    """A start-up file may print without an end; the probe's answer comes last."""
    script = "head -c 40000000 /dev/zero | tr '\\0' x; echo end"
    outcome = start_command(["/bin/sh", "-c", script], ENV, LIMIT).result()
    assert (outcome.code, outcome.out[-5:]) == (0, "xend\n")
    assert len(outcome.out) <= _observe_child.LIMIT


def test_a_program_that_is_not_there_has_status_127() -> None:
    assert start_command(["/nowhere/nvidia-smi"], ENV, LIMIT).result() == Outcome(127, "")


def test_a_hanging_command_is_left_at_its_limit_with_what_it_said(
    tmp_path: Path, stop_clock_until: Callable[[ModuleType, Path], None], has_ended: Callable[[int], bool]
) -> None:
    stop_clock_until(_observe_child, tmp_path / "said")
    script = f"trap '' TERM; echo $$; : >{tmp_path}/said; exec sleep 600"
    outcome = start_command(["/bin/sh", "-c", script], ENV, 5).result()
    assert outcome.code is None
    assert has_ended(int(outcome.out))


def test_the_limit_counts_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([0.0, 31.0])  # at the start, and when the answer is asked for: there is no time left for another
    monkeypatch.setattr(_observe_child, "time", SimpleNamespace(sleep=time.sleep, monotonic=lambda: next(looks)))
    assert start_command(["/bin/sleep", "600"], ENV, 30).result().code is None


def test_a_background_process_that_keeps_the_pipe_is_not_waited_for() -> None:
    outcome = start_command(["/bin/sh", "-c", "sleep 60 & echo $!"], ENV, LIMIT).result()
    assert outcome.code == 0
    state = Path(f"/proc/{outcome.out.strip()}/stat").read_text().rpartition(")")[2].split()[0]
    os.kill(int(outcome.out), signal.SIGKILL)
    assert state in {"D", "R", "S"}, "it has ended before the answer came"


def test_a_hanging_command_takes_its_children_along(
    tmp_path: Path, stop_clock_until: Callable[[ModuleType, Path], None], has_ended: Callable[[int], bool]
) -> None:
    stop_clock_until(_observe_child, tmp_path / "said")
    script = f"sleep 600 & echo $!; : >{tmp_path}/said; wait"
    assert has_ended(int(start_command(["/bin/sh", "-c", script], ENV, 5).result().out))


def test_a_function_answers_in_json() -> None:
    assert start_call(lambda: {"pid": os.getpid() != os.getppid()}, LIMIT).result() == Outcome(0, '{"pid": true}')


def test_a_function_that_raises_has_a_status_and_no_answer() -> None:
    assert start_call(lambda: 1 / 0, LIMIT).result() == Outcome(127, "")


def test_a_hanging_function_is_left_at_its_limit() -> None:
    assert start_call(lambda: time.sleep(600), 0.2).result() == Outcome(None, "")


@pytest.mark.parametrize(
    ("with_errors", "lead", "said", "led"),
    [
        pytest.param(True, partial(os.setpgid, 0, 0), "out\nerr\n", True, id="job-of-a-proof"),
        pytest.param(True, None, "out\nerr\n", False, id="load"),
        pytest.param(False, os.setsid, "out\n", True, id="reader"),
    ],
)
def test_a_child_becomes_a_command(with_errors: bool, lead: object, said: str, led: bool, tmp_path: Path) -> None:
    """There were three copies, for what reads a driver, for a proof's jobs and for the load of a health check."""
    log, words = (
        tmp_path / "log",
        ["/bin/sh", "-c", "cat; echo out; echo err >&2; cut -d' ' -f5 /proc/$$/stat >&3; exit 5"],
    )
    log.write_text("of a run before, and longer than what comes now")
    read, write = os.pipe()
    os.set_inheritable(write, True)
    pid = os.fork()
    if pid == 0:
        os.dup2(write, 3)
        become(lambda: os.execve(words[0], words, ENV), str(log), with_errors=with_errors, lead=lead)  # type: ignore[arg-type]
    os.close(write)
    with os.fdopen(read) as stream:
        group = int(stream.read())
    assert exit_code(os.waitpid(pid, 0)[1]) == 5
    assert log.read_text() == said
    assert (group == pid) is led


def test_a_body_that_fails_ends_its_child_with_status_127(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        become(lambda: os.execve("/nowhere/x", ["x"], {}), str(tmp_path / "log"), with_errors=True, lead=None)
    assert exit_code(os.waitpid(pid, 0)[1]) == 127
