# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A recorded host as observed facts: pure parsers for what people copy from a machine before they rent it again."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import CUDA_ERRORS
from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root, is_compat
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.driver import (
    BRANDS,
    SMI_FIELDS,
    parse_branch,
    parse_cuda,
    parse_pci,
    parse_proc_version,
    parse_smi_csv,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.host import SCHEMA, observe
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.platform import FAMILIES
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.startup_files import find_conflicts

Facts = dict[str, Any]

FACTS = "gpu.json"
SMI_XML = "nvidia-smi-q.xml"
PROC = "proc-driver-nvidia.txt"
COLLECT_ENV = "collect_env.txt"
BANNER = "nvidia-smi.txt"
SMI_CSV = "nvidia-smi-query.csv"
HOST = "host.txt"
TEXTS = (SMI_XML, PROC, COLLECT_ENV, BANNER, SMI_CSV, HOST)
ROOT = "root"  # the folder of a recording in which the host's files lie

BRAND_IDS = {name: number for number, name in BRANDS.items()}


class RecordingError(ValueError):
    """The recording can't be read as facts; its message says what was found and what was expected."""


def parse_recording(texts: Mapping[str, str]) -> Facts:
    """The facts of a recorded host; what its texts do not tell is absent.

    :param texts: file name → content, of :data:`TEXTS` or ``gpu.json``, which wins.
    """
    if FACTS in texts:
        return parse_facts(texts[FACTS])
    smi = parse_smi_xml(texts[SMI_XML]) if SMI_XML in texts else parse_banner(texts.get(BANNER, ""))
    driver, devices = smi["driver"], smi["devices"]
    proc = parse_proc_version(texts.get(PROC, ""))
    version = driver.get("version") or proc["version"]
    facts: Facts = {"schema": SCHEMA, **parse_collect_env(texts.get(COLLECT_ENV, ""))}
    if version:
        facts["driver"] = {
            "status": "ok" if devices else "no_device",
            "version": version,
            "branch": parse_branch(version),
            "cuda": driver.get("cuda"),
            "flavor": proc["flavor"],
            "source": "nvidia_smi" if driver else "proc",
        }
        facts["devices"] = devices
    return facts


def observe_recording(folder: Path) -> Facts:
    """The facts of a recording that ``scripts/record.sh`` made: its files as gpu_facts sees them, and what tools said.

    What depends on the machine that reads it (user, home, free space, architecture) is the recorded host's, or absent,
    as is what is not recorded: package sources, and what this collection installed.
    """
    texts = {name: (folder / name).read_text(encoding="utf-8") for name in TEXTS if (folder / name).is_file()}
    host = parse_host(texts.get(HOST, ""))
    root = folder / ROOT
    facts: Facts = observe(str(root), 1, [], {})
    told = parse_recording(texts)
    if told.get("devices"):
        rows = {row["index"]: row for row in parse_smi_csv(texts.get(SMI_CSV, ""), SMI_FIELDS)}
        capabilities = {index: row["compute_capability"] for index, row in rows.items()}
        facts["devices"] = [
            {**device, "compute_capability": capabilities.get(device["index"]), "xid": None}
            for device in told["devices"]
        ]
        facts["driver"] = {**facts["driver"], **told["driver"], "flavor": facts["driver"]["flavor"]}
    is_root = host.get("root", "yes") == "yes"
    home = "/root" if is_root else "/home/user"
    platform = facts["platform"]
    platform.update(root=is_root, user="root" if is_root else "user", home=home)
    platform.update(arch=host.get("arch"), glibc=host.get("glibc"), boot_id=None)
    platform["free_gib"] = {"/": round(int(host["free_kib"]) / 2**20, 1)} if "free_kib" in host else {}
    if platform["compiler"] and "compiler" in host:
        platform["compiler"]["version"] = host["compiler"]
    facts["conflicts"] = find_conflicts(
        Root(str(root)), home, {}, facts["driver"], facts["devices"], facts["installed"]["pytorch"]
    )
    if "cuinit" in host:
        facts["loader"] = _loader(host)
    for key in ("driver", "extensions", "environment", "environments", "generations", "wheels", "files", "state"):
        del facts["installed"][key]
    for known, key in ((platform, "memory_free_gib"), (platform["tools"], "ccache")):  # older recordings lack these
        del known[key]
    for toolkit in facts["installed"]["toolkits"]:
        if set(toolkit["components"]) <= {"compiler"}:  # an older recording has no header of the others
            del toolkit["components"]
    return {key: value for key, value in facts.items() if key not in ("sources", "timings")}


def parse_host(text: str) -> dict[str, str]:
    """The words and values of ``host.txt``, one pair a line."""
    pairs = (line.partition(" ") for line in text.splitlines())
    return {word: value for word, sign, value in pairs if sign}


def _loader(host: Mapping[str, str]) -> Facts:
    """The contract's ``loader`` of the shell that recorded; the code's name is not recorded."""
    libcuda, code = host.get("libcuda"), int(host["cuinit"])
    return {
        "libcuda": libcuda,
        "driver_api": parse_cuda(int(host.get("driver_api", 0))),
        "compat_active": bool(libcuda and is_compat(libcuda)),
        "init": {"code": code, "name": CUDA_ERRORS.get(code)},
        "devices": int(host.get("cuda_devices", 0)),
    }


def parse_facts(text: str) -> Facts:
    """Facts as the module returned them, with or without the ``ansible_facts`` and ``gpu`` around them."""
    try:
        facts = json.loads(text)
    except ValueError as error:
        raise RecordingError(f"it is not JSON ({error}); record it again with podsmith.gpu.gpu_facts.") from error
    for key in ("ansible_facts", "gpu"):
        facts = facts[key] if isinstance(facts, dict) and isinstance(facts.get(key), dict) else facts
    if not isinstance(facts, dict) or not {"platform", "driver", "devices"} & facts.keys():
        raise RecordingError(
            "its JSON has none of platform, driver and devices; expected what podsmith.gpu.gpu_facts returned."
        )
    return facts


def parse_smi_xml(text: str) -> Facts:
    """``{driver: {version, cuda}, devices}`` of ``nvidia-smi -q -x``; the compute capability is not in it."""
    try:
        log = ET.fromstring(text)  # noqa: S314  the user's own file; no entity is fetched
    except ET.ParseError as error:
        raise RecordingError(f"{SMI_XML} is not XML ({error}); record it again with nvidia-smi -q -x.") from error
    return {
        "driver": {"version": _value(log, "driver_version"), "cuda": _value(log, "cuda_version")},
        "devices": [_xml_device(index, gpu) for index, gpu in enumerate(log.iter("gpu"))],
    }


def parse_banner(text: str) -> Facts:
    """The same of the plain banner of ``nvidia-smi``, which changed its words with driver 610."""
    version = re.search(r"(?:Driver|KMD) Version:\s*(\d+(?:\.\d+)+)", text)
    cuda = re.search(r"CUDA(?:\s+UMD)?\s+Version:\s*(\d+\.\d+)", text)
    rows = re.findall(
        r"^\|\s+(\d+)\s+(\S.*?)\s+(?:On|Off|N/A)\s+\|\s+([0-9A-Fa-f:.]+)\s.*\n\|.*?/\s*(\d+)MiB", text, re.MULTILINE
    )
    driver = {"version": version.group(1), "cuda": cuda.group(1) if cuda else None} if version else {}
    devices = [
        {"index": int(index), "name": name, "pci_id": parse_pci(pci), "memory_mib": int(memory)}
        for index, name, pci, memory in rows
    ]
    return {"driver": driver, "devices": devices}


def parse_collect_env(text: str) -> Facts:
    """``{platform, installed}`` of ``python -m torch.utils.collect_env``, which tells no interpreter's folder."""

    def find(pattern: str) -> str | None:
        found = re.search(pattern, text, re.MULTILINE)
        return found.group(1) if found else None

    system = re.search(r"^OS: (\w+)[^\d\n]*(\d+\.\d+|\d+)\S*.*?(?:\((\w+)\))?$", text, re.MULTILINE)
    name = system[1].lower() if system else ""
    python = find(r"^Python version: (\d+\.\d+\.\d+)")
    minor = ".".join(python.split(".")[:2]) if python else None
    compiler = find(r"^GCC version: .*?(\d+\.\d+\.\d+)$")
    cpus = find(r"^CPU\(s\):\s+(\d+)")
    platform = {
        "os": {"id": name, "version": system[2], "family": FAMILIES.get(name)} if system else None,
        "arch": (system[3] if system else None) or find(r"^Architecture:\s+(\w+)"),
        "glibc": find(r"^Libc version: glibc-(\S+)"),
        "kernel": find(r"^Python platform: Linux-(.+?)-(?:x86_64|aarch64)-"),
        "compiler": {"version": compiler} if compiler else None,
        "pythons": [{"path": f"python{minor}", "version": python}] if minor else None,
        "cpus": int(cpus) if cpus else None,
    }
    local, cuda = find(r"^PyTorch version: (\d\S*)"), find(r"^CUDA used to build PyTorch: (\d+\.\d+)")
    torch = {"version": (local or "").partition("+")[0], "local": local, "cuda": cuda, "managed": False}
    if minor:
        torch["python_version"] = minor
    facts: Facts = {}
    if any(platform.values()):
        facts["platform"] = {key: value for key, value in platform.items() if value}
    if local:
        facts["installed"] = {"pytorch": [torch]}
    return facts


def _xml_device(index: int, gpu: ET.Element) -> Facts:
    brand = (_value(gpu, "product_brand") or "").lower().replace(" ", "_")
    memory = re.match(r"\d+", _value(gpu, "fb_memory_usage/total") or "")
    return {
        "index": index,
        "name": _value(gpu, "product_name"),
        "uuid": _value(gpu, "uuid"),
        "brand": brand if brand in BRAND_IDS else None,
        "brand_id": BRAND_IDS.get(brand),
        "memory_mib": int(memory.group()) if memory else None,
        "mig": _value(gpu, "mig_mode/current_mig") == "Enabled",
        "pci_id": parse_pci(gpu.get("id", "")) or None,
        "ecc": {"Enabled": True, "Disabled": False}.get(_value(gpu, "ecc_mode/current_ecc") or ""),
    }


def _value(element: ET.Element, path: str) -> str | None:
    text = (element.findtext(path) or "").strip()
    return None if text in ("", "N/A") else text
