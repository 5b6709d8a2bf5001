#!/usr/bin/python

# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: managed_files
short_description: Write many small files and links in one call
version_added: 1.0.0
author: Podsmith developers (@podsmith)
description:
  - Writes whole files, marked blocks at the top of files that belong to others, and links.
  - Each file and each link is replaced atomically, and only if it differs.
attributes:
  check_mode:
    description: Says what would change and changes nothing.
    support: full
  diff_mode:
    description: Shows the text of each file before and after.
    support: full
  platform:
    description: Where it runs.
    support: full
    platforms: posix
options:
  root:
    description: Folder that relative paths of O(files) start from.
    type: path
  files:
    description: Files and blocks.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The file; its folder is made where it is missing.
        type: str
        required: true
      content:
        description: The whole text of the file, or with O(files[].block) the lines between the markers.
        type: str
        default: ''
      mode:
        description: Mode of a file of ours. A file that holds a block keeps the mode it has.
        type: str
        default: '0644'
      block:
        description: Keep O(files[].content) at the top of the file between two marker lines and all the rest as it is.
        type: bool
        default: false
      state:
        description: V(absent) removes the file or the block. A file that held a block stays, even if it is empty then.
        type: str
        choices: [present, absent]
        default: present
  links:
    description: Symbolic links.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The link.
        type: path
        required: true
      target:
        description: What it points to, as it shall stand in the link. Needed for V(present).
        type: str
      previous:
        description: A second link that keeps the last target of this one.
        type: path
      make_folder:
        description: Whether to make the link's folder where it is missing; with V(false) that is an error.
        type: bool
        default: true
      state:
        description: V(absent) removes the link. Only a link is ever removed.
        type: str
        choices: [present, absent]
        default: present
  linker_names:
    description:
      - Folders in which each C(libX.so.N) is to have the name C(libX.so) that linkers look for. A file of that
        name stays; a link is pointed at the library.
    type: list
    elements: path
    default: []
  prune:
    description: Removes old generations.
    type: dict
    suboptions:
      path:
        description: Folder that holds the generations, each named C(<number>-<name>). Nothing else in it is touched.
        type: path
        required: true
      keep:
        description: How many stay. What O(links) point to counts, and always stays.
        type: int
        required: true
  history:
    description: A list in a JSON file, to which an entry is added if anything else has changed.
    type: dict
    suboptions:
      path:
        description: The file.
        type: path
        required: true
      entry:
        description: What to add; C(time) in UTC and C(changed), a list of paths, are added to it.
        type: dict
        required: true
      keep:
        description: How many entries stay.
        type: int
        default: 200
"""

EXAMPLES = r"""
- name: Write two files, a block and a link
  podsmith.gpu.managed_files:
    root: /opt/podsmith/environments/2-torch
    files:
      - path: activate.sh
        content: "export CUDA_HOME=/usr/local/cuda\n"
      - path: /root/.bashrc
        content: ". /opt/podsmith/activate.sh\n"
        block: true
    links:
      - path: /opt/podsmith/current
        target: environments/2-torch
        previous: /opt/podsmith/previous
"""

RETURN = r"""
paths:
  description: What has changed, or would have in check mode.
  returned: always
  type: list
  elements: str
  sample: [/opt/podsmith/environments/2-torch/activate.sh]
"""

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podsmith.gpu.plugins.module_utils._host.history import add_entry
from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import with_block, without_block
from ansible_collections.podsmith.gpu.plugins.module_utils._host.write import replace_link
from ansible_collections.podsmith.gpu.plugins.module_utils._packages.links import linker_names

GENERATION = re.compile(r"(\d+)-")


def prunable(names: list[str], linked: set[str], keep: int) -> list[str]:
    """The generations to remove: all but the linked ones and, up to ``keep`` together, the newest."""
    numbered = sorted((int(match.group(1)), name) for name in names for match in [GENERATION.match(name)] if match)
    newest = [name for _number, name in reversed(numbered)]
    kept = [name for name in newest if name in linked]
    spare = [name for name in newest if name not in linked]
    return sorted(spare[max(0, keep - len(kept)) :])


class Host:
    """Changes the host, or in check mode only says what it would change."""

    def __init__(self, module: AnsibleModule) -> None:
        """Start with nothing changed."""
        self.module = module
        self.paths: list[str] = []
        self.diffs: list[dict[str, str]] = []

    def note(self, path: Path, before: str | None, after: str | None) -> None:
        """Remember a change."""
        self.paths.append(str(path))
        self.diffs.append(
            {"before_header": str(path), "after_header": str(path), "before": before or "", "after": after or ""}
        )

    def write(self, path: Path, text: str | None, mode: int | None = None) -> None:
        """Give a file this text and mode, or remove it where the text is None."""
        path = path.resolve()
        before = read(path)
        if before == text and (text is None or mode is None or path.stat().st_mode & 0o7777 == mode):
            return
        self.note(path, before, text)
        if self.module.check_mode:
            return
        if text is None:
            path.unlink()
            return
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".podsmith-")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
            stream.write(text)
        self.module.atomic_move(temporary, str(path))
        if mode is not None:
            path.chmod(mode)

    def link(self, path: Path, target: str | None, *, make_folder: bool = True) -> None:
        """Point a link at this target, or remove it where the target is None; a file or folder there is an error."""
        before = read_link(path)
        if before is None and path.exists():
            self.module.fail_json(
                msg=f"{path} is a file or folder, expected a link or nothing; move it away and run again."
            )
        if before == target:
            return
        self.note(path, before, target)
        if self.module.check_mode:
            return
        if target is None:
            path.unlink()
            return
        if make_folder:
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        elif not path.parent.is_dir():
            self.module.fail_json(
                msg=f"{path.parent} is missing, where the link {path.name} is to be; install what creates that folder"
                " first, or correct the link's path."
            )
        replace_link(path, target)

    def remove_tree(self, path: Path) -> None:
        """Remove a folder and all that is in it."""
        self.note(path, None, None)
        if not self.module.check_mode:
            shutil.rmtree(path)


def read(path: Path) -> str | None:
    """The text of a file, or None where there is none."""
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def read_link(path: Path) -> str | None:
    """What a link points to, or None where there is no link."""
    return os.fspath(path.readlink()) if path.is_symlink() else None


def apply_files(host: Host, root: str | None, files: list[dict[str, Any]]) -> None:
    """Write files and blocks."""
    for file in files:
        path, wanted, mode = Path(root or "/", file["path"]), file["state"] == "present", int(file["mode"], 8)
        if not file["block"]:
            host.write(path, file["content"] if wanted else None, mode if wanted else None)
            continue
        before = read(path)
        if wanted:
            host.write(path, with_block(before or "", file["content"]), mode if before is None else None)
        elif before is not None:
            host.write(path, without_block(before))


def apply_links(host: Host, links: list[dict[str, Any]]) -> set[str]:
    """Set the links, the memory of each first; gives the names of the generations they point to from now on."""
    linked: set[str] = set()
    for link in links:
        target = link["target"] if link["state"] == "present" else None
        before, after = read_link(Path(link["path"])), None
        if link["previous"]:
            previous = Path(link["previous"])
            after = read_link(previous) if before in {target, None} else before
            host.link(previous, after if target else None)
        host.link(Path(link["path"]), target, make_folder=link["make_folder"])
        linked.update(Path(each).name for each in (target, after) if each)
    return linked


def apply_linker_names(host: Host, folders: list[str]) -> None:
    """Give libraries the names without a version, where nothing has them yet."""
    for folder in folders:
        for name, target in linker_names(Path(folder)).items():
            path = Path(folder, name)
            if path.is_symlink() or not path.exists():
                host.link(path, target)


def apply_prune(host: Host, folder: Path, linked: set[str], keep: int) -> None:
    """Remove the generations that are neither linked nor among the newest."""
    names = [entry.name for entry in folder.iterdir() if entry.is_dir()] if folder.is_dir() else []
    for name in prunable(names, linked, keep):
        host.remove_tree(folder / name)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path"},
            "files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "str", "required": True},
                    "content": {"type": "str", "default": ""},
                    "mode": {"type": "str", "default": "0644"},
                    "block": {"type": "bool", "default": False},
                    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
                },
            },
            "links": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "path", "required": True},
                    "target": {"type": "str"},
                    "previous": {"type": "path"},
                    "make_folder": {"type": "bool", "default": True},
                    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
                },
                "required_if": [("state", "present", ["target"])],
            },
            "linker_names": {"type": "list", "elements": "path", "default": []},
            "prune": {
                "type": "dict",
                "options": {"path": {"type": "path", "required": True}, "keep": {"type": "int", "required": True}},
            },
            "history": {
                "type": "dict",
                "options": {
                    "path": {"type": "path", "required": True},
                    "entry": {"type": "dict", "required": True},
                    "keep": {"type": "int", "default": 200},
                },
            },
        },
        supports_check_mode=True,
    )
    host, params = Host(module), module.params
    try:
        apply_files(host, params["root"], params["files"])
        linked = apply_links(host, params["links"])
        apply_linker_names(host, params["linker_names"])
        if params["prune"]:
            apply_prune(host, Path(params["prune"]["path"]), linked, params["prune"]["keep"])
        if params["history"] and host.paths:
            history = params["history"]
            path = Path(history["path"])
            host.write(path, add_entry(read(path), history["entry"], host.paths, history["keep"]), 0o644)
    except OSError as error:
        found = f"{error.filename or 'a file'} cannot be changed ({error.strerror})"
        module.fail_json(msg=f"{found}; run as the user that owns it, or choose a prefix that this user may write to.")
    module.exit_json(changed=bool(host.paths), paths=host.paths, diff=host.diffs)


if __name__ == "__main__":
    main()
