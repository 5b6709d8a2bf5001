# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host import child

LIMIT = 120  # seconds: only a hang takes as long
LIBCUDA = """
#include <fcntl.h>
#include <unistd.h>
int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
int cuInit(unsigned flags) { if (CODE < 0) { creat(BEGUN, 0600); sleep(600); } return CODE; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
"""


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        pytest.param(0, (0, "CUDA_SUCCESS", 1), id="ok"),
        pytest.param(804, (804, "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE", 0), id="refused"),
        pytest.param(-1, (None, "TIMEOUT", 0), id="hang"),
    ],
)
def test_the_given_library_is_tried(
    tmp_path: Path,
    run_module: Callable[..., Any],
    stop_clock_until: Callable[..., None],
    code: int,
    expected: tuple[int | None, str, int],
) -> None:
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler")
    folder = tmp_path / "compat"
    folder.mkdir()
    argv = [compiler, "-w", "-shared", "-fPIC", f"-DCODE={code}", f'-DBEGUN="{folder}/begun"', "-x", "c", "-"]
    subprocess.run([*argv, "-o", str(folder / "libcuda.so.1")], input=LIBCUDA.encode(), check=True)
    stop_clock_until(child, folder / "begun")
    ran = run_module("gpu_probe", {"library_path": [str(folder)], "timeout": LIMIT})
    assert ran.data == {
        "changed": False,
        "code": expected[0],
        "name": expected[1],
        "devices": expected[2],
        "libcuda": str(folder / "libcuda.so.1"),
        "driver_api": "13.0",
        "compat_active": True,
        "stub": False,
        "version": None,
    }


def test_a_missing_interpreter_is_said(run_module: Callable[..., Any]) -> None:
    ran = run_module("gpu_probe", {"python": "/nowhere/python3"})
    assert (ran.data["code"], ran.data["name"]) == (None, "NOT_STARTED")
