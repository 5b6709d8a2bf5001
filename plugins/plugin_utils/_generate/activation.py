# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the collection writes on a host so that every process there finds the right CUDA: pure, text in and text out.

``environment`` is ``stack_plan_decision.environment``, or a part of it; an absent key means the same as ``null``::

    {scope: system|user, prefix: /opt/podsmith, home: /root, name: 2-torch2.9.1-cu130, path: <prefix>/environments/2-…,
     identity: "digest of what it is built for",    # by which a later run knows the generation again
     pytorch: true,                                 # there is a virtual environment at path
     python: "3.12", site_packages: lib/python3.12/site-packages,
     cuda_home: <path>|null, cutlass_home: <path>|null,
     compat_enabled: true, compat_path: <path>|null, compat_version: "580.95.05"|null, compat_branches: [535, 570],
     constraints: ["torch==2.9.1+cu130", …], adopt: <site-packages>|null, arch_list: "9.0;12.0"|null,
     settings: [{variable: CUDA_MODULE_LOADING|null, value: LAZY, what: …, default: …, unless: […]}, …]}
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HEADER = "# Written by podsmith.gpu; edits are overwritten.\n"
BODIES = Path(__file__).resolve().parents[3] / "roles" / "gpu_environment" / "files"


@dataclass(frozen=True)
class File:
    """One file of ours.

    ``path`` is relative to the generation, or absolute for a host file. ``mode`` is octal text such as ``"0644"``.
    With ``block`` the file is somebody else's: ``content`` is what stands between the two marker lines, at its top.
    ``digest(content)`` is what an observation must report for it: of the whole file, or of the lines between the
    markers, with the last line's end.
    """

    path: str
    content: str
    mode: str
    block: bool = False


def digest(content: str) -> str:
    """The SHA-256 of a text in UTF-8, as hexadecimal digits."""
    return hashlib.sha256(content.encode()).hexdigest()


def generation_files(environment: Mapping[str, Any], *, sysroot: str = "") -> list[File]:
    """What stands inside a generation; paths are relative to it.

    The files do not say which compat version is there: they read it from the library's own file name each time, so an
    upgraded package needs no new file. ``sysroot`` is for tests: where /sys, /proc and the system's libraries are read.
    """
    files = [File("activate.sh", render_activation(environment, sysroot), "0644")]
    if environment.get("identity"):
        files.append(File("generation.json", json.dumps({"identity": environment["identity"]}) + "\n", "0644"))
    if environment.get("pytorch"):
        constraints = "".join(f"{line}\n" for line in environment.get("constraints") or [])
        packages = environment["site_packages"]
        files += [
            File("constraints.txt", HEADER + constraints, "0644"),
            File("pip.conf", f"{HEADER}[install]\nconstraint = {environment['path']}/constraints.txt\n", "0644"),
            File(f"{packages}/_podsmith_cuda.py", render_hook(environment, sysroot), "0644"),
            File(f"{packages}/_podsmith_cuda.pth", "import _podsmith_cuda\n", "0644"),
        ]
    return files


def render_activation(environment: Mapping[str, Any], sysroot: str = "") -> str:
    """The text of a generation's ``activate.sh``: its settings, then the part that is the same in all of them."""
    settings = {
        "prefix": environment["prefix"],
        "venv": environment["path"] if environment.get("pytorch") else None,
        "cuda": environment.get("cuda_home"),
        "cutlass": environment.get("cutlass_home"),
        "enabled": "1" if is_compat_enabled(environment) else None,
        "compat": environment.get("compat_path"),
        "branches": " ".join(map(str, environment.get("compat_branches") or ())),
        "architectures": environment.get("arch_list"),
        "root": sysroot,
        "sys": f"{sysroot}/sys/module/nvidia/version",
        "proc": f"{sysroot}/proc/driver/nvidia/version",
        "gpus": f"{sysroot}/proc/driver/nvidia/gpus",
        "wsl": f"{sysroot}/usr/lib/wsl/lib",
        "wslconf": f"{sysroot}/etc/ld.so.conf.d/ld.wsl.conf",
    }
    lines = "".join(f"_podsmith_{name}={shlex.quote(value or '')}\n" for name, value in settings.items())
    return f"{HEADER}{lines}\n{render_settings(environment.get('settings') or ())}{load_body('activate.sh')}"


def render_settings(settings: Iterable[Mapping[str, Any]]) -> str:
    """The run-time settings for a shell, each with what it does; a variable that is set, even to nothing, stays."""
    text = ""
    for one in settings:
        if one["variable"] is None:
            text += f"# {one['setting']}: no variable switches it; in the program: {one['value']}\n"
            continue
        given = "".join(f"${{{name}+x}}" for name in (one["variable"], *one["unless"]))
        text += f"# {one['variable']}: {one['what']}.\n# Without it: {one['default']}.\n"
        text += f'[ -n "{given}" ] || export {one["variable"]}={shlex.quote(one["value"])}\n'
    return text + "\n" if text else ""


def render_hook(environment: Mapping[str, Any], sysroot: str = "") -> str:
    """The text of the start-up hook: it must never keep a Python from starting, whatever it meets."""
    compat, enabled = environment.get("compat_path") or "", is_compat_enabled(environment)
    calls = [
        f"set_default({one['value']!r}, {', '.join(map(repr, (one['variable'], *one['unless'])))})"
        for one in environment.get("settings") or ()
        if one["variable"]
    ]
    calls.append("unbind_open_build()")
    branches = tuple(map(int, environment.get("compat_branches") or ()))
    calls.append(f"activate({compat!r}, enabled={enabled}, sysroot={sysroot!r}, branches={branches!r})")
    body = "".join(f"    {call}\n" for call in calls)
    return f"{HEADER}{load_body('_podsmith_cuda.py')}\n\ntry:\n{body}except Exception:\n    pass\n"


def is_compat_enabled(environment: Mapping[str, Any]) -> bool:
    """Whether the compat directory may be used at all; the driver decides each time whether it is."""
    return bool(environment.get("compat_enabled") and environment.get("compat_path"))


@functools.cache
def load_body(name: str) -> str:
    """The fixed part of a generated file, without what only this project's linters read."""
    lines = (BODIES / name).read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(("# ruff:", "# shellcheck ")))


def host_files(environment: Mapping[str, Any]) -> list[File]:
    """What stands outside the generations; absolute paths. In user scope only the prefix's own ``activate.sh``.

    Every way into the host passes one of them: a login shell reads profile.d; an interactive bash, and one that sshd
    starts for ``ssh host command``, reads bash.bashrc and .bashrc, and our block stands above where they return early;
    a bash script started through PAM finds ``BASH_ENV``. What is started without a shell relies on the start-up hook.
    """
    prefix = environment["prefix"]
    stable = f"{prefix}/activate.sh"
    source = f"if [ -r {shlex.quote(stable)} ]; then\n    . {shlex.quote(stable)}\nfi\n"
    files = [File(stable, render_stable_activation(prefix), "0644")]
    if environment.get("scope") == "system":
        files += [
            File("/etc/profile.d/podsmith.sh", HEADER + source, "0644"),
            File("/etc/bash.bashrc", source, "0644", block=True),
            File("/etc/environment", f"BASH_ENV={stable}\n", "0644", block=True),
        ]
        if environment.get("home"):
            files.append(File(f"{environment['home']}/.bashrc", source, "0644", block=True))
    return files


def decision_file(decision: Mapping[str, Any]) -> File:
    """What was decided, as ``<prefix>/state/decision.json`` keeps it: without what only one run had to say."""
    environment = decision["environment"]
    passing = {"changes", "download", "summary", "now", "unmet", "ways_out"}  # ways_out: with costs of what is fetched
    if (decision.get("now") or {}).get("works") is False:
        passing |= {"verdict", "warnings", "remedies"}  # of how CUDA was found, not of what was decided
    kept = {key: value for key, value in decision.items() if key not in passing}
    kept["environment"] = {
        key: value for key, value in environment.items() if key not in {"live", "reused", "previous", "repairs"}
    }
    content = json.dumps(kept, indent=2, sort_keys=True) + "\n"
    return File(f"{environment['prefix']}/state/decision.json", content, "0644")


def render_stable_activation(prefix: str) -> str:
    """The text of ``<prefix>/activate.sh``; ``PODSMITH_ENVIRONMENT`` points it at a generation that is not live."""
    generation = f'"${{PODSMITH_ENVIRONMENT:-{prefix}/current}}/activate.sh"'
    return f"{HEADER}if [ -r {generation} ]; then\n    . {generation}\nfi\n"


def generation_digests(environment: Mapping[str, Any]) -> dict[str, str]:
    """Digests as the observed ``installed.environment.files`` has them: ``site-packages/…`` whatever the Python."""
    packages = environment.get("site_packages") or ""
    return {
        re.sub(rf"^{re.escape(packages)}/", "site-packages/", file.path): digest(file.content)
        for file in generation_files(environment)
    }


def host_digests(environment: Mapping[str, Any]) -> dict[str, str]:
    """Absolute path → digest, as the observed ``installed.files`` has them."""
    return {file.path: digest(file.content) for file in host_files(environment)}
