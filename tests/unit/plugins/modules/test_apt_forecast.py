# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module with an apt that is a few lines of shell and notes what it is asked."""

from __future__ import annotations

import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

import pytest

APT = """\
#!/bin/sh
echo "apt-get $*" >>{folder}/asked
case $1 in
  update) [ -e {folder}/dead ] && echo 'E: The repository does not answer.' >&2 && exit 100
     touch {folder}/read {folder}/lists ;;
  *) if [ -e {folder}/needs-read ] && [ ! -e {folder}/read ]; then
       echo 'E: Unable to locate package cuda-nvcc-13-0' >&2; exit 100; fi
     [ -e {folder}/held ] && echo 'E: Unable to correct problems, you have held broken packages.' >&2 && exit 100
     cat {folder}/simulated ;;
esac
"""
CACHE = '#!/bin/sh\necho "apt-cache $*" >>{folder}/asked\ncat {folder}/shown\n'
FINE = "Inst cuda-nvcc-13-0 (13.0.88-1 mirror [amd64])\n"
SIMULATE = "apt-get install --simulate --no-install-recommends cuda-nvcc-13-0"


class Host:
    """A folder with apt's programs; its lists are of this moment."""

    def __init__(self, folder: pathlib.Path, run_module: Callable[..., Any]) -> None:
        self.folder, self.run_module = folder, run_module
        (folder / "lists").mkdir()
        for name, text in (("apt-get", APT), ("apt-cache", CACHE)):
            (folder / name).write_text(text.format(folder=folder))
            (folder / name).chmod(0o755)
        self.says(FINE)

    def says(self, simulated: str, shown: str = "") -> None:
        """What apt answers."""
        (self.folder / "simulated").write_text(simulated)
        (self.folder / "shown").write_text(shown)

    def run(self, *, check: bool = False, fails: bool = False, **params: Any) -> dict[str, Any]:
        given = {"packages": ["cuda-nvcc-13-0"], "lists": str(self.folder / "lists"), "hint": "do this", **params}
        environ = {**os.environ, "PATH": f"{self.folder}:{os.environ['PATH']}"}
        ran = self.run_module("apt_forecast", given, check=check, environ=environ)
        assert ran.failed == fails, ran
        return dict(ran.data)

    @property
    def asked(self) -> list[str]:
        return (self.folder / "asked").read_text().splitlines()


@pytest.fixture
def host(tmp_path: pathlib.Path, run_module: Callable[..., Any]) -> Host:
    return Host(tmp_path, run_module)


def test_what_would_come_is_told(host: Host) -> None:
    answer = host.run()
    assert answer["packages"] == [{"name": "cuda-nvcc-13-0", "version": "13.0.88-1", "old": None}]
    assert (answer["changed"], answer["drivers"]) == (False, [])
    assert host.asked == [SIMULATE]


def test_a_driver_is_refused_with_what_pulls_it_in(host: Host) -> None:
    host.says(
        f"{FINE}Inst sly-tools (1.0 mirror [amd64])\nInst libcuda1 (570.133.20-1 mirror [amd64])\n"
        "Inst nvidia-kernel-dkms (570.133.20-1 mirror [amd64])\n",
        "Package: cuda-nvcc-13-0\nDepends: sly-tools\n\nPackage: sly-tools\nDepends: libcuda1\n\n"
        "Package: libcuda1\nDepends: nvidia-kernel-dkms\n",
    )
    answer = host.run(fails=True)
    assert answer["msg"] == (
        "apt would install libcuda1 570.133.20-1, which cuda-nvcc-13-0 → sly-tools pulls in, and 1 more of its"
        " packages: a part of NVIDIA's driver for Linux, which belongs to the machine itself;"
        " a container or WSL2 must not have one of its own. Nothing was installed; do this."
    )
    assert [driver["way"] for driver in answer["drivers"]] == [
        ["cuda-nvcc-13-0", "sly-tools", "libcuda1"],
        ["cuda-nvcc-13-0", "sly-tools", "libcuda1", "nvidia-kernel-dkms"],
    ]


def test_one_package_that_a_driver_comes_along_with(host: Host) -> None:
    host.says(f"{FINE}Inst libcuda1 (570.133.20-1 mirror [amd64])\n", "Package: cuda-nvcc-13-0\nDepends: libcuda1\n")
    assert "libcuda1 570.133.20-1, which cuda-nvcc-13-0 pulls in: a part of" in host.run(fails=True)["msg"]


def test_a_driver_that_is_there_is_not_changed_on_the_way(host: Host) -> None:
    host.says(f"{FINE}Inst libnvidia-compute-580 [580.65.06-1] (580.95.05-1 mirror [amd64])\n")
    msg = host.run(fails=True)["msg"]
    assert msg.startswith("apt would change libnvidia-compute-580 580.65.06-1 to 580.95.05-1: a part of")


@pytest.mark.parametrize(
    ("age", "params", "check", "read"),
    [
        pytest.param(0, {}, False, False, id="fresh-lists"),
        pytest.param(7200, {}, False, True, id="old-lists"),
        pytest.param(7200, {}, True, False, id="check-mode-reads-nothing"),
        pytest.param(0, {"refresh": True}, False, True, id="a-repository-was-added"),
        pytest.param(7200, {"valid_seconds": 9000}, False, False, id="old-but-valid"),
    ],
)
def test_lists_are_read_where_they_must_be(
    host: Host, age: int, params: dict[str, Any], check: bool, read: bool
) -> None:
    os.utime(host.folder / "lists", (time.time() - age, time.time() - age))
    host.run(check=check, **params)
    assert host.asked == ["apt-get update --quiet=2"] * read + [SIMULATE]


def test_lists_are_read_for_a_package_that_apt_does_not_know(host: Host) -> None:
    (host.folder / "needs-read").touch()
    assert host.run()["packages"][0]["name"] == "cuda-nvcc-13-0"
    assert host.asked == [SIMULATE, "apt-get update --quiet=2", SIMULATE]


@pytest.mark.parametrize(
    ("state", "params", "msg"),
    [
        ("dead", {"refresh": True}, "apt could not read its repositories: The repository does not answer; see that"),
        ("dead", {"refresh": True, "source_hint": "set a mirror"}, "does not answer; set a mirror."),
        ("held", {}, "apt could not plan cuda-nvcc-13-0: Unable to correct problems, you have held broken packages."),
        ("needs-read", {"_ansible_check_mode": True}, "apt could not plan cuda-nvcc-13-0: Unable to locate package"),
    ],
)
def test_what_apt_refuses_is_told_on_one_line(host: Host, state: str, params: dict[str, Any], msg: str) -> None:
    (host.folder / state).touch()
    check = bool(params.pop("_ansible_check_mode", False))
    answer = host.run(fails=True, check=check, **params)
    assert msg in answer["msg"]
    assert "drivers" not in answer  # which would say that trying again is of no use
