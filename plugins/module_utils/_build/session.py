# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes of a detached build: started in a session of their own, found again later, and ended together.

A build is known by its record ``{pid, start, boot, attempt}``: the process, the kernel's tick at which it began, and
the boot in which that was, so that another process which was given the same number later is not taken for it.
"""

from __future__ import annotations

import fcntl
import os
import pathlib
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from ansible_collections.podsmith.gpu.plugins.module_utils._build import program, store
from ansible_collections.podsmith.gpu.plugins.module_utils._build.progress import ATTEMPT

TICK = 0.1  # seconds between two looks at a session
PATIENCE = 5.0  # seconds that processes get to end by themselves, and again once they are killed


def start(work: pathlib.Path, python: str, plan: Mapping[str, Any]) -> int | None:
    """Start a build in its folder, after whatever an earlier attempt left running; None where one is at work.

    :param work: the build's folder; made where it is missing.
    :param python: the interpreter, a full path, that runs the detached program.
    :param plan: what the program needs; the number of the attempt, which is returned, is added to it.
    """
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return None
        end(work)  # compilers of a build whose head was killed
        attempt = int(store.read_json(work / "state.json").get("attempt") or 0) + 1
        store.write_attempt(work, {**plan, "attempt": attempt})
        argv = [python, "-I", str(work / "run.py"), str(work), str(lock.fileno())]
        run = spawn(argv, work / "log", lock=lock.fileno(), heading=f"{ATTEMPT}{attempt}")
        program.write_json(work / "run.json", {**run, "attempt": attempt})
    return attempt


def is_running(work: pathlib.Path) -> bool:
    """Whether the build of this folder is at work: the recorded process, and no later one of the same number."""
    run = store.read_json(work / "run.json")
    return bool(run) and run.get("boot") == boot() and started(int(run.get("pid") or 0)) == run.get("start")


def wait(work: pathlib.Path, seconds: float) -> bool:
    """Wait until the build of this folder ends, at most so long; whether it is still at work."""
    limit = time.monotonic() + seconds
    while is_running(work) and time.monotonic() < limit:
        time.sleep(TICK)
    return is_running(work)


def end(work: pathlib.Path) -> None:
    """End what is at work in this folder; see ``end_session``."""
    end_session(store.read_json(work / "run.json"))


def spawn(argv: Sequence[str], log: pathlib.Path, *, lock: int, heading: str) -> dict[str, Any]:
    """Start a program as the leader of a session of its own; its record, without the attempt.

    :param argv: the program, a full path first. It inherits the lock, which so is held as long as it lives.
    :param log: the file to which its output is appended, after the line ``heading``.
    :param lock: descriptor of a file that this process has locked.
    """
    output = os.open(str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(output, f"{heading}\n".encode())
    ready, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ready)
        _become(argv, output, lock, write_end)
    os.close(write_end)
    os.close(output)
    pid = int(os.read(ready, 32) or 0)
    os.close(ready)
    os.waitpid(child, 0)
    return {"pid": pid, "start": started(pid), "boot": boot()}


def _become(argv: Sequence[str], output: int, lock: int, ready: int) -> NoReturn:
    """In a forked child: fork again, so that nobody waits for it, tell the number, and be the program."""
    try:
        os.setsid()  # the first one's session; the program gets one of its own below
        if os.fork():
            os._exit(0)
        os.setsid()
        os.write(ready, str(os.getpid()).encode())
        null = os.open(os.devnull, os.O_RDONLY)
        for fd, place in ((null, 0), (output, 1), (output, 2)):
            os.dup2(fd, place)
        os.set_inheritable(lock, True)
        os.chdir("/")
        os.execv(argv[0], list(argv))
    finally:
        os._exit(127)


def end_session(run: Mapping[str, Any]) -> None:
    """End all that is left of a build's session, whose number is nobody else's while one of its processes lives.

    They are asked (SIGTERM) for ``PATIENCE`` seconds, then killed. One that sleeps in the kernel is left behind.
    """
    pid = int(run.get("pid") or 0)
    if not pid or run.get("boot") != boot() or started(pid) not in (None, run.get("start")):
        return
    limit = time.monotonic() + PATIENCE
    while True:
        members = session_members(pid)
        if not members:
            return
        late = time.monotonic() > limit
        for member in members:
            try:
                os.kill(member, signal.SIGKILL if late else signal.SIGTERM)
            except OSError:
                continue
        if time.monotonic() > limit + PATIENCE:
            return
        time.sleep(TICK)


def session_members(pid: int) -> list[int]:
    """The numbers of the processes whose session is this one."""
    numbers = (int(path.name) for path in pathlib.Path("/proc").iterdir() if path.name.isdigit())
    return [number for number in numbers if (stat_fields(number)[3:4] or ["0"])[0] == str(pid)]


def started(pid: int) -> int | None:
    """When a process began, in the kernel's ticks since boot; None where no process has that number."""
    fields = stat_fields(pid) if pid else []
    return int(fields[19]) if len(fields) > 19 else None


def stat_fields(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat after the name (proc_pid_stat(5)); none for a process that is gone or a zombie."""
    path = pathlib.Path(f"/proc/{pid}/stat")
    try:
        fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []
    return [] if fields[:1] in (["Z"], ["X"]) else fields


def boot() -> str:
    """What tells one start of the machine from the next; empty where the kernel does not say."""
    try:
        return pathlib.Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
