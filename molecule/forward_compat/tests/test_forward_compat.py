# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role brings the package, proves it on the GPU, and leaves the system's own libcuda where it was."""

from __future__ import annotations

import json
from typing import Any

LEVEL = """
from ctypes import CDLL, byref, c_int
cuda, level = CDLL("libcuda.so.1"), c_int()
print(cuda.cuInit(0), cuda.cuDriverGetVersion(byref(level)), level.value)
"""
COMPAT = "/usr/local/cuda-13.0/compat"


def test_cuda_starts_at_the_package_s_level(host: Any) -> None:
    assert host.run(f"LD_LIBRARY_PATH={COMPAT} python3 -c %s", LEVEL).stdout == "0 0 13000\n"


def test_without_it_the_driver_s_own_level_stands(host: Any) -> None:
    assert host.run("python3 -c %s", LEVEL).stdout == "0 0 12080\n"
    assert COMPAT not in host.run("cat /etc/ld.so.conf /etc/ld.so.conf.d/*").stdout


def test_the_package_is_the_system_s(host: Any) -> None:
    assert host.package("cuda-compat-13-0").version.startswith("580.")


def test_the_role_knows_what_it_installed(host: Any) -> None:
    record = json.loads(host.file("/opt/podsmith/state/compat.json").content_string)
    assert record == {"installed": ["cuda-compat-13-0"], "refused": {}}
