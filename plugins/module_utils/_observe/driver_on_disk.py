# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver on the disk beside the one in the kernel: who installed it, what the next boot loads, what forbids that.

Files alone are read. What made the two differ is looked for only where they do.
"""

from __future__ import annotations

import gzip
import io
import re
from collections.abc import Iterator, Mapping
from typing import Any, Callable

from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.driver import read_loaded

Record = dict[str, Any]

STATUS = "/var/lib/dpkg/status"
PREFERENCES = "/etc/apt/preferences.d"
OUR_PREFERENCES = f"{PREFERENCES}/podsmith-nvidia-driver"
HISTORY = ("/var/log/apt/history.log", "/var/log/apt/history.log.1.gz")
DPKG_LOGS = ("/var/log/dpkg.log", "/var/log/dpkg.log.1")
EFI = "/sys/firmware/efi"
SECURE_BOOT = f"{EFI}/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"  # four bytes of attributes, then 0 or 1
MOK_LIST = f"{EFI}/efivars/MokListRT-605dab50-e046-4300-abb6-3dd810dd8b23"
MOK_KEYS = (
    "/var/lib/dkms/mok.pub",
    "/var/lib/shim-signed/mok/MOK.der",
)  # DKMS signs with the first, Ubuntu's with the other
RUNFILE = ("/usr/bin/nvidia-uninstall", "/usr/bin/nvidia-installer")  # packages bring neither
ELSEWHERE = {
    "container": "This is a container, which uses its host's driver and cannot upgrade it; upgrade the "
    "driver on the host itself.",
    "wsl2": "This is WSL2, where the driver is the one of Windows and a Linux driver breaks CUDA; update the NVIDIA "
    "driver in Windows.",
}  # kind of machine -> why a driver is not installed there
RPM_DATABASES = ("/var/lib/rpm", "/usr/lib/sysimage/rpm")
DISPLAY, NVIDIA = "0x03", "0x10de"  # PCI's class of display controllers, and its number of the vendor
MODULES = ("nvidia_uvm", "nvidia_drm", "nvidia_modeset", "nvidia")

# Packages whose version is a driver's; nvidia-container-toolkit and Debian's nvidia-cuda-toolkit have other numbers.
NAME = (
    r"(?:lib)?nvidia-\S+|lib\w+-nvidia\S*|libcuda1|libcudadebugger1|libnvcuvid1|libnvoptix1|cuda-drivers\S*"
    r"|xserver-xorg-video-nvidia\S*|firmware-nvidia-gsp\S*|linux-(?:modules|objects)-nvidia\S*"
)
STANZA = re.compile(rf"^Package: (?P<name>{NAME})\n(?P<body>(?:.+\n)*)", re.MULTILINE)
VERSION = re.compile(r"^(?:\d+:)?(?P<version>\d{3,}(?:\.\d+){1,2})(?=[^\d.]|$)")
NVIDIAS = re.compile(r"^(?:cuda-drivers|nvidia-open)(?:-\d+)?$")  # names that its own repository alone has
PINNING = re.compile(r"^Package: nvidia-driver-pinning-(?P<pin>[\d.]+)\n", re.MULTILINE)
LIBRARY = re.compile(r"\.so\.(?P<version>\d{3,}(?:\.\d+){1,2})$")


def parse_packages(text: str) -> dict[str, Record]:
    """The driver's installed packages in dpkg's status: ``{name: {version, held, nvidia}}``."""
    found = {}
    for match in STANZA.finditer(text):
        fields = dict(re.findall(r"^(Status|Version|Maintainer): (.+)$", match["body"], re.MULTILINE))
        if fields.get("Status", "").endswith(" installed") and VERSION.match(fields.get("Version", "")):
            found[match["name"]] = {
                "version": fields["Version"],
                "held": fields["Status"].startswith("hold "),
                "nvidia": "nvidia.com" in fields.get("Maintainer", "") or bool(NVIDIAS.match(match["name"])),
            }
    return found


def parse_flavor(packages: Mapping[str, Any]) -> str | None:
    """Which kernel modules the packages bring; ``None`` where they bring none."""
    kernel = [name for name in packages if re.search(r"dkms|kernel|linux-\w+-nvidia|^nvidia-open|^cuda-drivers", name)]
    if not kernel:
        return None
    return "open" if any("open" in name.split("-") for name in kernel) else "proprietary"


def parse_modinfo(text: str) -> Record:
    """``{version, flavor}`` of ``modinfo nvidia``, both ``None`` where it knows no such module."""
    fields = dict(re.findall(r"^(version|license):\s*(.+?)\s*$", text, re.MULTILINE))
    version = VERSION.match(fields.get("version", ""))
    if not version:
        return {"version": None, "flavor": None}
    return {"version": version["version"], "flavor": "open" if "MIT" in fields.get("license", "") else "proprietary"}


def parse_pin(text: str) -> str | None:
    """The versions that a file of apt's preferences holds to."""
    found = re.search(r"^Pin: version (\S+)$", text, re.MULTILINE)
    return found.group(1) if found else None


def parse_history(text: str) -> Record | None:
    """The last action in apt's ``history.log`` that changed a driver's package."""
    last = None
    for stanza in text.split("\n\n"):
        fields = dict(re.findall(r"^([A-Z][A-Za-z-]+): (.+)$", stanza, re.MULTILINE))
        for verb in ("Upgrade", "Downgrade", "Install"):
            changes = re.findall(rf"(?:^|, )({NAME}):\w+ \(([^)]*)\)", fields.get(verb, ""))
            for name, versions in changes:
                numbers = [part for part in versions.split(", ") if VERSION.match(part)]
                if numbers:
                    last = {
                        "at": " ".join(fields.get("Start-Date", "").split()) or None,
                        "command": fields.get("Commandline"),
                        "by": (fields.get("Requested-By") or "").split(" ")[0] or None,
                        "package": name,
                        "from": numbers[0] if len(numbers) > 1 else None,
                        "to": numbers[-1],
                    }
                    break
    return last


def parse_dpkg_log(text: str) -> Record | None:
    """The last line of ``dpkg.log`` that changed a driver's package; it does not tell who asked for it."""
    last = None
    for match in re.finditer(rf"^(\S+ \S+) (?:upgrade|install) ({NAME}):\w+ (\S+) (\S+)$", text, re.MULTILINE):
        if VERSION.match(match[4]):
            old = match[3] if VERSION.match(match[3]) else None
            last = {"at": match[1], "command": None, "by": None, "package": match[2], "from": old, "to": match[4]}
    return last


def observe_disk(root: Root, kernel: str | None, ask_modinfo: Callable[[], str] | None) -> Record:
    """The contract's ``installed.driver``.

    :param kernel: release of the running kernel, for which the module was built or not.
    :param ask_modinfo: runs ``modinfo nvidia``; ``None`` where there is nobody to ask, as in a recording.
    """
    status = root.read(STATUS)
    packages = parse_packages(status)
    loaded = read_loaded(root).version
    library = LIBRARY.search(root.find_library("libnvidia-ml.so.1") or "")
    built = _dkms_version(root, kernel, library["version"] if library else None)
    module = {"version": built, "flavor": None}
    if built is None and ask_modinfo and _has_module(root, kernel):
        module = parse_modinfo(ask_modinfo())
    pinning = PINNING.search(status)
    record = {
        "packages": {name: row["version"] for name, row in packages.items()},
        "source": _source(root, packages),
        "flavor": module["flavor"] or parse_flavor(packages),
        "held": _is_held(packages, (library["version"] if library else None) or module["version"]),
        "pinned": parse_pin(root.read(OUR_PREFERENCES)) or (f"{pinning['pin']}*" if pinning else None),
        "module_version": module["version"],
        "library_version": library["version"] if library else None,
        "loaded_version": loaded,
        "dkms": built is not None,
        "headers": root.exists(f"/lib/modules/{kernel}/build") if kernel and root.exists("/lib/modules") else None,
        "secure_boot": _secure_boot(root),
        "mok": _mok(root),
        "nouveau_loaded": root.is_dir("/sys/module/nouveau"),
        "in_use": _in_use(root) if loaded else None,
        "pci": _pci(root),
        "changed": None,
    }
    on_disk = {record["library_version"], record["module_version"]} - {None}
    if loaded and on_disk - {loaded}:
        record["changed"] = _find_change(root)
    return record


def _source(root: Root, packages: Mapping[str, Record]) -> str | None:
    """Who installed the driver; ``None``: not known, because rpm's database is not read."""
    if packages:
        return "apt" if any(row["nvidia"] for row in packages.values()) else "distribution"
    if any(root.exists(path) for path in RUNFILE):
        return "runfile"
    return None if not root.exists(STATUS) and any(root.is_dir(path) for path in RPM_DATABASES) else "none"


def _pci(root: Root) -> list[str]:
    """The device ids of NVIDIA's GPUs: there before any driver is, and where a driver leaves one out."""
    found = []
    for path in root.glob("/sys/bus/pci/devices/*"):
        is_gpu = root.read(f"{path}/class").startswith(DISPLAY) and root.read(f"{path}/vendor").strip() == NVIDIA
        if is_gpu:
            found.append(root.read(f"{path}/device").strip().replace("0x", ""))
    return found


def _is_held(packages: Mapping[str, Record], version: str | None) -> bool:
    """Whether apt leaves the driver alone; a tool of another version, such as nvidia-settings, is not the driver."""
    numbers = {name: VERSION.match(row["version"]) for name, row in packages.items()}
    own = [row for name, row in packages.items() if (found := numbers[name]) and version in (None, found["version"])]
    return bool(own) and all(row["held"] for row in own)


def _dkms_version(root: Root, kernel: str | None, library: str | None) -> str | None:
    """The version that DKMS has built for the running kernel: ``/var/lib/dkms/nvidia/580.95.05/<kernel>``.

    Of several, one of which was left behind, it is the libraries'.
    """
    paths = root.glob(f"/var/lib/dkms/nvidia*/*/{kernel}") if kernel else []
    found = [match["version"] for match in (VERSION.match(path.split("/")[-2]) for path in paths) if match]
    return library if library in found else found[-1] if found else None


def _has_module(root: Root, kernel: str | None) -> bool:
    base = f"/lib/modules/{kernel}"
    places = ("updates/dkms", "extra", "kernel/drivers/video", "kernel/nvidia-*", "updates")
    return any(root.glob(f"{base}/{place}/nvidia.ko*") for place in places)


def _secure_boot(root: Root) -> bool | None:
    if not root.is_dir(EFI):
        return False if root.is_dir("/sys/firmware") and root.listdir("/sys/firmware") else None
    value = root.read_bytes(SECURE_BOOT)
    return value[4] == 1 if len(value) == 5 else None


def _mok(root: Root) -> str | None:
    """Whether the firmware trusts the key that modules built here are signed with."""
    keys = [key for key in (root.read_bytes(path) for path in MOK_KEYS) if key]
    trusted = root.read_bytes(MOK_LIST)
    if not keys:
        return "none"
    if not trusted:
        return None
    return "enrolled" if any(key in trusted for key in keys) else "waiting"


def _in_use(root: Root) -> bool:
    """Whether something beside the driver's own modules holds one of them, a desktop or a daemon too."""
    for module in MODULES:
        count = root.read(f"/sys/module/{module}/refcnt").strip()
        if count.lstrip("-").isdigit() and int(count) > len(root.listdir(f"/sys/module/{module}/holders")):
            return True
    return False


def _find_change(root: Root) -> Record | None:
    for parse, paths in ((parse_history, HISTORY), (parse_dpkg_log, DPKG_LOGS)):
        for path, text in _texts(root, paths):
            found = parse(text)
            if found:
                return {**found, "log": path}
    return None


def _texts(root: Root, paths: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for path in paths:
        content = root.read_bytes(path)
        if path.endswith(".gz") and content:
            try:
                content = gzip.GzipFile(fileobj=io.BytesIO(content)).read()
            except (OSError, EOFError):
                continue
        yield path, content.decode("utf-8", "replace")
