# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What NVML says of the devices: clocks, power, temperature, and what joins them. Nothing here needs torch.

A value that a device does not tell is None. Constants are those of nvml.h.
"""

from __future__ import annotations

import ctypes
from typing import Any

Record = dict[str, Any]

SM_CLOCK, MEMORY_CLOCK = 1, 2
TEMPERATURE_OF_GPU = 0
P2P_NVLINK, P2P_OK = 2, 0
MAX_LINKS = 18
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


class Nvml:
    """NVML's functions, those that fail answering None."""

    def __init__(self) -> None:
        """Raises OSError where there is no NVML."""
        self._library = ctypes.CDLL("libnvidia-ml.so.1")
        if self._library.nvmlInit_v2() != 0:
            raise OSError("NVML does not start")

    def handle(self, uuid: str) -> ctypes.c_void_p | None:
        """The device of this UUID, as ``GPU-…``."""
        found = ctypes.c_void_p()
        code = self._library.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(found))
        return found if code == 0 else None

    def number(self, function: str, *arguments: Any) -> int | None:
        """The number that a function stores behind its last argument."""
        found = ctypes.c_ulonglong()  # wide enough for each of them, and zero above a narrower one
        try:
            code = getattr(self._library, function)(*arguments, ctypes.byref(found))
        except AttributeError:  # a driver without it
            return None
        return found.value if code == 0 else None

    def driver(self) -> str | None:
        """The driver's version."""
        text = ctypes.create_string_buffer(81)
        return text.value.decode() if self._library.nvmlSystemGetDriverVersion(text, 81) == 0 else None

    def state(self, device: ctypes.c_void_p) -> Record:
        """Clocks, power, temperature and what holds the clocks down, now."""
        power = self.number("nvmlDeviceGetPowerUsage", device)
        reasons = self.number("nvmlDeviceGetCurrentClocksThrottleReasons", device) or 0
        return {
            "sm_mhz": self.number("nvmlDeviceGetClockInfo", device, SM_CLOCK),
            "memory_mhz": self.number("nvmlDeviceGetClockInfo", device, MEMORY_CLOCK),
            "power_w": None if power is None else power / 1000,
            "temperature_c": self.number("nvmlDeviceGetTemperature", device, TEMPERATURE_OF_GPU),
            "throttling": [text for bit, text in THROTTLING.items() if reasons & bit],
        }

    def fixed(self, device: ctypes.c_void_p) -> Record:
        """What does not change: limits and links."""
        power = self.number("nvmlDeviceGetEnforcedPowerLimit", device)
        active = [self.number("nvmlDeviceGetNvLinkState", device, link) == 1 for link in range(MAX_LINKS)]
        return {
            "power_limit_w": None if power is None else power / 1000,
            "sm_mhz_limit": self.number("nvmlDeviceGetMaxClockInfo", device, SM_CLOCK),
            "pcie_generation": self.number("nvmlDeviceGetMaxPcieLinkGeneration", device),
            "pcie_lanes": self.number("nvmlDeviceGetCurrPcieLinkWidth", device),
            "nvlinks": sum(active),
        }

    def link(self, first: ctypes.c_void_p, second: ctypes.c_void_p) -> str:
        """What joins two devices, in words that begin with NVLink or PCIe."""
        if self.number("nvmlDeviceGetP2PStatus", first, second, P2P_NVLINK) == P2P_OK:
            count = self.fixed(first)["nvlinks"]
            return f"NVLink ({count} links)"
        level = self.number("nvmlDeviceGetTopologyCommonAncestor", first, second)
        return f"PCIe ({LEVELS[level]})" if level in LEVELS else "PCIe"
