#!/usr/bin/python
# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: apt_source
short_description: Add a package repository to apt, its key pinned by fingerprint
version_added: 1.0.0
description:
  - Fetches the repository's key, compares its fingerprint with the pinned one before anything trusts it, and writes key
    and source file.
  - The key is trusted for this repository alone. Needs neither gpg nor python3-debian on the host.
  - Where another source of the host names the same address already, such as that of a CUDA image, nothing is written,
    because apt refuses one address with two keys.
  - Does not run C(apt-get update); RV(listed) says whether apt knows the repository's packages.
author:
  - Podsmith developers (@podsmith)
options:
  name:
    description: Name of the key file and the source file.
    type: str
    required: true
  uri:
    description: Address of the repository.
    type: str
  suite:
    description: Suite, or a path that ends in a slash.
    type: str
    default: /
  components:
    description: Components; none for a suite that is a path.
    type: list
    elements: str
    default: []
  key_url:
    description: Address of the key.
    type: str
  key_fingerprint:
    description: Fingerprint that the key must have; blanks do not matter.
    type: str
  state:
    description: V(absent) removes the key file and the source file.
    type: str
    choices: [present, absent]
    default: present
  unless_used:
    description: With O(state=absent), whether both files stay while a package is installed that came from NVIDIA's
      repository; RV(used_by) names such packages.
    type: bool
    default: false
  folder:
    description: apt's configuration folder.
    type: path
    default: /etc/apt
  lists:
    description: Folder in which apt keeps what repositories have.
    type: path
    default: /var/lib/apt/lists
  status:
    description: File in which dpkg keeps what is installed.
    type: path
    default: /var/lib/dpkg/status
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
    description: Fetches and checks the key, writes nothing.
  diff_mode:
    support: full
    description: Shows the source file before and after.
"""

EXAMPLES = r"""
- name: Add NVIDIA's repository
  podsmith.gpu.apt_source:
    name: cuda
    uri: https://developer.download.nvidia.com/compute/cuda/repos/ubuntu2404/x86_64/
    key_url: https://developer.download.nvidia.com/compute/cuda/repos/ubuntu2404/x86_64/3bf863cc.pub
    key_fingerprint: EB69 3B30 35CD 5710 E231 E123 A4B4 6996 3BF8 63CC
"""

RETURN = r"""
source:
  description: The source file, or the one that named the address before.
  type: str
  returned: always
keyring:
  description: The key file; nothing where another source of the host is used.
  type: str
  returned: always
listed:
  description: Whether apt knows what this repository has.
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

from ansible_collections.podsmith.gpu.plugins.module_utils._host.apt import list_from_nvidia
from ansible_collections.podsmith.gpu.plugins.module_utils._host.key import (
    KeyRefusedError,
    fetch_key,
    has_key,
    normalise,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._host.openpgp import dearmor
from ansible_collections.podsmith.gpu.plugins.module_utils._host.write import replace_file


def render_source(uri: str, suite: str, components: list[str], keyring: str) -> str:
    """The source file, in the format of sources.list(5), DEB822-style."""
    lines = ["# Written by podsmith.gpu", "Types: deb", f"URIs: {uri}", f"Suites: {suite}"]
    lines += [f"Components: {' '.join(components)}"] if components else []
    return "\n".join([*lines, f"Signed-By: {keyring}"]) + "\n"


def names_uri(text: str, uri: str) -> bool:
    """Whether a source file, of either format, has an entry in force for this address."""
    words = [
        word.rstrip("/")
        for line in text.splitlines()
        if not line.lstrip().startswith("#")
        for word in re.split(r"\s+", line)
    ]
    return uri.rstrip("/") in words and not re.search(r"^Enabled:\s*no", text, re.MULTILINE | re.IGNORECASE)


def list_prefix(uri: str) -> str:
    """How the names of apt's list files of a repository begin."""
    return re.sub(r"^[a-z+]+:/*", "", uri).rstrip("/").replace("_", "%5f").replace("/", "_").lstrip("_")


def find_other(folder: pathlib.Path, own: pathlib.Path, uri: str) -> pathlib.Path | None:
    """Another source file of the host that names the address."""
    parts = folder / "sources.list.d"
    for path in [folder / "sources.list", *sorted(parts.glob("*.list")), *sorted(parts.glob("*.sources"))]:
        if path != own and path.is_file() and names_uri(path.read_text(encoding="utf-8", errors="replace"), uri):
            return path
    return None


class Source:
    """A key file and a source file and what is asked of them."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module, self.params = module, module.params
        self.folder = pathlib.Path(self.params["folder"])
        self.keyring = self.folder / "keyrings" / f"podsmith-{self.params['name']}.gpg"
        self.file = self.folder / "sources.list.d" / f"podsmith-{self.params['name']}.sources"
        self.pinned = normalise(self.params["key_fingerprint"] or "")

    def has_key(self) -> bool:
        """Whether the key is there and is the pinned one."""
        return has_key(self.keyring, self.pinned)

    def fetch_key(self) -> bytes:
        """The key in its binary form, or a failure in one sentence."""
        seconds, hint = self.params["timeout"], self.params["hint"]
        try:
            return dearmor(fetch_key(self.params["key_url"], self.pinned, seconds=seconds, what="apt", hint=hint))
        except KeyRefusedError as error:
            self.fail(str(error))

    def fail(self, msg: str) -> NoReturn:
        """Fail in one sentence."""
        self.module.fail_json(msg=msg)
        raise SystemExit(1)

    def make_present(self) -> None:
        """Write what is missing."""
        uri = self.params["uri"]
        other = find_other(self.folder, self.file, uri)
        if other:
            self.exit(changed=False, source=str(other), keyring=None)
        text = render_source(uri, self.params["suite"], self.params["components"], str(self.keyring))
        before = self.file.read_text(encoding="utf-8") if self.file.is_file() else ""
        must_fetch = not self.has_key()
        key = self.fetch_key() if must_fetch else b""
        if not self.module.check_mode:
            if must_fetch:
                replace_file(self.keyring, key, mode=0o644)
            if text != before:
                replace_file(self.file, text, mode=0o644)
        self.exit(
            changed=must_fetch or text != before,
            source=str(self.file),
            keyring=str(self.keyring),
            diff={"before": before, "after": text, "before_header": str(self.file), "after_header": str(self.file)},
        )

    def make_absent(self) -> None:
        """Remove both files, unless an installed package needs them."""
        there = [path for path in (self.file, self.keyring) if path.exists()]
        used_by = self.users() if there and self.params["unless_used"] else []
        there = [] if used_by else there
        if not self.module.check_mode:
            for path in there:
                path.unlink()
        self.exit(changed=bool(there), source=str(self.file), keyring=str(self.keyring), used_by=used_by)

    def users(self) -> list[str]:
        """The installed packages that came from NVIDIA's repository; none on a system without dpkg."""
        status = pathlib.Path(self.params["status"])
        return list_from_nvidia(status.read_text(encoding="utf-8", errors="replace") if status.is_file() else "")

    def exit(self, **result: Any) -> NoReturn:
        """Return what was done."""
        uri = self.params["uri"]
        listed = bool(uri) and any(pathlib.Path(self.params["lists"]).glob(f"*{list_prefix(uri)}_*Packages*"))
        self.module.exit_json(listed=listed, **result)
        raise SystemExit(0)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "uri": {"type": "str"},
            "suite": {"type": "str", "default": "/"},
            "components": {"type": "list", "elements": "str", "default": []},
            "key_url": {"type": "str", "no_log": False},
            "key_fingerprint": {"type": "str", "no_log": False},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "folder": {"type": "path", "default": "/etc/apt"},
            "unless_used": {"type": "bool", "default": False},
            "lists": {"type": "path", "default": "/var/lib/apt/lists"},
            "status": {"type": "path", "default": "/var/lib/dpkg/status"},
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
