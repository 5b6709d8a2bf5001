# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is this difference of versions a problem? The driver's CUDA, the toolkit's and PyTorch's, in plain words. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import WayOut

DRIVER, TOOLKIT, TORCH = "driver", "toolkit", "pytorch"


@dataclass(frozen=True)
class Versions:
    """The versions that meet on a host; None: there is none, or it is not known."""

    driver: str | None = None  # "581.42"
    driver_cuda: str | None = None  # the CUDA release that the driver itself supports
    windows: bool = False  # it is Windows's driver, with Windows's numbers
    container: bool = False  # the driver is another machine's, and not to be changed from here
    toolkit: str | None = None  # the release of the active one
    beside: tuple[str, ...] = ()  # further toolkits
    torch: str | None = None  # "2.9.1+cu126"
    torch_cuda: str | None = None  # the CUDA runtime that it brings
    compat: str | None = None  # the CUDA release of a compat library that is in use


@dataclass(frozen=True)
class Difference:
    """Two or three versions side by side: what they are of, and whether their difference is a problem."""

    what: str
    numbers: dict[str, str] = field(default_factory=dict)  # driver, toolkit, pytorch → CUDA release
    problem: bool = False
    text: str = ""

    @property
    def differs(self) -> bool:
        """Whether the numbers are not all the same."""
        return len(set(self.numbers.values())) > 1


def compare_versions(
    versions: Versions, known: Catalogue, helps: Callable[[WayOut], bool] = lambda _way: False
) -> tuple[Difference, ...]:
    """All comparisons that the known versions allow; those of equal versions say so.

    ``helps`` tries a way out on the host: of a problem only those are told that it accepts.
    """
    found = []
    if versions.driver_cuda:
        for cuda, names in _by_release(versions).items():
            ways = _told(_driver_ways(versions, cuda, names, known), helps)
            found.append(_driver_and(versions, cuda, names, ways))
    if versions.torch_cuda:
        found += [_toolkit_and_torch(versions, versions.toolkit, helps)] if versions.toolkit else []
        found += [_beside_and_torch(versions, release) for release in versions.beside]
    return tuple(found)


def _by_release(versions: Versions) -> dict[str, tuple[str, ...]]:
    """CUDA release → what of the versions is of it, so that the driver is compared with each once."""
    parts = {TORCH: versions.torch_cuda, TOOLKIT: versions.toolkit}
    releases = dict.fromkeys(cuda for cuda in parts.values() if cuda)
    return {cuda: tuple(name for name, other in parts.items() if other == cuda) for cuda in releases}


def _driver_and(versions: Versions, cuda: str, names: tuple[str, ...], ways: list[str]) -> Difference:
    """The driver against what is built for a CUDA release."""
    level = str(versions.driver_cuda)
    numbers = {DRIVER: level, **dict.fromkeys(names, cuda)}
    words = {TORCH: f"PyTorch {versions.torch}" if versions.torch else "PyTorch", TOOLKIT: "the CUDA toolkit"}
    others = " and ".join(words[name] for name in names)
    verb = "are" if len(names) > 1 else "is"
    driver = f"{'Windows driver' if versions.windows else 'driver'} {versions.driver or ''}".strip()
    told = f"{driver} supports CUDA {level}; {others} {verb} built for CUDA {cuda}"
    problem, because = _judge_driver(versions, cuda, names, ways)
    return Difference(" and ".join((DRIVER, *_labels(names))), numbers, problem, f"{told}: {because}.")


def _judge_driver(versions: Versions, cuda: str, names: tuple[str, ...], ways: list[str]) -> tuple[bool, str]:
    """Whether a driver of one CUDA level serves another release, and why."""
    level = str(versions.driver_cuda)
    if level == cuda:
        return False, "the same"
    if parse_version(level) > parse_version(cuda):
        return False, "no problem, a newer driver runs what is built for older CUDA releases"
    if versions.compat and parse_version(versions.compat) >= parse_version(cuda):
        return False, f"no problem while the compat library of CUDA {versions.compat} is active"
    if _major(level) == _major(cuda):
        rest = "PTX does not"
        return False, f"no problem, within CUDA {_major(cuda)} compiled code runs on an older driver; {rest}"
    if names == (TOOLKIT,):
        because = "a problem for what it compiles: that does not start on this driver"
        return True, f"{because}; {', or '.join([*ways, 'only compile here'])}"
    told = f"; {', or '.join(ways)}" if ways else ""
    return True, f"a problem, CUDA {_major(cuda)} does not start on this driver{told}"


def _driver_ways(versions: Versions, cuda: str, names: tuple[str, ...], known: Catalogue) -> Iterator[list[WayOut]]:
    """What would bring driver and CUDA together, of each kind the nearest first; nothing where they are together."""
    level, rows = str(versions.driver_cuda), known["cuda"]["releases"]
    if parse_version(level) >= parse_version(cuda) or _major(level) == _major(cuda):
        return
    least = rows.get(cuda, {}).get("least_driver_windows" if versions.windows else "least_driver")
    if least:
        verb = "use a host with driver" if versions.container else "update the driver to"
        verb = "update the Windows driver to" if versions.windows else verb
        torch = str(versions.torch).partition("+")[0] if TORCH in names and versions.torch else "none"
        yield [WayOut(f"{verb} {least} or newer", {"cuda": cuda, "pytorch": torch}, {"driver": str(least)})]
    if names != (TOOLKIT,):
        older = [name for name in rows if _major(name) == _major(level)]
        nearest = sorted(older, key=lambda name: (parse_version(name) > parse_version(level), _distance(name, level)))
        wish = {"pytorch": "newest"}
        yield [WayOut(f"use CUDA {name}", {**wish, "cuda": name}) for name in nearest]


def _told(kinds: Iterable[list[WayOut]], helps: Callable[[WayOut], bool]) -> list[str]:
    """Of each kind the first that helps, in words."""
    found = (next((way.text for way in ways if helps(way)), None) for ways in kinds)
    return [text for text in found if text]


def _distance(release: str, other: str) -> int:
    return abs(parse_version(release)[1] - parse_version(other)[1])


def _toolkit_and_torch(versions: Versions, release: str, helps: Callable[[WayOut], bool]) -> Difference:
    """The active toolkit against PyTorch: whether extensions build."""
    cuda, torch = str(versions.torch_cuda), f"PyTorch {versions.torch}" if versions.torch else "PyTorch"
    numbers = {TOOLKIT: release, TORCH: cuda}
    told = f"CUDA toolkit {release}; {torch} is built with CUDA {cuda}"
    if release == cuda:
        return Difference("toolkit and PyTorch", numbers, False, f"{told}: the same.")
    if _major(release) == _major(cuda):
        text = f"{told}: no problem, extensions build across releases of CUDA {_major(cuda)}; PyTorch only warns."
        return Difference("toolkit and PyTorch", numbers, False, text)
    own = WayOut(f"use a CUDA toolkit {cuda}", {"cuda": cuda, "pytorch": str(versions.torch).partition("+")[0]})
    other = WayOut(f"use a PyTorch for CUDA {release}", {"cuda": release, "pytorch": "newest"})
    remedy = ", or ".join(_told(([own], [other]), helps)).replace(", or use ", ", or ")
    text = f"{told}: a problem, PyTorch refuses to build extensions across CUDA majors{'; ' if remedy else ''}{remedy}."
    return Difference("toolkit and PyTorch", numbers, True, text)


def _beside_and_torch(versions: Versions, release: str) -> Difference:
    """A further toolkit, which CUDA_HOME does not name, against PyTorch."""
    cuda = str(versions.torch_cuda)
    told = f"CUDA toolkit {release} is installed as well; PyTorch is built with CUDA {cuda}"
    if _major(release) == _major(cuda):
        because = "no problem, extensions of PyTorch would build with it too"
    elif versions.toolkit and _major(versions.toolkit) == _major(cuda):
        because = (
            f"no problem, extensions of PyTorch build with CUDA toolkit {versions.toolkit}, which is the active one"
        )
    else:
        because = "no problem for what it compiles by itself; extensions of PyTorch do not build with it"
    return Difference(f"toolkit {release} and PyTorch", {TOOLKIT: release, TORCH: cuda}, False, f"{told}: {because}.")


def _labels(names: Iterable[str]) -> tuple[str, ...]:
    return tuple({TORCH: "PyTorch", TOOLKIT: "toolkit"}[name] for name in names)


def _major(version: str) -> int:
    return parse_version(version)[0]
