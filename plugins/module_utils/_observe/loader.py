# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which libcuda a fresh login shell gets and whether CUDA starts with it, found out in a child that does just that."""

from __future__ import annotations

import json
import os
import pwd
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.podsmith.gpu.plugins.module_utils._host.child import Child, Outcome, start_command
from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root, find_home, is_compat, split_path
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.driver import parse_cuda

ERRORS = {
    0: "CUDA_SUCCESS",
    1: "CUDA_ERROR_INVALID_VALUE",
    2: "CUDA_ERROR_OUT_OF_MEMORY",
    3: "CUDA_ERROR_NOT_INITIALIZED",
    34: "CUDA_ERROR_STUB_LIBRARY",
    35: "cudaErrorInsufficientDriver",
    46: "CUDA_ERROR_DEVICE_UNAVAILABLE",
    100: "CUDA_ERROR_NO_DEVICE",
    101: "CUDA_ERROR_INVALID_DEVICE",
    209: "CUDA_ERROR_NO_BINARY_FOR_GPU",
    214: "CUDA_ERROR_ECC_UNCORRECTABLE",
    222: "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
    304: "CUDA_ERROR_OPERATING_SYSTEM",
    802: "CUDA_ERROR_SYSTEM_NOT_READY",
    803: "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
    804: "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE",
    999: "CUDA_ERROR_UNKNOWN",
}  # CUresult, and of cudaError_t what a start may answer; names as in catalogue/drivers.yml
TIMEOUT = "TIMEOUT"

MARK = "podsmith-probe "
# Answers once before cuInit and once after it, so that a hang still tells which library it was.
PROBE = f"""
import ctypes, json, os
answer = {{}}
try:
    cuda = ctypes.CDLL("libcuda.so.1")
except OSError:
    print("\\n{MARK}" + json.dumps(answer), flush=True)
    os._exit(0)
number = ctypes.c_int()
if cuda.cuDriverGetVersion(ctypes.byref(number)) == 0:
    answer["driver_api"] = number.value
with open("/proc/self/maps") as maps:
    answer["libcuda"] = next((line.split(None, 5)[5].strip() for line in maps if "/libcuda.so" in line), None)
print("\\n{MARK}" + json.dumps(answer), flush=True)
answer["code"] = cuda.cuInit(0)
if answer["code"] == 0 and cuda.cuDeviceGetCount(ctypes.byref(number)) == 0:
    answer["devices"] = number.value
print("\\n{MARK}" + json.dumps(answer), flush=True)
os._exit(0)
"""
# $1: folders to put first on the search path, $2: the interpreter, $3: the probe
SCRIPT = """
[ -z "$1" ] || export LD_LIBRARY_PATH="$1${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
exec "$2" -I -S -c "$3"
"""
SHELLS = {"ash", "bash", "dash", "ksh", "sh", "zsh"}


def error_name(code: int) -> str:
    """The name of a CUresult."""
    return ERRORS.get(code, f"CUDA_ERROR_{code}")


def parse_probe(outcome: Outcome) -> dict[str, Any]:
    """Read what the probe said.

    :return: ``{libcuda, driver_api, compat_active, init: {code, name} | None, devices}``. There is no ``init`` without
        a libcuda; its code is ``None`` where cuInit did not return: name ``TIMEOUT``, or ``SIGNAL_11`` for a crash.
        Empty where the probe did not even start.
    """
    lines = [line[len(MARK) :] for line in outcome.out.splitlines() if line.startswith(MARK)]
    if not lines:
        return {} if outcome.code is not None else _loader({}, {"code": None, "name": TIMEOUT})
    answer = json.loads(lines[-1])
    code = answer.get("code")
    if code is not None:
        return _loader(answer, {"code": code, "name": error_name(code)})
    if "libcuda" not in answer:
        return _loader(answer, None)
    return _loader(answer, {"code": None, "name": TIMEOUT if outcome.code is None else f"SIGNAL_{-outcome.code}"})


def _loader(answer: Mapping[str, Any], init: dict[str, Any] | None) -> dict[str, Any]:
    libcuda = answer.get("libcuda")
    return {
        "libcuda": libcuda,
        "driver_api": parse_cuda(answer.get("driver_api")),
        "compat_active": bool(libcuda) and is_compat(libcuda or ""),
        "init": init,
        "devices": answer.get("devices", 0),
    }


def absent() -> dict[str, Any]:
    """The answer for a host without any libcuda."""
    return _loader({}, None)


def start_probe(
    env: Mapping[str, str], timeout: float, library_path: Sequence[str] = (), python: str | None = None
) -> Child:
    """Start the probe in a fresh login shell of this user.

    :param env: what the shell starts with, as of :func:`fresh_environment`.
    :param library_path: folders put first on the loader's search path, after the shell has read its start-up files.
    :param python: the interpreter to run the probe with, this one by default.
    """
    shell = env["SHELL"]
    argv = [shell, "-lc", SCRIPT, shell, ":".join(library_path), python or sys.executable, PROBE]
    return start_command(argv, env, timeout)


def fresh_environment(root: Root, environ: Mapping[str, str], own_dirs: Sequence[str] = ()) -> dict[str, str]:
    """What a new session of this user starts with, before its shell reads a file.

    That is what login sets, what PAM reads from ``/etc/environment``, and in a container the image's own search path:
    from the first process where that may be read, else from this one, without what looks like somebody's activation.

    :param own_dirs: folders of ours, which the image can't have set.
    """
    user = pwd.getpwuid(os.geteuid())
    shell = user.pw_shell if os.path.basename(user.pw_shell) in SHELLS and os.path.exists(user.pw_shell) else "/bin/sh"
    env = {
        "HOME": find_home(environ),
        "LOGNAME": user.pw_name,
        "USER": user.pw_name,
        "SHELL": shell,
        "TERM": "dumb",
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }
    image = parse_environ(root.read_bytes("/proc/1/environ"))
    library_path = image.get("LD_LIBRARY_PATH")
    if not image and "SSH_CONNECTION" not in environ:
        inherited = split_path(environ.get("LD_LIBRARY_PATH"))
        library_path = ":".join(
            folder for folder in inherited if not is_compat(folder) and not folder.startswith(tuple(own_dirs))
        )
    if library_path:
        env["LD_LIBRARY_PATH"] = library_path
    env.update(parse_pam_environment(root.read("/etc/environment")))
    env.pop("BASH_ENV", None)  # a script's bash reads it, last of all; the one that somebody logs in to does not
    return env


def parse_environ(data: bytes) -> dict[str, str]:
    """Parse ``/proc/<pid>/environ``."""
    pairs = (item.partition("=") for item in data.decode("utf-8", "replace").split("\0") if "=" in item)
    return {name: value for name, _sign, value in pairs}


def parse_pam_environment(text: str) -> dict[str, str]:
    """Parse ``/etc/environment`` as pam_env does: ``[export ]NAME=value``, nothing expanded."""
    found = {}
    for line in text.splitlines():
        name, sign, value = line.strip().partition("=")
        name = name[7:].strip() if name.startswith("export ") else name
        if sign and name.isidentifier():
            found[name] = value.strip("\"'") if value[:1] in ("'", '"') else value
    return found
