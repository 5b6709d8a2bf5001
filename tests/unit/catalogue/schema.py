# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the rows of catalogue/ must hold, and what in them must agree; whoever changes a row is told by ``validate``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue, Section
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.devices import TEGRA, VGPU
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import (
    LOADINGS,
    NCCL_LEVELS,
    SETTING_WORDS,
    Settings,
)


@dataclass(frozen=True)
class Kind:
    """A kind of value: how a sentence names it, whether a value is of it, and whether a row must have one."""

    words: str
    fits: Callable[[Any], bool]
    required: bool = True


def _pattern(words: str, pattern: str) -> Kind:
    return Kind(words, lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None)


def _is_version(value: object) -> bool:
    try:
        parse_version(str(value))
    except ValueError:
        return False
    return isinstance(value, str)


def _or_null(kind: Kind) -> Kind:
    return Kind(f"{kind.words} or null", lambda value: value is None or kind.fits(value))


def _optional(kind: Kind) -> Kind:
    return Kind(kind.words, kind.fits, required=False)


def _list(kind: Kind) -> Kind:
    return Kind(f"a list, each {kind.words}", lambda value: isinstance(value, list) and all(map(kind.fits, value)))


def _mapping(key: Kind, kind: Kind) -> Kind:
    return Kind(
        f"a mapping, each key {key.words}, each value {kind.words}",
        lambda value: isinstance(value, dict) and all(map(key.fits, value)) and all(map(kind.fits, value.values())),
    )


def _record(**kinds: Kind) -> Kind:
    return Kind(
        "a mapping of " + ", ".join(f"{name} ({kind.words})" for name, kind in kinds.items()),
        lambda value: (
            isinstance(value, dict)
            and value.keys() == kinds.keys()
            and all(kind.fits(value[name]) for name, kind in kinds.items())
        ),
    )


def _one_of(*values: str) -> Kind:
    return Kind(f"one of {', '.join(values)}", lambda value: value in values)


def _any_record(words: str, required: Mapping[str, Kind], optional: Mapping[str, Kind]) -> Kind:
    """A mapping that has all of some fields, and may have others."""
    fields_of = {**required, **optional}
    return Kind(
        words,
        lambda value: (
            isinstance(value, dict)
            and required.keys() <= value.keys() <= fields_of.keys()
            and all(fields_of[name].fits(one) for name, one in value.items())
        ),
    )


TEXT = Kind("text", lambda value: isinstance(value, str) and bool(value.strip()))
NUMBER = Kind("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0)
AMOUNT = Kind("a number above zero", lambda value: type(value) in (int, float) and value > 0)
SHARE = Kind("a share between 0 and 1", lambda value: isinstance(value, float) and 0 < value < 1)
BOOLEAN = Kind("true or false", lambda value: isinstance(value, bool))
VERSION = Kind("a version in quotes", _is_version)
RELEASE = _pattern("major.minor in quotes", r"\d+\.\d+")
SEVERITY = _one_of("ok", "note", "warning", "failure")
MONTH = _pattern('a month in quotes, such as "2026-09"', r"\d{4}-(0[1-9]|1[0-2])")
URL = _pattern("an https address", r"https://\S+")
SPECIFIER = _pattern("a specifier in quotes", r"((^|,)(==|!=|~=|>=|<=|>|<)[0-9][0-9a-z.]*(\.\*)?)*")
TAG = _pattern("a Python tag, such as cp312", r"(cp|py)\d+(-abi3)?")
ARCHITECTURE = _one_of("x86_64", "aarch64")
PACKAGE = _pattern("a package's name", r"[a-z0-9][a-z0-9.+{}-]*")
PACKAGES = _pattern("a pattern of packages' names, such as cuda-drivers*", r"[a-z0-9][][a-z0-9.+*-]*")
STREAM = _pattern("a stream of a dnf module", r"[a-z-]+:[a-z0-9{}-]+")
HEX = _pattern("four hexadecimal digits in quotes", r"[0-9a-f]{4}")
DIGITS = _pattern("digits in quotes", r"\d+")
NAME = _pattern("a name", r"[A-Za-z0-9][A-Za-z0-9 ._{}-]*")
CODE = _record(
    linux=_list(_pattern("a target, such as sm_90", r"sm_\d+")),
    ptx=_list(_pattern("a target of PTX, such as compute_90", r"compute_\d+")),
)
CASE = _pattern("a case of the benchmark, such as gemm/8192-fp16", r"[a-z_0-9]+/[A-Za-z0-9_*-]+")
VARIABLE = _pattern("a variable of the environment", r"[A-Z][A-Z0-9_]*")
WISH = _one_of("true", "false", *LOADINGS, *NCCL_LEVELS)
KINDS = ("bare_metal", "vm", "container", "wsl2", VGPU, TEGRA)
SWITCH = _pattern("a switch, such as USE_NCCL", r"[A-Z][A-Z0-9_]+")
REQUIREMENT = _pattern(
    "a requirement, such as ninja",
    r"[a-z][a-z0-9-]*((^|,|(?<=[a-z0-9]))(==|!=|~=|>=|<=|>|<)[0-9][0-9a-z.]*)*",
)
INDEX = _pattern("cpu or a name such as cu130 or nightly-cu132", r"(?:(?:test|nightly)-)?(?:cpu|cu\d+)")
CHANNEL = _one_of("test", "nightly")
BUILT_FOR = _pattern("an index or an architecture", r"cpu|cu\d+|aarch64|x86_64")

# A build of a package for another CUDA than its wheel's on PyPI, of one release, and of those from first to last.
_VARIANT = {
    "cuda": _or_null(RELEASE),
    "index": URL,
    "architectures": _list(ARCHITECTURE),
    "glibc": _or_null(RELEASE),
}
VARIANT = _record(**_VARIANT)
VARIANT_OF_RELEASES = _record(name=INDEX, first=VERSION, last=VERSION, **_VARIANT)
PTXAS = _record(legacy=RELEASE, blackwell=_or_null(RELEASE), blackwell_from=_or_null(RELEASE))

SENTENCES = Kind(
    "whole sentences",
    lambda value: isinstance(value, str) and re.fullmatch(r"[A-Z/].*[.]", value) is not None and ".." not in value,
)
SURE = _one_of("A", "B", "C")
PHRASE = Kind("words of one line", lambda value: isinstance(value, str) and value == " ".join(value.split()) != "")
CITED = _pattern("an address, or several", r"https://\S+(?:; https://\S+|, \d+|; measured on .+)*")
# What may be known where an error is met: module_utils/_verify/errors.py.
CONTEXT: Mapping[str, tuple[object, ...]] = {
    "where": ("probe", "program"),
    "kind": ("bare_metal", "vm", "container", "wsl2"),
    "engine": (
        "docker",
        "podman",
        "containerd",
        "cri-o",
        "lxc",
        "lxd",
        "incus",
        "systemd-nspawn",
        "apptainer",
        "gvisor",
    ),
    "flavor": ("open", "proprietary", "windows"),
    "compat_active": (True, False),
    "mig": (True, False),
    "slices": (0,),
    "model": ("NVIDIA GB10",),
    "consumer": (True, False),
    "visible": ("all", "hides", "repeats", "names"),
    "library": ("same", "older", "newer"),
    "device_files": ("present", "missing"),
}
CONDITIONS = Kind(
    "conditions, each a list of values that a context may have, or null",
    lambda value: (
        isinstance(value, dict)
        and all(
            key in CONTEXT
            and isinstance(allowed, list)
            and bool(allowed)
            and all(one is None or one in CONTEXT[key] for one in allowed)
            for key, allowed in value.items()
        )
    ),
)
CAUSE = _any_record(
    "a cause with when, cause, tell, remedy, sure and source",
    {"when": CONDITIONS, "cause": SENTENCES, "tell": SENTENCES, "remedy": SENTENCES, "sure": SURE, "source": CITED},
    {"words": _list(PHRASE), "decides": BOOLEAN},
)

# What to do about a reading of health: in general, and on a machine of one's own.
REMEDIES = {"remedy": TEXT, "remedy_own": _optional(TEXT)}

# What any row may have beside its own fields. source: where its values are read; confidence: A read or measured,
# B reported, C inferred.
COMMON = {"source": TEXT, "confidence": _optional(_one_of("A", "B", "C"))}

# File -> section -> the kind of its keys, and field -> kind. What the fields mean stands at the top of each file.
SCHEMA: Mapping[str, Mapping[str, tuple[Kind, Mapping[str, Kind]]]] = {
    "cuda": {
        "releases": (
            RELEASE,
            {
                "driver": _or_null(VERSION),
                "driver_windows": _or_null(VERSION),
                "updates": _list(VERSION),
                "least_driver": VERSION,
                "least_driver_windows": VERSION,
                "gpu_code": _list(NUMBER),
                "gcc": _or_null(_record(least=NUMBER, below=NUMBER)),
                "pypi": BOOLEAN,
                "sizes_mib": _mapping(_one_of("minimal_pypi", "minimal_apt", "full_apt", "compat"), NUMBER),
            },
        ),
        "math_functions": (NAME, {"glibc": RELEASE}),
        "host_compilers": (_one_of("gcc", "clang"), {"least": NUMBER}),
        "patch_packages": (PACKAGE, {"part": _one_of("nvcc", "cudart", "cccl", "nvrtc", "nvml")}),
        "components": (NAME, {"apt": _list(PACKAGE), "rpm": _list(PACKAGE), "pypi": _list(PACKAGE)}),
        "managers": (
            _one_of("apt", "dnf", "zypper"),
            {
                "provider": _one_of("apt", "rpm"),
                "program": NAME,
                "family": _one_of("debian", "redhat", "suse"),
                "compiler": _list(PACKAGE),
            },
        ),
        "forbidden": (PACKAGES, {"because": TEXT}),
        "bases": (NAME, {"url": URL}),
        "architectures": (ARCHITECTURE, {"folder": NAME, "package": NAME}),
        "repositories": (
            NAME,
            {
                "manager": _one_of("apt", "dnf", "zypper"),
                "os": _one_of("ubuntu", "debian", "rhel", "fedora", "amzn", "sles", "opensuse-leap"),
                "also": _optional(_list(_pattern("an ID of os-release", r"[a-z][a-z0-9._-]*"))),
                "version": _or_null(VERSION),
                "architectures": _list(ARCHITECTURE),
                "first_cuda": _or_null(RELEASE),
                "last_cuda": _or_null(RELEASE),
                "wsl": BOOLEAN,
            },
        ),
        "keys": (
            NAME,
            {
                "fingerprint": _pattern("40 hexadecimal digits", r"[0-9A-F]{40}"),
                "file": NAME,
                "keyring": _or_null(NAME),
            },
        ),
    },
    "drivers": {
        "branches": (DIGITS, {"cuda": RELEASE, "lts": BOOLEAN, "end": _optional(MONTH)}),
        "compat": (
            RELEASE,
            {
                "package": PACKAGE,
                "branch": NUMBER,
                "documented_branches": _list(NUMBER),
                "note_branches": _list(NUMBER),
                "brands": _list(NUMBER),
                "version": VERSION,
                "size_mib": NUMBER,
                "installed_mib": NUMBER,
            },
        ),
        "errors": (
            DIGITS,
            {
                "name": _pattern("a name of CUresult or cudaError_t", r"CUDA_ERROR_[A-Z_]+|cudaError[A-Za-z]+"),
                "also": _optional(_list(_pattern("a name of cudaError_t", r"cudaError[A-Za-z]+"))),
                "words": _optional(_list(PHRASE)),
                "vague": _optional(_list(PHRASE)),
                "cause": SENTENCES,
                "remedy": SENTENCES,
                "sure": SURE,
                "causes": _optional(_list(CAUSE)),
            },
        ),
        "packages": (
            NAME,
            {
                "os": _or_null(_one_of("ubuntu", "debian")),
                "repositories": _optional(_list(NAME)),
                "streams": _optional(_record(open=STREAM, proprietary=STREAM)),
                "lock": _optional(_pattern("a pattern of packages with {version}", r"[a-z*-]+-\{version\}")),
                "lock_package": _optional(PACKAGE),
                "first_branch": _or_null(NUMBER),
                "last_branch": _or_null(NUMBER),
                "open": _list(PACKAGE),
                "proprietary": _list(PACKAGE),
                "headers": PACKAGE,
            },
        ),
        "modules": (_one_of("open", "proprietary"), {"default_since": _or_null(NUMBER)}),
        "minor_version": (NAME, {"first_cuda": RELEASE, "first_branch": NUMBER, "what": PHRASE, "error": PHRASE}),
    },
    "gpus": {
        "brands": (DIGITS, {"name": NAME, "data_centre": BOOLEAN}),
        "capabilities": (
            RELEASE,
            {
                "architecture": NAME,
                "gpus": _list(TEXT),
                "first_cuda": _or_null(RELEASE),
                "last_cuda": _or_null(RELEASE),
                "least_driver": _or_null(VERSION),
                "least_driver_windows": _or_null(VERSION),
                "last_branch": _or_null(NUMBER),
                "tegra": BOOLEAN,
                "discrete_code": _optional(RELEASE),
                "open_module": _or_null(BOOLEAN),
                "arch_specific": _or_null(_pattern('a target in quotes, such as "9.0a"', r"\d+\.\da")),
            },
        ),
        "pci": (HEX, {"last": HEX, "compute_capability": RELEASE, "model": _optional(NAME)}),
        "models": (
            NAME,
            {
                "match": _one_of("exact", "part", "series"),
                "compute_capability": RELEASE,
                "brand_id": _or_null(NUMBER),
                "least_driver": _or_null(VERSION),
                "open_module": _optional(BOOLEAN),
            },
        ),
    },
    "pytorch": {
        "indexes": (
            INDEX,
            {"cuda": _or_null(RELEASE), "url": URL, "side": _optional(BOOLEAN), "channel": _optional(CHANNEL)},
        ),
        "releases": (
            VERSION,
            {
                "indexes": _mapping(INDEX, _mapping(ARCHITECTURE, CODE)),
                "pythons": _list(RELEASE),
                "glibc": RELEASE,
                "glibc_of": _optional(
                    _mapping(_pattern("an index or an architecture", r"cpu|cu\d+|aarch64|x86_64"), RELEASE)
                ),
                "date": _or_null(MONTH),
            },
        ),
        "sizes": (INDEX, {"download_mib": NUMBER, "installed_mib": NUMBER}),
    },
    "extensions": {
        "packages": (
            PACKAGE,
            {
                "index": _one_of("pypi", "pytorch"),
                "cuda": _or_null(_mapping(VERSION, _list(RELEASE))),
                "torch": _mapping(VERSION, SPECIFIER),
                "patches": _one_of("all", "newest", "distinct"),
                "wheels": BOOLEAN,
                "bundled": BOOLEAN,
                "least_capability": _or_null(RELEASE),
                "import": NAME,
                "ptx": _optional(_record(since=VERSION, capability=RELEASE, source=TEXT)),
                "first": _optional(VERSION),
                "of_cuda": _optional(_pattern("major.minor in quotes, or {version}", r"\d+\.\d+|\{version\}")),
                "library": _optional(TEXT),
                "extras": _optional(_mapping(DIGITS, NAME)),
                "variants": _optional(_list(VARIANT_OF_RELEASES)),
                "instead": _optional(TEXT),
                "apart": _optional(_mapping(PACKAGE, TEXT)),
                "needs_glibc": _optional(_record(since=VERSION, glibc=RELEASE, package=PACKAGE, source=TEXT)),
            },
        ),
        "alternatives": (PACKAGE, {"packages": _mapping(DIGITS, PACKAGE)}),
    },
    "cutlass": {
        "sources": (_one_of("git", "pypi"), {"url": _optional(URL), "package": _optional(PACKAGE)}),
        "architectures": (
            _pattern('a target in quotes, such as "9.0a"', r"\d+\.\da"),
            {"least_cuda": RELEASE, "least_cutlass": VERSION},
        ),
        "releases": (
            VERSION,
            {
                "tag": NAME,
                "commit": _or_null(_pattern("40 hexadecimal digits", r"[0-9a-f]{40}")),
                "pypi": _or_null(VERSION),
                "least_cuda": RELEASE,
                "size_mib": NUMBER,
            },
        ),
    },
    "health": {
        "xids": (DIGITS, {"name": TEXT, "severity": SEVERITY, "cause": TEXT, **REMEDIES}),
        "clock_reasons": (DIGITS, {"name": TEXT, "rest": SEVERITY, "load": SEVERITY, "cause": TEXT, **REMEDIES}),
        "recovery_actions": (DIGITS, {"name": TEXT, "severity": SEVERITY, **REMEDIES}),
        "process_limits": (
            NAME,
            {
                "what": _pattern("text with {value} in it", r".*\{value\}.*"),
                "too_little": NUMBER,
                "cause": TEXT,
                "remedy": TEXT,
                "remedy_container": TEXT,
            },
        ),
        "limits": (
            NAME,
            {
                "what": _pattern("text with {value} in it", r".*\{value\}.*"),
                "below": _optional(BOOLEAN),
                "note": _or_null(NUMBER),
                "warning": _or_null(NUMBER),
                "failure": _or_null(NUMBER),
                **REMEDIES,
            },
        ),
    },
    "platforms": {
        "jetson": (
            VERSION,
            {
                "jetpack": VERSION,
                "cuda": RELEASE,
                "driver": _or_null(VERSION),
                "least_branch": _or_null(NUMBER),
                "kernel": RELEASE,
                "os": VERSION,
                "capabilities": _list(RELEASE),
                "sbsa": BOOLEAN,
                "wheels": _or_null(URL),
                "wheels_python": _or_null(RELEASE),
            },
        ),
        "repositories": (
            NAME,
            {
                "url": URL,
                "os": _or_null(VERSION),
                "first": _or_null(RELEASE),
                "last": _or_null(RELEASE),
                "compat": _or_null(PACKAGE),
                "path": _or_null(_pattern("a folder with {cuda} in it", r"/.*\{cuda\}.*")),
            },
        ),
        "musl": (NAME, {"always": BOOLEAN}),
    },
    "devices": {
        "devices": (
            NAME,
            {
                "tflops": _record(
                    **{name: _or_null(AMOUNT) for name in ("fp64", "fp32", "tf32", "fp16", "bf16", "fp8")}
                ),
                "gb_per_s": _record(memory=AMOUNT, nvlink=_or_null(AMOUNT), pcie=AMOUNT),
                "power_w": NUMBER,
            },
        ),
        "floors": (
            CASE,
            {"of_reference": SHARE, "of_peak": SHARE, "peak": _optional(_one_of("memory", "nvlink", "pcie"))},
        ),
    },
    "benchmarks": {
        "references": (
            NAME,
            {
                "device": NAME,
                "torch": _or_null(VERSION),
                "driver": _or_null(VERSION),
                "date": _or_null(MONTH),
                "results": _mapping(CASE, AMOUNT),
            },
        ),
    },
    "settings": {
        "variables": (
            VARIABLE,
            {
                "setting": _one_of(*(field.name for field in fields(Settings))),
                "values": _mapping(WISH, TEXT),
                "what": _mapping(WISH, TEXT),
                "default": TEXT,
                "torch": _or_null(SPECIFIER),
                "unless": _list(VARIABLE),
                "unless_platform": _optional(
                    _mapping(WISH, _list(_record(kinds=_list(_one_of(*KINDS)), because=TEXT, source=CITED)))
                ),
            },
        ),
        "collectives": (_one_of(*(field.name for field in fields(Settings))), {"gpus": NUMBER, "told": TEXT}),
        "collective_faults": (
            NAME,
            {
                "torch": SPECIFIER,
                "capabilities": _or_null(_list(RELEASE)),
                "kinds": _or_null(_list(_one_of(*KINDS))),
                "gpus": NUMBER,
                "told": SENTENCES,
            },
        ),
        "assemblers": (
            RELEASE,
            {
                "ptxas": RELEASE,
                "newer": _or_null(_record(**{"from": RELEASE, "ptxas": RELEASE, "variable": _or_null(VARIABLE)})),
            },
        ),
        "programs": (
            _one_of(*(field.name for field in fields(Settings))),
            {"line": _pattern("text with {value} in it", r".*\{value\}.*"), "what": TEXT, "default": TEXT},
        ),
    },
    "source": {
        "features": (
            SWITCH,
            {
                "does": TEXT,
                "default": _or_null(BOOLEAN),
                "needs": _or_null(_one_of("cuda", "x86_64", "aarch64")),
                "first": _or_null(VERSION),
                "last": _or_null(VERSION),
            },
        ),
        "unreal": (SWITCH, {"because": TEXT}),
        "libraries": (VERSION, {"cuda": DIGITS, "packages": _mapping(PACKAGE, VERSION)}),
        "run_time": (DIGITS, {"extras": _list(NAME)}),
        "layouts": (PACKAGE, {"switch": SWITCH, "links": _mapping(TEXT, TEXT), "environment": _mapping(SWITCH, TEXT)}),
        "packages": (
            PACKAGE,
            {
                "kind": _one_of("pypi", "archive", "git"),
                "url": _or_null(URL),
                "ref": _or_null(TEXT),
                "submodules": BOOLEAN,
                "releases": _mapping(
                    VERSION,
                    _record(python=SPECIFIER, torch=SPECIFIER, sha256=_pattern("a sha256 sum", r"[0-9a-f]{64}")),
                ),
                "cxx17": _optional(_or_null(VERSION)),
                "cuda": _one_of("required", "optional"),
                "architectures": _mapping(SWITCH, _one_of("dotted", "digits")),
                "offers": _or_null(_list(RELEASE)),
                "least_capability": RELEASE,
                "environment": _mapping(SWITCH, TEXT),
                "build_requires": _list(REQUIREMENT),
                "components": _list(NAME),
                "tools": _list(PACKAGE),
                "optional_tools": _list(PACKAGE),
                "job_mib": NUMBER,
                "fetch_mib": NUMBER,
                "disk_mib": NUMBER,
                "steps": _or_null(NUMBER),
            },
        ),
        "headers": (VERSION, {"standard": NUMBER, "gcc": NUMBER, "clang": NUMBER}),
        "times": (NAME, {"package": PACKAGE, "cores": NUMBER, "architectures": NUMBER, "minutes": AMOUNT}),
    },
    "sizes": {"sizes": (NAME, {"mib": NUMBER, "disk_mib": NUMBER})},
    "costs": {
        "steps": (NAME, {"mib_per_minute": _or_null(AMOUNT), "minutes": _or_null(AMOUNT)}),
        "losses": (_one_of("native", "minor_version", "forward_compat", "fallback", "cpu"), {"what": PHRASE}),
    },
    "tools": {"tools": (PACKAGE, {"version": _or_null(VERSION), "size_mib": NUMBER, "for": TEXT})},
    "images": {
        "systems": (
            NAME,
            {
                "id": NAME,
                "version": TEXT,
                "codename": NAME,
                "family": _one_of("debian"),
                "glibc": VERSION,
                "python": RELEASE,
            },
        ),
        "bases": (RELEASE, {"tag": VERSION, "image": TEXT, "systems": _list(NAME)}),
    },
    "toolkits": {
        "generated": (_one_of("checksum"), {"sha256": _pattern("a sha256 sum", r"[0-9a-f]{64}")}),
        "headers": (
            VERSION,
            {
                "release": RELEASE,
                "gcc_below": _or_null(NUMBER),
                "clang_below": _or_null(NUMBER),
                "glibc_below": _or_null(RELEASE),
            },
        ),
        "patches": (VERSION, dict.fromkeys(("nvcc", "cudart", "cccl", "nvrtc", "nvml"), VERSION)),
    },
    "pypi": {"generated": (_one_of("checksum"), {"sha256": _pattern("a sha256 sum", r"[0-9a-f]{64}")})},
}

# The section packages of pypi.yml is one level deeper: package -> version -> row.
PYPI = {
    "python": _or_null(SPECIFIER),
    "tags": _mapping(ARCHITECTURE, _list(TAG)),
    "glibc": _or_null(RELEASE),
    "cuda": _or_null(RELEASE),
    "cuda_aarch64": _or_null(RELEASE),
    "requires": _mapping(PACKAGE, SPECIFIER),
    "size_mib": _mapping(ARCHITECTURE, NUMBER),
    "yanked": BOOLEAN,
    "glibc_aarch64": _optional(_or_null(RELEASE)),
    "variants": _optional(_mapping(INDEX, VARIANT)),
    "ptxas": _optional(PTXAS),
    "built_with": _optional(VERSION),
    "held": _optional(_mapping(PACKAGE, VERSION)),
}
PYPI_TOOLKIT = {
    "extras": _mapping(PACKAGE, _mapping(PACKAGE, VERSION)),
    "size_mib": _mapping(ARCHITECTURE, NUMBER),
    "yanked": BOOLEAN,
}


def validate(catalogue: Catalogue) -> list[str]:
    """One sentence for each thing wrong in the catalogue, sorted; none where all is well.

    First each row by itself: its section, key, fields and source. Only where that is well, what rows say of each other.
    """
    return sorted(_shapes(catalogue)) or sorted(sentence for check in _CHECKS for sentence in check(catalogue))


def _shapes(catalogue: Catalogue) -> Iterator[str]:
    for file, sections in SCHEMA.items():
        if file not in catalogue:
            yield f"{file}.yml is missing; restore it."
            continue
        expected = {*sections, "packages"} if file == "pypi" else {*sections}
        for name in expected - catalogue[file].keys():
            yield f"{file}.yml lacks the section {name}; restore it."
        for name in catalogue[file].keys() - expected:
            yield f"{file}.yml has the section {name}; it knows {', '.join(sorted(expected))} only."
        for name in sections.keys() & catalogue[file].keys():
            yield from _section(f"{file}.yml: {name}", catalogue[file][name], *sections[name])
    for file in catalogue.keys() - SCHEMA.keys():
        yield f"{file}.yml is no file of the catalogue; it knows {', '.join(sorted(SCHEMA))} only."
    packages = catalogue.get("pypi", {}).get("packages", {})
    for package in ("cuda-toolkit", "torch"):
        if package not in packages:
            yield f"pypi.yml: packages lacks {package}; write it anew with scripts/refresh_catalogue.py."
    for package, rows in packages.items():
        fields = PYPI_TOOLKIT if package == "cuda-toolkit" else PYPI
        yield from _section(f"pypi.yml: packages: {package}", rows, VERSION, fields)


def _section(where: str, rows: object, key_kind: Kind, fields: Mapping[str, Kind]) -> Iterator[str]:
    if not isinstance(rows, dict):
        yield f"{where} is {_shown(rows)}, not a mapping of rows."
        return
    for key, row in rows.items():
        if not isinstance(key, str):
            yield f'{where}: the key {key} is not quoted; write "{key}".'
        elif not key_kind.fits(key):
            yield f"{where}: the key {key} must be {key_kind.words}."
        elif not isinstance(row, dict):
            yield f"{where}: {key} is {_shown(row)}, not a mapping."
        else:
            yield from _row(f"{where}: {key}", row, {**fields, **COMMON})


def _row(where: str, row: Mapping[object, object], fields: Mapping[str, Kind]) -> Iterator[str]:
    for name, kind in fields.items():
        if name not in row and kind.required:
            yield f"{where} lacks {name}; add it: {kind.words}."
        elif name in row and not kind.fits(row[name]):
            yield f"{where}: {name} is {_shown(row[name])}; it must be {kind.words}."
    for unknown in row.keys() - fields.keys():
        yield f"{where} has {unknown}, which no row there has; correct its name or remove it."


def _shown(value: object) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)


def _absent(where: str, wanted: object, section: Section, place: str) -> Iterator[str]:
    """The sentence for a reference to a row that is not there."""
    if wanted is not None and str(wanted) not in section:
        yield f"{where} is {wanted}, which {place} lacks; correct it, or add the row there."


def _check_cuda(catalogue: Catalogue) -> Iterator[str]:
    cuda, branches, capabilities = (
        catalogue["cuda"],
        catalogue["drivers"]["branches"],
        catalogue["gpus"]["capabilities"],
    )
    for release, row in cuda["releases"].items():
        where = f"cuda.yml: releases: {release}"
        if row["driver"]:
            yield from _branch_of(f"{where}: driver", row["driver"], release, branches)
        for capability, gpu in capabilities.items():
            compiled = _between(release, gpu["first_cuda"], gpu["last_cuda"])
            if (int(capability.replace(".", "")) in row["gpu_code"]) != compiled:
                found = "lacks" if compiled else "has"
                told = f"{gpu['first_cuda'] or 'the first'} to {gpu['last_cuda'] or 'the newest'}"
                words = f"gpu_code {found} {capability}, but gpus.yml says {told} compile it"
                yield f"{where}: {words}; correct one of them."
    for name, row in cuda["repositories"].items():
        for field in ("first_cuda", "last_cuda"):
            yield from _absent(
                f"cuda.yml: repositories: {name}: {field}", row[field], cuda["releases"], "cuda.yml releases"
            )
        for arch in row["architectures"]:
            where = f"cuda.yml: repositories: {name}: architecture"
            yield from _absent(where, arch, cuda["architectures"], "cuda.yml architectures")


def _check_components(catalogue: Catalogue) -> Iterator[str]:
    toolkits = catalogue["pypi"]["packages"]["cuda-toolkit"]
    for release, row in catalogue["cuda"]["releases"].items():
        versions = [version for version in toolkits if version.startswith(f"{release}.")] if row["pypi"] else []
        if row["pypi"] and not versions:
            yield f"cuda.yml: releases: {release}: pypi is true, and pypi.yml has no such cuda-toolkit; refresh it."
        for version in versions:
            for name, component in catalogue["cuda"]["components"].items():
                for extra in component["pypi"]:
                    where = f"cuda.yml: components: {name}: an extra"
                    yield from _absent(where, extra, toolkits[version]["extras"], f"pypi.yml cuda-toolkit {version}")


def _check_drivers(catalogue: Catalogue) -> Iterator[str]:
    branches, brands = catalogue["drivers"]["branches"], catalogue["gpus"]["brands"]
    yield from _check_errors(catalogue["drivers"]["errors"])
    for release, row in catalogue["drivers"]["compat"].items():
        where = f"drivers.yml: compat: {release}"
        yield from _absent(f"{where}: its CUDA release", release, catalogue["cuda"]["releases"], "cuda.yml releases")
        if row["package"] != (package := f"cuda-compat-{release.replace('.', '-')}"):
            yield f"{where}: package is {row['package']}; that of this release is {package}."
        for branch in sorted({row["branch"], *row["documented_branches"], *row["note_branches"]}):
            yield from _absent(f"{where}: a branch", branch, branches, "drivers.yml branches")
        yield from _branch_of(f"{where}: version", row["version"], release, branches)
        if parse_version(row["version"])[0] != row["branch"]:
            yield f"{where}: version is {row['version']}, which is not of branch {row['branch']}; correct one of them."
        for brand in row["brands"]:
            yield from _absent(f"{where}: a brand", brand, brands, "gpus.yml brands")


def _check_errors(rows: Section) -> Iterator[str]:
    """Nothing that a program prints stands for two errors, and what is guessed is not told as decided."""
    owners: dict[str, str] = {}
    for code, row in rows.items():
        where = f"drivers.yml: errors: {code}"
        causes = row.get("causes", [])
        spoken = [word for one in (row, *causes) for word in (*one.get("words", ()), *one.get("vague", ()))]
        for phrase in (row["name"], *row.get("also", ()), *spoken):
            if (other := owners.setdefault(phrase.lower(), code)) != code:
                yield f"{where}: {phrase} is what {other} is called as well; keep it in one row."
        if not CITED.fits(row["source"]):
            yield f"{where}: source is {_shown(row['source'])}; it must be {CITED.words}."
        if len(causes) == 1:
            yield f"{where}: causes has one row; say it as the cause, or add what else it may be."
        for cause in causes:
            if not cause["tell"].startswith("Then "):
                yield f"{where}: tell is {_shown(cause['tell'])}; it says how a cause shows and begins with Then."
            if cause.get("decides") and (cause["sure"] != "A" or not cause["when"]):
                yield f"{where}: {_shown(cause['cause'])} decides without being sure (A) or without a condition."


def _check_gpus(catalogue: Catalogue) -> Iterator[str]:
    gpus, releases = catalogue["gpus"], catalogue["cuda"]["releases"]
    oldest = min(releases, key=parse_version)
    for capability, row in gpus["capabilities"].items():
        where = f"gpus.yml: capabilities: {capability}"
        for field in ("first_cuda", "last_cuda"):
            if row[field] and parse_version(row[field]) >= parse_version(oldest):
                yield from _absent(f"{where}: {field}", row[field], releases, "cuda.yml releases")
        yield from _absent(
            f"{where}: last_branch", row["last_branch"], catalogue["drivers"]["branches"], "drivers.yml branches"
        )
        targets = catalogue["cutlass"]["architectures"]
        yield from _absent(f"{where}: arch_specific", row["arch_specific"], targets, "cutlass.yml architectures")
    for model, row in gpus["models"].items():
        where = f"gpus.yml: models: {model}"
        capability = row["compute_capability"]
        yield from _absent(f"{where}: compute_capability", capability, gpus["capabilities"], "gpus.yml capabilities")
        yield from _absent(f"{where}: brand_id", row["brand_id"], gpus["brands"], "gpus.yml brands")


def _check_pytorch(catalogue: Catalogue) -> Iterator[str]:
    pytorch, published = catalogue["pytorch"], catalogue["pypi"]["packages"]["torch"]
    indexes = pytorch["indexes"]
    for index, row in indexes.items():
        where = f"pytorch.yml: indexes: {index}"
        yield from _absent(f"{where}: cuda", row["cuda"], catalogue["cuda"]["releases"], "cuda.yml releases")
        prefix = f"{row['channel']}-" if row.get("channel") else ""
        if index != (named := prefix + (f"cu{row['cuda'].replace('.', '')}" if row["cuda"] else "cpu")):
            yield f"{where}: cuda is {row['cuda']}, whose index is {named}; correct one of them."
        size = index.removeprefix(prefix)
        yield from _absent("pytorch.yml: an index without its size", size, pytorch["sizes"], "pytorch.yml sizes")
    for version in published.keys() - pytorch["releases"].keys():
        yield f"pypi.yml has torch {version}, which pytorch.yml lacks; add its row to the releases there."
    for release, row in pytorch["releases"].items():
        where = f"pytorch.yml: releases: {release}"
        yield from _absent("pytorch.yml: a release", release, published, "pypi.yml torch")
        for index, builds in row["indexes"].items():
            yield from _absent(f"{where}: an index", index, indexes, "pytorch.yml indexes")
            targets = sorted({target for build in builds.values() for target in build["linux"]})
            for capability in (f"{target[3:-1]}.{target[-1]}" for target in targets):
                section = catalogue["gpus"]["capabilities"]
                yield from _absent(f"{where}: {index}: a target", capability, section, "gpus.yml capabilities")
        if release in published:
            yield from _against_pypi(where, row, published[release], indexes)


def _against_pypi(where: str, row: Mapping[str, Any], published: Mapping[str, Any], indexes: Section) -> Iterator[str]:
    """Where the hand-written row of a PyTorch and its metadata on PyPI differ."""
    pythons = [f"{tag[2]}.{tag[3:]}" for tag in published["tags"].get("x86_64", [])]
    if row["pythons"] != pythons:
        yield f"{where}: pythons is {', '.join(row['pythons'])}; the wheels on PyPI are for {', '.join(pythons)}."
    for arch, key in (("x86_64", "glibc"), ("aarch64", "glibc_aarch64")):
        told, tagged = row.get("glibc_of", {}).get(arch, row["glibc"]), published.get(key) or published["glibc"]
        if arch in published["tags"] and tagged and parse_version(told) < parse_version(tagged):
            yield f"{where}: glibc is {told} for {arch}; the wheels on PyPI need {tagged}."
    built = [indexes[index]["cuda"] for index in row["indexes"] if index in indexes]
    if published["cuda"] not in built:
        yield f"{where}: no index is of CUDA {published['cuda']}, for which the wheel on PyPI is built; add it."


def _check_packages(catalogue: Catalogue) -> Iterator[str]:
    published = catalogue["pypi"]["packages"]
    for name in catalogue["extensions"]["packages"]:
        yield from _absent("extensions.yml: a package", name, published, "pypi.yml packages")
    for name, row in catalogue["tools"]["tools"].items():
        where = f"tools.yml: tools: {name}: version"
        yield from _absent(where, row["version"], published.get(name, {}), f"pypi.yml {name}")
    headers = published.get(catalogue["cutlass"]["sources"]["pypi"].get("package", ""), {})
    for release, row in catalogue["cutlass"]["releases"].items():
        where = f"cutlass.yml: releases: {release}"
        yield from _absent(f"{where}: pypi", row["pypi"], headers, "pypi.yml nvidia-cutlass")
        if row["tag"] != f"v{release}":
            yield f"{where}: tag is {row['tag']}; that of this release is v{release}."
    for target, row in catalogue["cutlass"]["architectures"].items():
        where = f"cutlass.yml: architectures: {target}"
        capabilities = catalogue["gpus"]["capabilities"]
        yield from _absent(f"{where}: its GPU", target.removesuffix("a"), capabilities, "gpus.yml capabilities")
        yield from _absent(
            f"{where}: least_cuda", row["least_cuda"], catalogue["cuda"]["releases"], "cuda.yml releases"
        )


def _check_extensions(catalogue: Catalogue) -> Iterator[str]:
    section = catalogue["extensions"]["packages"]
    for name, row in section.items():
        for variant in row.get("variants", ()):
            where = f"extensions.yml: packages: {name}: variants: {variant['name']}"
            if variant["name"] != (f"cu{variant['cuda'].replace('.', '')}" if variant["cuda"] else "cpu"):
                yield f"{where}: cuda is {variant['cuda']}, whose name is another; correct one of them."
            if parse_version(variant["first"]) > parse_version(variant["last"]):
                yield f"{where}: first is {variant['first']}, which is newer than last, {variant['last']}."
    for name, row in catalogue["extensions"]["alternatives"].items():
        where = f"extensions.yml: alternatives: {name}"
        for package in row["packages"].values():
            yield from _absent(f"{where}: a package", package, section, "extensions.yml packages")
        if name in section:
            yield f"{where} is a package of its own as well; remove one of the rows."


def check_assemblers(catalogue: Catalogue) -> Iterator[str]:
    """The ptxas of a Triton: where a hand-written row and the programs in its wheels differ."""
    told = catalogue["settings"].get("assemblers", {})
    for version, published in catalogue["pypi"]["packages"].get("triton", {}).items():
        row, read = told.get(".".join(version.split(".")[:2])), published.get("ptxas")
        if row is None or read is None or row["ptxas"] not in catalogue["cuda"]["releases"]:
            continue
        newer = row["newer"] or {"ptxas": None, "from": None}
        found = {"legacy": row["ptxas"], "blackwell": newer["ptxas"], "blackwell_from": newer["from"]}
        if found != read:
            yield f"settings.yml: assemblers: of triton {version} it says {found}; its wheel has {read}."


def _check_benchmarks(catalogue: Catalogue) -> Iterator[str]:
    for name, row in catalogue["benchmarks"]["references"].items():
        where = f"benchmarks.yml: references: {name}: device"
        yield from _absent(where, row["device"], catalogue["devices"]["devices"], "devices.yml devices")
        for case in (case for case in row["results"] if "*" in case):
            yield f"benchmarks.yml: references: {name}: {case} stands for several cases; write one row for each."


def _check_settings(catalogue: Catalogue) -> Iterator[str]:
    variables = catalogue["settings"]["variables"]
    for name, row in variables.items():
        where = f"settings.yml: variables: {name}"
        if row["values"].keys() != row["what"].keys():
            told = f"values are for {', '.join(row['values'])}, what is said of {', '.join(row['what'])}"
            yield f"{where}: {told}; say what each value does."
        wishes = set(SETTING_WORDS.get(row["setting"], ("true", "false")))
        for wish in sorted(row["values"].keys() - wishes):
            yield f"{where}: {row['setting']} is never {wish}; its wishes are {', '.join(sorted(wishes))}."
        for wish in sorted(row.get("unless_platform", {}).keys() - row["values"].keys()):
            yield f"{where}: unless_platform has {wish}, which values has not; correct one of them."
        for other in row["unless"]:
            yield from _absent(f"{where}: unless", other, variables, "settings.yml variables")
    for version, row in catalogue["settings"]["assemblers"].items():
        where = f"settings.yml: assemblers: {version}"
        for release in filter(None, (row["ptxas"], (row["newer"] or {}).get("ptxas"))):
            yield from _absent(f"{where}: ptxas", release, catalogue["cuda"]["releases"], "cuda.yml releases")
    switched = {row["setting"] for row in variables.values()} | catalogue["settings"]["programs"].keys()
    for name in sorted({field.name for field in fields(Settings)} - switched):
        yield f"settings.yml switches {name} by nothing; add a row to its variables or programs."


def _check_images(catalogue: Catalogue) -> Iterator[str]:
    rows = catalogue["images"]
    for cuda, row in rows["bases"].items():
        where = f"images.yml bases {cuda}"
        yield from _absent(where, cuda, catalogue["cuda"]["releases"], "cuda.yml releases")
        for system in row["systems"]:
            yield from _absent(where, system, rows["systems"], "images.yml systems")


def _check_source(catalogue: Catalogue) -> Iterator[str]:
    source, published = catalogue["source"], catalogue["pypi"]["packages"]
    components, capabilities = catalogue["cuda"]["components"], catalogue["gpus"]["capabilities"]
    yield from _absent("source.yml: what is built", "torch", source["packages"], "source.yml packages")
    for name in source["unreal"].keys() & source["features"].keys():
        yield f"source.yml: {name} is both a switch and none; remove one of the rows."
    for name, row in source["packages"].items():
        where = f"source.yml: packages: {name}"
        if not row["releases"] and name != "torch":
            section = catalogue["extensions"]["packages"]
            yield from _absent(f"{where}: a package without releases", name, section, "extensions.yml packages")
        if (row["url"] is None) != (row["kind"] == "pypi"):
            yield f"{where}: url is {_shown(row['url'])} and kind {row['kind']}; pypi alone has none."
        for component in row["components"]:
            yield from _absent(f"{where}: a component", component, components, "cuda.yml components")
        for capability in (row["least_capability"], *(row["offers"] or ())):
            yield from _absent(f"{where}: a capability", capability, capabilities, "gpus.yml capabilities")
    for release in source["libraries"]:
        yield from _absent("source.yml: libraries: a release", release, published["torch"], "pypi.yml torch")
    for name, row in source["layouts"].items():
        yield from _absent(
            f"source.yml: layouts: {name}: switch", row["switch"], source["features"], "source.yml features"
        )
    for name, row in source["times"].items():
        yield from _absent(
            f"source.yml: times: {name}: package", row["package"], source["packages"], "source.yml packages"
        )


def _branch_of(where: str, driver: str, release: str, branches: Section) -> Iterator[str]:
    """A driver whose branch is not of the CUDA release it comes with."""
    branch = str(parse_version(driver)[0])
    if branch not in branches:
        yield f"{where} is {driver}, whose branch drivers.yml branches lacks; correct it, or add the row there."
    elif branches[branch]["cuda"] != release:
        yield f"{where} is {driver}, whose branch {branch} is of CUDA {branches[branch]['cuda']}; correct one of them."


def _between(release: str, first: str | None, last: str | None) -> bool:
    wanted = parse_version(release)
    return (first is None or parse_version(first) <= wanted) and (last is None or wanted <= parse_version(last))


def _check_toolkits(catalogue: Catalogue) -> Iterator[str]:
    headers, releases = catalogue["toolkits"]["headers"], catalogue["cuda"]["releases"]
    for release in releases.keys() - {row["release"] for row in headers.values()}:
        yield f"cuda.yml: releases: {release}: toolkits.yml has no headers of it; refresh it."
    for version, row in headers.items():
        yield from _absent(f"toolkits.yml: headers: {version}: release", row["release"], releases, "cuda.yml releases")
    for patch, row in catalogue["toolkits"]["patches"].items():
        yield from _absent(f"toolkits.yml: patches: {patch}: nvcc", row["nvcc"], headers, "toolkits.yml headers")


_CHECKS = (
    _check_toolkits,
    _check_cuda,
    _check_components,
    _check_drivers,
    _check_gpus,
    _check_pytorch,
    _check_packages,
    _check_extensions,
    check_assemblers,
    _check_benchmarks,
    _check_settings,
    _check_images,
    _check_source,
)
