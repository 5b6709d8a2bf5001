# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rounds of faults: each pod broken in another way, told, mended, and looked at again; a few runs for all of them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from faults import REPAIR, Fault
from fleet import INVENTORY, Run, play

PYTHON = "/opt/podsmith/current/bin/python"
FORKS = "--forks=4"  # more pods at once keep each other waiting past the time limit of gpu_facts
MOUNTED = " ".join(f"--exclude /etc/{name}" for name in ("hosts", "hostname", "resolv.conf"))  # by the engine
KEEP = f"tar --create --file /var/lib/kept.tar {MOUNTED} /etc /root/.bashrc"
# The pod as it was: its files, what was added to them, the driver of its host, the loader's cache and shared memory.
RESTORE = """
rm -rf /etc/ld.so.conf.d /etc/profile.d /etc/ld.so.preload /root/.cuda_env
tar --extract --file /var/lib/kept.tar --directory /
mount -o remount,size=1g /dev/shm
simulated-driver
"""
# Prints what cuInit says to the live environment's Python; -1 where there is no library to ask.
CUINIT = """
import ctypes
try:
    cuda = ctypes.CDLL("libcuda.so.1")
except OSError:
    print(-1)
else:
    print(cuda.cuInit(0))
"""


@dataclass(frozen=True)
class Story:
    """What became of one fault: our Python's answer before anything ran, then the runs over the pods of its round.

    ``plan`` is what was planned, with what it ``told``; ``told`` is a bootstrap without repairs, ``mended`` may repair,
    ``clean`` is one more where that was done. A pod on which nothing can be repaired is given back what it had before
    ``mended``, which is then its clean run.
    """

    pod: str
    code: int | None
    plan: Mapping[str, Any]
    told: Run
    mended: Run
    clean: Run


def host_of(number: int) -> str:
    """The pod of the fault with that number in its round."""
    return f"now-{number + 1:02}"


def in_pod(pod: str, *argv: str, limit: float = 300) -> subprocess.CompletedProcess[str]:
    """Run a program in a pod as root, with no shell and the image's own environment."""
    return subprocess.run(
        ["docker", "exec", f"podsmith-{pod}", *argv], capture_output=True, text=True, timeout=limit, check=False
    )


def sh(pods: Mapping[str, str]) -> None:
    """Run a shell command in each pod, side by side."""

    def one(item: tuple[str, str]) -> None:
        done = in_pod(item[0], "sh", "-ec", item[1])
        assert done.returncode == 0, f"{item}: {done.stdout}{done.stderr}"

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, pods.items()))


def ask(pod: str) -> int | None:
    """What cuInit says to our Python: a CUresult, -1 without a library, minus a signal; None: nothing."""
    done = in_pod(pod, "timeout", "5", PYTHON, "-c", CUINIT)
    if done.returncode:
        return None if done.returncode == 124 else 128 - done.returncode
    return int(done.stdout)


def request(repair: list[str]) -> str:
    """The request of the inventory with files that may be repaired, as an argument of ansible-playbook."""
    hosts = yaml.safe_load((INVENTORY / "now.yml").read_text(encoding="utf-8"))["all"]["children"]
    wish = hosts["now"]["vars"]["stack_plan_request"] | {"repair_files": repair}
    return json.dumps({"stack_plan_request": wish})


def play_round(faults: list[Fault], folder: Path) -> dict[str, Story]:
    """Break each pod in another way; what became of each fault, by its name."""
    pods = {fault.name: host_of(number) for number, fault in enumerate(faults)}
    sh({pods[fault.name]: fault.do for fault in faults})
    with ThreadPoolExecutor(4) as pool:
        codes = dict(zip(pods, pool.map(ask, pods.values()), strict=True))
    paths = {name: folder / name for name in ("plan", "told", "mended", "clean")}
    for path in paths.values():
        path.mkdir(parents=True)
    # A run that fails at once ends with its plan.
    plan = play("playbooks/plan.yml", "now", paths["plan"], FORKS) if not all(fault.fails for fault in faults) else None
    assert plan is None or plan.rc == 0, plan.out
    told = play("bootstrap.yml", "now", paths["told"], FORKS)
    sh({pods[fault.name]: RESTORE for fault in faults if not fault.mends})
    mended = play("bootstrap.yml", "now", paths["mended"], FORKS, "-e", request(REPAIR))
    repaired = [pods[fault.name] for fault in faults if fault.mends]
    clean = mended
    if repaired:
        clean = play("bootstrap.yml", ",".join(repaired), paths["clean"], FORKS, "-e", request(REPAIR))
    sh(dict.fromkeys(pods.values(), RESTORE))
    found = {}
    for fault in faults:
        pod, planned = pods[fault.name], plan or told
        decision = planned.plans[pod] | {"told": planned.said_of(pod)}
        found[fault.name] = Story(pod, codes[fault.name], decision, told, mended, clean if fault.mends else mended)
    return found
