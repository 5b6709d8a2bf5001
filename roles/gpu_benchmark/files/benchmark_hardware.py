# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What NVML says of the devices: clocks, power, temperature, and what joins them. Nothing here needs torch.

A value that a device does not tell is None. Constants are those of nvml.h.
"""

from __future__ import annotations

import ctypes
from typing import Any

from nvml import Nvml

Record = dict[str, Any]

SM_CLOCK, MEMORY_CLOCK = 1, 2
TEMPERATURE_OF_GPU = 0
P2P_NVLINK, P2P_OK = 2, 0
MAX_LINKS = 36
LEVELS = {
    0: "one board",
    10: "one PCIe switch",
    20: "several PCIe switches",
    30: "one host bridge",
    40: "one CPU",
    50: "across CPUs",
}
# Reasons that hold clocks down; "idle" and an application's own setting are none.
THROTTLING = {
    0x04: "power limit",
    0x08: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}


class Hardware:
    """NVML's word on devices, known by their handles."""

    def __init__(self, library: ctypes.CDLL) -> None:
        """Raises OSError where NVML does not start."""
        self.nvml = Nvml(library)
        if code := self.nvml.call("nvmlInit_v2"):
            raise OSError(f"nvmlInit_v2 returned {code}")

    def handle(self, uuid: str) -> ctypes.c_void_p | None:
        """The device of this UUID, as ``GPU-…``; None where NVML does not know it."""
        found = ctypes.c_void_p()
        return None if self.nvml.call("nvmlDeviceGetHandleByUUID", uuid.encode(), ctypes.byref(found)) else found

    def driver(self) -> str | None:
        """The driver's version."""
        return self.nvml.text("nvmlSystemGetDriverVersion")

    def state(self, device: ctypes.c_void_p) -> Record:
        """Clocks, power, temperature and what holds the clocks down, now."""
        reasons = ctypes.c_ulonglong()
        unknown = self.nvml.call("nvmlDeviceGetCurrentClocksThrottleReasons", device, ctypes.byref(reasons))
        return {
            "sm_mhz": self.nvml.number("nvmlDeviceGetClockInfo", device, SM_CLOCK),
            "memory_mhz": self.nvml.number("nvmlDeviceGetClockInfo", device, MEMORY_CLOCK),
            "power_w": watts(self.nvml.number("nvmlDeviceGetPowerUsage", device)),
            "temperature_c": self.nvml.number("nvmlDeviceGetTemperature", device, TEMPERATURE_OF_GPU),
            "throttling": None if unknown else [text for bit, text in THROTTLING.items() if reasons.value & bit],
        }

    def fixed(self, device: ctypes.c_void_p) -> Record:
        """What does not change: limits and links."""
        active = [self.nvml.number("nvmlDeviceGetNvLinkState", device, link) == 1 for link in range(MAX_LINKS)]
        return {
            "power_limit_w": watts(self.nvml.number("nvmlDeviceGetEnforcedPowerLimit", device)),
            "sm_mhz_limit": self.nvml.number("nvmlDeviceGetMaxClockInfo", device, SM_CLOCK),
            "pcie_generation": self.nvml.number("nvmlDeviceGetMaxPcieLinkGeneration", device),
            "pcie_lanes": self.nvml.number("nvmlDeviceGetCurrPcieLinkWidth", device),
            "nvlinks": sum(active),
        }

    def link(self, first: ctypes.c_void_p, second: ctypes.c_void_p) -> str:
        """What joins two devices, in words that begin with NVLink or PCIe."""
        if self.nvml.number("nvmlDeviceGetP2PStatus", first, second, P2P_NVLINK) == P2P_OK:
            return f"NVLink ({self.fixed(first)['nvlinks']} links)"
        level = self.nvml.number("nvmlDeviceGetTopologyCommonAncestor", first, second)
        return f"PCIe ({LEVELS[level]})" if level in LEVELS else "PCIe"


def watts(milliwatts: int | None) -> float | None:
    """NVML counts in thousandths."""
    return None if milliwatts is None else milliwatts / 1000
