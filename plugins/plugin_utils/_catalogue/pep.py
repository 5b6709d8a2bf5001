# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What reads the formats of Python's packaging (PEP 425, 440, 503, 508): the library that ansible-core itself requires.

It is imported here alone, and guarded, because ansible-test imports every plugin in an environment without it.
"""

from __future__ import annotations

try:
    from packaging import tags
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.utils import canonicalize_name
    from packaging.version import InvalidVersion, Version
except ImportError:  # no controller: every ansible-core brings it
    tags = Requirement = SpecifierSet = canonicalize_name = Version = None  # type: ignore[assignment,misc]
    InvalidRequirement = InvalidSpecifier = InvalidVersion = ValueError  # type: ignore[assignment,misc]

__all__ = [
    "InvalidRequirement",
    "InvalidSpecifier",
    "InvalidVersion",
    "Requirement",
    "SpecifierSet",
    "Version",
    "canonicalize_name",
    "tags",
]
