# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host.apt import (
    Install,
    find_chain,
    list_from_nvidia,
    parse_needs,
    parse_simulation,
)

SIMULATED = """\
NOTE: This is only a simulation!
      apt-get needs root privileges for real execution.
Reading package lists...
The following NEW packages will be installed:
  cuda-nvcc-13-0 libnvidia-compute-580
Inst libc6 [2.36-9] (2.36-9+deb12u10 Debian:12.10/stable [amd64])
Inst libnvidia-compute-580:i386 (580.95.05-0ubuntu1 NVIDIA [i386])
Inst cuda-nvcc-13-0 (13.0.88-1 mirror [amd64]) []
Conf cuda-nvcc-13-0 (13.0.88-1 mirror [amd64])
"""
SHOWN = """\
Package: cuda-13-0
Version: 13.0.2-1
Depends: cuda-toolkit-13-0 (>= 13.0.2), cuda-runtime-13-0

Package: cuda-runtime-13-0
Depends: cuda-drivers (>= 580) | cuda-drivers-580, cuda-libraries-13-0
Pre-Depends: dpkg (>= 1.15)

Package: cuda-drivers
Recommends: nvidia-open
"""


def test_a_simulation() -> None:
    assert parse_simulation(SIMULATED) == [
        Install("libc6", "2.36-9+deb12u10", "2.36-9"),
        Install("libnvidia-compute-580", "580.95.05-0ubuntu1"),
        Install("cuda-nvcc-13-0", "13.0.88-1"),
    ]


@pytest.mark.parametrize("text", ["", "Reading package lists...\n0 upgraded, 0 newly installed.\n"])
def test_a_simulation_of_nothing(text: str) -> None:
    assert parse_simulation(text) == []


def test_needs_have_all_alternatives() -> None:
    assert parse_needs(SHOWN) == {
        "cuda-13-0": ["cuda-toolkit-13-0", "cuda-runtime-13-0"],
        "cuda-runtime-13-0": ["cuda-drivers", "cuda-drivers-580", "cuda-libraries-13-0", "dpkg"],
        "cuda-drivers": ["nvidia-open"],
    }


@pytest.mark.parametrize(
    ("asked", "wanted", "chain"),
    [
        pytest.param(
            ["cuda-13-0"], "nvidia-open", ["cuda-13-0", "cuda-runtime-13-0", "cuda-drivers", "nvidia-open"], id="long"
        ),
        pytest.param(["g++", "cuda-drivers=580.1"], "nvidia-open", ["cuda-drivers", "nvidia-open"], id="with-version"),
        pytest.param(["cuda-drivers"], "cuda-drivers", ["cuda-drivers"], id="asked-for"),
        pytest.param(["g++"], "nvidia-open", ["nvidia-open"], id="unknown"),
    ],
)
def test_the_way_by_which_a_package_comes(asked: list[str], wanted: str, chain: list[str]) -> None:
    assert find_chain(asked, wanted, parse_needs(SHOWN)) == chain


def test_needs_that_go_in_a_circle_end() -> None:
    assert find_chain(["a"], "c", {"a": ["b"], "b": ["a"]}) == ["c"]


def stanza(name: str, maintainer: str, status: str = "install ok installed") -> str:
    return f"Package: {name}\nStatus: {status}\nPriority: optional\nMaintainer: {maintainer}\nVersion: 1\n"


NVIDIA, DEBIAN = "cudatools <cudatools@nvidia.com>", "Debian NVIDIA Maintainers <pkg@lists.debian.org>"


@pytest.mark.parametrize(
    ("status", "found"),
    [
        pytest.param("", [], id="nothing"),
        pytest.param(stanza("libcudnn9-cuda-13", NVIDIA), ["libcudnn9-cuda-13"], id="by-maintainer"),
        pytest.param(stanza("cuda-nvcc-13-0", "somebody"), ["cuda-nvcc-13-0"], id="by-a-name-of-a-release"),
        pytest.param(stanza("cuda-compat-12-8", "somebody"), ["cuda-compat-12-8"], id="compat-library"),
        pytest.param(stanza("nvidia-open-580", "somebody"), ["nvidia-open-580"], id="driver"),
        pytest.param(stanza("nvidia-driver", DEBIAN), [], id="the-distribution's-driver"),
        pytest.param(stanza("nvidia-cuda-toolkit", DEBIAN), [], id="the-distribution's-toolkit"),
        pytest.param(stanza("cuda-keyring", NVIDIA), [], id="the-keyring-has-a-source-of-its-own"),
        pytest.param(
            stanza("cuda-nvcc-13-0", NVIDIA, "deinstall ok config-files"), [], id="only-its-settings-are-left"
        ),
        pytest.param(f"{stanza('g++', DEBIAN)}\n{stanza('b', NVIDIA)}\n{stanza('a', NVIDIA)}", ["a", "b"], id="sorted"),
    ],
)
def test_what_came_from_nvidias_repository(status: str, found: list[str]) -> None:
    assert list_from_nvidia(status) == found
