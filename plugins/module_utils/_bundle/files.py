# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a bundle: which platforms its wheels may name, its index pages, its manifest."""

from __future__ import annotations

import hashlib
import html
import json
import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import normalise, parse_wheel_name

MANIFEST = "manifest.json"
FIRST_MINOR = 5  # of glibc 2, the oldest that a manylinux tag names
UV_MINORS = (17, 28, *range(31, 41))  # of glibc 2, what uv takes as a platform
LEGACY = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}

Manifest = dict[str, Any]


def glibc_minor(glibc: str) -> int:
    """The number behind ``2.`` of a glibc. Raises ValueError for anything else."""
    match = re.fullmatch(r"2\.([0-9]+)(?:\..*)?", glibc)
    if match is None:
        raise ValueError(f'The glibc is "{glibc}"; expected a version such as 2.39.')
    return int(match[1])


def platforms(glibc: str, arch: str) -> list[str]:
    """The platform tags of wheels that a host takes, most specific first, as pip wants them."""
    minors = range(glibc_minor(glibc), FIRST_MINOR - 1, -1)
    tags = [f"manylinux_2_{minor}" for minor in minors]
    legacy = [name for least, name in LEGACY.items() if least in minors]
    return [f"{tag}_{arch}" for tag in (*tags, *legacy, "linux")]


def uv_platform(glibc: str, arch: str) -> str:
    """uv's name of the newest platform that it knows and the host has."""
    minor = max([known for known in UV_MINORS if known <= glibc_minor(glibc)], default=UV_MINORS[0])
    return f"{arch}-manylinux_2_{minor}"


def drop_pins(text: str, names: set[str]) -> list[str]:
    """The requirements of ``uv pip compile`` with their hashes, one line each, without those names (normalised)."""
    joined = re.sub(r"\\\n\s*", "", text)
    lines = [line.strip() for line in joined.splitlines() if line.strip() and not line.lstrip().startswith(("#", "-"))]
    return [line for line in lines if normalise(re.split(r"[=\s@;\[]", line, maxsplit=1)[0]) not in names]


def index_pages(wheels: Mapping[str, str]) -> dict[str, str]:
    """The pages of a package index (PEP 503) below ``simple/`` for the files in ``wheels/``.

    :param wheels: file name -> sha256.
    :return: relative path -> page.
    """
    projects: dict[str, list[str]] = {}
    for name, digest in sorted(wheels.items()):
        parsed = parse_wheel_name(name)
        if parsed:
            link = html.escape(f"../../wheels/{name.replace('+', '%2B')}#sha256={digest}")
            projects.setdefault(parsed["name"], []).append(f'<a href="{link}">{html.escape(name)}</a>')
    pages = {f"simple/{project}/index.html": page(links) for project, links in projects.items()}
    return {**pages, "simple/index.html": page(f'<a href="{name}/">{name}</a>' for name in projects)}


def page(links: Iterable[str]) -> str:
    """A page of links."""
    body = "".join(f"{link}<br>\n" for link in links)
    return f"<!DOCTYPE html>\n<html><body>\n{body}</body></html>\n"


def read_manifest(folder: pathlib.Path) -> Manifest:
    """The manifest of a folder, empty where there is none that can be read."""
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def find_damage(folder: pathlib.Path, manifest: Manifest) -> list[str]:
    """The files that are missing or differ from what the manifest tells."""
    return [path for path, row in manifest.get("files", {}).items() if not is_whole(folder / path, row)]


def is_whole(path: pathlib.Path, row: Mapping[str, Any]) -> bool:
    """Whether a file has the size and digest that the manifest tells."""
    return path.is_file() and path.stat().st_size == row["size"] and sha256(path) == row["sha256"]


def list_files(folder: pathlib.Path, purposes: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Relative path -> ``{sha256, size, for}`` of those files, size in bytes."""
    found = {path: folder / path for path in sorted(purposes) if (folder / path).is_file()}
    return {
        name: {"sha256": sha256(path), "size": path.stat().st_size, "for": purposes[name]}
        for name, path in found.items()
    }


def sha256(path: pathlib.Path) -> str:
    """The digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
