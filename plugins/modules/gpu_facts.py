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
    changes. What a process gets from its loader is a fact of its own, asked side by side for every way into the host, a
    login shell, an interactive one, a script, an ssh command, a program without a shell and the live environment's
    own Python.
  - Where a shell answers wrongly it is run once more with its own trace, which names the file and the line that set
    C(LD_LIBRARY_PATH), C(LD_PRELOAD) or C(CUDA_VISIBLE_DEVICES).
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
          sample: 2
        platform:
          description: Kind of machine, provider, system, interpreters, compiler, tools, memory and free space.
          type: dict
          returned: always
        driver:
          description: The kernel driver.
          type: dict
          returned: always
          sample:
            status: ok
            version: 570.133.20
            branch: 570
            cuda: "12.8"
            flavor: open
            source: nvml
            libcuda: /usr/lib/x86_64-linux-gnu/libcuda.so.570.133.20
            native: null
        devices:
          description: The GPUs.
          type: list
          elements: dict
          returned: always
        ways:
          description:
            - Of each way into the host, the libcuda that a program gets there, whether CUDA starts with it, and what
              set the variables behind an answer that is wrong.
            - Empty where the host has no libcuda.
          type: dict
          returned: unless O(sysroot) is another folder
          sample:
            interactive:
              libcuda: /usr/local/cuda-12.4/compat/libcuda.so.550.54.15
              version: 550.54.15
              driver_api: "12.4"
              compat_active: true
              stub: false
              init: {code: 803, name: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH}
              devices: 0
              environ: {LD_LIBRARY_PATH: /usr/local/cuda-12.4/compat}
              causes:
                - variable: LD_LIBRARY_PATH
                  value: /usr/local/cuda-12.4/compat
                  file: /root/.bashrc
                  line: 12
                  text: export LD_LIBRARY_PATH=/usr/local/cuda-12.4/compat
        loader:
          description: What RV(ansible_facts.gpu.ways) says of the login shell.
          type: dict
          returned: unless O(sysroot) is another folder
          sample:
            libcuda: null
            version: null
            driver_api: null
            compat_active: false
            stub: false
            init: null
            devices: 0
            environ: {}
        sources:
          description: Where the host's own pip configuration fetches packages from, credentials masked.
          type: dict
          returned: always
        installed:
          description: CUDA toolkits, compatibility libraries, CUTLASS, every PyTorch, and our environment.
          type: dict
          returned: always
        conflicts:
          description:
            - Settings and libraries that put the wrong libcuda first, keep the loader from the driver's, or change
              the GPUs that CUDA sees. They are found by reading files; nothing is run for them.
            - Start-up files of all usual shells, with what these source, are read by the shell's grammar, so that the
              form of a line does not matter. What is set for one command alone, in a function that nothing calls, or
              in a subshell is not listed. systemd's C(environment.d) is not read.
            - V(ld_library_path), V(stubs) and V(preload) are lines of start-up files or of the loader's files,
              V(loader_order) is a folder of the loader's configuration before the driver's, V(loader_cache) a cache
              that does not agree with the configuration, V(loader_missing) the driver's folder that the loader does
              not know, V(second_libcuda) a library that no line leads to.
            - V(hidden_devices), V(some_devices) and V(repeated_devices) tell what a line makes of
              C(CUDA_VISIBLE_DEVICES), V(cuda_home) one of a toolkit that is not there, V(toolkit_library) one that
              puts an older toolkit's libraries before PyTorch's.
          type: list
          elements: dict
          returned: always
          contains:
            kind:
              description: What it is; on WSL2 also one of the kinds that begin with C(wsl_).
              type: str
              returned: always
            file:
              description: The file; empty where it is no matter of one.
              type: str
              returned: always
            line:
              description: The number of the line in it.
              type: int
              returned: always
            text:
              description: The line as it stands.
              type: str
              returned: always
            path:
              description: The folder or library in question, with the variables put in that are known.
              type: str
              returned: always
            version:
              description: The version of the library in question.
              type: str
              returned: where it is known
          sample:
            - kind: ld_library_path
              file: /root/.bashrc
              line: 12
              text: export LD_LIBRARY_PATH=$CUDA_HOME/compat:$LD_LIBRARY_PATH
              path: /usr/local/cuda/compat
              version: 580.95.05
        problems:
          description: What could not be read, and why. What a way did not answer is in RV(ansible_facts.gpu.ways).
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
