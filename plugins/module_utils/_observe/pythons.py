# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every PyTorch on the host and our own environment, read from their files: nothing is imported."""

from __future__ import annotations

import hashlib
import mmap
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import normalise
from ansible_collections.podsmith.gpu.plugins.module_utils._host.pip import (
    BUILT_ON_TORCH,
    WATCHED,
    find_altered,
    mixed_majors,
    mixed_parts,
    parse_torch_version,
    read_record,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root
from ansible_collections.podsmith.gpu.plugins.module_utils._observe import toolkits

Record = dict[str, Any]

DIST_INFO = re.compile(r"^(?P<name>[^-]+)-(?P<version>[^-]+)\.dist-info$")
ARCH_LIST = re.compile(rb"\0((?:sm|compute)_\d+[af]?(?: (?:sm|compute)_\d+[af]?)*)\0")
OWN_FILE = "_podsmith_"
IDENTITY_FILE = "generation.json"  # in each generation: what it was built for
COMPLETE_FILE = ".podsmith-packages.json"  # in each environment whose packages came whole
OWN_FILE_LIMIT = 262144  # bytes; what we write into a generation is text
EXTENSIONS = BUILT_ON_TORCH


def parse_distributions(names: Iterable[str]) -> dict[str, str]:
    """Normalised name → version of the ``*.dist-info`` folders among the names."""
    found = (DIST_INFO.match(name) for name in names)
    return {normalise(match["name"]): match["version"] for match in found if match}


def read_arch_list(path: str) -> list[str] | None:
    """The GPU architectures of a torch, from its ``libtorch_python.so`` as ``torch.cuda.get_arch_list`` has them."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for word in (b"\0sm_", b"\0compute_"):
                position = data.find(word)
                while position >= 0:
                    found = ARCH_LIST.match(data, position)
                    if found:
                        return found.group(1).decode().split()
                    position = data.find(word, position + 1)
    except (OSError, ValueError):
        pass
    return None


def site_folders(
    root: Root,
    prefixes: Sequence[str],
    pythons: Sequence[Mapping[str, Any]],
    home: str,
    environ: Mapping[str, str],
    volume: str | None,
) -> dict[str, str | None]:
    """Folders in which a torch may lie → the interpreter that would import it, where it is known."""
    found: dict[str, str | None] = {}
    environments = [folder for prefix in prefixes for folder in root.glob(f"{prefix}/environments/*")]
    environments += [environ.get("VIRTUAL_ENV", ""), environ.get("CONDA_PREFIX", ""), "/venv", "/opt/conda"]
    for pattern in (
        "/opt/*",
        "/opt/*/.venv",
        "/opt/conda/envs/*",
        "/venv/*",
        "/workspace/*venv*",
        f"{volume or '/workspace'}/*venv*",
    ):
        environments += root.glob(pattern)
    environments += [f"{home}/{name}" for name in (".venv", "venv", "miniconda3", "miniforge3", "anaconda3")]
    for folder in dict.fromkeys(environments):
        if folder.startswith("/"):
            for site in root.glob(f"{folder}/lib/python3.*/site-packages"):
                binary = f"{folder}/bin/python"
                found.setdefault(site, binary if root.exists(binary) else None)
    for python in pythons:
        minor = ".".join(python["version"].split(".")[:2])
        base = os.path.dirname(os.path.dirname(root.real(python["path"])))
        for site in (f"{base}/lib/python{minor}/site-packages", f"{home}/.local/lib/python{minor}/site-packages"):
            found.setdefault(site, python["path"])
        if base in ("/usr", "/usr/local"):
            for site in (f"/usr/local/lib/python{minor}/dist-packages", f"/usr/local/lib/python{minor}/site-packages"):
                found.setdefault(site, python["path"])
    found.setdefault("/usr/lib/python3/dist-packages", "/usr/bin/python3")
    return found


def find_torches(root: Root, sites: Mapping[str, str | None], prefixes: Sequence[str]) -> list[Record]:
    """The contract's ``pytorch``: one record for each copy on the disk."""
    found: dict[str, Record] = {}
    for site, python in sites.items():
        version = parse_torch_version(root.read(f"{site}/torch/version.py", 4096))
        info = next((name for name in root.listdir(site) if re.match(r"torch-[^-]+\.dist-info$", name)), None)
        real = root.real(site)
        if real in found or not (version["local"] or info):
            continue
        match = DIST_INFO.match(info or "")
        local = version["local"] or (match["version"] if match else "")
        minor = re.search(r"/python(3\.\d+)/", site) or re.search(r"python(3\.\d+)", root.real(python or ""))
        library = root.at(f"{site}/torch/lib/libtorch_python.so")
        broken = [*broken_files(root, site, info), *lost_libraries(root, site)] if info else []
        packages = parse_distributions(root.listdir(site))
        found[real] = {
            "path": site,
            "python": python,
            "python_version": minor.group(1) if minor else None,
            "version": local.partition("+")[0],
            "local": local,
            "cuda": version["cuda"],
            "arch_list": read_arch_list(library) if version["cuda"] else [],
            "managed": any(site.startswith(f"{prefix}/environments/") for prefix in prefixes),
            "packages": packages,
            "incoherent": [*mixed_majors(packages), *mixed_parts(packages)],
            "broken": broken[: toolkits.BROKEN_LIMIT],
        }
    return list(found.values())


def lost_libraries(root: Root, site: str) -> list[str]:
    """The shared libraries that NVIDIA's packages of a folder list in their RECORD and that are not there.

    nvidia-nccl-cu12 and -cu13 own the same file: uninstalling one takes the other's, and pip's own check is content.
    """
    found = []
    for name in root.listdir(site):
        match = DIST_INFO.match(name)
        if match and normalise(match["name"]).startswith("nvidia-"):
            files = read_record(root, f"{site}/{name}") or {}
            libraries = [path for path in files if re.search(r"\.so(\.[0-9]+)*$", path)]
            found += [path for path in libraries if not root.exists(f"{site}/{path}")]
    return found


broken_files = cache(toolkits.broken_files)  # a torch of the live environment is asked for twice: 12,000 lines each


altered_files = cache(find_altered)  # of the live environment, too, which is read as one of the generations as well


def find_environment(root: Root, prefix: str) -> Record | None:
    """The live generation of a prefix: the contract's ``environment``."""
    path = root.real(f"{prefix}/current")
    if not root.is_dir(path):
        return None
    site = _site_packages(root, path)
    files = {name: digest for name in root.listdir(path) for digest in [digest_file(root, f"{path}/{name}")] if digest}
    for name in root.listdir(site) if site else []:
        digest = digest_file(root, f"{site}/{name}") if name.startswith(OWN_FILE) else None
        if digest:
            files[f"site-packages/{name}"] = digest
    return {"prefix": prefix, "path": path, **read_generation(root, path, live=True), "files": files}


def find_generations(root: Root, prefix: str) -> list[Record]:
    """The contract's ``generations``: those of a prefix that say what they were built for, the live one among them.

    One that does not say, of an unfinished run, is not looked into: its files are read for nothing.
    """
    folders = [f"{prefix}/environments/{name}" for name in root.listdir(f"{prefix}/environments")]
    live = root.real(f"{prefix}/current")
    return [
        read_generation(root, path, live=path == live) for path in folders if root.exists(f"{path}/{IDENTITY_FILE}")
    ]


def read_generation(root: Root, path: str, *, live: bool) -> Record:
    """What one generation is and holds, from its files alone; some of the live one's are compared by their digests."""
    site = _site_packages(root, path)
    minor = re.search(r"/python(3\.\d+)/", site or "")
    names = root.listdir(site) if site else []
    adopted = [
        line for name in names if name.endswith(".pth") for line in root.read(f"{site}/{name}", 65536).splitlines()
    ]
    packages: dict[str, str] = {}
    for folder in adopted:
        if folder.startswith("/"):
            packages.update(parse_distributions(root.listdir(folder)))
    packages.update(parse_distributions(names))
    infos = {normalise(match["name"]): name for name in names for match in [DIST_INFO.match(name)] if match}
    return {
        "name": os.path.basename(path),
        "identity": root.read_json(f"{path}/{IDENTITY_FILE}").get("identity"),
        "complete": site is None or root.exists(f"{path}/{COMPLETE_FILE}"),
        "python": minor.group(1) if minor else None,
        "packages": packages,
        "broken": [
            name
            for name, info in infos.items()
            if site
            and (
                broken_files(root, site, info)
                or (live and name in WATCHED and altered_files(root, site, f"{site}/{info}"))
            )
        ],
    }


def _site_packages(root: Root, path: str) -> str | None:
    """Where an environment's packages lie; None where it has none."""
    return next(iter(root.glob(f"{path}/lib/python3.*/site-packages")), None)


def digest_file(root: Root, path: str) -> str | None:
    """SHA-256 of a regular text file of ours, ``None`` where there is none."""
    size = root.size(path)
    if size is None or size > OWN_FILE_LIMIT or root.is_dir(path):
        return None
    return hashlib.sha256(root.read_bytes(path)).hexdigest()


def read_state(root: Root, prefix: str, driver: str | None = None) -> Record | None:
    """The contract's ``state``; a verdict on another decision than the one that stands is none.

    :param driver: the driver that runs now; what another one refused may work with this one, and is left out.
    """
    decision, verdict, compat = (
        root.read_json(f"{prefix}/state/{name}.json") for name in ("decision", "verdict", "compat")
    )
    if not (decision or verdict or compat):
        return None
    is_current = bool(verdict) and verdict.get("digest") == decision.get("digest")
    refused = compat.get("refused")
    entries = refused.items() if isinstance(refused, dict) else ()
    return {
        "decision": decision.get("digest"),
        "identity": (decision.get("environment") or {}).get("identity"),
        "verdict": ("ok" if verdict.get("ok") else "failed") if is_current else None,
        "driver": verdict.get("driver") if is_current else None,
        "reach": reach if is_current and isinstance(reach := verdict.get("reach"), dict) else None,
        "refused_compat": {
            name: entry.get("code")
            for name, entry in entries
            if isinstance(entry, dict) and (not driver or entry.get("driver") in (driver, "", None))
        },
    }
