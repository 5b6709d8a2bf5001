#!/usr/bin/python
# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_benchmark
short_description: Measure the performance of GPUs with PyTorch
version_added: 1.0.0
description:
  - Runs a program in an environment with PyTorch that checks and times attention, matrix products, convolutions,
    networks, memory, copies and collectives on every GPU of the host.
  - Judges nothing; the filter P(podsmith.gpu.benchmark_verdict#filter) does.
author:
  - Podsmith developers (@podsmith)
options:
  environment:
    description: Virtual environment with PyTorch, such as C(<prefix>/current).
    type: path
    required: true
  activation:
    description: File that the program's shell sources first, so that it sees what a user's shell sees.
    type: path
  level:
    description:
      - V(quick) takes less than a minute on one data-centre GPU, V(full) less than eight. V(tiny) has shapes so small
        that they run on a CPU too; its figures mean nothing, its results are checked.
    type: str
    choices: [tiny, quick, full]
    default: quick
  families:
    description: What to measure, such as V(gemm) or V(attention); everything where it is empty.
    type: list
    elements: str
    default: []
  sources:
    description: The program, file name to text; the role gpu_benchmark passes its own.
    type: dict
    required: true
  timeout:
    description: Seconds after which the program is stopped; what it has measured by then is kept.
    type: float
    default: 900
extends_documentation_fragment:
  - podsmith.gpu.attributes
attributes:
  check_mode:
    support: full
    details: Measures nothing.
notes:
  - The program and what it compiles lie in a temporary folder that is deleted. To measure is no change.
seealso:
  - module: podsmith.gpu.gpu_verify
"""

EXAMPLES = r"""
- name: Measure the GPUs in the live environment
  podsmith.gpu.gpu_benchmark:
    environment: /opt/podsmith/current
    activation: /opt/podsmith/activate.sh
    level: quick
    sources:
      benchmark.py: "{{ lookup('ansible.builtin.file', 'benchmark.py') }}"
  register: measured
"""

RETURN = r"""
result:
  description: What was measured; empty in check mode.
  returned: success
  type: dict
  contains:
    schema:
      description: The version of this form.
      returned: always
      type: int
      sample: 1
    level:
      description: The level that was run.
      returned: always
      type: str
    time:
      description: When it began, in UTC.
      returned: always
      type: str
    seconds:
      description: How long it took.
      returned: when it is complete
      type: float
    complete:
      description: Whether the program finished.
      returned: always
      type: bool
    running:
      description: The case that was running when the program was stopped.
      returned: always
      type: str
    stopped:
      description: How the program failed.
      returned: when it is not complete
      type: str
    software:
      description: Versions of the driver, Python, PyTorch, CUDA, cuDNN, NCCL, triton, torchvision.
      returned: always
      type: dict
    settings:
      description: Variables of the environment that change what is measured.
      returned: always
      type: dict
    devices:
      description: The GPUs with their limits, and their clocks, power and temperature before and after.
      returned: always
      type: list
      elements: dict
    links:
      description: What connects each pair of GPUs.
      returned: always
      type: list
      elements: dict
    cases:
      description: The cases in the order in which they ran.
      returned: always
      type: list
      elements: dict
      contains:
        name:
          description: Family and shape.
          returned: always
          type: str
          sample: gemm/8192-fp16
        device:
          description: The GPU's index.
          returned: always
          type: int
        status:
          description:
            - V(ok), or V(wrong) where its result is wrong; V(out_of_memory), V(unsupported) and V(failed) where it has
              no figure, V(skipped) where no time was left.
          returned: always
          type: str
        reason:
          description: Why there is no figure.
          returned: when there is none
          type: str
        value:
          description: The figure, in RV(result.cases[].unit).
          returned: when it was measured
          type: float
        unit:
          description: C(TFLOPS), C(GB/s), C(images/s), or C(x) for how many times faster it is.
          returned: always
          type: str
        median_ms:
          description: Median time in milliseconds; C(p20_ms) and C(p80_ms) are its spread, C(repeats) the runs.
          returned: when it was measured
          type: float
        flops:
          description: Floating point operations that the operation needs, if it is bound by them.
          returned: always
          type: float
        bytes:
          description: Bytes that it moves, if it is bound by them.
          returned: always
          type: float
        backend:
          description: What does the work, such as C(flash) or C(NVLink (18 links)).
          returned: when it is known
          type: str
        timer:
          description: What measured the time.
          returned: when it was measured
          type: str
        error:
          description: The result's largest relative distance from the reference; at most C(tolerance) is right.
          returned: when it was checked
          type: float
        state:
          description: Clocks, power and temperature right after it.
          returned: when NVML is available
          type: dict
"""

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podsmith.gpu.plugins.module_utils._verify.judge import last_words, shell_environment
from ansible_collections.podsmith.gpu.plugins.module_utils._verify.run import Job, Outcome, run_jobs

SPEC: dict[str, Any] = {
    "environment": {"type": "path", "required": True},
    "activation": {"type": "path"},
    "level": {"type": "str", "choices": ["tiny", "quick", "full"], "default": "quick"},
    "families": {"type": "list", "elements": "str", "default": []},
    "sources": {"type": "dict", "required": True},
    "timeout": {"type": "float", "default": 900},
}
PROGRAM = "benchmark.py"
RESULT = "result.json"


def main() -> None:
    """Run the program and return what it measured."""
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    python = Path(module.params["environment"], "bin", "python")
    if module.check_mode:
        module.exit_json(changed=False, result={})
    if not os.access(python, os.X_OK):
        module.fail_json(
            msg=f"{python} was not found; expected an environment with PyTorch. Run bootstrap.yml on this host "
            "first, or set gpu_benchmark_environment to an environment that has it."
        )
    folder = tempfile.mkdtemp(prefix="podsmith-benchmark-", dir=module.tmpdir)
    try:
        outcome = run_program(module.params, str(python), folder)
        result = read_result(Path(folder, RESULT))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if result is not None and (outcome.code == 0 or result["cases"]):
        if outcome.code != 0:
            result["stopped"] = tell_end(outcome)
        module.exit_json(changed=False, result=result)
    module.fail_json(
        msg=f"The benchmark {tell_end(outcome)}. Run playbooks/verify.yml to find the cause.",
        output=outcome.output[-4000:],
    )


def run_program(params: dict[str, Any], python: str, folder: str) -> Outcome:
    """The program's outcome; its files, its caches and its result are in the folder."""
    for name, text in params["sources"].items():
        Path(folder, Path(name).name).write_text(text, encoding="utf-8")
    argv = [python, f"{folder}/{PROGRAM}", "--level", params["level"], "--output", f"{folder}/{RESULT}"]
    if params["level"] == "tiny":
        argv += ["--device", "auto"]
    if params["families"]:
        argv += ["--families", ",".join(params["families"])]
    env = {
        **shell_environment(os.environ),
        "TMPDIR": folder,
        "TORCHINDUCTOR_CACHE_DIR": f"{folder}/inductor",
        "TRITON_CACHE_DIR": f"{folder}/triton",
    }
    job = Job("benchmark", tuple(argv), params["timeout"])
    done = run_jobs(
        [job], folder=folder, activation=params["activation"] or None, env=env, workers=1, seconds=params["timeout"]
    )
    return done["benchmark"]


def read_result(path: Path) -> dict[str, Any] | None:
    """What the program has written so far; None where there is no result, or half of one."""
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return result


def tell_end(outcome: Outcome) -> str:
    """How a program failed, as the rest of a sentence, without a full stop."""
    how = f"did not finish within {outcome.limit:.0f} s"
    if outcome.code is not None:
        how = f"exited with status {outcome.code}"
    return f"{how}: {last_words(outcome.output)}".rstrip(".")


if __name__ == "__main__":
    main()
