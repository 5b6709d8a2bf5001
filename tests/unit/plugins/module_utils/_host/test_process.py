# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module's commands with a limit."""

from __future__ import annotations

import subprocess
from typing import Any
from unittest import mock

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host import process


@pytest.mark.parametrize(
    ("coreutils", "argv"), [("/usr/bin/timeout", ["timeout", "7", "uv", "venv"]), (None, ["uv", "venv"])]
)
def test_a_command_has_its_limit_where_the_host_can_set_one(coreutils: str | None, argv: list[str]) -> None:
    """python_packages and offline_bundle had a copy each."""
    module: Any = mock.Mock(**{"run_command.return_value": (process.TIMED_OUT, "out", "err")})
    with mock.patch.object(process.shutil, "which", return_value=coreutils):
        answer = process.run_limited(module, ["uv", "venv"], seconds=7, variables={"A": "1"}, cwd="/p")
    assert answer == (124, "out", "err")
    module.run_command.assert_called_once_with(argv, environ_update={"A": "1"}, cwd="/p")


@pytest.mark.parametrize(
    ("text", "line"), [("a\nb.\n", "b"), ("  one  ", "one"), ("", "no reason"), (" \n", "no reason")]
)
def test_the_last_line(text: str, line: str) -> None:
    assert process.last_line(text, "no reason") == line


def test_the_status_is_the_real_programs() -> None:
    def run(argv: list[str], **_more: Any) -> tuple[int, str, str]:
        return subprocess.run(argv, check=False).returncode, "", ""

    module: Any = mock.Mock(**{"run_command.side_effect": run})
    code, _out, _err = process.run_limited(module, ["sleep", "3600"], seconds=1, variables={}, cwd="/")
    assert code == process.TIMED_OUT
