# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files and links that are whole at each moment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host.write import replace_file, replace_link


@pytest.fixture(autouse=True)
def usual_umask() -> object:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.parametrize(
    ("content", "mode", "expected"),
    [
        pytest.param("ä\n", None, (b"\xc3\xa4\n", 0o644), id="text-by-the-umask"),
        pytest.param(b"\x00", 0o600, (b"\x00", 0o600), id="bytes-for-one-user"),
        pytest.param("", 0o755, (b"", 0o755), id="nothing-to-execute"),
    ],
)
@pytest.mark.parametrize("there", [None, "file", "link"])
def test_a_file_gets_its_content_and_its_mode(
    content: str | bytes, mode: int | None, expected: tuple[bytes, int], there: str | None, tmp_path: Path
) -> None:
    """Nine copies of this gave four names to what lies beside, and two left a mode that the umask narrowed."""
    path, other = tmp_path / "folder" / "name", tmp_path / "other"
    other.write_text("of somebody else")
    if there:
        path.parent.mkdir()
        path.symlink_to(other) if there == "link" else path.write_text("old")
        os.umask(0o077 if mode else 0o022)
    replace_file(path, content, mode=mode)
    assert (path.read_bytes(), path.stat().st_mode & 0o7777) == expected
    assert not path.is_symlink()
    assert other.read_text() == "of somebody else"
    assert list(path.parent.iterdir()) == [path]


def test_what_cannot_be_written_leaves_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "name" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="name"):
        replace_file(tmp_path / "name", "text")
    with pytest.raises(OSError, match="name"):
        replace_link(tmp_path / "name", "target")
    assert [path.name for path in tmp_path.iterdir()] == ["name"]


@pytest.mark.parametrize("there", [None, "link", "dangling"])
def test_a_link_is_exchanged_in_one_step(there: str | None, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    if there:
        (tmp_path / "current").symlink_to("old" if there == "link" else "nowhere")
    replace_link(tmp_path / "current", "new")
    assert (tmp_path / "current").readlink() == Path("new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["current", "old"]
    assert not list((tmp_path / "old").iterdir()), "it must not go into the folder that the old link points to"
