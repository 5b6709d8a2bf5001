# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What would help, tried by the same rules before it is told, and what each way out costs. Pure.

A way out is another request for this very host, or this request on another host. Nothing here knows a rule: each is
decided as any request is, and left out where that is refused, or leaves unmet what the way out was for.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import builds, rules
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.cost import count_minutes, name_losses
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.decision import BLOCKED, BROKEN, Plan
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.draft import ROUTE
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.driver import newest_of
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import Gpu, Host, Python, level
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.layout import choose_layout
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import WayOut
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.route import Choice, choose
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import KEEP, Request, parse_request
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import RequestError

MOST = 8  # of one kind that are tried: the nearest
OWNED = ("bare_metal", "vm")  # hosts whose driver their user may change
DIRECT = ("native", "minor_version")


@dataclass(frozen=True)
class Asked:
    """A host and a request, what was decided for them, and how any other pair of these is decided."""

    host: Host
    request: Request
    known: Catalogue
    plan: Plan
    decide: Callable[[Host, Request], Plan]

    @property
    def blocked(self) -> bool:
        """Whether nothing that was requested runs."""
        return self.plan.verdict == BLOCKED

    def case(self, wish: Mapping[str, Any]) -> Case:
        """What the rules look at for another request on this host."""
        request = with_wish(self.request, wish)
        return Case(self.host, request, choose_layout(self.host, request), self.known)


def find_ways(asked: Asked) -> tuple[WayOut, ...]:
    """What helps, the best first: what the rules suggested and, where the route is not as requested, what is found.

    Of both only what was tried and is true; one that takes neither another request nor another host is told as it is.
    """
    plan = asked.plan
    first = [way for way in plan.ways_out if way.text in plan.now.remedies]
    rest = [way for way in plan.ways_out if way.text not in plan.now.remedies]
    searched = _search(asked) if ROUTE in plan.unmet else iter(())
    told: dict[str, WayOut] = {}
    for way in itertools.chain(first, searched, rest):
        found = try_way(asked, way) if way.mib is None and _is_change(way) else way
        if found and found.text not in told:
            told[found.text] = found
    if not told and plan.verdict == BLOCKED:
        return (WayOut("Use another host."),)
    return tuple(told.values())


def try_way(asked: Asked, way: WayOut, routes: Iterable[str] = ()) -> WayOut | None:
    """A way out with its cost where the same rules accept it; None where they do not, or what it is for stays unmet.

    ``routes``: those that count; none given: any.
    """
    try:
        request = with_wish(asked.request, way.wish or {})
        plan = asked.decide(on_host(asked.host, way.host or {}, asked.known), request)
    except RequestError:
        return None
    if plan.verdict in (BLOCKED, BROKEN) or (routes and plan.route not in routes):
        return None
    if not _is_better(asked, way, plan):
        return None
    loses = name_losses(asked.request, request, plan, asked.known)
    loses += tuple(f"not met: {option}" for option in plan.unmet if option != ROUTE and asked.blocked)
    loses += tuple(f"without {name}" for name in _skipped(plan) - _skipped(asked.plan))
    return replace(way, mib=plan.download.mib, minutes=count_minutes(plan, asked.known), loses=loses)


def _is_change(way: WayOut) -> bool:
    return way.wish is not None or way.host is not None


def _is_better(asked: Asked, way: WayOut, plan: Plan) -> bool:
    """Whether what a way out is for is met, and nothing that was met before is lost by it without being named."""
    wish = way.wish or {}
    if way.option in plan.unmet and (way.option != ROUTE or "on_old_driver" not in wish):
        return False
    if ROUTE in plan.unmet and ROUTE not in asked.plan.unmet:
        return False
    if plan.route == "cpu" and asked.host.gpus and wish.get("cuda") != "none":
        return False
    if asked.blocked:
        return True
    return set(plan.unmet) <= set(asked.plan.unmet) and _skipped(plan) - set(_removed(asked, wish)) <= _skipped(
        asked.plan
    )


def _removed(asked: Asked, wish: Mapping[str, Any]) -> list[str]:
    """The extensions that a wish leaves out."""
    kept = wish.get("extensions", asked.request.extensions)
    return [name for name in asked.request.extensions if name not in kept]


def _skipped(plan: Plan) -> set[str]:
    """The extensions that cannot be had: those without a version."""
    return {name for name, entry in plan.extensions.items() if not hasattr(entry, "version")}


# --- another request, another host ---


def with_wish(request: Request, wish: Mapping[str, Any]) -> Request:
    """The request with some keys changed, written as in ``stack_plan_request``; of a mapping only those in the wish.

    A key that is null has its default. Raises RequestError for what cannot be understood.
    """
    parsed, changed = parse_request(wish), {}
    for key, value in wish.items():
        new, old = getattr(parsed, key), getattr(request, key)
        if is_dataclass(old) and isinstance(value, Mapping):
            names = [entry.name for entry in fields(old) if entry.name in value]
            new = replace(old, **{name: getattr(new, name) for name in names})  # type: ignore[type-var]
        changed[key] = new
    return replace(request, **changed)


def on_host(host: Host, change: Mapping[str, Any], known: Catalogue) -> Host:
    """The host with something else of its own: ``driver`` (a version), ``gpu`` (a compute capability), ``python``,

    ``glibc``, ``toolkit`` (a release), ``memory_gib``, and as true: ``root``, ``compiler``, ``git``. What was observed
    of the driver that is replaced is unknown then.
    """
    found: dict[str, Any] = {}
    if driver := change.get("driver"):
        found.update(status="ok", driver=driver, driver_cuda=level(driver, known), flavor=None, disk=None, state=None)
        found.update(ways=None, native=None, libcuda=None, searched=False)
    if capability := change.get("gpu"):
        found["gpus"] = (Gpu(f"a GPU of compute capability {capability}", capability, None, False, None),)
    if python := change.get("python"):
        found["pythons"] = (*(host.pythons or ()), Python(f"/usr/bin/python{python}", python, headers=True))
    if release := change.get("toolkit"):
        parts = list(known["cuda"]["components"])
        row = {"release": release, "version": None, "path": f"/usr/local/cuda-{release}", "nvcc": True}
        found["toolkits"] = (*host.toolkits, {**row, "components": parts})
    if change.get("compiler"):
        found.update(compiler=None, compiler_missing=False)
    if change.get("git"):
        found["missing_tools"] = host.missing_tools - {"git"}
    found.update({name: change[name] for name in ("glibc", "root") if name in change})
    if "memory_gib" in change:
        found["memory_free_gib"] = float(change["memory_gib"])
    return replace(host, **found)


# --- the search ---


def _search(asked: Asked) -> Iterator[WayOut]:
    """The ways to a route as requested, nearest first; another GPU or the CPU only where no other request helps."""
    kept = [*_drivers(asked), *_pythons(asked)]
    yield from kept
    other = [*_cudas(asked), *_torches(asked)]
    other += _newest(asked) if asked.blocked or not other else []
    other += [*_policies(asked), *_loosened(asked)] if asked.blocked else []
    yield from other
    if kept or other:
        return
    if not asked.blocked:
        yield from _pinned(asked)
        return
    yield from _gpus(asked)
    if asked.request.cuda != "none":
        yield from _tried(asked, [WayOut("Set cuda: none to run on the CPU.", {"cuda": "none"})])


def _tried(asked: Asked, ways: Iterable[WayOut], routes: Iterable[str] = ()) -> Iterator[WayOut]:
    """The first of the ways that the rules accept."""
    for way in ways:
        if found := try_way(asked, replace(way, option=ROUTE), routes):
            yield found
            return


def _drivers(asked: Asked) -> Iterator[WayOut]:
    """Another driver for the same request; on a machine of one's own also by the request."""
    host = asked.host
    if host.driver is None:
        return
    last = _last_branch(host, asked.known)
    found = list(_tried(asked, _other_drivers(asked, last), DIRECT))
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


def _last_branch(host: Host, known: Catalogue) -> int | None:
    """The last driver branch that runs every GPU of a host, None where there is none yet or Windows has the driver."""
    rows = [known["gpus"]["capabilities"].get(name, {}) for name in host.capabilities]
    return min((int(row["last_branch"]) for row in rows if row.get("last_branch") and not host.wsl), default=None)


def _is_newer(version: str, current: str) -> bool:
    return parse_version(version) > parse_version(current)


def _cudas(asked: Asked) -> Iterator[WayOut]:
    """The same PyTorch on another CUDA: of the same major first, then the nearest."""
    wished = asked.request.cuda
    if wished in ("newest", "none") or asked.request.pytorch == "none":
        return
    releases = sorted(asked.known["cuda"]["releases"], key=parse_version)
    published = [cuda for cuda in builds.published_cudas(asked.case({})) if cuda != wished]

    def distance(cuda: str) -> tuple[bool, int]:
        return parse_version(cuda)[0] != parse_version(wished)[0], abs(releases.index(cuda) - releases.index(wished))

    for cuda in sorted(published, key=distance)[:MOST]:
        if choice := _chosen(asked, {"cuda": cuda}):
            way = WayOut(f'Set cuda: "{cuda}": {_name(choice)} runs here.', {"cuda": cuda})
            if found := list(_tried(asked, [way])):
                yield from found
                return


def _torches(asked: Asked) -> Iterator[WayOut]:
    """Another PyTorch on the same CUDA: the nearest release."""
    if asked.request.pytorch in ("newest", "none") or asked.request.cuda == "none":
        return
    releases = sorted(asked.known["pytorch"]["releases"], key=parse_version)
    wished = builds.wished_torches(asked.request, asked.known)
    place = releases.index(str(wished[0]))
    others = sorted((name for name in releases if name not in wished), key=lambda name: abs(releases.index(name) - place))
    for torch in others:
        wish = {"pytorch": torch}
        if choice := _chosen(asked, wish):
            yield from _tried(asked, [WayOut(f'Set pytorch: "{torch}": {_name(choice)} runs here.', wish)])
            return


def _newest(asked: Asked) -> Iterator[WayOut]:
    """The newest of both that works here."""
    request = asked.request
    wish = {"cuda": "newest", "pytorch": "none" if request.pytorch == "none" else "newest"}
    if "none" == request.cuda or (request.cuda, request.pytorch) == tuple(wish.values()):
        return
    if choice := _chosen(asked, wish):
        keys = " and ".join(f"{key}: newest" for key, value in wish.items() if value == "newest")
        yield from _tried(asked, [WayOut(f"Set {keys}: {_name(choice)} runs here.", wish)])


def _policies(asked: Asked) -> Iterator[WayOut]:
    """What the policies that the request leaves out would bring."""
    kept = [policy for policy in asked.request.on_old_driver if policy != "fail"]
    for policy in ("forward_compat", "fallback"):
        wish = {"on_old_driver": [*kept, policy]}
        if policy not in kept and (choice := _chosen(asked, wish)):
            text = f"Add {policy} to on_old_driver: {_name(choice)} runs here that way."
            yield from _tried(asked, [WayOut(text, wish)])


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


def _gpus(asked: Asked) -> Iterator[WayOut]:
    """Another GPU for the same request, with this driver or else with a newer one: the nearest by capability."""
    host, known = asked.host, asked.known
    if not host.capabilities:
        return
    own = parse_version(host.capabilities[0])
    rows = {name: row for name, row in known["gpus"]["capabilities"].items() if not row["tegra"] and row["gpus"]}
    order = sorted(rows, key=lambda name: (parse_version(name) < own, abs(_tenths(name) - _tenths(host.capabilities[0]))))
    branch = max(known["drivers"]["branches"], key=int)
    nearest = [name for name in order if name not in host.capabilities][:MOST]
    ways = [
        WayOut(f"Use a GPU of compute capability {name}, such as {rows[name]['gpus'][0]}.", host={"gpu": name})
        for name in nearest
    ]
    ways += [
        WayOut(
            f"Use a host with driver {newest_of(branch, known)} and a GPU of compute capability {name}, such as "
            f"{rows[name]['gpus'][0]}.",
            host={"gpu": name, "driver": newest_of(branch, known)},
        )
        for name in nearest
        if not host.wsl
    ]
    yield from _tried(asked, ways, DIRECT)


def _tenths(capability: str) -> int:
    major, minor = parse_version(capability)[:2]
    return 10 * major + minor


def _pinned(asked: Asked) -> Iterator[WayOut]:
    """What is taken instead, asked for by its name."""
    torch, cuda = asked.plan.pytorch, asked.plan.cuda
    if cuda and torch:
        text = f'Set pytorch: "{torch.version}" and cuda: "{cuda}", which is what is taken instead.'
        yield from _tried(asked, [WayOut(text, {"pytorch": torch.version, "cuda": cuda})])
    elif cuda:
        yield from _tried(asked, [WayOut(f'Set cuda: "{cuda}", which is what is taken instead.', {"cuda": cuda})])


def _chosen(asked: Asked, wish: Mapping[str, Any]) -> Choice | None:
    """The build that another request has here: cheaper than the whole plan, which only what passes is asked for."""
    case = asked.case(wish)
    if asked.host.gpus is not None and (rules.gpu_floor(case) or rules.gpu_dropped(case)):
        return None
    choice = choose(case)
    return choice if choice.build and ("on_old_driver" in wish or not choice.fallback) else None


def _name(choice: Choice) -> str:
    return choice.build.name if choice.build else ""


# --- what works, and could work better ---


def better(case: Case, choice: Choice) -> str | None:
    """What would be better than a route that works: a newer driver, unless that does not run a GPU of this host."""
    if choice.build is None or choice.build.cuda is None:
        return None
    row = case.known["cuda"]["releases"][choice.build.cuda]
    driver = row["driver_windows" if case.host.wsl else "driver"]
    gain = f"also compiles PTX of CUDA {choice.build.cuda}"
    if choice.route == "forward_compat":
        driver, gain = row["least_driver"], "needs no forward compatibility"
    if choice.route not in ("forward_compat", "minor_version") or not driver:
        return None
    other = replace(case, host=on_host(case.host, {"driver": str(driver)}, case.known))
    if rules.gpu_floor(other) or rules.gpu_dropped(other):
        return None
    return f"A host with driver {driver} or newer {gain}."
