# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.platform import (
    Mount,
    find_pythons,
    find_volume,
    measure_disks,
    network_mounts,
    observe_platform,
    parse_cpus,
    parse_free_memory,
    parse_kind,
    parse_memory,
    parse_mounts,
    parse_os_release,
)

BARE = "Linux version 6.8.0-51-generic (buildd@lcy02) (gcc 13) #52-Ubuntu SMP"
WSL = "Linux version 5.15.167.4-microsoft-standard-WSL2 (root@f9c826d3017f) (gcc) #1 SMP"
AZURE = "Linux version 6.8.0-1021-azure (builder@microsoft.example) (gcc) #25 SMP"
MOUNTINFO = """\
22 1 0:20 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
30 22 0:31 / /workspace rw,relatime shared:9 - fuse.mfs mfs#pool rw
31 22 0:32 / /mnt/with\\040space ro,relatime - nfs4 server:/x rw
32 22 0:33 / /proc rw - proc proc rw
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n',
            {"id": "debian", "like": [], "version": "12", "codename": "bookworm", "family": "debian"},
            id="debian",
        ),
        pytest.param(
            'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\nVERSION_CODENAME=noble\n',
            {"id": "ubuntu", "like": ["debian"], "version": "24.04", "codename": "noble", "family": "debian"},
            id="ubuntu",
        ),
        pytest.param(
            'ID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.5"\n',
            {
                "id": "rocky",
                "like": ["rhel", "centos", "fedora"],
                "version": "9.5",
                "codename": None,
                "family": "redhat",
            },
            id="rocky",
        ),
        pytest.param(
            'ID="opensuse-leap"\nID_LIKE="suse opensuse"\nVERSION_ID="15.6"\n',
            {
                "id": "opensuse-leap",
                "like": ["suse", "opensuse"],
                "version": "15.6",
                "codename": None,
                "family": "suse",
            },
            id="opensuse",
        ),
        pytest.param(
            'ID="ol"\nVERSION_ID="9.4"\n',
            {"id": "ol", "like": [], "version": "9.4", "codename": None, "family": "redhat"},
            id="oracle-without-like",
        ),
        pytest.param(
            "ID=alpine\n", {"id": "alpine", "like": [], "version": None, "codename": None, "family": None}, id="another"
        ),
        pytest.param("", {"id": None, "like": [], "version": None, "codename": None, "family": None}, id="absent"),
    ],
)
def test_os_release(text: str, expected: dict[str, Any]) -> None:
    assert parse_os_release(text) == expected


@pytest.mark.parametrize(
    ("version", "dxg", "container", "cpuinfo", "dmi", "kind"),
    [
        pytest.param(BARE, False, False, "flags\t\t: fpu vme\n", "Supermicro", "bare_metal", id="bare-metal"),
        pytest.param(BARE, False, False, "flags\t\t: fpu hypervisor lahf\n", "", "vm", id="vm-by-flag"),
        pytest.param(BARE, False, False, "", "QEMU Standard PC", "vm", id="vm-by-dmi"),
        pytest.param(BARE, False, True, "flags\t\t: hypervisor\n", "", "container", id="container-on-a-vm"),
        pytest.param(WSL, False, False, "", "", "wsl2", id="wsl2-by-kernel"),
        pytest.param(WSL, True, True, "", "", "wsl2", id="container-on-wsl2"),
        pytest.param(BARE, True, False, "", "", "wsl2", id="wsl2-by-device"),
        pytest.param(AZURE, False, False, "flags\t\t: hypervisor\n", "", "vm", id="not-every-microsoft-is-wsl2"),
    ],
)
def test_kind(version: str, dxg: bool, container: bool, cpuinfo: str, dmi: str, kind: str) -> None:
    assert parse_kind(version, dxg, container, cpuinfo, dmi) == kind


def test_mounts() -> None:
    mounts = parse_mounts(MOUNTINFO)
    assert mounts[1] == Mount("/workspace", "fuse.mfs", is_read_only=False)
    assert mounts[2] == Mount("/mnt/with space", "nfs4", is_read_only=True)
    assert network_mounts(mounts) == ["/workspace", "/mnt/with space"]


@pytest.mark.parametrize(
    ("limits", "gib"),
    [
        pytest.param([], 24.0, id="the-machine"),
        pytest.param(["max\n", ""], 24.0, id="no-limit"),
        pytest.param([str(8 * 1024**3)], 8.0, id="limit"),
        pytest.param(["9223372036854771712\n"], 24.0, id="version-1-without-limit"),
    ],
)
def test_memory(limits: list[str], gib: float) -> None:
    assert parse_memory("MemTotal:       25165824 kB\nMemFree: 1 kB\n", limits) == gib
    assert parse_memory("", []) is None


@pytest.mark.parametrize(
    ("groups", "gib"),
    [
        pytest.param([], 12.0, id="the-machine"),
        pytest.param([("max", "4096")], 12.0, id="no-limit"),
        pytest.param([("8589934592", "2147483648")], 6.0, id="what-a-group-leaves"),
        pytest.param([("8589934592", "9663676416")], 0.0, id="nothing-left"),
        pytest.param([("8589934592", "")], 12.0, id="usage-unknown"),
        pytest.param([("68719476736", "0"), ("4294967296", "1073741824")], 3.0, id="the-least"),
    ],
)
def test_parse_free_memory(groups: list[tuple[str, str]], gib: float) -> None:
    assert parse_free_memory("MemTotal: 25165824 kB\nMemAvailable:   12582912 kB\n", groups) == gib
    assert parse_free_memory("MemTotal: 25165824 kB\n", []) is None


@pytest.mark.parametrize(
    ("quotas", "cpus"),
    [
        ([], 16),
        (["max 100000"], 16),
        (["400000 100000"], 4),
        (["150000 100000"], 2),
        (["-1 100000"], 16),
        ([" "], 16),
        (["10000 100000"], 1),
    ],
)
def test_cpus(quotas: list[str], cpus: int) -> None:
    assert parse_cpus(16, quotas) == cpus


def write(folder: Path, files: dict[str, str | bytes]) -> Root:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return Root(str(folder))


def test_pythons_are_found_without_running_them(tmp_path: Path) -> None:
    elf = b"\x7fELF\x02"
    root = write(
        tmp_path,
        {
            "usr/bin/python3.11": elf,
            "usr/include/python3.11/Python.h": "",
            "usr/lib/python3/dist-packages/pip/__main__.py": "",
            "usr/bin/python3.11-config": "#!/bin/sh",
            "usr/local/bin/python3.10": "#!/bin/sh\nexec pyenv",
            "root/.pyenv/shims/python3.12": elf,
            "root/.pyenv/versions/3.12.1/bin/python3.12": elf,
            "root/.pyenv/versions/3.12.1/include/python3.12/Python.h": "",
            "root/.pyenv/versions/3.12.1/lib/python3.12/site-packages/pip/__main__.py": "",
            "root/.local/share/uv/python/cpython-3.13.5-linux-x86_64-gnu/bin/python3.13": elf,
            "opt/conda/bin/python3.9": elf,
            "opt/venv/bin/python3.11": elf,
            "opt/venv/pyvenv.cfg": "home = /usr/bin\n",
        },
    )
    (tmp_path / "usr/bin/python3").symlink_to("python3.11")
    (tmp_path / "bin").symlink_to("usr/bin")
    found = find_pythons(root, ["/root/.pyenv/shims", "/usr/local/bin", "/usr/bin", "/bin"], "/root", {})
    assert [(python["path"], python["version"], python["headers"], python["pip"]) for python in found] == [
        ("/usr/bin/python3.11", "3.11", True, True),
        ("/root/.pyenv/versions/3.12.1/bin/python3.12", "3.12.1", True, True),
        ("/root/.local/share/uv/python/cpython-3.13.5-linux-x86_64-gnu/bin/python3.13", "3.13.5", False, False),
        ("/opt/conda/bin/python3.9", "3.9", False, False),
    ]


@pytest.mark.parametrize(
    ("files", "provider"),
    [
        pytest.param({}, None, id="none"),
        pytest.param({"proc/1/environ": "RUNPOD_POD_ID=abc\0"}, "runpod", id="runpod-by-variable"),
        pytest.param({"etc/rp_environment": ""}, "runpod", id="runpod-by-file"),
        pytest.param({"proc/1/environ": "VAST_CONTAINERLABEL=C.1\0"}, "vast", id="vast-by-variable"),
        pytest.param({"etc/environment": "VAST_CONTAINERLABEL=C.1\n"}, "vast", id="vast-by-its-own-export"),
        pytest.param({"root/.vast_containerlabel": "C.1"}, "vast", id="vast-by-file"),
        pytest.param({"lambda/nfs/x": ""}, "lambda", id="lambda"),
    ],
)
def test_provider(tmp_path: Path, files: dict[str, str | bytes], provider: str | None) -> None:
    assert observe_platform(write(tmp_path, files), {}, [])["provider"] == provider


def test_a_volume_is_a_mount_point_of_its_own(tmp_path: Path) -> None:
    root = write(tmp_path, {"workspace/x": "", "runpod-volume/x": ""})
    assert find_volume(root, []) is None
    assert find_volume(root, [Mount("/workspace", "ext4", is_read_only=True)]) is None
    mounts = [Mount("/runpod-volume", "nfs4", is_read_only=False), Mount("/workspace", "ext4", is_read_only=False)]
    assert find_volume(root, mounts) == "/workspace"


def test_a_volume_belongs_to_a_provider(tmp_path: Path) -> None:
    mounts = [Mount("/workspace", "ext4", is_read_only=False)]
    root = write(tmp_path, {"workspace/x": ""})
    assert observe_platform(root, {}, mounts)["persistent_dir"] is None
    root = write(tmp_path, {"proc/1/environ": "RUNPOD_POD_ID=abc\0"})
    assert observe_platform(root, {}, mounts)["persistent_dir"] == "/workspace"


def test_free_space_is_of_the_nearest_folder(tmp_path: Path) -> None:
    root = write(tmp_path, {"opt/x": "", "root/x": ""})
    free, sizes = measure_disks(root, ["/", "/root", "/opt/podsmith", "/root/.local/share/podsmith"])
    assert list(free) == list(sizes) == ["/", "/root", "/opt"]
    assert all(sizes[path] >= gib > 0 for path, gib in free.items())


def test_a_volume_that_does_not_answer_is_left_alone(tmp_path: Path) -> None:
    write(tmp_path, {"workspace/podsmith/x": ""})
    root = Root(str(tmp_path), ("/workspace",))
    assert measure_disks(root, ["/workspace/podsmith"]) == ({}, {})
    assert (root.exists("/workspace/podsmith/x"), root.listdir("/workspace"), root.read("/workspace/podsmith/x")) == (
        False,
        [],
        "",
    )


def test_the_platform_of_this_machine() -> None:
    platform = observe_platform(Root(), {"PATH": "/usr/bin"}, [])
    assert platform["kernel"]
    assert platform["boot_id"]
    assert platform["cpus"] >= 1
    assert platform["memory_gib"] > 0
