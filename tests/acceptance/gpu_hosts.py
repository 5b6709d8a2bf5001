# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks run against real hosts, with what they printed, how long they took and what they decided."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "tests" / "output"
RECAP = re.compile(r"^(?P<host>\S+)\s+: ok=.*?\bchanged=(?P<changed>\d+).*?\bfailed=(?P<failed>\d+)", re.MULTILINE)
CAUSE = re.compile(r"^(?:\[ERROR\]|fatal|ERROR!|.*UNREACHABLE).*$", re.MULTILINE)
DROPPED = {
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONPATH",
    "ANSIBLE_STDOUT_CALLBACK",
}  # they slow Ansible down or change its words
UUID = re.compile(r"GPU-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
PRIVATE = {"uuid", "pci_id", "serial", "commands", "library", "boot_id"}  # of an observation, for no published file


@dataclass(frozen=True)
class Run:
    """One playbook run: its words, its wall time, and by host what it changed, decided or observed."""

    name: str
    rc: int
    seconds: float
    out: str
    log: Path
    changed: dict[str, int] = field(default_factory=dict)
    records: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def complaint(self) -> str:
        """Why it failed, in its own words, and where the rest stands."""
        causes = [match[0] for match in CAUSE.finditer(self.out)] or self.out.strip().splitlines()[-3:]
        return f"{self.name} failed ({self.log.relative_to(ROOT)}): " + " ".join(causes)


@dataclass(frozen=True)
class Hosts:
    """The hosts under test; every run's output is kept in ``folder``, numbered in order."""

    limit: str
    arguments: tuple[str, ...]
    folder: Path

    @classmethod
    def of_environment(cls, folder: Path, environ: Mapping[str, str]) -> Hosts:
        """The hosts that ``make`` was told: ACCEPTANCE_LIMIT and ACCEPTANCE_ARGS. Empties the folder."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        arguments = tuple(shlex.split(environ.get("ACCEPTANCE_ARGS", "")))
        return cls(environ.get("ACCEPTANCE_LIMIT") or "local", arguments, folder)

    def play(self, name: str, playbook: str, *arguments: str, **variables: Any) -> Run:
        """Run a playbook; what it decides for each host is in ``records``."""
        made = self.folder / f"{len(list(self.folder.glob('*.log'))) + 1}-{name.replace(' ', '-')}"
        made.mkdir()
        extra = {"stack_plan_output_dir": str(made), "acceptance_dir": str(made), **variables}
        command = [str(Path(sys.executable).with_name("ansible-playbook")), playbook, "-l", self.limit]
        argv = [*command, *self.arguments, "-e", json.dumps(extra), *arguments]
        begin = time.monotonic()
        done = subprocess.run(
            argv,
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1800,
            check=False,
        )
        seconds = round(time.monotonic() - begin, 2)
        log = made.with_suffix(".log")
        log.write_text(f"$ {shlex.join(argv)}\n{done.stdout}", encoding="utf-8")
        changed = {match["host"]: int(match["changed"]) for match in RECAP.finditer(done.stdout)}
        records = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(made.glob("*.json"))}
        return Run(name, done.returncode, seconds, done.stdout, log, changed, records)


def environment() -> dict[str, str]:
    """This process's environment, without what changes Ansible's words."""
    kept = {name: value for name, value in os.environ.items() if name not in DROPPED}
    return kept | {"ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1", "COLUMNS": "160"}


def public(value: Any) -> Any:
    """A record without what tells one machine from another of its kind."""
    if isinstance(value, dict):
        return {name: public(item) for name, item in value.items() if name not in PRIVATE}
    if isinstance(value, str):
        return UUID.sub("GPU-…", value).replace(str(ROOT), ".")
    return [public(item) for item in value] if isinstance(value, list) else value


def describe(gpu: Mapping[str, Any]) -> dict[str, Any]:
    """What a host is, for a published record."""
    platform, driver = gpu["platform"], gpu["driver"]
    return {
        "gpus": [device["name"] for device in gpu["devices"]],
        "driver": driver.get("version"),
        "driver_cuda": driver.get("cuda"),
        "os": f"{platform['os']['id']} {platform['os']['version']}",
        "arch": platform["arch"],
        "kind": platform["kind"],
        "cpus": platform["cpus"],
    }


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a record for people and machines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def table(rows: list[tuple[str, str, str]], *, numbers: bool = False) -> str:
    """Columns of the same width; the second one is aligned right where it holds numbers."""
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    align = ">" if numbers else "<"
    return "\n".join(f"{row[0]:<{widths[0]}}  {row[1]:{align}{widths[1]}}  {row[2]}".rstrip() for row in rows)
