# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module with an rpm and a dnf that are a few lines of shell and keep what is installed in a file."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

MODULE = "ansible_collections.podsmith.gpu.plugins.modules.rpm_driver"
STREAM = "nvidia-driver:580-open"
RPM = """\
#!/bin/sh
case "$*" in
  *--all*) cat {folder}/installed ;;
  *--test*) [ -e {folder}/needed ] || exit 0; cat {folder}/needed >&2; exit 1 ;;
  "--query "*) grep -q "^$2	" {folder}/installed ;;
esac
"""
DNF = """\
#!/bin/sh
echo "dnf $*" >>{folder}/asked
case "$*" in
  *"module enable"*) [ -e {folder}/no-stream ] && echo 'Error: Problems in request:' >&2 && exit 1
    mkdir -p {folder}/modules
    printf '[nvidia-driver]\\nname=nvidia-driver\\nstream=580-open\\nprofiles=\\nstate=enabled\\n' \
      >{folder}/modules/nvidia-driver.module ;;
  *"versionlock add"*) grep -q "^python3-dnf-plugin" {folder}/installed || exit 1
    grep -qxF "$5" {folder}/locks 2>/dev/null || {{ echo "$5" >>{folder}/locks; echo "Adding versionlock on: $5"; }} ;;
  *"versionlock delete"*) : >{folder}/locks ;;
  *" install python3-dnf-plugin"*) echo 'python3-dnf-plugin-versionlock	4.7-1	Rocky' >>{folder}/installed ;;
  *"module reset"*) rm -f {folder}/modules/nvidia-driver.module ;;
  *" install "*) [ -e {folder}/no-dkms ] && echo 'Error: nothing provides dkms needed by kmod' >&2 && exit 1
    cat {folder}/coming >>{folder}/installed ;;
  *" remove "*) echo 'bash	5.1-1	Rocky' >{folder}/installed ;;
esac
"""
COMING = "nvidia-open\t580.95.05-1.el9\tNVIDIA\nkmod-nvidia-open-dkms\t580.95.05-1.el9\tNVIDIA\ndkms\t3.2.1-1\tEPEL\n"


class Host:
    """A machine that is no container, with nothing of a driver."""

    def __init__(self, folder: pathlib.Path, run_module: Callable[..., Any]) -> None:
        self.folder, self.run_module, self.record = folder, run_module, folder / "driver.json"
        (folder / "installed").write_text("bash\t5.1-1\tRocky\n")
        (folder / "coming").write_text(COMING)
        for name, text in (("rpm", RPM), ("dnf", DNF)):
            (folder / name).write_text(text.format(folder=folder))
            (folder / name).chmod(0o755)

    def run(self, *, check: bool = False, fails: bool = False, **params: Any) -> dict[str, Any]:
        given = {"packages": ["nvidia-open"], "stream": STREAM, "record": str(self.record)}
        given |= {"modules": str(self.folder / "modules"), **params}
        ran = self.run_module("rpm_driver", given, check=check, environ={"PATH": f"{self.folder}:/bin"})
        assert ran.failed == fails, ran
        return dict(ran.data)

    @property
    def asked(self) -> list[str]:
        path = self.folder / "asked"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def enabled(self) -> bool:
        return (self.folder / "modules/nvidia-driver.module").exists()


@pytest.fixture
def host(tmp_path: pathlib.Path, run_module: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(f"{MODULE}.find_kind", lambda _root, _environ: "bare_metal")
    return Host(tmp_path, run_module)


def test_the_stream_is_enabled_and_the_driver_installed_once(host: Host) -> None:
    answer = host.run()
    assert (answer["changed"], answer["reboot"], answer["before"]) == (True, True, {})
    assert answer["packages"]["nvidia-open"] == "580.95.05-1.el9"
    assert host.asked == [
        "dnf --assumeyes module enable nvidia-driver:580-open",
        "dnf --assumeyes --setopt=install_weak_deps=False install nvidia-open",
    ]
    assert json.loads(host.record.read_text()) == {
        "installed": ["kmod-nvidia-open-dkms", "nvidia-open"],
        "stream": STREAM,
    }
    again = host.run()
    assert (again["changed"], again["reboot"], len(host.asked)) == (False, True, 2)


def test_check_mode_changes_nothing(host: Host) -> None:
    assert host.run(check=True)["changed"]
    assert (host.asked, host.enabled, host.record.exists()) == ([], False, False)


def test_a_stream_that_was_enabled_for_nothing_is_reset(host: Host) -> None:
    (host.folder / "no-dkms").touch()
    answer = host.run(fails=True)
    assert answer["msg"] == (
        "dnf could not install nvidia-open from the stream nvidia-driver:580-open: nothing provides dkms needed by"
        " kmod. On RHEL and what is like it, DKMS comes from EPEL, which must be enabled first; where a module was not"
        " built, see /var/lib/dkms/nvidia*/*/build/make.log."
    )
    assert not host.enabled
    assert not host.record.exists()


def test_a_stream_that_the_repository_lacks(host: Host) -> None:
    (host.folder / "no-stream").touch()
    assert "see dnf module list nvidia-driver for the streams" in host.run(fails=True)["msg"]
    assert [line for line in host.asked if " install " in line] == []


LOCK = {"stream": None, "lock": "*nvidia*-580.*", "lock_package": "python3-dnf-plugin-versionlock"}


def test_where_there_are_no_streams_a_lock_is_added_before_the_driver(host: Host) -> None:
    answer = host.run(**LOCK)
    assert (answer["changed"], answer["packages"]["nvidia-open"]) == (True, "580.95.05-1.el9")
    assert [line.partition(" install ")[2] or line for line in host.asked] == [
        "python3-dnf-plugin-versionlock",
        "dnf --assumeyes versionlock add --raw *nvidia*-580.*",
        "nvidia-open",
    ]
    assert "--exclude=nvidia-driver*" in host.asked[0]
    assert json.loads(host.record.read_text())["lock"] == "*nvidia*-580.*"
    assert not host.run(**LOCK)["changed"]
    assert host.run(state="absent", packages=[], stream=None)["changed"]
    assert host.asked[-1] == "dnf --assumeyes versionlock delete --raw *nvidia*-580.*"


@pytest.mark.parametrize("there", [False, True])
def test_a_lock_goes_again_where_it_was_added_for_nothing(*, there: bool, host: Host) -> None:
    (host.folder / "no-dkms").touch()
    (host.folder / "locks").write_text("*nvidia*-580.*\n" * there)
    msg = host.run(**LOCK, fails=True)["msg"]
    assert msg.startswith("dnf could not install nvidia-open locked to *nvidia*-580.*: nothing provides dkms")
    assert (host.folder / "locks").read_text() == "*nvidia*-580.*\n" * there


def test_a_lock_that_cannot_be_added_installs_nothing(host: Host) -> None:
    msg = host.run(**{**LOCK, "lock_package": None}, fails=True)["msg"]
    assert msg == "dnf could not lock *nvidia*-580.*: no reason given; nothing of a driver was installed."
    assert [line for line in host.asked if " install " in line] == []


@pytest.mark.parametrize(
    ("installed", "enabled", "words"),
    [
        pytest.param(
            "nvidia-driver-cuda\t570.133.20-1\tNVIDIA\n",
            "",
            ["A driver is here already (nvidia-driver-cuda 570.133.20-1)", "Nothing was changed"],
            id="another-driver",
        ),
        pytest.param("akmod-nvidia\t580.95.05-1.fc42\tRPM Fusion\n", "", ["(akmod-nvidia"], id="rpm-fusion"),
        pytest.param(
            "",
            "[nvidia-driver]\nstream=575-open\nstate=enabled\n",
            ["The stream nvidia-driver:575-open is enabled", "run: dnf module reset nvidia-driver"],
            id="another-stream",
        ),
    ],
)
def test_what_is_there_is_not_touched(installed: str, enabled: str, words: list[str], host: Host) -> None:
    (host.folder / "installed").write_text(installed)
    if enabled:
        (host.folder / "modules").mkdir()
        (host.folder / "modules/nvidia-driver.module").write_text(enabled)
    msg = host.run(fails=True)["msg"]
    assert [word for word in words if word not in msg] == []
    assert host.asked == []


def test_a_driver_of_another_branch_than_the_streams_is_told(host: Host) -> None:
    (host.folder / "coming").write_text(COMING.replace("580.95.05", "615.71.09"))
    msg = host.run(fails=True)["msg"]
    assert "615.71.09-1.el9 from the stream nvidia-driver:580-open; expected branch 580." in msg
    assert json.loads(host.record.read_text())["installed"] != []


def test_removal_takes_what_was_installed_here(host: Host) -> None:
    host.run()
    assert host.run(state="absent", check=True)["changed"]
    assert host.enabled
    assert host.run(state="absent", packages=[], stream=None)["changed"]
    assert (host.enabled, host.record.exists()) == (False, False)
    assert host.asked[-2].endswith("remove kmod-nvidia-open-dkms nvidia-open")
    assert host.asked[-1] == "dnf --assumeyes module reset nvidia-driver"
    assert not host.run(state="absent", packages=[], stream=None)["changed"]


def test_another_driver_is_not_removed(host: Host) -> None:
    (host.folder / "installed").write_text("nvidia-driver\t570.133.20-1\tNVIDIA\n")
    msg = host.run(state="absent", fails=True)["msg"]
    assert msg == (
        "A driver was here before this role came (nvidia-driver 570.133.20-1): it is not this role's to remove, and"
        " nothing was changed."
    )


@pytest.mark.parametrize(("kind", "words"), [("container", "uses its host's driver"), ("wsl2", "Linux driver breaks")])
def test_never_in_a_container_or_wsl2(kind: str, words: str, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{MODULE}.find_kind", lambda _root, _environ: kind)
    msg = host.run(fails=True)["msg"]
    assert words in msg
    assert msg.endswith("Nothing was changed.")
    assert host.asked == []


def test_packages_need_what_keeps_to_a_branch(host: Host) -> None:
    assert host.run(stream=None, fails=True)["msg"].startswith("stream and lock are empty; expected what keeps dnf")
