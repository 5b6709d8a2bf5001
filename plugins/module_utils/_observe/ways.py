# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every way into the host: which libcuda it gets and whether CUDA starts, found out in children that come that way."""

from __future__ import annotations

import json
import os
import pwd
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.podsmith.gpu.plugins.module_utils._host.child import Child, Outcome, start_command
from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import error_name
from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import (
    LIBRARY_DIRS,
    TEGRA_DIRS,
    Root,
    find_home,
    is_compat,
    split_path,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.driver import parse_cuda
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.toolkits import LIBCUDA

TIMEOUT = "TIMEOUT"
SEEN = ("LD_LIBRARY_PATH", "LD_PRELOAD", "CUDA_VISIBLE_DEVICES")  # what decides which libcuda, and which GPUs

Record = dict[str, Any]

MARK = "podsmith-probe "
# Answers before each step that may hang or crash, so that such an end still tells how far it came.
PROBE = f"""
import ctypes, json, os, sys
answer = {{"environ": {{name: os.environ[name] for name in {SEEN!r} if name in os.environ}}}}
def say():
    print("\\n{MARK}" + json.dumps(answer), flush=True)
say()
try:
    cuda = ctypes.CDLL(sys.argv[1])
except OSError as error:
    answer.update(libcuda=None, error=str(error))
    say()
    os._exit(0)
number, start = ctypes.c_int(), ctypes.cast(cuda.cuInit, ctypes.c_void_p).value
with open("/proc/self/maps") as maps:
    for line in maps:
        fields = line.split(None, 5)
        low, high = (int(side, 16) for side in fields[0].split("-"))
        if low <= start < high:
            answer["libcuda"] = fields[5].strip() if len(fields) > 5 else None
if cuda.cuDriverGetVersion(ctypes.byref(number)) == 0:
    answer["driver_api"] = number.value
say()
answer["code"] = cuda.cuInit(0)
if answer["code"] == 0 and cuda.cuDeviceGetCount(ctypes.byref(number)) == 0:
    answer["devices"] = number.value
say()
os._exit(0)
"""
STUB = 34  # cuInit of a toolkit's stub library
# $1: folders to put first on the search path; the rest: what to run
SCRIPT = """
[ -z "$1" ] || export LD_LIBRARY_PATH="$1${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
shift
exec "$@"
"""
FISH_SCRIPT = """
test -n "$argv[1]"; and set -x LD_LIBRARY_PATH $argv[1] $LD_LIBRARY_PATH
exec $argv[2..]
"""
SHELLS = {"ash", "bash", "dash", "fish", "ksh", "sh", "zsh"}
INTERACTIVE = {"bash", "fish", "zsh"}  # of which an interactive one reads a file of its own
BASHES = ("/bin/bash", "/usr/bin/bash", "/usr/local/bin/bash", "/run/current-system/sw/bin/bash")
CALLED = {
    "login": "the login shell",
    "interactive": "the interactive shell",
    "pam": "the shell of a script",
    "command": "the shell of an ssh command",
    "service": "a program without a shell",
    "environment": "the live environment's python",
}  # ways, as a sentence names them
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PAM = "/etc/environment"
FIRST = "/proc/1/environ"
WSL = "/usr/lib/wsl/lib/libcuda.so.1"
CACHED = re.compile(rb"\0(/[^\0]*)/libcuda\.so\.1(?=\0)")  # a folder in /etc/ld.so.cache


class Sources(NamedTuple):
    """Where a new process of this user has its environment from."""

    login: dict[str, str]  # what every kind of session sets
    image: dict[str, str]  # of the container, as its first process has it, or of this process where that is closed
    pam: dict[str, str]  # of /etc/environment


class Way(NamedTuple):
    """A way into the host: what is started, with which environment."""

    name: str
    shell: str | None  # its path; None: a program is started without one
    flags: tuple[str, ...]
    env: dict[str, str]
    python: tuple[str, ...]  # the interpreter that the probe runs with, and its options


def parse_probe(outcome: Outcome) -> Record:
    """Read what the probe said.

    :return: ``{libcuda, version, driver_api, compat_active, stub, init: {code, name} | None, devices, environ}``. There
        is no ``init`` without a libcuda, and ``error`` is what the loader said; the code is ``None`` where cuInit did
        not return: name ``TIMEOUT``, ``SIGNAL_11`` for a crash, ``ENDED`` where the library ended the process. Empty
        where the probe did not even start.
    """
    answer = _last_answer(outcome.out)
    if answer is None:
        return {} if outcome.code is not None else _way({}, {"code": None, "name": TIMEOUT})
    code = answer.get("code")
    if code is not None:
        return _way(answer, {"code": code, "name": error_name(code)})
    if "error" in answer:
        return {**_way(answer, None), "error": answer["error"]}
    if outcome.code is None:
        return _way(answer, {"code": None, "name": TIMEOUT})
    return _way(answer, {"code": None, "name": f"SIGNAL_{-outcome.code}" if outcome.code < 0 else "ENDED"})


def _last_answer(out: str) -> Record | None:
    for line in reversed(out.splitlines()):
        try:
            answer = json.loads(line[len(MARK) :]) if line.startswith(MARK) else None
        except ValueError:  # cut off in the middle
            continue
        if isinstance(answer, dict):
            return answer
    return None


def _way(answer: Mapping[str, Any], init: Record | None) -> Record:
    libcuda = (answer.get("libcuda") or "").replace(" (deleted)", "") or None
    folders, version = (libcuda or "").split("/"), LIBCUDA.match(os.path.basename(libcuda or ""))
    is_stub = "stubs" in folders or (init or {}).get("code") == STUB
    return {
        "libcuda": libcuda,
        "version": version["version"] if version and not is_stub else None,
        "driver_api": parse_cuda(answer.get("driver_api")),
        "compat_active": is_compat(libcuda or "") and not is_stub,
        "stub": is_stub,
        "init": init,
        "devices": answer.get("devices", 0),
        "environ": answer.get("environ", {}),
    }


def absent() -> Record:
    """The answer for a host without any libcuda."""
    return _way({}, None)


def is_other_library(way: Mapping[str, Any], driver: Mapping[str, Any]) -> bool:
    """Whether a way loads a libcuda that the loaded driver does not work with.

    A compat library that is newer than the driver and with which CUDA starts does what it is for.
    """
    libcuda, version, own = way.get("libcuda"), way.get("version"), driver.get("version")
    if not libcuda:
        return False
    if way.get("stub"):
        return True
    if driver.get("flavor") == "windows":
        return not libcuda.startswith("/usr/lib/wsl/")
    is_other = bool(version and own and version != own)
    if not way.get("compat_active"):
        return is_other
    starts = (way.get("init") or {}).get("code") == 0
    return not (starts and is_other and _numbers(version) > _numbers(own))


def has_fewer_devices(way: Mapping[str, Any], devices: Sequence[Mapping[str, Any]]) -> bool:
    """Whether CUDA counts fewer GPUs than NVML; with MIG it counts slices, which tells nothing."""
    return int(way.get("devices") or 0) < len(devices) and not any(device.get("mig") for device in devices)


def is_wrong(way: Mapping[str, Any], driver: Mapping[str, Any], devices: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the answer of a way calls for its cause; a way that told nothing does not.

    That is no libcuda, a code of cuInit other than 0, a library that is not the driver's, fewer GPUs than NVML counts.
    """
    if not way:
        return False
    if (way.get("init") or {}).get("code") != 0:
        return True
    return is_other_library(way, driver) or has_fewer_devices(way, devices)


def _numbers(version: str | None) -> tuple[int, ...]:
    return tuple(int(part) for part in (version or "0").split("."))


def find_native(ways: Iterable[Record], driver: Mapping[str, Any]) -> Record | None:
    """The answer of a way that loaded the driver's own libcuda, and whose variables have no part in it."""
    free = (way for way in ways if way and not {"LD_PRELOAD", "CUDA_VISIBLE_DEVICES"} & way["environ"].keys())
    return next((way for way in free if way["libcuda"] and way["libcuda"] == driver.get("libcuda")), None)


def find_libcuda(root: Root, driver: Mapping[str, Any], more: Sequence[str] = ()) -> str | None:
    """The driver's own libcuda: of the kernel driver's version, in every folder where a runtime puts it.

    :param more: folders of search paths, looked into last, as are those of the loader's cache.
    """
    if driver.get("flavor") == "windows" or root.exists("/dev/dxg"):
        return WSL if root.exists(WSL) else None
    version = driver.get("version")
    if not version:
        return None
    cached = [folder.decode("utf-8", "replace") for folder in CACHED.findall(root.read_bytes("/etc/ld.so.cache"))]
    for folder in dict.fromkeys((*LIBRARY_DIRS, *cached, *more)):
        path = f"{folder}/libcuda.so.{version}"
        if root.exists(path) and not is_compat(root.real(path)):
            return root.real(path)
    for folder in TEGRA_DIRS:  # its library does not carry the version
        real = root.real(f"{folder}/libcuda.so.1")
        if root.exists(real) and not LIBCUDA.match(os.path.basename(real)):
            return real
    return None


def read_sources(root: Root, environ: Mapping[str, str], own_dirs: Sequence[str] = ()) -> Sources:
    """Where a new process of this user has its environment from.

    In a container that is also its image: the environment of the first process where that may be read, else the search
    path of this one, unless it is a session's. What our own activation has added to it is left out.

    :param own_dirs: folders of ours, which the image can't have set.
    """
    user = pwd.getpwuid(os.geteuid())
    is_known = os.path.basename(user.pw_shell) in SHELLS and os.path.exists(user.pw_shell)
    login = {
        "HOME": find_home(environ),
        "LOGNAME": user.pw_name,
        "USER": user.pw_name,
        "SHELL": user.pw_shell if is_known else "/bin/sh",
        "TERM": "dumb",
        "LANG": "C.UTF-8",
        "PATH": PATH,
    }
    image = parse_environ(root.read_bytes(FIRST))
    is_activated = not image or "PODSMITH_PREFIX" in image
    if not image and "SSH_CONNECTION" not in environ:
        image = {name: value for name, value in environ.items() if name == "LD_LIBRARY_PATH"}
    folders = [
        folder
        for folder in split_path(image.pop("LD_LIBRARY_PATH", None))
        if not (is_activated and is_compat(folder)) and not folder.startswith(tuple(own_dirs))
    ]
    if folders:
        image["LD_LIBRARY_PATH"] = ":".join(folders)
    return Sources(login, image, parse_pam_environment(root.read(PAM)))


def fresh_environment(root: Root, environ: Mapping[str, str], own_dirs: Sequence[str] = ()) -> dict[str, str]:
    """What a new login session of this user starts with, before its shell reads a file.

    That is what login sets, what PAM reads from ``/etc/environment``, and in a container the image's own search path.
    """
    return _login_environment(read_sources(root, environ, own_dirs))


def _login_environment(sources: Sources) -> dict[str, str]:
    searched = {name: value for name, value in sources.image.items() if name == "LD_LIBRARY_PATH"}
    env = {**sources.login, **searched, **sources.pam}
    env.pop("BASH_ENV", None)  # a script's bash reads it, last of all; the one that somebody logs in to does not
    return env


def list_ways(root: Root, sources: Sources, live_python: str | None = None) -> list[Way]:
    """Every way into the host, as its users come in.

    ``login`` and ``command`` are the user's own shell, as ssh starts it without and with a command: the second knows
    what PAM sets, and by ``SSH_CLIENT`` that a bash of most distributions reads ``~/.bashrc``. ``pam`` is the bash of a
    script, as cron and ``su -c`` start it. ``interactive`` and ``service`` are what ``docker exec`` starts.

    :param live_python: the live environment's own interpreter; without one there is no way ``environment``.
    """
    python = (sys.executable, "-I", "-S")
    shell = sources.login["SHELL"]
    name = os.path.basename(shell)
    bash = shell if name == "bash" else next((path for path in BASHES if root.is_executable(path)), "/bin/sh")
    session = {**sources.login, **sources.pam}
    inside = {**sources.login, **sources.image, **sources.pam}
    inside.update({key: sources.login[key] for key in ("HOME", "SHELL", "TERM")})
    address = {"SSH_CLIENT": "::1 50022 22", "SSH_CONNECTION": "::1 50022 ::1 22"}
    multiplexed = {"TMUX": "/dev/null,0,0"}  # a start-up file that opens one for each shell finds itself inside it
    plain = {key: value for key, value in inside.items() if key != "BASH_ENV"}
    ways = [
        Way("login", shell, ("-lc",), _login_environment(sources), python),
        Way("interactive", shell if name in INTERACTIVE else bash, ("-ic",), {**plain, **multiplexed}, python),
        Way("pam", bash, ("-c",), session, python),
        Way("command", shell, ("-c",), {**session, **address}, python),
        Way("service", None, (), plain, python),
    ]
    if live_python:
        ways.append(Way("environment", None, (), plain, (live_python, "-I")))
    return ways


def start_way(way: Way, timeout: float, library_path: Sequence[str] = ()) -> Child:
    """Start the probe by one way, in a child with a time limit and without a terminal.

    :param library_path: folders put first on the loader's search path, after a shell has read its start-up files.
    """
    probe = [*way.python, "-c", PROBE, "libcuda.so.1"]
    if not way.shell:
        return start_command(probe, way.env, timeout)
    if os.path.basename(way.shell) == "fish":
        words = [FISH_SCRIPT, ":".join(library_path)]
    else:
        words = [SCRIPT, way.shell, ":".join(library_path)]
    return start_command([way.shell, *way.flags, *words, *probe], way.env, timeout)


def start_probe(
    env: Mapping[str, str], timeout: float, library_path: Sequence[str] = (), python: str | None = None
) -> Child:
    """Start the probe in a fresh login shell of this user.

    :param env: what the shell starts with, as of :func:`fresh_environment`.
    :param python: the interpreter to run the probe with, this one by default.
    """
    way = Way("login", env["SHELL"], ("-lc",), dict(env), (python or sys.executable, "-I", "-S"))
    return start_way(way, timeout, library_path)


def start_native(libcuda: str, timeout: float) -> Child:
    """Ask one library by its path, in an environment that sets nothing which CUDA or the loader reads."""
    return start_command([sys.executable, "-I", "-S", "-c", PROBE, libcuda], {"PATH": PATH, "LANG": "C.UTF-8"}, timeout)


def find_live_python(root: Root, prefixes: Sequence[str]) -> tuple[str | None, list[str]]:
    """The live environment's own Python, and why it is not run: another user's files are not."""
    prefix = next((prefix for prefix in prefixes if root.is_dir(f"{prefix}/current")), None)
    python = f"{prefix}/current/bin/python"
    if not prefix or not root.is_executable(python):
        return None, []
    live = root.real(f"{prefix}/current")
    for path in (prefix, live, f"{live}/bin", python):
        owner = root.owner(path)
        if owner not in (0, os.geteuid()):
            return None, [f"{python} was not run: {path} belongs to another user (uid {owner})"]
    return python, []


def list_way_problems(ways: Mapping[str, Record], timeout: float, *, judged: bool) -> list[str]:
    """What kept a way from answering, in a sentence each; the same one is told once.

    :param judged: whether there are GPUs: then the plan judges each way by what is recorded of it, all but an
        interactive shell that did not come as far as CUDA, which without a terminal says nothing.
    """
    problems = []
    for name, way in ways.items():
        if judged and not (name == "interactive" and not (way and way["libcuda"])):
            continue
        if not way:
            problems.append(
                f"{CALLED[name]} did not start the CUDA probe; check "
                + (
                    "that it runs"
                    if name in ("service", "environment")
                    else "its start-up files for an error or an exit"
                )
            )
            continue
        answer = (way["init"] or {}).get("name", "")
        if answer == TIMEOUT:
            where = f"cuInit of {way['libcuda']}" if way["libcuda"] else CALLED[name]
            problems.append(f"{where}: no answer within {timeout:g} s")
        elif answer == "ENDED":
            problems.append(f"cuInit of {way['libcuda']} ended the process that called it")
        elif answer.startswith("SIGNAL_"):
            problems.append(f"cuInit of {way['libcuda']} crashed: {answer}")
    return list(dict.fromkeys(problems))


def parse_environ(data: bytes) -> dict[str, str]:
    """Parse ``/proc/<pid>/environ``."""
    pairs = (item.partition("=") for item in data.decode("utf-8", "replace").split("\0") if "=" in item)
    return {name: value for name, _sign, value in pairs if name}


def parse_pam_environment(text: str) -> dict[str, str]:
    """Parse ``/etc/environment`` as pam_env does: ``[export ]NAME=value``, nothing expanded."""
    return {name: value for _number, name, value in list_pam_lines(text)}


def list_pam_lines(text: str) -> list[tuple[int, str, str]]:
    """Number, name and value of each line of ``/etc/environment`` that sets something."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        name, sign, value = line.strip().partition("=")
        name = name[7:].strip() if name.startswith("export ") else name
        if sign and name.isidentifier():
            found.append((number, name, value.strip("\"'") if value[:1] in ("'", '"') else value))
    return found
