# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of builds: a folder of each finished wheel with its record, and the folder in which one is being made.

A finished one has the wheel, ``build.json`` (its record) and ``build.log``. A build at work has ``plan.json`` and
``run.py``, which it was started with, ``state.json``, by which it tells how far it is, ``run.json``, its process, and
``log``.
"""

from __future__ import annotations

import importlib
import json
import os
import pathlib
import shutil
import time
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from ansible_collections.podsmith.gpu.plugins.module_utils._build import program

LIMIT = 4 << 20  # bytes at the end of a log in which the cause of a failure is looked for


class StoreError(Exception):
    """A wheel was not accepted; the text says why and what to do."""


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """The mapping in a JSON file; empty where there is no such file, or something else in it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def read_record(target: pathlib.Path) -> dict[str, Any] | None:
    """The record of a finished wheel; None where there is none, or the wheel is not as long as the record says."""
    record = read_json(target / "build.json")
    try:
        return record if (target / record["wheel"]).stat().st_size == record["size"] else None
    except (OSError, KeyError):
        return None


def describe(name: str, target: pathlib.Path) -> dict[str, Any]:
    """A distribution's finished wheel as a task tells it: ``{name, wheel, requirement}``, None where there is none.

    Where it is there, also ``record`` and of it sha256, seconds, steps and size.
    """
    record = read_record(target)
    if record is None:
        return {"name": name, "wheel": None, "requirement": None}
    wheel = str(target / record["wheel"])
    told = {key: record.get(key) for key in ("sha256", "seconds", "steps", "size")}
    return {"name": name, "wheel": wheel, "requirement": f"{name} @ file://{quote(wheel)}", **told, "record": record}


def keep_wheel(wheel: pathlib.Path, record: Mapping[str, Any], target: pathlib.Path) -> None:
    """Keep a wheel that was built elsewhere, and its record, in the folder ``target``, all at once.

    Raises StoreError where its SHA-256 is not the record's.
    """
    found = program.digest(wheel)
    if found != record["sha256"]:
        raise StoreError(
            f"{record['wheel']}: the SHA-256 of the received file is {found}; expected {record['sha256']}."
            " Rerun to transfer it again."
        )
    new = target.with_name(f".new-{target.name}")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    shutil.copyfile(wheel, new / record["wheel"])
    (new / record["wheel"]).chmod(0o644)
    program.write_json(new / "build.json", dict(record))
    shutil.rmtree(target, ignore_errors=True)
    new.rename(target)


def remove(folders: Iterable[pathlib.Path]) -> None:
    """Remove these folders where they are there, and those above them that are empty then."""
    for path in folders:
        if path.exists():
            shutil.rmtree(path)
        if path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()


def write_attempt(work: pathlib.Path, plan: Mapping[str, Any]) -> None:
    """Write what a detached build starts with: its plan, its first state, and the program itself."""
    program.write_json(work / "plan.json", dict(plan))
    state = {"attempt": plan["attempt"], "begun": time.time(), "step": "start", "ok": None}
    program.write_json(work / "state.json", state)
    loader = importlib.import_module(program.__name__).__loader__
    text = loader.get_source(program.__name__)  # type: ignore[union-attr]  # an archive's, too
    (work / "run.py").write_text(text, encoding="utf-8")


def read_log(log: pathlib.Path, offset: int) -> tuple[str, int]:
    """The whole lines of a log from this byte on, and the byte at which they end."""
    try:
        with log.open("rb") as file:
            file.seek(offset)
            data = file.read()
    except OSError:
        return "", offset
    data = data[: data.rfind(b"\n") + 1]
    return data.decode("utf-8", "replace"), offset + len(data)


def read_end(log: pathlib.Path) -> str:
    """The last ``LIMIT`` bytes of a log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LIMIT))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
