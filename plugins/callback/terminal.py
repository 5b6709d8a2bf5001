# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible's default output with the verdict as text and the steps of a run as one line each."""

from __future__ import annotations

DOCUMENTATION = r"""
name: terminal
type: stdout
short_description: Default output, with the verdict of each host as a block of plain text
version_added: 1.0.0
author: Podsmith developers (@podsmith)
description:
  - Prints what the default callback prints, except that tasks that changed nothing say no more than their warnings,
    that each role which really runs is announced in one line, and that the blocks C(stack_plan_report),
    C(bundle_report) and C(container_image_report) are printed as they are.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
"""

import contextlib
from typing import Any

from ansible import constants as C
from ansible.plugins.callback.default import CallbackModule as DefaultCallback
from ansible.plugins.loader import filter_loader

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import CatalogueError, load_catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.parts import PARTS

REPORTS = tuple(part.report for part in PARTS if part.report)
PLANNER = "stack_plan"
ON_EVERY_HOST = ("unknown_variables", "stack_request", "stack_plan", "bootstrap_steps", "stack_report")  # filters


class CallbackModule(DefaultCallback):
    """The default callback, quieter, with the report of a host as plain lines."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "podsmith.gpu.terminal"

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Load what decides and tells: each task's process is forked from this one, and would load it again."""
        for name in ON_EVERY_HOST:
            filter_loader.get(f"podsmith.gpu.{name}")
        with contextlib.suppress(CatalogueError):  # which the first task tells
            load_catalogue()
        super().v2_playbook_on_start(playbook)

    def v2_playbook_on_include(self, included_file: Any) -> None:
        """Announce a role that runs, without its file's prefix; what runs on every host needs none."""
        if included_file._is_role and not str(included_file._filename).endswith(PLANNER):
            hosts = ", ".join(sorted(host.get_name() for host in included_file._hosts))
            what = included_file._task.get_name().rpartition(" | ")[2]
            self._display.display(f"{hosts}: {what} …", color=C.COLOR_SKIP)

    def v2_runner_on_ok(self, result: Any) -> None:
        """Print a report as it is; hand everything that changed something or warns to the default output."""
        lines = next((result._result[name] for name in REPORTS if name in result._result), None)
        if lines is not None:
            self._display.display("\n".join(["", *lines]))
        elif result.is_changed() or self._display.verbosity > 0:
            super().v2_runner_on_ok(result)
        else:
            self._handle_warnings_and_exception(result)
