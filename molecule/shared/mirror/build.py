#!/usr/bin/env python
# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fill ``.cache/molecule/mirror/``, from which simulated pods take packages, wheels and CUTLASS.

Nothing is done where nothing changed. What was downloaded once stays in ``.cache/molecule/wheels/``.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable
from pathlib import Path

import downloads
import packages
import standins
import wheels

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / ".ansible" / "collections"))

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import load_catalogue

SHARED = ROOT / "molecule" / "shared"
CACHE = ROOT / ".cache" / "molecule"
ENTRIES = (
    "cuda",
    "whl",
    "pypi",
    "cutlass.git",
    "podsmith-kernels.git",
    "podsmith-kernels-cuda.git",
    "fingerprint",
)  # of a complete mirror
STAMP = ".stamp"
PROJECT = ROOT / "molecule" / "pytorch_source"  # a CUDA extension: project/ and its submodule kernels/
SDIST = "podsmith_kernels-1.0"
HEADERS = "cutlass_library/source/"  # CUTLASS inside its wheel


class BuildError(Exception):
    """The mirror could not be built; the text says what to do."""


def digest_inputs() -> str:
    """SHA-256 of everything that the mirror is made from, but for the wheels, which the catalogue names."""
    digest = hashlib.sha256()
    folders = (
        SHARED / "mirror",
        SHARED / "simulated_driver",
        ROOT / "catalogue",
        PROJECT / "project",
        PROJECT / "kernels",
    )
    files = (downloads.LOCK, *(path for folder in folders for path in folder.rglob("*")))
    for path in sorted(files):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".md":
            digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def is_current(mirror: Path, digest: str) -> bool:
    """Whether the mirror is complete and made from these inputs."""
    stamp = mirror / STAMP
    return stamp.is_file() and stamp.read_text() == digest and all((mirror / name).exists() for name in ENTRIES)


def replace_contents(mirror: Path, new: Path) -> None:
    """Put a new mirror's contents into the folder of the old one, which a container may have mounted."""
    mirror.mkdir(parents=True, exist_ok=True)
    for name in ENTRIES:
        old = mirror / name
        if old.is_dir():
            shutil.rmtree(old)
        (new / name).replace(old)


def publish(work: Path, image: str) -> None:
    """Pack what is staged in ``work/stage`` into ``work/mirror``, in a container.

    Raises BuildError where that fails.
    """
    key = CACHE / "gnupg"
    key.mkdir(mode=0o700, parents=True, exist_ok=True)
    volumes = {work: "/work", key: "/key", SHARED: "/shared:ro"}
    argv = [
        "docker",
        "run",
        "--rm",
        "--network=none",
        f"--user={os.getuid()}:{os.getgid()}",
        "--entrypoint=/shared/mirror/publish.sh",
    ]
    argv += [f"--volume={path}:{place}" for path, place in volumes.items()]
    argv += [image, "/work", "/key", "/shared"]
    try:
        answer = subprocess.run(argv, capture_output=True, text=True, check=False)
    except OSError as error:
        raise BuildError(f"docker cannot be run ({error}); install Docker's engine and command line.") from error
    if answer.returncode:
        said = " ".join((answer.stderr or answer.stdout).split())[-600:]
        raise BuildError(f"publish.sh in a container of {image} ended with status {answer.returncode}: {said}")


def build(mirror: Path, image: str) -> None:
    """Build the whole mirror beside the old one, then take its place.

    Raises BuildError or DownloadError.
    """
    known = load_catalogue()
    found = downloads.fetch(downloads.list_wanted(known), CACHE / "wheels")
    cudas = [row["cuda"] for row in known["pytorch"]["indexes"].values() if row["cuda"]]
    runtimes = {cuda: found[downloads.runtime_of(known, cuda)] for cuda in cudas}
    compiler = {wanted.name: found[wanted] for wanted in downloads.compiler_of(known)}
    with tempfile.TemporaryDirectory(dir=CACHE, prefix=".mirror-") as folder:
        stage, new = Path(folder, "stage"), Path(folder, "mirror")
        (stage / "packages").mkdir(parents=True)
        new.mkdir()
        sdist = wheels.write_sdist(new / "pypi" / "podsmith-kernels", SDIST, stage_project(stage))
        real = [sdist, *(wheels.link_wheel(new / "pypi" / wanted.name, path) for wanted, path in found.items())]
        names = {wanted.name for wanted in found}
        managers = downloads.fetch_managers(CACHE / "wheels" / "managers")
        real += [
            wheels.link_wheel(new / "pypi" / wheels.normalise(name), path)
            for path in managers
            if (name := path.name.partition("-")[0]) and wheels.normalise(name) not in names
        ]
        versions = {cuda: packages.version_of(path) for cuda, path in runtimes.items()}
        for place, made in standins.write_all(new, known, versions).items():
            wheels.write_index(new / place, made + real)
        for package in packages.list_toolkits(known, compiler, runtimes):
            packages.stage(stage / "packages", package)
        for package in packages.list_drivers(known):
            packages.stage(stage / "packages", package)
        lines = []
        for compat in packages.list_compat(known):
            tree = packages.stage(stage / "packages", compat.package)
            lines.append(" ".join([tree.name, *compat[1:]]))
        write_lines(stage / "compat", lines)
        repositories = known["cuda"]["repositories"].items()
        write_lines(stage / "repositories", [name for name, row in repositories if "x86_64" in row["architectures"]])
        releases = known["cutlass"]["releases"].items()
        write_lines(stage / "cutlass.tags", [f"{row['tag']} {version.replace('.', ' ')}" for version, row in releases])
        unpack_cutlass(found[downloads.cutlass_of(known)], stage / "cutlass")
        publish(Path(folder), image)
        replace_contents(mirror, new)


def stage_project(stage: Path) -> dict[str, bytes]:
    """Put the project and its submodule where publish.sh makes repositories of them; return what an sdist has."""
    contents = {}
    for name, below in (("project", ""), ("kernels", "kernels/")):
        shutil.copytree(PROJECT / name, stage / name)
        for path in sorted((PROJECT / name).rglob("*")):
            if path.is_file():
                contents[f"{below}{path.relative_to(PROJECT / name)}"] = path.read_bytes()
    return contents


def unpack_cutlass(wheel: Path, folder: Path) -> None:
    """Write CUTLASS's headers as its repository has them."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.startswith(f"{HEADERS}include/"):
                path = folder / name.removeprefix(HEADERS)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.read(name))


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a list for publish.sh."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def main() -> None:
    """Build the mirror where it is not current."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", default="podsmith-pod:debian12", help="image whose tools pack and sign")
    arguments = parser.parse_args()
    mirror, digest, start = CACHE / "mirror", digest_inputs(), time.monotonic()
    if is_current(mirror, digest):
        return
    try:
        (mirror / STAMP).unlink(missing_ok=True)
        build(mirror, arguments.image)
    except (BuildError, downloads.DownloadError) as error:
        parser.exit(1, f"The mirror was not built: {error}\n")
    (mirror / STAMP).write_text(digest)
    sys.stdout.write(f"The mirror is in {mirror.relative_to(ROOT)}, built in {time.monotonic() - start:.0f} s.\n")


if __name__ == "__main__":
    main()
