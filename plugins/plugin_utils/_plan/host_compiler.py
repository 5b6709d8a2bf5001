# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a toolkit's nvcc can compile on a host: by its C++ compilers and its C library. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue, Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import Host
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.layout import no_packages
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.settings import HOST_COMPILER, Setting

GCC, CLANG = "gcc", "clang"
PROGRAMS = {GCC: "g++", CLANG: "clang"}  # how a sentence names them
VARIABLES = ("NVCC_CCBIN", "CUDAHOSTCXX", "CXX")  # that name the C++ compiler to nvcc, to CMake and to everything else


@dataclass(frozen=True)
class HostCompiler:
    """A C++ compiler of a host; ``version`` as it says it, or its first number alone; None: unknown."""

    kind: str  # gcc, clang
    path: str
    version: str | None

    @property
    def c_path(self) -> str:
        """The C compiler beside it: /usr/bin/gcc-13 of /usr/bin/g++-13."""
        folder, sign, name = self.path.rpartition("/")
        return f"{folder}{sign}{name.replace('clang++', 'clang').replace('g++', 'gcc')}"

    @property
    def words(self) -> str:
        """It in a sentence: 'g++ 13.3.0'."""
        return f"{PROGRAMS[self.kind]} {self.version}"


def find_bounds(release: str, exact: str | None, known: Catalogue) -> Row | None:
    """The bounds of nvcc's own headers: of this very version, or of the newest of the release; None: unknown."""
    rows = known["toolkits"]["headers"]
    if exact in rows:
        return rows[str(exact)]
    versions = [version for version in rows if version.startswith(f"{release}.")]
    return rows[max(versions, key=parse_version)] if versions else None


def list_compilers(host: Host) -> tuple[HostCompiler, ...]:
    """The host's C++ compilers: what builds take by default, then the others, g++ first, the newest first.

    Empty where the default is there and its version is unknown: nobody replaces it for that.
    """
    rows = [
        HostCompiler(str(row["kind"]), str(row["path"]), _text(row.get("version")))
        for row in host.compilers
        if row.get("kind") in PROGRAMS and row.get("path")
    ]
    default = []
    if not host.compiler_missing:
        path = host.compiler_path or "g++"
        same = next(
            (row for row in rows if row.path == path), HostCompiler(CLANG if "clang" in path else GCC, path, None)
        )
        version = host.compiler or same.version
        if version is None:
            return ()
        default = [HostCompiler(same.kind, path, version)]
    others = [row for row in rows if row.path not in {one.path for one in default}]
    others.sort(key=lambda row: (row.kind == GCC, _major(row) or 0), reverse=True)
    return (*default, *others)


def choose_compiler(
    case: Case, release: str, exact: str | None = None, torch: str | None = None
) -> HostCompiler | Refusal | None:
    """The compiler that nvcc is to call where the default does not fit; None where that fits or nothing is known.

    :param torch: the release of PyTorch whose headers it should compile as well, where one of the host's does.

    Sources: crt/host_config.h of the release, and NVIDIA's installation guide for the oldest ones.
    """
    bounds, found = find_bounds(release, exact, case.known), list_compilers(case.host)
    if bounds is None or not found:
        return None
    all_fitting = [one for one in found if _fits(one, bounds, case.known)]
    least = needs_of_torch(case, torch)
    fitting = next((one for one in all_fitting if _compiles(one, least)), next(iter(all_fitting), None))
    if fitting is None:
        if case.host.compiler_missing and not no_packages(case):
            return None  # the system's own g++ is installed
        supported = _supported(bounds, case.known)
        because = f"CUDA {release} supports {supported}; found {_found(found)}"
        return Refusal(because, f"Install {supported.replace(' and ', ' or ')} beside it.")
    return None if fitting == found[0] and not case.host.compiler_missing else fitting


def cannot_compile(case: Case, release: str, exact: str | None = None, path: str | None = None) -> Refusal | None:
    """Why nvcc of a release compiles nothing on this host, by its C library and its compilers; None: it may.

    :param path: of a toolkit that is there: what was read of its own header counts, which may have been patched.

    Source: https://github.com/NVIDIA/cuda-samples/issues/378, and crt/math_functions.h of each release.
    """
    below, glibc = _glibc_below(case, release, exact, path), case.host.glibc
    if below and glibc and case.request.overrides.glibc and parse_version(glibc) >= parse_version(below):
        declared = "whose math.h declares functions that the toolkit's headers declare differently"
        because = f"CUDA {release} compiles nothing with glibc {below} or newer, {declared}; found glibc {glibc}"
        return Refusal(because, f"Use an image or a host with a glibc older than {below}.")
    chosen = choose_compiler(case, release, exact)
    return chosen if isinstance(chosen, Refusal) else None


def _glibc_below(case: Case, release: str, exact: str | None, path: str | None) -> str | None:
    """The oldest glibc with which the toolkit's headers do not compile; None: none is known."""
    there = next((row for row in case.host.toolkits if path and row.get("path") == path), None) or {}
    functions = case.known["cuda"]["math_functions"]
    if isinstance(there.get("may_throw"), Sequence):
        found = [str(functions[name]["glibc"]) for name in there["may_throw"] if name in functions]
        return min(found, key=parse_version, default=None)
    bounds = find_bounds(release, exact, case.known)
    return str(bounds["glibc_below"]) if bounds and bounds["glibc_below"] else None


def needs_of_torch(case: Case, torch: str | None) -> Row:
    """Of each kind of compiler the oldest that compiles PyTorch's headers; empty: nothing is known of that release.

    Source: source.yml, headers.
    """
    rows = case.known["source"]["headers"]
    known = [since for since in rows if torch and parse_version(since) <= parse_version(torch)]
    return rows[max(known, key=parse_version)] if known else {}


def too_old_for_torch(case: Case, torch: str, chosen: HostCompiler | None) -> Refusal | None:
    """Why nothing that includes PyTorch's headers compiles here: its compiler is older than these need.

    :param chosen: the compiler that builds are led to; None: the default.
    """
    found, least = chosen or next(iter(list_compilers(case.host)), None), needs_of_torch(case, torch)
    if found is None or (chosen is None and case.host.compiler_missing) or _compiles(found, least):
        return None
    wanted = f"{PROGRAMS[found.kind]} {least[found.kind]}"
    because = f"the headers of PyTorch {torch} need {wanted} or newer; found {found.words}"
    return Refusal(because, f"Install {wanted} or newer beside it, of those that the CUDA toolkit supports.")


def _compiles(compiler: HostCompiler, least: Row) -> bool:
    """Whether a compiler is new enough; of one of unknown version that is not denied."""
    major = _major(compiler)
    return major is None or major >= int(least.get(compiler.kind, 0))


def explain_compiler(case: Case, release: str, chosen: HostCompiler) -> str:
    """Why another compiler than the default is taken."""
    first, bounds = list_compilers(case.host)[0], find_bounds(release, None, case.known)
    why = f": it does not support {first.words}" if first != chosen else ""
    if why and bounds and _fits(first, bounds, case.known):
        why = f": the headers of PyTorch do not compile with {first.words}"
    return f"nvcc of CUDA {release} compiles with {chosen.path} ({chosen.words}){why}"


def compiler_settings(case: Case, release: str, chosen: HostCompiler | None) -> tuple[Setting, ...]:
    """The variables that lead nvcc, CMake and PyTorch's extension builder to the compiler, where the user sets none."""
    if chosen is None:
        return ()
    source = str(case.known["cuda"]["host_compilers"][chosen.kind]["source"])
    what, default = f"the C++ compiler that nvcc of CUDA {release} supports", "the first g++ on the path"
    named = {**dict.fromkeys(VARIABLES, chosen.path), "CC": chosen.c_path}
    return tuple(
        Setting(HOST_COMPILER, variable, value, what, default, (), source) for variable, value in named.items()
    )


def compiler_environment(chosen: HostCompiler | None) -> dict[str, str]:
    """The same variables for a build, which inherits none of a shell's."""
    return {**dict.fromkeys(VARIABLES, chosen.path), "CC": chosen.c_path} if chosen else {}


def _fits(compiler: HostCompiler, bounds: Row, known: Catalogue) -> bool:
    """Whether nvcc accepts it; of one of unknown version nobody knows."""
    major = _major(compiler)
    if major is None:
        return False
    below = bounds[f"{compiler.kind}_below"]
    return major >= int(known["cuda"]["host_compilers"][compiler.kind]["least"]) and (below is None or major < below)


def _supported(bounds: Row, known: Catalogue) -> str:
    least = {kind: known["cuda"]["host_compilers"][kind]["least"] for kind in PROGRAMS}
    told = [
        f"{name} {least[kind]} to {bounds[f'{kind}_below'] - 1}"
        for kind, name in PROGRAMS.items()
        if bounds[f"{kind}_below"]
    ]
    return " and ".join(told)


def _found(compilers: tuple[HostCompiler, ...]) -> str:
    return ", ".join(dict.fromkeys(one.words for one in compilers if one.version))


def _major(compiler: HostCompiler) -> int | None:
    found = re.match(r"\d+", compiler.version or "")
    return int(found.group()) if found else None


def _text(value: object) -> str | None:
    return str(value) if value not in (None, "") else None
