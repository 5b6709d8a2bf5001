# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files and links that are whole at each moment: written beside their place, then renamed into it."""

from __future__ import annotations

import os
import pathlib


def replace_file(path: pathlib.Path, content: str | bytes, *, mode: int | None = None) -> None:
    """Give a file this content, its folder made where it is missing; a reader sees the old content or the new.

    :param content: text is written as UTF-8.
    :param mode: the file's mode; ``None`` leaves it to the umask. It holds before the file has its name.

    Raises OSError; then the old file stands, and nothing lies beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(path)
    try:
        beside.write_bytes(content.encode() if isinstance(content, str) else content)
        if mode is not None:
            beside.chmod(mode)
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def replace_link(path: pathlib.Path, target: str) -> None:
    """Point a symbolic link at a target in one step. What stands there is replaced unless it is a folder.

    Raises OSError; then what stood there stands.
    """
    beside = _beside(path)
    try:
        beside.symlink_to(target)
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def _beside(path: pathlib.Path) -> pathlib.Path:
    """A hidden name in the same folder that no other process takes."""
    return path.with_name(f".{path.name}.{os.getpid()}")
