# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The run-time settings of CUDA and PyTorch that are wished for every process of a host: pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue, Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Reason, Refusal
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.resolver import satisfies
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import LOADINGS, Settings


@dataclass(frozen=True)
class Setting:
    """One wish that is met. Where the user has set ``variable``, or one of ``unless``, the user's value stays."""

    setting: str
    variable: str | None  # None: no variable switches it, and `value` is the line that a program needs
    value: str
    what: str
    default: str  # what holds without it, and since when
    unless: tuple[str, ...]
    source: str


def choose_settings(
    wished: Settings, torch: str | None, known: Catalogue, kind: str | None = None
) -> tuple[Setting, ...]:
    """What is set for the wishes, by the names that this PyTorch reads; without PyTorch those of CUDA alone.

    ``kind`` is the host's; what breaks on such a host is not set, see :func:`refuse`.
    """
    wishes = _wishes(wished)
    found = [
        Setting(
            setting=row["setting"],
            variable=name,
            value=row["values"][wishes[row["setting"]]],
            what=row["what"][wishes[row["setting"]]],
            default=row["default"],
            unless=tuple(row["unless"]),
            source=row["source"],
        )
        for name, row in known["settings"]["variables"].items()
        if wishes.get(row["setting"]) in row["values"]
        and _reads(torch, row["torch"])
        and not _breaks(row, wishes[row["setting"]], kind)
    ]
    for name, row in known["settings"]["programs"].items():
        if name in wishes:
            line = row["line"].format(value=wishes[name].capitalize())
            found.append(Setting(name, None, line, row["what"], row["default"], (), row["source"]))
    return tuple(found)


def refuse(wished: Settings, torch: str | None, known: Catalogue, kind: str | None) -> dict[str, Refusal]:
    """The wishes that are not met because they break programs on this kind of host: setting → why, and what to do."""
    wishes, found = _wishes(wished), {}
    for name, row in known["settings"]["variables"].items():
        wish = wishes.get(row["setting"], "")
        if _reads(torch, row["torch"]) and (because := _breaks(row, wish, kind)):
            own = f"to try it all the same, set {name}={row['values'][wish]} in your own environment"
            remedy = f"Leave settings.{row['setting']} out of the request for this host; {own}."
            found[row["setting"]] = Refusal(f"{wish} is not set here: {because}", remedy)
    return found


def _wishes(wished: Settings) -> dict[str, str]:
    return {name: _word(value) for name, value in asdict(wished).items() if value is not None}


def _breaks(row: Row, wish: str, kind: str | None) -> str | None:
    """Why a variable must not have the value of a wish on this kind of host; None where it may, or kind is unknown."""
    barred = row.get("unless_platform", {}).get(wish)
    return str(barred["because"]) if barred and kind in barred["kinds"] else None


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _reads(torch: str | None, spec: str | None) -> bool:
    return spec is None or (torch is not None and satisfies(torch, spec))


def explain(settings: tuple[Setting, ...]) -> list[Reason]:
    """A reason for each variable that is set: what it does, and what would hold without it."""
    return [
        Reason("setting", f"{one.variable}={one.value}: {one.what}; without it: {one.default}", one.source)
        for one in settings
        if one.variable
    ]


def warn(settings: tuple[Setting, ...]) -> list[str]:
    """What is wished and no variable can switch."""
    return [
        f"settings.{one.setting}: no variable switches it; write {one.value} in the program ({one.what})."
        for one in settings
        if not one.variable
    ]


def all_choices(torch: str | None, known: Catalogue) -> Iterator[tuple[Setting, ...]]:
    """What every possible wish would set on some host, to tell a file of other settings from an edited one."""
    switch = (None, True, False)
    for tf32, loading, segments, benchmark in itertools.product(switch, (None, *LOADINGS), switch, switch):
        yield choose_settings(Settings(tf32, loading, segments, benchmark), torch, known)
