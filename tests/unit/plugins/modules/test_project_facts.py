"""The module, run as Ansible runs it, on a real environment."""

from __future__ import annotations

import json
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(run_module: Callable[..., Any]) -> Run:
    def call(home: Path, **params: Any) -> dict[str, Any]:
        given = {"path": str(home / "app"), "prefix": str(home / "prefix"), **params}
        ran = run_module("project_facts", given, environ={"PATH": "/usr/bin:/bin", "HOME": str(home)})
        assert "project" in ran.data, ran
        assert not ran.changed
        return dict(ran.data["project"])

    return call


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A project whose torch says its version alone."""
    venv.create(tmp_path / "app" / ".venv", with_pip=False)
    site = next((tmp_path / "app" / ".venv" / "lib").glob("python3*/site-packages"))
    (site / "torch").mkdir()
    (site / "torch-2.10.0+cu126.dist-info").mkdir()
    (site / "torch-2.10.0+cu126.dist-info" / "RECORD").write_text("")
    (site / "torch-2.10.0+cu126.dist-info" / "METADATA").write_text("Name: torch\n")
    (site / "torch" / "version.py").write_text("__version__ = '2.10.0+cu126'\ncuda = '12.6'\n")
    (site / "torch" / "cuda.py").write_text("def is_available():\n    return False\n")
    (site / "torch" / "__init__.py").write_text("from . import cuda, version\nfrom .version import __version__\n")
    return tmp_path / "app"


def test_what_is_read(app: Path, tmp_path: Path, run: Run) -> None:
    tool = tmp_path / ".local" / "bin" / "poetry"
    tool.parent.mkdir(parents=True)
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    conf = tmp_path / ".config" / "pip" / "pip.conf"
    conf.parent.mkdir(parents=True)
    conf.write_text(
        "[global]\nextra-index-url = https://own.example.org https://me:secret@x.example.org\nconstraint = /c.txt\n"
    )
    found = run(tmp_path)
    assert found["environment"]["torch"] == {"version": "2.10.0+cu126", "cuda": "12.6"}
    assert "deactivate () {" in found["environment"]["fence"]["bin/activate"]
    assert found["tools"]["poetry"] == str(tool)
    assert found["owner"]["name"] == found["owner"]["reader"]
    assert found["pip"] == {"extra_index_urls": ["https://own.example.org"], "secret": True, "constraints": ["/c.txt"]}
    assert "secret@" not in json.dumps(found)
    assert found["proof"] is None


def test_torch_is_imported_on_request(app: Path, tmp_path: Path, run: Run) -> None:
    proof = {"ok": True, "version": "2.10.0+cu126", "cuda": "12.6", "available": False}
    assert run(tmp_path, prove=True)["proof"] == proof


def test_a_torch_that_does_not_import_is_told(app: Path, tmp_path: Path, run: Run) -> None:
    next(app.glob(".venv/lib/*/site-packages/torch/__init__.py")).write_text(
        "raise ImportError('libcudart.so.12: cannot open')\n"
    )
    found = run(tmp_path, prove=True)["proof"]
    assert found == {"ok": False, "error": "ImportError: libcudart.so.12: cannot open"}


def test_absence_is_an_answer(tmp_path: Path, run: Run) -> None:
    found = run(tmp_path, prove=True)
    assert (found["exists"], found["environment"], found["proof"], found["owner"]["name"]) == (False, None, None, None)
