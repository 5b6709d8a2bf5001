# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What reads the formats of Python's packaging (PEP 425, 440, 503, 508): the library that ansible-core itself requires.

It is imported here alone, and guarded, because ansible-test imports every plugin in an environment without it. What
few need, and takes as long to import as a whole decision, is imported when it is asked for.
"""

from __future__ import annotations

import importlib
import re
from typing import TYPE_CHECKING, Any

try:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.version import InvalidVersion, Version
except ImportError:  # no controller: every ansible-core brings it
    SpecifierSet = Version = None  # type: ignore[assignment,misc]
    InvalidSpecifier = InvalidVersion = ValueError  # type: ignore[assignment,misc]
if TYPE_CHECKING:
    from packaging import tags
    from packaging.requirements import InvalidRequirement, Requirement

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

_LATER = {
    "tags": "packaging.tags",
    "Requirement": "packaging.requirements",
    "InvalidRequirement": "packaging.requirements",
}
_MISSING = {"InvalidRequirement": ValueError}
_SEPARATORS = re.compile(r"[-_.]+")


def __getattr__(name: str) -> Any:
    """What is imported when it is asked for; the same names are there without the library, and stand for nothing."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(_LATER[name])
    except ImportError:
        return _MISSING.get(name)
    return module if name == "tags" else getattr(module, name)


def canonicalize_name(name: str) -> str:
    """The name of a package as indexes compare it: small letters, one hyphen for each run of separators (PEP 503).

    >>> canonicalize_name("Flash_.Attn")
    'flash-attn'
    """
    return _SEPARATORS.sub("-", name).lower()
