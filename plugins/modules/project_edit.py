#!/usr/bin/python
# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: project_edit
short_description: Edit a project's files after a copy, and lock it again with its own manager
version_added: 1.0.0
description:
  - Copies the files first, writes the new texts, and calls the manager's own command, which writes the lock file.
    If that command fails, all files are restored.
  - Records the first copy of each file, which O(state=absent) restores. A file that somebody else has changed
    since is not restored.
author:
  - Podsmith developers (@podsmith)
options:
  path:
    description: The project's folder.
    type: path
    required: true
  folder:
    description: Folder for the copies and the record of them, as M(podsmith.gpu.project_facts) returns it.
    type: path
    required: true
  files:
    description: Files to write, in the project's folder.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the file.
        type: str
        required: true
      content:
        description: Its new text.
        type: str
        required: true
  lock:
    description: Name of the lock file that the command writes.
    type: str
  unlock:
    description:
      - Packages to remove from the lock file before the command runs, so that it chooses them again and keeps the rest.
        Poetry refuses to lock a project whose lock file names a source that is gone.
    type: list
    elements: str
    default: []
  command:
    description: The command, with its arguments.
    type: list
    elements: str
    default: []
  variables:
    description: Environment variables for the command, in addition to those of the task.
    type: dict
    default: {}
  forget:
    description: Whether this edit removes what an earlier one added, so that no record of it is kept; copies stay.
    type: bool
    default: false
  timeout:
    description: Seconds that the command may take.
    type: int
    default: 1800
  state:
    description: V(absent) restores the first copies.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    support: full
    description: Shows the new texts; what the command would write is not known in advance.
  diff_mode:
    support: full
    description: Shows each file before and after.
"""

EXAMPLES = r"""
- name: Add PyTorch's index to a project and lock it again
  podsmith.gpu.project_edit:
    path: /srv/app
    folder: /opt/podsmith/projects/app-0123abcd
    files:
      - name: pyproject.toml
        content: "{{ text }}"
    lock: uv.lock
    command: [/usr/local/bin/uv, lock]
"""

RETURN = r"""
paths:
  description: The files that have changed.
  type: list
  elements: str
  returned: always
copies:
  description: Folder of the copies of this change.
  type: str
  returned: when something was copied
output:
  description: Output of the command.
  type: str
  returned: when it ran
"""

import hashlib
import json
import pathlib
import re
import shutil
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podsmith.gpu.plugins.module_utils._host.pip import mask
from ansible_collections.podsmith.gpu.plugins.module_utils._host.write import replace_file
from ansible_collections.podsmith.gpu.plugins.module_utils._project.project import without_packages

LIMIT = 600  # characters of the command's own words in an error
TIMED_OUT = 124  # how timeout says so


class Project:
    """A project whose files are edited together or not at all."""

    def __init__(self, module: AnsibleModule) -> None:
        """Read the files and the notes."""
        self.module, self.params = module, module.params
        self.path, self.folder = pathlib.Path(module.params["path"]), pathlib.Path(module.params["folder"])
        self.notes: dict[str, dict[str, Any]] = self.read_notes()

    @property
    def notes_path(self) -> pathlib.Path:
        """The file of the notes."""
        return self.folder / "state.json"

    def read_notes(self) -> dict[str, dict[str, Any]]:
        """What earlier edits left."""
        try:
            return dict(json.loads(self.notes_path.read_text(encoding="utf-8"))["files"])
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def read(self, name: str) -> bytes | None:
        """A file of the project."""
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes | None) -> None:
        """Replace a file of the project in one step, with the mode it has, or remove it."""
        path = (self.path / name).resolve()
        if content is None:
            path.unlink(missing_ok=True)
            return
        mode = path.stat().st_mode & 0o7777 if path.exists() else 0o644
        replace_file(path, content, mode=mode)

    def copy(self, before: dict[str, bytes | None]) -> pathlib.Path:
        """Copy files, into a folder that is named for what is in them: the same files are copied once."""
        digest = hashlib.sha256(repr(sorted(before.items())).encode()).hexdigest()[:12]
        target = self.folder / digest
        target.mkdir(parents=True, exist_ok=True)
        for name, content in before.items():
            if content is not None and not (target / name).exists():
                (target / name).write_bytes(content)
        return target

    def present(self) -> None:
        """Copy, write, lock; put all back where the lock fails."""
        texts = {row["name"]: row["content"].encode("utf-8", "surrogateescape") for row in self.params["files"]}
        names = [*texts, *([self.params["lock"]] if self.params["lock"] else [])]
        before = {name: self.read(name) for name in names}
        changed = [name for name, content in texts.items() if before[name] != content]
        if not changed and not self.params["command"]:
            self.module.exit_json(changed=False, paths=[])
        if self.module.check_mode:
            diff = [self.diff(name, before[name], texts[name]) for name in changed]
            paths = [str(self.path / name) for name in dict.fromkeys([*changed, *names[len(texts) :]])]
            self.module.exit_json(changed=True, paths=paths, diff=diff)
        copies = self.copy(before)
        for name in changed:
            self.write(name, texts[name])
        locked = before.get(self.params["lock"] or "")
        if locked is not None and self.params["unlock"]:
            text = locked.decode("utf-8", "surrogateescape")
            less = without_packages(text, self.params["unlock"])
            self.write(self.params["lock"], less.encode("utf-8", "surrogateescape"))
        output = self.lock(before)
        after = {name: self.read(name) for name in names}
        changed = [name for name in names if before[name] != after[name]]
        for name in changed:
            self.note(name, before[name], after[name], copies)
        if self.params["forget"]:
            self.notes_path.unlink(missing_ok=True)
        else:
            self.write_notes()
        self.module.exit_json(
            changed=bool(changed),
            paths=[str(self.path / name) for name in changed],
            copies=str(copies),
            output=mask(output)[-LIMIT:],
            diff=[self.diff(name, before[name], after[name]) for name in changed],
        )

    def lock(self, before: dict[str, bytes | None]) -> str:
        """Call the manager; a failure leaves nothing behind."""
        argv = list(self.params["command"])
        if not argv:
            return ""
        if pathlib.Path(argv[0]).name == "poetry" and self.is_old_poetry(argv[0]):
            argv.append("--no-update")  # which is what lock does since Poetry's second major
        limit = ["timeout", str(self.params["timeout"])] if shutil.which("timeout") else []
        variables = {"UV_PYTHON_DOWNLOADS": "never", "NO_COLOR": "1", "POETRY_NO_INTERACTION": "1"}
        variables.update({str(name): str(value) for name, value in self.params["variables"].items()})
        rc, out, err = self.module.run_command([*limit, *argv], cwd=str(self.path), environ_update=variables)
        if rc == 0:
            return str(out + err)
        for name, content in before.items():
            self.write(name, content)
        words = " ".join(mask(err + out).split())[-LIMIT:] or f"it exited with status {rc}"
        if rc == TIMED_OUT:
            words = f"it did not finish within {self.params['timeout']} s"
        self.module.fail_json(
            msg=f"{' '.join(argv)} in {self.path} failed: {words}. All files were restored; check that "
            "PyTorch's index can be reached from this host and has a release that the project allows.",
            paths=[],
        )
        raise SystemExit(1)

    def is_old_poetry(self, path: str) -> bool:
        """Whether ``poetry lock`` would bring every package up to date."""
        _rc, out, _err = self.module.run_command([path, "--version"], cwd=str(self.path))
        found = re.search(r"(\d+)\.\d", out)
        return bool(found) and int(found[1] if found else 0) < 2  # the major that changed it

    def note(self, name: str, before: bytes | None, after: bytes | None, copies: pathlib.Path) -> None:
        """Remember what a file was before we first touched it, and what it is now."""
        known, edited = self.notes.get(name), sha256(after) if after is not None else None
        if known is None:
            original = str(copies / name) if before is not None else None
            self.notes[name] = {"original": original, "created": before is None, "edited": edited}
        elif before is not None and known.get("edited") == sha256(before):
            known["edited"] = edited
        else:  # somebody else has changed it in between: no copy is what it would be without us
            self.notes[name] = {"original": None, "created": False, "edited": edited}

    def write_notes(self) -> None:
        """Write the notes."""
        content = {"path": str(self.path), "files": self.notes}
        replace_file(self.notes_path, json.dumps(content, indent=1, sort_keys=True) + "\n")

    def absent(self) -> None:
        """Go back to what the files were, where nobody else has changed them since."""
        diff: list[dict[str, str]] = []
        paths: list[str] = []
        for name, row in sorted(self.notes.items()):
            before = self.read(name)
            mixed = not row.get("original") and not row.get("created")
            if mixed or before is None or sha256(before) != row.get("edited"):
                continue
            original = pathlib.Path(row["original"]) if row.get("original") else None
            if original is not None and not original.is_file():
                self.module.fail_json(
                    msg=f"{original}, the copy of {self.path / name}, is gone; restore the file by hand, "
                    f"then remove {self.notes_path}.",
                    paths=paths,
                )
            after = original.read_bytes() if original else None
            diff.append(self.diff(name, before, after))
            paths.append(str(self.path / name))
            if not self.module.check_mode:
                self.write(name, after)
        if self.notes and not self.module.check_mode:
            self.notes_path.unlink()
        self.module.exit_json(changed=bool(paths), paths=paths, diff=diff)

    def diff(self, name: str, before: bytes | None, after: bytes | None) -> dict[str, str]:
        """A file before and after."""
        path = str(self.path / name)
        texts = [(content or b"").decode("utf-8", "replace") for content in (before, after)]
        return {"before_header": path, "after_header": path, "before": texts[0], "after": texts[1]}


def sha256(content: bytes) -> str:
    """The checksum of a file's content."""
    return hashlib.sha256(content).hexdigest()


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "folder": {"type": "path", "required": True},
            "files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "content": {"type": "str", "required": True},
                },
            },
            "lock": {"type": "str"},
            "unlock": {"type": "list", "elements": "str", "default": []},
            "command": {"type": "list", "elements": "str", "default": []},
            "variables": {"type": "dict", "default": {}},
            "forget": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 1800},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    project = Project(module)
    try:
        if module.params["state"] == "absent":
            project.absent()
        else:
            project.present()
    except OSError as error:
        module.fail_json(
            msg=f"{error.filename or 'a file'} cannot be written ({error.strerror}); run as the user that owns the "
            "project, or choose a prefix that this user may write to.",
            paths=[],
        )


if __name__ == "__main__":
    main()
