# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host.pip import (
    mixed_majors,
    mixed_parts,
    other_major,
)

CUDA_132 = {
    "nvidia-cuda-runtime": "13.2.86",
    "nvidia-cuda-nvrtc": "13.2.86",
    "nvidia-cuda-cupti": "13.2.86",
    "nvidia-nvjitlink": "13.2.86",
    "nvidia-cublas": "13.4.1.3",
    "nvidia-nccl-cu13": "2.30.7",
}
CUDA_128 = {
    "nvidia-cuda-runtime-cu12": "12.8.90",
    "nvidia-cuda-nvrtc-cu12": "12.8.93",
    "nvidia-nvjitlink-cu12": "12.8.93",
    "nvidia-nccl-cu12": "2.27.5",
}


@pytest.mark.parametrize(
    ("packages", "told"),
    [
        pytest.param(CUDA_132, [], id="13.2"),
        pytest.param(CUDA_128, [], id="12.8"),
        pytest.param({}, [], id="none"),
        pytest.param(
            {**CUDA_132, "nvidia-cuda-nvrtc": "13.5.37"},
            ["nvidia-cuda-nvrtc 13.5.37 beside nvidia-cuda-runtime 13.2.86"],
            id="a-newer-nvrtc",
        ),
        pytest.param({**CUDA_132, "nvidia-nvjitlink": "13.5.37"}, [], id="a-newer-nvjitlink"),
        pytest.param(
            {**CUDA_132, "nvidia-nvjitlink": "13.0.88"},
            ["nvidia-nvjitlink 13.0.88 beside nvidia-cuda-runtime 13.2.86"],
            id="an-older-nvjitlink",
        ),
        pytest.param(
            {**CUDA_128, "nvidia-nvjitlink-cu12": "12.6.85"},
            ["nvidia-nvjitlink-cu12 12.6.85 beside nvidia-cuda-runtime-cu12 12.8.90"],
            id="by-suffix",
        ),
        pytest.param({"nvidia-cuda-nvrtc": "13.5.37"}, [], id="no-runtime"),
        pytest.param({**CUDA_132, "nvidia-cuda-cupti": "unknown"}, [], id="no-version"),
    ],
)
def test_parts_of_another_release(packages: dict[str, str], told: list[str]) -> None:
    assert mixed_parts(packages) == told


def test_left_overs_of_another_major() -> None:
    assert mixed_majors(CUDA_132) == mixed_majors(CUDA_128) == mixed_majors({}) == []
    (told,) = mixed_majors({**CUDA_132, "nvidia-cuda-runtime-cu12": "12.8.90"})
    assert told.startswith("CUDA 12 libraries (nvidia-cuda-runtime-cu12 12.8.90) beside CUDA 13 libraries (nvidia-")
    assert mixed_majors({"cupy-cuda12x": "14.2.0", **CUDA_132}) == []  # not of NVIDIA's


@pytest.mark.parametrize(
    ("requirements", "packages", "majors"),
    [
        (["torch==2.15.0+cu132", "numpy"], CUDA_128, (12, 13)),
        (["torch==2.14.1+cu126"], CUDA_132, (13, 12)),
        (["torch==2.14.1+cu130"], CUDA_132, None),
        (["torch==2.14.1+cpu"], CUDA_132, None),
        (["torch==2.14.1"], CUDA_132, None),
        (["torch==2.14.1+cu130"], {}, None),
    ],
)
def test_another_major_is_asked_for(
    requirements: list[str], packages: dict[str, str], majors: tuple[int, int] | None
) -> None:
    assert other_major(requirements, packages) == majors
