# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pod that loses its root disk keeps what lies on its volume: the environment there is used again, not built anew."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import testinfra
from fleet import INVENTORY, ROOT, Run, look, play

POD, PREFIX = "volume-570", "/workspace/podsmith"
BUILT = ("current/pyvenv.cfg", "current/lib/python3*/site-packages/torch/cuda.py", "toolkits/13.0/nvidia/cu13/bin/nvcc")
LIST = f"cd {PREFIX} && stat --format '%n %i %y' {' '.join(BUILT)}"  # what tells whether they were written again


@pytest.fixture(scope="module")
def pod() -> Any:
    """The pod for testinfra."""
    return testinfra.get_host(f"ansible://{POD}", ansible_inventory=str(INVENTORY))


@pytest.fixture(scope="module")
def built(second: Run, pod: Any) -> str:
    """What lies on the volume before the disk is lost."""
    assert second.recap, second.out
    return str(pod.check_output(LIST))


@pytest.fixture(scope="module")
def run(built: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The bootstrap on the pod whose root disk was lost."""
    subprocess.run([sys.executable, ROOT / "molecule/shared/pods.py", "wipe", POD], check=True, timeout=600)
    return play("bootstrap.yml", POD, tmp_path_factory.mktemp("wiped"))


def test_what_lay_on_the_root_disk_comes_back_and_nothing_else(run: Run) -> None:
    assert run.rc == 0, run.out
    assert [(change["role"], change["action"], change["what"]) for change in run.plans[POD]["applied"]] == [
        ("forward_compat", "install", "cuda-compat-13-0"),
        ("gpu_verify", "prove", "the stack"),
        *(
            ("gpu_environment", "repair", path)
            for path in ("/etc/profile.d/podsmith.sh", "/etc/bash.bashrc", "/etc/environment", "/root/.bashrc")
        ),
    ]


def test_the_environment_on_the_volume_is_used_again(run: Run, built: str, pod: Any) -> None:
    assert run.rc == 0, run.out
    assert pod.check_output(LIST) == built


def test_cuda_works_again(run: Run, pod: Any) -> None:
    assert run.rc == 0, run.out
    found = {way: (met["said"], met["libcuda"]) for way, met in look(pod, PREFIX)["ways"].items()}
    assert found == dict.fromkeys(("login shell", "ssh command", "no shell"), ("1 GPU", ["580.95.05"]))


def test_another_run_changes_nothing(run: Run, tmp_path: Path) -> None:
    assert run.rc == 0, run.out
    again = play("bootstrap.yml", POD, tmp_path, "-vvv")
    assert (again.rc, again.recap[POD]["changed"], again.calls[POD]) == (0, 0, 1)
