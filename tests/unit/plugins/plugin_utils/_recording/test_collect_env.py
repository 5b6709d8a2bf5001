"""What PyTorch's collect_env prints on many systems."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._recording.collect_env import parse_collect_env
from ansible_collections.podsmith.gpu.plugins.plugin_utils._recording.errors import RecordingError

CASES = Path(__file__).parents[4] / "fixtures" / "texts"

SYSTEMS = [
    ("Debian GNU/Linux 12 (bookworm) (x86_64)", "debian", "12", "debian"),
    ("Ubuntu 22.04.5 LTS (aarch64)", "ubuntu", "22.04", "debian"),
    ("Red Hat Enterprise Linux 9.4 (Plow) (x86_64)", "rhel", "9.4", "redhat"),
    ("Red Hat Enterprise Linux release 8.6 (Ootpa) (x86_64)", "rhel", "8.6", "redhat"),
    ("Rocky Linux 9.3 (Blue Onyx) (x86_64)", "rocky", "9.3", "redhat"),
    ("AlmaLinux 10.0 (Purple Lion) (x86_64)", "almalinux", "10.0", "redhat"),
    ("CentOS Linux 7 (Core) (x86_64)", "centos", "7", "redhat"),
    ("CentOS Stream 9 (x86_64)", "centos", "9", "redhat"),
    ("Oracle Linux Server 8.9 (x86_64)", "ol", "8.9", "redhat"),
    ("Fedora Linux 42 (Workstation Edition) (x86_64)", "fedora", "42", "redhat"),
    ("Amazon Linux 2023.6.20241010 (x86_64)", "amzn", "2023.6", "redhat"),
    ("Amazon Linux 2 (x86_64)", "amzn", "2", "redhat"),
    ("SUSE Linux Enterprise Server 15 SP5 (x86_64)", "sles", "15.5", "suse"),
    ("openSUSE Leap 15.6 (x86_64)", "opensuse-leap", "15.6", "suse"),
    ("openSUSE Tumbleweed (x86_64)", "opensuse-tumbleweed", None, "suse"),
    ("Arch Linux (x86_64)", "arch", None, "arch"),
    ("Linux Mint 22 (x86_64)", "linuxmint", "22", "debian"),
    ("Pop!_OS 22.04 LTS (x86_64)", "pop", "22.04", "debian"),
    ("Alpine Linux v3.20 (x86_64)", "alpine", "3.20", "alpine"),
    ("NixOS 24.11 (Vicuna) (x86_64)", "nixos", "24.11", None),
]


@pytest.mark.parametrize(("line", "system", "version", "family"), SYSTEMS)
def test_the_system_by_its_pretty_name(line: str, system: str, version: str | None, family: str | None) -> None:
    platform = parse_collect_env(f"OS: {line}\n")["platform"]
    assert platform["os"] == {"id": system, "version": version, "family": family}
    assert platform["arch"] in line


@pytest.mark.parametrize("line", ["OS: Could not collect\n", "OS: Foonux 3 (x86_64)\n"])
def test_a_system_that_nobody_knows_is_unknown(line: str) -> None:
    assert "os" not in parse_collect_env(line).get("platform", {})


@pytest.mark.parametrize("name", ["Microsoft Windows 11 Pro (10.0.22631 64-bit)", "macOS 15.1 (arm64)"])
def test_another_system_is_refused_by_name(name: str) -> None:
    with pytest.raises(RecordingError) as refused:
        parse_collect_env(f"OS: {name}\n")
    assert str(refused.value) == (
        f"collect_env.txt is of {name}; expected Linux. On Windows record inside WSL2; other systems have no CUDA."
    )


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("(Ubuntu 13.3.0-6ubuntu2~24.04) 13.3.0", "13.3.0"),
        ("(GCC) 11.5.0 20240719 (Red Hat 11.5.0-5)", "11.5.0"),
        ("(SUSE Linux) 7.5.0", "7.5.0"),
        ("(Gentoo 13.2.1_p20240113-r1 p12) 13.2.1 20240113", "13.2.1"),
        ("(conda-forge gcc 13.2.0-7) 13.2.0", "13.2.0"),
        ("14.2.0", "14.2.0"),
        ("Could not collect", None),
    ],
)
def test_the_compiler_of_any_distribution(line: str, version: str | None) -> None:
    found = parse_collect_env(f"OS: Ubuntu 24.04 LTS (x86_64)\nGCC version: {line}\n")["platform"].get("compiler")
    assert found == ({"version": version} if version else None)


def gpus(*lines: str, driver: str = "580.95.05") -> str:
    return "\n".join((f"GPU models and configuration: {lines[0]}", *lines[1:], f"Nvidia driver version: {driver}", ""))


DEVICES: list[tuple[str, Any]] = [
    (gpus("GPU 0: NVIDIA H100 80GB HBM3"), ["NVIDIA H100 80GB HBM3"]),
    (gpus("", "GPU 0: NVIDIA L4", "GPU 1: NVIDIA L4"), ["NVIDIA L4", "NVIDIA L4"]),
    (gpus("GPU 0: NVIDIA A100", "  MIG 1g.5gb     Device  0:"), ["NVIDIA A100"]),
    (gpus("Could not collect", driver="Could not collect"), None),
    (gpus("N/A"), None),
    (gpus("No CUDA", driver="No CUDA"), None),
]


@pytest.mark.parametrize(("text", "names"), DEVICES)
def test_the_gpus(text: str, names: list[str] | None) -> None:
    found = parse_collect_env(text).get("devices")
    assert (None if found is None else [device["name"] for device in found]) == names


@pytest.mark.parametrize("told", ["No CUDA", "Could not collect"])
def test_what_does_not_tell_of_a_driver_is_not_read_as_none(told: str) -> None:
    """No CUDA is printed as well where nvidia-smi is there and fails, as after an upgrade of the driver."""
    assert {"driver", "devices"} & set(parse_collect_env(gpus(told, driver=told))) == set()


def test_a_quoted_text_is_read_like_any_other() -> None:
    text = (CASES / "collect-env-alone" / "collect_env.txt").read_text(encoding="utf-8")
    quoted = "".join(f"> {line}\r\n" for line in text.splitlines())
    assert parse_collect_env(quoted) == parse_collect_env(text)


def test_musl_is_told() -> None:
    text = "Libc version: N/A\nPython platform: Linux-6.6.0-x86_64-with-musl\n"
    assert parse_collect_env(text)["platform"]["libc"] == "musl"


@pytest.mark.parametrize(("word", "works"), [("True", True), ("False", False), ("N/A", None)])
def test_whether_torch_found_cuda(word: str, works: bool | None) -> None:
    assert parse_collect_env(f"Is CUDA available: {word}\n").get("cuda_works") is works
