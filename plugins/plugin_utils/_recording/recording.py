# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A recorded host as observed facts: pure parsers for what people copy from a machine before they rent it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.podsmith.gpu.plugins.module_utils._observe.driver import parse_branch, parse_proc_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._recording.collect_env import COLLECT_ENV, parse_collect_env
from ansible_collections.podsmith.gpu.plugins.plugin_utils._recording.errors import RecordingError
from ansible_collections.podsmith.gpu.plugins.plugin_utils._recording.smi import (
    BANNER,
    SMI_XML,
    parse_banner,
    parse_query,
    parse_smi_xml,
)

Facts = dict[str, Any]

SCHEMA = 2  # of the facts that gpu_facts gathers
FACTS = "gpu.json"
PROC = "proc-driver-nvidia.txt"
SMI_CSV = "nvidia-smi-query.csv"
HOST = "host.txt"
TEXTS = (SMI_XML, PROC, COLLECT_ENV, BANNER, SMI_CSV, HOST)
ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip")
ROOT = "root"  # the folder of a recording in which the host's files lie


def read_folder(path: Path) -> Facts:
    """The facts of a recording on the controller: a JSON file, a folder of texts, or one of ``scripts/record.sh``.

    Raises RecordingError where it is none of these, or cannot be read.
    """
    if not path.exists():
        expected = "expected a folder of recorded texts or a JSON file of facts"
        raise RecordingError(f"The recording {path} does not exist; {expected}.")
    if path.is_file() and path.name.endswith(ARCHIVES):
        raise RecordingError(f"The recording {path} is an archive; unpack it and name the folder that was in it.")
    try:
        if path.is_file():
            return parse_facts(path.read_text(encoding="utf-8"))
        if (path / ROOT).is_dir() and not (path / FACTS).exists():
            from ansible_collections.podsmith.gpu.plugins.plugin_utils._recording.root import (  # noqa: PLC0415
                observe_recording,  # what looks at a file system is not loaded for a text
            )

            return observe_recording(path)
        texts = {name: (path / name).read_text(encoding="utf-8") for name in (FACTS, *TEXTS) if (path / name).is_file()}
        if texts:
            return parse_recording(texts)
    except (RecordingError, OSError, UnicodeDecodeError) as error:
        raise RecordingError(f"The recording {path} cannot be read: {error}") from error
    readable = ", ".join((FACTS, *TEXTS))
    raise RecordingError(f"The recording {path} has none of {readable}; record at least one of them on the host.")


def parse_recording(texts: Mapping[str, str]) -> Facts:
    """The facts of a recorded host; what its texts do not tell is absent, and so unknown.

    :param texts: file name → content, of :data:`TEXTS` or ``gpu.json``, which wins.

    Raises RecordingError for a text that is not what its name says, and for texts of two hosts.
    """
    if FACTS in texts:
        return parse_facts(texts[FACTS])
    smi = _smi(texts)
    env = parse_collect_env(texts.get(COLLECT_ENV, ""))
    proc = parse_proc_version(texts.get(PROC, ""))
    facts: Facts = {"schema": SCHEMA, "recorded": True}
    facts.update({key: env[key] for key in ("platform", "installed") if key in env})
    driver = _driver(smi["driver"], proc, env.get("driver", {}))
    devices = smi.get("devices", env.get("devices"))
    if driver:
        facts["driver"] = {**({"status": "ok"} if devices else {}), **driver}
    if devices is not None:
        facts["devices"] = devices
    _tell_windows(facts, smi["driver"])
    _tell_mismatch(facts, smi["driver"], proc)
    _tell_failure(facts, smi["driver"], env.get("cuda_works"))
    return facts


def _smi(texts: Mapping[str, str]) -> Facts:
    """What nvidia-smi said: by its XML, else its table; the query adds what neither has, such as the capability."""
    smi = parse_smi_xml(texts[SMI_XML]) if SMI_XML in texts else parse_banner(texts.get(BANNER, ""))
    query = parse_query(texts.get(SMI_CSV, ""))
    if "devices" not in smi and not smi["driver"].get("status"):
        return {"driver": {**query["driver"], **smi["driver"]}, **{k: v for k, v in query.items() if k == "devices"}}
    more = {device["index"]: device for device in query.get("devices", ())}
    devices = [{**more.get(device["index"], {}), **device} for device in smi.get("devices", ())]
    return {**smi, **({"devices": devices} if "devices" in smi else {})}


def _driver(smi: Facts, proc: Facts, env: Facts) -> Facts:
    """The driver by the first text that tells its version: nvidia-smi, the kernel's own, then collect_env."""
    versions = {BANNER: smi.get("version"), PROC: proc["version"], COLLECT_ENV: env.get("version")}
    found = {name: str(version) for name, version in versions.items() if version}
    if len({parse_branch(version) for version in found.values()}) > 1:
        told = ", ".join(f"{name} of driver {version}" for name, version in found.items())
        raise RecordingError(f"its texts are of two hosts, or of two times: {told}; record them again together.")
    version = next(iter(found.values()), None)
    if not version and not smi.get("status") and not env.get("status"):
        return {}
    status = smi.get("status") or (None if smi.get("version") or proc["version"] else env.get("status"))
    driver = {"version": version, "branch": parse_branch(version), "cuda": smi.get("cuda"), "flavor": proc["flavor"]}
    source = {BANNER: "nvidia_smi", PROC: "proc", COLLECT_ENV: "collect_env"}
    return {**({"status": status} if status else {}), **driver, "source": source.get(next(iter(found), ""))}


def _tell_windows(facts: Facts, smi: Facts) -> None:
    """A driver of Windows makes the host WSL2, where alone CUDA for Linux runs on it; and the other way round."""
    platform = facts.get("platform", {})
    if smi.get("windows") and platform.get("kind") != "wsl2":
        facts["platform"] = {**platform, "kind": "wsl2"}
        problem = "nvidia-smi ran on a driver of Windows: the plan is for WSL2 on that driver"
        facts["problems"] = [*facts.get("problems", ()), problem]
    if facts.get("platform", {}).get("kind") == "wsl2" and facts.get("driver", {}).get("version"):
        facts["driver"]["flavor"] = "windows"


def _tell_mismatch(facts: Facts, smi: Facts, proc: Facts) -> None:
    """Both versions of a mismatch, of the kernel's driver and of its libraries, where the texts tell them."""
    if smi.get("status") == "mismatch":
        disk = {"loaded_version": proc["version"], "library_version": smi.get("library")}
        known = {key: version for key, version in disk.items() if version}
        if known:
            facts["installed"] = {**facts.get("installed", {}), "driver": known}


def _tell_failure(facts: Facts, smi: Facts, cuda_works: bool | None) -> None:
    """What the tools said of a failure. A PyTorch for CUDA that found none is not used as it is."""
    problems = list(facts.get("problems", ()))
    if smi.get("said"):
        problems.append(f"nvidia-smi said: {smi['said']}")
    torches = facts.get("installed", {}).get("pytorch", ())
    if cuda_works is False and any(torch.get("cuda") for torch in torches):
        problems.append(f"{COLLECT_ENV}: PyTorch said that CUDA is not available there")
        for torch in torches:
            torch["broken"] = ["CUDA, by its own word"]
    if problems:
        facts["problems"] = problems


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
