# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is published of one release of an extension: for which C library, for which CUDA and where, and by what name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue, Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal


@dataclass(frozen=True)
class Variant:
    """A build of a release for another CUDA than its wheel's on PyPI; ``index`` is an address."""

    name: str  # cu129, cpu: what the version ends in
    index: str


def why_not_here(row: Row, arch: str | None, glibc: str | None) -> Refusal | None:
    """Why a row's wheels cannot be installed on a host with this C library, or None; unknown is no reason.

    Source: the platform tags of the wheels (PEP 600), which pip and uv compare with the host's glibc.
    """
    needed = row.get("glibc_aarch64", row.get("glibc")) if arch == "aarch64" else row.get("glibc")
    if not needed or not glibc or parse_version(glibc) >= parse_version(needed):
        return None
    return Refusal(f"needs glibc {needed}; found {glibc}")


def find_variant(row: Row, arch: str, cuda: str | None, glibc: str | None) -> Variant | None:
    """The build to take for a PyTorch of this CUDA instead of the wheel on PyPI, or None where that wheel is as good.

    ``cuda`` None: PyTorch is for the CPU. Taken where PyPI's wheel is for another CUDA major, of that major the same
    CUDA first, then the newest; a wheel that needs no CUDA serves every PyTorch.
    """
    built = row.get("cuda" if arch == "x86_64" else "cuda_aarch64")
    if built is None or (cuda and _major(built) == _major(cuda)):
        return None
    found = {
        name: entry
        for name, entry in (row.get("variants") or {}).items()
        if arch in entry["architectures"]
        and (_major(entry["cuda"]) == _major(cuda) if cuda and entry["cuda"] else entry["cuda"] is cuda)
        and why_not_here(entry, None, glibc) is None
    }
    if not found:
        return None
    best = max(found, key=lambda name: (found[name]["cuda"] == cuda, parse_version(found[name]["cuda"] or "0")))
    return Variant(best, str(found[best]["index"]))


def index_name(url: str, known: Catalogue) -> str:
    """What an index is called in a decision: PyTorch's own by their names, others by their address."""
    return next((name for name, row in known["pytorch"]["indexes"].items() if row["url"] == url), url)


def asked_for(name: str, version: str, about: Row, cuda: str | None) -> str:
    """The requirement of a release, with the extra that it has for this CUDA: nvidia-cutlass-dsl[cu13]==4.8.1."""
    extra = (about.get("extras") or {}).get(str(_major(cuda))) if cuda else None
    return f"{name}[{extra}]=={version}" if extra else f"{name}=={version}"


def real_name(name: str, cuda: str | None, known: Catalogue) -> str | Refusal:
    """The package that a name stands for beside a PyTorch of this CUDA: cupy is cupy-cuda13x with CUDA 13."""
    row = known["extensions"].get("alternatives", {}).get(name)
    if row is None:
        return name
    packages: Mapping[str, str] = row["packages"]
    if cuda is None:
        return Refusal("it needs CUDA, and this environment is for the CPU")
    found = packages.get(str(_major(cuda)))
    return found or Refusal(f"has no build for CUDA {cuda}")


def _major(cuda: str) -> int:
    return parse_version(cuda)[0]
