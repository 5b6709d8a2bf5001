# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.filter.extension_requirements import FilterModule

extension_requirements = FilterModule().filters()["extension_requirements"]

XFORMERS = {"requirement": "xformers==0.0.33", "index": "cu130"}
KERNELS = {"requirement": "kernels==1.0", "index": "source"}
WHEEL = "kernels @ file:///wheels/kernels.whl"


@pytest.mark.parametrize(
    ("packages", "wheels", "check_mode", "requirements"),
    [
        pytest.param({}, {}, False, [], id="none"),
        pytest.param({"xformers": XFORMERS}, {}, False, ["xformers==0.0.33"], id="from-an-index"),
        pytest.param({"triton": {"requirement": None, "index": "cu130"}}, {}, False, [], id="comes-with-torch"),
        pytest.param({"vllm": {"skipped": "requires torch 2.8.0"}}, {}, False, [], id="skipped"),
        pytest.param({"kernels": KERNELS}, {"kernels": WHEEL}, False, ["kernels==1.0", WHEEL], id="built"),
        pytest.param({"kernels": KERNELS}, {"kernels": WHEEL}, True, [WHEEL], id="check-mode-with-its-wheel"),
        pytest.param({"kernels": KERNELS, "xformers": XFORMERS}, {}, True, ["xformers==0.0.33"], id="check-mode"),
        pytest.param({"xformers": XFORMERS}, {"torch": "torch @ file:///t"}, False, ["xformers==0.0.33"], id="torch"),
    ],
)
def test_requirements(
    packages: dict[str, Any], wheels: dict[str, str], *, check_mode: bool, requirements: list[str]
) -> None:
    assert extension_requirements(packages, wheels, check_mode=check_mode) == requirements


def test_what_is_removed_needs_no_wheels() -> None:
    assert extension_requirements({"kernels": KERNELS}) == ["kernels==1.0"]
