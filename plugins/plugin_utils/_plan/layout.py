# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things go on a host, and whether NVIDIA's packages can be installed there."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import SYSTEM_PREFIX, USER_PREFIX, Case, Layout
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import Host
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


# --- NVIDIA's repository ---


def no_apt(case: Case) -> Refusal | None:
    """Why system packages cannot be installed, or None."""
    host = case.host
    if case.layout.scope != "system":
        return Refusal("in user scope nothing is installed outside the prefix")
    if host.root is False:
        return Refusal("system packages need root")
    if host.family not in (None, "debian") or host.lacks("apt"):
        return Refusal(f"{host.os_id or 'this system'} has no apt")
    return None


def find_repository(case: Case, cuda: str | None = None) -> str | None:
    """The folder of NVIDIA's apt repository for this host, with a CUDA release or with any, or None."""
    host = case.host
    if host.jetson and not host.jetson.sbsa:
        return None  # its packages for aarch64 are for Arm servers
    for name, row in case.known["cuda"]["repositories"].items():
        fits = row["os"] == host.os_id and bool(row.get("wsl")) == host.wsl and host.arch in row["architectures"]
        if not fits or row["version"] not in (None, host.os_version):
            continue
        first, last = row.get("first_cuda"), row.get("last_cuda")
        if cuda and first and parse_version(cuda) < parse_version(first):
            continue
        if cuda and last and parse_version(cuda) > parse_version(last):
            continue
        return str(name)
    return None


def is_ours(row: Row, layout: Layout) -> bool:
    """Whether an observed thing lies in our prefix."""
    return f"{row.get('path')}/".startswith(f"{layout.prefix}/")


def system_name(host: Host) -> str:
    """The distribution in words: 'ubuntu 24.04 on x86_64'."""
    return f"{host.os_id or 'this system'} {host.os_version or ''}".strip() + f" on {host.arch}"
