# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known: the rows of ``catalogue/``."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Mapping
from typing import Any

import yaml

Row = Mapping[str, Any]
Section = Mapping[str, Row]
Catalogue = Mapping[str, Mapping[str, Section]]

FOLDER = pathlib.Path(__file__).resolve().parents[3] / "catalogue"
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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


def _load(path: pathlib.Path) -> Mapping[str, Section]:
    try:
        content = yaml.load(path.read_bytes(), Loader=_LOADER)
    except (OSError, yaml.YAMLError) as error:
        raise CatalogueError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(section, dict) for section in content.values()):
        raise CatalogueError(f"{path} must be a mapping of sections to rows; restore it from the collection.")
    return content
