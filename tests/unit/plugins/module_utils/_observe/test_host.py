# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host import child as _observe_child
from ansible_collections.podsmith.gpu.plugins.module_utils._host.child import Child, Outcome
from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root
from ansible_collections.podsmith.gpu.plugins.module_utils._observe import host as _observe
from ansible_collections.podsmith.gpu.plugins.module_utils._observe import ways as _ways
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.driver import read_nvml
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.host import default_prefixes, observe, open_root

LIMIT = 120  # seconds: only a hang takes as long

OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.133.20  Release Build  (dvs-builder@U16)\n"
H100 = "0, NVIDIA H100 80GB HBM3, GPU-1b, 570.133.20, 81559 MiB, 00000000:3B:00.0, Enabled, Disabled, 9.0"
RTX = "0, NVIDIA GeForce RTX 4090, GPU-2c, 581.42, 24564 MiB, 00000000:01:00.0, [N/A], [N/A], 8.9"
OS_RELEASE = 'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\nVERSION_CODENAME=noble\n'
TOP = {"schema", "platform", "driver", "devices", "sources", "installed", "conflicts", "problems", "timings"}


def pod(folder: Path, files: dict[str, str], smi: str = "", limit: float = LIMIT) -> dict[str, Any]:
    """Observe a simulated host, whose nvidia-smi is the given script."""
    if smi:
        files = {**files, "usr/bin/nvidia-smi": f"#!/bin/sh\n{smi}\n"}
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    return observe(str(folder), limit, [], {})


def test_a_host_without_a_gpu(tmp_path: Path) -> None:
    facts = pod(tmp_path, {"etc/os-release": OS_RELEASE})
    assert facts["driver"] == dict.fromkeys(("version", "branch", "cuda", "flavor", "source")) | {"status": "missing"}
    assert facts.keys() == TOP
    assert (facts["devices"], facts["conflicts"], facts["problems"]) == ([], [], [])
    assert facts["platform"]["os"]["codename"] == "noble"
    installed = facts["installed"]
    assert (installed["environment"], installed["state"], installed["cutlass"]) == (None, None, None)
    lists = ("toolkits", "compat", "cutlasses", "pytorch", "environments")
    assert [installed[name] for name in lists] == [[]] * 5


def test_a_rented_h100_with_a_compatibility_library(tmp_path: Path) -> None:
    facts = pod(
        tmp_path,
        {
            ".dockerenv": "",
            "proc/1/environ": "RUNPOD_POD_ID=abc\0",
            "proc/self/mountinfo": "30 22 0:31 / /workspace rw - ext4 /dev/sdb rw\n",
            "workspace/x": "",
            "sys/module/nvidia/version": "570.133.20\n",
            "proc/driver/nvidia/version": OPEN,
            "dev/nvidia0": "",
            "usr/local/cuda-13.0/compat/libcuda.so.580.95.05": "",
            "root/.bashrc": "",
            "etc/profile": "export LD_LIBRARY_PATH=/usr/local/cuda-13.0/compat\n",
        },
        f"echo '{H100}'",
    )
    assert facts["driver"] == {
        "status": "ok",
        "version": "570.133.20",
        "branch": 570,
        "cuda": None,
        "flavor": "open",
        "source": "sysfs",
    }
    assert [device["compute_capability"] for device in facts["devices"]] == ["9.0"]
    platform = facts["platform"]
    assert [platform[key] for key in ("kind", "provider", "persistent_dir")] == ["container", "runpod", "/workspace"]
    assert "/workspace" in platform["free_gib"]
    assert facts["installed"]["compat"][0]["package"] == "cuda-compat-13-0"
    assert [conflict["kind"] for conflict in facts["conflicts"]] == ["ld_library_path"]


def test_wsl2(tmp_path: Path) -> None:
    facts = pod(tmp_path, {"dev/dxg": "", "usr/lib/wsl/lib/libcuda.so.1": ""}, f"echo '{RTX}'")
    driver = facts["driver"]
    assert [driver[key] for key in ("status", "version", "flavor", "source")] == [
        "ok",
        "581.42",
        "windows",
        "nvidia_smi",
    ]
    assert facts["platform"]["kind"] == "wsl2"


def test_a_mismatch(tmp_path: Path) -> None:
    facts = pod(
        tmp_path,
        {"sys/module/nvidia/version": "570.133.20", "dev/nvidia0": ""},
        "echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18",
    )
    assert (facts["driver"]["status"], facts["driver"]["version"]) == ("mismatch", "570.133.20")
    assert "restart the host" in facts["problems"][0]


def test_a_container_without_gpus(tmp_path: Path) -> None:
    facts = pod(
        tmp_path, {".dockerenv": "", "proc/driver/nvidia/version": OPEN}, "echo 'No devices were found'; exit 6"
    )
    assert (facts["driver"]["status"], facts["driver"]["source"], facts["devices"]) == ("no_device", "proc", [])


def test_a_hanging_nvidia_smi_is_a_finding(tmp_path: Path) -> None:
    files = {"sys/module/nvidia/version": "570.26", "dev/nvidia0": ""}
    facts = pod(tmp_path, files, "trap '' TERM; sleep 600", limit=0.5)
    assert facts["driver"]["status"] == "timeout"
    assert facts["problems"] == ["nvidia-smi --query-gpu: no answer within 0.5 s; reset the GPU or restart the host"]


def test_a_callers_prefix_stands_for_the_default_ones(tmp_path: Path) -> None:
    (tmp_path / "opt/podsmith/environments/1-torch2.9.1-cu130").mkdir(parents=True)
    (tmp_path / "opt/podsmith/current").symlink_to("environments/1-torch2.9.1-cu130")
    found = pod(tmp_path, {})["installed"]
    assert found["environment"]["prefix"] == "/opt/podsmith"
    elsewhere = observe(str(tmp_path), LIMIT, ["/srv/podsmith"], {})["installed"]
    assert (elsewhere["environment"], elsewhere["environments"]) == (None, [])


def test_default_prefixes() -> None:
    assert default_prefixes(None, "/root") == ["/opt/podsmith", "/root/.local/share/podsmith"]
    assert default_prefixes("/workspace", "/root")[1] == "/workspace/podsmith"


def hang(path: str) -> bool:
    if path == "/workspace":
        time.sleep(600)
    return True


def test_a_network_volume_that_hangs_is_closed_and_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    def start(function: partial[bool], limit: float) -> Child:
        """The one that answers may take its time."""
        asked[function.args[0]] = limit
        return _observe_child.start_call(function, limit if function.args == ("/workspace",) else LIMIT)

    monkeypatch.setattr(_observe, "start_call", start)
    monkeypatch.setattr(_observe, "network_mounts", lambda mounts: ["/proc", "/workspace"])
    monkeypatch.setattr(os.path, "isdir", hang)
    root, _mounts, problems = open_root("/", 0.3)
    assert root.closed == ("/workspace",)
    assert problems == ["/workspace: the network volume does not answer within 0.3 s"]
    assert asked == {"/proc": 0.3, "/workspace": 0.3}


def test_what_may_hang_is_asked_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a host whose driver hangs, the whole takes one limit, not one for each child."""
    events = []

    def start(name: str) -> Any:
        def result() -> Outcome:
            events.append(f"wait for {name}")
            return Outcome(None, "")

        events.append(f"start {name}")
        return SimpleNamespace(result=result)

    names = {read_nvml: "nvml", os.path.isdir: "volume"}
    monkeypatch.setattr(_observe, "network_mounts", lambda mounts: ["/workspace", "/data"])
    monkeypatch.setattr(Root, "find_library", lambda self, name, more=(): f"/lib/{name}")
    monkeypatch.setattr(_observe, "find_compiler", lambda root, environ: "/usr/bin/cc")
    monkeypatch.setattr(_observe, "start_call", lambda function, limit: start(names[function.func]))
    monkeypatch.setattr(_ways, "start_way", lambda way, limit: start(way.name))
    monkeypatch.setattr(_ways, "find_live_python", lambda root, prefixes: ("/p/current/bin/python", []))
    monkeypatch.setattr(_observe, "find_libcuda", lambda root, driver, more: None)
    monkeypatch.setattr(_observe, "start_command", lambda argv, env, limit: start(argv[0]))
    facts = observe("/", LIMIT, ["/nowhere"], {})
    children = ["nvml", "/usr/bin/cc", "login", "interactive", "pam", "command", "service", "environment"]
    begun = [f"start {name}" for name in children]
    assert events[: 4 + len(begun)] == [*["start volume"] * 2, *["wait for volume"] * 2, *begun]
    assert [events.count(f"wait for {name}") for name in children] == [1] * len(children)
    assert facts["driver"]["status"] == "timeout"
    assert [way["init"]["name"] for way in facts["ways"].values()] == ["TIMEOUT"] * 6
    assert facts["loader"] == facts["ways"]["login"]
    told = [problem for problem in facts["problems"] if problem.startswith(("/workspace", "/data", "NVML"))]
    assert facts["problems"] == told, "what a way did not answer is in the way, and judged there"


@pytest.mark.parametrize(
    ("image", "starts", "found"),
    [
        pytest.param({}, [None], None, id="the-loader-alone"),
        pytest.param({"LD_LIBRARY_PATH": "/drv"}, [None, "/drv"], "/drv/libcuda.so.580.1.2", id="by-the-image"),
    ],
)
def test_a_service_finds_the_driver_by_the_image_where_the_loader_does_not(
    monkeypatch: pytest.MonkeyPatch, image: dict[str, str], starts: list[str | None], found: str | None
) -> None:
    """Runtimes that put the driver into a folder of its own tell it to what they start, not to the loader."""
    seen: list[str | None] = []

    def start(way: _ways.Way, _limit: float) -> Any:
        path = way.env.get("LD_LIBRARY_PATH")
        if way.name == "service":
            seen.append(path)
        told = {"libcuda": f"{path}/libcuda.so.580.1.2", "code": 0, "devices": 1} if path else {"error": "none"}
        return SimpleNamespace(result=lambda: Outcome(0, f"{_ways.MARK}{json.dumps(told)}"))

    login = {"HOME": "/root", "SHELL": "/bin/bash", "TERM": "dumb", "PATH": "/bin"}
    monkeypatch.setattr(_observe, "has_libcuda", lambda root, environ: True)
    monkeypatch.setattr(_observe, "find_libcuda", lambda root, driver, more: None)
    monkeypatch.setattr(_ways, "read_sources", lambda root, environ, own: _ways.Sources(login, image, {}))
    monkeypatch.setattr(_ways, "start_way", start)
    facts = observe("/", LIMIT, ["/nowhere"], {})
    assert (seen, facts["ways"]["service"]["libcuda"]) == (starts, found)


def test_a_host_without_a_libcuda_starts_no_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_observe, "has_libcuda", lambda root, environ: False)
    monkeypatch.setattr(_observe, "find_conflicts", lambda *args: [])
    monkeypatch.setattr(_observe, "find_compat", lambda *args: [])
    monkeypatch.delattr(_ways, "start_way")
    facts = observe("/", LIMIT, ["/nowhere"], {})
    assert (facts["ways"], facts["loader"]["init"], facts["driver"]["native"]) == ({}, None, None)


def test_this_machine_is_observed_whole_and_cheaply(count_calls: Callable[[Callable[[], object]], int]) -> None:
    """It makes some 14,000 calls; on a machine on which more is installed there are more."""
    facts: dict[str, Any] = {}
    assert count_calls(lambda: facts.update(observe("/", LIMIT, [], dict(os.environ)))) < 150_000
    assert facts.keys() == TOP | {"loader", "ways"}
    assert facts["platform"]["limits"].keys() == {"shm_mib", "open_files", "memlock_kib"}
    assert json.loads(json.dumps(facts)) == facts
    assert any(python["path"].startswith("/") for python in facts["platform"]["pythons"])
    default = facts["platform"]["compiler"]
    kinds = {row["path"]: row["kind"] for row in facts["installed"]["compilers"]}
    assert set(kinds.values()) <= {"gcc", "clang"}
    assert default is None or default["path"] in kinds
