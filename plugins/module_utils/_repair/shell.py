# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One line of a shell's start-up file as its commands and words: as much of the grammar as an assignment needs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

OPERATORS = (";;", "&&", "||", ";", "&", "|", "(", ")")
RESERVED = {"if", "then", "elif", "else", "while", "until", "do", "{", "!", "time"}  # a command follows
DECLARING = {"export", "declare", "typeset", "readonly", "local"}
ASSIGNMENT = re.compile(r"(?P<name>[A-Za-z_]\w*)(?P<sign>\+?=)")
REDIRECTION = re.compile(r"\d*(?:&>>?|[<>]{1,2}[&|]?)")
PAIRS = {"(": ")", "{": "}"}


class UnclosedError(Exception):
    """A quote or a bracket of this line is closed on another line."""


@dataclass(frozen=True)
class Word:
    """A word and its place in the line."""

    start: int
    end: int
    text: str


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
        found, skip = [], False
        for word in self.words:
            match = REDIRECTION.match(word.text)
            if not match and not skip:
                found.append(word)
            skip = bool(match) and match is not None and match.end() == len(word.text)
        return found


def parse_line(text: str) -> tuple[list[Command], int]:
    """The simple commands of a line, and where its comment starts, or its length.

    Raises UnclosedError where a quote or a bracket is left open.
    """
    commands, current, at = [], Command(), 0
    while at < len(text):
        char = text[at]
        if char.isspace():
            at += 1
            continue
        if char == "#":
            break
        if char == "\\" and not text[at + 1 :].strip():
            current.continued = True
            break
        operator = next((sign for sign in OPERATORS if text.startswith(sign, at)), None)
        if operator and not text.startswith("&>", at):
            word = Word(at, at + len(operator), operator)
            current.after = word
            commands.append(current)
            current, at = Command(before=word), word.end
            continue
        end = _word_end(text, at)
        word = Word(at, end, text[at:end])
        if not current.words and word.text in RESERVED:
            current.opened = True
        else:
            current.words.append(word)
        at = end
    commands.append(current)
    return commands, at


def _word_end(text: str, at: int) -> int:
    """Where the word that starts at ``at`` ends."""
    redirection = REDIRECTION.match(text, at)
    if redirection:
        at = redirection.end()
    while at < len(text):
        char = text[at]
        if char.isspace() or char in ";&|()":
            return at
        at = skip_unit(text, at)
    return at


def skip_unit(text: str, at: int) -> int:
    """The end of what starts at ``at``: a character, an escaped one, a quoted part, an expansion.

    Raises UnclosedError.
    """
    char = text[at]
    if char == "\\":
        return min(at + 2, len(text))
    if char == "'":
        return _find(text, "'", at + 1)
    if char in '"`':
        return _skip_until(text, at + 1, char)
    if char == "$" and text[at + 1 : at + 2] in PAIRS:
        return _skip_until(text, at + 2, PAIRS[text[at + 1]])
    return at + 1


def _skip_until(text: str, at: int, end: str) -> int:
    while at < len(text):
        char = text[at]
        if char == end:
            return at + 1
        if char == "'" and end == '"':  # no quote inside of quotes
            at += 1
        elif end == ")" and char == "(":
            at = _skip_until(text, at + 1, ")")
        else:
            at = skip_unit(text, at)
    raise UnclosedError(end)


def _find(text: str, char: str, at: int) -> int:
    found = text.find(char, at)
    if found < 0:
        raise UnclosedError(char)
    return found + 1
