# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""By which route a host gets its stack: on its GPUs, on the CPU, or for the GPUs of other hosts. Pure."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import (
    advice,
    builds,
    bus,
    containers,
    mixed,
    platforms,
    remedies,
    rules,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.choose_set import choose, choose_cpu
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compile import architectures
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compile.architectures import name_architectures
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compile.request import (
    for_other_gpus,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.decision import (
    BLOCKED,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.draft import ROUTE, Draft
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.minor import warn_of_exceptions
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.mismatch import broken_driver
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Reason, Refusal, Rejection, WayOut
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.route import Choice, serve_ptx, take
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.torch import not_offered, settle


def nothing_known(draft: Draft) -> bool:
    """Whether a recording tells neither of a driver nor of a GPU, which is no sign that there is none."""
    host = draft.case.host
    return host.recorded and draft.case.request.cuda != "none" and not (host.status or host.driver or host.gpus)


def no_gpu(draft: Draft) -> str | None:
    """Why this is a host without a usable GPU, or None."""
    host = draft.case.host
    if draft.case.request.cuda == "none":
        return "cuda is none"
    if broken_driver(draft.case):
        return None
    if not host.gpus and host.status in (None, "missing") and (lost := platforms.no_jetson_driver(draft.case)):
        draft.degrade("native", lost)
        return lost.because
    no_driver = host.status == "missing" or (host.status is None and host.driver is None and not host.gpus)
    if because := bus.look(draft, no_driver=no_driver):
        return because
    container, given = host.kind == "container", bus.name_given(draft.case)
    if no_driver:
        if container:
            draft.warnings.append(containers.tell_no_gpu(host, has_driver=False) + given)
            if given:
                because = "the GPU of the container's host was not given to it"
                draft.degrade("native", Refusal(because, containers.give_gpu(host)))
        if host.gpus:
            because = f"{host.gpu_names} has no driver"
            draft.degrade("native", Refusal(because, "Install NVIDIA's driver on the host."))
            return f"there is no NVIDIA driver for {host.gpu_names}"
        return "there is no NVIDIA driver" if host.status else "no NVIDIA driver was observed"
    if host.status == "no_device" or host.gpus == ():
        if container:
            draft.warnings.append(containers.tell_no_gpu(host, has_driver=True))
        remedy = containers.give_gpu(host) if container else "Attach a GPU to the host; see lspci and dmesg."
        draft.degrade("native", Refusal("the driver is there, but there is no GPU", remedy))
        return "the driver sees no GPU"
    return None


def choose_cpu_stack(draft: Draft, because: str) -> Choice:
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
        draft.block(Refusal("no PyTorch for the CPU fits"))
        draft.lacking.append(ROUTE)
    elif build.wheel:
        offer = f"this host's pip configuration offers PyTorch {build.wheel['version']}"
        text = f'{offer}, used as "{request.pytorch}"'
        reasons.append(Reason("host-wheels", text, str(build.wheel.get("path") or "the host's pip configuration")))
    return replace(choice, reasons=(*reasons, *choice.reasons))


def _choose_elsewhere(draft: Draft, reasons: list[Reason]) -> Choice:
    """A PyTorch for CUDA that is compiled here, or that extensions are compiled against, for GPUs of other hosts."""
    case = draft.case
    wished = case.request.architectures
    rejected: list[Rejection] = []
    for build in builds.wished_builds(case) if wished else ():
        refusal = not_offered(case, build) or builds.why_not_build(case, build, ptx=False)
        if refusal is None:
            others = " ".join(wished or ())
            text = f"{build.name} is used anyway, for what is compiled for GPUs of other hosts ({others})"
            reasons.append(Reason("other-gpus", text, build.source))
            return Choice("cpu", settle(case, build), tuple(reasons), tuple(rejected))
        rejected.append(Rejection(build.name, refusal.because))
    found = " ".join(wished or ("auto",))
    because = f"compiling PyTorch needs a GPU or a list of architectures; found no GPU, and architectures: {found}"
    ways = (*name_architectures(case), WayOut("Set cuda: none to compile it for the CPU.", {"cuda": "none"}))
    draft.block(Refusal(because, ways=ways))
    return Choice("cpu", None, tuple(reasons), tuple(rejected))


def choose_gpu_stack(draft: Draft) -> Choice:
    """The stack of a host with GPUs and a driver."""
    case = draft.case
    for rule in (rules.gpu_floor, rules.gpu_dropped, architectures.misfit):
        if refusal := rule(case):
            is_misfit, own = rule is architectures.misfit, platforms.remedies(case)
            kept = refusal if is_misfit or own else replace(refusal, remedy="")  # drivers that would run it are tried
            draft.block(kept, *mixed.remedies(case))
            draft.lacking += [] if is_misfit or own else [ROUTE]
            option = "architectures" if is_misfit else "native"
            return Choice(BLOCKED, None, rejected=(Rejection(option, refusal.because),))
    choice = serve_ptx(case, choose(case))
    if choice.build is None:
        own = platforms.remedies(case)
        draft.block(platforms.nothing_fits(case), *mixed.remedies(case), *own)
        draft.lacking += [] if own else [ROUTE]
        return choice
    draft.warnings += advice.unknown_warnings(case.host) + architectures.note_left_out(case)
    draft.warnings += warn_of_exceptions(case, choice.build)
    for refusal in choice.unmet:
        draft.degrade("PTX", refusal)
    if choice.fallback:
        draft.degraded = True
        own = platforms.remedies(case)
        draft.remedies += [*mixed.remedies(case), *own]
        draft.lacking += [] if own else [ROUTE]
    elif not case.host.jetson and not choice.unmet and (better := remedies.better(case, choice)):
        draft.remedies.append(better)
    return take(case, choice, settle(case, choice.build))
