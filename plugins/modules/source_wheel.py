#!/usr/bin/python
# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: source_wheel
short_description: Build a wheel from source, detached, resumable, once for all hosts
version_added: 1.0.0
description:
  - Builds PyTorch, or an extension of it, from source into a wheel, and stores the wheel under a key of all that
    changes its bytes.
  - The build runs in a session of its own on the host and outlives Ansible. A run that finds it running waits for it.
    A build that was killed resumes where it stopped, as its folder stays.
  - While it waits, the task shows the progress of the build, as steps done of all and the time that is left.
  - With O(share) the wheel is fetched to the controller, and other hosts with the same key get it from there.
    Within a play the first host builds and those with the same key wait.
author:
  - Podsmith developers (@podsmith)
options:
  build:
    description:
      - What to build, as an entry of C(stack_plan_decision['source']['builds']).
    type: dict
    required: true
  store:
    description: Folder of finished wheels, each in a folder of its key.
    type: path
    required: true
  work:
    description: Folder of running builds, each in a folder of its key; C(builds) beside O(store) by default.
    type: path
  prefix:
    description: The collection's own folder on the host, which has the caches. The parent of O(store) by default.
    type: path
  adopt:
    description: >-
      C(site-packages) folder with the PyTorch to compile against. Without it that PyTorch is installed into the
      build's own environment.
    type: path
  index_url:
    description: Package index that is asked first for the build's requirements.
    type: str
  extra_index_urls:
    description: Further package indexes.
    type: list
    elements: str
    default: []
  find_links:
    description: Folders or pages with wheels.
    type: list
    elements: str
    default: []
  uv_version:
    description: Oldest version of uv that may make the build's environment.
    type: str
  mirrors:
    description: URL prefixes, each with its replacement; for the source and for its submodules.
    type: dict
    default: {}
  share:
    description: Whether the wheel is kept on the controller, too, and copied to other hosts from there.
    type: bool
    default: false
  share_dir:
    description: Folder for these wheels on the controller.
    type: path
    default: wheelhouse
  keep:
    description: Whether the build's folder stays after the wheel is stored.
    type: bool
    default: false
  timeout:
    description: Seconds to wait for a build, which continues after that. V(0) waits without a limit.
    type: int
    default: 0
  state:
    description: V(absent) stops the build if it is running, and removes its folder and its wheel.
    type: str
    choices: [present, absent]
    default: present
  step:
    description: What one call on the host does. The action plugin sets it.
    type: str
    choices: [look, start, follow, keep, absent]
    default: look
  follow:
    description: What the last look returned, and for how many seconds to wait. The action plugin sets it.
    type: dict
    default: {}
  source:
    description: Wheel sent by the controller, with its record. The action plugin sets it.
    type: dict
attributes:
  check_mode:
    support: full
    description: Reports whether a wheel would be built or copied.
  diff_mode:
    support: none
    description: A wheel is either missing or there.
notes:
  - Needs Linux on the host, for it reads C(/proc).
"""

EXAMPLES = r"""
- name: Build flash-attn for the RTX 5090
  podsmith.gpu.source_wheel:
    build:
      name: flash-attn
      version: "{{ flash_attn_version }}"
      origin:
        kind: git
        url: https://github.com/Dao-AILab/flash-attention
        ref: "v{{ flash_attn_version }}"
        submodules: true
      environment: {FLASH_ATTN_CUDA_ARCHS: "120", FLASH_ATTENTION_FORCE_BUILD: "TRUE"}
      build_requires: [ninja, setuptools, packaging, psutil]
      python: {path: /usr/bin/python3}
      cuda_home: /usr/local/cuda
      jobs: 8
    store: /opt/podsmith/wheels
    adopt: /opt/podsmith/current/lib/python3/site-packages
    uv_version: "{{ lookup('podsmith.gpu.catalogue', 'tools', 'tools', 'uv')['version'] }}"
    share: true
"""

RETURN = r"""
name:
  description: The distribution.
  type: str
  returned: always
key:
  description: The content key.
  type: str
  returned: always
wheel:
  description: Path of the wheel; null if there is none.
  type: str
  returned: always
requirement:
  description: How to install exactly this wheel, as V(name @ URL); null if there is none.
  type: str
  returned: always
sha256:
  description: Checksum of the wheel.
  type: str
  returned: when there is a wheel
how:
  description: Where the wheel came from.
  type: str
  returned: always
  sample: kept, shared, built, attached
seconds:
  description: How long the build took, as its record says.
  type: float
  returned: when there is a wheel
steps:
  description: How many steps it took, as its record says.
  type: int
  returned: when there is a wheel
problems:
  description: Why it cannot be built on this host.
  type: list
  elements: str
  returned: when there is no wheel
"""

import pathlib
import shutil
import socket
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podsmith.gpu.plugins.module_utils._build import plan, preflight, session, store
from ansible_collections.podsmith.gpu.plugins.module_utils._build.causes import explain
from ansible_collections.podsmith.gpu.plugins.module_utils._build.progress import Progress, scan
from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import normalise

SPEC: dict[str, Any] = {
    "build": {"type": "dict", "required": True},
    "store": {"type": "path", "required": True},
    "work": {"type": "path"},
    "prefix": {"type": "path"},
    "adopt": {"type": "path"},
    "index_url": {"type": "str"},
    "extra_index_urls": {"type": "list", "elements": "str", "default": []},
    "find_links": {"type": "list", "elements": "str", "default": []},
    "uv_version": {"type": "str"},
    "mirrors": {"type": "dict", "default": {}},
    "share": {"type": "bool", "default": False},
    "share_dir": {"type": "path", "default": "wheelhouse"},
    "keep": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 0},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "step": {"type": "str", "choices": ["look", "start", "follow", "keep", "absent"], "default": "look"},
    "follow": {"type": "dict", "default": {}},
    "source": {"type": "dict"},
}


class Builder:
    """One build on this host; each public method but `result` is one of the steps."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module, self.params = module, module.params
        self.build: dict[str, Any] = self.params["build"]
        problems = plan.check_build(self.build)
        if problems:
            module.fail_json(msg=" ".join(problems))
        self.name = normalise(self.build["name"])
        self.label = f"{self.name} {self.build['version']}"
        folder = pathlib.Path(self.params["store"])
        self.prefix = pathlib.Path(self.params["prefix"] or folder.parent)
        run = module.run_command
        self.key = self.build.get("key") or plan.wheel_key(self.build, preflight.describe_host(self.build, run))
        self.target = folder / self.key
        self.work = pathlib.Path(self.params["work"] or folder.parent / "builds") / self.key

    def result(self, **more: Any) -> dict[str, Any]:
        """What every call returns."""
        return {**store.describe(self.name, self.target), "key": self.key, "work": str(self.work), **more}

    def look(self) -> dict[str, Any]:
        """What there is, and what is in the way of a build."""
        result = self.result(running=session.is_running(self.work))
        if not result["wheel"] and not result["running"]:
            tools = preflight.observe(self.build, self.work, self.module.run_command)
            result["problems"] = preflight.find_problems(self.build, tools, str(self.work.parent))
            caution = preflight.check_memory(self.build.get("jobs"), tools.available_gib)
            result["cautions"] = [caution] if caution else []
        return result

    def start(self) -> dict[str, Any]:
        """Start the build, unless one is at work."""
        self.target.parent.mkdir(parents=True, exist_ok=True)
        adopt = self.params["adopt"] if self.build.get("torch") else None
        variables = preflight.read_variables(self.build, self.work, adopt=adopt, cache=str(self.prefix / "cache"))
        steps = plan.plan_steps(self.build, str(self.work), self.params["mirrors"])
        record = {"schema": 1, "name": self.name, "key": self.key, "build": self.build, "host": socket.gethostname()}
        told = {"name": self.name, "version": self.build["version"], "target": str(self.target), "record": record}
        python = self.build["python"]["path"]
        attempt = session.start(self.work, python, {**told, "environment": variables, "steps": steps})
        if attempt is None:
            return self.result(attached=True, running=True)
        return self.result(attached=False, running=True, attempt=attempt)

    def follow(self) -> dict[str, Any]:
        """Wait for a while, then say how far the build is, or how it ended."""
        given, log = self.params["follow"], self.work / "log"
        running = session.wait(self.work, float(given.get("wait") or 0))
        state = store.read_json(self.work / "state.json")
        text, offset = store.read_log(log, int(given.get("offset") or 0))
        progress = list(scan(text, Progress(*(given.get("progress") or ()))))
        now = time.time()
        seconds = (now if running else state.get("ended") or now) - float(state.get("begun") or now)
        result = self.result(
            running=running, progress=progress, offset=offset, step=state.get("step"), seconds_so_far=seconds
        )
        if running:
            return result
        if result["wheel"]:
            if not self.params["keep"]:
                shutil.rmtree(self.work, ignore_errors=True)
            return {**result, "problem": None}
        code = None if state.get("ok") is None else state.get("code")  # without an end of its own it was killed
        end, jobs = store.read_end(log), self.build.get("jobs")
        problem = explain(self.label, end, path=str(log), jobs=jobs, code=code, step=str(state.get("step")))
        return {**result, "problem": problem}

    def keep(self) -> dict[str, Any]:
        """Keep a wheel that the controller sent, if it is the one that its record names."""
        sent = self.params["source"]
        try:
            store.keep_wheel(pathlib.Path(sent["path"]), sent["record"], self.target)
        except store.StoreError as error:
            self.module.fail_json(msg=str(error))
        return self.result(running=False)

    def absent(self) -> dict[str, Any]:
        """End this build where it is at work, and remove what there is of it."""
        changed = self.work.exists() or self.target.exists()
        if changed and not self.module.check_mode:
            session.end(self.work)
            store.remove((self.work, self.target))
        return {"name": self.name, "key": self.key, "wheel": None, "requirement": None, "changed": changed}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    builder = Builder(module)
    steps = {name: getattr(builder, name) for name in SPEC["step"]["choices"]}
    module.exit_json(**{"changed": False, **steps[module.params["step"]]()})


if __name__ == "__main__":
    main()
