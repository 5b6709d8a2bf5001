#!/usr/bin/python
# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rpm_source
short_description: Add a repository of rpm packages to dnf or zypper, its key pinned by fingerprint
version_added: 1.0.0
description:
  - Fetches the repository's key, compares its fingerprint with the pinned one before anything trusts it, writes key and
    repository file, and imports the key into rpm's database. rpm trusts a key for all repositories, not for one alone.
  - Where another file of the host names the same address already, such as that of a CUDA image, nothing is written.
  - Removes the key from rpm's database again only where this module imported it, which its repository file says.
  - Tried with dnf 4 and rpm on repositories made for tests, not on a real host.
author:
  - Podsmith developers (@podsmith)
options:
  name:
    description: Name of the key file and the repository file.
    type: str
    required: true
  uri:
    description: Address of the repository.
    type: str
  key_url:
    description: Address of the key.
    type: str
  key_fingerprint:
    description: Fingerprint that the key must have; blanks do not matter.
    type: str
  state:
    description: V(absent) removes the key, its file and the repository file.
    type: str
    choices: [present, absent]
    default: present
  unless_used:
    description: With O(state=absent), whether all of it stays while a package is installed that came from NVIDIA's
      repository; RV(used_by) names such packages.
    type: bool
    default: false
  folder:
    description: Folder of the repository files; by default that of the system's package manager.
    type: path
  keys:
    description: Folder of the key files.
    type: path
    default: /etc/pki/rpm-gpg
  timeout:
    description: Seconds that fetching the key may take.
    type: int
    default: 30
  hint:
    description: What the user can do about an address that does not answer; ends the error's sentence.
    type: str
    default: check key_url
attributes:
  check_mode:
    support: full
    description: Fetches and checks the key, writes and imports nothing.
  diff_mode:
    support: full
    description: Shows the repository file before and after.
"""

EXAMPLES = r"""
- name: Add NVIDIA's repository
  podsmith.gpu.rpm_source:
    name: cuda
    uri: https://developer.download.nvidia.com/compute/cuda/repos/rhel9/x86_64/
    key_url: https://developer.download.nvidia.com/compute/cuda/repos/rhel9/x86_64/D42D0685.pub
    key_fingerprint: 610C 7B14 E068 A878 070D A4E9 9CD0 A493 D42D 0685
"""

RETURN = r"""
source:
  description: The repository file, or the one that named the address before.
  type: str
  returned: always
keyring:
  description: The key file; nothing where another file of the host is used.
  type: str
  returned: always
listed:
  description: Whether the package manager can be asked for this repository's packages; what a new one has it reads by
    itself.
  type: bool
  returned: always
used_by:
  description: Installed packages that came from NVIDIA's repository and keep the files; none without O(unless_used).
  type: list
  elements: str
  returned: when O(state=absent)
"""

import pathlib
import re
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podsmith.gpu.plugins.module_utils._host import rpm
from ansible_collections.podsmith.gpu.plugins.module_utils._host.key import (
    KeyRefusedError,
    fetch_key,
    has_key,
    normalise,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._host.openpgp import KeyFileError, fingerprints
from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root
from ansible_collections.podsmith.gpu.plugins.module_utils._host.write import replace_file

FOLDERS = {rpm.DNF: "/etc/yum.repos.d", rpm.ZYPPER: "/etc/zypp/repos.d"}
IMPORTED = "# podsmith.gpu imported its key"
KEYS = "%{NAME}-%{VERSION}-%{RELEASE}\\t%{VERSION}\\n"


def render_source(name: str, uri: str, keyring: str, *, imported: bool) -> str:
    """The repository file, as dnf and zypper read it."""
    lines = ["# Written by podsmith.gpu", *([IMPORTED] if imported else []), f"[podsmith-{name}]"]
    lines += [f"name={name}, added by podsmith.gpu", f"baseurl={uri}", "enabled=1", "autorefresh=1", "gpgcheck=1"]
    return "\n".join([*lines, f"gpgkey=file://{keyring}"]) + "\n"


def names_uri(text: str, uri: str) -> bool:
    """Whether a repository file has a section in force for this address."""
    for section in re.split(r"^\[", text, flags=re.MULTILINE)[1:]:
        if re.search(r"^enabled\s*=\s*(?:0|no|false)\s*$", section, re.MULTILINE | re.IGNORECASE):
            continue
        found = re.findall(r"^baseurl\s*=\s*(\S+)", section, re.MULTILINE)
        if uri.rstrip("/") in (address.rstrip("/") for address in found):
            return True
    return False


class Source:
    """A key file and a repository file and what is asked of them."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module, self.params = module, module.params
        self.folder = pathlib.Path(self.params["folder"] or FOLDERS[self.find_manager()])
        self.keyring = pathlib.Path(self.params["keys"]) / f"RPM-GPG-KEY-podsmith-{self.params['name']}"
        self.file = self.folder / f"podsmith-{self.params['name']}.repo"
        self.pinned = normalise(self.params["key_fingerprint"] or "")

    def find_manager(self) -> str:
        """The system's package manager."""
        root = Root()
        release = root.read("/etc/os-release") or root.read("/usr/lib/os-release")
        found = rpm.find_manager(release, lambda name: self.module.get_bin_path(name) is not None)
        if found is None:
            self.fail("This system has neither dnf nor zypper, which read a repository of rpm packages.")
        return str(found)

    def fail(self, msg: str) -> NoReturn:
        """Fail in one sentence."""
        self.module.fail_json(msg=msg)
        raise SystemExit(1)

    def rpm(self, *words: str) -> tuple[int, str, str]:
        """Run rpm in plain English."""
        rc, out, err = self.module.run_command(["rpm", *words], environ_update=rpm.ENVIRONMENT)
        return rc, out, err

    def trusted(self) -> list[str]:
        """The entries of rpm's database that are the pinned key: named by its last eight digits, since rpm 6 by all."""
        _rc, out, _err = self.rpm("--query", "gpg-pubkey", "--queryformat", KEYS)
        rows = (line.split("\t") for line in out.splitlines() if "\t" in line)
        return [entry for entry, version in rows if len(version) >= 8 and self.pinned.endswith(version.upper())]

    def make_present(self) -> None:
        """Write and import what is missing."""
        uri, before = self.params["uri"], self.read(self.file)
        for path in sorted(self.folder.glob("*.repo")):
            if path != self.file and names_uri(self.read(path), uri):
                self.exit(changed=False, source=str(path), keyring=None, listed=True)
        must_fetch, must_import = not has_key(self.keyring, self.pinned), not self.trusted()
        imported = must_import or IMPORTED in before
        text = render_source(self.params["name"], uri, str(self.keyring), imported=imported)
        key = self.fetch() if must_fetch else b""
        changed = must_fetch or must_import or text != before
        if not self.module.check_mode:
            if must_fetch:
                replace_file(self.keyring, key, mode=0o644)
            if must_import:
                rc, out, err = self.rpm("--import", str(self.keyring))
                if rc:
                    self.fail(f"rpm could not import {self.keyring}: {rpm.told(err or out)}.")
            if text != before:
                replace_file(self.file, text, mode=0o644)
        self.exit(
            changed=changed,
            source=str(self.file),
            keyring=str(self.keyring),
            listed=not (self.module.check_mode and changed),
            diff={"before": before, "after": text, "before_header": str(self.file), "after_header": str(self.file)},
        )

    def fetch(self) -> bytes:
        """The key, or a failure in one sentence."""
        seconds, hint = self.params["timeout"], self.params["hint"]
        try:
            return fetch_key(self.params["key_url"], self.pinned, seconds=seconds, what="rpm", hint=hint)
        except KeyRefusedError as error:
            self.fail(str(error))

    def make_absent(self) -> None:
        """Remove both files and the key that was imported here, unless an installed package needs them."""
        there = [path for path in (self.file, self.keyring) if path.exists()]
        used_by = self.users() if there and self.params["unless_used"] else []
        if there and not used_by and not self.module.check_mode:
            self.pinned = self.pinned or self.own_fingerprint()
            if IMPORTED in self.read(self.file) and (keys := self.trusted()):
                rc, out, err = self.rpm("--erase", *keys)
                if rc:
                    self.fail(f"rpm could not remove the key {' '.join(keys)}: {rpm.told(err or out)}.")
            for path in there:
                path.unlink()
        self.exit(
            changed=bool(there) and not used_by,
            source=str(self.file),
            keyring=str(self.keyring),
            listed=bool(used_by),
            used_by=used_by,
        )

    def own_fingerprint(self) -> str:
        """That of the key file, which was compared when it was written; empty where there is none."""
        try:
            return " ".join(fingerprints(self.keyring.read_bytes()))
        except (OSError, KeyFileError):
            return ""

    def users(self) -> list[str]:
        """The installed packages that came from NVIDIA's repository."""
        rc, out, err = self.rpm("--query", "--all", "--queryformat", rpm.QUERY)
        if rc:
            self.fail(f"rpm could not list what is installed: {rpm.told(err or out)}; see whether rpm -qa works.")
        return rpm.list_from_nvidia(rpm.parse_installed(out))

    def read(self, path: pathlib.Path) -> str:
        """The text of a file; empty where it is missing."""
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

    def exit(self, **result: Any) -> NoReturn:
        """Return what was done."""
        self.module.exit_json(**result)
        raise SystemExit(0)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "uri": {"type": "str"},
            "key_url": {"type": "str", "no_log": False},
            "key_fingerprint": {"type": "str", "no_log": False},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "unless_used": {"type": "bool", "default": False},
            "folder": {"type": "path"},
            "keys": {"type": "path", "default": "/etc/pki/rpm-gpg", "no_log": False},
            "timeout": {"type": "int", "default": 30},
            "hint": {"type": "str", "default": "check key_url"},
        },
        required_if=[("state", "present", ["uri", "key_url", "key_fingerprint"])],
        supports_check_mode=True,
    )
    source = Source(module)
    if module.params["state"] == "present":
        source.make_present()
    else:
        source.make_absent()


if __name__ == "__main__":
    main()
