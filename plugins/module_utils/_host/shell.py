# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shell text as tokens and as simple commands, read without running anything: as much of the grammar as settings need.

Comments, quotes, here-documents, continued lines, compound commands, functions and subshells are followed for the
shells of POSIX's kind; of csh and fish what start-up files use. What no shell would take is read as far as it goes.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import DOLLAR, FISH, SH

WORD, OPERATOR, REDIRECTION, COMMENT = "word", "operator", "redirection", "comment"
DEEPEST = 100  # compound commands inside one another; what goes deeper is nobody's start-up file

_SPACE = re.compile(r"(?:[ \t\r\f\v]|\\\r?\n)+")
_OPERATOR = re.compile(r"\n|;;&|;;|;&|;|&&|&>>|&>|&|\|\||\|&|\||<<<|<<-|<<|>>|>\||<>|[<>]&|[<>]|\(|\)")
_ARITHMETIC = re.compile(r"\(\([^\n]{0,200}?\)\)")
_DESCRIPTOR = re.compile(r"\d+(?=[<>])")
_HERE = re.compile(r"\d*(?P<sign><<-?)(?!<)(?:[ \t\r\f\v]|\\\r?\n)*")
_BREAKS = " \t\r\f\v\n;&|<>()"
_PLAIN = re.compile(r"[^\s'\"\\$`;&|<>()]+")
_GROUP_SIGN = re.compile(r"\\.|\$\(|\$\{|[\"'`(){}]|(?<=[\s(;])#[^\n]*", re.DOTALL)
_IN_QUOTES = re.compile(r"\\([$`\"\\\n])")
_CLOSERS = {
    "fi": ("if",),
    "done": ("while", "until", "for", "select"),
    "esac": ("case",),
    "}": ("{",),
    ")": ("(",),
    "endif": ("if",),
    "endsw": ("switch",),
    "end": ("if", "while", "for", "foreach", "switch", "begin", "function"),
}
_OPENERS = {"if", "while", "until", "switch"}
_SKIPPED = {"then", "else", "elif", "do", "!", "time", "builtin", "command", "and", "or", "not"}
_CHOICES = {"if", "while", "until", "for", "foreach", "select", "case", "switch"}


class Command(NamedTuple):
    """One simple command: its words without quotes, ``$`` kept, and where it stands."""

    words: tuple[str, ...]
    lines: tuple[int, ...]  # of each word; the first line of the text is 1
    function: str  # the function whose body it is part of; empty outside
    is_lasting: bool  # not in a subshell, which takes what it sets along when it ends
    is_certain: bool  # runs whenever the text around it does: in no branch, no loop and behind no && or ||


class Token(NamedTuple):
    """A part of a text. A redirection has the word that it goes to in it."""

    kind: str  # WORD, OPERATOR, REDIRECTION or COMMENT
    text: str  # of a word without its quotes; else as it stands
    line: int  # of its begin; the first line of the text is 1
    begin: int
    end: int
    is_closed: bool = True  # not a quote or a bracket of it that nothing closes


class _Open(NamedTuple):
    """A compound command that has begun."""

    opener: str
    function: str
    is_certain: bool


def read_commands(text: str, dialect: str = SH) -> list[Command]:
    """The commands of a text in their order.

    :param dialect: ``sh`` for bash, zsh, dash and ksh, ``csh`` or ``fish``.
    """
    return _Reader(dialect).read(text)


class _Reader:
    """Puts tokens together to commands and keeps what is open."""

    def __init__(self, dialect: str) -> None:
        self.dialect = dialect
        self.commands: list[Command] = []
        self.words: list[Token] = []
        self.open: list[_Open] = []
        self.in_patterns: set[int] = set()  # depths of the cases whose next words are patterns
        self.named = ""  # of the function whose body comes next
        self.is_chained = False

    def read(self, text: str) -> list[Command]:
        for token in split_tokens(text, self.dialect):
            if len(self.open) > DEEPEST:
                return self.commands
            if token.kind == WORD:
                self._word(token)
            elif token.kind == OPERATOR:
                self._operator(token.text)
        self._end()
        return self.commands

    def _word(self, token: Token) -> None:
        if len(self.open) in self.in_patterns:
            if token.text == "esac":
                self._close("esac")
            return
        self.words.append(token)
        if token.text == "in" and len(self.words) > 2 and self.words[-3].text == "case":
            self.words = self.words[:-3]
            self._end()
            self._begin("case")
            self.in_patterns.add(len(self.open))

    def _operator(self, sign: str) -> None:
        if len(self.open) in self.in_patterns:
            if sign == ")":
                self.in_patterns.discard(len(self.open))
            return
        if sign == "(" and self.words and self.dialect == SH and _are_before(self.words[:-1]):
            name = self.words.pop().text
            self.words = [word for word in self.words if word.text != "function"]
            self._end()
            self.named = name
        elif sign == "(":
            self._end()
            self._begin("(")
        elif sign == ")":
            if self.named and not self.words and not (self.open and self.open[-1].opener == "("):
                return  # of "name ()"
            self._end()
            self._close(")")
        else:
            goes_on = self.is_chained and sign == "\n" and not self.words
            self._end()
            self.is_chained = sign in ("&&", "||", "|", "|&") or goes_on
            if sign in (";;", ";&", ";;&") and any(entry.opener == "case" for entry in self.open):
                while self.open[-1].opener != "case":
                    self.open.pop()
                self.in_patterns.add(len(self.open))

    def _begin(self, opener: str) -> None:
        function = self.open[-1].function if self.open else ""
        if self.named and opener in ("{", "(", "function"):
            function, self.named = self.named, ""
        self.open.append(_Open(opener, function, not self.is_chained and opener not in _CHOICES))

    def _close(self, closer: str) -> None:
        for depth in range(len(self.open), 0, -1):
            if self.open[depth - 1].opener in _CLOSERS[closer]:
                self.in_patterns = {known for known in self.in_patterns if known < depth}
                del self.open[depth - 1 :]
                return

    def _end(self) -> None:
        """The words so far are a command, behind what the grammar puts before it."""
        left, self.words = deque(self.words), []
        is_other_branch = False
        while left:
            text = left[0].text
            if text in _CLOSERS and (text != "end" or self.dialect != SH):
                self._close(text)
            elif text == "{" or (text == "begin" and self.dialect == FISH):
                self._begin(text)
            elif text in _OPENERS:
                if not (is_other_branch and self.dialect != SH):
                    self._begin(text)
            elif text in ("for", "foreach", "select"):
                self._begin(text)
                break  # what follows are a name and words, kept as a command of that name
            elif text == "function" and len(left) > 1:
                self.named = left[1].text
                if self.dialect == FISH:
                    self._begin("function")
                    return
                left.popleft()
            elif text == "[[":
                left = deque([left[0]])
                break
            elif text not in _SKIPPED:
                break
            is_other_branch = text == "else"
            left.popleft()
        if not left or len(self.open) > DEEPEST:
            return
        named, self.named = self.named, ""  # the body of "name () command"
        self.commands.append(
            Command(
                tuple(word.text for word in left),
                tuple(word.line for word in left),
                named or (self.open[-1].function if self.open else ""),
                all(entry.opener != "(" for entry in self.open),
                not self.is_chained and all(entry.is_certain for entry in self.open),
            )
        )


def _are_before(words: list[Token]) -> bool:
    """Whether the grammar alone has put these words before a command, or a function's name."""
    return all(word.text in _SKIPPED or word.text in _OPENERS or word.text in ("{", "function") for word in words)


def split_tokens(text: str, dialect: str = SH) -> Iterator[Token]:
    """The tokens of a text; here-documents are left out."""
    place, line = 0, 1
    waiting: list[tuple[str, bool]] = []  # marks of here-documents that begin on the next line
    while place < len(text):
        if space := _SPACE.match(text, place):
            line += space.group().count("\n")
            place = space.end()
            continue
        token = _read_token(text, place, line, dialect)
        yield token
        line += text.count("\n", place, token.end)
        place = token.end
        if token.kind == REDIRECTION and (document := _HERE.match(token.text)):
            mark = _read_word(token.text, document.end(), dialect)[0]
            if document.end() < len(token.text):
                waiting.append((mark, document["sign"] == "<<-"))
        elif token.text == "\n" and token.kind == OPERATOR:
            for mark, is_indented in waiting:
                end = _end_of_document(text, place, mark, is_indented=is_indented)
                line += text.count("\n", place, end)
                place = end
            waiting = []


def _read_token(text: str, place: int, line: int, dialect: str) -> Token:
    """The token that begins there, which is not a space."""
    if text[place] == "#":
        end = text.find("\n", place)
        end = len(text) if end < 0 else end
        return Token(COMMENT, text[place:end], line, place, end)
    if dialect == SH and (sum_ := _ARITHMETIC.match(text, place)):
        return Token(WORD, "((", line, place, sum_.end())
    descriptor = _DESCRIPTOR.match(text, place)
    operator = _OPERATOR.match(text, descriptor.end() if descriptor else place)
    if not operator or (dialect == FISH and text[place] == "("):
        word, end, is_closed = _read_word(text, place, dialect)
        return Token(WORD, word, line, place, end, is_closed)
    sign, end, is_closed = operator.group(), operator.end(), True
    if sign[0] not in "<>" and not sign.startswith("&>"):
        return Token(OPERATOR, sign, line, place, end)
    space = _SPACE.match(text, end)
    begin = space.end() if space else end
    if begin < len(text) and not _OPERATOR.match(text, begin):
        _word, end, is_closed = _read_word(text, begin, dialect)
    return Token(REDIRECTION, text[place:end], line, place, end, is_closed)


def _end_of_document(text: str, place: int, mark: str, *, is_indented: bool) -> int:
    tabs = r"\t*" if is_indented else ""
    found = re.compile(rf"^{tabs}{re.escape(mark)}$\n?", re.MULTILINE).search(text, place)
    return found.end() if found else len(text)


def _read_word(text: str, place: int, dialect: str) -> tuple[str, int, bool]:
    """The word that begins there without its quotes, where it ends, and whether all in it is closed.

    It ends at least one character on.
    """
    parts: list[str] = []
    begin, is_whole = place, True
    while place < len(text):
        if plain := _PLAIN.match(text, place):
            parts.append(plain.group())
            place = plain.end()
            continue
        sign = text[place]
        if sign == "$" and text[place + 1 : place + 2] in ("'", '"'):
            place += 1  # $'…' and $"…"
            sign = text[place]
        if sign == "(" and _takes_group(parts, dialect):
            end, is_closed = _end_of_group(text, place)
        elif sign in _BREAKS and place > begin:
            break
        else:
            end, is_closed = find_end(text, place)
        is_whole = is_whole and is_closed
        parts.append(_unquote(text[place:end], is_closed=is_closed))
        place = end
    return "".join(parts), place, is_whole


def find_end(text: str, place: int) -> tuple[int, bool]:
    """The end of what begins there, and whether it is closed: an escaped character, a quoted part, an expansion.

    Anything else is one character.
    """
    sign = text[place]
    if sign == "\\":
        return min(place + 2, len(text)), True
    if sign == "'":
        end = text.find("'", place + 1)
        return (len(text), False) if end < 0 else (end + 1, True)
    if sign in '"`' or text.startswith(("$(", "${"), place):
        return _end_of_group(text, place)
    return place + 1, True


def _takes_group(parts: list[str], dialect: str) -> bool:
    """Whether a parenthesis goes on with the word: ``name=(…)``, and in fish what a command says."""
    return dialect == FISH or (bool(parts) and parts[-1].endswith("="))


def _unquote(unit: str, *, is_closed: bool) -> str:
    """A unit as :func:`find_end` finds it, without its quotes."""
    end = len(unit) - 1 if is_closed else len(unit)
    if unit[0] == "'":
        return unit[1:end].replace("$", DOLLAR)
    if unit[0] == '"':
        return _IN_QUOTES.sub(lambda match: _unescape(match[1]), unit[1:end])
    return _unescape(unit[1:]) if unit[0] == "\\" else unit


def _unescape(sign: str) -> str:
    return "" if sign == "\n" else sign.replace("$", DOLLAR)


def _end_of_group(text: str, place: int) -> tuple[int, bool]:
    """The end of the quotes, backquotes, ``$(…)``, ``${…}`` or ``(…)`` that begin there, and whether there is one."""
    closers: list[str] = []
    while found := _GROUP_SIGN.search(text, place):
        sign, place = found.group(), found.end()
        top = closers[-1] if closers else ""
        if sign[0] == "#":
            place = place if top == ")" else found.start() + 1  # a comment, of a command or a list alone
        elif sign == top:
            closers.pop()
        elif sign == "'" and top != '"':
            end = text.find("'", place)
            place = len(text) if end < 0 else end + 1
        elif sign in ("$(", "${"):
            closers.append(")" if sign == "$(" else "}")
        elif sign in ('"', "`") or (sign == "(" and top in ("", ")")):
            closers.append(")" if sign == "(" else sign)
        if not closers:
            return place, True
    return len(text), False  # no shell runs what follows
