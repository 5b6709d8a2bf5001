# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Options of the modules that install packages with uv."""

    DOCUMENTATION = r"""
options:
  prefix:
    description: Folder that holds uv's cache (C(cache/uv)) and, where the host has none, uv itself (C(tools)).
    type: path
    required: true
  requirements:
    description:
      - What is to be there, each as V(name==version), as V(name @ URL of a wheel), as V(name>=2.9.0.dev0), or as
        V(name) where any version will do.
    type: list
    elements: str
    default: []
  reinstall:
    description: Names of packages known to be broken, to be reinstalled even if their files look right.
    type: list
    elements: str
    default: []
  index_url:
    description: Index that is asked first, such as PyTorch's. The host's own, or uv's default, stays the fallback.
    type: str
  extra_index_urls:
    description: Further indexes.
    type: list
    elements: str
    default: []
  find_links:
    description: Folders or pages with wheels. A folder that is not there holds none.
    type: list
    elements: str
    default: []
  uv_version:
    description: Least version of uv that will do, and the one that is installed where there is none.
    type: str
    required: true
  uv_path:
    description: The uv to use.
    type: path
  uv_source:
    description:
      - A uv executable on the host, to be copied to C(<prefix>/tools) if no other can be had. The controller's is
        sent by itself.
    type: path
  timeout:
    description: Seconds that one call of uv may take.
    type: int
    default: 1800
  hint:
    description:
      - What the user can do about a source that does not answer or lacks a package; ends the error's sentence.
    type: str
    default: name an index that has it with index_url
"""
