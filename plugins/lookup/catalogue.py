# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: catalogue
short_description: A row of the collection's catalogue
version_added: 1.0.0
description:
  - Reads what the collection knows about CUDA releases, drivers, GPUs, PyTorch and the tools it uses on hosts.
author:
  - Podsmith developers (@podsmith)
options:
  _terms:
    description: File, section and key of the row, such as V(tools), V(tools), V(uv); the whole section without the key.
    required: true
    type: list
    elements: str
"""

EXAMPLES = r"""
- name: Show the version of uv that hosts get
  ansible.builtin.debug:
    msg: "{{ lookup('podsmith.gpu.catalogue', 'tools', 'tools', 'uv')['version'] }}"
"""

RETURN = r"""
_raw:
  description: The row, or the section as key to row.
  type: list
  elements: dict
"""

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import CatalogueError, load_catalogue


def find_row(catalogue: Any, terms: list[str]) -> Any:
    """The row or section that the terms name.

    Raises AnsibleLookupError that names what is there instead.
    """
    found = catalogue
    if len(terms) not in (2, 3):
        raise AnsibleLookupError(
            f"The lookup catalogue has {len(terms)} terms; expected file, section and key, as 'tools', 'tools', 'uv'."
        )
    for depth, term in enumerate(terms):
        if term not in found:
            place = "/".join(["catalogue", *terms[:depth]])
            raise AnsibleLookupError(f"{place} has no {term!r}; it has {', '.join(map(str, found))}.")
        found = found[term]
    return found


class LookupModule(LookupBase):
    """The lookup."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[Any]:
        """The row, as a list of one."""
        self.set_options(var_options=variables, direct=kwargs)
        try:
            return [find_row(load_catalogue(), [str(term) for term in terms])]
        except CatalogueError as error:
            raise AnsibleLookupError(str(error)) from error
