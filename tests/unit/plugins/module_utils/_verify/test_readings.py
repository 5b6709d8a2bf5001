# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The readings, from a libnvidia-ml compiled for the test."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host.child import start_call
from ansible_collections.podsmith.gpu.plugins.module_utils._verify import readings as _verify_readings
from ansible_collections.podsmith.gpu.plugins.module_utils._verify.readings import (
    combine_samples,
    count_bits,
    parse_load,
    read_health,
)

LIMIT = 120.0  # seconds: only a hang takes as long

# Two GPUs: the first answers, the second (LOST) has fallen off the bus. Without FULL only what an old driver has. With
# each sample the file LOOKS, where the environment names one, grows by a byte.
SOURCE = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
typedef unsigned u; typedef unsigned long long ull; typedef void *D;
int nvmlInit_v2(void) { return INIT; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(u *count) { *count = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(u index, D *device) { *device = (D)8; return index == 1 ? 15 : 0; }
int nvmlDeviceGetIndex(D device, u *index) { *index = 0; return 0; }
int nvmlDeviceGetName(D device, char *text, u size) { strcpy(text, "NVIDIA H100 80GB HBM3"); return 0; }
int nvmlDeviceGetPciInfo_v3(D device, char *info) { strcpy(info + 36, "00000000:3B:00.0"); return 0; }
int nvmlDeviceGetClockInfo(D device, int type, u *mhz) { *mhz = type == 1 ? 1200 : 2619; return 0; }
int nvmlDeviceGetMaxClockInfo(D device, int type, u *mhz) { *mhz = type == 1 ? 1980 : 2619; return 0; }
int nvmlDeviceGetPowerUsage(D device, u *milliwatts)
{ FILE *f = getenv("LOOKS") ? fopen(getenv("LOOKS"), "a") : 0; if (f) { fputc('x', f); fclose(f); }
  *milliwatts = 690123; return 0; }
int nvmlDeviceGetTemperature(D device, int sensor, u *degrees) { *degrees = 61; return 0; }
int nvmlDeviceGetPersistenceMode(D device, int *mode) { return 4; }
int nvmlDeviceGetCurrentClocksThrottleReasons(D device, ull *reasons) { *reasons = 4; return 0; }
int nvmlDeviceGetNvLinkState(D device, u link, int *active) { *active = link != 1; return link > 2 ? 2 : 0; }
int nvmlDeviceGetNvLinkErrorCounter(D d, u link, int counter, ull *n) { *n = 10 * link + counter; return 0; }
#ifdef FULL
int nvmlDeviceGetEccMode(D device, int *current, int *pending) { *current = 1; *pending = 0; return 0; }
int nvmlDeviceGetTotalEccErrors(D d, int kind, int since, ull *count) { *count = 10 * kind + since; return 0; }
int nvmlDeviceGetRemappedRows(D d, u *corrected, u *uncorrected, u *pending, u *failure)
{ *corrected = 1; *uncorrected = 2; *pending = 1; *failure = 0; return 0; }
int nvmlDeviceGetRetiredPages(D d, int cause, u *count, ull *list) { *count = 3 + cause; return cause ? 7 : 0; }
int nvmlDeviceGetSramEccErrorStatus(D d, char *status)
{ if (*(u *)status != 0x1000068) return 25; *(u *)(status + 96) = 1; return 0; }
int nvmlDeviceGetMarginTemperature(D d, int *margin)
{ if (margin[0] != 0x1000008) return 25; margin[1] = -3; return 0; }
int nvmlDeviceGetFieldValues(D d, int count, char *field)
{ if (*(u *)field != 230 || count != 1) return 2; *(int *)(field + 28) = 0; *(ull *)(field + 32) = 1; return 0; }
int nvmlDeviceGetGpuFabricInfoV(D d, char *info)
{ if (*(u *)info != 0x2000024) return 25; *(u *)(info + 20) = 0; info[28] = 3; *(u *)(info + 32) = 0x10; return 0; }
int nvmlDeviceGetUtilizationRates(D d, u *rates) { rates[0] = 97; rates[1] = 40; return 0; }
int nvmlEventSetCreate(D *set) { *set = (D)16; return 0; }
int nvmlEventSetFree(D set) { return 0; }
int nvmlDeviceRegisterEvents(D d, ull types, D set) { return types == 8 ? 0 : 2; }
int nvmlEventSetWait_v2(D set, ull *event, u timeout)
{ static int left = 2; if (!left--) return 10; event[0] = 8; event[1] = 8; event[2] = 31; return 0; }
#endif
"""
# It is looked at three times before, while and after it works; ``least`` to ``most`` samples are of its work.
LOAD = """
import json, os, time
def looks():
    return os.stat(os.environ["LOOKS"]).st_size
def await_looks():
    wanted = looks() + 3
    while looks() < wanted:
        time.sleep(0.01)
await_looks()
before, begun, after = looks(), time.monotonic(), looks()
await_looks()
least, ended, most = looks() - after - 1, time.monotonic(), looks() - before + 1
await_looks()
print(json.dumps({"begun": begun, "ended": ended, "least": least, "most": most, "tflops_per_device": 1}))
"""


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        pytest.skip("no C compiler")
    folder, built = tmp_path_factory.mktemp("nvml"), {}
    for name, defines in {"full": ["-DINIT=0", "-DFULL"], "old": ["-DINIT=0"], "unloaded": ["-DINIT=9"]}.items():
        built[name] = str(folder / f"{name}.so")
        argv = [compiler, "-w", "-shared", "-fPIC", *defines, "-x", "c", "-", "-o", built[name]]
        subprocess.run(argv, input=SOURCE.encode(), check=True)
    return built


def read(library: str, folder: Path, load: list[str] | None = None, seconds: float = LIMIT) -> dict[str, Any]:
    call = start_call(lambda: read_health([library], load, str(folder / "load.log"), seconds), 2 * LIMIT)
    answer: dict[str, Any] = json.loads(call.result().out)
    return answer


def test_a_full_driver_is_read_whole(libraries: dict[str, str], tmp_path: Path) -> None:
    readings = read(libraries["full"], tmp_path)
    device, lost = readings["devices"]
    assert (readings["init"], readings["load"], lost) == (0, None, {"index": 1, "code": 15})
    assert (device["name"], device["pci_id"], device["load"]) == ("NVIDIA H100 80GB HBM3", "0000:3b:00.0", None)
    found = {name: reading.get("value") for name, reading in (device["facts"] | device["rest"]).items()}
    assert found == {
        **dict.fromkeys(("power_limit_w", "power_default_w", "slowdown_c", "pcie_max_generation", "pcie_max_width")),
        **dict.fromkeys(("pcie_replays", "pcie_generation", "pcie_width", "persistence", "pages_pending")),
        "sm_max_mhz": 1980,
        "memory_max_mhz": 2619,
        "ecc": 1,
        "ecc_corrected": 0,
        "ecc_uncorrected": 10,
        "ecc_corrected_ever": 1,
        "ecc_uncorrected_ever": 11,
        "sram_exceeded": 1,
        "rows_corrected": 1,
        "rows_uncorrected": 2,
        "rows_pending": 1,
        "rows_failure": 0,
        "pages_retired": 7,
        "recovery_action": 1,
        "reasons": 4,
        "sm_mhz": 1200,
        "memory_mhz": 2619,
        "power_w": 690.1,
        "temperature_c": 61,
        "margin_c": -3,
        "busy_percent": 97,
    }
    assert [link["state"]["value"] for link in device["links"]] == [1, 0, 1]
    assert [device["links"][2][name]["value"] for name in ("replays", "recoveries", "crc")] == [20, 21, 22]
    assert device["fabric"] == {"value": {"status": 0, "state": 3, "health": 0x10}}


def test_what_an_old_driver_lacks_keeps_the_reason(libraries: dict[str, str], tmp_path: Path) -> None:
    (device, _lost) = read(libraries["old"], tmp_path)["devices"]
    assert device["facts"]["persistence"] == {"code": 4}
    assert {device["facts"][name]["code"] for name in ("ecc", "rows_failure", "pages_retired", "sram_exceeded")} == {13}
    assert device["fabric"] == {"code": 13}
    assert device["rest"]["reasons"] == {"value": 4}


@pytest.mark.parametrize(("kernel_driver", "xids"), [("/proc", {"0000:3b:00": [79]}), ("/nowhere", None)])
def test_the_kernels_log_counts_where_the_driver_is_in_the_kernel(
    libraries: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel_driver: str, xids: Any
) -> None:
    log = "6,1,2,-;NVRM: Xid (PCI:0000:3b:00): 79, pid=1, GPU has fallen off the bus."
    monkeypatch.setattr(_verify_readings, "KERNEL_DRIVER", (kernel_driver,))
    monkeypatch.setattr(_verify_readings, "read_kernel_log", lambda: log)
    assert read(libraries["old"], tmp_path)["xids"] == xids


def test_without_a_driver_only_the_code_is_told(libraries: dict[str, str], tmp_path: Path) -> None:
    assert read(libraries["unloaded"], tmp_path)["init"] == 9
    assert read("/nowhere/libnvidia-ml.so.1", tmp_path)["init"] is None


def test_a_load_is_looked_at_while_it_runs(
    libraries: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKS", str(tmp_path / "looks"))
    readings = read(libraries["full"], tmp_path, [sys.executable, "-c", LOAD])
    load = readings["devices"][0]["load"]
    assert readings["load"]["tflops_per_device"] == 1
    assert 2 <= readings["load"]["least"] <= load["samples"] <= readings["load"]["most"]
    assert (load["sm_mhz"], load["reasons"]) == ({"value": 1200}, {"value": {"4": 100}})
    assert load["pcie_width"] == {"code": 13}
    assert readings["devices"][0]["events"] == {"value": [31, 31]}


@pytest.mark.parametrize(
    ("load", "error"),
    [
        pytest.param("import time; time.sleep(600)", "it did not finish within 0.5 s", id="hang"),
        pytest.param("raise OSError('no torch')", "OSError: no torch", id="raises"),
    ],
)
def test_a_load_that_does_not_run_is_told(libraries: dict[str, str], tmp_path: Path, load: str, error: str) -> None:
    readings = read(libraries["old"], tmp_path, [sys.executable, "-c", load], LIMIT if "raise" in load else 0.5)
    assert readings["load"] == {"error": error}
    assert readings["devices"][0]["load"] is None
    assert readings["devices"][0]["events"] == {"code": 13}


def test_a_load_past_its_limit_is_killed(
    libraries: dict[str, str],
    tmp_path: Path,
    stop_clock_until: Callable[[ModuleType, Path], None],
    has_ended: Callable[[int], bool],
) -> None:
    stop_clock_until(_verify_readings, tmp_path / "begun")
    read(libraries["old"], tmp_path, ["/bin/sh", "-c", f"echo $$; : >{tmp_path}/begun; exec sleep 600"], 5.0)
    assert has_ended(int((tmp_path / "load.log").read_text()))


@pytest.mark.parametrize(
    ("code", "output", "record"),
    [
        (0, 'warning\n{"begun": 1, "ended": 2}\n', {"begun": 1, "ended": 2}),
        (0, "nothing", {"error": "it printed no result: nothing"}),
        (0, '{"error": "torch sees no GPU"}', {"error": "torch sees no GPU"}),
        (1, '{"failure": "libcuda"}', {"error": "libcuda"}),
        (None, "", {"error": "it did not finish within 9 s"}),
    ],
)
def test_parse_load(code: int | None, output: str, record: dict[str, Any]) -> None:
    assert parse_load(code, output, 9.0) == record


def test_combine_samples_takes_the_middle_and_the_worst() -> None:
    names = ("reasons", "sm_mhz", "memory_mhz", "power_w", "temperature_c", "margin_c", "pcie_generation", "pcie_width")
    names = (*names, "busy_percent")
    samples = [{name: {"value": value} for name in names} for value in (4, 12, 5)]
    samples[0]["power_w"] = {"code": 3}
    combined = combine_samples(samples)
    assert combined is not None
    assert [combined[name]["value"] for name in names[1:]] == [5, 5, 12, 12, 4, 12, 12, 5]
    assert combined["reasons"]["value"] == {"1": 33, "4": 100, "8": 33}
    assert combine_samples([]) is None


def test_count_bits_of_nothing_held_back() -> None:
    assert count_bits([0, 0]) == {}
