# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Another request for a host, or another host for a request: decided by the same rules, with what it costs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.cost import count_minutes, name_losses
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.decision import BLOCKED, BROKEN, Plan
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.draft import ROUTE
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import Gpu, Host, Python, level
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.layout import choose_layout
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import WayOut
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import Request, parse_request
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import RequestError

BUILD = "{build}"  # in the text of a way out: what is chosen by it


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


def try_way(asked: Asked, way: WayOut, routes: Iterable[str] = ()) -> WayOut | None:
    """A way out with its cost where the same rules accept it; None where they do not, or what it is for stays unmet.

    ``routes``: those that count; none given: any.
    """
    try:
        request = with_wish(asked.request, way.wish or {})
        strict = (
            without_fallback(request) if way.option == ROUTE and "on_old_driver" not in (way.wish or {}) else request
        )
        plan = asked.decide(on_host(asked.host, way.host or {}, asked.known), strict)
    except RequestError:
        return None
    if plan.verdict in (BLOCKED, BROKEN) or (routes and plan.route not in routes):
        return None
    if not _is_better(asked, way, plan):
        return None
    loses = name_losses(asked.request, request, plan, asked.known)
    loses += tuple(f"not met: {option}" for option in plan.lacking if _is_part(option, plan) and asked.blocked)
    loses += tuple(f"without {name}" for name in _skipped(plan) - _skipped(asked.plan))
    text = way.text.replace(BUILD, _name(plan))
    return replace(way, text=text, mib=plan.download.mib, minutes=count_minutes(plan, asked.known), loses=loses)


def _is_part(option: str, plan: Plan) -> bool:
    """Whether what is lacking is a part of the stack: not the route, and not an extension, which is told as such."""
    return option != ROUTE and option not in plan.extensions


def without_fallback(request: Request) -> Request:
    """The request without its last resort: what that would find is no way out, and need not be looked for."""
    kept = tuple(policy for policy in request.on_old_driver if policy != "fallback")
    return replace(request, on_old_driver=kept or ("fail",))


def _name(plan: Plan) -> str:
    """The build of a plan, as a person calls it."""
    torch = plan.pytorch
    return f"PyTorch {torch.version}+{torch.index}" if torch else f"CUDA {plan.cuda}"


def is_change(way: WayOut) -> bool:
    """Whether a way out takes another request or another host, so that it can be tried."""
    return way.wish is not None or way.host is not None


def _is_better(asked: Asked, way: WayOut, plan: Plan) -> bool:
    """Whether what a way out is for is met, and nothing that was met before is lost by it without being named."""
    wish = way.wish or {}
    if way.option in plan.lacking and (way.option != ROUTE or "on_old_driver" not in wish):
        return False
    if ROUTE in plan.lacking and ROUTE not in asked.plan.lacking:
        return False
    if plan.route == "cpu" and asked.host.gpus and wish.get("cuda") != "none":
        return False
    if asked.blocked:
        return True
    return set(plan.lacking) <= set(asked.plan.lacking) and _skipped(plan) - set(_removed(asked, wish)) <= _skipped(
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
    """The host with other parts; what was observed of a driver that is replaced is unknown then.

    Of ``change``: ``driver``, ``python`` and ``glibc`` are versions, ``gpu`` is a compute capability, ``toolkit`` a
    release, ``memory_gib`` a number; ``root`` and ``compiler`` are true.
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
    found.update({name: change[name] for name in ("glibc", "root") if name in change})
    if "memory_gib" in change:
        found["memory_free_gib"] = float(change["memory_gib"])
    return replace(host, **found)
