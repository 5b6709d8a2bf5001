# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a host's files below a root that need not be ``/``: absence is an answer, never an error."""

from __future__ import annotations

import fnmatch
import json
import os
import pwd
from collections.abc import Mapping
from typing import Any

LIMIT = 4 * 1024 * 1024  # bytes; no text read here is larger than dpkg's status file
CHUNK = 65536  # bytes; files below /proc/sys refuse to be read by the megabyte

TEGRA_DIRS = ("/usr/lib/aarch64-linux-gnu/nvidia", "/usr/lib/aarch64-linux-gnu/tegra")  # Jetson's driver

LIBRARY_DIRS = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib/x86_64-linux-gnu/nvidia/current",
    "/usr/lib/wsl/lib",
    "/usr/local/nvidia/lib64",
    "/usr/local/nvidia/lib",
    "/run/opengl-driver/lib",
    "/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/lib64",
    "/usr/lib",
    "/usr/lib/aarch64-linux-gnu/nvidia/current",
    "/usr/lib64/nvidia",
    "/usr/lib64-nvidia",
    "/usr/lib/nvidia",
    "/run/nvidia/driver/usr/lib/x86_64-linux-gnu",
    "/run/nvidia/driver/usr/lib/aarch64-linux-gnu",
    "/run/nvidia/driver/usr/lib64",
    "/.singularity.d/libs",
    "/home/kubernetes/bin/nvidia/lib64",
    "/var/lib/nvidia/lib64",
    "/opt/nvidia/current/lib64",
    "/opt/nvidia/current/usr/lib64",
    *TEGRA_DIRS,
)  # where a driver's libraries live, never a toolkit's

FIRST = "/proc/1/environ"  # of the first process, which in a container has its image's
COMPAT_PARTS = {"compat", "compat_orin", "stubs"}


class Root:
    """The host's file system. Paths go in and come out as the host itself sees them: absolute, without the root.

    ``closed`` are mount points that did not answer; nothing below them is touched.
    """

    def __init__(self, path: str = "/", closed: tuple[str, ...] = ()) -> None:
        self.path = os.path.abspath(path).rstrip("/")
        self.closed = closed

    @property
    def is_live(self) -> bool:
        """Whether this is the running host itself."""
        return not self.path

    def at(self, path: str) -> str:
        """Where a path of the host really is; symbolic links resolve below the root."""
        return self.path + (self.real(path) if self.path else path)

    def real(self, path: str) -> str:
        """The path without symbolic links, as the host sees it."""
        if "\0" in path:  # there is no such file, and Python raises for one
            return path
        if not self.path:
            return os.path.realpath(path)
        done, left = "", [part for part in path.split("/") if part]
        for _step in range(1000):
            if not left:
                return done or "/"
            part = left.pop(0)
            if part in ("", "."):
                continue
            if part == "..":
                done = os.path.dirname(done).rstrip("/")
                continue
            try:
                target = os.readlink(self.path + done + "/" + part)
            except OSError:
                done += "/" + part
                continue
            if target.startswith("/"):
                done = ""
            left = target.split("/") + left
        return path  # a loop

    def is_closed(self, path: str) -> bool:
        """Whether the path lies on a file system that does not answer and is left alone, or cannot be one."""
        return "\0" in path or any(path == point or path.startswith(point + "/") for point in self.closed)

    def exists(self, path: str) -> bool:
        """Whether something is there, links followed."""
        return not self.is_closed(path) and os.path.exists(self.at(path))

    def is_dir(self, path: str) -> bool:
        """Whether a folder is there."""
        return not self.is_closed(path) and os.path.isdir(self.at(path))

    def is_file(self, path: str) -> bool:
        """Whether a regular file is there, links followed."""
        return not self.is_closed(path) and os.path.isfile(self.at(path))

    def is_executable(self, path: str) -> bool:
        """Whether a file is there that this user may run."""
        return self.exists(path) and os.path.isfile(self.at(path)) and os.access(self.at(path), os.X_OK)

    def size(self, path: str) -> int | None:
        """The size in bytes, or None where there is no such file."""
        if self.is_closed(path):
            return None
        try:
            return os.stat(self.at(path)).st_size
        except OSError:
            return None

    def owner(self, path: str) -> int | None:
        """The user id of its owner, links followed; None where there is no such file."""
        try:
            return None if self.is_closed(path) else os.stat(self.at(path)).st_uid
        except OSError:
            return None

    def read_bytes(self, path: str, limit: int = LIMIT) -> bytes:
        """The first bytes of a file; empty where it can't be read, or would be waited for, as a pipe."""
        if self.is_closed(path):
            return b""
        try:
            with open(self.at(path), "rb", buffering=0, opener=_open) as file:
                chunks, left = [], limit
                while left > 0 and (chunk := file.read(min(left, CHUNK))):
                    chunks.append(chunk)
                    left -= len(chunk)
                return b"".join(chunks)
        except OSError:
            return b""

    def read(self, path: str, limit: int = LIMIT) -> str:
        """A file's text; empty where it can't be read."""
        return self.read_bytes(path, limit).decode("utf-8", "replace")

    def read_json(self, path: str) -> dict[str, Any]:
        """The object in a JSON file; empty where there is none."""
        try:
            data = json.loads(self.read(path) or "{}")
        except ValueError:
            return {}
        return data if isinstance(data, dict) else {}

    def first_environ(self) -> dict[str, str]:
        """The variables of the host's first process; empty where they may not be read."""
        return parse_environ(self.read_bytes(FIRST))

    def listdir(self, path: str) -> list[str]:
        """Sorted names; empty where the folder can't be read."""
        if self.is_closed(path):
            return []
        try:
            return sorted(os.listdir(self.at(path)))
        except OSError:
            return []

    def glob(self, pattern: str) -> list[str]:
        """Existing paths for an absolute pattern; ``*`` does not match hidden names."""
        found = [""]
        for part in pattern.strip("/").split("/"):
            if any(sign in part for sign in "*?["):
                found = [
                    f"{folder}/{name}"
                    for folder in found
                    for name in self.listdir(folder or "/")
                    if fnmatch.fnmatchcase(name, part) and (not name.startswith(".") or part.startswith("."))
                ]
            else:
                found = [f"{folder}/{part}" for folder in found]
        return [path for path in found if self.exists(path)]

    def find_library(self, soname: str, more: tuple[str, ...] = ()) -> str | None:
        """The driver's copy of a library, as its real path; a compatibility or stub copy is not one."""
        for folder in (*LIBRARY_DIRS, *more):
            if self.exists(f"{folder}/{soname}"):
                real = self.real(f"{folder}/{soname}")
                if not is_compat(real):
                    return real
        return None


def _open(path: str, flags: int) -> int:
    """Open a file, or a pipe without waiting for somebody who writes to it."""
    return os.open(path, flags | os.O_NONBLOCK)


def find_home(environ: Mapping[str, str]) -> str:
    """``HOME`` where that folder is the user's own (a change of user may leave another's), else what passwd has."""
    home = environ.get("HOME", "")
    try:
        is_own = home.startswith("/") and os.stat(home).st_uid == os.geteuid()
    except OSError:
        is_own = False
    return home.rstrip("/") if is_own and home != "/" else find_user(environ).pw_dir


def find_user(environ: Mapping[str, str]) -> pwd.struct_passwd:
    """This user as passwd has it; a container may run as a number that has no entry there."""
    uid = os.geteuid()
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        home = environ.get("HOME", "")
        return pwd.struct_passwd(
            (str(uid), "x", uid, os.getegid(), "", home if home.startswith("/") else "/", "/bin/sh")
        )


def parse_environ(data: bytes) -> dict[str, str]:
    """Parse ``/proc/<pid>/environ``."""
    pairs = (item.partition("=") for item in data.decode("utf-8", "replace").split("\0") if "=" in item)
    return {name: value for name, _sign, value in pairs if name}


def is_compat(path: str) -> bool:
    """Whether a library or a folder on a search path is not the driver's own: ``…/compat/…``, ``…/stubs/…``."""
    return not COMPAT_PARTS.isdisjoint(path.split("/"))


def split_path(text: str | None) -> list[str]:
    """The folders of a colon-separated list."""
    return [part for part in (text or "").split(":") if part]
