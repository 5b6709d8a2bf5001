# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do about a container, by what runs it: how it gets a GPU, and where its driver's libraries come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import Host

CONTAINER = "container"
PACKAGED = ("runfile", "apt", "distribution")  # who can have installed the driver's libraries inside a container
SYSTEM = ("lxc", "lxd", "incus", "systemd-nspawn", "openvz")  # run a whole system, whose libraries are its own
# What gives a container the GPU, and with it the libraries of its host's driver. Of the runtimes' own documentation.
GIVE = {
    "docker": "Start the container with --gpus all.",
    "podman": "Start the container with --device nvidia.com/gpu=all.",
    "containerd": "Request the GPU in the pod's limits (nvidia.com/gpu: 1).",
    "cri-o": "Request the GPU in the pod's limits (nvidia.com/gpu: 1).",
    "apptainer": "Start the container with --nv.",
    "gvisor": "Start the container with --gpus all and runsc's option nvproxy.",
    "lxc": "Give the container the device files (/dev/nvidia0, nvidiactl, nvidia-uvm) by lxc.mount.entry and "
    "lxc.cgroup2.devices.allow, on Proxmox by dev0: /dev/nvidia0 and so on.",
    "lxd": "Give the container the GPU: lxc config device add NAME gpu gpu, and nvidia.runtime: true.",
    "incus": "Give the container the GPU: incus config device add NAME gpu gpu, and nvidia.runtime=true.",
    "systemd-nspawn": "Start the container with --bind=/dev/nvidia0, --bind=/dev/nvidiactl and --bind=/dev/nvidia-uvm, "
    "and allow these by DeviceAllow=.",
}


def engine_of(host: Host) -> str | None:
    """What runs the container that this host is; None where it is none or does not say."""
    return str(value) if (value := (host.container or {}).get("engine")) else None


def is_injected(host: Host) -> bool | None:
    """Whether the driver's libraries were mounted into this container; None where that is unknown."""
    value = (host.container or {}).get("injected")
    return value if isinstance(value, bool) else None


def is_own_machine(host: Host) -> bool:
    """Whether this is known to be a machine, and no provider's: there is nobody to give it back to."""
    return host.kind in ("bare_metal", "vm", "wsl2") and host.provider is None


def remedy_of(host: Host, row: Row) -> str:
    """What a row of catalogue/health.yml says would help: on a machine of one's own there is no pod to return."""
    return str((row.get("remedy_own") if is_own_machine(host) else None) or row["remedy"])


def has_own_libraries(host: Host) -> bool:
    """Whether a container's driver libraries are its own: of a whole system, or installed in it and not mounted."""
    if host.kind != CONTAINER or is_injected(host):
        return False
    disk: Mapping[str, Any] = host.disk or {}
    return engine_of(host) in SYSTEM or disk.get("source") in PACKAGED


def give_gpu(host: Host) -> str:
    """What gives this container a GPU, as a whole sentence."""
    return GIVE.get(engine_of(host) or "", GIVE["docker"])


def tell_no_gpu(host: Host, *, has_driver: bool) -> str:
    """That a container sees no GPU, and how it would get one; whole sentences."""
    if engine_of(host) in (None, "docker"):
        if has_driver:
            return "The driver is there and this container sees no GPU. Start it with --gpus all."
        return "This container sees no GPU. Start it with --gpus all if its host has one."
    if has_driver:
        return f"The driver is there and this container sees no GPU. {give_gpu(host)}"
    return f"This container sees no GPU. If its host has one: {give_gpu(host)}"


def no_library(host: Host, *, others: bool) -> str:
    """What a container without the driver's libcuda needs, as whole sentences; ``others``: it has other drivers'."""
    if engine_of(host) in SYSTEM:
        return install_libraries(host, host.driver)
    if engine_of(host) == "apptainer":
        return give_gpu(host)
    own = f"; one that has libraries of its own (LXC) needs those of driver {host.driver}" if others else ""
    return f"Start the container with NVIDIA_DRIVER_CAPABILITIES=compute,utility, or all{own}."


def install_libraries(host: Host, version: str | None) -> str:
    """How a container that has libraries of its own gets those of the kernel's driver, as a whole sentence.

    Source: NVIDIA's installer (--help: --no-kernel-modules), the documentation of LXD and Incus on nvidia.runtime.
    """
    of = f"driver {version}" if version else "exactly the driver that the host's kernel runs"
    installer = "NVIDIA's .run installer of that version with --no-kernel-modules"
    packages = "the packages of that version without its kernel modules"
    ways = [installer, packages]
    if (host.disk or {}).get("source") in ("apt", "distribution"):
        ways.reverse()
    engine = engine_of(host)
    if engine in ("docker", "podman", "containerd", "cri-o"):
        return f"Remove the driver's libraries from the image. {give_gpu(host)[:-1]}: the host's are mounted then."
    runtime = "or have the host's mounted: nvidia.runtime=true of LXD and Incus, LXC's hook nvidia"
    if engine == "systemd-nspawn":
        runtime = "or mount the host's with --bind-ro="
    return f"Install the user-space libraries of {of} in the container ({ways[0]}, or {ways[1]}), {runtime}."
