# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a build is to do: its entry checked, its key, its steps and variables. Nothing here touches a host."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import normalise

KINDS = ("pypi", "archive", "git")
KEYS = (
    *("name", "version", "origin", "requirement", "environment", "build_requires", "torch", "python", "cuda_home"),
    *("system_packages", "architectures", "links", "jobs", "steps", "minutes", "disk_mib", "fetch_mib", "key", "wheel"),
    "pending",
)
PARALLELISM = ("MAX_JOBS", "CMAKE_BUILD_PARALLEL_LEVEL", "NVCC_THREADS")  # variables that change no byte

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"[0-9][\w.!+-]*")
_VARIABLE = re.compile(r"[A-Za-z_]\w*")
_KEY = re.compile(r"[0-9a-f]{8,64}")
_REF = re.compile(r"[\w][\w./+-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_URL = re.compile(r"(?:https?|git|ssh|file)://\S+|/\S+")
_SHA256 = re.compile(r"[0-9a-f]{64}")
ARCHITECTURE = re.compile(r"(?P<major>\d+)\.(?P<minor>\d)(?P<suffix>[af]?)(?:\+PTX)?")


def check_build(build: Mapping[str, Any]) -> list[str]:
    """What is wrong with a build's entry, one sentence each: what was found, and what was expected."""
    name = str(build.get("name") or "")
    label = f"the build of {name}" if name else "a build"
    problems = []
    unknown = sorted(set(build) - set(KEYS))
    if unknown:
        problems.append(f"{label} has unknown keys ({', '.join(unknown)}); expected only {', '.join(KEYS)}.")
    if not _NAME.fullmatch(name):
        problems.append(f"{label}: name is {_show(name)}; expected the name of a Python package.")
    version = str(build.get("version") or "")
    if not _VERSION.fullmatch(version):
        problems.append(f"{label}: version is {_show(version)}; expected an exact version.")
    problems += [f"{label}: {text}" for text in _check_origin(build.get("origin") or {})]
    python = build.get("python")
    if not (isinstance(python, Mapping) and str(python.get("path") or "").startswith("/")):
        problems.append(f"{label}: python is {_show(python)}; expected a mapping such as {{path: /usr/bin/python3}}.")
    for variable, value in (build.get("environment") or {}).items():
        if not _VARIABLE.fullmatch(str(variable)):
            problems.append(
                f"{label}: environment has the variable {_show(variable)}; expected letters, digits and _ alone."
            )
        elif "\n" in str(value) or "\0" in str(value):
            problems.append(f"{label}: {variable} in environment is {_show(value)}; expected a single line.")
    wanted = str((build.get("environment") or {}).get("TORCH_CUDA_ARCH_LIST") or "")
    if [word for word in re.split(r"[;\s]+", wanted) if word and not ARCHITECTURE.fullmatch(word)]:
        problems.append(
            f"{label}: TORCH_CUDA_ARCH_LIST is {_show(wanted)}; expected compute capabilities separated by ;."
        )
    jobs = build.get("jobs")
    if jobs is not None and (not isinstance(jobs, int) or isinstance(jobs, bool) or jobs < 1):
        problems.append(f"{label}: jobs is {_show(jobs)}; expected a whole number, at least 1.")
    if build.get("links") and not (isinstance(python, Mapping) and python.get("version")):
        problems.append(
            f"{label} has links, but its python has no version; expected one, as the links' folder needs it."
        )
    key = build.get("key")
    if key is not None and not _KEY.fullmatch(str(key)):
        problems.append(f"{label}: key is {_show(key)}; expected 16 hexadecimal digits, or no key.")
    return problems


def _check_origin(origin: Mapping[str, Any]) -> list[str]:
    kind, url = origin.get("kind"), origin.get("url")
    ref, sha256 = origin.get("ref"), origin.get("sha256")
    if kind not in KINDS:
        return [f"origin.kind is {_show(kind)}; expected one of {', '.join(KINDS)}."]
    problems = []
    if url is not None and not _URL.fullmatch(str(url)):
        problems.append(f"origin.url is {_show(url)}; expected https://…, git://…, ssh://…, file://… or a path.")
    if kind != "pypi" and url is None:
        problems.append(f"origin.url is missing; expected one, as origin.kind is {_show(kind)}.")
    if kind == "git" and (ref is None or not _REF.fullmatch(str(ref))):
        problems.append(f"origin.ref is {_show(ref)}; expected a tag, a branch or a full commit hash.")
    if sha256 is not None and not _SHA256.fullmatch(str(sha256)):
        problems.append(f"origin.sha256 is {_show(sha256)}; expected 64 hexadecimal digits.")
    return problems


def _show(value: Any) -> str:
    """A value as a sentence quotes it: on one line, and not all of a long one."""
    return "missing" if value is None else json.dumps(value, ensure_ascii=False, default=str)[:80]


def wheel_key(build: Mapping[str, Any], platform: Mapping[str, Any]) -> str:
    """Sixteen hexadecimal digits of all that changes the bytes of a wheel; the one rule, for plans and hosts.

    Not counted are how many compilers made it and where things lie on the host.

    :param build: of an entry what is known: name, version, origin, and where given environment, torch, build_requires.
    :param platform: what the build is for, such as Python, CUDA, machine and C library; all of it counts.
    """
    counted = {name: build[name] for name in ("torch", "environment") if name in build}
    if "environment" in counted:
        counted["environment"] = {
            name: str(value) for name, value in (build["environment"] or {}).items() if name not in PARALLELISM
        }
    if build.get("build_requires"):
        counted["build_requires"] = sorted(build["build_requires"])
    content = {
        "name": normalise(str(build["name"])),
        "version": build["version"],
        "origin": identify_origin(build.get("origin") or {}),
        **counted,
        **platform,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def identify_origin(origin: Mapping[str, Any]) -> list[str | None]:
    """What tells the content of a source from another: ``[kind of an index's release, ref, sha256]``.

    An address counts, as a fourth, only where nothing else settles what comes from it: neither a checksum nor a commit.
    So a mirror of a release gives the same wheel, and a fork with a branch of the same name another one.
    """
    kind, ref, sha256 = (origin.get(name) for name in ("kind", "ref", "sha256"))
    found = [kind if kind == "pypi" else None, ref, sha256]
    settled = sha256 or _COMMIT.fullmatch(str(ref))
    return found if settled or not origin.get("url") else [*found, str(origin["url"])]


def mirrored(url: str, mirrors: Mapping[str, str]) -> str:
    """An address with its beginning replaced by the mirror's; of several that match the longest counts."""
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
    found.pop("PIP_BUILD_CONSTRAINT", None)  # of isolated builds; pip refuses it where a build is none, as here
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
