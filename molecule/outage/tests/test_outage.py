# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""One bootstrap over a fleet of which some pods are broken and one has stopped answering: the rest is finished."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
import testinfra
from fleet import INVENTORY, Run, observe, play

GONE = "outage-gone"
CONNECT_SECONDS = 15  # the timeout of ansible.cfg
START_SECONDS = 10  # until the first call, on a machine that has more to do
FACTS_SECONDS = 5  # gpu_facts' limit for each of its children

FINISHED = {
    "outage-a6000-570": ("forward_compat", "2.9.1+cu130"),
    "outage-h100-535": ("forward_compat", "2.9.1+cu130"),
    "outage-h100-580": ("native", "2.9.1+cu130"),
    "outage-h100-610": ("native", "2.9.1+cu130"),
    "outage-rtx4090-550": ("fallback", "2.9.1+cu128"),
}
# What is told of each that nothing can be done on: why, and what would help.
BLOCKED = {
    "outage-b200-565": (
        "NVIDIA B200 (Blackwell) needs driver 570.133.20; found 565.57.01",
        "Use a host with driver 570.133.20 or newer.",
    ),
    "outage-hang": (
        "the driver does not answer in time",
        "Reboot the host and look for Xid lines in dmesg; in a rented container ask for another host.",
    ),
    "outage-lost": (
        "the driver knows of a GPU that does not answer: it has fallen off the bus or failed",
        "Reboot the host and look for Xid lines in dmesg; in a rented container ask for another host.",
    ),
    "outage-mismatch": (
        "the driver's kernel module and its libraries are of different versions (driver/library mismatch)",
        "Reboot the host, or reload the modules: rmmod nvidia_uvm nvidia_drm nvidia, then modprobe nvidia.",
    ),
    "outage-v100-595": (
        "driver branch 580 is the last for Volta (Tesla V100-SXM2-16GB); found 595.71.05",
        "Use a host with a driver of branch 580.",
    ),
}


@pytest.fixture(scope="module")
def gone() -> Iterator[None]:
    """The pod that takes connections and answers nothing, as a host does whose kernel alone is alive."""
    subprocess.run(["docker", "pause", f"podsmith-{GONE}"], check=True, capture_output=True)
    yield
    subprocess.run(["docker", "unpause", f"podsmith-{GONE}"], check=True, capture_output=True)


@pytest.fixture(scope="module")
def run(gone: None, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The bootstrap over all of them."""
    return play("bootstrap.yml", "outage", tmp_path_factory.mktemp("plans"), "--forks=6")


def test_the_exit_code_tells(run: Run) -> None:
    assert run.rc != 0


@pytest.mark.parametrize("name", FINISHED)
def test_the_rest_is_finished(run: Run, name: str) -> None:
    plan = run.plans[name]
    assert (plan["route"], plan["pytorch"]["local"]) == FINISHED[name]
    assert (run.recap[name]["failed"], run.recap[name]["unreachable"], plan["changes"]) == (0, 0, [])
    assert [change["role"] for change in plan["applied"]][-2:] == ["gpu_verify", "gpu_environment"]


@pytest.mark.parametrize("name", FINISHED)
def test_the_rest_is_live(run: Run, name: str) -> None:
    index = FINISHED[name][1].replace("+", "-")
    pod = testinfra.get_host(f"ansible://{name}", ansible_inventory=str(INVENTORY))
    assert pod.check_output("readlink /opt/podsmith/current") == f"environments/1-torch{index}"


@pytest.mark.parametrize("name", BLOCKED)
def test_the_blocked_are_named_with_reason_and_remedy(run: Run, name: str) -> None:
    because, remedy = BLOCKED[name]
    said = run.said_of(name)
    assert f"route {because}" in said
    assert f"help {remedy}" in said
    assert said.endswith("verdict blocked: nothing was changed")
    assert f"blocked: {because}. {remedy}" in run.out
    assert (run.recap[name]["failed"], run.recap[name]["changed"]) == (1, 0)
    assert run.plans[name]["verdict"] == "blocked"


def test_the_unreachable_one_is_named_with_reason_and_remedy(run: Run) -> None:
    assert run.recap[GONE]["unreachable"] == 1
    told = run.out.partition(f"fatal: [{GONE}]: UNREACHABLE!")[0].rpartition("[ERROR]")[2]
    assert "Connection timed out during banner exchange" in told
    assert "Make sure this host can be reached over ssh" in told


def test_nobody_waits_for_the_unreachable_one(run: Run) -> None:
    """It is given up when the time to connect is over, and others are told of before."""
    given_up = run.when(f"fatal: [{GONE}]: UNREACHABLE!")
    assert CONNECT_SECONDS <= given_up < CONNECT_SECONDS + START_SECONDS
    assert min(run.when(f"{name}   ") for name in BLOCKED) < given_up


def test_a_driver_that_hangs_is_seen_in_time() -> None:
    facts = observe("outage-hang")["outage-hang"]
    assert facts["driver"]["status"] == "timeout"
    assert facts["driver"]["version"] == "570.133.20"  # the kernel tells it without the driver
    assert facts["timings"]["total"] < 2 * FACTS_SECONDS
