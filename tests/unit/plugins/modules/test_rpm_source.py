# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module in scratch folders, with a key that a test can build and an rpm that is a few lines of shell."""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

KEY = b"\x99\x00\x04\x04abc"
FINGERPRINT = hashlib.sha1(KEY).hexdigest()
SHORT = FINGERPRINT[-8:]
URI = "https://repo.example.org/cuda/repos/rhel9/x86_64/"
RPM = """\
#!/bin/sh
echo "rpm $*" >>{folder}/asked
case "$*" in
  "--query gpg-pubkey "*) cat {folder}/keys ;;
  --import*) printf 'gpg-pubkey-{short}-62589a51\\t{short}\\n' >>{folder}/keys ;;
  --erase*) : >{folder}/keys ;;
  *--all*) cat {folder}/installed ;;
esac
"""


class Host:
    """Scratch folders for repository files and keys."""

    def __init__(self, root: pathlib.Path, run_module: Callable[..., Any]) -> None:
        self.root, self.run_module = root, run_module
        self.folder, self.keys, self.key = root / "repos.d", root / "rpm-gpg", root / "key.pub"
        self.key.write_bytes(KEY)
        self.repository = self.folder / "podsmith-cuda.repo"
        self.keyring = self.keys / "RPM-GPG-KEY-podsmith-cuda"
        (root / "keys").write_text("gpg-pubkey-8483c65d-5ccc5b19\t8483c65d\n")
        (root / "installed").write_text("bash\t5.1.8-9.el9\tRocky Linux\n")
        (root / "rpm").write_text(RPM.format(folder=root, short=SHORT))
        (root / "rpm").chmod(0o755)

    def run(self, *, check: bool = False, fails: bool = False, **params: Any) -> dict[str, Any]:
        given = {"name": "cuda", "uri": URI, "key_url": self.key.as_uri(), "key_fingerprint": FINGERPRINT}
        given |= {"folder": str(self.folder), "keys": str(self.keys), "hint": "do this", **params}
        ran = self.run_module("rpm_source", given, check=check, environ={"PATH": f"{self.root}:/bin"})
        assert ran.failed == fails, ran
        return dict(ran.data)

    def remove(self, *, check: bool = False) -> dict[str, Any]:
        given = {"name": "cuda", "state": "absent", "unless_used": True}
        given |= {"folder": str(self.folder), "keys": str(self.keys)}
        ran = self.run_module("rpm_source", given, check=check, environ={"PATH": f"{self.root}:/bin"})
        assert not ran.failed, ran
        return dict(ran.data)

    @property
    def trusted(self) -> str:
        return (self.root / "keys").read_text()


@pytest.fixture
def host(tmp_path: pathlib.Path, run_module: Callable[..., Any]) -> Host:
    return Host(tmp_path, run_module)


def test_repository_is_written_once(host: Host) -> None:
    asked = host.run(check=True)
    assert (asked["changed"], asked["listed"]) == (True, False)
    assert not host.folder.exists()
    assert SHORT not in host.trusted
    written = host.run()
    assert (written["changed"], written["listed"]) == (True, True)
    assert host.repository.read_text() == (
        "# Written by podsmith.gpu\n# podsmith.gpu imported its key\n[podsmith-cuda]\n"
        f"name=cuda, added by podsmith.gpu\nbaseurl={URI}\nenabled=1\nautorefresh=1\ngpgcheck=1\n"
        f"gpgkey=file://{host.keyring}\n"
    )
    assert host.keyring.read_bytes() == KEY
    assert SHORT in host.trusted
    host.key.unlink()
    assert not host.run()["changed"]


def test_key_is_pinned(host: Host) -> None:
    answer = host.run(key_fingerprint="610C 7B14 E068 A878 070D A4E9 9CD0 A493 D42D 0685", fails=True)
    assert answer["msg"] == (
        f"{host.key.as_uri()} holds the key {FINGERPRINT.upper()}; expected"
        " 610C7B14E068A878070DA4E99CD0A493D42D0685. Nothing was changed; do this."
    )
    assert not host.folder.exists()
    assert not host.keys.exists()
    assert "--import" not in (host.root / "asked").read_text()


@pytest.mark.parametrize("content", [b"<html>", KEY + b"\x99\x00\x04\x04xyz"])
def test_what_is_not_the_key_alone_is_refused(content: bytes, host: Host) -> None:
    host.key.write_bytes(content)
    assert host.run(fails=True)["msg"].endswith("do this.")
    assert not host.keys.exists()


@pytest.mark.parametrize(
    ("text", "is_used"),
    [
        pytest.param(f"[cuda-rhel9-x86_64]\nname=cuda\nbaseurl={URI}\nenabled=1\n", True, id="nvidias-own"),
        pytest.param(f"[cuda]\nbaseurl = {URI.rstrip('/')}\n", True, id="without-slash"),
        pytest.param(f"[cuda]\nbaseurl={URI}\nenabled=0\n", False, id="off"),
        pytest.param(f"[a]\nenabled=0\nbaseurl={URI}\n[b]\nbaseurl={URI}\n", True, id="second-section"),
        pytest.param("[cuda]\nbaseurl=https://repo.example.org/cuda/repos/rhel8/x86_64/\n", False, id="another"),
    ],
)
def test_repository_of_the_image_is_used(text: str, is_used: bool, host: Host) -> None:
    host.folder.mkdir()
    (host.folder / "cuda.repo").write_text(text)
    answer = host.run()
    assert answer["changed"] is not is_used
    assert answer["source"] == str(host.folder / "cuda.repo" if is_used else host.repository)
    assert answer["listed"] is True


def test_removal_takes_back_the_key_that_was_imported_here(host: Host) -> None:
    host.run()
    assert host.remove(check=True)["changed"]
    assert host.repository.exists()
    assert host.remove()["changed"]
    assert not host.repository.exists()
    assert not host.keyring.exists()
    assert f"rpm --erase gpg-pubkey-{SHORT}-62589a51" in (host.root / "asked").read_text()
    assert not host.remove()["changed"]


def test_a_key_that_was_trusted_before_stays(host: Host) -> None:
    """Since rpm 6 an entry is named by the whole fingerprint."""
    (host.root / "keys").write_text(f"gpg-pubkey-{FINGERPRINT}-62589a51\t{FINGERPRINT}\n")
    host.run()
    assert "imported" not in host.repository.read_text()
    host.remove()
    assert FINGERPRINT in host.trusted


def test_it_stays_while_a_package_came_from_it(host: Host) -> None:
    host.run()
    (host.root / "installed").write_text("libcublas-13-0\t13.1.0-1\tNVIDIA Corporation\ncuda-nvcc-13-0\t1-1\t(none)\n")
    answer = host.remove()
    assert (answer["changed"], answer["used_by"]) == (False, ["cuda-nvcc-13-0", "libcublas-13-0"])
    assert host.repository.exists()
