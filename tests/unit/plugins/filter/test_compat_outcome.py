# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.filter.compat_outcome import FilterModule

compat_outcome = FilterModule().filters()["compat_outcome"]

PACKAGE = "cuda-compat-13-0"
WANTED = {"package": PACKAGE, "version": "580.65.06", "state": "present", "tried": True, "remove": []}
WORKED = {"code": 0, "name": "CUDA_SUCCESS", "libcuda": "/usr/local/cuda-13.0/compat/libcuda.so.580.95.05"}
REFUSED = {"code": 804, "name": "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE", "libcuda": None}
NOT_TRIED = {"code": None, "name": None, "libcuda": None}


@pytest.mark.parametrize(
    ("changes", "probe", "version", "refused", "unwanted"),
    [
        pytest.param({}, WORKED, "580.95.05", False, [], id="works"),
        pytest.param({}, REFUSED, "580.65.06", True, [PACKAGE], id="refused"),
        pytest.param({"tried": False}, NOT_TRIED, "580.65.06", False, [], id="standby-or-check-mode"),
        pytest.param({"remove": ["b", "a"]}, WORKED, "580.95.05", False, ["b", "a"], id="others-go"),
        pytest.param({"remove": [PACKAGE]}, REFUSED, "580.65.06", True, [PACKAGE], id="named-twice"),
        pytest.param({"state": "absent", "tried": False}, NOT_TRIED, "580.65.06", False, [PACKAGE], id="absent"),
        pytest.param(
            {"state": "absent", "tried": False, "package": None, "version": None, "remove": ["a"]},
            NOT_TRIED,
            None,
            False,
            ["a"],
            id="absent-of-what-the-plan-names",
        ),
        pytest.param({}, {"code": 0, "libcuda": "libcuda.so.1"}, "580.65.06", False, [], id="a-link-names-no-version"),
    ],
)
def test_outcome(
    changes: dict[str, Any], probe: dict[str, Any], version: str | None, *, refused: bool, unwanted: list[str]
) -> None:
    assert compat_outcome({**WANTED, **changes}, probe) == {
        "version": version,
        "refused": refused,
        "unwanted": unwanted,
    }
