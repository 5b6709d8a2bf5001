# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What apt says that it would do: text in, records out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

INSTALLED = re.compile(r"^Inst (?P<name>[^\s:]+)(?::\S+)? (?:\[(?P<old>[^\]]+)\] )?\((?P<new>\S+)", re.MULTILINE)
UNKNOWN = re.compile(r"^E: (?:Unable to locate package|Package '?.+'? has no installation candidate)", re.MULTILINE)
NEEDS = ("Depends", "Pre-Depends", "Recommends")
STANZA = re.compile(r"^Package: (?P<name>\S+)\nStatus: \S+ \S+ installed\n(?P<body>(?:.+\n?)*)", re.MULTILINE)
# Names that NVIDIA's repository alone has.
NVIDIAS = re.compile(r"cuda-.+-\d+-\d+|(?:cuda-drivers|nvidia-open)(?:-\d+)?")
KEYRING = "cuda-keyring"  # brings a source of its own


class Install(NamedTuple):
    """A package that apt would install, or change from an older version."""

    name: str
    version: str
    old: str | None = None


def parse_simulation(text: str) -> list[Install]:
    """What ``apt-get --simulate install`` would install, in its order."""
    return [Install(found["name"], found["new"], found["old"]) for found in INSTALLED.finditer(text)]


def parse_needs(text: str) -> dict[str, list[str]]:
    """Package → the packages that it needs, all alternatives of each, of ``apt-cache show``."""
    needs: dict[str, list[str]] = {}
    for paragraph in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^([A-Z][\w-]*): (.*)$", paragraph, re.MULTILINE))
        listed = [re.split(r"[\s:(]", entry.strip(), maxsplit=1)[0] for key in NEEDS for entry in _entries(fields, key)]
        if "Package" in fields:
            needs.setdefault(fields["Package"], []).extend(name for name in listed if name)
    return needs


def _entries(fields: Mapping[str, str], key: str) -> list[str]:
    return re.split(r"[,|]", fields.get(key, ""))


def find_chain(asked: Iterable[str], wanted: str, needs: Mapping[str, list[str]]) -> list[str]:
    """The shortest way from a package that was asked for to one that comes along; that alone where none is known."""
    paths = [[re.split(r"[=/:]", name, maxsplit=1)[0]] for name in asked]
    seen = {path[0] for path in paths}
    while paths:
        path = paths.pop(0)
        if path[-1] == wanted:
            return path
        for name in needs.get(path[-1], ()):
            if name not in seen:
                seen.add(name)
                paths.append([*path, name])
    return [wanted]


def list_from_nvidia(status: str) -> list[str]:
    """The installed packages of ``/var/lib/dpkg/status`` that came from NVIDIA's repository."""
    return sorted(
        found["name"]
        for found in STANZA.finditer(status)
        if found["name"] != KEYRING
        and (re.search(r"^Maintainer: .*nvidia\.com", found["body"], re.MULTILINE) or NVIDIAS.fullmatch(found["name"]))
    )
