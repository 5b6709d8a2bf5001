# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Children with a time limit that holds even where the child can't be killed.

A call into a hung driver sleeps in the kernel and survives SIGKILL, and whoever waits for it hangs as well. So nothing
here waits without a limit: a child that is late is killed, and left behind where that does not help.

The limits come from the option ``timeout`` of the modules, which the roles pass on: that of gpu_facts is the variable
``stack_plan_timeout``, that of gpu_probe ``forward_compat_timeout``.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Callable, NamedTuple, NoReturn

TICK = 0.01  # seconds between two looks at a child that has closed its output
LIMIT = 16 * 1024 * 1024  # bytes that are kept of an output; of one that has more its end is of interest
PIPE = 1024 * 1024  # bytes that a pipe can hold at most, of what a child has said before it ended
BLOCK = 65536


class Outcome(NamedTuple):
    """``code`` is the exit status, negative for a signal, ``None`` past the limit; ``out`` is standard output."""

    code: int | None
    out: str


class Child:
    """A started child; ``result()`` waits for it no longer than the limit, counted from the start."""

    def __init__(self, body: Callable[[], int], timeout: float) -> None:
        self._deadline = time.monotonic() + timeout
        self._fd, write_end = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            become(body, write_end, with_errors=False, lead=os.setsid)
        os.close(write_end)

    def result(self) -> Outcome:
        """Collect the output until the child ends; a background process that keeps the pipe open does not count."""
        chunks: deque[bytes] = deque(maxlen=LIMIT // BLOCK)
        code, is_open = None, True
        while True:
            left = self._deadline - time.monotonic()
            if is_open:
                is_open = self._read(chunks, max(0.0, min(left, TICK)))
            elif left > 0:
                time.sleep(TICK / 10)
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                code = exit_code(status)
                for _block in range(PIPE // BLOCK):  # no further, for one that was left behind may never stop writing
                    if not is_open or not self._read(chunks, 0.0):
                        break
                break
            if left <= 0:
                self._abandon()
                break
        os.close(self._fd)
        return Outcome(code, b"".join(chunks).decode("utf-8", "replace"))

    def _read(self, chunks: deque[bytes], seconds: float) -> bool:
        """Read what there is; False at the end, and where nothing came in a look without waiting."""
        if not select.select([self._fd], [], [], seconds)[0]:
            return seconds > 0
        data = os.read(self._fd, BLOCK)
        is_small = bool(chunks) and len(chunks[-1]) + len(data) <= BLOCK
        chunks.append(chunks.pop() + data if is_small else data)
        return bool(data)

    def _abandon(self) -> None:
        try:
            os.killpg(self._pid, signal.SIGKILL)
        except OSError:
            os.kill(self._pid, signal.SIGKILL)
        for _attempt in range(20):
            if os.waitpid(self._pid, os.WNOHANG)[0]:
                return
            time.sleep(TICK)


def start_command(argv: Sequence[str], env: Mapping[str, str], timeout: float) -> Child:
    """Start ``argv`` (a full path first) with ``env`` alone; exit status 127 where it can't be run."""

    def body() -> int:
        os.execve(argv[0], list(argv), dict(env))

    return Child(body, timeout)


def start_call(function: Callable[[], Any], timeout: float) -> Child:
    """Start a function in a copy of this process; its result comes back as JSON on standard output."""

    def body() -> int:
        data = json.dumps(function()).encode()
        while data:
            data = data[os.write(1, data) :]
        return 0

    return Child(body, timeout)


def become(
    body: Callable[[], int], output: int | str, *, with_errors: bool, lead: Callable[[], object] | None
) -> NoReturn:
    """In the child after a fork: run ``body`` without input and end the process with the status that it returns.

    :param output: where standard output goes: a descriptor, or the path of a file to write anew.
    :param with_errors: whether standard error goes there, too; else it goes nowhere.
    :param lead: makes the child the leader of a session or a process group, as ``os.setsid`` does.
    """
    code = 127  # as a shell says that it could not start a command
    try:
        if lead:
            lead()
        null = os.open(os.devnull, os.O_RDWR)
        out = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644) if isinstance(output, str) else output
        for source, target in ((null, 0), (out, 1), (out if with_errors else null, 2)):
            os.dup2(source, target)
        code = body()
    finally:
        os._exit(code)


def exit_code(status: int) -> int:
    """The exit status in what ``waitpid`` says, negative for the signal that ended the child."""
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
