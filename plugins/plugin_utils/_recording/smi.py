# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``nvidia-smi`` printed on a recorded host: its table, its XML, or what it said instead of a table. Pure.

What a text does not say is absent, and so unknown; a GPU whose row cannot be read whole still counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree import ElementTree as ET

from ansible_collections.podsmith.gpu.plugins.module_utils._observe.driver import (
    BRANDS,
    SMI_FIELDS,
    parse_pci,
    parse_smi_csv,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._recording.errors import RecordingError, quote

Facts = dict[str, Any]

SMI_XML = "nvidia-smi-q.xml"
BANNER = "nvidia-smi.txt"

BRAND_IDS = {name: number for number, name in BRANDS.items()}
COMPUTE_MODES = {"default": "default", "e. process": "exclusive_process", "prohibited": "prohibited"}
# What NVML gives in place of a value, in the table, the XML and the CSV.
NO_VALUES = ("", "n/a", "not supported", "unknown error", "insufficient permissions", "not found", "err!")
LOST = "gpu is lost"
FAILED = "ERR!"

# What nvidia-smi says in place of a table -> the status of the driver, as gpu_facts has it for a live host.
SAID = (
    (re.compile(r"Driver/library version mismatch", re.IGNORECASE), "mismatch"),
    (re.compile(r"couldn't communicate with the NVIDIA driver", re.IGNORECASE), "silent"),
    (
        re.compile(r"GPU is lost|fallen off the bus|Unable to determine the device handle for GPU", re.IGNORECASE),
        "lost",
    ),
    (re.compile(r"Failed to initialize NVML", re.IGNORECASE), "silent"),
    (re.compile(r"^\W*No devices (?:were )?found", re.IGNORECASE | re.MULTILINE), "no_device"),
)

_VERSION = re.compile(r"(?:Driver|KMD) Version\s*:\s*(\d{3,}(?:\.\d+)+)")
_TOOL = re.compile(r"NVIDIA-SMI(?: version\s*:)?\s+(\d{3,}(?:\.\d+)+)")
_CUDA = re.compile(r"CUDA(?:\s+UMD)?\s+Version\s*:\s*(\d+\.\d+)")
_LIBRARY = re.compile(r"NVML (?:library )?version\s*:\s*(\d{3,}(?:\.\d+)*)", re.IGNORECASE)
# The first line of a GPU: number, name, and persistence (Linux) or driver model (Windows); then the bus address.
_ROW = re.compile(
    r"^\W*\|\s*(?P<index>\d+)\s+(?P<name>\S.*?)\s+(?P<mode>On|Off|N/A|WDDM|TCC|MCDM|ERR!|-)\s*\|"
    r"\s*(?P<pci>[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.\d\b|N/A(?=\s+N/A\s*\|))"  # N/A: Jetson's own driver
)
_LISTED = re.compile(r"^\W*GPU (?P<index>\d+): (?P<name>.+?) \(UUID: (?P<uuid>GPU-[0-9A-Za-z-]+)\)")  # nvidia-smi -L
_SLICE = re.compile(r"^\W*MIG .+ Device +\d+: \(UUID: MIG-")
_PRODUCT = re.compile(r"^\s*Product Name\s*:\s*(.+?)\s*$", re.MULTILINE)  # nvidia-smi -q
_MEMORY = re.compile(r"/\s*(\d+)\s*MiB")
_MODEL = re.compile(r"WDDM|TCC|MCDM")  # of a driver of Windows
_RULE = re.compile(r"^\W*\+[-=+]+\+?\W*$")


def parse_banner(text: str) -> Facts:
    """``{driver: {version, cuda, status, said, library, windows}, devices}`` of the plain output of ``nvidia-smi``.

    Its table, with ``-L`` or with ``-q``. Where it names no GPU ``devices`` is absent; ``status`` is only there where
    the text itself tells one. Raises RecordingError where it is no output of nvidia-smi.
    """
    version, status = _VERSION.search(text), find_status(text)
    rows = [*_rows(text)] or [*_listed(text)] or [*_products(text)]
    if not version and not status and not rows:
        if not text.strip() or re.search(r"not found|not recognized|No such file", text):
            return {"driver": {}}  # the tool is not there, which says nothing of the driver
        if unable := re.search(r"NVIDIA-SMI couldn't find \S+ library.*", text):
            return {"driver": {"said": unable[0].strip()}}  # nor does this: a container may lack the library alone
        raise RecordingError(
            f"{BANNER} is not what nvidia-smi prints: it begins with {quote(text)}; expected its table, or its error. "
            "Record it again with: nvidia-smi > nvidia-smi.txt."
        )
    driver: Facts = {}
    if version:
        cuda = _CUDA.search(text)
        driver = {"version": version[1], "cuda": cuda[1] if cuda else None}
    lost = [name for name, _unused in rows if name == FAILED]
    if lost or status:
        driver["status"] = "lost" if lost else status
        driver["said"] = "a GPU whose row says ERR!" if lost else _line_of(text)
    if library := _LIBRARY.search(text):
        driver["library"] = library[1]
    if is_windows(text):
        driver["windows"] = True
    found: Facts = {"driver": driver}
    if rows:
        found["devices"] = [device for name, device in rows if name != FAILED]
    elif status == "no_device":
        found["devices"] = []
    return found


def find_status(text: str) -> str | None:
    """The status of the driver that nvidia-smi says in place of a table, or None."""
    return next((status for said, status in SAID if said.search(text)), None)


def _line_of(text: str) -> str:
    """The line in which nvidia-smi says what is wrong."""
    lines = (line.strip() for line in text.splitlines())
    return next((line for line in lines if find_status(line)), "")


def is_windows(text: str) -> bool:
    """Whether the driver is of Windows: its table has a driver model, or the tool is numbered apart from the driver."""
    if any(_MODEL.fullmatch(row["mode"]) for row in map(_ROW.match, text.splitlines()) if row):
        return True
    tool, driver = _TOOL.search(text), _VERSION.search(text)
    return bool(tool and driver and tool[1] != driver[1] and driver[1].count(".") == 1)


def _rows(text: str) -> Iterator[tuple[str, Facts]]:
    """Name and device of each GPU in the table; a GPU that has failed is named ERR!."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        row = _ROW.match(line)
        if not row:
            continue
        rest = []
        for below in lines[number + 1 :]:
            if _RULE.match(below) or _ROW.match(below):
                break
            rest.append(below)
        memory = next((found for found in map(_MEMORY.search, rest) if found), None)
        device = {
            "index": int(row["index"]),
            "name": row["name"],
            "pci_id": None if row["pci"] == "N/A" else parse_pci(row["pci"]),
            "memory_mib": int(memory[1]) if memory else None,
            **_modes(rest),
        }
        yield (FAILED if row["name"].strip("[]").lower() in NO_VALUES else row["name"], device)


def _listed(text: str) -> Iterator[tuple[str, Facts]]:
    """The same of ``nvidia-smi -L``, where the slices of a GPU stand below it."""
    device: Facts | None = None
    for line in text.splitlines():
        if row := _LISTED.match(line):
            if device:
                yield device["name"], device
            device = {"index": int(row["index"]), "name": row["name"], "uuid": row["uuid"]}
        elif device and _SLICE.match(line):
            device["mig"] = True
    if device:
        yield device["name"], device


def _products(text: str) -> Iterator[tuple[str, Facts]]:
    """The same of ``nvidia-smi -q``: the names alone."""
    for index, name in enumerate(_PRODUCT.findall(text)):
        yield (FAILED if LOST in name.lower() else name), {"index": index, "name": name}


def _modes(lines: list[str]) -> Facts:
    """``compute_mode`` and ``mig`` of the last column, where they are told."""
    last = [line.rstrip(" |\r").rpartition("|")[2].strip().lower() for line in lines]
    found: Facts = {}
    for word in last:
        if mode := next((name for said, name in COMPUTE_MODES.items() if word.endswith(said)), None):
            found["compute_mode"] = mode
        elif word in ("enabled", "disabled"):
            found["mig"] = word == "enabled"
    return found


def parse_smi_xml(text: str) -> Facts:
    """The same of ``nvidia-smi -q -x``; the compute capability is not in it. Raises RecordingError."""
    if not text.lstrip().startswith("<") and (status := find_status(text)):
        return parse_banner(text) if status != "no_device" else {"driver": {"status": status}, "devices": []}
    try:
        log = ET.fromstring(text.strip())  # noqa: S314  the user's own file; no entity is fetched
    except ET.ParseError as error:
        raise RecordingError(f"{SMI_XML} is not XML ({error}); record it again with nvidia-smi -q -x.") from error
    driver: Facts = {"version": value_of(log, "driver_version"), "cuda": value_of(log, "cuda_version")}
    devices, lost = [], 0
    for index, gpu in enumerate(log.iter("gpu")):
        if LOST in (gpu.findtext("product_name") or "").lower():
            lost += 1
        else:
            devices.append(_xml_device(index, gpu))
        if _MODEL.search(gpu.findtext("driver_model/current_dm") or ""):
            driver["windows"] = True
    if lost:
        driver |= {"status": "lost", "said": f"{lost} {'GPU is' if lost == 1 else 'GPUs are'} lost"}
    elif not devices:
        driver["status"] = "no_device"
    return {"driver": driver, "devices": devices}


def parse_query(text: str) -> Facts:
    """The same of ``nvidia-smi --query-gpu=… --format=csv`` by its header, or of the fields that gpu_facts asks for."""
    lines = [line for line in text.splitlines() if line.strip()]
    fields = tuple(cell.partition("[")[0].strip() for cell in lines[0].split(",")) if lines else ()
    has_header = "name" in fields
    devices = parse_smi_csv("\n".join(lines[has_header:]), fields if has_header else SMI_FIELDS)
    versions = [version for device in devices if (version := device.pop("driver_version", None))]
    known = [{key: value for key, value in device.items() if value is not None} for device in devices]
    for index, device in enumerate(known):
        device.setdefault("index", index)
    return {"driver": {"version": versions[0]} if versions else {}, **({"devices": known} if known else {})}


def _xml_device(index: int, gpu: ET.Element) -> Facts:
    brand = (value_of(gpu, "product_brand") or "").lower().replace(" ", "_")
    memory = re.match(r"\d+", value_of(gpu, "fb_memory_usage/total") or "")
    modes: Mapping[str, str] = {**COMPUTE_MODES, "exclusive_process": "exclusive_process"}
    mode = modes.get((value_of(gpu, "compute_mode") or "").lower().replace(" ", "_"))
    return {
        "index": index,
        "name": value_of(gpu, "product_name"),
        "uuid": value_of(gpu, "uuid"),
        "brand": brand if brand in BRAND_IDS else None,
        "brand_id": BRAND_IDS.get(brand),
        "memory_mib": int(memory.group()) if memory else None,
        "mig": value_of(gpu, "mig_mode/current_mig") == "Enabled",
        "pci_id": parse_pci(gpu.get("id", "")) or None,
        "ecc": {"Enabled": True, "Disabled": False}.get(value_of(gpu, "ecc_mode/current_ecc") or ""),
        **({"compute_mode": mode} if mode else {}),
    }


def value_of(element: ET.Element, path: str) -> str | None:
    """The text of an element, None where NVML gave no value."""
    text = (element.findtext(path) or "").strip()
    return None if text.strip("[]").lower() in NO_VALUES else text
