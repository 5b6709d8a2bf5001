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
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.extensions import Extension, Set, satisfies
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import Gpu
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.settings import Setting
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.toolkit import Toolkit
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.torch import PyTorch

NAME = "triton"
VARIABLE = "TRITON_PTXAS_PATH"


@dataclass(frozen=True)
class Gap:
    """A GPU that Triton's own ptxas does not know: the variable that names another, and the release that it brings."""

    gpu: Gpu
    triton: str
    own: str  # the CUDA release of its ptxas
    variable: str
    source: str

    @property
    def target(self) -> str:
        """What Triton asks ptxas for: from Hopper on with the instructions of that architecture alone."""
        number = sm_number(str(self.gpu.capability))
        return f"sm_{number}a" if number >= 90 else f"sm_{number}"


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


def find_gaps(case: Case, torch: PyTorch | None) -> tuple[Gap, ...]:
    """The GPUs that Triton compiles for and whose target its own ptxas does not know, one for each capability."""
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
        if not _knows(case, own, gpu.capability):
            found.setdefault(gpu.capability, Gap(gpu, version, own, variable, str(row["source"])))
    return tuple(found.values())


def choose_assemblers(case: Case, gaps: tuple[Gap, ...], toolkits: tuple[Toolkit, ...]) -> tuple[Setting, ...]:
    """The variables that point Triton at a ptxas of the plan's toolkits, for the GPUs that its own does not know."""
    found: dict[str, Setting] = {}
    for gap in gaps:
        toolkit = _find_toolkit(case, gap, toolkits)
        if toolkit is None:
            continue
        told = f"Triton {gap.triton} assembles for {gap.target} with CUDA {toolkit.version}"
        default = f"Triton's own ptxas of CUDA {gap.own}, which does not know {gap.target} ({gap.gpu.name})"
        path = f"{toolkit.path}/bin/ptxas"
        found.setdefault(gap.variable, Setting(NAME, gap.variable, path, told, default, (), gap.source))
    return tuple(found.values())


def not_assembled(case: Case, gaps: tuple[Gap, ...], toolkits: tuple[Toolkit, ...]) -> Refusal | None:
    """Why Triton does not work on a GPU: its own ptxas does not know it, and no toolkit of the plan does."""
    for gap in gaps:
        if _find_toolkit(case, gap, toolkits):
            continue
        because = (
            f"Triton {gap.triton} has a ptxas of CUDA {gap.own}, which does not know {gap.target} ({gap.gpu.name})"
        )
        releases = case.known["cuda"]["releases"]
        newer = [release for release in releases if _knows(case, release, str(gap.gpu.capability))]
        least = min(newer, key=parse_version, default=None)
        remedy = (
            f"Triton and torch.compile need {gap.variable} on this GPU: the path of a ptxas of CUDA {least} or newer."
        )
        return Refusal(because, remedy if least else "")
    return None


def may_run(case: Case, torch: PyTorch | None, toolkits: tuple[Toolkit, ...]) -> bool:
    """Whether Triton compiles for every GPU of this host, as far as is known."""
    return too_old(case, NAME) is None and not_assembled(case, find_gaps(case, torch), toolkits) is None


def note(case: Case, torch: PyTorch | None, gaps: tuple[Gap, ...], toolkits: tuple[Toolkit, ...]) -> Iterator[str]:
    """That torch.compile does not run on a GPU, which PyTorch itself serves."""
    if torch is None or torch.cuda is None:
        return
    gpu = too_old(case, NAME)
    if gpu:
        least = case.known["extensions"]["packages"][NAME]["least_capability"]
        least = f"Triton and torch.compile need compute capability {least}"
        yield f"{least}: on {gpu.name} ({gpu.capability}) they do not run, and the proof leaves them out."
    refusal = not_assembled(case, gaps, toolkits)
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
    """The first toolkit of the plan whose ptxas knows the GPU."""
    return next((one for one in toolkits if _knows(case, one.version, str(gap.gpu.capability))), None)


def _knows(case: Case, release: str, capability: str) -> bool:
    """Whether ptxas of a CUDA release assembles for a capability: for what nvcc of that release compiles for."""
    return sm_number(capability) in case.known["cuda"]["releases"][release]["gpu_code"]
