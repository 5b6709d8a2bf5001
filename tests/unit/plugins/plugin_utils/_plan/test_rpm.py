# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is planned on systems with rpm packages: RHEL and what is like it, Fedora, SUSE, Amazon Linux."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Facts = dict[str, Any]
Decide = Callable[..., dict[str, Any]]

UNTRIED = "that is untried on a real host."


@pytest.fixture
def rpm(host: Callable[..., Facts]) -> Callable[..., Facts]:
    """A host with dnf or zypper: ``rpm("rocky 9.5", like=["rhel"], family="redhat")``."""

    def build(
        system: str = "rocky 9.5",
        gpu: str | None = "H100",
        native: str | None = "580.95.05",
        *,
        family: str | None = "redhat",
        like: tuple[str, ...] = (),
        compiler: bool = True,
        tools: dict[str, str | None] | None = None,
        kernel: str = "5.14.0-570.12.1.el9_6.x86_64",
        disk: Facts | None = None,
        **given: Any,
    ) -> Facts:
        facts = host(gpu, native, os=system, **given)
        program = "zypper" if family == "suse" else "dnf"
        found = {"git": "/usr/bin/git", "apt": None, "dnf": None, "zypper": None, program: f"/usr/bin/{program}"}
        facts["platform"]["tools"] = {**found, **(tools or {})}
        facts["platform"]["os"] |= {"family": family, "like": list(like)}
        facts["platform"]["kernel"] = kernel
        if disk:
            facts["installed"]["driver"] = disk
        if not compiler:
            facts["platform"]["compiler"] = None
        return facts

    return build


def told(decision: dict[str, Any]) -> str:
    rejected = [f"{row['option']}: {row['because']}" for row in decision["rejected"]]
    return "\n".join([decision["summary"], *decision["warnings"], *decision["remedies"], *rejected])


# --- the toolkit ---


@pytest.mark.parametrize(
    ("system", "family", "like", "arch", "repository"),
    [
        pytest.param("rhel 8.10", "redhat", ("fedora",), "x86_64", "rhel8", id="rhel-8"),
        pytest.param("rhel 9.6", "redhat", ("fedora",), "x86_64", "rhel9", id="rhel-9"),
        pytest.param("rocky 9.5", "redhat", ("rhel", "centos", "fedora"), "x86_64", "rhel9", id="rocky"),
        pytest.param("almalinux 8.10", "redhat", ("rhel",), "x86_64", "rhel8", id="alma"),
        pytest.param("centos 9", "redhat", ("rhel", "fedora"), "x86_64", "rhel9", id="centos-stream"),
        pytest.param("ol 9.4", "redhat", ("fedora",), "x86_64", "rhel9", id="oracle"),
        pytest.param("rocky 9.5", "redhat", (), "aarch64", "rhel9", id="grace"),
        pytest.param("eurolinux 9.5", "redhat", ("rhel", "fedora"), "x86_64", "rhel9", id="like-rhel"),
        pytest.param("rocky 9.5", None, (), "x86_64", "rhel9", id="family-unknown"),
        pytest.param("amzn 2023", "redhat", ("fedora",), "x86_64", "amzn2023", id="amazon"),
        pytest.param("fedora 41", "redhat", (), "x86_64", "fedora41", id="fedora"),
        pytest.param("sles 15.6", "suse", ("suse",), "x86_64", "sles15", id="sles"),
        pytest.param("sles 15.6", "suse", ("suse",), "aarch64", "sles15", id="sles-grace"),
        pytest.param("opensuse-leap 15.6", "suse", ("suse", "opensuse"), "x86_64", "opensuse15", id="leap"),
    ],
)
def test_a_toolkit_that_pypi_lacks_comes_from_nvidias_rpm_repository(
    system: str, family: str, like: tuple[str, ...], arch: str, repository: str, rpm: Any, decide: Decide
) -> None:
    decision = decide(rpm(system, family=family, like=like, arch=arch), cuda="12.8")
    toolkit = decision["toolkit"]
    assert (toolkit["provider"], toolkit["repository"]) == ("rpm", repository)
    assert toolkit["packages"] == ["cuda-nvcc-12-8", "cuda-cudart-devel-12-8", "cuda-cccl-12-8"]
    assert toolkit["path"] == "/usr/local/cuda-12.8"
    program = "zypper" if family == "suse" else "dnf"
    assert f"Packages are installed by {program} here; {UNTRIED}" in decision["warnings"]
    assert decision["verdict"] == "ok"


@pytest.mark.parametrize(
    ("system", "family"),
    [("rocky 9.5", "redhat"), ("almalinux 10.0", "redhat"), ("fedora 42", "redhat"), ("sles 15.6", "suse")],
)
def test_pypis_compiler_comes_first_as_it_always_did(system: str, family: str, rpm: Any, decide: Decide) -> None:
    decision = decide(rpm(system, family=family), cuda="13.0")
    assert decision["toolkit"]["provider"] == "pypi"
    assert UNTRIED not in told(decision)


@pytest.mark.parametrize(
    ("system", "family", "cuda", "because"),
    [
        pytest.param("rhel 10.0", "redhat", "12.8", "no CUDA 12.8 for rhel 10.0 on x86_64", id="rhel-10-is-too-new"),
        pytest.param("fedora 40", "redhat", "12.8", "no CUDA 12.8 for fedora 40 on x86_64", id="fedora-without-folder"),
        pytest.param("fedora 42", "redhat", "12.8", "no CUDA 12.8 for fedora 42 on x86_64", id="fedora-later"),
        pytest.param("amzn 2", "redhat", "12.8", "no CUDA 12.8 for amzn 2 on x86_64", id="amazon-linux-2"),
        pytest.param("opensuse-tumbleweed 20261101", "suse", "12.8", "for opensuse-tumbleweed", id="rolling"),
    ],
)
def test_what_the_repository_lacks_is_said(
    system: str, family: str, cuda: str, because: str, rpm: Any, decide: Decide
) -> None:
    like = ("rhel", "centos", "fedora") if system == "amzn 2" else ()
    decision = decide(rpm(system, family=family, like=like), cuda=cuda)
    assert decision["toolkit"] is None
    assert because in told(decision)
    assert "has no apt" not in told(decision)
    assert decision["verdict"] == "degraded"


@pytest.mark.parametrize(
    ("given", "wish", "because"),
    [
        pytest.param({"root": False}, {}, "nothing is installed outside the prefix", id="not-root"),
        pytest.param({}, {"scope": "user"}, "nothing is installed outside the prefix", id="user-scope"),
        pytest.param({"tools": {"dnf": None}}, {}, "rocky has no dnf", id="without-dnf"),
        pytest.param({}, {"toolkit": {"provider": "apt"}}, "rocky has no apt", id="apt-was-wished"),
        pytest.param({"kind": "wsl2", "native": "581.42"}, {}, "no CUDA 12.8 for rocky 9.5", id="wsl2"),
    ],
)
def test_where_no_package_can_be_installed(given: Facts, wish: Facts, because: str, rpm: Any, decide: Decide) -> None:
    decision = decide(rpm(**given), cuda="12.8", **wish)
    assert decision["toolkit"] is None
    assert because in told(decision)


def test_its_space_is_taken_at_the_root(rpm: Any, decide: Decide) -> None:
    facts = rpm()
    facts["platform"]["free_gib"] = {"/": 1.0, "/opt/podsmith": 200.0}
    decision = decide(facts, cuda="12.8", toolkit={"components": ["full"]}, pytorch="none")
    assert decision["verdict"] == "blocked"
    assert "GiB at /; 1.0 GiB are free" in told(decision)


@pytest.mark.parametrize("tools", [None, {}])
def test_what_nobody_looked_at_does_not_stop_it(tools: Facts | None, rpm: Any, decide: Decide) -> None:
    facts = rpm("almalinux 9.6")
    facts["platform"]["tools"] = tools
    assert decide(facts, cuda="12.8")["toolkit"]["repository"] == "rhel9"


def test_an_unknown_version_is_told_as_unknown(rpm: Any, decide: Decide) -> None:
    facts = rpm()
    facts["platform"]["os"]["version"] = None
    decision = decide(facts, cuda="12.8")
    assert decision["toolkit"] is None
    assert "the version of rocky is unknown, and with it NVIDIA's repository" in told(decision)


def test_rpm_is_refused_where_apt_installs(host: Any, decide: Decide) -> None:
    decision = decide(host(), cuda="13.0", toolkit={"provider": "rpm"})
    assert decision["toolkit"] is None
    assert "ubuntu has no rpm packages" in told(decision)


def test_components_have_their_rpm_names(rpm: Any, decide: Decide) -> None:
    wish = {"provider": "rpm", "components": ["runtime_dev", "libraries"]}
    toolkit = decide(rpm("rhel 10.0"), cuda="13.0", toolkit=wish)["toolkit"]
    assert toolkit["packages"] == [
        *("cuda-cudart-devel-13-0", "cuda-nvrtc-devel-13-0", "cuda-cccl-13-0", "cuda-nvml-devel-13-0"),
        "cuda-libraries-devel-13-0",
    ]
    assert toolkit["repository"] == "rhel10"


@pytest.mark.parametrize(("system", "family"), [("rocky 9.5", "redhat"), ("opensuse-leap 15.6", "suse")])
def test_a_missing_compiler_is_gcc_c_plus_plus(system: str, family: str, rpm: Any, decide: Decide) -> None:
    decision = decide(rpm(system, family=family, compiler=False), cuda="13.0")
    toolkit = decision["toolkit"]
    assert (toolkit["provider"], toolkit["system_packages"], toolkit["system_provider"]) == ("pypi", ["gcc-c++"], "rpm")
    assert UNTRIED in told(decision)


def test_of_apt_it_is_g_plus_plus_as_before(host: Any, decide: Decide) -> None:
    facts = host()
    facts["platform"]["compiler"] = None
    toolkit = decide(facts, cuda="13.0")["toolkit"]
    assert (toolkit["system_packages"], toolkit["system_provider"]) == (["g++"], "apt")


# --- forward compatibility ---


@pytest.mark.parametrize(
    ("system", "family", "cuda", "repository"),
    [
        ("rocky 9.5", "redhat", "13.0", "rhel9"),
        ("almalinux 10.0", "redhat", "13.0", "rhel10"),
        ("fedora 42", "redhat", "13.0", "fedora42"),
        ("amzn 2023", "redhat", "13.0", "amzn2023"),
        ("sles 15.6", "suse", "13.0", "sles15"),
    ],
)
def test_the_compat_library_comes_from_the_rpm_repository(
    system: str, family: str, cuda: str, repository: str, rpm: Any, decide: Decide
) -> None:
    decision = decide(rpm(system, family=family, native="570.133.20"), cuda=cuda)
    compat = decision["forward_compat"]
    assert (decision["route"], compat["provider"], compat["repository"]) == ("forward_compat", "rpm", repository)
    assert (compat["package"], compat["path"]) == ("cuda-compat-13-0", "/usr/local/cuda-13.0/compat")
    assert UNTRIED in told(decision)


@pytest.mark.parametrize(
    ("system", "because"),
    [
        pytest.param("fedora 41", "no packages of CUDA 13.0 for fedora 41 on x86_64", id="older-folder"),
        pytest.param("fedora 40", "no packages for fedora 40 on x86_64", id="no-folder"),
    ],
)
def test_a_compat_library_that_the_folder_lacks(system: str, because: str, rpm: Any, decide: Decide) -> None:
    decision = decide(rpm(system, native="570.133.20"), cuda="13.0")
    assert decision["route"] == "fallback"
    assert because in told(decision)


# --- the driver ---


def box(**more: Any) -> Facts:
    """What lies on the disk of a machine without a driver."""
    disk: Facts = {"packages": {}, "source": None, "module_version": None, "library_version": None, "headers": True}
    return {**disk, "loaded_version": None, "pci": ["2330"], **more}


@pytest.mark.parametrize(
    ("system", "repository"),
    [("rhel 8.10", "rhel8"), ("rocky 9.5", "rhel9"), ("ol 9.4", "rhel9"), ("amzn 2023", "amzn2023")],
)
def test_a_first_driver_comes_from_a_module_stream(system: str, repository: str, rpm: Any, decide: Decide) -> None:
    decision = decide(rpm(system, None, None, disk=box(headers=False)), driver="580")
    driver = decision["driver"]
    assert (driver["action"], driver["provider"], driver["repository"]) == ("install", "rpm", repository)
    assert driver["packages"] == ["kernel-devel-5.14.0-570.12.1.el9_6.x86_64", "nvidia-open"]
    assert (driver["stream"], driver["pin"], driver["held"]) == ("nvidia-driver:580-open", None, False)
    assert UNTRIED in told(decision)
    assert "an upgrade inside the branch stops CUDA until the next reboot" in told(decision)
    assert "from the dnf module stream nvidia-driver:580-open; then a reboot" in str(decision["changes"])


@pytest.mark.parametrize(
    ("wish", "lock", "moves"), [("580", "*nvidia*-580.*", True), ("580.95.05", "*nvidia*-580.95.05", False)]
)
def test_on_rhel_10_a_version_lock_keeps_to_the_branch(
    wish: str, lock: str, moves: bool, rpm: Any, decide: Decide
) -> None:
    decision = decide(rpm("almalinux 10.0", None, None, disk=box()), driver=wish)
    driver = decision["driver"]
    assert (driver["action"], driver["packages"], driver["repository"]) == ("install", ["nvidia-open"], "rhel10")
    assert (driver["lock"], driver["lock_package"]) == (lock, "python3-dnf-plugin-versionlock")
    assert (driver["stream"], driver["pin"], driver["held"]) == (None, None, False)
    assert ("an upgrade inside the branch stops CUDA" in told(decision)) is moves
    assert f"locked to {lock} by dnf's versionlock; then a reboot" in str(decision["changes"])


def test_apts_driver_is_pinned_as_before(host: Any, decide: Decide) -> None:
    facts = host(None, None)
    facts["installed"]["driver"] = box()
    driver = decide(facts, driver="580")["driver"]
    assert (driver["provider"], driver["pin"], driver["held"]) == ("apt", "580.*", True)
    assert (driver["stream"], driver["lock"]) == (None, None)


def test_older_gpus_get_the_stream_with_proprietary_modules(rpm: Any, decide: Decide) -> None:
    driver = decide(rpm("rocky 9.5", None, None, disk=box(pci=["1db4"])), driver="580")["driver"]
    assert (driver["flavor"], driver["packages"]) == ("proprietary", ["cuda-drivers"])
    assert driver["stream"] == "nvidia-driver:580-dkms"


@pytest.mark.parametrize(
    ("given", "wish", "words"),
    [
        pytest.param(
            {"system": "fedora 42"},
            "580",
            ["repository fedora42 has the drivers of all branches under one name", "keeps dnf to branch 580"],
            id="fedora",
        ),
        pytest.param({"system": "rhel 10.0"}, "575", ["branch 575 in NVIDIA's repository rhel10"], id="rhel-10-older"),
        pytest.param(
            {"system": "sles 15.6", "family": "suse"},
            "580",
            ["repository sles15", "keeps zypper to branch 580", "as NVIDIA's driver installation guide says"],
            id="sles",
        ),
        pytest.param(
            {"system": "fedora 40"},
            "580",
            ["no driver for Fedora 40 on x86_64", "RHEL 9", "Amazon Linux 2023"],
            id="no-folder",
        ),
        pytest.param({}, "570", ["branch 570 in NVIDIA's repository rhel9", "since branch 575 are"], id="older-branch"),
        pytest.param(
            {},
            "580.95.05",
            ["driver 580.95.05 is asked for by its version", "keeps to the branch alone", 'Set driver: "580".'],
            id="one-version",
        ),
        pytest.param({"tools": {"dnf": None}}, "580", ["rocky has no dnf"], id="without-dnf"),
        pytest.param(
            {"installed": {"module_version": "570.133.20", "library_version": "570.133.20"}},
            "580",
            ["driver 570.133.20 is there", "replaces no driver", "Change it the way it was installed"],
            id="another-driver",
        ),
    ],
)
def test_a_driver_that_is_refused(given: Facts, wish: str, words: list[str], rpm: Any, decide: Decide) -> None:
    others = {key: value for key, value in given.items() if key != "installed"}
    others.setdefault("system", "rocky 9.5")
    decision = decide(rpm(gpu=None, native=None, **others, disk=box(**given.get("installed", {}))), driver=wish)
    assert decision["verdict"] == "blocked"
    assert [word for word in words if word not in told(decision)] == []


def test_a_driver_that_waits_for_the_reboot_gets_no_pin_of_apt(rpm: Any, decide: Decide) -> None:
    waits = {"module_version": "580.95.05", "library_version": "580.95.05", "loaded_version": "570.133.20"}
    driver = decide(rpm("rocky 9.5", native="570.133.20", disk=box(**waits)), driver="580")["driver"]
    assert (driver["reboot"], driver["provider"], driver["pin"]) == ("pending", "rpm", None)


def test_what_is_there_needs_no_warning(rpm: Any, decide: Decide) -> None:
    there = {"module_version": "580.95.05", "library_version": "580.95.05", "loaded_version": "580.95.05"}
    assert UNTRIED not in told(decide(rpm("rocky 9.5", disk=box(**there)), driver="580", cuda="13.0"))


def test_a_driver_of_the_wished_branch_is_used_as_it_is(rpm: Any, decide: Decide) -> None:
    there = {"module_version": "580.95.05", "library_version": "580.95.05", "loaded_version": "580.95.05"}
    decision = decide(rpm("rocky 9.5", disk=box(**there)), driver="580")
    assert (decision["driver"]["action"], decision["driver"]["packages"]) == ("none", [])
    assert [change for change in decision["changes"] if change["role"] == "nvidia_driver"] == []
