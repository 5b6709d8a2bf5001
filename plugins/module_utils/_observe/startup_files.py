# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start-up files: the parts that are ours, by digest, and foreign settings that break CUDA."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import find_block
from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import LIBRARY_DIRS, Root, is_compat, split_path
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.loader_search import (
    LOCAL,
    SONAME,
    Copy,
    Libraries,
    conflict,
    judge_search,
    read_preloads,
    read_search,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.startup_settings import (
    DOLLAR,
    PAM_FILES,
    Setting,
    find_settings,
    read_settings,
    split_folders,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.toolkits import LIBCUDA
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.wsl import find_wsl_conflicts

Record = dict[str, Any]

OWN_PROFILE = "/etc/profile.d/podsmith.sh"
SYSTEM_FILES = ("/etc/environment", "/etc/profile", "/etc/bash.bashrc", "/etc/bashrc", "/etc/zsh/zshenv")
USER_FILES = (".bashrc", ".profile", ".bash_profile", ".zshrc")
# Where nothing of ours stands, and what breaks CUDA may.
OTHER_SYSTEM_FILES = (
    *PAM_FILES[1:],
    "/etc/zshenv",
    "/etc/zprofile",
    "/etc/zshrc",
    "/etc/zsh/zprofile",
    "/etc/zsh/zshrc",
    "/etc/csh.cshrc",
    "/etc/csh.login",
    "/etc/fish/config.fish",
)
OTHER_USER_FILES = (
    ".pam_environment",
    ".bash_login",
    ".zshenv",
    ".zprofile",
    ".cshrc",
    ".tcshrc",
    ".login",
    ".config/fish/config.fish",
)
PROFILES = ("/etc/profile.d/*.sh", "/etc/profile.d/*.csh", "/etc/fish/conf.d/*.fish")
USER_PROFILES = (".bashrc.d/*", ".config/fish/conf.d/*.fish")
PRELOADED = re.compile(r"[\s:]+")
DEVICE = re.compile(
    r"\s*(?:\+?(?P<index>\d+)|(?P<uuid>(?:GPU|MIG)-[\w-]+)).*"
)  # as CUDA reads an entry; any other ends the list
SCRUBBED = "scrubbed"  # what scripts/record.sh writes for a value that it does not tell
TOOLKIT_LINKER = re.compile(r"libnvJitLink\.so\.(?P<version>\d+\.\d+)\.\d+")


def parse_conflicts(text: str, file: str) -> list[Record]:
    """What a start-up file sets, outside our own block, that breaks CUDA, and all of CUDA_HOME.

    That is a path on which the wrong libcuda comes first, a preloaded one, and a choice of devices with which CUDA sees
    none or fails, as far as their names tell. Records are the contract's ``conflicts``; ``path`` is the folder or the
    library in question.
    """
    return [row for setting in read_settings(text, file) for row in judge_setting(setting)]


def judge_setting(
    setting: Setting, libraries: Libraries | None = None, devices: Sequence[Mapping[str, Any]] | None = None
) -> list[Record]:
    """The contract's ``conflicts`` of one assignment.

    :param libraries: what is in the folders; without it their names decide.
    :param devices: the host's GPUs, None where they are unknown.
    """
    file, line, text = setting.file, setting.line, setting.text
    if setting.name == "CUDA_HOME":
        return [conflict("cuda_home", file, line, text, setting.written)]
    if setting.name == "CUDA_VISIBLE_DEVICES":
        kind = judge_devices(setting.value, devices)
        return [conflict(kind, file, line, text, "")] if kind else []
    if setting.name == "LD_PRELOAD":
        paths = [path for path in PRELOADED.split(setting.value) if is_wrong_preload(path, libraries)]
        return [conflict("preload", file, line, text, path, _read(path, libraries)) for path in paths]
    found = []
    for folder in dict.fromkeys(split_folders(setting.value)):
        copy = libraries.find(folder) if libraries and folder.startswith("/") else None
        if libraries and copy and libraries.is_own(copy):
            break  # what comes after it does no harm
        if is_compat(folder) or (copy and is_compat(copy.real)):
            kind = "stubs" if "stubs" in folder.split("/") else "ld_library_path"
            found.append(conflict(kind, file, line, text, folder, copy))
        elif libraries and libraries.own and copy:
            found.append(conflict("ld_library_path", file, line, text, folder, copy))
    return found


def judge_devices(value: str, devices: Sequence[Mapping[str, Any]] | None = None) -> str | None:
    """What a value of CUDA_VISIBLE_DEVICES does: ``hidden_devices``, ``repeated_devices``, ``some_devices`` or nothing.

    CUDA takes the entries up to the first that names no GPU, and fails with error 101 where one is named twice. With a
    variable in it that is not known the value is not judged.

    :param devices: the host's GPUs, with their ``uuid`` where it is known; None or none: their number is not known.
    """
    if "$" in value or "`" in value or value == SCRUBBED:
        return None
    uuids = [str(device.get("uuid") or "") for device in devices or ()]
    taken: list[str] = []
    for entry in value.split(","):
        match = DEVICE.fullmatch(entry)
        if not match:
            break
        name = match["uuid"] or str(int(match["index"]))
        if uuids and match["index"] and int(name) >= len(uuids):
            break
        if all(uuids) and uuids and name.startswith("GPU-"):
            fitting = [number for number, uuid in enumerate(uuids) if uuid.startswith(name)]
            if len(fitting) != 1:
                break
            name = str(fitting[0])
        taken.append(name)
    if not taken:
        return "hidden_devices"
    if len(set(taken)) < len(taken):
        return "repeated_devices"
    is_less = len(taken) < len(uuids) and not any(name.startswith("MIG-") for name in taken)
    return "some_devices" if is_less else None


def is_wrong_preload(path: str, libraries: Libraries | None = None) -> bool:
    """Whether what is preloaded is a libcuda that is not the driver's; one that is not there does nothing."""
    if not path.rpartition("/")[2].startswith("libcuda.so") or "/" not in path or DOLLAR in path:
        return False
    if is_compat(path):
        return True
    copy = _read(path, libraries)
    return bool(libraries and libraries.own and copy and not libraries.is_own(copy))


def find_conflicts(
    root: Root,
    home: str,
    environ: Mapping[str, str],
    driver: Mapping[str, Any] | None = None,
    devices: Sequence[Mapping[str, Any]] | None = None,
    torches: Sequence[Mapping[str, Any]] = (),
) -> list[Record]:
    """The contract's ``conflicts`` of this host, read from files; nothing is run.

    :param environ: the variables of this process; none of a recorded host.
    :param driver: the contract's ``driver``.
    :param devices: the contract's ``devices``, None where they are unknown.
    :param torches: the contract's ``installed.pytorch``.
    """
    driver = driver or {}
    settings = find_settings(root, _list_files(root, home), home, (OWN_PROFILE,))
    image = _image_path(root, environ, settings)
    libraries = Libraries(root, driver, [*image, *split_path(environ.get("LD_LIBRARY_PATH"))])
    is_windows = driver.get("flavor") == "windows"
    told = None if is_windows else libraries  # of Windows' driver wsl tells what hides it
    found = []
    for setting in settings:
        rows = judge_setting(setting, told, devices)
        found += [row for row in rows if row["kind"] != "cuda_home" or _is_lost(root, row["path"])]
        found += _toolkit_libraries(root, setting, torches)
    for line in read_preloads(root):
        if is_wrong_preload(line.path, told):
            copy = _read(line.path, told)
            found.append(conflict("preload", line.file, line.line, line.text, line.path, copy))
    search = read_search(root, image)
    own = libraries.own[0] if libraries.is_known and not is_windows else None
    found += judge_search(search, libraries.describe(search), own)
    found += find_wsl_conflicts(root, settings)
    named = {root.real(row["path"]) for row in found if row["kind"] != "loader_missing" and row["path"].startswith("/")}
    return found + ([] if is_windows else _second_libcudas(root, environ, libraries, named))


def digest_files(root: Root, prefixes: Sequence[str], home: str) -> dict[str, str]:
    """The contract's ``files``: SHA-256 of what is ours outside the generations: of foreign files, our block."""
    whole = [*(f"{prefix}/activate.sh" for prefix in prefixes), OWN_PROFILE]
    texts: dict[str, str | None] = {path: root.read(path) for path in whole if root.exists(path)}
    for path in (*SYSTEM_FILES, *(f"{home}/{name}" for name in USER_FILES)):
        texts[path] = find_block(root.read(path))
    return {path: hashlib.sha256(text.encode()).hexdigest() for path, text in texts.items() if text is not None}


def _list_files(root: Root, home: str) -> list[str]:
    """The start-up files in the order in which a session reads them, as far as there is one."""
    profiles = [file for pattern in PROFILES for file in root.glob(pattern)]
    users = [f"{home}/{name}" for name in (*USER_FILES, *OTHER_USER_FILES)]
    users += [file for pattern in USER_PROFILES for file in root.glob(f"{home}/{pattern}")]
    return [*SYSTEM_FILES, *OTHER_SYSTEM_FILES, *profiles, *users]


def _image_path(root: Root, environ: Mapping[str, str], settings: Iterable[Setting]) -> list[str]:
    """The folders on LD_LIBRARY_PATH before a shell reads a file: of the first process, else of this one, and PAM's."""
    first = root.read_bytes("/proc/1/environ").decode("utf-8", "replace").split("\0")
    values = [item.partition("=")[2] for item in first if item.startswith("LD_LIBRARY_PATH=")]
    if first == [""] and "SSH_CONNECTION" not in environ:
        values.append(environ.get("LD_LIBRARY_PATH", ""))
    values += [row.value for row in settings if row.name == "LD_LIBRARY_PATH" and row.file == PAM_FILES[0]]
    return [folder for value in values for folder in split_folders(value)]


def _is_lost(root: Root, path: str) -> bool:
    return path.startswith("/") and "$" not in path and not root.exists(path)


def _read(path: str, libraries: Libraries | None) -> Copy | None:
    return libraries.find_file(path) if libraries and path.startswith("/") else None


def _toolkit_libraries(root: Root, setting: Setting, torches: Iterable[Mapping[str, Any]]) -> list[Record]:
    """A toolkit's libraries that programs get instead of those that a PyTorch of a newer minor release brings.

    PyTorch's libraries then miss symbols, such as ``__nvJitLinkCreate_12_8``; of a newer toolkit they miss none.
    """
    cudas = [[int(part) for part in str(torch["cuda"]).split(".")[:2]] for torch in torches if torch.get("cuda")]
    if setting.name != "LD_LIBRARY_PATH" or not cudas:
        return []
    found = []
    for folder in split_folders(setting.value):
        names = (TOOLKIT_LINKER.fullmatch(name) for name in root.listdir(folder)) if folder.startswith("/") else ()
        version = next((match["version"] for match in names if match), None)
        own = [int(part) for part in version.split(".")] if version else []
        if version and any(own[0] == cuda[0] and own < cuda for cuda in cudas):
            row = conflict("toolkit_library", setting.file, setting.line, setting.text, folder)
            found.append({**row, "version": version})
    return found


def _second_libcudas(root: Root, environ: Mapping[str, str], libraries: Libraries, named: set[str]) -> list[Record]:
    """Copies of libcuda that are not the driver's: before it on the search path, or of another version beside it.

    :param named: folders and libraries, without links, of which another conflict tells already.
    """
    if not libraries.own:
        return []
    copies = {}
    for folder in dict.fromkeys([*split_path(environ.get("LD_LIBRARY_PATH")), *LOCAL]):
        copy = libraries.find(folder)
        if copy and copy.real not in [own.real for own in libraries.own] and not is_compat(folder):
            copies[f"{folder}/{SONAME}"] = copy.version
    if libraries.is_known:  # else the driver's own is of another version: a mismatch
        for folder in LIBRARY_DIRS:
            for name in root.listdir(folder):
                library = LIBCUDA.match(name)
                if library and library["version"] != libraries.version:
                    copies[root.real(f"{folder}/{name}")] = library["version"]
    return [
        {**conflict("second_libcuda", path, None, "", path), **({"version": version} if version else {})}
        for path, version in copies.items()
        if not named & {root.real(path), root.real(path.rpartition("/")[0])}
    ]
