# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tells one platform from another: whose container it is, how the driver came into it, a Jetson, the C library.

Files alone are read, each of them small; no program is started.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import (
    LIBRARY_DIRS,
    TEGRA_DIRS,
    Root,
    is_compat,
    split_path,
)

Record = dict[str, Any]

ENGINES = {  # what systemd, LXC and others write into the variable "container" of the first process
    "docker": "docker",
    "podman": "podman",
    "lxc": "lxc",
    "lxc-libvirt": "lxc",
    "systemd-nspawn": "systemd-nspawn",
    "openvz": "openvz",
    "rkt": "rkt",
}
CGROUPS = (  # in /proc/1/cgroup, the more special name first
    ("libpod", "podman"),
    ("crio", "cri-o"),
    ("containerd", "containerd"),
    ("docker", "docker"),
    ("kubepods", "containerd"),
    ("lxc", "lxc"),
)
LOWER_DIRS = (  # in the options of a root file system that is an overlay: where each keeps its images
    ("/containers/storage/", "podman"),
    ("containerd", "containerd"),
    ("/docker/", "docker"),
)
SYSTEM_ENGINES = ("lxc", "lxd", "incus", "systemd-nspawn", "openvz")  # run a whole system, whose libraries are its own
GUEST_SOCKETS = (("/dev/incus", "incus"), ("/dev/lxd", "lxd"), ("/dev/.lxd-mounts", "lxd"))
GVISOR = "#1 SMP Sun Jan 10 15:06:54 PST 2016"  # the build that runsc says it is, whatever the release
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io"
SINGULARITY = "/.singularity.d"
DRIVER = ("libcuda.so.1", "libnvidia-ml.so.1")
DRIVER_FILE = re.compile(r"/lib(?:cuda|nvidia-ml)\.so\.[\d.]+$")

L4T_FILE = re.compile(r"^# R(?P<major>\d+) \(release\), REVISION: (?P<minor>[\d.]+)", re.MULTILINE)
L4T_PACKAGE = re.compile(
    r"^Package: nvidia-l4t-core\n(?:(?!\n)[^\n]*\n)*?Version: (?P<release>\d+(?:\.\d+)+)", re.MULTILINE
)
STATUS = "/var/lib/dpkg/status"
BOARD = "/proc/device-tree/model"
GPU_NODES = (
    "/dev/nvhost-gpu",
    "/dev/nvhost-ctrl-gpu",
    "/dev/nvgpu/igpu0",
    "/dev/nvmap",
)  # of Jetson's own driver, nvgpu


def find_engine(root: Root, environ: Mapping[str, str]) -> str | None:
    """What runs this container, ``None`` where it is none or does not say.

    The most certain sign first: an older Ubuntu's image has ``docker`` in /run/systemd/container whatever runs it.
    Source: systemd's container interface and src/basic/virt.c's list of what it looks at.
    """
    first = root.first_environ()
    seen = {**first, **environ} if root.is_live else first
    if is_gvisor(root):
        return "gvisor"
    if root.exists(SINGULARITY) or any(name in seen for name in ("APPTAINER_CONTAINER", "SINGULARITY_CONTAINER")):
        return "apptainer"
    declared = ENGINES.get(first.get("container", ""))
    if declared and declared != "lxc":
        return declared
    if root.exists("/run/.containerenv"):
        return "podman"
    groups = root.read("/proc/1/cgroup")
    if declared == "lxc" or re.search(r"(?:^|[:/])lxc", groups):
        return next((name for path, name in GUEST_SOCKETS if root.exists(path)), "lxc")
    if "KUBERNETES_SERVICE_HOST" in seen or root.exists(SERVICE_ACCOUNT):
        return "cri-o" if "crio" in groups else "docker" if root.exists("/.dockerenv") else "containerd"
    if root.exists("/.dockerenv"):
        return "docker"
    if root.exists("/proc/vz") and not root.exists("/proc/bc"):
        return "openvz"
    by_group = next((engine for word, engine in CGROUPS if word in groups), None)
    options = "" if is_booted(root) else _root_options(root)
    by_root = next((engine for word, engine in LOWER_DIRS if word in options), None)
    told = ENGINES.get(root.read("/run/systemd/container").strip())
    return by_group or by_root or told


def is_container(root: Root, environ: Mapping[str, str]) -> bool:
    """Whether this is a container: something says so, or the driver's library alone is mounted from outside."""
    if root.exists("/.dockerenv") or root.exists("/run/.containerenv") or "container" in root.first_environ():
        return True
    if find_engine(root, environ) is not None:
        return True
    return not is_booted(root) and any(DRIVER_FILE.search(point) for point in _points(root))


def is_booted(root: Root) -> bool:
    """Whether systemd started the first process as a machine's own: what its mounts look like then tells nothing.

    A machine may boot from an overlay, as live systems do. Containers with systemd in them say of themselves what they
    are. Source: systemd's src/core/cgroup.c, which puts the manager of a machine into init.scope.
    """
    return "0::/init.scope" in root.read("/proc/1/cgroup").split()


def is_gvisor(root: Root) -> bool:
    """Whether the kernel is gVisor's: ``runsc`` calls itself a build of 2016, newer ones have the name in the release.

    Source: gVisor's pkg/sentry/syscalls/linux.
    """
    return "gvisor" in root.read("/proc/sys/kernel/osrelease") or GVISOR in root.read("/proc/version")


def observe_container(root: Root, environ: Mapping[str, str]) -> Record | None:
    """The contract's ``platform.container``: ``{engine, injected, driver_dir}``, ``None`` where this is none.

    ``injected`` is true where the driver's libraries are mounted from outside, by a runtime or by hand, and false where
    they lie in the container itself. It is ``None`` where there are none, or where the mounts do not show it: gVisor's
    are made before it starts.
    """
    if not is_container(root, environ):
        return None
    engine = find_engine(root, environ)
    path = find_driver(root, environ)
    injected = _is_mounted(root, path) if path else None
    if not injected and engine == "gvisor":
        injected = None
    return {"engine": engine, "injected": injected, "driver_dir": os.path.dirname(path) if path and injected else None}


def find_driver(root: Root, environ: Mapping[str, str]) -> str | None:
    """The path of the driver's libcuda, or else of its NVML, with links as they are; never a compat or stub library."""
    more = split_path(environ.get("LD_LIBRARY_PATH")) if root.is_live else []
    more += split_path(root.first_environ().get("LD_LIBRARY_PATH"))
    for name in DRIVER:
        for folder in (*LIBRARY_DIRS, *more):
            path = f"{folder.rstrip('/')}/{name}"
            if root.exists(path) and not is_compat(root.real(path)):
                return path
    return None


def read_l4t(root: Root) -> str | None:
    """The release of Jetson Linux, ``36.4.0``: of its own file, else of the version of nvidia-l4t-core."""
    found = L4T_FILE.search(root.read("/etc/nv_tegra_release", 4096))
    if found:
        return f"{found['major']}.{found['minor'].strip('.')}"
    if not any(root.exists(folder) for folder in TEGRA_DIRS):
        return None  # the packages' list is long, and no other host has that package
    package = L4T_PACKAGE.search(root.read(STATUS))
    return package["release"] if package else None


def read_board(root: Root) -> str | None:
    """The board as its device tree names it; ``None`` on machines without one."""
    return root.read(BOARD, 256).strip("\0\n ") or None


def read_libc(root: Root, version: str | None) -> str | None:
    """``glibc`` or ``musl``, the C library of the system's own programs.

    :param version: of glibc, as the running Python has it; a link of musl's that stands in for glibc's loader is none.
    """
    if version:
        return "glibc"
    loaders = ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1", "/usr/lib64/ld-linux-x86-64.so.2")
    real = [root.real(path) for path in loaders if root.exists(path)]
    if any("musl" not in path and "gcompat" not in path for path in real):
        return "glibc"
    return "musl" if root.glob("/lib/ld-musl-*.so.1") else None


def find_tegra(root: Root) -> Record | None:
    """Jetson's own driver, which answers by no NVML before JetPack 6: ``{name}`` of the board, or ``None``.

    Its library has to be there, and a device file of its GPU.
    """
    has_library = any(
        root.exists(f"{folder}/libcuda.so") or root.exists(f"{folder}/libcuda.so.1") for folder in TEGRA_DIRS
    )
    if not has_library or not any(root.exists(path) for path in GPU_NODES):
        return None
    return {"name": read_board(root)}


def _points(root: Root) -> list[str]:
    """Where something is mounted."""
    fields = (line.split() for line in root.read("/proc/self/mountinfo").splitlines())
    return [re.sub(r"\\(\d{3})", lambda found: chr(int(found.group(1), 8)), row[4]) for row in fields if len(row) > 5]


def _root_options(root: Root) -> str:
    """The options of the root's file system, of an overlay the folders that it is made of."""
    for line in root.read("/proc/self/mountinfo").splitlines():
        before, _sign, after = line.partition(" - ")
        if before.split()[4:5] == ["/"] and after.startswith("overlay"):
            return after
    return ""


def _is_mounted(root: Root, path: str) -> bool:
    """Whether a file, or a folder above it, is mounted of itself; the root of the container is not."""
    real = root.real(path)
    points = {point.rstrip("/") for point in _points(root)} - {""}
    return any(name == point or name.startswith(f"{point}/") for point in points for name in (path, real))
