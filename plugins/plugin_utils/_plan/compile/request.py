# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be compiled on a host: the request, held against the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue, Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import Request
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import NAME, RequestError, nearest, unlisted

TORCH = "torch"
PROVIDER = "source"
CXX17 = 17


def check_source(request: Request, known: Catalogue) -> None:
    """Raise RequestError for a package that cannot be built, a switch that is none, and a request without PyTorch."""
    packages, features = known["source"]["packages"], known["source"]["features"]
    extensions = [name for name in packages if name != TORCH]
    for name, version in wished_extensions(request).items():
        if name == TORCH:
            raise RequestError(
                f"{NAME}.source.extensions lists torch; expected its extensions such as flash-attn; "
                "set wheels.provider: source to build PyTorch itself."
            )
        if name not in packages:
            raise RequestError(
                f'{NAME}.source.extensions names "{name}", which the catalogue cannot build; '
                f"{nearest(name, sorted(extensions))}"
            )
        if version is not None and version not in releases(name, known):
            raise unlisted(f"source.extensions: {name}", version, releases(name, known))
    for name in request.source.urls:
        if name not in packages:
            told = f'{NAME}.source.urls names "{name}", which the catalogue cannot build'
            raise RequestError(f"{told}; {nearest(name, sorted(packages))}")
    for name in request.source.features:
        if name in known["source"]["unreal"]:
            because = known["source"]["unreal"][name]["because"]
            raise RequestError(f"{NAME}.source.features.{name} is no switch of PyTorch's build: {because}; remove it.")
        if name not in features:
            raise RequestError(
                f"{NAME}.source.features.{name} is no switch of PyTorch's build that the catalogue has; "
                f"{nearest(name, sorted(features))}"
            )
    if request.wheels.provider == PROVIDER and request.pytorch == "none":
        raise RequestError(f"{NAME}.wheels.provider is source and pytorch is none; set pytorch, or drop the provider.")


def wished_extensions(request: Request) -> dict[str, str | None]:
    """Package → version, or None where the newest that fits is wished."""
    pairs = (name.partition("==") for name in request.source.extensions)
    return {name: version or None for name, _sign, version in pairs}


def for_other_gpus(request: Request, known: Catalogue) -> bool:
    """Whether a host without a GPU is to compile for those of others: PyTorch itself, or what needs one for CUDA."""
    packages = known["source"]["packages"]
    needed = [name for name in wished_extensions(request) if packages[name]["cuda"] == "required"]
    return request.wheels.provider == PROVIDER or bool(needed and request.architectures)


def releases(name: str, known: Catalogue) -> Mapping[str, Row]:
    """Version → what it requires, as in pypi.yml, and of PyTorch only what its own build compiles with."""
    package = known["source"]["packages"][name]
    listed: Mapping[str, Row] = {
        version: {"python": row["python"], "requires": {TORCH: row["torch"]}, "yanked": False, **row}
        for version, row in package["releases"].items()
    } or known["pypi"]["packages"].get(name, {})
    last = package.get("cxx17")
    if not last:
        return listed
    return {
        version: _below_cxx20(row, known) if parse_version(version) <= parse_version(last) else row
        for version, row in listed.items()
    }


def _below_cxx20(row: Row, known: Catalogue) -> Row:
    """A release whose build fixes C++17: PyTorch's headers ask for C++20 from some release on, whatever else is set.

    Source: source.yml, headers.
    """
    newer = [version for version, needs in known["source"]["headers"].items() if needs["standard"] > CXX17]
    spec = ",".join(filter(None, (row["requires"].get(TORCH), f"<{min(newer, key=parse_version)}")))
    return {**row, "requires": {**row["requires"], TORCH: spec}}


def components(names: Iterable[str], wished: tuple[str, ...], known: Catalogue) -> tuple[str, ...]:
    """The toolkit's components: as wished, and all that the builds of these packages need."""
    needed = [part for name in names for part in known["source"]["packages"][name]["components"]]
    every = tuple(dict.fromkeys((*wished, *needed)))
    return ("full",) if "full" in every else every
