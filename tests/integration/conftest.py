"""The main job on this machine: the real playbooks, a real compiler, a real wheel, into a scratch prefix."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
RECAP = re.compile(r"^localhost\s+: (.*)$", re.MULTILINE)

WISH: dict[str, Any] = {
    "cuda": "13.0",
    "pytorch": "newest",
    "cutlass": "4.2.0",
    "toolkit": {"provider": "pypi"},
    "architectures": ["9.0a"],
}


@dataclass(frozen=True)
class Run:
    """What one playbook run printed and counted."""

    rc: int
    out: str
    recap: dict[str, int] = field(default_factory=dict)
    decision: dict[str, Any] = field(default_factory=dict)

    def roles(self, key: str) -> list[str]:
        """Roles of the changes that are pending (`changes`) or were made (`applied`)."""
        return [change["role"] for change in self.decision[key]]


@dataclass(frozen=True)
class Site:
    """A scratch prefix on this machine, and the playbooks run against it."""

    prefix: Path
    scratch: Path

    @property
    def current(self) -> Path:
        """The live generation."""
        return self.prefix / "current"

    def play(
        self,
        playbook: str,
        *args: str,
        request: dict[str, Any] | None = None,
        within: tuple[str, ...] = (),
        **variables: Any,
    ) -> Run:
        """Run a playbook against this machine; `request` replaces keys of the local profile's wish.

        :param within: a command that runs the rest of its line, such as unshare.
        """
        output = self.scratch / "plans"
        output.mkdir(exist_ok=True)
        extra = {
            "stack_plan_request": WISH | (request or {}),
            "stack_plan_prefix": str(self.prefix),
            "stack_plan_output_dir": str(output),
        } | variables
        done = ansible_playbook(playbook, "-l", "local", "-e", json.dumps(extra), *args, within=within)
        out = done.stdout + done.stderr
        recap = RECAP.search(out)
        counts = {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", recap[1])} if recap else {}
        plan = output / "localhost.json"
        decision = json.loads(plan.read_text(encoding="utf-8")) if plan.exists() else {}
        plan.unlink(missing_ok=True)
        return Run(done.returncode, out, counts, decision)

    def sh(self, script: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a line in a plain POSIX shell with a bare environment."""
        reach = {key: value for key, value in os.environ.items() if key.startswith(("PIP_", "SSL_CERT_", "UV_"))}
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        bare = reach | {"HOME": str(self.scratch), "PATH": path} | env
        return subprocess.run(["sh", "-c", script], env=bare, capture_output=True, text=True, timeout=300, check=False)


def ansible_playbook(*args: str, within: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run ansible-playbook in the checkout."""
    argv = [*within, Path(sys.executable).with_name("ansible-playbook"), *args]
    return subprocess.run(argv, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=900, check=False)


def environment() -> dict[str, str]:
    """This process's environment without what slows ansible down or changes its output."""
    dropped = {"PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "ANSIBLE_STDOUT_CALLBACK"}
    return {key: value for key, value in os.environ.items() if key not in dropped} | {
        "ANSIBLE_FORCE_COLOR": "0",
        "COLUMNS": "120",
    }


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Path → (inode, modification time in ns) of every file below a folder; byte code and uv's cache are left out."""
    found = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in ("__pycache__", "cache")]
        for name in names:
            stat = os.lstat(f"{parent}/{name}")
            found[os.path.relpath(f"{parent}/{name}", folder)] = (stat.st_ino, stat.st_mtime_ns)
    return found


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """An empty prefix; the tests of a module build on it in order."""
    scratch = tmp_path_factory.mktemp("site")
    return Site(scratch / "podsmith", scratch)
