# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""libnvidia-ml and nvidia-smi, read as the collection reads real ones, and held against the recorded host."""

from __future__ import annotations

import pathlib
import re
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._observe.driver import SMI_FIELDS, parse_smi_csv

ROOT = pathlib.Path(__file__).resolve().parents[3]
RECORDING = ROOT / "tests/fixtures/h200-driver-580"
Host = Callable[..., str]

MIG = "9.0 14 143771 1 NVIDIA H200"
GEFORCE = "8.9 5 24564 0 NVIDIA GeForce RTX 4090"
WORKSTATION = "8.6 13 49140 0 NVIDIA RTX A6000"
LAPTOP = "8.6 5 16384 0 NVIDIA GeForce RTX 3080 Laptop GPU"

READ = """
import json
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.driver import read_nvml
print(json.dumps(read_nvml(["libnvidia-ml.so.1"], {own!r})))
"""


def read(driver: Any, conf: str, *first: pathlib.Path, own: str | None = "libcuda.so.1") -> dict[str, Any]:
    """What the collection's own reader makes of NVML."""
    collections = str(ROOT / ".ansible/collections")
    answer: dict[str, Any] = driver.ask(READ.format(own=own), conf, *first, PYTHONPATH=collections)
    return answer


def test_nvml_says_what_the_recorded_host_said(driver: Any, host: Host) -> None:
    assert read(driver, host()) == {
        "init": 0,
        "version": "580.159.04",
        "cuda": "13.0",
        "count": 1,
        "lost": 0,
        "devices": [
            {
                "index": 0,
                "name": "NVIDIA H200",
                "uuid": "GPU-00000000-0000-0000-0000-000000000000",
                "compute_capability": "9.0",
                "brand": "nvidia",
                "brand_id": 14,
                "memory_mib": 143771,
                "mig": False,
                "pci_id": "0000:00:06.0",
                "ecc": True,
                "virtual": False,
                "compute_mode": "default",
                "xid": None,
            }
        ],
        "problems": [],
    }


@pytest.mark.parametrize(
    ("changes", "virtual", "mode"),
    [
        pytest.param({"virtual": "yes", "gpu": "8.6 10 8192 0 NVIDIA A16-8Q"}, True, "default", id="vgpu"),
        pytest.param({"compute_mode": "prohibited"}, False, "prohibited", id="prohibited"),
        pytest.param({"compute_mode": "exclusive_process"}, False, "exclusive_process", id="exclusive"),
        pytest.param({"compute_mode": "exclusive_thread"}, False, None, id="a-mode-that-is-gone"),
    ],
)
def test_what_a_gpu_is_set_to(driver: Any, host: Host, changes: dict[str, str], virtual: bool, mode: str) -> None:
    """CUDA starts all the same: only NVML says it."""
    (gpu,) = read(driver, host(**changes))["devices"]
    assert (gpu["virtual"], gpu["compute_mode"]) == (virtual, mode)
    assert driver.ask_cuda(host(**changes))["code"] == 0


def test_every_card_has_its_own_properties(driver: Any, host: Host) -> None:
    devices = read(driver, host(gpu=f"{MIG}\n{GEFORCE}\n{WORKSTATION}"))["devices"]
    assert [(gpu["mig"], gpu["ecc"], gpu["brand"], gpu["memory_mib"]) for gpu in devices] == [
        (True, True, "nvidia", 143771),
        (False, None, "geforce", 24564),
        (False, False, "nvidia_rtx", 49140),
    ]
    assert [gpu["pci_id"] for gpu in devices] == ["0000:00:06.0", "0000:00:07.0", "0000:00:08.0"]
    assert len({gpu["uuid"] for gpu in devices}) == len(devices)


@pytest.mark.parametrize(
    ("changes", "init", "count", "problems"),
    [
        pytest.param({"gpu": ""}, 0, 0, [], id="no-gpu-in-the-host"),
        pytest.param({"fault": "absent"}, 9, 0, [], id="container-without-its-gpu"),
        pytest.param({"fault": "mismatch", "library": "565.57.01"}, 18, 0, [], id="mismatch"),
        pytest.param({"fault": "lost"}, 0, 1, ["GPU 0 has fallen off the bus; restart the host"], id="lost"),
    ],
)
def test_nvml_faults(
    driver: Any, host: Host, changes: dict[str, str], init: int, count: int, problems: list[str]
) -> None:
    answer = read(driver, host(**changes))
    assert (answer["init"], answer["count"], answer["devices"], answer["problems"]) == (init, count, [], problems)
    assert answer["version"] == (None if init else "580.159.04")


def test_nvml_takes_the_cuda_level_from_the_libcuda_that_is_loaded(driver: Any, host: Host) -> None:
    """So the banner shows a compat package's level, and the collection loads the driver's own library first."""
    compat = driver.build_compat("580.95.05", "13.0", [570], [14])
    conf = host(driver="570.133.20", cuda="12.8")
    assert read(driver, conf, compat, own=str(driver.libraries / "libcuda.so"))["cuda"] == "12.8"
    assert read(driver, conf, compat)["cuda"] == "13.0"
    assert "CUDA Version: 12.8 " in driver.run_smi(conf)[1]
    assert "CUDA Version: 13.0 " in driver.run_smi(conf, first=(compat,))[1]


def test_nvidia_ml_py_s_entry_points(driver: Any, host: Host) -> None:
    """The functions that NVIDIA's Python bindings call for what torch and monitoring tools ask."""
    script = """
import ctypes, json
nvml = ctypes.CDLL("libnvidia-ml.so.1")
number, pair, text, device = ctypes.c_uint(), (ctypes.c_uint * 2)(), ctypes.create_string_buffer(96), ctypes.c_void_p()
memory = (ctypes.c_ulonglong * 5)()
before = nvml.nvmlDeviceGetCount_v2(ctypes.byref(number))
codes = [nvml.nvmlInitWithFlags(0), nvml.nvmlSystemGetNVMLVersion(text, 96),
         nvml.nvmlDeviceGetHandleByUUID(b"GPU-00000000-0000-0000-0000-000000000000", ctypes.byref(device)),
         nvml.nvmlDeviceGetMemoryInfo_v2(device, memory), nvml.nvmlDeviceGetUtilizationRates(device, pair)]
for name in ("Index", "MinorNumber", "Brand", "PersistenceMode", "ComputeMode", "PerformanceState", "PowerUsage",
             "EnforcedPowerLimit"):
    codes.append(getattr(nvml, "nvmlDeviceGet" + name)(device, ctypes.byref(number)))
codes += [nvml.nvmlDeviceGetTemperature(device, 0, ctypes.byref(number)),
          nvml.nvmlDeviceGetClockInfo(device, 1, ctypes.byref(number))]
nvml.nvmlErrorString.restype = ctypes.c_char_p
refused = [before, nvml.nvmlDeviceGetHandleByIndex_v2(9, ctypes.byref(device)),
           nvml.nvmlDeviceGetFanSpeed(device, ctypes.byref(number)),
           nvml.nvmlDeviceGetHandleByUUID(b"GPU-1", ctypes.byref(device)), nvml.nvmlSystemGetDriverVersion(text, 4),
           nvml.nvmlShutdown(), nvml.nvmlShutdown()]
print(json.dumps([codes, refused, text.value.decode(), memory[1] >> 20, nvml.nvmlErrorString(18).decode()]))
"""
    codes, refused, version, memory, error = driver.ask(script, host())
    assert set(codes) == {0}
    assert refused == [1, 2, 3, 6, 7, 0, 1]
    assert (version, memory, error) == ("13.580.159.04", 143771, "Driver/library version mismatch")


def readings_removed(banner: str) -> str:
    """A banner without the time, the temperature and the power that differ from second to second."""
    return re.sub(r"\d+(?=C |W )", lambda found: "#" * len(found[0]), banner.partition("\n")[2])


def test_the_banner_is_the_recorded_one(driver: Any, host: Host) -> None:
    status, banner = driver.run_smi(host())
    recorded = (RECORDING / "nvidia-smi.txt").read_text(encoding="utf-8")
    assert status == 0
    assert readings_removed(banner) == readings_removed(recorded)
    assert re.fullmatch(r"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4} {7}", banner.partition("\n")[0])


@pytest.mark.parametrize(
    ("version", "cuda", "gpu", "lines"),
    # The first two as users of drivers 610.43.02 and 610.43.03 posted them.
    [
        pytest.param(
            "610.43.02",
            "13.3",
            "10.0 14 183359 0 NVIDIA B200",
            [
                "| NVIDIA-SMI 610.43.02              KMD Version: 610.43.02     CUDA UMD Version: 13.3     |",
                "|   0  NVIDIA B200                    On  |   00000000:00:06.0 Off |                    0 |",
            ],
            id="since-610",
        ),
        pytest.param(
            "610.43.03",
            "13.3",
            LAPTOP,
            ["|   0  NVIDIA GeForce RTX 3080 ...    Off |   00000000:00:06.0 Off |                  N/A |"],
            id="long-name",
        ),
        pytest.param(
            "595.71.05",
            "13.2",
            WORKSTATION,
            [
                "| NVIDIA-SMI 595.71.05              Driver Version: 595.71.05      CUDA Version: 13.2     |",
                "|   0  NVIDIA RTX A6000               Off |   00000000:00:06.0 Off |                  Off |",
            ],
            id="before-610",
        ),
        pytest.param(
            "580.95.05",
            "13.0",
            MIG,
            [
                "| N/A   39C    P0            122W /  700W |       0MiB / 143771MiB |     N/A      Default |",
                "|                                         |                        |              Enabled |",
            ],
            id="mig",
        ),
    ],
)
def test_banners(driver: Any, host: Host, version: str, cuda: str, gpu: str, lines: list[str]) -> None:
    status, banner = driver.run_smi(host(driver=version, cuda=cuda, gpu=gpu))
    assert status == 0
    for line in lines:
        assert line in banner.splitlines()


def test_the_query_is_the_recorded_one(driver: Any, host: Host) -> None:
    query = "--query-gpu=name,driver_version,compute_cap,mig.mode.current"
    recorded = re.search(re.escape(query) + r" --format=csv` → `([^`]+)`", (RECORDING / "README.md").read_text("utf-8"))
    assert recorded
    status, text = driver.run_smi(host(), query, "--format=csv")
    assert (status, text) == (0, f"name, driver_version, compute_cap, mig.mode.current\n{recorded[1]}\n")


def test_the_query_agrees_with_the_recorded_xml(driver: Any, host: Host) -> None:
    log = ET.parse(RECORDING / "nvidia-smi-q.xml").getroot()
    paths = {
        "driver_version": "driver_version",
        "count": "attached_gpus",
        "name": "gpu/product_name",
        "uuid": "gpu/uuid",
        "pci.bus_id": "gpu/pci/pci_bus_id",
        "ecc.mode.current": "gpu/ecc_mode/current_ecc",
        "mig.mode.current": "gpu/mig_mode/current_mig",
        "persistence_mode": "gpu/persistence_mode",
        "memory.total": "gpu/fb_memory_usage/total",
        "memory.used": "gpu/fb_memory_usage/used",
        "power.limit": "gpu/gpu_power_readings/current_power_limit",
        "clocks.sm": "gpu/clocks/sm_clock",
        "pstate": "gpu/performance_state",
        "utilization.gpu": "gpu/utilization/gpu_util",
    }
    text = driver.run_smi(host(), f"--query-gpu={','.join(paths)}", "--format=csv,noheader")[1]
    assert dict(zip(paths, text.strip().split(", "), strict=True)) == {
        field: log.findtext(path) for field, path in paths.items()
    }


def test_the_query_s_forms(driver: Any, host: Host) -> None:
    """Header and cells as the recorded host printed them for the same words."""
    conf = host(gpu=GEFORCE)
    assert driver.run_smi(conf, "--query-gpu=gpu_name, clocks.sm,ecc.mode.current", "--format=csv")[1] == (
        "name, clocks.current.sm [MHz], ecc.mode.current\nNVIDIA GeForce RTX 4090, 525 MHz, [N/A]\n"
    )
    assert driver.run_smi(conf, "--query-gpu=memory.total,power.draw", "--format=csv,noheader,nounits")[1] == (
        "24564, 122.00\n"
    )
    assert driver.run_smi(conf, "--query-gpu=name,nme", "--format=csv") == (
        2,
        'Field "nme" is not a valid field to query.\n\n',
    )
    status, text = driver.run_smi(conf, "--nonsense")
    assert (status, text) == (255, "ERROR: Option --nonsense is not recognized. Please run 'nvidia-smi -h'.\n\n")


@pytest.mark.parametrize("gpu", [MIG, GEFORCE, WORKSTATION, f"{MIG}\n{GEFORCE}"])
def test_query_and_nvml_agree(driver: Any, host: Host, gpu: str) -> None:
    conf = host(gpu=gpu)
    text = driver.run_smi(conf, f"--query-gpu={','.join(SMI_FIELDS)}", "--format=csv,noheader")[1]
    for by_query, by_nvml in zip(parse_smi_csv(text, SMI_FIELDS), read(driver, conf)["devices"], strict=True):
        assert by_query.pop("driver_version") == "580.159.04"
        mig = by_query.pop("mig")
        assert bool(mig) == by_nvml.pop("mig")
        unknown = dict.fromkeys(("brand", "brand_id", "virtual", "compute_mode"))
        assert by_query == {**by_nvml, **unknown}


NO_DRIVER = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
    "Make sure that the latest NVIDIA driver is installed and running.\n\n"
)
MISMATCH = "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 550.163\n"
LOST = (
    "Unable to determine the device handle for GPU0000:00:06.0: GPU is lost.  Reboot the system to recover this GPU\n"
)
QUERY = ("--query-gpu=name", "--format=csv,noheader")


@pytest.mark.parametrize(
    ("changes", "arguments", "status", "text"),
    # Measured on the recorded host, with libraries of 550.163.01 and without device nodes; but for the lost GPU.
    [
        pytest.param(
            {}, ("-L",), 0, "GPU 0: NVIDIA H200 (UUID: GPU-00000000-0000-0000-0000-000000000000)\n", id="list"
        ),
        pytest.param({"gpu": ""}, (), 6, "No devices were found\n", id="none"),
        pytest.param({"gpu": ""}, QUERY, 6, "No devices were found\n", id="none-query"),
        pytest.param({"gpu": ""}, ("-L",), 0, "No devices found.\n", id="none-list"),
        pytest.param({"fault": "absent"}, (), 9, NO_DRIVER, id="absent"),
        pytest.param({"fault": "absent"}, QUERY, 9, NO_DRIVER, id="absent-query"),
        pytest.param({"fault": "mismatch", "library": "550.163.01"}, (), 18, MISMATCH, id="mismatch"),
        pytest.param({"fault": "mismatch", "library": "550.163.01"}, QUERY, 18, MISMATCH, id="mismatch-query"),
        pytest.param({"fault": "lost"}, (), 15, LOST, id="lost"),
        pytest.param({"fault": "lost"}, QUERY, 15, LOST, id="lost-query"),
    ],
)
def test_exit_status_and_text(
    driver: Any, host: Host, changes: dict[str, str], arguments: tuple[str, ...], status: int, text: str
) -> None:
    assert driver.run_smi(host(**changes), *arguments) == (status, text)


def test_nvidia_smi_without_its_library(driver: Any, host: Host) -> None:
    environment = {**driver.environment(host()), "LD_LIBRARY_PATH": ""}
    done = subprocess.run(
        [driver.libraries / "nvidia-smi"], check=False, capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 12
    assert done.stdout.startswith("NVIDIA-SMI couldn't find libnvidia-ml.so library in your system.")


@pytest.mark.parametrize("arguments", [(), QUERY, ("-L",)])
def test_a_hung_driver_never_answers(driver: Any, host: Host, arguments: tuple[str, ...]) -> None:
    command = [driver.libraries / "nvidia-smi", *arguments]
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(command, check=False, env=driver.environment(host(fault="hang")), timeout=0.5)
