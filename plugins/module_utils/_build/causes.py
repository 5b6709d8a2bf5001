# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a build failed, by the end of its log, and what to do about it. Nothing here touches a host."""

from __future__ import annotations

import re
from typing import NamedTuple

from ansible_collections.podsmith.gpu.plugins.module_utils._build.progress import ATTEMPT

RECENT = 400  # lines of the log in which a cause is looked for: what configured long before had other troubles

_ERROR = re.compile(
    r"error|fatal|killed|undefined reference|no space left|not found|no such file|no module named|terminated|traceback",
    re.IGNORECASE,
)
_NOISE = re.compile(
    r"^(?:×|╰|│|note: |hint: |\[end of output\]|ninja: build stopped|error: subprocess-exited|"
    r"ERROR: Failed (?:to )?build|Traceback|raise |subprocess\.CalledProcessError|The above exception|"
    r"Preparing metadata|error: metadata-generation-failed|Building wheel for |-- )"
)


class Cause(NamedTuple):
    """Why a build failed and what to do, each a part of a sentence in lower case, without a full stop."""

    cause: str
    remedy: str


# What compilers, ninja, pip and the kernel say, what it means, and what helps. The first that is found counts.
CAUSES: tuple[tuple[str, str, str], ...] = (
    (
        (
            r"Killed signal|signal 9|\bKilled\b|died (?:due to|with) signal|Cannot allocate memory|out of memory"
            r"|std::bad_alloc|virtual memory exhausted|exit(?:ed)? (?:code|status):? (?:137|-9)\b"
        ),
        "out of memory with {jobs} parallel compilers: one was killed",
        "lower MAX_JOBS to {fewer} or less, or add memory",
    ),
    (
        r"No space left on device|Disk quota exceeded",
        "the disk is full",
        "free up space, or set pytorch_source_work_dir to a larger file system",
    ),
    (
        r"Unsupported gpu architecture '(?P<what>[\w]+)'|'(?P<what2>(?:compute|sm)_\w+)' is not in 'keyword",
        "this nvcc does not support {what}",
        "use a newer toolkit, or remove that architecture from TORCH_CUDA_ARCH_LIST",
    ),
    (
        r"exception specification is incompatible with that of previous function \"(?P<what>\w+)",
        "the host's glibc declares {what} differently from this toolkit's headers, so that nothing compiles with them",
        "use a newer CUDA release, or a host with an older glibc; another g++ changes nothing",
    ),
    (
        r"unsupported (?P<what>GNU|clang) version",
        "this nvcc does not support the host's C++ compiler ({what}): it is too new",
        (
            "install an older one and set NVCC_CCBIN, CUDAHOSTCXX, CXX and CC to it in the build's environment, or use"
            " a newer toolkit"
        ),
    ),
    (
        r"detected CUDA version.*mismatches the version that was used to compile",
        "nvcc and PyTorch have different CUDA major versions",
        "set cuda_home to a toolkit of the CUDA major version that PyTorch was built for",
    ),
    (
        r"Python\.h: No such file",
        "the headers of this Python are missing",
        "install its development package, such as python3-dev",
    ),
    (
        r"No module named '?(?P<what>setuptools|wheel|ninja|packaging|numpy|torch|cmake|pybind11|triton|yaml)\b'?",
        "the Python package {what} is not installed in the build's environment",
        "add it to the build's build_requires",
    ),
    (
        (
            r"nvcc: not found|No such file or directory: '\S*nvcc'|CUDA_HOME environment variable is not set"
            r"|Could not find nvcc"
            r"|Failed to find nvcc|CMAKE_CUDA_COMPILER could be found"
        ),
        "nvcc was not found",
        "install the toolkit, or set the build's cuda_home to its folder",
    ),
    (
        (
            r"(?:command '?|unable to execute '?|/bin/sh: \d*:? ?|No such file or directory: ')"
            r"(?P<what>\S*?(?:g\+\+|gcc|cc|c\+\+|clang\+\+|clang))"
            r"'?(?: failed: No such file|: not found|:? No such file or directory|')"
        ),
        "no C++ compiler ({what}) was found",
        "install g++ on the host, or add it to pytorch_source_system_packages",
    ),
    (
        r"CMake (?P<what>[\d.]+) or higher is required",
        "CMake {what} or newer is required",
        "add cmake to the build's build_requires",
    ),
    (
        r"No CMAKE_MAKE_PROGRAM|[Nn]inja.* (?:not found|is required)|No such file or directory: '(?:\S*/)?ninja'",
        "ninja was not found",
        "add ninja to the build's build_requires",
    ),
    (
        r"^\s+CUDA::(?P<what>\w+)$",
        "the toolkit has no CUDA::{what}, which the project links against",
        "install the toolkit's development package; the libcuda stub (CUDA::cuda_driver) is in cuda-driver-dev",
    ),
    (
        r"cannot find -l(?P<what>\w+)",
        "the linker did not find lib{what}",
        "install its development package; for libcuda set LIBRARY_PATH to the toolkit's stubs folder",
    ),
    (
        r"fatal error: (?P<what>\S+\.(?:h|hpp|cuh)): No such file",
        "the header {what} is missing",
        "install the package that contains it; if it belongs to a submodule, set the origin's submodules to true",
    ),
    (
        r"couldn't find remote ref (?P<what>\S+)|Remote branch (?P<what2>\S+) not found",
        "the repository has no {what}",
        "check the origin's ref",
    ),
    (
        (
            r"Could not resolve host|unable to connect|Connection refused|Connection timed out|Network is unreachable"
            r"|unable to access|Could not read from remote repository|repository \S+ not found"
            r"|Temporary failure in name resolution|<url\w+ error|HTTP Error \d+"
        ),
        "the source code could not be downloaded",
        "set pytorch_source_mirrors to a mirror that this host can reach",
    ),
    (
        r"No matching distribution found for (?P<what>\S+)",
        "the host's package index has no source distribution of {what}",
        "configure an index that has it in the host's pip configuration, or use another origin",
    ),
    (r"podsmith: (?!runs |fetches )(?P<what>.+)", "{what}", "correct the build's entry"),
)


def find_cause(log: str, *, jobs: int | None) -> Cause | None:
    """The known cause that the last attempt's log shows; None where there is none. ``jobs`` is what MAX_JOBS was."""
    text = "\n".join(last_attempt(log)[-RECENT:])
    for pattern, cause, remedy in CAUSES:
        for match in re.finditer(pattern, text, re.MULTILINE):
            groups = match.groupdict()
            what = next((value for value in groups.values() if value), "")
            fewer = max(1, (jobs or 2) // 2)
            words = {"what": what.strip("'\":;,. "), "jobs": jobs or "so many", "fewer": fewer}
            return Cause(cause.format(**words), remedy.format(**words))
    return None


def last_attempt(log: str) -> list[str]:
    """The lines of the log since the build was started last."""
    before, attempt, after = log.rpartition(ATTEMPT)
    return after.splitlines()[1:] if attempt else (before or after).splitlines()


def last_errors(log: str, count: int = 3) -> list[str]:
    """The lines of the last attempt's log that say what went wrong, the earliest of the last ones first."""
    lines = [line.strip() for line in last_attempt(log) if line.strip()]
    errors = [line for line in lines if _ERROR.search(line) and not _NOISE.match(line) and not line.startswith("[")]
    after = dict(zip(lines, lines[1:]))  # what CMake found wrong stands below the place where it did
    errors = [f"{line} {after.get(line, '')}" if line.startswith("CMake Error") else line for line in errors]
    chosen = list(dict.fromkeys(errors))[-count:] or lines[-count:]
    return [line[:300] for line in chosen]


def explain(name: str, log: str, *, path: str, jobs: int | None, code: int | None, step: str) -> str:
    """The whole error of a failed build: why, the last error lines, what to do, and where the whole log is.

    :param code: exit status of the command that failed; None where the build was killed from outside.
    """
    cause = find_cause(log, jobs=jobs)
    if cause:
        reason, remedy = cause.cause, cause.remedy
    elif code is None:
        reason, remedy = f"the {step} step was killed (check dmesg for the OOM killer)", ""
    else:
        reason = f"the {step} step exited with status {code}"
        remedy = "read the log and correct the build's environment"
    advice = f" {remedy[0].upper()}{remedy[1:]}." if remedy else ""
    return (
        f"Building {name} failed: {reason}. Last errors: {' | '.join(last_errors(log))}.{advice} The full log is {path}"
        " on this host. Rerun to resume: what is compiled stays."
    )
