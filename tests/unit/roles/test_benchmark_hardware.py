"""What the benchmark reads of devices, from a library that answers like NVML."""

from __future__ import annotations

import ctypes
import importlib
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]


@pytest.fixture
def hardware(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(ROOT / "plugins/module_utils/_host"))
    monkeypatch.syspath_prepend(str(ROOT / "roles/gpu_benchmark/files"))
    return importlib.import_module("benchmark_hardware")


class Library:
    """NVML with one H200; a number stands for what a function stores, an absent function for an old driver."""

    NUMBERS: ClassVar[dict[str, int]] = {
        "nvmlDeviceGetPowerUsage": 612_345,
        "nvmlDeviceGetEnforcedPowerLimit": 700_000,
        "nvmlDeviceGetTemperature": 61,
        "nvmlDeviceGetMaxClockInfo": 1980,
        "nvmlDeviceGetMaxPcieLinkGeneration": 5,
        "nvmlDeviceGetCurrPcieLinkWidth": 16,
        "nvmlDeviceGetCurrentClocksThrottleReasons": 0x1_0000_0024,
        "nvmlDeviceGetP2PStatus": 0,
        "nvmlDeviceGetTopologyCommonAncestor": 40,
    }

    def __init__(self, start: int = 0, **changes: int | None) -> None:
        self.start = start
        self.numbers = {name: value for name, value in (self.NUMBERS | changes).items() if value is not None}

    def __getattr__(self, name: str) -> Callable[..., int]:
        if name == "nvmlInit_v2":
            return lambda: self.start
        if name == "nvmlDeviceGetClockInfo":
            return lambda _device, kind, out: self.store(out, {1: 1755, 2: 3201}[kind])
        if name == "nvmlDeviceGetNvLinkState":
            return lambda _device, link, out: self.store(out, int(link < 18)) if link < 18 else 2
        if name == "nvmlDeviceGetCurrentClocksThrottleReasons" and name in self.numbers:
            return lambda _device, out: self.store(out, self.numbers[name], size=8)
        if name not in self.numbers:
            raise AttributeError(name)
        return lambda *arguments: self.store(arguments[-1], self.numbers[name])

    @staticmethod
    def store(out: Any, value: int, *, size: int = 4) -> int:
        assert ctypes.sizeof(out._obj) == size, "NVML would write beyond it"
        out._obj.value = value
        return 0


def test_state(hardware: Any) -> None:
    assert hardware.Hardware(Library()).state(None) == {
        "sm_mhz": 1755,
        "memory_mhz": 3201,
        "power_w": 612.345,
        "temperature_c": 61,
        "throttling": ["power limit", "software thermal slowdown"],
    }


def test_what_is_not_told_is_unknown_not_none(hardware: Any) -> None:
    silent = Library(nvmlDeviceGetPowerUsage=None, nvmlDeviceGetCurrentClocksThrottleReasons=None)
    state = hardware.Hardware(silent).state(None)
    assert (state["power_w"], state["throttling"]) == (None, None)


def test_fixed(hardware: Any) -> None:
    assert hardware.Hardware(Library()).fixed(None) == {
        "power_limit_w": 700.0,
        "sm_mhz_limit": 1980,
        "pcie_generation": 5,
        "pcie_lanes": 16,
        "nvlinks": 18,
    }


@pytest.mark.parametrize(
    ("changes", "link"),
    [
        pytest.param({}, "NVLink (18 links)", id="nvlink"),
        pytest.param({"nvmlDeviceGetP2PStatus": 3}, "PCIe (one CPU)", id="pcie"),
        pytest.param(
            {"nvmlDeviceGetP2PStatus": None, "nvmlDeviceGetTopologyCommonAncestor": 50}, "PCIe (across CPUs)", id="old"
        ),
        pytest.param({"nvmlDeviceGetP2PStatus": 3, "nvmlDeviceGetTopologyCommonAncestor": None}, "PCIe", id="unknown"),
    ],
)
def test_link(hardware: Any, changes: dict[str, int | None], link: str) -> None:
    assert hardware.Hardware(Library(**changes)).link(None, None) == link


def test_a_library_that_does_not_start(hardware: Any) -> None:
    with pytest.raises(OSError, match="nvmlInit_v2 returned 9"):
        hardware.Hardware(Library(start=9))
