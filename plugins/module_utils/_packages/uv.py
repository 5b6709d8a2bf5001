# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""uv's arguments for the host's own package sources, and what its output means. Nothing here runs it."""

from __future__ import annotations

import pathlib
import re
import shutil
import sys
from collections.abc import Iterable, Mapping

from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import normalise
from ansible_collections.podsmith.gpu.plugins.module_utils._host.pip import PipSources, mask
from ansible_collections.podsmith.gpu.plugins.module_utils._host.units import parse_mib
from ansible_collections.podsmith.gpu.plugins.module_utils._packages.requirement import NAME

LIMIT = 600  # characters of uv's own words in an error

_DOWNLOAD = re.compile(r"^Downloading (?P<name>\S+) \((?P<size>[0-9.]+)(?P<unit>[KMG]iB)\)$", re.MULTILINE)
_ABSENT = re.compile(r"there (?:is|are) no versions? of (?P<wanted>[^\s,]+)|(?P<unknown>\S+) was not found in the")
_FETCH = re.compile(r"Failed to (?:fetch|download)[^`\n]*?:?\s*`?(?P<url>(?:https?|file)://[^\s`]+)`?")
_UNMET = re.compile(r"^The package `(?P<name>[^`]+)` requires `(?P<wanted>[^`]+)`, but (?P<found>.+)$", re.MULTILINE)
_PLANNED = re.compile(r"^ (?P<sign>[+~-]) (?P<name>\S+?)==(?P<version>\S+)", re.MULTILINE)
_WORD = re.compile(NAME)


def find_own_uv() -> str | None:
    """The uv beside the Python that runs this, else the one on PATH."""
    beside = pathlib.Path(sys.executable).parent / "uv"
    return str(beside) if beside.is_file() else shutil.which("uv")


def uv_settings(
    pip: PipSources,
    *,
    index_url: str | None = None,
    extra_index_urls: Iterable[str] = (),
    find_links: Iterable[str] = (),
    ca_bundle: str | None = None,
    strategy: str = "best-match",
) -> tuple[list[str], dict[str, str]]:
    """uv's arguments and variables for the host's own pip configuration and what the caller adds to it.

    Variables carry the URLs, so that their credentials stay out of the list of processes. The caller's index comes
    first, pip's own stays the fallback. Where there is more than one index uv takes the best match of all, as pip does:
    each alone is incomplete (PyTorch's lacks most packages), and pins decide what is taken.

    :param ca_bundle: the certificates to trust where pip's configuration names none.
    :param strategy: ``first-match`` takes the release of the first index that has a fitting one, however old it is.
    """
    indexes = [url for url in (index_url, *extra_index_urls, *pip.extra_index_urls) if url]
    arguments = ["--no-index"] if pip.no_index and not index_url else []
    variables = {
        "UV_DEFAULT_INDEX": pip.index_url or "",
        "UV_INDEX": " ".join(dict.fromkeys(indexes)),
        "UV_INDEX_STRATEGY": f"unsafe-{strategy}" if indexes else "",
        "UV_FIND_LINKS": ",".join(dict.fromkeys([*find_links, *pip.find_links])),
        "UV_INSECURE_HOST": " ".join(pip.trusted_hosts),
        "SSL_CERT_FILE": pip.cert or ca_bundle or "",
    }
    return arguments, {name: value for name, value in variables.items() if value}


def asked(variables: Mapping[str, str]) -> list[str]:
    """The sources that uv asks with these variables, without credentials, for people to read."""
    names = (
        *variables.get("UV_INDEX", "").split(),
        variables.get("UV_DEFAULT_INDEX", "PyPI"),
        *variables.get("UV_FIND_LINKS", "").split(","),
    )
    return [mask(name) for name in names if name]


def explain_failure(output: str, *, sources: Iterable[str], hint: str) -> str:
    """One sentence for a failed uv call: what was asked for, what the sources said, what to do.

    :param output: what uv wrote.
    :param sources: what was asked, as :func:`asked` names it.
    :param hint: what the user can do, such as the variable that names a mirror.
    """
    text = mask(output)
    words = " ".join(
        re.sub(r"^(?:error|cause|hint|[×╰├─▶│ ]+)[:\s]*", "", line.strip()).strip()
        for line in text.splitlines()
        if line.strip()
        and not line.startswith(("Using ", "Resolved ", "Downloading ", " Downloaded ", "Creating ", "Prepared "))
    )
    fetch, absent = _FETCH.search(text), _ABSENT.search(words)
    if "No space left on device" in text:
        return "the disk is full; free space, or choose a prefix on a larger file system."
    if fetch:
        causes = re.findall(r"^\s*(?:cause:|Caused by:)\s*(.+)$", text, re.MULTILINE)
        return f"{fetch['url']} could not be fetched ({causes[-1] if causes else 'no reason given'}); {hint}."
    if absent:
        wanted = absent["wanted"] or absent["unknown"]
        return f"{wanted.rstrip('.')} is offered by none of the sources asked ({', '.join(sources)}); {hint}."
    return f"uv says: {words[-LIMIT:].rstrip('.')} (sources asked: {', '.join(sources)}); {hint}."


def downloads(output: str) -> list[dict[str, str | float]]:
    """The larger files that uv fetched: ``[{name, mib}]``. uv names only those that take a moment."""
    return [
        {"name": match["name"], "mib": parse_mib(match["size"], match["unit"])} for match in _DOWNLOAD.finditer(output)
    ]


def planned(output: str) -> dict[str, list[dict[str, str]]]:
    """What ``uv pip install --dry-run`` would do as ``{installed, removed}``; reinstalling a version changes none."""
    rows: dict[str, list[dict[str, str]]] = {"+": [], "-": [], "~": []}
    for row in _PLANNED.finditer(output):
        rows[row["sign"]].append({"name": normalise(row["name"]), "version": row["version"]})
    return {
        "installed": [row for row in rows["+"] if row not in rows["-"]],
        "removed": [row for row in rows["-"] if row not in rows["+"]],
    }


def unmet(output: str, versions: Mapping[str, str]) -> list[str]:
    """The complaints of ``uv pip check`` that are true, one short clause each.

    :param versions: everything that is importable there; uv does not see what an adopted environment adds.
    """
    found = []
    for match in _UNMET.finditer(output):
        wanted = _WORD.match(match["wanted"])
        if "not installed" in match["found"] and wanted and normalise(wanted[0]) in versions:
            continue
        found.append(f"{match['name']} requires {match['wanted']}, but {match['found']}")
    return found
