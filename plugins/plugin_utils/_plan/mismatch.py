# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A driver that does not work: of a mismatch both versions, where each lies, what caused it, and what helps here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.containers import (
    CONTAINER,
    PACKAGED,
    has_own_libraries,
    install_libraries,
    is_injected,
    is_own_machine,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import Host
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal

MISMATCH = "mismatch"
RESTART = "Restart the container: its runtime then mounts the libraries of the host's driver."
OR_RESTART = "Restart the container instead where its runtime mounts the libraries of the host's driver over these."
RUNFILE = "runfile"  # NVIDIA's installer, which nobody runs in a container that a runtime brings the libraries into
STILL_NEWER = (
    "Where they are still newer then, the host waits for a reboot after an upgrade of its driver, and nothing in the "
    "container helps."
)
RELOAD = "modprobe --remove nvidia_uvm nvidia_drm nvidia_modeset nvidia && modprobe nvidia_uvm"
WINDOWS = "Run in Windows: wsl --shutdown; the next start of WSL2 mounts the libraries of Windows' driver anew."
XIDS = "Reboot the host and look for Xid lines in dmesg"
XIDS_RENTED = f"{XIDS}; in a rented container ask for another host."
BROKEN_DRIVER = {  # status of the driver → why nothing works, and what to do
    MISMATCH: Refusal(
        "the driver's kernel module and its libraries have different versions (driver/library mismatch)",
        f"Reboot the host, or reload the modules while nothing uses them: {RELOAD}.",
    ),
    "timeout": Refusal("the driver does not answer in time", XIDS_RENTED),
    "silent": Refusal(
        "nvidia-smi could not reach the driver in the kernel",
        "In a container start it again with its GPU, which one that runs may lose. Elsewhere load it with: sudo "
        "modprobe nvidia; if that fails, see dmesg; if it is loaded, see who may open it: ls -l /dev/nvidia*.",
    ),
    "lost": Refusal(
        "the driver knows of a GPU that does not answer: it has fallen off the bus or failed",
        XIDS_RENTED,
    ),
}


def broken_driver(case: Case) -> Refusal | None:
    """A driver that does not work, and what to do about it on this kind of machine."""
    host = case.host
    refusal = BROKEN_DRIVER.get(str(host.status))
    if refusal is None:
        return None
    if host.status == MISMATCH:
        return _mismatch(host, refusal)
    is_sent_away = refusal.remedy == XIDS_RENTED
    return replace(refusal, remedy=f"{XIDS}.") if is_sent_away and is_own_machine(host) else refusal


def _mismatch(host: Host, refusal: Refusal) -> Refusal:
    """The versions in the kernel and on the disk, and who has to bring them together."""
    disk: Mapping[str, Any] = host.disk or {}
    module, library = disk.get("loaded_version") or host.driver, disk.get("library_version")
    known = bool(module and library and module != library)
    if host.kind == CONTAINER:
        return _in_container(host, refusal, module, library if known else None)
    if host.wsl:
        return replace(refusal, remedy=WINDOWS)
    if not known:
        return refusal
    because = (
        f"the kernel runs driver {module} and its libraries on the disk are of {library} (driver/library mismatch)"
    )
    if change := disk.get("changed"):
        old = f" from {change['from']}" if change.get("from") else ""
        by = f" by {change['by']}" if change.get("by") else ""
        command = f' "{change["command"]}"{by}' if change.get("command") else ""
        because += (
            f"; {change.get('log')}: {change.get('at')}{command} changed {change['package']}{old} to {change['to']}"
        )
    if disk.get("in_use") is False:
        return Refusal(because, f"Reload the modules, which nothing uses now: {RELOAD}. Or reboot.")
    if disk.get("in_use"):
        return Refusal(because, "Reboot: the driver is in use, so its modules cannot be replaced while it runs.")
    return Refusal(because, refusal.remedy)


def _in_container(host: Host, refusal: Refusal, module: str | None, library: str | None) -> Refusal:
    """A container has its host's kernel driver: its libraries are mounted at its start, or they are its own."""
    disk: Mapping[str, Any] = host.disk or {}
    if has_own_libraries(host):
        because = "the container has libraries of its own, of another driver than the host's kernel runs (API mismatch)"
        if library:
            because = f"API mismatch: kernel driver (host) {module}, the container's own libraries {library}"
        remedy = install_libraries(host, module)
        if disk.get("source") != RUNFILE and not host.container:
            remedy = f"{remedy} {OR_RESTART}"
        return Refusal(because, remedy)
    if not library:
        return replace(refusal, remedy=RESTART)
    because = (
        f"the kernel runs driver {module} and its libraries on the disk are of {library} (driver/library mismatch)"
    )
    if packages := _packages_over(host, library):
        installed = f"the libraries that packages of the image installed {library}"
        because = f"API mismatch: kernel driver (host) {module}, and {installed}"
        purge = f"Remove them: {_purge(disk, packages)}. Then restart the container, whose runtime mounts the host's."
        return Refusal(because, purge)
    newer = module is not None and _is_newer(library, module)
    return Refusal(because, f"{RESTART} {STILL_NEWER}" if newer else RESTART)


def _packages_over(host: Host, library: str) -> list[str]:
    """The packages of an image that brought a driver's libraries of that version beside those that are mounted."""
    disk: Mapping[str, Any] = host.disk or {}
    if not is_injected(host) or disk.get("source") not in PACKAGED:
        return []
    packages = disk.get("packages")
    rows = packages.items() if isinstance(packages, Mapping) else ()
    return sorted(str(name) for name, version in rows if library in str(version))


def _purge(disk: Mapping[str, Any], packages: list[str]) -> str:
    return "nvidia-uninstall" if disk.get("source") == RUNFILE else f"apt-get purge {' '.join(packages)}"


def _is_newer(library: str, module: str) -> bool:
    try:
        return parse_version(library) > parse_version(module)
    except ValueError:
        return False
