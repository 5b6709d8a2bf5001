# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a proof reaches: the driver, the libcuda and the GPUs that it ran with, against those of the host now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import Host
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.ways import ENVIRONMENT

NAMED = 3  # GPUs that are named where others took their place; more are counted
UNKNOWN = "proved by a release that did not record its driver, libcuda and GPUs"


@dataclass(frozen=True)
class Library:
    """A libcuda. ``path`` None: none was found; ``version`` None: its file's name says none, as on WSL2."""

    path: str | None
    version: str | None

    def is_same(self, other: Library) -> bool:
        """Whether both are one build of the library, wherever it lies; without versions the paths decide."""
        if self.version and other.version:
            return self.version == other.version
        return self.path == other.path


@dataclass(frozen=True)
class Reach:
    """What a proof ran with, or what the host has now. None is unknown, and is compared with nothing."""

    driver: str | None
    libcuda: Library | None
    gpus: frozenset[str] | None


def read_record(state: Mapping[str, Any] | None) -> Reach | None:
    """What the proof on record ran with; None where it does not say."""
    row = (state or {}).get("reach")
    if not isinstance(row, Mapping):
        return None
    library: Mapping[str, Any] = row.get("libcuda") or {}
    path, gpus = _text(library.get("path")), row.get("gpus")
    return Reach(
        driver=_text(row.get("driver")),
        libcuda=Library(path, _text(library.get("version"))) if path else None,
        gpus=frozenset(map(str, gpus)) if isinstance(gpus, Sequence) and not isinstance(gpus, str) else None,
    )


def read_present(host: Host) -> Reach:
    """What the host has now: its driver, the libcuda that the live environment gets, and its GPUs."""
    uuids = [gpu.uuid for gpu in (*(host.gpus or ()), *host.hidden)]
    is_known = host.gpus is not None and None not in uuids
    return Reach(host.driver, _live_library(host), frozenset(uuid for uuid in uuids if uuid) if is_known else None)


def why_lapsed(host: Host) -> str | None:
    """Why the proof on record does not count on this host as it is now, as a half sentence; None: it counts."""
    proved, now = read_record(host.state), read_present(host)
    if proved is None:
        return UNKNOWN
    if proved.driver and now.driver and proved.driver != now.driver:
        return f"proved with driver {proved.driver}, not {now.driver}"
    if proved.libcuda and now.libcuda and not proved.libcuda.is_same(now.libcuda):
        return _other_library(proved.libcuda, now.libcuda)
    if proved.gpus is not None and now.gpus is not None and proved.gpus != now.gpus:
        return _other_gpus(proved.gpus, now.gpus)
    return None


def find_lost(host: Host) -> str | None:
    """A sentence where fewer GPUs are seen than an earlier run saw on this host; None where none is missing.

    A host that shares no GPU with those on record is another one, which a volume was moved to.
    """
    row = (host.state or {}).get("reach")
    listed = (row.get("seen") or row.get("gpus")) if isinstance(row, Mapping) else None
    if not isinstance(listed, Sequence) or isinstance(listed, str) or host.gpus is None:
        return None
    seen, now = set(map(str, listed)), read_present(host).gpus
    if len(host.gpus) >= len(seen) or (now and not now & seen):
        return None
    gone = sorted(seen - (now or frozenset()))
    named = f"; {', '.join(gone)} {'is' if len(gone) == 1 else 'are'} gone" if now and len(gone) <= NAMED else ""
    has = f"{len(host.gpus)} {'is' if len(host.gpus) == 1 else 'are'} seen now"
    require = f"stack_plan_require: {{gpus: {len(seen)}}} would refuse the host"
    return f"An earlier run saw {len(seen)} {'GPU' if len(seen) == 1 else 'GPUs'} here; {has}{named}. {require}."


def _live_library(host: Host) -> Library | None:
    """None where nobody asked the live environment, or where it did not say which library it was given."""
    way = (host.ways or {}).get(ENVIRONMENT)
    if way is None or not way.asked or (way.libcuda is None and way.answer is not None):
        return None
    return Library(way.libcuda, way.version)


def _other_library(proved: Library, now: Library) -> str:
    if now.path is None:
        return f"proved with libcuda {proved.version or proved.path}; none is found now"
    if proved.version and now.version:
        return f"proved with libcuda {proved.version}; {now.version} is loaded now"
    return f"proved with {proved.path}; {now.path} is loaded now"


def _other_gpus(proved: frozenset[str], now: frozenset[str]) -> str:
    if len(proved) != len(now):
        return f"proved on {len(proved)} {'GPU' if len(proved) == 1 else 'GPUs'}; the host has {len(now)} now"
    new = sorted(now - proved)
    named = ", ".join(new) if len(new) <= NAMED else f"{len(new)} of them"
    return f"proved on other GPUs; {named} took the place of those"


def _text(value: Any) -> str | None:
    return str(value) if value not in (None, "") else None
