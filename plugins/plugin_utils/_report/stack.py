# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decision as a block of text that a person reads."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.changes import RECORD
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compile.estimate import duration
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.parts import BY_ROLE, PARTS
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.ways import name_ways, tell_faults
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import escape

WIDTH = 110
INDENT = 11  # "  route    "
SIGNS = {
    "install": "+",
    "remove": "-",
    "replace": "~",
    "repair": "~",
    "prove": "~",
    "switch": "~",
    "reboot": "~",
    "build": "+",
}
REPORTED = sorted(
    (part for part in PARTS if part.key and part.label), key=lambda part: part.role == "cutlass"
)  # headers last
PROVIDERS = {"runpod": "RunPod", "vast": "Vast", "lambda": "Lambda"}
KINDS = {"bare_metal": "bare metal", "vm": "virtual machine", "container": "container", "wsl2": "WSL2"}
COLORS = {"ok": "32", "pending": "33", "degraded": "33"}  # any other is red


def render_text(
    decision: Mapping[str, Any],
    observed: Mapping[str, Any],
    host: str,
    *,
    results: Sequence[Mapping[str, Any]] | None = None,
    changed: Sequence[Mapping[str, Any]] | None = None,
    unfinished: bool = False,
    color: bool = False,
) -> str:
    """One block for a host: what it is, whether CUDA works, the route, why, what changes or changed, what would help.

    ``results`` are the checks of ``gpu_verify`` (``{check, ok, seconds, error, advice, skipped}``) and ``changed`` the
    changes a run applied; both None in a plan. ``unfinished`` says that a run ended before all was applied.
    """
    ran = changed is not None
    verdict = _verdict(decision, results, unfinished=unfinished)
    helps = [("better" if verdict in ("ok", "pending") else "help", _helps(decision))]
    fails = (decision.get("now") or {}).get("works") is False
    rows: list[tuple[str, list[str]]] = [
        ("unmet", list(decision.get("unmet") or ())),
        ("now", _now(decision) or _not_asked(decision, observed)),
        *(helps if fails else []),
        ("route", _route(decision)),
        ("why", [reason["text"] for reason in decision["reasons"] if reason["rule"] != "blocked"]),
        ("versions", _versions(decision)),
        ("changed" if ran else "change", _changes(decision, changed if ran else decision["changes"], ran=ran)),
        ("not", _rejected(decision)),
        ("proof", _proof(results) or _proved(decision, observed)),
        *([] if fails else helps),
        ("note", list(decision["warnings"])),
        ("where", _where(decision) if verdict not in ("pending", "unmet") else []),
    ]
    lines = [*_wrap(f"{host}   ", _describe(observed), len(host) + 3)]
    for label, texts in rows:
        lines += _section(label, texts)
    word = f"\033[{COLORS.get(verdict, '31')}m{verdict}\033[0m" if color else verdict
    told = _told(decision, verdict, ran=ran, unproved=bool(_failed(results)))
    first, *more = _wrap(f"  {'verdict':<9}", f"{verdict}{told}", INDENT)
    lines += [f"  {'verdict':<9}{word}{first[INDENT + len(verdict) :]}", *more]
    return "\n".join(lines)


def _verdict(decision: Mapping[str, Any], results: Sequence[Mapping[str, Any]] | None, *, unfinished: bool) -> str:
    """The decision's verdict; failed where a check failed or the run ended early, pending before a reboot."""
    stopped = unfinished and not _is_stopped(decision)
    if stopped or _failed(results):
        return "failed"
    return "pending" if (decision.get("driver") or {}).get("reboot") == "pending" else str(decision["verdict"])


def _failed(results: Sequence[Mapping[str, Any]] | None) -> list[Mapping[str, Any]]:
    return [result for result in results or () if not result.get("ok")]


def _told(decision: Mapping[str, Any], verdict: str, *, ran: bool, unproved: bool) -> str:
    if verdict == "failed":
        return ": nothing was switched" if unproved else ": the run ended early, for the reason above"
    if _is_stopped(decision):
        return ": nothing was changed" + (", the host is not what is required" if verdict == "unmet" else "")
    if verdict == "pending":
        driver = decision["driver"]
        return (
            f": driver {driver['version']} is installed, driver {driver['loaded']} is still loaded; nothing "
            "that needs the new one was changed. Reboot and run this again, or set nvidia_driver_reboot: true"
        )
    pending = 0 if ran else len(decision["changes"])
    if pending:
        return f": {pending} {'change' if pending == 1 else 'changes'} pending"
    fails = (decision.get("now") or {}).get("works") is False
    return ": CUDA fails by the ways named under now" if fails else ""


def _is_stopped(decision: Mapping[str, Any]) -> bool:
    """Whether nothing is changed: a plan has no route, or the host is not what is required."""
    verdict, route = str(decision["verdict"]), str(decision["route"])
    return verdict in ("blocked", "unmet") or (verdict == "broken" and route == "blocked")


def _route(decision: Mapping[str, Any]) -> list[str]:
    """What is to run and by which route, or why nothing is; not twice where that is said of now."""
    summary = str(decision["summary"])
    if decision["route"] != "blocked":
        return [summary]
    because = summary.partition(": ")[2]
    return ["none: nothing is installed"] if because == (decision.get("now") or {}).get("summary") else [because]


def _now(decision: Mapping[str, Any]) -> list[str]:
    """By which ways into the host CUDA works now; else a line a fault, with the ways that have it, then its causes."""
    now = {"ways": {}, "causes": [], "hopeless": False, **(decision.get("now") or {})}
    if now.get("works") is None:
        return []
    works = _working(now["ways"])
    if now["works"]:
        return works
    if now["hopeless"]:
        return [*_causes(now["causes"]), *works]
    faults = tell_faults({name: way["because"] for name, way in now["ways"].items() if way["works"] is False})
    return [*faults, *_causes(now["causes"]), *works]


def _not_asked(decision: Mapping[str, Any], observed: Mapping[str, Any]) -> list[str]:
    """That a recording says what a host has, and not whether CUDA works there."""
    if not observed.get("recorded") or decision["route"] in ("cpu", "blocked"):
        return []
    return ["not asked: this is a recording, which does not tell whether CUDA works on the host"]


def _working(ways: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The ways that work, in one line, with the library that they have."""
    working = {name: way for name, way in ways.items() if way["works"]}
    libraries = dict.fromkeys(str(way["version"] or way["libcuda"]) for way in working.values())
    return [f"works: {name_ways(working)} (libcuda {', '.join(libraries)})"] if working else []


def _causes(causes: Iterable[Mapping[str, Any]]) -> list[str]:
    """What is behind a fault, with its place; what has nothing to say beyond the fault itself is left out."""
    found = []
    for cause in causes:
        place = ":".join(str(cause[key]) for key in ("file", "line") if cause[key])
        text = f" ({cause['text']})" if cause["text"] and place else ""
        if cause["because"]:
            found.append(f"{place} {cause['because']}{text}".strip())
    return found


def _describe(observed: Mapping[str, Any]) -> str:
    """The host in one line: GPUs, driver, platform, system."""
    platform, driver = observed.get("platform") or {}, observed.get("driver") or {}
    names: dict[str, int] = {}
    for device in observed.get("devices") or ():
        name = str(device.get("name") or "GPU")
        names[name] = names.get(name, 0) + 1
    gpus = ", ".join(f"{count}x {name}" if count > 1 else name for name, count in names.items())
    system = platform.get("os") or {}
    os_id = {"rhel": "RHEL", "opensuse-leap": "openSUSE"}.get(
        str(system.get("id")), str(system.get("id") or "").title()
    )
    kind = KINDS.get(str(platform.get("kind")), "")
    parts = [
        gpus or ("GPUs unknown" if observed.get("devices") is None else "no GPU"),
        _driver(driver),
        " ".join(part for part in (PROVIDERS.get(str(platform.get("provider")), ""), kind) if part),
        f"{os_id} {system.get('version') or ''}".strip(),
        str(platform.get("arch") or ""),
    ]
    return " · ".join(part for part in parts if part)


def _driver(driver: Mapping[str, Any]) -> str:
    if driver.get("version"):
        flavour = "Windows driver" if driver.get("flavor") == "windows" else "driver"
        level = f" (CUDA {driver['cuda']})" if driver.get("cuda") else ""
        return f"{flavour} {driver['version']}{level}"
    return {"missing": "no NVIDIA driver", "no_device": "driver without a GPU"}.get(
        str(driver.get("status")), "driver unknown"
    )


def _changes(decision: Mapping[str, Any], changes: Iterable[Mapping[str, Any]] | None, *, ran: bool) -> list[str]:
    """A line for each change with its sign, then what is used as it is."""
    rows = [(SIGNS[change["action"]], *_change(change, ran=ran)) for change in changes or ()]
    if not rows and _is_stopped(decision):
        return []
    if not rows:
        return ["nothing had to change" if ran else "nothing to change"]
    touched = {change["role"] for change in changes or ()}
    rows += [
        ("=", what, "already installed, used as it is") for role, what in _adopted(decision) if role not in touched
    ]
    width = min(max(len(what) for _unused, what, _unused in rows), 44)
    return [f"{sign} {what:<{width}}  {how}".rstrip() for sign, what, how in rows]


def _change(change: Mapping[str, Any], *, ran: bool) -> tuple[str, str]:
    """What changes, and how."""
    what, old, new = str(change["what"]), change.get("from"), change.get("to")
    words = {
        "prove": _proving(old, ran=ran),
        "remove": "removed" if ran else "to be removed",
        "repair": f"{old or 'missing'}: repaired",
        "replace": f"{old} → {new}, replaced by hand: repaired",
        "switch": f"{old} → {new}" if old else str(new),
        "install": str(new or ""),
        "reboot": f"{old} → {new} by a reboot",
        "build": f"built {new}",
    }
    own = BY_ROLE[change["role"]].words.get(change["action"])
    how = own.format(old=old or "none", new=new) if own else words[change["action"]]
    if what == RECORD:
        how = f"{old or 'none'} → {new}"
    if change.get("mib"):
        how += f", {_size(change['mib'])} {'fetched' if ran else 'to fetch'}"
    return "proof" if change["action"] == "prove" else what, how


def _proving(lapsed: str | None, *, ran: bool) -> str:
    """That the stack is proved, and why again where an earlier proof no longer counts."""
    if lapsed:
        return f"the stack {'was' if ran else 'is'} proved again: {lapsed}"
    return "the stack was proved" if ran else "the stack is proved before it goes live"


def _adopted(decision: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Role and name of each part that is used as it was found."""
    found = []
    for row in REPORTED:
        part = decision.get(str(row.key))
        if part and part.get("provider") == "adopt":
            version = part.get("exact") or part.get("local") or part["version"]
            found.append((row.role, f"{row.label} {version}"))
    compat = decision["forward_compat"]
    if compat["enabled"] and compat["provider"] == "adopt":
        found.append(("forward_compat", f"{compat['package']} {compat['version']}"))
    return found


def _versions(decision: Mapping[str, Any]) -> list[str]:
    """Whether a difference of versions is a problem, wherever two of them differ."""
    rows = decision.get("versions") or ()
    return [str(row["text"]) for row in rows if len(set(row["numbers"].values())) > 1]


def _rejected(decision: Mapping[str, Any]) -> list[str]:
    told = [f"{entry['option']}: {entry['because']}" for entry in decision["rejected"]]
    told += [f"{name}: {entry['skipped']}" for name, entry in decision["extensions"].items() if "skipped" in entry]
    return list(dict.fromkeys(told))  # an extension that cannot be had stands in both


def _proof(results: Sequence[Mapping[str, Any]] | None) -> list[str]:
    """How many passed, why others were skipped and what they warn of, or the failed ones."""
    if not results:
        return []
    if failed := _failed(results):
        return [f"{result['check']} failed: {_evidence(result)}" for result in failed]
    skipped = [f"{result['check']}: {result['skipped']}" for result in results if result.get("skipped")]
    passed = len(results) - len(skipped)
    told = f", {len(skipped)} skipped ({'; '.join(skipped)})" if skipped else ""
    warnings = [f"{result['check']}: {words}" for result in results for words in result.get("warnings", ())]
    return [f"{passed} {'check' if passed == 1 else 'checks'} passed{told}", *_features(results), *warnings]


def _features(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """What PyTorch was built with, where a check has looked."""
    for result in results:
        found = (result.get("evidence") or {}).get("features") if result["check"] == "features" else None
        if found:
            names = {
                on: [name.removeprefix("USE_") for name, value in found.items() if value is on] for on in (True, False)
            }
            versions = [f"{name} {version}" for name, version in (result["evidence"].get("versions") or {}).items()]
            return [
                f"PyTorch was built with {', '.join(names[True]) or 'nothing'}",
                f"and without {', '.join(names[False]) or 'nothing'}",
                *([f"it has {', '.join(versions)}"] if versions else []),
            ]
    return []


def _proved(decision: Mapping[str, Any], observed: Mapping[str, Any]) -> list[str]:
    """That an earlier run proved what is there, where that still counts and nothing is to change.

    A proof that no longer counts is a pending change; where CUDA does not work now, what once passed is no news.
    """
    state = (observed.get("installed") or {}).get("state") or {}
    works = decision["verdict"] in ("ok", "degraded") and (decision.get("now") or {}).get("works") is not False
    if decision["changes"] or state.get("verdict") != "ok" or not works:
        return []
    driver = f" with driver {state['driver']}" if state.get("driver") else ""
    return [f"this stack passed its checks here{driver}"]


def _evidence(result: Mapping[str, Any]) -> str:
    return " ".join(str(result[key]) for key in ("error", "advice") if result.get(key)) or "no evidence"


def _helps(decision: Mapping[str, Any]) -> list[str]:
    """What would help, a line each, with what it costs: GiB to fetch, minutes, money, and what is lost."""
    costs = {way["text"]: _cost(way) for way in decision.get("ways_out") or ()}
    return [f"{text} {costs.get(text, '')}".strip() for text in decision["remedies"]]


def _cost(way: Mapping[str, Any]) -> str:
    """A way out's cost in brackets; empty where it was not counted, as of one that only a person can take."""
    if way["mib"] is None:
        return ""
    told = [f"{_size(way['mib'])} to fetch" if way["mib"] else "nothing to fetch"]
    if way["minutes"] is not None:
        told.append(f"about {duration(way['minutes'])}")
    if way["money"] is not None:
        told.append(f"{way['money']:.2f} at this host's price")
    loses = f"; {', '.join(way['loses'])}" if way["loses"] else ""
    return f"({', '.join(told)}{loses})"


def _where(decision: Mapping[str, Any]) -> list[str]:
    environment = decision.get("environment")
    return [environment["path"], f"activate with: . {environment['prefix']}/activate.sh"] if environment else []


def _size(mib: float) -> str:
    return f"{mib / 1024:.1f} GiB" if mib >= 1024 else f"{mib} MiB"


def _section(label: str, texts: Sequence[str]) -> list[str]:
    """The lines of one label; the label stands on the first."""
    lines: list[str] = []
    for text in texts:
        head = f"  {label:<9}" if not lines else " " * INDENT
        hanging = INDENT + (2 if text[:2] in {"+ ", "- ", "= ", "~ "} else 0)
        lines += _wrap(head, text, hanging)
    return lines


def _wrap(head: str, text: str, hanging: int) -> list[str]:
    """Lines of the report; what a file or a program of the host said does nothing to the terminal."""
    plain = " ".join(map(escape, text.split("\n")))
    return textwrap.wrap(
        f"{head}{plain}",
        WIDTH,
        subsequent_indent=" " * hanging,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
        replace_whitespace=False,
    )
