# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's uv goes to a host that asks for it, and only to a machine of its own type."""

from __future__ import annotations

import platform
from typing import Any
from unittest import mock

import pytest

from ansible_collections.podsmith.gpu.plugins.action import python_packages as action

NEEDED = {"failed": True, "uv_needed": True, "machine": platform.machine()}


def run(answers: list[dict[str, Any]], uv: str | None = "/venv/bin/uv") -> tuple[dict[str, Any], mock.Mock]:
    """The result, and the plugin with what it called."""
    plugin = action.ActionModule.__new__(action.ActionModule)
    plugin._task = mock.Mock(args={"prefix": "/p"}, async_val=0)
    plugin._connection = mock.Mock()
    plugin._connection._shell.join_path = lambda *parts: "/".join(parts)
    plugin._connection._shell.tmpdir = "/tmp/ansible"
    calls = mock.Mock()
    calls.module.side_effect = answers
    plugin._execute_module, plugin._transfer_file = calls.module, calls.transfer
    plugin._fixup_perms2, plugin._remove_tmp_path = calls.permit, calls.clear
    with (
        mock.patch.object(action, "find_own_uv", return_value=uv),
        mock.patch.object(action.ActionBase, "run", return_value={}),
    ):
        return plugin.run(None, {}), calls


def test_host_with_uv_costs_one_call() -> None:
    result, calls = run([{"changed": True}])
    assert result == {"changed": True}
    assert calls.module.call_count == 1
    calls.transfer.assert_not_called()


def test_uv_is_sent_where_it_is_asked_for() -> None:
    result, calls = run([NEEDED, {"changed": True}])
    assert result == {"changed": True}
    calls.transfer.assert_called_once_with("/venv/bin/uv", "/tmp/ansible/uv")
    assert calls.module.call_args.kwargs["module_args"] == {"prefix": "/p", "uv_source": "/tmp/ansible/uv"}
    calls.clear.assert_called_once()


@pytest.mark.parametrize(
    ("answer", "uv"),
    [(NEEDED, None), ({**NEEDED, "machine": "riscv64"}, "/venv/bin/uv")],
    ids=["none-here", "other-machine"],
)
def test_the_hosts_error_stands_where_none_can_be_sent(answer: dict[str, Any], uv: str | None) -> None:
    result, calls = run([answer], uv)
    assert result == answer
    calls.transfer.assert_not_called()
