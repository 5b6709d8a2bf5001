# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole observation of a host with the simulated driver: every way is asked, and what is behind a wrong one."""

from __future__ import annotations

import os
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._observe import host as _host
from ansible_collections.podsmith.gpu.plugins.module_utils._observe import ways as _ways
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.host import observe
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.ways import Sources

LIMIT = 120  # seconds: only a hang takes as long
VERSION = "580.159.04"
SHELLS = ["login", "interactive", "pam", "command"]


class Pod:
    """A user's home, an image whose search path has the driver, and a live environment, on this machine."""

    def __init__(self, folder: pathlib.Path, driver: Any, conf: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home, self.prefix, self.library = folder / "home", folder / "prefix", folder / "driver"
        self.driver, self.monkeypatch, self.forks = driver, monkeypatch, 0
        self.home.mkdir()
        self.library.mkdir()
        shutil.copy(driver.libraries / "libcuda.so", self.library / f"libcuda.so.{VERSION}")
        (self.library / "libcuda.so.1").symlink_to(f"libcuda.so.{VERSION}")
        shutil.copy(driver.libraries / "libnvidia-ml.so", self.library / "libnvidia-ml.so.1")
        (self.prefix / "environments/1-x/bin").mkdir(parents=True)
        (self.prefix / "environments/1-x/bin/python").symlink_to(shutil.which("python3") or "")
        (self.prefix / "current").symlink_to("environments/1-x")
        self.conf = driver.environment(conf)["SIMULATED_DRIVER_CONF"]
        monkeypatch.setenv("SIMULATED_DRIVER_CONF", self.conf)

    def observe(self, pam: dict[str, str] | None = None) -> dict[str, Any]:
        searched = {"LD_LIBRARY_PATH": str(self.library)}
        given = {"SIMULATED_DRIVER_CONF": self.conf}
        login = {"HOME": str(self.home), "SHELL": "/bin/bash", "TERM": "dumb", "PATH": "/usr/bin:/bin", **given}
        sources = Sources(login, searched, {**searched, **(pam or {})})
        fork = os.fork

        def count() -> int:
            self.forks += 1
            return fork()

        self.monkeypatch.setattr(_ways, "read_sources", lambda *args: sources)
        self.monkeypatch.setattr(_host, "find_conflicts", lambda *args: [])
        self.monkeypatch.setattr(_host, "find_compiler", lambda *args: None)
        self.monkeypatch.setattr(_host, "find_toolkits", lambda *args: [])
        self.monkeypatch.setattr(_host, "find_tool", lambda *args: None)
        self.monkeypatch.setattr(_host, "network_mounts", lambda mounts: [])
        self.monkeypatch.setattr(os, "fork", count)
        self.forks = 0
        return observe("/", LIMIT, [str(self.prefix)], searched)


@pytest.fixture
def pod(
    tmp_path: pathlib.Path, driver: Any, host: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Pod]:
    def make(**words: str) -> Pod:
        return Pod(tmp_path, driver, host(**words), monkeypatch)

    return make


def test_a_healthy_host_is_asked_once_by_every_way(pod: Callable[..., Pod]) -> None:
    """The driver's own answer and no trace are paid for: one child for NVML, and one for each way."""
    healthy = pod()
    (healthy.home / ".bashrc").write_text("export CUDA_VISIBLE_DEVICES=0\n", encoding="utf-8")
    facts = healthy.observe()
    assert list(facts["ways"]) == [*SHELLS, "service", "environment"]
    for way in facts["ways"].values():
        assert (way["libcuda"], way["version"]) == (str(healthy.library / f"libcuda.so.{VERSION}"), VERSION)
        assert (way["init"], way["devices"]) == ({"code": 0, "name": "CUDA_SUCCESS"}, 1)
        assert "causes" not in way
    assert facts["ways"]["interactive"]["environ"]["CUDA_VISIBLE_DEVICES"] == "0"
    assert facts["driver"]["libcuda"] == str(healthy.library / f"libcuda.so.{VERSION}")
    assert facts["driver"]["native"] is None
    assert healthy.forks == 1 + len(facts["ways"])


def test_what_breaks_interactive_shells_is_named(pod: Callable[..., Pod]) -> None:
    broken = pod()
    compat = broken.driver.build_compat("550.54.15", "12.4", [535], [])
    (broken.home / ".bashrc").write_text(
        f"# mine\nexport CUDA_COMPAT={compat}\n[ -d / ] && export LD_LIBRARY_PATH=$CUDA_COMPAT:$LD_LIBRARY_PATH\n",
        encoding="utf-8",
    )
    facts = broken.observe()
    ways = facts["ways"]
    wrong = [name for name, way in ways.items() if way["init"]["code"]]
    assert "interactive" in wrong
    assert set(wrong) <= {"interactive", "command"}, "an ssh command's bash reads it too, where it was built to"
    assert (ways["interactive"]["init"]["code"], ways["interactive"]["version"]) == (803, "550.54.15")
    for name in wrong:
        assert ways[name]["causes"] == [
            {
                "variable": "LD_LIBRARY_PATH",
                "value": f"{compat}:{broken.library}",
                "file": str(broken.home / ".bashrc"),
                "line": 3,
                "text": "[ -d / ] && export LD_LIBRARY_PATH=$CUDA_COMPAT:$LD_LIBRARY_PATH",
            }
        ]
    assert [name for name, way in ways.items() if "causes" in way] == wrong
    assert facts["driver"]["native"] == {"init": {"code": 0, "name": "CUDA_SUCCESS"}, "devices": 1}
    assert broken.forks == 1 + len(ways) + len(wrong)


def test_where_no_way_loads_the_drivers_library_it_is_asked_by_itself(pod: Callable[..., Pod]) -> None:
    broken = pod()
    compat = str(broken.driver.build_compat("550.54.15", "12.4", [535], []))
    facts = broken.observe({"LD_LIBRARY_PATH": compat})
    assert {way["init"]["code"] for way in facts["ways"].values()} == {803}
    assert {(cause["file"], cause["value"]) for way in facts["ways"].values() for cause in way["causes"]} == {
        ("/etc/environment", compat)
    }
    native = facts["driver"]["native"]["init"]["code"]
    assert native == 100, "no variable reaches it, not even the one that names the simulated host"
    assert broken.forks == 1 + len(facts["ways"]) + 1 + len(SHELLS)


def test_a_repeated_device_is_named_by_its_line_of_the_profile(pod: Callable[..., Pod]) -> None:
    broken = pod()
    (broken.home / ".profile").write_text("\nexport CUDA_VISIBLE_DEVICES=0,0\n", encoding="utf-8")
    way = broken.observe()["ways"]["login"]
    assert way["init"]["code"] == 101
    assert [(cause["file"], cause["line"]) for cause in way["causes"]] == [(str(broken.home / ".profile"), 2)]


def test_a_driver_that_does_not_work_has_no_cause_in_the_shells(pod: Callable[..., Pod]) -> None:
    broken = pod(fault="mismatch", library="565.57.01")
    facts = broken.observe()
    assert {way["init"]["code"] for way in facts["ways"].values()} == {803}
    assert [way["causes"] for way in facts["ways"].values()] == [[]] * 6


@pytest.mark.parametrize(
    ("file", "text", "fault", "place"),
    [
        pytest.param(
            ".bashrc",
            "export LD_LIBRARY_PATH={compat}:$LD_LIBRARY_PATH\n",
            "compat library 550.54.15 from",
            (".bashrc", 1),
            id="a-line",
        ),
        pytest.param(".profile", "\nexit 3\n", "login shell: it ended before CUDA was asked", None, id="an-exit"),
    ],
)
def test_what_was_observed_is_judged_and_told_once(
    file: str, text: str, fault: str, place: tuple[str, int] | None, pod: Callable[..., Pod], decide: Any
) -> None:
    """The facts as they are made here, in the plan: no row of theirs is told as the cause and as a note as well."""
    broken = pod()
    compat = broken.driver.build_compat("550.54.15", "12.4", [535], [])
    (broken.home / file).write_text(text.format(compat=compat), encoding="utf-8")
    decision = decide(broken.observe(), cuda="13.0", toolkit={"provider": "none"})
    assert (decision["verdict"], decision["now"]["hopeless"]) == ("broken", False)
    assert fault in decision["now"]["summary"]
    (cause,) = decision["now"]["causes"]
    assert (cause["file"], cause["line"]) == ((str(broken.home / place[0]), place[1]) if place else (None, None))
    told = [words for words in decision["warnings"] if file in words or "probe" in words]
    assert (told, len(decision["remedies"])) == ([], 1)
