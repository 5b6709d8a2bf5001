# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For which compute capabilities a package is compiled."""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import Gpu
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal, WayOut
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.rules import covers
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.torch import PyTorch


def targets(case: Case) -> tuple[str, ...]:
    """The capabilities to compile for: as wished, or those of the GPUs."""
    return case.request.architectures or case.host.capabilities


def misfit(case: Case) -> Refusal | None:
    """Requested architectures of which none runs on a GPU of this host, whose capabilities are all known."""
    wished, gpus = case.request.architectures, case.host.gpus or ()
    uncovered = left_out(case)
    if not wished or not gpus or len(uncovered) < len(gpus):
        return None
    found = ", ".join(dict.fromkeys(f"{gpu.name} ({gpu.capability})" for gpu in uncovered))
    because = f"architectures is {', '.join(wished)}, and code for it runs on no GPU of this host: {found}"
    remedy = "Set architectures: auto for this host, or add the compute capability of its GPU to the list."
    return Refusal(because, remedy, wish={"architectures": "auto"})


def left_out(case: Case) -> tuple[Gpu, ...]:
    """The GPUs for which none of the requested architectures is; none where none are requested."""
    code = [f"sm_{name.replace('.', '')}" for name in case.request.architectures or ()]
    return tuple(
        gpu
        for gpu in case.host.gpus or ()
        if code and gpu.capability and not covers(code, gpu.capability, ptx=False, known=case.known)
    )


def note_left_out(case: Case) -> list[str]:
    """What is compiled here and does not run on a GPU, as the requested architectures leave it out."""
    names = ", ".join(dict.fromkeys(f"{gpu.name} ({gpu.capability})" for gpu in left_out(case)))
    wished = ", ".join(case.request.architectures or ())
    return [f"architectures is {wished}: what is compiled here does not run on {names}."] if names else []


def choose_architectures(
    wished: tuple[str, ...], cuda: str, offers: Iterable[str] | None, known: Catalogue
) -> tuple[str, ...] | Refusal:
    """What is compiled, so that each wished capability has machine code: never more than nvcc of the release has.

    A capability that nvcc, or the package, does not know by itself runs the code of the nearest one below in its major.
    """
    rows = known["gpus"]["capabilities"]
    code = set(known["cuda"]["releases"][cuda]["gpu_code"])
    possible = [name for name in rows if sm_number(name) in code and (offers is None or name in offers)]
    found = []
    for target in wished:
        base = target.rstrip("af")
        if base in possible:
            found.append(target if offers is None else base)
            continue
        same_kind = [name for name in possible if rows[name]["tegra"] == rows.get(base, {}).get("tegra", False)]
        below = [
            name
            for name in same_kind
            if parse_version(name)[0] == parse_version(base)[0] and parse_version(name) <= parse_version(base)
        ]
        if target != base or not below:
            compiled = ", ".join(sorted(possible, key=parse_version)) or "none"
            other = None if sm_number(base) in code else _nearest_release(base, cuda, known)
            because = f"it is to be compiled for {target}; with CUDA {cuda} it compiles for {compiled}"
            if other:
                return Refusal(because, f'Set cuda: "{other}", which compiles for it.', wish={"cuda": other})
            kept = [name for name in wished if name != target]
            remedy = f"Remove the architecture {target}."
            return Refusal(because, remedy, wish={"architectures": kept or "auto"})
        found.append(max(below, key=parse_version))
    return tuple(sorted(dict.fromkeys(found), key=lambda name: parse_version(name.rstrip("af"))))


def built_architectures(case: Case, name: str, torch: PyTorch) -> tuple[str, ...]:
    """The architectures of a build that was not refused; none for the CPU."""
    wished = targets(case)
    if torch.cuda is None or not wished:
        return ()
    offers = case.known["source"]["packages"][name]["offers"]
    found = choose_architectures(wished, torch.cuda, offers, case.known)
    return () if isinstance(found, Refusal) else found


def name_architectures(case: Case, offers: Iterable[str] | None = None) -> tuple[WayOut, ...]:
    """Naming what to compile for where there is no GPU to ask: with the newest that this CUDA, and the package, has."""
    releases, rows = case.known["cuda"]["releases"], case.known["gpus"]["capabilities"]
    cuda = case.request.cuda if case.request.cuda in releases else max(releases, key=parse_version)
    code = set(releases[cuda]["gpu_code"])
    fit = [name for name in rows if sm_number(name) in code and not rows[name]["tegra"]]
    whole = [name for name in fit if name.endswith(".0")] or fit  # the architecture's first GPUs
    found = max((name for name in whole if offers is None or name in offers), key=parse_version, default=None)
    if found is None:
        return ()
    text = f'Set architectures to the compute capabilities it is for, such as ["{found}"].'
    return (WayOut(text, {"architectures": [found]}),)


def sm_number(capability: str) -> int:
    """9.0a → 90, as nvcc counts."""
    return int(capability.rstrip("af").replace(".", ""))


def _nearest_release(capability: str, cuda: str, known: Catalogue) -> str | None:
    """The CUDA release nearest to ``cuda`` whose nvcc compiles for a capability; a newer one first."""
    releases = known["cuda"]["releases"]
    found = sorted(
        (name for name in releases if sm_number(capability) in releases[name]["gpu_code"]), key=parse_version
    )
    newer = [name for name in found if parse_version(name) > parse_version(cuda)]
    return newer[0] if newer else found[-1] if found else None
