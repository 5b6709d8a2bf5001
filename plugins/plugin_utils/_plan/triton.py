# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Triton that PyTorch brings: which GPUs it compiles for, and whose ptxas it needs for a newer one. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compile.architectures import sm_number
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.devices import too_old
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.extensions import Set
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import Gpu
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.releases import Extension
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.resolver import satisfies
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.settings import Setting
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.toolkit import Toolkit
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.torch import PyTorch

NAME = "triton"
VARIABLE = "TRITON_PTXAS_PATH"


@dataclass(frozen=True)
class Gap:
    """A GPU for which Triton's own ptxas is of no use, and the variable that names another one."""

    gpu: Gpu
    triton: str
    own: str  # the CUDA release of its ptxas
    variable: str | None  # None: no shell can set it
    level: str | None  # the CUDA release of the driver, or of the compat library that is used
    is_known: bool  # whether its ptxas knows the GPU: then its code is of a newer CUDA major than the driver
    source: str

    @property
    def fault(self) -> str:
        """What is wrong with Triton's own ptxas, as a relative clause."""
        number = sm_number(str(self.gpu.capability))
        target = f"sm_{number}a" if number >= 90 else f"sm_{number}"  # from Hopper on with its own instructions
        if not self.is_known:
            return f"which does not know {target} ({self.gpu.name})"
        return f"whose code a driver of CUDA {self.level} is not made for ({self.gpu.name})"


def find_version(case: Case, torch: PyTorch) -> str | None:
    """The Triton beside a PyTorch: what lies there, or the newest that its metadata allows; None: none, or unknown."""
    if torch.cuda is None:
        return None
    if torch.adopt:
        rows = (row for row in case.host.pytorches if row.get("path") == torch.adopt)
        return next((str(row["packages"][NAME]) for row in rows if (row.get("packages") or {}).get(NAME)), None)
    packages = case.known["pypi"]["packages"]
    spec = (packages["torch"].get(torch.version) or {"requires": {}})["requires"].get(NAME)
    found = [version for version in packages.get(NAME, {}) if spec and satisfies(version, spec)]
    return max(found, key=parse_version, default=None)


def find_gaps(case: Case, torch: PyTorch | None, level: str | None) -> tuple[Gap, ...]:
    """The GPUs that Triton compiles for and for which its own ptxas is of no use, one for each capability.

    It does not know a GPU that is newer than itself, and what it makes is of its own CUDA major: an older driver calls
    that an invalid image. ``level`` is the CUDA release of the driver, or of the compat library that is used.
    """
    version = find_version(case, torch) if torch else None
    row = _assembler(case, version)
    if version is None or row is None:
        return ()
    least = case.known["extensions"]["packages"][NAME]["least_capability"]
    found: dict[str, Gap] = {}
    for gpu in case.host.gpus or ():
        if gpu.capability is None or parse_version(gpu.capability) < parse_version(least):
            continue
        newer = row["newer"]
        if newer and parse_version(gpu.capability) >= parse_version(newer["from"]):
            own, variable = newer["ptxas"], newer["variable"]
        else:
            own, variable = row["ptxas"], VARIABLE
        if not _serves(case, own, gpu.capability, level):
            is_known = _knows(case, own, gpu.capability)
            found.setdefault(gpu.capability, Gap(gpu, version, own, variable, level, is_known, str(row["source"])))
    return tuple(found.values())


def choose_assemblers(case: Case, gaps: tuple[Gap, ...], toolkits: tuple[Toolkit, ...]) -> tuple[Setting, ...]:
    """The variables that point Triton at a ptxas of the plan's toolkits, for the GPUs that its own does not serve."""
    found: dict[str, Setting] = {}
    for gap in gaps:
        toolkit = _find_toolkit(case, gap, toolkits)
        if toolkit is None or gap.variable is None:
            continue
        told = f"Triton {gap.triton} assembles with CUDA {toolkit.version}"
        default = f"Triton's own ptxas of CUDA {gap.own}, {gap.fault}"
        path = f"{toolkit.path}/bin/ptxas"
        found.setdefault(gap.variable, Setting(NAME, gap.variable, path, told, default, (), gap.source))
    return tuple(found.values())


def not_assembled(case: Case, gaps: tuple[Gap, ...], toolkits: tuple[Toolkit, ...]) -> Refusal | None:
    """Why Triton does not work on a GPU: neither its own ptxas nor one of the plan's toolkits serves it here."""
    for gap in gaps:
        if gap.variable and _find_toolkit(case, gap, toolkits):
            continue
        because = f"Triton {gap.triton} has a ptxas of CUDA {gap.own}, {gap.fault}"
        releases = sorted(case.known["cuda"]["releases"], key=parse_version)
        fit = [release for release in releases if _serves(case, release, str(gap.gpu.capability), gap.level)]
        which = f"{fit[0]} or newer" if fit[-1:] == releases[-1:] else " to ".join(dict.fromkeys((*fit[:1], *fit[-1:])))
        remedy = f"Triton and torch.compile need {gap.variable} on this GPU: the path of a ptxas of CUDA {which}."
        return Refusal(
            because, remedy if fit and gap.variable else "Use PyTorch without Triton and torch.compile on this driver."
        )
    return None


def note(case: Case, torch: PyTorch | None, refusal: Refusal | None) -> Iterator[str]:
    """That torch.compile does not run on a GPU that PyTorch serves; ``refusal`` is of :func:`not_assembled`."""
    if torch is None or torch.cuda is None:
        return
    gpu = too_old(case, NAME)
    if gpu:
        least = case.known["extensions"]["packages"][NAME]["least_capability"]
        least = f"Triton and torch.compile need compute capability {least}"
        yield f"{least}: on {gpu.name} ({gpu.capability}) they do not run, and the proof leaves them out."
    if refusal:
        yield f"{refusal.because}. {refusal.remedy} The proof leaves Triton out."


def refuse(case: Case, extensions: Set, refusal: Refusal | None) -> Set:
    """The extensions, without a Triton that was wished and does not work on a GPU of this host."""
    if refusal is None or not isinstance(extensions.get(NAME), Extension) or NAME not in case.request.extensions:
        return extensions
    return {**extensions, NAME: refusal}


def _assembler(case: Case, version: str | None) -> Row | None:
    rows = case.known["settings"]["assemblers"]
    return rows.get(".".join(version.split(".")[:2])) if version else None


def _find_toolkit(case: Case, gap: Gap, toolkits: tuple[Toolkit, ...]) -> Toolkit | None:
    """The first toolkit of the plan whose ptxas serves the GPU."""
    fit = (one for one in toolkits if _serves(case, one.version, str(gap.gpu.capability), gap.level))
    return next(fit, None)


def _serves(case: Case, release: str, capability: str, level: str | None) -> bool:
    """Whether what ptxas of a CUDA release makes for a capability loads on a driver of ``level``; unknown: it does."""
    loads = level is None or parse_version(release)[0] <= parse_version(level)[0]
    return loads and _knows(case, release, capability)


def _knows(case: Case, release: str, capability: str) -> bool:
    """Whether ptxas of a CUDA release assembles for a capability: for what nvcc of that release compiles for."""
    return sm_number(capability) in case.known["cuda"]["releases"][release]["gpu_code"]
