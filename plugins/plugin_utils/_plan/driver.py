# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel driver of a machine that its user owns: which one, with which modules, and whether it may be changed.

The rest of the plan is made for the driver that runs after the reboot: ``after_reboot`` answers with that host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue, Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.changes import Change
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.devices import guest_driver
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.driver_packages import (
    LEAVE,
    Kept,
    Planned,
    exact_by_stream,
    find_packages,
    keep_to,
    newest_of,
    replaced_by_rpm,
    unknown_system,
    with_driver,
    without_branches,
    without_manager,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import Gpu, Host, find_model, level
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.layout import RPM, find_manager, find_repository
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.platforms import not_on_jetson
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Reason, Refusal, WayOut
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import KEEP, Request
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import unlisted

NONE, INSTALL, UPGRADE, DOWNGRADE = "none", "install", "upgrade", "downgrade"
CHANGING = (INSTALL, UPGRADE, DOWNGRADE)
NO, NEEDED, PENDING = "no", "needed", "pending"
OPEN, PROPRIETARY = "open", "proprietary"
ROLE, SIZE = "nvidia_driver", "driver"


@dataclass(frozen=True)
class Driver:
    """The decision. ``version``: what the rest is planned for; ``exact``: whether it was wished as such."""

    action: str = KEEP
    branch: str | None = None
    version: str | None = None
    exact: bool = False
    flavor: str | None = None
    packages: tuple[str, ...] = ()
    pin: str | None = None  # the versions that apt may take, as a pattern of its preferences
    held: bool = False
    repository: str | None = None
    reboot: str = NO
    loaded: str | None = None
    source: str | None = None
    reasons: tuple[Reason, ...] = ()
    warnings: tuple[str, ...] = ()
    provider: str | None = None  # apt, rpm: the system's packages
    stream: str | None = None  # of a dnf module, which keeps to the branch
    lock: str | None = None  # of dnf's versionlock, where there are no streams
    lock_package: str | None = None  # the plugin that obeys it


def check_driver(request: Request, known: Catalogue) -> None:
    """Raise RequestError for a driver of a branch that the catalogue does not have."""
    branch = request.driver.partition(".")[0]
    if request.driver != KEEP and branch not in known["drivers"]["branches"]:
        raise unlisted("driver", branch, known["drivers"]["branches"])


def plan_driver(case: Case) -> Driver | Refusal:
    """The driver of one host, or why the requested one cannot be installed here and what to do instead."""
    host, request = case.host, case.request
    if request.driver == KEEP:
        return Driver(KEEP, str(host.branch) if host.branch else None, host.driver, loaded=host.driver)
    for rule in (in_container, on_wsl2, not_on_jetson, guest_driver):
        if refusal := rule(case):
            return refusal
    wish = request.driver
    branch, exact = wish.partition(".")[0], "." in wish
    disk: Mapping[str, Any] = host.disk or {}
    flavor = choose_flavor(case, int(branch))
    if isinstance(flavor, Refusal):
        return flavor
    there = next_boot(host)
    own = str(find_manager(case)["provider"])
    right_flavor = not flavor.must or disk.get("flavor") in (None, flavor.name)
    found = Driver(
        NONE,
        branch,
        there,
        exact,
        disk.get("flavor") or flavor.name,
        pin=None if own == RPM else f"{wish}*" if exact else f"{wish}.*",
        loaded=loaded(host),
        source=disk.get("source"),
        provider=own,
    )
    if there and meets(there, wish) and right_flavor:
        return _adopt(case, found)
    planned = Planned(wish if exact else newest_of(branch, case.known), there)
    for check in RULES:
        if refusal := check(case, planned):
            return refusal
    row = find_packages(case, int(branch)) or {}
    kept = keep_to(row, flavor.name, wish)
    names = [str(name).format(branch=branch) for name in row.get(flavor.name, ())]
    headers = [str(row["headers"]).format(kernel=host.kernel)] if disk.get("headers") is False and host.kernel else []
    action = INSTALL if there is None else UPGRADE
    if there and parse_version(planned.version) < parse_version(there) and not meets(there, wish):
        action = DOWNGRADE
    return replace(
        found,
        action=action,
        version=planned.version,
        flavor=flavor.name,
        packages=(*headers, *names),
        held=kept.by_apt,
        stream=kept.stream,
        lock=kept.lock,
        lock_package=row.get("lock_package"),
        repository=find_repository(case),
        reboot=NEEDED,
        reasons=(_reason(action, wish, there, row, kept.text), flavor.reason),
        warnings=_warn(case, flavor, kept),
    )


def _warn(case: Case, flavor: Flavor, kept: Kept) -> tuple[str, ...]:
    """What is to be known before a driver is installed."""
    disk: Mapping[str, Any] = case.host.disk or {}
    warnings = []
    if disk.get("nouveau_loaded"):
        warnings.append("The kernel's own nouveau drives the GPU until the reboot; NVIDIA's packages switch it off.")
    if not _gpus(case):
        text = f"No GPU was observed; {flavor.name} kernel modules are installed"
        warnings.append(f"{text}. If it is older than Turing, list its compute capability in architectures.")
    if kept.moves:
        text = "dnf keeps the driver to its branch and not to a version"
        warnings.append(f"{text}: an upgrade inside the branch stops CUDA until the next reboot.")
    if disk.get("secure_boot"):
        warnings.append("Secure Boot is on; the modules are signed with this machine's enrolled key.")
    return tuple(warnings)


def _adopt(case: Case, found: Driver) -> Driver:
    """A driver that is there already; where the kernel runs another than the disk has, a reboot is missing."""
    disk: Mapping[str, Any] = case.host.disk or {}
    waits = found.loaded is not None and found.version != found.loaded
    source = str(case.known["drivers"]["branches"][str(found.branch)]["source"])
    warnings = []
    if waits:
        text = f"driver {found.version} is installed and driver {found.loaded} runs until the reboot"
    else:
        text = f"driver {found.version} is installed and is of the requested branch {found.branch}: it is used as it is"
    if disk.get("source") in ("runfile", "distribution"):
        by = {"runfile": "NVIDIA's .run installer", "distribution": "the distribution's packages"}[disk["source"]]
        warnings.append(
            f"driver {found.version} came from {by}; it is not pinned, and can be upgraded behind your back."
        )
    return replace(
        found,
        held=disk.get("source") == "apt",
        reboot=PENDING if waits else NO,
        reasons=(Reason("driver-adopted", text, source),),
        warnings=tuple(warnings),
    )


def find_changes(case: Case, driver: Driver) -> Iterator[Change]:
    """What is pending of the driver, on the host as it is now."""
    host, sizes = case.host, case.known["sizes"]["sizes"][SIZE]
    disk: Mapping[str, Any] = host.disk or {}
    if driver.action in CHANGING:
        what = f"NVIDIA driver {driver.branch}"
        exactly = f"{driver.version}" if driver.exact else f"the newest of branch {driver.branch}"
        kept = Kept(driver.stream, driver.lock).text
        new = f"{exactly}, {driver.flavor} kernel modules, {kept}; then a reboot"
        action = INSTALL if driver.action == INSTALL else "replace"
        yield Change(ROLE, action, what, next_boot(host), new, sizes["mib"], sizes["disk_mib"], "/")
    elif driver.reboot == PENDING:
        yield Change(ROLE, "reboot", "the machine", f"driver {driver.loaded} runs", f"driver {driver.version}")
    if driver.action == NONE and driver.held and not (disk.get("held") and disk.get("pinned") == driver.pin):
        yield Change(ROLE, "repair", f"pin of NVIDIA driver {driver.branch}", disk.get("pinned"), driver.pin)


def after_reboot(case: Case, driver: Driver) -> Host:
    """The host as it will be once the planned driver runs; the same host where nothing changes."""
    host = case.host
    if driver.action not in CHANGING and driver.reboot != PENDING:
        return host
    gpus = _gpus(case)
    return replace(
        host,
        status="ok",
        driver=driver.version,
        driver_cuda=level(driver.version, case.known),
        gpus=gpus or None,
    )


# --- versions ---


def loaded(host: Host) -> str | None:
    """The driver in the kernel."""
    return (host.disk or {}).get("loaded_version") or host.driver


def next_boot(host: Host) -> str | None:
    """The driver that the next boot loads: the module on the disk, else its libraries, else what runs now."""
    disk: Mapping[str, Any] = host.disk or {}
    return disk.get("module_version") or disk.get("library_version") or loaded(host)


def meets(version: str, wish: str) -> bool:
    """Whether a driver is of the wished branch, or the wished one in all three numbers."""
    return parse_version(version) == parse_version(wish) if "." in wish else version.partition(".")[0] == wish


# --- the kernel modules ---


@dataclass(frozen=True)
class Flavor:
    """The kernel modules to take; ``must``: whether the GPU runs with these alone."""

    name: str
    must: bool
    reason: Reason


def choose_flavor(case: Case, branch: int) -> Flavor | Refusal:
    """Open modules where the GPU runs with no others, proprietary ones where it lacks what the open ones need."""
    known = case.known
    wanted: dict[bool, str] = {}
    rows = known["gpus"]["capabilities"]
    source = str(known["drivers"]["modules"][OPEN]["source"])
    for gpu in _gpus(case):
        row, model = rows.get(gpu.capability or "", {}), find_model(gpu.name, known) or {}
        only = row.get("open_module") if model.get("open_module") is None else model["open_module"]
        if only is not None:
            wanted[bool(only)] = f"{gpu.name} ({row.get('architecture', 'its architecture')})"
    if len(wanted) > 1:
        because = f"{wanted[True]} runs only with open kernel modules and {wanted[False]} only with proprietary ones"
        return Refusal(because, "Put these GPUs into two machines: one driver cannot run both.")
    for is_open, whose in wanted.items():
        name = OPEN if is_open else PROPRIETARY
        return Flavor(name, True, Reason("driver-modules", f"{whose} runs only with {name} kernel modules", source))
    since = int(known["drivers"]["modules"][OPEN]["default_since"])
    name = OPEN if branch >= since else PROPRIETARY
    text = f"{name} kernel modules are NVIDIA's default {'since' if name == OPEN else 'before'} branch {since}"
    return Flavor(name, False, Reason("driver-modules", text, source))


def _gpus(case: Case) -> tuple[Gpu, ...]:
    """The GPUs; without a driver by their PCI device ids, or by the architectures that are wished."""
    host = case.host
    if host.gpus:
        return host.gpus
    rows = [by_pci(str(device), case.known) for device in (host.disk or {}).get("pci") or ()]
    named = [(str(row["compute_capability"]), row.get("model")) for row in rows if row]
    named = named or [(name.rstrip("af"), None) for name in case.request.architectures or ()]
    models = case.known["gpus"]["models"]
    return tuple(
        Gpu(
            f"the {model or 'GPU'} of {capability}",
            capability,
            None,
            False,
            models.get(str(model), {}).get("least_driver"),
        )
        for capability, model in named
    )


def by_pci(device: str, known: Catalogue) -> Row | None:
    """The catalogue's row for NVIDIA's GPU with this PCI device id, four hexadecimal digits; None: not known."""
    try:
        number = int(device, 16)
    except ValueError:
        return None
    rows = known["gpus"]["pci"].items()
    return next((row for first, row in rows if int(first, 16) <= number <= int(row["last"], 16)), None)


# --- what may not be touched ---


def in_container(case: Case) -> Refusal | None:
    """A container uses its host's driver and cannot change it."""
    if case.host.kind != "container":
        return None
    remedy = f"A container's driver is changed on the host itself: {_elsewhere(case)}, and leave driver: keep."
    return Refusal(
        "this is a container, which uses its host's driver and cannot upgrade it",
        ways=(with_driver(case, remedy), LEAVE),
    )


def on_wsl2(case: Case) -> Refusal | None:
    """In WSL2 the driver is Windows's; a Linux one breaks it."""
    if not case.host.wsl:
        return None
    return Refusal(
        "this is WSL2, where the driver is the one of Windows and a Linux driver breaks CUDA",
        ways=(
            with_driver(case, "Update the NVIDIA driver in Windows, run wsl --shutdown, and leave driver: keep."),
            LEAVE,
        ),
    )


def _elsewhere(case: Case) -> str:
    """Asking for another host, in half a sentence."""
    wish = case.request.driver
    return f"use a host with driver {wish}" if "." in wish else f"use a host with a driver of branch {wish}"


def without_root(case: Case, _planned: Planned) -> Refusal | None:
    """A driver is installed for the whole system."""
    if case.host.root is False:
        ways = (WayOut("Run with become: true.", host={"root": True}), LEAVE)
        return Refusal("installing a driver needs root, and this is not root", ways=ways)
    if case.layout.scope != "system":
        because = "a driver is installed for the whole system, and the scope is user"
        system = WayOut("Set scope: system and run with become: true.", {"scope": "system"}, {"root": True})
        return Refusal(because, ways=(system, LEAVE))
    return None


def unfit_for_gpu(case: Case, planned: Planned) -> Refusal | None:
    """The driver runs every GPU: not older than the first for it, not newer than its last branch."""
    known, version = case.known, planned.version
    branch = parse_version(version)[0]
    for gpu in _gpus(case):
        row: Row = known["gpus"]["capabilities"].get(gpu.capability or "", {})
        whose = f"{gpu.name} ({row.get('architecture', 'unknown')})"
        least, last = gpu.least_driver or row.get("least_driver"), row.get("last_branch")
        if least and parse_version(version) < parse_version(least):
            fitting = next(
                (b for b in _branches(known) if parse_version(newest_of(b, known)) >= parse_version(least)), least
            )
            because = f"{whose} needs driver {least}, and driver {version} is older"
            return Refusal(because, f'Set driver: "{fitting}" or newer.', wish={"driver": fitting})
        if last and branch > last:
            because = f"driver branch {last} is the last one for {whose}, and {branch} is newer"
            return Refusal(because, f'Set driver: "{last}".', wish={"driver": str(last)}, ways=(LEAVE,))
    return None


def unfit_for_cuda(case: Case, planned: Planned) -> Refusal | None:
    """The driver runs the CUDA that is requested beside it."""
    request, known, version = case.request, case.known, planned.version
    row = known["cuda"]["releases"].get(request.cuda)
    if row is None or parse_version(version) >= parse_version(row["least_driver"]):
        return None
    own = level(version, known)
    because = f"driver {version} supports CUDA {own}; CUDA {request.cuda} needs driver {row['least_driver']}"
    least = str(parse_version(row["least_driver"])[0])
    older = (WayOut(f'Set cuda: "{own}".', {"cuda": own}),) if own else ()
    return Refusal(because, f'Set driver: "{least}" or newer.', wish={"driver": least}, ways=older)


def foreign_driver(case: Case, planned: Planned) -> Refusal | None:
    """A driver that came another way is not mixed with NVIDIA's packages."""
    host, there = case.host, planned.there
    source = (host.disk or {}).get("source")
    if source == "runfile":
        because = f"driver {there} was installed by NVIDIA's .run installer, which packages must not be mixed with"
        return Refusal(because, "Remove it first: nvidia-uninstall, then reboot.", ways=(LEAVE,))
    if source == "distribution":
        because = f"driver {there} comes from the distribution's packages, which NVIDIA's must not be mixed with"
        return Refusal(because, "Remove it first: apt-get purge '*nvidia*', then reboot.", ways=(LEAVE,))
    if host.disk is not None and source in (None, "none") and there:
        because = (
            f"driver {there} runs, and no package of this system and no uninstaller of NVIDIA's says where it came from"
        )
        return Refusal(because, "Remove it the way it was installed, then reboot.", ways=(LEAVE,))
    return None


def untrusted_modules(case: Case, _planned: Planned) -> Refusal | None:
    """With Secure Boot the kernel loads only modules whose key the firmware trusts."""
    disk: Mapping[str, Any] = case.host.disk or {}
    if not disk.get("secure_boot") or disk.get("mok") == "enrolled":
        return None
    key = "the key that modules built here are signed with is not enrolled"
    because = f"Secure Boot is on and {key}: after a reboot there would be no driver"
    return Refusal(
        because,
        "Enrol it: mokutil --import /var/lib/dkms/mok.pub (Ubuntu: /var/lib/shim-signed/mok/MOK.der), "
        "reboot, confirm at the console; "
        "or switch Secure Boot off in the firmware. Then run again.",
    )


RULES: tuple[Callable[[Case, Planned], Refusal | None], ...] = (
    without_root,
    without_manager,
    unknown_system,
    without_branches,
    replaced_by_rpm,
    exact_by_stream,
    unfit_for_gpu,
    unfit_for_cuda,
    foreign_driver,
    untrusted_modules,
)

# --- where it comes from ---


def _branches(known: Catalogue) -> list[str]:
    return sorted(known["drivers"]["branches"], key=int)


def _reason(action: str, wish: str, there: str | None, row: Row, kept: str) -> Reason:
    old = f"driver {there} is installed" if there else "there is no driver"
    verb = {INSTALL: "is installed", UPGRADE: "replaces it", DOWNGRADE: "replaces it with an older one"}[action]
    text = f"{old}; driver {wish} {verb}, {kept}; the rest is planned for after the reboot"
    return Reason("driver-wished", text, str(row.get("source", "")))
