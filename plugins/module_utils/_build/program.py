# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program of its own: does the steps of a build, one after the other, and keeps the wheel.

The module source_wheel writes it into the build's folder as ``run.py`` and starts it there in a session of its own,
so that it outlives Ansible. It needs nothing but Python's standard library, takes the folder and the descriptor of the
held lock, reads ``plan.json`` in that folder, and tells in ``state.json`` what it does. Its output is the log.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import sys
import tarfile
import time
import urllib.request
import zipfile
from typing import Any

BLOCK = 1 << 20
PARTIAL = 206  # HTTP: the rest of a file, as asked for
STEP = re.compile(rb"^\s*\[\d+/(\d+)\] ", re.MULTILINE)
WHEEL = re.compile(r"(?P<name>[^-]+)-(?P<version>[^-]+)(?:-\d[^-]*)?-[^-]+-[^-]+-[^-]+\.whl")


class RunError(Exception):
    """A step failed; the log has the reason."""


class Run:
    """One attempt at a build."""

    def __init__(self, work: pathlib.Path) -> None:
        self.work = work
        self.plan: dict[str, Any] = json.loads((work / "plan.json").read_text(encoding="utf-8"))
        self.begun = time.time()
        self.state: dict[str, Any] = {"attempt": self.plan["attempt"], "begun": self.begun, "ok": None, "code": None}

    def tell(self, **more: Any) -> None:
        """Write what this attempt is at."""
        self.state.update(more)
        write_json(self.work / "state.json", self.state)

    def run(self) -> None:
        """All steps; the state says how it ended."""
        step = "start"
        try:
            for row in self.plan["steps"]:
                step = row["name"]
                self.tell(step=step)
                done = self.work / f"done-{step}"
                if not (row.get("once") and done.exists()):
                    self.do(row)
                    done.touch()
            step = "store"
            self.tell(step=step)
            self.tell(ok=True, wheel=self.store(), ended=time.time())
        except RunError:
            self.tell(ok=False, ended=time.time())
        except Exception as error:  # whatever it is, it is told
            say(f"{step}: {type(error).__name__}: {error}")
            self.tell(ok=False, ended=time.time())
            raise

    def do(self, step: dict[str, Any]) -> None:
        """One step: a download, commands, an archive to unpack, a folder to rename. Raises RunError."""
        if step.get("download"):
            download(step["download"], pathlib.Path(step["unpack"]))
        for ways in step["commands"]:
            for argv in ways:
                code = call(argv, self.plan["environment"])
                if code == 0:
                    break
            else:
                self.tell(code=code)
                raise RunError
        if step.get("unpack"):
            unpack(pathlib.Path(step["unpack"]), pathlib.Path(step["to"]), step.get("sha256"))
        if step.get("rename"):
            before, after = (pathlib.Path(path) for path in step["rename"])
            shutil.rmtree(after, ignore_errors=True)
            before.rename(after)

    def store(self) -> str:
        """Put the wheel and what is known of it where finished ones are, all at once."""
        built = self.find_wheel()
        target = pathlib.Path(self.plan["target"])
        new = target.with_name(f".new-{target.name}")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        shutil.copyfile(built, new / built.name)
        shutil.copyfile(self.work / "log", new / "build.log")
        with (new / built.name).open("rb") as file:
            os.fsync(file.fileno())
        found = WHEEL.fullmatch(built.name)
        record = {
            **self.plan["record"],
            "version": found["version"] if found else None,
            "wheel": built.name,
            "sha256": digest(new / built.name),
            "size": built.stat().st_size,
            "commit": read_commit(self.work / "source"),
            "built": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "seconds": round(time.time() - self.begun, 1),
            "attempts": self.plan["attempt"],
            "steps": count_steps(self.work / "log"),
        }
        write_json(new / "build.json", record)
        for path in new.iterdir():
            path.chmod(0o644)
        shutil.rmtree(target, ignore_errors=True)
        new.rename(target)
        return built.name

    def find_wheel(self) -> pathlib.Path:
        """The one wheel that was built, if it is the requested one. Raises RunError."""
        built = sorted((self.work / "out").glob("*.whl"), key=lambda path: path.stat().st_mtime)
        if not built:
            say("the build succeeded but produced no wheel.")
            raise RunError
        found = WHEEL.fullmatch(built[-1].name)
        name, version = self.plan["name"], self.plan["version"]
        is_requested = found and re.sub(r"[-_.]+", "-", found["name"]).lower() == name
        if not found or not is_requested or not same(version, found["version"]):
            say(f"the build produced {built[-1].name}; expected {name} {version}.")
            raise RunError
        return built[-1]


def same(wanted: str, found: str) -> bool:
    """Whether a version is the wanted one; a local part counts only where it is wanted, zeros at the end never do."""
    public, _plus, local = wanted.lower().partition("+")
    found_public, _plus, found_local = found.lower().partition("+")
    trailing = re.compile(r"(?:\.0)+$")
    return trailing.sub("", public) == trailing.sub("", found_public) and local in ("", found_local)


def say(text: str) -> None:
    """A line of this program's own in the log."""
    sys.stdout.write(f"podsmith: {text}\n")
    sys.stdout.flush()


def call(argv: list[str], environment: dict[str, str]) -> int:
    """Run a command with its output in the log; its exit status, or 128 and the number of the signal that ended it."""
    say(f"runs {' '.join(argv)}")
    program = shutil.which(argv[0], path=environment.get("PATH"))
    if program is None:
        say(f"{argv[0]} was not found on this host; install it, or add it to pytorch_source_system_packages.")
        return 127
    child = os.fork()
    if child == 0:
        try:
            os.execve(program, argv, environment)
        finally:
            os._exit(127)
    _pid, status = os.waitpid(child, 0)
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def download(url: str, folder: pathlib.Path) -> None:
    """Fetch a file; one that was cut off is fetched on from there, where the server can."""
    folder.mkdir(exist_ok=True)
    target = folder / (url.rpartition("/")[2].partition("?")[0] or "source.tar.gz")
    if target.exists():
        return
    part = target.with_name(f"{target.name}.part")
    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    request = urllib.request.Request(url if "://" in url else f"file://{url}", headers=headers)  # noqa: S310  checked
    say(f"fetches {re.sub('//[^/@]*@', '//', url)}")
    with urllib.request.build_opener().open(request, timeout=60) as answer:
        mode = "ab" if answer.status == PARTIAL else "wb"
        with part.open(mode) as file:
            shutil.copyfileobj(answer, file, BLOCK)
    part.rename(target)


def unpack(folder: pathlib.Path, target: pathlib.Path, sha256: str | None) -> None:
    """Unpack the one archive of a folder, whose single top folder becomes the target. Raises RunError."""
    archive = next((path for path in sorted(folder.iterdir()) if not path.name.endswith(".part")), None)
    if archive is None:
        say("no source archive was downloaded.")
        raise RunError
    found = digest(archive)
    if sha256 and found != sha256:
        archive.unlink()  # the next attempt fetches it anew
        say(f"the SHA-256 of {archive.name} is {found}; expected {sha256}.")
        raise RunError
    part = target.with_name(f"{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(part)  # noqa: S202  its members keep inside, as Python sees to
    else:
        with tarfile.open(archive) as packed_tar:
            if hasattr(tarfile, "data_filter"):  # older Pythons have it in later bug fixes only
                packed_tar.extractall(part, filter="data")
            else:
                packed_tar.extractall(part)  # noqa: S202  the user named the archive and its checksum
    inside = list(part.iterdir())
    shutil.rmtree(target, ignore_errors=True)
    (inside[0] if len(inside) == 1 and inside[0].is_dir() else part).rename(target)
    shutil.rmtree(part, ignore_errors=True)


def digest(path: pathlib.Path) -> str:
    """SHA-256 of a file."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(BLOCK), b""):
            found.update(block)
    return found.hexdigest()


def read_commit(source: pathlib.Path) -> str | None:
    """The commit that is checked out, where the source is a repository."""
    try:
        head = (source / ".git" / "HEAD").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return head if re.fullmatch(r"[0-9a-f]{40}", head) else None


def count_steps(log: pathlib.Path) -> int | None:
    """The largest number of steps that ninja counted; None where it counted none."""
    return max((int(number) for number in STEP.findall(log.read_bytes())), default=None)


def write_json(path: pathlib.Path, content: dict[str, Any]) -> None:
    """Write a file that is whole at each moment."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(json.dumps(content, indent=1, sort_keys=True), encoding="utf-8")
    new.replace(path)


def main(work: str, lock: int) -> None:
    """One attempt. The lock is this process's alone: compilers that outlive it do not hold it."""
    os.set_inheritable(lock, False)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with contextlib.suppress(OSError):  # where memory ends a compiler is killed, not the host's services
        pathlib.Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
    Run(pathlib.Path(work)).run()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
