"""What is written into an environment holds PyTorch there, and goes again without a trace."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import without_block
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project import fence as fencing

VERSIONS = {"torch": "2.10.0+cu126", "torchvision": "0.25.0+cu126"}
URL = "https://download.pytorch.org/whl/cu126"


def environment(folder: str, **files: str | None) -> dict[str, Any]:
    there: dict[str, str | None] = {"podsmith-constraints.txt": None, "pip.conf": None, "bin/activate": None}
    return {
        "path": folder,
        "fence": there | {name.replace("__", "/").replace("_", "."): text for name, text in files.items()},
    }


def activate_of(maker: str, folder: Path) -> str:
    """The script as a tool writes it."""
    if maker == "venv":
        venv.create(folder, with_pip=False)
    else:
        uv = Path(sys.executable).parent / "uv"
        argv = [str(uv), "venv", "--quiet", "--python", sys.executable, str(folder)]
        subprocess.run(argv, check=True, timeout=300, env={**os.environ, "UV_CACHE_DIR": str(folder.parent / "cache")})
    return (folder / "bin" / "activate").read_text()


@pytest.mark.parametrize("maker", ["venv", "uv"])
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_activation_sets_and_takes_back(maker: str, shell: str, tmp_path: Path) -> None:
    text, script = activate_of(maker, tmp_path / "env"), tmp_path / "env" / "bin" / "activate"
    fenced = fencing.render_activate(text, str(tmp_path / "env"))
    assert fenced is not None
    script.write_text(fenced)
    told = 'echo "${PIP_CONSTRAINT-unset}|${UV_CONSTRAINT-unset}|${UV_BUILD_CONSTRAINT-unset}"'
    code = f". {script}; {told}; deactivate; {told}"
    clean = {"PATH": "/usr/bin:/bin"}
    path = f"{tmp_path}/env/podsmith-constraints.txt"
    for variables, said in (
        ({}, [f"{path}|{path}|{path}", "unset|unset|unset"]),
        ({"PIP_CONSTRAINT": "/mine.txt"}, [f"{path} /mine.txt|{path}|{path}", "/mine.txt|unset|unset"]),
        ({"UV_BUILD_CONSTRAINT": "/b.txt"}, [f"{path}|{path}|{path} /b.txt", "unset|unset|/b.txt"]),
    ):
        done = subprocess.run(
            [shutil.which(shell) or shell, "-euc", code]
            if maker == "uv"
            else [shutil.which(shell) or shell, "-ec", code],
            env=clean | variables,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.stdout.splitlines() == said, done.stderr
    assert without_block(fenced) == text
    assert fencing.render_activate(fenced, str(tmp_path / "env")) == fenced


@pytest.mark.parametrize(
    ("text", "folder"),
    [("export PATH=/x\n", "/srv/app/.venv"), ("deactivate () {\n}\ndeactivate nondestructive\n", "/srv/my app/.venv")],
    ids=["unlike-any", "a-blank-in-the-path"],
)
def test_an_activation_that_is_not_fenced(text: str, folder: str) -> None:
    assert fencing.render_activate(text, folder) is None
    rows, notes = fencing.fence(environment(folder, bin__activate=text), {}, VERSIONS, URL)
    assert "bin/activate" not in [row["what"] for row in rows]
    assert "set PIP_CONSTRAINT and UV_CONSTRAINT" in " ".join(notes)


def test_what_pip_is_told_already_is_repeated() -> None:
    pip = {"extra_index_urls": ["https://own.example.org/simple"], "constraints": ["/etc/pip/constraints.txt"]}
    assert fencing.render_pip_conf("/e", pip, URL) == fencing.HEAD + (
        "[global]\nextra-index-url =\n    https://own.example.org/simple\n"
        f"    {URL}\n[install]\nconstraint =\n    /etc/pip/constraints.txt\n    /e/podsmith-constraints.txt\n"
    )


def test_a_credential_is_not_copied() -> None:
    conf = fencing.render_pip_conf("/e", {"extra_index_urls": [], "secret": True, "constraints": []}, URL)
    assert "index" not in conf
    assert "/e/podsmith-constraints.txt" in conf


def test_a_pip_conf_of_somebody_else_stays() -> None:
    there = environment("/e", pip_conf="[global]\nindex-url = https://own.example.org\n")
    rows, notes = fencing.fence(there, {}, VERSIONS, URL)
    assert "pip.conf" not in [row["what"] for row in rows]
    assert "/e/pip.conf was not written by this role and is not changed" in notes[0]
    assert fencing.has_foreign_conf(there)
    assert "pip.conf" not in [row["what"] for row in fencing.unfence(there)]


def test_what_is_there_is_not_written_again() -> None:
    rows, _notes = fencing.fence(environment("/e"), {}, VERSIONS, URL)
    written = {row["what"]: row["content"] for row in rows}
    there = {"path": "/e", "fence": {"bin/activate": None, **written}}
    assert fencing.fence(there, {}, VERSIONS, URL)[0] == []
    assert [row["what"] for row in fencing.fence(there, {}, {"torch": "2.10.0+cu130"}, URL)[0]] == [
        "podsmith-constraints.txt"
    ]
    assert {row["what"]: row["state"] for row in fencing.unfence(there)} == dict.fromkeys(written, "absent")


def test_no_fence_is_nothing_to_take_out() -> None:
    assert fencing.unfence(environment("/e", bin__activate="deactivate () {\n")) == []
