# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What start-up files set of the variables that CUDA reads, by any form of line, in the files that they source as well.

systemd's ``environment.d`` and the environment of single units are not read: no shell and no PAM module hands them on.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import (
    CUDA_VARIABLES,
    DOLLAR,
    PAM,
    PAM_ENVIRONMENT,
    dialect_of,
    foreign_lines,
    list_pam_lines,
    without_block,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root, split_path

SEEN = (*CUDA_VARIABLES, "CUDA_HOME")
LONGEST = 4096  # characters of a value; one that grows beyond by its own doing is left as it stands
SHELLS_FILES = ("BASH_ENV", "ENV")  # what a shell that starts without files of its own reads
LIMIT = 262144  # bytes of a start-up file
SOURCED_LIMIT = 65536  # bytes of a file that another one sources; larger ones are programs, such as nvm.sh
SOURCED_DEPTH = 4
FILES_LIMIT = 100  # read of one host
PACKAGED = ("/usr/share/", "/usr/lib/")  # what packages bring to be sourced: nobody writes his settings there
OWN_MARK = "# Written by podsmith.gpu"  # the first line of an activation that somebody sources outside our block

FORMER_VALUE = re.compile(r"\$(?:LD_LIBRARY_PATH|\{LD_LIBRARY_PATH[^{}]*\})")
# What a file must have for its commands to be gone through: names, parts of values, a source that a variable names.
_TELLING = re.compile(
    r"LD_LIBRARY_PATH|LD_PRELOAD|CUDA_VISIBLE_DEVICES|CUDA_HOME|/compat|/stubs|BASH_ENV"
    r"|(?:\.|source)[ \t]+[\"']?\$\{?(?!HOME\b)[A-Z]"
)
_SOURCE = re.compile(
    r"^(?:[^#\n]*[\s;&|{(])??(?:\\?\.|source)[ \t]+[\"']?(?P<path>(?:\$HOME|\$\{HOME\})?[^\s;&|\"'`$()]+)", re.MULTILINE
)
_REFERENCE = re.compile(
    r"\$(?:(?P<name>[A-Za-z_]\w*)|\{(?P<braced>[A-Za-z_]\w*)(?P<rest>:?[-=+](?:[^{}]|\$\{[^{}]*\})*)?\})"
)
_TILDE = re.compile(r"(^|:)~/")


class Setting(NamedTuple):
    """One assignment in a start-up file that outlasts its line."""

    file: str
    line: int
    text: str  # the line as it stands, without the space around it
    name: str  # of SEEN
    written: str  # the value as it was written, without its quotes
    value: str  # with what is known put in; a "$" in it is a variable that is not known


def find_settings(root: Root, files: Iterable[str], home: str, skipped: Sequence[str] = ()) -> list[Setting]:
    """What these files set, each with those that it sources, in the order in which they are given.

    A variable that one of them sets is known in those after it.

    :param skipped: files that are not read, whoever sources them.
    """

    def read(path: str) -> str:
        is_read = path not in skipped and (root.size(path) or 0) <= SOURCED_LIMIT
        return root.read(path) if is_read else ""

    reader = SettingsReader(read, root.glob, {"HOME": home})
    reader.done.update(skipped)
    for file in files:
        if file not in reader.done:
            reader.done.add(file)
            reader.read(file, root.read(file, LIMIT))
    return reader.settings


def split_folders(value: str) -> list[str]:
    """The folders of a value of LD_LIBRARY_PATH, without its former value and what no shell puts in."""
    found = split_path(FORMER_VALUE.sub("", value).replace(";", ":"))
    return [folder for folder in found if DOLLAR not in folder]


def expand(value: str, known: Mapping[str, str]) -> str:
    """A word with the variables that are known put in; ``${NAME:-word}`` of an unknown one is its word.

    ``${NAME:+word}`` is its word too, as where NAME is set. What else is unknown stays as it was written.
    """

    def replace(match: re.Match[str]) -> str:
        name, rest = match["name"] or match["braced"], match["rest"] or ""
        sign, word = rest.lstrip(":")[:1], rest.lstrip(":")[1:].strip("\"'")
        if sign != "+" and name in known:
            return known[name]
        return expand(word, known) if sign else match.group()

    found = _REFERENCE.sub(replace, value)
    return found if len(found) <= LONGEST else value


class SettingsReader:
    """Goes through commands in their order and keeps what they set."""

    def __init__(self, read: Callable[[str], str], glob: Callable[[str], Iterable[str]], known: dict[str, str]) -> None:
        self.read_file = read
        self.glob = glob
        self.known = known
        self.settings: list[Setting] = []
        self.done: set[str] = set()
        self.first = 0  # of the settings that an unset may take back
        self.depth = 0

    def read(self, file: str, text: str) -> None:
        """Go through a file that a shell or PAM starts with."""
        self.first = len(self.settings)
        self._read(file, text)

    def _read(self, file: str, text: str) -> None:
        if not text or text.startswith(OWN_MARK):
            return
        if not _TELLING.search(text):
            for match in _SOURCE.finditer(without_block(text)):
                self.follow(self.expand(match["path"]))
            return
        lines = foreign_lines(text)
        dialect = dialect_of(file)
        if dialect == PAM:
            for line, name, value in list_pam_lines("\n".join(lines)):
                if name in SEEN:
                    literal = value.replace("$", DOLLAR) if file == PAM_ENVIRONMENT else value
                    self.settings.append(Setting(file, line, lines[line - 1].strip(), name, value, literal))
                self.known[name] = value
                if name in SHELLS_FILES:
                    self.follow(value)
            return
        # Most hosts have no such file: they do not pay for the grammar of shells, which each run would compile anew.
        from ansible_collections.podsmith.gpu.plugins.module_utils._observe.shell_settings import Run  # noqa: PLC0415

        Run(self, file, lines, dialect).go("\n".join(lines))

    def follow(self, path: str) -> None:
        """Go through a file that another one sources, where it is there and was not read yet.

        A name without a folder is one of the home, in which a session starts.
        """
        if "$" in path or DOLLAR in path or self.depth >= SOURCED_DEPTH:
            return
        path = os.path.normpath(os.path.join(self.known.get("HOME", "/"), path))
        for file in self.glob(path) if any(sign in path for sign in "*?[") else [path]:
            if file in self.done or file.startswith(PACKAGED) or len(self.done) >= FILES_LIMIT:
                continue
            self.done.add(file)
            self.depth += 1
            self._read(file, self.read_file(file))
            self.depth -= 1

    def expand(self, word: str) -> str:
        """A word with ``~`` and the variables that are known put in."""
        home = self.known.get("HOME", "~")
        return expand(_TILDE.sub(lambda match: f"{match[1]}{home}/", word), self.known)

    def take_back(self, name: str) -> None:
        """The variable is unset: what this start-up file set before is gone."""
        self.known.pop(name, None)
        kept = [setting for setting in self.settings[self.first :] if setting.name != name]
        self.settings[self.first :] = kept
