# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What NVIDIA's repository calls a driver on a system, and where its packages cannot do what was wished."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue, Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.layout import APT, RPM, find_manager, find_repository
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal, WayOut
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import KEEP

LEAVE = WayOut("Leave driver: keep on this host.", {"driver": KEEP})
BY_HAND = "Install the driver by hand, as NVIDIA's driver installation guide says, and leave driver: keep."
NAMES = {
    "rhel": "RHEL",
    "almalinux": "AlmaLinux",
    "ol": "Oracle Linux",
    "amzn": "Amazon Linux",
    "sles": "SLES",
    "opensuse-leap": "openSUSE Leap",
    "opensuse-tumbleweed": "openSUSE Tumbleweed",
}


@dataclass(frozen=True)
class Planned:
    """The driver that is to be installed, and the one that is there."""

    version: str
    there: str | None


@dataclass(frozen=True)
class Kept:
    """What keeps the package manager to the driver that was asked for; neither of the two: apt's pin."""

    stream: str | None = None
    lock: str | None = None

    @property
    def by_apt(self) -> bool:
        """Whether apt's pin and holds do it."""
        return self.stream is None and self.lock is None

    @property
    def moves(self) -> bool:
        """Whether an upgrade may still take another version of the branch."""
        return self.stream is not None or (self.lock or "").endswith("*")

    @property
    def text(self) -> str:
        """In words that end a clause."""
        if self.stream:
            return f"from the dnf module stream {self.stream}"
        return f"locked to {self.lock} by dnf's versionlock" if self.lock else "pinned"


def keep_to(row: Row, flavor: str, wish: str) -> Kept:
    """What keeps to a wished branch or version with the packages of this row."""
    branch = wish.partition(".")[0]
    if streams := row.get("streams"):
        return Kept(stream=str(streams[flavor]).format(branch=branch))
    if lock := row.get("lock"):
        return Kept(lock=str(lock).format(version=wish if "." in wish else f"{wish}.*"))
    return Kept()


def find_packages(case: Case, branch: int) -> Row | None:
    """The catalogue's names of a branch's packages on this system."""
    folder = find_repository(case)
    for row in case.known["drivers"]["packages"].values():
        first, last = row["first_branch"] or 0, row["last_branch"] or branch
        is_for = folder in row["repositories"] if "repositories" in row else row["os"] == case.host.os_id
        if is_for and first <= branch <= last:
            return row
    return None


def with_driver(case: Case, text: str) -> WayOut:
    """What is requested, on a host that has the driver already."""
    wish = case.request.driver
    version = wish if "." in wish else newest_of(wish, case.known)
    return WayOut(text, {"driver": KEEP}, {"driver": version})


def newest_of(branch: str, known: Catalogue) -> str:
    """The newest driver of a branch that the catalogue names; the repository may have a newer one."""
    rows = known["cuda"]["releases"].values()
    named = {version for row in rows for version in (row["driver"], *row["updates"]) if version}
    named |= {str(row["version"]) for row in known["drivers"]["compat"].values()}
    return max((version for version in named if version.partition(".")[0] == branch), key=parse_version, default=branch)


def without_manager(case: Case, _planned: Planned) -> Refusal | None:
    """The driver's packages are installed by the system's own package manager."""
    host, row = case.host, find_manager(case)
    if host.family in (None, row["family"]) and not host.lacks(row["program"]):
        return None
    system = host.os_id or "this system"
    because = f"{system} has no {row['program']}, the package manager by which the driver is installed on such a system"
    return Refusal(because, ways=(with_driver(case, BY_HAND), LEAVE))


def unknown_system(case: Case, _planned: Planned) -> Refusal | None:
    """NVIDIA's repository has a folder for the system."""
    host = case.host
    if find_repository(case):
        return None
    manager = next(name for name, row in case.known["cuda"]["managers"].items() if row == find_manager(case))
    listed = [
        row for row in case.known["cuda"]["repositories"].values() if not row["wsl"] and row["manager"] == manager
    ]
    names = ", ".join(f"{NAMES.get(row['os'], row['os'].title())} {row['version']}" for row in listed)
    name = host.os_id or "an unknown system"
    found = f"{NAMES.get(name, name.title())} {host.os_version or ''}".strip()
    because = f"NVIDIA's repository has no driver for {found} on {host.arch}; it has {names}"
    by_hand = with_driver(case, "Install the driver by hand, and leave driver: keep.")
    return Refusal(because, "Use one of these.", ways=(by_hand, LEAVE))


def without_branches(case: Case, planned: Planned) -> Refusal | None:
    """Packages are known that bring a driver of the wished branch and no other, now and at the next upgrade."""
    branch, folder = planned.version.partition(".")[0], find_repository(case)
    if find_packages(case, int(branch)) or find_manager(case)["provider"] == APT:
        return None
    of_others = [row for row in case.known["drivers"]["packages"].values() if folder in row.get("repositories", ())]
    if of_others:
        least = min(row["first_branch"] for row in of_others)
        because = f"the packages of driver branch {branch} in NVIDIA's repository {folder} are not known here"
        return Refusal(f"{because}, those since branch {least} are", ways=(with_driver(case, BY_HAND), LEAVE))
    because = (
        f"NVIDIA's repository {folder} has the drivers of all branches under one name, and nothing is known here that "
        f"keeps {find_manager(case)['program']} to branch {branch}"
    )
    return Refusal(because, ways=(with_driver(case, BY_HAND), LEAVE))


def replaced_by_rpm(case: Case, planned: Planned) -> Refusal | None:
    """On a system with rpm packages a first driver is installed, and none is replaced."""
    if find_manager(case)["provider"] != RPM or planned.there is None:
        return None
    because = (
        f"driver {planned.there} is there, and on a system with rpm packages this collection replaces no driver, "
        "because it does not read where that one came from"
    )
    return Refusal(because, "Change it the way it was installed, then reboot.", ways=(LEAVE,))


def exact_by_stream(case: Case, planned: Planned) -> Refusal | None:
    """A stream of a dnf module keeps to a branch; the versions of its packages are not chosen one by one."""
    wish = case.request.driver
    branch = planned.version.partition(".")[0]
    if "." not in wish or not (find_packages(case, int(branch)) or {}).get("streams"):
        return None
    because = f"driver {wish} is asked for by its version, and a dnf module stream keeps to the branch alone"
    return Refusal(because, f'Set driver: "{branch}".', wish={"driver": branch})
