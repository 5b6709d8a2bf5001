# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""libcuda, the driver's and that of compat packages, under the collection's reader of notes and NVIDIA's runtime."""

from __future__ import annotations

import importlib.util
import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host.elf import CompatNote, read_compat_note
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import load_catalogue

PACKAGES = load_catalogue()["drivers"]["compat"]
Host = Callable[..., str]

H100 = "9.0 14 81559 0 NVIDIA H100 80GB HBM3"
GEFORCE = "8.9 5 24564 0 NVIDIA GeForce RTX 4090"
TITAN = "7.5 16 24220 0 NVIDIA TITAN RTX"
OLD_GEFORCE = "8.6 15 24576 0 NVIDIA GeForce RTX 3090"
WORKSTATION = "8.6 13 49140 0 NVIDIA RTX A6000"
TESLA = "7.0 2 32768 0 Tesla V100-SXM2-32GB"

SUCCESS, NO_DEVICE, INVALID_DEVICE, INSUFFICIENT_DRIVER, UNKNOWN = 0, 100, 101, 35, 999
NOT_FOUND, DRIVER_MISMATCH, NOT_SUPPORTED_ON_DEVICE = 500, 803, 804


def package(driver: Any, cuda: str) -> pathlib.Path:
    """The libraries of a cuda-compat package, as the catalogue knows it."""
    row = PACKAGES[cuda]
    folder: pathlib.Path = driver.build_compat(row["version"], cuda, row["note_branches"], row["brands"])
    return folder


def test_it_compiles_without_a_warning(driver: Any) -> None:
    assert driver.warnings == ""


@pytest.mark.parametrize(
    ("version", "gpu", "cuda", "code"),
    [
        pytest.param("570.133.20", H100, "13.0", SUCCESS, id="listed-and-documented"),
        pytest.param("535.183.01", H100, "13.0", SUCCESS, id="535"),
        pytest.param("550.163.01", H100, "13.0", SUCCESS, id="listed-only"),
        pytest.param("565.57.01", H100, "13.0", SUCCESS, id="gh200-in-the-field"),
        pytest.param("525.147.05", H100, "13.0", DRIVER_MISMATCH, id="unlisted-branch"),
        pytest.param("560.35.05", H100, "13.0", DRIVER_MISMATCH, id="560-is-gone-from-13.0"),
        pytest.param("560.35.05", H100, "12.9", SUCCESS, id="560-is-in-12.9"),
        pytest.param("565.57.01", H100, "13.1", DRIVER_MISMATCH, id="565-is-gone-from-13.1"),
        pytest.param("580.65.06", H100, "13.0", SUCCESS, id="same-branch-older-driver"),
        pytest.param("580.95.05", H100, "13.0", SUCCESS, id="same-version"),
        pytest.param("580.159.04", H100, "13.0", DRIVER_MISMATCH, id="same-branch-newer-driver-as-measured"),
        pytest.param("595.71.05", H100, "13.0", DRIVER_MISMATCH, id="newer-branch"),
        pytest.param("580.159.04", H100, "13.1", SUCCESS, id="newer-package"),
        pytest.param("535.171.04", GEFORCE, "13.0", NOT_SUPPORTED_ON_DEVICE, id="geforce"),
        pytest.param("570.124.06", OLD_GEFORCE, "13.0", NOT_SUPPORTED_ON_DEVICE, id="geforce-rtx"),
        pytest.param("570.124.06", TITAN, "13.0", NOT_SUPPORTED_ON_DEVICE, id="titan-rtx"),
        pytest.param("580.95.05", GEFORCE, "13.0", SUCCESS, id="same-version-needs-no-compatibility"),
        pytest.param("580.159.04", GEFORCE, "13.0", DRIVER_MISMATCH, id="versions-come-before-brands"),
        pytest.param("570.133.20", WORKSTATION, "13.0", SUCCESS, id="workstation"),
        pytest.param("570.133.20", TESLA, "13.0", SUCCESS, id="tesla"),
        pytest.param("570.133.20", f"{H100}\n{GEFORCE}", "13.0", NOT_SUPPORTED_ON_DEVICE, id="one-of-two"),
    ],
)
def test_a_compat_package_judges_driver_and_gpus(
    driver: Any, host: Host, version: str, gpu: str, cuda: str, code: int
) -> None:
    answer = driver.ask_cuda(host(driver=version, cuda="12.8", gpu=gpu), package(driver, cuda))
    level = int(cuda.replace(".", "0")) * 10
    assert (answer["code"], answer["version"]) == (code, level)
    assert answer["count"] == (gpu.count("\n") + 1 if code == SUCCESS else -1)


def test_a_hidden_gpu_is_not_judged(driver: Any, host: Host) -> None:
    conf = host(driver="570.133.20", gpu=f"{H100}\n{GEFORCE}")
    assert driver.ask_cuda(conf, package(driver, "13.0"), CUDA_VISIBLE_DEVICES="0")["code"] == SUCCESS
    assert driver.ask_cuda(conf, package(driver, "13.0"), CUDA_VISIBLE_DEVICES="1")["code"] == NOT_SUPPORTED_ON_DEVICE


@pytest.mark.parametrize(
    ("version", "code"),
    [
        pytest.param("570.26", SUCCESS, id="two-parts-are-older-than-570.124"),
        pytest.param("570.86.15", SUCCESS, id="numbers-not-text"),
        pytest.param("570.124.06", SUCCESS, id="same"),
        pytest.param("570.124.07", DRIVER_MISMATCH, id="third-part"),
        pytest.param("570.133.20", DRIVER_MISMATCH, id="second-part"),
    ],
)
def test_versions_compare_number_by_number(driver: Any, host: Host, version: str, code: int) -> None:
    compat = driver.build_compat("570.124.06", "12.8", [535, 570], [14])
    assert driver.ask_cuda(host(driver=version, gpu=H100), compat)["code"] == code


def test_a_list_that_the_note_lacks_refuses_nothing(driver: Any, host: Host) -> None:
    compat = driver.build_compat("615.71.09", "13.4", [], [])
    assert driver.ask_cuda(host(driver="525.147.05", gpu=GEFORCE), compat)["code"] == SUCCESS
    assert driver.ask_cuda(host(driver="616.10"), compat)["code"] == DRIVER_MISMATCH


@pytest.mark.parametrize("cuda", [cuda for cuda, row in PACKAGES.items() if row["note_branches"]])
def test_the_note_is_the_catalogue_s(driver: Any, cuda: str) -> None:
    library = package(driver, cuda) / "libcuda.so.1"
    row = PACKAGES[cuda]
    assert library.resolve().name == f"libcuda.so.{row['version']}"
    assert read_compat_note(library.read_bytes()) == CompatNote(cuda, row["note_branches"], row["brands"])


def test_a_driver_s_own_libcuda_carries_a_note_too(driver: Any) -> None:
    assert read_compat_note((driver.libraries / "libcuda.so").read_bytes()) == CompatNote(None, None, None)


@pytest.mark.parametrize(
    ("changes", "native", "with_compat"),
    [
        pytest.param({}, SUCCESS, DRIVER_MISMATCH, id="fine"),
        pytest.param({"gpu": ""}, NO_DEVICE, DRIVER_MISMATCH, id="no-gpu-in-the-host"),
        pytest.param({"fault": "absent"}, NO_DEVICE, NO_DEVICE, id="container-without-its-gpu"),
        pytest.param({"fault": "mismatch", "library": "565.57.01"}, DRIVER_MISMATCH, DRIVER_MISMATCH, id="mismatch"),
        pytest.param({"fault": "lost"}, UNKNOWN, DRIVER_MISMATCH, id="lost"),
        pytest.param({"driver": "581.42", "wsl2": "yes"}, SUCCESS, NO_DEVICE, id="wsl2"),
    ],
)
def test_faults(driver: Any, host: Host, changes: dict[str, str], native: int, with_compat: int) -> None:
    assert driver.ask_cuda(host(**changes))["code"] == native
    assert driver.ask_cuda(host(**changes), package(driver, "13.0"))["code"] == with_compat


def test_a_machine_without_a_driver(driver: Any) -> None:
    assert driver.ask_cuda("", package(driver, "13.0")) == {
        "version": 13000,
        "code": NO_DEVICE,
        "name": "CUDA_ERROR_NO_DEVICE",
        "count": -1,
    }


@pytest.mark.parametrize(
    ("visible", "code", "count"),
    # As measured on the recorded host, which has one GPU.
    [
        ("0", SUCCESS, 1),
        (" 0", SUCCESS, 1),
        ("0,7", SUCCESS, 1),
        ("", NO_DEVICE, -1),
        ("1", NO_DEVICE, -1),
        ("7,0", NO_DEVICE, -1),
        ("-1", NO_DEVICE, -1),
        ("x", NO_DEVICE, -1),
        ("0,0", INVALID_DEVICE, -1),
    ],
)
def test_visible_devices(driver: Any, host: Host, visible: str, code: int, count: int) -> None:
    answer = driver.ask_cuda(host(), CUDA_VISIBLE_DEVICES=visible)
    assert (answer["code"], answer["count"]) == (code, count)


def test_devices(driver: Any, host: Host) -> None:
    script = """
import ctypes, json
cuda, device, numbers = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(), []
name, uuid, size = ctypes.create_string_buffer(96), (ctypes.c_ubyte * 16)(), ctypes.c_size_t()
codes = [cuda.cuInit(0), cuda.cuDeviceGet(ctypes.byref(device), 1), cuda.cuDeviceGetName(name, 96, device),
         cuda.cuDeviceGetUuid(uuid, device), cuda.cuDeviceTotalMem_v2(ctypes.byref(size), device)]
for attribute in (75, 76, 10):
    value = ctypes.c_int()
    codes.append(cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, device))
    numbers.append(value.value)
address = ctypes.c_void_p()
codes += [cuda.cuGetProcAddress_v2(b"cuInit", ctypes.byref(address), 13000, ctypes.c_uint64(0), None)]
same = address.value == ctypes.cast(cuda.cuInit, ctypes.c_void_p).value
missing = [cuda.cuGetProcAddress_v2(b"cuNone", ctypes.byref(address), 13000, ctypes.c_uint64(0), None),
           cuda.cuDeviceGet(ctypes.byref(device), 2), cuda.cuInit(1)]
print(json.dumps([codes, name.value.decode(), uuid[15], size.value >> 20, numbers, same, missing]))
"""
    codes, name, uuid, memory, numbers, is_same, missing = driver.ask(script, host(gpu=f"{H100}\n{GEFORCE}"))
    assert set(codes) == {SUCCESS}
    assert (name, uuid, memory, numbers) == ("NVIDIA GeForce RTX 4090", 1, 24564, [8, 9, 32])
    assert is_same
    assert missing == [NOT_FOUND, INVALID_DEVICE, 1]


def test_a_hung_driver_never_answers(driver: Any, host: Host) -> None:
    script = "import ctypes; cuda = ctypes.CDLL('libcuda.so.1'); print('asks', flush=True); cuda.cuInit(0)"
    environment = driver.environment(host(fault="hang"))
    with subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE) as asking:
        assert asking.stdout
        assert asking.stdout.readline() == b"asks\n"
        with pytest.raises(subprocess.TimeoutExpired):
            asking.wait(timeout=0.5)
        asking.kill()


@pytest.mark.parametrize(
    "line",
    ["drivers 580.95.05", "cuda new", "fault broken", "flavor free", "wsl2 perhaps", "gpu H100", "gpu 9.0 14 1 2 H100"],
)
def test_a_line_that_is_not_understood_stops_the_test(driver: Any, line: str) -> None:
    script = "import ctypes; ctypes.CDLL('libcuda.so.1').cuInit(0)"
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, env=driver.environment(line)
    )
    assert (done.returncode, done.stderr) == (70, f"simulated driver: not understood: {line}\n")


@pytest.mark.skipif(sys.platform != "linux", reason="NVIDIA's runtime is installed on Linux only")
@pytest.mark.parametrize(
    ("version", "cuda", "gpu", "compat", "code"),
    [
        pytest.param("570.133.20", "12.8", H100, None, INSUFFICIENT_DRIVER, id="old-driver"),
        pytest.param("570.133.20", "12.8", H100, "13.0", NOT_FOUND, id="old-driver-compat"),
        pytest.param("535.183.01", "12.2", H100, "13.0", NOT_FOUND, id="535-compat"),
        pytest.param("580.159.04", "13.0", H100, None, NOT_FOUND, id="native"),
        pytest.param("580.159.04", "13.0", H100, "13.0", DRIVER_MISMATCH, id="compat-left-after-an-upgrade"),
        pytest.param("525.147.05", "12.0", H100, "13.0", DRIVER_MISMATCH, id="unlisted-branch"),
        pytest.param("535.171.04", "12.2", GEFORCE, None, INSUFFICIENT_DRIVER, id="geforce"),
        pytest.param("535.171.04", "12.2", GEFORCE, "13.0", NOT_SUPPORTED_ON_DEVICE, id="geforce-compat"),
        pytest.param("580.159.04", "13.0", "", None, NO_DEVICE, id="no-gpu"),
    ],
)
def test_nvidia_s_own_runtime_agrees(
    driver: Any, host: Host, version: str, cuda: str, gpu: str, compat: str | None, code: int
) -> None:
    """500 is the private table that is missing behind cuInit: the runtime got past the driver's version and cuInit."""
    found = importlib.util.find_spec("nvidia.cu13")
    assert found, "nvidia-cuda-runtime is not installed: scripts/prepare.sh dev"
    runtime = pathlib.Path(next(iter(found.submodule_search_locations or []))) / "lib/libcudart.so.13"
    script = f"""
import ctypes, json
count = ctypes.c_int()
print(json.dumps(ctypes.CDLL({str(runtime)!r}).cudaGetDeviceCount(ctypes.byref(count))))
"""
    first = [package(driver, compat)] if compat else []
    assert driver.ask(script, host(driver=version, cuda=cuda, gpu=gpu), *first) == code
