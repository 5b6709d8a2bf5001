# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.podsmith.gpu.plugins.filter.apt_leftovers import FilterModule

apt_leftovers = FilterModule().filters()["apt_leftovers"]

SAID = """\
NOTE: This is only a simulation!
Reading package lists...
The following packages will be REMOVED:
  cuda-crt-13-0 libold1
Remv cuda-crt-13-0 [13.0.88-1]
Remv libcublas-13-0:amd64 [13.0.0.19-1]
Remv cuda-crt-13-01 [1-1]
Remv cuda-crt-12-8 [12.8.93-1]
Remv cuda-toolkit-13-0-config-common [13.0.96-1]
Remv cuda-toolkit-13-config-common [13.2.51-1]
Remv cuda-toolkit-config-common [13.2.51-1]
Remv nsight-compute-2025.3.1 [2025.3.1.4-1]
Remv libold1 [1.0-1]
"""


@pytest.mark.parametrize(
    ("said", "release", "names"),
    [
        pytest.param("", "13.0", [], id="nothing"),
        pytest.param(
            SAID,
            "13.0",
            [
                "cuda-crt-13-0",
                "libcublas-13-0",
                "cuda-toolkit-13-0-config-common",
                "cuda-toolkit-13-config-common",
                "cuda-toolkit-config-common",
                "nsight-compute-2025.3.1",
            ],
            id="of-the-release-and-what-all-share",
        ),
        pytest.param("Remv cuda-crt-12-8 [1]\nRemv gcc [1]\n", "12.8", ["cuda-crt-12-8"], id="nothing-else"),
        pytest.param("Remv cuda-crt-12-8 [1]\n", "13.0", [], id="another-release"),
        pytest.param("Purg cuda-crt-12-8 [1]\n", "12.8", ["cuda-crt-12-8"], id="purged"),
    ],
)
def test_leftovers(said: str, release: str, names: list[str]) -> None:
    assert apt_leftovers(said, release) == names
