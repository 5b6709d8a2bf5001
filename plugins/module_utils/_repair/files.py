# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of others from which lines, or parts of lines, are taken: which are left alone, and what the rest becomes."""

from __future__ import annotations

import os
import pwd
import re
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import SH, foreign_lines
from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root
from ansible_collections.podsmith.gpu.plugins.module_utils._repair.lines import NOTHING, Edit, edit_line, form_of

BACKUP = ".podsmith-backup"
LIMIT = 1024 * 1024  # bytes; no file that a person writes is larger
OPENS = re.compile(r"(?:(?:^|[\s;&|])(?:then|else|do)|[{()])\s*(?:#.*)?$")  # a command must follow
CLOSES = re.compile(r"^\s*(?:(?:fi|done|else|elif|esac)\b|;;|[})])")
JOINS = re.compile(r"(?:&&|\|\|?)\s*(?:#.*)?$")  # what stands on the next line belongs to it
CONTINUES = re.compile(r"(?<!\\)(?:\\\\)*\\$")


@dataclass(frozen=True)
class Repair:
    """A setting that is to go: the line with its number, the variable, and the folders or libraries in question."""

    path: str
    line: str
    number: int
    variable: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Left:
    """A repair that was not made, and why."""

    repair: Repair
    because: str
    is_gone: bool = False  # the line is not there any more: what is to be done is seen by looking again


def why_not_touch(root: Root, path: str, home: str) -> str | None:
    """Why a file is left alone, as a half sentence, or None.

    :param path: as the host sees it.
    :param home: of the user that this runs as; a link below it, or below /etc, may lead to another file there.
    """
    real = root.real(path)
    top = next(
        (top for top in (home.rstrip("/"), "/etc") if top and path.startswith(f"{top}/")), str(Path(path).parent)
    )
    if real != path and not real.startswith(f"{root.real(top).rstrip('/')}/"):
        return f"it is a link to {real}, outside {top}"
    try:
        found = Path(root.path + real).stat()
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    if not stat.S_ISREG(found.st_mode):
        return "it is not a regular file"
    if found.st_size > LIMIT:
        return f"it has {found.st_size} bytes, more than a start-up file has"
    if os.geteuid() not in (0, found.st_uid):
        return f"it belongs to {_user(found.st_uid)}, and this runs as {_user(os.geteuid())}"
    return None


def repair_text(
    text: str, repairs: Sequence[Repair], parses: Callable[[str], bool | None]
) -> tuple[str, list[Repair], list[Left]]:
    """The text without the settings, the repairs that were made, and those that were not.

    :param parses: whether the file's shell can read a text; None where there is no such shell here.
    """
    lines = text.splitlines(keepends=True)
    own = [bool(line.strip()) and not kept.strip() for line, kept in zip(lines, foreign_lines(text))]
    form = form_of(repairs[0].path)
    planned: dict[int, list[Repair]] = {}
    left = []
    for repair in repairs:
        at = repair.number - 1
        if at < 0 or at >= len(lines) or own[at] or _plain(lines[at]) != repair.line.strip():
            left.append(Left(repair, f"line {repair.number} is no longer: {repair.line.strip()}", is_gone=True))
        else:
            planned.setdefault(at, []).append(repair)
    made: list[Repair] = []
    new = text
    for at in sorted(planned, reverse=True):  # from the end, so that the numbers before stay true
        after = _without(lines, at, planned[at], form)
        if form == SH and after is not None and parses("".join(after)) is False and parses(new) is not False:
            after = None
        if after is None:
            because = "it cannot be removed from that line without changing what else the line does"
            left += [Left(repair, because) for repair in planned[at]]
            continue
        lines, new = after, "".join(after)
        made += planned[at]
    return new, made[::-1], left


def _without(lines: Sequence[str], at: int, repairs: Sequence[Repair], form: str) -> list[str] | None:
    """The lines with that one edited; None where one of the repairs cannot be made."""
    body = lines[at].rstrip("\r\n")
    end = lines[at][len(body) :]
    former = lines[at - 1].rstrip("\r\n") if at else "#"
    continues = form == SH and not former.lstrip().startswith("#") and CONTINUES.search(former) is not None
    edit = Edit(body, ())
    for repair in repairs:
        if edit.kept is None:
            break
        made = edit_line(edit.kept, form, repair.variable, repair.values, continues=continues)
        if made is None:
            return None
        edit = made
    if edit.kept is not None:
        return [*lines[:at], edit.kept + end, *lines[at + 1 :]]
    if form == SH and _needs_a_command(lines, at):
        indent = body[: len(body) - len(body.lstrip())]
        return [*lines[:at], indent + NOTHING + end, *lines[at + 1 :]]
    return [*lines[:at], *lines[at + 1 :]]


def _needs_a_command(lines: Sequence[str], at: int) -> bool:
    """Whether the grammar asks for a command in this place: the only one between ``then`` and ``fi``, or after &&."""
    before = next((line for line in lines[at - 1 :: -1] if _counts(line)), "") if at else ""
    after = next((line for line in lines[at + 1 :] if _counts(line)), "")
    is_only = OPENS.search(before.rstrip()) is not None and CLOSES.match(after) is not None
    return is_only or JOINS.search(before.rstrip()) is not None


def _counts(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _plain(line: str) -> str:
    """A line as the observation tells it: bytes that are no UTF-8 replaced, without the space around."""
    return line.encode("utf-8", "surrogateescape").decode("utf-8", "replace").strip()


def free_backup(path: Path, text: str) -> Path | None:
    """Where to keep a copy of what a file was; None where a copy of this very text is kept already."""
    number = 0
    # Of ~/.bashrc.d and its kind a start-up file reads all that "*" finds: the copy would bring the line back.
    is_read_whole = re.fullmatch(r"\..+\.d", path.parent.name) and not path.name.startswith(".")
    name = f".{path.name}" if is_read_whole else path.name
    while True:
        backup = path.with_name(f"{name}{BACKUP}{f'.{number}' if number else ''}")
        try:
            kept = backup.read_bytes()
        except FileNotFoundError:
            return backup
        except OSError:
            kept = b""
        if kept == text.encode("utf-8", "surrogateescape"):
            return None
        number += 1


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
