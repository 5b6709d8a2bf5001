# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known: the rows of ``catalogue/``."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

Row = Mapping[str, Any]
Section = Mapping[str, Row]
Catalogue = Mapping[str, Mapping[str, Section]]

FOLDER = pathlib.Path(__file__).resolve().parents[3] / "catalogue"


class CatalogueError(Exception):
    """The catalogue cannot be read: a file is missing or is not section -> key -> row."""


@functools.cache
def load_catalogue(folder: pathlib.Path = FOLDER) -> Catalogue:
    """Every file of `folder`: file stem -> section -> key -> row. Cached and shared: callers must not change it.

    Raises CatalogueError where a file cannot be read as such.
    """
    paths = sorted(folder.glob("*.yml"))
    if not paths:
        raise CatalogueError(
            f"{folder} holds no *.yml file; reinstall the collection, whose catalogue folder is missing."
        )
    return {path.stem: _load(path) for path in paths}


def load_cached(cache: pathlib.Path, folder: pathlib.Path = FOLDER) -> Catalogue:
    """The same by a copy in JSON below `cache`, which is read in a tenth of the time; one is made where it is missing.

    A copy counts as long as names, sizes and times of the files are those that it was made of. Where none can be
    written, the files themselves are read each time.
    """
    files = [(path.name, (stat := path.stat()).st_size, stat.st_mtime_ns) for path in sorted(folder.glob("*.yml"))]
    name = hashlib.sha256(json.dumps([str(folder), files]).encode()).hexdigest()[:24]
    copy = cache / f"catalogue-{name}.json"
    try:
        content: Catalogue = json.loads(copy.read_bytes())
    except (OSError, ValueError):
        content = load_catalogue(folder)
        with contextlib.suppress(OSError):
            cache.mkdir(parents=True, exist_ok=True)
            for older in cache.glob("catalogue-*.json"):
                older.unlink(missing_ok=True)
            beside = copy.with_suffix(f".{os.getpid()}")
            beside.write_text(json.dumps(content), encoding="utf-8")
            beside.replace(copy)
    return content


def _load(path: pathlib.Path) -> Mapping[str, Section]:
    import yaml  # noqa: PLC0415  what reads a copy needs none

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        content = yaml.load(path.read_bytes(), Loader=loader)
    except (OSError, yaml.YAMLError) as error:
        raise CatalogueError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(section, dict) for section in content.values()):
        raise CatalogueError(f"{path} must be a mapping of sections to rows; restore it from the collection.")
    return content
