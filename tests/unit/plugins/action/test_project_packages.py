# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A project's host gets the controller's uv by the same two steps, which run the module that the task names."""

from __future__ import annotations

import platform
from unittest import mock

from ansible_collections.podsmith.gpu.plugins.action import project_packages, python_packages


def test_uv_is_sent_where_it_is_asked_for() -> None:
    plugin = project_packages.ActionModule.__new__(project_packages.ActionModule)
    plugin._task = mock.Mock(args={"environment": "/e"}, async_val=0, action="podsmith.gpu.project_packages")
    plugin._connection = mock.Mock()
    plugin._connection._shell.join_path = lambda *parts: "/".join(parts)
    plugin._connection._shell.tmpdir = "/tmp/ansible"
    needed = {"failed": True, "uv_needed": True, "machine": platform.machine()}
    plugin._execute_module = mock.Mock(side_effect=[needed, {"changed": True}])
    plugin._transfer_file, plugin._fixup_perms2, plugin._remove_tmp_path = mock.Mock(), mock.Mock(), mock.Mock()
    with (
        mock.patch.object(python_packages, "find_own_uv", return_value="/venv/bin/uv"),
        mock.patch.object(python_packages.ActionBase, "run", return_value={}),
    ):
        assert plugin.run(None, {}) == {"changed": True}
    for call in plugin._execute_module.call_args_list:
        assert "module_name" not in call.kwargs, "without it Ansible runs the module that the task names"
    given = plugin._execute_module.call_args.kwargs["module_args"]
    assert given == {"environment": "/e", "uv_source": "/tmp/ansible/uv"}
