#!/usr/bin/python
# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: apt_forecast
short_description: Ask apt what an installation would pull in, and refuse an NVIDIA driver
version_added: 1.0.0
description:
  - Has apt simulate the installation and reads what it would install. Nothing is installed.
  - Fails where a package of NVIDIA's driver for Linux would be installed or changed, and names it and what pulls it in.
    A container and WSL2 have their host's driver, and on other hosts the driver is not this installation's to change.
  - Has apt read its repositories again where it does not know a package yet, or its lists are old.
author:
  - Podsmith developers (@podsmith)
options:
  packages:
    description: Packages as C(apt-get install) takes them.
    type: list
    elements: str
    required: true
  refresh:
    description: Read the repositories in any case, because one was added.
    type: bool
    default: false
  valid_seconds:
    description: How old apt's lists may be.
    type: int
    default: 3600
  lists:
    description: Folder in which apt keeps what repositories have.
    type: path
    default: /var/lib/apt/lists
  hint:
    description: What the user can do about a driver that would come; ends the error's sentence.
    type: str
    default: name other packages
  source_hint:
    description: What the user can do about a repository that does not answer; ends the error's sentence.
    type: str
    default: see that the host reaches them
attributes:
  check_mode:
    support: full
    description: Simulates with the lists that apt has; they are not read again.
"""

EXAMPLES = r"""
- name: Check that the compiler pulls in no driver
  podsmith.gpu.apt_forecast:
    packages: [cuda-nvcc-13-0]
    hint: set toolkit.provider to pypi
"""

RETURN = r"""
packages:
  description: What apt would install or upgrade, C(old) is the installed version.
  type: list
  elements: dict
  returned: always
  sample: [{name: cuda-nvcc-13-0, version: 13.0.88-1, old: null}]
drivers:
  description: Those of them that are of a driver, each with the way by which it comes.
  type: list
  elements: dict
  returned: always
  sample: [{name: cuda-drivers, way: [cuda-13-0, cuda-runtime-13-0, cuda-drivers]}]
"""

import pathlib
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podsmith.gpu.plugins.module_utils._host import apt
from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import is_driver

ENVIRONMENT = {"LC_ALL": "C", "LANG": "C", "DEBIAN_FRONTEND": "noninteractive"}


def is_old(folder: str, seconds: int) -> bool:
    """Whether apt's lists were last read longer ago than that, or never."""
    try:
        return time.time() - pathlib.Path(folder).stat().st_mtime > seconds
    except OSError:
        return True


def run(module: AnsibleModule, argv: list[str]) -> tuple[int, str, str]:
    """Run one of apt's programs in plain English."""
    rc, out, err = module.run_command(argv, environ_update=ENVIRONMENT)
    return rc, out, err


def refresh(module: AnsibleModule) -> None:
    """Have apt read its repositories."""
    rc, out, err = run(module, ["apt-get", "update", "--quiet=2"])
    if rc:
        module.fail_json(
            msg=f"apt could not read its repositories: {told(err or out)}; {module.params['source_hint']}."
        )


def simulate(module: AnsibleModule, packages: list[str]) -> tuple[int, str, str]:
    """What apt says to the installation."""
    return run(module, ["apt-get", "install", "--simulate", "--no-install-recommends", *packages])


def told(text: str) -> str:
    """What apt complains of, on one line."""
    lines = [line for line in text.splitlines() if line.startswith("E: ")] or text.strip().splitlines()[-1:]
    return " ".join(line.replace("E: ", "", 1).rstrip(".") for line in lines) or "no reason given"


def find_drivers(module: AnsibleModule, packages: list[str], coming: list[apt.Install]) -> list[dict[str, Any]]:
    """The packages of a driver among those that would be installed, and what pulls each in."""
    found = [install for install in coming if is_driver(install.name)]
    if not found:
        return []
    _rc, out, _err = run(module, ["apt-cache", "show", "--no-all-versions", *(install.name for install in coming)])
    needs = apt.parse_needs(out)
    return [{**install._asdict(), "way": apt.find_chain(packages, install.name, needs)} for install in found]


def refuse(module: AnsibleModule, drivers: list[dict[str, Any]], **result: Any) -> None:
    """Fail with the package and what pulls it in."""
    one = min(drivers, key=lambda driver: len(driver["way"]))
    name, way = one["name"], one["way"]
    what = f"change {name} {one['old']} to" if one["old"] else f"install {name}"
    because = f", which {' → '.join(way[:-1])} pulls in" if len(way) > 1 else ""
    more = f", and {len(drivers) - 1} more of its packages" if len(drivers) > 1 else ""
    module.fail_json(
        msg=f"apt would {what} {one['version']}{because}{more}: a part of NVIDIA's driver for Linux, which belongs to"
        " the machine itself; a container or WSL2 must not have one of its own. Nothing was installed;"
        f" {module.params['hint']}.",
        drivers=drivers,
        **result,
    )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "packages": {"type": "list", "elements": "str", "required": True},
            "refresh": {"type": "bool", "default": False},
            "valid_seconds": {"type": "int", "default": 3600},
            "lists": {"type": "path", "default": "/var/lib/apt/lists"},
            "hint": {"type": "str", "default": "name other packages"},
            "source_hint": {"type": "str", "default": "see that the host reaches them"},
        },
        supports_check_mode=True,
    )
    packages, may_read = module.params["packages"], not module.check_mode
    fresh = may_read and (module.params["refresh"] or is_old(module.params["lists"], module.params["valid_seconds"]))
    if fresh:
        refresh(module)
    rc, out, err = simulate(module, packages)
    if rc and may_read and not fresh and apt.UNKNOWN.search(err):
        refresh(module)
        rc, out, err = simulate(module, packages)
    if rc:
        module.fail_json(msg=f"apt could not plan {', '.join(packages)}: {told(err or out)}.")
    coming = apt.parse_simulation(out)
    listed = [install._asdict() for install in coming]
    drivers = find_drivers(module, packages, coming)
    if drivers:
        refuse(module, drivers, packages=listed)
    module.exit_json(changed=False, packages=listed, drivers=[])


if __name__ == "__main__":
    main()
