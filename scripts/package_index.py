# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An index of Python packages, read without fetching whole wheels: for refresh_catalogue.py."""

from __future__ import annotations

import io
import json
import os
import pathlib
import re
import tarfile
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from packaging.version import InvalidVersion, Version

CACHE = pathlib.Path(__file__).resolve().parents[1] / ".ansible" / "pypi"


class File(NamedTuple):
    """One file of a project's page in the index."""

    name: str
    version: str
    url: str
    python: str | None
    yanked: bool


class Wheel(NamedTuple):
    """What is read of a wheel without fetching it: its METADATA, its size in bytes, and the build record some carry."""

    metadata: str
    size: int
    record: str | None


class Index:
    """PyPI, or the index that pip or uv is configured for; keeps what it read of wheels in CACHE."""

    def __init__(self) -> None:
        import pypi_simple  # reads the Simple API, in HTML and JSON, with yanked files and Python ranges  # noqa: PLC0415

        url = os.environ.get("PIP_INDEX_URL") or os.environ.get("UV_DEFAULT_INDEX") or pypi_simple.PYPI_SIMPLE_ENDPOINT
        self._client = pypi_simple.PyPISimple(endpoint=url)
        self._files: dict[str, tuple[File, ...]] = {}

    def files(self, project: str) -> tuple[File, ...]:
        """All final releases' files of a project, newest version first."""
        if project not in self._files:
            self._files[project] = self._fetch(project)
        return self._files[project]

    def _fetch(self, project: str) -> tuple[File, ...]:
        found = []
        for package in self._client.get_project_page(project).packages:
            try:
                version = Version(package.version or "")
            except InvalidVersion:
                continue
            if not version.is_prerelease and package.package_type in ("wheel", "sdist"):
                found.append(
                    File(package.filename, str(version), package.url, package.requires_python, bool(package.is_yanked))
                )
        return tuple(sorted(found, key=lambda file: (Version(file.version), file.name), reverse=True))

    def wheel(self, file: File) -> Wheel:
        """METADATA and size of a wheel, by range requests; kept on disk, for a published file never changes."""
        import remotezip  # reads single members of a remote zip by HTTP ranges  # noqa: PLC0415

        kept = CACHE / f"{file.name}.json"
        if not kept.exists():
            with remotezip.RemoteZip(file.url) as archive:
                member = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
                record = next((name for name in archive.namelist() if name.endswith("/cpp_lib.json")), None)
                found = {
                    "metadata": archive.read(member).decode(),
                    "size": self.size(file),
                    "record": archive.read(record).decode() if record else None,
                }
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(found), encoding="utf-8")
        return Wheel(**json.loads(kept.read_text(encoding="utf-8")))

    def sdist(self, file: File) -> str:
        """The METADATA of a source archive, its PKG-INFO; what its build would compute is not in it."""
        kept = CACHE / f"{file.name}.txt"
        if not kept.exists():
            content = self._client.s.get(file.url, timeout=300).content
            with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                name = next(name for name in archive.getnames() if re.fullmatch(r"[^/]+/PKG-INFO", name))
                member = archive.extractfile(name)
                text = member.read().decode() if member else ""
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(text, encoding="utf-8")
        return kept.read_text(encoding="utf-8")

    def inside(self, file: File, pattern: str, read: Callable[[Mapping[str, bytes]], Any]) -> Any:
        """What ``read`` makes of a wheel's members of these names; kept on disk as JSON."""
        import remotezip  # noqa: PLC0415

        kept = CACHE / f"{file.name}.{read.__name__}.json"
        if not kept.exists():
            with remotezip.RemoteZip(file.url) as archive:
                names = [name for name in archive.namelist() if re.fullmatch(pattern, name)]
                found = read({name: archive.read(name) for name in names})
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(found), encoding="utf-8")
        return json.loads(kept.read_text(encoding="utf-8"))

    def size(self, file: File) -> int:
        """Bytes of a file, asked without fetching it."""
        return int(self._client.s.head(file.url, timeout=60, allow_redirects=True).headers["content-length"])
