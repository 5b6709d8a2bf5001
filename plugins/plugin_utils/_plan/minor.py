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
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.extensions import Extension, choose_extensions
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Reason, Refusal
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.torch import describe_torch


@dataclass(frozen=True)
class Need:
    """A wished package, with the release that would be taken, whose kernels are PTX alone for a GPU of this host."""

    package: str
    version: str
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
    """The wished extensions that ship PTX alone for a GPU of this host, and would be installed with ``build``.

    Which packages do so, from which release and GPU on, are rows of ``catalogue/extensions.yml`` (``ptx``).
    """
    packages = case.known["extensions"]["packages"]
    rows = {name: row for name in case.request.extensions if (row := packages.get(name, {}).get("ptx"))}
    affected = {name: capability for name, row in rows.items() if (capability := _affected(case, row["capability"]))}
    if not affected or build.torch is None:
        return ()
    chosen = choose_extensions(case, case.request.extensions, describe_torch(case, build))
    found = []
    for name, capability in affected.items():
        entry, row = chosen.get(name), rows[name]
        if isinstance(entry, Extension) and parse_version(entry.version) >= parse_version(row["since"]):
            found.append(Need(name, entry.version, capability, str(row["source"])))
    return tuple(found)


def _affected(case: Case, least: str) -> str | None:
    """The lowest capability of this host's GPUs that is at least ``least``."""
    return next((one for one in case.host.capabilities if parse_version(one) >= parse_version(least)), None)


def tell_needs(case: Case, build: Build, needs: tuple[Need, ...]) -> Reason:
    """Why what is wished wants the driver's compiler to know the build's CUDA."""
    names = " and ".join(need.name for need in needs)
    verb = "ship" if len(needs) > 1 else "ships"
    driver = f"{rules.driver_name(case.host)} (CUDA {case.host.driver_cuda})"
    text = (
        f"{names} {verb} kernels as PTX of CUDA {build.cuda} alone for compute capability {needs[0].capability}, "
        f"which {driver} does not compile (error 222)"
    )
    return Reason("needs-ptx", text, needs[0].source)


def refuse_needs(case: Case, build: Build, needs: tuple[Need, ...]) -> Refusal:
    """What of the wish does not run by minor-version compatibility, and the driver that it would run on."""
    row = case.known["cuda"]["releases"][str(build.cuda)]
    least = row["driver_windows" if case.host.wsl else "driver"]
    verb = "Update the Windows driver to" if case.host.wsl else "Use a host with driver"
    remedy = f"{verb} {least} or newer: it compiles PTX of CUDA {build.cuda}." if least else ""
    return Refusal(tell_needs(case, build, needs).text, remedy)


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
