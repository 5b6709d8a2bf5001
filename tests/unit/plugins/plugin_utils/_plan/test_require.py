"""A host that is not what was required of it is not used, and is told why, a sentence for each part."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.filter.stack_plan import stack_plan
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.require import RULES, is_model
from ansible_collections.podsmith.gpu.plugins.plugin_utils._report.stack import render_text

Facts = dict[str, Any]
Host = Callable[..., Facts]

H100 = "NVIDIA H100 80GB HBM3"
HEALTHY = [{"check": "health", "ok": True}]


def pod(host: Host, gpus: int = 8, **platform: Any) -> Facts:
    """A pod with GPUs of 80 GB as these report them, 16 GiB of /dev/shm and 250 GiB free."""
    facts = host(["H100"] * gpus, "580.95.05", kind="container")
    for device in facts["devices"]:
        device["memory_mib"] = 81559
    facts["platform"].update(limits={"shm_mib": 16384}, free_gib={"/": 250.0}, size_gib={"/": 300.0})
    facts["platform"].update(platform)
    return facts


def unmet(facts: Facts, require: Facts, request: Facts | None = None, **more: Any) -> list[str]:
    decision = stack_plan(facts, request or {"cuda": "13.0"}, require=require, **more)
    assert (decision["verdict"] == "unmet") is bool(decision["unmet"])
    return list(decision["unmet"])


def test_nothing_is_required_of_a_host_by_default(host: Host) -> None:
    decision = stack_plan(pod(host), {"cuda": "13.0"})
    assert (decision["verdict"], decision["unmet"]) == ("ok", [])


def test_a_host_that_meets_all_is_planned_as_ever(host: Host) -> None:
    require = {
        "gpus": 8,
        "model": "H100",
        "memory_gib": 80,
        "driver": ">=570",
        "shm_gib": 16,
        "disk_gib": 200,
        "extensions": "all",
        "route": ["native", "forward_compat"],
        "health": "ok",
    }
    request = {"cuda": "13.0", "extensions": ["triton"]}
    held = stack_plan(pod(host), request, require=require, health=HEALTHY)
    assert held == stack_plan(pod(host), request)
    assert held["verdict"] == "ok"


UNMET = [
    ("seven-of-eight", 7, {"gpus": 8}, f"8 GPUs are required; the host has 7 (7x {H100})."),
    ("no-gpu", 0, {"gpus": 1}, "1 GPU is required; the host has none."),
    ("another-model", 2, {"model": "A100"}, f"A100 is required; the host has 2x {H100}."),
    ("one-of-two-models", 1, {"model": ["A100", "B200"]}, f"A100 or B200 is required; the host has {H100}."),
    ("no-model", 0, {"model": "H100"}, "H100 is required; the host has no GPU."),
    (
        "memory",
        2,
        {"memory_gib": 94},
        f"94 GiB of memory in each GPU are required; GPU 0 ({H100}) has 79.6.",
    ),
    ("driver", 1, {"driver": ">=590"}, "A driver >=590 is required; found 580.95.05."),
    ("branch", 1, {"driver": "570"}, "A driver of branch 570 is required; found 580.95.05."),
    (
        "shm",
        1,
        {"shm_gib": 32},
        "32 GiB of /dev/shm are required; it has 16. A container gets them by --shm-size=32g.",
    ),
    ("disk", 1, {"disk_gib": 500}, "500 GiB of disk at /opt/podsmith are required; 250.0 are free."),
    ("route", 1, {"route": "minor_version"}, "The route minor_version is required; found native."),
    ("extension", 1, {"extensions": ["vllm"]}, "The extension vllm is required; the request does not name it."),
    ("health", 1, {"health": "ok"}, "Healthy GPUs are required; their health was not read here."),
]


@pytest.mark.parametrize(("gpus", "require", "words"), [pytest.param(*row, id=name) for name, *row in UNMET])
def test_what_is_not_met_is_told(gpus: int, require: Facts, words: str, host: Host) -> None:
    assert unmet(pod(host, gpus), require) == [words]


def test_what_is_unknown_is_not_met(host: Host) -> None:
    facts = {"driver": {"status": "ok"}}
    require = {"gpus": 1, "model": "H100", "memory_gib": 80, "driver": ">=570", "shm_gib": 1, "disk_gib": 1}
    assert unmet(facts, require) == [
        "1 GPU is required; their number is unknown.",
        "H100 is required; no GPU was observed.",
        "80 GiB of memory in each GPU are required; no GPU was observed.",
        "A driver >=570 is required; its version is unknown.",
        "1 GiB of /dev/shm are required; its size is unknown. A container gets them by --shm-size=1g.",
        "1 GiB of disk at ~/.local/share/podsmith are required; what is free is unknown.",
    ]


def test_a_pod_without_a_driver_is_no_h100(host: Host) -> None:
    assert unmet(host(None, None, kind="container"), {"model": "H100", "driver": ">=535", "gpus": 1}) == [
        "1 GPU is required; the host has none.",
        "H100 is required; the host has no GPU.",
        "A driver >=535 is required; found none.",
    ]


@pytest.mark.parametrize(
    ("name", "model", "fits"),
    [
        (H100, "H100", True),
        (H100, "h100 80gb", True),
        (H100, "H10", False),
        ("NVIDIA H1000", "H100", False),
        ("NVIDIA H100 PCIe", "H100 HBM3", False),
        ("NVIDIA GeForce RTX 4090", "RTX 4090", True),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "RTX 4090", True),
        ("NVIDIA A100-SXM4-80GB", "A100 80GB", True),
    ],
)
def test_a_model_is_words_of_the_name(name: str, model: str, fits: bool) -> None:
    assert is_model(name, model) is fits


@pytest.mark.parametrize(
    ("mib", "sold_as", "enough"),
    [
        (81559, 80, True),
        (22731, 24, True),
        (15360, 16, True),
        (143771, 141, True),
        (40536, 80, False),
        (24564, 48, False),
    ],
)
def test_memory_counts_as_its_maker_counts_it(mib: int, sold_as: int, enough: bool, host: Host) -> None:
    facts = pod(host, 1)
    facts["devices"][0]["memory_mib"] = mib
    assert (unmet(facts, {"memory_gib": sold_as}) == []) is enough


def test_gpus_that_are_alike_are_told_once_and_others_each(host: Host) -> None:
    facts = pod(host, 3)
    facts["devices"][1]["memory_mib"] = None
    assert unmet(facts, {"memory_gib": 141}) == [
        f"141 GiB of memory in each GPU are required; GPU 0 ({H100}) has 79.6.",
        f"141 GiB of memory in each GPU are required; that of GPU 1 ({H100}) is unknown.",
    ]


def test_an_extension_that_cannot_be_had_is_told_with_its_reason(host: Host) -> None:
    request = {"cuda": "12.6", "extensions": ["flash-attn", "triton"]}
    found = unmet(pod(host), {"extensions": "all"}, request)
    assert len(found) == 1
    assert found[0].startswith("The extension flash-attn is required; it is published as source only.")


def test_all_extensions_of_a_request_without_any_are_met(host: Host) -> None:
    assert unmet(pod(host), {"extensions": "all"}) == []


def test_disk_is_free_at_first_and_then_of_the_size(host: Host, applied: Callable[..., Facts]) -> None:
    facts = pod(host, 1)
    decision = stack_plan(facts, {"cuda": "13.0"})
    later = applied(copy.deepcopy(facts), decision)
    later["platform"]["free_gib"] = {"/": 3.0}
    assert unmet(later, {"disk_gib": 200}) == []
    assert unmet(later, {"disk_gib": 400}) == ["400 GiB of disk at /opt/podsmith are required; 300.0 are there."]


def test_a_driver_that_the_request_installs_counts(host: Host) -> None:
    facts = host("H100", "550.163.01")
    assert unmet(facts, {"driver": ">=570"}, {"driver": "580", "cuda": "13.0"}) == []
    assert unmet(facts, {"driver": ">=570"}) == ["A driver >=570 is required; found 550.163.01."]


@pytest.mark.parametrize(
    ("results", "words"),
    [
        (HEALTHY, []),
        (
            [{"check": "health", "ok": False, "error": "GPU 0: Xid 79 (fallen off the bus), once in the kernel log."}],
            ["Healthy GPUs are required; GPU 0: Xid 79 (fallen off the bus), once in the kernel log."],
        ),
        (
            [{"check": "health", "ok": True, "skipped": "there is no GPU"}],
            ["Healthy GPUs are required; there is no GPU."],
        ),
        ([], ["Healthy GPUs are required; their health was not read here."]),
    ],
)
def test_health_is_that_of_the_check(results: list[Facts], words: list[str], host: Host) -> None:
    assert unmet(pod(host, 1), {"health": "ok"}, health=results) == words


def test_health_is_also_that_cuda_works_now(host: Host) -> None:
    facts = pod(host, 1)
    facts["loader"] = {
        "libcuda": "/usr/lib/x86_64-linux-gnu/libcuda.so.580.95.05",
        "compat_active": False,
        "init": {"code": 802, "name": "CUDA_ERROR_SYSTEM_NOT_READY"},
        "devices": 0,
    }
    found = unmet(facts, {"health": "ok"}, health=HEALTHY)
    assert len(found) == 1
    assert found[0].startswith("Healthy GPUs are required; ")
    assert "802" in found[0]


def test_nothing_is_changed_on_a_host_that_is_not_what_is_required(host: Host) -> None:
    facts = pod(host, 7)
    decision = stack_plan(facts, {"cuda": "13.0"}, require={"gpus": 8})
    assert (decision["changes"], decision["download"]["mib"]) == ([], 0)
    text = render_text(decision, facts, "pod", changed=[])
    assert f"unmet    8 GPUs are required; the host has 7 (7x {H100})." in text
    assert "help     Use a host that meets stack_plan_require, or change what it requires." in text
    assert "verdict  unmet: nothing was changed, the host is not what is required" in text


def test_each_rule_is_asked() -> None:
    assert [rule.__name__ for rule in RULES] == [
        "too_few_gpus",
        "another_model",
        "too_little_memory",
        "another_driver",
        "too_little_shm",
        "too_little_disk",
        "missing_extensions",
        "another_route",
        "not_healthy",
    ]
