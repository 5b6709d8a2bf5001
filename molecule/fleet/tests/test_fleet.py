# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to come of each rented machine, what is on it after one bootstrap, and that a second finds nothing to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fleet import Run, look, observe, play

COMPAT = "580.95.05"  # the library in the mirror's cuda-compat-13-0
TOOLKIT_PACKAGES = {"cuda-nvcc", "cuda-cudart-dev", "cuda-cccl"}
DRIVER_PACKAGES = {"cuda", "cuda-drivers", "nvidia-open"}  # all that bring a driver
FORWARD = ("compat-branch-listed", "machine-code")
NATIVE = ("native", "machine-code")
MINOR = ("minor-version", "machine-code")
NEWER_DRIVER = "Use a host with driver 580 or newer."
COMPAT_NEEDLESS = "A host with driver 580 or newer needs no forward compatibility."
SYSTEM_FILES = {"/etc/bash.bashrc", "/etc/environment", "/etc/profile.d/podsmith.sh", "/root/.bashrc"}
NO_BRAND = "is of a brand without forward compatibility (error 804)"


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What has to come of a machine."""

    verdict: str = "ok"
    route: str
    rules: tuple[str, ...]  # that accepted, but for the toolkit's
    torch: str
    libcuda: str | None  # version of the one that a process loads; None: PyTorch is for the CPU
    compat: str | None = None  # the confidence in forward compatibility where it is on
    toolkit: tuple[str, str] | None = None  # release and provider
    remedy: str | None = None
    rejected: str | None = None  # words of an option that was not taken
    warning: str | None = None
    gpus: int = 1
    adopted: bool = False
    settings: int = 0  # how many variables its profile sets
    prefix: str = "/opt/podsmith"

    @property
    def generation(self) -> str:
        """Name of the live environment."""
        return f"1-torch{self.torch.replace('+', '-')}{'-adopted' if self.adopted else ''}"


def forward(confidence: str, **more: Any) -> Expected:
    """CUDA 13.0 by the compat library."""
    return Expected(
        route="forward_compat",
        rules=FORWARD,
        torch="2.9.1+cu130",
        libcuda=COMPAT,
        compat=confidence,
        remedy=COMPAT_NEEDLESS,
        **more,
    )


def fallback(libcuda: str, rules: tuple[str, ...], rejected: str, **more: Any) -> Expected:
    """PyTorch of CUDA 12.8, which this driver runs."""
    more = {"torch": "2.9.1+cu128", "remedy": NEWER_DRIVER} | more
    return Expected(verdict="degraded", route="fallback", rules=rules, libcuda=libcuda, rejected=rejected, **more)


FLEET = {
    "a6000-570": forward("probe"),  # the brand is listed, but NVIDIA promises it for select workstation cards alone
    "absent-580": Expected(
        verdict="degraded",
        route="cpu",
        rules=("no-gpu",),
        torch="2.9.1+cpu",
        libcuda=None,
        remedy="Start the container with --gpus all.",
        rejected="the driver is there, but there is no GPU",
        warning="The driver is there and this container sees no GPU.",
    ),
    "adopt-570": forward("documented", toolkit=("13.0", "adopt"), adopted=True),
    "b200-570": forward("documented", toolkit=("13.0", "pypi"), gpus=2),
    "h100-525": fallback(
        "525.147.05",
        MINOR,
        "cuda-compat-13-0 lists branches 535, 550, 565, 570, 575, not 525",
        warning="By minor-version compatibility kernels with more than 4,096 bytes of parameters do not run",
    ),
    "h100-550": forward("listed"),
    "h100-570": forward("documented", toolkit=("13.0", "apt")),
    "h100-580": Expected(route="native", rules=NATIVE, torch="2.9.1+cu130", libcuda="580.95.05"),
    "h100-610": Expected(route="native", rules=NATIVE, torch="2.9.1+cu130", libcuda="610.43.02"),
    "h200-mig-535": forward("documented"),  # a slice counts as its GPU
    "l40s-580": Expected(
        route="minor_version",
        rules=MINOR,
        torch="2.14.1+cu132",
        libcuda="580.65.06",
        remedy="A host with driver 595.45.04 or newer also compiles PTX of CUDA 13.2.",
    ),
    "no-gpu": Expected(
        route="cpu",
        rules=("no-gpu",),
        torch="2.9.1+cpu",
        libcuda=None,
        toolkit=("13.0", "pypi"),
        warning="This container sees no GPU. Start it with --gpus all if its host has one.",
        prefix="/root/.local/share/podsmith",
    ),
    "rtx4090-535": fallback("535.171.04", MINOR, f"NVIDIA GeForce RTX 4090 {NO_BRAND}"),
    "rtx5090-570": fallback(
        "570.124.06",
        NATIVE,
        "driver 570.124.06 is older than 580, which CUDA 13 needs",
        torch="2.11.0+cu128",
        toolkit=("12.8", "apt"),
        settings=3,
    ),
    "rtx5090-580": Expected(
        route="native",
        rules=NATIVE,
        torch="2.15.0+cu130",
        libcuda="580.95.05",
        toolkit=("13.0", "apt"),
        settings=3,
    ),
    "unprivileged-570": fallback(
        "570.133.20",
        NATIVE,
        "the compat library is not installed, and in user scope nothing is installed outside the prefix",
        prefix="/home/dev/.local/share/podsmith",
    ),
    "v100-580": fallback(
        "580.95.05",
        NATIVE,
        "no machine code for Tesla V100-SXM2-16GB (sm_70); it has sm_75 sm_80 sm_86 sm_90 sm_100 sm_120",
        remedy='Set cuda: "12.8": PyTorch 2.9.1+cu128 runs here.',
    ),
    "volume-570": forward("documented", toolkit=("13.0", "pypi"), prefix="/workspace/podsmith"),
    "wsl2-566": fallback(
        "1",
        MINOR,
        "WSL2 has no forward compatibility: the driver is Windows's",
        remedy="Update the Windows driver to 580 or newer.",
    ),
    "wsl2-581": Expected(route="native", rules=NATIVE, torch="2.15.0+cu130", libcuda="1", toolkit=("13.0", "apt")),
}


@pytest.fixture(scope="module")
def name(host: Any) -> str:
    """The pod's name in the inventory."""
    return str(host.backend.get_hostname())


@pytest.fixture(scope="module")
def expected(name: str) -> Expected:
    """The pod's row of the table."""
    return FLEET[name]


@pytest.fixture(scope="module")
def seen(first: Run, host: Any, expected: Expected) -> dict[str, Any]:
    """What is on the pod after the first run."""
    assert first.recap, first.out
    return look(host, expected.prefix)


@pytest.fixture(scope="module")
def decision(seen: dict[str, Any]) -> dict[str, Any]:
    """The decision that stands there."""
    found: dict[str, Any] = seen["decision"]
    return found


def test_verdict_and_route(decision: dict[str, Any], expected: Expected) -> None:
    assert (decision["verdict"], decision["route"]) == (expected.verdict, expected.route)
    rules = [reason["rule"] for reason in decision["reasons"]]
    adopted, compiled = ["adopt-pytorch"] * expected.adopted, ["toolkit"] * bool(expected.toolkit)
    assert rules == [*expected.rules, *adopted, *compiled, *["setting"] * expected.settings]


def test_what_is_told_beside(decision: dict[str, Any], expected: Expected) -> None:
    assert decision["remedies"][:1] == ([expected.remedy] if expected.remedy else [])
    told = " ".join(row["because"] for row in decision["rejected"])
    assert (expected.rejected or "") in told
    warnings = [text for text in decision["warnings"] if not text.startswith("/dev/shm has 64 MiB")]  # Docker's own
    assert [text for text in warnings if not text.startswith(expected.warning or "-")] == []
    assert len(warnings) == bool(expected.warning)


def test_forward_compatibility(seen: dict[str, Any], decision: dict[str, Any], expected: Expected) -> None:
    compat = decision["forward_compat"]
    assert (compat["enabled"], compat["confidence"]) == (expected.compat is not None, expected.compat)
    assert seen["library paths"] == (["/usr/local/cuda-13.0/compat"] if expected.compat else [""]) * 2
    packages = [package for package in seen["packages"] if "cuda-compat" in package]
    assert packages == (["cuda-compat-13-0"] if expected.compat else [])


def test_cuda_whichever_way_one_comes_in(seen: dict[str, Any], expected: Expected) -> None:
    found = {
        "torch": expected.torch,
        "cuda": expected.libcuda is not None,
        "said": f"{expected.gpus} GPU" if expected.libcuda else "Torch not compiled with CUDA enabled",
        "libcuda": [expected.libcuda] if expected.libcuda else [],
    }
    assert seen["ways"] == {"login shell": found, "ssh command": found, "no shell": found}


def test_the_live_environment(seen: dict[str, Any], expected: Expected) -> None:
    assert seen["current"] == f"environments/{expected.generation}"


def test_the_toolkit(seen: dict[str, Any], decision: dict[str, Any], expected: Expected) -> None:
    release, provider = expected.toolkit or (None, None)
    toolkit = decision["toolkit"] or {"version": None, "provider": None}
    assert (toolkit["version"], toolkit["provider"]) == (release, provider)
    path, _newline, version = seen["nvcc"].partition("\n")
    folder = f"{expected.prefix}/toolkits/13.0/nvidia/cu13" if provider == "pypi" else f"/usr/local/cuda-{release}"
    assert path == (f"{folder}/bin/nvcc" if release else "")
    assert f"release {release}," in version if release else not version
    dashed = str(release).replace(".", "-")
    wanted = {f"{package}-{dashed}" for package in TOOLKIT_PACKAGES} if provider in ("apt", "adopt") else set()
    found = {package for package in seen["packages"] if package.startswith(tuple(TOOLKIT_PACKAGES))}
    assert found == wanted


def test_no_driver_was_installed(seen: dict[str, Any]) -> None:
    assert DRIVER_PACKAGES & set(seen["packages"]) == set()


def test_the_proof(seen: dict[str, Any], expected: Expected) -> None:
    checks = {check["check"]: check["ok"] and not check.get("skipped") for check in seen["verdict"]["checks"]}
    wanted = ["torch", *(["cuinit"] if expected.libcuda else []), *(["nvcc", "kernel"] if expected.toolkit else [])]
    assert seen["verdict"]["ok"]
    assert {name: ok for name, ok in checks.items() if name != "cutlass"} == dict.fromkeys(wanted, True)


def test_the_second_run_changes_nothing(second: Run, name: str) -> None:
    assert second.recap[name]["changed"] == 0
    assert (second.plans[name]["changes"], second.plans[name]["applied"]) == ([], [])


def test_the_second_run_calls_the_pod_once(second: Run, name: str) -> None:
    assert second.calls[name] == 1


def test_files_outside_the_prefix(seen: dict[str, Any], decision: dict[str, Any]) -> None:
    if decision["environment"]["scope"] == "user":
        assert seen["written"] == []
    else:
        assert set(seen["written"]) >= SYSTEM_FILES


def test_the_unprivileged_pod_is_of_user_scope(second: Run) -> None:
    assert second.plans["unprivileged-570"]["environment"]["scope"] == "user"


def test_a_mig_card_is_seen_as_such() -> None:
    facts = observe("h200-mig-535", "h100-580")
    assert {name: [gpu["mig"] for gpu in found["devices"]] for name, found in facts.items()} == {
        "h200-mig-535": [True],
        "h100-580": [False],
    }


def test_a_machine_of_another_architecture_is_planned_for(tmp_path: Path) -> None:
    """GH200: the name resolves to nothing, so whoever called the host would fail."""
    run = play("playbooks/plan.yml", "gh200-565", tmp_path)
    assert run.rc == 0, run.out
    plan = run.plans["gh200-565"]
    compat = plan["forward_compat"]
    assert (plan["verdict"], plan["route"], plan["pytorch"]["local"]) == ("ok", "forward_compat", "2.13.0+cu130")
    assert (compat["package"], compat["confidence"]) == ("cuda-compat-13-0", "listed")
    assert {"sm_90", "sm_86"} & set(plan["pytorch"]["arch_list"]) == {"sm_90"}  # as the wheels for Arm servers have it
    assert "NVIDIA GH200 480GB · driver 565.57.01 (CUDA 12.7)" in run.said_of("gh200-565")
