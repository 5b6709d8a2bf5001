# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``python -m torch.utils.collect_env`` printed on a recorded host, as people paste it into an issue. Pure."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.podsmith.gpu.plugins.module_utils._observe.platform import FAMILIES
from ansible_collections.podsmith.gpu.plugins.plugin_utils._recording.errors import RecordingError

Facts = dict[str, Any]

COLLECT_ENV = "collect_env.txt"
# PRETTY_NAME of os-release begins with … -> its ID, and its family. Each distribution's own os-release.
SYSTEMS: tuple[tuple[str, str, str | None], ...] = (
    ("Red Hat Enterprise Linux", "rhel", "redhat"),
    ("Rocky Linux", "rocky", "redhat"),
    ("AlmaLinux", "almalinux", "redhat"),
    ("CentOS", "centos", "redhat"),
    ("Oracle Linux", "ol", "redhat"),
    ("Fedora", "fedora", "redhat"),
    ("Amazon Linux", "amzn", "redhat"),
    ("SUSE Linux Enterprise Server", "sles", "suse"),
    ("SUSE Linux Enterprise", "sles", "suse"),
    ("openSUSE Leap", "opensuse-leap", "suse"),
    ("openSUSE Tumbleweed", "opensuse-tumbleweed", "suse"),
    ("Debian GNU/Linux", "debian", "debian"),
    ("Ubuntu", "ubuntu", "debian"),
    ("Linux Mint", "linuxmint", "debian"),
    ("Pop!_OS", "pop", "debian"),
    ("Kali GNU/Linux", "kali", "debian"),
    ("elementary OS", "elementary", "debian"),
    ("Zorin OS", "zorin", "debian"),
    ("Arch Linux", "arch", "arch"),
    ("Manjaro", "manjaro", "arch"),
    ("EndeavourOS", "endeavouros", "arch"),
    ("Alpine Linux", "alpine", "alpine"),
    ("NixOS", "nixos", None),
    ("Gentoo", "gentoo", None),
    ("Microsoft Azure Linux", "azurelinux", "redhat"),
    ("CBL-Mariner", "mariner", "redhat"),
)
OTHER_SYSTEMS = ("Microsoft Windows", "Windows", "macOS", "Mac OS")
UNKNOWN = ("", "could not collect", "n/a", "none")
# PyTorch cannot use CUDA there, and nvidia-smi and nvcc told nothing: not installed, or a driver that does not answer.
# So the text does not say that there is no GPU. Source: pretty_str of torch.utils.collect_env.
NO_CUDA = "no cuda"


def parse_collect_env(text: str) -> Facts:
    """``{platform, installed, driver, devices, cuda_works}`` of the text; what it does not tell is absent.

    ``cuda_works``: whether PyTorch itself said that CUDA is available. Interpreters are told without their folders.
    Raises RecordingError for a system other than Linux.
    """
    local, cuda = _find(text, r"PyTorch version: (\d\S*)"), _find(text, r"CUDA used to build PyTorch: (\d+\.\d+)")
    facts: Facts = {}
    if platform := _platform(text):
        facts["platform"] = platform
    if local:
        torch = {"version": local.partition("+")[0], "local": local, "cuda": cuda, "managed": False}
        if minor := _python(text):
            torch["python_version"] = minor
        facts["installed"] = {"pytorch": [torch]}
    works = {"True": True, "False": False}.get(_find(text, r"Is CUDA available: (\w+)") or "")
    if works is not None:
        facts["cuda_works"] = works
    version = _known(_find(text, r"Nvidia driver version: (.*)"))
    if version and re.fullmatch(r"\d{3,}(\.\d+)+", version):
        facts["driver"] = {"version": version}
    if devices := _devices(text):
        facts["devices"] = devices
    return facts


def _platform(text: str) -> Facts:
    python, minor = _find(text, r"Python version: (\d+\.\d+\.\d+)"), _python(text)
    kernel = _find(text, r"Python platform: Linux-(.+?)-(?:x86_64|aarch64)-")
    compiler = _find(text, r"GCC version: (?:\(.*?\)\s*)?(\d+\.\d+(?:\.\d+)?)")
    cpus = _find(text, r"CPU\(s\):\s+(\d+)")
    glibc = _find(text, r"Libc version: glibc-(\d+\.\d+)")
    musl = _find(text, r"Python platform: Linux-.*-with-(musl)") or _find(text, r"Libc version: (musl)")
    told: Facts = {
        "kind": "wsl2" if kernel and "microsoft" in kernel.lower() else None,
        "os": _system(text),
        "arch": _find(text, r"OS: .*\((x86_64|aarch64)\)") or _find(text, r"Architecture:\s+(\w+)"),
        "glibc": glibc,
        "libc": "musl" if musl else "glibc" if glibc else None,
        "kernel": kernel,
        "compiler": {"version": compiler} if compiler else None,
        "pythons": [{"path": f"python{minor}", "version": python}] if minor else None,
        "cpus": int(cpus) if cpus else None,
    }
    return {key: value for key, value in told.items() if value}


def _system(text: str) -> Facts | None:
    """``{id, version, family}`` of the system's pretty name; None where there is none, or nobody knows it."""
    name = _known(_find(text, r"OS: (.*)"))
    if not name:
        return None
    if name.startswith(OTHER_SYSTEMS):
        raise RecordingError(
            f"{COLLECT_ENV} is of {name}; expected Linux. On Windows record inside WSL2; other systems have no CUDA."
        )
    for pretty, system, family in SYSTEMS:
        if name.lower().startswith(pretty.lower()):
            version = re.match(
                r"\D*?(?:v|\s)(\d+(?:\.\d+)?)(?:\.\d+)*(?: SP(\d+))?", re.sub(r"\([^)]*\)", "", name[len(pretty) :])
            )
            number = ".".join(filter(None, version.groups())) if version else None
            return {"id": system, "version": number, "family": family or FAMILIES.get(system)}
    return None


def _devices(text: str) -> list[Facts]:
    """The GPUs by name, of lines such as ``GPU 0: NVIDIA H200``; slices of a GPU are none."""
    block = re.search(
        r"^\W*GPU models and configuration:(.*?)^\W*Nvidia driver version:", text, re.DOTALL | re.MULTILINE
    )
    rows = re.findall(r"GPU (\d+): ([^\r\n]+)", block[1] if block else "")
    return [{"index": int(index), "name": re.sub(r"\s*\(UUID:.*", "", name).strip()} for index, name in rows]


def _python(text: str) -> str | None:
    return _find(text, r"Python version: (\d+\.\d+)\.\d+")


def _known(value: str | None) -> str | None:
    return None if value is None or value.strip().lower() in (*UNKNOWN, NO_CUDA) else value.strip()


def _find(text: str, pattern: str) -> str | None:
    """The group of a line that begins with a pattern, after what quotes it (``> ``, spaces)."""
    found = re.search(rf"^[^\w\n]*{pattern}", text, re.MULTILINE)
    return found[1] if found else None
