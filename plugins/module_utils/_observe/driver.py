# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel driver and its GPUs: NVML first, then sysfs and proc, then ``nvidia-smi --query-gpu``; never its prose.

Only what no compatibility library can change is read here. What a process gets from its loader is found by ``ways``.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Mapping
from typing import Any, Callable, NamedTuple

from ansible_collections.podsmith.gpu.plugins.module_utils._host.child import Outcome, start_command
from ansible_collections.podsmith.gpu.plugins.module_utils._host.nvml import (
    DRIVER_NOT_LOADED,
    GPU_IS_LOST,
    LIB_RM_VERSION_MISMATCH,
    NO_PERMISSION,
    Nvml,
    load_first,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.machine import (
    SYSTEM_ENGINES,
    find_tegra,
    observe_container,
)

Record = dict[str, Any]

BRANDS = {
    1: "quadro",
    2: "tesla",
    3: "nvs",
    4: "grid",
    5: "geforce",
    6: "titan",
    7: "nvidia_vapps",
    8: "nvidia_vpc",
    9: "nvidia_vcs",
    10: "nvidia_vws",
    11: "nvidia_cloud_gaming",
    12: "quadro_rtx",
    13: "nvidia_rtx",
    14: "nvidia",
    15: "geforce_rtx",
    16: "titan_rtx",
    17: "nvidia_dla",
    18: "nvidia_vgamedev",
    19: "nvidia_npu",
}  # nvmlBrandType_t

COMPUTE_MODES = {0: "default", 2: "prohibited", 3: "exclusive_process"}  # nvmlComputeMode_t; 1 is gone
VIRTUAL = 2  # nvmlGpuVirtualizationMode_t: a vGPU inside a virtual machine; 1 is a whole GPU passed through to one

SMI_NO_DEVICES = 6  # nvidia-smi's exit status; the others are of nvmlReturn_t

SMI_FIELDS = (
    "index",
    "name",
    "uuid",
    "driver_version",
    "memory.total",
    "pci.bus_id",
    "ecc.mode.current",
    "mig.mode.current",
    "compute_cap",
)
SMI_FIELDS_OLD = SMI_FIELDS[:-2]  # before compute_cap and MIG existed, one unknown field failed the whole query

VERSION = re.compile(r"\d{3,}(?:\.\d+){1,2}(?=\s|$)")
NVRM = re.compile(r"^NVRM version: (?P<module>.*?)\s(?P<version>\d{3,}(?:\.\d+){1,2})\s", re.MULTILINE)
XID = re.compile(r"NVRM: Xid \(PCI:(?P<pci>[0-9a-fA-F:.]+)\): (?P<code>\d+)")


class Loaded(NamedTuple):
    """The driver in the kernel; ``version`` is ``None`` where there is none, or the machine's host has it (WSL2)."""

    version: str | None
    flavor: str | None  # of its kernel modules: open or proprietary; only proc tells
    source: str | None  # sysfs or proc


def read_loaded(root: Root) -> Loaded:
    """The driver that the kernel has loaded: the version of sysfs, else of proc where a container masks sysfs."""
    proc = parse_proc_version(root.read("/proc/driver/nvidia/version"))
    sysfs = VERSION.match(root.read("/sys/module/nvidia/version").strip())
    version = sysfs.group() if sysfs else proc["version"]
    return Loaded(version, proc["flavor"], "sysfs" if sysfs else "proc" if version else None)


def parse_proc_version(text: str) -> Record:
    """Parse ``/proc/driver/nvidia/version`` into ``{version, flavor}``, both ``None`` where the text has no driver."""
    found = NVRM.search(text)
    if not found:
        return {"version": None, "flavor": None}
    return {"version": found["version"], "flavor": "open" if "Open Kernel" in found["module"] else "proprietary"}


def parse_branch(version: str | None) -> int | None:
    """The driver branch: the first number of its version."""
    return int(version.split(".")[0]) if version else None


def parse_cuda(number: int | None) -> str | None:
    """``12080``, as the CUDA API counts, is ``"12.8"``."""
    return f"{number // 1000}.{number % 1000 // 10}" if number else None


def parse_pci(text: str) -> str:
    """The bus address as the kernel writes it: ``00000000:3B:00.0`` is ``0000:3b:00.0``."""
    address = text.strip().lower()
    return address[4:] if re.fullmatch(r"0000[0-9a-f]{4}:.*", address) else address


def parse_proc_gpu(text: str) -> Record:
    """Parse ``/proc/driver/nvidia/gpus/<address>/information``; the capability is not in it."""
    pairs = dict(line.partition(":")[::2] for line in text.splitlines() if ":" in line)
    values = {key.strip(): value.strip() for key, value in pairs.items()}
    uuid = values.get("GPU UUID", "")
    return _device(
        index=int(values["Device Minor"]) if values.get("Device Minor", "").isdigit() else None,
        name=values.get("Model") or None,
        uuid=uuid if uuid and "?" not in uuid else None,
        pci_id=parse_pci(values["Bus Location"]) if values.get("Bus Location") else None,
    )


def parse_smi_csv(text: str, fields: tuple[str, ...]) -> list[Record]:
    """Parse rows of ``nvidia-smi --query-gpu=<fields> --format=csv,noheader``; ``driver_version`` is added.

    ``[N/A]``, ``[Not Supported]`` and ``[Unknown Error]`` are unknown.
    """
    devices = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != len(fields):
            continue
        row = {name: cell for name, cell in zip(fields, cells) if cell and not cell.startswith(("[", "N/A"))}
        memory = re.match(r"\d+", row.get("memory.total", ""))
        capability = row.get("compute_cap", "")
        device = _device(
            index=int(row["index"]) if row.get("index", "").isdigit() else None,
            name=row.get("name"),
            uuid=row.get("uuid"),
            compute_capability=capability if re.fullmatch(r"\d+\.\d+", capability) else None,
            memory_mib=int(memory.group()) if memory else None,
            mig=_is_enabled(row.get("mig.mode.current")),
            pci_id=parse_pci(row["pci.bus_id"]) if "pci.bus_id" in row else None,
            ecc=_is_enabled(row.get("ecc.mode.current")),
        )
        device["driver_version"] = row.get("driver_version")
        devices.append(device)
    return devices


def parse_xids(text: str) -> dict[str, list[int]]:
    """Xid codes of each GPU in the kernel's log, by its address without function: ``{"0000:3b:00": [79]}``."""
    found: dict[str, list[int]] = {}
    for match in XID.finditer(text):
        found.setdefault(_slot(match["pci"]), []).append(int(match["code"]))
    return found


def observe_driver(
    root: Root,
    nvml: Record | None,
    run_smi: Callable[[tuple[str, ...]], Outcome | None],
    timeout: float,
    *,
    is_late: bool = False,
) -> tuple[Record, list[Record], list[str]]:
    """Combine what each source says into ``(driver, devices, problems)``.

    :param nvml: what :func:`read_nvml` answered, ``None`` where it did not.
    :param run_smi: runs ``nvidia-smi`` for the given fields; answers ``None`` where there is none.
    :param timeout: the limit of each child in seconds, for the words of a problem.
    :param is_late: whether NVML did not answer within it.
    """
    loaded = read_loaded(root)
    version, source = loaded.version, loaded.source
    is_windows = root.exists("/dev/dxg")
    has_nodes = is_windows or bool(root.glob("/dev/nvidia[0-9]*"))
    devices: list[Record] = []
    problems: list[str] = []
    cuda = None
    code = nvml["init"] if nvml else None

    if is_late:
        status = "timeout"
        problems.append(f"NVML: no answer within {timeout:g} s; reset the GPU or restart the host")
    elif nvml and code == 0:
        version, source, cuda = nvml["version"] or version, "nvml", nvml["cuda"]
        devices = nvml["devices"]
        status = _nvml_status(nvml)
        problems.extend(nvml["problems"])
    elif code == LIB_RM_VERSION_MISMATCH:
        status, devices = "mismatch", _proc_devices(root)
    else:
        smi = None if code == DRIVER_NOT_LOADED else _observe_smi(root, run_smi, timeout)
        if smi:
            status, devices, problem = smi
            problems.extend(problem)
            reported = next((device.pop("driver_version", None) for device in devices), None)
            for device in devices:
                device.pop("driver_version", None)
            if reported and not version:
                version, source = reported, "nvidia_smi"
        elif version and has_nodes and code != NO_PERMISSION:
            status, devices = "ok", _proc_devices(root)
        else:
            status, devices = _without_nvml(root, version, is_windows=is_windows)
        if code == NO_PERMISSION:
            problems.append("NVML: permission denied; the container or the user may not open /dev/nvidia*")
    if status == "mismatch":
        container = observe_container(root, {}) or {}
        is_own = container.get("engine") in SYSTEM_ENGINES and not container.get("injected")
        because = "the driver was upgraded without a restart; restart the host, or the container on it"
        if is_own:
            because = "this container's libraries are its own; they have to be of exactly its host's driver"
        problems.append(
            f"the NVIDIA libraries do not fit the loaded kernel driver{' ' + version if version else ''}: {because}"
        )
    if is_windows and status != "missing":
        flavor: str | None = "windows"
    else:
        flavor = loaded.flavor
    driver = {
        "status": status,
        "version": version,
        "branch": parse_branch(version),
        "cuda": cuda,
        "flavor": flavor,
        "source": source,
    }
    return driver, devices, problems


def _without_nvml(root: Root, version: str | None, *, is_windows: bool) -> tuple[str, list[Record]]:
    """Status and GPUs by the files of a driver alone: Jetson's, whose GPU is the board's, or one without a GPU."""
    if tegra := find_tegra(root):
        return "ok", [_device(index=0, name=tegra["name"])]
    found = version or (is_windows and root.exists("/usr/lib/wsl/lib/libcuda.so.1"))
    return ("no_device" if found else "missing"), []


def _nvml_status(nvml: Mapping[str, Any]) -> str:
    """The status by what NVML counts: one GPU off the bus is a fault, one that this user may not open is none."""
    if nvml["lost"] or (nvml["count"] and not nvml["devices"]):
        return "lost"
    return "ok" if nvml["devices"] else "no_device"


def read_nvml(libraries: list[str], own_cuda: str | None) -> Record:
    """Ask NVML; meant for a child, since a hung driver never answers.

    :param libraries: names or paths of libnvidia-ml to try in turn.
    :param own_cuda: path of the driver's own libcuda. NVML asks whatever ``libcuda.so.1`` it finds for the CUDA level,
        so the right one is loaded before; without it the level stays unknown.
    :return: ``{init, version, cuda, count, lost, devices, problems}``; ``lost`` counts those off the bus, ``init`` is
        the nvmlReturn_t, ``None`` where no library could be loaded.
    """
    answer: Record = {"init": None, "version": None, "cuda": None, "count": 0, "lost": 0, "devices": [], "problems": []}
    library = load_first(libraries)
    if library is None:
        return answer
    nvml = Nvml(library)
    answer["init"] = nvml.call("nvmlInit_v2")
    if answer["init"]:
        return answer
    answer["version"] = nvml.text("nvmlSystemGetDriverVersion")
    if own_cuda and load_first([own_cuda]):
        answer["cuda"] = parse_cuda(nvml.number("nvmlSystemGetCudaDriverVersion_v2"))
    answer["count"] = nvml.number("nvmlDeviceGetCount_v2") or 0
    for index in range(answer["count"]):
        handle = ctypes.c_void_p()
        code = nvml.call("nvmlDeviceGetHandleByIndex_v2", index, ctypes.byref(handle))
        if code == GPU_IS_LOST:
            answer["lost"] += 1
            answer["problems"].append(f"GPU {index} has fallen off the bus; restart the host")
        elif code:
            answer["problems"].append(
                f"GPU {index} does not answer: NVML error {code}; look for its Xid in the kernel's log"
            )
        else:
            answer["devices"].append(_nvml_device(nvml, index, handle))
    nvml.call("nvmlShutdown")
    return answer


def _nvml_device(nvml: Nvml, index: int, handle: ctypes.c_void_p) -> Record:
    capability = nvml.pair("nvmlDeviceGetCudaComputeCapability", handle)
    mig, ecc = nvml.pair("nvmlDeviceGetMigMode", handle), nvml.pair("nvmlDeviceGetEccMode", handle)
    brand = nvml.number("nvmlDeviceGetBrand", handle)
    virtualization = nvml.number("nvmlDeviceGetVirtualizationMode", handle)
    compute_mode = nvml.number("nvmlDeviceGetComputeMode", handle)
    memory = (ctypes.c_ulonglong * 3)()  # nvmlMemory_t: total, free, used
    has_memory = nvml.call("nvmlDeviceGetMemoryInfo", handle, memory) == 0
    pci = ctypes.create_string_buffer(128)  # nvmlPciInfo_t: 16 bytes, five integers, then 32 bytes of address
    has_pci = nvml.call("nvmlDeviceGetPciInfo_v3", handle, pci) == 0
    return _device(
        index=index,
        name=nvml.text("nvmlDeviceGetName", handle),
        uuid=nvml.text("nvmlDeviceGetUUID", handle),
        compute_capability=f"{capability[0]}.{capability[1]}" if capability else None,
        brand=BRANDS.get(brand) if brand else None,
        brand_id=brand or None,
        memory_mib=memory[0] >> 20 if has_memory else None,
        mig=bool(mig and mig[0]),
        pci_id=parse_pci(pci.raw[36:68].split(b"\0")[0].decode("ascii", "replace")) if has_pci else None,
        ecc=bool(ecc[0]) if ecc else None,
        virtual=None if virtualization is None else virtualization == VIRTUAL,
        compute_mode=None if compute_mode is None else COMPUTE_MODES.get(compute_mode),
    )


def find_smi(root: Root, path: str) -> str | None:
    """The path of nvidia-smi, searched on ``path`` and where drivers put it."""
    folders = [*path.split(":"), "/usr/bin", "/usr/lib/wsl/lib", "/usr/local/nvidia/bin", "/opt/bin"]
    return next(
        (f"{folder}/nvidia-smi" for folder in folders if folder and root.is_executable(f"{folder}/nvidia-smi")), None
    )


def run_smi(root: Root, env: Mapping[str, str], timeout: float, fields: tuple[str, ...]) -> Outcome | None:
    """Run ``nvidia-smi --query-gpu``, the recorded host's own where the root is one; ``None`` where there is none."""
    path = find_smi(root, env.get("PATH", "") if root.is_live else "")
    if not path:
        return None
    argv = [root.at(path), f"--query-gpu={','.join(fields)}", "--format=csv,noheader"]
    return start_command(argv, env, timeout).result()


def read_kernel_log() -> str | None:
    """The kernel's log without waiting for more of it; ``None`` where the user may not read it."""
    try:
        log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    records = []
    try:
        for _record in range(20000):
            try:
                records.append(os.read(log, 8192))
            except BrokenPipeError:  # overwritten while it was read
                continue
    except OSError:  # the end
        pass
    finally:
        os.close(log)
    return b"\n".join(records).decode("utf-8", "replace")


def add_xids(devices: list[Record], log: str | None) -> None:
    """Put the Xid codes of the kernel's log into the devices; unknown where there is no log."""
    xids = parse_xids(log or "")
    for device in devices:
        if log is not None and device["pci_id"]:
            device["xid"] = xids.get(_slot(device["pci_id"]), [])


def _observe_smi(
    root: Root, run: Callable[[tuple[str, ...]], Outcome | None], timeout: float
) -> tuple[str, list[Record], list[str]] | None:
    """``(status, devices, problems)`` by nvidia-smi, ``None`` where it is absent or of no use."""
    for fields in (SMI_FIELDS, SMI_FIELDS_OLD):
        outcome = run(fields)
        if outcome is None:
            return None
        if outcome.code is None:
            return (
                "timeout",
                [],
                [f"nvidia-smi --query-gpu: no answer within {timeout:g} s; reset the GPU or restart the host"],
            )
        if outcome.code == 0:
            devices = parse_smi_csv(outcome.out, fields)
            return ("ok" if devices else "no_device"), devices, []
        if outcome.code == LIB_RM_VERSION_MISMATCH:
            return "mismatch", _proc_devices(root), []
        if outcome.code == SMI_NO_DEVICES:
            return "no_device", [], []
        if outcome.code != 2:  # 2: a field it does not know
            return None
    return None


def _proc_devices(root: Root) -> list[Record]:
    folders = root.glob("/proc/driver/nvidia/gpus/*")
    devices = [parse_proc_gpu(root.read(f"{folder}/information")) for folder in folders]
    for position, device in enumerate(devices):
        device["index"] = position
    return devices


def _device(**known: Any) -> Record:
    """A device record; what is not given is unknown."""
    keys = (
        "index",
        "name",
        "uuid",
        "compute_capability",
        "brand",
        "brand_id",
        "memory_mib",
        "mig",
        "pci_id",
        "ecc",
        "virtual",
        "compute_mode",
        "xid",
    )
    return {key: known.get(key) for key in keys}


def _is_enabled(word: str | None) -> bool | None:
    return {"enabled": True, "disabled": False}.get((word or "").lower())


def _slot(pci: str) -> str:
    """An address without its function: the log has ``PCI:0000:3b:00``, NVML ``0000:3b:00.0``."""
    return parse_pci(pci).split(".")[0]
