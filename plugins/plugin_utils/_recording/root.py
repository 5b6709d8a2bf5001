# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts of a recording that ``scripts/record.sh`` made: the files that it kept, and what tools said beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import CUDA_ERRORS
from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root, is_compat
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.driver import parse_cuda
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.host import observe
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.startup_files import find_conflicts
from ansible_collections.podsmith.gpu.plugins.plugin_utils._recording.recording import (
    HOST,
    ROOT,
    TEXTS,
    parse_recording,
)

Facts = dict[str, Any]


def observe_recording(folder: Path) -> Facts:
    """The facts of a recording that ``scripts/record.sh`` made: its files as gpu_facts sees them, and what tools said.

    What depends on the machine that reads it (user, home, free space, architecture) is the recorded host's, or absent,
    as is what is not recorded: package sources, and what this collection installed.
    """
    texts = {name: (folder / name).read_text(encoding="utf-8") for name in TEXTS if (folder / name).is_file()}
    host = parse_host(texts.get(HOST, ""))
    root = folder / ROOT
    facts: Facts = {**observe(str(root), 1, [], {}), "recorded": True}
    told = parse_recording(texts)
    if told.get("devices"):
        facts["devices"] = [{"compute_capability": None, **device, "xid": None} for device in told["devices"]]
        facts["driver"] = {**facts["driver"], **told["driver"], "flavor": facts["driver"]["flavor"]}
    is_root = host.get("root", "yes") == "yes"
    home = "/root" if is_root else "/home/user"
    platform = facts["platform"]
    platform.update(root=is_root, user="root" if is_root else "user", home=home)
    platform.update(arch=host.get("arch"), glibc=host.get("glibc"), boot_id=None)
    platform["free_gib"] = {"/": round(int(host["free_kib"]) / 2**20, 1)} if "free_kib" in host else {}
    del platform["size_gib"]
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
