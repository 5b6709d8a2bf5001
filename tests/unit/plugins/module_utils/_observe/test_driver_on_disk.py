"""The driver on the disk: each source of it as files have it, and each as it is absent."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.driver_on_disk import (
    MOK_LIST,
    SECURE_BOOT,
    observe_disk,
    parse_dpkg_log,
    parse_flavor,
    parse_history,
    parse_modinfo,
    parse_packages,
    parse_pin,
)

KERNEL = "6.8.0-45-generic"
HISTORY = """
Start-Date: 2026-11-02  09:00:01
Commandline: apt install nvidia-open-570
Requested-By: ada (1000)
Install: nvidia-open-570:amd64 (570.133.20-0ubuntu1), libnvidia-compute-570:amd64 (570.133.20-0ubuntu1, automatic)
End-Date: 2026-11-02  09:03:00

Start-Date: 2026-11-20  06:12:33
Commandline: /usr/bin/unattended-upgrade
Upgrade: curl:amd64 (8.5.0-2, 8.5.0-3), libnvidia-compute-570:amd64 (570.133.20-0ubuntu1, 570.211.01-0ubuntu1)
End-Date: 2026-11-20  06:13:10

Start-Date: 2026-11-21  06:12:33
Commandline: apt install nvidia-container-toolkit
Install: nvidia-container-toolkit:amd64 (1.17.8-1)
End-Date: 2026-11-21  06:13:10
"""


def stanza(name: str, version: str, status: str = "install ok installed", maintainer: str = "someone") -> str:
    return f"Package: {name}\nStatus: {status}\nMaintainer: {maintainer}\nArchitecture: amd64\nVersion: {version}\n\n"


def write(root: Path, files: dict[str, str | bytes]) -> Root:
    for name, content in files.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Root(str(root))


STATUS = (
    stanza("bash", "5.2-1")
    + stanza("nvidia-open-570", "570.133.20-0ubuntu1", "hold ok installed", "NVIDIA <cudatools@nvidia.com>")
    + stanza("libnvidia-compute-570", "570.133.20-0ubuntu1", "hold ok installed")
    + stanza("nvidia-dkms-570-open", "570.133.20-0ubuntu1")
    + stanza("libnvidia-gl-570", "570.133.20-0ubuntu1", "deinstall ok config-files")
    + stanza("nvidia-container-toolkit", "1.17.8-1")
    + stanza("nvidia-cuda-toolkit", "12.2.140~12.2.2-1")
    + stanza("nvidia-driver-pinning-570", "570-1")
)


def test_packages_are_the_drivers_alone() -> None:
    found = parse_packages(STATUS)
    assert list(found) == ["nvidia-open-570", "libnvidia-compute-570", "nvidia-dkms-570-open"]
    assert [row["held"] for row in found.values()] == [True, True, False]
    assert [row["nvidia"] for row in found.values()] == [True, False, False]


@pytest.mark.parametrize(
    ("names", "flavor"),
    [
        (["nvidia-open", "libcuda1"], "open"),
        (["nvidia-dkms-570-open", "nvidia-kernel-common-570"], "open"),
        (["nvidia-kernel-open-dkms"], "open"),
        (["cuda-drivers-580"], "proprietary"),
        (["nvidia-kernel-dkms", "nvidia-kernel-support"], "proprietary"),
        (["linux-modules-nvidia-580-open-generic"], "open"),
        (["libcuda1", "nvidia-settings"], None),
        ([], None),
    ],
)
def test_flavor(names: list[str], flavor: str | None) -> None:
    assert parse_flavor(dict.fromkeys(names)) == flavor


@pytest.mark.parametrize(
    ("text", "version", "flavor"),
    [
        ("filename: /lib/x.ko.zst\nversion:        580.95.05\nlicense:        Dual MIT/GPL\n", "580.95.05", "open"),
        ("version:        535.171.04\nlicense:        NVIDIA\n", "535.171.04", "proprietary"),
        ("modinfo: ERROR: Module nvidia not found.\n", None, None),
    ],
)
def test_modinfo(text: str, version: str | None, flavor: str | None) -> None:
    assert parse_modinfo(text) == {"version": version, "flavor": flavor}


def test_history_names_the_last_action_on_the_driver() -> None:
    assert parse_history(HISTORY) == {
        "at": "2026-11-20 06:12:33",
        "command": "/usr/bin/unattended-upgrade",
        "by": None,
        "package": "libnvidia-compute-570",
        "from": "570.133.20-0ubuntu1",
        "to": "570.211.01-0ubuntu1",
    }
    first = parse_history(HISTORY.partition("\n\n")[0])
    assert first is not None
    assert (first["by"], first["from"], first["to"]) == ("ada", None, "570.133.20-0ubuntu1")
    assert parse_history("Start-Date: x\nUpgrade: curl:amd64 (1, 2)\n") is None


def test_dpkg_log() -> None:
    text = (
        "2026-11-20 06:12:40 upgrade libcuda1:amd64 570.133.20-1 570.211.01-1\n"
        "2026-11-20 06:12:41 status half-configured libcuda1:amd64 570.133.20-1\n"
        "2026-11-20 06:12:42 upgrade curl:amd64 8.5.0-2 8.5.0-3\n"
    )
    found = parse_dpkg_log(text)
    assert found is not None
    assert (found["at"], found["from"], found["to"]) == ("2026-11-20 06:12:40", "570.133.20-1", "570.211.01-1")
    assert parse_dpkg_log("") is None


def test_pin() -> None:
    assert parse_pin("Package: *\nPin: version 580.*\nPin-Priority: 1001\n") == "580.*"
    assert parse_pin("Package: *\nPin: release l=NVIDIA\n") is None


def test_nothing_there(tmp_path: Path) -> None:
    found = observe_disk(Root(str(tmp_path)), KERNEL, None)
    assert found == {
        "packages": {},
        "source": "none",
        "flavor": None,
        "held": False,
        "pinned": None,
        "module_version": None,
        "library_version": None,
        "loaded_version": None,
        "dkms": False,
        "headers": None,
        "secure_boot": None,
        "mok": "none",
        "nouveau_loaded": False,
        "in_use": None,
        "pci": [],
        "changed": None,
    }


BOX: dict[str, Any] = {
    "/var/lib/dpkg/status": STATUS,
    "/sys/module/nvidia/version": "570.133.20\n",
    "/sys/module/nvidia/refcnt": "2\n",
    "/sys/module/nvidia/holders/nvidia_uvm": "",
    "/sys/module/nvidia/holders/nvidia_modeset": "",
    f"/var/lib/dkms/nvidia/570.133.20/{KERNEL}/x86_64/module/nvidia.ko.zst": "",
    f"/lib/modules/{KERNEL}/build/Makefile": "",
    "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1": "",
}


def test_a_build_box(tmp_path: Path) -> None:
    found = observe_disk(write(tmp_path, BOX), KERNEL, None)
    assert (found["source"], found["flavor"], found["pinned"], found["held"]) == ("apt", "open", "570*", False)
    assert (found["module_version"], found["loaded_version"], found["dkms"]) == ("570.133.20", "570.133.20", True)
    assert (found["headers"], found["in_use"], found["changed"]) == (True, False, None)


def test_a_tool_of_another_version_need_not_be_held(tmp_path: Path) -> None:
    status = (
        stanza("libcuda1", "570.133.20-1", "hold ok installed")
        + stanza("nvidia-open", "570.133.20-1", "hold ok installed")
        + stanza("nvidia-settings", "510.47.03-0ubuntu1")
    )
    assert observe_disk(write(tmp_path, {**BOX, "/var/lib/dpkg/status": status}), KERNEL, None)["held"] is True
    status += stanza("nvidia-kernel-open-dkms", "570.133.20-1")
    assert observe_disk(write(tmp_path, {"/var/lib/dpkg/status": status}), KERNEL, None)["held"] is False


def test_of_two_modules_the_libraries_is_the_one(tmp_path: Path) -> None:
    library = tmp_path / "usr/lib/x86_64-linux-gnu"
    files = {f"/var/lib/dkms/nvidia/{version}/{KERNEL}/x": "" for version in ("570.133.20", "580.95.05")}
    root = write(tmp_path, {**files, "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.570.133.20": ""})
    (library / "libnvidia-ml.so.1").symlink_to("libnvidia-ml.so.570.133.20")
    assert observe_disk(root, KERNEL, None)["module_version"] == "570.133.20"


def test_our_pin_wins(tmp_path: Path) -> None:
    files = {**BOX, "/etc/apt/preferences.d/podsmith-nvidia-driver": "Package: *nvidia*\nPin: version 580.*\n"}
    assert observe_disk(write(tmp_path, files), KERNEL, None)["pinned"] == "580.*"


@pytest.mark.parametrize(
    ("files", "source"),
    [
        ({"/usr/bin/nvidia-uninstall": ""}, "runfile"),
        ({"/var/lib/dpkg/status": stanza("nvidia-driver", "535.261.03-1")}, "distribution"),
        ({"/var/lib/dpkg/status": stanza("cuda-drivers", "580.95.05-1")}, "apt"),
        ({"/var/lib/dpkg/status": stanza("bash", "5.2")}, "none"),
        ({"/var/lib/dpkg/status": stanza("bash", "5.2"), "/var/lib/rpm/rpmdb.sqlite": ""}, "none"),
        ({"/var/lib/rpm/rpmdb.sqlite": ""}, None),
        ({"/usr/lib/sysimage/rpm/rpmdb.sqlite": ""}, None),
        ({"/usr/lib/sysimage/rpm/rpmdb.sqlite": "", "/usr/bin/nvidia-uninstall": ""}, "runfile"),
    ],
)
def test_source(files: dict[str, str], source: str | None, tmp_path: Path) -> None:
    assert observe_disk(write(tmp_path, files), KERNEL, None)["source"] == source


def test_another_driver_on_the_disk_is_explained(tmp_path: Path) -> None:
    files = {
        **BOX,
        f"/var/lib/dkms/nvidia/570.211.01/{KERNEL}/x86_64/log": "",
        "/var/log/apt/history.log": "",
        "/var/log/apt/history.log.1.gz": gzip.compress(HISTORY.encode()),
    }
    found = observe_disk(write(tmp_path, files), KERNEL, None)
    assert (found["module_version"], found["loaded_version"]) == ("570.211.01", "570.133.20")
    assert (found["changed"]["command"], found["changed"]["log"]) == (
        "/usr/bin/unattended-upgrade",
        "/var/log/apt/history.log.1.gz",
    )


def test_a_log_that_is_no_archive_is_passed_over(tmp_path: Path) -> None:
    files = {
        **BOX,
        f"/var/lib/dkms/nvidia/570.211.01/{KERNEL}/x86_64/log": "",
        "/var/log/apt/history.log.1.gz": b"no archive",
        "/var/log/dpkg.log": "2026-11-20 06:12:40 upgrade libcuda1:amd64 570.133.20-1 570.211.01-1\n",
    }
    assert observe_disk(write(tmp_path, files), KERNEL, None)["changed"]["log"] == "/var/log/dpkg.log"


@pytest.mark.parametrize(
    ("counts", "in_use"), [({"nvidia": 2}, False), ({"nvidia": 3}, True), ({"nvidia": 2, "nvidia_uvm": 1}, True)]
)
def test_in_use(counts: dict[str, int], in_use: bool, tmp_path: Path) -> None:
    files = {**BOX, **{f"/sys/module/{name}/refcnt": f"{count}\n" for name, count in counts.items()}}
    assert observe_disk(write(tmp_path, files), KERNEL, None)["in_use"] is in_use


def test_modinfo_is_asked_where_a_module_lies_that_dkms_did_not_build(tmp_path: Path) -> None:
    root = write(tmp_path, {f"/lib/modules/{KERNEL}/kernel/nvidia-580-open/nvidia.ko.zst": ""})
    found = observe_disk(root, KERNEL, lambda: "version:  580.95.05\nlicense:  Dual MIT/GPL\n")
    assert (found["module_version"], found["flavor"], found["dkms"]) == ("580.95.05", "open", False)


def test_modinfo_is_not_asked_for_nothing(tmp_path: Path) -> None:
    def ask() -> str:
        raise RuntimeError("asked")

    observe_disk(Root(str(tmp_path)), KERNEL, ask)
    observe_disk(write(tmp_path, BOX), KERNEL, ask)


@pytest.mark.parametrize(
    ("files", "secure_boot", "mok"),
    [
        pytest.param({"/sys/firmware/acpi/x": ""}, False, "none", id="without-efi"),
        pytest.param({SECURE_BOOT: b"\6\0\0\0\1"}, True, "none", id="on"),
        pytest.param({SECURE_BOOT: b"\6\0\0\0\0"}, False, "none", id="off"),
        pytest.param({"/sys/firmware/efi/x": ""}, None, "none", id="unreadable"),
        pytest.param(
            {SECURE_BOOT: b"\6\0\0\0\1", "/var/lib/dkms/mok.pub": b"KEY", MOK_LIST: b"...KEY..."},
            True,
            "enrolled",
            id="enrolled",
        ),
        pytest.param(
            {SECURE_BOOT: b"\6\0\0\0\1", "/var/lib/dkms/mok.pub": b"KEY", MOK_LIST: b"...OTHER"},
            True,
            "waiting",
            id="not-enrolled",
        ),
        pytest.param(
            {SECURE_BOOT: b"\6\0\0\0\1", "/var/lib/shim-signed/mok/MOK.der": b"KEY"}, True, None, id="list-unreadable"
        ),
    ],
)
def test_secure_boot(files: dict[str, bytes], secure_boot: bool | None, mok: str | None, tmp_path: Path) -> None:
    found = observe_disk(write(tmp_path, files), KERNEL, None)
    assert (found["secure_boot"], found["mok"]) == (secure_boot, mok)


def test_gpus_are_there_before_a_driver_is(tmp_path: Path) -> None:
    base = "/sys/bus/pci/devices"
    files = {}
    for address, vendor, kind, device in (
        ("0000:01:00.0", "0x10de", "0x030000", "0x2b85"),
        ("0000:01:00.1", "0x10de", "0x040300", "0x22e8"),  # its sound
        ("0000:02:00.0", "0x1002", "0x030000", "0x744c"),  # somebody else's
        ("0000:03:00.0", "0x10de", "0x030200", "0x2330"),
    ):
        pairs = {"vendor": vendor, "class": kind, "device": device}
        files |= {f"{base}/{address}/{name}": f"{value}\n" for name, value in pairs.items()}
    assert observe_disk(write(tmp_path, files), KERNEL, None)["pci"] == ["2b85", "2330"]
    assert observe_disk(write(tmp_path, {**files, **BOX}), KERNEL, None)["pci"] == ["2b85", "2330"], (
        "also beside a driver"
    )


def test_nouveau(tmp_path: Path) -> None:
    assert observe_disk(write(tmp_path, {"/sys/module/nouveau/x": ""}), KERNEL, None)["nouveau_loaded"] is True
