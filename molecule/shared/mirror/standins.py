# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand-ins for PyTorch and what extends it: pure-Python wheels under the real names, versions and dependencies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from downloads import Catalogue, Row, runtime_of
from packaging.specifiers import SpecifierSet
from wheels import Wheel, write_wheel

ARCHITECTURE = "x86_64"
CPU = "cpu"
TORCH = Path(__file__).parent / "files" / "torch"
FAMILY = ("torch", "torchvision", "torchaudio", "triton", "xformers")  # what stand-ins require of each other


@dataclass(frozen=True)
class Build:
    """A build of PyTorch: the index it lies in, None for PyPI; its CUDA; the architectures that it has code for."""

    torch: str
    index: str | None
    cuda: str | None
    architectures: tuple[str, ...]

    @property
    def version(self) -> str:
        """Its version, with the index as the local part."""
        return f"{self.torch}+{self.index}" if self.index else self.torch


def list_builds(known: Catalogue) -> Iterator[Build]:
    """Every build of PyTorch for Linux on x86_64: those of its own indexes, and PyPI's default one."""
    for torch, release in known["pytorch"]["releases"].items():
        codes: dict[str | None, tuple[str, ...]] = {}
        for index, rows in release["indexes"].items():
            if ARCHITECTURE in rows:
                code = tuple(rows[ARCHITECTURE]["linux"])
                cuda = known["pytorch"]["indexes"][index]["cuda"]
                codes[cuda] = (*code, *rows[ARCHITECTURE]["ptx"])
                yield Build(torch, index, cuda, codes[cuda])
        default = known["pypi"]["packages"]["torch"].get(torch)
        if default and default["cuda"] in codes:
            yield Build(torch, None, default["cuda"], codes[default["cuda"]])


def write_torch(folder: Path, build: Build, known: Catalogue, runtimes: Mapping[str, str]) -> Wheel:
    """Write the stand-in for a build; ``runtimes``: CUDA -> exact version of the runtime's wheel."""
    row = known["pypi"]["packages"]["torch"].get(build.torch, {})
    requires = [f"{name}{spec}" for name, spec in row.get("requires", {}).items() if name == "setuptools"]
    if build.cuda:
        requires += [f"{runtime_of(known, build.cuda).name}=={runtimes[build.cuda]}"]
        requires += [f"triton{row['requires']['triton']}"] if "triton" in row.get("requires", {}) else []
    files = {f"torch/{path.name}": path.read_bytes() for path in sorted(TORCH.glob("*.py"))}
    files["torch/version.py"] = f"__version__ = {build.version!r}\ncuda = {build.cuda!r}\n".encode()
    files["torch/lib/libtorch_python.so"] = b"\0" + " ".join(build.architectures).encode() + b"\0"
    return write_wheel(
        folder,
        "torch",
        build.version,
        files,
        summary="Stand-in for PyTorch in simulated pods: no tensors",
        requires=requires,
        python=row.get("python"),
    )


def write_other(folder: Path, name: str, version: str, row: Row, module: str, index: str | None = None) -> Wheel:
    """Write the stand-in for a package that extends PyTorch."""
    local = f"{version}+{index}" if index else version
    docstring = f"A stand-in for {name}, of the collection's simulated pods: there is nothing in it."
    source = f'"""{docstring}"""\n\n__version__ = {local!r}\n'
    return write_wheel(
        folder,
        name,
        local,
        {f"{module}/__init__.py": source.encode()},
        summary=f"Stand-in for {name} in simulated pods: nothing in it",
        requires=[f"{package}{spec}" for package, spec in row["requires"].items() if package in FAMILY],
        python=row["python"],
    )


def write_all(root: Path, known: Catalogue, runtimes: Mapping[str, str]) -> dict[str, list[Wheel]]:
    """Write every stand-in below ``root``: the index's folder (``whl/cu130``, ``pypi``) -> its wheels."""
    found: dict[str, list[Wheel]] = {f"whl/{index}": [] for index in known["pytorch"]["indexes"]}
    found["pypi"] = []
    torches: dict[str, list[str]] = {}
    for build in list_builds(known):
        place = f"whl/{build.index}" if build.index else "pypi"
        found[place].append(write_torch(root / place / "torch", build, known, runtimes))
        torches.setdefault(build.index or "", []).append(build.torch)
    for name, about in known["extensions"]["packages"].items():
        if not about["wheels"]:
            continue
        for version, row in known["pypi"]["packages"].get(name, {}).items():
            wheel = write_other(root / "pypi" / name, name, version, row, about["import"])
            for place in found if about["bundled"] else ("pypi",):  # PyTorch's indexes have what comes with it, too
                found[place].append(wheel)
            if about["index"] == "pytorch" and "torch" in row["requires"]:
                for index in _fitting(row["requires"]["torch"], torches):
                    folder = root / f"whl/{index}" / name
                    found[f"whl/{index}"].append(write_other(folder, name, version, row, about["import"], index))
    return found


def _fitting(torch: str, torches: Mapping[str, list[str]]) -> list[str]:
    """PyTorch's indexes that have a release which a package can extend; ``torch``: what it requires."""
    wanted = SpecifierSet(torch)
    return [index for index, releases in torches.items() if index and any(wanted.filter(releases))]
