# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run project_packages, and send the controller's own uv to a host that has none and cannot install one."""

from __future__ import annotations

from ansible_collections.podsmith.gpu.plugins.action.python_packages import ActionModule as PythonPackages


class ActionModule(PythonPackages):
    """The same two steps for the other module: the task's own name says which one runs."""
