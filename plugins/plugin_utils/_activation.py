# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the collection writes on a host so that every process there finds the right CUDA: pure, text in and text out.

``environment`` is ``stack_plan_decision.environment``, or a part of it; an absent key means the same as ``null``::

    {scope: system|user, prefix: /opt/podsmith, home: /root, name: 2-torch2.9.1-cu130, path: <prefix>/environments/2-…,
     pytorch: true,                                 # there is a virtual environment at path
     python: "3.12", site_packages: lib/python3.12/site-packages,
     cuda_home: <path>|null, cutlass_home: <path>|null,
     compat_enabled: true, compat_path: <path>|null, compat_version: "580.95.05"|null,
     constraints: ["torch==2.9.1+cu130", …], adopt: <site-packages>|null, arch_list: "9.0;12.0"|null}
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

BLOCK_BEGIN = "# BEGIN podsmith.gpu"
BLOCK_END = "# END podsmith.gpu"


@dataclass(frozen=True)
class File:
    """One file of ours.

    ``path`` is relative to the generation, or absolute for a host file. ``mode`` is octal text such as ``"0644"``.
    With ``block`` the file is somebody else's: ``content`` is what stands between the two marker lines, at its top.
    ``digest(content)`` is what an observation must report for it: of the whole file, or of the lines between the markers.
    """

    path: str
    content: str
    mode: str
    block: bool = False


def digest(content: str) -> str:
    """The SHA-256 of a text in UTF-8, as hexadecimal digits."""
    return hashlib.sha256(content.encode()).hexdigest()


def generation_files(environment: Mapping[str, Any], *, sysroot: str = "") -> list[File]:
    """What stands inside a generation; paths are relative to it. ``sysroot`` is for tests: where /sys and /proc are read."""
    raise NotImplementedError


def host_files(environment: Mapping[str, Any]) -> list[File]:
    """What stands outside the generations; absolute paths. In user scope only the prefix's own ``activate.sh``."""
    raise NotImplementedError


def generation_digests(environment: Mapping[str, Any]) -> dict[str, str]:
    """Digests as ``ansible_facts['gpu'].installed.environment.files`` reports them: ``site-packages/…`` whatever the Python."""
    raise NotImplementedError


def host_digests(environment: Mapping[str, Any]) -> dict[str, str]:
    """Absolute path → digest, as ``ansible_facts['gpu'].installed.files`` reports them."""
    raise NotImplementedError
