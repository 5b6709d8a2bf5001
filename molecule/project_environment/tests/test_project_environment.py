# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Projects of the real Poetry, uv, pip-tools and pip keep the PyTorch of their host, whatever is installed into them.

PyTorch itself is a stand-in. The converge has repaired what the managers had installed; here they try to swap it again.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[3]
INVENTORY = ROOT / "molecule" / "shared" / "inventory"
MANAGERS = "UV_DEFAULT_INDEX=http://mirror/pypi/ UV_PYTHON_DOWNLOADS=never POETRY_NO_INTERACTION=1"
PYTHONS = {name: f"/srv/{name}/.venv/bin/python" for name in ("assistant", "chatbot", "notebook", "service")}
TORCHES = {
    "assistant": "2.10.0+cu126",
    "chatbot": "2.11.0+cu126",
    "notebook": "2.10.0+cu126",
    "service": "2.11.0+cu126",
    "trainer": "2.9.1+cu126",
}
LIST = """
import json, sys, importlib.metadata as metadata
print(json.dumps({found.name.lower().replace("_", "-"): found.version for found in metadata.distributions()}))
"""


class Run(NamedTuple):
    """What a run of the playbook ended with, told, and changed."""

    rc: int
    out: str
    changed: int

    @property
    def told(self) -> str:
        """What was printed, as one line."""
        return " ".join(self.out.split())


def play(project: str, **variables: Any) -> Run:
    """Run the playbook for one project or, with a list of them, for all at once."""
    names = {"notebook": "role-project-environment"}
    hosts = ",".join(names.get(name, f"project-{name}") for name in project.split(","))
    argv = [Path(sys.executable).with_name("ansible-playbook"), "playbooks/project.yml", f"-i{INVENTORY}", f"-l{hosts}"]
    dropped = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "ANSIBLE_")  # molecule's settings are not a user's
    environment = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    done = subprocess.run(
        [*argv, "-e", json.dumps(variables)],
        cwd=ROOT,
        env=environment | {"ANSIBLE_FORCE_COLOR": "0", "COLUMNS": "160"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1500,
        check=False,
    )
    return Run(done.returncode, done.stdout, sum(map(int, re.findall(r"\bchanged=(\d+)", done.stdout))))


def packages(host: Any, project: str) -> dict[str, str]:
    """What a project's environment holds."""
    python = (
        PYTHONS.get(project) or host.run("ls -d /root/.cache/pypoetry/virtualenvs/trainer-*/bin/python").stdout.strip()
    )
    said = host.run(f"{python} -I -c '{LIST}'")
    assert said.rc == 0, said.stderr
    found: dict[str, str] = json.loads(said.stdout)
    return found


def call(host: Any, project: str, command: str) -> str:
    """Run a manager's command in a project."""
    done = host.run(f"cd /srv/{project} && export {MANAGERS} && {command}")
    assert done.rc == 0, done.stderr
    return f"{done.stdout}{done.stderr}"


def libraries(found: dict[str, str]) -> set[str]:
    """NVIDIA's libraries among packages."""
    return {f"{name} {version}" for name, version in found.items() if name.startswith("nvidia-")}


@pytest.mark.parametrize("project", sorted(TORCHES))
def test_repaired(host: Any, project: str) -> None:
    found = packages(host, project)
    assert found["torch"] == TORCHES[project]
    assert libraries(found) == {"nvidia-cuda-runtime-cu12 12.6.77"}


@pytest.mark.parametrize(
    ("project", "commands"),
    [
        pytest.param("assistant", ["uv sync", "uv lock --upgrade", "uv sync", "uv add --quiet ninja"], id="uv"),
        pytest.param("trainer", ["poetry install", "poetry update", "poetry add --quiet ninja"], id="poetry"),
        pytest.param(
            "service",
            [". .venv/bin/activate && pip-compile -q --strip-extras --upgrade && pip-sync -q"],
            id="pip-tools",
        ),
        pytest.param(
            "notebook",
            [
                ".venv/bin/pip install -q -r requirements.txt xformers",
                ".venv/bin/pip install -q --upgrade torch",
                ". .venv/bin/activate && uv pip install --quiet --upgrade torch torchvision --index http://mirror/whl/cu126",
            ],
            id="pip",
        ),
    ],
)
def test_no_manager_swaps_it(host: Any, project: str, commands: list[str]) -> None:
    for command in commands:
        call(host, project, command)
        assert packages(host, project)["torch"] == TORCHES[project], command


def test_without_the_fence_pip_would_have(host: Any) -> None:
    """The same commands swap it where nothing holds it: what the tests above see is the fence."""
    call(host, "notebook", "cp -a .venv /tmp/open && rm /tmp/open/pip.conf")
    done = host.run("/tmp/open/bin/python -m pip install -q --prefix /tmp/open --upgrade torch")
    assert done.rc == 0, done.stderr
    assert "+" not in host.run("/tmp/open/bin/python -c 'import torch; print(torch.__version__)'").stdout


def test_only_what_had_to_change_in_the_projects_files(host: Any) -> None:
    text = host.file("/srv/assistant/pyproject.toml").content_string
    assert text.startswith("# The assistant.\n[project]\n")
    assert '"torch>=2.9,<2.11",  # not the newest\n' in text
    assert "    'torchvision',\n" in text
    assert 'torch = {index = "pytorch-cu126"}\n' in text
    text = host.file("/srv/trainer/pyproject.toml").content_string
    assert 'torchvision = {version = "~0.24", source = "pytorch-cu126"}   # brings torch\n' in text
    copies = host.run("cat /opt/podsmith/projects/assistant-*/*/pyproject.toml").stdout
    assert "pytorch-cu126" not in copies
    assert "# The assistant." in copies


def test_activation_holds_and_lets_go(host: Any) -> None:
    told = 'echo "${PIP_CONSTRAINT-unset} ${UV_CONSTRAINT-unset}"'
    said = host.run(f"cd /srv/notebook; . .venv/bin/activate; {told}; deactivate; {told}").stdout.splitlines()
    path = "/srv/notebook/.venv/podsmith-constraints.txt"
    assert said == [f"{path} {path}", "unset unset"]


def test_a_swap_is_seen_and_repaired(host: Any) -> None:
    """The way of projects that keep PyTorch out of the lock file: whatever is synced takes it away."""
    call(host, "chatbot", "uv sync --quiet && uv pip install --quiet torch==2.11.0")
    seen = play("chatbot", project_environment_state="checked")
    assert (seen.rc, seen.changed) == (2, 0)
    told = "/srv/chatbot is swapped: torch 2.11.0 (CUDA 13.0) is installed; expected 2.11.0+cu126 (CUDA 12.6)."
    assert f"PyTorch of {told}" in seen.told
    assert "uv sync: no, no lock file names torch: uv sync removes it, and this playbook installs it again" in seen.told
    assert "versions driver 580.95.05 (CUDA 13.0) · toolkit none · torch 2.11.0 (CUDA 13.0)" in seen.told
    assert play("chatbot").rc == 0
    assert packages(host, "chatbot")["torch"] == TORCHES["chatbot"]


def test_the_next_cuda_and_back(host: Any) -> None:
    """One variable, and Poetry and uv hold the new one. On the way back the two CUDA majors of another become one."""
    files = "cat /srv/assistant/pyproject.toml /srv/trainer/pyproject.toml"
    before = host.run(files).stdout
    call(host, "notebook", "uv pip install --quiet nvidia-cuda-runtime==13.0.96")
    for projects, cuda, index in (
        ("assistant,trainer", "13.0", "cu130"),
        ("assistant,trainer,notebook", "12.6", "cu126"),
    ):
        run = play(projects, project_environment_cuda=cuda)
        assert run.rc == 0, run.out
        call(host, "assistant", "uv sync --quiet")
        call(host, "trainer", "poetry install --quiet")
        for project in ("assistant", "trainer"):
            found = packages(host, project)
            assert found["torch"] == TORCHES[project].replace("cu126", index)
            assert len(libraries(found)) == 1
    assert host.run(files).stdout == before
    assert "- nvidia-cuda-runtime 13.0.96 removed" in run.told
    assert libraries(packages(host, "notebook")) == {"nvidia-cuda-runtime-cu12 12.6.77"}


def test_check_mode_and_without_leave(host: Any) -> None:
    """An edit is shown as a diff, and made on request alone."""
    before = host.run("sha256sum /srv/*/pyproject.toml /srv/*/*.lock").stdout
    run = play(
        "assistant",
        project_environment_cuda="13.0",
        project_environment_edit=False,
        project_environment_state="checked",
    )
    assert '-torch = {index = "pytorch-cu126"}' in run.told
    assert '+torch = {index = "pytorch-cu130"}' in run.told
    assert "-e project_environment_edit=true makes this edit after a copy, and locks uv.lock again." in run.told
    assert host.run("sha256sum /srv/*/pyproject.toml /srv/*/*.lock").stdout == before


def test_left_alone(host: Any) -> None:
    before = host.run("ls -lR --full-time /srv/torn").stdout
    run = play("notebook", project_environment_path="/srv/torn")
    assert (run.rc, run.changed) == (2, 0)
    assert "/srv/torn has poetry.lock and uv.lock; expected one manager. Remove what is not used" in run.told
    assert "verdict left_alone: nothing was changed" in run.told
    assert host.run("ls -lR --full-time /srv/torn").stdout == before


def test_the_fence_goes_to_the_byte(host: Any) -> None:
    run = play("notebook,trainer", project_environment_state="absent")
    assert run.rc == 0, run.out
    assert "verdict unfenced" in run.told
    fresh = host.run("python3 -m venv --without-pip /srv/notebook/fresh && cat /srv/notebook/fresh/bin/activate").stdout
    text = host.file("/srv/notebook/.venv/bin/activate").content_string
    assert text == fresh.replace("/srv/notebook/fresh", "/srv/notebook/.venv").replace("(fresh)", "(.venv)").replace(
        "fresh", ".venv"
    )
    assert host.run("ls /srv/notebook/.venv/pip.conf /srv/notebook/.venv/podsmith-constraints.txt").stdout == ""
    assert "pytorch-cu126" not in host.file("/srv/trainer/pyproject.toml").content_string
