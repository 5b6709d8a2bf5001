"""The module, run as Ansible runs it: all of an edit or nothing, and back again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

OLD, NEW = "# ours\r\n[project]\n", "# ours\r\n[project]\n[tool.uv]\n"


class App:
    """A project with a lock file, and a stand-in for its manager."""

    def __init__(self, root: Path, run_module: Callable[..., Any]) -> None:
        self.run_module = run_module
        self.root, self.path, self.folder = root, root / "app", root / "prefix" / "projects" / "app-0"
        self.path.mkdir()
        self.path.joinpath("pyproject.toml").write_bytes(OLD.encode())
        self.path.joinpath("uv.lock").write_text("torch 2.10.0\n")
        self.manager('echo "torch 2.10.0+cu126 $UV_INDEX" >uv.lock; echo locked')

    def manager(self, script: str, name: str = "uv") -> Path:
        path = self.root / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    def snapshot(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.path.iterdir()}

    def run(self, *, check: bool = False, fails: bool = False, **params: Any) -> dict[str, Any]:
        given = {"path": str(self.path), "folder": str(self.folder), **params}
        environ = {"PATH": "/usr/bin:/bin", "HOME": str(self.root)}
        ran = self.run_module("project_edit", given, check=check, environ=environ)
        assert ran.failed == fails, ran
        return dict(ran.data)

    def edit(self, content: str = NEW, **more: Any) -> dict[str, Any]:
        files = [{"name": "pyproject.toml", "content": content}]
        return self.run(
            files=files, lock="uv.lock", command=[str(self.root / "uv"), "lock"], variables={"UV_INDEX": "x"}, **more
        )


@pytest.fixture
def app(tmp_path: Path, run_module: Callable[..., Any]) -> App:
    return App(tmp_path, run_module)


def test_copied_written_locked(app: App) -> None:
    before = app.snapshot()
    answer = app.edit()
    assert answer["changed"]
    assert app.snapshot() == {"pyproject.toml": NEW.encode(), "uv.lock": b"torch 2.10.0+cu126 x\n"}
    copies = Path(answer["copies"])
    assert {path.name: path.read_bytes() for path in copies.iterdir()} == before
    assert "locked" in answer["output"]


def test_nothing_is_left_of_a_lock_that_fails(app: App) -> None:
    before = app.snapshot()
    app.manager("echo half >uv.lock; echo 'no solution found' >&2; exit 1")
    answer = app.edit(fails=True)
    words = [f"lock in {app.path} failed", "no solution found", "All files were restored", "PyTorch's index"]
    assert [word for word in words if word not in answer["msg"]] == []
    assert app.snapshot() == before


def test_a_lock_that_was_not_there_goes_again(app: App) -> None:
    app.path.joinpath("uv.lock").unlink()
    app.manager("echo half >uv.lock; exit 1")
    app.edit(fails=True)
    assert list(app.snapshot()) == ["pyproject.toml"]


def test_back_to_the_byte_over_several_edits(app: App) -> None:
    before = app.snapshot()
    app.edit()
    app.edit(NEW + "# next\n")
    assert app.run(state="absent")["changed"]
    assert app.snapshot() == before
    assert not app.run(state="absent")["changed"]


def test_what_somebody_else_changed_stays(app: App) -> None:
    app.edit()
    app.path.joinpath("pyproject.toml").write_text("theirs\n")
    answer = app.run(state="absent")
    assert answer["paths"] == [str(app.path / "uv.lock")]
    assert app.snapshot() == {"pyproject.toml": b"theirs\n", "uv.lock": b"torch 2.10.0\n"}


def test_a_package_is_unlocked_first_and_stays_where_the_lock_fails(app: App) -> None:
    text = (
        '[[package]]\nname = "six"\n\n[[package]]\nname = "torch"\nversion = "1"\n\n[metadata]\nlock-version = "2.1"\n'
    )
    app.path.joinpath("uv.lock").write_text(text)
    app.manager("cp uv.lock ../seen; exit 1")
    app.edit(fails=True, unlock=["torch"])
    assert (app.root / "seen").read_text() == '[[package]]\nname = "six"\n\n[metadata]\nlock-version = "2.1"\n'
    assert app.path.joinpath("uv.lock").read_text() == text


def test_what_takes_an_edit_out_is_not_noted(app: App) -> None:
    app.edit()
    app.edit(OLD, forget=True)
    assert not (app.folder / "state.json").exists()
    assert len([path for path in app.folder.iterdir() if path.is_dir()]) == 2


def test_a_copy_that_is_gone_is_told(app: App) -> None:
    answer = app.edit()
    Path(answer["copies"], "pyproject.toml").unlink()
    answer = app.run(state="absent", fails=True)
    assert "pyproject.toml, the copy of" in answer["msg"]
    assert "restore the file by hand" in answer["msg"]


def test_check_mode_shows_and_changes_nothing(app: App) -> None:
    before = app.snapshot()
    answer = app.edit(check=True)
    assert answer["changed"]
    assert answer["diff"][0]["after"] == NEW
    assert app.snapshot() == before
    assert not app.folder.exists()


def test_the_same_again_changes_nothing(app: App) -> None:
    app.edit()
    assert not app.edit()["changed"]
    assert not app.run(files=[{"name": "pyproject.toml", "content": NEW}])["changed"]


@pytest.mark.parametrize(("version", "words"), [("1.8.3", "lock --no-update"), ("2.5.1", "lock")])
def test_poetry_before_its_second_major_updates_nothing_else(app: App, version: str, words: str) -> None:
    poetry = app.manager(
        f'[ "$1" = --version ] && echo "Poetry (version {version})" && exit; echo "$*" >poetry.lock', "poetry"
    )
    app.run(lock="poetry.lock", command=[str(poetry), "lock"])
    assert app.path.joinpath("poetry.lock").read_text() == f"{words}\n"
