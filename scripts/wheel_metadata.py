# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the names and the METADATA of wheels say: for refresh_catalogue.py, which reads them from an index."""

from __future__ import annotations

import email.parser
import json
import re
from collections.abc import Iterable, Mapping

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name, parse_wheel_filename

ARCHITECTURES = ("x86_64", "aarch64")


def architecture(platform: str) -> tuple[str, ...]:
    """The architectures of ours that a wheel's platform tag serves; none for other systems.

    >>> architecture("manylinux_2_28_x86_64")
    ('x86_64',)
    """
    if platform == "any":
        return ARCHITECTURES
    return tuple(
        arch for arch in ARCHITECTURES if "linux" in platform and "musl" not in platform and platform.endswith(arch)
    )


def python_tags(names: Iterable[str], arch: str) -> list[str]:
    """The Pythons that these wheels serve on `arch`: cp312 (that one only), cp38-abi3 and py39 (that one and newer).

    Free-threaded builds are left out.
    """
    found = set()
    for name in names:
        for tag in parse_wheel_filename(name)[3]:
            if arch not in architecture(tag.platform) or tag.interpreter.startswith("py2") or tag.abi.endswith("t"):
                continue
            found.add(f"{tag.interpreter}-abi3" if tag.abi == "abi3" else tag.interpreter)
    return sorted(found, key=lambda tag: [int(number) for number in re.findall(r"\d+", tag)][:1])


def least_glibc(names: Iterable[str], arch: str | None = None) -> str | None:
    """The oldest glibc that the Linux wheels among these allow, by their platform tags; None where they need none.

    With ``arch``, of those for this architecture.
    """
    legacy = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
    found = []
    for name in names:
        platforms = [
            tag.platform
            for tag in parse_wheel_filename(name)[3]
            if architecture(tag.platform) and (arch is None or arch in architecture(tag.platform))
        ]
        numbered = [
            tuple(map(int, match.groups()))
            for text in platforms
            if (match := re.match(r"manylinux_(\d+)_(\d+)_", text))
        ]
        numbered += [legacy[text.split("_")[0]] for text in platforms if text.split("_")[0] in legacy]
        found += [min(numbered)] if numbered else []
    return "{}.{}".format(*max(found)) if found else None


def requirements(metadata: str, arch: str, extra: str = "") -> dict[str, str]:
    """Normalised name -> specifier ("" for any version) of what METADATA requires on Linux and `arch`, with `extra`."""
    environment: dict[str, str] = {name: str(value) for name, value in default_environment().items()} | {
        "extra": extra,
        "os_name": "posix",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": arch,
        "python_version": "3.12",
        "python_full_version": "3.12.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    found: dict[str, str] = {}
    for text in email.parser.HeaderParser().parsestr(metadata).get_all("Requires-Dist", []):
        wanted = Requirement(text)
        if wanted.marker is None or wanted.marker.evaluate(environment):
            found[canonicalize_name(wanted.name)] = str(wanted.specifier)
    return found


def cuda_of(required: Mapping[str, str]) -> str | None:
    """The CUDA release a build needs, from its requirements: of cuda-toolkit, or of the CUDA runtime; None for neither.

    >>> cuda_of({"nvidia-cuda-runtime-cu12": "==12.8.90"})
    '12.8'
    """
    runtimes = [name for name in sorted(required) if re.fullmatch(r"nvidia-cuda-runtime(-cu\d+)?", name)]
    pins = (re.search(r"==(\d+\.\d+)", required.get(name, "")) for name in ("cuda-toolkit", *runtimes))
    return next((pin[1] for pin in pins if pin), None)


def recorded_cuda(record: str | None) -> str | None:
    """The CUDA release of xformers' own build record (cpp_lib.json), which writes 12.8 as 1208."""
    number = json.loads(record)["version"]["cuda"] if record else None
    return f"{number // 100}.{number % 100}" if number else None


def named_version(specifier: str) -> str | None:
    """The version a specifier pins or starts from: 2.9.1 of "==2.9.1", 2.14.0 of ">=2.14.0,<3"; None for neither."""
    for wanted in SpecifierSet(specifier):
        if wanted.operator in ("==", ">=", "~="):
            return wanted.version.removesuffix(".*")
    return None


def extras_of(metadata: str) -> dict[str, dict[str, str]]:
    """Extra -> package -> version of cuda-toolkit's METADATA: the pinned version, or the least of a range."""
    extras = email.parser.HeaderParser().parsestr(metadata).get_all("Provides-Extra", [])
    found: dict[str, dict[str, str]] = {}
    for extra in sorted(extras):
        pins = {name: named_version(wanted) for name, wanted in requirements(metadata, "x86_64", extra).items()}
        found[extra] = {name: version for name, version in sorted(pins.items()) if version}
    return found
