# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One line of a shell's start-up file as its commands and words, each with its place: what an edit of it needs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ansible_collections.podsmith.gpu.plugins.module_utils._host.shell import (
    COMMENT,
    OPERATOR,
    REDIRECTION,
    find_end,
    split_tokens,
)

RESERVED = {"if", "then", "elif", "else", "while", "until", "do", "{", "!", "time"}  # a command follows
DECLARING = {"export", "declare", "typeset", "readonly", "local"}
ASSIGNMENT = re.compile(r"(?P<name>[A-Za-z_]\w*)(?P<sign>\+?=)")


class UnclosedError(Exception):
    """A quote or a bracket of this line is closed on another line."""


@dataclass(frozen=True)
class Word:
    """A word, an operator or a redirection, as it stands in the line, and its place."""

    start: int
    end: int
    text: str
    is_redirection: bool = False


@dataclass
class Command:
    """A simple command. ``before`` and ``after`` are the operators around it, None at the line's ends.

    ``opened``: a reserved word such as ``then`` stands right before it. ``continued``: a backslash ends the line in it.
    """

    before: Word | None = None
    after: Word | None = None
    opened: bool = False
    continued: bool = False
    words: list[Word] = field(default_factory=list)

    @property
    def arguments(self) -> list[Word]:
        """The words that may be assignments: all of them, or those after ``export`` and its kind; none elsewhere.

        ``A=1 program`` sets a variable for one program alone.
        """
        words = self.without_redirections()
        if words and words[0].text in DECLARING:
            return [word for word in words[1:] if not word.text.startswith("-")]
        return words if all(ASSIGNMENT.match(word.text) for word in words) else []

    def without_redirections(self) -> list[Word]:
        """The words without ``2>/dev/null`` and its kind."""
        return [word for word in self.words if not word.is_redirection]


def parse_line(text: str) -> tuple[list[Command], int]:
    """The simple commands of a line, and where its comment starts, or its length.

    Raises UnclosedError where a quote or a bracket is left open.
    """
    commands, current, end = [], Command(), len(text)
    for token in split_tokens(text):
        if not token.is_closed:
            raise UnclosedError(token.text)
        word = Word(token.begin, token.end, text[token.begin : token.end], token.kind == REDIRECTION)
        if token.kind == COMMENT or text[token.begin :].strip() == "\\":
            current.continued = token.kind != COMMENT
            end = token.begin
            break
        if token.kind == OPERATOR:
            current.after = word
            commands.append(current)
            current = Command(before=word)
        elif not current.words and word.text in RESERVED:
            current.opened = True
        else:
            current.words.append(word)
    commands.append(current)
    return commands, end


def skip_unit(text: str, at: int) -> int:
    """The end of what starts at ``at``: a character, an escaped one, a quoted part, an expansion.

    Raises UnclosedError.
    """
    end, is_closed = find_end(text, at)
    if not is_closed:
        raise UnclosedError(text[at:])
    return end
