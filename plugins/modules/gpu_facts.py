#!/usr/bin/python
# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_facts
short_description: Observe a host's NVIDIA driver, GPUs, CUDA and PyTorch
version_added: 1.0.0
description:
  - Reads in one call all that a plan for CUDA and PyTorch compares, from the kernel driver to the digests of the files
    that this collection wrote, and returns it as the fact C(gpu).
  - What is absent is a finding, never a failure. Each child that may hang has a time limit, and a hung driver is
    reported as such.
  - The kernel driver is read through NVML, sysfs, proc and C(nvidia-smi --query-gpu), which no compatibility library
    changes. What a fresh login shell gets from its loader is a fact of its own.
author:
  - Podsmith developers (@podsmith)
options:
  sysroot:
    description:
      - Where the host's files are read. With another folder than V(/), a recorded or simulated host is read below it,
        and no command is run but its own C(nvidia-smi).
    type: path
    default: /
  timeout:
    description:
      - Seconds that each child may take.
    type: float
    default: 5
  prefixes:
    description:
      - Where this collection may have installed, the most important first. Without it the default places are searched,
        C(/opt/podsmith), C(podsmith) on a volume that outlives the pod and C(~/.local/share/podsmith).
    type: list
    elements: path
    default: []
extends_documentation_fragment:
  - podsmith.gpu.attributes
  - podsmith.gpu.attributes.facts
seealso:
  - module: podsmith.gpu.gpu_probe
"""

EXAMPLES = r"""
- name: Observe the host
  podsmith.gpu.gpu_facts:

- name: Show its driver
  ansible.builtin.debug:
    msg: "{{ ansible_facts['gpu']['driver'] }}"
"""

RETURN = r"""
ansible_facts:
  description: The facts to add to C(ansible_facts).
  returned: always
  type: dict
  contains:
    gpu:
      description:
        - What was observed. A key that is absent or V(null) is unknown; an empty list was read and is empty.
      type: dict
      returned: always
      contains:
        schema:
          description: Version of this shape.
          type: int
          returned: always
          sample: 1
        platform:
          description: Kind of machine, provider, system, interpreters, compiler, tools, memory and free space.
          type: dict
          returned: always
        driver:
          description: The kernel driver.
          type: dict
          returned: always
          sample: {status: ok, version: 570.133.20, branch: 570, cuda: "12.8", flavor: open, source: nvml}
        devices:
          description: The GPUs.
          type: list
          elements: dict
          returned: always
        loader:
          description: The libcuda that a fresh login shell gets, and whether CUDA starts with it.
          type: dict
          returned: unless O(sysroot) is another folder
          sample: {libcuda: null, driver_api: null, compat_active: false, init: null, devices: 0}
        sources:
          description: Where the host's own pip configuration fetches packages from, credentials masked.
          type: dict
          returned: always
        installed:
          description: CUDA toolkits, compatibility libraries, CUTLASS, every PyTorch, and our environment.
          type: dict
          returned: always
        conflicts:
          description: Settings and libraries that put the wrong libcuda first.
          type: list
          elements: dict
          returned: always
        problems:
          description: What could not be read, and why.
          type: list
          elements: str
          returned: always
        timings:
          description: Seconds spent.
          type: dict
          returned: always
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podsmith.gpu.plugins.module_utils._observe.host import observe


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "sysroot": {"type": "path", "default": "/"},
            "timeout": {"type": "float", "default": 5},
            "prefixes": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    params = module.params
    gpu = observe(params["sysroot"], params["timeout"], params["prefixes"], dict(os.environ))
    module.exit_json(changed=False, ansible_facts={"gpu": gpu})


if __name__ == "__main__":
    main()
