#!/usr/bin/python
# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rpm_packages
short_description: Install rpm packages by dnf or zypper without an NVIDIA driver, or remove them
version_added: 1.0.0
description:
  - Installs the packages that are missing. A package of NVIDIA's driver for Linux is never pulled in. dnf is kept from
    all of them, and zypper's own forecast is read before anything is installed; in both cases the module fails, names
    the package and changes nothing. A container and WSL2 have their host's driver, and on other hosts the driver is not
    this installation's to change.
  - Removes packages with what was installed for them alone, unless another installed package needs one of them.
  - Tried with dnf 4 and zypper on repositories made for tests, not with NVIDIA's packages on a real host.
author:
  - Podsmith developers (@podsmith)
options:
  packages:
    description: Names of packages, without versions.
    type: list
    elements: str
    required: true
  version:
    description: Version that all of them must have where they are installed, without its release, such as V(580.95.05).
      A package that is there already stays as it is.
    type: str
  state:
    description: V(absent) removes those that are installed.
    type: str
    choices: [present, absent]
    default: present
  listed:
    description: Whether the package manager knows the repository already. In check mode it is not asked what it does
      not know.
    type: bool
    default: true
  hint:
    description: What the user can do about a driver that would come; ends the error's sentence.
    type: str
    default: name other packages
attributes:
  check_mode:
    support: full
    description: Asks the package manager what it would do, changes nothing.
"""

EXAMPLES = r"""
- name: Install the compiler without a driver
  podsmith.gpu.rpm_packages:
    packages: [cuda-nvcc-12-8]
    hint: set toolkit.provider to pypi
"""

RETURN = r"""
manager:
  description: V(dnf) or V(zypper).
  type: str
  returned: always
packages:
  description: The packages that were to be installed or removed; empty where all was well.
  type: list
  elements: str
  returned: always
drivers:
  description: Packages of a driver that would have come.
  type: list
  elements: str
  returned: always
"""

from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podsmith.gpu.plugins.module_utils._host import rpm
from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import is_driver
from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root


class Packages:
    """The packages and what is asked of them."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module, self.params = module, module.params
        root = Root()
        release = root.read("/etc/os-release") or root.read("/usr/lib/os-release")
        manager = rpm.find_manager(release, lambda name: module.get_bin_path(name) is not None)
        if manager is None:
            self.fail("This system has neither dnf nor zypper, by which rpm packages are installed.")
        self.manager = str(manager)

    def fail(self, msg: str, **result: Any) -> NoReturn:
        """Fail in one sentence."""
        self.module.fail_json(msg=msg, **{"drivers": [], **result})
        raise SystemExit(1)

    def exit(self, names: list[str]) -> NoReturn:
        """Return what was done, or would be."""
        self.module.exit_json(changed=bool(names), manager=self.manager, packages=names, drivers=[])
        raise SystemExit(0)

    def run(self, words: list[str]) -> tuple[int, str, str]:
        """Run a program in plain English."""
        environ = {**rpm.ENVIRONMENT, "ZYPP_LOCK_TIMEOUT": "300"}
        rc, out, err = self.module.run_command(words, environ_update=environ)
        return rc, out, err

    def installed(self) -> set[str]:
        """The names of all packages that rpm knows as installed."""
        rc, out, err = self.run(["rpm", "--query", "--all", "--queryformat", rpm.QUERY])
        if rc:
            self.fail(f"rpm could not list what is installed: {rpm.told(err or out)}; see whether rpm -qa works.")
        return {package.name for package in rpm.parse_installed(out)}

    # --- present ---

    def make_present(self) -> None:
        """Install what is missing."""
        there = self.installed()
        missing = [name for name in dict.fromkeys(self.params["packages"]) if name not in there]
        if named := [name for name in missing if is_driver(name)]:
            self.refuse(named, named[:1])
        if not missing or (self.module.check_mode and not self.params["listed"]):
            self.exit(missing)
        asked = [self.spell(name) for name in missing]
        if self.manager == rpm.ZYPPER or self.module.check_mode:
            self.forecast(asked)
        if not self.module.check_mode:
            rc, out, err = self.run(rpm.install_words(self.manager, asked, dry=False))
            if rc:
                self.explain(asked, out, err)
            if lacking := [name for name in missing if name not in self.installed()]:
                self.fail(f"{self.manager} reported no error, and rpm does not know {', '.join(lacking)} afterwards.")
        self.exit(missing)

    def spell(self, name: str) -> str:
        """A package and its version as the package manager takes them."""
        version = self.params["version"]
        if not version:
            return name
        return f"{name}={version}" if self.manager == rpm.ZYPPER else f"{name}-{version}*"

    def forecast(self, asked: list[str]) -> None:
        """Fail where the installation would not succeed, or would bring a driver."""
        rc, out, err = self.run(rpm.install_words(self.manager, asked, dry=True))
        if self.manager == rpm.ZYPPER:
            try:
                coming = rpm.parse_summary(out) if rc == 0 else []
            except ValueError as error:
                self.fail(f"What would be installed is not known: {error}; nothing was installed.")
            if drivers := [name for name in coming if is_driver(name)]:
                self.refuse(drivers, [*asked[:1], drivers[0]] if len(asked) == 1 else drivers[:1])
        if rc and not rpm.ABORTED.search(f"{out}\n{err}"):
            self.explain(asked, out, err)

    def explain(self, asked: list[str], out: str, err: str) -> NoReturn:
        """Fail with what the package manager said; with the driver where that is what it was kept from."""
        drivers, way = rpm.find_refused(f"{out}\n{err}")
        if drivers:
            self.refuse(drivers, way)
        text = out if self.manager == rpm.ZYPPER and not err.strip() else err or out
        self.fail(f"{self.manager} could not install {', '.join(asked)}: {rpm.told(text)}.")

    def refuse(self, drivers: list[str], way: list[str]) -> NoReturn:
        """Fail with the driver's package and what pulls it in."""
        because = f", which {' → '.join(way[:-1])} pulls in" if len(way) > 1 else ""
        more = f", and {len(drivers) - 1} more of its packages" if len(drivers) > 1 else ""
        self.fail(
            f"{self.manager} would install {drivers[0]}{because}{more}: a part of NVIDIA's driver for Linux, which"
            " belongs to the machine itself; a container or WSL2 must not have one of its own. Nothing was installed;"
            f" {self.params['hint']}.",
            drivers=drivers,
        )

    # --- absent ---

    def make_absent(self) -> None:
        """Remove those that are there, unless something else needs them."""
        there = self.installed()
        gone = [name for name in dict.fromkeys(self.params["packages"]) if name in there]
        if not gone:
            self.exit([])
        rc, out, err = self.run(["rpm", "--erase", "--test", *gone])
        if rc:
            because = rpm.told(err or out)
            self.fail(f"Nothing was removed: {because}; remove what needs {', '.join(gone)} first.")
        if not self.module.check_mode:
            rc, out, err = self.run(rpm.remove_words(self.manager, gone))
            if rc:
                self.fail(f"{self.manager} could not remove {', '.join(gone)}: {rpm.told(err or out)}.")
        self.exit(gone)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "packages": {"type": "list", "elements": "str", "required": True},
            "version": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "listed": {"type": "bool", "default": True},
            "hint": {"type": "str", "default": "name other packages"},
        },
        supports_check_mode=True,
    )
    packages = Packages(module)
    if module.params["state"] == "present":
        packages.make_present()
    else:
        packages.make_absent()


if __name__ == "__main__":
    main()
