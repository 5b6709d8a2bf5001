# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which build of PyTorch runs on a host, by which route: the heart of the plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue, Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import rules
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import Host, Python
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.rules import Compat, Reason, Rejection
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import Request, unlisted

CPU = "cpu"


@dataclass(frozen=True)
class Build:
    """One build of PyTorch, or with ``torch`` None a CUDA release alone."""

    torch: str | None
    index: str  # cu130, cpu
    cuda: str | None
    archs: tuple[str, ...]
    ptx: bool
    pythons: tuple[str, ...]
    glibc: str | None
    source: str
    adopt: Row | None = None  # an observed PyTorch that is used as it is
    wheel: Row | None = None  # a wheel that the host's own configuration offers

    @property
    def name(self) -> str:
        """How a person calls it."""
        return f"PyTorch {self.torch}+{self.index}" if self.torch else f"CUDA {self.cuda}"


@dataclass
class Search:
    """What was tried on the way to a choice. The rejections come out merged and in the order they were met."""

    host: Host
    request: Request
    known: Catalogue
    offered: Callable[[Build], str | None]
    _rejected: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def unfit(self, build: Build, *, ptx: bool) -> str | None:
        """Why a build cannot be used here whatever the driver is, or None."""
        return self.offered(build) or unfit(build, self.host, self.request, self.known, ptx=ptx)

    def reject(self, route: str, build: Build, because: str) -> None:
        """Note why a build was not chosen; the same reason for several releases becomes one entry."""
        torches = self._rejected.setdefault((f"{route} {build.index}".strip(), because), [])
        if build.torch and build.torch not in torches:
            torches.append(build.torch)

    def unpublished(self) -> None:
        """Note that nobody builds the wished PyTorch for the wished CUDA and this architecture."""
        cudas = published_cudas(self.host, self.request, self.known)
        because = f"there is no such build for {self.host.arch}; there is one for CUDA {', '.join(cudas) or 'none'}"
        self._rejected[f"PyTorch {self.request.pytorch} on CUDA {self.request.cuda}", because] = []

    def rejected(self) -> tuple[Rejection, ...]:
        """The rejections so far."""
        found = []
        for (option, because), torches in self._rejected.items():
            suffix = f" of PyTorch {_span(torches)}" if torches else ""
            found.append(Rejection(f"{option}{suffix}", because))
        return tuple(found)


@dataclass(frozen=True)
class Choice:
    """The build that was chosen, and how it runs. ``blocked`` says why there is none."""

    route: str
    build: Build | None
    reasons: tuple[Reason, ...] = ()
    rejected: tuple[Rejection, ...] = ()
    compat: Compat | None = None
    fallback: bool = False  # something else than what was wished


def choose(
    host: Host,
    request: Request,
    *,
    known: Catalogue,
    no_package: str | None,
    offered: Callable[[Build], str | None],
) -> Choice:
    """The best build for a host with GPUs.

    In this order: as wished, by the driver itself or by minor-version compatibility; then the policies of
    ``on_old_driver``. ``no_package`` says why a compat package cannot be installed here, or None; ``offered`` why the
    wished source of wheels does not have a build, or None.
    """
    search = Search(host, request, known, offered)
    wished = _main_first(wished_builds(host, request, known), known)
    if not wished:
        search.unpublished()
    if choice := _first(search, wished):
        return choice
    for policy in request.on_old_driver:
        if policy == "forward_compat":
            choice = _forward(search, wished, no_package)
        elif policy == "fallback":
            choice = _first(search, _main_first(fallback_builds(host, request, known), known), fallback=True)
        else:
            choice = None
        if choice:
            return choice
    return Choice("blocked", None, rejected=search.rejected())


def _first(search: Search, builds: Iterable[Build], *, fallback: bool = False) -> Choice | None:
    """The first build that runs without help."""
    host, known = search.host, search.known
    for build in builds:
        cuda = build.cuda or ""
        reason = rules.native(host, cuda, known) or rules.driver_unknown(host, cuda, known)
        route = "native" if reason else "minor_version"
        reason = reason or rules.minor_version(host, cuda, known)
        if because := search.unfit(build, ptx=reason is None or route == "native"):
            search.reject("", build, because)
        elif reason:
            return Choice(
                "fallback" if fallback else route, build, _why(build, reason, search), search.rejected(), None, fallback
            )
        else:
            search.reject("native", build, rules.driver_floor(host, cuda, known) or _too_old(host, cuda))
    return None


def _forward(search: Search, builds: list[Build], no_package: str | None) -> Choice | None:
    """The best build through a compat library: the newest PyTorch, on a documented pair before a listed one."""
    found: list[tuple[tuple[tuple[int, ...], bool, tuple[int, ...]], Build, Compat]] = []
    for build in builds:
        if search.unfit(build, ptx=True):
            continue
        compat = rules.forward_compat(search.host, build.cuda or "", search.known)
        if isinstance(compat, str):
            search.reject("forward_compat", _without_torch(build), compat)
        elif no_package and not compat.installed:
            search.reject("forward_compat", _without_torch(build), no_package)
        else:
            documented = compat.confidence == rules.DOCUMENTED
            found.append(((_key(build.torch), documented, _key(build.cuda)), build, compat))
    if not found:
        return None
    _unused, build, compat = max(found, key=lambda entry: entry[0])
    return Choice("forward_compat", build, _why(build, compat.reason, search), search.rejected(), compat)


def _why(build: Build, reason: Reason, search: Search) -> tuple[Reason, ...]:
    names = search.host.gpu_names
    if not search.host.capabilities or not build.torch:
        return (reason,)
    text = f"{build.name} has machine code for {names} (compute capability {', '.join(search.host.capabilities)})"
    return (reason, Reason("machine-code", text, build.source))


def unfit(build: Build, host: Host, request: Request, known: Catalogue, *, ptx: bool) -> str | None:
    """Why a build cannot run here whatever the driver is, or None."""
    switches = request.overrides
    if build.glibc and host.glibc and switches.glibc and parse_version(host.glibc) < parse_version(build.glibc):
        return f"needs glibc {build.glibc}; found {host.glibc}"
    if host.pythons is not None and not has_python(build, host, request):
        found = ", ".join(dict.fromkeys(python.version for python in host.pythons)) or "none"
        wish = "" if request.python == "auto" else f" and {request.python} is asked for"
        return f"has wheels for Python {_span(build.pythons)}; found {found}{wish}"
    if build.cuda and switches.arch_list:
        return rules.machine_code(host, build.archs, ptx=build.ptx and ptx, known=known)
    return None


def has_python(build: Build, host: Host, request: Request) -> bool:
    """Whether there is an interpreter for a build, or none is needed."""
    return build.torch is None or pick_python(build, host, request) is not None


def pick_python(build: Build, host: Host, request: Request) -> Python | None:
    """The interpreter for a build: the live environment's, or the newest with headers, the system's own first."""
    if build.adopt:
        return Python(str(build.adopt.get("python") or ""), str(build.adopt.get("python_version") or ""))
    fit = [
        python
        for python in host.pythons or ()
        if (python.version in build.pythons or not request.overrides.python)
        and request.python in ("auto", python.version, python.path)
    ]
    if build.wheel:
        fit = [python for python in fit if fits_tag(str(build.wheel.get("python_tag")), python.version)]
    if not fit:
        return None
    live = (host.live or {}).get("python")
    return max(
        fit,
        key=lambda python: (
            python.version == live,
            bool(python.headers),
            parse_version(python.version),
            python.path.startswith("/usr/bin/"),
        ),
    )


def fits_tag(tag: str, python: str) -> bool:
    """Whether a wheel's tag (cp311, cp39-abi3, py3, py39) fits a Python such as 3.11."""
    base, _unused, abi = tag.partition("-")
    digits = base[2:]
    version = (int(digits[0]), int(digits[1:] or 0)) if digits.isdigit() else (0, 0)
    wanted = parse_version(python)[:2]
    if base.startswith("py") or abi == "abi3":
        return version[0] == wanted[0] and wanted >= version
    return version == wanted


# --- what there is to choose from ---


def wished_builds(host: Host, request: Request, known: Catalogue) -> Iterator[Build]:
    """The builds that are what was wished, the best first: the newest PyTorch, then the newest CUDA."""
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
            yield from _builds(torch, index, host, known, compiled=compiled)


def fallback_builds(host: Host, request: Request, known: Catalogue) -> Iterator[Build]:
    """What may stand in for the wish: its PyTorch on another CUDA, then an older PyTorch, then a newer one.

    Of the CUDA releases the next older one comes first; a newer one is for GPUs that the older ones do not know.
    """
    wished = wished_torches(request, known)
    every = wished_torches(Request(pytorch="none" if wished == [None] else "newest"), known)
    newest, oldest = _key(wished[0]), _key(wished[-1])
    older = [torch for torch in every if _key(torch) < oldest]
    newer = sorted((torch for torch in every if _key(torch) > newest), key=_key)
    target = None if request.cuda == "newest" else parse_version(request.cuda)
    for torch in (*wished, *older, *newer):
        indexes = torch_indexes(torch, known)
        lower = [index for index in indexes if target is None or _key(index_cuda(index, known)) <= target]
        upper = [index for index in reversed(indexes) if index not in lower]
        for index in (*lower, *upper):
            yield from _builds(torch, index, host, known, compiled=request.wheels.provider == "source")


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


def published_cudas(host: Host, request: Request, known: Catalogue) -> list[str]:
    """The CUDA releases that the wished PyTorch is built for on this architecture, oldest first."""
    builds = wished_builds(host, replace(request, cuda="newest"), known)
    return sorted({build.cuda for build in builds if build.cuda}, key=parse_version)


def check_cuda(request: Request, known: Catalogue) -> None:
    """Raise RequestError where a wished CUDA release is not in the catalogue."""
    releases = sorted(known["cuda"]["releases"], key=parse_version)
    for where, cuda in (("cuda", request.cuda), *(("toolkit.also", cuda) for cuda in request.toolkit.also)):
        if cuda not in ("newest", "none") and cuda not in releases:
            raise unlisted(where, cuda, releases)


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
    return sorted(indexes, key=lambda index: _key(index_cuda(index, known)), reverse=True)


def index_cuda(index: str, known: Catalogue) -> str | None:
    """The CUDA release of an index: cu130 → 13.0."""
    row = known["pytorch"]["indexes"].get(index)
    if row is not None:
        return str(row["cuda"]) if row["cuda"] else None
    return f"{index[2:-1]}.{index[-1]}" if index.startswith("cu") else None


def _main_first(builds: Iterable[Build], known: Catalogue) -> list[Build]:
    """The wheels of side indexes last, otherwise in their order."""
    indexes = known["pytorch"]["indexes"]
    return sorted(builds, key=lambda build: build.torch is not None and bool(indexes.get(build.index, {}).get("side")))


def _matching_indexes(indexes: list[str], cuda: str, known: Catalogue) -> list[str]:
    """The indexes of the wished CUDA; where PyTorch has none of that release, the nearest of the same major."""
    if cuda == "newest":
        return indexes
    exact = [index for index in indexes if index_cuda(index, known) == cuda]
    published = {row["cuda"] for row in known["pytorch"]["indexes"].values()}
    if exact or cuda in published:
        return exact
    wanted = parse_version(cuda)
    same_major = [index for index in indexes if _key(index_cuda(index, known))[0] == wanted[0]]
    older = [index for index in same_major if _key(index_cuda(index, known)) < wanted]
    return older[:1] or same_major[-1:]


def _compilable(indexes: list[str], cuda: str, known: Catalogue) -> list[str]:
    """A CUDA release that PyTorch publishes no wheel for, and compiles with: it is of a major that it publishes for."""
    majors = {_key(index_cuda(index, known))[0] for index in indexes}
    return [f"cu{cuda.replace('.', '')}"] if parse_version(cuda)[0] in majors else []


def _builds(torch: str | None, index: str, host: Host, known: Catalogue, *, compiled: bool = False) -> Iterator[Build]:
    """The build of an index, or one that is compiled here, which has code for whatever nvcc has."""
    cuda = index_cuda(index, known)
    if torch is None:
        row = known["cuda"]["releases"][str(cuda)]
        archs = tuple(f"sm_{code}" for code in row["gpu_code"])
        yield Build(None, index, cuda, archs, False, (), None, str(row["source"]))
        return
    row = known["pytorch"]["releases"][torch]
    if compiled:
        code = known["cuda"]["releases"][cuda]["gpu_code"] if cuda else ()
        archs = tuple(f"sm_{number}" for number in code)
        source = str(known["source"]["packages"]["torch"]["source"])
        yield Build(torch, index, cuda, archs, False, tuple(row["pythons"]), None, source)
        return
    content = row["indexes"][index].get(host.arch)
    if content is None:
        return
    yield Build(
        torch,
        index,
        cuda,
        tuple(content["linux"]),
        bool(content["ptx"]),
        tuple(row["pythons"]),
        row.get("glibc"),
        str(row["source"]),
    )


def cpu_build(torch: str, host: Host, known: Catalogue, *, compiled: bool = False) -> Build | None:
    """The build without CUDA of a release."""
    return (
        next(_builds(torch, CPU, host, known, compiled=compiled), None)
        if CPU in known["pytorch"]["releases"][torch]["indexes"]
        else None
    )


def _too_old(host: Host, cuda: str) -> str:
    return f"the driver has CUDA {host.driver_cuda}, older than CUDA {cuda}"


def _without_torch(build: Build) -> Build:
    """Forward compatibility is a matter of the CUDA release alone: the same for every PyTorch on it."""
    return Build(None, build.index, build.cuda, (), False, (), None, "")


def _key(version: str | None) -> tuple[int, ...]:
    return parse_version(version) if version else ()


def _span(versions: Iterable[str]) -> str:
    ordered = sorted(versions, key=parse_version)
    return f"{ordered[0]} to {ordered[-1]}" if len(ordered) > 1 else "".join(ordered)
