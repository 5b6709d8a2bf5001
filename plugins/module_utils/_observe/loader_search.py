# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the dynamic loader looks for libcuda when no variable tells it: its configuration, its cache, its own folders.

``ldconfig`` goes through the folders of the configuration in their order, then through the loader's own, and writes the
cache in that order; of several libraries of one name the loader takes the first. Source: ld.so(8), ldconfig(8) and
elf/dl-cache.c of glibc.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import LIBRARY_DIRS, TEGRA_DIRS, Root, is_compat
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.toolkits import library_version

Record = dict[str, Any]

SONAME = "libcuda.so.1"
WSL = "/usr/lib/wsl/"  # what WSL2 gives of Windows
WINDOWS = f"{WSL}lib"  # its driver
CONFIGURATION = "/etc/ld.so.conf"
FRAGMENTS = "/etc/ld.so.conf.d/*.conf"
CACHE = "/etc/ld.so.cache"
PRELOADS = "/etc/ld.so.preload"
MULTIARCH = (
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
)
LOCAL = (
    "/usr/local/lib",
    "/usr/local/lib64",
    "/usr/local/lib/x86_64-linux-gnu",
    "/usr/local/lib/aarch64-linux-gnu",
)
# Folders that belong to the system: what is wrong in one of them is the library, never the line that names it.
SYSTEM = (*MULTIARCH, "/lib64", "/usr/lib64", "/lib", "/usr/lib", *LOCAL)
INCLUDE_DEPTH = 8
NOTHING_LOADED: Record = {
    "libcuda": None,
    "version": None,
    "driver_api": None,
    "compat_active": False,
    "stub": False,
    "init": None,
    "devices": 0,
    "environ": {},
}  # what a way into the host says where it gets no libcuda
MAGIC = b"glibc-ld.so.cache1.1"
HEADER, ENTRY = 48, struct.Struct("<iII4x8x")  # bytes before the entries; flags, and where name and path are
FLAGS_64 = (0x0303, 0x0A03)  # a library of x86_64 and of aarch64, for glibc; 32-bit ones are of no concern


class Line(NamedTuple):
    """A line of the loader's configuration that names a folder, or of its preloads that names a library."""

    file: str
    line: int
    text: str
    path: str


class Copy(NamedTuple):
    """A libcuda.so.1 in a folder."""

    folder: str
    real: str  # the file behind the links
    version: str | None  # in the file's name


class Folder(NamedTuple):
    """A folder in which the loader may look."""

    real: str  # without links
    copy: Copy | None = None  # its libcuda
    is_own: bool = False  # that is the driver's


class Search(NamedTuple):
    """What the loader goes by."""

    configured: Sequence[Line]
    cached: Sequence[str] | None  # folders that have libcuda.so.1 in the cache, in their order; None: unknown
    defaults: Sequence[str]
    image: Sequence[str] = ()  # folders that every process of the image has on LD_LIBRARY_PATH


class Libraries:
    """The libcudas of a host: which is in a folder, and which of them is the driver's own.

    The driver's is of the kernel driver's version, in whichever of the known folders and of the loader's cache, with a
    link ``libcuda.so.1`` to it or without; where none is of that version it is the first that is there.

    :param more: folders of search paths, looked into last.
    """

    def __init__(self, root: Root, driver: Mapping[str, Any], more: Iterable[str] = ()) -> None:
        self.root = root
        self.copies: dict[str, Copy | None] = {}
        version = driver.get("version")
        cached = (os.path.dirname(path) for path in parse_cache(root.read_bytes(CACHE)))
        folders = [folder for folder in dict.fromkeys((*LIBRARY_DIRS, *cached, *more)) if not is_compat(folder)]
        found = [copy for folder in folders if (copy := self.find(folder)) and not is_compat(copy.real)]
        named = (self.find_file(f"{folder}/libcuda.so.{version}") for folder in folders if version)
        own = [copy for copy in (*found, *named) if version and copy and copy.version == version]
        own = [copy for copy in dict.fromkeys(own) if not is_compat(copy.real)]
        self.is_known = bool(own)
        self.own = own or found[:1]
        self.version = own[0].version if own else None

    def find(self, folder: str) -> Copy | None:
        """The libcuda.so.1 of a folder; none of a 32-bit one."""
        if folder not in self.copies:
            path = f"{folder.rstrip('/')}/{SONAME}"
            self.copies[folder] = self._read(path) if self.root.exists(path) else None
        return self.copies[folder]

    def is_own(self, copy: Copy) -> bool:
        """Whether a libcuda is the driver's, or another copy of the very same version."""
        if is_compat(copy.real) or is_compat(copy.folder):
            return False
        return copy.real in [own.real for own in self.own] or (self.is_known and copy.version == self.version)

    def describe(self, search: Search) -> dict[str, Folder]:
        """Every folder of a search, and what is in it."""
        paths = [*(line.path for line in search.configured), *(search.cached or ()), *search.defaults, *search.image]
        found = {}
        for path in dict.fromkeys(paths):
            copy = self.find(path)
            found[path] = Folder(self.root.real(path), copy, copy is not None and self.is_own(copy))
        return found

    def find_file(self, path: str) -> Copy | None:
        """A libcuda by its own path."""
        return self._read(path) if self.root.exists(path) else None

    def _read(self, path: str) -> Copy | None:
        real = self.root.real(path)
        if self.root.read_bytes(real, 5)[4:] == b"\1":
            return None
        return Copy(os.path.dirname(path), real, library_version(real))


def find_libcuda(root: Root, driver: Mapping[str, Any], more: Iterable[str] = ()) -> str | None:
    """The driver's own libcuda without links: the contract's ``driver.libcuda``. None: it is nowhere, or no driver is.

    :param more: folders of search paths, looked into last.
    """
    if driver.get("flavor") == "windows" or root.exists("/dev/dxg"):
        path = f"{WINDOWS}/{SONAME}"
        return path if root.exists(path) else None
    if not driver.get("version"):
        return None
    libraries = Libraries(root, driver, more)
    if libraries.is_known:
        return libraries.own[0].real
    tegra = (libraries.find(folder) for folder in TEGRA_DIRS)  # its library does not carry the version
    return next((copy.real for copy in tegra if copy and not copy.version), None)


def parse_cache(data: bytes, soname: str = SONAME) -> list[str]:
    """The paths that the loader's cache has for a library, in their order; of a cache in no known format none.

    :param data: ``/etc/ld.so.cache`` in glibc's format 1.1, with the old one before it or without.
    """
    start, key = data.find(MAGIC), soname.encode() + b"\0"
    names = {match.start() - start for match in re.finditer(re.escape(key), data)}
    if start < 0 or not names or len(data) < start + HEADER:
        return []
    (count,) = struct.unpack_from("<I", data, start + len(MAGIC))
    entries = data[start + HEADER : start + HEADER + count * ENTRY.size]
    whole = entries[: len(entries) // ENTRY.size * ENTRY.size]
    paths = [path for flags, name, path in ENTRY.iter_unpack(whole) if name in names and flags in FLAGS_64]
    return [data[start + path : data.find(b"\0", start + path)].decode("utf-8", "replace") for path in paths]


def read_configuration(root: Root) -> list[Line]:
    """The folders of the loader's configuration in the order in which ldconfig goes through them.

    A recording may lack the line that includes the folder of fragments: they are read there all the same.
    """
    found = list(_read_configuration(root, CONFIGURATION, set(), INCLUDE_DEPTH))
    if not root.is_live and not any(line.file != CONFIGURATION for line in found):
        for file in root.glob(FRAGMENTS):
            found += _read_configuration(root, file, set(), INCLUDE_DEPTH)
    return found


def read_preloads(root: Root) -> list[Line]:
    """The libraries that the loader puts into every program."""
    rows = enumerate(root.read(PRELOADS).splitlines(), 1)
    return [
        Line(PRELOADS, number, text.strip(), path)
        for number, text in rows
        for path in re.split(r"[\s:]+", text.partition("#")[0])
        if path
    ]


def read_search(root: Root, image: Sequence[str] = ()) -> Search:
    """What the loader of this host goes by; a recording without a cache leaves it unknown.

    :param image: the folders that every process of the image has on LD_LIBRARY_PATH.
    """
    data = root.read_bytes(CACHE)
    cached = [os.path.dirname(path) for path in parse_cache(data)] if data or root.is_live else None
    multiarch = [folder for folder in MULTIARCH if root.is_dir(folder)]
    defaults = (*(multiarch or ("/lib64", "/usr/lib64")), "/lib", "/usr/lib")
    return Search(read_configuration(root), cached, defaults, image)


def judge_search(search: Search, folders: Mapping[str, Folder], own: Copy | None) -> list[Record]:
    """The contract's ``conflicts`` of the loader: what comes before the driver's libcuda, or that nothing leads to it.

    :param folders: every folder of the search, as of :meth:`Libraries.describe`.
    :param own: the libcuda of the kernel driver's version; without one only compat and stub folders are told.
    """
    found = []
    for line in search.configured:
        copy = folders[line.path].copy
        if folders[line.path].is_own:
            break  # what comes after it does no harm
        if is_compat(line.path) or (copy and is_compat(copy.real)):
            kind = "stubs" if "stubs" in line.path.split("/") else "ld_library_path"
        elif copy and own and line.path not in SYSTEM:
            kind = "loader_order"
        else:
            continue
        found.append(conflict(kind, line.file, line.line, line.text, line.path, copy))
    if search.cached is None or own is None:
        return found
    told = {folders[path].real for path in (*(row["path"] for row in found), *search.defaults)}
    for path in search.cached:
        if folders[path].is_own:
            break
        if folders[path].real not in told and path not in SYSTEM:
            found.append(conflict("loader_cache", CACHE, None, "", path, folders[path].copy))
    if not any(folders[path].is_own for path in (*search.cached, *search.defaults, *search.image)):
        searched = [folders[path].real for path in (*(line.path for line in search.configured), *search.defaults)]
        is_stale = own.folder in searched or os.path.dirname(own.real) in searched  # or its link is not there
        kind, file = ("loader_cache", CACHE) if is_stale else ("loader_missing", "")
        found.append(conflict(kind, file, None, "", own.folder, own))
    return found


def conflict(kind: str, file: str, line: int | None, text: str, path: str, copy: Copy | None = None) -> Record:
    """A record of the contract's ``conflicts``, with the version of the library in question where that is known."""
    row: Record = {"kind": kind, "file": file, "line": line, "text": text.strip(), "path": path}
    return {**row, "version": copy.version} if copy and copy.version else row


def _read_configuration(root: Root, file: str, read: set[str], depth: int) -> Iterator[Line]:
    if file in read or not depth:
        return
    read.add(file)
    for number, text in enumerate(root.read(file).splitlines(), 1):
        words = text.partition("#")[0].split()
        if words[:1] == ["include"]:
            for pattern in words[1:]:
                for other in root.glob(os.path.join(os.path.dirname(file), pattern)):
                    yield from _read_configuration(root, other, read, depth - 1)
        elif words and words[0].startswith("/"):
            folder = " ".join(words).partition("=")[0].rstrip("/") or "/"
            yield Line(file, number, text.strip(), folder)
