# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a proof knows of its host, for the explanation of an error; only files are read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.driver import read_loaded
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.machine import find_engine
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.platform import find_kind

CONTROL, UVM = "/dev/nvidiactl", "/dev/nvidia-uvm"


def read_context(root: Root, environ: Mapping[str, str]) -> dict[str, Any]:
    """The context that ``explain_error`` of this folder takes, as far as files tell it.

    ``environ`` is what the checks run with; of it CUDA_VISIBLE_DEVICES counts.
    """
    kind, loaded = find_kind(root, environ), read_loaded(root)
    windows = kind == "wsl2"
    return {
        "kind": kind,
        **({"engine": find_engine(root, environ)} if kind == "container" else {}),
        "flavor": "windows" if windows else loaded.flavor,
        "driver": loaded.version,
        "visible_devices": environ.get("CUDA_VISIBLE_DEVICES"),
        "device_files": None if windows else judge_files(root),
    }


def fit_remedies(rules: Mapping[str, Any], kind: str | None) -> dict[str, dict[str, dict[str, Any]]]:
    """The catalogue's ``health`` with the remedies of a machine of one's own where this is a machine.

    :param kind: ``bare_metal``, ``vm``, ``container`` or ``wsl2``; ``None`` where it is unknown.
    """
    is_machine = kind is not None and kind != "container"
    return {
        section: {
            key: {**row, "remedy": row["remedy_own"]} if is_machine and "remedy_own" in row else dict(row)
            for key, row in rows.items()
        }
        for section, rows in rules.items()
    }


def judge_files(root: Root) -> str:
    """``present`` where this user may use the driver's device files of at least one GPU, else ``missing``."""
    gpus = [path for path in root.glob("/dev/nvidia*") if path.removeprefix("/dev/nvidia").isdigit()]
    usable = [path for path in (CONTROL, UVM, *gpus) if os.access(root.at(path), os.R_OK | os.W_OK)]
    return "present" if {CONTROL, UVM} <= set(usable) and set(gpus) & set(usable) else "missing"
