"""A container and WSL2: the wish and the role are refused before anything is touched, with what to do instead."""

from __future__ import annotations

import json
from pathlib import Path

from life import Pod, touched

BOTH = "-ldriver-container,driver-wsl2"
WORDS = {
    "driver-container": "this is a container, which uses its host's driver and cannot upgrade it. "
    "A container's driver is changed on the host itself",
    "driver-wsl2": "this is WSL2, where the driver is the one of Windows and a Linux driver breaks CUDA. "
    "Update the NVIDIA",
}


def test_the_wish_is_refused(pod: Pod, tmp_path: Path) -> None:
    machines = [Pod(name, pod.plans) for name in WORDS]
    before = [machine.snapshot() for machine in machines]
    run = pod.play("bootstrap.yml", BOTH)
    assert run.rc != 0
    for machine, then in zip(machines, before, strict=True):
        decision = json.loads((pod.plans / f"{machine.name}.json").read_text(encoding="utf-8"))
        assert (decision["verdict"], decision["changes"]) == ("blocked", [])
        assert f"blocked: {WORDS[machine.name]}" in run.told
        assert touched(then, machine.snapshot()) == set()


def test_the_role_refuses_by_itself(pod: Pod) -> None:
    run = pod.play("molecule/nvidia_driver/role.yml", BOTH, nvidia_driver_repository="")
    assert run.rc != 0
    assert "This is a container, which uses its host's driver and cannot upgrade it" in run.told
    assert "This is WSL2, where the driver is the one of Windows" in run.told
    assert "Nothing was changed." in run.told
