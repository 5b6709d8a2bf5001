# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run python_packages, and send the controller's own uv to a host that has none and cannot install one."""

from __future__ import annotations

import platform
import sys
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.podsmith.gpu.plugins.module_utils._packages.uv import find_own_uv


class ActionModule(ActionBase):
    """The module, run again with a copy of uv where the first run asks for one."""

    TRANSFERS_FILES = True
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module, a second time where the host needs uv and the controller has one that runs there."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        result.update(self._execute_module(module_args=arguments, task_vars=task_vars))
        uv = find_own_uv() if result.get("uv_needed") else None
        if uv and sys.platform == "linux" and platform.machine() == result.get("machine"):
            if not self._connection._shell.tmpdir:
                self._make_tmp_path()
            target = self._connection._shell.join_path(self._connection._shell.tmpdir, "uv")
            self._transfer_file(uv, target)
            self._fixup_perms2((self._connection._shell.tmpdir, target))
            result = self._execute_module(module_args={**arguments, "uv_source": target}, task_vars=task_vars)
        self._remove_tmp_path(self._connection._shell.tmpdir)
        return result
