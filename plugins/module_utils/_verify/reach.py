# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a proof reaches: the driver, the libcuda and the GPUs that it ran with, kept beside its verdict."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ansible_collections.podsmith.gpu.plugins.module_utils._host.child import start_call
from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.driver import read_nvml
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.toolkits import library_version
from ansible_collections.podsmith.gpu.plugins.module_utils._verify.checks import Record

LIBRARY = "libnvidia-ml.so.1"
LOADED_BY = ("torch", "cuinit")  # the environment's own Python first; without PyTorch there is only a shell's
TIMEOUT = 10.0  # seconds for NVML


def find_reach(
    results: Sequence[Record], driver: str | None, *, gpu: bool, before: Mapping[str, Any] | None = None
) -> Record:
    """``{driver, libcuda: {path, version} | None, gpus: [uuid, …] | None}`` of a proof; None is unknown.

    With ``seen`` where other GPUs than these were once seen on the host.

    :param results: the proof's checks, as they are stored.
    :param gpu: whether it ran on the GPUs; one that did not holds whatever library and GPUs there are.
    :param before: what this returned for the proof before this one, so that a GPU that is gone since is not forgotten.
    """
    gpus = read_gpus(TIMEOUT) if gpu else None
    seen = keep_seen(gpus, before)
    return {
        "driver": driver,
        "libcuda": find_library(results) if gpu else None,
        "gpus": gpus,
        **({"seen": seen} if seen != gpus else {}),
    }


def keep_seen(gpus: list[str] | None, before: Mapping[str, Any] | None) -> list[str] | None:
    """All GPUs that were ever seen on this host; those of another host, which shares none with this one, go."""
    listed = (before or {}).get("seen") or (before or {}).get("gpus")
    known = [str(uuid) for uuid in listed] if isinstance(listed, list) else []
    if gpus is None:
        return known or None
    return sorted({*gpus, *known}) if set(gpus) & set(known) else gpus


def find_library(results: Sequence[Record]) -> dict[str, str | None] | None:
    """The libcuda that the environment under proof has used; None where no check saw one, or which of several.

    A check names the one that it used as ``used``, and all that were mapped as ``libcuda``.
    """
    evidence: dict[str, Any] = {result["check"]: result.get("evidence") or {} for result in results}
    for check in LOADED_BY:
        used = evidence.get(check, {}).get("used")
        if used and used.get("path"):
            return {"path": used["path"], "version": used.get("version")}
        mapped = evidence.get(check, {}).get("libcuda") or []
        if len(mapped) == 1:
            path = Path(mapped[0]).resolve()
            return {"path": str(path), "version": library_version(path.name)}
        if mapped:
            return None
    return None


def read_gpus(timeout: float) -> list[str] | None:
    """The UUIDs of the GPUs, in order of their names; None where NVML did not answer, or not for every GPU."""
    own = Root().find_library(LIBRARY)
    outcome = start_call(partial(read_nvml, [LIBRARY, *([own] if own else [])], None), timeout).result()
    answer: Record = json.loads(outcome.out) if outcome.code == 0 and outcome.out else {}
    if answer.get("init") != 0:
        return None
    uuids = [device.get("uuid") for device in answer["devices"]]
    return sorted(uuids) if len(uuids) == answer["count"] and all(uuids) else None
