# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the commands of one shell file set: assignments that outlast their line, in the file's order."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import CSH, CUDA_VARIABLES, DOLLAR, FISH
from ansible_collections.podsmith.gpu.plugins.module_utils._host.shell import Command, read_commands
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.startup_settings import (
    SEEN,
    SHELLS_FILES,
    Setting,
    SettingsReader,
)

_ASSIGNMENT = re.compile(r"(?P<name>[A-Za-z_]\w*)(?P<append>\+?)=(?P<value>.*)", re.DOTALL)


class Run:
    """One file's commands while they are gone through."""

    def __init__(self, reader: SettingsReader, file: str, lines: Sequence[str], dialect: str) -> None:
        self.reader = reader
        self.file = file
        self.lines = lines
        self.dialect = dialect
        self.functions: dict[str, list[Command]] = {}
        self.called: set[str] = set()
        self.acts: dict[str, Callable[[Command], None]] = {
            **dict.fromkeys((".", "source"), self.source),
            **dict.fromkeys(("export", "declare", "typeset", "readonly"), self.declare),
            **dict.fromkeys(("unset", "unsetenv"), self.unset),
            **dict.fromkeys(("return", "exit"), self.leave),
            "eval": self.evaluate,
            "for": self.loop,
            "set": self.set_variable,
        }
        if dialect == CSH:
            self.acts["setenv"] = self.set_environ

    def go(self, text: str) -> None:
        """Go through all of the file, functions where they are called."""
        commands = read_commands(text, self.dialect)
        for command in commands:
            if command.function:
                self.functions.setdefault(command.function, []).append(command)
        for command in commands:
            if not command.function:
                self._do(command)

    def _do(self, command: Command) -> None:
        if not command.is_lasting:
            return
        begin = 0
        while begin < len(command.words) and self.dialect != FISH and _ASSIGNMENT.match(command.words[begin]):
            begin += 1
        if begin == len(command.words):
            self._assign(command.words, command.lines)
            return
        name = command.words[begin]
        act = self.call if name in self.functions else self.acts.get(name)
        if act:  # else the assignments before it are that command's alone
            act(command._replace(words=command.words[begin:], lines=command.lines[begin:]))

    def call(self, command: Command) -> None:
        """A function of this file: once, what it sets is the same every time."""
        name = command.words[0]
        if name not in self.called:
            self.called.add(name)
            for inner in self.functions[name]:
                self._do(inner)

    def evaluate(self, command: Command) -> None:
        """``eval``, but none inside it."""
        for inner in read_commands(" ".join(command.words[1:]).replace(DOLLAR, "$"), self.dialect):
            if "eval" not in inner.words:
                self._do(inner._replace(lines=command.lines[:1] * len(inner.words), is_certain=False))

    def declare(self, command: Command) -> None:
        """``export NAME=value`` and its kind; ``export -n NAME`` takes a variable from those that programs get."""
        if command.words[:2] == ("export", "-n"):
            self.unset(command)
        else:
            self._assign(command.words[1:], command.lines[1:])

    def unset(self, command: Command) -> None:
        """A variable that is unset in a branch may be there all the same."""
        if command.is_certain and not command.function:
            for name in command.words[1:]:
                self.reader.take_back(name)

    def leave(self, _command: Command) -> None:
        """``return``: a shell that leaves here does not come to what follows, which so takes nothing back."""
        self.reader.first = len(self.reader.settings)

    def loop(self, command: Command) -> None:
        """``for NAME in …``: all values at once, as a list of folders."""
        if command.words[2:3] == ("in",):
            self.reader.known[command.words[1]] = ":".join(self.reader.expand(word) for word in command.words[3:])

    def source(self, command: Command) -> None:
        """``. FILE``."""
        if len(command.words) > 1:
            self._follow(command.words[1])

    def set_environ(self, command: Command) -> None:
        """``setenv NAME value`` of csh."""
        if len(command.words) > 1:
            self._set(command.words[1], "".join(command.words[2:3]), command.lines[1])

    def set_variable(self, command: Command) -> None:
        """``set name = value`` of csh, and all that ``set`` does in fish; another shell's sets no variable."""
        if self.dialect == CSH:
            self._assign(["".join(command.words[1:])], command.lines)
        if self.dialect != FISH:
            return
        options = [word for word in command.words[1:] if word.startswith("-")]
        rest = [word for word in command.words[1:] if word not in options]
        if any(option == "--erase" or re.fullmatch(r"-\w*e\w*", option) for option in options):
            self.unset(command._replace(words=("set", *rest)))
        elif len(rest) > 1:
            self._set(rest[0], (":" if rest[0].endswith("PATH") else " ").join(rest[1:]), command.lines[0])

    def _assign(self, words: Sequence[str], lines: Sequence[int]) -> None:
        for word, line in zip(words, lines):
            if match := _ASSIGNMENT.match(word):
                self._set(match["name"], match["value"], line, is_more=bool(match["append"]))

    def _set(self, name: str, written: str, line: int, *, is_more: bool = False) -> None:
        value = self.reader.expand(written)
        if name in SEEN:
            text = self.lines[line - 1].strip() if line <= len(self.lines) else ""
            self.reader.settings.append(Setting(self.file, line, text, name, written, value))
        if name not in CUDA_VARIABLES:
            self.reader.known[name] = self.reader.expand(f"${{{name}}}{value}") if is_more else value
        if name in SHELLS_FILES:
            self._follow(value)

    def _follow(self, word: str) -> None:
        for path in self.reader.expand(word).split(":"):
            self.reader.follow(path)
