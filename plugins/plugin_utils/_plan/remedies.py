# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What would help, tried by the same rules before it is told, and what each way out costs. Pure.

A way out is another request for this very host, or this request on another host. Nothing here knows a rule: each is
decided as any request is, and left out where that is refused, or leaves unmet what the way out was for.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import builds, mixed, rules
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.decision import BLOCKED
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.draft import ROUTE
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.driver_packages import newest_of
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.minor import driver_of
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import WayOut
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.route import Choice, choose
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.tries import (
    BUILD,
    Asked,
    is_change,
    on_host,
    try_way,
    without_fallback,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import KEEP, Request

MOST = 8  # of one kind that are tried: the nearest
OWNED = ("bare_metal", "vm")  # hosts whose driver their user may change
DIRECT = ("native", "minor_version")


def find_ways(asked: Asked) -> tuple[WayOut, ...]:
    """What helps, the best first: what the rules suggested and, where the route is not as requested, what is found.

    Of both only what was tried and is true; one that takes neither another request nor another host is told as it is.
    """
    plan = asked.plan
    first = [way for way in plan.ways_out if way.text in plan.now.remedies]
    rest = [way for way in plan.ways_out if way.text not in plan.now.remedies]
    searched = _search(asked) if ROUTE in plan.lacking else _toolkits(asked)
    own = {_key(way): way for way in rest if is_change(way)}  # a rule's words say why, which those of a search do not
    told: dict[str, WayOut] = {}
    for way in itertools.chain(first, (own.get(_key(way), way) for way in searched), rest):
        found = try_way(asked, way) if way.mib is None and is_change(way) else way
        if found and (key := _key(found)) not in told:
            told[key] = found
    if not told and plan.verdict == BLOCKED:
        return tuple(_search(asked)) or (WayOut("Use another host."),)
    helped = {way.option for way in told.values() if not way.is_last}
    return tuple(way for way in told.values() if not way.is_last or way.option not in helped)


# --- the search ---


def _key(way: WayOut) -> str:
    """What tells ways out apart: what is asked for, and of which host; of one that changes neither its words."""
    return json.dumps([way.wish, way.host], sort_keys=True) if is_change(way) else way.text


def _search(asked: Asked) -> Iterator[WayOut]:
    """The ways to a route as requested, nearest first; another GPU or the CPU only where no other request helps."""
    kept = [*_drivers(asked), *_pythons(asked)]
    yield from kept
    other = [*_cudas(asked, ROUTE), *_torches(asked)]
    other += _newest(asked) if asked.blocked or not other else []
    other += [*_policies(asked), *_loosened(asked)] if asked.blocked else _forward_first(asked)
    if asked.blocked and not other and (wish := _loose(asked)):
        other += _tried(asked, [WayOut(f"Set {_keys(wish)}: {BUILD} runs here.", wish)])
    yield from other
    if kept or other:
        return
    if not asked.blocked:
        yield from _pinned(asked)
        return
    yield from _elsewhere(asked)
    if asked.request.cuda != "none":
        yield from _tried(asked, [WayOut("Set cuda: none to run on the CPU.", {"cuda": "none"})])


def _tried(asked: Asked, ways: Iterable[WayOut], routes: Iterable[str] = ()) -> Iterator[WayOut]:
    """The first of the ways that the rules accept."""
    for way in ways:
        if found := try_way(asked, replace(way, option=way.option or ROUTE), routes):
            yield found
            return


def _drivers(asked: Asked) -> Iterator[WayOut]:
    """Another driver for the same request; on a machine of one's own also by the request."""
    host = asked.host
    if host.driver is None:
        return
    last = None if host.wsl else _last_branch(host.capabilities, asked.known)
    compat = ("forward_compat",) if _is_unfit(asked.case({})) else ()  # on a driver that runs the GPU it may be used
    found = list(_tried(asked, _other_drivers(asked, last), (*DIRECT, *compat)))
    if not found and asked.blocked and "fallback" in asked.request.on_old_driver:  # something else is as requested, too
        tried = (try_way(asked, way) for way in _other_drivers(asked, last))
        found = list(itertools.islice(filter(None, tried), 1))
    yield from found
    owned = host.kind in OWNED and host.root is not False and asked.request.driver == KEEP
    for way in found if owned else ():
        branch = str((way.host or {})["driver"]).partition(".")[0]
        text = f'Set driver: "{branch}": it is installed here, and the machine reboots.'
        yield from _tried(asked, [WayOut(text, {"driver": branch})], DIRECT)


def _other_drivers(asked: Asked, last: int | None) -> Iterator[WayOut]:
    """Newer drivers, the oldest first: those from which a CUDA major or a GPU runs, then those that a release has."""
    host, current = asked.host, str(asked.host.driver)
    if last and host.branch and host.branch > last:
        driver = newest_of(str(last), asked.known)
        yield WayOut(f"Use a host with a driver of branch {last}.", host={"driver": driver})
        return
    windows = "_windows" if host.wsl else ""
    rows = asked.known["cuda"]["releases"].values()
    capabilities = asked.known["gpus"]["capabilities"]
    floors = {row.get(f"least_driver{windows}") for row in rows}
    floors |= {capabilities.get(name, {}).get(f"least_driver{windows}") for name in host.capabilities}
    floors |= {gpu.least_driver for gpu in host.gpus or () if not host.wsl}
    own = {row.get(f"driver{windows}") for row in rows}
    until = f", up to branch {last}" if last else ""
    verb = "Update the Windows driver to" if host.wsl else "Use a host with driver"
    for versions in (floors, own - floors):
        newer = sorted((str(name) for name in versions if name and _is_newer(name, current)), key=parse_version)
        for version in newer[:MOST]:
            if last is None or parse_version(version)[0] <= last:
                yield WayOut(f"{verb} {version} or newer{until}.", host={"driver": version})


def _last_branch(capabilities: Iterable[str], known: Catalogue) -> int | None:
    """The last driver branch that runs GPUs of each of these compute capabilities, None where there is none yet."""
    rows = [known["gpus"]["capabilities"].get(name, {}) for name in capabilities]
    return min((int(row["last_branch"]) for row in rows if row.get("last_branch")), default=None)


def _is_newer(version: str, current: str) -> bool:
    return parse_version(version) > parse_version(current)


def _toolkits(asked: Asked) -> Iterator[WayOut]:
    """The same PyTorch on another CUDA, for a request whose CUDA toolkit cannot be had here."""
    for option in asked.plan.lacking:
        if option == f"CUDA toolkit {asked.request.cuda}":
            yield from _cudas(asked, option)


def _cudas(asked: Asked, option: str) -> Iterator[WayOut]:
    """The same PyTorch, or none, on another CUDA: not of a side index, of the same major, and the nearest first."""
    wished = asked.request.cuda
    if wished in ("newest", "none"):
        return
    releases = sorted(asked.known["cuda"]["releases"], key=parse_version)
    published = [cuda for cuda in builds.published_cudas(asked.case({})) if cuda != wished]

    side = {row["cuda"] for row in asked.known["pytorch"]["indexes"].values() if row.get("side")}
    side = side if asked.request.pytorch != "none" else set()

    def distance(cuda: str) -> tuple[bool, bool, bool, int]:
        other_major = parse_version(cuda)[0] != parse_version(wished)[0]
        return cuda != asked.plan.cuda, cuda in side, other_major, abs(releases.index(cuda) - releases.index(wished))

    for cuda in sorted(published, key=distance)[: 2 * MOST]:
        if _may_run(asked, {"cuda": cuda}):
            way = WayOut(f'Set cuda: "{cuda}": {BUILD} runs here.', {"cuda": cuda})
            if found := list(_tried(asked, [replace(way, option=option)])):
                yield from found
                return


def _torches(asked: Asked) -> Iterator[WayOut]:
    """Another PyTorch on the same CUDA: the nearest release."""
    if asked.request.pytorch in ("newest", "none") or asked.request.cuda == "none":
        return
    releases = sorted(asked.known["pytorch"]["releases"], key=parse_version)
    wished = builds.wished_torches(asked.request, asked.known)
    minors = list(dict.fromkeys(parse_version(name)[:2] for name in releases))
    place = minors.index(parse_version(str(wished[0]))[:2])
    newest = {parse_version(name)[:2]: name for name in releases if name not in wished}
    for minor in sorted(newest, key=lambda minor: abs(minors.index(minor) - place))[: 2 * MOST]:
        torch = newest[minor]
        wish = {"pytorch": torch}
        way = WayOut(f'Set pytorch: "{torch}": {BUILD} runs here.', wish)
        if _may_run(asked, wish) and (found := list(_tried(asked, [way]))):
            yield from found
            return


def _newest(asked: Asked) -> Iterator[WayOut]:
    """The newest of both that works here."""
    if (wish := _free(asked)) and _may_run(asked, wish):
        yield from _tried(asked, [WayOut(f"Set {_keys(wish)}: {BUILD} runs here.", wish)])


def _policies(asked: Asked) -> Iterator[WayOut]:
    """What the policies that the request leaves out would bring."""
    kept = [policy for policy in asked.request.on_old_driver if policy != "fail"]
    for policy in ("forward_compat", "fallback"):
        wish = {"on_old_driver": [*kept, policy]}
        if policy not in kept and _may_run(asked, wish):
            text = f"Add {policy} to on_old_driver: {BUILD} runs here that way."
            yield from _tried(asked, [WayOut(text, wish)])


def _forward_first(asked: Asked) -> Iterator[WayOut]:
    """Forward compatibility, where the request has it neither tried nor ruled out before it falls back."""
    kept = asked.request.on_old_driver
    wish = {"on_old_driver": ["forward_compat", *kept]}
    if "forward_compat" not in kept and _may_run(asked, wish):
        text = f"Put forward_compat first in on_old_driver: {BUILD} runs here that way."
        yield from _tried(asked, [WayOut(text, wish)], ("forward_compat",))


def _loosened(asked: Asked) -> Iterator[WayOut]:
    """What a request that names an interpreter, or where the wheels come from, may leave to the plan."""
    if asked.request.python != "auto":
        yield from _tried(asked, [WayOut("Set python: auto.", {"python": "auto"})])
    if asked.request.wheels.provider != "auto":
        yield from _tried(asked, [WayOut("Set wheels.provider: auto.", {"wheels": {"provider": "auto"}})])


def _pythons(asked: Asked) -> Iterator[WayOut]:
    """An interpreter, or a C library, that a requested PyTorch has wheels for."""
    host, request = asked.host, asked.request
    torch = builds.wished_torches(request, asked.known)[0]
    if torch is None or host.pythons is None:
        return
    row = asked.known["pytorch"]["releases"][torch]
    glibc = row.get("glibc")
    if glibc and host.glibc and parse_version(host.glibc) < parse_version(glibc):
        text = f"Use a distribution with glibc {glibc} or newer; found {host.glibc}."
        yield from _tried(asked, [WayOut(text, host={"glibc": glibc})])
        return
    have = [python.version for python in host.pythons]
    found = ", ".join(dict.fromkeys(have)) or "none"
    fit = [version for version in row["pythons"] if request.python in ("auto", version)]
    if not fit or set(fit) & set(have):
        return
    wanted = f"{fit[0]} to {fit[-1]}" if len(fit) > 1 else fit[0]
    text = f"Install Python {wanted} with its venv module; found {found}."
    yield from _tried(asked, [WayOut(text, host={"python": version}) for version in reversed(fit)][:1])


def _elsewhere(asked: Asked) -> Iterator[WayOut]:
    """The host that would do: another GPU, driver or interpreter, or all of these, and last a freer request too."""
    wishes = [wish for wish in (_free(asked), _loose(asked)) if wish]
    for other_gpu in (False, True):
        if other_gpu and mixed.remedies(asked.case({})):
            return  # to hide one of its GPUs is enough
        ways = [
            WayOut(_describe(asked, host, wish), wish or None, host)
            for wish in ({}, *wishes)
            for gpu in (_other_gpus(asked, wish) if other_gpu else [None])
            for host in _hosts(asked, gpu)
            if host
        ]
        found = list(_tried(asked, ways, DIRECT))
        yield from found
        if any(way.wish is None for way in found):
            return


def _hosts(asked: Asked, gpu: str | None) -> Iterator[dict[str, str]]:
    """Parts of other hosts with a GPU, or with this one's, the fewest first."""
    other = {"gpu": gpu} if gpu else {}
    parts = {**_other_python(asked), **_other_driver(asked, (gpu,) if gpu else asked.host.capabilities)}
    yield from (other, *({**other, name: value} for name, value in parts.items()))
    if len(parts) > 1:
        yield {**other, **parts}


def _describe(asked: Asked, host: Mapping[str, str], wish: Mapping[str, Any]) -> str:
    """A whole sentence for a host with other parts and a request with other keys."""
    words = []
    if driver := host.get("driver"):
        last = _last_branch([host["gpu"]] if "gpu" in host else asked.host.capabilities, asked.known)
        exact = f"{'Windows ' if asked.host.wsl else ''}driver {driver}"
        words.append(f"a driver of branch {last}" if last and not asked.host.wsl else exact)
    if gpu := host.get("gpu"):
        named = asked.known["gpus"]["capabilities"][gpu]["gpus"][0]
        words.append(f"a GPU of compute capability {gpu} such as {named}")
    if python := host.get("python"):
        words.append(f"Python {python} with its venv module")
    told = f"Use a host with {' and '.join(words)}"
    if words and wish:
        return f"{told}, and set {_keys(wish)}."
    return f"{told}." if words else f"Set {_keys(wish)}."


def _keys(wish: Mapping[str, Any]) -> str:
    """Keys of a request with their values, in words."""
    flat = {
        f"{key}.{name}": inner
        for key, value in wish.items()
        if isinstance(value, dict)
        for name, inner in value.items()
    }
    flat = {**{key: value for key, value in wish.items() if not isinstance(value, dict)}, **flat}
    return " and ".join(f"{key}: {value}" for key, value in flat.items() if value != "none")


def _loose(asked: Asked) -> dict[str, Any]:
    """The request with all that may stand in the way left to the plan; empty where it leaves that to it already."""
    request, base = asked.request, Request()
    keys = [key for key in ("driver", "scope", "python") if getattr(request, key) != getattr(base, key)]
    wish: dict[str, Any] = {**_free(asked), **{key: getattr(base, key) for key in keys}}
    if request.wheels != base.wheels:
        wish["wheels"] = {"provider": base.wheels.provider}
    return wish if wish != _free(asked) else {}


def _other_python(asked: Asked) -> dict[str, str]:
    """The newest interpreter that a requested PyTorch has wheels for, where the host has none of these."""
    have = {python.version for python in asked.host.pythons or ()}
    torch = builds.wished_torches(asked.request, asked.known)[0]
    fit = asked.known["pytorch"]["releases"][torch]["pythons"] if torch else ()
    return {"python": fit[-1]} if fit and not have & set(fit) and asked.host.pythons is not None else {}


def _other_driver(asked: Asked, capabilities: Iterable[str]) -> dict[str, str]:
    """The last driver that runs these GPUs, or the newest where they run with all newer ones."""
    known = asked.known
    if asked.host.wsl:
        listed = [row["driver_windows"] for row in known["cuda"]["releases"].values() if row["driver_windows"]]
        return {"driver": max(listed, key=parse_version)}
    last = _last_branch(capabilities, known)
    return {"driver": newest_of(str(last) if last else max(known["drivers"]["branches"], key=int), known)}


def _other_gpus(asked: Asked, wish: Mapping[str, str]) -> list[str]:
    """The compute capabilities of two other GPUs that a build has machine code for, the nearest newer ones first."""
    host, rows, case = asked.host, asked.known["gpus"]["capabilities"], asked.case(wish)
    if not host.capabilities:
        return []
    archs = {build.archs for build in builds.wished_builds(case)}
    own = _tenths(host.capabilities[0])
    names = [name for name, row in rows.items() if row["gpus"] and not row["tegra"] and name not in host.capabilities]
    fit = [name for name in names if any(rules.covers(each, name, ptx=False, known=asked.known) for each in archs)]
    return sorted(fit, key=lambda name: (_tenths(name) < own, abs(_tenths(name) - own)))[:2]


def _tenths(capability: str) -> int:
    major, minor = parse_version(capability)[:2]
    return 10 * major + minor


def _free(asked: Asked) -> dict[str, str]:
    """The request for the newest of both; empty where it is that already."""
    request = asked.request
    wish = {"cuda": "newest", "pytorch": "none" if request.pytorch == "none" else "newest"}
    return {} if request.cuda == "none" or (request.cuda, request.pytorch) == tuple(wish.values()) else wish


def _pinned(asked: Asked) -> Iterator[WayOut]:
    """What is taken instead, asked for by its name."""
    torch, cuda = asked.plan.pytorch, asked.plan.cuda
    if cuda and torch:
        text = f'Set pytorch: "{torch.version}" and cuda: "{cuda}", which is what is taken instead.'
        yield from _tried(asked, [WayOut(text, {"pytorch": torch.version, "cuda": cuda})])
    elif cuda:
        yield from _tried(asked, [WayOut(f'Set cuda: "{cuda}", which is what is taken instead.', {"cuda": cuda})])


def _may_run(asked: Asked, wish: Mapping[str, Any]) -> bool:
    """Whether another request has a build here: cheaper than the whole plan, which only what passes is asked for."""
    case = asked.case(wish)
    if case.request.driver != KEEP:
        return True  # another driver will run then
    if "on_old_driver" not in wish:
        case = replace(case, request=without_fallback(case.request))
    return not _is_unfit(case) and choose(case).build is not None


def _is_unfit(case: Case) -> bool:
    """Whether the driver does not run a GPU of this host, whatever is requested."""
    return bool(rules.gpu_floor(case) or rules.gpu_dropped(case))


# --- what works, and could work better ---


def better(case: Case, choice: Choice) -> str | None:
    """What would be better than a route that works: a newer driver, unless that does not run a GPU of this host."""
    if choice.build is None or choice.build.cuda is None:
        return None
    row = case.known["cuda"]["releases"][choice.build.cuda]
    driver = row["driver_windows" if case.host.wsl else "driver"]
    gain = f"also compiles PTX of CUDA {choice.build.cuda}"
    if choice.route == "forward_compat":
        inside = choice.ptx or (choice.build.cuda if rules.minor_version(case, choice.build.cuda) else None)
        driver, gain = driver_of(case, inside) if inside else row["least_driver"], "needs no forward compatibility"
    if choice.route not in ("forward_compat", "minor_version") or not driver:
        return None
    other = replace(case, host=on_host(case.host, {"driver": str(driver)}, case.known))
    if _is_unfit(other):
        return None
    return f"A host with driver {driver} or newer {gain}."
