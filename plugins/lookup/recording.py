# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: recording
short_description: Read a recorded host as observed facts
version_added: 1.0.0
author:
  - Podsmith developers (@podsmith)
description:
  - Turns what was recorded on a host into what M(podsmith.gpu.gpu_facts) would return there, so that a plan can be made
    for a machine before it is rented again.
  - What the recording does not contain is absent, and unknown to a plan. A text that is not what its name says, of
    another system than Linux, or of another driver than the texts beside it is refused.
options:
  _terms:
    description:
      - A JSON file that M(podsmith.gpu.gpu_facts) returned, or a folder with such a C(gpu.json), or a folder that
        C(scripts/record.sh) made on the host, or one with some of C(nvidia-smi-q.xml) (C(nvidia-smi -q -x)),
        C(nvidia-smi.txt) (C(nvidia-smi), also with C(-L) or C(-q), or its error), C(nvidia-smi-query.csv)
        (C(nvidia-smi --query-gpu=name,driver_version,compute_cap --format=csv)), C(proc-driver-nvidia.txt)
        (C(/proc/driver/nvidia/version)) and C(collect_env.txt) (C(python -m torch.utils.collect_env)).
      - A relative path counts from the working directory, or from the playbook.
    type: list
    elements: path
    required: true
seealso:
  - module: podsmith.gpu.gpu_facts
"""

EXAMPLES = r"""
- name: Plan for a recorded host
  ansible.builtin.debug:
    msg: "{{ lookup('podsmith.gpu.recording', 'recordings/h200') | podsmith.gpu.stack_plan(stack_plan_request) }}"
"""

RETURN = r"""
_raw:
  description: The observed facts of each recording.
  type: list
  elements: dict
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

from ansible_collections.podsmith.gpu.plugins.plugin_utils._recording.errors import RecordingError
from ansible_collections.podsmith.gpu.plugins.plugin_utils._recording.recording import read_folder


class LookupModule(LookupBase):
    def run(self, terms: list[str], variables: Mapping[str, Any] | None = None, **_kwargs: Any) -> list[dict[str, Any]]:
        """Read each recording."""
        base = Path((variables or {}).get("playbook_dir", "."))
        return [read_recording(str(term), base) for term in terms]


def read_recording(term: str, base: Path) -> dict[str, Any]:
    """The facts of one recording; a relative path counts from the working directory, else from ``base``."""
    path = next((place for place in (Path(term), base / term) if place.exists()), Path(term))
    try:
        return read_folder(path)
    except RecordingError as error:
        raise AnsibleLookupError(str(error)) from error
