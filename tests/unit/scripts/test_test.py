from __future__ import annotations

import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]


@pytest.fixture
def checkout(tmp_path: pathlib.Path) -> pathlib.Path:
    """A repository with the real script and stand-ins for what it calls."""
    for name in ("scripts/prepare.sh", "scripts/link.sh", "scripts/engine.sh", ".venv/bin/mypy"):
        program = tmp_path / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text("#!/bin/sh\n", encoding="utf-8")
        program.chmod(0o755)
    shutil.copy(ROOT / "scripts/test.sh", tmp_path / "scripts/test.sh")
    shutil.copy(ROOT / "galaxy.yml", tmp_path / "galaxy.yml")
    (tmp_path / ".gitignore").write_text(".venv/\n.cache/\n/home\ntests/output/\n", encoding="utf-8")
    (tmp_path / "scripts/check.py").touch()
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "--all")
    (tmp_path / "new.txt").touch()  # in the snapshot, not in the index
    return tmp_path


def git(folder: pathlib.Path, *argv: str) -> str:
    return subprocess.run(["git", *argv], cwd=folder, capture_output=True, text=True, check=True).stdout


def stages(checkout: pathlib.Path, *argv: str, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {"HOME": str(checkout / "home"), "PATH": "/usr/local/bin:/usr/bin:/bin", **variables}
    return subprocess.run(
        [checkout / "scripts/test.sh", *argv], env=env, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_hooks_index_is_left_alone(checkout: pathlib.Path) -> None:
    """Git gives a hook the path of its index; `git add` in the snapshot would write to it."""
    before = git(checkout, "ls-files", "--stage")
    done = stages(checkout, "types", GIT_INDEX_FILE=str(checkout / ".git/index"), GIT_DIR=str(checkout / ".git"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert git(checkout, "ls-files", "--stage") == before
    tree = checkout / ".cache/test/tree/ansible_collections/podsmith/gpu"
    assert "new.txt" in git(tree, "ls-files").splitlines()


def test_an_unknown_stage_is_refused(checkout: pathlib.Path) -> None:
    done = stages(checkout, "tipes")
    assert done.returncode == 2
    assert "unknown stage 'tipes'; expected some of: lint types unit" in done.stderr


def test_a_failed_stage_shows_its_output_and_how_to_run_it_again(checkout: pathlib.Path) -> None:
    (checkout / ".venv/bin/mypy").write_text("#!/bin/sh\necho 'x.py:1: error: bad'\nexit 1\n", encoding="utf-8")
    done = stages(checkout, "types")
    assert done.returncode == 1
    assert "x.py:1: error: bad" in done.stdout
    assert "output above and in tests/output/types.log; run it again: make types" in done.stdout
