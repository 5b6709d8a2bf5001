# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of compatibility: each is a small function of the host, what is wanted and the catalogue.

A rule that accepts answers with a Reason, one that refuses with the half sentence of a Rejection, or with None where
it has nothing to say. No rule reads a file, a clock or Ansible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from ansible_collections.podsmith.gpu.plugins.module_utils._verify import coverage
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue, Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import Gpu, Host, is_consumer

DOCUMENTED, LISTED, PROBE = "documented", "listed", "probe"
DATA_CENTRE_BRANDS = frozenset(
    {2, 7, 8, 9, 10, 11, 14}
)  # Tesla, the virtual ones, NVIDIA; workstation RTX: select SKUs


@dataclass(frozen=True)
class Reason:
    """A rule that fired, in words a user can act on."""

    rule: str
    text: str
    source: str


@dataclass(frozen=True)
class Rejection:
    """What was not chosen, and why, with the numbers."""

    option: str
    because: str


@dataclass(frozen=True)
class Compat:
    """A forward-compatibility library that may be used here."""

    package: str
    cuda: str
    version: str
    path: str
    installed: bool
    confidence: str
    reason: Reason


# --- the driver and a CUDA release ---


def floor(host: Host, cuda: str, known: Catalogue) -> str | None:
    """The oldest driver that runs programs of ``cuda``'s major: of Windows where the driver is Windows's."""
    row = known["cuda"]["releases"][cuda]
    found = row["least_driver_windows" if host.wsl else "least_driver"]
    return str(found) if found else None


def driver_floor(host: Host, cuda: str, known: Catalogue) -> str | None:
    """The driver is older than anything of this CUDA major needs."""
    least = floor(host, cuda, known)
    if host.driver is None or least is None or parse_version(host.driver) >= parse_version(least):
        return None
    return f"{_windows(host)}driver {host.driver} is older than {least}, which CUDA {_major(cuda)} needs"


def native(host: Host, cuda: str, known: Catalogue) -> Reason | None:
    """The driver implements this CUDA release itself, or a newer one."""
    if driver_floor(host, cuda, known) or not host.driver_cuda:
        return None
    if parse_version(host.driver_cuda) < parse_version(cuda):
        return None
    text = f"{_driver(host)} has CUDA {host.driver_cuda} itself, enough for CUDA {cuda}"
    return Reason("native", text, known["cuda"]["releases"][cuda]["source"])


def minor_version(host: Host, cuda: str, known: Catalogue) -> Reason | None:
    """The driver is of an older minor of the same major: compiled code runs, PTX does not."""
    least = floor(host, cuda, known)
    if driver_floor(host, cuda, known) or native(host, cuda, known):
        return None
    if host.driver is None and (host.driver_cuda is None or _major(host.driver_cuda) != _major(cuda)):
        return None
    text = f"{_driver(host)} is at least {least}, enough for compiled code of CUDA {cuda} (minor-version compatibility)"
    return Reason("minor-version", text, known["cuda"]["releases"][cuda]["source"])


def driver_unknown(host: Host, cuda: str, known: Catalogue) -> Reason | None:
    """Nothing is known of the driver but that it answers: the proof decides."""
    if host.driver or host.driver_cuda:
        return None
    text = f"the driver's version is unknown; it is taken to be new enough for CUDA {cuda}, and the proof decides"
    return Reason("driver-unknown", text, known["cuda"]["releases"][cuda]["source"])


# --- the driver and the GPU ---


def gpu_floor(host: Host, known: Catalogue) -> tuple[str, str] | None:
    """A GPU that this driver is too old for: why not, and what would help."""
    for gpu in host.gpus or ():
        row = _capability(gpu, known)
        least = gpu.least_driver if gpu.least_driver and not host.wsl else None
        least = least or row.get("least_driver_windows" if host.wsl else "least_driver")
        if least and host.driver and parse_version(host.driver) < parse_version(least):
            because = f"{gpu.name} ({row['architecture']}) needs {_windows(host)}driver {least}; found {host.driver}"
            verb = "Update the Windows driver to" if host.wsl else "Use a host with driver"
            return because, f"{verb} {least} or newer."
    return None


def gpu_dropped(host: Host, known: Catalogue) -> tuple[str, str] | None:
    """A GPU that this driver no longer runs: why not, and what would help."""
    for gpu in host.gpus or ():
        row = _capability(gpu, known)
        last = row.get("last_branch")
        if last and host.branch and host.branch > last and not host.wsl:
            because = f"driver branch {last} is the last for {row['architecture']} ({gpu.name}); found {host.driver}"
            return because, f"Use a host with a driver of branch {last}."
    return None


def _capability(gpu: Gpu, known: Catalogue) -> Row:
    rows = known["gpus"]["capabilities"]
    return rows.get(gpu.capability or "", {"architecture": f"compute capability {gpu.capability or 'unknown'}"})


# --- compiled code and the GPU ---


def covers(archs: Iterable[str], capability: str, *, ptx: bool, known: Catalogue) -> bool:
    """Whether code compiled for ``archs`` runs on ``capability``; with ``ptx`` also what the driver compiles itself."""
    rows = known["gpus"]["capabilities"]
    return coverage.covers(archs, capability, ptx=ptx, tegra=lambda name: bool(rows.get(name, {}).get("tegra")))


def machine_code(host: Host, archs: tuple[str, ...], *, ptx: bool, known: Catalogue) -> str | None:
    """A GPU that the compiled code does not cover. All GPUs of a host must be."""
    for gpu in host.gpus or ():
        if gpu.capability and not covers(archs, gpu.capability, ptx=ptx, known=known):
            code = gpu.capability.replace(".", "")
            return f"no machine code for {gpu.name} (sm_{code}); it has {' '.join(archs) or 'none'}"
    return None


# --- forward compatibility ---


def forward_compat(host: Host, cuda: str, known: Catalogue) -> Compat | str:
    """The compat library of ``cuda`` for this host, or why not. Whether it can be fetched is not asked here."""
    row = known["drivers"]["compat"].get(cuda)
    if row is None:
        return f"there is no forward-compatibility package for CUDA {cuda}"
    note = next((found for found in host.compat if str(found.get("cuda")) == cuda), None)
    for rule in COMPAT_RULES:
        if because := rule(host, row, note):
            return because
    version = str((note or {}).get("version") or row["version"])
    confidence = _confidence(host, row)
    brand = {DOCUMENTED: "documented by NVIDIA", LISTED: "listed by the library, not in NVIDIA's table"}.get(
        confidence, "not promised for this GPU, the probe decides"
    )
    text = (
        f"driver {host.driver} is older than {floor(host, cuda, known)}; "
        f"{row['package']} lists branch {host.branch} ({brand})"
    )
    path = str((note or {}).get("path") or f"/usr/local/cuda-{cuda}/compat")
    return Compat(
        str(row["package"]),
        cuda,
        version,
        path,
        note is not None,
        confidence,
        Reason("compat-branch-listed", text, row["source"]),
    )


def standby(host: Host, cuda: str, known: Catalogue) -> Compat | str:
    """The compat library of ``cuda`` to be kept off until a start meets an older driver, or why it is of no use here.

    Of several GPUs one that may use it is enough: the activation looks at the GPU of each start.
    """
    row = known["drivers"]["compat"].get(cuda)
    if row is None:
        return f"there is no forward-compatibility package for CUDA {cuda}"
    note = next((found for found in host.compat if str(found.get("cuda")) == cuda), None)
    for rule in (compat_platform, compat_refused):
        if because := rule(host, row, note):
            return because
    refusals = [compat_brand(replace(host, gpus=(gpu,)), row, note) for gpu in host.gpus or ()]
    if not refusals:
        return "the GPU is unknown, and forward compatibility is for data-centre GPUs alone"
    if all(refusals):
        return str(refusals[0])
    version = str((note or {}).get("version") or row["version"])
    branches = ", ".join(map(str, sorted(_branches(row, None))))
    text = f"{row['package']} is installed and kept off; a start on a driver of branch {branches} uses it"
    path = str((note or {}).get("path") or f"/usr/local/cuda-{cuda}/compat")
    confidence = _confidence(host, row)
    reason = Reason("compat-standby", text, row["source"])
    return Compat(str(row["package"]), cuda, version, path, note is not None, confidence, reason)


def usable_branches(host: Host, cuda: str, known: Catalogue) -> tuple[int, ...]:
    """The driver branches under which the activation may use the compat library: the catalogue's, its own, this host's.

    The note of an installed library is not read for it, so that installing one changes no file of ours; a branch that
    the note alone lists is this host's own.
    """
    row = known["drivers"]["compat"][cuda]
    listed = {*_branches(row, None), int(row["branch"])}
    note = next((found for found in host.compat if str(found.get("cuda")) == cuda), None)
    if host.branch in _branches(row, note):
        listed.add(host.branch)
    return tuple(sorted(listed))


def compat_platform(host: Host, _row: Row, _note: Row | None) -> str | None:
    """Forward compatibility is defined for the Linux kernel driver."""
    return "WSL2 has no forward compatibility: the driver is Windows's" if host.wsl else None


def compat_brand(host: Host, row: Row, note: Row | None) -> str | None:
    """Each GPU is of a brand that the library lists; never a GeForce or a Titan."""
    listed = (note or {}).get("brands") or row["brands"]
    if not host.gpus:
        return "the GPU is unknown, and forward compatibility is for data-centre GPUs alone"
    for gpu in host.gpus:
        if is_consumer(gpu) or (gpu.brand_id is not None and gpu.brand_id not in listed):
            return f"{gpu.name} is of a brand without forward compatibility (error 804)"
        if gpu.brand_id is None:
            return f"the brand of {gpu.name} is unknown, and forward compatibility is for data-centre GPUs alone"
    return None


def compat_branch(host: Host, row: Row, note: Row | None) -> str | None:
    """The library, or NVIDIA's table, lists the kernel driver's branch."""
    if host.branch is None:
        return "the kernel driver's branch is unknown"
    listed = _branches(row, note)
    if host.branch in listed:
        return None
    return f"{row['package']} lists branches {', '.join(map(str, sorted(listed)))}, not {host.branch}"


def compat_newer(host: Host, row: Row, note: Row | None) -> str | None:
    """A library that is not newer than the driver breaks CUDA (error 803)."""
    version = str((note or {}).get("version") or row["version"])
    if host.driver and parse_version(version) <= parse_version(host.driver):
        return f"{row['package']} {version} is not newer than driver {host.driver} (error 803)"
    return None


def compat_refused(host: Host, row: Row, note: Row | None) -> str | None:
    """The GPU refused this very library when it was tried."""
    refused = (host.state or {}).get("refused_compat") or {}
    version = str((note or {}).get("version") or "")
    for key, code in refused.items():
        package, _unused, tried = str(key).partition(" ")
        if package == row["package"] and (not version or not tried or tried.split(" ")[0] == version):
            return f"{key} was tried here and refused with error {code}"
    return None


COMPAT_RULES: tuple[Callable[[Host, Row, Row | None], str | None], ...] = (
    compat_platform,
    compat_brand,
    compat_branch,
    compat_newer,
    compat_refused,
)


def _branches(row: Row, note: Row | None) -> set[int]:
    """What the library's own note lists where it can be read; else the catalogue's copy of it, and NVIDIA's table."""
    if note and note.get("branches"):
        return set(note["branches"])
    return {*row["note_branches"], *row["documented_branches"]} - {row["branch"]}


def _confidence(host: Host, row: Row) -> str:
    gpus = host.gpus or ()
    if not all(gpu.brand_observed and gpu.brand_id in DATA_CENTRE_BRANDS for gpu in gpus):
        return PROBE
    return DOCUMENTED if host.branch in row["documented_branches"] else LISTED


def _major(version: str) -> int:
    return parse_version(version)[0]


def _windows(host: Host) -> str:
    return "Windows " if host.wsl else ""


def _driver(host: Host) -> str:
    return f"{_windows(host)}driver {host.driver}" if host.driver else f"the driver (CUDA {host.driver_cuda})"
