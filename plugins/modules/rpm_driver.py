#!/usr/bin/python
# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rpm_driver
short_description: Install a first NVIDIA driver by dnf, kept to its branch, or remove it again
version_added: 1.0.0
description:
  - Enables a stream of a dnf module, or adds a lock of dnf's plugin versionlock, either of which keeps dnf to one
    branch of the driver, and installs the packages. If that fails, the stream is reset and the lock deleted, where they
    were made for it.
  - Installs a first driver alone. Where rpm knows a package of a driver that this module has not installed, nothing is
    changed.
  - Remembers in O(record) what it installed.
  - Fails in a container and on WSL2, whose driver is their host's. Never reboots.
  - Tried with dnf 4 on a repository made for tests, not on a real host.
author:
  - Podsmith developers (@podsmith)
options:
  packages:
    description: Packages to install; none where the driver is there.
    type: list
    elements: str
    default: []
  stream:
    description: The module and its stream, such as V(nvidia-driver:580-open); this or O(lock) is needed where there are
      packages.
    type: str
  lock:
    description: Packages with their versions as a pattern of dnf's versionlock, such as V(*nvidia*-580.*).
    type: str
  lock_package:
    description: The package of that plugin, which is installed first.
    type: str
  state:
    description: V(absent) removes what O(record) says this module installed, resets the stream and deletes the lock;
      it fails where the driver came another way.
    type: str
    choices: [present, absent]
    default: present
  record:
    description: File that remembers what this module did.
    type: path
    required: true
  modules:
    description: Folder in which dnf keeps which streams are enabled.
    type: path
    default: /etc/dnf/modules.d
attributes:
  check_mode:
    support: full
    description: Says what is missing, asks dnf nothing and changes nothing.
"""

EXAMPLES = r"""
- name: Install the newest driver of branch 580 with open kernel modules
  podsmith.gpu.rpm_driver:
    packages: [nvidia-open]
    stream: nvidia-driver:580-open
    record: /opt/podsmith/state/driver.json
"""

RETURN = r"""
before:
  description: The driver's packages before, name to version.
  type: dict
  returned: always
packages:
  description: The driver's packages now; in check mode as before.
  type: dict
  returned: always
reboot:
  description: Whether the kernel runs another driver than the disk has, so that a reboot is needed.
  type: bool
  returned: always
"""

import json
import os
import pathlib
import re
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podsmith.gpu.plugins.module_utils._host import rpm
from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import is_driver
from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root
from ansible_collections.podsmith.gpu.plugins.module_utils._host.write import replace_file
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.driver import read_loaded
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.driver_on_disk import ELSEWHERE, RUNFILE, VERSION
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.platform import find_kind


class Driver:
    """The driver's packages and what is asked of them."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module, self.params = module, module.params
        self.file = pathlib.Path(self.params["record"])
        self.record = self.read_record()
        stream = str(self.params["stream"] or self.record.get("stream") or "")
        self.name, _sign, self.stream = stream.partition(":")
        self.lock = str(self.params["lock"] or self.record.get("lock") or "")
        self.before = self.read()

    def read_record(self) -> dict[str, Any]:
        """What this module noted; empty where it noted nothing that can be read."""
        try:
            content = json.loads(self.file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def read(self) -> dict[str, str]:
        """The driver's packages as rpm has them."""
        rc, out, err = self.run("rpm", "--query", "--all", "--queryformat", rpm.QUERY)
        if rc:
            self.fail(f"rpm could not list what is installed: {rpm.told(err or out)}; see whether rpm -qa works.")
        return {one.name: one.version for one in rpm.parse_installed(out) if is_driver(one.name)}

    def run(self, *words: str) -> tuple[int, str, str]:
        """Run a program in plain English."""
        rc, out, err = self.module.run_command(list(words), environ_update=rpm.ENVIRONMENT)
        return rc, out, err

    def fail(self, msg: str) -> NoReturn:
        """Fail in one sentence."""
        self.module.fail_json(msg=msg)
        raise SystemExit(1)

    # --- present ---

    def make_present(self) -> None:
        """Keep dnf to the branch and install what is missing."""
        missing = [name for name in self.params["packages"] if self.run("rpm", "--query", name)[0]]
        if not missing:
            self.exit(changed=False)
        self.refuse_another()
        if self.module.check_mode:
            self.exit(changed=True)
        is_new = self.add_lock() if self.lock else self.enable()
        rc, out, err = self.run(*rpm.install_words(rpm.DNF, missing, dry=False, driver=True))
        if rc:
            self.let_go(made=is_new)
            self.fail(
                f"dnf could not install {', '.join(missing)} {self.kept}: "
                f"{rpm.told(err or out)}. On RHEL and what is like it, DKMS comes from EPEL, which must be enabled "
                "first; where a module was not built, see /var/lib/dkms/nvidia*/*/build/make.log."
            )
        now = self.read()
        record = {
            "installed": sorted(
                {*self.record.get("installed", ()), *(name for name in now if name not in self.before)}
            ),
            **({"lock": self.lock} if self.lock else {"stream": f"{self.name}:{self.stream}"}),
        }
        replace_file(self.file, json.dumps(record, indent=2, sort_keys=True) + "\n", mode=0o644)
        self.check_branch(now)
        self.exit(changed=True)

    def refuse_another(self) -> None:
        """Never over a driver that came another way."""
        foreign = [name for name in self.before if name not in self.record.get("installed", ())]
        if foreign:
            self.fail(
                f"A driver is here already ({foreign[0]} {self.before[foreign[0]]}), and this module installs a first "
                "one alone. Nothing was changed; change that one the way it was installed, or leave driver: keep."
            )
        found = [path for path in RUNFILE if pathlib.Path(path).exists()]
        if found:
            self.fail(
                f"{found[0]} says that the driver here was installed by NVIDIA's .run installer, which "
                "packages must not be mixed with; "
                "remove it first: nvidia-uninstall, then reboot."
            )

    def enabled(self) -> str | None:
        """The stream that is enabled."""
        path = pathlib.Path(self.params["modules"]) / f"{self.name}.module"
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        values = dict(re.findall(r"^(state|stream)\s*=\s*(\S*)", text, re.MULTILINE))
        return values.get("stream") if values.get("state") == "enabled" else None

    @property
    def kept(self) -> str:
        """What dnf is kept to, in words."""
        return f"locked to {self.lock}" if self.lock else f"from the stream {self.name}:{self.stream}"

    def enable(self) -> bool:
        """Enable the wished stream where no other one is; whether that was needed."""
        other = self.enabled()
        if other == self.stream:
            return False
        if other:
            self.fail(
                f"The stream {self.name}:{other} is enabled, and {self.name}:{self.stream} was asked for. Nothing was "
                f"changed; run: dnf module reset {self.name}"
            )
        rc, out, err = self.run(rpm.DNF, "--assumeyes", "module", "enable", f"{self.name}:{self.stream}")
        if rc:
            self.let_go(made=True)
            self.fail(
                f"dnf could not enable {self.name}:{self.stream}: {rpm.told(err or out)}; see dnf module list "
                f"{self.name} for the streams that the repository has."
            )
        return True

    def add_lock(self) -> bool:
        """Add the lock, and before it the plugin that obeys it; whether the lock is new."""
        plugin = self.params["lock_package"]
        if plugin and self.run("rpm", "--query", plugin)[0]:
            rc, out, err = self.run(*rpm.install_words(rpm.DNF, [plugin], dry=False))
            if rc:
                self.fail(f"dnf could not install {plugin}, which keeps to {self.lock}: {rpm.told(err or out)}.")
        rc, out, err = self.run(rpm.DNF, "--assumeyes", "versionlock", "add", "--raw", self.lock)
        if rc:
            self.fail(f"dnf could not lock {self.lock}: {rpm.told(err or out)}; nothing of a driver was installed.")
        return "Adding" in out

    def let_go(self, *, made: bool) -> None:
        """Reset the stream, or delete the lock, that was made here."""
        if made and self.lock:
            self.run(rpm.DNF, "--assumeyes", "versionlock", "delete", "--raw", self.lock)
        elif made:
            self.run(rpm.DNF, "--assumeyes", "module", "reset", self.name)

    def check_branch(self, now: dict[str, str]) -> None:
        """Fail where what came is of another branch than dnf was kept to."""
        branch = re.search(r"\d+", self.lock or self.stream)
        came = {name: VERSION.match(version) for name, version in now.items() if name not in self.before}
        wrong = [
            name for name, found in came.items() if found and branch and found["version"].split(".")[0] != branch[0]
        ]
        if wrong:
            self.fail(
                f"dnf installed {wrong[0]} {now[wrong[0]]} {self.kept}; expected branch "
                f"{branch[0] if branch else ''}. Remove it by nvidia_driver_state: absent before the next reboot."
            )

    # --- absent ---

    def make_absent(self) -> None:
        """Remove what was installed here, and what kept dnf to its branch."""
        ours = self.record.get("installed") or []
        if self.before and not ours:
            name, version = min(self.before.items())
            self.fail(
                f"A driver was here before this role came ({name} {version}): it is not this role's to remove, and "
                "nothing was changed."
            )
        gone = [name for name in ours if name in self.before]
        if self.module.check_mode or not ours:
            self.exit(changed=bool(ours))
        if gone:
            rc, out, err = self.run("rpm", "--erase", "--test", *gone)
            if rc:
                self.fail(f"Nothing was removed: {rpm.told(err or out)}; remove what needs the driver first.")
            rc, out, err = self.run(*rpm.remove_words(rpm.DNF, gone))
            if rc:
                self.fail(f"dnf could not remove {', '.join(gone)}: {rpm.told(err or out)}.")
        self.let_go(made=True)
        self.file.unlink()
        self.exit(changed=True)

    def exit(self, *, changed: bool) -> NoReturn:
        """Return what was done."""
        now = self.read()
        versions = {str(match["version"]) for version in now.values() if (match := VERSION.match(version))}
        loaded = read_loaded(Root()).version
        reboot = loaded not in versions if versions else bool(loaded)
        self.module.exit_json(changed=changed, before=self.before, packages=now, reboot=reboot)
        raise SystemExit(0)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "packages": {"type": "list", "elements": "str", "default": []},
            "stream": {"type": "str"},
            "lock": {"type": "str"},
            "lock_package": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "record": {"type": "path", "required": True},
            "modules": {"type": "path", "default": "/etc/dnf/modules.d"},
        },
        supports_check_mode=True,
    )
    kind = find_kind(Root(), dict(os.environ))
    if kind in ELSEWHERE:
        module.fail_json(msg=f"{ELSEWHERE[kind]} Nothing was changed.")
    keeper = module.params["stream"] or module.params["lock"]
    if module.params["state"] == "present" and module.params["packages"] and not keeper:
        module.fail_json(
            msg="stream and lock are empty; expected what keeps dnf to a branch, such as nvidia-driver:580-open."
        )
    driver = Driver(module)
    if module.params["state"] == "present":
        driver.make_present()
    else:
        driver.make_absent()


if __name__ == "__main__":
    main()
