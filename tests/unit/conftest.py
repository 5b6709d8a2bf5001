"""Hosts as gpu_facts observes them, built from a few words; and limits and costs that no slow machine changes."""

from __future__ import annotations

import copy
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType, ModuleType, SimpleNamespace
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue, load_catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._generate.activation import generation_digests, host_digests
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.decision import to_decision
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import read_host
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.layout import choose_layout
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.plan import resolve
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import parse_request

LIMIT = 120  # seconds: only a hang takes as long

# NVML's name, compute capability, brand
GPUS = {
    "K80": ("Tesla K80", "3.7", 2),
    "M60": ("Tesla M60", "5.2", 2),
    "P100": ("Tesla P100-PCIE-16GB", "6.0", 2),
    "GTX1080": ("NVIDIA GeForce GTX 1080", "6.1", 5),
    "V100": ("Tesla V100-SXM2-16GB", "7.0", 2),
    "T4": ("Tesla T4", "7.5", 2),
    "A100": ("NVIDIA A100-SXM4-80GB", "8.0", 14),
    "RTX3090": ("NVIDIA GeForce RTX 3090", "8.6", 5),
    "A6000": ("NVIDIA RTX A6000", "8.6", 13),
    "RTX4090": ("NVIDIA GeForce RTX 4090", "8.9", 5),
    "L4": ("NVIDIA L4", "8.9", 14),
    "H100": ("NVIDIA H100 80GB HBM3", "9.0", 14),
    "GH200": ("NVIDIA GH200 480GB", "9.0", 14),
    "B200": ("NVIDIA B200", "10.0", 14),
    "B300": ("NVIDIA B300", "10.3", 14),
    "RTX5090": ("NVIDIA GeForce RTX 5090", "12.0", 5),
    "GB10": ("NVIDIA GB10", "12.1", 14),
}


def observe(
    gpu: str | list[str] | None = "H100",
    driver: str | None = "580.95.05",
    *,
    kind: str = "bare_metal",
    arch: str = "x86_64",
    os: str = "ubuntu 24.04",
    pythons: tuple[str, ...] = ("3.12",),
    root: bool = True,
    **installed: Any,
) -> dict[str, Any]:
    """A host with nothing of ours on it; ``installed`` are keys of its section."""
    names = [gpu] if isinstance(gpu, str) else gpu or []
    devices = [
        {
            "index": index,
            "name": GPUS[name][0],
            "uuid": f"GPU-{index}",
            "compute_capability": GPUS[name][1],
            "brand_id": GPUS[name][2],
        }
        for index, name in enumerate(names)
    ]
    name, version = os.split()
    family = "debian" if name in ("ubuntu", "debian") else "redhat"
    return {
        "schema": 2,
        "platform": {
            "kind": kind,
            "os": {"id": name, "version": version, "family": family},
            "arch": arch,
            "glibc": "2.39",
            "root": root,
            "home": "/root" if root else "/home/ada",
            "pythons": [{"path": f"/usr/bin/python{v}", "version": f"{v}.1", "headers": True} for v in pythons],
            "compiler": {"path": "/usr/bin/g++", "version": "13.2.0"},
            "tools": {"git": "/usr/bin/git", "apt": "/usr/bin/apt-get"},
            "persistent_dir": None,
            "free_gib": {"/": 200.0},
        },
        "driver": {"status": "ok" if driver else "missing", "version": driver},
        "devices": devices,
        "loader": {"compat_active": False},
        "sources": {"wheels": []},
        "installed": {
            "toolkits": [],
            "compat": [],
            "cutlass": None,
            "cutlasses": [],
            "pytorch": [],
            "environment": None,
            "environments": [],
            "generations": [],
            "files": {},
            "state": None,
            **installed,
        },
        "conflicts": [],
        "problems": [],
    }


def converge(observed: dict[str, Any], decision: dict[str, Any]) -> dict[str, Any]:
    """The host after the decision was applied and proved: what gpu_facts sees then."""
    host = copy.deepcopy(observed)
    installed, environment, torch = host["installed"], decision["environment"], decision["pytorch"]
    for toolkit in filter(None, (decision["toolkit"], *decision["toolkits"])):
        if toolkit["provider"] != "adopt":
            row = {"version": toolkit["exact"] or toolkit["version"], "release": toolkit["version"]}
            row |= {
                "path": toolkit["path"],
                "provider": toolkit["provider"],
                "cudart": True,
                "nvcc": True,
                "broken": [],
            }
            installed["toolkits"].append(row)
    compat = decision["forward_compat"]
    if compat["provider"] == "apt":
        row = {"package": compat["package"], "version": compat["version"], "path": compat["path"]}
        release = compat["package"].removeprefix("cuda-compat-").replace("-", ".")
        installed["compat"].append(row | {"cuda": release, "branches": [], "brands": []})
    if decision["cutlass"] and decision["cutlass"]["provider"] != "adopt":
        row = {key: decision["cutlass"][key] for key in ("version", "path")} | {"broken": []}
        installed["cutlass"], installed["cutlasses"] = row, [row]
    pins = [*(torch["requirements"] if torch else []), *environment["constraints"]]
    generation = {
        "name": environment["name"],
        "identity": environment["identity"],
        "complete": True,
        "python": environment["python"],
        "packages": dict(pin.split("==") for pin in pins),
        "broken": [],
    }
    others = [row for row in installed["generations"] if row["name"] != environment["name"]]
    installed["generations"] = [*others, generation]
    installed["environment"] = {
        **copy.deepcopy(generation),
        "path": environment["path"],
        "files": generation_digests(environment),
    }
    installed["environments"] = sorted({*installed["environments"], environment["name"]})
    installed["files"] = host_digests(environment)
    installed["state"] = {
        "decision": decision["digest"],
        "identity": environment["identity"],
        "verdict": "ok",
        "driver": host["driver"].get("version"),
        "reach": {
            "driver": host["driver"].get("version"),
            "libcuda": None,
            "gpus": [device["uuid"] for device in host["devices"] if "uuid" in device],
        },
        "refused_compat": {},
    }
    return host


@pytest.fixture(scope="session")
def known() -> Catalogue:
    return load_catalogue()


@pytest.fixture(scope="session")
def host() -> Callable[..., dict[str, Any]]:
    return observe


@pytest.fixture(scope="session")
def applied() -> Callable[..., dict[str, Any]]:
    return converge


@pytest.fixture(scope="session")
def decide(known: Catalogue) -> Callable[..., dict[str, Any]]:
    """The decision for an observed host and a wish."""

    def call(observed: dict[str, Any], **wished: Any) -> dict[str, Any]:
        return to_decision(resolve(observed, wished, known))

    return call


@pytest.fixture(scope="session")
def case(known: Catalogue) -> Callable[..., Case]:
    """What the rules look at, of an observed host and a wish."""

    def call(observed: dict[str, Any], **wished: Any) -> Case:
        request = parse_request(wished)
        found = read_host(observed, request.overrides, known)
        return Case(found, request, choose_layout(found, request), known)

    return call


@pytest.fixture(scope="session")
def gpu_case(host: Any, case: Any) -> Callable[..., Case]:
    """The case of a host with one GPU, which may be of no known model, and with what the GPU refused before."""

    def call(
        gpu: str | None = "H100",
        driver: str | None = "570.133.20",
        kind: str = "bare_metal",
        brand: int = 0,
        refused: Any = None,
    ) -> Case:
        unheard = gpu == "unheard of"
        state = {"refused_compat": refused} if refused else None
        facts = host(None if unheard else gpu, driver, kind=kind, state=state)
        if unheard:
            facts["devices"] = [{"name": gpu}]
        if brand:
            facts["devices"][0]["brand_id"] = brand
        return case(facts)

    return call


@pytest.fixture
def stop_clock_until(monkeypatch: pytest.MonkeyPatch) -> Callable[[ModuleType, Path], None]:
    """Give a module a clock that stands still until a file is there; then more time than any limit has passed.

    So a limit is reached when the child has done what the test needs of it, be it in a millisecond or in a minute.
    """

    def stop(module: ModuleType, event: Path) -> None:
        clock = SimpleNamespace(sleep=time.sleep, monotonic=lambda: 1e6 + time.monotonic() if event.exists() else 0.0)
        monkeypatch.setattr(module, "time", clock)

    return stop


@pytest.fixture
def has_ended() -> Callable[[int], bool]:
    """Whether a process is dead, which one that was killed becomes in a moment; one that was not is killed here."""

    def ended(pid: int) -> bool:
        stat, end = Path(f"/proc/{pid}/stat"), time.monotonic() + LIMIT
        while time.monotonic() < end:
            try:
                state = stat.read_text().rpartition(")")[2].split()[0]
            except (FileNotFoundError, ProcessLookupError):
                return True
            if state in {"X", "Z"}:
                return True
            time.sleep(0.02)
        os.kill(pid, signal.SIGKILL)
        return False

    return ended


@pytest.fixture
def count_calls() -> Callable[[Callable[[], object]], int]:
    """How many functions, Python's own included, a call makes in all: what it costs, on every machine the same."""

    def count(work: Callable[[], object]) -> int:
        calls = 0

        def see(_frame: FrameType, event: str, _argument: object) -> None:
            nonlocal calls
            calls += event in {"call", "c_call"}

        before = sys.getprofile()
        sys.setprofile(see)
        try:
            work()
        finally:
            sys.setprofile(before)
        return calls

    return count
