# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Readings in, findings out: from a healthy H200 one value at a time is made bad, or unreadable."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._verify.health import (
    judge_health,
    pick,
    say,
    say_unknown,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import load_catalogue

Readings = dict[str, Any]
HALF = {"sm_mhz": 800, "reasons": {"4": 100, "8": 40}}
REST = {
    "reasons": 1,
    "sm_mhz": 525,
    "memory_mhz": 3201,
    "power_w": 122.0,
    "temperature_c": 39,
    "margin_c": 47,
    "pcie_generation": 5,
    "pcie_width": 16,
    "busy_percent": 0,
}
FACTS = {
    "sm_max_mhz": 1980,
    "memory_max_mhz": 3201,
    "power_limit_w": 700.0,
    "power_default_w": 700.0,
    "slowdown_c": 87,
    "pcie_max_generation": 5,
    "pcie_max_width": 16,
    "pcie_replays": 0,
    "persistence": 1,
    "ecc": 1,
    "ecc_corrected": 0,
    "ecc_uncorrected": 0,
    "ecc_corrected_ever": 0,
    "ecc_uncorrected_ever": 0,
    "sram_exceeded": 0,
    "rows_corrected": 0,
    "rows_uncorrected": 0,
    "rows_pending": 0,
    "rows_failure": 0,
    "pages_retired": 0,
    "pages_pending": 0,
    "recovery_action": 0,
}
LOAD = {
    **REST,
    "reasons": {},
    "sm_mhz": 1905,
    "power_w": 612.0,
    "temperature_c": 58,
    "margin_c": 28,
    "busy_percent": 100,
}


def values(record: dict[str, Any]) -> dict[str, Any]:
    return {name: {"value": value} for name, value in record.items()}


def link(number: int, state: int = 1, **counters: int) -> dict[str, Any]:
    return {"link": number, **values({"state": state, "replays": 0, "recoveries": 0, "crc": 0, **counters})}


def healthy(*, load: bool = True, gpus: int = 1) -> Readings:
    device = {
        "name": "NVIDIA H200",
        "pci_id": "0000:00:06.0",
        "rest": values(REST),
        "load": {"samples": 50, **values(LOAD)} if load else None,
        "events": {"value": []} if load else None,
        "facts": values(FACTS),
        "links": [link(0), link(1)],
        "fabric": {"value": {"state": 3, "status": 0, "health": 0xAA}},
    }
    devices = [{"index": index, **copy.deepcopy(device)} for index in range(gpus)]
    return {"init": 0, "xids": {}, "devices": devices, "load": {"tflops_per_device": 620.0} if load else None}


def judge(readings: Readings) -> list[dict[str, Any]]:
    return judge_health(readings, load_catalogue()["health"])


def grave(readings: Readings) -> list[tuple[str, str, str]]:
    """Item, severity and words of all that is not ok."""
    return [
        (finding["item"], finding["severity"], finding["text"])
        for finding in judge(readings)
        if finding["severity"] != "ok"
    ]


@pytest.mark.parametrize("load", [True, False])
def test_a_healthy_gpu_has_no_finding_but_good_ones(load: bool) -> None:
    assert grave(healthy(load=load)) == []
    told = {finding["item"] for finding in judge(healthy(load=load))}
    assert told == {
        *("xid", "recovery", "ecc", "rows", "pages", "clocks", "power", "temperature"),
        *("pcie", "nvlink", "fabric", "persistence"),
    }


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("ecc", 0, [("ecc", "note", "ECC is off")]),
        ("ecc_corrected", 3, [("ecc", "note", "corrected memory errors since the driver was loaded: 3")]),
        ("ecc_uncorrected", 1, [("ecc", "warning", "uncorrected memory errors since the driver was loaded: 1")]),
        ("ecc_uncorrected_ever", 2, [("ecc", "note", "uncorrected memory errors over the GPU's lifetime: 2")]),
        (
            "sram_exceeded",
            1,
            [("ecc", "failure", "on-chip memory errors above the threshold for replacing the GPU (1 is yes): 1")],
        ),
        ("rows_uncorrected", 4, [("rows", "note", "memory rows replaced because of uncorrected errors: 4")]),
        ("rows_pending", 1, [("rows", "warning", "memory rows pending replacement (1 is yes): 1")]),
        ("rows_failure", 1, [("rows", "failure", "a memory row that could not be replaced (1 is yes): 1")]),
        ("pages_retired", 14, [("pages", "note", "memory pages retired: 14")]),
        ("pages_retired", 15, [("pages", "warning", "memory pages retired: 15")]),
        ("pages_retired", 60, [("pages", "failure", "memory pages retired: 60")]),
        ("pages_pending", 1, [("pages", "warning", "memory pages pending retirement (1 is yes): 1")]),
        ("pcie_replays", 5, [("pcie", "note", "PCIe replays: 5")]),
        ("persistence", 0, [("persistence", "note", "persistence mode is off")]),
        ("recovery_action", 1, [("recovery", "failure", "the driver asks to reset the GPU")]),
        ("recovery_action", 99, [("recovery", "failure", "the driver requests recovery action 99")]),
        ("power_limit_w", 600.0, [("power", "note", "the power limit is 86 percent of the default")]),
        ("power_limit_w", 400.0, [("power", "warning", "the power limit is 57 percent of the default")]),
        (
            "pcie_max_generation",
            6,
            [("pcie", "warning", "PCIe generations below the maximum of GPU and slot: 1")],
        ),
        (
            "pcie_max_width",
            32,
            [("pcie", "warning", "PCIe lanes, in percent of the maximum of GPU and slot: 50")],
        ),
    ],
)
def test_facts(name: str, value: Any, found: list[tuple[str, str, str]]) -> None:
    readings = healthy()
    readings["devices"][0]["facts"][name] = {"value": value}
    assert grave(readings) == found


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        pytest.param(
            {"sm_mhz": 1700},
            [("clocks", "note", "the SM clock under load is 86 percent of the maximum (1700 of 1980 MHz)")],
            id="boost",
        ),
        pytest.param(
            {"sm_mhz": 800},
            [("clocks", "warning", "the SM clock under load is 40 percent of the maximum (800 of 1980 MHz)")],
            id="slow",
        ),
        pytest.param(
            {"sm_mhz": 345},
            [("clocks", "failure", "the SM clock under load is 17 percent of the maximum (345 of 1980 MHz)")],
            id="crawling",
        ),
        pytest.param(
            {"memory_mhz": 1500},
            [("clocks", "failure", "the memory clock under load is 47 percent of the maximum (1500 of 3201 MHz)")],
            id="memory",
        ),
        pytest.param(
            {"reasons": {"8": 40}},
            [
                (
                    "clocks",
                    "failure",
                    (
                        "hardware slowdown under load in 40 percent of the samples: "
                        "The hardware halves the clocks or more: heat or power."
                    ),
                )
            ],
            id="hardware-slowdown",
        ),
        pytest.param(
            {"reasons": {"8": 9}},
            [
                (
                    "clocks",
                    "note",
                    (
                        "hardware slowdown under load in 9 percent of the samples: "
                        "The hardware halves the clocks or more: heat or power."
                    ),
                )
            ],
            id="passing",
        ),
        pytest.param(
            {"reasons": {"4096": 100}},
            [
                (
                    "clocks",
                    "warning",
                    (
                        "the clocks are limited under load in 100 percent of the samples for an unlisted"
                        " reason (bit 4096)"
                    ),
                )
            ],
            id="unheard-of",
        ),
        pytest.param({"margin_c": 0}, [("temperature", "warning", "0 °C below thermal slowdown")], id="hot"),
        pytest.param({"margin_c": 9}, [("temperature", "note", "9 °C below thermal slowdown")], id="warm"),
        pytest.param(
            {"pcie_generation": 3},
            [("pcie", "warning", "PCIe generations below the maximum of GPU and slot: 2")],
            id="link-stays-slow",
        ),
    ],
)
def test_load(changes: dict[str, Any], found: list[tuple[str, str, str]]) -> None:
    readings = healthy()
    readings["devices"][0]["load"].update(values(changes))
    assert grave(readings) == found


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        pytest.param(
            {"pcie_generation": 1},
            [("pcie", "note", "PCIe generation 1 of 5 at rest, when links save power")],
            id="link-sleeps",
        ),
        pytest.param(
            {"pcie_width": 8},
            [("pcie", "warning", "PCIe lanes, in percent of the maximum of GPU and slot: 50")],
            id="half-the-lanes",
        ),
        pytest.param(
            {"reasons": 1 | 64},
            [
                (
                    "clocks",
                    "warning",
                    "hardware thermal slowdown at rest: The GPU is so hot that the hardware halves the clocks or more.",
                )
            ],
            id="hot-at-rest",
        ),
    ],
)
def test_rest(changes: dict[str, Any], found: list[tuple[str, str, str]]) -> None:
    readings = healthy(load=False)
    readings["devices"][0]["rest"].update(values(changes))
    assert grave(readings) == found


@pytest.mark.parametrize(
    ("logged", "raised", "found"),
    [
        pytest.param([79], [], [("failure", "Xid 79 (GPU fell off the bus), once in the kernel log: ")], id="failure"),
        pytest.param(
            [31, 31], [], [("note", "Xid 31 (GPU memory page fault), 2 times in the kernel log: ")], id="note"
        ),
        pytest.param([999], [], [("warning", "Xid 999, once in the kernel log")], id="unlisted"),
        pytest.param([], [31], [("warning", "Xid 31 (GPU memory page fault), once during the load: ")], id="note-now"),
        pytest.param(
            [], [94], [("failure", "Xid 94 (Contained memory error), once during the load: ")], id="warning-now"
        ),
        pytest.param([], [999], [("failure", "Xid 999, once during the load")], id="unlisted-now"),
    ],
)
def test_xids(logged: list[int], raised: list[int], found: list[tuple[str, str]]) -> None:
    readings = healthy()
    readings["xids"] = {"0000:00:06": logged, "0000:07:00": [79]}
    readings["devices"][0]["events"] = {"value": raised}
    assert [
        (severity, text[: len(words)])
        for (_item, severity, text), (_grave, words) in zip(grave(readings), found, strict=True)
    ] == found


@pytest.mark.parametrize(
    ("links", "gpus", "found"),
    [
        pytest.param([], 1, [], id="none"),
        pytest.param([link(0), link(1, 0)], 1, [("failure", "1 of 2 NVLinks are down (1)")], id="one-down"),
        pytest.param([link(0, 0)], 1, [("note", "all NVLinks (1) are down; there is no second GPU here")], id="alone"),
        pytest.param([link(0, 0)], 2, [("warning", "all NVLinks (1) are down")] * 2, id="all-down"),
        pytest.param([link(3, crc=2)], 1, [("note", "NVLink 3: checksum errors: 2")], id="checksums"),
        pytest.param([link(3, recoveries=1)], 1, [("warning", "NVLink 3: recoveries of the link: 1")], id="recoveries"),
        pytest.param([{"link": 0, "state": {"code": 4}}], 1, [("unknown", "the NVLinks: no permission")], id="closed"),
    ],
)
def test_links(links: list[dict[str, Any]], gpus: int, found: list[tuple[str, str]]) -> None:
    readings = healthy(gpus=gpus)
    for device in readings["devices"]:
        device["links"] = links
    assert [(severity, text) for _item, severity, text in grave(readings)] == found


@pytest.mark.parametrize(
    ("fabric", "found"),
    [
        pytest.param({"code": 3}, [], id="no-switch"),
        pytest.param({"value": {"state": 0, "status": 0, "health": None}}, [], id="not-supported"),
        pytest.param({"value": {"state": 3, "status": 0, "health": None}}, [], id="old-driver"),
        pytest.param(
            {"value": {"state": 2, "status": 0, "health": 0}},
            [("failure", "the NVSwitch fabric is in progress")],
            id="in-progress",
        ),
        pytest.param(
            {"value": {"state": 3, "status": 999, "health": 0}},
            [("failure", "the NVSwitch fabric is completed, with error 999")],
            id="error",
        ),
        pytest.param(
            {"value": {"state": 3, "status": 0, "health": 0x11}},
            [("failure", "the NVSwitch fabric reports degraded bandwidth, an unhealthy route")],
            id="unhealthy",
        ),
        pytest.param({"code": 13}, [("unknown", "the NVSwitch fabric: not available with this driver")], id="unknown"),
    ],
)
def test_fabric(fabric: dict[str, Any], found: list[tuple[str, str]]) -> None:
    readings = healthy()
    readings["devices"][0]["fabric"] = fabric
    assert [(severity, text) for _item, severity, text in grave(readings)] == found


@pytest.mark.parametrize("code", [3, 4, 10, 13, 15, 16, 999])
@pytest.mark.parametrize(
    ("part", "name"),
    [("facts", name) for name in FACTS if name != "slowdown_c"]
    + [("load", name) for name in LOAD if name != "busy_percent"]
    + [("rest", name) for name in ("reasons", "power_w")],
)
def test_nothing_fails_open(part: str, name: str, code: int) -> None:
    """Whatever cannot be read is told with its reason; a GPU that is lost fails."""
    readings = healthy()
    readings["devices"][0][part][name] = {"code": code}
    # A distance that is not told is that to the slowdown threshold; rows and pages stand in for each other.
    if name == "margin_c":
        readings["devices"][0]["facts"]["slowdown_c"] = {"code": code}
    if name in ("rows_failure", "pages_retired") and code == 3:
        readings["devices"][0]["facts"].update({"rows_failure": {"code": 3}, "pages_retired": {"code": 3}})
    wanted = "failure" if code in (15, 16) else "unknown"
    found = grave(readings)
    assert found
    assert {severity for _item, severity, _text in found} == {wanted}
    good = len(pick(judge(healthy()), "ok"))
    assert len(pick(judge(readings), "ok")) <= good - 1 + (name == "reasons")


def test_a_gpu_that_replaces_rows_is_not_asked_for_pages() -> None:
    readings = healthy()
    readings["devices"][0]["facts"].update({"pages_retired": {"code": 3}, "pages_pending": {"code": 3}})
    assert grave(readings) == []


def test_the_slowdown_threshold_stands_in_for_the_distance() -> None:
    readings = healthy()
    readings["devices"][0]["load"].update({"margin_c": {"code": 13}, "temperature_c": {"value": 87}})
    assert grave(readings) == [("temperature", "warning", "0 °C below thermal slowdown")]


@pytest.mark.parametrize(
    ("readings", "text"),
    [
        ({"init": 9}, "NVML initialization failed: the kernel driver is not loaded"),
        ({"init": 18}, "NVML initialization failed: the driver's libraries do not match the loaded kernel driver"),
        ({"init": 255}, "NVML initialization failed: error 255"),
        ({"init": 0, "devices": []}, "NVML finds no GPU"),
        (
            {"init": 0, "xids": None, "devices": [{"index": 1, "code": 15}], "load": None},
            "it does not respond: the GPU has fallen off the bus",
        ),
    ],
)
def test_what_answers_nothing_fails(readings: Readings, text: str) -> None:
    assert [(finding["severity"], finding["text"]) for finding in judge(readings)] == [("failure", text)]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"xids": None}, "earlier Xids: the kernel log cannot be read here"),
        ({"load": {"error": "torch sees no GPU."}}, "nothing was measured under load: torch sees no GPU"),
    ],
)
def test_what_was_not_looked_at_is_unknown(changes: dict[str, Any], text: str) -> None:
    assert [(severity, words) for _item, severity, words in grave({**healthy(), **changes})] == [("unknown", text)]


def test_a_gpu_that_the_load_did_not_reach_is_not_judged_by_it() -> None:
    readings = healthy()
    readings["devices"][0]["load"] |= values({"busy_percent": 3, "sm_mhz": 345, "reasons": {"1": 100}})
    text = "nothing was measured under load: the GPU was busy 3 percent of the time"
    assert grave(readings) == [("load", "unknown", text)]


def test_a_driver_that_tells_no_use_is_believed() -> None:
    readings = healthy()
    readings["devices"][0]["load"]["busy_percent"] = {"code": 3}
    assert grave(readings) == []


def test_every_grave_finding_has_advice() -> None:
    readings = healthy(gpus=2)
    for device in readings["devices"]:
        device["facts"] |= values({"rows_failure": 1, "ecc": 0, "recovery_action": 2})
        device["load"] |= values(HALF)
    assert all(finding["advice"] for finding in pick(judge(readings), "note", "warning", "failure"))


def test_what_is_unknown_is_said_once_for_each_reason() -> None:
    readings = healthy()
    readings["xids"] = None
    readings["devices"][0]["facts"] |= {"persistence": {"code": 4}, "ecc": {"code": 3}, "rows_pending": {"code": 4}}
    assert say_unknown(judge(readings)) == [
        "GPU 0: earlier Xids: the kernel log cannot be read here.",
        (
            "Unknown for GPU 0: whether memory errors are corrected (ECC) "
            "(not supported by this GPU or under this virtualization)."
        ),
        "Unknown for GPU 0: memory rows pending replacement, the persistence mode (no permission).",
    ]


def test_say_ends_a_sentence_once() -> None:
    assert say({"device": 0, "text": "ECC is off"}) == "GPU 0: ECC is off."
    assert say({"device": None, "text": "It is hot."}) == "It is hot."
