# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import (
    Root,
    find_home,
    find_user,
    is_compat,
    parse_environ,
)


def test_links_resolve_below_the_root(tmp_path: Path) -> None:
    (tmp_path / "usr/local/cuda-13.0").mkdir(parents=True)
    (tmp_path / "etc/alternatives").mkdir(parents=True)
    (tmp_path / "usr/local/cuda").symlink_to("/etc/alternatives/cuda")
    (tmp_path / "etc/alternatives/cuda").symlink_to("/usr/local/cuda-13.0")
    (tmp_path / "lib").symlink_to("usr/lib")
    (tmp_path / "loop").symlink_to("loop")
    root = Root(str(tmp_path))
    assert root.real("/usr/local/cuda/bin/nvcc") == "/usr/local/cuda-13.0/bin/nvcc"
    assert root.real("/lib/.././local/cuda") == "/usr/local/cuda-13.0"
    assert root.real("/../../etc") == "/etc"
    assert root.is_dir("/usr/local/cuda")
    assert not root.exists("/loop")


def test_a_root_is_live_only_at_the_top(tmp_path: Path) -> None:
    assert Root("/").is_live
    assert Root("//").is_live
    assert not Root(str(tmp_path)).is_live


def test_glob_gives_paths_of_the_host(tmp_path: Path) -> None:
    for name in ("opt/a/bin/x", "opt/b/bin/x", "opt/.c/bin/x", "opt/d/lib"):
        (tmp_path / name).mkdir(parents=True)
    root = Root(str(tmp_path))
    assert root.glob("/opt/*/bin") == ["/opt/a/bin", "/opt/b/bin"]
    assert root.glob("/opt/a") == ["/opt/a"]
    assert root.glob("/nowhere/*") == []


def test_what_can_not_be_read_is_empty(tmp_path: Path) -> None:
    root = Root(str(tmp_path))
    assert (root.read("/nowhere"), root.listdir("/nowhere"), root.size("/nowhere")) == ("", [], None)
    assert root.read("/") == ""


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """Its opening would last until somebody writes to it, and an observation as long."""
    os.mkfifo(tmp_path / "pipe")
    assert Root(str(tmp_path)).read("/pipe") == ""
    writer = os.open(tmp_path / "pipe", os.O_RDWR)
    assert Root(str(tmp_path)).read("/pipe") == ""
    os.close(writer)


def test_files_that_refuse_large_reads_are_read() -> None:
    assert Root().read("/proc/sys/kernel/osrelease").strip()


def test_a_text_is_read_to_its_limit(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("x" * 200000, encoding="utf-8")
    root = Root(str(tmp_path))
    assert (len(root.read("/log")), len(root.read("/log", 70000))) == (200000, 70000)


@pytest.mark.parametrize(
    ("folder", "expected"),
    [("usr/lib64", "/usr/lib64/libcuda.so.1"), ("usr/local/nvidia/lib64", "/usr/local/nvidia/lib64/libcuda.so.1")],
)
def test_the_drivers_library_is_found(tmp_path: Path, folder: str, expected: str) -> None:
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "libcuda.so.1").touch()
    assert Root(str(tmp_path)).find_library("libcuda.so.1") == expected


def test_a_compatibility_library_is_not_the_drivers(tmp_path: Path) -> None:
    (tmp_path / "usr/local/cuda/compat").mkdir(parents=True)
    (tmp_path / "usr/local/cuda/compat/libcuda.so.1").touch()
    (tmp_path / "usr/lib64").mkdir(parents=True)
    (tmp_path / "usr/lib64/libcuda.so.1").symlink_to("/usr/local/cuda/compat/libcuda.so.1")
    assert Root(str(tmp_path)).find_library("libcuda.so.1", ("/usr/local/cuda/compat",)) is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/usr/local/cuda/compat", True), ("/cuda/lib64/stubs/", True), ("/home/compatible/lib", False)],
)
def test_compat(path: str, expected: bool) -> None:
    assert is_compat(path) is expected


def test_the_home_is_the_users_own(tmp_path: Path) -> None:
    passwd = pwd.getpwuid(os.geteuid()).pw_dir
    assert find_home({"HOME": str(tmp_path)}) == str(tmp_path)
    assert find_home({"HOME": f"{tmp_path}/none"}) == passwd
    assert find_home({"HOME": "/"}) == passwd
    assert find_home({}) == passwd


def test_the_home_of_another_user_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = pwd.getpwnam("nobody")
    monkeypatch.setattr(os, "geteuid", lambda: nobody.pw_uid)
    assert find_home({"HOME": str(tmp_path)}) == nobody.pw_dir


def test_environ() -> None:
    assert parse_environ(b"A=1\0B=x=y\0broken\0=C:\0") == {"A": "1", "B": "x=y"}


def test_the_first_processs_variables(tmp_path: Path) -> None:
    assert Root(str(tmp_path)).first_environ() == {}
    (tmp_path / "proc/1").mkdir(parents=True)
    (tmp_path / "proc/1/environ").write_bytes(b"A=1\0")
    assert Root(str(tmp_path)).first_environ() == {"A": "1"}


def test_a_user_without_an_entry_in_passwd(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may be started as any number."""
    monkeypatch.setattr(os, "geteuid", lambda: 1_234_567)
    user = find_user({"HOME": "/srv/x"})
    assert (user.pw_name, user.pw_uid, user.pw_dir, user.pw_shell) == ("1234567", 1_234_567, "/srv/x", "/bin/sh")
    assert find_user({"HOME": "x"}).pw_dir == find_home({}) == "/"


def test_a_name_that_no_file_has_is_not_there(tmp_path: Path) -> None:
    for root in (Root("/"), Root(str(tmp_path))):
        assert root.real("/a\0b") == "/a\0b"
        assert not root.exists("/a\0b")
        assert (root.read("/a\0b"), root.listdir("/a\0b"), root.size("/a\0b")) == ("", [], None)
