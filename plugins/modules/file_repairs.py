#!/usr/bin/python

# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: file_repairs
short_description: Take settings that break CUDA out of files of others
version_added: 1.0.0
author: Podsmith developers (@podsmith)
description:
  - Takes folders, libraries and variables that break CUDA out of start-up files, C(/etc/environment), the configuration
    of the dynamic loader and C(/etc/ld.so.preload). What else a line sets stays; a line that sets nothing else goes.
  - Runs C(ldconfig) where a file of the loader's configuration was changed, and where only its cache is out of date.
  - Each file is copied to C(<path>.podsmith-backup) before its first change, and to C(<path>.podsmith-backup.1) and so
    on where that name holds another text.
  - A line that has changed since it was observed is left as it is, with a warning. A file that is not a regular one,
    that is a link out of the user's home or C(/etc), or that belongs to another user is not touched, and neither is a
    line from which the setting cannot be taken by itself; the module then fails after all other repairs.
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
  repairs:
    description: What to take out, as the plan lists it.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The file. V(/etc/ld.so.cache) asks for C(ldconfig) alone.
        type: path
        required: true
      line:
        description: The line, compared without the space around it.
        type: str
        default: ''
      number:
        description: The line's number in the file, from 1.
        type: int
        default: 0
      variable:
        description: The variable that the line sets; empty in the loader's own files.
        type: str
        default: ''
      values:
        description: The folders or libraries that are to go. Of a variable that is no list the whole assignment goes.
        type: list
        elements: str
        default: []
      kind:
        description: The kind of the conflict, which changes nothing here.
        type: str
        default: ''
  history:
    description: JSON file to which an entry with the changed paths is added if anything has changed.
    type: path
  sysroot:
    description: Where the host's files lie; another folder than V(/) is that of a host that does not run.
    type: path
    default: /
"""

EXAMPLES = r"""
- name: Take a compat folder out of a start-up file
  podsmith.gpu.file_repairs:
    repairs:
      - path: /root/.bashrc
        number: 12
        line: export LD_LIBRARY_PATH=/usr/local/cuda/compat:$LD_LIBRARY_PATH
        variable: LD_LIBRARY_PATH
        values: [/usr/local/cuda/compat]
"""

RETURN = r"""
paths:
  description: What has changed, or would have in check mode, C(/etc/ld.so.cache) where C(ldconfig) ran.
  returned: always
  type: list
  elements: str
  sample: [/root/.bashrc.podsmith-backup, /root/.bashrc]
left:
  description: What was not taken out, and why.
  returned: always
  type: list
  elements: dict
  contains:
    path:
      description: The file.
      type: str
      returned: always
    line:
      description: The line.
      type: str
      returned: always
    because:
      description: Why it was left.
      type: str
      returned: always
"""

import os
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podsmith.gpu.plugins.module_utils._host.child import start_command
from ansible_collections.podsmith.gpu.plugins.module_utils._host.history import add_entry
from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root, find_home
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.driver import read_loaded
from ansible_collections.podsmith.gpu.plugins.module_utils._repair.files import (
    Left,
    Repair,
    free_backup,
    repair_text,
    why_not_touch,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._repair.lines import CACHE, FOLDERS, form_of
from ansible_collections.podsmith.gpu.plugins.module_utils._repair.loader import Loader, LoaderError

HISTORY = 200  # entries that are kept
SHELL_TIMEOUT = 10.0  # seconds for a shell to read a file without running it

SPEC: dict[str, Any] = {
    "repairs": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "path": {"type": "path", "required": True},
            "line": {"type": "str", "default": ""},
            "number": {"type": "int", "default": 0},
            "variable": {"type": "str", "default": ""},
            "values": {"type": "list", "elements": "str", "default": []},
            "kind": {"type": "str", "default": ""},
        },
    },
    "history": {"type": "path"},
    "sysroot": {"type": "path", "default": "/"},
}


class Host:
    """Repairs a host, or in check mode only says what it would change."""

    def __init__(self, module: AnsibleModule) -> None:
        """Start with nothing changed."""
        self.module = module
        self.root = Root(module.params["sysroot"])
        self.paths: list[str] = []
        self.diffs: list[dict[str, str]] = []
        self.left: list[Left] = []

    def repair_file(self, path: str, repairs: list[Repair]) -> None:
        """Take out of one file what is to go, after a copy of it."""
        because = why_not_touch(self.root, path, find_home(os.environ))
        if because:
            self.left += [Left(repair, because) for repair in repairs]
            return
        file = Path(self.root.path + self.root.real(path))
        text = read(file)
        new, made, left = repair_text(text, repairs, lambda each: self.parses(path, each))
        self.left += left
        if not made:
            return
        backup = free_backup(file, text)
        if backup:
            if not self.module.check_mode:
                copy(backup, text, file.stat())
            self.note(str(backup)[len(self.root.path) :], "", text)
        if not self.module.check_mode:
            self.replace(file, new)
        self.note(path, text, new)

    def note(self, name: str, before: str, after: str) -> None:
        """Remember a change."""
        self.paths.append(name)
        self.diffs.append({"before_header": name, "after_header": name, "before": before, "after": after})

    def replace(self, file: Path, text: str) -> None:
        """Give a file this text in one step; its mode and its owner stay. One that is mounted is written in place."""
        descriptor, temporary = tempfile.mkstemp(dir=self.module.tmpdir)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
            stream.write(text)
        try:
            self.module.atomic_move(temporary, str(file), unsafe_writes=True)
        except OSError:
            raise
        except Exception as error:  # as it raises it, with the system's own as the cause
            cause: BaseException | None = error.__cause__ or error
            number = cause.errno if isinstance(cause, OSError) else None
            raise OSError(number, os.strerror(number) if number else str(error), str(file)) from error

    def parses(self, path: str, text: str) -> bool | None:
        """Whether the shell of a start-up file can read a text; None where that shell is not here."""
        name = "zsh" if "zsh" in Path(path).name else "bash"
        shell = self.module.get_bin_path(name)
        if not shell:
            return None
        file = Path(self.module.tmpdir, f"read-by-{name}")
        file.write_text(text, encoding="utf-8", errors="surrogateescape")
        return start_command([shell, "-n", str(file)], {"HOME": "/"}, SHELL_TIMEOUT).result().code == 0

    def refresh(self, *, is_stale: bool) -> None:
        """Run ldconfig. Raises LoaderError.

        :param is_stale: only the cache is out of date, and files were not changed.
        """
        ldconfig = self.module.get_bin_path("ldconfig", opt_dirs=["/sbin", "/usr/sbin"])
        if not ldconfig:
            raise LoaderError("ldconfig is not installed")
        if os.geteuid() != 0:
            raise LoaderError("ldconfig needs root")
        check = self.module.check_mode
        changed = Loader(ldconfig, self.root).refresh(read_loaded(self.root).version, check=check)
        if changed or (check and not is_stale):
            self.note(CACHE, "\n".join(changed), "")

    def record(self, path: str) -> None:
        """Add what has changed to the history."""
        file = Path(self.root.at(path))
        before = read(file) if file.is_file() else None
        after = add_entry(before, {"action": "repair"}, self.paths, HISTORY)
        self.paths.append(path)
        if self.module.check_mode:
            return
        file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=self.module.tmpdir)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(after)
        Path(temporary).chmod(0o644)
        self.module.atomic_move(temporary, str(file))


def copy(path: Path, text: str, like: os.stat_result) -> None:
    """Write a new file that nobody may read who may not read the other one. Raises OSError, also where it is there."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
        stream.write(text)
        if os.geteuid() == 0:
            os.fchown(descriptor, like.st_uid, like.st_gid)
        os.fchmod(descriptor, like.st_mode & 0o7777)


def read(path: Path) -> str:
    """The text of a file; bytes that are no UTF-8 survive it. Raises OSError."""
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
        return stream.read()


def read_repairs(rows: list[dict[str, Any]]) -> dict[str, list[Repair]]:
    """The repairs of lines, by file."""
    found: dict[str, list[Repair]] = {}
    for row in rows:
        if row["path"] != CACHE:
            repair = Repair(row["path"], row["line"], row["number"], row["variable"], tuple(row["values"]))
            found.setdefault(repair.path, []).append(repair)
    return found


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    host, rows = Host(module), module.params["repairs"]
    failures = []
    for path, repairs in read_repairs(rows).items():
        try:
            host.repair_file(path, repairs)
        except OSError as error:
            found = f"{error.filename or path} cannot be changed ({error.strerror})"
            failures.append(f"{found}; make it writable for this user, or remove the lines by hand.")
    try:
        is_touched = any(form_of(path) == FOLDERS for path in host.paths)
        if is_touched or any(row["path"] == CACHE for row in rows):
            host.refresh(is_stale=not is_touched)
    except LoaderError as error:
        failures.append(f"The loader's cache is as it was: {error}. Run ldconfig as root.")
    if host.paths and module.params["history"]:
        host.record(module.params["history"])
    told = [(left, f"{left.repair.path}: {left.because}") for left in host.left]
    for left, text in told:
        if left.is_gone:
            module.warn(f"{text}; it was left as it is.")
    failures += [f"{text}; remove it by hand: {left.repair.line.strip()}" for left, text in told if not left.is_gone]
    result = {
        "changed": bool(host.paths),
        "paths": host.paths,
        "diff": host.diffs,
        "left": [{"path": left.repair.path, "line": left.repair.line, "because": left.because} for left in host.left],
    }
    if failures:
        module.fail_json(msg=" ".join(failures), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
