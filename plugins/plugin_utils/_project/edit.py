# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of a pyproject.toml in which PyTorch comes from one index alone, all else as its author wrote it. Pure."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, Iterator, MutableMapping
from typing import Any

from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import normalise

try:
    import tomlkit
except ImportError:  # told by the filter, where somebody needs it
    tomlkit = None  # type: ignore[assignment]

Table = MutableMapping[str, Any]

NAME = re.compile(r"^pytorch(?:-(?:cu\d+|cpu))?$")  # how an index of PyTorch is called, by its own guides and by us
URL = re.compile(r"/whl/(?:cu\d+|cpu)/?$")
NO_TOMLKIT = (
    "The Python of Ansible has no tomlkit, which edits TOML without touching what it does not change; "
    "install it there: python -m pip install tomlkit."
)
_HEAD = re.compile(r"^\s*(?P<name>[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?)")


class EditError(Exception):
    """A project file that is not edited; the text says what was found, what was wanted and what to do."""


def can_edit() -> bool:
    """Whether the controller has what edits TOML."""
    return tomlkit is not None


def edit(text: str, manager: str, index: str, url: str, packages: Iterable[str]) -> str:
    """The text with an explicit index for these packages, in the words of ``uv`` or ``poetry``.

    A package that the project needs through others alone is added to its dependencies: both managers take an index
    for direct dependencies only. Raises EditError.
    """
    if tomlkit is None:
        raise EditError(NO_TOMLKIT)
    try:
        document: Table = tomlkit.parse(text)
    except tomlkit.exceptions.ParseError as error:
        raise EditError(f"pyproject.toml cannot be read as TOML ({error}); correct it and run again.") from error
    wanted = list(packages)
    (_edit_uv if manager == "uv" else _edit_poetry)(document, f"pytorch-{index}", url, wanted)
    return _spaced(text, tomlkit.dumps(document))


def unedit(text: str, manager: str) -> str:
    """The text without PyTorch's index, where others have changed it since: what refers to it goes along.

    A package that was named for the index's sake stays among the dependencies. Raises EditError.
    """
    if tomlkit is None:
        raise EditError(NO_TOMLKIT)
    document: Table = tomlkit.parse(text)
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


def requirement_lists(document: Table) -> Iterator[tuple[str, Any]]:
    """Every list of requirements of the standard tables, with the name of its group: '' for the project itself."""
    project = document.get("project") or {}
    if "dependencies" in project:
        yield "", project["dependencies"]
    for extra in (project.get("optional-dependencies") or {}).values():
        yield "", extra
    for name, group in (document.get("dependency-groups") or {}).items():
        yield str(name), group


def poetry_tables(document: Table) -> Iterator[Table]:
    """Every table of dependencies in Poetry's own words."""
    poetry = (document.get("tool") or {}).get("poetry") or {}
    for table in (poetry, *(poetry.get("group") or {}).values()):
        if "dependencies" in table:
            yield table["dependencies"]
    if "dev-dependencies" in poetry:
        yield poetry["dev-dependencies"]


def names(requirements: Iterable[Any]) -> set[str]:
    """The normalised names in a list of requirements; a group may include others by a table."""
    found = (_HEAD.match(entry) for entry in requirements if isinstance(entry, str))
    return {normalise(match["name"]) for match in found if match}


def _edit_uv(document: Table, name: str, url: str, packages: list[str]) -> None:
    direct = {found for _group, entries in requirement_lists(document) for found in names(entries)}
    _add_dependencies(document, [package for package in packages if package not in direct])
    uv = _table(document, "tool", "uv", parent=True)
    sources = _table(document, "tool", "uv", "sources")
    for package in packages:
        key = next((key for key in sources if normalise(key) == package), package)
        if key in sources and not _is_index(sources[key]):
            raise EditError(
                f"pyproject.toml gives {package} a source that is not one index ({_short(sources[key])}), and it is "
                f"left as it is; name the index {url} for it there by hand."
            )
        entry = tomlkit.inline_table()
        entry["index"] = name
        if sources.get(key) != entry:
            sources[key] = entry
    indexes = uv.get("index")
    if indexes is None:
        indexes = uv["index"] = tomlkit.aot()
    _put(indexes, {"name": name, "url": url, "explicit": True})


def _is_index(source: Any) -> bool:
    return isinstance(source, MutableMapping) and set(source) == {"index"}


def _edit_poetry(document: Table, name: str, url: str, packages: list[str]) -> None:
    project = document.get("project") or {}
    standard = "dependencies" in project
    groups = {found: group for group, entries in requirement_lists(document) for found in names(entries)}
    own = {normalise(key): table for table in poetry_tables(document) for key in table}
    absent = [package for package in packages if package not in groups and package not in own]
    if standard:
        _add_dependencies(document, absent)
    for package in packages:
        table = own.get(package)
        if table is None:
            group = groups.get(package, "")
            where = ("group", group, "dependencies") if group else ("dependencies",)
            table = _table(document, "tool", "poetry", *where)
        _set_source(table, package, name, "" if standard or package in groups else "*")
    poetry = _table(document, "tool", "poetry", parent=True)
    sources = poetry.get("source")
    if sources is None:
        sources = poetry["source"] = tomlkit.aot()
    _put(sources, {"name": name, "url": url, "priority": "explicit"})


def _set_source(table: Table, package: str, source: str, version: str) -> None:
    """Give a dependency its source; its version and whatever else it says stay."""
    key = next((key for key in table if normalise(key) == package), package)
    value = table.get(key)
    if isinstance(value, MutableMapping):
        if any(other in value for other in ("git", "url", "path")):
            raise EditError(
                f"pyproject.toml takes {package} from elsewhere than an index ({_short(value)}), and it is left as it "
                f"is; give it the source {source} there by hand."
            )
        if value.get("source") != source:
            value["source"] = source
        return
    if isinstance(value, list):
        raise EditError(
            f"pyproject.toml gives {package} several versions or sources, and it is left as it is; give each of them "
            f"the source {source} there by hand."
        )
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


def _add_dependencies(document: Table, packages: list[str]) -> None:
    """Name packages among the project's own dependencies."""
    if not packages:
        return
    project = document.get("project") or {}
    entries = project.get("dependencies")
    if entries is None:
        raise EditError(
            f"pyproject.toml has no list project.dependencies, to which {', '.join(packages)} would be added, and it "
            "is left as it is; name them among the project's dependencies by hand."
        )
    for package in packages:
        entries.append(package)


def _put(tables: Any, wanted: dict[str, Any]) -> None:
    """Put an index among the others: in the place of PyTorch's last one, else at the end."""
    for entry in tables:
        named = str(entry.get("name", ""))
        if named == wanted["name"] or (NAME.match(named) and URL.search(str(entry.get("url", "")))):
            for key, value in wanted.items():
                if entry.get(key) != value:
                    entry[key] = value
            return
    table = tomlkit.table()
    table.update(wanted)
    tables.append(table)


def _table(document: Table, *path: str, parent: bool = False) -> Table:
    """A table of a document, made where it is missing; a ``parent`` has other tables alone, and no line of its own."""
    found = document
    for depth, key in enumerate(path):
        if key not in found:
            found[key] = tomlkit.table(is_super_table=parent or depth < len(path) - 1)
        found = found[key]
    return found


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
