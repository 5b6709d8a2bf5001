# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A line of a file without the setting that breaks CUDA: whatever else stands there keeps its place and its meaning."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import (
    CSH,
    FISH,
    PAM,
    PAM_LINE,
    PAM_RULE,
    dialect_of,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import LIBRARY_DIRS
from ansible_collections.podsmith.gpu.plugins.module_utils._repair.shell import (
    ASSIGNMENT,
    DECLARING,
    Command,
    UnclosedError,
    Word,
    parse_line,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._repair.values import UnsafeError, without_entries

FOLDERS, LIBRARIES = "folders", "libraries"  # what the lines of the loader's files are; else SH, CSH, FISH or PAM
CONFIGURATION, PRELOADS, CACHE = "/etc/ld.so.conf", "/etc/ld.so.preload", "/etc/ld.so.cache"
NOTHING = ":"  # a command that does nothing, where the grammar needs one
CSH_LINE = re.compile(
    r"""^(?P<head>\s*(?:if\s*\(.*\)\s*)?setenv\s+(?P<name>\w+)\s+)(?P<value>"[^"]*"|'[^']*'|[^\s;#"']+)\s*(?:#.*)?$"""
)
FISH_LINE = re.compile(r"^(?P<head>\s*set\s+(?:-\S+\s+)*(?P<name>\w+)\s+)(?P<values>[^;#()\\]+?)\s*(?:#.*)?$")
# What is left of a test whose only command went: [ -d /x ] && :
BARE_TEST = re.compile(
    r"^\s*(?:if\s+)?(?:\[\[?\s[^;&|]*\s\]\]?|test\s[^;&|]*)\s*(?:&&\s*:|;\s*then\s+:\s*;\s*fi)\s*;?\s*(?:#.*)?$"
)


@dataclass(frozen=True)
class Edit:
    """What a line becomes. ``kept`` is None where nothing is left of it; ``taken`` is what was taken out of it."""

    kept: str | None
    taken: tuple[str, ...]


def is_system_folder(folder: str) -> bool:
    """Whether a folder is one in which drivers or the system keep their libraries: no line that names it ever goes."""
    return folder.rstrip("/") in (*LIBRARY_DIRS, "/lib", "/usr/local/lib")


def form_of(path: str) -> str:
    """What the lines of a file are, by its place."""
    if path == PRELOADS:
        return LIBRARIES
    if path == CONFIGURATION or path.startswith(f"{CONFIGURATION}.d/"):
        return FOLDERS
    return PAM if "/environment.d/" in path else dialect_of(path)


def edit_line(text: str, form: str, name: str, values: Sequence[str], *, continues: bool = False) -> Edit | None:
    """The line without the setting; None where it is not found in it, or cannot be taken out by itself.

    :param text: the line without its end.
    :param form: what the file's lines are, as :func:`form_of` says.
    :param name: the variable; empty for the loader's own files.
    :param values: the folders or libraries that are to go; of a variable that is no list the whole assignment goes.
    :param continues: whether a backslash at the end of the line before makes this one part of it.
    """
    try:
        if form == FOLDERS:
            return _edit_folder(text, values)
        if form == LIBRARIES:
            return _edit_preloads(text, values)
        if form == PAM:
            return _edit_environ(text, name, values)
        if form == CSH:
            return _edit_value(CSH_LINE.match(text), name, values)
        if form == FISH:
            return _edit_fish(text, name, values)
        return _edit_commands(text, name, values, continues=continues)
    except (UnclosedError, UnsafeError):
        return None


def _edit_folder(text: str, values: Sequence[str]) -> Edit | None:
    """A line of the loader's configuration has one folder, and may name a type of libraries after it."""
    folder = text.partition("#")[0].strip().partition("=")[0].rstrip("/")
    return Edit(None, (folder,)) if folder and folder in [value.rstrip("/") for value in values] else None


def _edit_preloads(text: str, values: Sequence[str]) -> Edit | None:
    listed, sign, comment = text.partition("#")
    taken = [name for name in re.split(r"[\s:]+", listed) if name and name in values]
    for name in taken:
        listed = re.sub(rf"(?:^|(?<=[\s:])){re.escape(name)}(?:[\s:]+|$)", "", listed, count=1)
    if not taken:
        return None
    told = f" {sign}{comment}" if sign else ""
    return Edit(listed.rstrip(" \t:") + told if listed.strip(" \t:") else None, tuple(taken))


def _edit_environ(text: str, name: str, values: Sequence[str]) -> Edit | None:
    """A line of pam_env is one assignment, ``NAME=value`` or ``NAME DEFAULT=value OVERRIDE=value``."""
    match = PAM_LINE.match(text)
    if match and match["name"] in ("DEFAULT", "OVERRIDE"):
        match = None
    if match or text.split()[:1] != [name]:
        return _edit_value(match, name, values)
    taken: list[str] = []
    left = False
    for rule in reversed(list(PAM_RULE.finditer(text.partition("#")[0]))):
        value, out = without_entries(name, rule["value"], values)
        left = left or value is not None
        if out:
            taken += out
            text = text[: rule.start()] + (rule["head"] + value if value else "") + text[rule.end() :]
    return Edit(text.rstrip() if left else None, tuple(taken)) if taken else None


def _edit_value(match: re.Match[str] | None, name: str, values: Sequence[str]) -> Edit | None:
    """A line that is one assignment, as ``head`` and ``value``; a comment after it stays with what is left."""
    if not match or match["name"] != name:
        return None
    written = match["value"].rstrip()
    value, taken = without_entries(name, written, values)
    rest = match.string[match.start("value") + len(written) :].rstrip()
    return Edit(None if value is None else f"{match['head']}{value}{rest}", taken) if taken else None


def _edit_fish(text: str, name: str, values: Sequence[str]) -> Edit | None:
    """``set -gx NAME folder folder $NAME``: a list is written as words, which may have colons in them."""
    match = FISH_LINE.match(text)
    if not match or match["name"] != name:
        return None
    kept: list[str] = []
    taken: list[str] = []
    for word in match["values"].split():
        value, out = without_entries(name, word, values)
        taken += out
        kept += [word] if not out else [value] if value else []
    own = [word for word in kept if word.strip("\"'") != f"${name}"]
    return Edit(match["head"] + " ".join(kept) if own else None, tuple(taken)) if taken else None


def _edit_commands(text: str, name: str, values: Sequence[str], *, continues: bool) -> Edit | None:
    commands, end = parse_line(text)
    cuts: list[tuple[int, int, str]] = []
    taken: list[str] = []
    for place, command in enumerate(commands):
        gone = []
        for word in command.arguments:
            match = ASSIGNMENT.match(word.text)
            if not match or match["name"] != name:
                continue
            value, out = without_entries(name, word.text[match.end() :], values)
            taken += out
            if out and value is None:
                gone.append(word)
            elif out:
                cuts.append((word.start, word.end, f"{match.group()}{value}"))
        if gone:
            part_of_another = (continues and place == 0) or command.continued
            cuts += _cut(text, command, gone, end, part_of_another=part_of_another)
    if not taken:
        return None
    for start, stop, new in sorted(cuts, reverse=True):
        text = text[:start] + new + text[stop:]
    if continues or commands[-1].continued:
        return Edit(text.rstrip(), tuple(taken))
    kept = text.rstrip()
    is_left = kept.strip() and not kept.lstrip().startswith("#") and not BARE_TEST.match(kept)
    return Edit(kept if is_left else None, tuple(taken))


def _cut(
    text: str, command: Command, gone: Sequence[Word], end: int, *, part_of_another: bool
) -> list[tuple[int, int, str]]:
    """Which parts of the line go with these words: the words, or the command where it has no other purpose."""
    others = [word for word in command.without_redirections() if word not in gone and not word.text.startswith("-")]
    if part_of_another or [word for word in others if word.text not in DECLARING]:
        return [(_after_space(text, word.start), word.end, "") for word in gone]
    start, stop = command.words[0].start, command.words[-1].end
    before = command.before.text if command.before else None
    after = command.after.text if command.after else None
    if before == ";" and command.before and not command.opened and after in (None, ";", ";;", ")"):
        return [(command.before.start, stop, "")]
    if before is None and not command.opened and after == ";" and command.after:
        rest = command.after.end
        return [(start, rest + len(text[rest:end]) - len(text[rest:end].lstrip()), "")]
    if before is None and not command.opened and after is None:
        return [(start, stop, "")]
    return [(start, stop, NOTHING)]


def _after_space(text: str, start: int) -> int:
    """Where the space before a word starts, so that it goes with the word."""
    return len(text[:start].rstrip()) if text[:start].strip() else start
