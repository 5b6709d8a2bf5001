# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module, run as Ansible runs it, with real detached builds, whose pip is a stand-in that ends when told to."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pathlib
import signal
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._build import program, session

KEY = "0123456789abcdef"
LIMIT = 120  # seconds: only a hang takes as long
# Stands for the build environment's python: `-m pip wheel` says two steps, waits for the file "go", and writes a wheel.
PYTHON = """#!{python}
import os, pathlib, sys, time
work = pathlib.Path({work!r})
if sys.argv[1:4] != ["-m", "pip", "wheel"]:
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
assert (work / "source/setup.py").exists() and os.environ["FLAG"] == "1", os.environ
done = work / "step"
print("  [1/3] nvcc -c a.cu\\n  [2/3] nvcc -c b.cu" if not done.exists() else "  [1/1] link", flush=True)
done.touch()
while not (work / "go").exists():
    time.sleep(0.02)
what = (work / "go").read_text()
if what.startswith("fail"):
    sys.exit("c++: " + what)
(work / "out").mkdir(exist_ok=True)
(work / "out" / what).write_text("a wheel")
"""


class Host:
    """A scratch store, and a source archive."""

    def __init__(self, root: pathlib.Path, run: Callable[..., Any], run_in_a_process: Callable[..., Any]) -> None:
        self.run_module, self.run_module_in_a_process = run, run_in_a_process
        self.root, self.store, self.work = root, root / "p/wheels", root / "p/builds" / KEY
        self.target = self.store / KEY
        archive = root / "thing-1.0.tar.gz"
        with tarfile.open(archive, "w:gz") as packed:
            packed.addfile(tarfile.TarInfo("thing-1.0/setup.py"), io.BytesIO())
        sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
        self.build: dict[str, Any] = {
            "name": "thing",
            "version": "1.0",
            "origin": {"kind": "archive", "url": str(archive), "sha256": sha256},
            "environment": {"FLAG": "1"},
            "python": {"path": sys.executable},
            "key": KEY,
        }
        python = self.work / "environment/bin/python"
        python.parent.mkdir(parents=True)
        python.write_text(PYTHON.format(python=sys.executable, work=str(self.work)))
        python.chmod(0o755)

    def run(self, step: str, *, fails: bool = False, check: bool = False, **more: Any) -> dict[str, Any]:
        """One call of the module."""
        given = {"build": self.build, "store": str(self.store), "step": step, **more}
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.root)}
        # A build that is started is to outlive the module's process.
        run = self.run_module_in_a_process if step == "start" else self.run_module
        ran = run("source_wheel", given, check=check, environ=environ)
        assert ran.failed is fails, ran
        return dict(ran.data)

    def follow(self, wait: float = LIMIT, **more: Any) -> dict[str, Any]:
        """What the build is at, after it ended or so many seconds."""
        return self.run("follow", follow={"wait": wait, **more})

    def await_step(self, text: str) -> None:
        """Return when the log says this."""
        end = time.monotonic() + LIMIT
        while text not in (self.work / "log").read_text():
            assert time.monotonic() < end, (self.work / "log").read_text()
            time.sleep(0.02)

    def go(self, text: str = "thing-1.0-py3-none-any.whl") -> None:
        """Let the build end: with this wheel, or so."""
        new = self.work / "go.new"
        new.write_text(text)
        new.replace(self.work / "go")

    def pid(self) -> int:
        """The build's process."""
        return int(json.loads((self.work / "run.json").read_text())["pid"])


@pytest.fixture
def host(
    tmp_path: pathlib.Path, run_module: Callable[..., Any], run_module_in_a_process: Callable[..., Any]
) -> Iterator[Host]:
    """A host, on which no build is left."""
    made = Host(tmp_path, run_module, run_module_in_a_process)
    yield made
    if (made.work / "run.json").exists():
        session.end_session(json.loads((made.work / "run.json").read_text()))


def test_a_build_is_detached_followed_and_kept(host: Host) -> None:
    seen = host.run("look")
    assert (seen["wheel"], seen["running"], seen["key"], seen["problems"]) == (None, False, KEY, [])
    begun = host.run("start")
    assert (begun["attached"], begun["attempt"]) == (False, 1)
    host.await_step("[2/3]")
    assert os.getsid(host.pid()) == host.pid()
    assert host.run("start")["attached"] is True
    now = host.follow(wait=0)
    assert (now["running"], now["progress"][:2], now["step"]) == (True, [2, 3], "build")
    assert host.run("look")["running"] is True
    host.go()
    done = host.follow(offset=now["offset"], progress=now["progress"])
    wheel = host.target / "thing-1.0-py3-none-any.whl"
    assert (done["running"], done["problem"], done["wheel"]) == (False, None, str(wheel))
    assert done["requirement"] == f"thing @ file://{wheel}"
    assert done["sha256"] == hashlib.sha256(b"a wheel").hexdigest()
    kept = json.loads((host.target / "build.json").read_text())
    assert (kept["schema"], kept["version"], kept["steps"], kept["attempts"], kept["key"]) == (1, "1.0", 3, 1, KEY)
    assert "[2/3]" in (host.target / "build.log").read_text()
    assert not host.work.exists()
    again = host.run("look")
    assert (again["wheel"], again["steps"], again["changed"]) == (str(wheel), 3, False)


def test_a_killed_build_says_so_and_goes_on_without_fetching_again(host: Host) -> None:
    host.run("start")
    host.await_step("[2/3]")
    left = [number for number in session.session_members(host.pid()) if number != host.pid()]
    assert left
    os.kill(host.pid(), signal.SIGKILL)  # the head alone: the compilers live on
    ended = host.follow()
    assert ended["running"] is False
    assert "Building thing 1.0 failed: the build step was killed" in ended["problem"]
    (host.root / "thing-1.0.tar.gz").unlink()
    assert host.run("start")["attempt"] == 2
    assert [number for number in left if session.stat_fields(number)] == []
    host.await_step("[1/1]")
    now = host.follow(wait=0)
    assert now["progress"][:2] == [3, 3]
    host.go()
    assert host.follow()["problem"] is None
    assert json.loads((host.target / "build.json").read_text())["attempts"] == 2


def test_a_failed_build_says_why_and_can_be_started_again(host: Host) -> None:
    host.run("start")
    host.go("fail error: Killed signal terminated program cc1plus")
    problem = host.follow()["problem"]
    assert "out of memory with so many parallel compilers" in problem
    assert "Lower MAX_JOBS" in problem
    assert f"{host.work}/log" in problem
    host.go()
    host.run("start")
    assert host.follow()["problem"] is None


def test_another_wheel_than_the_wished_is_not_kept(host: Host) -> None:
    host.run("start")
    host.go("thing-1.1-py3-none-any.whl")
    assert "the build produced thing-1.1-py3-none-any.whl; expected thing 1.0" in host.follow()["problem"]
    assert not host.target.exists()


def test_a_source_with_another_checksum_is_not_built(host: Host) -> None:
    host.build["origin"]["sha256"] = "0" * 64
    host.run("start")
    problem = host.follow()["problem"]
    assert "the SHA-256 of thing-1.0.tar.gz is" in problem
    assert f"expected {'0' * 64}" in problem
    assert not (host.work / "source").exists()


def test_a_wheel_that_was_sent_is_kept_if_it_is_the_one(host: Host) -> None:
    sent = host.root / "sent.whl"
    sent.write_text("a wheel")
    record = {"wheel": "thing-1.0-py3-none-any.whl", "sha256": "0" * 64, "size": 7, "steps": 3, "seconds": 1.0}
    failed = host.run("keep", fails=True, source={"path": str(sent), "record": record})
    assert "the SHA-256 of the received file is" in failed["msg"]
    assert not host.target.exists()
    record["sha256"] = hashlib.sha256(b"a wheel").hexdigest()
    kept = host.run("keep", source={"path": str(sent), "record": record})
    assert kept["wheel"] == str(host.target / record["wheel"])
    assert (host.target / "thing-1.0-py3-none-any.whl").read_text() == "a wheel"


def test_a_wheel_cut_short_does_not_count(host: Host) -> None:
    test_a_wheel_that_was_sent_is_kept_if_it_is_the_one(host)
    (host.target / "thing-1.0-py3-none-any.whl").write_text("a whe")
    assert host.run("look")["wheel"] is None


def test_absent_ends_the_build_and_removes_it(host: Host) -> None:
    host.run("start")
    host.await_step("[2/3]")
    pid = host.pid()
    assert host.run("absent", check=True)["changed"] is True
    assert session.started(pid)
    assert host.run("absent")["changed"] is True
    assert session.started(pid) is None
    assert list((host.root / "p").iterdir()) == []
    assert host.run("absent")["changed"] is False


def test_a_number_that_another_process_has_now_is_no_build(host: Host) -> None:
    run = {"pid": os.getpid(), "start": 1, "boot": session.boot(), "attempt": 1}
    (host.work / "run.json").write_text(json.dumps(run))
    assert host.run("look")["running"] is False
    session.end_session(run)  # and is left alone: this process lives


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"python": {"path": "/no/python"}}, ["/no/python cannot be run"]),
        ({"environment": {"CXX": "/no/g++"}}, ["no C++ compiler (/no/g++)", "pytorch_source_system_packages"]),
        ({"cuda_home": "/no/cuda"}, ["/no/cuda/bin/nvcc was not found", "cuda_home"]),
        ({"disk_mib": 1000000000000}, ["GiB free, the build needs", "pytorch_source_work_dir"]),
    ],
)
def test_what_is_in_the_way(host: Host, changes: dict[str, Any], words: list[str]) -> None:
    host.build.update(changes)
    said = " ".join(host.run("look")["problems"])
    assert [word for word in words if word not in said] == []


def test_a_gpu_that_nvcc_does_not_know_is_in_the_way(host: Host) -> None:
    nvcc = host.root / "cuda/bin/nvcc"
    nvcc.parent.mkdir(parents=True)
    nvcc.write_text("#!/bin/sh\necho sm_80\necho sm_90\n")
    nvcc.chmod(0o755)
    host.build.update(cuda_home=str(host.root / "cuda"), environment={"TORCH_CUDA_ARCH_LIST": "9.0;12.0"})
    [problem] = host.run("look")["problems"]
    assert "does not support sm_120, only sm_80, sm_90; use a newer toolkit" in problem


def test_the_key_is_the_host_s_own_where_none_is_given(host: Host) -> None:
    del host.build["key"]
    key = host.run("look")["key"]
    assert len(key) == 16
    host.build["jobs"] = 3
    assert host.run("look")["key"] == key
    host.build["torch"] = "2.9.1"
    assert host.run("look")["key"] != key


def test_a_wrong_entry_fails(host: Host) -> None:
    host.build["version"] = "newest"
    assert 'version is "newest"; expected an exact version' in host.run("look", fails=True)["msg"]


@pytest.mark.parametrize(
    ("wanted", "found", "is_same"),
    [
        ("1.0", "1.0", True),
        ("1.0", "1", True),
        ("1.0", "1.0+cu130", True),
        ("1.0+cu130", "1.0", False),
        ("1.0", "1.0.1", False),
    ],
)
def test_versions(wanted: str, found: str, is_same: bool) -> None:
    assert program.same(wanted, found) is is_same
