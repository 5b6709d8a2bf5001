# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A project's plan as a block of text that a person reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._report.stack import INDENT, _section, _wrap

SIGNS = {
    "install": "+",
    "remove": "-",
    "replace": "~",
    "repair": "~",
    "edit": "~",
    "lock": "~",
    "fence": "+",
    "restore": "~",
}
WORDS = {  # a change before and after a run
    "repair": ("is repaired", "repaired"),
    "remove": ("is removed", "removed"),
    "edit": ("is edited", "edited"),
    "restore": ("is restored", "restored"),
}
VERDICTS = {
    "ok": "PyTorch is the build for this host",
    "swapped": "the installed PyTorch is not the build for this host",
    "mixed": "libraries of two CUDA majors are installed side by side",
    "missing": "PyTorch is not installed",
    "damaged": "PyTorch is damaged",
    "left_alone": "nothing was changed",
    "unfenced": "the files that keep PyTorch are removed, PyTorch itself stays",
}


def render_project(
    plan: Mapping[str, Any],
    host: str,
    *,
    changed: Sequence[Mapping[str, Any]] | None = None,
    unfinished: bool = False,
) -> list[str]:
    """The lines of a project's block. ``changed``: what a run has done, None where nothing was to be done."""
    ran = changed is not None
    changes = changed if ran else plan["changes"]
    found, expected, versions = plan["found"], plan["expected"], plan["versions"]
    python = f"Python {plan['python']}" if plan["python"] else ""
    about = " · ".join(part for part in (plan["manager"] or "", plan["environment"] or "", python) if part)
    lines = _wrap(f"{host}   ", " · ".join(part for part in (plan["path"], about) if part), len(host) + 3)
    for label, texts in (
        ("found", [f"torch {found['build']}"] if found else ["no torch"] if expected else []),
        ("expected", [_expected(expected)] if expected else []),
        ("versions", _versions(versions)),
        ("why", list(plan["why"])),
        ("changed" if ran else "change", _changes(changes or (), ran=ran)),
        ("proof", _proof(plan["proof"])),
        ("held", [f"{row['command']}: {'yes' if row['held'] else 'no'}, {row['because']}" for row in plan["held"]]),
    ):
        lines += _section(label, texts)
    lines += _diff(plan["edit"])
    lines += _section("note", list(plan["notes"]))
    lines += _section("help", list(plan["help"]))
    failed = unfinished or not (plan["proof"] or {"ok": True})["ok"]
    verdict = "failed" if failed and plan["verdict"] != "left_alone" else plan["verdict"]
    told = "the run ended early, for the reason above" if verdict == "failed" else VERDICTS[verdict]
    number = 0 if ran or verdict == "failed" else len(plan["changes"])
    pending = f", {number} change{'s' if number > 1 else ''} pending" if number else ""
    return [*lines, f"  {'verdict':<9}{verdict}: {told}{pending}"]


def _expected(expected: Mapping[str, Any]) -> str:
    packages = " ".join(f"{name} {version}" for name, version in expected["packages"].items())
    return f"{packages} from {expected['url'] or 'the wheels of this host'}"


def _proof(proof: Mapping[str, Any] | None) -> list[str]:
    if not proof:
        return []
    if not proof["ok"]:
        return [f"torch does not import: {proof['error']}"]
    gpu = "a GPU is available" if proof["available"] else "no GPU is available"
    return [f"torch {proof['version']} imports; {gpu if proof['cuda'] else 'it is built for the CPU'}"]


def _versions(versions: Mapping[str, Any]) -> list[str]:
    row = " · ".join(f"{name} {versions[name] or 'none'}" for name in ("driver", "toolkit", "torch"))
    return [row, *versions["differences"]]


def _changes(changes: Sequence[Mapping[str, Any]], *, ran: bool) -> list[str]:
    if not changes:
        return ["nothing had to change" if ran else "nothing to change"]
    width = min(max(len(change["what"]) for change in changes), 40)
    return [
        f"{SIGNS[change['action']]} {change['what']:<{width}}  {_how(change, ran=ran)}".rstrip() for change in changes
    ]


def _how(change: Mapping[str, Any], *, ran: bool) -> str:
    old, new, how = change["from"], change["to"], change["how"]
    if change["action"] in WORDS:
        how = f"{WORDS[change['action']][ran]} {how}".strip()
    arrow = f"{old} → {new}" if old and new else new or old or ""
    return " ".join(part for part in (arrow, how) if part)


def _diff(edit: Mapping[str, Any] | None) -> list[str]:
    """The edit that would hold PyTorch, line by line as it is: a diff is not wrapped."""
    if not edit:
        return []
    rows = [*edit["diff"], f"then: {' '.join(edit['command'])}"]
    return [f"  {'edit' if not index else '':<{INDENT - 2}}{row}" for index, row in enumerate(rows)]
