# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._bundle import files


def test_platforms_go_from_the_newest_that_the_host_runs_to_the_oldest() -> None:
    found = files.platforms("2.28", "x86_64")
    assert found[0] == "manylinux_2_28_x86_64"
    assert "manylinux_2_29_x86_64" not in found
    assert {"manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux1_x86_64", "linux_x86_64"} <= set(found)


def test_an_old_host_does_not_take_a_newer_legacy_tag() -> None:
    assert "manylinux2014_aarch64" not in files.platforms("2.12", "aarch64")


@pytest.mark.parametrize(
    ("glibc", "expected"),
    [
        pytest.param("2.39", "x86_64-manylinux_2_39", id="known"),
        pytest.param("2.30", "x86_64-manylinux_2_28", id="between"),
        pytest.param("2.99", "x86_64-manylinux_2_40", id="newer-than-uv-knows"),
        pytest.param("2.35-0ubuntu3", None, id="no-version"),
        pytest.param("musl 1.2", None, id="no-glibc"),
    ],
)
def test_uv_platform(glibc: str, expected: str | None) -> None:
    if expected:
        assert files.uv_platform(glibc, "x86_64") == expected
    else:
        with pytest.raises(ValueError, match=r'The glibc is ".*"; expected a version such as 2\.39'):
            files.uv_platform(glibc, "x86_64")


COMPILED = """\
torch==2.13.0+cpu \\
    --hash=sha256:aa \\
    --hash=sha256:bb
Typing_Extensions==4.16.0 ; python_version < '3.13' \\
    --hash=sha256:cc
# via torch
"""


def test_what_the_host_has_is_dropped_from_the_pins() -> None:
    assert files.drop_pins(COMPILED, {"torch"}) == [
        "Typing_Extensions==4.16.0 ; python_version < '3.13' --hash=sha256:cc"
    ]
    assert files.drop_pins(COMPILED, {"typing-extensions"}) == ["torch==2.13.0+cpu --hash=sha256:aa --hash=sha256:bb"]


def test_index_pages_lead_to_the_wheels() -> None:
    pages = files.index_pages({"Torch-2.9.1+cu130-cp312-cp312-linux_x86_64.whl": "ab", "README": "cd"})
    assert set(pages) == {"simple/index.html", "simple/torch/index.html"}
    link = "../../wheels/Torch-2.9.1%2Bcu130-cp312-cp312-linux_x86_64.whl#sha256=ab"
    assert f'<a href="{link}">Torch-2.9.1+cu130-cp312-cp312-linux_x86_64.whl</a>' in pages["simple/torch/index.html"]
    assert '<a href="torch/">torch</a>' in pages["simple/index.html"]


def test_a_manifest_tells_what_was_damaged(tmp_path: Path) -> None:
    for name in ("whole", "short", "edited", "gone"):
        (tmp_path / name).write_text("text", encoding="utf-8")
    listed = files.list_files(tmp_path, dict.fromkeys(("whole", "short", "edited", "gone"), "a test"))
    assert listed["whole"] == {"sha256": files.sha256(tmp_path / "whole"), "size": 4, "for": "a test"}
    (tmp_path / files.MANIFEST).write_text(json.dumps({"files": listed}), encoding="utf-8")
    (tmp_path / "short").write_text("tex", encoding="utf-8")
    (tmp_path / "edited").write_text("t3xt", encoding="utf-8")
    (tmp_path / "gone").unlink()
    assert files.find_damage(tmp_path, files.read_manifest(tmp_path)) == ["edited", "gone", "short"]


@pytest.mark.parametrize("text", [None, "", "[]", "{"])
def test_no_manifest_is_an_empty_one(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / files.MANIFEST).write_text(text, encoding="utf-8")
    assert files.read_manifest(tmp_path) == {}
