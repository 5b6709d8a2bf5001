# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two ways to run a module give one result, and a run in this process leaves nothing behind."""

from __future__ import annotations

import locale
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule

RunModule = Callable[..., Any]
SPEC: dict[str, Any] = {"path": {"type": "path"}}


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[AnsibleModule], None]], str]:
    """A module whose main() does this; the name that it has."""

    def call(body: Callable[[AnsibleModule], None]) -> str:
        made = types.ModuleType("ansible_collections.podsmith.gpu.plugins.modules.stand_in")
        made.main = lambda: body(AnsibleModule(argument_spec=SPEC, supports_check_mode=True))  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, made.__name__, made)
        return "stand_in"

    return call


@pytest.mark.parametrize(("params", "rc"), [({"name": "x", "uri": "/srv", "state": "absent"}, 0), ({"nmae": "x"}, 1)])
def test_a_fresh_process_gives_the_same(
    params: dict[str, str], rc: int, tmp_path: Path, run_module: RunModule, run_module_in_a_process: RunModule
) -> None:
    given = {"folder": str(tmp_path), **params}
    here = run_module("apt_source", given, check=True)
    assert (here.rc, here.failed) == (rc, rc == 1)
    assert run_module_in_a_process("apt_source", given, check=True) == here


def test_what_a_module_is_given(tmp_path: Path, run_module: RunModule, stand_in: Callable[..., str]) -> None:
    def body(module: AnsibleModule) -> None:
        module.exit_json(
            check=module.check_mode,
            diff=module._diff,
            params=module.params,
            environ=dict(os.environ),
            cwd=str(Path.cwd()),
            tmpdir=Path(module.tmpdir).is_dir() and module.tmpdir,
        )

    ran = run_module(stand_in(body), {"path": "$HOME/x"}, check=True, diff=True, environ={"HOME": "/h"}, cwd=tmp_path)
    tmpdir = ran.data.pop("tmpdir")
    assert (tmpdir, Path(tmpdir).exists()) == (tmpdir, False)
    assert ran.data == {
        "check": True,
        "diff": True,
        "params": {"path": "/h/x"},
        "environ": {"HOME": "/h"},
        "cwd": str(tmp_path),
    }


def test_nothing_is_left_behind(tmp_path: Path, run_module: RunModule, stand_in: Callable[..., str]) -> None:
    def body(module: AnsibleModule) -> None:
        os.umask(0o077)
        os.chdir("/")
        os.environ["LEFT"] = "behind"
        locale.setlocale(locale.LC_ALL, "C")
        module.exit_json()

    def state() -> tuple[object, ...]:
        return dict(os.environ), Path.cwd(), locale.setlocale(locale.LC_ALL)

    was = locale.setlocale(locale.LC_ALL)
    locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
    before, old = state(), os.umask(0o027)
    try:
        run_module(stand_in(body), {})
        assert os.umask(0o027) == 0o027
        assert state() == before
    finally:
        os.umask(old)
        locale.setlocale(locale.LC_ALL, was)


@pytest.mark.parametrize("words", ["a word", '{"changed": false}'])
def test_only_one_object_is_a_result(words: str, run_module: RunModule, stand_in: Callable[..., str]) -> None:
    def body(module: AnsibleModule) -> None:
        sys.stdout.write(words)
        module.exit_json()

    with pytest.raises(pytest.fail.Exception, match="expected one JSON object"):
        run_module(stand_in(body), {})


def test_a_module_that_does_not_end_is_told(run_module: RunModule, stand_in: Callable[..., str]) -> None:
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        run_module(stand_in(lambda _module: None), {})


def test_a_failure_is_one_in_both_of_its_signs(run_module: RunModule, stand_in: Callable[..., str]) -> None:
    with pytest.raises(AssertionError, match="rc=0"):
        run_module(stand_in(lambda module: module.exit_json(failed=True)), {})
