# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The loader's own search: what its configuration and its cache say, and what of it keeps programs from the driver."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.loader_search import (
    Copy,
    Folder,
    Libraries,
    Line,
    Search,
    find_libcuda,
    judge_search,
    parse_cache,
    read_configuration,
    read_preloads,
    read_search,
)

LDCONFIG = shutil.which("ldconfig", path="/usr/sbin:/sbin:/usr/bin")
OWN, OLD = "580.159.04", "580.95.05"
SYSTEM = "/usr/lib/x86_64-linux-gnu"
GKE = "/usr/local/nvidia/lib64"
COMPAT = "/usr/local/cuda-13.0/compat"


def write(folder: Path, files: dict[str, str]) -> Root:
    for name, content in files.items():
        path = folder / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return Root(str(folder))


def library(folder: Path, place: str, version: str) -> None:
    """A driver's library with its link."""
    write(folder, {f"{place}/libcuda.so.{version}": "\x7fELF\2"})
    (folder / place.lstrip("/") / "libcuda.so.1").symlink_to(f"libcuda.so.{version}")


# --- reading ---


def test_the_configuration_is_read_in_its_order(tmp_path: Path) -> None:
    files = {
        "/etc/ld.so.conf": "# first\n/a/\ninclude ld.so.conf.d/*.conf /etc/more.conf\nhwcap 0 nosegneg\n/b=libc6 # x\n",
        "/etc/ld.so.conf.d/20.conf": "/d\ninclude /etc/ld.so.conf\n",
        "/etc/ld.so.conf.d/10.conf": "  /c e  \nrelative\n",
        "/etc/ld.so.conf.d/x.other": "/never\n",
        "/etc/more.conf": "/f\n",
    }
    assert read_configuration(write(tmp_path, files)) == [
        Line("/etc/ld.so.conf", 2, "/a/", "/a"),
        Line("/etc/ld.so.conf.d/10.conf", 1, "/c e", "/c e"),
        Line("/etc/ld.so.conf.d/20.conf", 1, "/d", "/d"),
        Line("/etc/more.conf", 1, "/f", "/f"),
        Line("/etc/ld.so.conf", 5, "/b=libc6 # x", "/b"),
    ]


def test_a_recording_may_lack_the_line_that_includes(tmp_path: Path) -> None:
    root = write(tmp_path, {"/etc/ld.so.conf": "/a\n", "/etc/ld.so.conf.d/x.conf": "/b\n"})
    assert [line.path for line in read_configuration(root)] == ["/a", "/b"]


def test_preloads(tmp_path: Path) -> None:
    text = "# none\n/a/libcuda.so.1 /b.so:/c.so # d\n"
    assert read_preloads(write(tmp_path, {"/etc/ld.so.preload": text})) == [
        Line("/etc/ld.so.preload", 2, text.splitlines()[1], path) for path in ("/a/libcuda.so.1", "/b.so", "/c.so")
    ]


@pytest.mark.parametrize(
    ("data", "defaults"),
    [
        ([SYSTEM], ("/usr/lib/x86_64-linux-gnu", "/lib", "/usr/lib")),
        (["/usr/lib64"], ("/lib64", "/usr/lib64", "/lib", "/usr/lib")),
    ],
)
def test_the_loaders_own_folders(tmp_path: Path, data: list[str], defaults: tuple[str, ...]) -> None:
    root = write(tmp_path, {f"{folder}/x": "" for folder in data})
    assert read_search(root, ["/i"]) == Search([], None, defaults, ["/i"])


# --- the cache ---


def make_cache(rows: list[tuple[str, str, int]], before: bytes = b"") -> bytes:
    """A cache as glibc describes it; ``rows`` are name, path and flags."""
    strings, entries, start = b"", b"", 48 + 24 * len(rows)
    for name, path, flags in rows:
        offsets = []
        for text in (name, path):
            offsets.append(start + len(strings))
            strings += text.encode() + b"\0"
        entries += struct.pack("<iIIIQ", flags, *offsets, 0, 0)
    return before + struct.pack("<20sII4x16x", b"glibc-ld.so.cache1.1", len(rows), len(strings)) + entries + strings


ROWS = [
    ("libcuda.so.1", "/a/libcuda.so.1", 0x0303),
    ("libcuda.so.1", "/32/libcuda.so.1", 0x0003),
    ("libcuda.so.1", "/b/libcuda.so.1", 0x0A03),
    ("notlibcuda.so.1", "/c/notlibcuda.so.1", 0x0303),
    ("libcuda.so", "/d/libcuda.so", 0x0303),
]


@pytest.mark.parametrize(
    ("data", "paths"),
    [
        pytest.param(make_cache(ROWS), ["/a/libcuda.so.1", "/b/libcuda.so.1"], id="new"),
        pytest.param(make_cache(ROWS[:2], b"ld.so-1.7.0\0" + b"\0" * 52), ["/a/libcuda.so.1"], id="behind-the-old-one"),
        pytest.param(make_cache(ROWS[3:]), [], id="another-name"),
        pytest.param(make_cache(ROWS)[:100], [], id="cut-off"),
        pytest.param(b"ld.so-1.7.0\0libcuda.so.1\0/a/libcuda.so.1\0", [], id="old-alone"),
        pytest.param(b"glibc-ld.so.cache1.1\0libcuda.so.1\0", [], id="no-table"),
        pytest.param(b"", [], id="empty"),
    ],
)
def test_the_cache_is_read(data: bytes, paths: list[str]) -> None:
    assert parse_cache(data) == paths


def compile_library(folder: Path) -> None:
    """A library that ldconfig takes: it wants a real one, whatever is in it."""
    folder.mkdir(parents=True)
    argv = [
        "c++",
        "-shared",
        "-nostdlib",
        "-Wl,-soname,libcuda.so.1",
        "-o",
        str(folder / "libcuda.so.1"),
        "-x",
        "c",
        "/dev/null",
    ]
    subprocess.run(argv, check=True, timeout=60)


def test_a_cache_that_ldconfig_wrote_is_read(tmp_path: Path) -> None:
    """Order of the configuration, whatever the names; newer glibcs store the end of one text as another."""
    for name in ("z", "a"):
        compile_library(tmp_path / name)
    (tmp_path / "conf").write_text(f"{tmp_path}/z\n{tmp_path}/a\n", encoding="utf-8")
    subprocess.run([str(LDCONFIG), "-X", "-C", tmp_path / "cache", "-f", tmp_path / "conf"], check=True, timeout=60)
    found = parse_cache((tmp_path / "cache").read_bytes())
    assert [path for path in found if path.startswith(str(tmp_path))] == [
        f"{tmp_path}/z/libcuda.so.1",
        f"{tmp_path}/a/libcuda.so.1",
    ]


# --- whose libcuda ---


def test_the_drivers_own_is_of_the_kernel_drivers_version(tmp_path: Path) -> None:
    library(tmp_path, SYSTEM, OLD)
    library(tmp_path, GKE, OWN)
    library(tmp_path, COMPAT, OWN)
    libraries = Libraries(Root(str(tmp_path)), {"version": OWN})
    own = Copy(GKE, f"{GKE}/libcuda.so.{OWN}", OWN)
    assert (libraries.own, libraries.is_known) == ([own], True)
    copies = {folder: libraries.find(folder) for folder in (SYSTEM, GKE, COMPAT)}
    assert [folder for folder, copy in copies.items() if copy and libraries.is_own(copy)] == [GKE]


@pytest.mark.parametrize("version", [None, "570.1"])
def test_without_one_of_that_version_the_first_stands_for_it(tmp_path: Path, version: str | None) -> None:
    library(tmp_path, SYSTEM, OLD)
    libraries = Libraries(Root(str(tmp_path)), {"version": version})
    assert (libraries.own, libraries.is_known) == ([Copy(SYSTEM, f"{SYSTEM}/libcuda.so.{OLD}", OLD)], False)


def test_a_32_bit_library_is_none(tmp_path: Path) -> None:
    root = write(tmp_path, {"/usr/lib/i386-linux-gnu/libcuda.so.1": "\x7fELF\1"})
    assert Libraries(root, {}).find("/usr/lib/i386-linux-gnu") is None


@pytest.mark.parametrize(
    ("files", "driver", "more", "expected"),
    [
        pytest.param({"usr/lib64/libcuda.so.570.26": b""}, {}, [], "/usr/lib64/libcuda.so.570.26", id="redhat"),
        pytest.param(
            {"usr/local/nvidia/lib64/libcuda.so.570.26": b""},
            {},
            [],
            "/usr/local/nvidia/lib64/libcuda.so.570.26",
            id="gke",
        ),
        pytest.param(
            {"usr/lib/x86_64-linux-gnu/nvidia/current/libcuda.so.570.26": b""},
            {},
            [],
            "/usr/lib/x86_64-linux-gnu/nvidia/current/libcuda.so.570.26",
            id="debian",
        ),
        pytest.param(
            {"run/opengl-driver/lib/libcuda.so.570.26": b""},
            {},
            [],
            "/run/opengl-driver/lib/libcuda.so.570.26",
            id="nixos",
        ),
        pytest.param(
            {"usr/lib64/libcuda.so.580.95.05": b"", "usr/lib64/libcuda.so.1": b"", "usr/lib/libcuda.so.570.26": b""},
            {},
            [],
            "/usr/lib/libcuda.so.570.26",
            id="by-the-kernels-version",
        ),
        pytest.param({"usr/lib64/libcuda.so.580.95.05": b""}, {}, [], None, id="another-version"),
        pytest.param({"srv/x/libcuda.so.570.26": b""}, {}, ["/srv/x"], "/srv/x/libcuda.so.570.26", id="search-path"),
        pytest.param(
            {"usr/lib64-nvidia/libcuda.so.570.26": b""}, {}, [], "/usr/lib64-nvidia/libcuda.so.570.26", id="colab"
        ),
        pytest.param({"usr/lib/libcuda.so.570.26": b"\x7fELF\1"}, {}, [], None, id="32-bit"),
        pytest.param({"srv/compat/libcuda.so.570.26": b""}, {}, ["/srv/compat"], None, id="compat"),
        pytest.param(
            {
                "srv/y/libcuda.so.570.26": b"",
                "etc/ld.so.cache": make_cache([("libcuda.so.1", "/srv/y/libcuda.so.1", 0x0303)]),
            },
            {},
            [],
            "/srv/y/libcuda.so.570.26",
            id="cache",
        ),
        pytest.param(
            {
                "usr/lib/aarch64-linux-gnu/nvidia/libcuda.so.1.1": b"",
                "usr/lib/aarch64-linux-gnu/nvidia/libcuda.so.1": b"->libcuda.so.1.1",
            },
            {"version": "540.4.0"},
            [],
            "/usr/lib/aarch64-linux-gnu/nvidia/libcuda.so.1.1",
            id="jetson",
        ),
        pytest.param(
            {"usr/lib/wsl/lib/libcuda.so.1": b"", "dev/dxg": b""},
            {"version": "581.42", "flavor": "windows"},
            [],
            "/usr/lib/wsl/lib/libcuda.so.1",
            id="wsl",
        ),
        pytest.param({"usr/lib64/libcuda.so.570.26": b""}, {"version": None}, [], None, id="no-driver"),
    ],
)
def test_the_drivers_own_library_is_found_by_its_version(
    tmp_path: Path, files: dict[str, bytes], driver: dict[str, str | None], more: list[str], expected: str | None
) -> None:
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if data.startswith(b"->"):
            (tmp_path / name).symlink_to(data[2:].decode())
        else:
            (tmp_path / name).write_bytes(data)
    root, driver = Root(str(tmp_path)), {"version": "570.26", "flavor": "open", **driver}
    assert find_libcuda(root, driver, more) == expected
    libraries = Libraries(root, driver, more)
    if libraries.is_known:  # what judges lines and what names the library mean the same one
        assert {own.real for own in libraries.own} == {expected}
        assert libraries.version == driver["version"]


# --- what is wrong ---

COPIES = {
    SYSTEM: Copy(SYSTEM, f"{SYSTEM}/libcuda.so.{OWN}", OWN),
    GKE: Copy(GKE, f"{GKE}/libcuda.so.{OWN}", OWN),
    COMPAT: Copy(COMPAT, f"{COMPAT}/libcuda.so.{OLD}", OLD),
    "/linked": Copy("/linked", f"{COMPAT}/libcuda.so.{OLD}", OLD),
    "/opt/old": Copy("/opt/old", f"/opt/old/libcuda.so.{OLD}", OLD),
    "/opt/plain": Copy("/opt/plain", "/opt/plain/libcuda.so.1", None),
    "/usr/local/lib": Copy("/usr/local/lib", "/usr/local/lib/libcuda.so.1", None),
}


def judge(
    configured: list[str], cached: list[str] | None, own: str | None = SYSTEM, image: tuple[str, ...] = ()
) -> list[tuple[Any, ...]]:
    """What is told where the driver's library lies in the folder ``own`` alone."""
    lines = [Line("/etc/ld.so.conf.d/x.conf", number, f"{path} # x", path) for number, path in enumerate(configured, 1)]
    defaults = (SYSTEM, "/usr/lib")
    folders = {}
    for path in (*configured, *(cached or ()), *defaults, *image):
        copy = COPIES.get(path) if path == own or path not in (SYSTEM, GKE) else None
        folders[path] = Folder(path, copy, path == own)
    rows = judge_search(Search(lines, cached, defaults, image), folders, COPIES[own] if own else None)
    return [(row["kind"], row["file"], row["line"], row["path"], row.get("version")) for row in rows]


CONF = "/etc/ld.so.conf.d/x.conf"
CACHE = "/etc/ld.so.cache"


@pytest.mark.parametrize(
    ("configured", "cached", "own", "expected"),
    [
        pytest.param([SYSTEM], [SYSTEM], SYSTEM, [], id="as-it-should-be"),
        pytest.param(["/usr/local/cuda/lib64", SYSTEM], [SYSTEM], SYSTEM, [], id="a-folder-without-one"),
        pytest.param([GKE], [GKE], GKE, [], id="the-drivers-own-folder-configured"),
        pytest.param([], None, SYSTEM, [], id="cache-unknown"),
        pytest.param([], None, GKE, [], id="cache-unknown-and-not-configured"),
        pytest.param([], [], SYSTEM, [], id="in-the-loaders-own-folder"),
        pytest.param([], [], None, [], id="no-driver"),
        # --- the configuration ---
        pytest.param([COMPAT], [COMPAT], SYSTEM, [("ld_library_path", CONF, 1, COMPAT, OLD)], id="compat"),
        pytest.param([COMPAT], None, None, [("ld_library_path", CONF, 1, COMPAT, OLD)], id="compat-without-a-driver"),
        pytest.param(["/a/compat"], [], SYSTEM, [("ld_library_path", CONF, 1, "/a/compat", None)], id="compat-empty"),
        pytest.param(["/a/stubs"], [], SYSTEM, [("stubs", CONF, 1, "/a/stubs", None)], id="stubs"),
        pytest.param(["/linked"], ["/linked"], SYSTEM, [("ld_library_path", CONF, 1, "/linked", OLD)], id="to-compat"),
        pytest.param([SYSTEM, COMPAT], [SYSTEM, COMPAT], SYSTEM, [], id="compat-behind-the-drivers"),
        pytest.param(["/opt/old"], ["/opt/old"], SYSTEM, [("loader_order", CONF, 1, "/opt/old", OLD)], id="other"),
        pytest.param(
            ["/opt/plain", "/opt/old", SYSTEM],
            ["/opt/plain", "/opt/old", SYSTEM],
            SYSTEM,
            [("loader_order", CONF, 1, "/opt/plain", None), ("loader_order", CONF, 2, "/opt/old", OLD)],
            id="two-others",
        ),
        pytest.param([SYSTEM, "/opt/old"], [SYSTEM, "/opt/old"], SYSTEM, [], id="other-behind-the-drivers"),
        pytest.param(["/opt/old"], ["/opt/old"], None, [], id="other-without-a-driver"),
        pytest.param(["/usr/local/lib"], ["/usr/local/lib"], SYSTEM, [], id="a-line-of-the-system-stays"),
        # --- the cache ---
        pytest.param([], [COMPAT, SYSTEM], SYSTEM, [("loader_cache", CACHE, None, COMPAT, OLD)], id="only-cached"),
        pytest.param([], ["/gone"], SYSTEM, [("loader_cache", CACHE, None, "/gone", None)], id="cached-and-gone"),
        pytest.param([], [SYSTEM, COMPAT], SYSTEM, [], id="cached-behind-the-drivers"),
        pytest.param(
            [SYSTEM, COMPAT],
            [COMPAT, SYSTEM],
            SYSTEM,
            [("loader_cache", CACHE, None, COMPAT, OLD)],
            id="cached-in-an-order-that-was",
        ),
        pytest.param([], ["/usr/local/lib", SYSTEM], SYSTEM, [], id="cached-in-a-folder-of-the-system"),
        pytest.param([GKE], [], GKE, [("loader_cache", CACHE, None, GKE, OWN)], id="configured-and-not-cached"),
        # --- neither ---
        pytest.param([], [], GKE, [("loader_missing", "", None, GKE, OWN)], id="missing"),
        pytest.param(
            ["/opt/old"],
            ["/opt/old"],
            GKE,
            [("loader_order", CONF, 1, "/opt/old", OLD), ("loader_missing", "", None, GKE, OWN)],
            id="missing-and-another-there",
        ),
    ],
)
def test_what_keeps_the_loader_from_the_driver(
    configured: list[str], cached: list[str] | None, own: str | None, expected: list[tuple[Any, ...]]
) -> None:
    assert judge(configured, cached, own) == expected


def test_a_library_without_its_link_is_for_ldconfig(tmp_path: Path) -> None:
    """The loader looks into the folder, and nothing there is called libcuda.so.1 yet."""
    root = write(tmp_path, {f"{SYSTEM}/libcuda.so.{OWN}": "\x7fELF\2", "/etc/ld.so.cache": "no cache"})
    libraries, search = Libraries(root, {"version": OWN}), read_search(root)
    assert libraries.is_known
    rows = judge_search(search, libraries.describe(search), libraries.own[0])
    assert [(row["kind"], row["path"], row["version"]) for row in rows] == [("loader_cache", SYSTEM, OWN)]


def test_a_folder_on_the_images_path_is_not_missing() -> None:
    assert judge([], [], GKE, ("/usr/local/nvidia/lib", GKE)) == []
    assert [row[0] for row in judge([], [], GKE, ("/usr/local/nvidia/lib",))] == ["loader_missing"]
