# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a folder of Python packages holds and lacks, and how uv is told to bring it from the host's own sources."""

from __future__ import annotations

import json
import os
import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from ansible_collections.podsmith.gpu.plugins.module_utils._host.pip import PipSources, mask, parse_wheel_name

RECORD = ".podsmith-packages.json"  # what our last complete installation left: normalised name -> version
LIMIT = 600  # characters of uv's own words in an error

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_REQUIREMENT = re.compile(
    rf"(?P<name>{_NAME.pattern})(?:\[[\w ,.-]*\])?\s*(?:==\s*(?P<version>[\w.!+-]+)|@\s*(?P<url>\S+))?"
)
_CUDA_SUFFIX = re.compile(r"^nvidia-.+-cu(?P<major>1[0-9])$")
_CUDA_FOLDER = re.compile(r"^nvidia/cu(?P<major>[0-9]+)/")
_LINKER_NAME = re.compile(r"^(lib.+\.so)\.[0-9]+$")
_DOWNLOAD = re.compile(r"^Downloading (?P<name>\S+) \((?P<size>[0-9.]+)(?P<unit>[KMG]iB)\)$", re.MULTILINE)
_MIB = {"KiB": 1 / 1024, "MiB": 1.0, "GiB": 1024.0}
_ABSENT = re.compile(r"there (?:is|are) no versions? of (?P<wanted>[^\s,]+)|(?P<unknown>\S+) was not found in the")
_FETCH = re.compile(r"Failed to (?:fetch|download)[^`\n]*?:?\s*`?(?P<url>(?:https?|file)://[^\s`]+)`?")
_UNMET = re.compile(r"^The package `(?P<name>[^`]+)` requires `(?P<wanted>[^`]+)`, but (?P<found>.+)$", re.MULTILINE)
_PINNED = re.compile(rf"^Requires-Dist: ({_NAME.pattern}\s*\(?==[\w.!+-]+\)?)\s*$", re.MULTILINE)
_WORD = re.compile(_NAME.pattern)


class PackagesError(Exception):
    """The wish for packages cannot be understood; the text says what was found, what was wanted and what to do."""


class Requirement(NamedTuple):
    """One wished distribution; ``version`` is ``None`` where any will do."""

    text: str
    name: str  # normalised
    version: str | None


class Distribution(NamedTuple):
    """One installed distribution, as its dist-info folder tells."""

    name: str  # normalised
    version: str
    files: tuple[str, ...]  # relative to the folder, byte code left out
    missing: tuple[str, ...]  # listed in RECORD, not on the disk
    damaged: tuple[str, ...]  # on the disk with another size


class Work(NamedTuple):
    """What has to be brought for a folder to hold what is wished. All empty: nothing to do, uv is not needed."""

    install: tuple[Requirement, ...]  # wished, absent or there in another version
    restore: tuple[Requirement, ...]  # brought by us once, gone since
    repair: tuple[str, ...]  # there, with files missing or damaged; normalised names
    refetch: bool  # a file was changed in place, and uv's cache may share it: fetch anew

    @property
    def is_empty(self) -> bool:
        """Whether the folder holds all that is wished."""
        return not (self.install or self.restore or self.repair)


def normalise(name: str) -> str:
    """A distribution's name as all tools compare it: ``Typing_Extensions`` is ``typing-extensions``."""
    return re.sub(r"[-_.]+", "-", name).lower()


def parse_requirement(text: str) -> Requirement:
    """Read ``name``, ``name==version``, ``name[extra]==version`` or ``name @ <URL of a wheel>``.

    Raises PackagesError for ranges and options: a plan must say exactly what it wants.
    """
    match = _REQUIREMENT.fullmatch(text.strip())
    if match is None:
        raise PackagesError(
            f"{text!r} is not a requirement this module takes; write name==version, or a name alone for any version."
        )
    version = match["version"]
    if match["url"]:
        wheel = parse_wheel_name(pathlib.PurePosixPath(urlsplit(match["url"]).path).name)
        if wheel is None:
            raise PackagesError(f"{text!r} does not name a wheel; give the URL of a .whl file, or name==version.")
        version = wheel["version"]
    return Requirement(text.strip(), normalise(match["name"]), version)


def same_version(wanted: str, found: str) -> bool:
    """Whether ``found`` satisfies ``==wanted``: trailing zeros are nothing, a local label counts only where wished.

    >>> same_version("2.9", "2.9.0+cu130"), same_version("2.9.0+cu128", "2.9.0+cu130")
    (True, False)
    """
    wanted_public, _plus, wanted_local = wanted.lower().partition("+")
    found_public, _plus, found_local = found.lower().partition("+")
    if wanted_local and wanted_local != found_local:
        return False
    return _release(wanted_public) == _release(found_public)


def satisfied(requirement: Requirement, versions: Mapping[str, str]) -> bool:
    """Whether one of these distributions (normalised name -> version) is the wished one."""
    found = versions.get(requirement.name)
    return found is not None and (requirement.version is None or same_version(requirement.version, found))


def parse_record(text: str) -> dict[str, int | None]:
    """The files of a RECORD with their sizes in bytes (``None``: not given), without byte code and RECORD itself."""
    files: dict[str, int | None] = {}
    for line in text.splitlines():
        path, _comma, size = line.rpartition(",")
        path = path.rpartition(",")[0]
        if path.startswith('"') and path.endswith('"'):
            path = path[1:-1].replace('""', '"')
        if path and not path.endswith((".pyc", ".dist-info/RECORD")):
            files[path] = int(size) if size.isdigit() else None
    return files


def read_distributions(folder: str) -> dict[str, Distribution]:
    """The distributions of a folder such as ``site-packages``, by normalised name, each compared with its RECORD.

    A dist-info folder that has lost its RECORD counts as broken. A folder that is not there holds none.
    """
    found: dict[str, Distribution] = {}
    for entry in sorted(pathlib.Path(folder).glob("*.dist-info")):
        name, _dash, version = entry.name[: -len(".dist-info")].partition("-")
        missing, damaged = [], []
        try:
            files = parse_record((entry / "RECORD").read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            files, missing = {}, [f"{entry.name}/RECORD"]
        for path, size in files.items():
            try:
                real = os.stat(f"{folder}/{path}").st_size  # noqa: PTH116  torch alone asks twelve thousand times
            except OSError:
                missing.append(path)
            else:
                if size is not None and size != real:
                    damaged.append(path)
        found[normalise(name)] = Distribution(normalise(name), version, tuple(files), tuple(missing), tuple(damaged))
    return found


def record_path(folder: pathlib.Path) -> pathlib.Path:
    """The file in which a folder's last complete installation is noted."""
    return folder / RECORD


def read_packages(folder: pathlib.Path) -> dict[str, str]:
    """What our last complete installation left in this folder, by normalised name; nothing where there was none."""
    try:
        content = json.loads(record_path(folder).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(name): str(version) for name, version in content.items()} if isinstance(content, dict) else {}


def outstanding(
    requirements: Iterable[Requirement],
    constraints: Iterable[Requirement],
    present: Mapping[str, Distribution],
    *,
    adopted: Mapping[str, str],
    recorded: Mapping[str, str],
    reinstall: Iterable[str],
) -> Work:
    """Compare the wish with what is there.

    :param constraints: exact versions that hold for what is there anyway; one that is broken is put right.
    :param present: what the folder itself holds.
    :param adopted: what an adopted environment adds to it: normalised name -> version.
    :param recorded: what our last complete installation left: normalised name -> version.
    :param reinstall: names that somebody else found broken.
    """
    versions = {**adopted, **{name: distribution.version for name, distribution in present.items()}}
    install = {wish.name: wish for wish in requirements if not satisfied(wish, versions)}
    for rule in constraints:
        if rule.name in present and not satisfied(rule, versions):
            install.setdefault(rule.name, rule)
    restore = [
        Requirement(f"{name}=={version}", name, version)
        for name, version in sorted(recorded.items())
        if name not in versions and name not in install
    ]
    broken = {name for name, distribution in present.items() if distribution.missing or distribution.damaged}
    repair = sorted((broken | {normalise(name) for name in reinstall} & set(present)) - set(install))
    return Work(tuple(install.values()), tuple(restore), tuple(repair), any(present[name].damaged for name in repair))


def only_named(work: Work, names: Iterable[str], present: Mapping[str, Distribution]) -> Work:
    """The work in an environment of somebody else's: what is broken there and nobody named is none of ours."""
    repair = tuple(sorted({normalise(name) for name in names} & set(present) - {wish.name for wish in work.install}))
    return Work(work.install, (), repair, any(present[name].damaged for name in repair))


def wishes(requirements: Iterable[Requirement], work: Work, present: Mapping[str, Distribution]) -> list[Requirement]:
    """What uv is asked for: all that is wished and not adopted, what is to be restored, what is to be repaired.

    A repair alone must not change a version; beside other changes the resolver decides on those that nobody wishes.
    """
    asked_for = {wish.name: wish for wish in work.install}
    asked_for.update({wish.name: wish for wish in requirements if wish.name in present})
    for wish in work.restore:
        asked_for.setdefault(wish.name, Requirement(wish.name, wish.name, None) if work.install else wish)
    for name in work.repair:
        pin = Requirement(f"{name}=={present[name].version}", name, present[name].version)
        asked_for.setdefault(name, Requirement(name, name, None) if work.install else pin)
    return list(asked_for.values())


def uv_settings(
    pip: PipSources,
    *,
    index_url: str | None = None,
    extra_index_urls: Iterable[str] = (),
    find_links: Iterable[str] = (),
    ca_bundle: str | None = None,
) -> tuple[list[str], dict[str, str]]:
    """uv's arguments and variables for the host's own pip configuration and what the caller adds to it.

    Variables carry the URLs, so that their credentials stay out of the list of processes. The caller's index comes
    first, pip's own stays the fallback. Where there is more than one index uv takes the best match of all, as pip does:
    each alone is incomplete (PyTorch's lacks most packages), and pins decide what is taken.

    :param ca_bundle: the certificates to trust where pip's configuration names none.
    """
    indexes = [url for url in (index_url, *extra_index_urls, *pip.extra_index_urls) if url]
    arguments = ["--no-index"] if pip.no_index and not index_url else []
    variables = {
        "UV_DEFAULT_INDEX": pip.index_url or "",
        "UV_INDEX": " ".join(dict.fromkeys(indexes)),
        "UV_INDEX_STRATEGY": "unsafe-best-match" if indexes else "",
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
    """One sentence for a failed uv call: what was wanted, what the sources said, what to do.

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
        {"name": match["name"], "mib": round(float(match["size"]) * _MIB[match["unit"]], 1)}
        for match in _DOWNLOAD.finditer(output)
    ]


def unmet(output: str, versions: Mapping[str, str]) -> list[str]:
    """The complaints of ``uv pip check`` that are true, one short clause each.

    :param versions: everything that is importable there; uv does not see what an adopted environment adds.
    """
    found = []
    for match in _UNMET.finditer(output):
        wanted = _WORD.match(match["wanted"])
        if "not installed" in match["found"] and wanted and normalise(wanted[0]) in versions:
            continue
        found.append(f"{match['name']} wants {match['wanted']}, but {match['found']}")
    return found


def broken_pins(folder: str, adopted: Mapping[str, Distribution]) -> list[str]:
    """The exact versions that packages of a folder want of adopted ones and do not get, one clause each.

    uv cannot tell: it does not see what is adopted. Wishes that hold on some systems only are left out.
    """
    found = []
    for entry in sorted(pathlib.Path(folder).glob("*.dist-info/METADATA")):
        for text in _PINNED.findall(entry.read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]):
            wish = parse_requirement(text.strip().replace("(", "").replace(")", ""))
            if wish.name in adopted and not satisfied(wish, {wish.name: adopted[wish.name].version}):
                name = entry.parent.name.partition("-")[0]
                found.append(f"{normalise(name)} wants {wish.text}, but {adopted[wish.name].version} is adopted")
    return found


def cuda_majors(distributions: Iterable[Distribution]) -> dict[int, list[str]]:
    """The CUDA majors whose libraries these distributions bring, each with their names.

    Up to CUDA 12 the name ends in ``-cu12``; from 13 on most have no ending, and their files lie in ``nvidia/cu13``.
    """
    majors: dict[int, set[str]] = {}
    for distribution in distributions:
        suffix = _CUDA_SUFFIX.match(distribution.name)
        found = {int(match["major"]) for match in map(_CUDA_FOLDER.match, distribution.files) if match}
        for major in {int(suffix["major"])} if suffix else found:
            majors.setdefault(major, set()).add(f"{distribution.name} {distribution.version}")
    return {major: sorted(names) for major, names in sorted(majors.items())}


def incoherence(
    distributions: Mapping[str, Distribution], adopted: Mapping[str, Distribution], constraints: Iterable[Requirement]
) -> list[str]:
    """Why these packages cannot work together, one clause each: a constraint that does not hold, two CUDA majors."""
    both = {**adopted, **distributions}
    found = [
        f"{rule.name} {both[rule.name].version} is there instead of {rule.version}"
        for rule in constraints
        if rule.name in both and not satisfied(rule, {rule.name: both[rule.name].version})
    ]
    majors = cuda_majors(both.values())
    if len(majors) > 1:
        found.append(" beside ".join(f"CUDA {major} libraries ({', '.join(names)})" for major, names in majors.items()))
    return found


def linker_names(folder: pathlib.Path) -> dict[str, str]:
    """The names that a linker looks for and a wheel lacks: ``libcudart.so`` -> ``libcudart.so.13``."""
    matches = (_LINKER_NAME.match(path.name) for path in sorted(folder.glob("lib*.so.*")))
    return {match[1]: match[0] for match in matches if match}


def local_path(url: str) -> str | None:
    """The path of a local folder or ``file:`` URL, ``None`` for a remote one."""
    if url.startswith("file:"):
        return unquote(urlsplit(url).path)
    return None if "://" in url else str(pathlib.Path(url).expanduser())


def newer_or_same(version: str, least: str) -> bool:
    """Whether a plain dotted version is at least another."""
    return _numbers(version) >= _numbers(least)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"[0-9]+", version.partition("+")[0]))


def _release(public: str) -> str:
    """A public version without what does not distinguish it: a leading v, trailing zeros, separators."""
    match = re.fullmatch(r"v?([0-9.]+?)((?:\.0+)*)[._-]?((?:a|b|c|rc|alpha|beta|pre|post|dev).*)?", public)
    return f"{match[1]}|{re.sub(r'[._-]', '', match[3] or '')}" if match else public
