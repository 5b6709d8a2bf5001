# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A patch release of the toolkit that is asked for by name: what is of it, and what only may be. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue, Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import NAME, RequestError

NVCC, COMPILER = "nvidia-cuda-nvcc", ("nvidia-cuda-crt", "nvidia-nvvm")  # what nvcc includes and calls


def split_patch(wanted: str) -> tuple[str, str | None]:
    """The release of a version and, where it names one, the patch release: ("13.0", "13.0.2")."""
    release = ".".join(wanted.split(".")[:2])
    return release, wanted if wanted != release else None


def check_patch(where: str, wanted: str, known: Catalogue) -> None:
    """Raise RequestError for nvcc's own number in place of the toolkit's: 13.0.88 is of several patch releases."""
    rows = known["toolkits"]["patches"]
    of_nvcc = [patch for patch, row in rows.items() if row["nvcc"] == wanted]
    if wanted not in rows and of_nvcc:
        raise RequestError(
            f'{NAME}.{where} is "{wanted}", which is the number of nvcc; expected that of the toolkit: '
            f"{' or '.join(of_nvcc)}."
        )


def other_patch(row: Row, patch: str, known: Catalogue, *, strict: bool) -> Refusal | None:
    """Why a toolkit that is there is not of a patch release, or None.

    :param strict: whether one that only may be of it is refused as well.
    """
    path, version = row["path"], str(row.get("version") or "")
    if row.get("patch"):
        found = str(row["patch"])
        return None if found == patch else Refusal(f"the one at {path} is CUDA {found}, not {patch}")
    rows = known["toolkits"]["patches"]
    pins = rows.get(patch)
    if pins and version.count(".") == 2 and version != pins["nvcc"]:
        return Refusal(f"the one at {path} has nvcc {version}; CUDA {patch} has {pins['nvcc']}")
    possible = [
        name for name, other in rows.items() if other["nvcc"] == version and _parts(other) != _parts(pins or {})
    ]
    if strict and (possible or pins is None or version.count(".") < 2):
        others = f", as {' and '.join(possible)} have it" if possible else ""
        return Refusal(f"whether the one at {path} is CUDA {patch} is unknown: its nvcc says {version}{others}")
    return None


def pin_packages(packages: tuple[str, ...], release: str, patch: str, known: Catalogue) -> tuple[str, ...] | Refusal:
    """NVIDIA's packages for apt in the very versions of a patch release, or why these are not known.

    Packages that others depend on come in their newest version, so that the compiler of an older update would call
    parts of a newer one.
    """
    rows = known["toolkits"]["patches"]
    pins, numbers = rows.get(patch), {name: row["part"] for name, row in known["cuda"]["patch_packages"].items()}
    if pins is None:
        return Refusal(f"the versions of NVIDIA's packages of CUDA {patch} are not known")
    newest = max((row["nvcc"] for name, row in rows.items() if split_patch(name)[0] == release), key=parse_version)
    if pins["nvcc"] != newest:
        because = f"NVIDIA's packages of nvcc {pins['nvcc']} come with other parts of the compiler of {newest}"
        return Refusal(f"{because}, the newest update of CUDA {release}")
    dashed, found = release.replace(".", "-"), []
    for package in packages:
        part = numbers.get(package.removesuffix(f"-{dashed}"))
        if part is None or not str(pins[part]).startswith(f"{release}."):
            return Refusal(f"the version of {package} that belongs to CUDA {patch} is not known")
        found.append(f"{package}={pins[part]}-1")
    return tuple(found)


def is_whole(extras: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether cuda-toolkit's ``nvcc`` extra names all parts of one compiler, all of the same version."""
    pins = extras.get("nvcc", {})
    return len({pins.get(name) for name in (NVCC, *COMPILER)}) == 1 and bool(pins.get(NVCC))


def _parts(row: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in row.items() if name not in ("source", "confidence")}
