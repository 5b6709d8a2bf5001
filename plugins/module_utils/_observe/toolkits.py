# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CUDA toolkits, their compilers, compat libraries and CUTLASS: what is installed, by whom, and what of it is gone."""

from __future__ import annotations

import json
import mmap
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ansible_collections.podsmith.gpu.plugins.module_utils._host.elf import CompatNote, read_compat_note
from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import parse_wheel_name
from ansible_collections.podsmith.gpu.plugins.module_utils._host.pip import find_damage, read_record
from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root

Record = dict[str, Any]

DPKG = "/var/lib/dpkg"
BROKEN_LIMIT = 20  # names listed of a broken installation
MEASURED_FROM = 65536  # bytes; an observation looks for every file, and measures those that a full disk would cut off
LIBCUDA = re.compile(r"^libcuda\.so\.(?P<version>\d{3,}(?:\.\d+){1,2})$")
RELEASE = re.compile(r"/(?:cuda-)?(?P<release>\d+\.\d+)(?=/|$)")
KEY = re.compile(r"^[0-9a-f]{16}$")  # of a folder with a wheel that was built here
COMPAT_LINKS = ("libcuda", "libnvidia-ptxjitcompiler")  # what is loaded by the name that ends in .so.1
LIBRARY_HEADERS = ("cublas_v2.h", "cufft.h", "curand.h", "cusolverDn.h", "cusparse.h")
COMPONENT_HEADERS = {
    "runtime_dev": ("nvrtc.h", "thrust/version.h|cccl/thrust/version.h"),
    "libraries": LIBRARY_HEADERS,
    "full": ("nvrtc.h", *LIBRARY_HEADERS, "cupti.h", "nvtx3/nvToolsExt.h", "cuda_profiler_api.h", "nvml.h"),
}  # what a component brings, of which one header each is looked for; of several names one is enough
MATH_FUNCTIONS = ("cospi", "rsqrt", "sinpi")
MATH_HEADER, MATH_LIMIT = "crt/math_functions.h", 2 * 1024 * 1024  # bytes; the oldest has 1.1 MiB
STUB = "lib/stubs/libcuda.so"
COMPILER_LIMIT = 24  # compilers that are listed
COMPILER = re.compile(r"^(?:g\+\+|clang\+\+)(?:-(?P<version>\d+(?:\.\d+)*))?$")
TOOLSETS = ("/opt/rh/gcc-toolset-*/root/usr/bin", "/opt/rh/devtoolset-*/root/usr/bin", "/usr/lib/llvm-*/bin")
NUMBERED = re.compile(r"(?:g\+\+|clang|toolset|llvm)-(\d+(?:\.\d+)*)")
CUTLASS_HEADERS = ("include/cutlass/version.h", "include/cutlass/cutlass.h", "include/cute/tensor.hpp")


def library_version(path: str) -> str | None:
    """The version in the name of a libcuda of a driver for Linux, such as ``…/libcuda.so.570.26``; else None."""
    found = LIBCUDA.match(path.rpartition("/")[2])
    return found["version"] if found else None


def parse_version_json(text: str) -> str | None:
    """nvcc's version in a toolkit's ``version.json``, else the toolkit's own."""
    try:
        data = json.loads(text)
        names = [data[key]["version"] for key in ("cuda_nvcc", "cuda") if key in data]
    except (ValueError, TypeError, KeyError):
        return None
    return names[0] if names and isinstance(names[0], str) else None


def parse_patch(text: str) -> str | None:
    """The toolkit's own patch release in its ``version.json``, 13.0.2; a build's date in its place is none."""
    try:
        found = str(json.loads(text)["cuda"]["version"])
    except (ValueError, TypeError, KeyError):
        return None
    return found if re.fullmatch(r"\d+\.\d+\.\d{1,2}", found) else None


def parse_math_functions(text: str) -> list[str] | None:
    """Functions that a toolkit's math_functions.h declares without noexcept, of those that glibc may declare with it.

    None where the text declares none of them: it is another header, or there is none.
    """
    found = re.findall(rf"\bdouble\s+({'|'.join(MATH_FUNCTIONS)})\(double x\)\s*(;?)", text)
    return sorted({name for name, end in found if end}) if found else None


def parse_cuda_header(text: str) -> str | None:
    """``#define CUDA_VERSION 13000`` of ``cuda.h`` is release ``13.0``."""
    found = re.search(r"^#define\s+CUDA_VERSION\s+(\d+)", text, re.MULTILINE)
    return f"{int(found.group(1)) // 1000}.{int(found.group(1)) % 1000 // 10}" if found else None


def parse_nvcc_version(text: str) -> str | None:
    """The version in ``nvcc --version``: its last number, ``V13.0.88``."""
    found = re.search(r"\bV(\d+\.\d+\.\d+)\b", text)
    return found.group(1) if found else None


def parse_cutlass_version(text: str) -> str | None:
    """The three numbers of ``cutlass/version.h``."""
    numbers = [
        re.search(rf"^#define\s+CUTLASS_{part}\s+(\d+)", text, re.MULTILINE) for part in ("MAJOR", "MINOR", "PATCH")
    ]
    return ".".join(number.group(1) for number in numbers if number) if all(numbers) else None


def parse_dpkg_status(text: str, prefix: str) -> dict[str, str]:
    """Installed packages with that prefix and their versions, of ``/var/lib/dpkg/status``."""
    found = {}
    for match in re.finditer(rf"^Package: ({re.escape(prefix)}\S*)\n((?:.+\n)*)", text, re.MULTILINE):
        version = re.search(r"^Version: (\S+)", match.group(2), re.MULTILINE)
        if version and re.search(r"^Status: \S+ \S+ installed$", match.group(2), re.MULTILINE):
            found[match.group(1)] = version.group(1)
    return found


def find_toolkits(
    root: Root, prefixes: Sequence[str], environ: Mapping[str, str], ask_nvcc: Callable[[str], str] | None = None
) -> list[Record]:
    """The contract's ``toolkits``.

    :param ask_nvcc: runs ``<path> --version`` for a toolkit of which only the header tells the release; without it the
        release stands for the version.
    """
    folders = [pair for prefix in prefixes for pair in _pypi_toolkits(root, prefix)]
    others = [*root.glob("/usr/local/cuda-*"), *root.glob("/usr/local/cuda"), *root.glob("/opt/cuda*")]
    others += [
        environ[name].rstrip("/") for name in ("CUDA_HOME", "CUDA_PATH") if environ.get(name, "").startswith("/")
    ]
    folders += [(folder, None) for folder in others]
    found: dict[str, Record] = {}
    for folder, site in folders:
        real = root.real(folder)
        record = None if real in found else _toolkit(root, real, site, ask_nvcc)
        if record:
            found[real] = record
    return list(found.values())


def find_compat(root: Root, prefixes: Sequence[str]) -> list[Record]:
    """The contract's ``compat``: every compatibility library, with what its own ELF note says.

    ``managed`` is a library below a prefix, or a package that ``<prefix>/state/compat.json`` lists as installed by us.
    """
    folders = [*root.glob("/usr/local/cuda-*/compat"), *root.glob("/usr/local/cuda/compat")]
    ours = {
        name for prefix in prefixes for name in root.read_json(f"{prefix}/state/compat.json").get("installed") or ()
    }
    for prefix in prefixes:
        folders += [*root.glob(f"{prefix}/compat/*"), *root.glob(f"{prefix}/compat/*/usr/local/cuda-*/compat")]
    found: dict[str, Record] = {}
    for folder in folders:
        real = root.real(folder)
        for name in root.listdir(real):
            library = LIBCUDA.match(name)
            if library and real not in found and not os.path.islink(root.path + f"{real}/{name}"):
                note = read_library_note(root.at(f"{real}/{name}")) or CompatNote(None, None, None)
                release = RELEASE.search(real)
                cuda = note.cuda or (release["release"] if release else None)
                package = f"cuda-compat-{cuda.replace('.', '-')}" if cuda else None
                found[real] = {
                    "package": package,
                    "version": library["version"],
                    "path": real,
                    "cuda": cuda,
                    "branches": note.branches,
                    "brands": note.brands,
                    "managed": package in ours or any(real.startswith(f"{prefix}/compat/") for prefix in prefixes),
                    "broken": _lost_links(root, real, library["version"]),
                }
    return list(found.values())


def _lost_links(root: Root, folder: str, version: str) -> list[str]:
    """The names that programs load the compatibility libraries by and that lead nowhere, where the libraries are."""
    return [
        f"{name}.so.1"
        for name in COMPAT_LINKS
        if root.exists(f"{folder}/{name}.so.{version}") and not root.exists(f"{folder}/{name}.so.1")
    ]


def read_library_note(path: str) -> CompatNote | None:
    """The compatibility note of a library file, of which only the pages with headers are read."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return read_compat_note(data)
    except (OSError, ValueError):
        return None


def find_cutlasses(root: Root, prefixes: Sequence[str], environ: Mapping[str, str]) -> list[Record]:
    """Every CUTLASS, ours first; ``path`` is the parent of its ``include``."""
    managed = [folder for prefix in prefixes for folder in root.glob(f"{prefix}/cutlass/*")]
    folders = [*managed, environ.get("CUTLASS_HOME", "").rstrip("/")]
    folders += ["/usr/local/cutlass", *root.glob("/opt/cutlass*"), "/usr/local", "/usr"]
    found: dict[str, Record] = {}
    for folder in folders:
        if not folder.startswith("/"):
            continue
        version = parse_cutlass_version(root.read(f"{folder}/{CUTLASS_HEADERS[0]}", 16384))
        real = root.real(folder)
        if real in found or not (version or (folder in managed and root.is_dir(folder))):
            continue
        found[real] = {
            "version": version or os.path.basename(folder),
            "commit": read_commit(root, folder),
            "path": folder,
            "broken": _broken_cutlass(root, folder)[:BROKEN_LIMIT],
        }
    return list(found.values())


def find_wheels(root: Root, prefixes: Sequence[str]) -> list[Record]:
    """The contract's ``wheels``: those that were built here and are kept by the key of what they were built from."""
    found = []
    for prefix in prefixes:
        for path in root.glob(f"{prefix}/wheels/*/*.whl"):
            key, name = path.split("/")[-2:]
            wheel = parse_wheel_name(name)
            if wheel and KEY.match(key):
                found.append({"key": key, "name": wheel["name"], "version": wheel["version"], "path": path})
    return found


def read_commit(root: Root, folder: str) -> str | None:
    """The commit that a git working tree stands on."""
    head = root.read(f"{folder}/.git/HEAD").strip()
    if head.startswith("ref: "):
        reference = head[5:]
        packed = re.search(
            rf"^([0-9a-f]{{40}}) {re.escape(reference)}$", root.read(f"{folder}/.git/packed-refs"), re.MULTILINE
        )
        head = root.read(f"{folder}/.git/{reference}").strip() or (packed.group(1) if packed else "")
    return head if re.fullmatch(r"[0-9a-f]{40}", head) else None


def _broken_cutlass(root: Root, folder: str) -> list[str]:
    """What is gone of the main headers and, where they came as a wheel, of all that its RECORD names."""
    lists = root.glob(f"{folder}/*.dist-info")
    headers, lost = _listed(root, lists)
    headers = {path: size for path, size in headers.items() if "/include/" in path}
    return sorted([*lost, *_broken(root, folder, {**dict.fromkeys(CUTLASS_HEADERS), **headers})])


def _pypi_toolkits(root: Root, prefix: str) -> list[tuple[str, str | None]]:
    """``(CUDA_HOME, where the wheels were unpacked)`` of toolkits made of PyPI's components."""
    pairs: list[tuple[str, str | None]] = []
    for site in root.glob(f"{prefix}/toolkits/*"):
        homes = root.glob(f"{site}/nvidia/cu[0-9]*") or [f"{site}/nvidia/cu{os.path.basename(site).split('.')[0]}"]
        pairs += [(home, site) for home in homes]
    return pairs


def _toolkit(root: Root, path: str, site: str | None, ask_nvcc: Callable[[str], str] | None) -> Record | None:
    """The record of one toolkit, ``None`` where the folder holds none. ``site`` is where its wheels were unpacked."""
    has_nvcc = root.is_executable(f"{path}/bin/nvcc")
    includes = [f"{path}/include", *root.glob(f"{path}/targets/*/include")]
    header = next((root.read(f"{folder}/cuda.h", 65536) for folder in includes if root.exists(f"{folder}/cuda.h")), "")
    lists = root.glob(f"{site or path + '/dist-info'}/*.dist-info")
    wheels = dict(re.findall(r"/nvidia_cuda_(\w+?)(?:_cu\d+)?-([\d.]+)\.dist-info", "\n".join(lists)))
    version = parse_version_json(root.read(f"{path}/version.json")) or wheels.get("nvcc") or wheels.get("runtime")
    version = version or parse_cuda_header(header) or (os.path.basename(site) if site else None)
    if not version or not (site or has_nvcc or header or root.exists(f"{path}/version.json")):
        return None
    release = ".".join(version.split(".")[:2])
    packages = [f"cuda-{part}-{release.replace('.', '-')}" for part in ("nvcc", "cudart-dev", "cudart")]
    is_packaged = path == f"/usr/local/cuda-{release}" and any(
        root.exists(f"{DPKG}/info/{name}.list") for name in packages
    )
    if version == release and is_packaged:
        version = parse_dpkg_status(root.read(f"{DPKG}/status"), packages[0]).get(packages[0], version).split("-")[0]
    if version == release and has_nvcc and ask_nvcc:
        version = parse_nvcc_version(ask_nvcc(f"{path}/bin/nvcc")) or version
    libraries = [name for folder in ("lib64", "lib") for name in root.listdir(f"{path}/{folder}")]
    has_header = any(root.exists(f"{folder}/cuda_runtime_api.h") for folder in includes)
    cudart = has_header and any(name.startswith(("libcudart.so", "libcudart_static.a")) for name in libraries)
    patch = parse_patch(root.read(f"{path}/version.json"))
    # That of wheels is as it was published; that of an image may have been patched for a newer glibc.
    math = next((root.read(f"{folder}/{MATH_HEADER}", MATH_LIMIT) for folder in includes if has_nvcc and not site), "")
    may_throw = parse_math_functions(math)
    return {
        "version": version,
        "release": release,
        **({"patch": patch} if patch else {}),
        **({} if may_throw is None else {"may_throw": may_throw}),
        "path": path,
        "provider": "pypi" if site else "apt" if is_packaged else "image",
        "cudart": cudart,
        "nvcc": has_nvcc,
        "components": find_components(
            root, [*includes, f"{path}/extras/CUPTI/include"], has_compiler=has_nvcc and cudart
        ),
        "broken": [*_broken_toolkit(root, path, site, lists), *_lost_parts(root, path, lists)][:BROKEN_LIMIT]
        if site
        else [],
    }


def find_components(root: Root, includes: Sequence[str], *, has_compiler: bool) -> list[str]:
    """The components of a toolkit, by the headers that they bring."""
    found = ["compiler"] if has_compiler else []
    for name, headers in COMPONENT_HEADERS.items():
        if has_compiler and all(
            any(root.exists(f"{folder}/{header}") for header in either.split("|") for folder in includes)
            for either in headers
        ):
            found.append(name)
    return found


def _lost_parts(root: Root, path: str, lists: Sequence[str]) -> list[str]:
    """What wheels leave out of a whole toolkit: a part of nvcc's own version, and the stub that programs link with."""
    versions = dict(re.findall(r"/nvidia_(cuda_nvcc|cuda_crt|nvvm)-([\d.]+)\.dist-info", "\n".join(lists)))
    nvcc = versions.get("cuda_nvcc")
    names = {"cuda_crt": "nvidia-cuda-crt", "nvvm": "nvidia-nvvm"}
    lost = [f"{name} {nvcc}" for part, name in names.items() if nvcc and versions.get(part, nvcc) != nvcc]
    is_linked = root.exists(f"{path}/{STUB}") or not root.exists(f"{path}/include/cuda.h")
    return [*lost, *([] if is_linked or not nvcc else [STUB])]


def _broken_toolkit(root: Root, path: str, site: str, lists: Sequence[str]) -> list[str]:
    """What the wheels brought and the disk lacks, relative to CUDA_HOME where it is inside."""
    rows, lost = _listed(root, lists)
    inside = os.path.relpath(path, root.real(site)) + "/"
    return sorted([*lost, *(name.removeprefix(inside) for name in _broken(root, site, rows))])


def broken_files(root: Root, site: str, info: str) -> tuple[str, ...]:
    """What the RECORD of a distribution lists and the disk lacks; a RECORD that is lost is itself what is missing."""
    rows, lost = _listed(root, [f"{site}/{info}"])
    return (*lost, *sorted(_broken(root, site, rows)))


def _listed(root: Root, infos: Sequence[str]) -> tuple[dict[str, int | None], list[str]]:
    """The files that the RECORDs of some ``*.dist-info`` folders list together, and the RECORDs that are lost."""
    records = {f"{os.path.basename(info)}/RECORD": read_record(root, info) for info in infos}
    rows = {path: size for record in records.values() for path, size in (record or {}).items()}
    return rows, [name for name, record in records.items() if record is None]


def _broken(root: Root, folder: str, rows: Mapping[str, int | None]) -> list[str]:
    damage = find_damage(root, folder, rows, measured_from=MEASURED_FROM)
    return [*damage.missing, *damage.resized]


def find_compilers(root: Root, path: Sequence[str], default: Mapping[str, Any] | None = None) -> list[Record]:
    """Every g++ and clang++, with its version by names and folders alone: none of them is started.

    ``[{kind: gcc|clang, path, version}]``, each real file once, in the order of the path.

    :param path: folders with programs.
    :param default: ``{path, version}`` of the compiler that a build takes, which was asked; its version is known.
    """
    folders = [folder for folder in path if not folder.endswith("/shims")]
    folders += [folder for pattern in TOOLSETS for folder in sorted(root.glob(pattern))]
    found: dict[str, Record] = {}
    for folder in dict.fromkeys(folders):
        for name in sorted(root.listdir(folder)):
            match = COMPILER.match(name)
            real = root.real(f"{folder}/{name}") if match else ""
            if not match or real in found or not root.is_executable(f"{folder}/{name}"):
                continue
            kind = "clang" if "clang" in os.path.basename(real) + name else "gcc"
            found[real] = {
                "kind": kind,
                "path": f"{folder}/{name}",
                "version": match["version"] or _version_of(root, kind, real),
            }
    _add_default(root, found, default)
    return list(found.values())[:COMPILER_LIMIT]


def _add_default(root: Root, found: dict[str, Record], default: Mapping[str, Any] | None) -> None:
    """What was asked says its version itself, and a program of its real file is listed by the same path."""
    if not default or not default.get("path"):
        return
    path, version = str(default["path"]), default.get("version")
    record = found.get(root.real(path))
    if record:
        record.update(path=path, version=version or record["version"])


def _version_of(root: Root, kind: str, real: str) -> str | None:
    """By the real file's path, or by the only folder of libraries that this gcc can have."""
    numbered = NUMBERED.search(real)
    if numbered:
        return numbered[1]
    if kind == "clang" or not real.startswith("/usr/bin/"):
        return None
    folders = {name for folder in root.glob("/usr/lib/gcc/*-linux*") for name in root.listdir(folder)}
    versions: Sequence[str] = sorted(name for name in folders if re.match(r"^\d+(\.\d+)*$", name))
    return versions[0] if len(versions) == 1 else None
