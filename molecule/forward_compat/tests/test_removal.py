"""Taken back: the package, the record of it, and the repository that it came from."""

from __future__ import annotations

import json
from pathlib import Path

from life import Pod

CONVERGE = "molecule/forward_compat/converge.yml"


def test_absent_removes_the_package_and_the_repository(tmp_path: Path) -> None:
    pod = Pod("role-forward-compat", tmp_path)
    assert "podsmith-cuda" in pod.sh("ls /etc/apt/sources.list.d")
    run = pod.play(CONVERGE, forward_compat_state="absent")
    assert run.rc == 0, run.out
    assert pod.ssh("dpkg-query --status cuda-compat-13-0").returncode != 0
    assert "podsmith-cuda" not in pod.sh("ls /etc/apt/sources.list.d /etc/apt/keyrings")
    assert json.loads(pod.sh("cat /opt/podsmith/state/compat.json")) == {"installed": [], "refused": {}}
    again = pod.play(CONVERGE, forward_compat_state="absent")
    assert (again.rc, again.changed) == (0, 0), again.out
