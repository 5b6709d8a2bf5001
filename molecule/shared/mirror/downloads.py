# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real wheels: which the catalogue asks for, and fetching those that are not here yet with the controller's pip."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

Row = Mapping[str, Any]
Catalogue = Mapping[str, Mapping[str, Mapping[str, Any]]]

REAL_RELEASE = "13.0"  # the toolkit whose compiler is real
PYTHONS = ("3.11", "3.12", "3.13")  # of the images: Debian 12, the vendor's, Debian 13
IMAGE_PYTHONS = ("3.13",)  # of what an image is built on: Debian 13, which is there whether the vendor's is or not
PER_PYTHON = ("cffi", "markupsafe", "pyyaml")  # of a controller; the rest of it is the same for all
LOCK = Path(__file__).resolve().parents[3] / "requirements.txt"
COMPILER_EXTRAS = ("nvcc", "cudart", "cccl")  # of cuda-toolkit, as the catalogue's component "compiler" names them
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


MANAGERS = ("poetry", "pip-tools")  # real ones, with all that they need
MANAGERS_PYTHON = "3.13"  # of the image of the pods that have projects: Debian 13


class DownloadError(Exception):
    """A wheel could not be had; the text says which and what to do."""


class Wanted(NamedTuple):
    """A wheel to fetch: ``==13.0.88``, ``==12.8.*`` or any; ``python`` is set where each has a wheel of its own."""

    name: str
    specifier: str = ""
    python: str | None = None


def newest_toolkit(known: Catalogue, release: str) -> tuple[str, Row]:
    """The newest ``cuda-toolkit`` of a release on PyPI: its version and its row."""
    rows = known["pypi"]["packages"]["cuda-toolkit"]
    version = max((version for version in rows if version.startswith(f"{release}.")), key=Version)
    return version, rows[version]


def runtime_of(known: Catalogue, cuda: str) -> Wanted:
    """The wheel with NVIDIA's libcudart for a CUDA release: since 13 its name has no suffix."""
    major = int(cuda.partition(".")[0])
    if major < 13:
        return Wanted(f"nvidia-cuda-runtime-cu{major}", f"=={cuda}.*")
    extras = newest_toolkit(known, cuda)[1]["extras"]
    return Wanted("nvidia-cuda-runtime", f"=={extras['cudart']['nvidia-cuda-runtime']}")


def compiler_of(known: Catalogue) -> list[Wanted]:
    """The wheels that make the real compiler, and the meta wheel that names them."""
    version, row = newest_toolkit(known, REAL_RELEASE)
    parts = {name: exact for extra in COMPILER_EXTRAS for name, exact in row["extras"][extra].items()}
    return [*(Wanted(name, f"=={exact}") for name, exact in parts.items()), Wanted("cuda-toolkit", f"=={version}")]


def cutlass_of(known: Catalogue) -> Wanted:
    """The newest CUTLASS whose headers are on PyPI."""
    versions = [row["pypi"] for row in known["cutlass"]["releases"].values() if row["pypi"]]
    return Wanted(known["cutlass"]["sources"]["pypi"]["package"], f"=={max(versions, key=Version)}")


def controller_of(lock: Path) -> list[Wanted]:
    """The wheels of a controller inside an image, as its lock names them, for the Pythons of the images of pods."""
    found = []
    for line in lock.read_text(encoding="utf-8").splitlines():
        if "==" not in line or line.startswith((" ", "#")):
            continue
        wish = Requirement(line.rstrip("\\ "))
        marked = {python: wish.marker is None or wish.marker.evaluate(_markers(python)) for python in IMAGE_PYTHONS}
        one_for_all = all(marked.values()) and canonicalize_name(wish.name) not in PER_PYTHON
        pythons = [None] if one_for_all else [python for python in IMAGE_PYTHONS if marked[python]]
        found += [Wanted(wish.name, str(wish.specifier), python) for python in pythons]
    return list(dict.fromkeys(found))


def _markers(python: str) -> dict[str, str]:
    return {"python_version": python, "python_full_version": f"{python}.0"}


def list_wanted(known: Catalogue) -> list[Wanted]:
    """Every real wheel of the mirror."""
    tools = known["tools"]["tools"]
    cudas = {row["cuda"] for row in known["pytorch"]["indexes"].values() if row["cuda"]}
    return list(
        dict.fromkeys(
            [
                *compiler_of(known),
                *(runtime_of(known, cuda) for cuda in sorted(cudas)),
                cutlass_of(known),
                *(Wanted(name, f"=={tools[name]['version']}") for name in ("uv", "ninja", "setuptools")),
                Wanted("pip"),
                *(Wanted("numpy", "", python) for python in PYTHONS),
                *controller_of(LOCK),
            ]
        )
    )


def find_wheel(folder: Path, wanted: Wanted) -> Path | None:
    """The newest wheel in a folder that is wanted, None where there is none."""
    found: list[tuple[Version, Path]] = []
    for path in folder.glob("*.whl"):
        name, version, _build, tags = parse_wheel_filename(path.name)
        interpreter = f"cp{(wanted.python or '').replace('.', '')}"
        fits = wanted.python is None or any(tag.interpreter in (interpreter, "py3") for tag in tags)
        if name == canonicalize_name(wanted.name) and version in SpecifierSet(wanted.specifier) and fits:
            found.append((version, path))
    return max(found)[1] if found else None


def fetch(wanted: Iterable[Wanted], folder: Path) -> dict[Wanted, Path]:
    """Each wanted wheel's file in ``folder``; what is not there is fetched by pip as the controller is configured.

    Raises DownloadError where pip cannot bring one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    every = list(wanted)
    missing: dict[str, list[str]] = defaultdict(list)
    for one in every:
        if find_wheel(folder, one) is None:
            missing[one.python or PYTHONS[-1]].append(f"{one.name}{one.specifier}")
    for python, requirements in missing.items():
        _download(requirements, python, folder)
    found = {one: find_wheel(folder, one) for one in every}
    lacking = [f"{one.name}{one.specifier}" for one, path in found.items() if path is None]
    if lacking:
        raise DownloadError(
            f"pip ended well, but {folder} still lacks {', '.join(lacking)}; delete {folder}, try again."
        )
    return {one: path for one, path in found.items() if path is not None}


def fetch_managers(folder: Path) -> list[Path]:
    """The wheels of the package managers that own projects, newest releases, with all that they need.

    What is in ``folder`` stays as it is once it is complete. Raises DownloadError where pip cannot bring one.
    """
    complete = folder / ".complete"
    wanted = " ".join((*MANAGERS, MANAGERS_PYTHON))
    if not complete.is_file() or complete.read_text(encoding="utf-8") != wanted:
        folder.mkdir(parents=True, exist_ok=True)
        _pip_download(MANAGERS, MANAGERS_PYTHON, folder)
        complete.write_text(wanted, encoding="utf-8")
    return sorted(folder.glob("*.whl"))


def _download(requirements: Iterable[str], python: str, folder: Path) -> None:
    """Runtimes of several CUDAs share a name, which one call of pip would take for a conflict: a call each."""
    for requirement in requirements:
        _pip_download([requirement], python, folder, "--no-deps")


def _pip_download(requirements: Iterable[str], python: str, folder: Path, *options: str) -> None:
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", *options]
    argv += [f"--platform={platform}" for platform in PLATFORMS]
    argv += [f"--python-version={python}", f"--dest={folder}", *requirements]
    answer = subprocess.run(argv, capture_output=True, text=True, check=False)
    if answer.returncode:
        said = (answer.stderr.strip().splitlines() or ["it said nothing"])[-1]
        names = ", ".join(requirements)
        raise DownloadError(
            f"pip could not fetch {names} for Python {python}: {said}; check the pip configuration here."
        )
