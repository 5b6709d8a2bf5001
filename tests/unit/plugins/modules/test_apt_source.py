# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module in a scratch folder of apt's configuration, with a key that a test can build."""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.modules import apt_source as module

KEY = b"\x99\x00\x04\x04abc"
FINGERPRINT = hashlib.sha1(KEY).hexdigest()
URI = "https://repo.example.org/cuda/repos/ubuntu2404/x86_64/"


class Host:
    """A scratch /etc/apt, with the key in a file."""

    def __init__(self, root: pathlib.Path, run_module: Callable[..., Any]) -> None:
        self.run_module = run_module
        self.folder, self.lists, self.key = root / "apt", root / "lists", root / "key.pub"
        self.lists.mkdir()
        self.key.write_bytes(KEY)
        self.source = self.folder / "sources.list.d/podsmith-cuda.sources"
        self.keyring = self.folder / "keyrings/podsmith-cuda.gpg"

    def run(self, *, check: bool = False, fails: bool = False, **params: Any) -> dict[str, Any]:
        given = {
            "name": "cuda",
            "uri": URI,
            "key_url": self.key.as_uri(),
            "key_fingerprint": FINGERPRINT,
            "hint": "do this",
        }
        given |= {"folder": str(self.folder), "lists": str(self.lists), **params}
        ran = self.run_module("apt_source", given, check=check)
        assert ran.failed == fails, ran
        return dict(ran.data)


@pytest.fixture
def host(tmp_path: pathlib.Path, run_module: Callable[..., Any]) -> Host:
    return Host(tmp_path, run_module)


def test_source_is_written_once(host: Host) -> None:
    assert host.run(check=True)["changed"]
    assert not host.folder.exists()
    assert host.run()["changed"]
    assert host.source.read_text() == (
        f"# Written by podsmith.gpu\nTypes: deb\nURIs: {URI}\nSuites: /\nSigned-By: {host.keyring}\n"
    )
    assert host.keyring.read_bytes() == KEY
    assert oct(host.keyring.stat().st_mode)[-3:] == "644"
    host.key.unlink()
    assert not host.run()["changed"]


def test_key_is_pinned(host: Host) -> None:
    answer = host.run(key_fingerprint="EB69 3B30 35CD 5710 E231 E123 A4B4 6996 3BF8 63CC", fails=True)
    assert answer["msg"] == (
        f"{host.key.as_uri()} holds the key {FINGERPRINT.upper()}; expected"
        " EB693B3035CD5710E231E123A4B469963BF863CC. Nothing was changed; do this."
    )
    assert not host.folder.exists()
    host.run()
    host.keyring.write_bytes(KEY + KEY)
    assert host.run()["changed"]
    assert host.keyring.read_bytes() == KEY


def test_second_key_in_the_file_is_refused(host: Host) -> None:
    host.key.write_bytes(KEY + b"\x99\x00\x04\x04xyz")
    assert "Nothing was changed" in host.run(fails=True)["msg"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<html>", "is not a key for apt: it holds no OpenPGP public key; expected the key "),
        (None, "could not be fetched ("),
    ],
)
def test_no_key(host: Host, content: bytes | None, words: str) -> None:
    host.key.unlink() if content is None else host.key.write_bytes(content)
    assert words in host.run(fails=True)["msg"]


@pytest.mark.parametrize(
    ("name", "text", "is_used"),
    [
        ("cuda.list", f"deb [signed-by=/usr/share/keyrings/x.gpg] {URI} /\n", True),
        ("cuda.list", f"deb {URI.rstrip('/')} /\n", True),
        ("cuda.sources", f"Types: deb\nURIs: {URI}\nSuites: /\n", True),
        ("cuda.list", f"# deb {URI} /\n", False),
        ("cuda.sources", f"Enabled: no\nTypes: deb\nURIs: {URI}\nSuites: /\n", False),
        ("cuda.list", "deb https://repo.example.org/cuda/repos/ubuntu2404/sbsa/ /\n", False),
        ("cuda.list.disabled", f"deb {URI} /\n", False),
    ],
)
def test_source_of_the_image_is_used(host: Host, name: str, text: str, is_used: bool) -> None:
    other = host.folder / "sources.list.d" / name
    other.parent.mkdir(parents=True)
    other.write_text(text)
    answer = host.run()
    assert answer["changed"] is not is_used
    assert answer["source"] == str(other if is_used else host.source)
    assert host.keyring.exists() is not is_used


@pytest.mark.parametrize(
    ("uri", "prefix"),
    [
        (URI, "repo.example.org_cuda_repos_ubuntu2404_x86%5f64"),
        ("file:///srv/repo/", "srv_repo"),
    ],
)
def test_list_prefix(uri: str, prefix: str) -> None:
    assert module.list_prefix(uri) == prefix


def test_listed_says_whether_apt_has_read_it(host: Host) -> None:
    assert not host.run()["listed"]
    (host.lists / "repo.example.org_cuda_repos_ubuntu2404_x86%5f64_Packages.lz4").touch()
    assert host.run()["listed"]


def test_removal(host: Host) -> None:
    host.run()
    assert host.run(state="absent", check=True)["changed"]
    assert host.source.exists()
    assert host.run(state="absent")["changed"]
    assert not host.source.exists()
    assert not host.keyring.exists()
    assert not host.run(state="absent")["changed"]


def test_components(host: Host) -> None:
    host.run(suite="noble", components=["main", "extra"])
    assert "Suites: noble\nComponents: main extra\n" in host.source.read_text()


@pytest.mark.parametrize(
    ("status", "used_by"),
    [
        ("", []),
        ("Package: g++\nStatus: install ok installed\nMaintainer: Debian <d@debian.org>\n", []),
        ("Package: cuda-nvcc-13-0\nStatus: install ok installed\nMaintainer: x\n", ["cuda-nvcc-13-0"]),
    ],
)
def test_source_that_is_used_stays(host: Host, tmp_path: pathlib.Path, status: str, used_by: list[str]) -> None:
    file = tmp_path / "status"
    file.write_text(status)
    host.run()
    for check in (True, False):
        answer = host.run(state="absent", unless_used=True, status=str(file), check=check)
        assert (answer["changed"], answer["used_by"]) == (not used_by, used_by)
    assert host.source.exists() is host.keyring.exists() is bool(used_by)
    assert host.run(state="absent", status=str(file))["changed"] is bool(used_by)
    assert not host.source.exists()
    answer = host.run(state="absent", unless_used=True, status=str(file))
    assert (answer["changed"], answer["used_by"]) == (False, []), "where there is no source, nothing keeps it"
