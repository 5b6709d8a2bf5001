"""The pods are started, found and removed by docker's command line; what is asked of it is what counts."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SHARED = Path(__file__).resolve().parents[3] / "molecule" / "shared"


class Docker:
    """Pods that run with their addresses; keeps what it was asked."""

    def __init__(self) -> None:
        self.pods: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []

    def __call__(self, *words: str, text: str | None = None) -> str:
        self.asked.append(" ".join(words))
        if words[0] == "ps" and "label=podsmith.pod" in words:
            return " ".join(self.pods)
        if words[:1] == ("inspect",) and "--format" not in words:
            return json.dumps([self.describe(name) for name in words[1:]])
        if words[0] == "rm":
            for container in words[2:]:
                self.pods.pop(container.removeprefix("podsmith-"), None)
        return "found" if words[:2] in (("network", "ls"), ("ps", "--quiet")) else ""

    def describe(self, name: str) -> dict[str, Any]:
        labels = {"podsmith.pod": json.dumps({"name": name, **self.pods[name]})}
        address = f"10.0.0.{len(name)}"
        return {"Config": {"Labels": labels}, "NetworkSettings": {"Networks": {"podsmith": {"IPAddress": address}}}}


@pytest.fixture
def pods(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("pods", SHARED / "pods.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "pods", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "docker", Docker())
    monkeypatch.setattr(module, "WORK", tmp_path)
    monkeypatch.setattr(module, "ADDRESSES", tmp_path / "pods.json")
    return module


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("pod-1", "Expecting value", id="no-json"),
        pytest.param('["pod-1"]', "no attribute 'items'", id="no-mapping"),
        pytest.param('{"pod-1": {"gpu": "h100"}}', "unexpected keyword argument 'gpu'", id="unknown-key"),
    ],
)
def test_pods_that_are_not_understood_are_refused(pods: ModuleType, text: str, complaint: str) -> None:
    with pytest.raises(pods.PodError, match=complaint):
        pods.parse_pods(text)


def test_a_pod_begins_with_what_was_asked_for(pods: ModuleType) -> None:
    [pod] = pods.parse_pods(
        '{"a": {"driver": "driver 570.133.20", "volume": true, "environment": {"RUNPOD_POD_ID": "x"}, "shm": "1m"}}'
    )
    pods.start(pod, "10.0.0.7")
    begun = next(line for line in pods.docker.asked if line.startswith("run "))
    for words in (
        "--ip 10.0.0.7",
        "--cap-add SYS_ADMIN",
        "--volume podsmith-a:/workspace",
        "--env RUNPOD_POD_ID=x",
        "--shm-size 1m",
        "--init",
    ):
        assert words in begun
    assert pods.docker.asked[-1].startswith("exec --interactive podsmith-a ")


@pytest.mark.parametrize(
    ("names", "removed", "left"),
    [
        pytest.param(["a"], ["rm --force podsmith-a", "volume rm --force podsmith-a"], ["b"], id="one-of-two"),
        pytest.param([], [], ["a", "b"], id="none"),
        pytest.param(
            ["a", "b"],
            [
                "rm --force podsmith-a podsmith-b",
                "volume rm --force podsmith-a podsmith-b",
                "rm --force podsmith-mirror",
                "network rm podsmith",
            ],
            [],
            id="the-last-one-takes-the-mirror-along",
        ),
    ],
)
def test_down_removes_what_is_ours(pods: ModuleType, names: list[str], removed: list[str], left: list[str]) -> None:
    pods.docker.pods = {"a": {}, "b": {}}
    pods.down(names)
    assert [line for line in pods.docker.asked if line.startswith("rm ") or " rm " in line] == removed
    assert list(pods.docker.pods) == left


def test_a_pod_that_is_not_there_is_named(pods: ModuleType) -> None:
    pods.docker.pods = {"a": {}}
    with pytest.raises(pods.PodError, match="No pod is called b; there are a"):
        pods.find_pods(["b"])


def test_ansible_learns_the_addresses(pods: ModuleType, tmp_path: Path) -> None:
    script = tmp_path / "molecule" / "shared" / "inventory" / "addresses"
    script.parent.mkdir(parents=True)
    shutil.copy(SHARED / "inventory" / "addresses", script)
    assert json.loads(subprocess.check_output([script]))["_meta"] == {"hostvars": {}}

    pods.docker.pods = {"a": {}}
    pods.write_addresses()
    (tmp_path / ".cache" / "molecule").mkdir(parents=True)
    shutil.copy(tmp_path / "pods.json", tmp_path / ".cache" / "molecule" / "pods.json")
    told = json.loads(subprocess.check_output([script]))
    assert told["_meta"]["hostvars"] == {"a": {"ansible_host": "10.0.0.1"}}
    assert told["pods"]["hosts"] == ["a"]


def test_a_volume_without_its_pod_goes_too(pods: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pods, "docker", lambda *words: "podsmith-a\npodsmith-b" if words[0] == "volume" else "")
    assert pods.list_names() == ["a", "b"]


def test_the_inventory_s_words_are_those_of_the_simulated_driver() -> None:
    driver = {
        "version": "580.159.04",
        "gpus": ["h100", "h200_mig"],
        "folder": "/usr/local/nvidia/lib64",
        "cuinit": 802,
        "shown": 1,
        "slices": 0,
        "xids": ["79 0", "48 1"],
    }
    argv = [
        "ansible",
        "perf-01",
        "-i",
        SHARED / "inventory",
        "-m",
        "ansible.builtin.debug",
        "-a",
        "var=pod_driver_conf",
    ]
    done = subprocess.run(
        [Path(sys.executable).parent / argv[0], *argv[1:], "-e", json.dumps({"pod_driver": driver})],
        cwd=SHARED.parents[1],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml", "ANSIBLE_NOCOLOR": "1"},
    )
    assert [line.strip() for line in done.stdout.splitlines()[2:]] == [
        "driver 580.159.04",
        "cuda 13.0",
        "flavor open",
        "wsl2 no",
        "fault none",
        "folder /usr/local/nvidia/lib64",
        "cuinit 802",
        "shown 1",
        "slices 0",
        "xid 79 0",
        "xid 48 1",
        "gpu 9.0 14 81559 0 NVIDIA H100 80GB HBM3",
        "gpu 9.0 14 143771 1 NVIDIA H200",
    ]
