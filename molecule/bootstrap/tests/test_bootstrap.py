"""What a person can do after the bootstrap, in a plain shell and without one."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

PREFIX = pathlib.Path(__file__).resolve().parents[3] / ".cache" / "molecule" / "bootstrap" / "podsmith"


def test_the_environment_needs_no_shell(host: Any) -> None:
    done = host.run(f"env -i {PREFIX}/current/bin/python -c 'import torch; print(torch.ones(2, 2).sum().item())'")
    assert (done.rc, done.stdout) == (0, "4.0\n"), done.stderr


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        pytest.param("nvcc --version", "release 13.0", id="nvcc"),
        pytest.param("cat $CUTLASS_HOME/include/cutlass/version.h", "#define CUTLASS_MAJOR 4", id="cutlass"),
        pytest.param("command -v python", str(PREFIX), id="python"),
    ],
)
def test_the_activation_offers(host: Any, command: str, answer: str) -> None:
    done = host.run(f"env -i PATH=/usr/bin:/bin sh -c '. {PREFIX}/activate.sh && {command}'")
    assert done.rc == 0, done.stderr
    assert answer in done.stdout


def test_the_verdict_is_kept(host: Any) -> None:
    verdict = json.loads(host.file(f"{PREFIX}/state/verdict.json").content_string)
    assert verdict["ok"]
    assert [check["check"] for check in verdict["checks"] if not check["ok"]] == []


def test_nothing_was_written_outside_the_prefix(host: Any) -> None:
    assert host.file(str(PREFIX.parent)).listdir() == ["podsmith"]
    assert not host.file("/etc/profile.d/podsmith.sh").exists
