# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One observation of a host: every reader called once, the slow ones side by side with the reading of files."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podsmith.gpu.plugins.module_utils._host.child import (
    Child,
    Outcome,
    start_call,
    start_command,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import LIBRARY_PATH
from ansible_collections.podsmith.gpu.plugins.module_utils._host.pip import observe_sources
from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root, find_home, split_path
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.driver import (
    add_xids,
    observe_driver,
    read_kernel_log,
    read_nvml,
    run_smi,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.driver_on_disk import observe_disk
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.loader_search import (
    CACHE,
    NOTHING_LOADED,
    SONAME,
    find_libcuda,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.platform import (
    BIN_DIRS,
    Mount,
    find_compiler,
    find_persistent_dir,
    find_tool,
    measure_disks,
    network_mounts,
    observe_platform,
    parse_mounts,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.pythons import (
    EXTENSIONS,
    find_environment,
    find_generations,
    find_torches,
    read_state,
    site_folders,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.startup_files import digest_files, find_conflicts
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.toolkits import (
    find_compat,
    find_compilers,
    find_cutlasses,
    find_toolkits,
    find_wheels,
)

if TYPE_CHECKING:
    from ansible_collections.podsmith.gpu.plugins.module_utils._observe.ways import Sources, Way

SCHEMA = 2

Record = dict[str, Any]


class Asked(NamedTuple):
    """The ways into the host while they are asked."""

    sources: Sources
    ways: list[Way]
    children: dict[str, Child]
    problems: list[str]  # why one of them was not asked


def observe(sysroot: str, timeout: float, prefixes: Sequence[str], environ: Mapping[str, str]) -> Record:
    """Observe a host: the contract's ``ansible_facts['gpu']``.

    :param sysroot: ``/``, or the folder of a recorded or simulated host; then no child runs but its own nvidia-smi.
    :param timeout: seconds for each child.
    :param prefixes: where the collection may have installed, instead of the default places; the first counts most.
    """
    begin = time.monotonic()
    root, mounts, problems = open_root(sysroot, timeout)
    own_environ = environ if root.is_live else {}
    home = find_home(own_environ)
    volume = find_persistent_dir(root, environ, mounts)
    places = list(dict.fromkeys(prefixes)) or default_prefixes(volume, home)
    children = _start(root, environ, timeout)
    asked = _ask_ways(root, environ, places, timeout) if has_libcuda(root, own_environ) else None

    platform = observe_platform(root, environ, mounts)
    wanted = ["/", home, *([volume] if volume else []), *places]
    platform["free_gib"], platform["size_gib"] = measure_disks(root, wanted)
    sources = observe_sources(root, home, own_environ)
    installed = observe_installed(root, places, platform, own_environ, timeout)
    driver_begin = time.monotonic()
    driver, devices, driver_problems = _driver(root, children.get("nvml"), own_environ, timeout)
    timings = {"driver": time.monotonic() - driver_begin}
    installed["state"] = read_state(root, live_prefix(root, places), driver["version"])
    conflicts = find_conflicts(root, home, own_environ, driver, devices, installed["pytorch"])
    compiler = _compiler(root, own_environ, children.get("compiler"))
    if root.is_live:  # a recorded root has few programs, so that of others nothing is known
        installed["compilers"] = find_compilers(root, [*split_path(environ.get("PATH")), *BIN_DIRS], compiler)
    facts: Record = {
        "schema": SCHEMA,
        "platform": {**platform, "compiler": compiler},
        "driver": driver,
        "devices": devices,
        "sources": sources,
        "installed": installed,
        "conflicts": conflicts,
    }
    problems += driver_problems
    if root.is_live:
        ways_begin = time.monotonic()
        driver["libcuda"] = find_libcuda(root, driver, search_path(root, environ))
        if not asked and (installed["compat"] or conflicts):
            asked = _ask_ways(root, environ, places, timeout)
        facts["ways"], driver["native"] = _hear_ways(root, asked, driver, devices, timeout)
        facts["loader"] = facts["ways"].get("login", NOTHING_LOADED)
        problems += asked.problems if asked else []
        timings["ways"] = time.monotonic() - ways_begin
    timings["total"] = time.monotonic() - begin
    facts["problems"] = problems
    facts["timings"] = {name: round(seconds, 3) for name, seconds in timings.items()}
    return facts


def open_root(sysroot: str, timeout: float) -> tuple[Root, list[Mount], list[str]]:
    """The host's files without the network mounts that do not answer; each of those is a problem."""
    root = Root(sysroot)
    mounts = parse_mounts(root.read("/proc/self/mountinfo"))
    waiting = [
        (point, start_call(partial(os.path.isdir, point), timeout)) for point in network_mounts(mounts) if root.is_live
    ]
    closed = tuple(point for point, child in waiting if child.result().code is None)
    return (
        Root(sysroot, closed),
        mounts,
        [f"{point}: the network volume does not answer within {timeout:g} s" for point in closed],
    )


def default_prefixes(volume: str | None, home: str) -> list[str]:
    """Where the collection installs by itself: in system scope, on a volume that outlives the pod, in user scope."""
    return ["/opt/podsmith", *([f"{volume}/podsmith"] if volume else []), f"{home}/.local/share/podsmith"]


def live_prefix(root: Root, prefixes: Sequence[str]) -> str:
    """The first prefix with a live environment, else the first with a state, else the first."""
    for name in ("current", "state"):
        for prefix in prefixes:
            if root.is_dir(f"{prefix}/{name}"):
                return prefix
    return prefixes[0]


def observe_installed(
    root: Root, prefixes: Sequence[str], platform: Mapping[str, Any], environ: Mapping[str, str], timeout: float
) -> Record:
    """The contract's ``installed``, without ``state``."""
    home = platform["home"]
    live = live_prefix(root, prefixes)
    environment = find_environment(root, live)
    packages = environment["packages"] if environment else {}
    sites = site_folders(root, prefixes, platform["pythons"], home, environ, platform["persistent_dir"])
    cutlasses = find_cutlasses(root, prefixes, environ)

    def ask_nvcc(path: str) -> str:
        return start_command([path, "--version"], environ, timeout).result().out

    modinfo = find_tool(root, "modinfo", BIN_DIRS) if root.is_live else None

    def ask_modinfo() -> str:
        return start_command([str(modinfo), "nvidia"], environ, timeout).result().out

    return {
        "driver": observe_disk(root, platform["kernel"], ask_modinfo if modinfo else None),
        "toolkits": find_toolkits(root, prefixes, environ, ask_nvcc if root.is_live else None),
        "compat": find_compat(root, prefixes),
        "cutlass": next(
            (cutlass for cutlass in cutlasses if not cutlass["broken"]), cutlasses[0] if cutlasses else None
        ),
        "cutlasses": cutlasses,
        "pytorch": find_torches(root, sites, prefixes),
        "extensions": {name: packages[name] for name in EXTENSIONS if name in packages},
        "environment": environment,
        "environments": root.listdir(f"{live}/environments"),
        "generations": find_generations(root, live),
        "wheels": find_wheels(root, prefixes),
        "files": digest_files(root, prefixes, home),
    }


def search_path(root: Root, environ: Mapping[str, str]) -> list[str]:
    """The folders on the loader's search path of this process and of the container's first one."""
    return [*split_path(environ.get(LIBRARY_PATH)), *split_path(root.first_environ().get(LIBRARY_PATH))]


def has_libcuda(root: Root, environ: Mapping[str, str]) -> bool:
    """Whether this running host has a libcuda at all: else there is nothing to ask."""
    if not root.is_live:
        return False
    found = root.find_library(SONAME, tuple(search_path(root, environ)))
    return bool(found) or SONAME.encode() in root.read_bytes(CACHE)


def _start(root: Root, environ: Mapping[str, str], timeout: float) -> dict[str, Child]:
    """Start what may take long, each only where there is something to ask."""
    if not root.is_live:
        return {}
    children = {}
    more = tuple(split_path(environ.get(LIBRARY_PATH)))
    own_cuda, nvml = root.find_library(SONAME, more), root.find_library("libnvidia-ml.so.1", more)
    if nvml or b"libnvidia-ml.so.1" in root.read_bytes(CACHE):
        libraries = ["libnvidia-ml.so.1", *([nvml] if nvml else [])]
        children["nvml"] = start_call(partial(read_nvml, libraries, own_cuda), timeout)
    compiler = find_compiler(root, environ)
    if compiler:
        children["compiler"] = start_command([compiler, "-dumpfullversion", "-dumpversion"], environ, timeout)
    return children


def _ask_ways(root: Root, environ: Mapping[str, str], prefixes: Sequence[str], timeout: float) -> Asked:
    """Start the probe by every way into the host, all of them side by side."""
    # Most hosts have no libcuda: they do not pay for this module, which each run would compile anew.
    from ansible_collections.podsmith.gpu.plugins.module_utils._observe.ways import (  # noqa: PLC0415
        find_live_python,
        list_ways,
        read_sources,
        start_way,
    )

    sources = read_sources(root, environ, prefixes)
    python, problems = find_live_python(root, prefixes)
    ways = list_ways(root, sources, python)
    return Asked(sources, ways, {way.name: start_way(way, timeout) for way in ways}, problems)


def _hear_ways(
    root: Root, asked: Asked | None, driver: Mapping[str, Any], devices: Sequence[Record], timeout: float
) -> tuple[dict[str, Record], Record | None]:
    """The contract's ``ways`` and ``driver.native``: where one is wrong, what is behind it is asked as well."""
    if not asked:
        return {}, None
    from ansible_collections.podsmith.gpu.plugins.module_utils._observe.ways import (  # noqa: PLC0415
        find_native,
        is_wrong,
        parse_probe,
        start_native,
        start_way,
        with_image_path,
    )

    answers = {name: parse_probe(child.result()) for name, child in asked.children.items()}
    service = next(way for way in asked.ways if way.name == "service")
    by_image = with_image_path(service, asked.sources)
    if "error" in answers["service"] and by_image:  # an image that tells all it starts where the driver's library is
        answers["service"] = parse_probe(start_way(by_image, timeout).result())
    if not any(is_wrong(answer, driver, devices) for answer in answers.values()):
        return answers, None
    # A healthy host does not pay for the reading of traces.
    from ansible_collections.podsmith.gpu.plugins.module_utils._observe.trace import find_causes  # noqa: PLC0415

    heard = find_native(answers.values(), driver)
    native = start_native(driver["libcuda"], timeout) if driver["libcuda"] and not heard else None
    causes = find_causes(root, asked.ways, asked.sources, answers, (driver, devices), timeout)
    for name, rows in causes.items():
        answers[name]["causes"] = rows
    heard = parse_probe(native.result()) if native else heard
    return answers, {key: heard[key] for key in ("init", "devices")} if heard else None


def _driver(
    root: Root, child: Child | None, environ: Mapping[str, str], timeout: float
) -> tuple[Record, list[Record], list[str]]:
    outcome = child.result() if child else Outcome(0, "")
    nvml = json.loads(outcome.out) if outcome.code == 0 and outcome.out else None
    driver, devices, problems = observe_driver(
        root, nvml, partial(run_smi, root, environ, timeout), timeout, is_late=outcome.code is None
    )
    if devices and root.is_live:
        add_xids(devices, read_kernel_log())
    return driver, devices, problems


def _compiler(root: Root, environ: Mapping[str, str], child: Child | None) -> Record | None:
    path = find_compiler(root, environ)
    version = child.result().out.strip() if child else ""
    return {"path": path, "version": version or None} if path else None
