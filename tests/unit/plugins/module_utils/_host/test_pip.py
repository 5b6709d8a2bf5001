# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host.pip import (
    WATCHED_BYTES,
    WATCHED_FILE,
    WATCHED_FILES,
    Damage,
    PipSources,
    find_damage,
    local_path,
    mask,
    observe_sources,
    parse_digests,
    parse_pip_config,
    parse_record,
    parse_torch_version,
    read_pip_config,
    read_record,
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


@pytest.mark.parametrize(
    ("url", "home", "path"),
    [
        ("file:///opt/a%20b/simple", None, "/opt/a b/simple"),
        ("/opt/wheels", None, "/opt/wheels"),
        ("https://m/x", None, None),
        ("~/wheels", "/home/other", "/home/other/wheels"),
        ("~", "/home/other", "/home/other"),
        ("~/wheels", None, "/home/me/wheels"),
        ("~nobody-of-that-name/wheels", "/home/other", "~nobody-of-that-name/wheels"),
    ],
)
def test_local_path(url: str, home: str | None, path: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip's ``find-links`` were read in two ways: an observation took ``~name`` for a folder in this user's home."""
    monkeypatch.setenv("HOME", "/home/me")
    assert local_path(url, home) == path


@pytest.mark.parametrize(
    ("line", "row"),
    [
        pytest.param("a/b.so,sha256=x,70000", {"a/b.so": 70000}, id="plain"),
        pytest.param('"odd,name.py",sha256=y,3', {"odd,name.py": 3}, id="comma"),
        pytest.param('"say ""hi"".py",sha256=y,3', {'say "hi".py': 3}, id="quotes"),
        pytest.param("../../../bin/x,sha256=y,", {"../../../bin/x": None}, id="no-size"),
        pytest.param("a/b.py,sha256=x,12\r", {"a/b.py": 12}, id="line-end-of-windows"),
        pytest.param("a/__pycache__/b.cpython-312.pyc,,", {}, id="byte-code"),
        pytest.param("x-1.dist-info/RECORD,,", {}, id="itself"),
        pytest.param("no row at all", {}, id="nonsense"),
    ],
)
def test_a_row_of_a_record(line: str, row: dict[str, int | None]) -> None:
    """RECORD was read in two ways: gpu_facts saw nothing in one with Windows' line ends, and listed RECORD itself."""
    assert parse_record(f"first.py,,1\n{line}\nlast.py,,2\n") == {"first.py": 1, **row, "last.py": 2}


@pytest.mark.parametrize(
    ("text", "found"), [(None, None), ("", None), ("a.py,,1\n", {"a.py": 1}), ("x/RECORD,,\n", {"x/RECORD": None})]
)
def test_a_record_that_is_lost_or_empty_is_none(
    text: str | None, found: dict[str, int | None] | None, tmp_path: Path
) -> None:
    """Two answers before: for an empty one python_packages said "whole" and gpu_facts "RECORD is missing"."""
    (tmp_path / "x-1.dist-info").mkdir()
    if text is not None:
        (tmp_path / "x-1.dist-info/RECORD").write_text(text)
    assert read_record(Root(str(tmp_path)), "/x-1.dist-info") == found


ROWS = {"lib/whole.so": 70000, "lib/cut.so": 70000, "small.py": 3, "gone/a.py": 1, "top.py": None, "lib/empty.py": 0}


@pytest.mark.parametrize(
    ("measured_from", "damage"),
    [
        pytest.param(65536, Damage(("gone/a.py", "top.py"), ("lib/cut.so",)), id="observation"),
        pytest.param(0, Damage(("gone/a.py", "top.py"), ("lib/cut.so", "small.py", "lib/empty.py")), id="installation"),
    ],
)
def test_what_is_gone_or_has_another_size_is_damage(measured_from: int, damage: Damage, tmp_path: Path) -> None:
    """One rule with two thresholds: gpu_facts measures what a full disk cuts off, python_packages every file.

    So a small file that was edited is repaired by a run that has something to do anyway, and starts none.
    """
    root = write(tmp_path, {"s/lib/cut.so": "x" * 10, "s/small.py": "changed by the user", "s/lib/empty.py": "x"})
    (tmp_path / "s/lib/whole.so").write_bytes(b"x" * 70000)
    assert find_damage(root, "/s", ROWS, measured_from=measured_from) == damage


@pytest.mark.parametrize(("size", "missing"), [(70000, ("a.so",)), (10, ())])
def test_a_link_that_leads_nowhere_is_missing_where_it_is_measured(
    size: int, missing: tuple[str, ...], tmp_path: Path
) -> None:
    """Two answers before: python_packages asked for every file behind its link, gpu_facts for large ones alone."""
    (tmp_path / "a.so").symlink_to("nowhere")
    assert find_damage(Root(str(tmp_path)), "/", {"a.so": size}, measured_from=65536) == Damage(missing, ())
    assert find_damage(Root(str(tmp_path)), "/", {"a.so": size}, measured_from=0) == Damage(("a.so",), ())


DIGEST = "x" * 43


@pytest.mark.parametrize(
    ("line", "chosen"),
    [
        pytest.param(f"torch/__init__.py,sha256={DIGEST},100", ["torch/__init__.py"], id="at-the-top"),
        pytest.param(f"isympy.py,sha256={DIGEST},100\r", ["isympy.py"], id="a-module"),
        pytest.param(f"torch/nn/functional.py,sha256={DIGEST},100", [], id="deeper"),
        pytest.param(f"torch/lib.so,sha256={DIGEST},100", [], id="no-python"),
        pytest.param(f"torch/big.py,sha256={DIGEST},{WATCHED_FILE + 1}", [], id="large"),
        pytest.param("torch/__init__.py,sha256=x,100", [], id="no-digest"),
        pytest.param(f"torch/__init__.py,sha256={DIGEST}", [], id="no-size"),
        pytest.param(f"torch/__init__.py,sha256={DIGEST},²", [], id="no-number"),
        pytest.param("torch/__init__.py,,", [], id="nothing-known"),
    ],
)
def test_digests_of_the_small_files_at_the_top(line: str, chosen: list[str]) -> None:
    assert list(parse_digests(f"torch/x.h,sha256={DIGEST},1\n{line}\n")) == chosen


def test_digests_are_bounded_and_what_is_imported_first_comes_first() -> None:
    lines = [f"torch/f{number:03}.py,sha256={DIGEST},10" for number in range(WATCHED_FILES)]
    found = parse_digests("\n".join([*lines, f"torch/version.py,sha256={DIGEST},10"]))
    assert (len(found), next(iter(found))) == (WATCHED_FILES, "torch/version.py")
    lines = [f"torch/f{number:03}.py,sha256={DIGEST},{WATCHED_FILE}" for number in range(WATCHED_FILES)]
    assert sum(size for _digest, size in parse_digests("\n".join(lines)).values()) == WATCHED_BYTES
