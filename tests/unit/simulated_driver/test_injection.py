# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""``simulated-driver``: the file that says what a host is, turned into what a container sees of its driver."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.driver import add_xids, observe_driver
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.platform import find_kind, parse_kind

ROOT = pathlib.Path(__file__).resolve().parents[3]
RECORDING = ROOT / "tests/fixtures/h200-driver-580"
Host = Callable[..., str]

LIBRARIES = pathlib.Path("usr/lib/x86_64-linux-gnu")
TWO = "9.0 14 81559 0 NVIDIA H100 80GB HBM3\n9.0 14 81559 0 NVIDIA H100 80GB HBM3"


def inject(driver: Any, conf: str | None, root: pathlib.Path) -> None:
    done = driver.inject(conf, root)
    assert (done.returncode, done.stderr) == (0, "")


def injected(root: pathlib.Path) -> set[str]:
    """The files that a container sees, without what simulated-driver keeps for itself."""
    paths = (path.relative_to(root) for path in root.rglob("*") if path.is_symlink() or path.is_file())
    return {str(path) for path in paths if path.parts[0] != "var" and path.name != "simulated-driver.conf"}


def expected(library: str, gpus: int) -> set[str]:
    """What a runtime injects of the libraries of that version, and what the kernel shows of its driver."""
    libraries = {
        f"{LIBRARIES}/{name}.{ending}"
        for name in ("libcuda.so", "libnvidia-ml.so", "libnvidia-ptxjitcompiler.so")
        for ending in (library, "1")
    }
    nodes = {"dev/nvidiactl", "dev/nvidia-uvm", *(f"dev/nvidia{index}" for index in range(gpus))}
    return libraries | nodes | kernel(gpus) | {f"{LIBRARIES}/libcuda.so", "usr/bin/nvidia-smi"}


def kernel(gpus: int) -> set[str]:
    folder = "proc/driver/nvidia"
    information = {f"{folder}/gpus/0000:00:{6 + index:02x}.0/information" for index in range(gpus)}
    return {"sys/module/nvidia/version", f"{folder}/version"} | information


WSL = {
    *(f"usr/lib/wsl/lib/{name}" for name in ("libcuda.so", "libcuda.so.1", "libcuda.so.1.1", "libnvidia-ml.so.1")),
    "usr/lib/wsl/lib/nvidia-smi",
    "etc/ld.so.conf.d/ld.wsl.conf",
    "dev/dxg",
}
WSL_KERNEL = {"proc/version", "proc/sys/kernel/osrelease"}

MACHINE = {"proc/1/cgroup", "proc/cpuinfo", "proc/sys/kernel/random/boot_id"}


@pytest.mark.parametrize(
    ("changes", "files"),
    [
        pytest.param({}, expected("580.159.04", 1), id="one-gpu"),
        pytest.param({"gpu": TWO}, expected("580.159.04", 2), id="two-gpus"),
        pytest.param({"gpu": ""}, expected("580.159.04", 0), id="no-gpu"),
        pytest.param({"fault": "lost"}, expected("580.159.04", 1), id="lost"),
        pytest.param({"fault": "hang"}, expected("580.159.04", 1), id="hang"),
        pytest.param({"fault": "absent"}, kernel(1), id="container-without-its-gpu"),
        pytest.param({"fault": "mismatch", "library": "565.57.01"}, expected("565.57.01", 1), id="mismatch"),
        pytest.param({"machine": "bare_metal"}, expected("580.159.04", 1) | MACHINE, id="no-container"),
        pytest.param({"driver": "581.42", "wsl2": "yes"}, WSL | WSL_KERNEL, id="wsl2"),
        pytest.param({"driver": "581.42", "wsl2": "yes", "fault": "absent"}, WSL_KERNEL, id="wsl2-without-its-gpu"),
    ],
)
def test_what_is_injected(
    driver: Any, host: Host, tmp_path: pathlib.Path, changes: dict[str, str], files: set[str]
) -> None:
    inject(driver, host(**changes), tmp_path)
    assert injected(tmp_path) == files


def test_links_lead_to_the_versioned_library(driver: Any, host: Host, tmp_path: pathlib.Path) -> None:
    inject(driver, host(), tmp_path)
    for name in ("libcuda.so", "libcuda.so.1"):
        assert (tmp_path / LIBRARIES / name).resolve() == tmp_path / LIBRARIES / "libcuda.so.580.159.04"


@pytest.mark.parametrize("flavor", ["open", "proprietary"])
def test_the_collection_reads_the_kernel_s_driver(driver: Any, host: Host, tmp_path: pathlib.Path, flavor: str) -> None:
    inject(driver, host(flavor=flavor, gpu=TWO), tmp_path)
    observed, devices, problems = observe_driver(Root(str(tmp_path)), None, lambda _fields: None, 5)
    assert observed == {
        "status": "ok",
        "version": "580.159.04",
        "branch": 580,
        "cuda": None,
        "flavor": flavor,
        "source": "sysfs",
    }
    assert [(gpu["index"], gpu["name"], gpu["pci_id"]) for gpu in devices] == [
        (0, "NVIDIA H100 80GB HBM3", "0000:00:06.0"),
        (1, "NVIDIA H100 80GB HBM3", "0000:00:07.0"),
    ]
    assert problems == []


def test_the_kernel_s_texts_are_the_recorded_ones(driver: Any, host: Host, tmp_path: pathlib.Path) -> None:
    """Where both have a field: the recorded host's builder and hardware are its own."""
    inject(driver, host(), tmp_path)
    folder = tmp_path / "proc/driver/nvidia"
    recorded = (RECORDING / "proc-driver-nvidia.txt").read_text(encoding="utf-8")
    module = (folder / "version").read_text(encoding="utf-8").splitlines()[0]
    assert module.replace("simulated@", "nixbld@") in recorded.splitlines()
    for line in (folder / "gpus/0000:00:06.0/information").read_text(encoding="utf-8").splitlines():
        assert line in recorded.splitlines()


@pytest.mark.parametrize(
    ("fault", "status"), [("absent", "no_device"), ("none", "ok")], ids=["without-its-gpu", "with-it"]
)
def test_a_container_without_its_gpu_sees_the_driver(
    driver: Any, host: Host, tmp_path: pathlib.Path, fault: str, status: str
) -> None:
    inject(driver, host(fault=fault), tmp_path)
    assert observe_driver(Root(str(tmp_path)), None, lambda _fields: None, 5)[0]["status"] == status


def test_wsl2_is_recognised(driver: Any, host: Host, tmp_path: pathlib.Path) -> None:
    inject(driver, host(driver="581.42", wsl2="yes"), tmp_path)
    version = (tmp_path / "proc/version").read_text(encoding="utf-8")
    assert parse_kind(version, has_dxg=False, is_container=True, cpuinfo="", dmi="") == "wsl2"
    observed = observe_driver(Root(str(tmp_path)), None, lambda _fields: None, 5)[0]
    assert (observed["flavor"], observed["version"]) == ("windows", None)


def test_a_machine_of_its_own_is_recognised(driver: Any, host: Host, tmp_path: pathlib.Path) -> None:
    (tmp_path / ".dockerenv").touch()
    inject(driver, host(machine="bare_metal"), tmp_path)
    assert find_kind(Root(str(tmp_path)), {}) == "bare_metal"
    boot = (tmp_path / "proc/sys/kernel/random/boot_id").read_text(encoding="utf-8")
    inject(driver, host(machine="bare_metal", driver="590.44.01"), tmp_path)
    assert (tmp_path / "proc/sys/kernel/random/boot_id").read_text(encoding="utf-8") == boot, "no reboot"


def test_libraries_in_a_folder_that_the_loader_does_not_know(driver: Any, host: Host, tmp_path: pathlib.Path) -> None:
    """As on GKE, which tells the loader by a variable of the image."""
    inject(driver, host(folder="/usr/local/nvidia/lib64"), tmp_path)
    moved = {
        path.replace(str(LIBRARIES), "usr/local/nvidia/lib64").replace("usr/bin", "usr/local/nvidia/bin")
        for path in expected("580.159.04", 1)
    }
    assert injected(tmp_path) == moved
    inject(driver, host(), tmp_path)
    assert injected(tmp_path) == expected("580.159.04", 1)


def test_the_collection_reads_an_xid_of_the_kernel_s_log(driver: Any, host: Host, tmp_path: pathlib.Path) -> None:
    inject(driver, host(gpu=TWO, xid="79 1"), tmp_path)
    assert injected(tmp_path) == expected("580.159.04", 2) | {"dev/kmsg"}
    devices = [{"pci_id": f"0000:00:0{slot}.0", "xid": None} for slot in (6, 7)]
    add_xids(devices, (tmp_path / "dev/kmsg").read_text(encoding="utf-8"))
    assert [device["xid"] for device in devices] == [[], [79]]


def test_a_second_run_changes_nothing(driver: Any, host: Host, tmp_path: pathlib.Path) -> None:
    inject(driver, host(), tmp_path)
    before = injected(tmp_path)
    inject(driver, host(), tmp_path)
    assert injected(tmp_path) == before


def test_an_upgrade_replaces_what_was_there(driver: Any, host: Host, tmp_path: pathlib.Path) -> None:
    inject(driver, host(driver="570.133.20", cuda="12.8", gpu=TWO), tmp_path)
    inject(driver, host(driver="595.71.05", cuda="13.2"), tmp_path)
    assert injected(tmp_path) == expected("595.71.05", 1)
    assert (tmp_path / "sys/module/nvidia/version").read_text(encoding="utf-8") == "595.71.05\n"


@pytest.mark.parametrize("wsl2", ["no", "yes"])
@pytest.mark.parametrize("conf", [None, "", "# nothing\n"])
def test_nothing_is_left_where_the_file_says_nothing(
    driver: Any, host: Host, tmp_path: pathlib.Path, wsl2: str, conf: str | None
) -> None:
    inject(driver, host(wsl2=wsl2), tmp_path)
    inject(driver, conf, tmp_path)
    assert injected(tmp_path) == set()


def test_somebody_else_s_driver_is_not_overwritten(driver: Any, host: Host, tmp_path: pathlib.Path) -> None:
    foreign = tmp_path / "usr/bin/nvidia-smi"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("theirs", encoding="utf-8")
    done = driver.inject(host(), tmp_path)
    assert (done.returncode, done.stderr) == (
        1,
        (
            "simulated-driver: /usr/bin/nvidia-smi is there already, from somebody else: "
            "take an image without a driver, or remove it\n"
        ),
    )
    inject(driver, None, tmp_path)
    assert injected(tmp_path) == {"usr/bin/nvidia-smi"}


@pytest.mark.parametrize(
    ("conf", "text"),
    [
        (
            "drivers 580.95.05",
            (
                'found the word "drivers", wanted driver, cuda, flavor, wsl2, fault, library, machine, folder, '
                "cuinit, shown, slices, virtual, compute_mode, xid or gpu"
            ),
        ),
        ("xid 79", "found xid 79, wanted its code and the index of a GPU"),
        ("xid none 0", "found xid none 0, wanted its code and the index of a GPU"),
        ("driver 580.95.05", 'driver 580.95.05 without its CUDA level; add a line "cuda …"'),
        ("flavor closed", "found flavor closed, wanted one of: open proprietary"),
        ("wsl2 maybe", "found wsl2 maybe, wanted one of: yes no"),
        ("fault broken", "found fault broken, wanted one of: none hang mismatch lost absent"),
    ],
)
def test_a_file_that_is_not_understood_changes_nothing(
    driver: Any, host: Host, tmp_path: pathlib.Path, conf: str, text: str
) -> None:
    inject(driver, host(), tmp_path)
    before = injected(tmp_path)
    done = driver.inject(conf + "\n", tmp_path)
    assert (done.returncode, done.stderr) == (
        1,
        f"simulated-driver: {tmp_path}/etc/simulated-driver.conf: {text}\n",
    )
    assert injected(tmp_path) == before


def test_words_and_comments(driver: Any, tmp_path: pathlib.Path) -> None:
    conf = """
# The example of the contract.
driver 570.133.20                         # version of the kernel driver
cuda 12.8                                 # its CUDA level
gpu 9.0 14 81559 0 NVIDIA H100 80GB HBM3  # a line a GPU
"""
    inject(driver, conf, tmp_path)
    information = tmp_path / "proc/driver/nvidia/gpus/0000:00:06.0/information"
    assert information.read_text(encoding="utf-8").splitlines()[0] == "Model: \t\t NVIDIA H100 80GB HBM3"
    assert driver.run_smi(conf, "--query-gpu=driver_version,name", "--format=csv,noheader") == (
        0,
        "570.133.20, NVIDIA H100 80GB HBM3\n",
    )
