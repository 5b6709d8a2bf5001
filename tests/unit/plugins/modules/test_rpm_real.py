# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules with the real dnf 4, zypper and rpm on a repository of small packages, inside a folder of their own."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

PROGRAMS = ("dnf", "rpm", "rpmbuild", "rpmsign", "createrepo_c", "modifyrepo_c", "gpg")
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
DRIVERS = {"580-open": "580.95.05", "610-open": "610.43.02"}
MODULE = """\
---
document: modulemd
version: 2
data:
  name: nvidia-driver
  stream: "{stream}"
  version: 20251001000000
  context: "{context}"
  arch: noarch
  summary: A driver of a test
  description: A driver of a test
  license: {{module: [MIT]}}
  artifacts:
    rpms: [nvidia-open-0:{version}-1.noarch]
...
"""
# rpm of Debian keeps its database in the user's folder.
MACROS = "%_dbpath /var/lib/rpm\n"


def build(folder: pathlib.Path, packages: dict[str, tuple[str, str]]) -> list[pathlib.Path]:
    """Build packages, name to version and what each needs, below ``folder/packages``; the files of all there are."""
    specs = []
    for name, (version, needs) in packages.items():
        specs.append(folder / f"{name}-{version}.spec")
        specs[-1].write_text(SPEC.format(name=name, version=version, needs=needs))
    define = ["--define", f"_topdir {folder}/build", "--define", f"_rpmdir {folder}/packages"]
    run("rpmbuild", "--quiet", *define, "-bb", *map(str, specs))
    return sorted((folder / "packages/noarch").iterdir())


def run(*words: str, **environ: str) -> str:
    """Run a program that must succeed."""
    ran = subprocess.run(words, check=False, capture_output=True, text=True, env={**os.environ, **environ})
    assert ran.returncode == 0, ran
    return ran.stdout


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with the packages and their index; a driver of two branches is in two streams of a module."""
    folder = tmp_path_factory.mktemp("repository")
    build(folder, PACKAGES)
    for version in DRIVERS.values():
        build(folder, {"nvidia-open": (version, "")})
    rows = enumerate(DRIVERS.items())
    modules = [MODULE.format(stream=stream, version=version, context=f"{row:08}") for row, (stream, version) in rows]
    (folder / "modules.yaml").write_text("".join(modules))
    run("createrepo_c", "--quiet", f"{folder}/packages")
    run("modifyrepo_c", "--mdtype=modules", f"{folder}/modules.yaml", f"{folder}/packages/repodata")
    return folder / "packages"


class Host:
    """A root folder on which dnf, zypper and rpm work, and a search path on which they do so."""

    def __init__(self, folder: pathlib.Path, repository: pathlib.Path, run_module: Callable[..., Any]) -> None:
        self.folder, self.root, self.run_module = folder, folder / "root", run_module
        self.repositories = repositories = self.root / "etc/zypp/repos.d"
        macros = folder / ".rpmmacros"
        repositories.mkdir(parents=True)
        macros.write_text(MACROS)
        (repositories / "test.repo").write_text(
            f"[test]\nname=test\nbaseurl=file://{repository}\nenabled=1\nautorefresh=1\ngpgcheck=0\n"
        )
        options = {
            "rpm": f"--root={self.root}",
            "dnf": f"--installroot={self.root} --releasever=9 --setopt=cachedir={folder}/cache"
            f" --setopt=reposdir={repositories} --setopt=logdir={folder} --setopt=module_platform_id=platform:el9"
            " '--disableplugin=*'",
            "zypper": f"--root {self.root} --no-gpg-checks",
        }
        (folder / "bin").mkdir()
        for name, words in options.items():
            program = folder / "bin" / name
            program.write_text(f'#!/bin/sh\nexport HOME={folder}\nexec {shutil.which(name)} {words} "$@"\n')
            program.chmod(0o755)

    def run(self, *packages: str, check: bool = False, fails: bool = False, **params: Any) -> dict[str, Any]:
        return self.call("rpm_packages", packages=list(packages), hint="do this", check=check, fails=fails, **params)

    def call(self, module: str, *, check: bool = False, fails: bool = False, **params: Any) -> dict[str, Any]:
        environ = {**os.environ, "PATH": f"{self.folder}/bin:{os.environ['PATH']}"}
        ran = self.run_module(module, params, check=check, environ=environ)
        assert ran.failed == fails, ran
        return dict(ran.data)

    @property
    def installed(self) -> list[str]:
        return sorted(run(f"{self.folder}/bin/rpm", "--query", "--all", "--queryformat", "%{NAME}\n").split())


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
    assert msg.startswith("dnf could not install cuda-nvcc-99-9: ")
    assert msg.endswith("Unable to find a match: cuda-nvcc-99-9.")
    assert host.run("cuda-nvcc-99-9", check=True, fails=True)["msg"] == msg


def test_dnf_takes_a_version_without_its_release(host: Host) -> None:
    assert host.run("cuda-compat-12-8", version="570.124.06")["changed"]
    assert host.installed == ["cuda-compat-12-8"]
    msg = host.run("cuda-crt-12-8", version="12.8.99", fails=True)["msg"]
    assert "Unable to find a match: cuda-crt-12-8-12.8.99*" in msg


@pytest.fixture
def keys() -> Iterator[pathlib.Path]:
    """GnuPG's folder at a short path: the agent's socket lies in it, whose path may have 107 characters."""
    with tempfile.TemporaryDirectory(prefix="gnupg-", dir="/tmp") as folder:
        yield pathlib.Path(folder)
        run("gpgconf", "--kill", "gpg-agent", GNUPGHOME=folder)


def test_a_repository_is_trusted_by_its_pinned_key_alone(
    tmp_path: pathlib.Path, keys: pathlib.Path, host: Host
) -> None:
    folder = tmp_path / "signed"
    folder.mkdir()
    files = build(folder, {"cuda-nvcc-12-8": ("12.8.93", ""), "cuda-crt-12-8": ("12.8.93", "")})
    words = ("gpg", "--batch", "--quiet", "--passphrase", "")
    run(*words, "--quick-gen-key", "Test <test@example.org>", "rsa2048", "sign", "never", GNUPGHOME=str(keys))
    (tmp_path / "key.pub").write_text(run("gpg", "--armor", "--export", GNUPGHOME=str(keys)))
    listed = run("gpg", "--list-keys", "--with-colons", GNUPGHOME=str(keys))
    fingerprint = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))
    defines = ("--define", "_gpg_name Test", "--define", f"_gpg_path {keys}", "--define", "__gpg /usr/bin/gpg")
    run("rpmsign", *defines, "--addsign", *(str(file) for file in files if "nvcc" in file.name), GNUPGHOME=str(keys))
    run("createrepo_c", "--quiet", f"{folder}/packages")
    (host.repositories / "test.repo").unlink()
    places = {"name": "cuda", "folder": str(host.repositories), "keys": str(tmp_path / "rpm-gpg")}
    source = {**places, "uri": f"file://{folder}/packages/", "key_url": (tmp_path / "key.pub").as_uri()}
    other = host.call("rpm_source", **source, key_fingerprint="F" * 40, fails=True)
    assert f"holds the key {fingerprint}; expected {'F' * 40}" in other["msg"]
    assert host.installed == []
    assert host.call("rpm_source", **source, key_fingerprint=fingerprint)["changed"]
    assert not host.call("rpm_source", **source, key_fingerprint=fingerprint)["changed"]
    assert host.installed == ["gpg-pubkey"]
    msg = host.run("cuda-crt-12-8", fails=True)["msg"]
    assert "Package cuda-crt-12-8-12.8.93-1.noarch.rpm is not signed" in msg
    assert host.run("cuda-nvcc-12-8")["changed"]
    gone = {"state": "absent", "unless_used": True}
    assert host.call("rpm_source", **places, **gone)["used_by"] == ["cuda-nvcc-12-8"]
    assert host.run("cuda-nvcc-12-8", state="absent")["changed"]
    assert host.call("rpm_source", **places, **gone)["changed"]
    assert host.installed == []
    assert list(host.repositories.iterdir()) == []


def test_a_module_stream_keeps_dnf_to_its_branch(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    module = "ansible_collections.podsmith.gpu.plugins.modules.rpm_driver"
    monkeypatch.setattr(f"{module}.find_kind", lambda _root, _environ: "bare_metal")
    record, modules = host.folder / "driver.json", host.root / "etc/dnf/modules.d"
    asked = {"record": str(record), "modules": str(modules)}
    wanted = {**asked, "packages": ["nvidia-open"], "stream": "nvidia-driver:580-open"}
    lacking = host.call("rpm_driver", **{**wanted, "stream": "nvidia-driver:999-open"}, fails=True)
    assert "dnf could not enable nvidia-driver:999-open" in lacking["msg"]
    answer = host.call("rpm_driver", **wanted)
    assert (answer["changed"], answer["packages"]) == (True, {"nvidia-open": "580.95.05-1"})  # 610 is newer and there
    assert not host.call("rpm_driver", **wanted)["changed"]
    assert host.call("rpm_driver", **asked, state="absent")["changed"]
    assert (host.installed, record.exists()) == ([], False)
    assert "state=enabled" not in "".join(file.read_text() for file in modules.iterdir())


def test_a_version_lock_keeps_dnf_to_a_branch(
    tmp_path: pathlib.Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not list(pathlib.Path("/usr/lib/python3/dist-packages/dnf-plugins").glob("versionlock.py")):
        pytest.skip("this machine lacks dnf's plugin versionlock")
    module = "ansible_collections.podsmith.gpu.plugins.modules.rpm_driver"
    monkeypatch.setattr(f"{module}.find_kind", lambda _root, _environ: "bare_metal")
    folder = tmp_path / "drivers"
    folder.mkdir()
    build(folder, {"python3-dnf-plugin-versionlock": ("4.7.0", "")})
    for version in ("580.95.05", "580.105.08", "610.43.02"):
        build(
            folder, {"nvidia-open": (version, f"Requires: nvidia-driver = {version}"), "nvidia-driver": (version, "")}
        )
    run("createrepo_c", "--quiet", f"{folder}/packages")
    uri, locks = f"file://{folder}/packages", tmp_path / "versionlock.list"
    (host.repositories / "test.repo").write_text(f"[test]\nname=test\nbaseurl={uri}\nenabled=1\ngpgcheck=0\n")
    locks.touch()
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins/versionlock.conf").write_text(f"[main]\nenabled=1\nlocklist={locks}\n")
    program, plugin = tmp_path / "bin/dnf", f"--enableplugin=versionlock --setopt=pluginconfpath={tmp_path}/plugins"
    program.write_text(program.read_text().replace(' "$@"', f' {plugin} "$@"'))
    asked = {"record": str(tmp_path / "driver.json"), "modules": str(tmp_path / "modules.d")}
    wanted = {**asked, "packages": ["nvidia-open"], "lock_package": "python3-dnf-plugin-versionlock"}
    missing = host.call("rpm_driver", **wanted, lock="*nvidia*-999.*", fails=True)
    assert "dnf could not install nvidia-open locked to *nvidia*-999.*" in missing["msg"]
    assert "999" not in locks.read_text()
    found = host.call("rpm_driver", **wanted, lock="*nvidia*-580.*")
    assert found["packages"] == {"nvidia-driver": "580.105.08-1", "nvidia-open": "580.105.08-1"}
    assert not host.call("rpm_driver", **wanted, lock="*nvidia*-580.*")["changed"]
    assert host.call("rpm_driver", **asked, state="absent")["changed"]
    assert "nvidia*-580" not in locks.read_text()
    exact = host.call("rpm_driver", **wanted, lock="*nvidia*-580.95.05")
    assert exact["packages"] == {"nvidia-driver": "580.95.05-1", "nvidia-open": "580.95.05-1"}


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
