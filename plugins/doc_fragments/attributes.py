# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Attributes of the modules that only read."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and return its results.
    support: full
  diff_mode:
    description: Returns the difference when in diff mode.
    support: none
    details: It never changes anything.
  platform:
    description: The systems that it can run on.
    support: full
    platforms: linux
"""

    FACTS = r"""
options: {}
attributes:
  facts:
    description: Returns C(ansible_facts).
    support: full
"""
