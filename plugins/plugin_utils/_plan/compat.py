# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forward compatibility: which library may take the place of the driver's own libcuda, and where it comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import is_consumer
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.layout import (
    find_manager,
    find_repository,
    no_packages,
    system_name,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Reason, Refusal
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.rules import driver_floor, floor
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import STANDBY

DOCUMENTED, LISTED, PROBE = "documented", "listed", "probe"
DATA_CENTRE_ONLY = "the GPU is unknown, and forward compatibility is for data-centre GPUs only"


@dataclass(frozen=True)
class Library:
    """The compat library of one CUDA release: the catalogue's row, and its own note where it lies on the host."""

    cuda: str
    row: Row
    note: Row | None

    @property
    def package(self) -> str:
        """The package, of the same name for apt and rpm."""
        return str(self.row["package"])

    @property
    def version(self) -> str:
        """The driver version that the library was made with: of the installed one, else of the catalogue's."""
        return str((self.note or {}).get("version") or self.row["version"])

    @property
    def path(self) -> str:
        """The folder to put on the loader's path."""
        return str((self.note or {}).get("path") or f"/usr/local/cuda-{self.cuda}/compat")

    @property
    def brands(self) -> frozenset[int]:
        """NVML's numbers of the brands that may use it."""
        return frozenset((self.note or {}).get("brands") or self.row["brands"])

    @property
    def listed_branches(self) -> frozenset[int]:
        """The driver branches of the catalogue's copy of the note and of NVIDIA's table."""
        return frozenset({*self.row["note_branches"], *self.row["documented_branches"]} - {self.row["branch"]})

    @property
    def branches(self) -> frozenset[int]:
        """The driver branches that may use it: what its own note lists where it can be read, else the catalogue."""
        if self.note and self.note.get("branches"):
            return frozenset(self.note["branches"])
        return self.listed_branches


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


@dataclass(frozen=True)
class ForwardCompat:
    """The forward-compatibility part of the decision."""

    enabled: bool = False
    package: str | None = None
    provider: str | None = None  # adopt, apt, rpm
    path: str | None = None
    version: str | None = None
    confidence: str | None = None
    remove: tuple[str, ...] = ()
    repository: str | None = None
    standby: bool = False  # installed and not tried: off until a start meets an older driver
    branches: tuple[int, ...] = ()  # of drivers, under which the activation may use it
    system_provider: str | None = None  # apt, rpm: of the packages that are installed or removed


# --- the rules ---


def not_on_windows_driver(case: Case, _library: Library) -> Refusal | None:
    """Forward compatibility is defined for the Linux kernel driver."""
    return Refusal("WSL2 has no forward compatibility: the driver is Windows's") if case.host.wsl else None


def unlisted_brand(case: Case, library: Library) -> Refusal | None:
    """Each GPU is of a brand that the library lists; never a GeForce or a Titan."""
    if not case.host.gpus:
        return Refusal(DATA_CENTRE_ONLY)
    for gpu in case.host.gpus:
        if is_consumer(gpu) or (gpu.brand_id is not None and gpu.brand_id not in library.brands):
            return Refusal(f"{gpu.name} is of a brand without forward compatibility (error 804)")
        if gpu.brand_id is None:
            because = f"the brand of {gpu.name} is unknown, and forward compatibility is for data-centre GPUs only"
            return Refusal(because)
    return None


def unlisted_branch(case: Case, library: Library) -> Refusal | None:
    """The library, or NVIDIA's table, lists the kernel driver's branch."""
    branch = case.host.branch
    if branch is None:
        return Refusal("the kernel driver's branch is unknown")
    if branch in library.branches:
        return None
    listed = ", ".join(map(str, sorted(library.branches)))
    return Refusal(f"{library.package} lists {f'branches {listed}' if listed else 'no branch'}, not {branch}")


def not_newer(case: Case, library: Library) -> Refusal | None:
    """A library that is not newer than the driver breaks CUDA (error 803)."""
    driver = case.host.driver
    if driver and parse_version(library.version) <= parse_version(driver):
        return Refusal(f"{library.package} {library.version} is not newer than driver {driver} (error 803)")
    return None


def refused_before(case: Case, library: Library) -> Refusal | None:
    """The GPU refused this very library when it was tried."""
    version = str((library.note or {}).get("version") or "")
    for key, code in ((case.host.state or {}).get("refused_compat") or {}).items():
        package, _unused, tried = str(key).partition(" ")
        if package == library.package and (not version or not tried or tried.split(" ")[0] == version):
            return Refusal(f"{key} was tried here and refused with error {code}")
    return None


def refused_device(case: Case, library: Library) -> Refusal | None:
    """The GPU refused forward compatibility itself (error 804): no other library is fetched to be tried.

    One that lies here in another version is: see :func:`refused_before`.
    """
    for key, code in ((case.host.state or {}).get("refused_compat") or {}).items():
        if library.note is None and str(code) == "804":
            return Refusal(f"{key} was tried here and refused with error {code}, which is the GPU's answer to any")
    return None


RULES: tuple[Callable[[Case, Library], Refusal | None], ...] = (
    not_on_windows_driver,
    unlisted_brand,
    unlisted_branch,
    not_newer,
    refused_before,
    refused_device,
)
STANDBY_RULES = (
    not_on_windows_driver,
    refused_before,
    refused_device,
)  # whatever the driver and the GPU of a start are


# --- the library ---


def find_library(case: Case, cuda: str) -> Library | Refusal:
    """The compat library of exactly this CUDA release, or that there is none.

    One that lies on the host and is of a release that the catalogue does not have is known by its own note.
    """
    row = case.known["drivers"]["compat"].get(cuda)
    note = next((found for found in case.host.compat if str(found.get("cuda")) == cuda), None)
    if row is None and note and note.get("branches") and _is_version(note.get("version")):
        row = _row_of_note(case, note)
    if row is None:
        return Refusal(f"there is no forward-compatibility package for CUDA {cuda}")
    return Library(cuda, row, note)


def _row_of_note(case: Case, note: Row) -> Row:
    """What stands for the catalogue's row of a library that it does not have: what the library itself lists."""
    compat = case.known["drivers"]["compat"]
    return {
        **compat[max(compat, key=parse_version)],
        "package": str(note.get("package") or f"cuda-compat-{str(note.get('cuda')).replace('.', '-')}"),
        "branch": parse_version(str(note["version"]))[0],
        "version": str(note["version"]),
        "documented_branches": [],
        "note_branches": list(note["branches"]),
        "source": str(note.get("path") or "the library's own note"),
    }


def find_libraries(case: Case, cuda: str) -> tuple[Library, ...]:
    """The compat libraries that run programs of ``cuda``: its own and those of newer releases, the best first.

    A libcuda runs what was built for an older CUDA, so a newer library serves as well. One that lies on the host comes
    before one that is fetched, one that NVIDIA's table documents for the driver before one that only lists it, and
    then the nearest release.
    """
    there = {str(row.get("cuda")) for row in case.host.compat if _is_version(row.get("cuda"))}
    releases = {*case.known["drivers"]["compat"], *there}
    newer = [release for release in releases if parse_version(release) >= parse_version(cuda)]
    found = [library for release in newer if isinstance(library := find_library(case, release), Library)]
    branch, os_known = case.host.branch, case.host.os_id is not None

    def key(library: Library) -> tuple[bool, bool, bool, tuple[int, ...]]:
        fetched = library.note is None
        return (
            fetched,
            fetched and os_known and find_repository(case, library.cuda) is None,
            branch not in library.row["documented_branches"],
            parse_version(library.cuda),
        )

    return tuple(sorted(found, key=key))


def _is_version(text: object) -> bool:
    try:
        parse_version(str(text))
    except ValueError:
        return False
    return True


def forward_compat(case: Case, cuda: str) -> Compat | Refusal:
    """The best compat library for programs of ``cuda`` on this host, or why none may be used.

    Whether it can be fetched is not asked here, but of several the ones that lie here or can be fetched come first.
    """
    libraries = find_libraries(case, cuda)
    refused: list[tuple[Library, Refusal]] = []
    for library in libraries:
        refusal = next((found for rule in RULES if (found := rule(case, library))), None)
        if refusal is None:
            return _active(case, library, cuda, refused)
        refused.append((library, refusal))
    return _none_fits(cuda, refused)


def _active(case: Case, library: Library, cuda: str, refused: list[tuple[Library, Refusal]]) -> Compat:
    host, confidence = case.host, _confidence(case, library)
    promised = {DOCUMENTED: "documented by NVIDIA", LISTED: "listed by the library, not in NVIDIA's table"}
    brand = promised.get(confidence, "not promised for this GPU, the probe decides")
    if driver_floor(case, cuda):
        because = f"driver {host.driver} is older than {floor(case, cuda)}"
    else:
        because = f"driver {host.driver} supports CUDA {host.driver_cuda} and compiles no PTX of CUDA {cuda}"
    text = f"{because}; {library.package} lists branch {host.branch} ({brand})"
    if library.cuda != cuda:
        text += f"; it is built for CUDA {library.cuda} and runs programs of CUDA {cuda} as well"
        text += ", and is on this host already" if library.note else ""
    own = [refusal.because for one, refusal in refused if one.cuda == cuda]
    return _compat(library, confidence, Reason("compat-branch-listed", "; ".join((text, *own)), library.row["source"]))


def _none_fits(cuda: str, refused: list[tuple[Library, Refusal]]) -> Refusal:
    """Why no library may be used: in the words of the release's own, with the newer ones that do not fit either."""
    if not refused:
        return Refusal(f"there is no forward-compatibility package for CUDA {cuda}")
    refused = sorted(refused, key=lambda entry: parse_version(entry[0].cuda))
    (_own, first), others = refused[0], refused[1:]
    others = [(library, refusal) for library, refusal in others if refusal.because != first.because]
    names = ", ".join(library.package for library, _refusal in others)
    more = f"; of a newer CUDA {names} {'does' if len(others) == 1 else 'do'} not fit either" if others else ""
    return replace(first, because=f"{first.because}{more}")


def standby(case: Case, cuda: str) -> Compat | Refusal:
    """The compat library of ``cuda`` to be kept off until a start meets an older driver, or why it is of no use here.

    One of a newer CUDA that lies here serves as well. Of several GPUs one that may use it is enough: the host may
    start with others, and the activation looks at the GPUs of each start.
    """
    libraries = [one for one in find_libraries(case, cuda) if one.note or one.cuda == cuda]
    if not libraries:
        return Refusal(f"there is no forward-compatibility package for CUDA {cuda}")
    refusals = []
    for library in libraries:
        refusal = _why_not_standby(case, library)
        if refusal is None:
            branches = ", ".join(map(str, sorted(library.listed_branches)))
            text = f"{library.package} is installed and kept off; a start on a driver of branch {branches} uses it"
            return _compat(library, _confidence(case, library), Reason("compat-standby", text, library.row["source"]))
        refusals.append(refusal)
    return refusals[0]


def _why_not_standby(case: Case, library: Library) -> Refusal | None:
    for rule in STANDBY_RULES:
        if refusal := rule(case, library):
            return refusal
    if not case.host.gpus:
        return Refusal(DATA_CENTRE_ONLY)
    each = [replace(case, host=replace(case.host, gpus=(gpu,))) for gpu in case.host.gpus]
    refusals = [unlisted_brand(one, library) for one in each]
    return refusals[0] if refusals[0] and all(refusals) else None


def _compat(library: Library, confidence: str, reason: Reason) -> Compat:
    return Compat(
        package=library.package,
        cuda=library.cuda,
        version=library.version,
        path=library.path,
        installed=library.note is not None,
        confidence=confidence,
        reason=reason,
    )


def _confidence(case: Case, library: Library) -> str:
    brands = case.known["gpus"]["brands"]
    if not all(
        gpu.brand_observed and brands.get(str(gpu.brand_id), {}).get("data_centre") for gpu in case.host.gpus or ()
    ):
        return PROBE
    return DOCUMENTED if case.host.branch in library.row["documented_branches"] else LISTED


def usable_branches(case: Case, cuda: str) -> tuple[int, ...]:
    """The driver branches under which the activation may use the compat library: the catalogue's, its own, this host's.

    The note of an installed library is not read for it, so that installing one changes no file of ours; a branch that
    the note alone lists is this host's own. The CUDA release has a library: see :func:`find_library`.
    """
    library = find_library(case, cuda)
    if isinstance(library, Refusal):
        return ()
    branches = {*library.listed_branches, int(library.row["branch"])}
    if case.host.branch in library.branches:
        branches.add(case.host.branch)
    return tuple(sorted(branches))


# --- where it comes from ---


def no_compat_package(case: Case, cuda: str | None = None) -> Refusal | None:
    """Why a compat package, of ``cuda`` or any, cannot be fetched here, or None. An unknown distribution has it."""
    if refusal := no_packages(case):
        return Refusal(f"the compat library is not installed, and {refusal.because}")
    if case.host.os_id and not find_repository(case, cuda):
        what = f"packages of CUDA {cuda}" if cuda and find_repository(case) else "packages"
        system = system_name(case.host)
        return Refusal(f"the compat library is not installed, and NVIDIA's repository has no {what} for {system}")
    return None


def find_standby(case: Case, cuda: str | None) -> Compat | Refusal | None:
    """The compat library that is requested for later starts, why it is of no use, or None where none is requested."""
    if case.request.forward_compat != STANDBY or cuda is None:
        return None
    return standby(case, cuda)


def provide_compat(case: Case, active: Compat | None, waiting: Compat | None) -> ForwardCompat:
    """The forward-compatibility part of a decision: of the library that the route needs, or of one that waits.

    Only packages that the collection installed are to be removed.
    """
    host, compat = case.host, active or waiting
    kept, own = compat.package if compat else None, str(find_manager(case)["provider"])
    remove = tuple(str(row["package"]) for row in host.compat if row.get("managed") and row["package"] != kept)
    if compat is None:
        return ForwardCompat(remove=remove, system_provider=own if remove else None)
    return ForwardCompat(
        enabled=True,
        package=compat.package,
        provider="adopt" if compat.installed else own,
        path=compat.path,
        version=compat.version,
        confidence=compat.confidence,
        remove=remove,
        repository=None if compat.installed else find_repository(case, compat.cuda),
        standby=active is None or host.target,
        branches=usable_branches(case, compat.cuda),
        system_provider=own if remove or not compat.installed else None,
    )
