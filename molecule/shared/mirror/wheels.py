# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing wheels, and the pages of an index (the simple repository API, with metadata beside each wheel)."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import os
import re
import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple


class Wheel(NamedTuple):
    """A wheel of the mirror: its file, the SHA-256 of it and of its METADATA ("" of an sdist), its Pythons."""

    path: Path
    sha256: str
    metadata_sha256: str
    python: str | None


def normalise(name: str) -> str:
    """A distribution's name as an index has it: ``Flash_Attn`` is ``flash-attn``."""
    return re.sub(r"[-_.]+", "-", name).lower()


def write_wheel(
    folder: Path,
    name: str,
    version: str,
    files: Mapping[str, bytes],
    *,
    summary: str,
    requires: Iterable[str] = (),
    python: str | None = None,
) -> Wheel:
    """Write ``<name>-<version>-py3-none-any.whl`` with these files (path in site-packages -> content) into a folder."""
    stem = f"{name.replace('-', '_')}-{version}"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", f"Summary: {summary}"]
    lines += [f"Requires-Python: {python}"] if python else []
    metadata = "\n".join([*lines, *(f"Requires-Dist: {requirement}" for requirement in requires), ""]).encode()
    wheel = b"Wheel-Version: 1.0\nGenerator: podsmith.gpu\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    contents = {**files, f"{stem}.dist-info/METADATA": metadata, f"{stem}.dist-info/WHEEL": wheel}
    record = "".join(f"{path},{_digest(content)},{len(content)}\n" for path, content in contents.items())
    contents[f"{stem}.dist-info/RECORD"] = f"{record}{stem}.dist-info/RECORD,,\n".encode()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in contents.items():
            archive.writestr(zipfile.ZipInfo(member), content)  # without a time: the same content is the same wheel
    return _describe(path, metadata, python)


def write_sdist(folder: Path, stem: str, files: Mapping[str, bytes]) -> Wheel:
    """Write a source distribution with these files and what an index wants to know of it."""
    name, _dash, version = stem.rpartition("-")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}.tar.gz"
    info = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
    with tarfile.open(path, "w:gz") as archive:
        for member, content in {**files, "PKG-INFO": info}.items():
            entry = tarfile.TarInfo(f"{stem}/{member}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return Wheel(path, hashlib.sha256(path.read_bytes()).hexdigest(), "", None)


def link_wheel(folder: Path, source: Path) -> Wheel:
    """Give a wheel that was downloaded a second name in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / source.name
    os.link(source, path)
    with zipfile.ZipFile(path) as archive:
        member = next(name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
        metadata = archive.read(member)
    found = re.search(rb"^Requires-Python: *(\S.*?)\s*$", metadata.partition(b"\n\n")[0], re.MULTILINE)
    return _describe(path, metadata, found[1].decode() if found else None)


def write_index(root: Path, wheels: Iterable[Wheel]) -> None:
    """Write the pages of an index at ``root``; the wheels may lie elsewhere below the mirror's own root."""
    projects: dict[str, list[Wheel]] = defaultdict(list)
    for wheel in wheels:
        projects[normalise(wheel.path.name.partition("-")[0])].append(wheel)
    for project, files in projects.items():
        folder = root / project
        folder.mkdir(parents=True, exist_ok=True)
        links = [_link(folder, wheel) for wheel in sorted(files, key=lambda wheel: wheel.path.name)]
        (folder / "index.html").write_text(_page(links), encoding="utf-8")
    pages = [f'<a href="{project}/">{project}</a>' for project in sorted(projects)]
    (root / "index.html").write_text(_page(pages), encoding="utf-8")


def _describe(path: Path, metadata: bytes, python: str | None) -> Wheel:
    path.with_name(f"{path.name}.metadata").write_bytes(metadata)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Wheel(path, sha256, hashlib.sha256(metadata).hexdigest(), python)


def _link(folder: Path, wheel: Wheel) -> str:
    target = os.path.relpath(wheel.path, folder).replace("+", "%2B")
    python = f' data-requires-python="{html.escape(wheel.python)}"' if wheel.python else ""
    known = "".join(f' data-{name}metadata="sha256={wheel.metadata_sha256}"' for name in ("core-", "dist-info-"))
    known = known if wheel.metadata_sha256 else ""
    return f'<a href="{target}#sha256={wheel.sha256}"{known}{python}>{wheel.path.name}</a>'


def _page(links: Iterable[str]) -> str:
    return "<!DOCTYPE html>\n<html><body>\n" + "<br>\n".join(links) + "\n</body></html>\n"


def _digest(content: bytes) -> str:
    encoded = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"sha256={encoded}"
