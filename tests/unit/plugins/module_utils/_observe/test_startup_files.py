# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.startup_files import (
    digest_files,
    find_conflicts,
    parse_conflicts,
)

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
