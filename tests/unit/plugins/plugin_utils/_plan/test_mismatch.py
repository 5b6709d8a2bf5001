# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A driver that does not work, by kind of machine: nobody is told what cannot help there."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import load_catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.decision import to_decision
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.plan import resolve

KNOWN = load_catalogue()
RESTART = "Restart the container: its runtime then mounts the libraries of the host's driver."
OWN = "API mismatch: kernel driver (host) 570.148.06, the container's own libraries 570.148.08"
INSTALL = "Install the user-space libraries of driver 570.148.06 in the container"


def observed(
    kind: str = "container",
    *,
    status: str = "mismatch",
    loaded: str | None = "570.148.06",
    library: str | None = "570.148.08",
    source: str | None = None,
    **platform: Any,
) -> dict[str, Any]:
    disk = {"loaded_version": loaded, "library_version": library, "source": source}
    disk |= platform.pop("disk", {})
    return {
        "platform": {
            "kind": kind,
            "os": {"id": "ubuntu", "version": "24.04", "family": "debian"},
            "arch": "x86_64",
            "glibc": "2.39",
            "root": True,
            "pythons": [{"path": "/usr/bin/python3", "version": "3.12"}],
            **platform,
        },
        "driver": {"status": status, "version": loaded},
        "devices": [{"index": 0, "name": "NVIDIA A100-SXM4-80GB", "compute_capability": "8.0", "brand_id": 14}],
        "installed": {"driver": disk},
    }


def decide(facts: dict[str, Any]) -> dict[str, Any]:
    return to_decision(resolve(facts, {}, KNOWN))


def container(engine: str | None, injected: bool | None) -> dict[str, Any]:
    return {"engine": engine, "injected": injected, "driver_dir": None}


@pytest.mark.parametrize(
    ("source", "runs", "words"),
    [
        pytest.param("runfile", None, [INSTALL, "--no-kernel-modules"], id="runfile-and-nothing-else-known"),
        pytest.param("runfile", container("lxc", False), [INSTALL, "nvidia.runtime=true"], id="proxmox"),
        pytest.param("none", container("lxc", False), [INSTALL], id="lxc-with-libraries-put-there-by-hand"),
        pytest.param("apt", container("incus", False), [f"{INSTALL} (the packages of that"], id="incus"),
        pytest.param("distribution", container("systemd-nspawn", False), [INSTALL, "--bind-ro="], id="nspawn"),
        pytest.param(
            "distribution", container("docker", False),
            ["Remove the driver's libraries from the image. Start the container with --gpus all: the host's are"],
            id="an-image-with-a-driver-in-it",
        ),
        pytest.param(
            "apt", container("containerd", False),
            ["Remove the driver's libraries from the image. Request the GPU in the pod's limits"], id="kubernetes",
        ),
        pytest.param("apt", None, [INSTALL, "Restart the container instead where its runtime mounts"], id="packages"),
    ],
)  # fmt: skip
def test_a_container_with_libraries_of_its_own(source: str, runs: dict[str, Any] | None, words: list[str]) -> None:
    decision = decide(observed(source=source, container=runs))
    assert (decision["verdict"], decision["summary"]) == ("broken", f"broken: {OWN}")
    (remedy,) = decision["remedies"]
    assert [word for word in words if word not in remedy] == []
    assert "its runtime then mounts" not in remedy
    assert "Reboot" not in remedy


@pytest.mark.parametrize("runs", [container("docker", True), container("lxd", True), container(None, None), None])
def test_a_container_whose_libraries_are_mounted_is_started_again(runs: dict[str, Any] | None) -> None:
    decision = decide(observed(loaded="570.211.01", source="none", container=runs))
    assert decision["remedies"] == [RESTART]
    assert "the kernel runs driver 570.211.01 and its libraries on the disk are of 570.148.08" in decision["summary"]


def test_newer_libraries_may_be_those_of_a_host_that_waits_for_a_reboot() -> None:
    (remedy,) = decide(observed(source="none", container=container("docker", True)))["remedies"]
    assert remedy.startswith(RESTART)
    assert remedy.endswith(
        "the host waits for a reboot after an upgrade of its driver, and nothing in the container helps."
    )


def test_packages_of_an_image_over_the_mounted_libraries_are_removed() -> None:
    packages = {
        "libnvidia-compute-570": "570.148.08-0ubuntu1",
        "nvidia-utils-570": "570.148.08-0ubuntu1",
        "nvidia-x": "1",
    }
    facts = observed(source="distribution", container=container("docker", True), disk={"packages": packages})
    decision = decide(facts)
    assert "the libraries that packages of the image installed 570.148.08" in decision["summary"]
    remedy = "Remove them: apt-get purge libnvidia-compute-570 nvidia-utils-570. Then restart the container"
    assert decision["remedies"] == [f"{remedy}, whose runtime mounts the host's."]


def test_windows_has_no_modules_to_reload() -> None:
    assert decide(observed("wsl2"))["remedies"] == [
        "Run in Windows: wsl --shutdown; the next start of WSL2 mounts the libraries of Windows' driver anew."
    ]


@pytest.mark.parametrize("status", ["timeout", "lost"])
@pytest.mark.parametrize(
    ("kind", "provider", "is_rented"),
    [
        ("container", None, True),
        ("container", "runpod", True),
        ("vm", "lambda", True),
        ("bare_metal", None, False),
        ("vm", None, False),
    ],
)
def test_only_a_rented_machine_can_be_given_back(status: str, kind: str, provider: str | None, is_rented: bool) -> None:
    (remedy,) = decide(observed(kind, status=status, provider=provider))["remedies"]
    assert remedy.startswith("Reboot the host and look for Xid lines in dmesg")
    assert ("ask for another host" in remedy) == is_rented


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        ("container", "Return this pod."),
        (
            "bare_metal",
            "Reboot the machine; if it recurs, check the card's power, cooling and slot, or have it replaced.",
        ),
    ],
)
def test_no_pod_is_returned_where_there_is_none(kind: str, remedy: str) -> None:
    facts = observed(kind, status="ok", library=None)
    facts["devices"][0]["xid"] = [79]
    assert remedy in decide(facts)["remedies"]


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        (None, "Start it with --gpus all."),
        (container("docker", None), "Start it with --gpus all."),
        (container("podman", None), "Start the container with --device nvidia.com/gpu=all."),
        (container("containerd", None), "Request the GPU in the pod's limits (nvidia.com/gpu: 1)."),
        (container("apptainer", None), "Start the container with --nv."),
        (container("lxc", None), "on Proxmox by dev0: /dev/nvidia0"),
        (container("incus", None), "incus config device add NAME gpu gpu"),
        (container("gvisor", None), "runsc's option nvproxy"),
    ],
)
def test_each_runtime_gives_a_gpu_in_its_own_way(runs: dict[str, Any] | None, words: str) -> None:
    facts = observed(status="no_device", container=runs)
    facts["devices"] = []
    decision = decide(facts)
    assert decision["verdict"] == "degraded"
    assert words in " ".join(decision["warnings"])


NOT_FOUND = {
    "libcuda": None,
    "init": None,
    "environ": {},
    "error": "libcuda.so.1: cannot open shared object file: No such file or directory",
}


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        ({**container("containerd", True), "driver_dir": "/usr/local/nvidia/lib64"}, "echo /usr/local/nvidia/lib64 |"),
        (container("lxc", None), "where there is none, install the user-space libraries of driver 570.148.06"),
        (container("docker", None), "where there is none, start the container with NVIDIA_DRIVER_CAPABILITIES="),
    ],
)
def test_the_folder_of_the_drivers_library_is_named_where_it_is_known(runs: dict[str, Any], words: str) -> None:
    facts = observed(status="ok", library=None, container=runs)
    facts["ways"] = {"login": NOT_FOUND, "command": NOT_FOUND}
    assert words in " ".join(decide(facts)["remedies"])


def test_error_999_in_a_system_container_may_be_its_configuration() -> None:
    facts = observed(status="ok", library=None, container=container("lxc", False))
    answer = {"libcuda": "/usr/lib/libcuda.so.570.148.06", "version": "570.148.06", "devices": 0, "environ": {}}
    way = {**answer, "init": {"code": 999, "name": "CUDA_ERROR_UNKNOWN"}}
    facts["ways"] = {"login": way, "command": way}
    causes = [cause["because"] for cause in decide(facts)["now"]["causes"]]
    assert any("or is allowed a major number that it no longer has" in because for because in causes)


@pytest.mark.parametrize(
    ("runs", "remedy"),
    [
        (container("lxc", None), f"{INSTALL} (NVIDIA's .run installer"),
        (container("apptainer", None), "Start the container with --nv."),
        (container("docker", None), "Start the container with NVIDIA_DRIVER_CAPABILITIES=compute,utility, or all."),
        (None, "Start the container with NVIDIA_DRIVER_CAPABILITIES=compute,utility, or all."),
    ],
)
def test_a_container_without_the_drivers_library(runs: dict[str, Any] | None, remedy: str) -> None:
    facts = observed(status="ok", library=None, container=runs)
    facts["driver"]["libcuda"], facts["ways"] = None, {}
    assert decide(facts)["remedies"][0].startswith(remedy)
