# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What rpm, dnf and zypper say: text in, records out; and the words that they are asked with."""

from __future__ import annotations

import html
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable
from typing import NamedTuple

from ansible_collections.podsmith.gpu.plugins.module_utils._host.apt import NVIDIAS
from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import DRIVER, is_driver

DNF, ZYPPER = "dnf", "zypper"
QUERY = "%{NAME}\\t%{VERSION}-%{RELEASE}\\t%{VENDOR}\\n"  # rpm turns \t and \n into the characters
ENVIRONMENT = {"LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"}
# dnf 4 and 5 end so with --assumeno, where nothing stands in the way.
ABORTED = re.compile(r"^Operation aborted", re.MULTILINE)
# How libsolv, which dnf 4 and 5 and zypper share, says that a package may not be taken, or that one needs another.
EXCLUDED = re.compile(r"package (?P<package>\S+?),? is filtered out by exclude filtering")
EXCLUDED_NAME = re.compile(r"filtered out by exclude filtering for argument: (?P<name>\S+)")
NEEDS = re.compile(r"package (?P<package>\S+) (?:from \S+ )?requires (?P<name>[^\s,]+)[^,]*, but none")
NEVRA = re.compile(r"(?P<name>.+)-(?:\d+:)?[^-:]+-[^-]+")  # name-version-release.arch


class Package(NamedTuple):
    """An installed package; the version is that with its release, ``13.0.88-1``."""

    name: str
    version: str
    vendor: str


def parse_installed(text: str) -> list[Package]:
    """The packages that ``rpm --query --all`` prints with :data:`QUERY`; other lines are left out."""
    rows = (line.split("\t") for line in text.splitlines())
    return [Package(*row) for row in rows if len(row) == len(Package._fields)]


def list_from_nvidia(packages: Iterable[Package]) -> list[str]:
    """The packages that came from NVIDIA's repository, by their vendor or by a name that it alone has."""
    return sorted({one.name for one in packages if "nvidia" in one.vendor.lower() or NVIDIAS.fullmatch(one.name)})


def find_manager(os_release: str, has: Callable[[str], bool]) -> str | None:
    """``dnf`` or ``zypper``; the system's own where it has both; ``None`` where it has neither.

    :param has: whether a program is on the search path.
    """
    values = dict(re.findall(r"^(ID|ID_LIKE)=\"?([^\"\n]*)", os_release, re.MULTILINE))
    is_suse = re.search(r"suse|\bsle", f"{values.get('ID', '')} {values.get('ID_LIKE', '')}") is not None
    order = (ZYPPER, DNF) if is_suse else (DNF, ZYPPER)
    return next((name for name in order if has(name)), None)


def install_words(manager: str, packages: Iterable[str], *, dry: bool, driver: bool = False) -> list[str]:
    """The command that installs packages without what they only recommend, or only says whether it would.

    dnf is kept from every package of NVIDIA's driver unless ``driver`` allows it; zypper has no such option, its answer
    is read before.
    """
    if manager == ZYPPER:
        how = ["--xmlout", "--non-interactive", "install", "--dry-run"] if dry else ["--non-interactive", "install"]
        return [ZYPPER, *how, "--no-recommends", "--", *packages]
    excludes = [] if driver else [f"--exclude={pattern}" for pattern in DRIVER]
    return [
        DNF,
        "--assumeno" if dry else "--assumeyes",
        "--setopt=install_weak_deps=False",
        *excludes,
        "install",
        *packages,
    ]


def remove_words(manager: str, packages: Iterable[str]) -> list[str]:
    """The command that removes packages, and what was installed for them alone."""
    if manager == ZYPPER:
        return [ZYPPER, "--non-interactive", "remove", "--clean-deps", "--", *packages]
    return [DNF, "--assumeyes", "--setopt=clean_requirements_on_remove=True", "remove", *packages]


def parse_summary(text: str) -> list[str]:
    """The packages that ``zypper --xmlout install --dry-run`` would install or change, in its order.

    Raises ValueError where the text is not zypper's.
    """
    try:
        root = ET.fromstring(text)  # noqa: S314  zypper on this very host wrote it
    except ET.ParseError as error:
        raise ValueError(f"zypper answered with something else than XML ({error})") from None
    wanted = ("to-install", "to-upgrade", "to-downgrade", "to-reinstall", "to-change-arch")
    return [
        str(solvable.get("name"))
        for part in wanted
        for solvable in root.findall(f".//install-summary/{part}/solvable")
        if solvable.get("type") == "package"
    ]


def find_refused(text: str) -> tuple[list[str], list[str]]:
    """``(packages of a driver that dnf was kept from, the way to the first of them)``; both empty where it was none.

    The way begins at what was asked for: ``[site-tools, cuda-runtime-13-0]``.
    """
    found = [name_of(match["package"]) for match in EXCLUDED.finditer(text)]
    found += [match["name"] for match in EXCLUDED_NAME.finditer(text)]
    refused = [name for name in dict.fromkeys(found) if is_driver(name)]
    way = [name_of(match["package"]) for match in NEEDS.finditer(text)]
    return refused, list(dict.fromkeys([*(name for name in way if name not in refused), refused[0]])) if refused else []


def name_of(nevra: str) -> str:
    """The name in ``cuda-drivers-580.95.05-1.el9.noarch``; the text itself where it has no version."""
    found = NEVRA.fullmatch(nevra)
    return found["name"] if found else nevra


def told(text: str) -> str:
    """What dnf or zypper complains of, on one line."""
    if errors := re.findall(r'<message type=["\']error["\']>(.*?)</message>', text, re.DOTALL):  # of zypper --xmlout
        return html.unescape(" ".join(" ".join(errors).split())).rstrip(".")[:600]
    lines = [" ".join(line.split()).lstrip("- ") for line in text.splitlines() if line.strip()]
    start = next((number for number, line in enumerate(lines) if line.lower().startswith("error:")), None)
    wanted = lines[-3:] if start is None or start == len(lines) - 1 else lines[start:]  # its cause may stand before it
    kept = [line for line in wanted if not line.startswith(("(try to add", "Last metadata"))]
    return re.sub(r"\berror: *", "", " ".join(kept), flags=re.IGNORECASE).strip().rstrip(".")[:600] or "no reason given"
