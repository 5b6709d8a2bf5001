# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run commands side by side, each with a time limit that holds even where a hung driver keeps a process from dying."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Callable, NamedTuple

from ansible_collections.podsmith.gpu.plugins.module_utils._host.child import become, exit_code

TICK = 0.005  # seconds between two looks at the children
GRACE = 0.5  # seconds that a killed child has to go before it is left behind
OUTPUT_LIMIT = 200_000  # characters of a command's output that are read back, from its end

# $1 is the file to source, or empty; $2 the folder to work in; the rest the command.
SHELL = 'if [ -n "$1" ]; then . "$1" || exit 126; fi; cd "$2" && shift 2 && exec "$@"'


class Job(NamedTuple):
    """A command; it starts once the jobs named in ``needs`` have ended with status 0. ``timeout`` is in seconds.

    With ``call`` it is that function, run in a copy of this process, whose result becomes a line of JSON; ``argv`` then
    is no more than its name.
    """

    name: str
    argv: tuple[str, ...]
    timeout: float
    needs: tuple[str, ...] = ()
    call: Callable[[], Any] | None = None


class Outcome(NamedTuple):
    """``code`` is the exit status, negative for a signal, None for no answer within ``limit`` seconds.

    A job that ``started`` not, because one that it needs failed or no time was left, has code None as well.
    """

    code: int | None
    output: str
    seconds: float
    limit: float
    started: bool = True


class _Running(NamedTuple):
    job: Job
    pid: int
    begin: float
    limit: float


def run_jobs(
    jobs: Iterable[Job], *, folder: str, activation: str | None, env: Mapping[str, str], workers: int, seconds: float
) -> dict[str, Outcome]:
    """Run all jobs, at most ``workers`` at once and ``seconds`` in all; standard output and error go to one text.

    Each runs in a shell of its own that has sourced ``activation``, with ``folder`` as its working folder, and as the
    leader of its process group, so that nothing it started outlives the limit.
    """
    deadline = time.monotonic() + seconds
    waiting = list(jobs)
    running: list[_Running] = []
    done: dict[str, Outcome] = {}
    while waiting or running:
        for job in list(waiting):
            left = deadline - time.monotonic()
            if left <= 0 or any(need in done and done[need].code != 0 for need in job.needs):
                waiting.remove(job)
                done[job.name] = Outcome(None, "", 0.0, max(left, 0.0), started=False)
            elif len(running) < workers and all(need in done for need in job.needs):
                waiting.remove(job)
                pid = _start(job, folder, activation, env)
                running.append(_Running(job, pid, time.monotonic(), min(job.timeout, left)))
        for child in list(running):
            outcome = _look(child, folder)
            if outcome:
                running.remove(child)
                done[child.job.name] = outcome
        time.sleep(TICK)
    return done


def shell_argv(activation: str | None, folder: str, argv: Sequence[str]) -> list[str]:
    """The command in a shell of its own that has sourced ``activation``, with ``folder`` as its working folder."""
    return ["/bin/sh", "-c", SHELL, "sh", activation or "", folder, *argv]


def _start(job: Job, folder: str, activation: str | None, env: Mapping[str, str]) -> int:
    argv = shell_argv(activation, folder, job.argv)
    log = Path(folder, f"{job.name}.log")
    pid = os.fork()
    if pid == 0:
        become(partial(_run, argv, job.call, dict(env)), str(log), with_errors=True, lead=partial(os.setpgid, 0, 0))
    with contextlib.suppress(OSError):  # the child does the same; whoever comes first, the group is there from now on
        os.setpgid(pid, pid)
    return pid


def _run(argv: list[str], call: Callable[[], Any] | None, env: dict[str, str]) -> int:
    """In the child: become the command, or answer for the function with these variables alone."""
    if not call:
        os.execve(argv[0], argv, env)
    os.environ.clear()
    os.environ.update(env)
    return _answer(call)


def _answer(call: Callable[[], Any]) -> int:
    """Write the function's result to standard output as a line of JSON, or why there is none; the exit status."""
    try:
        code, record = 0, call()
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent is to tell it
        code, record = 1, {"failure": f"{type(error).__name__}: {error}"}
    data = f"{json.dumps(record)}\n".encode()
    while data:
        data = data[os.write(1, data) :]
    return code


def _look(child: _Running, folder: str) -> Outcome | None:
    """The outcome of a child that has ended, or that is over its limit and was killed; else None."""
    pid, status = os.waitpid(child.pid, os.WNOHANG)
    seconds = time.monotonic() - child.begin
    if not pid and seconds < child.limit:
        return None
    code = None
    if pid:
        code = exit_code(status)
    else:
        _kill(child.pid)
    log = Path(folder, f"{child.job.name}.log")
    return Outcome(code, read_tail(log), round(seconds, 3), child.limit)


def _kill(pid: int) -> None:
    """Kill the whole group; a process that sleeps in the kernel does not go, and is not waited for."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    end = time.monotonic() + GRACE
    while time.monotonic() < end:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return
        time.sleep(TICK)


def read_tail(path: Path) -> str:
    """The end of a text file, "" where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")[-OUTPUT_LIMIT:]
    except OSError:
        return ""
