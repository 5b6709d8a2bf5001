# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The loader's cache: what it holds, what ldconfig would put there, and ldconfig itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePath

from ansible_collections.podsmith.gpu.plugins.module_utils._host.child import start_command
from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import LIBRARY_DIRS, Root, is_compat

LIBCUDA = "libcuda.so.1"
TIMEOUT = 120.0  # seconds; a network folder in the configuration can take long
CACHED = re.compile(r"^\t\S+ \(.*\) => (?P<path>/.*)$", re.MULTILINE)
FOLDER = re.compile(r"^(?P<path>/.*?):(?: \(.*\))?$")
LIBRARY = re.compile(r"^\t(?P<name>\S+) -> \S+")


class LoaderError(Exception):
    """ldconfig did not do what it was asked for."""


def parse_cache(text: str) -> list[str]:
    """The libraries of ``ldconfig -p``, in order."""
    return [match["path"] for match in CACHED.finditer(text)]


def parse_forecast(text: str) -> list[str]:
    """The libraries of ``ldconfig -N -X -v``, which reads the configuration and writes nothing."""
    found, folder = [], ""
    for line in text.splitlines():
        if match := FOLDER.match(line):
            folder = match["path"].rstrip("/")
        elif match := LIBRARY.match(line):
            found.append(f"{folder}/{match['name']}")
    return found


def folders_to_keep(cached: Iterable[str], forecast: Iterable[str], versions: Sequence[str]) -> list[str]:
    """Folders of the driver's own libcuda that are in the cache alone; ldconfig would lose them unless it is told.

    Container runtimes name such folders on ldconfig's command line, and in no file.

    :param versions: real names of the driver's library, such as ``/usr/lib64/libcuda.so.580.95.05``; a library that
        lies where drivers' libraries do counts as the driver's without.
    """
    named = {_folder(path) for path in forecast if path.endswith(f"/{LIBCUDA}")}
    own = [_folder(path) for path in cached if path.endswith(f"/{LIBCUDA}") and path in versions]
    return [folder for folder in dict.fromkeys(own) if folder not in named]


def find_own(root: Root, cached: Iterable[str], driver: str | None) -> list[str]:
    """The cached paths of libcuda that are the driver's: of its version, or in the folders of drivers; no compat."""
    found = []
    for path in cached:
        if not path.endswith(f"/{LIBCUDA}") or not root.exists(path):
            continue
        real = root.real(path)
        if is_compat(real) or is_compat(path):
            continue
        if _folder(path) in LIBRARY_DIRS or (driver and real.endswith(f".so.{driver}")):
            found.append(path)
    return found


class Loader:
    """ldconfig of a host, or of the one below another root."""

    def __init__(self, ldconfig: str, root: Root, timeout: float = TIMEOUT) -> None:
        self.root, self.timeout = root, timeout
        self.argv = [ldconfig, *(["-r", root.path] if root.path else [])]

    def list_cached(self) -> list[str]:
        """The libraries in the cache; none where there is no cache."""
        return parse_cache(self._run("-p", may_fail=True))

    def forecast(self) -> list[str]:
        """What would be in the cache after a run."""
        return parse_forecast(self._run("-N", "-X", "-v"))

    def refresh(self, driver: str | None, *, check: bool) -> list[str]:
        """Make the cache anew; the folders of which it gained or lost a library, or with ``check`` would.

        :param driver: the version of the kernel driver, whose library stays in the cache if it is there.

        Raises LoaderError.
        """
        cached, forecast = self.list_cached(), self.forecast()
        keep = folders_to_keep(cached, forecast, find_own(self.root, cached, driver))
        if check:
            return sorted(_folders(cached).symmetric_difference([*_folders(forecast), *keep]))
        self._run(*keep)
        return sorted(_folders(set(cached).symmetric_difference(self.list_cached())))

    def _run(self, *arguments: str, may_fail: bool = False) -> str:
        argv = [*self.argv, *arguments]
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
        outcome = start_command(argv, env, self.timeout).result()
        if outcome.code is None:
            raise LoaderError(f"{' '.join(argv)} did not finish within {self.timeout:g} s")
        if outcome.code and not may_fail:
            raise LoaderError(f"{' '.join(argv)} ended with status {outcome.code}")
        return outcome.out


def _folder(path: str) -> str:
    return str(PurePath(path).parent)


def _folders(paths: Iterable[str]) -> set[str]:
    return {_folder(path) for path in paths}
