# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shell text as commands: each case is what bash, csh or fish makes of it."""

from __future__ import annotations

import random

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import DOLLAR
from ansible_collections.podsmith.gpu.plugins.module_utils._host.shell import (
    COMMENT,
    DEEPEST,
    OPERATOR,
    REDIRECTION,
    WORD,
    read_commands,
    split_tokens,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._repair.shell import UnclosedError, parse_line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a b; c && d || e | f & g", ["a b", "c", "d", "e", "f", "g"], id="lists"),
        pytest.param("a # b\n#c\nd#e f", ["a", "d#e f"], id="comments"),
        pytest.param("a 'b c' \"d e\" f\\ g h'i'\"j\"k", ["a|b c|d e|f g|hijk"], id="quotes"),
        pytest.param("a \"b \\\" \\$c\" '$d' \\$e $'f'", [f'a|b " {DOLLAR}c|{DOLLAR}d|{DOLLAR}e|f'], id="escapes"),
        pytest.param("a \\\n  b\nc", ["a b", "c"], id="continued-line"),
        pytest.param('a "b\nc" d', ["a|b\nc|d"], id="quotes-over-lines"),
        pytest.param(
            "a=(b\n#it's)\nc)\nd|$(\n#'\n)${f#'}'}",
            ["a=(b\n#it's)\nc)", "d", "$(\n#'\n)${f#'}'}"],
            id="comment-in-a-group",
        ),
        pytest.param("a=$(b 'c)' \"$(d ')')\") e", ["a=$(b 'c)' \"$(d ')')\")|e"], id="substitution"),
        pytest.param('a "${b:-"c d"}/e" `f "g"`', ['a|${b:-"c d"}/e|`f "g"`'], id="expansion-in-quotes"),
        pytest.param("a <<X >b\nc $( '\nX\nd", ["a", "d"], id="here-document"),
        pytest.param("a <<'X' && e\nc\nX\nd", ["a", "e", "d"], id="here-document-quoted"),
        pytest.param("a <<-X\n\tc\n\tX\nd <<Y <<Z\n1\nY\n2\nZ\ne", ["a", "d", "e"], id="here-documents"),
        pytest.param("a <<<b c >d 2>&1 <e", ["a c"], id="redirections"),
        pytest.param("if a; then b; elif c; then d; else e; fi; f", ["a", "b", "c", "d", "e", "f"], id="if"),
        pytest.param("while a; do b; done < c\nuntil d; do e; done", ["a", "b", "d", "e"], id="loops"),
        pytest.param("for a in b c; do d; done", ["for a in b c", "d"], id="for"),
        pytest.param("case $a in b|c) d;; (e) f; g;; *) h\nesac; i", ["d", "f", "g", "h", "i"], id="case"),
        pytest.param("case a in\nb) case c in d) e;; esac;;\nf) g;;\nesac\nh", ["e", "g", "h"], id="case-in-case"),
        pytest.param("[[ -d a && ( b ) ]] && c", ["[[", "b", "]]", "c"], id="double-brackets"),
        pytest.param("((a<<2)); b", ["((", "b"], id="arithmetic"),
        pytest.param("a=(b c d) e=f; g", ["a=(b c d)|e=f", "g"], id="array"),
        pytest.param("! a; time b; command c; { d; }", ["a", "b", "c", "d"], id="words-before"),
        pytest.param("a $(b", ["a|$(b"], id="without-an-end"),
    ],
)
def test_commands(text: str, expected: list[str]) -> None:
    found = [command.words for command in read_commands(text)]
    assert found == [tuple(words.split("|" if "|" in words else " ")) for words in expected]


def test_words_have_their_lines() -> None:
    commands = read_commands("\na \\\n b\n<<X c 'd\n' e\n1\n2\nX\nf")
    assert [(command.words, command.lines) for command in commands] == [
        (("a", "b"), (2, 3)),
        (("c", "d\n", "e"), (4, 4, 5)),
        (("f",), (9,)),
    ]


@pytest.mark.parametrize(
    ("text", "functions"),
    [
        ("a() { b; c; }; d", {"b": "a", "c": "a", "d": ""}),
        ("function a { b; }\nc", {"b": "a", "c": ""}),
        ("function a() {\n if b; then c; fi\n}\nd", {"b": "a", "c": "a", "d": ""}),
        ("a () (\n b\n)\nc", {"b": "a", "c": ""}),
        ("a() b\nc", {"b": "a", "c": ""}),
        ("a() { b() { c; }; d; }; e", {"c": "b", "d": "a", "e": ""}),
    ],
)
def test_functions(text: str, functions: dict[str, str]) -> None:
    assert {command.words[0]: command.function for command in read_commands(text)} == functions


@pytest.mark.parametrize(
    ("text", "lasting", "certain"),
    [
        ("a; (b; c); d", ["a", "d"], ["a", "b", "c", "d"]),
        ("a && b; c || d\ne &&\n f\ng", list("abcdefg"), list("aceg")),
        ("if a; then b; fi\nc", list("abc"), ["c"]),
        ("for x in y; do a; done; b", ["for", "a", "b"], ["b"]),
        ("case x in y) a;; esac; b", list("ab"), ["b"]),
        ("{ a; }; b", list("ab"), list("ab")),
        ("[ x ] && { a; c; }; b", ["[", "a", "c", "b"], ["[", "b"]),
    ],
)
def test_what_lasts_and_what_always_runs(text: str, lasting: list[str], certain: list[str]) -> None:
    commands = read_commands(text)
    assert [command.words[0] for command in commands if command.is_lasting] == lasting
    assert [command.words[0] for command in commands if command.is_certain] == certain


@pytest.mark.parametrize(
    ("dialect", "text", "expected"),
    [
        ("csh", "if ($?A) then\n setenv A b\nelse if (c) then\n d\nelse\n e\nendif\nf", "$?A setenv c d e f"),
        ("csh", "switch ($a)\ncase b:\n c\n breaksw\nendsw\nd", "$a case c breaksw d"),
        ("fish", "if test a\n b\nelse if c\n d\nelse\n e\nend\nf", "test b c d e f"),
        ("fish", "a; and b; or c\nfor x in y\n d\nend\nbegin; e; end", "a b c for d e"),
        ("fish", "set a (b c)/d; e", "set e"),
        ("fish", "function a\n b\nend\nc", "b c"),
    ],
)
def test_other_shells(dialect: str, text: str, expected: str) -> None:
    commands = read_commands(text, dialect)
    assert " ".join(command.words[0] for command in commands) == expected
    assert commands[-1].is_lasting
    assert not commands[-1].function


def test_branches_of_other_shells_end() -> None:
    assert read_commands("if a\nelse if b\nend\nc", "fish")[-1].is_certain
    assert read_commands("if (a) then\nelse if (b) then\nendif\nc", "csh")[-1].is_certain


@pytest.mark.parametrize("dialect", ["sh", "csh", "fish"])
def test_any_text_is_read(dialect: str) -> None:
    """Broken text ends the reading at worst; a start-up file is anybody's."""
    source = random.Random(dialect)
    signs = [
        "'",
        '"',
        "`",
        "$(",
        "${",
        "(",
        ")",
        "{",
        "}",
        "\\",
        "\n",
        ";",
        "&",
        "|",
        "<<",
        "#",
        "=",
        "\0",
        "case",
        "in",
    ]
    for _round in range(300):
        read_commands(" ".join(source.choices([*signs, "if", "then", "fi", "esac", "a=b", "f()"], k=60)), dialect)
    for sign in signs:
        read_commands(sign * 3000, dialect)
    read_commands("if " * 3000, dialect)


def test_what_is_nested_beyond_reason_is_left() -> None:
    assert [command.words for command in read_commands("a\n" + "{ " * (DEEPEST + 1) + "\nb")] == [("a",)]


# --- tokens ---


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("a 'b c' # d", [(WORD, "a"), (WORD, "'b c'"), (COMMENT, "# d")]),
        (
            "a 2>/dev/null >> b &>c 2>&1",
            [(WORD, "a"), *((REDIRECTION, part) for part in ("2>/dev/null", ">> b", "&>c", "2>&1"))],
        ),
        ("a2>b", [(WORD, "a2"), (REDIRECTION, ">b")]),
        (
            "a;b&&c|&d",
            [(WORD, "a"), (OPERATOR, ";"), (WORD, "b"), (OPERATOR, "&&"), (WORD, "c"), (OPERATOR, "|&"), (WORD, "d")],
        ),
        ("a <<X\nb\nX\nc", [(WORD, "a"), (REDIRECTION, "<<X"), (OPERATOR, "\n"), (WORD, "c")]),
        ("a << \nb", [(WORD, "a"), (REDIRECTION, "<<"), (OPERATOR, "\n"), (WORD, "b")]),
    ],
)
def test_tokens_have_their_place(text: str, kinds: list[tuple[str, str]]) -> None:
    assert [(token.kind, text[token.begin : token.end]) for token in split_tokens(text)] == kinds


@pytest.mark.parametrize(
    ("text", "closed"),
    [
        ("a 'b'", True),
        ("a 'b", False),
        ('a"b', False),
        ("a$(b", False),
        ("a${b} `c`", True),
        ("a >'b", False),
        ("a\\", True),
    ],
)
def test_what_is_left_open_is_known(text: str, closed: bool) -> None:
    assert all(token.is_closed for token in split_tokens(text)) == closed


LINES = [
    "export A=b C='d e' # f",
    '[ -d "$x" ] && export A=$(b "c)") || d 2>/dev/null',
    "if a; then b; A=c; fi",
    "case $x in a|b) c ;; esac",
    "f() { export A=b; }",
    "a=(b c) d; ! e; time f",
    "a `b 'c'` <<<d >e; g",
    "((a<<2)) && b",
]


@pytest.mark.parametrize("line", LINES)
def test_a_line_has_the_same_words_for_who_reads_and_for_who_edits(line: str) -> None:
    """What observation takes for a command ends one of those that the editor takes it apart into."""
    words = {line[token.begin : token.end]: token.text for token in split_tokens(line)}
    edited = [[words[word.text] for word in command.without_redirections()] for command in parse_line(line)[0]]
    read = [list(command.words) for command in read_commands(line)]
    assert [command for command in read if not any(found[-len(command) :] == command for found in edited)] == []


def test_only_who_edits_refuses_what_is_left_open() -> None:
    assert read_commands("a 'b")[0].words == ("a", "b")
    with pytest.raises(UnclosedError):
        parse_line("a 'b")
