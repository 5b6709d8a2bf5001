# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a build: what counts as a finished wheel, what is kept, and what of a log is read."""

from __future__ import annotations

import hashlib
import json
import pathlib
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._build import program, store

SHA256 = hashlib.sha256(b"a wheel").hexdigest()
RECORD: dict[str, Any] = {"wheel": "thing-1.0-py3-none-any.whl", "sha256": SHA256, "size": 7, "steps": 3, "seconds": 1.0}


@pytest.fixture
def target(tmp_path: pathlib.Path) -> pathlib.Path:
    """The folder of a finished wheel."""
    sent = tmp_path / "sent.whl"
    sent.write_bytes(b"a wheel")
    store.keep_wheel(sent, RECORD, tmp_path / "wheels/key")
    return tmp_path / "wheels/key"


def test_a_kept_wheel_is_told(target: pathlib.Path) -> None:
    told = store.describe("thing", target)
    wheel = str(target / RECORD["wheel"])
    assert (told["wheel"], told["requirement"]) == (wheel, f"thing @ file://{wheel}")
    assert (told["sha256"], told["steps"], told["record"]) == (SHA256, 3, RECORD)
    assert sorted(path.name for path in target.iterdir()) == ["build.json", RECORD["wheel"]]
    assert [path.name for path in target.parent.iterdir()] == ["key"]


def test_an_address_is_quoted(tmp_path: pathlib.Path) -> None:
    sent = tmp_path / "sent.whl"
    sent.write_bytes(b"a wheel")
    store.keep_wheel(sent, RECORD, tmp_path / "a folder")
    assert "a%20folder" in store.describe("thing", tmp_path / "a folder")["requirement"]


def test_nothing_is_told_of_a_wheel_that_is_not_there(tmp_path: pathlib.Path) -> None:
    assert store.describe("thing", tmp_path) == {"name": "thing", "wheel": None, "requirement": None}


def test_a_wheel_cut_short_does_not_count(target: pathlib.Path) -> None:
    (target / RECORD["wheel"]).write_bytes(b"a whe")
    assert store.read_record(target) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"wheel": "x.whl", "size": 1}'])
def test_a_record_that_says_too_little_does_not_count(target: pathlib.Path, text: str) -> None:
    (target / "build.json").write_text(text)
    assert store.read_record(target) is None


def test_a_wheel_with_another_checksum_is_refused(tmp_path: pathlib.Path) -> None:
    sent = tmp_path / "sent.whl"
    sent.write_bytes(b"another")
    with pytest.raises(store.StoreError, match=f"the SHA-256 of the received file is .*; expected {SHA256}. Rerun"):
        store.keep_wheel(sent, RECORD, tmp_path / "key")
    assert not (tmp_path / "key").exists()


def test_what_a_build_starts_with(tmp_path: pathlib.Path) -> None:
    store.write_attempt(tmp_path, {"attempt": 2, "steps": []})
    assert json.loads((tmp_path / "plan.json").read_text())["attempt"] == 2
    assert store.read_json(tmp_path / "state.json")["step"] == "start"
    assert (tmp_path / "run.py").read_bytes() == pathlib.Path(program.__file__).read_bytes()


def test_removing_takes_empty_folders_along(tmp_path: pathlib.Path) -> None:
    for name in ("builds/a/x", "wheels/a/x", "wheels/b/x"):
        (tmp_path / name).mkdir(parents=True)
    store.remove([tmp_path / "builds/a", tmp_path / "wheels/a"])
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["wheels", "wheels/b", "wheels/b/x"]


def test_a_log_is_read_by_whole_lines(tmp_path: pathlib.Path) -> None:
    log = tmp_path / "log"
    assert store.read_log(log, 0) == ("", 0)
    log.write_text("one\ntwo\nthr")
    assert store.read_log(log, 0) == ("one\ntwo\n", 8)
    assert store.read_log(log, 4) == ("two\n", 8)
    assert store.read_log(log, 8) == ("", 8)


def test_the_end_of_a_log(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store.read_end(tmp_path / "log") == ""
    (tmp_path / "log").write_text("one\ntwo\n")
    assert store.read_end(tmp_path / "log") == "one\ntwo\n"
    monkeypatch.setattr(store, "LIMIT", 4)
    assert store.read_end(tmp_path / "log") == "two\n"
