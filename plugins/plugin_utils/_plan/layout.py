# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things go on a host, and whether NVIDIA's packages can be installed there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import SYSTEM_PREFIX, USER_PREFIX, Case, Layout
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import Host
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.memo import remember
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import KEEP, Request


def choose_layout(host: Host, request: Request) -> Layout:
    """Scope, prefix and home. ``auto`` is system for root on a host with a driver or a GPU."""
    gpu = host.status in ("ok", "mismatch", "timeout", "lost", "no_device") or bool(host.gpus) or request.driver != KEEP
    scope = request.scope if request.scope != "auto" else "system" if host.root and gpu else "user"
    home = host.home or ("/root" if host.root else "~")
    if request.prefix != "auto":
        prefix = request.prefix
    elif scope == "user":
        prefix = f"{home}/{USER_PREFIX}"
    else:
        prefix = f"{host.persistent_dir.rstrip('/')}/podsmith" if host.persistent_dir else SYSTEM_PREFIX
    return Layout(scope, prefix, home)


def confine(host: Host, layout: Layout) -> Host:
    """The host as seen from the chosen prefix: a live environment in another one is not this plan's to change."""
    prefix = (host.live or {}).get("prefix")
    if prefix in (None, layout.prefix):
        return host
    return replace(host, live=None, generations=(), built=(), state=None)


# --- the system's packages ---

APT, RPM = "apt", "rpm"  # kinds of packages, as the request and the decision name where a part comes from


def find_manager(case: Case) -> Row:
    """The catalogue's row of the program that installs this system's packages; apt's where the system is unknown."""
    managers = case.known["cuda"]["managers"]
    for row in managers.values():
        if row["family"] == case.host.family:
            return row
    for row in case.known["cuda"]["repositories"].values():
        if case.host.os_id and case.host.os_id in _systems(row):
            return managers[row["manager"]]
    return managers[APT]


def no_packages(case: Case) -> Refusal | None:
    """Why the system's own package manager cannot install packages, or None."""
    if refusal := _not_for_the_system(case):
        return refusal
    program = find_manager(case)["program"]
    return Refusal(f"{case.host.os_id or 'this system'} has no {program}") if case.host.lacks(program) else None


def no_apt(case: Case) -> Refusal | None:
    """Why packages cannot be installed by apt, or None."""
    host = case.host
    if refusal := _not_for_the_system(case):
        return refusal
    if find_manager(case)["provider"] != APT or host.family not in (None, "debian") or host.lacks(APT):
        return Refusal(f"{host.os_id or 'this system'} has no apt")
    return None


def _not_for_the_system(case: Case) -> Refusal | None:
    if case.layout.scope != "system":
        return Refusal("in user scope nothing is installed outside the prefix")
    return Refusal("system packages need root") if case.host.root is False else None


# --- NVIDIA's repository ---


def find_repository(case: Case, cuda: str | None = None) -> str | None:
    """The folder of NVIDIA's package repository for this host, with a CUDA release or with any, or None.

    A system with rpm packages is found by its major version, and one that NVIDIA does not name by what its os-release
    says it is like: Rocky Linux 9.5 has the packages of rhel9.
    """
    host = case.host
    if host.jetson and not host.jetson.sbsa:
        return None  # its packages for aarch64 are for Arm servers
    key = (cuda, host.wsl, host.arch, host.os_id, host.os_version, tuple(host.os_like))
    return remember(case.known, "repository", key, lambda: _find_repository(case, cuda))


def _find_repository(case: Case, cuda: str | None) -> str | None:
    host = case.host
    for name, row in case.known["cuda"]["repositories"].items():
        if bool(row.get("wsl")) != host.wsl or host.arch not in row["architectures"] or not _is_for(case, row):
            continue
        first, last = row.get("first_cuda"), row.get("last_cuda")
        if cuda and first and parse_version(cuda) < parse_version(first):
            continue
        if cuda and last and parse_version(cuda) > parse_version(last):
            continue
        return str(name)
    return None


def _is_for(case: Case, row: Row) -> bool:
    host, is_rpm = case.host, case.known["cuda"]["managers"][row["manager"]]["provider"] == RPM
    version = (host.os_version or "").partition(".")[0] if is_rpm else host.os_version
    if row["version"] not in (None, version):
        return False
    return host.os_id in _systems(row) or (is_rpm and row["os"] in host.os_like)


def _systems(row: Row) -> tuple[str, ...]:
    """The IDs of os-release that a repository is for."""
    return (row["os"], *row.get("also", ()))


def untried(case: Case, providers: Iterable[str | None]) -> list[str]:
    """What a plan that installs rpm packages says of that; nothing where no part does."""
    if RPM not in providers:
        return []
    program = find_manager(case)["program"]
    return [f"Packages are installed by {program} here; that is untried on a real host."]


def is_ours(row: Row, layout: Layout) -> bool:
    """Whether an observed thing lies in our prefix."""
    return f"{row.get('path')}/".startswith(f"{layout.prefix}/")


def system_name(host: Host) -> str:
    """The distribution in words: 'ubuntu 24.04 on x86_64'."""
    return f"{host.os_id or 'this system'} {host.os_version or ''}".strip() + f" on {host.arch}"
