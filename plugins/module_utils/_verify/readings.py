# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the GPUs say of their health: read at rest and, with a load, while it runs. Nothing here judges.

A reading is ``{"value": …}``, or ``{"code": …}`` with the nvmlReturn_t of the call that refused, so that what could not
be read is never taken for zero.
"""

from __future__ import annotations

import ctypes
import os
import signal
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Callable

from ansible_collections.podsmith.gpu.plugins.module_utils._host.child import become, exit_code
from ansible_collections.podsmith.gpu.plugins.module_utils._host.nvml import (
    FUNCTION_NOT_FOUND,
    INSUFFICIENT_SIZE,
    INVALID_ARGUMENT,
    NOT_SUPPORTED,
    Nvml,
    load_first,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root, split_path
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.driver import parse_pci, parse_xids, read_kernel_log
from ansible_collections.podsmith.gpu.plugins.module_utils._verify.judge import last_words, parse_records
from ansible_collections.podsmith.gpu.plugins.module_utils._verify.run import read_tail

Record = dict[str, Any]
Reading = dict[str, Any]

LIBRARY = "libnvidia-ml.so.1"
KERNEL_DRIVER = ("/sys/module/nvidia", "/proc/driver/nvidia")  # under WSL2 there is neither, and Windows has the Xids
SAMPLE_PAUSE = 0.1  # seconds between two samples under load
XID_EVENT = 8  # nvmlEventTypeXidCriticalError
EVENT_LIMIT = 100  # events read back
MAX_LINKS = 36  # NVML_NVLINK_MAX_LINKS
RECOVERY_ACTION = 230  # NVML_FI_DEV_GET_GPU_RECOVERY_ACTION

# nvmlClockType_t, nvmlMemoryErrorType_t, nvmlEccCounterType_t, nvmlPageRetirementCause_t
SM_CLOCK, MEMORY_CLOCK = 1, 2
CORRECTED, UNCORRECTED = 0, 1
VOLATILE, AGGREGATE = 0, 1
PAGE_CAUSES = (0, 1)  # many single-bit errors, a double-bit error
SLOWDOWN = 1  # nvmlTemperatureThresholds_t
LINK_ERRORS = {"replays": 0, "recoveries": 1, "crc": 2}  # nvmlNvLinkErrorCounter_t
# nvmlGpuFabricInfo_v2_t: version, 16 bytes of UUID, status, clique, state, health mask; the older one has no version
# and no health.
FABRIC_SIZE, FABRIC_VERSION = 36, 0x2000024
FABRIC_OLD_SIZE = 28
# nvmlEccSramErrorStatus_v1_t: the last integer says whether the threshold for replacing the GPU is exceeded.
SRAM_SIZE, SRAM_VERSION, SRAM_EXCEEDED = 104, 0x1000068, 96
MARGIN_VERSION = 0x1000008  # nvmlMarginTemperature_v1_t


class _Event(ctypes.Structure):
    """nvmlEventData_t."""

    _fields_ = (
        ("device", ctypes.c_void_p),
        ("type", ctypes.c_ulonglong),
        ("data", ctypes.c_ulonglong),
        ("instances", ctypes.c_uint * 2),
    )


class _Field(ctypes.Structure):
    """nvmlFieldValue_t."""

    _fields_ = (
        ("id", ctypes.c_uint),
        ("scope", ctypes.c_uint),
        ("timestamp", ctypes.c_longlong),
        ("latency", ctypes.c_longlong),
        ("type", ctypes.c_int),
        ("code", ctypes.c_int),
        ("value", ctypes.c_ulonglong),
    )


def find_libraries(root: Root, environ: Mapping[str, str]) -> list[str]:
    """Names and paths of libnvidia-ml to try in turn."""
    own = root.find_library(LIBRARY, tuple(split_path(environ.get("LD_LIBRARY_PATH"))))
    return [LIBRARY, *([own] if own else [])]


def read_health(libraries: Sequence[str], load: Sequence[str] | None, log: str, seconds: float) -> Record:
    """Read all that the GPUs say of their health; meant for a child, since a hung driver never answers.

    :param libraries: names or paths of libnvidia-ml to try in turn.
    :param load: the command that puts a load on the GPUs for a few seconds, ``None`` for a reading at rest alone.
    :param log: the file that takes the load's output.
    :param seconds: how long the load may take in all.
    :return: ``{init, xids, devices, load}``. ``init`` is nvmlInit's code, ``None`` where no library could be loaded.
        ``xids`` is the kernel's log as slot → codes, ``None`` where it cannot be read. Each device has ``index`` and
        ``code`` where it does not answer, else ``name``, ``pci_id``, ``rest`` (:func:`read_sample`), ``load``
        (:func:`combine_samples`, ``None`` without one), ``facts`` (:func:`read_facts`), ``links``, ``fabric`` and
        ``events`` (the Xids raised during the load). ``load`` is ``None``, or what the command printed, or ``{error}``.
    """
    readings: Record = {"init": None, "xids": None, "devices": [], "load": None}
    library = load_first(libraries)
    if library is None:
        return readings
    nvml = Nvml(library)
    readings["init"] = nvml.call("nvmlInit_v2")
    if readings["init"]:
        return readings
    handles = {}
    for index in range(nvml.number("nvmlDeviceGetCount_v2") or 0):
        handle = ctypes.c_void_p()
        code = nvml.call("nvmlDeviceGetHandleByIndex_v2", index, ctypes.byref(handle))
        readings["devices"].append({"index": index, "code": code} if code else _identify(nvml, index, handle))
        if not code:
            handles[index] = handle
    devices = {device["index"]: device for device in readings["devices"]}
    for index, handle in handles.items():
        devices[index]["rest"] = read_sample(nvml, handle)
    if load and handles:
        events = _open_events(nvml, handles)
        samples: list[tuple[float, int, dict[str, Reading]]] = []

        def look() -> None:
            for index, handle in handles.items():
                samples.append((time.monotonic(), index, read_sample(nvml, handle)))

        readings["load"] = record = parse_load(*run_load(load, log, seconds, look), seconds)
        for index, event in _close_events(nvml, events):
            begun, ended = record.get("begun", 0.0), record.get("ended", 0.0)
            mine = [sample for moment, owner, sample in samples if owner == index and begun <= moment <= ended]
            devices[index].update(events=event, load=combine_samples(mine))
    for index, handle in handles.items():
        devices[index]["facts"] = read_facts(nvml, handle)
        devices[index]["links"] = read_links(nvml, handle)
        devices[index]["fabric"] = read_fabric(nvml, handle)
    nvml.call("nvmlShutdown")
    kernel_log = read_kernel_log() if any(Path(path).exists() for path in KERNEL_DRIVER) else None
    readings["xids"] = None if kernel_log is None else parse_xids(kernel_log)
    return readings


def run_load(argv: Sequence[str], log: str, seconds: float, look: Callable[[], None]) -> tuple[int | None, str]:
    """Run a command and look again and again until it ends: its exit status, None past the limit, and its output.

    It stays in this process's group, so that it ends with it.
    """
    end = time.monotonic() + seconds
    pid = os.fork()
    if pid == 0:
        become(lambda: os.execve(argv[0], list(argv), dict(os.environ)), log, with_errors=True, lead=None)
    code = None
    while code is None and time.monotonic() < end:
        look()
        time.sleep(SAMPLE_PAUSE)
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            code = exit_code(status)
    if code is None:
        os.kill(pid, signal.SIGKILL)
    return code, read_tail(Path(log))


def parse_load(code: int | None, output: str, seconds: float) -> Record:
    """What the load printed, with ``begun`` and ``ended`` on the monotonic clock; ``{error}`` where it did not run."""
    records = parse_records(output)
    if code is None:
        return {"error": f"it did not finish within {seconds:g} s"}
    if code:
        return {"error": records[-1]["failure"] if records and "failure" in records[-1] else last_words(output)}
    return records[-1] if records else {"error": f"it printed no result: {last_words(output)}"}


def combine_samples(samples: Sequence[Mapping[str, Reading]]) -> Record | None:
    """The samples of one device as one: the middle of the clocks, the worst of the rest, ``reasons`` as bit → percent.

    A value that no sample has keeps its code; None where there is no sample.
    """
    if not samples:
        return None
    ways: Mapping[str, Callable[[list[Any]], Any]] = {
        "reasons": count_bits,
        "sm_mhz": statistics.median,
        "memory_mhz": statistics.median,
        "power_w": max,
        "temperature_c": max,
        "margin_c": min,
        "pcie_generation": max,
        "pcie_width": max,
        "busy_percent": statistics.median,
    }
    combined: Record = {"samples": len(samples)}
    for name, way in ways.items():
        values = [sample[name]["value"] for sample in samples if "value" in sample[name]]
        combined[name] = {"value": way(values)} if values else samples[-1][name]
    return combined


def count_bits(masks: Sequence[int]) -> dict[str, int]:
    """In how many percent of the masks each bit stands: ``{"4": 100}``."""
    bits = [1 << place for place in range(64) if any(mask >> place & 1 for mask in masks)]
    return {str(bit): round(100 * sum(1 for mask in masks if mask & bit) / len(masks)) for bit in bits}


def read_sample(nvml: Nvml, handle: ctypes.c_void_p) -> dict[str, Reading]:
    """What changes from moment to moment: clocks in MHz, power in watts, the bits that slow the clocks down."""
    reasons = _big(nvml, "nvmlDeviceGetCurrentClocksEventReasons", handle)
    if reasons.get("code") == FUNCTION_NOT_FOUND:  # its name before driver 535
        reasons = _big(nvml, "nvmlDeviceGetCurrentClocksThrottleReasons", handle)
    return {
        "reasons": reasons,
        "sm_mhz": _number(nvml, "nvmlDeviceGetClockInfo", handle, SM_CLOCK),
        "memory_mhz": _number(nvml, "nvmlDeviceGetClockInfo", handle, MEMORY_CLOCK),
        "power_w": _scaled(_number(nvml, "nvmlDeviceGetPowerUsage", handle)),
        "temperature_c": _number(nvml, "nvmlDeviceGetTemperature", handle, 0),
        "margin_c": _read_margin(nvml, handle),
        "pcie_generation": _number(nvml, "nvmlDeviceGetCurrPcieLinkGeneration", handle),
        "pcie_width": _number(nvml, "nvmlDeviceGetCurrPcieLinkWidth", handle),
        "busy_percent": _read_busy(nvml, handle),
    }


def read_facts(nvml: Nvml, handle: ctypes.c_void_p) -> dict[str, Reading]:
    """What stays: maxima, limits, modes, and counters since the driver was loaded or the GPU was made."""
    remapped = _numbers(nvml, "nvmlDeviceGetRemappedRows", handle, count=4)
    rows = ("rows_corrected", "rows_uncorrected", "rows_pending", "rows_failure")
    ecc = _numbers(nvml, "nvmlDeviceGetEccMode", handle, count=2)
    return {
        "sm_max_mhz": _number(nvml, "nvmlDeviceGetMaxClockInfo", handle, SM_CLOCK),
        "memory_max_mhz": _number(nvml, "nvmlDeviceGetMaxClockInfo", handle, MEMORY_CLOCK),
        "power_limit_w": _scaled(_number(nvml, "nvmlDeviceGetEnforcedPowerLimit", handle)),
        "power_default_w": _scaled(_number(nvml, "nvmlDeviceGetPowerManagementDefaultLimit", handle)),
        "slowdown_c": _number(nvml, "nvmlDeviceGetTemperatureThreshold", handle, SLOWDOWN),
        "pcie_max_generation": _number(nvml, "nvmlDeviceGetMaxPcieLinkGeneration", handle),
        "pcie_max_width": _number(nvml, "nvmlDeviceGetMaxPcieLinkWidth", handle),
        "pcie_replays": _number(nvml, "nvmlDeviceGetPcieReplayCounter", handle),
        "persistence": _number(nvml, "nvmlDeviceGetPersistenceMode", handle),
        "ecc": _part(ecc, 0),
        "ecc_corrected": _big(nvml, "nvmlDeviceGetTotalEccErrors", handle, CORRECTED, VOLATILE),
        "ecc_uncorrected": _big(nvml, "nvmlDeviceGetTotalEccErrors", handle, UNCORRECTED, VOLATILE),
        "ecc_corrected_ever": _big(nvml, "nvmlDeviceGetTotalEccErrors", handle, CORRECTED, AGGREGATE),
        "ecc_uncorrected_ever": _big(nvml, "nvmlDeviceGetTotalEccErrors", handle, UNCORRECTED, AGGREGATE),
        "sram_exceeded": _read_sram(nvml, handle),
        **{name: _part(remapped, place) for place, name in enumerate(rows)},
        "pages_retired": _read_pages(nvml, handle),
        "pages_pending": _number(nvml, "nvmlDeviceGetRetiredPagesPendingStatus", handle),
        "recovery_action": _read_field(nvml, handle, RECOVERY_ACTION),
    }


def read_links(nvml: Nvml, handle: ctypes.c_void_p) -> list[Record]:
    """Each NVLink: ``{link, state, replays, recoveries, crc}``; none where the GPU has none.

    A first link that the library refuses to speak of, for any other reason, stands for all.
    """
    links: list[Record] = []
    for link in range(MAX_LINKS):
        state = _number(nvml, "nvmlDeviceGetNvLinkState", handle, link)
        if state.get("code") in (NOT_SUPPORTED, INVALID_ARGUMENT):
            continue
        errors = {
            name: _big(nvml, "nvmlDeviceGetNvLinkErrorCounter", handle, link, counter)
            for name, counter in LINK_ERRORS.items()
        }
        links.append({"link": link, "state": state, **errors})
        if "code" in state:
            break
    return links


def read_fabric(nvml: Nvml, handle: ctypes.c_void_p) -> Reading:
    """The NVSwitch fabric: ``{state, status, health}``, health None where the driver does not tell it."""
    info = ctypes.create_string_buffer(FABRIC_SIZE)
    ctypes.c_uint.from_buffer(info).value = FABRIC_VERSION
    code = nvml.call("nvmlDeviceGetGpuFabricInfoV", handle, info)
    if not code:
        return {"value": {"status": _uint(info, 20), "state": info.raw[28], "health": _uint(info, 32)}}
    if code != FUNCTION_NOT_FOUND:
        return {"code": code}
    info = ctypes.create_string_buffer(FABRIC_OLD_SIZE)
    code = nvml.call("nvmlDeviceGetGpuFabricInfo", handle, info)
    return {"code": code} if code else {"value": {"status": _uint(info, 16), "state": info.raw[24], "health": None}}


def _identify(nvml: Nvml, index: int, handle: ctypes.c_void_p) -> Record:
    pci = ctypes.create_string_buffer(128)  # nvmlPciInfo_t: 16 bytes, five integers, then 32 bytes of address
    has_pci = nvml.call("nvmlDeviceGetPciInfo_v3", handle, pci) == 0
    return {
        "index": index,
        "name": nvml.text("nvmlDeviceGetName", handle),
        "pci_id": parse_pci(pci.raw[36:68].split(b"\0")[0].decode("ascii", "replace")) if has_pci else None,
        "load": None,
        "events": None,
    }


def _open_events(nvml: Nvml, handles: Mapping[int, ctypes.c_void_p]) -> tuple[ctypes.c_void_p, dict[int, Reading]]:
    """An event set, and for each device the Xids to come, or the code that says why there will be none."""
    events = ctypes.c_void_p()
    code = nvml.call("nvmlEventSetCreate", ctypes.byref(events))
    told: dict[int, Reading] = {}
    for index, handle in handles.items():
        refused = code or nvml.call("nvmlDeviceRegisterEvents", handle, ctypes.c_ulonglong(XID_EVENT), events)
        told[index] = {"code": refused} if refused else {"value": []}
    return events, told


def _close_events(nvml: Nvml, opened: tuple[ctypes.c_void_p, dict[int, Reading]]) -> Iterator[tuple[int, Reading]]:
    events, told = opened
    for _step in range(EVENT_LIMIT if events else 0):
        event = _Event()
        if nvml.call("nvmlEventSetWait_v2", events, ctypes.byref(event), 0):
            break
        index = nvml.number("nvmlDeviceGetIndex", ctypes.c_void_p(event.device))
        if event.type == XID_EVENT and index in told:
            told[index].setdefault("value", []).append(event.data)
    if events:
        nvml.call("nvmlEventSetFree", events)
    yield from told.items()


def _read_margin(nvml: Nvml, handle: ctypes.c_void_p) -> Reading:
    """Degrees that are left until the clocks are slowed down."""
    margin = (ctypes.c_int * 2)(MARGIN_VERSION, 0)
    code = nvml.call("nvmlDeviceGetMarginTemperature", handle, margin)
    return {"code": code} if code else {"value": margin[1]}


def _read_busy(nvml: Nvml, handle: ctypes.c_void_p) -> Reading:
    """In how many percent of the last moments a kernel ran."""
    rates = (ctypes.c_uint * 2)()  # nvmlUtilization_t: of the GPU, of its memory
    code = nvml.call("nvmlDeviceGetUtilizationRates", handle, rates)
    return {"code": code} if code else {"value": rates[0]}


def _read_sram(nvml: Nvml, handle: ctypes.c_void_p) -> Reading:
    status = ctypes.create_string_buffer(SRAM_SIZE)
    ctypes.c_uint.from_buffer(status).value = SRAM_VERSION
    code = nvml.call("nvmlDeviceGetSramEccErrorStatus", handle, status)
    return {"code": code} if code else {"value": _uint(status, SRAM_EXCEEDED)}


def _read_pages(nvml: Nvml, handle: ctypes.c_void_p) -> Reading:
    """Memory pages retired for either cause."""
    total = 0
    for cause in PAGE_CAUSES:
        count = ctypes.c_uint(0)
        code = nvml.call("nvmlDeviceGetRetiredPages", handle, cause, ctypes.byref(count), None)
        if code not in (0, INSUFFICIENT_SIZE):  # the latter: there are some, and no room to list them
            return {"code": code}
        total += count.value
    return {"value": total}


def _read_field(nvml: Nvml, handle: ctypes.c_void_p, identifier: int) -> Reading:
    """A field of an unsigned 32-bit type; one that the driver does not know is refused in its own code."""
    field = _Field(id=identifier)
    code = nvml.call("nvmlDeviceGetFieldValues", handle, 1, ctypes.byref(field)) or field.code
    return {"code": code} if code else {"value": field.value & 0xFFFFFFFF}


def _number(nvml: Nvml, function: str, *arguments: Any) -> Reading:
    return _part(_numbers(nvml, function, *arguments, count=1), 0)


def _numbers(nvml: Nvml, function: str, *arguments: Any, count: int) -> Reading:
    values = [ctypes.c_uint() for _place in range(count)]
    code = nvml.call(function, *arguments, *(ctypes.byref(value) for value in values))
    return {"code": code} if code else {"value": [value.value for value in values]}


def _big(nvml: Nvml, function: str, *arguments: Any) -> Reading:
    value = ctypes.c_ulonglong()
    code = nvml.call(function, *arguments, ctypes.byref(value))
    return {"code": code} if code else {"value": value.value}


def _part(reading: Reading, place: int) -> Reading:
    return {"value": reading["value"][place]} if "value" in reading else reading


def _scaled(reading: Reading) -> Reading:
    """Milliwatts as watts."""
    return {"value": round(reading["value"] / 1000, 1)} if "value" in reading else reading


def _uint(buffer: ctypes.Array[ctypes.c_char], offset: int) -> int:
    return int.from_bytes(buffer.raw[offset : offset + 4], "little")
