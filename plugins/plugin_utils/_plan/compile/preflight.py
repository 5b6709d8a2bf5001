# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a package cannot be compiled on a host: asked before anything is fetched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compile.architectures import (
    choose_architectures,
    name_architectures,
    targets,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compile.estimate import choose_jobs
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host_compiler import (
    cannot_compile,
    too_old_for_torch,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.layout import no_apt
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal, WayOut
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.rules import no_machine_code
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.toolkit import Toolkit
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.torch import PyTorch


@dataclass(frozen=True)
class Job:
    """What is to be compiled: a package's row of source.yml, the PyTorch it is for, and the toolkit to use."""

    package: Row
    torch: PyTorch
    toolkit: Toolkit | None


def why_not_compiled(case: Case, name: str, torch: PyTorch, toolkit: Toolkit | None) -> Refusal | None:
    """Why a package cannot be compiled on this host, or None."""
    job = Job(case.known["source"]["packages"][name], torch, toolkit)
    for rule in RULES:
        if refusal := rule(case, job):
            return refusal
    if not torch.cuda:
        return None
    architectures = choose_architectures(targets(case), torch.cuda, job.package["offers"], case.known)
    return architectures if isinstance(architectures, Refusal) else _uncovered(case, architectures, torch.cuda)


def no_cuda(case: Case, job: Job) -> Refusal | None:
    """A package that needs CUDA is compiled against a PyTorch for CUDA."""
    if job.torch.cuda is None and job.package["cuda"] == "required":
        because = f"it is compiled against a PyTorch for CUDA; found PyTorch {job.torch.local}"
        return Refusal(because, "Build it on a host with a GPU.", ways=name_architectures(case, job.package["offers"]))
    return None


def no_toolkit(case: Case, job: Job) -> Refusal | None:
    """nvcc of PyTorch's own CUDA major; another one is refused by PyTorch's extension builder."""
    cuda, toolkit = job.torch.cuda, job.toolkit
    if cuda is None or (toolkit and parse_version(toolkit.version)[0] == parse_version(cuda)[0]):
        return None
    if toolkit is None and case.request.toolkit.provider != "none" and (refusal := cannot_compile(case, cuda)):
        return replace(refusal, because=f"compiling it needs nvcc of CUDA {cuda}, and {refusal.because}")
    found = f"CUDA {toolkit.version}" if toolkit else "no CUDA toolkit"
    remedy = f'Set cuda: "{cuda}" and toolkit.provider: auto.'
    wish = {"cuda": cuda, "toolkit": {"provider": "auto"}}
    return Refusal(f"compiling it needs nvcc of CUDA {cuda}; found {found}", remedy, wish=wish)


def no_targets(case: Case, job: Job) -> Refusal | None:
    """There are GPUs, or architectures, to compile for, and the package supports them."""
    host, wished = case.host, targets(case)
    if job.torch.cuda is None:
        return None
    if not wished:
        found = f"{host.gpu_names}, whose compute capability is unknown" if host.gpus else "no GPU"
        return Refusal(
            f"compiling it needs a GPU or a list of architectures; found {found} and architectures: auto",
            ways=name_architectures(case, job.package["offers"]),
        )
    least = str(job.package["least_capability"])
    lower = [name for name in wished if parse_version(name.rstrip("af")) < parse_version(least)]
    if lower:
        return Refusal(f"it needs compute capability {least}; found {lower[0]}")
    return None


def no_compiler(case: Case, job: Job) -> Refusal | None:
    """A C++ compiler is there, or can be installed, and knows the C++ of PyTorch's headers.

    Whether nvcc supports it decides which toolkit there is.
    """
    if case.host.compiler_missing and not (job.toolkit and (job.toolkit.system_packages or job.toolkit.compiler)):
        ways = (WayOut("Install g++ on the host.", host={"compiler": True}),)
        return Refusal("compiling it needs a C++ compiler; found none", ways=ways)
    return too_old_for_torch(case, job.torch.version, job.toolkit.compiler if job.toolkit else None)


def no_headers(case: Case, job: Job) -> Refusal | None:
    """Python.h of the environment's interpreter is there, or can be installed."""
    python = next((entry for entry in case.host.pythons or () if entry.path == job.torch.python.path), None)
    if python is None or python.headers is not False or header_package(case, job.torch):
        return None
    others = [entry.path for entry in case.host.pythons or () if entry.headers]
    return Refusal(
        f"compiling it needs Python.h of Python {python.version}; {python.path} has no headers",
        f"Install python{python.version}-dev.",
        ways=tuple(WayOut(f"Set python: {path}, which has headers.", {"python": path}) for path in others),
    )


def no_tools(case: Case, job: Job) -> Refusal | None:
    """What fetches the source is there, or can be installed."""
    lacking = ", ".join(tool for tool in job.package["tools"] if case.host.lacks(tool))
    if lacking and (refusal := no_apt(case)):
        because = f"fetching the source needs {lacking}; found none, and {refusal.because}"
        return Refusal(because, f"Install {lacking} on the host.")
    return None


def no_memory(case: Case, job: Job) -> Refusal | None:
    """There is memory for one compiler, unless the number of compilers was set."""
    free, job_mib = case.host.memory_free_gib, int(job.package["job_mib"])
    if free is None or case.request.source.jobs or choose_jobs(case.host.cpus, free, job_mib):
        return None
    needed = f"{job_mib / 1024:.1f} GiB of free memory"
    ways = (
        WayOut(f"Use a host with {needed}.", host={"memory_gib": job_mib / 1024}),
        WayOut("Set source.jobs: 1 to try anyway.", {"source": {"jobs": 1}}),
    )
    return Refusal(f"one compiler needs {needed}; found {free:.1f} GiB", ways=ways)


RULES: tuple[Callable[[Case, Job], Refusal | None], ...] = (
    no_cuda,
    no_toolkit,
    no_targets,
    no_compiler,
    no_headers,
    no_tools,
    no_memory,
)


def _uncovered(case: Case, architectures: tuple[str, ...], cuda: str) -> Refusal | None:
    """Requested architectures under which a GPU of this host would find no machine code."""
    code = tuple(f"sm_{name.replace('.', '')}" for name in architectures)
    refusal = no_machine_code(case, code, ptx=False, cuda=cuda)
    lacking = [name for name in case.host.capabilities if name not in architectures]
    ways = (
        WayOut(f"Add {' and '.join(lacking)} to architectures.", {"architectures": [*targets(case), *lacking]}),
        WayOut("Set architectures: auto.", {"architectures": "auto"}),
    )
    return Refusal(refusal.because, ways=ways) if refusal else None


def header_package(case: Case, torch: PyTorch) -> str | None:
    """The package of Python.h, for a system Python that lacks it and where it can be installed."""
    python = next((entry for entry in case.host.pythons or () if entry.path == torch.python.path), None)
    if python is None or python.headers is not False or not python.path.startswith("/usr/bin/"):
        return None
    return None if no_apt(case) else f"python{python.version}-dev"
