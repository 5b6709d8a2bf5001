# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""libcuda, the driver's and that of compat packages, under the collection's reader of notes and NVIDIA's runtime."""

from __future__ import annotations

import importlib.util
import pathlib
import signal
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
MIG = "9.0 14 143771 1 NVIDIA H200"
TESLA = "7.0 2 32768 0 Tesla V100-SXM2-32GB"

SUCCESS, NO_DEVICE, INVALID_DEVICE, INSUFFICIENT_DRIVER, UNKNOWN = 0, 100, 101, 35, 999
NOT_FOUND, DRIVER_MISMATCH, NOT_SUPPORTED_ON_DEVICE = 500, 803, 804
STUB_LIBRARY, UNAVAILABLE, OPERATING_SYSTEM, NOT_READY = 34, 46, 304, 802


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


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (3, "CUDA_ERROR_NOT_INITIALIZED"),
        (UNAVAILABLE, "CUDA_ERROR_DEVICE_UNAVAILABLE"),
        (NO_DEVICE, "CUDA_ERROR_NO_DEVICE"),
        (INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE"),
        (OPERATING_SYSTEM, "CUDA_ERROR_OPERATING_SYSTEM"),
        (NOT_FOUND, "CUDA_ERROR_NOT_FOUND"),
        (NOT_READY, "CUDA_ERROR_SYSTEM_NOT_READY"),
        (DRIVER_MISMATCH, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"),
        (NOT_SUPPORTED_ON_DEVICE, "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE"),
        (UNKNOWN, "CUDA_ERROR_UNKNOWN"),
    ],
)
def test_the_driver_answers_what_its_host_s_file_says(driver: Any, host: Host, code: int, name: str) -> None:
    """Whichever library is asked: its driver is what does not work. NVML does not notice."""
    conf = host(cuinit=str(code))
    expected = {"version": 13000, "code": code, "name": name, "count": -1}
    assert driver.ask_cuda(conf) == expected
    assert driver.ask_cuda(conf, package(driver, "13.1"))["code"] == code
    assert driver.ask_cuda(conf, package(driver, "13.0"))["code"] == DRIVER_MISMATCH
    assert driver.run_smi(conf)[0] == 0


def test_a_driver_that_crashes_whoever_starts_cuda(driver: Any, host: Host) -> None:
    script = "import ctypes; ctypes.CDLL('libcuda.so.1').cuInit(0)"
    environment = driver.environment(host(cuinit="crash"))
    done = subprocess.run([sys.executable, "-c", script], check=False, env=environment)
    assert done.returncode == -signal.SIGSEGV
    assert driver.run_smi(host(cuinit="crash"))[0] == 0


def test_a_stub_refuses_every_call(driver: Any, host: Host) -> None:
    assert driver.ask_cuda(host(), driver.stubs) == {"version": 0, "code": STUB_LIBRARY, "name": None, "count": -1}


@pytest.mark.parametrize(
    ("version", "code"),
    [
        pytest.param("580.159.04", SUCCESS, id="the-driver-s"),
        pytest.param("580.95.05", DRIVER_MISMATCH, id="older"),
        pytest.param("595.71.05", DRIVER_MISMATCH, id="newer"),
    ],
)
def test_another_libcuda_has_its_version_from_its_name(driver: Any, host: Host, version: str, code: int) -> None:
    assert driver.ask_cuda(host(), driver.build_other(version))["code"] == code


@pytest.mark.parametrize(
    ("preload", "by_path", "code"),
    # As measured: torch loads libcuda by its name and gets the one that was mapped first, whatever was loaded after it.
    [
        pytest.param(("old",), None, DRIVER_MISMATCH, id="wrong-one-preloaded"),
        pytest.param(("old",), "own", DRIVER_MISMATCH, id="and-the-right-one-loaded-afterwards"),
        pytest.param(("own", "old"), None, SUCCESS, id="the-right-one-preloaded-before-it"),
        pytest.param((), "own", SUCCESS, id="the-right-one-loaded-before-the-path-is-searched"),
    ],
)
def test_which_of_two_libraries_answers(
    driver: Any, host: Host, preload: tuple[str, ...], by_path: str | None, code: int
) -> None:
    old, own = driver.build_other("580.95.05"), driver.build_other("580.159.04")
    files = {"old": str(old / "libcuda.so.1"), "own": str(own / "libcuda.so.1")}
    first = f"ctypes.CDLL({files[by_path]!r}, ctypes.RTLD_GLOBAL)" if by_path else ""
    script = f"import ctypes, json\n{first}\nprint(json.dumps(ctypes.CDLL('libcuda.so.1').cuInit(0)))"
    found = driver.ask(script, host(), old, LD_PRELOAD=":".join(files[name] for name in preload))
    assert found == code


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
        ("0 ", SUCCESS, 1),
        ("0x0", SUCCESS, 1),
        ("0,1", SUCCESS, 1),
        ("0,7", SUCCESS, 1),
        ("GPU-00000000-0000-0000-0000-000000000000", SUCCESS, 1),
        ("", NO_DEVICE, -1),
        (" ", NO_DEVICE, -1),
        ("1", NO_DEVICE, -1),
        ("1,0", NO_DEVICE, -1),
        ("-1", NO_DEVICE, -1),
        ("x", NO_DEVICE, -1),
        ("NoDevFiles", NO_DEVICE, -1),
        ("GPU-ffffffff", NO_DEVICE, -1),
        ("MIG-1", NO_DEVICE, -1),
        ("0,0", INVALID_DEVICE, -1),
    ],
)
def test_visible_devices(driver: Any, host: Host, visible: str, code: int, count: int) -> None:
    answer = driver.ask_cuda(host(), CUDA_VISIBLE_DEVICES=visible)
    assert (answer["code"], answer["count"]) == (code, count)


@pytest.mark.parametrize(
    ("visible", "code", "count"),
    [
        ("1,0", SUCCESS, 2),
        ("1,GPU-00000000-0000-0000-0000-000000000000", SUCCESS, 2),
        ("GPU-00000000", NO_DEVICE, -1),  # the begin of both
        ("1,GPU-00000000-0000-0000-0000-000000000001", INVALID_DEVICE, -1),
    ],
)
def test_visible_devices_of_two(driver: Any, host: Host, visible: str, code: int, count: int) -> None:
    answer = driver.ask_cuda(host(gpu=f"{H100}\n{H100}"), CUDA_VISIBLE_DEVICES=visible)
    assert (answer["code"], answer["count"]) == (code, count)


@pytest.mark.parametrize(
    ("changes", "code", "count"),
    [
        pytest.param({"gpu": f"{H100}\n{H100}", "shown": "1"}, SUCCESS, 1, id="fewer-than-nvml"),
        pytest.param({"shown": "0"}, NO_DEVICE, -1, id="none"),
        pytest.param({"gpu": MIG}, SUCCESS, 1, id="mig"),
        pytest.param({"gpu": MIG, "slices": "0"}, NO_DEVICE, -1, id="mig-without-a-slice"),
        pytest.param({"gpu": f"{MIG}\n{H100}", "slices": "0"}, SUCCESS, 1, id="mig-without-a-slice-beside-another"),
        pytest.param({"slices": "0"}, SUCCESS, 1, id="no-mig"),
    ],
)
def test_what_cuda_shows_of_the_gpus(driver: Any, host: Host, changes: dict[str, str], code: int, count: int) -> None:
    answer = driver.ask_cuda(host(**changes))
    assert (answer["code"], answer["count"]) == (code, count)
    listed = driver.run_smi(host(**changes), "-L")[1].splitlines()
    assert len(listed) == changes.get("gpu", H100).count("\n") + 1


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


@pytest.mark.parametrize("changes", [{"fault": "hang"}, {"cuinit": "hang"}])
def test_a_hung_driver_never_answers(driver: Any, host: Host, changes: dict[str, str]) -> None:
    script = "import ctypes; cuda = ctypes.CDLL('libcuda.so.1'); print('asks', flush=True); cuda.cuInit(0)"
    environment = driver.environment(host(**changes))
    with subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE) as asking:
        assert asking.stdout
        assert asking.stdout.readline() == b"asks\n"
        with pytest.raises(subprocess.TimeoutExpired):
            asking.wait(timeout=0.5)
        asking.kill()


@pytest.mark.parametrize(
    "line",
    [
        *(
            "drivers 580.95.05",
            "cuda new",
            "fault broken",
            "flavor free",
            "wsl2 perhaps",
            "gpu H100",
            "gpu 9.0 14 1 2 H100",
        ),
        *("cuinit never", "cuinit -5", "shown all", "slices", "xid", "folder", "virtual maybe", "compute_mode 2"),
    ],
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
