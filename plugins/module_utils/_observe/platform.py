# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What kind of machine this is, whose, and what it has to build with."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root, find_home, find_user, split_path
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.machine import (
    is_container,
    observe_container,
    read_board,
    read_l4t,
    read_libc,
)

FAMILIES = {
    "debian": "debian",
    "ubuntu": "debian",
    "rhel": "redhat",
    "fedora": "redhat",
    "centos": "redhat",
    "rocky": "redhat",
    "almalinux": "redhat",
    "ol": "redhat",
    "amzn": "redhat",
    "suse": "suse",
    "sles": "suse",
    "opensuse": "suse",
}  # ID or ID_LIKE of os-release
PROVIDERS = {
    "runpod": (("RUNPOD_POD_ID",), ("/etc/rp_environment",)),
    "vast": (("VAST_CONTAINERLABEL",), ("/etc/.vast_containerlabel", "/root/.vast_containerlabel", "/etc/vast_boot.d")),
    "lambda": ((), ("/lambda/nfs",)),
}  # variables that its machines set, files that only they have
VOLUMES = ("/workspace", "/runpod-volume", "/data")  # where RunPod and Vast mount what outlives the pod
KEEPING = ("runpod", "vast")  # providers whose pods lose all but their volume
NETWORK_TYPES = ("nfs", "cifs", "smb", "fuse", "ceph", "lustre", "gpfs", "9p", "beegfs", "afs", "glusterfs", "virtiofs")
BIN_DIRS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
PYTHON = re.compile(r"^python3\.\d+$")
GIB = 1024**3


class Mount(NamedTuple):
    """One line of ``/proc/self/mountinfo``."""

    point: str
    kind: str
    is_read_only: bool


def parse_mounts(text: str) -> list[Mount]:
    """Parse ``/proc/self/mountinfo``."""
    mounts = []
    for line in text.splitlines():
        before, sign, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if sign and len(fields) > 5 and kind:
            point = re.sub(r"\\(\d{3})", lambda found: chr(int(found.group(1), 8)), fields[4])
            mounts.append(Mount(point, kind[0], "ro" in fields[5].split(",")))
    return mounts


def network_mounts(mounts: Sequence[Mount]) -> list[str]:
    """The mount points that may hang because their server does."""
    return [mount.point for mount in mounts if mount.kind.startswith(NETWORK_TYPES)]


def parse_os_release(text: str) -> dict[str, Any]:
    """``{id, like, version, codename, family}`` of an os-release text; ``like`` is the list of its ID_LIKE."""
    pairs = (line.partition("=") for line in text.splitlines())
    values = {name: value.strip().strip("\"'") for name, sign, value in pairs if sign}
    ids = [values.get("ID", ""), *values.get("ID_LIKE", "").split()]
    return {
        "id": values.get("ID"),
        "like": ids[1:],
        "version": values.get("VERSION_ID"),
        "codename": values.get("VERSION_CODENAME") or values.get("UBUNTU_CODENAME"),
        "family": next((family for name in ids for family in [FAMILIES.get(name.split("-")[0])] if family), None),
    }


def parse_kind(proc_version: str, has_dxg: bool, is_container: bool, cpuinfo: str, dmi: str) -> str:
    """``wsl2``, ``container``, ``vm`` or ``bare_metal``; a container on WSL2 is bound by what binds WSL2."""
    release = proc_version.split(" ")[2:3]
    if has_dxg or any("microsoft" in word.lower() or "WSL2" in word for word in release):
        return "wsl2"
    if is_container:
        return "container"
    flags = re.search(r"^flags\s*:.*\bhypervisor\b", cpuinfo, re.MULTILINE)
    if flags or re.search(r"QEMU|KVM|VMware|VirtualBox|Xen|Virtual Machine|Google Compute|Amazon EC2|Bochs", dmi):
        return "vm"
    return "bare_metal"


def parse_memory(meminfo: str, limits: Iterable[str]) -> float | None:
    """Usable memory in GiB: the machine's, or the least of the control groups' limits (bytes, or ``max``)."""
    total = re.search(r"^MemTotal:\s*(\d+) kB", meminfo, re.MULTILINE)
    sizes = [int(total.group(1)) * 1024] if total else []
    sizes += [int(text) for text in limits if text.strip().isdigit()]
    return round(min(sizes) / GIB, 1) if sizes else None


def parse_free_memory(meminfo: str, groups: Iterable[tuple[str, str]]) -> float | None:
    """Memory in GiB that programs may still take: the machine's, or the least that a control group leaves.

    :param groups: limit and usage of each control group (bytes, or ``max``).
    """
    available = re.search(r"^MemAvailable:\s*(\d+) kB", meminfo, re.MULTILINE)
    sizes = [int(available.group(1)) * 1024] if available else []
    sizes += [
        max(0, int(limit) - int(used)) for limit, used in groups if limit.strip().isdigit() and used.strip().isdigit()
    ]
    return round(min(sizes) / GIB, 1) if sizes else None


def parse_cpus(available: int, quotas: Iterable[str]) -> int:
    """Usable CPUs: those it may run on, or what the control groups' quotas (``<quota> <period>``) amount to."""
    cpus = available
    for text in quotas:
        words = text.split()
        if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]):
            cpus = min(cpus, max(1, -(-int(words[0]) // int(words[1]))))
    return cpus


def observe_platform(root: Root, environ: Mapping[str, str], mounts: Sequence[Mount]) -> dict[str, Any]:
    """The contract's ``platform``, without ``compiler``, ``free_gib`` and ``size_gib``."""
    user, home = find_user(environ), find_home(environ if root.is_live else {})
    path = [*split_path(environ.get("PATH")), *BIN_DIRS] if root.is_live else list(BIN_DIRS)
    provider = find_provider(root, environ)
    groups = _cgroups(root)
    libc = os.confstr("CS_GNU_LIBC_VERSION") if root.is_live and "CS_GNU_LIBC_VERSION" in os.confstr_names else None
    cpus = len(os.sched_getaffinity(0)) if root.is_live else root.read("/proc/cpuinfo").count("processor\t") or 1
    return {
        "kind": find_kind(root, environ),
        "provider": provider,
        "os": parse_os_release(root.read("/etc/os-release") or root.read("/usr/lib/os-release")),
        "arch": os.uname().machine,
        "libc": read_libc(root, libc),
        "glibc": libc.split()[-1] if libc else None,
        "kernel": root.read("/proc/sys/kernel/osrelease").strip() or (os.uname().release if root.is_live else None),
        "l4t": read_l4t(root),
        "board": read_board(root),
        "container": observe_container(root, environ),
        "root": os.geteuid() == 0,
        "user": user.pw_name,
        "home": home,
        "systemd": root.is_dir("/run/systemd/system"),
        "pythons": find_pythons(root, path, home, environ),
        "tools": {
            "git": find_tool(root, "git", path),
            "uv": find_tool(root, "uv", [*path, f"{home}/.local/bin", f"{home}/.cargo/bin"]),
            "ninja": find_tool(root, "ninja", path),
            "ccache": find_tool(root, "ccache", path),
            "apt": find_tool(root, "apt-get", path),
            "dnf": find_tool(root, "dnf", path),
            "zypper": find_tool(root, "zypper", path),
        },
        "persistent_dir": find_volume(root, mounts) if provider in KEEPING else None,
        **({"limits": read_limits()} if root.is_live else {}),
        "boot_id": root.read("/proc/sys/kernel/random/boot_id").strip() or None,
        "memory_gib": parse_memory(
            root.read("/proc/meminfo"),
            [root.read(f"{group}/{name}") for group in groups for name in ("memory.max", "memory.limit_in_bytes")],
        ),
        "memory_free_gib": parse_free_memory(
            root.read("/proc/meminfo"),
            [
                (root.read(f"{group}/{limit}"), root.read(f"{group}/{used}"))
                for group in groups
                for limit, used in (
                    ("memory.max", "memory.current"),
                    ("memory.limit_in_bytes", "memory.usage_in_bytes"),
                )
            ],
        ),
        "cpus": parse_cpus(
            cpus,
            [root.read(f"{group}/cpu.max") for group in groups]
            + [
                f"{root.read(f'{group}/cpu.cfs_quota_us')} {root.read(f'{group}/cpu.cfs_period_us')}"
                for group in groups
            ],
        ),
    }


def find_kind(root: Root, environ: Mapping[str, str]) -> str:
    """What kind of machine it is; see ``parse_kind``."""
    return parse_kind(
        root.read("/proc/version"),
        root.exists("/dev/dxg"),
        is_container(root, environ),
        root.read("/proc/cpuinfo", 8192),
        " ".join(root.read(f"/sys/class/dmi/id/{name}") for name in ("sys_vendor", "product_name")),
    )


def find_tool(root: Root, name: str, path: Sequence[str]) -> str | None:
    """The first executable of that name which is not a version manager's shim."""
    candidates = (f"{folder}/{name}" for folder in path if not folder.endswith("/shims"))
    return next((candidate for candidate in candidates if root.is_executable(candidate)), None)


def find_compiler(root: Root, environ: Mapping[str, str]) -> str | None:
    """The path of the C++ compiler that a build would take."""
    path = [*split_path(environ.get("PATH")), *BIN_DIRS] if root.is_live else list(BIN_DIRS)
    return find_tool(root, "g++", path) or find_tool(root, "c++", path)


def find_pythons(root: Root, path: Sequence[str], home: str, environ: Mapping[str, str]) -> list[dict[str, Any]]:
    """Every Python 3 interpreter outside virtual environments, none of them executed.

    The version is read from the binary's name, with the third number where its folder names it. A shell script of that
    name, as version managers put first on the path, is not an interpreter.
    """
    folders = [folder for folder in (*path, "/usr/local/bin", "/usr/bin") if not folder.endswith("/shims")]
    pyenv = environ.get("PYENV_ROOT") if root.is_live else None
    for manager in (f"{pyenv or home + '/.pyenv'}/versions", f"{home}/.local/share/uv/python", "/opt"):
        folders += root.glob(f"{manager}/*/bin")
    found: dict[str, dict[str, Any]] = {}
    for folder in dict.fromkeys(folders):
        if root.exists(f"{os.path.dirname(folder)}/pyvenv.cfg"):
            continue
        for name in root.listdir(folder):
            if not PYTHON.match(name):
                continue
            real = root.real(f"{folder}/{name}")
            if real in found or root.read_bytes(real, 4) != b"\x7fELF":
                continue
            minor, home_dir = name[6:], os.path.dirname(os.path.dirname(real))
            full = re.search(r"\d+\.\d+\.\d+", os.path.basename(home_dir))
            found[real] = {
                "path": f"{folder}/{name}",
                "version": full.group() if full and full.group().startswith(f"{minor}.") else minor,
                "headers": root.exists(f"{home_dir}/include/python{minor}/Python.h"),
                "pip": has_pip(root, home_dir, minor),
            }
    return list(found.values())


def has_pip(root: Root, home_dir: str, minor: str) -> bool:
    """Whether ``import pip`` would work in the interpreter installed below ``home_dir``."""
    folders = [f"{home_dir}/lib/python{minor}/site-packages"]
    if home_dir in ("/usr", "/usr/local"):
        folders += ["/usr/lib/python3/dist-packages", f"{home_dir}/local/lib/python{minor}/dist-packages"]
        folders += [f"{home_dir}/lib/python{minor}/dist-packages", f"/usr/local/lib/python{minor}/dist-packages"]
    return any(root.exists(f"{folder}/pip/__main__.py") for folder in folders)


def find_volume(root: Root, mounts: Sequence[Mount]) -> str | None:
    """The mounted, writable volume that outlives the pod."""
    points = {mount.point for mount in mounts if not mount.is_read_only}
    return next(
        (path for path in VOLUMES if path in points and root.exists(path) and os.access(root.at(path), os.W_OK)), None
    )


def find_persistent_dir(root: Root, environ: Mapping[str, str], mounts: Sequence[Mount]) -> str | None:
    """The volume that outlives the pod, where the machine is a provider's whose pods lose the rest."""
    return find_volume(root, mounts) if find_provider(root, environ) in KEEPING else None


def find_provider(root: Root, environ: Mapping[str, str]) -> str | None:
    """Whose machine it is, by what only theirs have; ``None`` for all others."""
    first = root.first_environ()
    known = {**first, **environ} if root.is_live else first
    texts = root.read("/etc/environment")
    for provider, (variables, files) in PROVIDERS.items():
        if any(name in known or name in texts for name in variables) or any(root.exists(path) for path in files):
            return provider
    return None


def read_limits() -> dict[str, int | None]:
    """What processes here may take: the size of ``/dev/shm``, open files, locked memory; ``None`` is unlimited.

    ``shm_mib`` is also ``None`` where there is no ``/dev/shm``, in which case nothing can be shared through it.
    """
    try:
        shared = os.statvfs("/dev/shm")  # noqa: S108  its size is asked, nothing is put there
        shm_mib: int | None = shared.f_blocks * shared.f_frsize >> 20
    except OSError:
        shm_mib = None
    files, locked = resource.getrlimit(resource.RLIMIT_NOFILE)[0], resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    return {
        "shm_mib": shm_mib,
        "open_files": None if files == resource.RLIM_INFINITY else files,
        "memlock_kib": None if locked == resource.RLIM_INFINITY else locked >> 10,
    }


def measure_disks(root: Root, paths: Iterable[str]) -> tuple[dict[str, float], dict[str, float]]:
    """GiB that this user may still write, and of the whole file system, of the nearest existing folder of each path."""
    free: dict[str, float] = {}
    sizes: dict[str, float] = {}
    for wanted in paths:
        path = wanted
        while not root.is_dir(path) and path != "/" and not root.is_closed(path):
            path = os.path.dirname(path)
        if path in free or root.is_closed(path):
            continue
        try:
            stat = os.statvfs(root.at(path))
        except OSError:
            continue
        free[path] = round(stat.f_bavail * stat.f_frsize / GIB, 1)
        sizes[path] = round(stat.f_blocks * stat.f_frsize / GIB, 1)
    return free, sizes


def _cgroups(root: Root) -> list[str]:
    """The folders of this process's control groups, as a container sees them and as the host does."""
    base, groups = "/sys/fs/cgroup", ["/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/cpu"]
    for line in root.read("/proc/self/cgroup").splitlines():
        _number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if path.strip("/") and controllers in ("", "memory", "cpu", "cpu,cpuacct"):
            groups.append(f"{base}/{controllers}{path}" if controllers else f"{base}{path}")
    return groups
