# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive of the collection: the same bytes from the same files."""

from __future__ import annotations

import os
import pathlib
import tarfile
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.modules.collection_archive import FOLDERS, PLACE

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(run_module: Callable[..., Any]) -> Run:
    return lambda *, check=False, **params: run_module("collection_archive", params, check=check).data


@pytest.fixture
def source(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "collection"
    for name in FOLDERS:
        (folder / name / "__pycache__").mkdir(parents=True)
        (folder / name / "a.yml").write_text(name)
        (folder / name / "__pycache__" / "a.pyc").write_bytes(b"\0")
    (folder / "galaxy.yml").write_text("name: gpu\n")
    (folder / "molecule").mkdir()
    (folder / "molecule" / "b.yml").write_text("no")
    return folder


def test_it_packs_what_is_needed_and_nothing_else(source: pathlib.Path, tmp_path: pathlib.Path, run: Run) -> None:
    path = tmp_path / "image" / "collection.tar.gz"
    result = run(source=str(source), path=str(path))
    assert (result["changed"], result["files"]) == (True, len(FOLDERS) + 1)
    with tarfile.open(path) as archive:
        names = archive.getnames()
    assert names == sorted(f"{PLACE}/{name}" for name in ("galaxy.yml", *(f"{folder}/a.yml" for folder in FOLDERS)))


def test_the_same_files_give_the_same_bytes(source: pathlib.Path, tmp_path: pathlib.Path, run: Run) -> None:
    path = tmp_path / "collection.tar.gz"
    first = run(source=str(source), path=str(path))
    os.utime(source / "galaxy.yml", (1, 1))
    (source / "galaxy.yml").chmod(0o600)
    again = run(source=str(source), path=str(path))
    assert (again["changed"], again["sha256"]) == (False, first["sha256"])
    (source / "galaxy.yml").write_text("name: other\n")
    assert run(source=str(source), path=str(path))["changed"] is True


def test_check_mode_writes_nothing(source: pathlib.Path, tmp_path: pathlib.Path, run: Run) -> None:
    path = tmp_path / "image" / "collection.tar.gz"
    assert run(source=str(source), path=str(path), check=True)["changed"] is True
    assert not path.parent.exists()


def test_absent(source: pathlib.Path, tmp_path: pathlib.Path, run: Run) -> None:
    path = tmp_path / "image" / "collection.tar.gz"
    run(source=str(source), path=str(path))
    assert run(path=str(path), state="absent", check=True)["changed"] is True
    assert path.exists()
    assert run(path=str(path), state="absent")["changed"] is True
    assert not path.parent.exists()
    assert run(path=str(path), state="absent")["changed"] is False


def test_what_is_no_collection(tmp_path: pathlib.Path, run: Run) -> None:
    result = run(source=str(tmp_path), path=str(tmp_path / "a.tar.gz"))
    assert result["failed"] is True
    assert "lacks catalogue, meta, playbooks, plugins, roles; expected the folder of podsmith.gpu" in result["msg"]
