#!/usr/bin/python
# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: collection_archive
short_description: Pack this collection for an image
version_added: 1.0.0
description:
  - Packs what the playbooks need to run, and nothing else, in the folders in which Ansible looks for the collection.
  - The same files give the same bytes, whoever packs them and when; an image is rebuilt only where one changed.
  - Runs on the controller, by delegation.
author:
  - Podsmith developers (@podsmith)
options:
  source:
    description: Folder of the collection. Needed for V(present).
    type: path
  path:
    description: The archive.
    type: path
    required: true
  state:
    description: V(absent) removes the archive, and its folder where nothing is left in it.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    description: Says whether the archive would change, and changes nothing.
    support: full
  diff_mode:
    description: Shows what would change.
    support: none
  platform:
    description: Where it runs.
    support: full
    platforms: posix
"""

EXAMPLES = r"""
- name: Pack the collection
  podsmith.gpu.collection_archive:
    source: /home/me/podsmith.gpu
    path: image/h100/collection.tar.gz
  delegate_to: localhost
"""

RETURN = r"""
files:
  description: How many files the archive holds.
  type: int
  returned: success
sha256:
  description: The archive's digest.
  type: str
  returned: when state is present
"""

import gzip
import hashlib
import io
import pathlib
import tarfile

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podsmith.gpu.plugins.module_utils._host.write import replace_file

PLACE = "collections/ansible_collections/podsmith/gpu"
FOLDERS = ("catalogue", "meta", "playbooks", "plugins", "roles")
FILES = ("COPYING", "galaxy.yml", "MANIFEST.json")


def list_files(source: pathlib.Path) -> list[pathlib.Path]:
    """The files that go along, relative to the collection, in order."""
    found = [source / name for name in FILES]
    found += [path for folder in FOLDERS for path in (source / folder).rglob("*") if path.suffix != ".pyc"]
    return sorted(path.relative_to(source) for path in found if path.is_file())


def pack(source: pathlib.Path, names: list[pathlib.Path]) -> bytes:
    """The archive's bytes: of the files' contents alone, not of their dates, owners or modes."""
    plain, packed = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in names:
            content = (source / name).read_bytes()
            member = tarfile.TarInfo(f"{PLACE}/{name.as_posix()}")
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0, filename="") as stream:
        stream.write(plain.getvalue())
    return packed.getvalue()


def remove(path: pathlib.Path, *, check: bool) -> bool:
    """Take the archive away, and its folder where that is empty then; whether it was there."""
    there = path.exists()
    if there and not check:
        path.unlink()
    if path.parent.is_dir() and not any(path.parent.iterdir()) and not check:
        path.parent.rmdir()
    return there


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "source": {"type": "path"},
            "path": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ["source"])],
        supports_check_mode=True,
    )
    path = pathlib.Path(module.params["path"])
    if module.params["state"] == "absent":
        module.exit_json(changed=remove(path, check=module.check_mode), files=0)
    source = pathlib.Path(module.params["source"])
    names = list_files(source)
    lacking = [folder for folder in FOLDERS if not any(name.parts[0] == folder for name in names)]
    if lacking:
        module.fail_json(
            msg=f"{source} lacks {', '.join(lacking)}; expected the folder of podsmith.gpu. Name it in source."
        )
    content = pack(source, names)
    changed = not path.is_file() or path.read_bytes() != content
    if changed and not module.check_mode:
        replace_file(path, content)
    module.exit_json(changed=changed, files=len(names), sha256=hashlib.sha256(content).hexdigest())


if __name__ == "__main__":
    main()
