# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands of a module that may take no longer than a limit."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence

from ansible.module_utils.basic import AnsibleModule

TIMED_OUT = 124  # exit status of a command that was ended at its limit, as coreutils' timeout has it


def run_limited(
    module: AnsibleModule, argv: Sequence[str], *, seconds: int, variables: Mapping[str, str], cwd: str
) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a command; the status is ``TIMED_OUT`` past the limit.

    A host without coreutils has no ``timeout``; there the command runs without a limit.

    :param variables: what is added to the module's own environment.
    """
    limit = ["timeout", str(seconds)] if shutil.which("timeout") else []
    code, out, err = module.run_command([*limit, *argv], environ_update=dict(variables), cwd=cwd)
    return code, out, err


def last_line(text: str, otherwise: str) -> str:
    """The last line of what a command said, which has the reason as a rule, without its full stop."""
    lines = text.strip().splitlines()
    return lines[-1].strip().rstrip(".") if lines else otherwise
