# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked for of a Python package: its name and an exact version, and which versions satisfy it. Pure."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import normalise, parse_wheel_name

NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"  # of a distribution, as people write it

_REQUIREMENT = re.compile(
    rf"(?P<name>{NAME})(?:\[[\w ,.-]*\])?\s*"
    r"(?:==\s*(?P<version>[\w.!+-]+)|>=\s*(?P<least>[0-9.]+\.dev[0-9]+)|@\s*(?P<url>\S+))?"
)


class PackagesError(Exception):
    """The request for packages cannot be understood; the text says what was found, what was expected and what to do."""


class Requirement(NamedTuple):
    """One requested distribution; ``version`` is ``None`` where any will do, or any from ``least`` on."""

    text: str
    name: str  # normalised
    version: str | None
    least: str | None = None


def parse_requirement(text: str) -> Requirement:
    """Read ``name``, ``name==version``, ``name[extra]==version``, ``name @ <URL of a wheel>`` or ``name>=2.9.0.dev0``.

    Raises PackagesError for other ranges and for options: a plan names exact versions, or of an index whose releases
    change every day the least development release.
    """
    match = _REQUIREMENT.fullmatch(text.strip())
    if match is None:
        raise PackagesError(
            f'The requirement is "{text}"; expected name==version, name @ <URL of a wheel>, or a name alone for any'
            " version."
        )
    version = match["version"]
    if match["url"]:
        wheel = parse_wheel_name(pathlib.PurePosixPath(urlsplit(match["url"]).path).name)
        if wheel is None:
            raise PackagesError(f'The requirement is "{text}"; expected the URL of a .whl file, or name==version.')
        version = wheel["version"]
    return Requirement(text.strip(), normalise(match["name"]), version, match["least"])


def same_version(wanted: str, found: str) -> bool:
    """Whether ``found`` satisfies ``==wanted``: trailing zeros are nothing, a local label counts only if it is wanted.

    >>> same_version("2.9", "2.9.0+cu130"), same_version("2.9.0+cu128", "2.9.0+cu130")
    (True, False)
    """
    wanted_public, _plus, wanted_local = wanted.lower().partition("+")
    found_public, _plus, found_local = found.lower().partition("+")
    if wanted_local and wanted_local != found_local:
        return False
    return _release(wanted_public) == _release(found_public)


def satisfied(requirement: Requirement, versions: Mapping[str, str]) -> bool:
    """Whether one of these distributions (normalised name -> version) is the requested one."""
    found = versions.get(requirement.name)
    if found is None:
        return False
    if requirement.least is not None:
        return _order(found) >= _order(requirement.least)
    return requirement.version is None or same_version(requirement.version, found)


def newer_or_same(version: str, least: str) -> bool:
    """Whether a plain dotted version is at least another."""
    return _numbers(version) >= _numbers(least)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"[0-9]+", version.partition("+")[0]))


def _order(version: str) -> tuple[tuple[int, ...], int, int]:
    """What orders versions, as far as a least one needs it: the release without trailing zeros, then a dev number."""
    match = re.match(r"([0-9]+(?:\.[0-9]+)*)(?:[._-]?dev([0-9]*))?", version.partition("+")[0])
    if match is None:
        return (), 0, 0
    release = tuple(int(part) for part in re.sub(r"(?:\.0+)+$", "", match[1]).split("."))
    return (release, 1, 0) if match[2] is None else (release, 0, int(match[2] or 0))


def _release(public: str) -> str:
    """A public version without what does not distinguish it: a leading v, trailing zeros, separators."""
    match = re.fullmatch(r"v?([0-9.]+?)((?:\.0+)*)[._-]?((?:a|b|c|rc|alpha|beta|pre|post|dev).*)?", public)
    return f"{match[1]}|{re.sub(r'[._-]', '', match[3] or '')}" if match else public
