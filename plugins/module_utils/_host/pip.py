# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pip's own files on a host: where packages come from, which torch wheels there are, whether what came is whole."""

from __future__ import annotations

import hashlib
import os
import re
import struct
import zlib
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import parse_wheel_name
from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root

SECTION = re.compile(r"^\[(?P<name>[^\]]+)\]")
OPTION = re.compile(r"^(?P<name>[A-Za-z][\w.-]*)\s*[=:]\s*(?P<value>.*)$")
USER_INFO = re.compile(r"(?<=://)[^/@\s]+@")
RECORD_LINE = re.compile(r'^"?(.+?)"?,[^,\n]*,([0-9]{0,18})\r?$', re.MULTILINE)
BUILT_ON_TORCH = (
    "apex",
    "bitsandbytes",
    "causal-conv1d",
    "deepspeed",
    "fbgemm-gpu",
    "flash-attn",
    "flashinfer-python",
    "mamba-ssm",
    "torchao",
    "torchaudio",
    "torchcodec",
    "torchvision",
    "transformer-engine",
    "triton",
    "vllm",
    "xformers",
)  # distributions that are built against one torch or one CUDA
# The packages whose small files at the top (torch/__init__.py, not torch/nn/…) are compared with the digests of their
# RECORD, and how many of a package and how large these may be: an observation reads them on every run.
WATCHED = frozenset({"torch", *BUILT_ON_TORCH})
WATCHED_FILE = 256 * 1024
WATCHED_BYTES = 4 * 1024 * 1024
WATCHED_FILES = 96
DIGESTED = re.compile(r"(?P<path>[^\",]+),sha256=(?P<digest>[\w-]{43}),(?P<size>[0-9]{1,9})")
CUDA_LABEL = re.compile(r"\+(?:.*\.)?cu(?P<major>\d{2})(?P<minor>\d+)")
RUNTIME, LINKER = "nvidia-cuda-runtime", "nvidia-nvjitlink"
# Parts whose own version is CUDA's; cuBLAS and others have numbers of their own.
NUMBERED = (RUNTIME, "nvidia-cuda-nvrtc", "nvidia-cuda-cupti", LINKER)
_SUFFIX = re.compile(r"-cu(?P<major>\d\d)$")


class PipSources(NamedTuple):
    """pip's settings as pip would use them, with their credentials: for handing on, never for printing."""

    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    no_index: bool = False
    cert: str | None = None


def parse_pip_config(texts: list[str], environ: Mapping[str, str]) -> PipSources:
    """Combine pip's configuration files and variables the way pip does.

    ``[install]`` wins over ``[global]`` whatever file it is in, a later file over an earlier one, ``PIP_*`` over all.

    :param texts: the files' contents in pip's order, as :func:`read_pip_config` returns them.
    """
    sections: dict[str, dict[str, str]] = {"global": {}, "install": {}}
    for text in texts:
        for section, name, value in _options(text):
            sections.setdefault(section, {})[name] = value
    variables = {
        name[4:].lower().replace("_", "-"): value
        for name, value in environ.items()
        if name.startswith("PIP_") and value
    }
    values = {**sections["global"], **sections["install"], **variables}
    return PipSources(
        index_url=values.get("index-url") or None,
        extra_index_urls=tuple(values.get("extra-index-url", "").split()),
        find_links=tuple(values.get("find-links", "").split()),
        trusted_hosts=tuple(values.get("trusted-host", "").split()),
        no_index=values.get("no-index", "").lower() in ("1", "true", "yes", "on", "y", "t"),
        cert=values.get("cert") or None,
    )


def parse_pip_option(texts: list[str], option: str) -> str:
    """The value of one option in pip's configuration files, as ``pip install`` takes it; empty where none has it."""
    values: dict[str, str] = {}
    for text in texts:
        values.update({section: value for section, name, value in _options(text) if name == option})
    return values.get("install") or values.get("global") or ""


def read_pip_config(root: Root, home: str, environ: Mapping[str, str]) -> list[str]:
    """The contents of pip's configuration files, least important first."""
    own = environ.get("PIP_CONFIG_FILE")
    if own == os.devnull:
        return []
    config = environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    paths = ["/etc/xdg/pip/pip.conf", "/etc/pip.conf", f"{home}/.pip/pip.conf", f"{config}/pip/pip.conf"]
    return [root.read(path) for path in [*paths, *([own] if own else [])] if root.exists(path)]


def mask(url: str) -> str:
    """The URL without its credentials: ``https://****@host/simple``."""
    return USER_INFO.sub("****@", url)


def local_path(url: str, home: str | None = None) -> str | None:
    """The path of a local folder or ``file:`` URL, ``None`` for a remote one.

    :param home: what ``~`` stands for; by default this user's home folder, and ``~name`` is another's.
    """
    if url.startswith("file:"):
        return unquote(urlsplit(url).path)
    if "://" in url:
        return None
    if home is not None and (url == "~" or url.startswith("~/")):
        return home + url[1:]
    return os.path.expanduser(url)


def observe_sources(root: Root, home: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """The contract's ``sources``, with every credential masked."""
    pip = parse_pip_config(read_pip_config(root, home, environ), environ)
    return {
        "index_url": mask(pip.index_url) if pip.index_url else None,
        "extra_index_urls": [mask(url) for url in pip.extra_index_urls],
        "find_links": [mask(link) for link in pip.find_links],
        "wheels": [wheel for link in pip.find_links for wheel in _torch_wheels(root, link, home)],
    }


def parse_torch_version(text: str) -> dict[str, str | None]:
    """``{local, cuda}`` of the text of ``torch/version.py``; ``cuda`` is ``None`` for a CPU build."""
    local = re.search(r"^__version__\s*(?::[^=]*)?=\s*['\"]([^'\"]+)", text, re.MULTILINE)
    cuda = re.search(r"^cuda\s*(?::[^=]*)?=\s*['\"]([^'\"]+)", text, re.MULTILINE)
    return {"local": local.group(1) if local else None, "cuda": cuda.group(1) if cuda else None}


class Damage(NamedTuple):
    """Files of an installation that are not as its list has them, in the list's order."""

    missing: tuple[str, ...]
    resized: tuple[str, ...]


def parse_record(text: str) -> dict[str, int | None]:
    """Path → size in bytes (``None``: not given) of a wheel's RECORD, without byte code and RECORD itself."""
    return {
        path.replace('""', '"'): int(size) if size else None
        for path, size in RECORD_LINE.findall(text)
        if not path.endswith((".pyc", ".dist-info/RECORD"))
    }


def read_record(root: Root, info: str) -> dict[str, int | None] | None:
    """The files of a ``*.dist-info`` folder's RECORD; ``None`` where that is gone or empty, which is damage itself."""
    text = root.read(f"{info}/RECORD")
    return parse_record(text) if text else None


def find_damage(root: Root, folder: str, rows: Mapping[str, int | None], *, measured_from: int) -> Damage:
    """Which of these files are gone from ``folder``, or have another size.

    Every file is looked for, by one listing of each folder. Only those of ``measured_from`` bytes or more are measured:
    that is a system call each, and torch alone has twelve thousand. A link that leads nowhere is missing where it is
    measured.

    :param rows: path relative to ``folder`` → size in bytes, ``None`` where it is not known.
    """
    base = root.at(folder)
    present: dict[str, frozenset[str]] = {}
    missing, resized = [], []
    for path, size in rows.items():
        parent, _sign, name = path.rpartition("/")
        if parent not in present:
            present[parent] = _names(f"{base}/{parent}")
        if name not in present[parent]:
            missing.append(path)
        elif size is not None and size >= measured_from:
            real = _size(f"{base}/{path}")
            if real is None:
                missing.append(path)
            elif real != size:
                resized.append(path)
    return Damage(tuple(missing), tuple(resized))


def parse_digests(text: str) -> dict[str, tuple[str, int]]:
    """Path → SHA-256, as a wheel's RECORD writes it, and size of the small Python files at the top of a package.

    At most ``WATCHED_FILES`` of ``WATCHED_BYTES`` together, those that are imported first before the others.
    """
    found = []
    for line in text.split("\n"):
        if ".py,sha256=" not in line or line.count("/") > 1:
            continue
        match = DIGESTED.fullmatch(line.rstrip("\r"))
        if match and int(match["size"]) <= WATCHED_FILE:
            path = match["path"]
            is_later = not path.endswith(("/__init__.py", "/version.py"))
            found.append((is_later, path, match["digest"], int(match["size"])))
    chosen: dict[str, tuple[str, int]] = {}
    left = WATCHED_BYTES
    for _later, path, digest, size in sorted(found)[:WATCHED_FILES]:
        left -= size
        if left < 0:
            break
        chosen[path] = (digest, size)
    return chosen


def find_altered(root: Root, folder: str, info: str) -> tuple[str, ...]:
    """Which small files at the top of a package are not as they came, whatever their size; see :func:`parse_digests`.

    A file that is gone is not among them: :func:`find_damage` finds it.

    :param folder: where the package lies.
    :param info: its ``*.dist-info`` folder.
    """
    altered = []
    for path, (digest, size) in parse_digests(root.read(f"{info}/RECORD")).items():
        data = root.read_bytes(f"{folder}/{path}", size + 1)
        if urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode() != digest and (
            data or root.exists(f"{folder}/{path}")
        ):
            altered.append(path)
    return tuple(altered)


def read_zip_member(path: str, name: str) -> bytes | None:
    """One small member of a zip archive, ``None`` where it lacks it.

    The directory of a torch wheel costs ``zipfile`` 0.1 s of CPU; looking for one name in its bytes, a hundredth.
    """
    try:
        with open(path, "rb") as file:
            file.seek(-min(65557, os.path.getsize(path)), os.SEEK_END)
            tail = file.read()
            size, offset = struct.unpack_from("<II", tail, tail.rindex(b"PK\5\6") + 12)
            file.seek(offset)
            directory = file.read(size)
            entry = -1
            while True:
                entry = directory.index(name.encode(), entry + 1)
                header = entry - 46
                length = struct.unpack_from("<H", directory, header + 28)[0] if header >= 0 else 0
                if length == len(name) and directory[header : header + 4] == b"PK\1\2":
                    break
            method, packed = (
                struct.unpack_from("<H", directory, header + 10)[0],
                struct.unpack_from("<I", directory, header + 20)[0],
            )
            start = struct.unpack_from("<I", directory, header + 42)[0]
            file.seek(start)
            local = file.read(30)
            file.seek(start + 30 + sum(struct.unpack_from("<HH", local, 26)))
            data = file.read(packed)
        return zlib.decompress(data, -15) if method else data
    except (OSError, ValueError, struct.error, zlib.error):
        return None


def _names(path: str) -> frozenset[str]:
    try:
        return frozenset(os.listdir(path))
    except (OSError, ValueError):  # the latter of a name that no file can have
        return frozenset()


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return None


def _torch_wheels(root: Root, link: str, home: str) -> list[dict[str, Any]]:
    """The torch wheels in a local folder of ``find-links``; the folder may be a ``file:`` URL."""
    path = local_path(link, home)
    wheels = []
    for name in root.listdir(path) if path and path.startswith("/") else []:
        parsed = parse_wheel_name(name)
        if not parsed or parsed["name"] != "torch":
            continue
        label = CUDA_LABEL.search(parsed["version"])
        if label:
            cuda: str | None = f"{int(label['major'])}.{int(label['minor'])}"
        elif "+" in parsed["version"]:
            cuda = None
        else:
            text = read_zip_member(root.at(f"{path}/{name}"), "torch/version.py") or b""
            cuda = parse_torch_version(text.decode("utf-8", "replace"))["cuda"]
        wheels.append({**parsed, "path": f"{path}/{name}", "cuda": cuda})
    return wheels


def _options(text: str) -> list[tuple[str, str, str]]:
    """``(section, option, value)`` of an ini text; an indented line goes on with the value before it."""
    found: list[tuple[str, str, str]] = []
    section, can_go_on = "", False
    for line in text.splitlines():
        if not line.strip() or line.lstrip()[:1] in ("#", ";"):
            continue
        if line[:1].isspace() and can_go_on:
            found[-1] = (*found[-1][:2], f"{found[-1][2]} {line.strip()}".strip())
            continue
        header, option = SECTION.match(line.strip()), OPTION.match(line.strip())
        can_go_on = bool(option and not header)
        if header:
            section = header["name"].strip()
        elif option:
            found.append((section, option["name"].lower().replace("_", "-"), option["value"].strip()))
    return found


def mixed_parts(packages: Mapping[str, str]) -> list[str]:
    """Parts of another CUDA release than the runtime that lies with them, one clause each; none where all fit.

    PyTorch loads them at import, over ``sys.path`` in order, whatever it was built with. nvJitLink of a later minor
    release of the same major links what an older one made, so that only an older one is told.
    Source: torch/__init__.py, ``_preload_cuda_deps``; https://docs.nvidia.com/cuda/nvjitlink/.

    :param packages: normalised name → version of what is installed.
    """
    found = []
    for suffix in sorted({match[0] if (match := _SUFFIX.search(name)) else "" for name in packages}):
        runtime = packages.get(f"{RUNTIME}{suffix}")
        for part in NUMBERED[1:] if runtime else ():
            version = packages.get(f"{part}{suffix}")
            if version and _differs(part, _release(version), _release(str(runtime))):
                found.append(f"{part}{suffix} {version} beside {RUNTIME}{suffix} {runtime}")
    return found


def mixed_majors(packages: Mapping[str, str]) -> list[str]:
    """The packages of two CUDA majors that lie together, in one clause; none where there is one major at most.

    Left-overs of CUDA 12 count: PyTorch of CUDA 13 looks for ``nvidia/<part>/lib``, their folders, first.
    """
    majors: dict[int, list[str]] = {}
    for name, version in sorted(packages.items()):
        suffix = _SUFFIX.search(name) if name.startswith("nvidia-") else None
        release = _release(version) if name in NUMBERED else ()
        if suffix or release:
            majors.setdefault(int(suffix["major"]) if suffix else release[0], []).append(f"{name} {version}")
    if len(majors) < 2:
        return []
    return [" beside ".join(f"CUDA {major} libraries ({', '.join(names)})" for major, names in sorted(majors.items()))]


def _differs(part: str, release: tuple[int, ...], runtime: tuple[int, ...]) -> bool:
    if len(release) < 2 or len(runtime) < 2 or release[0] != runtime[0]:
        return False  # no release of CUDA, or another major, which is told by its name
    return release < runtime if part == LINKER else release != runtime


def _release(version: str) -> tuple[int, ...]:
    """The first two numbers of a version: (13, 2) of 13.2.86."""
    return tuple(int(number) for number in version.split(".")[:2] if number.isdigit())


def other_major(requirements: Sequence[str], packages: Mapping[str, str]) -> tuple[int, int] | None:
    """The CUDA major of what is there, and another that PyTorch's label asks for; None where there is no other.

    ``-cu12`` and ``-cu13`` packages own the same files (libnccl.so.2): what is installed over the one is taken along
    when the other goes, and neither pip's nor uv's check sees it.
    """
    asked = {int(match["major"]) for text in requirements if (match := CUDA_LABEL.search(text))}
    there = {int(match["major"]) for name in packages if name.startswith("nvidia-") and (match := _SUFFIX.search(name))}
    if len(asked) != 1 or len(there) != 1 or asked == there:
        return None
    return there.pop(), asked.pop()
