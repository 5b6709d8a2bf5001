"""Taken back: the packages, what came along with them, and then the repository."""

from __future__ import annotations

from pathlib import Path

from life import Pod

CONVERGE = "molecule/cuda_toolkit/converge.yml"
INSTALLED = "dpkg-query --show --showformat '${db:Status-Abbrev} ${Package}\\n' '*cuda*' | sed -n 's/^ii *//p'"
SOURCE = "ls /etc/apt/sources.list.d /etc/apt/keyrings"


def test_absent_leaves_nothing_of_it(tmp_path: Path) -> None:
    pod = Pod("role-cuda-toolkit", tmp_path)
    assert {"cuda-nvcc-13-0", "cuda-crt-13-0", "cuda-nvcc-12-8"} <= set(pod.sh(INSTALLED).split())
    run = pod.play(CONVERGE, cuda_toolkit_state="absent")
    assert run.rc == 0, run.out
    assert [name for name in pod.sh(INSTALLED).split() if name.startswith("cuda-")] == []
    assert "podsmith-cuda" not in pod.sh(SOURCE)
    again = pod.play(CONVERGE, cuda_toolkit_state="absent")
    assert (again.rc, again.changed) == (0, 0), again.out
