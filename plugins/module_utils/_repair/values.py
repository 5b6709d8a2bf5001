# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The value of a variable that is a list, such as LD_LIBRARY_PATH, without the entries that break CUDA."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import is_compat
from ansible_collections.podsmith.gpu.plugins.module_utils._repair.shell import skip_unit

LISTS = {"LD_LIBRARY_PATH": ":", "LD_PRELOAD": " :"}  # variable → what separates its entries; others are taken whole
NAMED = re.compile(r"\$(?:[A-Z]\w*|\{[A-Z]\w*\})$")  # $COMPAT_DIR; a loop's $d or a function's $1 is many folders
EXPANSION = re.compile(r"\$\{[^{}]*\}|\$\([^()]*\)|`[^`]*`|\$\w+")
ENTRY, FORMER, AFTER, BEFORE = "entry", "former", "after", "before"


class UnsafeError(Exception):
    """The value cannot be written anew without changing what else it says."""


@dataclass(frozen=True)
class Entry:
    """One entry without its quotes. ``kind``: FORMER stands for the variable's former value, ``$NAME``.

    AFTER, ``${NAME:+:$NAME}``, is that with the separator before it, BEFORE, ``${NAME:+$NAME:}``, with one after it.
    """

    text: str
    kind: str = ENTRY


def without_entries(name: str, value: str, unwanted: Sequence[str]) -> tuple[str | None, tuple[str, ...]]:
    """The value without the unwanted entries, None where nothing of its own is left, and what was taken out.

    :param value: as it stands in a file, quotes included.
    :param unwanted: the entries as the shell expands them; they are known again behind ``$CUDA_HOME/compat``, too.

    Raises UnsafeError, and UnclosedError of the shell's grammar.
    """
    if name not in LISTS:
        return None, (value,)
    units = _units(value)
    entries = _entries(name, units)
    gone = _find(entries, unwanted)
    if not gone:
        return value, ()
    kept = [entry for entry in entries if entry not in gone]
    taken = tuple(entry.text for entry in entries if entry in gone)
    if not any(entry.kind == ENTRY and entry.text for entry in kept):
        return None, taken
    separator = " " if name == "LD_PRELOAD" and ":" not in value else ":"
    return _quote(_join(name, kept, separator), units), taken


def matches(entry: str, wanted: str) -> bool:
    """Whether an entry, in which variables may stand, can be the wanted one: ``$CUDA_HOME/compat`` is …/compat."""
    parts = EXPANSION.split(entry)
    if not any(parts):
        return False
    pattern = ".*".join(map(re.escape, parts))
    return re.fullmatch(pattern.rstrip("/"), wanted.rstrip("/")) is not None


def _find(entries: Sequence[Entry], unwanted: Sequence[str]) -> set[Entry]:
    """The entries that are unwanted: each by its text, else by its end, else a bare variable where only one stands."""
    found: set[Entry] = set()
    own = [entry for entry in entries if entry.kind == ENTRY and entry.text]
    for wanted in unwanted:
        exact = {entry for entry in own if entry.text.rstrip("/") == wanted.rstrip("/")}
        alike = {entry for entry in own if EXPANSION.search(entry.text) and matches(entry.text.rstrip("/"), wanted)}
        bare = {entry for entry in own if NAMED.match(entry.text)}
        found |= exact or alike or (bare if len(bare) == 1 else set())
    return found


def _units(value: str) -> list[tuple[str, str]]:
    """The characters and expansions of a value, each with the quote that it stands in, or an empty text."""
    units, at = [], 0
    while at < len(value):
        end = skip_unit(value, at)
        char = value[at]
        if char == "'":
            units += [(each, "'") for each in value[at + 1 : end - 1]]
        elif char == '"':
            inner, place = value[at + 1 : end - 1], 0
            while place < len(inner):
                stop = place + 1 if inner[place] == "'" else skip_unit(inner, place)
                units.append((inner[place:stop], '"'))
                place = stop
            units += [("", '"')]
        else:
            units.append((value[at:end], ""))
        at = end
    return units


def _entries(name: str, units: Sequence[tuple[str, str]]) -> list[Entry]:
    texts = [""]
    for text, _quote_sign in units:
        if text and text in LISTS[name]:
            texts.append("")
        else:
            texts[-1] += text
    former = rf"\$(?:{name}\b|\{{{name}(?::?-)?\}})"
    after, before = (
        re.compile(pattern)
        for pattern in (
            rf"\$\{{{name}:?\+[{LISTS[name]}]{former}\}}$",
            rf"^\$\{{{name}:?\+{former}[{LISTS[name]}]\}}",
        )
    )
    found: list[Entry] = []
    for text in texts:
        first, last = before.search(text), after.search(text)
        inner = text[first.end() if first else 0 : last.start() if last else len(text)]
        found += [Entry(first[0], BEFORE)] if first else []
        if re.fullmatch(former, inner):
            found.append(Entry(inner, FORMER))
        elif inner or not (first or last):
            found.append(Entry(inner))
        found += [Entry(last[0], AFTER)] if last else []
    return found


def _join(name: str, entries: Sequence[Entry], separator: str) -> str:
    """The entries in a row; what brings its own separator is turned round where it now stands at the other end."""
    kept = list(entries)
    if kept[0].kind == AFTER:
        kept[0] = Entry(f"${{{name}:+${name}{separator}}}", BEFORE)
    if kept[-1].kind == BEFORE:
        kept[-1] = Entry(f"${{{name}:+{separator}${name}}}", AFTER)
    text = kept[0].text
    for former, entry in zip(kept, kept[1:]):
        text += ("" if former.kind == BEFORE or entry.kind == AFTER else separator) + entry.text
    return text


def _quote(text: str, units: Sequence[tuple[str, str]]) -> str:
    """The text in the quotes that its value had. Raises UnsafeError where that changes what stands in other quotes."""
    quotes = {quote for _unit, quote in units}
    if quotes <= {""}:
        return text
    if quotes == {"'"}:
        return f"'{text}'"
    plain = all(not re.search(r"[$`\"\\!]", unit) for unit, quote in units if quote == "'")
    bare = all(not re.search(r"^~|[\\*?\[]", unit) for unit, quote in units if quote == "")
    if not (plain and bare):
        raise UnsafeError(text)
    return f'"{text}"'


def find_breaking(name: str, value: str, library: str | None) -> tuple[str, ...]:
    """The entries of an expanded value that put a wrong libcuda first: compat and stub folders, or that libcuda's own.

    :param library: the wrong libcuda, as a path without links; None where it is unknown.
    """
    entries = [entry for entry in re.split(f"[{LISTS.get(name, ':')}]", value) if entry]
    if name == "LD_PRELOAD":
        return tuple(entry for entry in entries if entry.rpartition("/")[2].startswith("libcuda.so"))
    folder = (library or "").rpartition("/")[0]
    return tuple(entry for entry in entries if is_compat(entry)) or tuple(
        entry for entry in entries if folder and entry.rstrip("/") == folder
    )
