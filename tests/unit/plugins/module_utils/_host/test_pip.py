# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host.pip import (
    PipSources,
    mask,
    observe_sources,
    parse_pip_config,
    parse_torch_version,
    parse_wheel_name,
    read_pip_config,
    read_zip_member,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root


@pytest.mark.parametrize(
    ("texts", "environ", "expected"),
    [
        pytest.param([], {}, PipSources(), id="nothing"),
        pytest.param(["[global]\nindex-url = https://a/simple\n"], {}, PipSources("https://a/simple"), id="index"),
        pytest.param(["[global]\nindex_url: https://a\n"], {}, PipSources("https://a"), id="underscore-and-colon"),
        pytest.param(
            ["[global]\nindex-url = https://a\n", "[global]\nindex-url = https://b\n"],
            {},
            PipSources("https://b"),
            id="later-file-wins",
        ),
        pytest.param(
            ["[install]\nindex-url = https://a\n", "[global]\nindex-url = https://b\n"],
            {},
            PipSources("https://a"),
            id="install-wins-over-global",
        ),
        pytest.param(
            ["[install]\nindex-url = https://a\n"],
            {"PIP_INDEX_URL": "https://b"},
            PipSources("https://b"),
            id="variable-wins",
        ),
        pytest.param(
            ["[global]\nextra-index-url =\n    https://a\n    # not this\n    https://b\nfind-links = /w /v\n"],
            {},
            PipSources(extra_index_urls=("https://a", "https://b"), find_links=("/w", "/v")),
            id="several-lines",
        ),
        pytest.param(
            ["[global]\nno-index = yes\ntrusted-host = a b\ncert = /etc/ca.pem\n"],
            {},
            PipSources(no_index=True, trusted_hosts=("a", "b"), cert="/etc/ca.pem"),
            id="the-rest",
        ),
        pytest.param(
            [], {"PIP_FIND_LINKS": "/w /v", "PIP_NO_INDEX": "0"}, PipSources(find_links=("/w", "/v")), id="variables"
        ),
        pytest.param(["[freeze]\nindex-url = https://a\n"], {}, PipSources(), id="another-command"),
        pytest.param(["[global]\n  index-url = https://a\n"], {}, PipSources("https://a"), id="indented-first-option"),
        pytest.param(["nonsense\n[global\n=\n"], {"PIP_INDEX_URL": ""}, PipSources(), id="nonsense"),
    ],
)
def test_pip_config(texts: list[str], environ: dict[str, str], expected: PipSources) -> None:
    assert parse_pip_config(texts, environ) == expected


def write(folder: Path, files: dict[str, str]) -> Root:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return Root(str(folder))


def test_pips_files_in_its_order(tmp_path: Path) -> None:
    names = ["etc/xdg/pip/pip.conf", "etc/pip.conf", "root/.pip/pip.conf", "root/.config/pip/pip.conf", "srv/own.conf"]
    root = write(tmp_path, {name: name for name in names})
    assert read_pip_config(root, "/root", {"PIP_CONFIG_FILE": "/srv/own.conf"}) == names
    assert read_pip_config(root, "/root", {"PIP_CONFIG_FILE": "/dev/null"}) == []


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("https://user:secret@host/simple", "https://****@host/simple"),
        ("https://token@host:8080/simple", "https://****@host:8080/simple"),
        ("https://host/a@b", "https://host/a@b"),
        ("/srv/wheels", "/srv/wheels"),
    ],
)
def test_credentials_are_masked(url: str, masked: str) -> None:
    assert mask(url) == masked


def test_facts_hold_no_credentials(tmp_path: Path) -> None:
    text = "[global]\nindex-url = https://u:hunter2@a/\nextra-index-url = https://hunter2@b/\nfind-links = https://u:hunter2@c/\n"
    sources = observe_sources(write(tmp_path, {"etc/pip.conf": text}), "/root", {})
    assert "hunter2" not in str(sources)
    assert sources["index_url"] == "https://****@a/"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl",
            {"name": "torch", "version": "2.13.0+cpu", "python_tag": "cp311", "arch": "x86_64"},
        ),
        (
            "torch-2.9.1%2Bcu130-cp312-cp312-manylinux_2_28_aarch64.whl",
            {"name": "torch", "version": "2.9.1+cu130", "python_tag": "cp312", "arch": "aarch64"},
        ),
        (
            "torch-2.9.1-1-cp312-cp312-linux_x86_64.whl",
            {"name": "torch", "version": "2.9.1", "python_tag": "cp312", "arch": "x86_64"},
        ),
        ("torch-2.9.1.tar.gz", None),
    ],
)
def test_wheel_name(name: str, expected: dict[str, str] | None) -> None:
    assert parse_wheel_name(name) == expected


@pytest.mark.parametrize(
    ("text", "local", "cuda"),
    [
        ("__version__ = '2.13.0+cpu'\ncuda: Optional[str] = None\n", "2.13.0+cpu", None),
        ("__version__ = '2.14.1+cu130'\ncuda: Optional[str] = '13.0'\n", "2.14.1+cu130", "13.0"),
        ('__version__ = "1.8.0"\ncuda = "11.1"\n', "1.8.0", "11.1"),
        ("", None, None),
    ],
)
def test_torch_version(text: str, local: str | None, cuda: str | None) -> None:
    assert parse_torch_version(text) == {"local": local, "cuda": cuda}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_one_member_of_a_zip(tmp_path: Path, method: int) -> None:
    path = tmp_path / "a.whl"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("functorch/torch/version.py", "no")
        archive.writestr("torch/version.py.bak", "no")
        archive.writestr("torch/version.py", "cuda = '13.0'\n" * 9)
    assert read_zip_member(str(path), "torch/version.py") == b"cuda = '13.0'\n" * 9
    assert read_zip_member(str(path), "torch/nothing.py") is None


@pytest.mark.parametrize("data", [b"", b"PK\5\6", b"no zip at all" * 10])
def test_a_broken_zip_has_no_member(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.whl").write_bytes(data)
    assert read_zip_member(str(tmp_path / "a.whl"), "torch/version.py") is None


def test_torch_wheels_in_local_folders(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {"etc/pip.conf": "[global]\nfind-links = /w file:///v https://a/\n", "w/numpy-2-cp311-cp311-any.whl": ""},
    )
    (tmp_path / "w/torch-2.9.1+cu130-cp312-cp312-manylinux_2_28_aarch64.whl").touch()
    (tmp_path / "v").mkdir()
    with zipfile.ZipFile(tmp_path / "v/torch-2.14.1-cp311-cp311-manylinux_2_28_x86_64.whl", "w") as archive:
        archive.writestr("torch/version.py", "__version__ = '2.14.1+cu128'\ncuda: Optional[str] = '12.8'\n")
    wheels = observe_sources(root, "/root", {})["wheels"]
    assert [(wheel["path"], wheel["version"], wheel["cuda"]) for wheel in wheels] == [
        ("/w/torch-2.9.1+cu130-cp312-cp312-manylinux_2_28_aarch64.whl", "2.9.1+cu130", "13.0"),
        ("/v/torch-2.14.1-cp311-cp311-manylinux_2_28_x86_64.whl", "2.14.1", "12.8"),
    ]
