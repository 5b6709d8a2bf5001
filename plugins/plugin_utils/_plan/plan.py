# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan: observed and requested and known in, the stack of a host and all that is pending there out. Pure."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import (
    advice,
    builds,
    devices,
    platforms,
    remedies,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import driver as drivers
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import settings as run_time
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import SYSTEM_PREFIX, Case, Layout
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.causes import without_run
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.changes import (
    Change,
    Wanted,
    find_changes,
    find_repairs_made,
    is_proven,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.choose_parts import build_reasons, choose_parts
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.choose_route import (
    choose_cpu_stack,
    choose_gpu_stack,
    no_gpu,
    nothing_known,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compat import ForwardCompat
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compile import wheels
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compile.request import (
    check_source,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.cutlass import provide_cutlass
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.decision import (
    BLOCKED,
    BROKEN,
    DEGRADED,
    OK,
    Download,
    Plan,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.draft import ROUTE, Draft
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.environment import choose_environment, find_built
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.extensions import check_listed
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import Host, read_host
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.layout import choose_layout, confine, untried
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.now import judge, note, note_own_python
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.proof import (
    Proof,
    choose_checks,
    digest_of,
    proof_architectures,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.reach import find_lost
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Reason, Refusal, Rejection, WayOut
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.route import Choice
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.stack import Stack
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.toolkit import check_components
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.tries import Asked
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.versions import Versions, compare_versions
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import KEEP, Request, parse_request
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import escape


def check_request(wished: Mapping[str, Any], known: Catalogue) -> Request:
    """Parse a request and hold it against the catalogue, without any host.

    Raises RequestError for what cannot be understood and for what the catalogue does not have.
    """
    request = parse_request(wished)
    check_parsed(request, known)
    return request


def check_parsed(request: Request, known: Catalogue) -> None:
    """Hold a parsed request against the catalogue. Raises RequestError for what the catalogue does not have."""
    drivers.check_driver(request, known)
    builds.check_cuda(request, known)
    builds.wished_torches(request, known)
    builds.check_channel(request)
    check_components(request, known)
    nowhere = Case(read_host({}, request.overrides, known), request, Layout("user", SYSTEM_PREFIX, "/root"), known)
    provide_cutlass(nowhere)
    check_listed(request.extensions, known)
    check_source(request, known)


def resolve(observed: Mapping[str, Any], wished: Mapping[str, Any] | Request, known: Catalogue) -> Plan:
    """Decide the stack of one host.

    ``observed`` is ``ansible_facts['gpu']``, of which any key may be absent: unknown. ``wished`` is
    ``stack_plan_request``, or what :func:`check_request` made of it. Raises RequestError for a request that cannot be
    understood; one that cannot be met is a verdict with remedies.
    """
    request = wished if isinstance(wished, Request) else check_request(wished, known)
    host = read_host(observed, request.overrides, known)
    draft = _begin(host, request, known)
    _judge_now(draft, observed)
    plan = _decide(draft)
    if not plan.ways_out and ROUTE not in plan.lacking and plan.verdict != BLOCKED:
        return plan
    ways = remedies.find_ways(Asked(host, request, known, plan, functools.partial(decide_for, known)))
    texts = tuple(way.text for way in ways)
    warnings = _unique([*plan.warnings, *devices.note_guest_driver(draft.case, texts)])
    return replace(plan, ways_out=ways, remedies=texts, warnings=warnings)


def _begin(host: Host, request: Request, known: Catalogue) -> Draft:
    layout = choose_layout(host, request)
    whole = Case(host, request, layout, known)
    return Draft(replace(whole, host=confine(host, layout)), observed=host)


def decide_for(known: Catalogue, host: Host, request: Request) -> Plan:
    """What would be decided for another request or another host: what fails now is not judged."""
    check_parsed(request, known)
    return _decide(_begin(host, request, known))


def _decide(draft: Draft) -> Plan:
    """The plan, with what may help as the rules suggest it, untried."""
    host, layout = draft.observed, draft.case.layout
    _plan_driver(draft)
    draft.case = replace(draft.case, host=devices.only_seen(draft.case.host))
    if draft.blocked:
        return _blocked(draft)
    if _cannot_work(draft):
        draft.block(Refusal(draft.now.summary))
        return _blocked(draft, BROKEN)
    if refusal := platforms.without_glibc(draft.case):
        draft.block(refusal)
        return _blocked(draft)
    if host.root is False and layout.scope == "system":
        ways = (
            WayOut("Run with become: true.", host={"root": True}),
            WayOut("Set scope: user.", {"scope": "user"}),
        )
        draft.block(Refusal("system scope needs root, and this is not root", ways=ways))
        return _blocked(draft)
    if nothing_known(draft):
        because = "whether this host has a driver or a GPU is unknown"
        draft.block(Refusal(because, "Record what nvidia-smi prints on it as well, or set cuda: none for the CPU."))
        return _blocked(draft)
    cpu_because = no_gpu(draft)
    if draft.blocked:
        return _blocked(draft)
    choice = choose_cpu_stack(draft, cpu_because) if cpu_because else choose_gpu_stack(draft)
    draft.reasons += choice.reasons
    draft.rejected += choice.rejected
    return _blocked(draft) if draft.blocked else _assemble(draft, choice)


# --- what works now, and the driver ---


def _judge_now(draft: Draft, observed: Mapping[str, Any]) -> None:
    """Judge CUDA as it works now, before anything is decided, and tell what was observed beside that."""
    case = replace(draft.case, host=draft.observed)
    draft.now = judge(case)
    told = {advice.find_place(asdict(cause)) for cause in draft.now.causes}
    draft.warnings += [escape(text) for text in (*advice.observed_warnings(case, observed, told), *note(case))]
    draft.warnings += [lost] if (lost := find_lost(draft.observed)) else []
    draft.remedies += draft.now.remedies


def _cannot_work(draft: Draft) -> bool:
    """Whether CUDA fails whatever is installed, and the plan does not change the driver."""
    changes = draft.driver.action in drivers.CHANGING or draft.driver.reboot == drivers.PENDING
    return draft.now.stops and not changes


def _plan_driver(draft: Draft) -> None:
    """Decide the driver, and go on with the host as it will be then."""
    driver = drivers.plan_driver(draft.case)
    draft.observed = draft.case.host
    if isinstance(driver, Refusal):
        draft.block(driver, option=f"driver {draft.case.request.driver}")
        return
    draft.driver = driver
    draft.reasons += driver.reasons
    draft.warnings += driver.warnings
    draft.case = replace(draft.case, host=drivers.after_reboot(draft.case, driver))


# --- the parts ---


def _assemble(draft: Draft, choice: Choice) -> Plan:
    """All parts of the stack for the chosen build, and what of them is pending."""
    stack = choose_parts(draft, choice)
    if draft.blocked:
        return _blocked(draft)
    case = draft.case
    environment = choose_environment(case, stack)
    if environment.reused:
        text = f"environment {environment.name} was built for this before: it is proved and switched to, not rebuilt"
        draft.reasons.append(Reason("reuse-environment", text, "observed on the host"))
    stack = replace(stack, source=wheels.settle(stack.source, find_built(environment.name, case.host), case.host))
    draft.reasons += build_reasons(case, stack)
    targets, left_out = proof_architectures(case, stack)
    if stack.toolkit:
        lacks = f"CUDA toolkit {stack.toolkit.version} does not compile for"
        draft.warnings += [f"{lacks} {target}; it is left out of the proof." for target in left_out]
    gpu = choice.route != "cpu" and not case.host.target
    checks = choose_checks(case, stack, gpu=gpu)
    digest = digest_of(stack, environment, targets, checks)
    now = replace(case, host=draft.observed)
    wanted = Wanted(stack, environment, digest)
    changes = (
        *find_repairs_made(environment),
        *drivers.find_changes(now, draft.driver),
        *find_changes(case, wanted),
    )
    if gpu and not is_proven(wanted, case.host):
        if refusal := devices.assumed_code(case, stack.torch):
            draft.degrade("machine code", refusal)
        if refusal := devices.assumed_driver(case, choice.build.cuda if choice.build else None):
            draft.degrade("driver", refusal)
    download = _download(draft, changes)
    if draft.blocked:
        return _blocked(draft)
    draft.reasons += run_time.explain(stack.settings)
    draft.warnings += advice.compat_warnings(stack.compat, case.host) + run_time.warn(stack.settings)
    toolkits = [name for entry in stack.toolkits for name in (entry.provider, entry.system_provider)]
    driver = draft.driver.provider if draft.driver.action in drivers.CHANGING else None
    draft.warnings += untried(case, (*toolkits, stack.compat.provider, driver))
    if environment.pytorch:
        draft.warnings += note_own_python(now, draft.now)
    toolkit, build = stack.toolkit, choice.build
    return Plan(
        verdict=_verdict(draft),
        now=draft.now,
        route=choice.route,
        summary=_summary(choice, stack),
        cuda=build.cuda if build and build.cuda else toolkit.version if toolkit else None,
        driver=draft.driver,
        toolkit=toolkit,
        toolkits=stack.beside,
        forward_compat=stack.compat,
        pytorch=stack.torch,
        extensions=stack.extensions,
        source=stack.source,
        cutlass=stack.cutlass,
        environment=environment,
        settings=stack.settings,
        proof=Proof(targets, gpu, checks, digest),
        download=download,
        versions=compare_versions(_versions(case, choice, stack), case.known),
        reasons=tuple(draft.reasons),
        rejected=tuple(draft.rejected),
        remedies=tuple(way.text for way in draft.ways_out),
        ways_out=draft.ways_out,
        warnings=_unique(draft.warnings),
        changes=changes,
        digest=digest,
        lacking=tuple(draft.lacking),
    )


def _versions(case: Case, choice: Choice, stack: Stack) -> Versions:
    """The versions that meet where the decision is applied; a host without a GPU has no driver to compare with."""
    host, torch, on_gpu = case.host, stack.torch, choice.route != "cpu"
    return Versions(
        driver=host.driver if on_gpu else None,
        driver_cuda=host.driver_cuda if on_gpu else None,
        windows=host.wsl,
        toolkit=stack.toolkit.version if stack.toolkit else None,
        beside=tuple(entry.version for entry in stack.beside),
        torch=torch.local if torch else None,
        torch_cuda=torch.cuda if torch else None,
        compat=choice.compat.cuda if choice.compat else None,
    )


# --- the end ---


def _download(draft: Draft, changes: tuple[Change, ...]) -> Download:
    """The sizes of what is pending; too little disk blocks the plan."""
    host, prefix = draft.case.host, draft.case.layout.prefix
    needed: dict[float, tuple[str, int]] = {}
    for change in changes:
        place = "/" if change.place == "/" else prefix
        free = host.free_mib(place)
        if free is not None and change.mib + change.disk_mib:
            needed[free] = (place, needed.get(free, (place, 0))[1] + change.mib + change.disk_mib)
    for free, (place, mib) in needed.items():
        if mib <= free:
            continue
        missing = f"{(mib - free) / 1024:.1f} GiB"
        text = f"needs {mib / 1024:.1f} GiB at {place}; {free / 1024:.1f} GiB are free, {missing} too little"
        if draft.case.request.overrides.disk:
            larger = [folder for folder, gib in host.free_gib.items() if gib * 1024 > mib and place == prefix]
            roomy = (f"{folder.rstrip('/')}/podsmith" for folder in larger)
            ways = [WayOut(f"Set prefix: {folder}, which has more space.", {"prefix": folder}) for folder in roomy]
            draft.block(Refusal(text, f"Free {missing} at {place}.", ways=tuple(ways)), option="disk")
        else:
            draft.warnings.append(f"override disk: {text}; assumed to be enough.")
    free = host.free_mib(prefix)
    return Download(
        sum(change.mib for change in changes),
        sum(change.disk_mib for change in changes),
        None if free is None else int(free),
    )


def _verdict(draft: Draft) -> str:
    """The verdict of a plan that is not blocked. Without a shell is not how people work, but neither is it right."""
    if draft.now.is_broken:
        return BROKEN
    return DEGRADED if draft.degraded or draft.now.works is False else OK


def _summary(choice: Choice, stack: Stack) -> str:
    torch = [f"PyTorch {stack.torch.local}"] if stack.torch else []
    if choice.route == "cpu":
        parts = [*torch, *([f"CUDA toolkit {stack.toolkit.version} to compile"] if stack.toolkit else [])]
        return f"cpu → {', '.join(parts) or 'nothing to install'}"
    parts = [*([f"CUDA {choice.build.cuda}"] if choice.build else []), *torch]
    return f"{choice.route} → {', '.join(parts)}"


def _blocked(draft: Draft, verdict: str = BLOCKED) -> Plan:
    """The plan of a host on which nothing works, with nothing to change: why, and what would help."""
    because = draft.blocked or "nothing works here"
    rejected = draft.rejected or [Rejection("the request", because)] * (verdict == BLOCKED)
    told = str(draft.case.known["pytorch"]["indexes"][builds.CPU]["source"])
    causes = without_run(draft.case, draft.now.causes)
    by_hand = {cause.remedy: stays.remedy for cause, stays in zip(draft.now.causes, causes, strict=True)}
    draft.remedies = [by_hand.get(one, one) if isinstance(one, str) else one for one in draft.remedies]
    return Plan(
        verdict=verdict,
        now=replace(draft.now, causes=causes),
        route=BLOCKED,
        summary=f"{verdict}: {because}",
        cuda=None,
        driver=replace(draft.driver, action=KEEP, packages=(), reboot=drivers.NO),
        toolkit=None,
        toolkits=(),
        forward_compat=ForwardCompat(),
        pytorch=None,
        extensions={},
        source=None,
        cutlass=None,
        environment=None,
        settings=(),
        proof=Proof((), False, (), ""),
        download=Download(0, 0, None),
        versions=(),
        reasons=(*draft.reasons, Reason(BLOCKED, because, told)),
        rejected=tuple(rejected),
        remedies=tuple(way.text for way in draft.ways_out),
        ways_out=draft.ways_out,
        warnings=_unique(draft.warnings),
        changes=(),
        digest="",
        lacking=tuple(draft.lacking),
    )


def _unique(texts: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))
