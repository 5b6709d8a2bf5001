# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible.module_utils import basic

from ansible_collections.podsmith.gpu.plugins.module_utils._host import child as _observe_child
from ansible_collections.podsmith.gpu.plugins.modules import gpu_probe

LIMIT = 120  # seconds: only a hang takes as long
LIBCUDA = """
#include <fcntl.h>
#include <unistd.h>
int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
int cuInit(unsigned flags) { if (CODE < 0) { creat(BEGUN, 0600); sleep(600); } return CODE; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
"""


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """Run the module as Ansible does and return what it printed."""
    monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode())
    monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
    monkeypatch.setattr(sys, "argv", ["gpu_probe"])
    with pytest.raises(SystemExit):
        gpu_probe.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return {key: value for key, value in result.items() if key != "invocation"}


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
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stop_clock_until: Callable[[ModuleType, Path], None],
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
    stop_clock_until(_observe_child, folder / "begun")
    result = run(monkeypatch, capsys, {"library_path": [str(folder)], "timeout": LIMIT})
    assert result == {
        "changed": False,
        "code": expected[0],
        "name": expected[1],
        "devices": expected[2],
        "libcuda": str(folder / "libcuda.so.1"),
        "driver_api": "13.0",
        "compat_active": True,
    }


def test_a_missing_interpreter_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(monkeypatch, capsys, {"python": "/nowhere/python3"})
    assert (result["code"], result["name"]) == (None, "NOT_STARTED")
