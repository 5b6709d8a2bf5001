#!/usr/bin/python
# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: project_packages
short_description: Install, remove and repair named packages in a project's own environment, with uv
version_added: 1.0.0
description:
  - Changes a virtual environment that belongs to somebody else, such as a project's package manager. It is never
    created, nothing is changed in it that was not named, and nothing of this collection's is left in it.
  - Only what was named is judged afterwards. What its owner edited, or broke, stays as it is.
  - Honours the host's own pip configuration and finds or installs uv as M(podsmith.gpu.python_packages) does.
author:
  - Podsmith developers (@podsmith)
options:
  environment:
    description: The project's virtual environment.
    type: path
    required: true
  remove:
    description:
      - Names of packages to remove once the others are there. What shares files with them and is damaged by that is
        reinstalled.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - podsmith.gpu.uv
attributes:
  check_mode:
    support: full
    description:
      - Says what it would install and remove; asks the sources where uv is at hand already, else names the
        requirements alone.
  diff_mode:
    support: full
    description: Shows the packages before and after.
seealso:
  - module: podsmith.gpu.python_packages
"""

EXAMPLES = r"""
- name: Replace a project's PyTorch by one for this host's driver
  podsmith.gpu.project_packages:
    environment: /srv/app/.venv
    prefix: /opt/podsmith
    uv_version: "{{ lookup('podsmith.gpu.catalogue', 'tools', 'tools', 'uv')['version'] }}"
    index_url: https://download.pytorch.org/whl/cu126
    requirements: [torch==2.10.0+cu126]
    remove: [nvidia-nccl-cu13]
"""

RETURN = r"""
folder:
  description: The environment or folder.
  type: str
  returned: always
site_packages:
  description: Where its packages lie.
  type: str
  returned: when it exists
installed:
  description: Packages that were installed, with their versions. In check mode, those that would be.
  type: list
  elements: dict
  returned: always
  sample: [{name: torch, version: 2.9.1+cu130}]
removed:
  description: Packages that were removed or replaced, with the versions they had.
  type: list
  elements: dict
  returned: always
repaired:
  description: Packages whose files were missing or damaged, and that were reinstalled.
  type: list
  elements: str
  returned: always
downloads:
  description: The larger files that were fetched, with their size in MiB.
  type: list
  elements: dict
  returned: always
uv:
  description: The uv that was used, as C(path) and C(version); nothing where none was needed.
  type: dict
  returned: always
seconds:
  description: How long it took.
  type: float
  returned: always
uv_needed:
  description: The host has no uv and cannot install one, so that the controller's is to be sent.
  type: bool
  returned: on failure
machine:
  description: The host's machine type, for which such a uv must be built.
  type: str
  returned: on failure
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import normalise
from ansible_collections.podsmith.gpu.plugins.module_utils._packages.environment import OPTIONS, Environment
from ansible_collections.podsmith.gpu.plugins.module_utils._packages.folder import (
    Distributions,
    Work,
    difference,
    only_named,
    outstanding,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._packages.requirement import satisfied


class ProjectPackages(Environment):
    """A project's environment in which a few packages change."""

    def __init__(self, module: AnsibleModule) -> None:
        path = module.params["environment"]
        super().__init__(module, path, f"{path}/bin/python", is_environment=True)
        if not self.is_usable:
            self.fail(
                f'environment is "{path}", which is not a virtual environment with a Python; expected the one of a'
                " project. Create it with the project's own package manager and run again."
            )

    def change(self) -> None:
        """Install, remove and repair what was named."""
        before = self.present()
        work = only_named(
            outstanding(self.requirements, (), before, adopted={}, recorded={}, reinstall=self.params["reinstall"]),
            self.params["reinstall"],
            before,
        )
        gone = [name for name in map(normalise, self.params["remove"]) if name in before]
        result: dict[str, Any] = {}
        if not work.is_empty or gone:
            result = self.foresee(work, before, gone) if self.module.check_mode else self.apply(work, before, gone)
        self.exit(changed=not work.is_empty or bool(gone), before=before, **result)

    def foresee(self, work: Work, before: Distributions, gone: list[str]) -> dict[str, Any]:
        """What would be installed, removed and repaired."""
        result: dict[str, Any] = {"removed": [], **self.preview(work, before)}
        rows = [{"name": name, "version": before[name].version} for name in gone]
        removed = [*result["removed"], *(row for row in rows if row not in result["removed"])]
        return {**result, "removed": removed, "repaired": list(work.repair)}

    def apply(self, work: Work, before: Distributions, gone: list[str]) -> dict[str, Any]:
        """Do it, and say what was installed, removed and repaired."""
        self.bring_uv()
        if not work.is_empty:
            self.install(work, before)
        middle = self.present()
        repaired: list[str] = []
        if left := [name for name in gone if name in middle]:
            self.uninstall(left)
            after = self.present()
            repaired = sorted(name for name, item in after.items() if item.missing and not middle[name].missing)
            if repaired:  # they shared files with what went
                self.install(Work((), (), tuple(repaired), refetch=False), after)
        after = self.present()
        named = {*repaired, *work.repair, *(wish.name for wish in self.requirements)}
        if wrong := self.find_faults(after, gone, named):
            reason = "; ".join(wrong)
            self.fail(
                f"The packages in {self.path} are not as asked for: {reason}. Run again; if it stays so, run uv pip"
                f" install by hand with --python {self.own_python} and read what it says."
            )
        return {**difference(before, after), "repaired": sorted({*work.repair, *repaired})}

    def find_faults(self, after: Distributions, gone: list[str], named: set[str]) -> list[str]:
        """What of the named packages is not as asked for, one clause each."""
        versions = {name: item.version for name, item in after.items()}
        wrong = [f"{wish.text} was not installed" for wish in self.requirements if not satisfied(wish, versions)]
        wrong += [f"{name} was not removed" for name in gone if name in after]
        wrong += [f"{name} lacks {path}" for name in sorted(named & set(after)) for path in after[name].missing[:1]]
        return wrong


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **OPTIONS,
            "environment": {"type": "path", "required": True},
            "remove": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    ProjectPackages(module).change()


if __name__ == "__main__":
    main()
