#!/usr/bin/python
# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: source_check
short_description: Check that the sources of packages answer the host
version_added: 1.0.0
description:
  - Asks every source at once, with a time limit, before anything is fetched or changed. Fails with one sentence for
    each that does not answer.
  - Uses the host's proxies and certificates, those of its pip configuration included. Local folders and C(file) URLs
    are looked at.
author:
  - Podsmith developers (@podsmith)
options:
  sources:
    description: What to ask.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What it is for, as the error names it.
        type: str
        required: true
      url:
        description: Address, or path of a folder.
        type: str
        required: true
      variable:
        description: The variable that names a mirror.
        type: str
  pip:
    description: Whether to ask the indexes and folders of the host's own pip configuration, too.
    type: bool
    default: false
  timeout:
    description: Seconds that each may take to answer.
    type: int
    default: 10
attributes:
  check_mode:
    support: full
    description: Does the same; it never changes anything.
  diff_mode:
    support: none
    description: There is nothing to show.
"""

EXAMPLES = r"""
- name: See that PyTorch's index answers
  podsmith.gpu.source_check:
    sources:
      - name: PyTorch's index
        url: https://download.pytorch.org/whl/cu130/torch/
        variable: pytorch_index_url
"""

RETURN = r"""
sources:
  description: What was asked and what came back, as C(name), C(url), C(variable), C(ok), C(status), C(error).
  type: list
  elements: dict
  returned: always
"""

import os
import pathlib

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podsmith.gpu.plugins.module_utils._host import reach
from ansible_collections.podsmith.gpu.plugins.module_utils._host.pip import (
    PipSources,
    mask,
    parse_pip_config,
    read_pip_config,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root


def pip_sources(pip: PipSources) -> list[reach.Source]:
    """What a pip configuration names."""
    indexes = [] if pip.no_index else [pip.index_url, *pip.extra_index_urls]
    found = [reach.Source("pip's index", url) for url in indexes if url]
    return found + [reach.Source("pip's find-links", link) for link in pip.find_links]


def main() -> None:
    """Run the module."""
    suboptions = {
        "name": {"type": "str", "required": True},
        "url": {"type": "str", "required": True},
        "variable": {"type": "str"},
    }
    module = AnsibleModule(
        argument_spec={
            "sources": {"type": "list", "elements": "dict", "default": [], "options": suboptions},
            "pip": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 10},
        },
        supports_check_mode=True,
    )
    environ = dict(os.environ)
    pip = parse_pip_config(read_pip_config(Root(), str(pathlib.Path.home()), environ), environ)
    sources = [reach.Source(row["name"], row["url"], row["variable"]) for row in module.params["sources"]]
    if module.params["pip"]:
        sources += pip_sources(pip)
    answers = reach.check_sources(sources, timeout=module.params["timeout"], ca_path=pip.cert)
    told = [
        {
            "name": answer.source.name,
            "url": mask(answer.source.url),
            "variable": answer.source.variable,
            "ok": answer.error is None,
            "status": answer.status,
            "error": answer.error,
        }
        for answer in answers
    ]
    complaints = [reach.complain(answer) for answer in answers if answer.error is not None]
    if complaints:
        module.fail_json(msg=" ".join(complaints), sources=told)
    module.exit_json(changed=False, sources=told)


if __name__ == "__main__":
    main()
