# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of a stack for the chosen build; what cannot be had blocks the plan or leaves the request unmet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import collectives, devices, triton
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import settings as run_time
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compat import (
    Compat,
    find_standby,
    no_compat_package,
    provide_compat,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compile import wheels
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compile.architectures import targets
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compile.features import tell_features, torch_features
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compile.preflight import why_not_compiled
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compile.request import (
    PROVIDER,
    TORCH,
    components,
    releases,
    wished_extensions,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.cutlass import Cutlass, provide_cutlass, unknown_target
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.draft import Draft
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.extensions import (
    COMPANIONS,
    Set,
    choose_extensions,
    split_companions,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host_compiler import (
    compiler_settings,
    explain_compiler,
    too_old_for_torch,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Reason, Refusal, Rejection, WayOut
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.releases import Extension
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.route import Choice
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.stack import Stack
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.toolkit import (
    Toolkit,
    choose_toolkits,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.torch import (
    PyTorch,
    describe_torch,
)

Assemblers = tuple[tuple[triton.Gap, ...], tuple[Toolkit, ...]]  # what Triton lacks, and the toolkits that may have it


def choose_parts(draft: Draft, choice: Choice) -> Stack:
    """The parts for the chosen build; what cannot be had blocks the draft or degrades it."""
    build, request = choice.build, draft.case.request
    torch = describe_torch(draft.case, build) if build and build.torch else None
    if build and build.adopt:
        text = f"PyTorch {torch.local if torch else ''} at {build.adopt['path']} is used as it is"
        draft.reasons.append(Reason("adopt-pytorch", text, "observed on the host"))
    _widen_toolkit(draft, torch)
    toolkit, beside = _toolkits(draft, choice, torch)
    if torch and request.wheels.provider == PROVIDER:
        torch = _compile_torch(draft, torch, toolkit)
    extensions, compiled = _extensions(draft, choice, torch, toolkit)
    toolkits = tuple(filter(None, (toolkit, *beside)))
    level = choice.compat.cuda if choice.compat else draft.case.host.driver_cuda
    tools = (triton.find_gaps(draft.case, torch, level), toolkits)
    extensions = _triton(draft, torch, extensions, tools)
    if torch and not torch.adopt:
        torch = split_companions(torch, extensions)
    wished = (*request.extensions, *wished_extensions(request))
    extensions = {name: entry for name, entry in extensions.items() if name in wished or name not in COMPANIONS}
    if torch and torch.python.version is None:
        draft.warnings.append(
            "The host's Python versions are unknown; the newest that fits is looked for when it is installed."
        )
    case = draft.case
    settings = _settings(draft, torch, tools)
    return Stack(
        toolkit=toolkit,
        beside=beside,
        compat=provide_compat(case, choice.compat, _standby(draft, choice)),
        cutlass=_cutlass(draft, toolkits),
        torch=torch,
        extensions=extensions,
        source=None if draft.blocked else wheels.plan_source(case, compiled, torch, toolkit),
        settings=(
            *settings,
            *(compiler_settings(case, toolkit.version, toolkit.compiler) if toolkit else ()),
        ),
        targets=targets(case),
        triton=devices.too_old(case, triton.NAME) is None and triton.not_assembled(case, *tools) is None,
    )


def _triton(draft: Draft, torch: PyTorch | None, extensions: Set, tools: Assemblers) -> Set:
    """The extensions, without a Triton that does not work on a GPU; what runs without it all the same is told."""
    case = draft.case
    refusal = triton.not_assembled(case, *tools)
    draft.warnings += triton.note(case, torch, refusal)
    found = triton.refuse(case, extensions, refusal)
    if refusal and found is not extensions:
        draft.degrade(triton.NAME, refusal)
    return found


def _settings(draft: Draft, torch: PyTorch | None, tools: Assemblers) -> tuple[run_time.Setting, ...]:
    """The run-time settings: those that are wished and that this host can have, and what Triton needs for its GPUs."""
    case, wished = draft.case, draft.case.request.settings
    version, kinds = torch.version if torch else None, devices.kinds(case)
    for setting, refusal in run_time.refuse(wished, version, case.known, kinds).items():
        draft.degrade(f"settings.{setting}", refusal)
    draft.warnings += collectives.note(case, torch)
    return (
        *run_time.choose_settings(wished, version, case.known, kinds),
        *triton.choose_assemblers(case, *tools),
    )


def _cutlass(draft: Draft, toolkits: tuple[Toolkit, ...]) -> Cutlass | None:
    cutlass = provide_cutlass(draft.case)
    if isinstance(cutlass, Refusal):
        draft.degrade("cutlass", cutlass)
        return None
    if cutlass and (refusal := unknown_target(draft.case, cutlass, toolkits)):
        draft.degrade("cutlass", refusal)
    return cutlass


def build_reasons(case: Case, stack: Stack) -> list[Reason]:
    """Why what is compiled here is compiled as it is."""
    found = []
    if stack.source and stack.source.features:
        found.append(Reason("source-features", *tell_features(stack.source.features, case.known)))
    builds = stack.source.builds if stack.source else ()
    return [*found, *(Reason("source-build", *wheels.explain(case, build)) for build in builds)]


def _standby(draft: Draft, choice: Choice) -> Compat | None:
    """The compat library that waits for an older driver, where it is requested and can be had."""
    case = draft.case
    compat = None if choice.compat else find_standby(case, choice.build.cuda if choice.build else None)
    if isinstance(compat, Refusal):
        draft.rejected.append(Rejection("standby", compat.because))
        return None
    if compat and not compat.installed and (refusal := no_compat_package(case, compat.cuda)):
        ways = (
            WayOut("Set scope: system and run with become: true.", {"scope": "system"}, {"root": True}),
            WayOut("Set forward_compat: auto.", {"forward_compat": "auto"}),
        )
        draft.degrade("standby", replace(refusal, ways=ways))
        return None
    if compat:
        draft.reasons.append(compat.reason)
    return compat


def _widen_toolkit(draft: Draft, torch: PyTorch | None) -> None:
    """The toolkit gets what the requested builds need of it."""
    request = draft.case.request
    if torch is None or torch.cuda is None:
        return
    names = list(wished_extensions(request))
    names += [TORCH] if request.wheels.provider == PROVIDER else []
    parts = components(names, request.toolkit.components, draft.case.known)
    draft.case = replace(draft.case, request=replace(request, toolkit=replace(request.toolkit, components=parts)))


def _compile_torch(draft: Draft, torch: PyTorch, toolkit: Toolkit | None) -> PyTorch:
    """The PyTorch that is compiled here; one that cannot be blocks the plan, as nothing else was requested."""
    case = draft.case
    if refusal := why_not_compiled(case, TORCH, torch, toolkit):
        because = f"PyTorch {torch.version} cannot be built here: {refusal.because}"
        draft.block(replace(refusal, because=because))
        draft.rejected.append(Rejection(f"PyTorch {torch.version} from source", refusal.because))
        return torch
    _features, refused = torch_features(case, torch)
    for entry in refused:
        draft.degrade("source.features", entry)
    return wheels.name_torch(case, torch)


def _extensions(
    draft: Draft, choice: Choice, torch: PyTorch | None, toolkit: Toolkit | None
) -> tuple[Set, dict[str, str]]:
    """The extensions, and of these package → version of what is compiled here. One that cannot be had degrades."""
    case = draft.case
    built: dict[str, Any] = {}
    for name, version in wished_extensions(case.request).items():
        listed = releases(name, case.known)
        built[name] = {version: listed[version]} if version else listed
        if torch and (refusal := why_not_compiled(case, name, torch, toolkit)):
            built[name] = replace(refusal, because=f"it cannot be built here: {refusal.because}")
    wished = tuple(dict.fromkeys((*case.request.extensions, *built)))
    extensions = choose_extensions(case, wished, torch, built)
    for name, entry in extensions.items():
        if not isinstance(entry, Refusal):
            continue
        told: Refusal = entry if entry.ways_out else choice.skipped.get(name, entry)
        told = _from_source(draft, name, torch, toolkit) or told
        left = {"extensions": [other for other in case.request.extensions if other != name]}
        last = _leave_out(case, name) if name in built else WayOut(f"Leave {name} out of extensions.", left)
        extensions[name] = told
        draft.degrade(name, replace(told, ways=(*told.ways, replace(last, is_last=True))))
    draft.warnings += _older_libraries(torch, extensions)
    compiled = {
        name: entry.version
        for name, entry in extensions.items()
        if isinstance(entry, Extension) and entry.index == PROVIDER
    }
    return extensions, compiled


def _older_libraries(torch: PyTorch | None, extensions: Set) -> list[str]:
    """The wheels that are built for a newer CUDA than the one whose libraries PyTorch brings.

    A program may find newer libraries of its CUDA major than it was linked with; older ones may lack what it calls
    (https://github.com/NVIDIA/cutlass/issues/2079).
    """
    if torch is None or torch.cuda is None:
        return []
    return [
        f"{name} {entry.version} is built for CUDA {entry.cuda}, and PyTorch {torch.local} has the libraries of "
        f"CUDA {torch.cuda}: what these lack fails when it is called. The proof imports it and runs one operation."
        for name, entry in extensions.items()
        if isinstance(entry, Extension) and entry.cuda and parse_version(entry.cuda) > parse_version(torch.cuda)
    ]


def _leave_out(case: Case, name: str) -> WayOut:
    """A request without an extension that cannot be built."""
    source = [entry for entry in case.request.source.extensions if entry.partition("==")[0] != name]
    wish = {"source": {"extensions": source}, "extensions": [one for one in case.request.extensions if one != name]}
    return WayOut(f"Remove {name} from source.extensions on this host.", wish)


def _from_source(draft: Draft, name: str, torch: PyTorch | None, toolkit: Toolkit | None) -> Refusal | None:
    """Of an extension without wheels: that it is published as source only, and to compile it where that can be done."""
    case = draft.case
    about = case.known["extensions"]["packages"].get(name, {})
    listed = wished_extensions(case.request)
    if torch is None or about.get("wheels", True) or name in listed or name not in case.known["source"]["packages"]:
        return None
    if why_not_compiled(case, name, torch, toolkit):
        return None
    wish = {"source": {"extensions": [*case.request.source.extensions, name]}}
    return Refusal(
        "it is published as source only", f"Add {name} to source.extensions to have it compiled here.", wish=wish
    )


def _toolkits(draft: Draft, choice: Choice, torch: PyTorch | None) -> tuple[Toolkit | None, tuple[Toolkit, ...]]:
    """The active toolkit and those beside it."""
    chosen = choose_toolkits(draft.case, choice.build, fallback=choice.fallback)
    for option, refusal in chosen.refused.items():
        draft.degrade(option, refusal)
    if chosen.missing and (torch is None or draft.case.request.wheels.provider == PROVIDER):
        draft.block(chosen.missing)
    if chosen.unusable and chosen.toolkit:
        draft.block(chosen.unusable, option=f"CUDA toolkit {chosen.toolkit.version}")
    draft.rejected += [
        Rejection(option, refusal.because) for option, refusal in chosen.unfit.items() if option not in chosen.refused
    ]
    if chosen.toolkit and chosen.toolkit.compiler:
        text = explain_compiler(draft.case, chosen.toolkit.version, chosen.toolkit.compiler)
        source = str(draft.case.known["cuda"]["host_compilers"][chosen.toolkit.compiler.kind]["source"])
        draft.reasons.append(Reason("host-compiler", text, source))
    if chosen.toolkit:
        draft.reasons.append(_toolkit_reason(draft.case, chosen.toolkit, torch))
    return chosen.toolkit, chosen.beside


def _toolkit_reason(case: Case, toolkit: Toolkit, torch: PyTorch | None) -> Reason:
    origin = {
        "adopt": f"is installed at {toolkit.path}",
        "apt": "comes from NVIDIA's repository",
        "rpm": f"comes from NVIDIA's repository {toolkit.repository}, as rpm packages",
        "pypi": "comes from PyPI",
    }
    why = ""
    if torch and torch.cuda:
        refusal = too_old_for_torch(case, torch.version, toolkit.compiler)
        builds = f"do not: {refusal.because}" if refusal else "build with it"
        why = f"; extensions of PyTorch {torch.local} {builds}"
    text = f"CUDA toolkit {toolkit.version} {origin[toolkit.provider]}{why}"
    return Reason("toolkit", text, str(case.known["cuda"]["releases"][toolkit.version]["source"]))
