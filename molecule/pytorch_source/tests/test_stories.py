# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A build outlives Ansible, goes on after a kill with nothing done twice, says why it failed, and is removed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
SHARED = ROOT / "molecule" / "shared"
POD = "role-pytorch-source-1"
KEY = "0123456789abcdef"
WORK, TARGET = f"/opt/podsmith/builds/{KEY}", f"/opt/podsmith/wheels/{KEY}"
SECONDS = 900  # beyond it something waits for ever

# The sdist from the index, for two GPUs, so that it takes a little longer.
BUILD: dict[str, Any] = {
    "name": "podsmith-kernels",
    "version": "1.0",
    "origin": {"kind": "pypi"},
    "environment": {"TORCH_CUDA_ARCH_LIST": "9.0a;12.0"},
    "build_requires": ["ninja", "setuptools"],
    "python": {"path": "/usr/bin/python3"},
    "cuda_home": "/usr/local/cuda-13.0",
    "jobs": 1,
    "key": KEY,
}


def start(build: dict[str, Any], **variables: Any) -> subprocess.Popen[str]:
    """Start the role in a process group of its own."""
    extra = {"pytorch_source_builds": [build], "pytorch_source_share": False, **variables}
    playbook = [Path(sys.executable).with_name("ansible-playbook"), ROOT / "molecule/pytorch_source/story.yml"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    return subprocess.Popen(
        [*playbook, f"-i{SHARED / 'inventory'}", f"-l{POD}", "-e", json.dumps(extra)],
        cwd=ROOT,
        env=environment | {"ANSIBLE_FORCE_COLOR": "0", "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def play(build: dict[str, Any], **variables: Any) -> tuple[int, str]:
    """Run the role: its exit status and what it said, as one line."""
    process = start(build, **variables)
    out, _nothing = process.communicate(timeout=SECONDS)
    return process.returncode, " ".join(out.split())


def steps(host: Any) -> int:
    """How many steps the log tells of."""
    return int(host.run(f"grep -c '^ *\\[[0-9]*/' {WORK}/log").stdout or 0)


def await_steps(host: Any, count: int) -> None:
    """Return when so many steps are done."""
    end = time.monotonic() + SECONDS
    while steps(host) < count:
        assert time.monotonic() < end, host.run(f"cat {WORK}/log").stdout
        time.sleep(0.2)


def read_until(process: subprocess.Popen[str], pattern: str) -> str:
    """What a playbook says, up to the line with this."""
    said = ""
    for line in process.stdout or ():
        said += line
        if re.search(pattern, line):
            return said
    raise AssertionError(said)


def objects(host: Any) -> dict[str, str]:
    """What is compiled, and when its file was written."""
    lines = host.check_output(f"cd {WORK}/source/build/temp*; stat -c '%n %Y' *.o").splitlines()
    return {Path(name).stem: time for name, time in map(str.split, lines)}


def compiled(log: str) -> Counter[str]:
    """How often each source was compiled."""
    return Counter(re.findall(r"^ *\[\d+/\d+\] .* -c \S+/(\w+\.(?:cu|cpp)) ", log, re.MULTILINE))


def test_the_build_outlives_ansible_then_a_kill_and_does_nothing_twice(host: Any) -> None:
    first = start(BUILD)
    await_steps(host, 2)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    seen = steps(host)

    second = start(BUILD)  # finds it at work, and says how far it is
    begun = read_until(second, r"podsmith-kernels 1\.0: \d of 8 steps, \d+ s")
    await_steps(host, max(3, seen + 1))
    number = json.loads(host.file(f"{WORK}/run.json").content_string)["pid"]
    assert host.run(f"pkill -KILL --session {number}").rc == 0
    said = " ".join(second.communicate(timeout=SECONDS)[0].split())
    assert second.returncode != 0
    assert "the build of podsmith-kernels 1.0 is already running, waiting for it" in begun
    assert "failed: the build step was killed (check dmesg for the OOM killer). Last errors: " in said
    assert f"The full log is {WORK}/log on this host" in said
    assert "Rerun to resume: what is compiled stays." in said
    finished = {Path(name).stem for name in compiled(host.file(f"{WORK}/log").content_string)}
    before = {name: time for name, time in objects(host).items() if name in finished}
    assert len(before) >= 3

    code, said = play(BUILD, pytorch_source_keep_build=True)
    assert code == 0, said
    assert "the build of podsmith-kernels 1.0 resumed" in said
    log = host.file(f"{TARGET}/build.log").content_string
    assert log.count("pip download") == 1
    times = compiled(log)
    assert set(times) == {
        "module.cpp",
        *(f"{name}.cu" for name in ("axpy", "histogram", "reduce", "scale", "scan", "transpose")),
    }
    assert [name for name, count in times.items() if count > 1] == []
    assert before.items() <= objects(host).items()
    kept = json.loads(host.file(f"{TARGET}/build.json").content_string)
    assert (kept["attempts"], kept["version"]) == (2, "1.0")


def test_a_source_that_does_not_compile_says_why(host: Any) -> None:
    git = {"kind": "git", "url": "git://example.invalid/podsmith-kernels.git", "ref": "v1.1", "submodules": True}
    build = BUILD | {"version": "1.1", "key": "fedcba9876543210", "origin": git}
    code, said = play(build, pytorch_source_mirrors={"git://example.invalid/": "git://mirror/"})
    assert code != 0
    assert "Building podsmith-kernels 1.1 failed: the header not_there.hpp is missing" in said
    assert "fatal error: not_there.hpp: No such file or directory" in said
    assert "/opt/podsmith/builds/fedcba9876543210/log" in said
    assert "set the origin's submodules to true" in said
    assert not host.file("/opt/podsmith/wheels/fedcba9876543210").exists


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"origin": {"kind": "svn"}}, ["value of kind must be one of: archive, git, pypi"], id="kind"),
        pytest.param(
            {"key": None, "cuda_home": "/usr/local/cuda-9.9"}, ["/usr/local/cuda-9.9/bin/nvcc was not found"], id="nvcc"
        ),
        pytest.param(
            {"key": None, "environment": {"TORCH_CUDA_ARCH_LIST": "7.0"}, "disk_mib": 1024000000},
            ["does not support sm_70", "sm_120", "use a newer toolkit", "the build needs 1000000"],
            id="gpu-and-disk",
        ),
    ],
)
def test_what_cannot_be_built_is_refused_first(host: Any, changes: dict[str, Any], words: list[str]) -> None:
    before = host.file("/opt/podsmith/builds").listdir()
    code, said = play(BUILD | changes)
    assert code != 0
    assert [word for word in words if word not in said] == [], said
    assert host.file("/opt/podsmith/builds").listdir() == before


def test_absent_removes_what_was_built(host: Any) -> None:
    code, said = play(BUILD, pytorch_source_state="absent")
    assert code == 0, said
    assert "changed=1" in said
    assert not host.file(TARGET).exists
    assert not host.file(WORK).exists
    assert len(host.file("/opt/podsmith/wheels").listdir()) == 1  # the wheel of another key
