# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a build can succeed on this host, found out before it is started: ``observe`` reads, the rest is pure."""

from __future__ import annotations

import os
import pathlib
import platform
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable

from ansible_collections.podsmith.gpu.plugins.module_utils._build.plan import ARCHITECTURE, build_environment

Run = Callable[[Sequence[str]], "tuple[int, str, str]"]  # a command → its exit status, output and error output

GIB_A_JOB = 2  # what a compiler of templates and kernels needs, about
CCACHE_LINKS = ("/usr/lib/ccache", "/usr/lib64/ccache")  # folders in which compilers' names lead to ccache
DESCRIBE = (
    "import os, sys, sysconfig; print(sys.implementation.cache_tag,"
    " os.path.exists(os.path.join(sysconfig.get_paths()['include'], 'Python.h')))"
)


@dataclass(frozen=True)
class Tools:
    """What a host has of what a build needs."""

    python_tag: str  # cpython-312; empty where the interpreter cannot be run
    has_headers: bool  # whether Python.h of that interpreter is there
    has_compiler: bool
    has_git: bool
    has_nvcc: bool
    gpu_code: tuple[str, ...]  # sm_90, …: what its nvcc compiles for; empty where it does not say
    free_gib: float  # space for the build's folder
    available_gib: float | None  # memory for new programs; None where it is unknown


def observe(build: Mapping[str, Any], work: pathlib.Path, run: Run) -> Tools:
    """Look at this host for one build, whose folder is to be ``work``."""
    tag, has_headers = describe_python(build["python"]["path"], run)
    return Tools(
        python_tag=tag,
        has_headers=has_headers,
        has_compiler=bool(shutil.which(compiler(build))),
        has_git=bool(shutil.which("git")),
        has_nvcc=os.access(f"{build.get('cuda_home')}/bin/nvcc", os.X_OK),
        gpu_code=tuple(ask_nvcc(build.get("cuda_home"), "--list-gpu-code", run).split()),
        free_gib=free_gib(work),
        available_gib=available_gib(),
    )


def describe_host(build: Mapping[str, Any], run: Run) -> dict[str, Any]:
    """What a host adds to the key of a wheel: ``python``, ``cuda`` and ``platform`` (machine, C library)."""
    library, version = platform.libc_ver()
    lines = ask_nvcc(build.get("cuda_home"), "--version", run).splitlines()
    return {
        "python": describe_python(build["python"]["path"], run)[0],
        "cuda": next((line.strip() for line in lines if "release" in line), ""),
        "platform": (platform.machine(), f"{library} {version}"),
    }


def describe_python(path: str, run: Run) -> tuple[str, bool]:
    """An interpreter's tag, empty where it cannot be run, and whether its headers are there."""
    if not os.access(path, os.X_OK):
        return "", False
    words = run([path, "-I", "-c", DESCRIBE])[1].split()
    return (words[0], words[1] == "True") if len(words) == 2 else ("", False)


def ask_nvcc(cuda_home: str | None, option: str, run: Run) -> str:
    """What the nvcc of a toolkit prints for an option; nothing where there is none, or it fails."""
    path = f"{cuda_home}/bin/nvcc"
    if not cuda_home or not os.access(path, os.X_OK):
        return ""
    code, out, _err = run([path, option])
    return out if code == 0 else ""


def read_variables(build: Mapping[str, Any], work: pathlib.Path, *, adopt: str | None, cache: str) -> dict[str, str]:
    """The variables of a build on this host, with ccache where it is installed; see ``plan.build_environment``."""
    ccache = shutil.which("ccache")
    links = next((folder for folder in CCACHE_LINKS if pathlib.Path(folder).is_dir()), None)
    return build_environment(
        build,
        str(work),
        os.environ,
        site=next(map(str, work.glob("environment/lib/python3*/site-packages")), ""),
        adopt=adopt,
        ccache=ccache,
        ccache_links=links if ccache else None,
        cache=cache,
    )


def compiler(build: Mapping[str, Any]) -> str:
    """The C++ compiler that a build calls: the last word of CXX, which may begin with a launcher such as ccache."""
    return str((build.get("environment") or {}).get("CXX") or "c++").split()[-1]


def find_problems(build: Mapping[str, Any], tools: Tools, folder: str) -> list[str]:
    """Why it cannot be built here, one sentence each; ``folder`` is where builds are made."""
    problems = []
    python, cuda = build["python"]["path"], build.get("cuda_home")
    if not tools.python_tag:
        problems.append(f"{python} cannot be run on this host; set the build's python to an installed interpreter.")
    elif not tools.has_headers:
        problems.append(f"{python} has no Python.h; install its development package, such as python3-dev.")
    if not tools.has_compiler:
        problems.append(
            f"no C++ compiler ({compiler(build)}) was found; install g++, or add it to pytorch_source_system_packages."
        )
    if build["origin"]["kind"] == "git" and not tools.has_git:
        problems.append("git was not found; install it, or add it to pytorch_source_system_packages.")
    if cuda and not tools.has_nvcc:
        problems.append(f"{cuda}/bin/nvcc was not found; install the toolkit, or set the build's cuda_home to another.")
    unknown = unknown_code(str((build.get("environment") or {}).get("TORCH_CUDA_ARCH_LIST") or ""), tools.gpu_code)
    if unknown:
        problems.append(
            f"{cuda}/bin/nvcc does not support {', '.join(unknown)}, only {', '.join(tools.gpu_code)};"
            " use a newer toolkit, or remove them from TORCH_CUDA_ARCH_LIST."
        )
    needed = float(build.get("disk_mib") or 0) / 1024
    if tools.free_gib < needed:
        problems.append(
            f"{folder} has {tools.free_gib:.1f} GiB free, the build needs {needed:.1f}; free up space, or set"
            " pytorch_source_work_dir to a larger file system."
        )
    return problems


def wanted_code(architectures: str) -> list[str]:
    """What a TORCH_CUDA_ARCH_LIST asks nvcc for: ``9.0a;12.0+PTX`` is sm_90a and sm_120."""
    found = (ARCHITECTURE.fullmatch(word) for word in re.split(r"[;\s]+", architectures))
    return [f"sm_{match['major']}{match['minor']}{match['suffix']}" for match in found if match]


def unknown_code(architectures: str, listed: Iterable[str]) -> list[str]:
    """Which of these nvcc does not compile for, by what its ``--list-gpu-code`` says; it leaves suffixes out."""
    known = {code.rstrip("af") for code in listed}
    return [code for code in wanted_code(architectures) if known and code.rstrip("af") not in known]


def check_memory(jobs: int | None, available: float | None) -> str | None:
    """A warning where the available memory, in GiB, is little for so many compilers at once; else None."""
    if not jobs or available is None or available >= jobs * GIB_A_JOB / 2:
        return None
    fitting = max(1, int(available // GIB_A_JOB))
    return (
        f"{jobs} parallel compilers need about {jobs * GIB_A_JOB} GiB of memory, {available:.0f} GiB are available;"
        f" if the build is killed, set MAX_JOBS to {fitting}."
    )


def available_gib() -> float | None:
    """Memory for new programs, in GiB; None where the kernel does not say."""
    try:
        lines = pathlib.Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = next((line.split()[1] for line in lines if line.startswith("MemAvailable:")), None)
    return int(found) / 1048576 if found else None


def free_gib(path: pathlib.Path) -> float:
    """Free space for a folder, in GiB, by the nearest folder above it that is there."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free / 1073741824
