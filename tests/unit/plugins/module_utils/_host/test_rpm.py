# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host.rpm import (
    Package,
    find_manager,
    find_refused,
    list_from_nvidia,
    name_of,
    parse_installed,
    parse_summary,
    told,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import load_catalogue

SUSE = 'NAME="SLES"\nID="sles"\nID_LIKE="suse"\nVERSION_ID="15.6"\n'
ROCKY = 'ID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.5"\n'


@pytest.mark.parametrize(
    ("os_release", "programs", "manager"),
    [
        pytest.param(ROCKY, {"dnf"}, "dnf", id="rocky"),
        pytest.param(ROCKY, {"dnf", "zypper"}, "dnf", id="both-on-rocky"),
        pytest.param(SUSE, {"dnf", "zypper"}, "zypper", id="both-on-suse"),
        pytest.param('ID="opensuse-leap"\n', {"dnf", "zypper"}, "zypper", id="leap"),
        pytest.param('ID="sle-micro"\n', {"zypper", "dnf"}, "zypper", id="micro"),
        pytest.param("ID=fedora\n", {"zypper"}, "zypper", id="what-there-is"),
        pytest.param(ROCKY, set(), None, id="neither"),
        pytest.param("", {"dnf"}, "dnf", id="unknown-system"),
    ],
)
def test_the_systems_own_package_manager(os_release: str, programs: set[str], manager: str | None) -> None:
    assert find_manager(os_release, programs.__contains__) == manager


def test_installed_packages() -> None:
    text = "warning: x\nbash\t5.1.8-9.el9\tRocky\ncuda-nvcc-13-0\t13.0.88-1\t(none)\nlibnpp-13-0\t1-1\tNVIDIA Corp\n"
    packages = parse_installed(text)
    assert packages[0] == Package("bash", "5.1.8-9.el9", "Rocky")
    assert list_from_nvidia(packages) == ["cuda-nvcc-13-0", "libnpp-13-0"]


@pytest.mark.parametrize(
    ("nevra", "name"),
    [
        ("cuda-drivers-580.95.05-1.el9.noarch", "cuda-drivers"),
        ("nvidia-driver-3:580.95.05-1.el9.x86_64", "nvidia-driver"),
        ("cuda-13-0-13.0.2-1.x86_64", "cuda-13-0"),
        ("kmod-nvidia-open-dkms-3:580.95.05-1.amzn2023.noarch", "kmod-nvidia-open-dkms"),
        ("dkms", "dkms"),
    ],
)
def test_the_name_in_what_dnf_prints(nevra: str, name: str) -> None:
    assert name_of(nevra) == name


@pytest.mark.parametrize(
    ("said", "refused", "way"),
    [
        pytest.param("Error: Unable to find a match: x\n", [], [], id="something-else"),
        pytest.param(
            "All matches were filtered out by exclude filtering for argument: cuda-drivers\n",
            ["cuda-drivers"],
            ["cuda-drivers"],
            id="by-its-name",
        ),
        pytest.param(
            "  - package nodejs-1:18-1.x86_64 is filtered out by exclude filtering\n", [], [], id="excluded-by-the-host"
        ),
        pytest.param(
            " Problem: package a-1-1.noarch requires cuda-drivers, but none of the providers can be installed\n"
            "  - package cuda-drivers-580.95.05-1.noarch is filtered out by exclude filtering\n"
            "  - package cuda-drivers-575.57.08-1.noarch is filtered out by exclude filtering\n",
            ["cuda-drivers"],
            ["a", "cuda-drivers"],
            id="two-versions-of-one",
        ),
    ],
)
def test_what_dnf_was_kept_from(said: str, refused: list[str], way: list[str]) -> None:
    assert find_refused(said) == (refused, way)


def test_zyppers_summary_has_what_is_changed_and_no_patterns() -> None:
    text = (
        "<?xml version='1.0'?>\n<stream><install-summary><to-upgrade>"
        '<solvable type="package" name="libcuda1" edition="1-1"/></to-upgrade><to-install>'
        '<solvable type="pattern" name="base"/><solvable type="package" name="gcc-c++" edition="7-1"/></to-install>'
        '<to-remove><solvable type="package" name="old"/></to-remove></install-summary></stream>'
    )
    assert parse_summary(text) == ["gcc-c++", "libcuda1"]
    with pytest.raises(ValueError, match="zypper answered with something else than XML"):
        parse_summary("Loading repository data...")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "Error: \n Problem: nothing provides dkms needed by kmod-1\n(try to add '--skip-broken')\n",
            "Problem: nothing provides dkms needed by kmod-1",
        ),
        (
            "error: Failed dependencies:\n\ta is needed by (installed) b\n",
            "Failed dependencies: a is needed by (installed) b",
        ),
        ('<stream><message type="error">No &apos;x&apos;.</message></stream>', "No 'x'"),
        (
            "Package cuda-nvcc-12-8-12.8.93-1.noarch.rpm is not signed\nError: GPG check FAILED\n",
            "Package cuda-nvcc-12-8-12.8.93-1.noarch.rpm is not signed GPG check FAILED",
        ),
        ("", "no reason given"),
    ],
)
def test_complaints_are_one_line(text: str, line: str) -> None:
    assert told(text) == line


def test_the_managers_are_the_catalogues() -> None:
    rows = load_catalogue()["cuda"]["managers"]
    assert {name for name, row in rows.items() if row["provider"] == "rpm"} == {"dnf", "zypper"}
