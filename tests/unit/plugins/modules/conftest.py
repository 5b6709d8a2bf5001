# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs modules of the collection as Ansible does: arguments in, one JSON object out."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import locale
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from ansible.module_utils.testing import patch_module_args

MODULES = "ansible_collections.podsmith.gpu.plugins.modules"
CODE = (
    "import importlib, json, sys; from ansible.module_utils.testing import patch_module_args\n"
    "with patch_module_args(json.load(sys.stdin)): importlib.import_module(sys.argv[1]).main()"
)


@dataclass(frozen=True)
class Ran:
    """How a module ended: the exit status, and the object that it printed."""

    rc: int
    data: dict[str, Any]

    @property
    def changed(self) -> bool:
        return bool(self.data.get("changed"))

    @property
    def failed(self) -> bool:
        return bool(self.data.get("failed"))

    @property
    def msg(self) -> str:
        return str(self.data.get("msg", ""))


def to_ran(rc: int, out: str, err: str = "") -> Ran:
    """Read what a module printed: one object and nothing else, which says the same as the exit status."""
    try:
        ran = Ran(rc, json.loads(out))
    except ValueError:
        pytest.fail(f"The module printed {out!r} and ended with status {rc}; expected one JSON object. {err}")
    assert ran.failed == (rc != 0), ran
    ran.data.pop("invocation", None)  # the arguments, which older engines repeat
    return ran


def run_here(
    name: str,
    params: Mapping[str, Any],
    *,
    check: bool = False,
    diff: bool = False,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Ran:
    """Call ``main()`` of the module in this process.

    ``environ`` is all of its environment, this process's own where there is none. The environment, the working
    folder, the umask and the locale are put back afterwards. As from Ansible, the module has a temporary folder for
    the time of the call.
    """
    main = importlib.import_module(f"{MODULES}.{name}").main
    out = io.StringIO()
    with contextlib.ExitStack() as stack:
        tmpdir = stack.enter_context(tempfile.TemporaryDirectory())
        stack.callback(os.umask, get_umask())
        stack.callback(locale.setlocale, locale.LC_ALL, locale.setlocale(locale.LC_ALL))  # AnsibleModule sets environ's
        stack.enter_context(contextlib.chdir(cwd or Path.cwd()))
        stack.enter_context(mock.patch.dict(os.environ, environ or {}, clear=environ is not None))
        stack.enter_context(patch_module_args({"_ansible_tmpdir": tmpdir, **to_arguments(params, check, diff)}))
        stack.enter_context(contextlib.redirect_stdout(out))
        end = stack.enter_context(pytest.raises(SystemExit))
        main()
    return to_ran(int(end.value.code or 0), out.getvalue())


def run_apart(
    name: str,
    params: Mapping[str, Any],
    *,
    check: bool = False,
    diff: bool = False,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Ran:
    """Run the module in a fresh process, for what a call in this one would not show; the arguments are the same."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, f"{MODULES}.{name}"],
        input=json.dumps(to_arguments(params, check, diff)),
        env={**(os.environ if environ is None else environ), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return to_ran(done.returncode, done.stdout, done.stderr)


def to_arguments(params: Mapping[str, Any], check: bool, diff: bool) -> dict[str, Any]:
    return {**params, "_ansible_check_mode": check, "_ansible_diff": diff}


def get_umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


@pytest.fixture(scope="session")
def run_module() -> Callable[..., Ran]:
    return run_here


@pytest.fixture(scope="session")
def run_module_in_a_process() -> Callable[..., Ran]:
    return run_apart
