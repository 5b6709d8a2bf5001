#!/usr/bin/python
# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: python_packages
short_description: Install Python packages into an environment or a folder, with uv
version_added: 1.0.0
description:
  - Installs exact versions of Python packages from wheels, into a virtual environment of its own or into a plain
    folder, and repairs them in place.
  - Compares what is there with what is asked for first, by each package's own list of files. Where nothing is missing,
    uv is not called at all.
  - Honours the host's own pip configuration, variables included. C(index-url), C(extra-index-url), C(find-links),
    C(no-index), C(trusted-host) and C(cert) mean for uv what they mean for pip. What the task names comes first.
  - Uses the uv that the host has, if it is new enough; else installs one into C(<prefix>/tools), with the host's own
    pip, or as a copy of the one on the controller.
  - An environment or folder that this call created and could not fill is removed again; wheels fetched so far stay
    in the cache.
author:
  - Podsmith developers (@podsmith)
options:
  environment:
    description:
      - Virtual environment to fill; created where it is absent, and recreated where it has another Python than
        O(python).
      - Exactly one of O(environment) and O(directory) is to be given.
    type: path
  directory:
    description: Plain folder to fill, as with C(pip install --target).
    type: path
  python:
    description: Interpreter on the host that the packages are for; the one that Ansible uses where it is not given.
    type: path
  adopt:
    description:
      - C(site-packages) folder of another environment, whose packages become importable in O(environment) and count
        as present.
      - Nothing is written into that folder.
    type: path
  constraints:
    description: Versions, as V(name==version) or V(name>=2.9.0.dev0), that hold for all that the requirements need.
    type: list
    elements: str
    default: []
  no_deps:
    description: Whether to leave out what the requirements depend on.
    type: bool
    default: false
  index_strategy:
    description:
      - With V(best-match) the newest release that fits is taken, from whatever index has it, as pip does.
      - With V(first-match) that of the first index that has one, in the order O(index_url), O(extra_index_urls), the
        host's own. PyTorch's test and nightly indexes need it, as stable releases may have higher numbers.
    type: str
    choices: [best-match, first-match]
    default: best-match
  state:
    description:
      - V(absent) takes O(requirements) out of the environment, or removes the whole environment or folder where no
        requirement is given.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - podsmith.gpu.uv
attributes:
  check_mode:
    support: full
    description:
      - Says what it would install; asks the sources where uv is at hand already, else names the requirements alone.
  diff_mode:
    support: full
    description: Shows the packages before and after.
seealso:
  - module: podsmith.gpu.project_packages
notes:
  - Version numbers compare as PEP 440 says, in so far as exact versions need it.
"""

EXAMPLES = r"""
- name: Install torch into an environment of its own
  podsmith.gpu.python_packages:
    prefix: /opt/podsmith
    uv_version: "{{ lookup('podsmith.gpu.catalogue', 'tools', 'tools', 'uv')['version'] }}"
    environment: /opt/podsmith/environments/1-torch2.9.1-cu130
    python: /usr/bin/python3.12
    index_url: https://download.pytorch.org/whl/cu130
    requirements: [torch==2.9.1+cu130, numpy]

- name: Install the CUTLASS headers into a folder
  podsmith.gpu.python_packages:
    prefix: /opt/podsmith
    uv_version: "{{ lookup('podsmith.gpu.catalogue', 'tools', 'tools', 'uv')['version'] }}"
    directory: /opt/podsmith/cutlass/4.2.0
    requirements: [nvidia-cutlass==4.2.0.0]
    no_deps: true
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

import json
import pathlib
import shutil
import sys
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podsmith.gpu.plugins.module_utils._host.pip import other_major
from ansible_collections.podsmith.gpu.plugins.module_utils._host.write import replace_file
from ansible_collections.podsmith.gpu.plugins.module_utils._packages.environment import OPTIONS, Environment
from ansible_collections.podsmith.gpu.plugins.module_utils._packages.folder import (
    Distributions,
    Work,
    broken_pins,
    difference,
    incoherence,
    outstanding,
    read_distributions,
    read_packages,
    record_path,
    wishes,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._packages.requirement import satisfied
from ansible_collections.podsmith.gpu.plugins.module_utils._packages.uv import unmet

PATH_FILE = "_podsmith_adopted.pth"
DESCRIBE = (
    "import sys, site; print('%d.%d' % sys.version_info[:2],"
    " sys.prefix == sys.base_prefix and sys.argv[1] in site.getsitepackages())"
)


class Packages(Environment):
    """One environment or folder of ours in the state that is asked for, or to be brought there."""

    def __init__(self, module: AnsibleModule) -> None:
        environment, directory = module.params["environment"], module.params["directory"]
        python = module.params["python"] or sys.executable
        super().__init__(module, environment or directory, python, is_environment=bool(environment))
        self.constraints = self.parse(self.params["constraints"])

    # What is there

    def adopted(self) -> Distributions:
        """The distributions of the adopted environment."""
        adopt = self.params["adopt"]
        found = read_distributions(adopt) if adopt else {}
        if adopt and not found:
            self.fail(
                f'adopt is "{adopt}", which holds no Python packages; expected the site-packages folder of an'
                " environment."
            )
        return found

    def must_create(self) -> bool:
        """Whether the folder or environment is absent, unusable, or made for another Python."""
        if not self.is_usable or not self.is_environment:
            return not self.is_usable
        if self.own_python.resolve() == pathlib.Path(self.python).resolve():
            return False
        return f"python{self.describe_python()[0]}" != pathlib.Path(str(self.site_packages)).parent.name

    def describe_python(self) -> tuple[str, bool]:
        """The interpreter's minor version, and whether the adopted folder is its own."""
        rc, out, err = self.run([self.python, "-I", "-c", DESCRIBE, self.params["adopt"] or ""])
        if rc:
            reason = err.strip()[-200:] or f"exit status {rc}"
            self.fail(
                f'python is "{self.python}", which does not run ({reason}); name a Python interpreter of the host.'
            )
        version, is_own = out.split()
        return version, is_own == "True"

    # Changes

    def make_present(self) -> None:
        """Install what is asked for."""
        create = self.must_create()
        before, recorded = ({}, {}) if create else (self.present(), read_packages(self.path))
        adopted = self.adopted()
        self.check_major(before)
        work = outstanding(
            self.requirements,
            self.constraints,
            before,
            adopted={name: distribution.version for name, distribution in adopted.items()},
            recorded=recorded,
            reinstall=self.params["reinstall"],
        )
        result: dict[str, Any] = {"repaired": list(work.repair)}
        if self.module.check_mode:
            more = self.limits(work, before, adopted)
            result.update(self.preview(work, before, create=create, more=more))
        elif create or not recorded or not work.is_empty:
            self.bring_uv()
            if create:
                self.create()
            if not work.is_empty:
                record_path(self.path).unlink(missing_ok=True)
                self.install(work, before, self.limits(work, before, adopted))
            after = self.present()
            result.update(difference(before, after))
            wrong = self.find_faults(after, adopted)
            if wrong:
                self.undo(before, after)
                reason = "; ".join(wrong)
                self.fail(f"The packages in {self.path} do not fit together: {reason}. Ask for versions that do.")
            self.record(after)
        changed = any((create, not work.is_empty, self.write_path_file()))
        self.exit(changed=changed, before=before, **result)

    def check_major(self, before: Distributions) -> None:
        """Fail where the libraries of one CUDA major would be installed over those of another."""
        versions = {name: distribution.version for name, distribution in before.items()}
        if majors := other_major([wish.text for wish in self.requirements], versions):
            self.fail(
                f"{self.path} holds the libraries of CUDA {majors[0]}, and a package for CUDA {majors[1]} is asked for;"
                " their packages own the same files, so that removing the ones later takes the others' along. Use"
                " another environment, or remove this one first (state: absent)."
            )

    def limits(self, work: Work, before: Distributions, adopted: Distributions) -> list[str]:
        """uv's arguments that keep it from more than is asked for."""
        argv = ["--no-deps"] if self.params["no_deps"] else []
        if self.constraints:
            argv += ["--constraints", self.write_list("constraints.txt", [rule.text for rule in self.constraints])]
        if adopted:
            own = {wish.name for wish in wishes(self.requirements, work, before)}
            argv += ["--excludes", self.write_list("excludes.txt", sorted(set(adopted) - own))]
        return argv

    def write_list(self, name: str, lines: list[str]) -> str:
        """Write a requirements file for uv, and return its path."""
        path = pathlib.Path(self.module.tmpdir) / name
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return str(path)

    def create(self) -> None:
        """Create the environment or folder."""
        self.prefix.mkdir(parents=True, exist_ok=True)
        self.created = True
        if not self.is_environment:
            self.path.mkdir(parents=True)
            return
        inherit = ["--system-site-packages"] if self.params["adopt"] and self.describe_python()[1] else []
        self.call_uv(["venv", "--clear", "--no-project", "--python", self.python, *inherit, str(self.path)])
        self.write_path_file()

    def find_faults(self, after: Distributions, adopted: Distributions) -> list[str]:
        """Why what is there now cannot work together, or is still not what was asked for, one clause each."""
        versions = {name: distribution.version for name, distribution in {**adopted, **after}.items()}
        wrong = [f"{item.name} lacks {path}" for item in after.values() for path in (*item.missing, *item.damaged)[:1]]
        wrong += [f"{wish.text} was not installed" for wish in self.requirements if not satisfied(wish, versions)]
        wrong += incoherence(after, adopted, self.constraints)
        wrong += broken_pins(str(self.site_packages), {name: adopted[name] for name in set(adopted) - set(after)})
        if self.is_environment and not self.params["no_deps"]:
            _rc, out, err = self.run([self.uv["path"], "pip", "check", "--python", str(self.own_python)])
            wrong += unmet(out + err, versions)
        return wrong

    def undo(self, before: Distributions, after: Distributions) -> None:
        """Take out again what came, so that the next run starts from what was there. A replaced version stays.

        What came may have owned files of what was there, which went with it: those packages are installed once more.
        """
        came = sorted(set(after) - set(before))
        if not came or not self.is_environment or self.created:
            return
        self.run([self.uv["path"], "pip", "uninstall", "--python", str(self.own_python), *came])
        lost = [item for name, item in self.present().items() if name in before and item.missing]
        for item in [item for item in lost if not before[item.name].missing]:
            wanted = ["--no-deps", "--reinstall-package", item.name, f"{item.name}=={item.version}"]
            self.run([self.uv["path"], "pip", "install", "--python", str(self.own_python), *self.arguments, *wanted])

    def record(self, after: Distributions) -> None:
        """Note what a complete installation holds, so that what goes missing later is noticed."""
        versions = {name: distribution.version for name, distribution in after.items()}
        replace_file(record_path(self.path), json.dumps(versions, indent=1, sort_keys=True))

    def write_path_file(self) -> bool:
        """Write the file that makes the adopted packages importable; whether it had to be."""
        if not self.params["adopt"]:
            return False
        line, path = f"{self.params['adopt']}\n", (self.site_packages or self.path) / PATH_FILE
        if path.is_file() and path.read_text(encoding="utf-8") == line:
            return False
        if not self.module.check_mode:
            path.write_text(line, encoding="utf-8")
        return True

    def make_absent(self) -> None:
        """Take the requirements out, or all of it."""
        before = self.present()
        gone = [before[wish.name] for wish in self.requirements if wish.name in before]
        if self.requirements and gone and not self.module.check_mode:
            self.bring_uv()
            self.uninstall(item.name for item in gone)
            self.record(self.present())
        must_remove = not self.requirements and self.path.exists()
        if must_remove:
            self.check_removable(before)
            gone = list(before.values())
            if not self.module.check_mode:
                shutil.rmtree(self.path)
        removed = [{"name": item.name, "version": item.version} for item in gone]
        self.exit(changed=bool(gone) or must_remove, before=before, removed=removed)

    def check_removable(self, before: Distributions) -> None:
        """Fail for a folder that this module cannot have filled."""
        if self.is_environment and not (self.path / "pyvenv.cfg").exists():
            self.fail(f"{self.path} is not a virtual environment and is left alone; remove it by hand if it is to go.")
        if not self.is_environment and not before and any(self.path.iterdir()):
            self.fail(f"{self.path} holds no Python packages and is left alone; remove it by hand if it is to go.")


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **OPTIONS,
            "environment": {"type": "path"},
            "directory": {"type": "path"},
            "python": {"type": "path"},
            "adopt": {"type": "path"},
            "constraints": {"type": "list", "elements": "str", "default": []},
            "no_deps": {"type": "bool", "default": False},
            "index_strategy": {"type": "str", "choices": ["best-match", "first-match"], "default": "best-match"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_one_of=[("environment", "directory")],
        mutually_exclusive=[("environment", "directory"), ("directory", "adopt")],
        supports_check_mode=True,
    )
    packages = Packages(module)
    if module.params["state"] == "absent":
        packages.make_absent()
    else:
        packages.make_present()


if __name__ == "__main__":
    main()
