# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decision: observed and wished and known in, the stack of a host and all that is pending there out. Pure."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import advice, provide, rules
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import builds as wheels
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import driver as drivers
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import settings as run_time
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.builds import Choice
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.changes import Change, Wanted, find_changes
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compile import source as sources
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.driver import Driver
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.environment import (
    Environment,
    choose_environment,
    find_built,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.extensions import (
    Extension,
    Set,
    choose_extensions,
    split_companions,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import Host, read_host
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.provide import (
    Cutlass,
    ForwardCompat,
    Layout,
    PyTorch,
    Toolkit,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.rules import Compat, Reason, Rejection
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.settings import Setting
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.versions import Difference, Stack, compare_versions
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import KEEP, Request, parse_request

OK, DEGRADED, BLOCKED = "ok", "degraded", "blocked"


@dataclass(frozen=True)
class Proof:
    """What ``gpu_verify`` proves; ``digest`` is the plan's own."""

    architectures: tuple[str, ...]
    gpu: bool
    checks: tuple[str, ...]
    digest: str


@dataclass(frozen=True)
class Download:
    """What the pending changes fetch and take on disk, and what is free at the prefix; None: unknown."""

    mib: int
    installed_mib: int
    free_mib: int | None


@dataclass(frozen=True)
class Plan:
    """The decision for one host; ``to_decision`` turns it into ``stack_plan_decision``."""

    verdict: str
    route: str
    summary: str
    cuda: str | None
    driver: Driver
    toolkit: Toolkit | None
    toolkits: tuple[Toolkit, ...]
    forward_compat: ForwardCompat
    pytorch: PyTorch | None
    extensions: Set
    source: sources.Source | None
    cutlass: Cutlass | None
    environment: Environment | None
    settings: tuple[Setting, ...]
    proof: Proof
    download: Download
    versions: tuple[Difference, ...]
    reasons: tuple[Reason, ...]
    rejected: tuple[Rejection, ...]
    remedies: tuple[str, ...]
    warnings: tuple[str, ...]
    changes: tuple[Change, ...]
    digest: str


@dataclass
class Draft:
    """What is gathered on the way to a plan."""

    host: Host
    request: Request
    layout: Layout
    known: Catalogue
    reasons: list[Reason] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    remedies: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    degraded: bool = False
    blocked: str | None = None  # why nothing works
    driver: Driver = field(default_factory=Driver)
    observed: Host | None = None  # with the driver that runs now; ``host`` has the one that will

    def block(self, because: str, *remedies: str) -> None:
        """Nothing works; the first reason is kept."""
        self.blocked = self.blocked or because
        self.remedies.extend(remedies)

    def degrade(self, option: str, because: str, *remedies: str) -> None:
        """A part of the wish is not met."""
        self.degraded = True
        self.rejected.append(Rejection(option, because))
        self.remedies.extend(remedies)


def check_request(wished: Mapping[str, Any], known: Catalogue) -> Request:
    """Parse a request and hold it against the catalogue, without any host.

    Raises RequestError for what cannot be understood and for what the catalogue does not have.
    """
    request = parse_request(wished)
    drivers.check_driver(request, known)
    wheels.check_cuda(request, known)
    wheels.wished_torches(request, known)
    provide.check_components(request, known)
    nowhere = read_host({}, request.overrides, known)
    provide.provide_cutlass(nowhere, request, Layout("user", provide.SYSTEM_PREFIX, "/root"), known)
    choose_extensions(request.extensions, None, nowhere, known)
    sources.check_source(request, known)
    return request


def resolve(observed: Mapping[str, Any], wished: Mapping[str, Any], known: Catalogue) -> Plan:
    """Decide the stack of one host.

    ``observed`` is ``ansible_facts['gpu']``, of which any key may be absent: unknown. ``wished`` is
    ``stack_plan_request``. Raises RequestError for a wish that cannot be understood; one that cannot be met is a
    verdict with remedies.
    """
    request = check_request(wished, known)
    host = read_host(observed, request.overrides, known)
    layout = provide.choose_layout(host, request)
    draft = Draft(provide.confine(host, layout), request, layout, known)
    draft.warnings += advice.observed_warnings(observed, host, request)
    _plan_driver(draft)
    if draft.blocked:
        return _blocked(draft)
    if host.root is False and draft.layout.scope == "system":
        draft.block("system scope needs root, and this is not root", "Run with become: true, or set scope: user.")
        return _blocked(draft)
    cpu_because = None if draft.blocked else _no_gpu(draft)
    choice = _choose_cpu(draft, cpu_because) if cpu_because else _choose_gpu(draft)
    draft.reasons += choice.reasons
    draft.rejected += choice.rejected
    if draft.blocked:
        return _blocked(draft)
    return _assemble(choice, draft)


def to_decision(plan: Plan) -> dict[str, Any]:
    """The plan as ``stack_plan_decision``: plain dictionaries and lists."""
    decision: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(plan)))
    decision["changes"] = [
        {
            "role": change["role"],
            "action": change["action"],
            "what": change["what"],
            "from": change["old"],
            "to": change["new"],
            "mib": change["mib"],
        }
        for change in decision["changes"]
    ]
    for part in ("reasons", "warnings"):
        decision["driver"].pop(part)
    for entry in decision["extensions"].values():
        entry.pop("mib", None)
    for build in (decision["source"] or {}).get("builds", ()):
        build.pop("fetch_mib")
    return decision


# --- the driver ---


def _plan_driver(draft: Draft) -> None:
    """Decide the driver, and go on with the host as it will be then."""
    driver = drivers.plan_driver(draft.host, draft.request, draft.layout, draft.known)
    draft.observed = draft.host
    if isinstance(driver, tuple):
        draft.block(*driver)
        draft.rejected.append(Rejection(f"driver {draft.request.driver}", driver[0]))
        return
    draft.driver = driver
    draft.reasons += driver.reasons
    draft.warnings += driver.warnings
    draft.host = drivers.project(draft.host, driver, draft.request, draft.known)


# --- the route ---


def _no_gpu(draft: Draft) -> str | None:
    """Why this is a host without a usable GPU, or None."""
    host = draft.host
    if draft.request.cuda == "none":
        return "no CUDA is wished"
    if host.status in advice.BROKEN_DRIVER:
        return None
    container = host.kind == "container"
    if host.status == "missing" or (host.status is None and host.driver is None and not host.gpus):
        if container:
            draft.warnings.append("This container sees no GPU. Start it with --gpus all if its host has one.")
        if host.gpus:
            draft.degrade("native", f"{host.gpu_names} has no driver", "Install NVIDIA's driver on the host.")
            return f"there is no NVIDIA driver for {host.gpu_names}"
        return "there is no NVIDIA driver" if host.status else "no NVIDIA driver was observed"
    if host.status == "no_device" or host.gpus == ():
        help_ = (
            "Start the container with --gpus all." if container else "Attach a GPU to the host; see lspci and dmesg."
        )
        if container:
            draft.warnings.append("The driver is there and this container sees no GPU. Start it with --gpus all.")
        draft.degrade("native", "the driver is there and no GPU", help_)
        return "the driver sees no GPU"
    return None


def _choose_cpu(draft: Draft, because: str) -> Choice:
    """The stack of a host without a usable GPU: PyTorch for the CPU; a toolkit may still compile."""
    told = str(draft.known["pytorch"]["indexes"][wheels.CPU]["source"])
    reasons = [Reason("no-gpu", f"{because}: PyTorch runs on the CPU", told)]
    if draft.request.pytorch == "none":
        return Choice("cpu", None, tuple(reasons))
    if draft.request.cuda != "none" and sources.for_other_gpus(draft.request, draft.known):
        return _choose_elsewhere(draft, reasons)
    build, rejected = provide.choose_cpu(draft.host, draft.request, draft.known)
    if build is None:
        draft.block("no PyTorch for the CPU fits", *advice.python_remedies(draft.host, draft.request, draft.known))
    elif build.wheel:
        offer = f"this host's pip configuration offers PyTorch {build.wheel['version']}"
        text = f"{offer}, which is taken for {draft.request.pytorch}"
        reasons.append(Reason("host-wheels", text, str(build.wheel.get("path") or "the host's pip configuration")))
    return Choice("cpu", build, tuple(reasons), tuple(rejected))


def _choose_elsewhere(draft: Draft, reasons: list[Reason]) -> Choice:
    """A PyTorch for CUDA that is compiled here, or that extensions are compiled against, for GPUs of other hosts."""
    host, request, known = draft.host, draft.request, draft.known
    rejected: list[Rejection] = []
    for build in wheels.wished_builds(host, request, known) if request.architectures else ():
        because = provide.offered(build, host, request, known) or wheels.unfit(build, host, request, known, ptx=False)
        if because is None:
            others = " ".join(request.architectures or ())
            text = f"{build.name} is taken all the same, for what is compiled for GPUs of other hosts ({others})"
            reasons.append(Reason("other-gpus", text, build.source))
            return Choice("cpu", provide.settle(build, host, request, known), tuple(reasons), tuple(rejected))
        rejected.append(Rejection(build.name, because))
    found = " ".join(draft.request.architectures or ("auto",))
    draft.block(
        f"a GPU, or architectures, are wanted to compile PyTorch for; found no GPU, and architectures: {found}",
        "Set architectures to the compute capabilities it is for, or cuda: none to compile it for the CPU.",
    )
    return Choice("cpu", None, tuple(reasons), tuple(rejected))


def _choose_gpu(draft: Draft) -> Choice:
    """The stack of a host with GPUs and a driver."""
    host, request, known = draft.host, draft.request, draft.known
    if host.status in advice.BROKEN_DRIVER:
        because, remedy = advice.broken_driver(host)
        draft.block(because, remedy)
        return Choice(BLOCKED, None, rejected=(Rejection("native", because),))
    for rule in (rules.gpu_floor, rules.gpu_dropped):
        if told := rule(host, known):
            draft.block(told[0], told[1])
            return Choice(BLOCKED, None, rejected=(Rejection("native", told[0]),))
    choose = functools.partial(
        wheels.choose,
        host,
        known=known,
        no_package=provide.no_compat_package(host, draft.layout, known),
        offered=lambda build: provide.offered(build, host, request, known),
    )
    choice = choose(request)
    if choice.build is None:
        draft.block("nothing that is wished runs here", *advice.remedies(host, request, known, choose))
        return choice
    draft.warnings += advice.unknown_warnings(host)
    if choice.fallback:
        draft.degraded = True
        draft.remedies += advice.remedies(host, request, known, None)
    elif better := advice.better(choice, host, known):
        draft.remedies.append(better)
    return dataclasses.replace(choice, build=provide.settle(choice.build, host, request, known))


# --- the parts ---


def _assemble(choice: Choice, draft: Draft) -> Plan:
    """All parts of the stack for the chosen build, and what of them is pending."""
    host, known, layout = draft.host, draft.known, draft.layout
    torch = provide.describe_torch(choice.build, host, draft.request) if choice.build and choice.build.torch else None
    if choice.build and choice.build.adopt:
        text = f"PyTorch {torch.local if torch else ''} at {choice.build.adopt['path']} is used as it is"
        draft.reasons.append(Reason("adopt-pytorch", text, "observed on the host"))
    _widen_toolkit(torch, draft)
    toolkit, also = _toolkits(choice, torch, draft)
    if torch and draft.request.wheels.provider == sources.PROVIDER:
        torch = _compile_torch(torch, toolkit, draft)
    extensions, compiled = _extensions(torch, toolkit, draft)
    if torch and not torch.adopt:
        torch = split_companions(torch, extensions)
    if torch and torch.python.version is None:
        draft.warnings.append(
            "The host's Python versions are unknown; the newest that fits is looked for when it is installed."
        )
    request = draft.request
    compat = provide.provide_compat(choice, _standby(choice, draft), host, known)
    cutlass = provide.provide_cutlass(host, request, layout, known)
    if isinstance(cutlass, str):
        draft.degrade("cutlass", cutlass, "Install git, or set cutlass to a release that PyPI has.")
        cutlass = None
    if draft.blocked:
        return _blocked(draft)
    targets = _targets(host, request)
    source = sources.plan_source(compiled, torch, toolkit, layout, host, request, known)
    keys = source.keys if source else ()
    settings = run_time.choose_settings(request.settings, torch.version if torch else None, known)
    environment = choose_environment(
        layout, host, torch, toolkit, cutlass, compat, extensions, targets, settings, request.repair_files, keys
    )
    if environment.reused:
        text = f"environment {environment.name} was built for this before: it is proved and switched to, not rebuilt"
        draft.reasons.append(Reason("reuse-environment", text, "observed on the host"))
    source = sources.settle(source, find_built(environment.name, host), host)
    if source and source.features:
        draft.reasons.append(Reason("source-features", *sources.tell_features(source.features, known)))
    for build in source.builds if source else ():
        draft.reasons.append(Reason("source-build", *sources.explain(build, host, known)))
    architectures = _proof_architectures(targets, toolkit, draft)
    gpu = choice.route != "cpu" and not host.target
    checks = _checks(gpu, toolkit, cutlass, torch, host)
    toolkits = (*((toolkit,) if toolkit else ()), *also)
    wanted = Wanted(toolkits, compat, cutlass, torch, extensions, environment, "", source)
    digest = _digest(wanted, architectures, checks)
    wanted = dataclasses.replace(wanted, digest=digest)
    before = draft.observed or host
    changes = (*drivers.find_changes(draft.driver, before), *find_changes(wanted, host, known))
    download = _download(changes, draft)
    if draft.blocked:
        return _blocked(draft)
    draft.reasons += run_time.explain(settings)
    draft.warnings += advice.compat_warnings(compat, host) + run_time.warn(settings)
    return Plan(
        verdict=DEGRADED if draft.degraded else OK,
        route=choice.route,
        summary=_summary(choice, torch, toolkit),
        cuda=choice.build.cuda if choice.build and choice.build.cuda else toolkit.version if toolkit else None,
        driver=draft.driver,
        toolkit=toolkit,
        toolkits=also,
        forward_compat=compat,
        pytorch=torch,
        extensions=extensions,
        source=source,
        cutlass=cutlass,
        environment=environment,
        settings=settings,
        proof=Proof(architectures, gpu, checks, digest),
        download=download,
        versions=compare_versions(_versions(choice, torch, toolkit, also, host), known),
        reasons=tuple(draft.reasons),
        rejected=tuple(draft.rejected),
        remedies=_unique(draft.remedies),
        warnings=_unique(draft.warnings),
        changes=changes,
        digest=digest,
    )


def _versions(
    choice: Choice, torch: PyTorch | None, toolkit: Toolkit | None, also: tuple[Toolkit, ...], host: Host
) -> Stack:
    """The versions that meet where the decision is applied; a host without a GPU has no driver to compare with."""
    on_gpu = choice.route != "cpu"
    return Stack(
        driver=host.driver if on_gpu else None,
        driver_cuda=host.driver_cuda if on_gpu else None,
        windows=host.wsl,
        toolkit=toolkit.version if toolkit else None,
        beside=tuple(entry.version for entry in also),
        torch=torch.local if torch else None,
        torch_cuda=torch.cuda if torch else None,
        compat=choice.compat.cuda if choice.compat else None,
    )


def _standby(choice: Choice, draft: Draft) -> Compat | None:
    """The compat library that waits for an older driver, where it is wished and can be had."""
    host = draft.host
    compat = provide.find_standby(choice, host, draft.request, draft.known)
    if compat is None:
        return None
    if isinstance(compat, str):
        draft.rejected.append(Rejection("standby", compat))
        return None
    because = None if compat.installed else provide.no_compat_package(host, draft.layout, draft.known)
    if because:
        draft.degrade("standby", because, "Run as root with scope: system, or set forward_compat: auto.")
        return None
    draft.reasons.append(compat.reason)
    return compat


def _widen_toolkit(torch: PyTorch | None, draft: Draft) -> None:
    """The toolkit gets what the wished builds need of it."""
    request = draft.request
    if torch is None or torch.cuda is None:
        return
    names = list(sources.wished_extensions(request))
    names += [sources.TORCH] if request.wheels.provider == sources.PROVIDER else []
    parts = sources.components(names, request.toolkit.components, draft.known)
    draft.request = dataclasses.replace(request, toolkit=dataclasses.replace(request.toolkit, components=parts))


def _compile_torch(torch: PyTorch, toolkit: Toolkit | None, draft: Draft) -> PyTorch:
    """The PyTorch that is compiled here; one that cannot be blocks the plan, as nothing else was wished."""
    request, host, known = draft.request, draft.host, draft.known
    if refusal := sources.refuse(sources.TORCH, torch, toolkit, host, request, known):
        draft.block(f"PyTorch {torch.version} cannot be built here: {refusal.because}", refusal.remedy)
        draft.rejected.append(Rejection(f"PyTorch {torch.version} from source", refusal.because))
        return torch
    _features, refused = sources.choose_features(torch.version, torch.cuda, host.arch, request.source.features, known)
    for entry in refused:
        draft.degrade("source.features", entry.because, entry.remedy)
    return sources.name_torch(torch, host, request, known)


def _extensions(torch: PyTorch | None, toolkit: Toolkit | None, draft: Draft) -> tuple[Set, dict[str, str]]:
    """The extensions, and of these package → version of what is compiled here."""
    request, host, known = draft.request, draft.host, draft.known
    built: dict[str, Any] = {}
    for name, version in sources.wished_extensions(request).items():
        releases = sources.releases(name, known)
        built[name] = {version: releases[version]} if version else releases
        refusal = torch and sources.refuse(name, torch, toolkit, host, request, known)
        if refusal:
            built[name] = f"it cannot be built here: {refusal.because}"
            draft.degraded = True
            draft.remedies.append(refusal.remedy)
    wished = tuple(dict.fromkeys((*request.extensions, *built)))
    extensions = choose_extensions(wished, torch, host, known, built)
    compiled = {
        name: entry.version
        for name, entry in extensions.items()
        if isinstance(entry, Extension) and entry.index == sources.PROVIDER
    }
    return extensions, compiled


def _toolkits(choice: Choice, torch: PyTorch | None, draft: Draft) -> tuple[Toolkit | None, tuple[Toolkit, ...]]:
    """The active toolkit and those beside it."""
    host, request, layout, known = draft.host, draft.request, draft.layout, draft.known
    if request.toolkit.provider == "none" or request.cuda == "none":
        return None, ()
    because = "no CUDA release is known to compile with"
    toolkit: Toolkit | None = None
    for release in _toolkit_releases(choice, draft):
        found = provide.provide_toolkit(release, host, request, layout, known)
        if isinstance(found, Toolkit):
            toolkit = found
            break
        because = found
    if toolkit is None:
        release = next(iter(_toolkit_releases(choice, draft)), "")
        remedy = "Run as root with scope: system, use an image that has it, or set toolkit.provider: none."
        if torch is None or request.wheels.provider == sources.PROVIDER:
            draft.block(f"no CUDA toolkit {release} can be had: {because}", remedy)
        draft.degrade(f"CUDA toolkit {release}".strip(), because, remedy)
    else:
        _check_compiler(toolkit, draft)
        draft.reasons.append(_toolkit_reason(toolkit, torch, known))
    also = []
    for release in request.toolkit.also:
        found = provide.provide_toolkit(release, host, request, layout, known)
        if isinstance(found, Toolkit):
            also.append(found)
        else:
            draft.degrade(
                f"CUDA toolkit {release}", found, f"Take {release} out of toolkit.also, or use an image that has it."
            )
    return toolkit, tuple(entry for entry in also if toolkit is None or entry.version != toolkit.version)


def _toolkit_releases(choice: Choice, draft: Draft) -> list[str]:
    """The releases that may be the active toolkit, best first: always of PyTorch's CUDA major."""
    host, request, known = draft.host, draft.request, draft.known
    every = sorted(known["cuda"]["releases"], key=parse_version, reverse=True)
    build = choice.build
    if request.cuda != "newest" and not choice.fallback:
        return [request.cuda]
    if build is None or build.cuda is None:
        torch = build.torch if build and build.torch in known["pytorch"]["releases"] else None
        indexes = wheels.torch_indexes(torch, known) if torch else []
        return [str(wheels.index_cuda(index, known)) for index in indexes] or every
    if request.wheels.provider == sources.PROVIDER and build.torch:
        return [build.cuda]  # what it is compiled with is what it is named after
    major = parse_version(build.cuda)[0]
    seen = {str(row.get("release")) for row in host.toolkits}
    nearby = [release for release in every if release in seen and parse_version(release)[0] == major]
    return [build.cuda, *(release for release in nearby if release != build.cuda)]


def _check_compiler(toolkit: Toolkit, draft: Draft) -> None:
    """nvcc needs a C++ compiler on the host."""
    if draft.host.compiler_missing and not toolkit.system_packages:
        because = "the host has no C++ compiler, which nvcc needs"
        draft.block(because, "Install g++ on the host, or wish toolkit.provider: none.")
        draft.rejected.append(Rejection(f"CUDA toolkit {toolkit.version}", because))
    if note := provide.compiler_note(toolkit, draft.host, draft.known):
        draft.warnings.append(note)


def _toolkit_reason(toolkit: Toolkit, torch: PyTorch | None, known: Catalogue) -> Reason:
    origin = {
        "adopt": f"is there at {toolkit.path}",
        "apt": "comes from NVIDIA's repository",
        "pypi": "comes from PyPI",
    }
    why = f"; extensions of PyTorch {torch.local} build with it" if torch and torch.cuda else ""
    text = f"CUDA toolkit {toolkit.version} {origin[toolkit.provider]}{why}"
    return Reason("toolkit", text, str(known["cuda"]["releases"][toolkit.version]["source"]))


# --- the proof ---


def _targets(host: Host, request: Request) -> tuple[str, ...]:
    """The capabilities that code is compiled for on this host: as wished, or the GPUs'."""
    return request.architectures or host.capabilities


def _proof_architectures(targets: tuple[str, ...], toolkit: Toolkit | None, draft: Draft) -> tuple[str, ...]:
    """What the proof compiles for, as nvcc says it; without a GPU the first of each major that has its own code."""
    if toolkit is None:
        return ()
    rows = draft.known["gpus"]["capabilities"]
    codes = draft.known["cuda"]["releases"][toolkit.version]["gpu_code"]
    if not targets:
        majors: dict[int, str] = {}
        for capability in sorted(rows, key=parse_version):
            row = rows[capability]
            if row.get("arch_specific") and not row.get("tegra") and _code(capability) in codes:
                majors.setdefault(parse_version(capability)[0], capability)
        targets = tuple(majors.values())
    found = []
    for target in targets:
        name = target if draft.request.architectures else str(rows.get(target, {}).get("arch_specific") or target)
        if _code(target) in codes:
            found.append(f"sm_{name.replace('.', '')}")
        else:
            draft.warnings.append(
                f"CUDA toolkit {toolkit.version} does not compile for {target}; it is left out of the proof."
            )
    return tuple(found)


def _code(capability: str) -> int:
    """9.0a → 90, as nvcc counts."""
    return int(capability.rstrip("af").replace(".", ""))


def _checks(
    gpu: bool, toolkit: Toolkit | None, cutlass: Cutlass | None, torch: PyTorch | None, host: Host
) -> tuple[str, ...]:
    """The checks that fit the stack."""
    same_major = (
        not (torch and torch.cuda and toolkit) or parse_version(torch.cuda)[0] == parse_version(toolkit.version)[0]
    )
    headers = next((p.headers for p in host.pythons or () if torch and p.path == torch.python.path), None)
    wanted = {
        "cuinit": gpu,
        "nvcc": toolkit is not None,
        "kernel": toolkit is not None,
        "cutlass": toolkit is not None and cutlass is not None,
        "torch": torch is not None,
        "matmul": torch is not None,
        "extension": toolkit is not None and torch is not None and same_major and headers is not False,
        "health": gpu,
    }
    return tuple(name for name, fits in wanted.items() if fits)


def _digest(wanted: Wanted, architectures: tuple[str, ...], checks: tuple[str, ...]) -> str:
    """A digest of all that is wanted, and of nothing that is installed: where a part comes from does not count."""
    torch, environment = wanted.torch, wanted.environment
    content: dict[str, Any] = {
        "toolkits": [(entry.version, entry.path, entry.components) for entry in wanted.toolkits],
        "compat": (wanted.compat.enabled, wanted.compat.package),
        "cutlass": (wanted.cutlass.version, wanted.cutlass.path) if wanted.cutlass else None,
        "torch": (torch.local, torch.index, torch.python.version, torch.companions, torch.adopt) if torch else None,
        "environment": (environment.scope, environment.prefix, environment.constraints, environment.arch_list),
        "proof": (architectures, checks),
    }
    if wanted.source:
        content["source"] = wanted.source.keys
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


# --- the end ---


def _download(changes: tuple[Change, ...], draft: Draft) -> Download:
    """The sizes of what is pending; too little disk blocks the plan."""
    host, prefix = draft.host, draft.layout.prefix
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
        text = f"needs {mib / 1024:.1f} GiB at {place}, {free / 1024:.1f} GiB are free: {missing} are missing"
        if draft.request.overrides.disk:
            draft.block(text, f"Free {missing} at {place}, or set prefix to a folder with more space.")
            draft.rejected.append(Rejection("disk", text))
        else:
            draft.warnings.append(f"override disk: {text}; taken as enough.")
    free = host.free_mib(prefix)
    return Download(
        sum(change.mib for change in changes),
        sum(change.disk_mib for change in changes),
        None if free is None else int(free),
    )


def _summary(choice: Choice, torch: PyTorch | None, toolkit: Toolkit | None) -> str:
    if choice.route == "cpu":
        parts = [f"PyTorch {torch.local}"] if torch else []
        parts += [f"CUDA toolkit {toolkit.version} to compile"] if toolkit else []
        return f"cpu → {', '.join(parts) or 'nothing to install'}"
    parts = [f"CUDA {choice.build.cuda}"] if choice.build else []
    parts += [f"PyTorch {torch.local}"] if torch else []
    return f"{choice.route} → {', '.join(parts)}"


def _blocked(draft: Draft) -> Plan:
    """The plan of a host on which nothing works: why, and what would help."""
    because = draft.blocked or "nothing works here"
    rejected = draft.rejected or [Rejection("the wish", because)]
    told = str(draft.known["pytorch"]["indexes"][wheels.CPU]["source"])
    return Plan(
        verdict=BLOCKED,
        route=BLOCKED,
        summary=f"blocked: {because}",
        cuda=None,
        driver=dataclasses.replace(draft.driver, action=KEEP, packages=(), reboot=drivers.NO),
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
        remedies=_unique(draft.remedies) or ("Ask for another host.",),
        warnings=_unique(draft.warnings),
        changes=(),
        digest="",
    )


def _unique(texts: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))
