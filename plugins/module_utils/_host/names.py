# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What several parts must spell and read alike: names of packages, wheels and errors, start-up files, marks in them."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from urllib.parse import unquote

BEGIN = "# BEGIN podsmith.gpu"  # alone on the line before our lines in a file of somebody else's
END = "# END podsmith.gpu"  # alone on the line after them

LIBRARY_PATH, PRELOAD, VISIBLE = "LD_LIBRARY_PATH", "LD_PRELOAD", "CUDA_VISIBLE_DEVICES"
CUDA_VARIABLES = (LIBRARY_PATH, PRELOAD, VISIBLE)  # what decides which libcuda a program gets, and which GPUs

SH, CSH, FISH, PAM = "sh", "csh", "fish", "pam"  # who reads a start-up file
PAM_ENVIRONMENT = "/etc/environment"
PAM_FILES = (PAM_ENVIRONMENT, "/etc/security/pam_env.conf")
DOLLAR = "\0"  # stands in a word of a shell for a quoted "$", which names no variable
CSH_FILES = (".cshrc", ".tcshrc", ".login", "csh.cshrc", "csh.login")
# A line of pam_env: an assignment, or a name and its rules. A "#" ends it wherever it stands.
PAM_LINE = re.compile(r"(?P<head>\s*(?:export\s+)?(?P<name>[A-Za-z_]\w*)=)(?P<value>[^#]*)")
PAM_RULE = re.compile(r"""(?P<head>\b(?P<which>DEFAULT|OVERRIDE)=)(?P<value>"[^"]*"|\S*)""")

# The catalogue's section "forbidden", which hosts do not have: packages of the driver and what brings them.
DRIVER = (
    "cuda",
    "cuda-[0-9]*-[0-9]*",
    "cuda-runtime*",
    "cuda-demo-suite*",
    "cuda-drivers*",
    "nvidia-open*",
    "nvidia-driver*",
    "nvidia-headless*",
    "nvidia-dkms*",
    "nvidia-kernel*",
    "nvidia-firmware*",
    "nvidia-utils*",
    "nvidia-compute-utils*",
    "nvidia-legacy*",
    "nvidia-tesla*",
    "nvidia-persistenced*",
    "nvidia-modprobe*",
    "libcuda1*",
    "libnvidia-compute*",
    "libnvidia-gl*",
    "libnvidia-cfg1*",
    "libnvidia-ml1*",
    "libnvidia-decode*",
    "libnvidia-encode*",
    "libnvidia-fbc1*",
    "libnvidia-extra*",
    "libnvidia-common*",
    "libnvidia-gpucomp*",
    "libnvidia-nvvm*",
    "libnvidia-ptxjitcompiler1*",
    "linux-modules-nvidia-*",
    "linux-objects-nvidia-*",
    "linux-signatures-nvidia-*",
    "xserver-xorg-video-nvidia*",
    "firmware-nvidia-*",
    "kernel-firmware-nvidia*",
    "kmod-nvidia*",
    "akmod-nvidia*",
    "nvidia-kmod*",
    "nvidia-gfx*",
    "nvidia-compute-*",
    "nvidia-gl-*",
    "nvidia-video-*",
    "x11-video-nvidia*",
    "xorg-x11-nvidia*",
    "xorg-x11-drv-nvidia*",
    "libnvidia-cfg",
    "libnvidia-fbc",
    "libnvidia-ml",
)
# The names of catalogue/drivers.yml "errors", which hosts do not have: CUresult, and of cudaError_t what is not in it.
CUDA_ERRORS = {
    0: "CUDA_SUCCESS",
    1: "CUDA_ERROR_INVALID_VALUE",
    2: "CUDA_ERROR_OUT_OF_MEMORY",
    3: "CUDA_ERROR_NOT_INITIALIZED",
    34: "CUDA_ERROR_STUB_LIBRARY",
    35: "cudaErrorInsufficientDriver",
    36: "cudaErrorCallRequiresNewerDriver",
    46: "CUDA_ERROR_DEVICE_UNAVAILABLE",
    100: "CUDA_ERROR_NO_DEVICE",
    101: "CUDA_ERROR_INVALID_DEVICE",
    201: "CUDA_ERROR_INVALID_CONTEXT",
    209: "CUDA_ERROR_NO_BINARY_FOR_GPU",
    214: "CUDA_ERROR_ECC_UNCORRECTABLE",
    222: "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
    304: "CUDA_ERROR_OPERATING_SYSTEM",
    500: "CUDA_ERROR_NOT_FOUND",
    801: "CUDA_ERROR_NOT_SUPPORTED",
    802: "CUDA_ERROR_SYSTEM_NOT_READY",
    803: "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
    804: "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE",
    999: "CUDA_ERROR_UNKNOWN",
}
_WHEEL = re.compile(
    r"^(?P<name>[\w.]+)-(?P<version>[^-]+)(?:-\d[^-]*)?-(?P<python>[^-]+)-(?P<abi>[^-]+)-(?P<platform>[^-]+)\.whl$"
)
_DEVICE = re.compile(r"\s*(?:\+?(?P<index>[0-9]{1,9})|(?P<uuid>(?:GPU|MIG)-[\w-]+)).*")  # as CUDA reads an entry
_BLOCK = re.compile(rf"^[ ]*{BEGIN}\n(?P<lines>(?:(?![ ]*{BEGIN}\n).*\n)*?)[ ]*{END}(?:\n|\Z)", re.MULTILINE)


def error_name(code: int) -> str:
    """The name of a CUDA error; ``CUDA_ERROR_719`` where the table has none."""
    return CUDA_ERRORS.get(code, f"CUDA_ERROR_{code}")


def normalise(name: str) -> str:
    """A Python distribution's name as every tool compares it: ``Typing_Extensions`` is ``typing-extensions``.

    Source: https://packaging.python.org/en/latest/specifications/name-normalization/
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def parse_wheel_name(name: str) -> dict[str, str] | None:
    """``{name, version, python_tag, arch}`` of a wheel's file name, the name normalised; ``None`` for other files.

    ``arch`` is ``x86_64``, ``aarch64`` or empty. A name taken from a URL may have its ``+`` quoted.
    """
    found = _WHEEL.match(unquote(name))
    if not found:
        return None
    arch = next((arch for arch in ("x86_64", "aarch64") if found["platform"].endswith(arch)), "")
    return {"name": normalise(found["name"]), "version": found["version"], "python_tag": found["python"], "arch": arch}


def is_driver(name: str) -> bool:
    """Whether a package of a distribution belongs to NVIDIA's driver for Linux, or pulls it in."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in DRIVER)


def find_block(text: str) -> str | None:
    """The lines between our marks, ``None`` where there is no whole block."""
    found = _BLOCK.search(text)
    return found["lines"] if found else None


def with_block(text: str, lines: str) -> str:
    """The text with the block at its top, wherever it stood before."""
    return f"{BEGIN}\n{lines}{END}\n{without_block(text)}"


def without_block(text: str) -> str:
    """The text without our blocks; a mark that has lost its partner stays, and what stands around it."""
    return _BLOCK.sub("", text)


def foreign_lines(text: str) -> list[str]:
    """The lines of a text, those of our blocks empty, so that the place of each is its number."""
    return _BLOCK.sub(lambda block: "\n" * block.group().count("\n"), text).splitlines()


def list_visible(value: str, gpus: int | None, uuids: Sequence[str] = ()) -> list[str]:
    """The GPUs that CUDA takes from CUDA_VISIBLE_DEVICES: up to the first entry that names none of the host's.

    Measured on an H200, driver 580: an empty value, -1, a word, and a first number beyond the GPUs hide all; a GPU that
    is named twice is refused with error 101.

    :param gpus: how many the host has, None where that is not known.
    :param uuids: of all of them in their order, where they are known: a GPU is then told by its number alone.
    """
    taken: list[str] = []
    for entry in value.split(","):
        match = _DEVICE.fullmatch(entry)
        if not match or (match["index"] and gpus is not None and int(match["index"]) >= gpus):
            break
        name = match["uuid"] or str(int(match["index"]))
        if uuids and name.startswith("GPU-"):
            fitting = [number for number, uuid in enumerate(uuids) if uuid.startswith(name)]
            if len(fitting) != 1:
                break
            name = str(fitting[0])
        taken.append(name)
    return taken


def dialect_of(file: str) -> str:
    """Who reads a start-up file: ``pam``, ``csh``, ``fish``, or ``sh`` for the shells of POSIX's kind."""
    name = file.rpartition("/")[2]
    if file in PAM_FILES or name == ".pam_environment":
        return PAM
    if name.endswith(".csh") or name in CSH_FILES:
        return CSH
    return FISH if name.endswith(".fish") else SH


def list_pam_lines(text: str) -> list[tuple[int, str, str]]:
    """``(line, name, value)`` of what pam_env sets; of ``NAME DEFAULT=… OVERRIDE=…`` what overrides.

    Nothing is expanded in ``/etc/environment``; ``${NAME}`` of the other files stays as it was written.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if plain := PAM_LINE.match(line):
            found.append((number, plain["name"], _unquote(plain["value"].rstrip())))
        elif rules := {rule["which"]: rule["value"].strip('"') for rule in PAM_RULE.finditer(line.partition("#")[0])}:
            found.append((number, line.split()[0], rules.get("OVERRIDE") or rules.get("DEFAULT", "")))
    return found


def _unquote(value: str) -> str:
    """A value without the quote that it begins with, and without one at its end."""
    if value[:1] not in ("'", '"'):
        return value
    return value[1:-1] if len(value) > 1 and value[-1] in "'\"" else value[1:]
