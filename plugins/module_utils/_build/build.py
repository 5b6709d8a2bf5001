# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a build from source is to do, how far it is by its log, and why it failed. Nothing here touches a host."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import normalise

ATTEMPT = "podsmith: attempt "  # begins the line in the log that each start of a build writes
KINDS = ("pypi", "archive", "git")
KEYS = (
    *("name", "version", "origin", "requirement", "environment", "build_requires", "torch", "python", "cuda_home"),
    *("system_packages", "architectures", "links", "jobs", "steps", "minutes", "disk_mib", "fetch_mib", "key", "wheel"),
    "pending",
)
GIB_A_JOB = 2  # what a compiler of templates and kernels needs, about
RECENT = 400  # lines of the log in which a cause is looked for: what configured long before had other troubles

_STEP = re.compile(r"^\s*(?:\S+ )?\[(?P<done>\d+)/(?P<total>\d+)\] ", re.MULTILINE)
_PERCENT = re.compile(r"^\s*\[ *(?P<percent>\d+)%\] ", re.MULTILINE)
_COUNT = re.compile(rf"{_STEP.pattern}|{_PERCENT.pattern}|^(?P<attempt>{re.escape(ATTEMPT)})", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"[0-9][\w.!+-]*")
_VARIABLE = re.compile(r"[A-Za-z_]\w*")
_KEY = re.compile(r"[0-9a-f]{8,64}")
_REF = re.compile(r"[\w][\w./+-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_URL = re.compile(r"(?:https?|git|ssh|file)://\S+|/\S+")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ARCHITECTURE = re.compile(r"(?P<major>\d+)\.(?P<minor>\d)(?P<suffix>[af]?)(?:\+PTX)?")
_SPEAKS = re.compile(
    r"error|fatal|killed|undefined reference|no space left|not found|no such file|no module named|terminated|traceback",
    re.IGNORECASE,
)
_NOISE = re.compile(
    r"^(?:×|╰|│|note: |hint: |\[end of output\]|ninja: build stopped|error: subprocess-exited|"
    r"ERROR: Failed (?:to )?build|Traceback|raise |subprocess\.CalledProcessError|The above exception|"
    r"Preparing metadata|error: metadata-generation-failed|Building wheel for |-- )"
)


class Progress(NamedTuple):
    """How far a build is. ``total`` counts what earlier attempts did, too; 0: nothing is counted yet."""

    done: int = 0
    total: int = 0
    skipped: int = 0  # steps that this attempt found done
    before: int = 0  # steps of counters that have come to their end in this attempt
    last: int = 0  # of the counter at work
    size: int = 0  # the same counter's total; 0 before the first step of an attempt


class Cause(NamedTuple):
    """Why a build failed, as far as its log tells, and what to do."""

    cause: str
    remedy: str


# What compilers, ninja, pip and the kernel say, what it means, and what helps. The first that is found counts.
CAUSES: tuple[tuple[str, str, str], ...] = (
    (
        (
            r"Killed signal|signal 9|\bKilled\b|died (?:due to|with) signal|Cannot allocate memory|out of memory"
            r"|std::bad_alloc|virtual memory exhausted|exit(?:ed)? (?:code|status):? (?:137|-9)\b"
        ),
        "the memory did not suffice for {jobs} compilers at once: one was killed",
        "lower MAX_JOBS, to {fewer} or less, or add memory; what is compiled already stays",
    ),
    (
        r"No space left on device|Disk quota exceeded",
        "the disk is full",
        "free space, or set pytorch_source_work_dir to a larger file system",
    ),
    (
        r"Unsupported gpu architecture '(?P<what>[\w]+)'|'(?P<what2>(?:compute|sm)_\w+)' is not in 'keyword",
        "this nvcc does not know {what}",
        "choose a newer toolkit, or leave that architecture out of TORCH_CUDA_ARCH_LIST",
    ),
    (
        r"unsupported GNU version|gcc versions later than \d+ are not supported",
        "this nvcc refuses the host's C++ compiler as too new",
        "install an older g++ and name it in the build's environment as CXX and CUDAHOSTCXX, or choose a newer toolkit",
    ),
    (
        r"detected CUDA version.*mismatches the version that was used to compile",
        "nvcc and PyTorch are of different CUDA majors",
        "choose a toolkit of PyTorch's own CUDA major as cuda_home",
    ),
    (
        r"Python\.h: No such file",
        "the headers of this Python are missing",
        "install its development package, such as python3-dev",
    ),
    (
        r"No module named '?(?P<what>setuptools|wheel|ninja|packaging|numpy|torch|cmake|pybind11|triton|yaml)\b'?",
        "the Python package {what} is missing from the build's environment",
        "add it to the build's build_requires",
    ),
    (
        (
            r"nvcc: not found|No such file or directory: '\S*nvcc'|CUDA_HOME environment variable is not set"
            r"|Could not find nvcc"
            r"|Failed to find nvcc|CMAKE_CUDA_COMPILER could be found"
        ),
        "the build did not find nvcc",
        "install the toolkit, or name its folder as the build's cuda_home",
    ),
    (
        (
            r"(?:command '?|unable to execute '?|/bin/sh: \d*:? ?|No such file or directory: ')"
            r"(?P<what>\S*?(?:g\+\+|gcc|cc|c\+\+|clang\+\+|clang))"
            r"'?(?: failed: No such file|: not found|:? No such file or directory|')"
        ),
        "there is no C++ compiler ({what})",
        "install g++ on the host, or list it in pytorch_source_system_packages",
    ),
    (
        r"CMake (?P<what>[\d.]+) or higher is required",
        "CMake {what} or newer is wanted",
        "add cmake to the build's build_requires",
    ),
    (
        r"No CMAKE_MAKE_PROGRAM|[Nn]inja.* (?:not found|is required)|No such file or directory: '(?:\S*/)?ninja'",
        "there is no ninja",
        "add ninja to the build's build_requires",
    ),
    (
        r"^\s+CUDA::(?P<what>\w+)$",
        "the toolkit lacks CUDA::{what}, which the project links",
        "install the toolkit's development package; libcuda's stub, for CUDA::cuda_driver, is in cuda-driver-dev",
    ),
    (
        r"cannot find -l(?P<what>\w+)",
        "the linker did not find lib{what}",
        "install the development package that holds it; for libcuda set LIBRARY_PATH to the toolkit's stubs",
    ),
    (
        r"fatal error: (?P<what>\S+\.(?:h|hpp|cuh)): No such file",
        "the header {what} is missing",
        "install the package that brings it; where it belongs to a submodule, set the origin's submodules to true",
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
        "the source could not be fetched",
        "name a mirror that this host reaches in pytorch_source_mirrors",
    ),
    (
        r"No matching distribution found for (?P<what>\S+)",
        "the host's package index has no source of {what}",
        "name an index that has it in the host's pip configuration, or another origin",
    ),
    (r"podsmith: (?!runs |fetches )(?P<what>.+)", "{what}", "correct the build's entry"),
)


def check_build(build: Mapping[str, Any]) -> list[str]:
    """What is wrong with a build's entry, one sentence each, in words that tell what is wanted."""
    name = str(build.get("name") or "")
    label = f"the build of {name}" if name else "a build"
    problems = []
    unknown = sorted(set(build) - set(KEYS))
    if unknown:
        problems.append(f"{label} has {', '.join(unknown)}; the keys are {', '.join(KEYS)}.")
    if not _NAME.fullmatch(name):
        problems.append(f"{label} has the name {name!r}; give the name of a Python package.")
    version = str(build.get("version") or "")
    if not _VERSION.fullmatch(version):
        problems.append(f"{label} has the version {version!r}; give an exact one.")
    problems += [f"{label}: {text}" for text in _check_origin(build.get("origin") or {})]
    python = build.get("python")
    if not (isinstance(python, Mapping) and str(python.get("path") or "").startswith("/")):
        problems.append(f"{label} has the python {python!r}; give {{path: /usr/bin/python3}}.")
    for variable, value in (build.get("environment") or {}).items():
        if not _VARIABLE.fullmatch(str(variable)) or "\n" in str(value) or "\0" in str(value):
            problems.append(
                f"{label} sets {variable!r}; a variable has letters, digits and _, and a value of one line."
            )
    wanted = str((build.get("environment") or {}).get("TORCH_CUDA_ARCH_LIST") or "")
    if [word for word in re.split(r"[;\s]+", wanted) if word and not _ARCHITECTURE.fullmatch(word)]:
        problems.append(
            f"{label} has TORCH_CUDA_ARCH_LIST {wanted!r}; write compute capabilities, with ; between them."
        )
    jobs = build.get("jobs")
    if jobs is not None and (not isinstance(jobs, int) or isinstance(jobs, bool) or jobs < 1):
        problems.append(f"{label} has {jobs!r} jobs; give a number from 1 on.")
    if build.get("links") and not (isinstance(python, Mapping) and python.get("version")):
        problems.append(
            f"{label} has links and a python without version; give it, as the place of the links is named by it."
        )
    key = build.get("key")
    if key is not None and not _KEY.fullmatch(str(key)):
        problems.append(f"{label} has the key {key!r}; give 16 hexadecimal digits, or leave it out.")
    return problems


def _check_origin(origin: Mapping[str, Any]) -> list[str]:
    kind, url = origin.get("kind"), origin.get("url")
    ref, sha256 = origin.get("ref"), origin.get("sha256")
    if kind not in KINDS:
        return [f"its origin is of the kind {kind!r}; choose {', '.join(KINDS)}."]
    problems = []
    if url is not None and not _URL.fullmatch(str(url)):
        problems.append(f"its origin has the url {url!r}; give https://…, git://…, ssh://…, file://… or a path.")
    if kind != "pypi" and url is None:
        problems.append(f"its origin is of the kind {kind} and has no url; name one.")
    if kind == "git" and (ref is None or not _REF.fullmatch(str(ref))):
        problems.append(f"its origin has the ref {ref!r}; give a tag, a branch or a whole commit.")
    if sha256 is not None and not _SHA256.fullmatch(str(sha256)):
        problems.append(f"its origin has the sha256 {sha256!r}; give 64 hexadecimal digits.")
    return problems


def content_key(build: Mapping[str, Any], host: Mapping[str, str]) -> str:
    """Sixteen digits for all that changes the bytes of the wheel: not the jobs, nor where things lie on this host.

    :param host: what the host adds: machine, C library, Python's tag, release of the toolkit.
    """
    environment = {
        name: str(value)
        for name, value in (build.get("environment") or {}).items()
        if name not in ("MAX_JOBS", "CMAKE_BUILD_PARALLEL_LEVEL")
    }
    parts = {
        "name": normalise(str(build["name"])),
        "version": build["version"],
        "origin": {name: value for name, value in (build.get("origin") or {}).items() if name != "sha256"},
        "environment": environment,
        "build_requires": sorted(build.get("build_requires") or []),
        "torch": build.get("torch"),
        "host": dict(host),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def mirrored(url: str, mirrors: Mapping[str, str]) -> str:
    """An address with its beginning replaced by the mirror's; of several that fit the longest counts."""
    for begin in sorted(mirrors, key=len, reverse=True):
        if url.startswith(begin):
            return mirrors[begin] + url[len(begin) :]
    return url


def plan_steps(build: Mapping[str, Any], work: str, mirrors: Mapping[str, str]) -> list[dict[str, Any]]:
    """The steps of a build for the program that runs it detached.

    Each step has ``commands``; a command is a list of ways, of which the first that succeeds counts. A step with
    ``once`` is not done again when the build is resumed.
    """
    origin, python = build["origin"], f"{work}/environment/bin/python"
    source, part = f"{work}/source", f"{work}/source.part"
    unpack: dict[str, Any] = {"name": "fetch", "once": True, "commands": [], "unpack": f"{work}/download", "to": source}
    unpack["sha256"] = origin.get("sha256")
    if origin["kind"] == "git":
        fetch = {
            "name": "fetch",
            "once": True,
            "commands": git_commands(origin, part, mirrors),
            "rename": [part, source],
        }
    elif origin["kind"] == "archive" or origin.get("url"):
        fetch = {**unpack, "download": mirrored(str(origin["url"]), mirrors)}
    else:
        options = ["--no-deps", "--no-build-isolation", "--no-input", "--no-binary", str(build["name"])]
        wanted = build.get("requirement") or f"{build['name']}=={build['version']}"
        fetch = {
            **unpack,
            "commands": [[[python, "-m", "pip", "download", *options, "--dest", f"{work}/download", wanted]]],
        }
    wheel = [python, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-input", "-v"]
    return [fetch, {"name": "build", "commands": [[[*wheel, "--wheel-dir", f"{work}/out", source]]]}]


def git_commands(origin: Mapping[str, Any], folder: str, mirrors: Mapping[str, str]) -> list[list[list[str]]]:
    """Bring one revision with its submodules, without history; an interrupted one goes on where it stopped."""
    ref, url = str(origin["ref"]), mirrored(str(origin["url"]), mirrors)
    instead = [word for begin, mirror in sorted(mirrors.items()) for word in ("-c", f"url.{mirror}.insteadOf={begin}")]
    # Since a hole was closed in 2022 git follows no path from a submodule; here it is the user's own wish.
    git = [
        "git",
        *instead,
        *(["-c", "protocol.file.allow=always"] if url.startswith(("/", "file:")) else []),
        "-C",
        folder,
    ]
    tag = [*git, "fetch", "--depth", "1", "--force", url, f"refs/tags/{ref}:refs/tags/{ref}"]
    other = [*git, "fetch", "--depth", "1", url, ref]
    commands = [
        [["git", "init", "--quiet", folder]],
        [[*git, "config", "remote.origin.url", url]],  # what relative addresses of submodules refer to
        [other] if _COMMIT.fullmatch(ref) else [tag, other],
        [[*git, "checkout", "--quiet", "--force", "--detach", "FETCH_HEAD"]],
    ]
    if origin.get("submodules"):
        update = [*git, "submodule", "update", "--init", "--recursive", "--force", "--jobs", "4"]
        commands.append([[*update, "--depth", "1"], update])
    return commands


def build_environment(
    build: Mapping[str, Any],
    work: str,
    outer: Mapping[str, str],
    *,
    site: str,
    adopt: str | None,
    ccache: str | None,
    ccache_links: str | None,
    cache: str,
) -> dict[str, str]:
    """The whole environment that a build sees.

    :param outer: the environment of the one who asks, of which the ways to the network, home and language stay.
    :param site: its own site-packages, which ``{site}`` in a value stands for.
    :param adopt: the site-packages whose packages its own environment adopts.
    :param ccache: path of ccache, where the host has one.
    :param ccache_links: folder in which compilers' names lead to ccache.
    :param cache: folder of all caches.
    """
    kept = ("HOME", "USER", "LOGNAME", "LANG", "TMPDIR", "http_proxy", "https_proxy", "no_proxy", "all_proxy")
    found = {
        name: value
        for name, value in outer.items()
        if name in kept or name.lower() in kept or name.startswith(("PIP_", "SSL_", "GIT_", "CURL_", "REQUESTS_"))
    }
    folders = [f"{work}/environment/bin", *([ccache_links] if ccache_links else [])]
    # What is adopted counts as there, ninja and cmake too; their programs lie beside: lib/python3.x/site-packages, bin.
    folders += [f"{adopt.rstrip('/').rsplit('/', 3)[0]}/bin"] if adopt else []
    cuda = build.get("cuda_home")
    folders += [f"{cuda}/bin"] if cuda else []
    usual = outer.get("PATH") or "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    found.update(
        PATH=":".join([*folders, usual]),
        VIRTUAL_ENV=f"{work}/environment",
        PYTHONUNBUFFERED="1",
        PIP_DISABLE_PIP_VERSION_CHECK="1",
        GIT_TERMINAL_PROMPT="0",
        SKBUILD_BUILD_DIR=f"{work}/cmake",  # where scikit-build-core builds, instead of a folder that goes away
        LC_ALL="C.UTF-8",
    )
    if cuda:
        found.update(CUDA_HOME=str(cuda), CUDA_PATH=str(cuda), CUDACXX=f"{cuda}/bin/nvcc")
    if build.get("jobs"):
        found.update(MAX_JOBS=str(build["jobs"]), CMAKE_BUILD_PARALLEL_LEVEL=str(build["jobs"]))
    if ccache:
        found.update({f"CMAKE_{language}_COMPILER_LAUNCHER": ccache for language in ("C", "CXX", "CUDA")})
        found["CCACHE_DIR"] = f"{cache}/ccache"
        if cuda:
            found["PYTORCH_NVCC"] = f"{ccache} {cuda}/bin/nvcc"  # what torch.utils.cpp_extension calls
    own = (build.get("environment") or {}).items()
    found.update({str(name): str(value).replace("{site}", site) for name, value in own})
    return found


def links_of(build: Mapping[str, Any]) -> dict[str, str]:
    """The links that a build's environment needs in its site-packages, relative to the environment."""
    minor = ".".join(str((build.get("python") or {}).get("version") or "").split(".")[:2])
    links = (build.get("links") or {}).items()
    return {f"lib/python{minor}/site-packages/{path}": str(target) for path, target in links}


# How far it is


def scan(text: str, progress: Progress) -> Progress:
    """Go on with what a further piece of the log counts: ninja's ``[123/1921]`` or make's ``[ 12%]``.

    A resumed build counts only what is left: what earlier attempts did is what its first total lacks. A smaller counter
    after one that came to its end adds to it (several extensions in one project); one inside of another is part of it.
    """
    now = progress
    for match in _COUNT.finditer(text):
        if match["attempt"]:
            now = Progress(done=now.done, total=now.total)
            continue
        last, size = (int(match["done"]), int(match["total"])) if match["total"] else (int(match["percent"]), 100)
        if size < now.size and now.last < now.size:
            continue
        before = now.before
        if now.size and last < now.last:
            before += now.last if now.last == now.size else 0
        first = not now.size
        skipped = max(0, now.total - size) if first else now.skipped
        total = max(now.total, skipped + before + size)
        now = Progress(min(total, skipped + before + last), total, skipped, before, last, size)
    return now


def seconds_left(samples: Sequence[tuple[float, int]], total: int, *, minutes: float | None) -> float | None:
    """About how long a build still takes: by the pace of its newer half, before there is one by the plan's estimate.

    :param samples: seconds since this attempt began and steps done, in order.
    :param minutes: the plan's estimate for the whole.
    """
    if not samples:
        return None
    now, done = samples[-1]
    begun = [sample for sample in samples if sample[0] <= now / 2] or list(samples[:1])
    then, before = begun[-1]
    if total and done > before and now > then:
        return (total - done) * (now - then) / (done - before)
    return max(0.0, minutes * 60 - now) if minutes and not samples[-1][1] else None


def describe(name: str, progress: Progress, *, phase: str, seconds: float, left: float | None) -> str:
    """One line on how far a build is: ``torch 2.13.0: 123 of 1921 steps, 4 min, about 18 min left``."""
    counted = (
        f"{progress.done} of {progress.total} steps"
        if progress.total and phase == "build"
        else PHASES.get(phase, phase)
    )
    words = [counted, duration(seconds), *([f"about {duration(left)} left"] if left is not None else [])]
    return f"{name}: {', '.join(words)}"


PHASES = {"fetch": "fetching the source", "build": "preparing the build", "store": "keeping the wheel"}


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def interval(looks: int) -> float:
    """Seconds until the next look: often at first, once a minute in a long build."""
    return min(60.0, 2.0 * 1.4**looks)


# Whether it can, and why it did not


def wanted_code(architectures: str) -> list[str]:
    """What a TORCH_CUDA_ARCH_LIST asks nvcc for: ``9.0a;12.0+PTX`` is sm_90a and sm_120."""
    found = (_ARCHITECTURE.fullmatch(word) for word in re.split(r"[;\s]+", architectures))
    return [f"sm_{match['major']}{match['minor']}{match['suffix']}" for match in found if match]


def unknown_code(architectures: str, listed: Iterable[str]) -> list[str]:
    """Which of these nvcc does not compile for, by what its ``--list-gpu-code`` says; it leaves suffixes out."""
    known = {code.rstrip("af") for code in listed}
    return [code for code in wanted_code(architectures) if known and code.rstrip("af") not in known]


def check_memory(jobs: int | None, available_gib: float | None) -> str | None:
    """A word of warning where the memory is little for so many compilers at once."""
    if not jobs or available_gib is None or available_gib >= jobs * GIB_A_JOB / 2:
        return None
    fitting = max(1, int(available_gib // GIB_A_JOB))
    return (
        f"{jobs} compilers at once want about {jobs * GIB_A_JOB} GiB of memory, {available_gib:.0f} GiB are free; where"
        f" the build is killed, set MAX_JOBS to {fitting}."
    )


def find_cause(log: str, *, jobs: int | None) -> Cause | None:
    """What the last attempt's log says of a failure, where that is a known one."""
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
    speaking = [line for line in lines if _SPEAKS.search(line) and not _NOISE.match(line) and not line.startswith("[")]
    after = dict(zip(lines, lines[1:]))  # what CMake found wrong stands below the place where it did
    speaking = [f"{line} {after.get(line, '')}" if line.startswith("CMake Error") else line for line in speaking]
    chosen = list(dict.fromkeys(speaking))[-count:] or lines[-count:]
    return [line[:300] for line in chosen]


def explain(name: str, log: str, *, path: str, jobs: int | None, code: int | None, step: str) -> str:
    """The whole error of a failed build: the cause, the last error lines, where the log is, what to do."""
    cause = find_cause(log, jobs=jobs)
    ended = "was killed" if code is None else f"ended with status {code}"
    reason = cause.cause if cause else f"the step {step} {ended}"
    said = " | ".join(last_errors(log))
    advice = (
        "where nobody did that, see the kernel's log"
        if code is None
        else "read the log and correct the build's environment"
    )
    remedy = cause.remedy if cause else advice
    return (
        f"{name} was not built: {reason}. It said: {said}. The whole log is {path} on this host; {remedy}, and run"
        " again: it goes on from there."
    )
