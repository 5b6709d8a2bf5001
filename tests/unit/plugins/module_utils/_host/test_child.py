# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host.child import (
    Outcome,
    become,
    exit_code,
    start_call,
    start_command,
)

ENV = {"PATH": "/usr/bin:/bin"}


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
    assert start_command(["/bin/sh", "-c", script], ENV, 10).result() == outcome


def test_a_large_output_arrives_whole() -> None:
    outcome = start_command(["/bin/sh", "-c", "head -c 300000 /dev/zero | tr '\\0' x"], ENV, 10).result()
    assert (outcome.code, len(outcome.out)) == (0, 300000)


def test_a_program_that_is_not_there_has_status_127() -> None:
    assert start_command(["/nowhere/nvidia-smi"], ENV, 10).result() == Outcome(127, "")


def test_a_hanging_command_is_left_at_its_limit_with_what_it_said() -> None:
    begin = time.monotonic()
    outcome = start_command(["/bin/sh", "-c", "echo before; trap '' TERM; sleep 60"], ENV, 0.3).result()
    assert outcome == Outcome(None, "before\n")
    assert 0.2 < time.monotonic() - begin < 3


def test_the_limit_counts_from_the_start() -> None:
    child = start_command(["/bin/sleep", "60"], ENV, 0.3)
    time.sleep(0.4)
    begin = time.monotonic()
    assert child.result().code is None
    assert time.monotonic() - begin < 0.3


def test_a_background_process_that_keeps_the_pipe_is_not_waited_for() -> None:
    begin = time.monotonic()
    assert start_command(["/bin/sh", "-c", "sleep 60 & echo done"], ENV, 30).result() == Outcome(0, "done\n")
    assert time.monotonic() - begin < 10


def test_a_hanging_command_takes_its_children_along() -> None:
    outcome = start_command(["/bin/sh", "-c", "sleep 61.5 & echo $!; wait"], ENV, 0.3).result()
    time.sleep(0.1)
    assert not Path(f"/proc/{outcome.out.strip()}/fd/1").exists()


def test_a_function_answers_in_json() -> None:
    assert start_call(lambda: {"pid": os.getpid() != os.getppid()}, 10).result() == Outcome(0, '{"pid": true}')


def test_a_function_that_raises_has_a_status_and_no_answer() -> None:
    assert start_call(lambda: 1 / 0, 10).result() == Outcome(127, "")


def test_a_hanging_function_is_left_at_its_limit() -> None:
    assert start_call(lambda: time.sleep(60), 0.2).result() == Outcome(None, "")


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
