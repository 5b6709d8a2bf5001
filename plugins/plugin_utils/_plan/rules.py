# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of compatibility: each is a small function of the host, what is wanted and the catalogue.

A rule that accepts answers with a Reason, one that refuses with a Refusal, and each with None where it has nothing to
say. No rule reads a file, a clock or Ansible.
"""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.podsmith.gpu.plugins.module_utils._verify import coverage
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue, Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import Gpu, Host
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.memo import remember
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Reason, Refusal

# --- the driver and a CUDA release ---


def floor(case: Case, cuda: str) -> str | None:
    """The oldest driver that runs programs of ``cuda``'s major: of Windows where the driver is Windows's."""
    row = case.known["cuda"]["releases"][cuda]
    found = row["least_driver_windows" if case.host.wsl else "least_driver"]
    return str(found) if found else None


def driver_floor(case: Case, cuda: str) -> Refusal | None:
    """The driver is older than anything of this CUDA major needs."""
    host = case.host
    least = floor(case, cuda)
    if host.driver is None or least is None or parse_version(host.driver) >= parse_version(least):
        return None
    return Refusal(f"{_windows(host)}driver {host.driver} is older than {least}, which CUDA {_major(cuda)} needs")


def native(case: Case, cuda: str) -> Reason | None:
    """The driver implements this CUDA release itself, or a newer one."""
    host = case.host
    if driver_floor(case, cuda) or not host.driver_cuda:
        return None
    if parse_version(host.driver_cuda) < parse_version(cuda):
        return None
    text = f"{driver_name(host)} supports CUDA {host.driver_cuda}, enough for CUDA {cuda}"
    return Reason("native", text, case.known["cuda"]["releases"][cuda]["source"])


def minor_version(case: Case, cuda: str) -> Reason | None:
    """The driver is of an older minor of the same major: compiled code runs, PTX does not."""
    host = case.host
    least = floor(case, cuda)
    if driver_floor(case, cuda) or native(case, cuda):
        return None
    if host.driver is None and (host.driver_cuda is None or _major(host.driver_cuda) != _major(cuda)):
        return None
    enough = f"enough for compiled code of CUDA {cuda} (minor-version compatibility)"
    less = "not for its PTX (error 222), nor for calls that need a newer driver (error 36)"
    text = f"{driver_name(host)} is at least {least}, {enough}; {less}"
    return Reason("minor-version", text, case.known["cuda"]["releases"][cuda]["source"])


def driver_unknown(case: Case, cuda: str) -> Reason | None:
    """Nothing is known of the driver but that it answers: the proof decides."""
    host = case.host
    if host.driver or host.driver_cuda:
        return None
    text = f"the driver's version is unknown; CUDA {cuda} is assumed to run on it, and the proof decides"
    return Reason("driver-unknown", text, case.known["cuda"]["releases"][cuda]["source"])


# --- the driver and the GPU ---


def gpu_floor(case: Case) -> Refusal | None:
    """A GPU that this driver is too old for."""
    host = case.host
    for gpu in host.gpus or ():
        row = _capability(gpu, case.known)
        least = gpu.least_driver if gpu.least_driver and not host.wsl else None
        least = least or row.get("least_driver_windows" if host.wsl else "least_driver")
        if least and host.driver and parse_version(host.driver) < parse_version(least):
            because = f"{gpu.name} ({row['architecture']}) needs {_windows(host)}driver {least}; found {host.driver}"
            verb = "Update the Windows driver to" if host.wsl else "Use a host with driver"
            return Refusal(because, f"{verb} {least} or newer.")
    return None


def gpu_dropped(case: Case) -> Refusal | None:
    """A GPU that this driver no longer supports."""
    host = case.host
    for gpu in host.gpus or ():
        row = _capability(gpu, case.known)
        last = row.get("last_branch")
        if last and host.branch and host.branch > last and not host.wsl:
            because = f"driver branch {last} is the last for {row['architecture']} ({gpu.name}); found {host.driver}"
            return Refusal(because, f"Use a host with a driver of branch {last}.")
    return None


def _capability(gpu: Gpu, known: Catalogue) -> Row:
    rows = known["gpus"]["capabilities"]
    return rows.get(gpu.capability or "", {"architecture": f"compute capability {gpu.capability or 'unknown'}"})


# --- compiled code and the GPU ---


def covers(archs: Iterable[str], capability: str, *, ptx: bool, known: Catalogue, cuda: str | None = None) -> bool:
    """Whether code compiled for ``archs``, by ``cuda``, runs on ``capability``.

    With ``ptx`` what is PTX (compute_…) counts: the driver compiles it itself.
    """
    rows, names = known["gpus"]["capabilities"], tuple(archs)

    def look() -> bool:
        split = coverage.Split(
            is_tegra=lambda name: bool(rows.get(name, {}).get("tegra")),
            joined_since=lambda name: _joined_since(rows.get(name, {})),
        )
        return coverage.covers(names, capability, ptx=ptx, cuda=cuda, split=split)

    return remember(known, "covers", (names, capability, ptx, cuda), look)


def _joined_since(row: Row) -> tuple[int, ...] | None:
    since = row.get("discrete_code")
    return tuple(int(part) for part in str(since).split(".")) if since else None


def no_machine_code(case: Case, archs: tuple[str, ...], *, ptx: bool, cuda: str | None = None) -> Refusal | None:
    """A GPU that the compiled code does not cover. All GPUs of a host must be.

    That an integrated GPU runs code for discrete ones needs a driver of that CUDA release as well.
    """
    level = case.host.driver_cuda
    if level and cuda and parse_version(level) < parse_version(cuda):
        cuda = level
    for gpu in case.host.gpus or ():
        if gpu.capability and not covers(archs, gpu.capability, ptx=ptx, known=case.known, cuda=cuda):
            code = gpu.capability.replace(".", "")
            found = " ".join(name for name in archs if name.startswith("sm_")) or "none"
            return Refusal(f"no machine code for {gpu.name} (sm_{code}); it has {found}")
    return None


def _major(version: str) -> int:
    return parse_version(version)[0]


def _windows(host: Host) -> str:
    return "Windows " if host.wsl else ""


def driver_name(host: Host) -> str:
    """The driver in words: its version, or the CUDA release that it supports."""
    return f"{_windows(host)}driver {host.driver}" if host.driver else f"the driver (CUDA {host.driver_cuda})"
