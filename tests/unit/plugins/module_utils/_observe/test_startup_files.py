# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.startup_files import (
    digest_files,
    find_conflicts,
    judge_devices,
    judge_setting,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.startup_settings import SettingsReader
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.advice import CONFLICTS, observed_warnings


def parse_conflicts(text: str, file: str) -> list[dict[str, Any]]:
    """What of a file breaks CUDA as far as names tell, and all of CUDA_HOME."""
    reader = SettingsReader(lambda _path: "", lambda _pattern: (), {})
    reader.read(file, text)
    return [row for setting in reader.settings for row in judge_setting(setting)]


BLOCK = "# BEGIN podsmith.gpu\n. /opt/podsmith/activate.sh\n# END podsmith.gpu\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "export LD_LIBRARY_PATH=/usr/local/cuda-13.0/compat:$LD_LIBRARY_PATH",
            [("ld_library_path", "/usr/local/cuda-13.0/compat")],
            id="compat",
        ),
        pytest.param(
            'LD_LIBRARY_PATH="/usr/local/cuda/lib64/stubs:/x"', [("stubs", "/usr/local/cuda/lib64/stubs")], id="stubs"
        ),
        pytest.param(
            "  declare -x LD_LIBRARY_PATH=/a/compat # old",
            [("ld_library_path", "/a/compat")],
            id="declared-with-comment",
        ),
        pytest.param(
            "export LD_LIBRARY_PATH=/a/compat; echo", [("ld_library_path", "/a/compat")], id="another-command"
        ),
        pytest.param("LD_LIBRARY_PATH='/a b/compat'", [("ld_library_path", "/a b/compat")], id="quoted-space"),
        pytest.param(
            "export LD_LIBRARY_PATH=/a/compat${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}",
            [("ld_library_path", "/a/compat")],
            id="colon-where-needed",
        ),
        pytest.param(
            "export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+${LD_LIBRARY_PATH}:}/a/compat",
            [("ld_library_path", "/a/compat")],
            id="colon-where-needed-in-front",
        ),
        pytest.param("export CUDA_HOME=/usr/local/cuda-11.8", [("cuda_home", "/usr/local/cuda-11.8")], id="cuda-home"),
        pytest.param("export CUDA_VISIBLE_DEVICES=", [("hidden_devices", "")], id="no-devices"),
        pytest.param('export CUDA_VISIBLE_DEVICES=""  # idle', [("hidden_devices", "")], id="no-devices-quoted"),
        pytest.param("CUDA_VISIBLE_DEVICES=-1; export X", [("hidden_devices", "")], id="device-minus-one"),
        pytest.param("export CUDA_VISIBLE_DEVICES=0,1", [], id="some-devices"),
        pytest.param("export CUDA_VISIBLE_DEVICES=0,0", [("repeated_devices", "")], id="repeated-devices"),
        pytest.param("export LD_PRELOAD=/a/compat/libcuda.so.1", [("preload", "/a/compat/libcuda.so.1")], id="preload"),
        pytest.param(
            "LD_PRELOAD='/x/y.so /a/compat/libcuda.so.580.1:$LD_PRELOAD'; export LD_PRELOAD",
            [("preload", "/a/compat/libcuda.so.580.1")],
            id="preload-of-several",
        ),
        pytest.param("export LD_PRELOAD=/usr/lib/libcuda.so.1:libcuda.so.1:/a/compat/x.so", [], id="preload-of-others"),
        pytest.param("LD_PRELOAD=/a/compat/libcuda.so.1 python", [], id="preload-of-one-command"),
        pytest.param("CUDA_VISIBLE_DEVICES= make docs", [], id="devices-of-one-command"),
        pytest.param("export LD_LIBRARY_PATH=/usr/local/cuda/lib64", [], id="harmless"),
        pytest.param("# export LD_LIBRARY_PATH=/a/compat", [], id="comment"),
        pytest.param("export MY_LD_LIBRARY_PATH=/a/compat", [], id="another-variable"),
        pytest.param(f"{BLOCK}", [], id="our-block"),
        pytest.param(BLOCK.replace(". /opt", "export LD_LIBRARY_PATH=/a/compat; . /opt"), [], id="inside-our-block"),
    ],
)
def test_conflicts_of_a_file(text: str, expected: list[tuple[str, str]]) -> None:
    found = parse_conflicts(text, "/root/.bashrc")
    assert [(conflict["kind"], conflict["path"]) for conflict in found] == expected


MISSED = r"""
export LD_LIBRARY_PATH=$CUDA_HOME/compat:$LD_LIBRARY_PATH
export LD_LIBRARY_PATH=${CUDA_HOME:-/usr/local/cuda}/compat
export LD_LIBRARY_PATH="${CUDA_HOME}/lib64:${CUDA_HOME}/lib64/stubs:${LD_LIBRARY_PATH}"
[ -d /usr/local/cuda/compat ] && export LD_LIBRARY_PATH=/usr/local/cuda/compat:$LD_LIBRARY_PATH
if [ -d /usr/local/cuda/compat ]; then export LD_LIBRARY_PATH=/usr/local/cuda/compat:$LD_LIBRARY_PATH; fi
export PATH=/usr/local/cuda/bin:$PATH; export LD_LIBRARY_PATH=/usr/local/cuda/compat:$LD_LIBRARY_PATH
export PATH=/usr/local/cuda/bin:$PATH LD_LIBRARY_PATH=/usr/local/cuda/compat:$LD_LIBRARY_PATH
export LD_LIBRARY_PATH="/usr/local/cuda/lib64":/usr/local/cuda/compat:$LD_LIBRARY_PATH
export LD_LIBRARY_PATH+=:/usr/local/cuda/compat
typeset -x LD_LIBRARY_PATH=/usr/local/cuda/compat
export CUDA_VISIBLE_DEVICES=none
""".strip().splitlines()
KINDS = {2: "stubs", 10: "hidden_devices"}  # by place; the others put a compat folder on the path


@pytest.mark.parametrize(("place", "line"), [*enumerate(MISSED)], ids=str)
def test_a_line_that_people_write_is_found(place: int, line: str) -> None:
    assert [row["kind"] for row in parse_conflicts(line, "/root/.bashrc")] == [KINDS.get(place, "ld_library_path")]


def test_all_such_lines_in_one_file_are_found() -> None:
    rows = parse_conflicts("\n".join(MISSED), "/root/.bashrc")
    assert [(row["line"], row["text"]) for row in rows] == list(enumerate(MISSED, 1))


GPUS = [{"uuid": "GPU-aaaa-1"}, {"uuid": "GPU-abbb-2"}]


@pytest.mark.parametrize(
    ("value", "devices", "kind"),
    [
        *((value, None, "hidden_devices") for value in ("", "-1", "-1,0", "NoDevFiles", "none", "void", "all", ",0")),
        *((value, GPUS[:1], "hidden_devices") for value in ("1,0", "2", "GPU-00000000", "GPU-b", "none")),
        *((value, GPUS, "hidden_devices") for value in ("GPU-a", "GPU-")),
        *(
            (value, None, None)
            for value in ("0", "0,1", "1,0", "GPU-aaaa-1", "MIG-1", "$RANK", "${X%,*}", "`x`", "scrubbed")
        ),
        *((value, GPUS[:1], None) for value in ("0", " 0", "0 ", "0x0", "0,1", "0,-1", "GPU-aaaa-1", "GPU-a", "MIG-1")),
        *((value, GPUS, None) for value in ("0,1", "1,0", "GPU-ab,GPU-aa", "0,GPU-ab", "0,1,-1", "$RANK", "MIG-1")),
        *((value, GPUS, "some_devices") for value in ("0", "1", "0,-1", "GPU-aaaa-1", "1,2", "0,none")),
        *((value, None, "repeated_devices") for value in ("0,0", "0,1,0", "0, 0", "GPU-a,GPU-a", "MIG-1,MIG-1")),
        *((value, GPUS, "repeated_devices") for value in ("0,0", "1,1,-1", "0,GPU-aa", "GPU-aaaa-1,GPU-aa")),
        ("GPU-a", [{"uuid": None}], None),
        ("0", [], None),
    ],
)
def test_what_a_choice_of_devices_does(value: str, devices: list[dict[str, Any]] | None, kind: str | None) -> None:
    """As measured: entries up to the first that names no GPU; an index of none hides all that follow."""
    assert judge_devices(value, devices) == kind


def test_a_conflict_names_its_line() -> None:
    text = BLOCK + "\nexport LD_LIBRARY_PATH=/usr/local/cuda/compat\n"
    assert parse_conflicts(text, "/root/.bashrc") == [
        {
            "kind": "ld_library_path",
            "file": "/root/.bashrc",
            "line": 5,
            "text": "export LD_LIBRARY_PATH=/usr/local/cuda/compat",
            "path": "/usr/local/cuda/compat",
        }
    ]


def write(folder: Path, files: dict[str, str]) -> Root:
    for name, content in files.items():
        path = folder / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return Root(str(folder))


def conflicts(root: Root, **driver: Any) -> list[tuple[str, str, str]]:
    environ = {"LD_LIBRARY_PATH": "/srv/old"}
    return [(found["kind"], found["file"], found["path"]) for found in find_conflicts(root, "/root", environ, driver)]


@pytest.mark.parametrize(
    "file",
    [
        "/root/.bashrc",
        "/root/.profile",
        "/root/.bash_profile",
        "/root/.zshrc",
        "/etc/environment",
        "/etc/profile",
        "/etc/profile.d/cuda.sh",
        "/etc/bash.bashrc",
        "/etc/zsh/zshrc",
        "/root/.bash_login",
        "/root/.zshenv",
        "/root/.zprofile",
        "/root/.bashrc.d/cuda",
        "/root/.pam_environment",
        "/root/.config/fish/config.fish",
    ],
)
def test_every_start_up_file_is_read(tmp_path: Path, file: str) -> None:
    root = write(tmp_path, {file: "export LD_LIBRARY_PATH=/usr/local/cuda/compat\n"})
    assert conflicts(root) == [("ld_library_path", file, "/usr/local/cuda/compat")]


def test_our_own_profile_is_no_conflict(tmp_path: Path) -> None:
    assert conflicts(write(tmp_path, {"/etc/profile.d/podsmith.sh": "export LD_LIBRARY_PATH=/a/compat\n"})) == []


def test_the_loaders_configuration_is_read(tmp_path: Path) -> None:
    text = "# compat\n/usr/local/cuda/lib64\n/usr/local/cuda/compat\n"
    root = write(tmp_path, {"/etc/ld.so.conf.d/00-compat-1.conf": text})
    assert conflicts(root) == [("ld_library_path", "/etc/ld.so.conf.d/00-compat-1.conf", "/usr/local/cuda/compat")]


def test_a_cuda_home_that_exists_is_no_conflict(tmp_path: Path) -> None:
    text = "export CUDA_HOME=/usr/local/cuda-12.8\nexport CUDA_HOME=$HOME/cuda\n"
    root = write(tmp_path, {"/root/.bashrc": text})
    assert conflicts(root) == [("cuda_home", "/root/.bashrc", "/usr/local/cuda-12.8")]
    (tmp_path / "usr/local/cuda-12.8").mkdir(parents=True)
    assert conflicts(root) == []


def test_a_second_libcuda(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "/usr/lib/x86_64-linux-gnu/libcuda.so.570.133.20": "",
            "/usr/lib/x86_64-linux-gnu/libcuda.so.550.163.01": "",
            "/usr/local/lib/libcuda.so.1": "",
            "/srv/old/libcuda.so.1": "",
        },
    )
    (tmp_path / "usr/lib/x86_64-linux-gnu/libcuda.so.1").symlink_to("libcuda.so.570.133.20")
    copies = ["/srv/old/libcuda.so.1", "/usr/local/lib/libcuda.so.1", "/usr/lib/x86_64-linux-gnu/libcuda.so.550.163.01"]
    assert conflicts(root, version="570.133.20") == [("second_libcuda", path, path) for path in copies]
    assert conflicts(root, version="570.133.20", flavor="windows") == []


def test_a_driver_whose_libcuda_is_of_another_version_is_no_second_one(tmp_path: Path) -> None:
    root = write(tmp_path, {"/usr/lib/x86_64-linux-gnu/libcuda.so.565.57.01": ""})
    (tmp_path / "usr/lib/x86_64-linux-gnu/libcuda.so.1").symlink_to("libcuda.so.565.57.01")
    assert conflicts(root, version="570.133.20") == []


def test_the_drivers_libcuda_alone_is_no_conflict(tmp_path: Path) -> None:
    root = write(tmp_path, {"/usr/local/nvidia/lib64/libcuda.so.570.133.20": ""})
    (tmp_path / "usr/local/nvidia/lib64/libcuda.so.1").symlink_to("libcuda.so.570.133.20")
    (tmp_path / "usr/lib64").mkdir(parents=True)
    (tmp_path / "usr/lib64/libcuda.so.1").symlink_to("/usr/local/nvidia/lib64/libcuda.so.1")
    assert conflicts(root, version="570.133.20") == []


OWN, OLD = "580.159.04", "580.95.05"
SYSTEM, GKE, COMPAT = "/usr/lib/x86_64-linux-gnu", "/usr/local/nvidia/lib64", "/usr/local/cuda/compat"


def library(folder: Path, place: str, version: str) -> None:
    write(folder, {f"{place}/libcuda.so.{version}": ""})
    (folder / place.lstrip("/") / "libcuda.so.1").symlink_to(f"libcuda.so.{version}")


def rows(folder: Path, environ: dict[str, str] | None = None, **more: Any) -> list[tuple[Any, ...]]:
    found = find_conflicts(Root(str(folder)), "/root", environ or {}, {"version": OWN, "flavor": "open"}, **more)
    return [(row["kind"], row["file"], row["line"], row["path"], row.get("version")) for row in found]


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        pytest.param(
            "/root/.bashrc",
            "export LD_LIBRARY_PATH=/opt/old:$LD_LIBRARY_PATH",
            [("ld_library_path", "/root/.bashrc", 1, "/opt/old", OLD)],
            id="another-on-the-path",
        ),
        pytest.param(
            "/root/.bashrc",
            f"export LD_LIBRARY_PATH={SYSTEM}:/opt/old:/usr/local/cuda/compat",
            [],
            id="another-behind-the-drivers",
        ),
        pytest.param("/root/.bashrc", f"export LD_LIBRARY_PATH={SYSTEM}", [], id="the-drivers-own-on-the-path"),
        pytest.param(
            "/root/.bashrc",
            "export LD_PRELOAD=/opt/old/libcuda.so.1",
            [("preload", "/root/.bashrc", 1, "/opt/old/libcuda.so.1", OLD)],
            id="another-preloaded",
        ),
        pytest.param(
            "/root/.bashrc",
            f"export LD_PRELOAD={SYSTEM}/libcuda.so.1:/gone/libcuda.so.1",
            [],
            id="the-drivers-own-preloaded",
        ),
        pytest.param(
            "/etc/ld.so.preload",
            f"{SYSTEM}/libcuda.so.1\n/opt/old/libcuda.so.1 /usr/lib/libother.so",
            [("preload", "/etc/ld.so.preload", 2, "/opt/old/libcuda.so.1", OLD)],
            id="preloads-of-the-loader",
        ),
        pytest.param(
            "/etc/ld.so.conf.d/000-old.conf",
            "/opt/old",
            [("loader_order", "/etc/ld.so.conf.d/000-old.conf", 1, "/opt/old", OLD)],
            id="another-first-in-the-configuration",
        ),
        pytest.param(
            "/etc/ld.so.conf",
            COMPAT,
            [("ld_library_path", "/etc/ld.so.conf", 1, COMPAT, None)],
            id="compat-in-the-main-file",
        ),
        pytest.param("/etc/ld.so.conf.d/nvidia.conf", "/usr/local/nvidia/lib\n/usr/local/nvidia/lib64", [], id="image"),
        pytest.param(
            "/root/.bashrc",
            "export CUDA_VISIBLE_DEVICES=0,0",
            [("repeated_devices", "/root/.bashrc", 1, "", None)],
            id="repeated-devices",
        ),
    ],
)
def test_what_a_file_does_to_the_driver(tmp_path: Path, file: str, text: str, expected: list[tuple[Any, ...]]) -> None:
    library(tmp_path, SYSTEM, OWN)
    library(tmp_path, "/opt/old", OLD)
    write(tmp_path, {file: f"{text}\n"})
    assert rows(tmp_path) == expected


def test_devices_are_compared_with_those_that_are_there(tmp_path: Path) -> None:
    write(tmp_path, {"/root/.bashrc": "export CUDA_VISIBLE_DEVICES=1\n"})
    kinds = {count: [row[0] for row in rows(tmp_path, devices=[{"uuid": None}] * count)] for count in (0, 1, 2)}
    assert kinds == {0: [], 1: ["hidden_devices"], 2: ["some_devices"]}


def cache(*folders: str) -> bytes:
    """A loader's cache with libcuda.so.1 of these folders, in their order."""
    start, strings, entries = 48 + 24 * len(folders), b"libcuda.so.1\0", b""
    for folder in folders:
        entries += struct.pack("<iIIIQ", 0x0303, start, start + len(strings), 0, 0)
        strings += f"{folder}/libcuda.so.1".encode() + b"\0"
    return struct.pack("<20sII4x16x", b"glibc-ld.so.cache1.1", len(folders), len(strings)) + entries + strings


@pytest.mark.parametrize(
    ("cached", "environ", "expected"),
    [
        pytest.param([GKE], "", [], id="cached"),
        pytest.param([], "", [("loader_missing", "", None, GKE, OWN)], id="unknown-to-the-loader"),
        pytest.param([], f"A=b\0LD_LIBRARY_PATH={GKE}\0", [], id="on-the-images-path"),
        pytest.param([COMPAT, GKE], "", [("loader_cache", "/etc/ld.so.cache", None, COMPAT, None)], id="compat-cached"),
        pytest.param(
            ["/opt/old", GKE], "", [("loader_cache", "/etc/ld.so.cache", None, "/opt/old", OLD)], id="another-cached"
        ),
    ],
)
def test_the_loaders_cache(tmp_path: Path, cached: list[str], environ: str, expected: list[tuple[Any, ...]]) -> None:
    library(tmp_path, GKE, OWN)
    library(tmp_path, "/opt/old", OLD)
    write(tmp_path, {"/proc/1/environ": environ, "/etc/ld.so.cache": ""})
    (tmp_path / "etc/ld.so.cache").write_bytes(cache(*cached) if cached else b"glibc-ld.so.cache1.1")
    assert rows(tmp_path) == expected


def test_a_path_that_pam_sets_reaches_the_driver(tmp_path: Path) -> None:
    library(tmp_path, GKE, OWN)
    write(tmp_path, {"/etc/environment": f"LD_LIBRARY_PATH={GKE}\n", "/etc/ld.so.cache": "glibc-ld.so.cache1.1"})
    assert rows(tmp_path) == []


def test_a_library_is_told_of_once(tmp_path: Path) -> None:
    """By the line that puts it first, else by its own path."""
    library(tmp_path, SYSTEM, OWN)
    library(tmp_path, GKE, OLD)
    library(tmp_path, "/opt/old", OLD)
    write(tmp_path, {"/usr/local/lib/libcuda.so.1": ""})
    environ = {"LD_LIBRARY_PATH": "/opt/old"}
    assert rows(tmp_path, environ) == [
        ("second_libcuda", path, None, path, version)
        for path, version in (
            ("/opt/old/libcuda.so.1", OLD),
            ("/usr/local/lib/libcuda.so.1", None),
            (f"{GKE}/libcuda.so.{OLD}", OLD),
        )
    ]
    write(tmp_path, {"/root/.bashrc": "export LD_LIBRARY_PATH=/opt/old\n", "/etc/ld.so.conf": f"{GKE}\n"})
    assert rows(tmp_path, environ) == [
        ("ld_library_path", "/root/.bashrc", 1, "/opt/old", OLD),
        ("loader_order", "/etc/ld.so.conf", 1, GKE, OLD),
        ("second_libcuda", "/usr/local/lib/libcuda.so.1", None, "/usr/local/lib/libcuda.so.1", None),
    ]


def test_an_older_library_in_a_folder_searched_first_is_not_the_drivers(tmp_path: Path) -> None:
    """An image with its own libcuda1, and a runtime that puts the driver's elsewhere."""
    library(tmp_path, SYSTEM, OLD)
    library(tmp_path, GKE, OWN)
    path = f"{SYSTEM}/libcuda.so.{OLD}"
    assert rows(tmp_path, {"LD_LIBRARY_PATH": GKE}) == [("second_libcuda", path, None, path, OLD)]


def test_every_file_that_puts_a_folder_first_is_named_and_each_line_once(tmp_path: Path) -> None:
    """Bash's file adds to what PAM's has set: the folder is there twice then."""
    library(tmp_path, SYSTEM, OWN)
    library(tmp_path, "/opt/old", OLD)
    lines = {
        "/etc/environment": "LD_LIBRARY_PATH=/opt/old",
        "/etc/profile.d/old.sh": "export LD_LIBRARY_PATH=/opt/old",
        "/root/.bashrc": "export LD_LIBRARY_PATH=/opt/old:$LD_LIBRARY_PATH",
    }
    write(tmp_path, lines)
    assert rows(tmp_path, {"LD_LIBRARY_PATH": "/opt/old"}) == [
        ("ld_library_path", file, 1, "/opt/old", OLD) for file in lines
    ]


@pytest.mark.parametrize(
    ("toolkit", "torch", "expected"),
    [
        ("12.1", "12.8", [("toolkit_library", "/root/.bashrc", 1, "/usr/local/cuda/lib64", "12.1")]),
        ("12.8", "12.8", []),
        ("12.9", "12.8", []),
        ("12.1", "13.0", []),
        ("12.1", None, []),
        ("12.1", "1²", []),
        ("12.1", "a.b", []),
    ],
)
def test_the_libraries_of_an_older_toolkit(
    tmp_path: Path, toolkit: str, torch: str | None, expected: list[tuple[Any, ...]]
) -> None:
    folder = f"/usr/local/cuda-{toolkit}/lib64"
    write(tmp_path, {f"{folder}/libnvJitLink.so.{toolkit}.105": "", f"{folder}/libnvJitLink.so.12": ""})
    (tmp_path / "usr/local/cuda").symlink_to(f"cuda-{toolkit}")
    write(tmp_path, {"/root/.bashrc": "export LD_LIBRARY_PATH=/usr/local/cuda/lib64:$LD_LIBRARY_PATH\n"})
    assert rows(tmp_path, torches=[{"cuda": torch}]) == expected


def test_a_value_with_a_quoted_dollar_is_a_name_like_any_other(tmp_path: Path) -> None:
    root = write(tmp_path, {"/root/.bashrc": "export CUDA_HOME='/opt/$x'\nexport LD_PRELOAD='/$/libcuda.so'\n"})
    assert [row["path"] for row in find_conflicts(root, "/root", {}, {"version": "570.26"})] == []
    assert parse_conflicts("export CUDA_HOME='/opt/$x'", "/root/.bashrc")[0]["path"] == "/opt/$x"


def test_what_files_hold_is_never_an_error(tmp_path: Path) -> None:
    odd = "\udcff\0$((${'`\n<<\nexport LD_LIBRARY_PATH=$(\n"
    names = ("/root/.bashrc", "/etc/environment", "/etc/ld.so.conf", "/etc/ld.so.preload", "/root/.cshrc")
    for name in names:
        write(tmp_path, {name: ""})
        (tmp_path / name.lstrip("/")).write_bytes(odd.encode("utf-8", "surrogateescape"))
    (tmp_path / "etc/ld.so.cache").write_bytes(cache("/a")[:-20] + b"libcuda.so.1\0")
    assert rows(tmp_path) == []


def test_digests_of_what_is_ours(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "/opt/podsmith/activate.sh": "a\n",
            "/etc/profile.d/podsmith.sh": "b\n",
            "/root/.bashrc": "theirs\n" + BLOCK,
            "/etc/bash.bashrc": BLOCK + "theirs\n",
            "/etc/environment": "PATH=/usr/bin\n",
        },
    )
    texts = {
        "/opt/podsmith/activate.sh": "a\n",
        "/etc/profile.d/podsmith.sh": "b\n",
        "/root/.bashrc": ". /opt/podsmith/activate.sh\n",
        "/etc/bash.bashrc": ". /opt/podsmith/activate.sh\n",
    }
    expected = {path: hashlib.sha256(text.encode()).hexdigest() for path, text in texts.items()}
    assert digest_files(root, ["/opt/podsmith", "/root/.local/share/podsmith"], "/root") == expected


@pytest.mark.parametrize(
    ("files", "told"),
    [
        pytest.param(
            {"/etc/ld.so.conf.d/000-old.conf": "/opt/old\n"},
            "/etc/ld.so.conf.d/000-old.conf:1 puts another libcuda before the driver's (/opt/old);"
            " remove it and run ldconfig, or list the file in repair_files.",
            id="loader_order",
        ),
        pytest.param(
            {"/etc/ld.so.cache": cache("/opt/old", GKE).decode("latin-1")},
            "/etc/ld.so.cache does not agree with the loader's configuration about libcuda; run: sudo ldconfig.",
            id="loader_cache",
        ),
        pytest.param(
            {"/etc/ld.so.cache": "glibc-ld.so.cache1.1"},
            "/usr/local/nvidia/lib64 has the driver's libcuda, and the loader does not look there; run: echo"
            " /usr/local/nvidia/lib64 | sudo tee -a /etc/ld.so.conf.d/nvidia-driver.conf && sudo ldconfig.",
            id="loader_missing",
        ),
        pytest.param(
            {"/etc/ld.so.preload": "/opt/old/libcuda.so.1\n"},
            "/etc/ld.so.preload:1 preloads another libcuda than the driver's (/opt/old/libcuda.so.1);"
            " remove it, or list the file in repair_files.",
            id="preload",
        ),
        pytest.param(
            {"/root/.bashrc": "export CUDA_VISIBLE_DEVICES=0,0\n"},
            "names a GPU twice, so that CUDA starts with none (error 101) (export CUDA_VISIBLE_DEVICES=0,0);",
            id="repeated_devices",
        ),
        pytest.param(
            {"/root/.bashrc": "export CUDA_VISIBLE_DEVICES=1\n"},
            "hides some of the GPUs from CUDA (export CUDA_VISIBLE_DEVICES=1); remove it.",
            id="some_devices",
        ),
        pytest.param(
            {"/root/.bashrc": "export LD_LIBRARY_PATH=/opt/tk\n", "/opt/tk/libnvJitLink.so.12.1.105": ""},
            "puts an older toolkit's libraries before those that PyTorch brings (export LD_LIBRARY_PATH=/opt/tk);",
            id="toolkit_library",
        ),
    ],
)
def test_what_is_told_of_it(
    tmp_path: Path, files: dict[str, str], told: str, case: Any, request: pytest.FixtureRequest
) -> None:
    library(tmp_path, GKE, OWN)
    library(tmp_path, "/opt/old", OLD)
    root = write(tmp_path, {name: text for name, text in files.items() if name != "/etc/ld.so.cache"})
    if "/etc/ld.so.cache" in files:
        (tmp_path / "etc").mkdir(exist_ok=True)
        (tmp_path / "etc/ld.so.cache").write_bytes(files["/etc/ld.so.cache"].encode("latin-1"))
    driver = {"version": OWN, "flavor": "open"}
    (row,) = find_conflicts(root, "/root", {}, driver, [{"uuid": None}] * 2, [{"cuda": "12.8"}])
    assert row["kind"] in request.node.name
    assert row["kind"] in CONFLICTS
    observed: dict[str, Any] = {"platform": {"kind": "container", "home": "/root", "root": True}, "conflicts": [row]}
    scope = "user" if row["kind"] == "loader_cache" else "system"  # in system scope the run refreshes the cache itself
    assert told in " ".join(observed_warnings(case(observed, scope=scope), observed))


def test_a_folder_that_a_line_names_often_is_one_conflict() -> None:
    """A value that grows with each start has thousands, each of which would be told with all of the line."""
    rows = parse_conflicts("export LD_LIBRARY_PATH=" + "/usr/local/cuda/compat:" * 100, "/root/.bashrc")
    assert [row["path"] for row in rows] == ["/usr/local/cuda/compat"]
