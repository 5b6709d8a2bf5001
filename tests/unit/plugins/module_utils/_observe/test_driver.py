# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import importlib.util
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host.child import Outcome
from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.driver import (
    SMI_FIELDS,
    SMI_FIELDS_OLD,
    add_xids,
    observe_driver,
    parse_branch,
    parse_cuda,
    parse_pci,
    parse_proc_gpu,
    parse_proc_version,
    parse_smi_csv,
    parse_xids,
    read_loaded,
    read_nvml,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.driver_on_disk import observe_disk

OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build  (x@)  \nGCC version: gcc\n"
CLOSED = (
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.133.20  Thu Mar 13 02:10:00 UTC 2025\nGCC version:  gcc 12\n"
)
TWO_PARTS = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.26  Mon Jan 13 17:14:27 UTC 2025\n"
AARCH64 = "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  565.57.01  Release Build  (dvs-builder@U16)\n"
H100_ROW = "0, NVIDIA H100 80GB HBM3, GPU-1b, 570.133.20, 81559 MiB, 00000000:3B:00.0, Enabled, Disabled, 9.0\n"


@pytest.mark.parametrize(
    ("text", "version", "flavor"),
    [
        pytest.param(OPEN, "580.159.04", "open", id="open"),
        pytest.param(CLOSED, "570.133.20", "proprietary", id="proprietary"),
        pytest.param(TWO_PARTS, "570.26", "proprietary", id="two-parts"),
        pytest.param(AARCH64, "565.57.01", "open", id="aarch64"),
        pytest.param("", None, None, id="absent"),
        pytest.param("NVRM version: \n", None, None, id="empty"),
    ],
)
def test_proc_version(text: str, version: str | None, flavor: str | None) -> None:
    assert parse_proc_version(text) == {"version": version, "flavor": flavor}


# sysfs' text, proc's text, the version, which of them it is from
LOADED = [
    pytest.param("580.95.05\n", OPEN.replace("580.159.04", "580.95.05"), "580.95.05", "sysfs", id="both"),
    pytest.param("570.26\n", None, "570.26", "sysfs", id="sysfs-alone"),
    pytest.param(None, OPEN, "580.159.04", "proc", id="proc-open"),
    pytest.param(None, CLOSED, "570.133.20", "proc", id="proc-proprietary"),
    pytest.param(None, TWO_PARTS, "570.26", "proc", id="proc-two-parts"),
    pytest.param(None, AARCH64, "565.57.01", "proc", id="proc-aarch64"),
    pytest.param(None, "NVRM version: \n", None, None, id="proc-without-version"),
    pytest.param(None, "", None, None, id="proc-empty"),
    pytest.param(None, None, None, None, id="no-driver"),
]
ROOT = Path(__file__).resolve().parents[5]


def put(root: Path, sysfs: str | None, proc: str | None) -> Path:
    for name, text in {"sys/module/nvidia/version": sysfs, "proc/driver/nvidia/version": proc}.items():
        if text is not None:
            (root / name).parent.mkdir(parents=True)
            (root / name).write_text(text)
    return root


@pytest.mark.parametrize(("sysfs", "proc", "version", "source"), LOADED)
def test_the_loaded_driver(
    sysfs: str | None, proc: str | None, version: str | None, source: str | None, tmp_path: Path
) -> None:
    """One reader where hosts had four. Where a container masks sysfs, three of them said that there is no driver."""
    root = Root(str(put(tmp_path, sysfs, proc)))
    assert read_loaded(root)[::2] == (version, source)
    assert observe_driver(root, None, lambda _fields: None, 5)[0]["version"] == version
    assert observe_disk(root, None, None)["loaded_version"] == version


@pytest.mark.parametrize(("sysfs", "proc", "version", "source"), LOADED)
@pytest.mark.parametrize("path", ["gpu_environment/files/_podsmith_cuda.py", "container_image/files/check.py"])
def test_programs_that_ship_alone_read_the_same_version(
    path: str, sysfs: str | None, proc: str | None, version: str | None, source: str | None, tmp_path: Path
) -> None:
    """They cannot import the reader, so that they hold a copy of its rule."""
    spec = importlib.util.spec_from_file_location("alone", ROOT / "roles" / path)
    assert spec
    assert spec.loader
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    assert (program.read_driver(str(put(tmp_path, sysfs, proc))) or None) == version, source


@pytest.mark.parametrize(("sysfs", "proc", "version", "source"), LOADED)
def test_the_activation_reads_the_same_version(
    sysfs: str | None, proc: str | None, version: str | None, source: str | None, tmp_path: Path
) -> None:
    text = (ROOT / "roles/gpu_environment/files/activate.sh").read_text(encoding="utf-8")
    part = re.search(r"^_podsmith_driver=\nif .*?^fi$", text, re.MULTILINE | re.DOTALL)
    assert part, "activate.sh no longer reads the driver in one if after _podsmith_driver=; correct this test"
    root = put(tmp_path, sysfs, proc)
    given = f"_podsmith_sys={root}/sys/module/nvidia/version\n_podsmith_proc={root}/proc/driver/nvidia/version\n"
    said = subprocess.run(
        ["sh", "-euc", f'{given}{part[0]}\nprintf %s "$_podsmith_driver"'], check=True, capture_output=True, text=True
    )
    assert (said.stdout or None) == version, source


@pytest.mark.parametrize("proc", [OPEN, CLOSED, TWO_PARTS, AARCH64])
def test_what_a_recording_keeps_of_it_says_the_same(proc: str) -> None:
    text = (ROOT / "scripts/record.sh").read_text(encoding="utf-8")
    rule = re.search(r"read_file /proc/driver/nvidia/version \| sed -nE '([^']+)'", text)
    assert rule, "record.sh no longer filters the version by one sed -nE; correct this test"
    kept = subprocess.run(["sed", "-nE", rule[1]], input=proc, check=True, capture_output=True, text=True).stdout
    assert parse_proc_version(kept) == parse_proc_version(proc)


@pytest.mark.parametrize(("version", "branch"), [("570.133.20", 570), ("570.26", 570), (None, None)])
def test_branch(version: str | None, branch: int | None) -> None:
    assert parse_branch(version) == branch


@pytest.mark.parametrize(
    ("number", "cuda"), [(12080, "12.8"), (13000, "13.0"), (12100, "12.10"), (0, None), (None, None)]
)
def test_cuda(number: int | None, cuda: str | None) -> None:
    assert parse_cuda(number) == cuda


@pytest.mark.parametrize(
    ("text", "pci"),
    [("00000000:3B:00.0", "0000:3b:00.0"), ("0000:00:06.0", "0000:00:06.0"), ("00010002:01:00.0", "00010002:01:00.0")],
)
def test_pci(text: str, pci: str) -> None:
    assert parse_pci(text) == pci


def test_rows_of_nvidia_smi() -> None:
    (device,) = parse_smi_csv(H100_ROW, SMI_FIELDS)
    assert device == {
        "index": 0,
        "name": "NVIDIA H100 80GB HBM3",
        "uuid": "GPU-1b",
        "compute_capability": "9.0",
        "brand": None,
        "brand_id": None,
        "memory_mib": 81559,
        "mig": False,
        "pci_id": "0000:3b:00.0",
        "ecc": True,
        "virtual": None,
        "compute_mode": None,
        "xid": None,
        "driver_version": "570.133.20",
    }


@pytest.mark.parametrize(
    ("row", "key", "value"),
    [
        pytest.param(H100_ROW.replace("Disabled, 9.0", "Enabled, 9.0"), "mig", True, id="mig"),
        pytest.param(H100_ROW.replace("Disabled, 9.0", "[N/A], 9.0"), "mig", None, id="no-mig"),
        pytest.param(H100_ROW.replace("Enabled", "[Not Supported]"), "ecc", None, id="no-ecc"),
        pytest.param(H100_ROW.replace("81559 MiB", "[Unknown Error]"), "memory_mib", None, id="memory-unknown"),
        pytest.param(H100_ROW.replace(" 9.0", " [N/A]"), "compute_capability", None, id="capability-unknown"),
    ],
)
def test_what_nvidia_smi_does_not_know_is_unknown(row: str, key: str, value: object) -> None:
    assert parse_smi_csv(row, SMI_FIELDS)[0][key] == value


def test_prose_is_no_row() -> None:
    assert parse_smi_csv("Warning: infoROM is corrupted at gpu 0\n" + H100_ROW + "\n", SMI_FIELDS)[0]["index"] == 0
    assert parse_smi_csv("No devices were found\n", SMI_FIELDS) == []


def test_proc_gpu() -> None:
    text = "Model: \t\t NVIDIA H200\nGPU UUID: \t GPU-00\nBus Location: \t 0000:00:06.0\nDevice Minor: \t 3\n"
    device = parse_proc_gpu(text)
    found = [device[key] for key in ("name", "uuid", "pci_id", "index", "compute_capability")]
    assert found == ["NVIDIA H200", "GPU-00", "0000:00:06.0", 3, None]
    assert parse_proc_gpu("GPU UUID: \t GPU-????????-????\n")["uuid"] is None


def test_xids_reach_their_gpu() -> None:
    log = (
        "4,1,2,-;NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', GPU has fallen off the bus.\n"
        "4,1,2,-;NVRM: Xid (PCI:0000:3b:00): 31, pid=1\n"
    )
    assert parse_xids(log) == {"0000:3b:00": [79, 31]}
    devices: list[dict[str, Any]] = [{"pci_id": "0000:3b:00.0", "xid": None}, {"pci_id": "0000:5e:00.0", "xid": None}]
    add_xids(devices, log)
    assert [device["xid"] for device in devices] == [[79, 31], []]


def test_without_the_kernels_log_xids_stay_unknown() -> None:
    devices = [{"pci_id": "0000:3b:00.0", "xid": None}]
    add_xids(devices, None)
    assert devices[0]["xid"] is None


def host(tmp_path: Path, *, version: str = "", nodes: bool = False, proc: str = "") -> Root:
    for path, text in (("sys/module/nvidia/version", version), ("proc/driver/nvidia/version", proc)):
        if text:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text, encoding="utf-8")
    if nodes:
        (tmp_path / "dev").mkdir()
        (tmp_path / "dev/nvidia0").touch()
        (tmp_path / "proc/driver/nvidia/gpus/0000:3b:00.0").mkdir(parents=True)
        (tmp_path / "proc/driver/nvidia/gpus/0000:3b:00.0/information").write_text(
            "Model: \t NVIDIA H100\n", encoding="utf-8"
        )
    return Root(str(tmp_path))


def nvml(init: int | None, count: int = 1) -> dict[str, object]:
    version = "570.133.20" if init == 0 else None
    devices = [{"index": index} for index in range(count)] if init == 0 else []
    answer = {"init": init, "version": version, "cuda": "12.8", "count": count, "lost": 0, "devices": devices}
    return {**answer, "problems": []}


def no_smi(fields: tuple[str, ...]) -> Outcome | None:
    return None


def test_nvml_answers() -> None:
    driver, devices, problems = observe_driver(Root("/nonexistent"), nvml(0), no_smi, 5)
    assert driver == {
        "status": "ok",
        "version": "570.133.20",
        "branch": 570,
        "cuda": "12.8",
        "flavor": None,
        "source": "nvml",
    }
    assert (len(devices), problems) == (1, [])


@pytest.mark.parametrize(
    ("answer", "version", "nodes", "status"),
    [
        pytest.param(nvml(0, 0), "570.26", False, "no_device", id="no-gpu"),
        pytest.param({**nvml(0), "devices": []}, "570.26", True, "lost", id="off-the-bus"),
        pytest.param({**nvml(0, 7), "count": 8, "lost": 1}, "570.26", True, "lost", id="one-of-eight-off-the-bus"),
        pytest.param({**nvml(0, 7), "count": 8}, "570.26", True, "ok", id="one-of-eight-not-permitted"),
        pytest.param(nvml(18), "570.26", True, "mismatch", id="mismatch"),
        pytest.param(nvml(9), "570.26", False, "no_device", id="container-without-gpus"),
        pytest.param(nvml(9), "", False, "missing", id="library-without-driver"),
        pytest.param(nvml(4), "570.26", True, "no_device", id="no-permission"),
        pytest.param(None, "570.26", False, "no_device", id="nodes-missing"),
        pytest.param(None, "570.26", True, "ok", id="sysfs-alone"),
        pytest.param(None, "", False, "missing", id="nothing"),
    ],
)
def test_status(tmp_path: Path, answer: dict[str, object] | None, version: str, nodes: bool, status: str) -> None:
    driver, _devices, _problems = observe_driver(host(tmp_path, version=version, nodes=nodes), answer, no_smi, 5)
    assert driver["status"] == status
    assert driver["branch"] == (570 if version or answer == nvml(0, 0) else None)


def test_a_hang_is_a_status_and_sysfs_still_tells_the_version(tmp_path: Path) -> None:
    root = host(tmp_path, version="580.95.05\n", proc=OPEN)
    driver, devices, problems = observe_driver(root, None, no_smi, 5, is_late=True)
    assert [driver[key] for key in ("status", "version", "flavor", "source")] == [
        "timeout",
        "580.95.05",
        "open",
        "sysfs",
    ]
    assert (devices, problems) == ([], ["NVML: no answer within 5 s; reset the GPU or restart the host"])


def test_a_mismatch_says_why_and_what_to_do(tmp_path: Path) -> None:
    _driver, _devices, problems = observe_driver(host(tmp_path, version="570.133.20"), nvml(18), no_smi, 5)
    (problem,) = problems
    assert problem.startswith("the NVIDIA libraries do not fit the loaded kernel driver 570.133.20: ")
    assert problem.endswith("the driver was upgraded without a restart; restart the host, or the container on it")


def test_a_mismatch_in_a_system_container_is_put_down_to_no_upgrade(tmp_path: Path) -> None:
    root = host(tmp_path, version="570.148.06")
    (tmp_path / "proc/1").mkdir(parents=True)
    (tmp_path / "proc/1/environ").write_text("container=lxc\0")
    _driver, _devices, (problem,) = observe_driver(root, nvml(18), no_smi, 5)
    assert problem.endswith("this container's libraries are its own; they have to be of exactly its host's driver")


def test_devices_come_from_proc_where_nothing_else_answers(tmp_path: Path) -> None:
    driver, devices, _problems = observe_driver(
        host(tmp_path, version="570.26", proc=CLOSED, nodes=True), None, no_smi, 5
    )
    assert [(device["index"], device["name"]) for device in devices] == [(0, "NVIDIA H100")]
    assert (driver["source"], driver["flavor"]) == ("sysfs", "proprietary")


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        pytest.param(Outcome(0, H100_ROW), "ok", id="ok"),
        pytest.param(Outcome(None, ""), "timeout", id="hang"),
        pytest.param(
            Outcome(18, "Failed to initialize NVML: Driver/library version mismatch"), "mismatch", id="mismatch"
        ),
        pytest.param(Outcome(6, "No devices were found"), "no_device", id="no-devices"),
        pytest.param(Outcome(9, "couldn't communicate with the NVIDIA driver"), "missing", id="no-driver"),
        pytest.param(Outcome(127, ""), "missing", id="not-executable"),
    ],
)
def test_status_by_nvidia_smi(outcome: Outcome, status: str) -> None:
    driver, devices, _problems = observe_driver(Root("/nonexistent"), None, lambda fields: outcome, 5)
    assert driver["status"] == status
    if status == "ok":
        assert (driver["version"], driver["source"], driver["cuda"]) == ("570.133.20", "nvidia_smi", None)
        assert "driver_version" not in devices[0]


def test_nvidia_smi_is_not_asked_where_nvml_knows_that_there_is_no_driver() -> None:
    driver, _devices, _problems = observe_driver(Root("/nonexistent"), nvml(9), lambda fields: Outcome(0, H100_ROW), 5)
    assert driver["status"] == "missing"


def test_an_old_nvidia_smi_is_asked_for_less() -> None:
    asked = []

    def answer(fields: tuple[str, ...]) -> Outcome:
        asked.append(fields)
        row = "0, Tesla V100, GPU-1, 450.80.02, 16160 MiB, 00000000:3B:00.0, Enabled\n"
        return (
            Outcome(0, row)
            if fields == SMI_FIELDS_OLD
            else Outcome(2, 'Field "compute_cap" is not a valid field to query.')
        )

    driver, devices, _problems = observe_driver(Root("/nonexistent"), None, answer, 5)
    assert asked == [SMI_FIELDS, SMI_FIELDS_OLD]
    assert (driver["version"], devices[0]["compute_capability"]) == ("450.80.02", None)


def test_wsl2_has_windows_numbers(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/dxg").touch()
    row = "0, NVIDIA GeForce RTX 4090, GPU-1, 581.42, 24564 MiB, 00000000:01:00.0, [N/A], [N/A], 8.9\n"
    driver, devices, _problems = observe_driver(Root(str(tmp_path)), None, lambda fields: Outcome(0, row), 5)
    assert [driver[key] for key in ("status", "version", "branch", "flavor")] == ["ok", "581.42", 581, "windows"]
    assert devices[0]["compute_capability"] == "8.9"


def test_a_library_that_does_not_load_is_no_answer() -> None:
    assert read_nvml(["/nowhere/libnvidia-ml.so.1"], None)["init"] is None


@pytest.mark.parametrize(
    ("library", "status"), [("usr/lib/wsl/lib/libcuda.so.1", "no_device"), ("usr/lib/wsl/lib/libd3d12.so", "missing")]
)
def test_wsl2_without_an_answer(tmp_path: Path, library: str, status: str) -> None:
    for name in ("dev/dxg", library):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert observe_driver(Root(str(tmp_path)), None, no_smi, 5)[0]["status"] == status
