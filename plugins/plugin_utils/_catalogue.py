# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known: the rows of catalogue/, and the order of the versions in them."""

from __future__ import annotations

import functools
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import yaml

Row = Mapping[str, Any]
Section = Mapping[str, Row]
Catalogue = Mapping[str, Mapping[str, Section]]

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "catalogue"
PARTS = 5
_PHASES = {"dev": -4, "a": -3, "b": -2, "rc": -1, "": 0, "post": 1}
_VERSION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9}){0,4})(?:(a|b|rc|\.dev|\.post)([0-9]{1,9}))?(?:\+[0-9A-Za-z.]+)?")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class CatalogueError(Exception):
    """The catalogue cannot be read: a file is missing or is not section -> key -> row."""


def parse_version(text: str) -> tuple[int, ...]:
    """The sort key of a version: five numeric parts, zero where absent, then phase and number of a pre/post-release.

    Works for CUDA ("13.0"), drivers ("570.124.06"), Python ("3.12") and packages ("2.9.1+cu130", "0.0.33.post1").
    Parts compare as integers, so 570.26 is older than 570.124.06; absent parts are zero, so 580 equals 580.0.0; what
    follows a "+" is ignored. The key always has the same length: its first element is the major, `[:2]` major and
    minor.

    >>> parse_version("570.26") < parse_version("570.124.06")
    True

    Raises ValueError for anything that is not such a version, surrounding blanks included.
    """
    match = _VERSION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a version; write numbers separated by dots, such as 13.0 or 580.65.06.")
    release = [int(part) for part in match[1].split(".")]
    phase = (match[2] or "").lstrip(".")
    return (*release, *[0] * (PARTS - len(release)), _PHASES[phase], int(match[3] or 0))


def compare(left: str, right: str) -> int:
    """-1, 0 or 1: whether version `left` is older than, equal to or newer than `right`; see parse_version."""
    first, second = parse_version(left), parse_version(right)
    return (first > second) - (first < second)


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
