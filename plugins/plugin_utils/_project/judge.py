# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the PyTorch of an environment, and what is to be installed and removed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.expected import Expected, exact, is_right
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.words import FAMILY, build_name

OK = "ok"
LISTED = 4  # how many packages a sentence names


def judge(environment: Mapping[str, Any], expected: Expected) -> tuple[str, list[str]]:
    """What is wrong with the environment's PyTorch: a verdict (ok, swapped, mixed, missing, damaged), and sentences."""
    torch = environment.get("torch")
    if torch is None:
        return "missing", [f"torch is not installed; expected {expected.local}"]
    found = _misfits(environment, expected)
    verdict = "swapped" if found else OK
    majors = {major: names for major, names in environment["majors"].items() if names}
    if foreign := find_foreign(environment, expected):
        verdict = "mixed" if verdict == OK and len(majors) > 1 else verdict
        more = f" and {len(foreign) - LISTED} more" if len(foreign) > LISTED else ""
        named = ", ".join(foreign[:LISTED])
        found.append(
            f"libraries of CUDA {' and '.join(sorted(majors))} are installed side by side: {named}{more}"
            if len(majors) > 1
            else f"the installed libraries are built for CUDA {next(iter(majors))}: {named}"
        )
    damaged = [*environment["broken"], *(environment["lacks"] if verdict == OK else [])]
    if damaged:
        verdict = "damaged" if verdict == OK else verdict
        found.append(f"files of these packages are missing or of another version: {', '.join(damaged[:LISTED])}")
    return verdict, found


def _misfits(environment: Mapping[str, Any], expected: Expected) -> list[str]:
    """Which of torch and its companions are not the expected ones."""
    torch, found = environment["torch"], []
    if not is_right(torch["version"], torch["cuda"], expected):
        there, right = build_name(torch["version"], torch["cuda"]), build_name(expected.local, expected.cuda)
        found.append(f"torch {there} is installed; expected {right}")
    for name, version in expected.companions.items():
        installed = environment["packages"].get(name)
        if installed is None:
            found.append(f"{name} is not installed; expected {version}")
        elif not _same_build(environment, expected, name):
            found.append(f"{name} {installed} is installed; expected {version}")
    return found


def _same_build(environment: Mapping[str, Any], expected: Expected, name: str) -> bool:
    """Whether a companion is the expected one; without a local label it goes with a torch that has none."""
    installed, version = environment["packages"][name], expected.companions[name]
    if "+" in installed:
        return bool(installed == version)
    unlabelled = "+" not in exact(environment, expected)["torch"]
    return unlabelled and parse_version(installed) == parse_version(version.partition("+")[0])


def find_foreign(environment: Mapping[str, Any], expected: Expected) -> list[str]:
    """The libraries of another CUDA major than the expected one."""
    if expected.cuda is None:
        return []
    own = expected.cuda.partition(".")[0]
    return sorted(name for major, names in environment["majors"].items() if major != own for name in names)


def find_packages(environment: Mapping[str, Any], expected: Expected) -> tuple[dict[str, Any], list[str]]:
    """What the installer is asked for where something is wrong, and what is kept for others, in sentences."""
    remove, notes = [], []
    for name in find_foreign(environment, expected):
        others = [other for other in environment["needed_by"].get(name, []) if other not in FAMILY]
        if others:
            needed = f"{', '.join(others)} {'needs' if len(others) == 1 else 'need'} it"
            notes.append(f"{name} is kept, because {needed}; remove them if they are not used.")
        else:
            remove.append(name)
    torch = environment.get("torch")
    right = torch is not None and is_right(torch["version"], torch["cuda"], expected)
    lacks = environment["lacks"] if right else []
    packages = {
        "requirements": [*(f"{name}=={version}" for name, version in exact(environment, expected).items()), *lacks],
        "remove": remove,
        "reinstall": sorted({*environment["broken"]} - {*remove}),
        "index_url": expected.url,
    }
    return packages, notes
