#!/usr/bin/python
# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_probe
short_description: Start CUDA in a fresh login shell and say what happened
version_added: 1.0.0
description:
  - Opens a login shell of the user in a child with a time limit, loads C(libcuda.so.1) there, calls C(cuInit) and
    reports its code.
  - This is how a compatibility library is proved on a driver and a GPU. It changes nothing.
author:
  - Podsmith developers (@podsmith)
options:
  library_path:
    description:
      - Folders to put first on the loader's search path, after the shell has read its start-up files.
    type: list
    elements: path
    default: []
  python:
    description:
      - The Python interpreter that loads the library; by default the one that runs this module.
    type: path
  timeout:
    description:
      - Seconds that the child may take.
    type: float
    default: 10
extends_documentation_fragment:
  - podsmith.gpu.attributes
seealso:
  - module: podsmith.gpu.gpu_facts
"""

EXAMPLES = r"""
- name: Try the compatibility library
  podsmith.gpu.gpu_probe:
    library_path: [/usr/local/cuda-13.0/compat]
  register: probe

- name: Say what it answered
  ansible.builtin.debug:
    msg: "{{ probe.name }} with {{ probe.libcuda }}"
"""

RETURN = r"""
code:
  description: What C(cuInit) returned; V(null) where there is no libcuda or no answer.
  returned: always
  type: int
  sample: 804
name:
  description:
    - Name of the code, V(TIMEOUT) where no answer came in time, C(SIGNAL_<number>) where the child crashed,
      V(LIBRARY_NOT_FOUND) where the loader finds no libcuda, V(NOT_STARTED) where the shell did not start the probe.
  returned: always
  type: str
  sample: CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE
libcuda:
  description: Path of the library that was really mapped.
  returned: always
  type: str
  sample: /usr/local/cuda-13.0/compat/libcuda.so.580.95.05
version:
  description: The driver's version in the name of that file; V(null) where it has none.
  returned: always
  type: str
  sample: 580.95.05
driver_api:
  description: The CUDA level that the library answers for.
  returned: always
  type: str
  sample: "13.0"
compat_active:
  description: Whether the library is a compatibility library.
  returned: always
  type: bool
stub:
  description: Whether the library is a toolkit's stub, made for linking only.
  returned: always
  type: bool
devices:
  description: The number of GPUs that CUDA counts.
  returned: always
  type: int
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.loader_search import NOTHING_LOADED
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.ways import (
    fresh_environment,
    parse_probe,
    start_probe,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "library_path": {"type": "list", "elements": "path", "default": []},
            "python": {"type": "path"},
            "timeout": {"type": "float", "default": 10},
        },
        supports_check_mode=True,
    )
    params = module.params
    env = fresh_environment(Root(), dict(os.environ))
    outcome = start_probe(env, params["timeout"], params["library_path"], params["python"]).result()
    loader = parse_probe(outcome)
    for told_by_gpu_facts in ("environ", "error"):
        loader.pop(told_by_gpu_facts, None)
    init = loader.pop("init") if loader else NOTHING_LOADED["init"]
    init = init or {"code": None, "name": "LIBRARY_NOT_FOUND" if loader else "NOT_STARTED"}
    module.exit_json(changed=False, **init, **loader)


if __name__ == "__main__":
    main()
