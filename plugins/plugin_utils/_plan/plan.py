# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan: observed and requested and known in, the stack of a host and all that is pending there out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import advice, builds, rules
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import driver as drivers
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import settings as run_time
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import SYSTEM_PREFIX, Case, Layout
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.causes import without_run
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.changes import (
    Change,
    Wanted,
    find_changes,
    find_repairs_made,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.choose_parts import build_reasons, choose_parts
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.choose_set import choose, choose_cpu
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compat import ForwardCompat
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compile import wheels
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compile.request import (
    check_source,
    for_other_gpus,
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
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.draft import Draft
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.environment import choose_environment, find_built
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.extensions import check_listed
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import read_host
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.layout import choose_layout, confine
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.now import judge, note, note_own_python
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.proof import (
    Proof,
    choose_checks,
    digest_of,
    proof_architectures,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Reason, Refusal, Rejection
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.route import Choice
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.stack import Stack
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.toolkit import check_components
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.torch import not_offered, settle
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
    layout = choose_layout(host, request)
    whole = Case(host, request, layout, known)
    draft = Draft(replace(whole, host=confine(host, layout)), observed=host)
    _judge_now(draft, observed)
    _plan_driver(draft)
    if draft.blocked:
        return _blocked(draft)
    if _cannot_work(draft):
        draft.block(Refusal(draft.now.summary))
        return _blocked(draft, BROKEN)
    if host.root is False and layout.scope == "system":
        because = "system scope needs root, and this is not root"
        draft.block(Refusal(because, "Run with become: true, or set scope: user."))
        return _blocked(draft)
    cpu_because = _no_gpu(draft)
    choice = _choose_cpu(draft, cpu_because) if cpu_because else _choose_gpu(draft)
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


# --- the route ---


def _no_gpu(draft: Draft) -> str | None:
    """Why this is a host without a usable GPU, or None."""
    host = draft.case.host
    if draft.case.request.cuda == "none":
        return "cuda is none"
    if advice.broken_driver(draft.case):
        return None
    container = host.kind == "container"
    if host.status == "missing" or (host.status is None and host.driver is None and not host.gpus):
        if container:
            draft.warnings.append("This container sees no GPU. Start it with --gpus all if its host has one.")
        if host.gpus:
            because = f"{host.gpu_names} has no driver"
            draft.degrade("native", Refusal(because, "Install NVIDIA's driver on the host."))
            return f"there is no NVIDIA driver for {host.gpu_names}"
        return "there is no NVIDIA driver" if host.status else "no NVIDIA driver was observed"
    if host.status == "no_device" or host.gpus == ():
        start = "Start the container with --gpus all."
        if container:
            draft.warnings.append("The driver is there and this container sees no GPU. Start it with --gpus all.")
        remedy = start if container else "Attach a GPU to the host; see lspci and dmesg."
        draft.degrade("native", Refusal("the driver is there, but there is no GPU", remedy))
        return "the driver sees no GPU"
    return None


def _choose_cpu(draft: Draft, because: str) -> Choice:
    """The stack of a host without a usable GPU: PyTorch for the CPU; a toolkit may still compile."""
    case = draft.case
    request, known = case.request, case.known
    told = str(known["pytorch"]["indexes"][builds.CPU]["source"])
    reasons = [Reason("no-gpu", f"{because}: PyTorch runs on the CPU", told)]
    if request.pytorch == "none":
        return Choice("cpu", None, tuple(reasons))
    if request.cuda != "none" and for_other_gpus(request, known):
        return _choose_elsewhere(draft, reasons)
    choice = choose_cpu(case)
    build = choice.build
    if build is None:
        draft.block(Refusal("no PyTorch for the CPU fits"), *advice.python_remedies(case))
    elif build.wheel:
        offer = f"this host's pip configuration offers PyTorch {build.wheel['version']}"
        text = f'{offer}, used as "{request.pytorch}"'
        reasons.append(Reason("host-wheels", text, str(build.wheel.get("path") or "the host's pip configuration")))
    return replace(choice, reasons=(*reasons, *choice.reasons))


def _choose_elsewhere(draft: Draft, reasons: list[Reason]) -> Choice:
    """A PyTorch for CUDA that is compiled here, or that extensions are compiled against, for GPUs of other hosts."""
    case = draft.case
    architectures = case.request.architectures
    rejected: list[Rejection] = []
    for build in builds.wished_builds(case) if architectures else ():
        refusal = not_offered(case, build) or builds.why_not_build(case, build, ptx=False)
        if refusal is None:
            others = " ".join(architectures or ())
            text = f"{build.name} is used anyway, for what is compiled for GPUs of other hosts ({others})"
            reasons.append(Reason("other-gpus", text, build.source))
            return Choice("cpu", settle(case, build), tuple(reasons), tuple(rejected))
        rejected.append(Rejection(build.name, refusal.because))
    found = " ".join(architectures or ("auto",))
    because = f"compiling PyTorch needs a GPU or a list of architectures; found no GPU, and architectures: {found}"
    remedy = "Set architectures to the compute capabilities it is for, or cuda: none to compile it for the CPU."
    draft.block(Refusal(because, remedy))
    return Choice("cpu", None, tuple(reasons), tuple(rejected))


def _choose_gpu(draft: Draft) -> Choice:
    """The stack of a host with GPUs and a driver."""
    case = draft.case
    for rule in (rules.gpu_floor, rules.gpu_dropped):
        if refusal := rule(case):
            draft.block(refusal)
            return Choice(BLOCKED, None, rejected=(Rejection("native", refusal.because),))
    choice = choose(case)
    if choice.build is None:
        draft.block(Refusal("nothing that was requested runs here"), *advice.remedies(case, other_wishes=True))
        return choice
    draft.warnings += advice.unknown_warnings(case.host)
    if choice.fallback:
        draft.degraded = True
        draft.remedies += advice.remedies(case, other_wishes=False)
    elif better := advice.better(case, choice):
        draft.remedies.append(better)
    return replace(choice, build=settle(case, choice.build))


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
    architectures, left_out = proof_architectures(case, stack)
    if stack.toolkit:
        lacks = f"CUDA toolkit {stack.toolkit.version} does not compile for"
        draft.warnings += [f"{lacks} {target}; it is left out of the proof." for target in left_out]
    gpu = choice.route != "cpu" and not case.host.target
    checks = choose_checks(case, stack, gpu=gpu)
    digest = digest_of(stack, environment, architectures, checks)
    now = replace(case, host=draft.observed)
    changes = (
        *find_repairs_made(environment),
        *drivers.find_changes(now, draft.driver),
        *find_changes(case, Wanted(stack, environment, digest)),
    )
    download = _download(draft, changes)
    if draft.blocked:
        return _blocked(draft)
    draft.reasons += run_time.explain(stack.settings)
    draft.warnings += advice.compat_warnings(stack.compat, case.host) + run_time.warn(stack.settings)
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
        proof=Proof(architectures, gpu, checks, digest),
        download=download,
        versions=compare_versions(_versions(case, choice, stack), case.known),
        reasons=tuple(draft.reasons),
        rejected=tuple(draft.rejected),
        remedies=_unique(draft.remedies),
        warnings=_unique(draft.warnings),
        changes=changes,
        digest=digest,
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
            remedy = f"Free {missing} at {place}, or set prefix to a folder with more space."
            draft.block(Refusal(text, remedy), option="disk")
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
    draft.remedies = [by_hand.get(remedy, remedy) for remedy in draft.remedies]
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
        remedies=_unique(draft.remedies) or ("Use another host.",),
        warnings=_unique(draft.warnings),
        changes=(),
        digest="",
    )


def _unique(texts: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))
