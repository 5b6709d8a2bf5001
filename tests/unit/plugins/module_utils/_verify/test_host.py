"""What files tell of a host where an error is explained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root
from ansible_collections.podsmith.gpu.plugins.module_utils._verify.host import fit_remedies, judge_files, read_context

LINUX = "Linux version 6.8.0-60-generic (buildd@lcy02) #1 SMP\n"
WINDOWS = "Linux version 6.6.87.2-microsoft-standard-WSL2 (root@x) #1 SMP\n"
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (dvs-builder@x)\n"
CLOSED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.163.01  Tue Apr  8 12:41:17 UTC 2025\n"
ALL = ("nvidiactl", "nvidia-uvm", "nvidia0")


def host(folder: Path, kernel: str, driver: str, devices: tuple[str, ...]) -> Root:
    for name, text in (("proc/version", kernel), ("proc/driver/nvidia/version", driver)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "dev").mkdir()
    for name in devices:
        (folder / "dev" / name).touch()
    return Root(str(folder))


@pytest.mark.parametrize(
    ("kernel", "driver", "devices", "environ", "expected"),
    [
        pytest.param(
            LINUX,
            OPEN,
            ALL,
            {},
            {
                "kind": "bare_metal",
                "flavor": "open",
                "driver": "580.95.05",
                "visible_devices": None,
                "device_files": "present",
            },
            id="open",
        ),
        pytest.param(
            LINUX,
            CLOSED,
            (),
            {"CUDA_VISIBLE_DEVICES": "0,0"},
            {
                "kind": "bare_metal",
                "flavor": "proprietary",
                "driver": "550.163.01",
                "visible_devices": "0,0",
                "device_files": "missing",
            },
            id="proprietary",
        ),
        pytest.param(
            WINDOWS,
            "",
            (),
            {"CUDA_VISIBLE_DEVICES": ""},
            {"kind": "wsl2", "flavor": "windows", "driver": None, "visible_devices": "", "device_files": None},
            id="wsl",
        ),
    ],
)
def test_read_context(
    kernel: str,
    driver: str,
    devices: tuple[str, ...],
    environ: dict[str, str],
    expected: dict[str, Any],
    tmp_path: Path,
) -> None:
    assert read_context(host(tmp_path, kernel, driver, devices), environ) == expected


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        (ALL, "present"),
        (("nvidiactl", "nvidia-uvm", "nvidia3", "nvidia-uvm-tools"), "present"),
        (("nvidiactl", "nvidia-uvm"), "missing"),
        (("nvidiactl", "nvidia0"), "missing"),
        (("nvidia-uvm", "nvidia0"), "missing"),
        ((), "missing"),
    ],
)
def test_judge_files(devices: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    assert judge_files(host(tmp_path, LINUX, OPEN, devices)) == expected


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        ("bare_metal", "Reboot the machine."),
        ("vm", "Reboot the machine."),
        ("container", "Return this pod."),
        (None, "Return this pod."),
    ],
)
def test_remedies_fit_the_kind_of_machine(kind: str | None, remedy: str) -> None:
    rules = {
        "xids": {"79": {"remedy": "Return this pod.", "remedy_own": "Reboot the machine."}, "31": {"remedy": "Look."}}
    }
    assert fit_remedies(rules, kind)["xids"]["79"]["remedy"] == remedy
    assert fit_remedies(rules, kind)["xids"]["31"]["remedy"] == "Look."


def test_a_container_says_what_runs_it(tmp_path: Path) -> None:
    (tmp_path / "run/systemd").mkdir(parents=True)
    (tmp_path / "run/systemd/container").write_text("lxc\n", encoding="utf-8")
    context = read_context(Root(str(tmp_path)), {})
    assert (context["kind"], context["engine"]) == ("container", "lxc")
