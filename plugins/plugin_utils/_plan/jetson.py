# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a host is a Jetson, and which Jetson Linux (L4T) it can be, by whatever of it was observed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue, Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version

CONTAINER = "container"
# 5.15.148-tegra of NVIDIA, 6.8.12-1021-tegra of Ubuntu; the kernels of Yocto's layer have the release itself in it.
TEGRA_KERNEL = re.compile(r"(?P<kernel>\d+\.\d+)\S*-tegra\b|.*-l4t-r(?P<l4t>\d+\.\d+(?:\.\d+)?)")
TEGRA_NAME = re.compile(r"\(nvgpu\)|\bTegra\b|\bJetson\b")  # of integrated GPUs, and of boards


@dataclass(frozen=True)
class Signs:
    """What may tell a Jetson from an Arm server; None is unknown."""

    arch: str | None
    kind: str | None
    kernel: str | None
    l4t: str | None
    os_version: str | None
    driver: str | None
    names: Sequence[str] = ()
    capabilities: Sequence[str | None] = ()


@dataclass(frozen=True)
class Jetson:
    """A Jetson: the rows of the catalogue that it can be, oldest first, each with its key; never none."""

    rows: tuple[tuple[str, Row], ...]
    l4t: str | None  # as observed

    @property
    def sbsa(self) -> bool | None:
        """Whether what is built for Arm servers runs here; None where it cannot be told."""
        answers = {bool(row["sbsa"]) for _key, row in self.rows}
        return answers.pop() if len(answers) == 1 else None

    @property
    def row(self) -> Row:
        """The newest row that it can be."""
        return self.rows[-1][1]

    @property
    def cuda(self) -> str | None:
        """The level of its driver, where every row that it can be has the same."""
        levels = {str(row["cuda"]) for _key, row in self.rows}
        return levels.pop() if len(levels) == 1 else None

    @property
    def name(self) -> str:
        """The release in words: 'Jetson Linux 36.4.0, JetPack 6', with what is known of it."""
        majors = dict.fromkeys(str(row["jetpack"]).partition(".")[0] for _key, row in self.rows)
        packs = f"JetPack {' or '.join(majors)}"
        if self.l4t:
            return f"Jetson Linux {self.l4t}, {packs}"
        releases = dict.fromkeys(key.partition(".")[0] for key, _row in self.rows)
        return f"Jetson Linux {releases.popitem()[0]}, {packs}" if len(releases) == 1 else packs

    @property
    def suite(self) -> str:
        """The suite of NVIDIA's repository for Jetson, such as r36.4; r36.x where the minor release is unknown."""
        release = ".".join((self.l4t or self.rows[-1][0]).split(".")[:2])
        if not self.l4t and len(self.rows) > 1:
            release = f"{release.partition('.')[0]}.x"
        return f"r{release}"

    @property
    def wheels(self) -> str | None:
        """The package index with PyTorch for it: the part of the address that all rows share where several are left."""
        urls = [str(row["wheels"]) for _key, row in self.rows if row["wheels"]]
        if len(urls) < len(self.rows):
            return None
        above = {url.rpartition("/")[0] for url in urls}
        return urls[0] if len(set(urls)) == 1 else above.pop() if len(above) == 1 else None


def find_jetson(signs: Signs, known: Catalogue) -> Jetson | None:
    """The Jetson that a host is, or None.

    Each sign leaves the rows that fit it; one that would leave none is passed over, as the one before it says more. In
    a container the kernel is the host's, and the files are an image's: there the kernel comes first.
    """
    rows = tuple(sorted(known["platforms"]["jetson"].items(), key=lambda entry: parse_version(entry[0])))
    if not _is_tegra(signs, known, rows):
        return None
    kernel = TEGRA_KERNEL.match(signs.kernel or "")
    by_kernel: list[Callable[[str, Row], bool]] = []
    if kernel and kernel["l4t"]:
        by_kernel.append(_of_release(kernel["l4t"], rows))
    elif kernel:
        by_kernel.append(lambda _key, row: bool(row["kernel"] == kernel["kernel"]))
    by_file = [_of_release(signs.l4t, rows)] if signs.l4t else []
    inside = signs.kind == CONTAINER
    tests = [*by_kernel, *by_file] if inside else [*by_file, *by_kernel]
    if signs.driver:
        tests += [_of_branch(signs.driver, rows), lambda _key, row: bool(row["driver"] == signs.driver)]
    for capability in signs.capabilities:
        if capability:
            tests.append(_of_capability(capability))
    if signs.os_version and not inside:
        tests.append(lambda _key, row: bool(row["os"] == signs.os_version))
    fit = rows
    for test in tests:
        fit = tuple(entry for entry in fit if test(*entry)) or fit
    release = signs.l4t or (kernel["l4t"] if kernel else None)
    agrees = release is not None and fit[-1][0].partition(".")[0] == release.partition(".")[0]
    return Jetson(fit, release if agrees else None)


def _is_tegra(signs: Signs, known: Catalogue, rows: Sequence[tuple[str, Row]]) -> bool:
    if signs.arch not in (None, "aarch64"):
        return False
    capabilities = known["gpus"]["capabilities"]
    seen = [bool(capabilities.get(name, {}).get("tegra")) for name in signs.capabilities if name]
    if seen and len(seen) == len(signs.capabilities) and not any(seen):
        return False  # a board with a card of its own, as IGX has: the card decides
    if any(seen) or any(TEGRA_NAME.search(name) for name in signs.names) or signs.l4t:
        return True
    if TEGRA_KERNEL.match(signs.kernel or ""):
        return True
    return bool(signs.driver) and _is_own_branch(str(signs.driver), known, rows)


def _is_own_branch(driver: str, known: Catalogue, rows: Sequence[tuple[str, Row]]) -> bool:
    """Whether a driver is of a branch that only Jetsons have: 540."""
    branch = parse_version(driver)[0]
    return str(branch) not in known["drivers"]["branches"] and any(row["least_branch"] == branch for _key, row in rows)


def _of_release(release: str, rows: Sequence[tuple[str, Row]]) -> Callable[[str, Row], bool]:
    """The row of a release: the newest of its major that is not newer; of an unlisted major none."""
    major = release.partition(".")[0]
    same = [key for key, _row in rows if key.partition(".")[0] == major]
    older = [key for key in same if parse_version(key) <= parse_version(release)]
    wanted = older[-1:] or same[:1]
    return lambda key, _row: key in wanted


def _of_branch(driver: str, rows: Sequence[tuple[str, Row]]) -> Callable[[str, Row], bool]:
    """The rows with the newest first branch that is not newer than the driver's."""
    branch = parse_version(driver)[0]
    older = [row["least_branch"] for _key, row in rows if row["least_branch"] and row["least_branch"] <= branch]
    return lambda _key, row: bool(older) and row["least_branch"] == max(older)


def _of_capability(capability: str) -> Callable[[str, Row], bool]:
    return lambda _key, row: capability in row["capabilities"]


def read_signs(platform: Mapping[str, object], driver: str | None, gpus: Sequence[tuple[str, str | None]]) -> Signs:
    """The signs of a host.

    :param platform: ``ansible_facts['gpu']['platform']``, of which any key may be absent.
    :param driver: the version of the driver.
    :param gpus: name and capability of each.
    """
    system = platform.get("os")
    version = system.get("version") if isinstance(system, Mapping) else None
    model = _text(platform.get("board"))
    return Signs(
        arch=_text(platform.get("arch")),
        kind=_text(platform.get("kind")),
        kernel=_text(platform.get("kernel")),
        l4t=_release(platform.get("l4t")),
        os_version=_text(version),
        driver=driver,
        names=(*(name for name, _capability in gpus), *([model] if model and TEGRA_NAME.search(model) else [])),
        capabilities=tuple(capability for _name, capability in gpus),
    )


def _release(value: object) -> str | None:
    found = re.fullmatch(r"[rR]?(\d+(?:\.\d+){0,2})", str(value or ""))
    return found.group(1) if found else None


def _text(value: object) -> str | None:
    return str(value) if value not in (None, "") else None
