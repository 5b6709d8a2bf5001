# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a folder of Python packages holds, what it lacks of what is asked for, and whether its packages fit together."""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import normalise
from ansible_collections.podsmith.gpu.plugins.module_utils._host.pip import (
    WATCHED,
    find_altered,
    find_damage,
    mixed_parts,
    read_record,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root
from ansible_collections.podsmith.gpu.plugins.module_utils._packages.requirement import (
    NAME,
    Requirement,
    parse_requirement,
    satisfied,
)

RECORD = ".podsmith-packages.json"  # what our last complete installation left: normalised name -> version

_CUDA_SUFFIX = re.compile(r"^nvidia-.+-cu(?P<major>1[0-9])$")
_CUDA_FOLDER = re.compile(r"^nvidia/cu(?P<major>[0-9]+)/")
_PINNED = re.compile(rf"^Requires-Dist: ({NAME}\s*\(?==[\w.!+-]+\)?)\s*$", re.MULTILINE)


class Distribution(NamedTuple):
    """One installed distribution, as its dist-info folder tells."""

    name: str  # normalised
    version: str
    files: tuple[str, ...]  # relative to the folder, byte code left out
    missing: tuple[str, ...]  # listed in RECORD, not on the disk
    damaged: tuple[str, ...]  # on the disk with another size, or of the watched ones another digest


Distributions = dict[str, Distribution]  # by normalised name


class Work(NamedTuple):
    """What has to be installed for a folder to hold what is asked for. All empty: nothing to do, uv is not needed."""

    install: tuple[Requirement, ...]  # asked for, absent or there in another version
    restore: tuple[Requirement, ...]  # installed by us once, gone since
    repair: tuple[str, ...]  # there, with files missing or damaged; normalised names
    refetch: bool  # a file was changed in place, and uv's cache may share it: fetch it again

    @property
    def is_empty(self) -> bool:
        """Whether the folder holds all that is asked for."""
        return not (self.install or self.restore or self.repair)


def read_distributions(folder: str) -> Distributions:
    """The distributions of a folder such as ``site-packages``, each compared with its RECORD, with every file's size.

    Of the packages that are watched, the small files at the top are compared by their digests as well.

    A folder that is not there holds none.
    """
    root, found = Root(), {}
    for entry in sorted(pathlib.Path(folder).glob("*.dist-info")):
        name, _dash, version = entry.name[: -len(".dist-info")].partition("-")
        files = read_record(root, str(entry))
        damage = find_damage(root, folder, files or {}, measured_from=0)
        altered = find_altered(root, folder, str(entry)) if normalise(name) in WATCHED else ()
        damaged = tuple(dict.fromkeys((*damage.resized, *altered)))
        missing = damage.missing if files is not None else (f"{entry.name}/RECORD",)
        found[normalise(name)] = Distribution(normalise(name), version, tuple(files or ()), missing, damaged)
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
    """Compare what is asked for with what is there.

    :param constraints: exact versions that hold for what is there anyway; one that is broken is put right.
    :param present: what the folder itself holds.
    :param adopted: what an adopted environment adds to it: normalised name -> version.
    :param recorded: what our last complete installation left: normalised name -> version.
    :param reinstall: names found broken elsewhere.
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
    """The work in an environment that belongs to others: only what was named is repaired."""
    repair = tuple(sorted({normalise(name) for name in names} & set(present) - {wish.name for wish in work.install}))
    return Work(work.install, (), repair, any(present[name].damaged for name in repair))


def wishes(requirements: Iterable[Requirement], work: Work, present: Mapping[str, Distribution]) -> list[Requirement]:
    """What uv is asked for: every requirement that is not adopted, what is to be restored, what is to be repaired.

    A repair alone must not change a version; beside other changes the resolver decides on those that nothing names.
    """
    asked_for = {wish.name: wish for wish in work.install}
    asked_for.update({wish.name: wish for wish in requirements if wish.name in present})
    for wish in work.restore:
        asked_for.setdefault(wish.name, Requirement(wish.name, wish.name, None) if work.install else wish)
    for name in work.repair:
        pin = Requirement(f"{name}=={present[name].version}", name, present[name].version)
        asked_for.setdefault(name, Requirement(name, name, None) if work.install else pin)
    return list(asked_for.values())


def difference(before: Distributions, after: Distributions) -> dict[str, list[dict[str, str]]]:
    """What came and what went as ``{installed, removed}``; a replaced version is in both lists."""
    came = [item for name, item in after.items() if name not in before or before[name].version != item.version]
    went = [item for name, item in before.items() if name not in after or after[name].version != item.version]
    return {
        "installed": [{"name": item.name, "version": item.version} for item in came],
        "removed": [{"name": item.name, "version": item.version} for item in went],
    }


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
                found.append(f"{normalise(name)} requires {wish.text}, but {adopted[wish.name].version} is adopted")
    return found


def cuda_majors(distributions: Iterable[Distribution]) -> dict[int, list[str]]:
    """The CUDA majors whose libraries these distributions contain, each with their names.

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
    """Why these packages cannot work together, one clause each.

    A constraint that does not hold, libraries of two CUDA majors, parts of two minor releases.
    """
    both = {**adopted, **distributions}
    found = [
        f"{rule.name} is {both[rule.name].version}, expected {rule.version or rule.text}"
        for rule in constraints
        if rule.name in both and not satisfied(rule, {rule.name: both[rule.name].version})
    ]
    majors = cuda_majors(both.values())
    if len(majors) > 1:
        found.append(" beside ".join(f"CUDA {major} libraries ({', '.join(names)})" for major, names in majors.items()))
    return found + mixed_parts({name: distribution.version for name, distribution in both.items()})
