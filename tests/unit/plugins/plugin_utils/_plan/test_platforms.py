# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that are no ordinary server: Jetsons below and from JetPack 7 on, Arm servers, systems with musl."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import load_catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case, Layout
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.decision import to_decision
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import read_host
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.layout import find_repository
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.plan import resolve
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import parse_request

Decide = Callable[..., dict[str, Any]]
KNOWN = load_catalogue()
SBSA = "does not run what NVIDIA and PyTorch build for Arm servers (SBSA)"
INDEX = "pip install torch --index-url https://pypi.jetson-ai-lab.io/jp6/cu126"
REPOSITORY = "NVIDIA's repository for Jetson (https://repo.download.nvidia.com/jetson/common r36.4 main)"
UPGRADE = "https://developer.download.nvidia.com/compute/cuda/repos/ubuntu2204/aarch64/ (aarch64, not sbsa)"
OWN_INDEX = (
    f"Install PyTorch (Python 3.10) from Jetson's own index: {INDEX}. "
    "A run with cuda: newest and pytorch: newest then uses it as it is."
)
OWN_CUDA = f"Install cuda-toolkit-12-6 from {REPOSITORY}; a run then uses it as it is."
TOOLKIT_12_6 = {
    "version": "12.6.68",
    "release": "12.6",
    "path": "/usr/local/cuda-12.6",
    "provider": "image",
    "cudart": True,
    "nvcc": True,
    "components": ["compiler", "runtime_dev", "libraries"],
    "broken": [],
}
NOBLE = {
    "os": {"id": "ubuntu", "version": "24.04", "family": "debian"},
    "glibc": "2.39",
    "pythons": [{"path": "/usr/bin/python3.12", "version": "3.12"}],
}
NVIDIAS = "2.6.0a0+872d972e41.nv24.08"  # of the wheels that NVIDIA itself builds for JetPack
TORCH = {
    "path": "/home/ada/.venv/lib/python3.10/site-packages",
    "python": "/home/ada/.venv/bin/python",
    "python_version": "3.10",
    "version": "2.8.0",
    "local": "2.8.0",
    "cuda": "12.6",
    "arch_list": ["sm_87"],
    "managed": False,
    "packages": {"torchvision": "0.23.0"},
    "broken": [],
}


def jetson(
    name: str = "Orin (nvgpu)",
    capability: str | None = "8.7",
    driver: str | None = "540.4.0",
    kernel: str | None = "5.15.148-tegra",
    **changes: Any,
) -> dict[str, Any]:
    """A board with Jetson Linux; by default an Orin with JetPack 6.1, of which only the kernel and the driver tell."""
    platform = {
        "kind": "bare_metal",
        "os": {"id": "ubuntu", "version": "22.04", "family": "debian"},
        "arch": "aarch64",
        "glibc": "2.35",
        "root": True,
        "home": "/root",
        "kernel": kernel,
        "pythons": [{"path": "/usr/bin/python3.10", "version": "3.10"}],
        "compiler": {"path": "/usr/bin/g++", "version": "11.4.0"},
        "tools": {"apt": "/usr/bin/apt-get"},
        "free_gib": {"/": 200.0},
        **changes.pop("platform", {}),
    }
    status = changes.pop("status", "ok")
    devices = [{"index": 0, "name": name, "compute_capability": capability, "brand_id": None}] if name else []
    return {
        "platform": platform,
        "driver": {"status": status, "version": driver},
        "devices": devices,
        "installed": {"toolkits": [], "pytorch": [], **changes},
    }


def decide(observed: dict[str, Any], wish: dict[str, Any] | None = None) -> dict[str, Any]:
    return to_decision(resolve(observed, wish or {}, KNOWN))


def told(decision: dict[str, Any]) -> str:
    """What a person reads of it."""
    rejected = [f"{row['option']}: {row['because']}" for row in decision["rejected"]]
    return "\n".join([decision["summary"], *rejected, *decision["remedies"], *decision["warnings"]])


@pytest.mark.parametrize(
    ("host", "wish"),
    [
        pytest.param(jetson(), {"cuda": "12.6", "pytorch": "none"}, id="a-toolkit-alone"),
        pytest.param(jetson(), {}, id="newest"),
        pytest.param(jetson(), {"pytorch": "2.8", "cuda": "12.6"}, id="pytorch-of-the-index"),
        pytest.param(jetson(), {"wheels": {"provider": "pypi"}}, id="pytorch-of-pypi"),
        pytest.param(jetson(kernel=None), {}, id="by-name-and-driver"),
        pytest.param(jetson(driver=None), {}, id="by-kernel"),
        pytest.param(jetson(driver=None, kernel=None, platform={"l4t": "36.4.0"}), {}, id="by-release"),
        pytest.param(jetson(name="Orin", capability=None), {}, id="capability-by-name"),
        pytest.param(jetson(), {"on_old_driver": ["fallback"]}, id="no-fallback-either"),
        pytest.param(jetson(platform={"kind": "container"}), {}, id="in-a-container"),
        pytest.param(jetson(), {"toolkit": {"provider": "apt"}, "cuda": "12.6", "pytorch": "none"}, id="apt-toolkit"),
        pytest.param(jetson(platform={"arch": None}), {}, id="of-an-unknown-architecture"),
        pytest.param(jetson(), {"toolkit": {"provider": "pypi"}, "cuda": "13.0", "pytorch": "none"}, id="pypi-toolkit"),
        pytest.param(jetson(pytorch=[{**TORCH, "version": "2.9.1", "local": "2.9.1+cu126"}]), {}, id="an-sbsa-torch"),
        pytest.param(jetson(pytorch=[{**TORCH, "broken": ["torch"]}]), {}, id="a-broken-torch"),
        pytest.param(jetson(pytorch=[TORCH]), {"pytorch": "2.9", "on_old_driver": ["fail"]}, id="another-torch"),
        pytest.param(jetson(pytorch=[TORCH]), {"wheels": {"provider": "pytorch_index"}}, id="not-to-be-adopted"),
    ],
)
def test_nothing_for_arm_servers_is_planned_below_jetpack_7(host: dict[str, Any], wish: dict[str, Any]) -> None:
    decision = decide(host, wish)
    assert decision["verdict"] == "blocked"
    assert SBSA in decision["summary"] or "is not available" in decision["summary"]
    assert SBSA in told(decision)
    assert "https://repo.download.nvidia.com/jetson/common r36" in told(decision)
    assert "https://pypi.jetson-ai-lab.io/jp6" in told(decision)
    assert decision["toolkit"] is None
    assert decision["changes"] == []


def test_the_ways_out_of_a_jetson_are_named() -> None:
    later = "Flash JetPack 7.2 or newer, which runs what is built for Arm servers."
    assert decide(jetson())["remedies"] == [OWN_INDEX, OWN_CUDA, later]


@pytest.mark.parametrize(
    ("cuda", "remedy"),
    [
        pytest.param("12.6", OWN_CUDA, id="jetpacks-own"),
        pytest.param(
            "12.8",
            "Install cuda-toolkit-12-8 and cuda-compat-12-8, which gives the driver's library for it, from "
            f"{UPGRADE}; or cuda-toolkit-12-6, JetPack's own, from {REPOSITORY}.",
            id="an-upgrade",
        ),
        pytest.param(
            "11.8",
            f"Install JetPack's own CUDA 12.6 (cuda-toolkit-12-6) from {REPOSITORY}, and request that one.",
            id="older",
        ),
        pytest.param("13.0", "Flash JetPack 7.2 or newer, which runs what is built for Arm servers.", id="newer"),
    ],
)
def test_where_a_jetson_gets_a_toolkit_from(cuda: str, remedy: str) -> None:
    index = " Its PyTorch is in Jetson's own index, https://pypi.jetson-ai-lab.io/jp6/cu126."
    assert {remedy, f"{remedy}{index}"} & set(decide(jetson(), {"cuda": cuda, "pytorch": "none"})["remedies"])


@pytest.mark.parametrize(
    ("torch", "wish", "local"),
    [
        pytest.param(TORCH, {}, "2.8.0", id="jetson-ai-lab"),
        pytest.param(TORCH, {"pytorch": "2.8", "cuda": "12.6"}, "2.8.0", id="as-wished"),
        pytest.param(
            {**TORCH, "version": NVIDIAS, "local": NVIDIAS, "arch_list": None}, {"pytorch": "2.6"}, NVIDIAS,
            id="nvidias",
        ),
    ],
)  # fmt: skip
def test_what_the_image_of_a_jetson_has_is_used(torch: dict[str, Any], wish: dict[str, Any], local: str) -> None:
    decision = decide(jetson(toolkits=[TOOLKIT_12_6], pytorch=[torch]), wish)
    assert (decision["verdict"], decision["route"], decision["cuda"]) == ("ok", "native", "12.6")
    assert (decision["pytorch"]["provider"], decision["pytorch"]["local"]) == ("adopt", local)
    assert (decision["toolkit"]["provider"], decision["toolkit"]["path"]) == ("adopt", "/usr/local/cuda-12.6")


@pytest.mark.parametrize("wish", [{"pytorch": "2.9"}, {"cuda": "13.0"}, {"pytorch": "2.14", "cuda": "13.0"}])
def test_what_a_jetson_has_stands_in_for_another_wish(wish: dict[str, Any]) -> None:
    decision = decide(jetson(toolkits=[TOOLKIT_12_6], pytorch=[TORCH]), wish)
    assert (decision["verdict"], decision["route"]) == ("degraded", "fallback")
    assert (decision["pytorch"]["provider"], decision["pytorch"]["local"]) == ("adopt", "2.8.0")
    assert OWN_INDEX in decision["remedies"]
    assert not any("host with driver" in text for text in decision["remedies"])


def test_without_a_pytorch_jetpacks_own_cuda_is_the_newest() -> None:
    decision = decide(jetson(toolkits=[TOOLKIT_12_6]), {"pytorch": "none"})
    assert (decision["verdict"], decision["cuda"], decision["toolkit"]["provider"]) == ("ok", "12.6", "adopt")


def test_of_several_pytorches_on_a_jetson_the_newest_is_used() -> None:
    older = {**TORCH, "version": "2.7.0", "local": "2.7.0", "path": "/older"}
    assert decide(jetson(toolkits=[TOOLKIT_12_6], pytorch=[older, TORCH]))["pytorch"]["version"] == "2.8.0"


@pytest.mark.parametrize(
    ("board", "l4t", "pytorch", "cuda"),
    [
        ("NVIDIA Jetson Xavier NX Developer Kit", "35.4.1", "https://pypi.jetson-ai-lab.io/jp5/cu114", "11.4"),
        (
            "NVIDIA Jetson Nano Developer Kit",
            "32.7.4",
            "https://docs.nvidia.com/deeplearning/frameworks/install-pytorch-jetson-platform/",
            "10.2",
        ),
    ],
)
def test_a_jetpack_whose_cuda_is_not_planned_is_told_so(board: str, l4t: str, pytorch: str, cuda: str) -> None:
    remedy = f"Install Jetson's own PyTorch ({pytorch}) by hand, without a run: Jetson Linux {l4t}, JetPack"
    torch = {**TORCH, "cuda": "11.4", "version": "2.1.0", "local": "2.1.0"}
    host = jetson(board, None, None, None, platform={"l4t": l4t, "os": {"id": "ubuntu"}}, pytorch=[torch])
    decision = decide(host)
    assert decision["verdict"] == "blocked"
    (told_first, *_others) = decision["remedies"]
    assert told_first.startswith(remedy)
    assert told_first.endswith(f"has CUDA {cuda}, and this collection knows releases from 11.8 on.")
    assert not any("A run" in text or "a run then" in text for text in decision["remedies"])


def test_what_is_built_for_arm_servers_is_not_taken_in_its_place() -> None:
    sbsa = {**TORCH, "version": "2.9.1", "local": "2.9.1+cu126", "path": "/sbsa"}
    assert decide(jetson(toolkits=[TOOLKIT_12_6], pytorch=[sbsa, TORCH]))["pytorch"]["local"] == "2.8.0"


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"cuda": "12.6"}, "Install cuda-toolkit-12-6, which JetPack 6.1 and newer bring, from NVIDIA's repository"),
        ({}, "Install JetPack's own CUDA, nvidia-jetpack, from NVIDIA's repository"),
    ],
)
def test_a_jetson_whose_minor_release_is_unknown(wish: dict[str, Any], words: str) -> None:
    assert words in told(decide(jetson(driver=None), {"pytorch": "none", **wish}))


def test_an_extension_that_does_not_lie_beside_it_is_refused_by_name() -> None:
    decision = decide(jetson(toolkits=[TOOLKIT_12_6], pytorch=[TORCH]), {"extensions": ["torchvision", "xformers"]})
    assert decision["extensions"]["torchvision"]["version"] == "0.23.0"
    assert "is not installed beside the PyTorch at /home/ada/.venv" in decision["extensions"]["xformers"]["skipped"]


def test_pytorch_for_the_cpu_runs_on_every_jetson() -> None:
    decision = decide(jetson(), {"cuda": "none"})
    assert (decision["verdict"], decision["route"]) == ("ok", "cpu")


def test_a_jetson_whose_jetpack_is_unknown_is_told_so() -> None:
    decision = decide(jetson(driver=None, kernel=None, platform={"os": {}, "glibc": None}))
    assert decision["verdict"] == "blocked"
    assert "runs on a Jetson from JetPack 7 on, and which JetPack this one has is unknown" in decision["summary"]
    assert "Record it with /etc/nv_tegra_release and the release of its kernel (uname -r)." in decision["remedies"]


def test_no_package_of_nvidias_repository_for_arm_servers_is_for_an_older_jetson() -> None:
    for host, repository in (
        (jetson(), None),
        (jetson("NVIDIA Thor", "11.0", "580.00", "6.8.12-tegra", platform=NOBLE), "ubuntu2404"),
        (jetson("NVIDIA Thor", "11.0", "580.00", "6.8.12-tegra", platform={**NOBLE, "arch": None}), "ubuntu2404"),
    ):
        request = parse_request({})
        case = Case(
            read_host(host, request.overrides, KNOWN), request, Layout("system", "/opt/podsmith", "/root"), KNOWN
        )
        assert find_repository(case) == repository
        assert case.host.arch == "aarch64"


@pytest.mark.parametrize("host", [jetson(), jetson("NVIDIA Thor", "11.0", "580.00", "6.8.12-tegra")])
def test_no_driver_is_installed_on_a_jetson(host: dict[str, Any]) -> None:
    decision = decide(host, {"driver": "595"})
    assert decision["verdict"] == "blocked"
    assert "whose driver is a part of Jetson Linux (the packages nvidia-l4t-*)" in decision["summary"]


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        ("bare_metal", "Install Jetson Linux's own driver: the packages nvidia-l4t-core and nvidia-l4t-cuda."),
        ("container", "Start the container with --runtime nvidia, which mounts the board's own libraries."),
    ],
)
def test_a_jetson_without_its_driver_is_no_host_without_a_gpu(kind: str, remedy: str) -> None:
    decision = decide(jetson("", None, None, status="missing", platform={"kind": kind}))
    assert decision["verdict"] == "degraded"
    assert "neither its driver nor its GPU was found" in told(decision)
    assert remedy in decision["remedies"]


# --- what is built for Arm servers is right where it runs ---


@pytest.mark.parametrize(
    ("host", "wish"),
    [
        pytest.param(
            jetson("NVIDIA Thor", "11.0", "580.00", "6.8.12-tegra", platform=NOBLE), {"cuda": "13.0"}, id="thor"
        ),
        pytest.param(
            jetson("Thor", None, None, "6.8.12-tegra", platform={**NOBLE, "l4t": "38.4.0"}), {"cuda": "13.0"},
            id="thor-by-name",
        ),
        pytest.param(
            jetson("NVIDIA GB10", "12.1", "580.95.05", "6.11.0-1016-nvidia", platform=NOBLE), {}, id="dgx-spark"
        ),
        pytest.param(
            jetson("NVIDIA GH200 480GB", "9.0", "580.95.05", "6.8.0-1021-nvidia-64k", platform=NOBLE), {}, id="gh200"
        ),
        pytest.param(jetson("NVIDIA GB200", "10.0", "580.95.05", "6.8.0-51-generic", platform=NOBLE), {}, id="gb200"),
    ],
)  # fmt: skip
def test_arm_servers_and_jetpack_7_get_builds_for_arm_servers(host: dict[str, Any], wish: dict[str, Any]) -> None:
    decision = decide(host, {"toolkit": {"provider": "apt"}, **wish})
    assert decision["verdict"] == "ok"
    assert decision["pytorch"]["index"].startswith("cu13")
    assert (decision["toolkit"]["provider"], decision["toolkit"]["repository"]) == ("apt", "ubuntu2404")


def test_thor_gets_no_wheel_without_code_for_it() -> None:
    host = jetson("NVIDIA Thor", "11.0", "580.00", "6.8.12-tegra", platform=NOBLE)
    decision = decide(host, {"pytorch": "2.9"})
    assert decision["pytorch"]["index"] == "cu130"


# --- musl ---


@pytest.mark.parametrize(
    ("platform", "wish"),
    [
        pytest.param({"os": {"id": "alpine", "version": "3.22"}, "libc": "musl"}, {}, id="alpine"),
        pytest.param(
            {"os": {"id": "alpine", "version": "3.22"}}, {"pytorch": "none", "cuda": "13.0"}, id="by-its-name"
        ),
        pytest.param({"os": {"id": "alpine", "version": "3.22"}}, {"cuda": "none"}, id="not-even-for-the-cpu"),
        pytest.param({"os": {"id": "void"}, "libc": "musl"}, {}, id="void-with-musl"),
        pytest.param({"os": {"id": "gentoo"}, "libc": "musl"}, {}, id="gentoo-with-musl"),
    ],
)
@pytest.mark.parametrize("driver", ["580.95.05", None])
def test_musl_is_refused_with_the_reason(platform: dict[str, Any], wish: dict[str, Any], driver: str | None) -> None:
    host = jetson("NVIDIA H100" if driver else "", "9.0", driver, "6.12.0-0-lts", status="ok" if driver else "missing")
    host["platform"] |= {"arch": "x86_64", "glibc": None, **platform}
    decision = decide(host, wish)
    assert decision["verdict"] == "blocked"
    assert f"the C library of {platform['os']['id']}" in decision["summary"]
    because = "is musl, and NVIDIA's driver libraries, its CUDA toolkit and PyTorch's wheels (manylinux) are linked"
    assert f"{because} with glibc" in decision["summary"]
    assert decision["remedies"] == ["Use a system, or a container on this one, with glibc, such as ubuntu or debian."]
    assert (decision["toolkit"], decision["pytorch"]) == (None, None)


@pytest.mark.parametrize(
    "platform",
    [
        pytest.param({"os": {"id": "alpine"}, "glibc": "2.39"}, id="alpine-with-glibc-beside-it"),
        pytest.param({"os": {"id": "alpine"}, "libc": "glibc"}, id="alpine-whose-programs-have-glibc"),
        pytest.param({"os": {"id": "void"}}, id="void-of-an-unknown-edition"),
        pytest.param({"os": {"id": "wolfi"}}, id="wolfi-has-glibc"),
    ],
)
def test_glibc_is_not_taken_for_musl(platform: dict[str, Any]) -> None:
    host = jetson("NVIDIA H100", "9.0", "580.95.05", "6.12.0")
    host["platform"] |= {"arch": "x86_64", "glibc": None, **platform, "pythons": NOBLE["pythons"]}
    assert "musl" not in told(decide(host))


def test_a_container_with_musl_needs_another_image() -> None:
    host = jetson("NVIDIA H100", "9.0", "580.95.05", "6.12.0")
    host["platform"] |= {"arch": "x86_64", "glibc": None, "kind": "container", "os": {"id": "alpine"}, "libc": "musl"}
    assert decide(host)["remedies"] == ["Use an image with glibc, such as ubuntu or debian."]
