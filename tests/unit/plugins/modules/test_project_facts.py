"""The module, run as Ansible runs it, on a real environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

CODE = (
    "import json, sys; from ansible.module_utils.testing import patch_module_args\n"
    "from ansible_collections.podsmith.gpu.plugins.modules.project_facts import main\n"
    "with patch_module_args(json.loads(sys.stdin.read())): main()"
)


def run(home: Path, **params: Any) -> dict[str, Any]:
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)}
    given = {"path": str(home / "app"), "prefix": str(home / "prefix"), **params}
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        input=json.dumps(given),
        env=environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    answer: dict[str, Any] = json.loads(done.stdout or json.dumps({"msg": done.stderr}))
    assert "project" in answer, answer
    assert not answer["changed"]
    found: dict[str, Any] = answer["project"]
    return found


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


def test_what_is_read(app: Path, tmp_path: Path) -> None:
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


def test_torch_is_imported_on_request(app: Path, tmp_path: Path) -> None:
    proof = {"ok": True, "version": "2.10.0+cu126", "cuda": "12.6", "available": False}
    assert run(tmp_path, prove=True)["proof"] == proof


def test_a_torch_that_does_not_import_is_told(app: Path, tmp_path: Path) -> None:
    next(app.glob(".venv/lib/*/site-packages/torch/__init__.py")).write_text(
        "raise ImportError('libcudart.so.12: cannot open')\n"
    )
    found = run(tmp_path, prove=True)["proof"]
    assert found == {"ok": False, "error": "ImportError: libcudart.so.12: cannot open"}


def test_absence_is_an_answer(tmp_path: Path) -> None:
    found = run(tmp_path, prove=True)
    assert (found["exists"], found["environment"], found["proof"], found["owner"]["name"]) == (False, None, None, None)
