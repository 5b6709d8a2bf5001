# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts as files: containers of every runtime, Jetsons, systems with another C library."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.driver import observe_driver
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.loader_search import find_libcuda
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.machine import (
    find_engine,
    observe_container,
    read_board,
    read_l4t,
    read_libc,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.platform import observe_platform

ROOT_MOUNT = "24 1 259:2 / / rw,relatime - ext4 /dev/nvme0n1p2 rw\n"
LIB = "/usr/lib/x86_64-linux-gnu"
TEGRA = "/usr/lib/aarch64-linux-gnu/nvidia"
RELEASE = """\
# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8 01:49:37 UTC 2025
# KERNEL_VARIANT: oot
TARGET_USERSPACE_LIB_DIR=nvidia
"""
PACKAGES = """\
Package: nvidia-l4t-apt-source
Status: install ok installed
Version: 36.9.9-20990101000000

Package: nvidia-l4t-core
Status: install ok installed
Priority: standard
Section: kernel
Architecture: arm64
Version: 36.4.3-20250107174145
Description: NVIDIA Core Package

Package: zlib1g
Version: 1:1.2.11
"""


def overlay(options: str) -> str:
    return f"620 580 0:57 / / rw,relatime master:1 - overlay overlay rw,{options}\n"


def mounted(*points: str) -> str:
    """Lines of mountinfo as NVIDIA's runtimes make them: single files, or a folder of the node."""
    rows = (
        f"{700 + number} 620 259:2 {point} {point} ro,nosuid - ext4 /dev/root ro" for number, point in enumerate(points)
    )
    return "".join(f"{row}\n" for row in rows)


def host(folder: Path, files: dict[str, str | None], links: dict[str, str] | None = None) -> Root:
    """A host of files; ``None`` is a folder."""
    for name, content in files.items():
        path = folder / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.mkdir(exist_ok=True)
        else:
            path.write_text(content, encoding="utf-8")
    for name, target in (links or {}).items():
        (folder / name.lstrip("/")).symlink_to(target)
    return Root(str(folder))


DRIVER_580 = {f"{LIB}/libcuda.so.580.95.05": "", f"{LIB}/libnvidia-ml.so.580.95.05": ""}
LINKS_580 = {f"{LIB}/libcuda.so.1": "libcuda.so.580.95.05", f"{LIB}/libnvidia-ml.so.1": "libnvidia-ml.so.580.95.05"}
INJECTED = ROOT_MOUNT + mounted(
    f"{LIB}/libcuda.so.580.95.05", f"{LIB}/libnvidia-ml.so.580.95.05", "/usr/bin/nvidia-smi"
)


@pytest.mark.parametrize(
    ("files", "engine"),
    [
        pytest.param({"/.dockerenv": ""}, "docker", id="docker"),
        pytest.param({"/run/.containerenv": 'engine="podman-5.2.2"\n'}, "podman", id="podman"),
        pytest.param({"/proc/1/environ": "container=podman\0"}, "podman", id="podman-by-its-variable"),
        pytest.param({"/proc/1/cgroup": "0::/system.slice/docker-0af3.scope\n"}, "docker", id="docker-by-group"),
        pytest.param(
            {"/proc/1/cgroup": "0::/kubepods.slice/cri-containerd-12ab.scope\n"}, "containerd", id="kubernetes-by-group"
        ),
        pytest.param({"/proc/1/cgroup": "0::/kubepods.slice/crio-12ab.scope\n"}, "cri-o", id="cri-o"),
        pytest.param(
            {"/var/run/secrets/kubernetes.io/serviceaccount/token": "x", "/proc/1/cgroup": "0::/\n"}, "containerd",
            id="kubernetes-by-its-account",
        ),
        pytest.param({"/proc/1/environ": "KUBERNETES_SERVICE_HOST=10.0.0.1\0"}, "containerd", id="kubernetes-variable"),
        pytest.param(
            {"/proc/1/cgroup": "0::/\n", "/proc/self/mountinfo": overlay("lowerdir=/var/lib/containerd/io.c/1/fs")},
            "containerd", id="containerd-by-its-root",
        ),
        pytest.param(
            {"/proc/self/mountinfo": overlay("lowerdir=/home/ada/.local/share/containers/storage/overlay/l/AB")},
            "podman", id="podman-by-its-root",
        ),
        pytest.param({"/proc/1/environ": "container=lxc\0"}, "lxc", id="proxmox"),
        pytest.param({"/proc/1/cgroup": "0::/lxc.payload.web\n"}, "lxc", id="lxc-by-group"),
        pytest.param({"/proc/1/environ": "container=lxc\0", "/dev/lxd/sock": ""}, "lxd", id="lxd"),
        pytest.param({"/proc/1/environ": "container=lxc\0", "/dev/incus/sock": ""}, "incus", id="incus"),
        pytest.param({"/run/systemd/container": "lxc\n"}, "lxc", id="lxc-for-a-user"),
        pytest.param({"/run/systemd/container": "systemd-nspawn\n"}, "systemd-nspawn", id="nspawn-for-a-user"),
        pytest.param({"/proc/1/environ": "container=systemd-nspawn\0"}, "systemd-nspawn", id="nspawn"),
        pytest.param(
            {"/proc/1/environ": "container=lxc\0", "/run/systemd/container": "docker\n"}, "lxc",
            id="lxc-from-an-image-that-says-docker",
        ),
        pytest.param({"/.singularity.d/libs/x": ""}, "apptainer", id="apptainer"),
        pytest.param({"/.singularity.d/x": "", "/.dockerenv": ""}, "apptainer", id="apptainer-of-dockers-image"),
        pytest.param({"/proc/sys/kernel/osrelease": "4.19.0-gvisor\n", "/.dockerenv": ""}, "gvisor", id="gvisor"),
        pytest.param(
            {"/proc/version": "Linux version 4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016\n"}, "gvisor", id="older-gvisor"
        ),
        pytest.param({"/proc/vz": None}, "openvz", id="openvz"),
        pytest.param({"/proc/vz": None, "/proc/bc": None}, None, id="the-host-of-openvz"),
        pytest.param({"/proc/1/cgroup": "0::/init.scope\n", "/proc/self/mountinfo": ROOT_MOUNT}, None, id="none"),
        pytest.param({"/dev/incus/sock": ""}, None, id="a-virtual-machine-of-incus"),
        pytest.param({"/proc/self/mountinfo": overlay("lowerdir=/run/live/rootfs")}, None, id="a-live-system"),
        pytest.param(
            {"/proc/1/cgroup": "0::/init.scope\n", "/proc/self/mountinfo": overlay("lowerdir=/var/lib/docker/l/AB")},
            None,
            id="a-machine-that-systemd-started",
        ),
    ],
)  # fmt: skip
def test_engine(tmp_path: Path, files: dict[str, str | None], engine: str | None) -> None:
    root = host(tmp_path, files)
    assert find_engine(root, {}) == engine
    assert (observe_container(root, {}) is None) == (engine is None)


LXC = {"/proc/1/environ": "container=lxc\0", "/proc/self/mountinfo": ROOT_MOUNT}
GVISOR = {"/proc/sys/kernel/osrelease": "4.19.0-gvisor\n", "/proc/self/mountinfo": ROOT_MOUNT}


@pytest.mark.parametrize(
    ("files", "links", "container"),
    [
        pytest.param(
            {**DRIVER_580, "/.dockerenv": "", "/proc/self/mountinfo": INJECTED}, LINKS_580,
            {"engine": "docker", "injected": True, "driver_dir": LIB}, id="docker-with-nvidias-runtime",
        ),
        pytest.param(
            {"/usr/local/nvidia/lib64/libcuda.so.535.183.01": "", "/proc/1/environ": "KUBERNETES_SERVICE_HOST=x\0",
             "/proc/self/mountinfo": ROOT_MOUNT + mounted("/usr/local/nvidia")},
            {"/usr/local/nvidia/lib64/libcuda.so.1": "libcuda.so.535.183.01"},
            {"engine": "containerd", "injected": True, "driver_dir": "/usr/local/nvidia/lib64"}, id="gke",
        ),
        pytest.param(
            {f"{LIB}/libcuda.so.570.148.08": "", **LXC}, {f"{LIB}/libcuda.so.1": "libcuda.so.570.148.08"},
            {"engine": "lxc", "injected": False, "driver_dir": None}, id="proxmox-with-its-own-libraries",
        ),
        pytest.param(
            {**DRIVER_580, **LXC, "/dev/lxd/sock": "", "/proc/self/mountinfo": INJECTED}, LINKS_580,
            {"engine": "lxd", "injected": True, "driver_dir": LIB}, id="lxd-with-nvidia-runtime",
        ),
        pytest.param(
            {"/.singularity.d/libs/libcuda.so.1": "",
             "/proc/self/mountinfo": ROOT_MOUNT + mounted("/.singularity.d/libs/libcuda.so.1")}, {},
            {"engine": "apptainer", "injected": True, "driver_dir": "/.singularity.d/libs"}, id="apptainer-with-nv",
        ),
        pytest.param(
            {**DRIVER_580, **GVISOR}, LINKS_580, {"engine": "gvisor", "injected": None, "driver_dir": None},
            id="gvisor-does-not-show-its-mounts",
        ),
        pytest.param(
            {"/.dockerenv": "", "/proc/self/mountinfo": ROOT_MOUNT}, {},
            {"engine": "docker", "injected": None, "driver_dir": None}, id="a-container-without-a-driver",
        ),
        pytest.param(
            {**DRIVER_580, "/proc/self/mountinfo": INJECTED}, LINKS_580,
            {"engine": None, "injected": True, "driver_dir": LIB}, id="by-its-mounts-alone",
        ),
        pytest.param(
            {"/usr/local/cuda/compat/libcuda.so.580.95.05": "", "/.dockerenv": "", "/proc/self/mountinfo": ROOT_MOUNT},
            {"/usr/local/cuda/compat/libcuda.so.1": "libcuda.so.580.95.05"},
            {"engine": "docker", "injected": None, "driver_dir": None}, id="a-compat-library-is-no-driver",
        ),
        pytest.param(
            {**DRIVER_580, "/proc/self/mountinfo": ROOT_MOUNT}, LINKS_580, None, id="a-machine-with-a-driver"
        ),
    ],
)  # fmt: skip
def test_how_the_driver_came_in(
    tmp_path: Path, files: dict[str, str | None], links: dict[str, str], container: dict[str, object] | None
) -> None:
    platform = observe_platform(host(tmp_path, files, links), {}, [])
    assert platform["container"] == container
    assert (platform["kind"] == "container") == (container is not None)


@pytest.mark.parametrize(
    ("files", "l4t"),
    [
        pytest.param({"/etc/nv_tegra_release": RELEASE}, "36.4.3", id="jetpack-6"),
        pytest.param({"/etc/nv_tegra_release": "# R32 (release), REVISION: 7.1, GCID: 1\n"}, "32.7.1", id="jetpack-4"),
        pytest.param({"/etc/nv_tegra_release": "# R39 (release), REVISION: 2.1, GCID: 1\n"}, "39.2.1", id="jetpack-7"),
        pytest.param({f"{TEGRA}/libcuda.so.1.1": "", "/var/lib/dpkg/status": PACKAGES}, "36.4.3", id="by-its-package"),
        pytest.param({"/var/lib/dpkg/status": PACKAGES}, None, id="no-folder-of-its-libraries"),
        pytest.param({f"{TEGRA}/libcuda.so.1.1": "", "/var/lib/dpkg/status": PACKAGES.replace("l4t-core", "x")}, None,
                     id="no-such-package"),
        pytest.param({"/etc/nv_tegra_release": "custom build\n"}, None, id="no-release-in-it"),
        pytest.param({}, None, id="no-jetson"),
    ],
)  # fmt: skip
def test_release_of_jetson_linux(tmp_path: Path, files: dict[str, str | None], l4t: str | None) -> None:
    assert read_l4t(host(tmp_path, files)) == l4t


def test_the_board_is_named_by_its_device_tree(tmp_path: Path) -> None:
    root = host(tmp_path, {"/proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0"})
    assert read_board(root) == "NVIDIA Jetson AGX Orin Developer Kit"
    assert observe_platform(root, {}, [])["board"] == "NVIDIA Jetson AGX Orin Developer Kit"
    assert read_board(host(tmp_path / "pc", {"/proc/cpuinfo": ""})) is None


def jetpack_5(folder: Path, **more: str | None) -> Root:
    files = {
        f"{TEGRA.replace('nvidia', 'tegra')}/libcuda.so.1.1": "",
        "/proc/device-tree/model": "NVIDIA Jetson Xavier NX Developer Kit\0",
        **{f"/{name}": content for name, content in more.items()},
    }
    return host(folder, files, {f"{TEGRA.replace('nvidia', 'tegra')}/libcuda.so.1": "libcuda.so.1.1"})


def test_a_jetson_without_nvml_has_its_boards_gpu(tmp_path: Path) -> None:
    root = jetpack_5(tmp_path, **{"dev/nvhost-gpu": ""})
    driver, devices, _problems = observe_driver(root, None, lambda _fields: None, 5)
    assert (driver["status"], driver["version"]) == ("ok", None)
    assert [device["name"] for device in devices] == ["NVIDIA Jetson Xavier NX Developer Kit"]


def test_jetsons_libraries_alone_are_no_driver(tmp_path: Path) -> None:
    driver, devices, _problems = observe_driver(jetpack_5(tmp_path), None, lambda _fields: None, 5)
    assert (driver["status"], devices) == ("missing", [])


@pytest.mark.parametrize(
    ("files", "links", "version", "libc"),
    [
        pytest.param({"/lib/ld-musl-x86_64.so.1": ""}, {}, None, "musl", id="alpine"),
        pytest.param(
            {"/lib/ld-musl-x86_64.so.1": "", "/lib64": None},
            {"/lib64/ld-linux-x86-64.so.2": "/lib/ld-musl-x86_64.so.1"}, None, "musl", id="a-stand-in-for-glibc",
        ),
        pytest.param(
            {"/lib/ld-musl-x86_64.so.1": "", "/lib/libgcompat.so.0": "", "/lib64": None},
            {"/lib64/ld-linux-x86-64.so.2": "/lib/libgcompat.so.0"}, None, "musl", id="alpine-with-gcompat",
        ),
        pytest.param({"/lib64/ld-linux-x86-64.so.2": ""}, {}, None, "glibc", id="debian"),
        pytest.param({"/lib/ld-linux-aarch64.so.1": ""}, {}, None, "glibc", id="debian-on-arm"),
        pytest.param(
            {"/lib64/ld-linux-x86-64.so.2": "", "/lib/ld-musl-x86_64.so.1": ""}, {}, None, "glibc", id="both"
        ),
        pytest.param({"/lib/ld-musl-x86_64.so.1": ""}, {}, "glibc 2.39", "glibc", id="a-python-with-glibc"),
        pytest.param({}, {}, None, None, id="nothing-recorded"),
    ],
)  # fmt: skip
def test_c_library(
    tmp_path: Path, files: dict[str, str | None], links: dict[str, str], version: str | None, libc: str | None
) -> None:
    assert read_libc(host(tmp_path, files, links), version) == libc


@pytest.mark.parametrize(
    "folder",
    [
        "/usr/local/nvidia/lib64",
        "/home/kubernetes/bin/nvidia/lib64",
        "/var/lib/nvidia/lib64",
        "/run/opengl-driver/lib",
        "/.singularity.d/libs",
        "/opt/nvidia/current/lib64",
        "/usr/lib64",
    ],
)
def test_the_drivers_library_is_found_wherever_a_platform_puts_it(tmp_path: Path, folder: str) -> None:
    name = f"{folder}/libcuda.so.580.95.05"
    root = host(
        tmp_path,
        {name: "", "/proc/1/environ": "container=podman\0"},
        {f"{folder}/libcuda.so.1": "libcuda.so.580.95.05"},
    )
    assert find_libcuda(root, {"version": "580.95.05"}) == name
