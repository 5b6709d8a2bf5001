# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An observed host as the rules read it: typed, overrides applied, gaps filled from the catalogue, unknown as None."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue, Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.jetson import Jetson, find_jetson, read_signs
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.ways import Answer, Way, read_answer, read_ways
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import Overrides

VGPU = re.compile(r"-(?:\d-)?\d+[ABCQ](?:ME)?$")  # memory in GB and kind; of a MIG-backed one the slices come before
CONSUMER = ("geforce", "titan")  # in NVML's name; never a data-centre GPU, whatever brand is reported


@dataclass(frozen=True)
class Gpu:
    """One GPU. ``known_by``: observed, model (looked up by name) or override; None where the capability is unknown."""

    name: str
    capability: str | None
    brand_id: int | None
    brand_observed: bool
    least_driver: str | None  # of the model, where it is higher than the capability's
    mig: bool = False
    xids: tuple[int, ...] = ()  # in the kernel's log since it started
    uuid: str | None = None
    memory_mib: float | None = None
    virtual: bool | None = None  # a vGPU: a share of a GPU, that a virtual machine was given; None: unknown
    compute_mode: str | None = None  # default, exclusive_process, prohibited


@dataclass(frozen=True)
class Python:
    """An interpreter on the host."""

    path: str
    version: str  # "3.12"
    headers: bool | None = None


@dataclass(frozen=True)
class Host:
    """The host as the rules see it. None means unknown everywhere; an empty tuple means none."""

    kind: str | None
    os_id: str | None
    os_version: str | None
    family: str | None
    arch: str
    glibc: str | None
    root: bool | None
    home: str | None
    persistent_dir: str | None
    pythons: tuple[Python, ...] | None
    compiler: str | None  # the version of g++
    compiler_missing: bool  # looked for and not there
    missing_tools: frozenset[str]
    free_gib: Mapping[str, float]
    memory_free_gib: float | None
    cpus: int | None
    status: str | None
    driver: str | None
    driver_cuda: str | None  # level of the driver itself
    gpus: tuple[Gpu, ...] | None
    wheels: tuple[Row, ...]
    toolkits: tuple[Row, ...]
    compat: tuple[Row, ...]
    cutlasses: tuple[Row, ...]
    pytorches: tuple[Row, ...]
    compiled: tuple[Row, ...]  # wheels that were built here
    live: Row | None
    generations: tuple[str, ...] | None
    built: tuple[Row, ...]  # the generations that say what they were built for
    files: Mapping[str, str] | None
    state: Row | None
    conflicts: tuple[Row, ...]
    target: bool = False  # an image under build: driver and GPUs are those that it is for, and nothing runs on them yet
    compiler_path: str | None = None
    compilers: tuple[Row, ...] = ()  # every C++ compiler that was seen, the default too
    kernel: str | None = None
    disk: Row | None = None  # the driver on the disk; None where nobody looked
    ways: Mapping[str, Way] | None = None  # None: nobody looked; empty: there is no libcuda to ask
    libcuda: str | None = None  # the driver's own
    searched: bool = False  # whether that was looked for
    native: Answer | None = None  # of the driver's own in a clean environment; None where nobody had to ask
    shm_mib: float | None = None  # of /dev/shm
    flavor: str | None = None  # of the driver: open, proprietary, windows
    recorded: bool = False  # read from texts of the host, which say what they say and no more
    size_gib: Mapping[str, float] = field(default_factory=dict)  # folder → the size of its file system
    libc: str | None = None  # glibc, musl
    container: Row | None = None  # which runtime, and how the driver's libraries came in; None: none, or nobody looked
    provider: str | None = None  # whose pod it is
    jetson: Jetson | None = None
    hidden: tuple[Gpu, ...] = ()  # GPUs that no program sees, see _plan/devices.py; not among `gpus` then
    os_like: tuple[str, ...] = ()  # ID_LIKE of os-release

    @property
    def wsl(self) -> bool:
        """Whether the driver is Windows's, with Windows's numbers."""
        return self.kind == "wsl2"

    @property
    def branch(self) -> int | None:
        """The branch of the kernel driver."""
        return parse_version(self.driver)[0] if self.driver else None

    @property
    def capabilities(self) -> tuple[str, ...]:
        """The known capabilities, each once, lowest first."""
        found = {gpu.capability for gpu in self.gpus or () if gpu.capability}
        return tuple(sorted(found, key=parse_version))

    @property
    def gpu_names(self) -> str:
        """The GPUs in words: '2x NVIDIA H200'."""
        names: dict[str, int] = {}
        for gpu in self.gpus or ():
            names[gpu.name] = names.get(gpu.name, 0) + 1
        return ", ".join(f"{count}x {name}" if count > 1 else name for name, count in names.items())

    def free_mib(self, path: str) -> float | None:
        """The free space where ``path`` is or will be: of the longest observed folder above it."""
        return _mib_at(path, self.free_gib)

    def size_mib(self, path: str) -> float | None:
        """The size of the file system where ``path`` is or will be."""
        return _mib_at(path, self.size_gib)

    def lacks(self, tool: str) -> bool:
        """Whether a tool was looked for and is not there."""
        return tool in self.missing_tools


def read_host(observed: Mapping[str, Any], overrides: Overrides, known: Catalogue) -> Host:
    """Read ``ansible_facts['gpu']``, of which any key may be absent."""
    platform, driver = _mapping(observed, "platform"), _mapping(observed, "driver")
    installed = _mapping(observed, "installed")
    system = _mapping(platform, "os")
    version = overrides.driver or _version(driver.get("version")) or _version(driver.get("branch"))
    gpus = _gpus(observed.get("devices"), overrides, known)
    signs = read_signs(platform, version, [(gpu.name, gpu.capability) for gpu in gpus or ()])
    jetson = find_jetson(signs, known)
    by_driver = (jetson.cuda if jetson else None) or level(version, known)
    return Host(
        kind=_text(platform.get("kind")),
        os_id=_text(system.get("id")),
        os_version=_text(system.get("version")),
        family=_text(system.get("family")),
        arch=_text(platform.get("arch")) or ("aarch64" if jetson else "x86_64"),
        glibc=_version(platform.get("glibc")),
        root=platform.get("root"),
        home=_text(platform.get("home")),
        persistent_dir=_text(platform.get("persistent_dir")),
        pythons=_pythons(platform),
        compiler=_version(_mapping(platform, "compiler").get("version")),
        compiler_missing="compiler" in platform and platform["compiler"] is None,
        compiler_path=_text(_mapping(platform, "compiler").get("path")),
        compilers=_rows(installed.get("compilers")),
        missing_tools=frozenset(str(name) for name, path in _mapping(platform, "tools").items() if path is None),
        free_gib=_sizes(platform, "free_gib"),
        memory_free_gib=_number(platform.get("memory_free_gib") or platform.get("memory_gib")),
        cpus=None if _number(platform.get("cpus")) is None else int(platform["cpus"]),
        status="ok" if overrides.driver else _text(driver.get("status")),
        driver=version,
        driver_cuda=by_driver if overrides.driver else _own_level(driver, version, by_driver, known),
        gpus=gpus,
        wheels=_rows(_mapping(observed, "sources").get("wheels")),
        toolkits=_rows(installed.get("toolkits")),
        compat=_rows(installed.get("compat")),
        cutlasses=_rows(installed.get("cutlasses"))
        or _rows([installed["cutlass"]] if installed.get("cutlass") else None),
        pytorches=_rows(installed.get("pytorch")),
        compiled=_rows(installed.get("wheels")),
        live=installed.get("environment") or None,
        generations=None if installed.get("environments") is None else tuple(map(str, installed["environments"])),
        built=_rows(installed.get("generations")),
        files=installed.get("files"),
        state=installed.get("state") or None,
        conflicts=_rows(observed.get("conflicts")),
        target=bool(observed.get("target")),
        kernel=_text(platform.get("kernel")),
        disk=installed.get("driver") or None,
        ways=read_ways(observed),
        libcuda=_text(driver.get("libcuda")),
        searched="libcuda" in driver,
        native=read_answer(driver.get("native")),
        flavor=_text(driver.get("flavor")),
        recorded=observed.get("recorded") is True,
        os_like=tuple(map(str, _rows(system.get("like")))),
        shm_mib=_number(_mapping(platform, "limits").get("shm_mib")),
        size_gib=_sizes(platform, "size_gib"),
        libc=_text(platform.get("libc")),
        container=_mapping(platform, "container") or None,
        provider=_text(platform.get("provider")),
        jetson=jetson,
    )


def _own_level(driver: Mapping[str, Any], version: str | None, by_driver: str | None, known: Catalogue) -> str | None:
    """The CUDA release that was read, unless it is of a branch newer than the driver's: then a compat library said it.

    nvidia-smi prints what the libcuda that it loads supports, which in a container may be a compat library.
    Source: https://docs.nvidia.com/deploy/cuda-compatibility/forward-compatibility.html
    """
    told = _version(driver.get("cuda"))
    if not (told and version and by_driver) or driver.get("source") != "nvidia_smi":
        return told or by_driver
    branches = known["drivers"]["branches"]
    branch = parse_version(version)[0]
    newer = [key for key in branches if int(key) > branch]
    least = by_driver if str(branch) in map(str, branches) else newer and str(branches[min(newer, key=int)]["cuda"])
    if not least or parse_version(told) < parse_version(least):
        return told
    return by_driver


def level(driver: str | None, known: Catalogue) -> str | None:
    """The CUDA release a Linux or Windows driver implements: of its branch, or of the newest listed one below it."""
    if driver is None:
        return None
    branches = known["drivers"]["branches"]
    older = [branch for branch in branches if int(branch) <= parse_version(driver)[0]]
    return str(branches[max(older, key=int)]["cuda"]) if older else None


def find_model(name: str, known: Catalogue) -> Row | None:
    """The catalogue's row for NVML's name of a GPU: the exact one, or that of the longest designation in the name."""
    models = known["gpus"]["models"]
    if name in models:
        return models[name]
    parts = [part for part, row in models.items() if row["match"] != "exact" and _names(part, name, row["match"])]
    return models[max(parts, key=len)] if parts else None


def _names(part: str, name: str, match: str) -> bool:
    """Whether a designation stands in a GPU's name by itself, or as the begin of one where it is a series."""
    if part not in name:
        return False
    before, _part, after = name.partition(part)
    return not before[-1:].isalnum() and (match == "series" or not after[:1].isdigit())


def _gpus(devices: Any, overrides: Overrides, known: Catalogue) -> tuple[Gpu, ...] | None:
    if devices is None:
        devices = [{}] if overrides.compute_capability else None
    if not isinstance(devices, Sequence):
        return None
    return tuple(_gpu(device if isinstance(device, Mapping) else {}, overrides, known) for device in devices)


def _gpu(device: Mapping[str, Any], overrides: Overrides, known: Catalogue) -> Gpu:
    name = _text(device.get("name")) or "GPU"
    model = find_model(name, known) or {}
    brand = overrides.brand_id if overrides.brand_id is not None else device.get("brand_id")
    if brand is None or not str(brand).isdecimal() or not int(brand):  # NVML's 0 is "unknown"
        brand = None
    return Gpu(
        name=name,
        capability=overrides.compute_capability
        or _version(device.get("compute_capability"))
        or _version(model.get("compute_capability")),
        brand_id=model.get("brand_id") if brand is None else int(brand),
        brand_observed=brand is not None,
        least_driver=model.get("least_driver"),
        mig=device.get("mig") is True,
        xids=tuple(int(str(code)) for code in _rows(device.get("xid")) if str(code).isdecimal()),
        uuid=_text(device.get("uuid")),
        memory_mib=_number(device.get("memory_mib")),
        virtual=_virtual(device.get("virtual"), name),
        compute_mode=_text(device.get("compute_mode")),
    )


def _virtual(observed: Any, name: str) -> bool | None:
    """Whether it is a vGPU: as NVML says, else by the name of a type, such as GRID A100D-16C or NVIDIA A16-8Q."""
    if isinstance(observed, bool):
        return observed
    return True if VGPU.search(name) else None


def is_consumer(gpu: Gpu) -> bool:
    """Whether the name alone says that it is a GeForce or a Titan."""
    return any(word in gpu.name.lower() for word in CONSUMER)


def _pythons(platform: Mapping[str, Any]) -> tuple[Python, ...] | None:
    rows = platform.get("pythons")
    if not isinstance(rows, Sequence) or not all(isinstance(row, Mapping) for row in rows):
        return None
    found = []
    for row in rows:
        version = _version(row.get("version"))
        if version and row.get("path"):
            minor = ".".join(version.split(".")[:2])
            found.append(Python(str(row["path"]), minor, row.get("headers")))
    return tuple(found)


def _sizes(platform: Mapping[str, Any], key: str) -> dict[str, float]:
    """Folder → GiB."""
    return {str(path): float(size) for path, size in _mapping(platform, key).items() if _number(size) is not None}


def _mib_at(path: str, sizes: Mapping[str, float]) -> float | None:
    """MiB of the longest folder that is ``path`` or lies above it."""
    above = [folder for folder in sizes if f"{path}/".startswith(f"{folder.rstrip('/')}/")]
    return sizes[max(above, key=len)] * 1024 if above else None


def _mapping(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = parent.get(key)
    return value if isinstance(value, Mapping) else {}


def _rows(value: Any) -> tuple[Row, ...]:
    return tuple(value) if isinstance(value, Iterable) and not isinstance(value, (str, Mapping)) else ()


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _text(value: Any) -> str | None:
    return str(value) if value not in (None, "") else None


def _version(value: Any) -> str | None:
    """``value`` as text where it is a version; what cannot be ordered is as good as unknown."""
    text = _text(value)
    try:
        parse_version(text or "")
    except ValueError:
        return None
    return text
