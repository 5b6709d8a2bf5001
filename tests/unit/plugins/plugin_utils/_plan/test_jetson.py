# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a host is a Jetson, and which: every sign alone, several that agree, and several that do not."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import load_catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.jetson import Jetson, read_signs
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.jetson import find_jetson as find

KNOWN = load_catalogue()


def find_jetson(
    platform: dict[str, Any], driver: str | None = None, gpus: tuple[tuple[str, str | None], ...] = ()
) -> Jetson | None:
    return find(read_signs({"arch": "aarch64", **platform}, driver, gpus), KNOWN)


ORIN, THOR, XAVIER = ("Orin (nvgpu)", "8.7"), ("NVIDIA Thor", "11.0"), ("Xavier", "7.2")
UBUNTU_22, UBUNTU_24 = {"os": {"id": "ubuntu", "version": "22.04"}}, {"os": {"id": "ubuntu", "version": "24.04"}}


@pytest.mark.parametrize(
    ("platform", "driver", "gpus", "name", "sbsa"),
    [
        # one sign
        pytest.param({"l4t": "36.4.0"}, None, (), "Jetson Linux 36.4.0, JetPack 6", False, id="release"),
        pytest.param({"l4t": "r36.4.3"}, None, (), "Jetson Linux 36.4.3, JetPack 6", False, id="release-with-r"),
        pytest.param({"l4t": "38.2.1"}, None, (), "Jetson Linux 38.2.1, JetPack 7", True, id="release-of-thor"),
        pytest.param({"l4t": "39.2.0"}, None, (), "Jetson Linux 39.2.0, JetPack 7", True, id="release-of-orin-on-7"),
        pytest.param({"kernel": "5.15.148-tegra"}, None, (), "Jetson Linux 36, JetPack 6", False, id="kernel"),
        pytest.param({"kernel": "5.10.120-tegra"}, None, (), "JetPack 5", False, id="kernel-of-jetpack-5"),
        pytest.param({"kernel": "4.9.337-tegra"}, None, (), "Jetson Linux 32, JetPack 4", False, id="kernel-of-4"),
        pytest.param({"kernel": "6.8.12-tegra"}, None, (), "JetPack 7", True, id="kernel-of-jetpack-7"),
        pytest.param({"kernel": "6.8.12-1021-tegra"}, None, (), "JetPack 7", True, id="kernel-of-ubuntu"),
        pytest.param({"kernel": "5.15.148-rt-tegra"}, None, (), "Jetson Linux 36, JetPack 6", False, id="real-time"),
        pytest.param(
            {"kernel": "5.10.192-l4t-r35.5.0+g1234567"}, None, (), "Jetson Linux 35.5.0, JetPack 5", False, id="yocto"
        ),
        pytest.param({}, "540.4.0", (), "Jetson Linux 36, JetPack 6", False, id="a-branch-that-only-jetsons-have"),
        pytest.param({}, None, (THOR,), "JetPack 7", True, id="thor-has-had-no-other"),
        pytest.param({}, None, (XAVIER,), "JetPack 4 or 5", False, id="xavier-never-gets-7"),
        pytest.param({}, None, (ORIN,), "JetPack 5 or 6 or 7", None, id="orin-alone-may-be-any"),
        pytest.param(UBUNTU_22, None, (ORIN,), "Jetson Linux 36, JetPack 6", False, id="orin-on-jammy"),
        pytest.param(UBUNTU_24, None, (ORIN,), "Jetson Linux 39, JetPack 7", True, id="orin-on-noble"),
        pytest.param({}, "595.78", (ORIN,), "Jetson Linux 39, JetPack 7", True, id="orin-by-its-driver"),
        pytest.param({}, None, (("Orin (nvgpu)", None),), "JetPack 4 or 5 or 6 or 7", None, id="the-name-alone"),
        pytest.param({"board": "NVIDIA Jetson AGX Orin Developer Kit", "kernel": "6.1.0-custom"}, None, (),
                     "JetPack 4 or 5 or 6 or 7", None, id="the-board-alone"),
        # several
        pytest.param(
            {"kernel": "5.15.148-tegra", **UBUNTU_22}, "540.4.0", (ORIN,), "Jetson Linux 36, JetPack 6", False,
            id="all-agree",
        ),
        pytest.param(
            {"kernel": "6.8.12-tegra"}, "580.00", (THOR,), "Jetson Linux 38, JetPack 7", True, id="thor-on-jetpack-7"
        ),
        pytest.param(
            {"kind": "container", "l4t": "38.2.0", "kernel": "5.15.148-tegra"}, None, (ORIN,),
            "Jetson Linux 36, JetPack 6", False, id="a-newer-image-on-an-older-board",
        ),
        pytest.param(
            {"kind": "bare_metal", "l4t": "36.4.0", "kernel": "6.8.12-tegra"}, None, (ORIN,),
            "Jetson Linux 36.4.0, JetPack 6", False, id="a-kernel-of-ones-own",
        ),
        pytest.param(
            {"kind": "container", "kernel": "5.15.148-tegra", **UBUNTU_24}, None, (ORIN,),
            "Jetson Linux 36, JetPack 6", False, id="the-images-ubuntu-says-nothing",
        ),
        pytest.param(
            {"kind": "container", **UBUNTU_24}, None, (ORIN,), "JetPack 5 or 6 or 7", None, id="an-image-alone"
        ),
        pytest.param({"l4t": "36.9.1"}, None, (), "Jetson Linux 36.9.1, JetPack 6", False, id="newer-than-the-rows"),
    ],
)  # fmt: skip
def test_a_jetson(
    platform: dict[str, Any],
    driver: str | None,
    gpus: tuple[tuple[str, str | None], ...],
    name: str,
    sbsa: bool | None,
) -> None:
    jetson = find_jetson(platform, driver, gpus)
    assert jetson is not None
    assert (jetson.name, jetson.sbsa) == (name, sbsa)


@pytest.mark.parametrize(
    ("platform", "driver", "gpus"),
    [
        pytest.param({"kernel": "6.11.0-1016-nvidia"}, "580.95.05", (("NVIDIA GB10", "12.1"),), id="dgx-spark"),
        pytest.param({"kernel": "6.8.0-1021-nvidia-64k"}, "570.133.20", (("NVIDIA GH200 480GB", "9.0"),), id="gh200"),
        pytest.param({"kernel": "6.8.0-51-generic"}, "580.95.05", (("NVIDIA GB200", "10.0"),), id="gb200"),
        pytest.param({"kernel": "6.8.0-1029-aws"}, "535.183.01", (("NVIDIA T4G", "7.5"),), id="graviton-with-t4g"),
        pytest.param(
            {"kernel": "5.15.0-1012-nvidia-tegra-igx"}, "570.133.20", (("NVIDIA RTX 6000 Ada Generation", "8.9"),),
            id="igx-with-a-card",
        ),
        pytest.param({"arch": "x86_64", "l4t": "36.4.0"}, "580.95.05", (("NVIDIA H100", "9.0"),), id="an-x86-host"),
        pytest.param({}, None, (), id="nothing-known"),
        pytest.param({"kernel": "6.8.0-51-generic"}, None, (), id="an-arm-server-without-a-gpu"),
    ],
)  # fmt: skip
def test_no_jetson(platform: dict[str, Any], driver: str | None, gpus: tuple[tuple[str, str | None], ...]) -> None:
    assert find_jetson(platform, driver, gpus) is None


@pytest.mark.parametrize(
    ("platform", "driver", "cuda", "suite", "wheels"),
    [
        ({"l4t": "36.4.3"}, None, "12.6", "r36.4", "https://pypi.jetson-ai-lab.io/jp6/cu126"),
        ({"l4t": "36.3.0"}, None, "12.2", "r36.3", "https://pypi.jetson-ai-lab.io/jp6/cu122"),
        ({"kernel": "5.15.148-tegra"}, "540.4.0", "12.6", "r36.4", "https://pypi.jetson-ai-lab.io/jp6/cu126"),
        ({"kernel": "5.15.148-tegra"}, None, None, "r36.x", "https://pypi.jetson-ai-lab.io/jp6"),
        ({"l4t": "35.4.1"}, None, "11.4", "r35.4", "https://pypi.jetson-ai-lab.io/jp5/cu114"),
        ({"l4t": "32.7.1"}, None, "10.2", "r32.7", None),
    ],
)
def test_what_a_release_has(
    platform: dict[str, Any], driver: str | None, cuda: str | None, suite: str, wheels: str | None
) -> None:
    jetson = find_jetson(platform, driver)
    assert jetson is not None
    assert (jetson.cuda, jetson.suite, jetson.wheels) == (cuda, suite, wheels)


@pytest.mark.parametrize("value", [None, "", 36, "L4T", "36.4.0 (release)", ["36"]])
def test_what_is_no_release_is_unknown(value: object) -> None:
    assert read_signs({"l4t": value}, None, ()).l4t == (None if value != 36 else "36")
