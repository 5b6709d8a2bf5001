# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.podsmith.gpu.plugins.filter.forbidden_packages import FilterModule

forbidden_packages = FilterModule().filters()["forbidden_packages"]


@pytest.mark.parametrize(
    ("names", "forbidden"),
    [
        ([], []),
        (["cuda-nvcc-13-0", "cuda-cudart-dev-13-0", "cuda-driver-dev-13-0", "nvidia-cuda-nvcc==13.0.88"], []),
        (["cuda", "g++", "cuda-13-0"], ["cuda", "cuda-13-0"]),
        (["cuda-drivers-580", "nvidia-open-580", "nvidia-driver-580-server"], None),
        (["cuda-runtime-13-0", "cuda-demo-suite-12-6", "libcuda1", "libnvidia-compute-580"], None),
        (["cuda-compat-13-0", "nvidia-container-toolkit", "libnvidia-ml-dev", "libnvidia-container1"], []),
    ],
)
def test_forbidden(names: list[str], forbidden: list[str] | None) -> None:
    assert forbidden_packages(names) == (names if forbidden is None else forbidden)
