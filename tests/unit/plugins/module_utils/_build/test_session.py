# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Detached processes, real ones: their own session, found again by number and time, ended with all that they started."""

from __future__ import annotations

import fcntl
import json
import os
import pathlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._build import session

# Starts a child of its own, says so, and waits; with "deaf" both ignore SIGTERM.
PROGRAM = """
import os, pathlib, signal, sys, time
if "deaf" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.fork()
print("ready", flush=True)
time.sleep(600)
"""


def spawn(folder: pathlib.Path, *words: str) -> dict[str, Any]:
    """Start PROGRAM in a session of its own and wait until both of its processes are there."""
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        argv = [sys.executable, "-c", PROGRAM, *words]
        run = session.spawn(argv, folder / "log", lock=lock.fileno(), heading="the heading")
    end = time.monotonic() + 120
    while (folder / "log").read_text().count("ready") < 2:
        assert time.monotonic() < end, (folder / "log").read_text()
        time.sleep(0.02)
    (folder / "run.json").write_text(json.dumps(run))
    return run


@pytest.fixture
def work(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A build's folder, of which nothing is left running."""
    yield tmp_path
    session.end(tmp_path)


def test_a_program_leads_its_own_session_and_holds_the_lock(work: pathlib.Path) -> None:
    run = spawn(work)
    assert os.getsid(run["pid"]) == run["pid"] != os.getsid(0)
    assert len(session.session_members(run["pid"])) == 2
    assert (work / "log").read_text().startswith("the heading\nready")
    assert session.is_running(work)
    with (work / "lock").open("a") as lock, pytest.raises(OSError):  # noqa: PT011  EWOULDBLOCK, whatever its text
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert session.start(work, sys.executable, {}) is None


@pytest.mark.parametrize("words", [(), ("deaf",)])
def test_all_of_a_session_ends(work: pathlib.Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "PATIENCE", 0.3 if words else 30.0)
    run = spawn(work, *words)
    session.end(work)
    assert session.session_members(run["pid"]) == []
    assert not session.is_running(work)


@pytest.mark.parametrize("change", [{"start": 1}, {"boot": "another"}])
def test_another_process_of_the_same_number_is_left_alone(work: pathlib.Path, change: dict[str, Any]) -> None:
    run = spawn(work)
    (work / "run.json").write_text(json.dumps({**run, **change}))
    assert not session.is_running(work)
    session.end(work)
    assert len(session.session_members(run["pid"])) == 2
    (work / "run.json").write_text(json.dumps(run))


def test_where_nothing_was_started_nothing_runs(work: pathlib.Path) -> None:
    assert not session.is_running(work)
    assert session.wait(work, 60) is False
    session.end(work)


def test_the_head_may_be_gone_and_its_compilers_are_ended(work: pathlib.Path) -> None:
    run = spawn(work)
    os.kill(run["pid"], 9)
    end = time.monotonic() + 120
    while session.started(run["pid"]) is not None:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert not session.is_running(work)
    assert len(session.session_members(run["pid"])) == 1
    session.end(work)
    assert session.session_members(run["pid"]) == []


def test_a_process_that_is_not_there_has_no_fields() -> None:
    assert session.stat_fields(os.getpid())[2] == str(os.getpgid(0))
    assert session.started(os.getpid()) is not None
    child = os.fork()
    if child == 0:
        os._exit(0)
    end = time.monotonic() + 120
    while session.stat_fields(child):  # until it is a zombie, which counts as gone
        assert time.monotonic() < end
    os.waitpid(child, 0)
    assert session.started(child) is None
    assert session.started(0) is None
