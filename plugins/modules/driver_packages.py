#!/usr/bin/python
# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: driver_packages
short_description: Install NVIDIA's driver by apt, pinned, or take out again what this module installed
version_added: 1.0.0
description:
  - Asks apt first what it would do, and changes nothing where it would install a driver of other versions than O(pin),
    remove what is no part of the driver, or mix NVIDIA's packages with those of the distribution or of NVIDIA's
    C(.run) installer.
  - Pins the versions in a file of apt's preferences, which works for every branch, offline, and before the first
    package is there; and marks the driver's packages as held, so that neither C(apt upgrade) nor unattended upgrades
    exchange libraries under a kernel module that is loaded.
  - Remembers in O(record) what was there before, what it installed and what it holds.
  - Fails in a container and on WSL2, whose driver is their host's. Never reboots.
author:
  - Podsmith developers (@podsmith)
options:
  packages:
    description: Packages to install; none where the driver is there and is only to be pinned.
    type: list
    elements: str
    default: []
  pin:
    description: Versions that apt may take, as a pattern such as V(580.*); needed unless O(state=absent).
    type: str
  hold:
    description: Whether the driver's packages are pinned and held; with V(false) a pin and holds of this module are
      taken back.
    type: bool
    default: true
  state:
    description: V(absent) removes what O(record) says this module installed; it fails where a driver was there before.
    type: str
    choices: [present, absent]
    default: present
  record:
    description: File that remembers what this module did.
    type: path
    required: true
  preferences:
    description: The file of apt's preferences.
    type: path
    default: /etc/apt/preferences.d/podsmith-nvidia-driver
  listed:
    description: Whether apt knows the repository's packages already. In check mode apt is not asked what it does not
      know.
    type: bool
    default: true
  lock_timeout:
    description: Seconds to wait for another program that uses apt.
    type: int
    default: 300
attributes:
  check_mode:
    support: full
    description: Asks apt what it would do, changes nothing.
  diff_mode:
    support: full
    description: Shows the preferences before and after.
"""

EXAMPLES = r"""
- name: Install the newest driver of branch 580 with open kernel modules
  podsmith.gpu.driver_packages:
    packages: [nvidia-open]
    pin: 580.*
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
held:
  description: Packages that are held.
  type: list
  elements: str
  returned: always
reboot:
  description: Whether the kernel runs another driver than the disk has, so that a reboot is needed.
  type: bool
  returned: always
"""

import fnmatch
import json
import os
import pathlib
import re
import shutil
import tempfile
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root
from ansible_collections.podsmith.gpu.plugins.module_utils._host.write import replace_file
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.driver import read_loaded
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.driver_on_disk import (
    ELSEWHERE,
    NAME,
    RUNFILE,
    STATUS,
    VERSION,
    parse_packages,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.platform import find_kind

PRIORITY = 1001  # above 1000 apt also goes back to an older version
KEEP_FILES = ("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold")
PARTS = "/etc/apt/preferences.d"
BY_BRANCH = re.compile(r"(?<![\d.])\d{3,}(?![\d.])")  # nvidia-open-580, not libcuda1
MODULES = re.compile(r"dkms|^cuda-drivers|^nvidia-open|^linux-|^nvidia-driver-\d")  # of one kind of kernel modules
STEP = re.compile(r"^(?P<verb>Inst|Remv|Purg) (?P<name>\S+)(?: \[(?P<old>[^\]]+)\])?(?: \((?P<new>\S+))?", re.MULTILINE)


def render_preferences(pin: str) -> str:
    """The preferences, in the format of apt_preferences(5): every package of the driver, these versions alone."""
    return (
        "# Written by podsmith.gpu: the driver stays with these versions\n"
        "Package: *nvidia* libcuda1 libcudadebugger1 libnvcuvid1 libnvoptix1 cuda-drivers*\n"
        f"Pin: version {pin}\n"
        f"Pin-Priority: {PRIORITY}\n"
    )


def list_asked(packages: list[str], before: dict[str, Any], pin: str) -> list[str]:
    """What apt is asked for: the packages to install, and those of the driver that are there and stay.

    All are named: apt goes back to an older version of what it was asked for alone, and holds keep the others. Those of
    another branch or of the other kind of kernel modules go.
    """
    branch, is_open = pin.partition(".")[0], any("open" in name.split("-") for name in packages)
    more = [
        name
        for name in before
        if all(number == branch for number in BY_BRANCH.findall(name))
        and (not MODULES.search(name) or ("open" in name.split("-")) == is_open)
    ]
    return list(dict.fromkeys([*packages, *more]))


def find_objection(said: str, pin: str) -> str | None:
    """Why what ``apt-get --simulate`` said must not be done."""
    for step in STEP.finditer(said):
        name, new = step["name"].partition(":")[0], step["new"] or ""
        is_driver = re.fullmatch(NAME, name) is not None
        if step["verb"] == "Remv" and not is_driver:
            remedy = "remove what conflicts yourself, or leave the driver alone"
            return f"apt would remove {name}, which is no part of the driver; {remedy}"
        if step["verb"] == "Inst" and is_driver and VERSION.match(new) and not fnmatch.fnmatchcase(_plain(new), pin):
            other = f"another file in {PARTS} may pin it, see apt-cache policy {name}"
            return f"apt would install {name} {new}, expected a version {pin}; {other}"
    return None


def _plain(version: str) -> str:
    """A version without its epoch."""
    return version.partition(":")[2] or version


class Packages:
    """The driver's packages and what is asked of them."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module, self.params = module, module.params
        self.preferences = pathlib.Path(self.params["preferences"])
        self.file = pathlib.Path(self.params["record"])
        self.record = self.read_record()
        self.before = self.read()

    def read(self) -> dict[str, Any]:
        """The driver's packages as dpkg has them."""
        return parse_packages(Root().read(STATUS))

    def read_record(self) -> dict[str, Any]:
        try:
            content = json.loads(self.file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def fail(self, msg: str) -> NoReturn:
        """Fail in one sentence."""
        self.module.fail_json(msg=msg)
        raise SystemExit(1)

    def run(self, *words: str) -> tuple[int, str]:
        """Run apt, without questions; its answer."""
        env = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8", "NEEDRESTART_SUSPEND": "1"}
        code, out, err = self.module.run_command(list(words), environ_update=env)
        return code, out if code == 0 else " ".join((err or out).split())[-600:]

    def apt(self, *words: str) -> tuple[int, str]:
        lock = f"DPkg::Lock::Timeout={self.params['lock_timeout']}"
        return self.run("apt-get", "--yes", "-o", lock, *KEEP_FILES, *words)

    # --- present ---

    def make_present(self) -> None:
        """Pin, install what is missing, hold."""
        wanted, text = self.params["packages"], render_preferences(self.params["pin"] or "")
        if not self.params["pin"]:
            self.fail("pin is empty; expected the versions that apt may take, such as 580.*.")
        self.refuse_mixture()
        old = self.preferences.read_text(encoding="utf-8") if self.preferences.is_file() else ""
        new = text if self.params["hold"] else ""
        is_asked = bool(wanted) and (self.params["listed"] or not self.module.check_mode)
        steps = self.plan(wanted, text) if is_asked else []
        changed = bool(steps) or (bool(wanted) and not is_asked) or old != new
        if self.module.check_mode:
            self.exit(changed=changed or bool(self.unheld()), diff=self.diff(old, new))
        if steps:
            self.write(self.preferences, text)
            code, said = self.apt("install", *self.options(), *list_asked(wanted, self.before, self.params["pin"]))
            if code:
                self.write(self.preferences, old)
                self.fail(
                    f"apt could not install {', '.join(wanted)} ({said}); the pin was taken back. See "
                    "/var/log/apt/term.log and, where a "
                    "module was not built, /var/lib/dkms/nvidia*/*/build/make.log; dpkg --configure -a goes "
                    "on where it stopped."
                )
        self.write(self.preferences, new)
        held = self.hold()
        self.remember(held)
        self.exit(changed=changed or bool(held["changed"]), diff=self.diff(old, new))

    def refuse_mixture(self) -> None:
        """Never NVIDIA's packages over a driver that came another way."""
        if not self.params["packages"]:
            return
        if self.before and not any(row["nvidia"] for row in self.before.values()):
            name, row = next(iter(self.before.items()))
            self.fail(
                f"The driver here comes from the distribution ({name} {row['version']}), which NVIDIA's "
                "packages must not be mixed with; "
                "remove it first: apt-get purge '*nvidia*', then reboot."
            )
        found = [path for path in RUNFILE if not self.before and pathlib.Path(path).exists()]
        if found:
            self.fail(
                f"{found[0]} says that the driver here was installed by NVIDIA's .run installer, which "
                "packages must not be mixed with; "
                "remove it first: nvidia-uninstall, then reboot."
            )

    def plan(self, wanted: list[str], text: str) -> list[str]:
        """What apt would do with the pin in force, each step as a name; fails where that must not be."""
        if not self.module.check_mode:
            code, said = self.apt("update")
            if code:
                self.fail(f"apt-get update failed: {said}; correct the host's package sources.")
        with tempfile.TemporaryDirectory() as folder:
            for path in pathlib.Path(PARTS).glob("*"):
                if path.is_file() and path != self.preferences:
                    shutil.copy(path, folder)
            pathlib.Path(folder, self.preferences.name).write_text(text, encoding="utf-8")
            asked = list_asked(wanted, self.before, self.params["pin"])
            words = ("--simulate", "-o", f"Dir::Etc::PreferencesParts={folder}", "install", *self.options(), *asked)
            code, said = self.apt(*words)
        if code:
            self.fail(
                f"apt cannot install {', '.join(wanted)} in versions {self.params['pin']}: {said}; see "
                f"apt-cache policy {wanted[-1]}, and "
                "choose a branch or a version that the repository has."
            )
        if because := find_objection(said, self.params["pin"]):
            self.fail(f"Nothing was changed: {because}.")
        return [step["name"] for step in STEP.finditer(said)]

    def options(self) -> tuple[str, ...]:
        return ("--no-install-recommends", "--allow-downgrades", "--allow-change-held-packages")

    def unheld(self) -> list[str]:
        """Packages of the pinned versions that are not held, or not released, as asked for."""
        wish = self.params["hold"]
        ours = self.record.get("held", [])
        return [
            name
            for name, row in self.read().items()
            if row["held"] != wish
            and (fnmatch.fnmatchcase(_plain(row["version"]), self.params["pin"]) if wish else name in ours)
        ]

    def hold(self) -> dict[str, list[str]]:
        """Hold the driver's packages, or let go those that were held here."""
        names = self.unheld()
        if names:
            code, said = self.run("apt-mark", "hold" if self.params["hold"] else "unhold", *names)
            if code:
                self.fail(f"apt-mark could not hold {', '.join(names)}: {said}; hold them by hand.")
        ours = set(self.record.get("held", []))
        return {"changed": names, "ours": sorted(ours | set(names) if self.params["hold"] else ours - set(names))}

    def remember(self, held: dict[str, list[str]]) -> None:
        """Write down what was there before this module came, what it installed, and what it holds."""
        now = self.read()
        before = self.record.get("before")
        if before is None:
            before = {name: row["version"] for name, row in self.before.items()}
        brought = {*self.record.get("installed", []), *(name for name in now if name not in self.before)}
        record = {
            "before": before,
            "installed": sorted(name for name in brought if name in now and name not in before),
            "held": held["ours"],
            "pin": self.params["pin"] if self.params["hold"] else None,
        }
        if record != self.record:
            self.write(self.file, json.dumps(record, indent=2, sort_keys=True) + "\n")

    # --- absent ---

    def make_absent(self) -> None:
        """Remove what was installed here, the pin and the holds."""
        before, ours = self.record.get("before") or {}, self.record.get("installed") or []
        if before or (self.before and not ours):
            there = before or {name: row["version"] for name, row in self.before.items()}
            name, version = min(there.items())
            self.fail(
                f"A driver was here before this role came ({name} {version}): it is not this role's to "
                "remove, and nothing was changed. "
                "To go back to its branch, ask for that one; to take back the pin and the holds, set hold to false; "
                "to remove it, use apt-get purge '*nvidia*'."
            )
        gone = [name for name in ours if name in self.before]
        files = [path for path in (self.preferences, self.file) if path.is_file()]
        if not self.module.check_mode:
            if gone:
                self.purge(gone)
            for path in files:
                path.unlink()
        self.exit(changed=bool(gone or files))

    def purge(self, names: list[str]) -> None:
        code, said = self.apt("--simulate", "purge", "--allow-change-held-packages", *names)
        others = [step["name"] for step in STEP.finditer(said if code == 0 else "") if step["name"] not in names]
        if others:
            self.fail(
                f"Nothing was changed: apt would also remove {', '.join(others)}, which needs the driver; "
                "remove it first."
            )
        code, said = self.apt("purge", "--allow-change-held-packages", *names)
        if code:
            self.fail(f"apt could not remove {', '.join(names)}: {said}; see /var/log/apt/term.log.")

    # --- the end ---

    def write(self, path: pathlib.Path, text: str) -> None:
        """Write a file that everybody may read, in one step; no text, no file. What is right is not touched."""
        if text and path.is_file() and path.read_text(encoding="utf-8") == text:
            return
        if not text:
            path.unlink(missing_ok=True)
            return
        replace_file(path, text, mode=0o644)

    def diff(self, old: str, new: str) -> dict[str, str]:
        return {
            "before": old,
            "after": new,
            "before_header": str(self.preferences),
            "after_header": str(self.preferences),
        }

    def exit(self, **result: Any) -> NoReturn:
        """Return what was done."""
        now = self.read()
        versions = {str(match["version"]) for row in now.values() if (match := VERSION.match(row["version"]))}
        loaded = read_loaded(Root()).version
        self.module.exit_json(
            before={name: row["version"] for name, row in self.before.items()},
            packages={name: row["version"] for name, row in now.items()},
            held=sorted(name for name, row in now.items() if row["held"]),
            reboot=loaded not in versions if versions else bool(loaded),
            **result,
        )
        raise SystemExit(0)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "packages": {"type": "list", "elements": "str", "default": []},
            "pin": {"type": "str"},
            "hold": {"type": "bool", "default": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "record": {"type": "path", "required": True},
            "preferences": {"type": "path", "default": "/etc/apt/preferences.d/podsmith-nvidia-driver"},
            "listed": {"type": "bool", "default": True},
            "lock_timeout": {"type": "int", "default": 300},
        },
        required_if=[("state", "present", ["pin"])],
        supports_check_mode=True,
    )
    kind = find_kind(Root(), dict(os.environ))
    if kind in ELSEWHERE:
        module.fail_json(msg=f"{ELSEWHERE[kind]} Nothing was changed.")
    packages = Packages(module)
    if module.params["state"] == "present":
        packages.make_present()
    else:
        packages.make_absent()


if __name__ == "__main__":
    main()
