# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start-up files: the parts that are ours, by digest, and foreign settings that break CUDA."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import find_block, foreign_lines
from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import (
    LIBRARY_DIRS,
    Root,
    is_compat,
    split_path,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.toolkits import LIBCUDA
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.wsl import Setting, find_wsl_conflicts

OWN_PROFILE = "/etc/profile.d/podsmith.sh"
SYSTEM_FILES = ("/etc/environment", "/etc/profile", "/etc/bash.bashrc", "/etc/bashrc", "/etc/zsh/zshenv")
USER_FILES = (".bashrc", ".profile", ".bash_profile", ".zshrc")
ASSIGNMENT = re.compile(
    r"^\s*(?:export\s+|declare\s+-x\s+)?(?P<name>LD_LIBRARY_PATH|CUDA_HOME|CUDA_VISIBLE_DEVICES)"
    r"""=(?P<value>"[^"]*"|'[^']*'|[^\s;&|]*)"""
)
HIDING = re.compile(r"(?:-1(?:,.*)?|NoDevFiles)?")  # values of CUDA_VISIBLE_DEVICES with which CUDA sees no GPU
# ${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}: what was there before, and the colon where there was something
FORMER_VALUE = re.compile(r"\$\{LD_LIBRARY_PATH:?[-+](?:[^{}]|\$\{\w+\})*\}")


def parse_conflicts(text: str, file: str) -> list[dict[str, Any]]:
    """What a start-up file sets, outside our own block, that breaks CUDA, and all of CUDA_HOME.

    That is a path on which the wrong libcuda comes first, and a choice of devices that hides every GPU. Records are
    the contract's ``conflicts``; ``path`` is the folder in question.
    """
    found = []
    for number, line in enumerate(foreign_lines(text), 1):
        match = ASSIGNMENT.match(line)
        if not match:
            continue
        value = match["value"].strip("\"'")
        if match["name"] == "CUDA_HOME":
            found.append(_conflict("cuda_home", file, number, line, value))
            continue
        if match["name"] == "CUDA_VISIBLE_DEVICES":
            is_prefix = line[match.end() :].strip()[:1] not in ("", "#", ";", "&")  # of one command alone
            if HIDING.fullmatch(value) and not is_prefix:
                found.append(_conflict("hidden_devices", file, number, line, ""))
            continue
        for folder in split_folders(value):
            if is_compat(folder):
                kind = "stubs" if "stubs" in folder.split("/") else "ld_library_path"
                found.append(_conflict(kind, file, number, line, folder))
    return found


def split_folders(value: str) -> list[str]:
    """The folders of a value of LD_LIBRARY_PATH, without what stands for its former value."""
    return [folder for folder in split_path(FORMER_VALUE.sub(":", value)) if not folder.startswith("$")]


def find_settings(text: str, file: str) -> list[Setting]:
    """Every line outside our own block that sets LD_LIBRARY_PATH."""
    found = []
    for number, line in enumerate(foreign_lines(text), 1):
        match = ASSIGNMENT.match(line)
        if match and match["name"] == "LD_LIBRARY_PATH":
            found.append(Setting(file, number, line.strip(), tuple(split_folders(match["value"].strip("\"'")))))
    return found


def find_conflicts(
    root: Root, home: str, environ: Mapping[str, str], driver: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The contract's ``conflicts`` of this host."""
    files = [*SYSTEM_FILES, *root.glob("/etc/profile.d/*.sh"), *(f"{home}/{name}" for name in USER_FILES)]
    texts = {file: root.read(file) for file in files if file != OWN_PROFILE}
    found = [conflict for file, text in texts.items() for conflict in parse_conflicts(text, file)]
    found = [
        conflict
        for conflict in found
        if conflict["kind"] != "cuda_home" or (conflict["path"].startswith("/") and not root.exists(conflict["path"]))
    ]
    for file in root.glob("/etc/ld.so.conf.d/*.conf"):
        for number, line in enumerate(root.read(file).splitlines(), 1):
            if line.startswith("/") and is_compat(line.strip()):
                found.append(_conflict("ld_library_path", file, number, line, line.strip()))
    found += find_wsl_conflicts(
        root, (setting for file, text in texts.items() for setting in find_settings(text, file))
    )
    return found + _second_libcudas(root, environ, driver or {})


def digest_files(root: Root, prefixes: Sequence[str], home: str) -> dict[str, str]:
    """The contract's ``files``: SHA-256 of what is ours outside the generations: of foreign files, our block."""
    whole = [*(f"{prefix}/activate.sh" for prefix in prefixes), OWN_PROFILE]
    texts: dict[str, str | None] = {path: root.read(path) for path in whole if root.exists(path)}
    for path in (*SYSTEM_FILES, *(f"{home}/{name}" for name in USER_FILES)):
        texts[path] = find_block(root.read(path))
    return {path: hashlib.sha256(text.encode()).hexdigest() for path, text in texts.items() if text is not None}


def _second_libcudas(root: Root, environ: Mapping[str, str], driver: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Copies of libcuda that are not the driver's: before it on the search path, or of another version beside it."""
    own = root.find_library("libcuda.so.1")
    if not own or driver.get("flavor") == "windows":
        return []
    copies = []
    for folder in dict.fromkeys([*split_path(environ.get("LD_LIBRARY_PATH")), "/usr/local/lib", "/usr/local/lib64"]):
        path = f"{folder}/libcuda.so.1"
        if root.exists(path) and root.real(path) != own and not is_compat(folder):
            copies.append(path)
    versions = {}
    for folder in LIBRARY_DIRS:
        for name in root.listdir(folder):
            library = LIBCUDA.match(name)
            if library:
                versions[root.real(f"{folder}/{name}")] = library["version"]
    if driver.get("version") in versions.values():  # else the driver's own is of another version: a mismatch
        copies.extend(path for path, version in versions.items() if version != driver["version"])
    return [_conflict("second_libcuda", path, None, "", path) for path in dict.fromkeys(copies)]


def _conflict(kind: str, file: str, line: int | None, text: str, path: str) -> dict[str, Any]:
    return {"kind": kind, "file": file, "line": line, "text": text.strip(), "path": path}
