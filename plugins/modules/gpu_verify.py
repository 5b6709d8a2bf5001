#!/usr/bin/python
# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_verify
short_description: Verify that a CUDA and PyTorch stack works
version_added: 1.0.0
description:
  - Compiles, and on a GPU runs, real kernels; imports PyTorch, multiplies matrices against a reference of higher
    precision, and builds an extension. Independent checks run side by side, each with a time limit.
  - A failed check does not fail the module, so that its evidence is always returned and kept; look at RV(ok).
author:
  - Podsmith developers (@podsmith)
options:
  environment:
    description: Virtual environment with PyTorch, such as a generation below C(<prefix>/environments).
    type: path
  activation:
    description: File that every check's shell sources first, so that it sees what a user's shell sees.
    type: path
  cuda_home:
    description: The CUDA toolkit to verify.
    type: path
  cutlass_home:
    description: The CUTLASS to verify, a folder with C(include).
    type: path
  architectures:
    description: What the kernels are compiled for, as V(sm_90a).
    type: list
    elements: str
    default: []
  checks:
    description: The checks to run; V(auto) runs those that the other options allow.
    type: list
    elements: str
    choices:
      - auto
      - cuinit
      - limits
      - nvcc
      - torch
      - matmul
      - kernel
      - cutlass
      - nvrtc
      - triton
      - peers
      - workers
      - extension
      - packages
      - health
      - features
      - compile
      - pip_fence
    default: [auto]
  level:
    description:
      - V(light) compiles nothing, V(standard) compiles kernels and an extension, tries NVRTC, Triton, the paths between
        GPUs, a DataLoader's workers and an operation of each extension that is expected, and reads the health of the
        GPUs at rest, V(full) also reads it under load, shows what PyTorch was built with, tries C(torch.compile),
        whether C(pip) keeps torch, and CUTLASS for every architecture.
    type: str
    choices: [light, standard, full]
    default: standard
  gpu:
    description: Whether a GPU must be present and work.
    type: bool
    default: false
  expected:
    description: What the plan expects; what is not given is not compared.
    type: dict
    default: {}
    suboptions:
      nvcc:
        description: Release or version of nvcc, such as V(13.0) or V(13.0.88).
        type: str
      torch:
        description: Version of torch, such as V(2.9.1+cu130).
        type: str
      cuda:
        description: CUDA release that torch must be built for.
        type: str
      arch_list:
        description: Architectures that torch must have code for.
        type: list
        elements: str
      site_packages:
        description: Folder that torch must be imported from, where that is not O(environment).
        type: path
      packages:
        description:
          - The extensions of PyTorch that must be there, name to a row with C(version) and C(requirement), as a plan
            has them. The check C(packages) imports each and has it do one operation.
        type: dict
      features:
        description:
          - Switches of PyTorch's build and whether each must be on, such as C(USE_NCCL), as the built PyTorch shows
            them. With it the check C(features) runs at every level.
        type: dict
  sources:
    description: The sources that are compiled and run, file name to text; the role gpu_verify passes its own.
    type: dict
    required: true
  errors:
    description:
      - What CUDA's errors mean, code to a row with C(name), C(cause), C(remedy) and, where several things lead to it,
        C(causes); the role gpu_verify passes the collection's catalogue.
    type: dict
    default: {}
  health:
    description:
      - What the readings of a GPU mean and from which value on they are a problem, C(xids), C(clock_reasons),
        C(recovery_actions) and C(limits), and what a process needs of the host,
        C(process_limits); the role gpu_verify passes the collection's catalogue.
      - A reading that is a failure fails the check C(health); what could not be read is reported as a warning.
    type: dict
    default: {}
  timeout:
    description: Seconds that each command of a check may take.
    type: float
    default: 300
  total_timeout:
    description: Seconds that all checks together may take.
    type: float
    default: 900
  evidence:
    description:
      - JSON file to which the verdict is written, whether the checks passed or not, with the driver, the libcuda and
        the GPUs that it was reached with. Where one of these is another one later, the plan has the stack proved again.
    type: path
  digest:
    description: Digest of the plan that is verified, stored with the verdict.
    type: str
  driver:
    description: Version of the driver in use, stored with the verdict; by default what the kernel says.
    type: str
  keep_build:
    description: Whether what was compiled is kept; RV(build) says where.
    type: bool
    default: false
extends_documentation_fragment:
  - podsmith.gpu.attributes
attributes:
  check_mode:
    support: full
    details: Runs no check and writes nothing; all checks are skipped.
notes:
  - The verdict is a record of an observation. To write it is no change.
seealso:
  - module: podsmith.gpu.gpu_facts
"""

EXAMPLES = r"""
- name: Prove the live environment
  podsmith.gpu.gpu_verify:
    environment: /opt/podsmith/current
    activation: /opt/podsmith/activate.sh
    cuda_home: /usr/local/cuda-13.0
    architectures: [sm_90a]
    gpu: true
    expected:
      nvcc: "13.0"
      torch: 2.9.1+cu130
    sources:
      kernel.cu: "{{ lookup('ansible.builtin.file', 'kernel.cu') }}"
      proof.py: "{{ lookup('ansible.builtin.file', 'proof.py') }}"
    checks: [nvcc, torch, matmul, kernel]
  register: proof

- name: Stop where it does not work
  ansible.builtin.fail:
    msg: "{{ proof.results | rejectattr('ok') | map(attribute='error') | join(' ') }}"
  when: not proof.ok
"""

RETURN = r"""
ok:
  description: Whether no check failed.
  returned: always
  type: bool
summary:
  description: What failed and what to do, in sentences; otherwise how many checks passed.
  returned: always
  type: str
  sample: "nvcc: nvcc is 12.8.93; expected 13.0. Run the cuda_toolkit role again."
results:
  description: The checks, in the order in which they are listed in O(checks).
  returned: always
  type: list
  elements: dict
  contains:
    check:
      description: Its name.
      returned: always
      type: str
      sample: kernel
    ok:
      description: Whether it passed, or was skipped.
      returned: always
      type: bool
    seconds:
      description: The time that its commands took.
      returned: always
      type: float
    evidence:
      description: Its commands, what was read from their output, and the output's end where it failed.
      returned: always
      type: dict
    error:
      description: What was found and what was expected.
      returned: when it failed
      type: str
      sample: nvcc is 12.8.93; expected 13.0.
    advice:
      description: What to do.
      returned: when it failed
      type: str
    skipped:
      description: Why it was not run.
      returned: when it was not run
      type: str
    warnings:
      description: What is worth knowing although it passed, such as what could not be read.
      returned: when there is any
      type: list
      elements: str
      sample: ["Unknown for GPU 0: the persistence mode (no permission)."]
seconds:
  description: The time that all took.
  returned: always
  type: float
build:
  description: Folder with what was compiled.
  returned: when O(keep_build=true)
  type: str
"""

import json
import os
import shutil
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root
from ansible_collections.podsmith.gpu.plugins.module_utils._host.write import replace_file
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.driver import read_loaded
from ansible_collections.podsmith.gpu.plugins.module_utils._verify.checks import (
    CHECKS,
    LEVELS,
    Settings,
    choose_checks,
    count_build_jobs,
    find_lacking,
    plan_check,
    run_order,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._verify.coverage import parse_architecture
from ansible_collections.podsmith.gpu.plugins.module_utils._verify.host import read_context
from ansible_collections.podsmith.gpu.plugins.module_utils._verify.judge import capability, shell_environment
from ansible_collections.podsmith.gpu.plugins.module_utils._verify.reach import find_reach
from ansible_collections.podsmith.gpu.plugins.module_utils._verify.results import conclude, lack, skip, summarize
from ansible_collections.podsmith.gpu.plugins.module_utils._verify.run import run_jobs

SPEC: dict[str, Any] = {
    "environment": {"type": "path"},
    "activation": {"type": "path"},
    "cuda_home": {"type": "path"},
    "cutlass_home": {"type": "path"},
    "architectures": {"type": "list", "elements": "str", "default": []},
    "checks": {"type": "list", "elements": "str", "choices": ["auto", *CHECKS], "default": ["auto"]},
    "level": {"type": "str", "choices": list(LEVELS), "default": "standard"},
    "gpu": {"type": "bool", "default": False},
    "expected": {
        "type": "dict",
        "default": {},
        "options": {
            "nvcc": {"type": "str"},
            "torch": {"type": "str"},
            "cuda": {"type": "str"},
            "arch_list": {"type": "list", "elements": "str"},
            "site_packages": {"type": "path"},
            "packages": {"type": "dict"},
            "features": {"type": "dict"},
        },
    },
    "sources": {"type": "dict", "required": True},
    "errors": {"type": "dict", "default": {}},
    "health": {"type": "dict", "default": {}},
    "timeout": {"type": "float", "default": 300},
    "total_timeout": {"type": "float", "default": 900},
    "evidence": {"type": "path"},
    "digest": {"type": "str"},
    "driver": {"type": "str"},
    "keep_build": {"type": "bool", "default": False},
}


def main() -> None:
    """Run the checks and say what each showed."""
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    for name in module.params["architectures"]:
        try:
            parse_architecture(name)
        except ValueError as error:
            module.fail_json(msg=f"architectures: {error}")
    begin = time.monotonic()
    folder = tempfile.mkdtemp(prefix="podsmith-verify-", dir=None if module.params["keep_build"] else module.tmpdir)
    try:
        results = prove(module.params, folder, check_mode=module.check_mode)
    finally:
        if not module.params["keep_build"]:
            shutil.rmtree(folder, ignore_errors=True)
    ok = all(result["ok"] for result in results)
    if module.params["evidence"] and not module.check_mode:
        try:
            write_verdict(module, ok=ok, results=results)
        except OSError as error:
            module.fail_json(
                msg=f"The verdict cannot be written to {module.params['evidence']}: {error}; "
                "use a path that this user can write to.",
                ok=ok,
                results=results,
            )
    kept = {"build": folder} if module.params["keep_build"] else {}
    seconds = round(time.monotonic() - begin, 2)
    module.exit_json(changed=False, ok=ok, summary=summarize(results), results=results, seconds=seconds, **kept)


def prove(params: dict[str, Any], folder: str, *, check_mode: bool) -> list[dict[str, Any]]:
    """The results of the checks that the parameters ask for, in the catalogue's order of checks."""
    settings = Settings(
        folder=folder,
        python=sys.executable,
        environment=params["environment"] or None,
        activation=params["activation"] or None,
        cuda_home=params["cuda_home"] or None,
        cutlass_home=params["cutlass_home"] or None,
        architectures=tuple(params["architectures"]),
        gpu=params["gpu"],
        level=params["level"],
        expected=params["expected"],
        errors=params["errors"],
        host=read_context(Root(), shell_environment(os.environ)),
        health=params["health"],
        timeout=params["timeout"],
    )
    names = choose_checks(None if "auto" in params["checks"] else params["checks"], settings)
    if check_mode:
        return [skip(name, "not run in check mode") for name in names]
    for name, text in params["sources"].items():
        Path(folder, Path(name).name).write_text(text, encoding="utf-8")
    lacking = {name: needs for name in names if (needs := find_lacking(name, settings))}
    checks = [plan_check(name, settings) for name in names if name not in lacking]
    cpus = len(os.sched_getaffinity(0))
    outcomes = run_jobs(
        [job for check in sorted(checks, key=run_order) for job in check.jobs],
        folder=folder,
        activation=params["activation"],
        env=check_environment(params, folder, count_build_jobs(cpus, read_available_gib())),
        workers=max(2, cpus),
        seconds=params["total_timeout"],
    )
    found = {check.name: conclude(check, outcomes, settings) for check in checks}
    return [found.get(name) or lack(name, lacking[name]) for name in names]


def check_environment(params: dict[str, Any], folder: str, jobs: int) -> dict[str, str]:
    """A fresh shell's variables, with those that keep a check's caches in its folder and its compilers few."""
    env = shell_environment(os.environ)
    env.update(
        {
            "MAX_JOBS": str(jobs),
            "TMPDIR": folder,
            "TORCH_EXTENSIONS_DIR": folder,
            "TORCHINDUCTOR_CACHE_DIR": f"{folder}/inductor",
            "TRITON_CACHE_DIR": f"{folder}/triton",
        }
    )
    if params["cuda_home"]:
        env["CUDA_HOME"] = params["cuda_home"]
    if params["architectures"]:
        env["TORCH_CUDA_ARCH_LIST"] = capability(params["architectures"][0])
    return env


def read_available_gib() -> float:
    """The memory that a new program may use."""
    lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    return next((int(line.split()[1]) / 2**20 for line in lines if line.startswith("MemAvailable:")), 2.0)


def read_before(target: Path) -> dict[str, Any] | None:
    """What the verdict that is replaced was reached with; None where there is none that can be read."""
    try:
        reach = json.loads(target.read_text(encoding="utf-8")).get("reach")
    except (OSError, ValueError, AttributeError):
        return None
    return reach if isinstance(reach, dict) else None


def write_verdict(module: AnsibleModule, *, ok: bool, results: list[dict[str, Any]]) -> None:
    """Put the verdict in its place in one step, so that a reader never sees half of it.

    Raises OSError.
    """
    target = Path(module.params["evidence"])
    before = read_before(target)
    driver = module.params["driver"] or read_loaded(Root()).version
    verdict = {
        "digest": module.params["digest"],
        "ok": ok,
        "driver": driver,
        "reach": find_reach(results, driver, gpu=module.params["gpu"], before=before),
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "level": module.params["level"],
        "checks": results,
    }
    replace_file(target, json.dumps(verdict, indent=2, ensure_ascii=False) + "\n", mode=0o644)


if __name__ == "__main__":
    main()
