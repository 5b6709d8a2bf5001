# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A project's environment, changed by the real uv from a folder of wheels."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from typing import Any

import pytest


def find_uv() -> str:
    """The real one: beside this Python, or on PATH, where an older engine's environment has none."""
    found = shutil.which("uv", path=os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]]))
    assert found, "found no uv, expected the one of requirements.txt; run scripts/prepare.sh dev"
    return found


def wheel(folder: pathlib.Path, name: str, version: str, files: dict[str, str]) -> None:
    """A wheel with these files."""
    stem = f"{name.replace('-', '_')}-{version}"
    contents = {
        **files,
        f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,{len(text)}\n" for path, text in contents.items())
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as archive:
        for path, text in {**contents, f"{stem}.dist-info/RECORD": record}.items():
            archive.writestr(path, text)


class Project:
    """A project's environment: NCCL of two CUDA majors, whose files have the same names."""

    def __init__(self, root: pathlib.Path, run_module: Callable[..., Any]) -> None:
        self.run_module = run_module
        self.root, self.wheels, self.environment = root, root / "wheels", root / "app" / ".venv"
        wheel(self.wheels, "torch", "1.0+cu12", {"torch/__init__.py": "12"})
        wheel(self.wheels, "torch", "1.0+cu13", {"torch/__init__.py": "13"})
        wheel(self.wheels, "nvidia-nccl-cu12", "2.0", {"nvidia/nccl/lib/libnccl.so.2": "of 12"})
        wheel(self.wheels, "nvidia-nccl-cu13", "2.1", {"nvidia/nccl/lib/libnccl.so.2": "of 13"})
        environ = {**os.environ, "UV_CACHE_DIR": str(root / "cache"), "UV_FIND_LINKS": str(self.wheels)}
        packages = ["torch==1.0+cu12", "nvidia-nccl-cu12", "nvidia-nccl-cu13"]
        into = ["--no-index", "--python", str(self.environment / "bin/python")]
        for words in (
            ["venv", "--quiet", "--python", sys.executable, str(self.environment)],
            ["pip", "install", "--quiet", *into, *packages],
        ):
            subprocess.run([find_uv(), *words], check=True, env=environ, timeout=300)
        self.site = next((self.environment / "lib").glob("python3*/site-packages"))

    def change(self, *, check: bool = False, fails: bool = False, **params: Any) -> dict[str, Any]:
        """Run the module."""
        given = {
            "environment": str(self.environment),
            "prefix": str(self.root / "prefix"),
            "uv_version": "0.5.0",
            "uv_path": find_uv(),
            "find_links": [str(self.wheels)],
        }
        environ = {"PATH": "/usr/bin:/bin", "HOME": str(self.root), "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1"}
        ran = self.run_module("project_packages", {**given, **params}, check=check, environ=environ)
        answer = dict(ran.data)
        assert bool(answer.get("failed")) == fails, answer
        return answer


@pytest.fixture
def project(tmp_path: pathlib.Path, run_module: Callable[..., Any]) -> Project:
    return Project(tmp_path, run_module)


def test_two_cuda_majors_become_one(project: Project) -> None:
    """The library that stays shares its file with the one that goes, which takes it along."""
    answer = project.change(requirements=["torch==1.0+cu13"], remove=["nvidia-nccl-cu12"])
    assert answer["changed"]
    assert answer["repaired"] == ["nvidia-nccl-cu13"]
    assert {row["name"]: row["version"] for row in answer["installed"]} == {"torch": "1.0+cu13"}
    assert {row["name"] for row in answer["removed"]} == {"torch", "nvidia-nccl-cu12"}
    assert (project.site / "nvidia/nccl/lib/libnccl.so.2").read_text() == "of 13"
    assert (project.site / "torch/__init__.py").read_text() == "13"
    assert not project.change(requirements=["torch==1.0+cu13"], remove=["NVIDIA_nccl_cu12"])["changed"]


def test_what_nobody_named_is_left_alone(project: Project) -> None:
    """A file that its owner changed, and one that is gone; no note of ours comes into the environment."""
    (project.site / "torch/__init__.py").write_text("edited by its owner")
    (project.site / "nvidia/nccl/lib/libnccl.so.2").unlink()
    assert not project.change(requirements=["torch==1.0+cu12"])["changed"]
    assert (project.site / "torch/__init__.py").read_text() == "edited by its owner"
    answer = project.change(requirements=["torch==1.0+cu12"], reinstall=["nvidia-nccl-cu13"])
    assert answer["repaired"] == ["nvidia-nccl-cu13"]
    assert (project.site / "nvidia/nccl/lib/libnccl.so.2").read_text() == "of 13"
    assert not (project.environment / ".podsmith-packages.json").exists()


def test_check_mode_says_what_would_change(project: Project) -> None:
    answer = project.change(check=True, requirements=["torch==1.0+cu13"], remove=["nvidia-nccl-cu12"])
    assert answer["changed"]
    assert {row["name"] for row in answer["removed"]} == {"torch", "nvidia-nccl-cu12"}
    assert (project.site / "torch/__init__.py").read_text() == "12"
    again = project.change(check=True, reinstall=["torch"])
    assert (again["changed"], again["repaired"]) == (True, ["torch"])


def test_what_no_source_has_is_an_error_that_leaves_the_environment(project: Project) -> None:
    answer = project.change(fails=True, requirements=["torch==9.9"], hint="set a mirror")
    assert answer["msg"].startswith(f"Installing the packages for {project.environment} failed: torch==9.9 is offered")
    assert answer["msg"].endswith("; set a mirror.")
    assert (project.site / "torch/__init__.py").read_text() == "12"


@pytest.mark.parametrize("lost", ["all", "pyvenv.cfg", "bin/python"])
def test_an_environment_is_never_created(project: Project, lost: str) -> None:
    if lost == "all":
        shutil.rmtree(project.environment)
    else:
        (project.environment / lost).unlink()
    before = sorted(project.environment.rglob("*"))
    answer = project.change(fails=True, requirements=["torch==1.0+cu13"])
    assert answer["msg"] == (
        f'environment is "{project.environment}", which is not a virtual environment with a Python; expected the one of'
        " a project. Create it with the project's own package manager and run again."
    )
    assert sorted(project.environment.rglob("*")) == before
