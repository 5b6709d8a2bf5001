# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of a pyproject.toml in which PyTorch comes from one index alone, all else as its author wrote it. Pure."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, MutableMapping
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.pep import canonicalize_name
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.document import (
    names,
    not_toml,
    poetry_tables,
    requirement_lists,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import show

try:
    import tomlkit
except ImportError:  # told by the filter, where somebody needs it
    tomlkit = None  # type: ignore[assignment]

Table = MutableMapping[str, Any]

NAME = re.compile(r"^pytorch(?:-(?:cu\d+|cpu))?$")  # how an index of PyTorch is called, by its own guides and by us
URL = re.compile(r"/whl/(?:cu\d+|cpu)/?$")
NO_TOMLKIT = Refusal(
    "Ansible's Python has no tomlkit, which edits TOML and keeps the rest of the file as it is",
    "Install it there: python -m pip install tomlkit.",
)


def can_edit() -> bool:
    """Whether the controller has what edits TOML."""
    return tomlkit is not None


def edit(text: str, manager: str, index: str, url: str, packages: Iterable[str]) -> str | Refusal:
    """The text with an explicit index for these packages, in the form of ``uv`` or ``poetry``.

    A package that the project needs through others alone is added to its dependencies: both managers use an index
    for direct dependencies only.
    """
    document = _parse(text)
    if isinstance(document, Refusal):
        return document
    edit_as = _edit_uv if manager == "uv" else _edit_poetry
    if refusal := edit_as(document, f"pytorch-{index}", url, list(packages)):
        return refusal
    return _spaced(text, tomlkit.dumps(document))


def unedit(text: str, manager: str) -> str | Refusal:
    """The text without PyTorch's index, where others have changed it since: what refers to it goes too.

    A package that was named for the index's sake stays among the dependencies.
    """
    document = _parse(text)
    if isinstance(document, Refusal):
        return document
    key, kind = ("uv", "index") if manager == "uv" else ("poetry", "source")
    own = (document.get("tool") or {}).get(key) or {}
    entries = own.get(kind) or []
    for position in reversed(range(len(entries))):
        named = str(entries[position].get("name", ""))
        if not (NAME.match(named) and URL.search(str(entries[position].get("url", "")))):
            continue
        del entries[position]
        for table in [own.get("sources", {})] if manager == "uv" else list(poetry_tables(document)):
            for package in [name for name, value in table.items() if _refers(value, kind, named)]:
                _let_go(table, package, kind)
    for name in (kind, "sources"):
        if name in own and len(own[name]) == 0:
            del own[name]
    return f"{tomlkit.dumps(document).rstrip()}\n"


def _parse(text: str) -> Table | Refusal:
    if tomlkit is None:
        return NO_TOMLKIT
    try:
        return tomlkit.parse(text)
    except tomlkit.exceptions.ParseError as error:
        return not_toml(error)


def _refers(value: Any, kind: str, name: str) -> bool:
    return isinstance(value, MutableMapping) and value.get(kind) == name


def _let_go(table: Table, package: str, kind: str) -> None:
    """A dependency without its source: a version alone is a text again, nothing at all goes."""
    left = {key: value for key, value in table[package].items() if key != kind}
    if not left:
        del table[package]
    elif set(left) == {"version"}:
        table[package] = str(left["version"])
    else:
        del table[package][kind]


def _spaced(before: str, after: str) -> str:
    """The new text with an empty line before each table that the edit has moved next to something."""
    old = before.splitlines()
    neighbours = set(itertools.pairwise(old))
    lines = after.splitlines(keepends=True)
    spaced: list[str] = []
    for last, line in itertools.pairwise(["", *lines]):
        pair = (last.rstrip("\r\n"), line.rstrip("\r\n"))
        if line.startswith("[") and pair[0].strip() and not pair[0].startswith("#") and pair not in neighbours:
            spaced.append(line[len(pair[1]) :] or "\n")
        spaced.append(line)
    return "".join(spaced)


def unified(name: str, before: str, after: str) -> list[str]:
    """The lines of a diff between two texts of a file."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), name, name, n=2, lineterm="")
    return [line for line in lines if line.strip() not in (f"--- {name}", f"+++ {name}")]


def _edit_uv(document: Table, name: str, url: str, packages: list[str]) -> Refusal | None:
    direct = {found for _group, entries in requirement_lists(document) for found in names(entries)}
    if refusal := _add_dependencies(document, [package for package in packages if package not in direct]):
        return refusal
    uv = _table(document, "tool", "uv", parent=True)
    sources = _table(document, "tool", "uv", "sources")
    for package in packages:
        key = next((key for key in sources if canonicalize_name(key) == package), package)
        if key in sources and not _is_index(sources[key]):
            because = f"pyproject.toml gives {package} the source {show(sources[key])}; expected one index"
            return Refusal(because, f"The file is not edited: set the index {url} for {package} there by hand.")
        entry = tomlkit.inline_table()
        entry["index"] = name
        if sources.get(key) != entry:
            sources[key] = entry
    indexes = uv.get("index")
    if indexes is None:
        indexes = uv["index"] = tomlkit.aot()
    _put(indexes, {"name": name, "url": url, "explicit": True})
    return None


def _is_index(source: Any) -> bool:
    return isinstance(source, MutableMapping) and set(source) == {"index"}


def _edit_poetry(document: Table, name: str, url: str, packages: list[str]) -> Refusal | None:
    project = document.get("project") or {}
    standard = "dependencies" in project
    groups = {found: group for group, entries in requirement_lists(document) for found in names(entries)}
    own: dict[str, Table] = {canonicalize_name(key): table for table in poetry_tables(document) for key in table}
    absent = [package for package in packages if package not in groups and package not in own]
    if standard and (refusal := _add_dependencies(document, absent)):
        return refusal
    for package in packages:
        table = own.get(package)
        if table is None:
            group = groups.get(package, "")
            where = ("group", group, "dependencies") if group else ("dependencies",)
            table = _table(document, "tool", "poetry", *where)
        if refusal := _set_source(table, package, name, "" if standard or package in groups else "*"):
            return refusal
    poetry = _table(document, "tool", "poetry", parent=True)
    sources = poetry.get("source")
    if sources is None:
        sources = poetry["source"] = tomlkit.aot()
    _put(sources, {"name": name, "url": url, "priority": "explicit"})
    return None


def _set_source(table: Table, package: str, source: str, version: str) -> Refusal | None:
    """Give a dependency its source; its version and whatever else it says stay."""
    key = next((key for key in table if canonicalize_name(key) == package), package)
    value = table.get(key)
    by_hand = f"The file is not edited: set the source {source} for {package} there by hand."
    if isinstance(value, MutableMapping):
        if any(other in value for other in ("git", "url", "path")):
            because = f"pyproject.toml installs {package} from {show(value)}; expected an index"
            return Refusal(because, by_hand)
        if value.get("source") != source:
            value["source"] = source
        return None
    if isinstance(value, list):
        return Refusal(f"pyproject.toml gives {package} several versions or sources; expected one", by_hand)
    entry = tomlkit.inline_table()
    if value is not None or version:
        entry["version"] = str(value) if value is not None else version
    entry["source"] = source
    if value is None:
        table[key] = entry
    else:
        comment, space = value.trivia.comment, value.trivia.comment_ws
        table[key] = entry
        table[key].trivia.comment, table[key].trivia.comment_ws = comment, space
    return None


def _add_dependencies(document: Table, packages: list[str]) -> Refusal | None:
    """Name packages among the project's own dependencies."""
    if not packages:
        return None
    project = document.get("project") or {}
    entries = project.get("dependencies")
    if entries is None:
        return Refusal(
            f"pyproject.toml has no list project.dependencies to add {', '.join(packages)} to",
            f"The file is not edited: add {', '.join(packages)} to the project's dependencies by hand.",
        )
    for package in packages:
        entries.append(package)
    return None


def _put(tables: Any, index: dict[str, Any]) -> None:
    """Put an index among the others: in the place of PyTorch's last one, else at the end."""
    for entry in tables:
        named = str(entry.get("name", ""))
        if named == index["name"] or (NAME.match(named) and URL.search(str(entry.get("url", "")))):
            for key, value in index.items():
                if entry.get(key) != value:
                    entry[key] = value
            return
    table = tomlkit.table()
    table.update(index)
    tables.append(table)


def _table(document: Table, *path: str, parent: bool = False) -> Table:
    """A table of a document, made where it is missing; a ``parent`` has other tables alone, and no line of its own."""
    found = document
    for depth, key in enumerate(path):
        if key not in found:
            found[key] = tomlkit.table(is_super_table=parent or depth < len(path) - 1)
        found = found[key]
    return found
