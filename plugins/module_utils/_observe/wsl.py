# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WSL2's folder with Windows' driver: whether programs find it. It is read, never written."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import LIBRARY_PATH, is_driver
from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import LIBRARY_DIRS, Root, is_compat
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.loader_search import (
    CACHE,
    CONFIGURATION,
    FRAGMENTS,
    SONAME,
    WINDOWS,
    WSL,
    conflict,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.startup_settings import Setting, split_folders
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.toolkits import DPKG, library_version


def find_wsl_conflicts(root: Root, settings: Iterable[Setting]) -> list[dict[str, Any]]:
    """The contract's ``conflicts`` of a host that has Windows' folder.

    :param settings: what the start-up files set.
    """
    return [*_links(root), *_loader(root), *_hidden(root, settings), *_linux_driver(root)]


def list_driver_packages(status: str) -> list[str]:
    """The installed packages of ``/var/lib/dpkg/status`` that belong to a driver for Linux."""
    found = re.findall(r"^Package: (\S+)\nStatus: \S+ \S+ installed$", status, re.MULTILINE)
    return sorted(name for name in found if is_driver(name))


def _links(root: Root) -> list[dict[str, Any]]:
    """Windows puts plain files there. ldconfig complains of them, and who then replaces them may lose them."""
    found = []
    names = root.listdir(WINDOWS)
    for name in dict.fromkeys(
        [SONAME, *(name for name in names if name.startswith(("libcuda.so", "libnvidia-ml.so")))]
    ):
        path = f"{WINDOWS}/{name}"
        if not root.exists(path) or not root.real(path).startswith(WSL):
            target = root.real(path) if name in names else ""
            found.append(_conflict("wsl_files", path, text=f"points to {target}" if target else "is not there"))
    return found


def _loader(root: Root) -> list[dict[str, Any]]:
    """The loader finds the folder by a file that WSL writes at its start, and by its cache."""
    files = [file for pattern in (CONFIGURATION, FRAGMENTS) for file in root.glob(pattern)]
    lines = {line.strip().rstrip("/") for file in files for line in root.read(file).splitlines()}
    if WINDOWS not in lines:
        return [_conflict("wsl_loader", WINDOWS)]
    cache = root.read_bytes(CACHE)
    if cache and f"{WINDOWS}/{SONAME}".encode() not in cache:
        return [_conflict("wsl_cache", WINDOWS)]
    return []


def _hidden(root: Root, settings: Iterable[Setting]) -> list[dict[str, Any]]:
    """A folder with another libcuda that a start-up file puts before Windows'."""
    found = []
    for setting in settings:
        for folder in split_folders(setting.value) if setting.name == LIBRARY_PATH else ():
            if folder.rstrip("/") == WINDOWS:
                break
            path = f"{folder}/{SONAME}"
            if not is_compat(folder) and root.exists(path) and not root.real(path).startswith(WSL):
                found.append(conflict("wsl_hidden", setting.file, setting.line, setting.text, folder))
                break
    return found


def _linux_driver(root: Root) -> list[dict[str, Any]]:
    """A driver for Linux: its packages, or its libraries where somebody put them there by hand."""
    packages = list_driver_packages(root.read(f"{DPKG}/status"))
    if packages:
        return [_conflict("wsl_linux_driver", _first_library(root) or DPKG, text=" ".join(packages))]
    library = _first_library(root)
    return [_conflict("wsl_linux_library", library)] if library else []


def _first_library(root: Root) -> str | None:
    """A libcuda of a driver for Linux, named after its version, in a folder of the system."""
    for folder in LIBRARY_DIRS:
        if folder == WINDOWS or root.real(folder).startswith(WINDOWS):
            continue
        for name in root.listdir(folder):
            path = f"{folder}/{name}"
            if library_version(name) and not root.real(path).startswith(WSL):
                return path
    return None


def _conflict(kind: str, path: str, text: str = "") -> dict[str, Any]:
    """A record without a line of a file: there is nothing in it that could be repaired by taking one out."""
    return conflict(kind, "", None, text, os.path.normpath(path))
