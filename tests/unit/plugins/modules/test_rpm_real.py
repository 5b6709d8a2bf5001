# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules with the real dnf 4, zypper and rpm on a repository of small packages, inside a folder of their own."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

PROGRAMS = ("dnf", "rpm", "rpmbuild", "createrepo_c")
LACKING = [name for name in PROGRAMS if shutil.which(name) is None]
pytestmark = pytest.mark.skipif(
    bool(LACKING) or os.geteuid() != 0,
    reason=f"needs root and {', '.join(PROGRAMS)}; this machine lacks {', '.join(LACKING) or 'root'}",
)
SPEC = """\
Name: {name}
Version: {version}
Release: 1
Summary: A package of a test
License: GPL-3.0-or-later
Vendor: NVIDIA
BuildArch: noarch
{needs}
%description
A package of a test.
%files
"""
PACKAGES = {
    "cuda-nvcc-12-8": ("12.8.93", "Requires: cuda-crt-12-8"),
    "cuda-crt-12-8": ("12.8.93", ""),
    "cuda-compat-12-8": ("570.124.06", ""),
    "site-tools": ("1.0", "Requires: site-gpu"),
    "site-gpu": ("1.0", "Requires: nvidia-driver-cuda"),
    "nvidia-driver-cuda": ("580.95.05", ""),
}
# rpm of Debian keeps its database in the user's folder.
MACROS = "%_dbpath /var/lib/rpm\n"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with the packages and their index."""
    folder = tmp_path_factory.mktemp("repository")
    specs = []
    for name, (version, needs) in PACKAGES.items():
        specs.append(folder / f"{name}.spec")
        specs[-1].write_text(SPEC.format(name=name, version=version, needs=needs))
    define = ["--define", f"_topdir {folder}/build", "--define", f"_rpmdir {folder}/packages"]
    subprocess.run(["rpmbuild", "--quiet", *define, "-bb", *specs], check=True, capture_output=True)
    subprocess.run(["createrepo_c", "--quiet", folder / "packages"], check=True, capture_output=True)
    return folder / "packages"


class Host:
    """A root folder on which dnf, zypper and rpm work, and a search path on which they do so."""

    def __init__(self, folder: pathlib.Path, repository: pathlib.Path, run_module: Callable[..., Any]) -> None:
        self.folder, self.root, self.run_module = folder, folder / "root", run_module
        repositories, macros = self.root / "etc/zypp/repos.d", folder / ".rpmmacros"
        repositories.mkdir(parents=True)
        macros.write_text(MACROS)
        (repositories / "test.repo").write_text(
            f"[test]\nname=test\nbaseurl=file://{repository}\nenabled=1\nautorefresh=1\ngpgcheck=0\n"
        )
        options = {
            "rpm": f"--root={self.root}",
            "dnf": f"--installroot={self.root} --releasever=9 --setopt=cachedir={folder}/cache"
            f" --setopt=reposdir={repositories} --setopt=logdir={folder}",
            "zypper": f"--root {self.root} --no-gpg-checks",
        }
        (folder / "bin").mkdir()
        for name, words in options.items():
            program = folder / "bin" / name
            program.write_text(f'#!/bin/sh\nexport HOME={folder}\nexec {shutil.which(name)} {words} "$@"\n')
            program.chmod(0o755)

    def run(self, *packages: str, check: bool = False, fails: bool = False, **params: Any) -> dict[str, Any]:
        environ = {**os.environ, "PATH": f"{self.folder}/bin:{os.environ['PATH']}"}
        given = {"packages": list(packages), "hint": "do this", **params}
        ran = self.run_module("rpm_packages", given, check=check, environ=environ)
        assert ran.failed == fails, ran
        return dict(ran.data)

    @property
    def installed(self) -> list[str]:
        words = [self.folder / "bin/rpm", "--query", "--all", "--queryformat", "%{NAME}\n"]
        return sorted(subprocess.run(words, check=True, capture_output=True, text=True).stdout.split())


@pytest.fixture
def host(tmp_path: pathlib.Path, repository: pathlib.Path, run_module: Callable[..., Any]) -> Host:
    return Host(tmp_path, repository, run_module)


def test_dnf_installs_and_removes(host: Host) -> None:
    assert host.run("cuda-nvcc-12-8", check=True)["changed"]
    assert host.installed == []
    answer = host.run("cuda-nvcc-12-8")
    assert (answer["changed"], answer["manager"]) == (True, "dnf")
    assert host.installed == ["cuda-crt-12-8", "cuda-nvcc-12-8"]
    assert not host.run("cuda-nvcc-12-8")["changed"]
    msg = host.run("cuda-crt-12-8", state="absent", fails=True)["msg"]
    assert "cuda-crt-12-8 is needed by (installed) cuda-nvcc-12-8" in msg
    assert host.run("cuda-nvcc-12-8", state="absent")["packages"] == ["cuda-nvcc-12-8"]
    assert host.installed == []  # and what was installed for it alone


@pytest.mark.parametrize("check", [False, True])
def test_dnf_is_kept_from_a_driver_that_a_dependency_needs(*, check: bool, host: Host) -> None:
    answer = host.run("cuda-nvcc-12-8", "site-tools", check=check, fails=True)
    assert answer["drivers"] == ["nvidia-driver-cuda"]
    assert answer["msg"].startswith(
        "dnf would install nvidia-driver-cuda, which site-tools → site-gpu pulls in: a part of NVIDIA's driver"
    )
    assert host.installed == []


def test_dnf_says_what_the_repository_lacks(host: Host) -> None:
    msg = host.run("cuda-nvcc-99-9", fails=True)["msg"]
    assert msg == "dnf could not install cuda-nvcc-99-9: Unable to find a match: cuda-nvcc-99-9."
    assert host.run("cuda-nvcc-99-9", check=True, fails=True)["msg"] == msg


def test_dnf_takes_a_version_without_its_release(host: Host) -> None:
    assert host.run("cuda-compat-12-8", version="570.124.06")["changed"]
    assert host.installed == ["cuda-compat-12-8"]
    msg = host.run("cuda-crt-12-8", version="12.8.99", fails=True)["msg"]
    assert "Unable to find a match: cuda-crt-12-8-12.8.99*" in msg


@pytest.fixture
def suse(host: Host, monkeypatch: pytest.MonkeyPatch) -> Host:
    """The same host as one of SUSE's, which zypper serves."""
    if shutil.which("zypper") is None:
        pytest.skip("this machine lacks zypper")
    module = "ansible_collections.podsmith.gpu.plugins.modules.rpm_packages"
    monkeypatch.setattr(f"{module}.rpm.find_manager", lambda _text, _has: "zypper")
    return host


def test_zyppers_forecast_is_read(suse: Host) -> None:
    answer = suse.run("cuda-nvcc-12-8", "cuda-compat-12-8", check=True)
    assert (answer["changed"], answer["manager"]) == (True, "zypper")
    assert suse.run("cuda-compat-12-8", version="570.124.06", check=True)["changed"]
    assert suse.installed == []


def test_a_driver_in_zyppers_forecast_is_refused(suse: Host) -> None:
    answer = suse.run("site-tools", fails=True)
    assert answer["msg"].startswith(
        "zypper would install nvidia-driver-cuda, which site-tools pulls in: a part of NVIDIA's driver for Linux"
    )
    assert suse.installed == []


def test_zypper_says_what_the_repository_lacks(suse: Host) -> None:
    msg = suse.run("cuda-nvcc-99-9", fails=True)["msg"]
    assert msg == "zypper could not install cuda-nvcc-99-9: No provider of 'cuda-nvcc-99-9' found."
