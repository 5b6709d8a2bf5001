# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which builds of PyTorch there are for a wish, and which of them this host can use."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue import pep
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue, Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import Python
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.memo import remember
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.patches import check_patch, split_patch
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.rules import no_machine_code
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import STABLE, Request
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import NAME, RequestError, unlisted

CPU = "cpu"
NIGHTLY = "nightly"


@dataclass(frozen=True)
class Build:
    """One build of PyTorch, or with ``torch`` None a CUDA release alone."""

    torch: str | None
    index: str  # cu130, cpu
    cuda: str | None
    archs: tuple[str, ...]
    ptx: tuple[str, ...]  # compute_120: what the driver compiles for newer GPUs
    pythons: tuple[str, ...]
    glibc: str | None
    source: str
    adopt: Row | None = None  # an observed PyTorch that is used as it is
    wheel: Row | None = None  # a wheel that the host's own configuration offers
    python: str | None = None  # the version of the interpreter, where the extensions decide on it
    channel: str = STABLE  # of another one nobody knows what is in its builds

    @property
    def name(self) -> str:
        """How a person calls it."""
        if self.channel != STABLE:
            return f"PyTorch {self.index.replace('-', '+')}"
        return f"PyTorch {self.torch}+{self.index}" if self.torch else f"CUDA {self.cuda}"


def why_not_build(case: Case, build: Build, *, ptx: bool) -> Refusal | None:
    """Why a build cannot run here whatever the driver is, or None."""
    host, request = case.host, case.request
    switches = request.overrides
    if build.glibc and host.glibc and switches.glibc and parse_version(host.glibc) < parse_version(build.glibc):
        return Refusal(f"needs glibc {build.glibc}; found {host.glibc}")
    if host.pythons is not None and not has_python(case, build):
        found = ", ".join(dict.fromkeys(python.version for python in host.pythons)) or "none"
        wish = "" if request.python == "auto" else f" and {request.python} is asked for"
        return Refusal(f"has wheels for Python {span(build.pythons)}; found {found}{wish}")
    if build.cuda and switches.arch_list and build.channel == STABLE:
        return no_machine_code(case, (*build.archs, *build.ptx), ptx=ptx, cuda=build.cuda)
    return None


def has_python(case: Case, build: Build) -> bool:
    """Whether there is an interpreter for a build, or none is needed."""
    return build.torch is None or pick_python(case, build) is not None


def pick_python(case: Case, build: Build) -> Python | None:
    """The interpreter for a build: the live environment's, or the newest with headers, the system's own first."""
    fit = find_pythons(case, build)
    return fit[0] if fit else None


def find_pythons(case: Case, build: Build) -> list[Python]:
    """The interpreters that a build could have, the best first: see :func:`pick_python`."""
    host, request = case.host, case.request
    if build.adopt:
        return [Python(str(build.adopt.get("python") or ""), str(build.adopt.get("python_version") or ""))]
    fit = [
        python
        for python in host.pythons or ()
        if (python.version in build.pythons or not request.overrides.python)
        and request.python in ("auto", python.version, python.path)
        and build.python in (None, python.version)
    ]
    if build.wheel:
        fit = [python for python in fit if fits_tag(str(build.wheel.get("python_tag")), python.version)]
    live = (host.live or {}).get("python")
    return sorted(
        fit,
        key=lambda python: (
            python.version == live,
            bool(python.headers),
            parse_version(python.version),
            python.path.startswith("/usr/bin/"),
        ),
        reverse=True,
    )


def fits_tag(tag: str, python: str) -> bool:
    """Whether a wheel's tag (cp311, cp39-abi3, py3, py39) fits a Python such as 3.11."""
    return tag in _fitting_tags(python)


@functools.cache
def _fitting_tags(python: str) -> frozenset[str]:
    """The interpreter tags, with the stable ABI where it is that, of wheels that a CPython such as 3.11 accepts."""
    version = parse_version(python)[:2]
    interpreter = f"cp{version[0]}{version[1]}"
    stable = {
        f"{tag.interpreter}-abi3" for tag in pep.tags.cpython_tags(version, platforms=["any"]) if tag.abi == "abi3"
    }
    generic = {tag.interpreter for tag in pep.tags.compatible_tags(version, interpreter, ["any"])}
    return frozenset({interpreter, *stable, *generic})


# --- what there is to choose from ---


def wished_builds(case: Case) -> Iterator[Build]:
    """What was wished, the best first: the newest PyTorch, then the newest CUDA; none for the CPU."""
    request, known = case.request, case.known
    if request.cuda == "none":
        return
    if request.channel != STABLE and request.pytorch != "none":
        yield from (build for build in channel_builds(case) if build.cuda)
        return
    compiled = request.wheels.provider == "source"
    for torch in wished_torches(request, known):
        indexes = torch_indexes(torch, known)
        found = _matching_indexes(indexes, request.cuda, known)
        if (
            compiled
            and torch
            and request.cuda not in (*(index_cuda(index, known) for index in found), "newest", "none")
        ):
            found = _compilable(indexes, request.cuda, known)  # what it is compiled with is what it is for
        for index in found:
            yield from _builds(case, torch, index, compiled=compiled)


def channel_builds(case: Case) -> Iterator[Build]:
    """The builds of PyTorch's test or nightly indexes for the wished CUDA, the newest CUDA first, the CPU's last.

    Their release is the least that it can be, as a development release: of the test index the newest stable one, of
    the nightly the next minor one. An installer takes such releases where the least one asked for is one. Which GPUs
    they have code for is not known; Pythons and C library are taken to be those of the newest release.
    """
    request, known = case.request, case.known
    newest = max(known["pytorch"]["releases"], key=parse_version)
    row = known["pytorch"]["releases"][newest]
    major, minor = parse_version(newest)[:2]
    least = f"{major}.{minor + 1}.0.dev0" if request.channel == NIGHTLY else f"{newest}.dev0"
    rows = {key: index for key, index in known["pytorch"]["indexes"].items() if index.get("channel") == request.channel}
    for key in sorted(rows, key=lambda key: version_key(rows[key]["cuda"]), reverse=True):
        cuda, source = rows[key]["cuda"], str(rows[key]["source"])
        if cuda and request.cuda not in ("newest", cuda):
            continue
        pythons = tuple(row["pythons"])
        yield Build(least, key, cuda, (), (), pythons, row["glibc"], source, channel=request.channel)


def fallback_builds(case: Case) -> Iterator[Build]:
    """What may stand in for the wish: its PyTorch on another CUDA, then an older PyTorch, then a newer one.

    Of the CUDA releases the next older one comes first, and a newer one after them; but those first whose compilers
    know this host's GPUs: machine code for a like GPU would run without them, Triton and the toolkit would not.
    """
    request, known = case.request, case.known
    wished = wished_torches(request, known)
    every = wished_torches(Request(pytorch="none" if wished == [None] else "newest"), known)
    newest, oldest = version_key(wished[0]), version_key(wished[-1])
    older = [torch for torch in every if version_key(torch) < oldest]
    newer = sorted((torch for torch in every if version_key(torch) > newest), key=version_key)
    target = None if request.cuda == "newest" else parse_version(request.cuda)
    for torch in (*wished, *older, *newer):
        indexes = torch_indexes(torch, known)
        lower = [index for index in indexes if target is None or version_key(index_cuda(index, known)) <= target]
        upper = [index for index in reversed(indexes) if index not in lower]
        for index in sorted((*lower, *upper), key=lambda name: not _compiles_for(case, index_cuda(name, known))):
            yield from _builds(case, torch, index, compiled=request.wheels.provider == "source")


def _compiles_for(case: Case, cuda: str | None) -> bool:
    """Whether nvcc of a CUDA release knows all GPUs of the host; also where these are unknown, and for the CPU."""
    codes = {str(code) for code in case.known["cuda"]["releases"].get(cuda or "", {}).get("gpu_code") or ()}
    return not codes or all(one.replace(".", "") in codes for one in case.host.capabilities)


def wished_torches(request: Request, known: Catalogue) -> list[str | None]:
    """The PyTorch releases that are as wished, newest first; [None] where none is wished.

    Raises RequestError where the catalogue has none.
    """
    if request.pytorch == "none":
        return [None]
    releases = sorted(known["pytorch"]["releases"], key=parse_version, reverse=True)
    if request.pytorch == "newest":
        return list(releases)
    found = [release for release in releases if matches(release, request.pytorch)]
    if not found:
        raise unlisted("pytorch", request.pytorch, releases)
    return list(found)


def published_cudas(case: Case) -> list[str]:
    """The CUDA releases that the wished PyTorch is built for on this architecture, oldest first."""
    builds = wished_builds(replace(case, request=replace(case.request, cuda="newest")))
    return sorted({build.cuda for build in builds if build.cuda}, key=parse_version)


def check_cuda(request: Request, known: Catalogue) -> None:
    """Raise RequestError where a wished CUDA release is not in the catalogue."""
    releases = sorted(known["cuda"]["releases"], key=parse_version)
    for where, wanted in (("cuda", request.cuda), *(("toolkit.also", cuda) for cuda in request.toolkit.also)):
        cuda = split_patch(wanted)[0]
        if cuda not in ("newest", "none") and cuda not in releases:
            raise unlisted(where, cuda, releases)
        check_patch(where, request.toolkit.patch or wanted if where == "cuda" else wanted, known)


def check_channel(request: Request) -> None:
    """Raise RequestError for what cannot be asked of an index whose releases nobody knows before they are installed."""
    channel = request.channel
    if channel == STABLE:
        return
    if request.pytorch != "newest":
        told = f'{NAME}.channel is {channel} and pytorch is "{request.pytorch}"'
        raise RequestError(f"{told}; which releases are there is not known: set pytorch: newest, or channel: stable.")
    if request.wheels.provider not in ("auto", "adopt", "pytorch_index"):
        told = f"{NAME}.channel is {channel} and wheels.provider is {request.wheels.provider}"
        raise RequestError(f"{told}; expected wheels.provider auto or pytorch_index, or channel: stable.")
    if request.source.extensions:
        told = f"{NAME}.channel is {channel} and source.extensions lists {', '.join(request.source.extensions)}"
        because = "what is compiled is kept for one release of PyTorch"
        raise RequestError(f"{told}; {because}: set channel: stable, or leave it out.")


def matches(version: str, wish: str) -> bool:
    """Whether a version is as wished: 2.9.1 is both a 2.9 and a 2.9.1, and newest is anything."""
    base = version.partition("+")[0]
    return wish == "newest" or base == wish or base.startswith(f"{wish}.")


def torch_indexes(torch: str | None, known: Catalogue) -> list[str]:
    """The indexes with CUDA builds of a release, newest CUDA first; with None one for each CUDA release."""
    if torch is None:
        return [
            f"cu{cuda.replace('.', '')}" for cuda in sorted(known["cuda"]["releases"], key=parse_version, reverse=True)
        ]
    indexes = [index for index in known["pytorch"]["releases"][torch]["indexes"] if index != CPU]
    return sorted(indexes, key=lambda index: version_key(index_cuda(index, known)), reverse=True)


def index_cuda(index: str, known: Catalogue) -> str | None:
    """The CUDA release of an index: cu130 → 13.0."""
    row = known["pytorch"]["indexes"].get(index)
    if row is not None:
        return str(row["cuda"]) if row["cuda"] else None
    return f"{index[2:-1]}.{index[-1]}" if index.startswith("cu") else None


def _matching_indexes(indexes: list[str], cuda: str, known: Catalogue) -> list[str]:
    """The indexes of the wished CUDA; where PyTorch has none of that release, the nearest of the same major."""
    if cuda == "newest":
        return indexes
    exact = [index for index in indexes if index_cuda(index, known) == cuda]
    published = {row["cuda"] for row in known["pytorch"]["indexes"].values() if not row.get("channel")}
    if exact or cuda in published:
        return exact
    wanted = parse_version(cuda)
    same_major = [index for index in indexes if version_key(index_cuda(index, known))[0] == wanted[0]]
    older = [index for index in same_major if version_key(index_cuda(index, known)) < wanted]
    return older[:1] or same_major[-1:]


def _compilable(indexes: list[str], cuda: str, known: Catalogue) -> list[str]:
    """A CUDA release that PyTorch publishes no wheel for, and compiles with: it is of a major that it publishes for."""
    majors = {version_key(index_cuda(index, known))[0] for index in indexes}
    return [f"cu{cuda.replace('.', '')}"] if parse_version(cuda)[0] in majors else []


def _builds(case: Case, torch: str | None, index: str, *, compiled: bool = False) -> tuple[Build, ...]:
    """The build of an index, or one that is compiled here, which has code for whatever nvcc has."""
    known, arch = case.known, case.host.arch
    return remember(
        known,
        "builds",
        (torch, index, arch, compiled),
        lambda: tuple(_read_builds(known, torch, index, arch, compiled)),
    )


def _read_builds(known: Catalogue, torch: str | None, index: str, arch: str | None, compiled: bool) -> Iterator[Build]:
    cuda = index_cuda(index, known)
    if torch is None:
        row = known["cuda"]["releases"][str(cuda)]
        archs = tuple(f"sm_{code}" for code in row["gpu_code"])
        yield Build(None, index, cuda, archs, (), (), None, str(row["source"]))
        return
    row = known["pytorch"]["releases"][torch]
    if compiled:
        code = known["cuda"]["releases"][cuda]["gpu_code"] if cuda else ()
        archs = tuple(f"sm_{number}" for number in code)
        source = str(known["source"]["packages"]["torch"]["source"])
        yield Build(torch, index, cuda, archs, (), tuple(row["pythons"]), None, source)
        return
    content = row["indexes"][index].get(arch)
    if content is None:
        return
    yield Build(
        torch,
        index,
        cuda,
        tuple(content["linux"]),
        tuple(content["ptx"]),
        tuple(row["pythons"]),
        least_glibc(row, index, arch),
        str(row["source"]),
    )


def least_glibc(row: Row, index: str, arch: str | None) -> str | None:
    """The glibc that a release's wheels of an index need on an architecture: the platform tags of the wheels."""
    known = [str(value) for key, value in (row.get("glibc_of") or {}).items() if key in (index, arch)]
    return max(known, key=parse_version) if known else row.get("glibc")


def cpu_build(case: Case, torch: str, *, compiled: bool = False) -> Build | None:
    """The build without CUDA of a release."""
    return (
        next(iter(_builds(case, torch, CPU, compiled=compiled)), None)
        if CPU in case.known["pytorch"]["releases"][torch]["indexes"]
        else None
    )


def version_key(version: str | None) -> tuple[int, ...]:
    """The sort key of a version; none sorts first."""
    return parse_version(version) if version else ()


def span(versions: Iterable[str]) -> str:
    """Versions in words: '2.6.0 to 2.9.1'."""
    ordered = sorted(versions, key=parse_version)
    return f"{ordered[0]} to {ordered[-1]}" if len(ordered) > 1 else "".join(ordered)
