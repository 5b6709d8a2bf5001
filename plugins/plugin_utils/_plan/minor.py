# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What minor-version compatibility leaves out: PTX of a newer toolkit, and functions that only a newer driver has.

Compiled code of a newer minor release runs on an older driver of the same major; two things do not. The driver's own
compiler refuses PTX of a newer CUDA (error 222), and what needs a newer driver fails when it is called. PyTorch's
Triton brings an assembler of its own and needs no PTX compiler of the driver.
"""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import rules
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.builds import Build
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.extensions import choose_extensions
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Reason, Refusal, WayOut
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.releases import Extension
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.torch import describe_torch


@dataclass(frozen=True)
class Need:
    """A wished package, with the release that would be taken, whose kernels are PTX alone for a GPU of this host.

    ``cuda`` is the release that it was compiled with, which may be another one than PyTorch's.
    """

    package: str
    version: str
    cuda: str
    capability: str
    source: str

    @property
    def name(self) -> str:
        """The package in words."""
        return f"{self.package} {self.version}"


def runs_by_minor_version(case: Case, build: Build) -> bool:
    """Whether a build runs on this driver by minor-version compatibility alone."""
    cuda = build.cuda or ""
    return bool(build.cuda) and not rules.driver_unknown(case, cuda) and rules.minor_version(case, cuda) is not None


def find_ptx_needs(case: Case, build: Build) -> tuple[Need, ...]:
    """The wished extensions that would be installed with ``build``, whose PTX this driver does not compile.

    Which packages ship kernels as PTX alone, from which release and GPU on, are rows of ``catalogue/extensions.yml``
    (``ptx``). The driver compiles PTX of its own CUDA and older; one whose CUDA is unknown is left to the proof.
    """
    packages, level = case.known["extensions"]["packages"], case.host.driver_cuda
    rows = {name: row for name in case.request.extensions if (row := packages.get(name, {}).get("ptx"))}
    affected = {name: capability for name, row in rows.items() if (capability := _affected(case, row["capability"]))}
    if not affected or build.torch is None or build.cuda is None or level is None:
        return ()
    chosen = choose_extensions(case, case.request.extensions, describe_torch(case, build))
    found = []
    for name, capability in affected.items():
        entry, row = chosen.get(name), rows[name]
        if not isinstance(entry, Extension) or parse_version(entry.version) < parse_version(row["since"]):
            continue
        cuda = _compiled_with(case, name, entry) or build.cuda
        if parse_version(cuda) > parse_version(level):
            found.append(Need(name, entry.version, cuda, capability, str(row["source"])))
    return tuple(found)


def _compiled_with(case: Case, name: str, entry: Extension) -> str | None:
    """The CUDA that PyPI's wheel of an extension was compiled with; None where it goes with PyTorch's."""
    if entry.index not in ("pypi", "adopt"):
        return None
    release = case.known["pypi"]["packages"].get(name, {}).get(entry.version) or {}
    found = release.get("cuda" if case.host.arch == "x86_64" else "cuda_aarch64")
    return str(found) if found else None


def _affected(case: Case, least: str) -> str | None:
    """The lowest capability of this host's GPUs that is at least ``least``."""
    return next((one for one in case.host.capabilities if parse_version(one) >= parse_version(least)), None)


def newest_need(needs: tuple[Need, ...]) -> str:
    """The CUDA that serves all of several needs."""
    return max((need.cuda for need in needs), key=parse_version)


def tell_needs(case: Case, needs: tuple[Need, ...]) -> Reason:
    """Why what is wished wants the driver's compiler to know a newer CUDA."""
    names = " and ".join(need.name for need in needs)
    verb = "ship" if len(needs) > 1 else "ships"
    driver = f"{rules.driver_name(case.host)} (CUDA {case.host.driver_cuda})"
    text = (
        f"{names} {verb} kernels only as PTX of CUDA {newest_need(needs)} for compute capability "
        f"{needs[0].capability}, which {driver} does not compile (error 222)"
    )
    return Reason("needs-ptx", text, needs[0].source)


def refuse_needs(case: Case, needs: tuple[Need, ...]) -> Refusal:
    """What of the wish does not run on this driver, and the driver that it would run on."""
    cuda, verb = newest_need(needs), "Update the Windows driver to" if case.host.wsl else "Use a host with driver"
    driver = driver_of(case, cuda)
    newer = WayOut(f"{verb} {driver} or newer: it compiles PTX of CUDA {cuda}.", host={"driver": driver})
    return Refusal(tell_needs(case, needs).text, ways=(newer,))


def driver_of(case: Case, cuda: str) -> str:
    """The driver that a CUDA release was built with, or the first branch of its level where NVIDIA names none."""
    row = case.known["cuda"]["releases"].get(cuda, {})
    if named := row.get("driver_windows" if case.host.wsl else "driver"):
        return str(named)
    branches = case.known["drivers"]["branches"].items()
    fit = [int(branch) for branch, row in branches if parse_version(row["cuda"]) >= parse_version(cuda)]
    return str(min(fit)) if fit else f"of CUDA {cuda}"


def warn_of_exceptions(case: Case, build: Build | None) -> list[str]:
    """What fails by minor-version compatibility on this very driver, where it is known by its driver branch.

    The rows are those of ``minor_version`` in ``catalogue/drivers.yml``.
    """
    if build is None or not build.cuda or case.host.branch is None or not runs_by_minor_version(case, build):
        return []
    found = []
    for row in case.known["drivers"]["minor_version"].values():
        is_newer = parse_version(build.cuda) >= parse_version(row["first_cuda"])
        if is_newer and case.host.branch < row["first_branch"]:
            driver = rules.driver_name(case.host)
            found.append(
                f"By minor-version compatibility {row['what']} do not run on {driver}: they need driver branch "
                f"{row['first_branch']} or newer ({row['error']})."
            )
    return found
