# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GPUs on the PCI bus that no driver lists: which they are, why the driver leaves them out, and what would drive them.

The bus names a GPU by its device id alone, which the catalogue translates into a compute capability. An id that it
does not have stays unknown, and so does the cause where the driver fits the GPU and lists none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue, Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import driver as drivers
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compile.request import for_other_gpus
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.draft import Draft
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.driver_packages import LEAVE, newest_of
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.layout import choose_layout
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.route import choose

ON_CPU = "Set cuda: none to run on the CPU."
KEEP_WORDS = re.compile("[,;] (or |here, )leave driver: keep")  # no way out: as it is, the driver drives no GPU


@dataclass(frozen=True)
class Found:
    """A GPU on the bus: its device id, four hexadecimal digits, and what the catalogue knows of it; None: nothing."""

    device: str
    capability: str | None
    about: Row | None

    @property
    def name(self) -> str:
        """The GPU in words."""
        if self.about is None:
            return f"the GPU with PCI id 10de:{self.device}, which is not known here"
        about = f"{self.about['architecture']}, compute capability {self.capability}"
        return f"the GPU with PCI id 10de:{self.device} ({about})"


def find_on_bus(case: Case) -> tuple[Found, ...]:
    """NVIDIA's GPUs on the PCI bus; each model once, in the order of the bus. Empty where nobody looked."""
    known = case.known
    found: dict[str, Found] = {}
    for text in (case.host.disk or {}).get("pci") or ():
        device = str(text).lower().rpartition(":")[2].removeprefix("0x")
        row = drivers.by_pci(device, known)
        if row is None:
            found.setdefault(device, Found(device, None, None))
            continue
        capability, model = str(row["compute_capability"]), known["gpus"]["models"].get(str(row.get("model")), {})
        more = {key: model[key] for key in ("least_driver", "open_module") if model.get(key) is not None}
        found.setdefault(device, Found(device, capability, {**known["gpus"]["capabilities"][capability], **more}))
    return tuple(found.values())


def why_undriven(case: Case, gpu: Found) -> Refusal | None:
    """Why the driver of this host cannot drive a GPU on the bus; None where it can, or where it is not known."""
    version, flavor, about = _version(case), _flavor(case), gpu.about
    if about is None or version is None:
        return None
    last, least, only = about["last_branch"], about["least_driver"], about["open_module"]
    modules = {None: "", True: ", with open kernel modules", False: ", with proprietary kernel modules"}[only]
    found = f"found driver {version}" + (f" with {flavor} ones" if flavor and modules else "")
    if last and parse_version(version)[0] > last:
        return Refusal(f"{gpu.name} is driven by branch {last} and older{modules}; {found}")
    if least and parse_version(version) < parse_version(least):
        return Refusal(f"{gpu.name} is driven by {least} and newer{modules}; {found}")
    if only is not None and flavor in (drivers.OPEN, drivers.PROPRIETARY) and flavor != _module(only):
        return Refusal(f"{gpu.name} is driven by {_module(only)} kernel modules alone; {found}")
    return None


def judge_bus(case: Case) -> Refusal | None:
    """Why a host runs on no GPU although there are some on its bus, and what would drive them; None: there is none.

    Nobody can say it of an id that the catalogue does not know. In a container a GPU that its host drives was not
    given to it: that is left to the caller as well.
    """
    gpus = [gpu for gpu in find_on_bus(case) if gpu.about]
    if not gpus or case.host.wsl:
        return None
    refusals = [refusal for gpu in gpus if (refusal := why_undriven(case, gpu))]
    container = case.host.kind == "container"
    if container and len(refusals) < len(gpus):
        return None
    names, verb = " and ".join(gpu.name for gpu in gpus), "are" if len(gpus) > 1 else "is"
    if refusals:
        return _with_driver(case, "; ".join(refusal.because for refusal in refusals))
    version = _version(case)
    if version is None:
        return _with_driver(case, f"there is no NVIDIA driver for {names}")
    if drivers.loaded(case.host) is None:
        nouveau = (case.host.disk or {}).get("nouveau_loaded")
        why = ": the kernel's own nouveau is loaded in its place" if nouveau else ""
        because = f"driver {version} is installed and not loaded{why}, and {names} {verb} on the PCI bus"
        return Refusal(because, "Reboot, or load it (modprobe nvidia) and look for lines of NVRM in the log (dmesg).")
    looked = "Look for lines of NVRM in the kernel log (dmesg): they say why the driver leaves it out."
    return Refusal(
        f"driver {version} lists no GPU, and {names} {verb} on the PCI bus{_modules_unknown(case, gpus)}", looked
    )


def warn_of_undriven(case: Case) -> list[str]:
    """The GPUs on the bus that the driver leaves out, beside others that it lists."""
    host, found = case.host, []
    for gpu in find_on_bus(case) if host.gpus and not host.wsl else ():
        refusal = why_undriven(case, gpu) if gpu.capability not in host.capabilities else None
        if refusal:
            found.append(f"A GPU is left out: {refusal.because}.")
    return found


def name_unknown(case: Case) -> str | None:
    """A sentence on the GPUs of the bus whose ids the catalogue does not know, or None."""
    ids = ", ".join(f"10de:{gpu.device}" for gpu in find_on_bus(case) if gpu.about is None)
    return f"On the PCI bus is a GPU of NVIDIA's that is not known here: {ids}; see lspci -nn." if ids else None


def name_given(case: Case) -> str:
    """The GPUs on a container's bus, which belong to its host, as an addition to a sentence; empty: none is known."""
    gpus = [gpu for gpu in find_on_bus(case) if gpu.about and not why_undriven(case, gpu)]
    return f" On the host's PCI bus: {', '.join(gpu.name for gpu in gpus)}." if gpus else ""


def look(draft: Draft, *, no_driver: bool) -> str | None:
    """Tell what is on the bus; where a GPU of it could be used and is not, block the plan and answer why.

    What is compiled for the GPUs of other hosts needs none here: then that is only told.
    """
    case = draft.case
    draft.warnings += warn_of_undriven(case)
    if not (no_driver or case.host.status == "no_device" or case.host.gpus == ()):
        return None
    refusal = judge_bus(case)
    if refusal and not for_other_gpus(case.request, case.known):
        draft.block(refusal, ON_CPU, option="native")
        return refusal.because
    if refusal:
        draft.degrade("native", refusal)
    elif not case.host.gpus and (unknown := name_unknown(case)):
        draft.degrade("native", Refusal("a GPU on the PCI bus is not known here, and the driver lists none"))
        draft.warnings.append(unknown)
    return None


# --- what would drive them ---


def _with_driver(case: Case, because: str) -> Refusal:
    """The refusal with the driver that would drive every GPU on the bus: ``driver`` asks for it, or a person does."""
    branch = fitting_branch(case)
    if branch is None:
        return Refusal(because, "No one driver runs all of these GPUs: put them into two machines.")
    modules = _wanted_modules(find_on_bus(case))
    what = f"a driver of branch {branch}" + (f" with {modules} kernel modules" if modules else "")
    if case.host.kind == "container":
        return Refusal(because, f"Use another host, or have its owner install {what}; a container cannot change it.")
    request = replace(case.request, driver=branch)
    asked = replace(case, request=request, layout=choose_layout(case.host, request))
    tried = drivers.plan_driver(asked)
    if isinstance(tried, Refusal):
        stands = next((KEEP_WORDS.sub("", way.text) for way in tried.ways_out if way != LEAVE), "")
        then = f'Then set driver: "{branch}", or install it by hand.'
        return Refusal(because, f"Install {what}. {tried.because[:1].upper()}{tried.because[1:]}. {stands} {then}")
    then_case = replace(asked, host=drivers.after_reboot(asked, tried))
    if choose(then_case).build is None:
        nothing = f'with driver: "{branch}" nothing that is requested runs on it either'
        return Refusal(because, f"Use another GPU: {nothing}.")
    return Refusal(because, f'Set driver: "{branch}": it installs {what}.', wish={"driver": branch})


def fitting_branch(case: Case) -> str | None:
    """The driver branch to take for all known GPUs on the bus: the newest with long support, else the newest."""
    known = case.known
    branches: Mapping[str, Row] = known["drivers"]["branches"]
    gpus = [gpu.about for gpu in find_on_bus(case) if gpu.about]
    if len({about["open_module"] for about in gpus} - {None}) > 1:
        return None
    fit = [branch for branch in branches if all(_is_for(branch, about, known) for about in gpus)]
    wished = known["cuda"]["releases"].get(case.request.cuda)
    if wished:
        least = parse_version(str(wished["least_driver"]))[0]
        fit = [branch for branch in fit if int(branch) >= least] or fit
    return max(fit, key=lambda branch: (bool(branches[branch]["lts"]), int(branch)), default=None)


def _is_for(branch: str, about: Row, known: Catalogue) -> bool:
    least, last = about["least_driver"], about["last_branch"]
    if last and int(branch) > last:
        return False
    return not least or parse_version(newest_of(branch, known)) >= parse_version(least)


def _wanted_modules(gpus: Iterable[Found]) -> str | None:
    wanted = {gpu.about["open_module"] for gpu in gpus if gpu.about} - {None}
    return _module(wanted.pop()) if len(wanted) == 1 else None


def _modules_unknown(case: Case, gpus: Iterable[Found]) -> str:
    """That the flavour may be the cause, where the GPU runs with one alone and nobody knows which is loaded."""
    modules = _wanted_modules(gpus)
    if modules is None or _flavor(case):
        return ""
    return f"; it is driven by {modules} kernel modules alone, and which are loaded is unknown"


def _version(case: Case) -> str | None:
    """The driver that runs, else the one that is installed and was not loaded; a container's own does not count."""
    host = case.host
    return drivers.loaded(host) or (None if host.kind == "container" else drivers.next_boot(host))


def _flavor(case: Case) -> str | None:
    disk: Mapping[str, Any] = case.host.disk or {}
    found = case.host.flavor or disk.get("flavor")
    return str(found) if found else None


def _module(is_open: bool) -> str:
    return drivers.OPEN if is_open else drivers.PROPRIETARY
