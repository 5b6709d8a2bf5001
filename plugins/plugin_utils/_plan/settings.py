# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The run-time settings of CUDA and PyTorch that are wished for every process of a host: pure."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue, Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Reason, Refusal
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.resolver import satisfies
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import LOADINGS, NCCL_LEVELS, Settings

SWITCHES = ("tf32", "module_loading", "expandable_segments", "cudnn_benchmark")

HOST_COMPILER = "host_compiler"  # the setting that follows from the toolkit, which has a reason of its own


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
    wished: Settings, torch: str | None, known: Catalogue, kinds: Collection[str] = ()
) -> tuple[Setting, ...]:
    """What is set for the wishes, by the names that this PyTorch reads; without PyTorch those of CUDA alone.

    ``kinds`` is what the host is, see ``devices.kinds``; what breaks on such a host is not set, see :func:`refuse`.
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
        and not _breaks(row, wishes[row["setting"]], kinds)
    ]
    for name, row in known["settings"]["programs"].items():
        if name in wishes:
            line = row["line"].format(value=wishes[name].capitalize())
            found.append(Setting(name, None, line, row["what"], row["default"], (), row["source"]))
    return tuple(found)


def refuse(wished: Settings, torch: str | None, known: Catalogue, kinds: Collection[str]) -> dict[str, Refusal]:
    """The wishes that are not met because they break programs on such a host: setting → why, and what to do."""
    wishes, found = _wishes(wished), {}
    for name, row in known["settings"]["variables"].items():
        wish = wishes.get(row["setting"], "")
        if _reads(torch, row["torch"]) and (because := _breaks(row, wish, kinds)):
            own = f"to try it all the same, set {name}={row['values'][wish]} in your own environment"
            remedy = f"Leave settings.{row['setting']} out of the request for this host; {own}."
            without = {"settings": {row["setting"]: None}}
            found[row["setting"]] = Refusal(f"{wish} is not set here: {because}", remedy, wish=without)
    return found


def _wishes(wished: Settings) -> dict[str, str]:
    return {name: _word(value) for name, value in asdict(wished).items() if value is not None}


def _breaks(row: Row, wish: str, kinds: Collection[str]) -> str | None:
    """Why a variable must not have the value of a wish on such a host; None where it may, or nothing is known of it."""
    barred = row.get("unless_platform", {}).get(wish, ())
    return next((str(one["because"]) for one in barred if not set(kinds).isdisjoint(one["kinds"])), None)


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _reads(torch: str | None, spec: str | None) -> bool:
    return spec is None or (torch is not None and satisfies(torch, spec))


def explain(settings: tuple[Setting, ...]) -> list[Reason]:
    """A reason for each variable that is set: what it does, and what would hold without it."""
    return [
        Reason("setting", f"{one.variable}={one.value}: {one.what}; without it: {one.default}", one.source)
        for one in settings
        if one.variable and one.setting != HOST_COMPILER
    ]


def warn(settings: tuple[Setting, ...]) -> list[str]:
    """What is wished and no variable can switch."""
    return [
        f"settings.{one.setting}: no variable switches it; write {one.value} in the program ({one.what})."
        for one in settings
        if not one.variable
    ]


def all_choices(
    torch: str | None, known: Catalogue, set_now: tuple[Setting, ...] = ()
) -> Iterator[tuple[Setting, ...]]:
    """What other wishes would set on some host, to tell a file of other settings from an edited one.

    ``set_now``: those of NCCL and Triton among them are kept, left out, or one of them is changed.
    """
    switch = (None, True, False)
    others = tuple(one for one in set_now if one.setting not in SWITCHES)
    for tf32, loading, segments, benchmark in itertools.product(switch, (None, *LOADINGS), switch, switch):
        chosen = choose_settings(Settings(tf32, loading, segments, benchmark), torch, known)
        yield chosen
        if others:
            yield _in_order((*chosen, *others), known)
    own = tuple(one for one in set_now if one.setting in SWITCHES)
    for p2p, shm, ib, debug in itertools.product(switch, switch, switch, (None, *NCCL_LEVELS)):
        wished = Settings(nccl_p2p=p2p, nccl_shm=shm, nccl_ib=ib, nccl_debug=debug)
        yield _in_order((*own, *choose_settings(wished, torch, known)), known)


def _in_order(settings: tuple[Setting, ...], known: Catalogue) -> tuple[Setting, ...]:
    """Settings in the order of a plan: by the catalogue, then what no variable switches, then Triton's."""
    names = [*known["settings"]["variables"], None]
    return tuple(sorted(settings, key=lambda one: names.index(one.variable) if one.variable in names else len(names)))
