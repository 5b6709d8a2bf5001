# SPDX-License-Identifier: GPL-3.0-or-later
"""The host that a disaster breaks: what is where on it, the ways into it, its files as they were, and the plays."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_hosts import OUTPUT, Hosts, Run, write_json

FOLDER = OUTPUT / "disaster"
OWN_PROFILE = "/etc/profile.d/podsmith.sh"
ETC = ("/etc/bash.bashrc", "/etc/environment", OWN_PROFILE)
PLAIN_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LOADER = ("/etc/ld.so.conf", "/etc/ld.so.preload")
LOADER_FOLDER = Path("/etc/ld.so.conf.d")
NATIVE_FOLDERS = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/local/nvidia/lib64",
)
BLOCK = re.compile(r"^# BEGIN podsmith\.gpu\n.*?^# END podsmith\.gpu\n", re.MULTILINE | re.DOTALL)
MARK = "disaster-probe "
# What a user's first cell does, and what a build would look for.
PROBE = f"""
import json, os, sys
answer = {{"python": sys.executable, "works": False}}
answer.update((name, os.environ[name]) for name in ("LD_LIBRARY_PATH", "CUDA_HOME") if name in os.environ)
try:
    import torch
    ones = torch.ones(64, 64, device="cuda")
    answer["works"] = bool((ones @ ones == 64).all())
except Exception as error:
    answer["error"] = f"{{type(error).__name__}}: {{str(error).splitlines()[0]}}"
home = os.environ.get("CUDA_HOME")
if home and not os.path.exists(home + "/bin/nvcc"):
    answer.update(works=False, error=f"CUDA_HOME is {{home}}, which has no bin/nvcc")
with open("/proc/self/maps") as maps:
    answer["libcuda"] = next((line.split()[5] for line in maps if "/libcuda.so" in line), None)
print("{MARK}" + json.dumps(answer))
"""

Answer = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """The host that is broken and mended."""

    home: Path
    scratch: Path
    toolkit: str
    compat: Path
    compat_version: str
    driver: str
    native: Path  # the driver's own libcuda
    torch_python: str
    image_library_path: str  # what the image's first process has, where the loader's cache lacks libcuda

    @property
    def bashrc(self) -> Path:
        """The user's start-up file."""
        return self.home / ".bashrc"

    @property
    def prefix(self) -> Path:
        """Where the play installs."""
        return self.scratch / "podsmith"

    @property
    def python(self) -> str:
        """The live environment's."""
        return f"{self.prefix}/current/bin/python"

    def anonymous(self, text: str) -> str:
        """A text without this run's folder."""
        return text.replace(str(self.scratch), "/scratch")


# --- the ways into the host ---


def sessions(
    place: Place, python: str, *, by_name: bool, variables: Mapping[str, str]
) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Way → command and environment. With ``by_name`` the shells look for ``python`` on their PATH."""
    probe = str(place.scratch / "probe.py")
    in_shell = f"{'python' if by_name else shlex.quote(python)} {shlex.quote(probe)}"
    direct = f"{shlex.quote(python)} {shlex.quote(probe)}"
    user = {"HOME": str(place.home), "USER": "root", "LOGNAME": "root", "SHELL": "/bin/bash", "TERM": "dumb"}
    image = {"LD_LIBRARY_PATH": place.image_library_path} if place.image_library_path else {}
    bare = {**user, "PATH": PLAIN_PATH, **image, **variables}
    pam = {**bare, **read_pam_environment()}
    ssh = {**pam, "SSH_CLIENT": "192.0.2.1 40000 22", "SSH_CONNECTION": "192.0.2.1 40000 192.0.2.2 22"}
    return {
        "login shell (bash -lc)": (["bash", "-lc", in_shell], bare),
        "interactive shell (bash -ic)": (["bash", "-ic", in_shell], bare),
        "bash -c, its environment from PAM": (["bash", "-c", in_shell], pam),
        "ssh host command (bash as sshd starts it)": (["bash", "-c", in_shell], ssh),
        "cron (sh -c)": (["sh", "-c", direct], {**bare, "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"}),
        "Jupyter kernel (the kernelspec's argv, no shell)": ([python, probe], bare),
    }


def read_pam_environment() -> dict[str, str]:
    """What pam_env takes from /etc/environment."""
    try:
        lines = Path("/etc/environment").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {name.removeprefix("export ").strip(): value.strip("\"' ") for name, _sign, value in pairs}


def ask(command: list[str], environ: dict[str, str]) -> Answer:
    """Run the probe one way; its answer, or what came instead."""
    done = subprocess.run(
        command,
        env=environ,
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if not lines:
        words = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        return {"works": False, "error": words[-1]}
    answer: Answer = json.loads(lines[-1].removeprefix(MARK))
    return answer


def ask_all(place: Place, python: str, *, by_name: bool, variables: Mapping[str, str]) -> dict[str, Answer]:
    """Run the probe all ways at once."""
    ways = sessions(place, python, by_name=by_name, variables=variables)
    with ThreadPoolExecutor(len(ways)) as pool:
        return dict(zip(ways, pool.map(lambda way: ask(*way), ways.values()), strict=True))


# --- the host ---


DEFAULT_FOLDERS = ("/lib", "/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu")  # searched always


class Keeper:
    """Start-up files, and the loader's, as they were; they can be put back any number of times."""

    def __init__(self, paths: Iterable[Path]) -> None:
        files = [path for name in paths for path in (name, name.with_name(f"{name.name}.podsmith-backup"))]
        self.kept = {path: (path.read_bytes(), path.stat().st_mode) if path.is_file() else None for path in files}
        self.loader = set(LOADER_FOLDER.glob("*"))
        self.links = {path: path.readlink() for path in find_links()}

    def put_back(self) -> None:
        """Write each file as it was, and remove what was not there."""
        for path, kept in self.kept.items():
            if kept is None:
                path.unlink(missing_ok=True)
            elif not path.is_file() or path.read_bytes() != kept[0]:
                path.write_bytes(kept[0])
                path.chmod(kept[1] & 0o7777)
        for path in set(LOADER_FOLDER.glob("*")) - self.loader:
            path.unlink()
        for path, target in self.links.items():
            if not path.is_symlink():
                path.symlink_to(target)
        subprocess.run(["ldconfig"], check=True, capture_output=True)

    def start_over(self) -> None:
        """The same without what an earlier bootstrap of this host wrote: a case begins where nobody has helped."""
        self.put_back()
        Path(OWN_PROFILE).unlink(missing_ok=True)
        for path in self.kept:
            if path.is_file():
                text = path.read_text(encoding="utf-8")
                path.write_text(BLOCK.sub("", text), encoding="utf-8")


@dataclass(frozen=True)
class Scene:
    """The host, the plays against it, and what is recorded of each case."""

    place: Place
    hosts: Hosts
    keeper: Keeper
    host: dict[str, Any]
    request: dict[str, Any]
    records: list[dict[str, Any]]

    def play(self, name: str, playbook: str, repair: Iterable[str] = ()) -> Run:
        """Run a playbook with the request of the host, into the scratch prefix; ``repair``: the files it may repair."""
        request = {**self.request, "scope": "system", "repair_files": list(repair)}
        return self.hosts.play(name, playbook, stack_plan_request=request, stack_plan_prefix=str(self.place.prefix))

    def record(self, case: Mapping[str, Any]) -> None:
        """Keep what a case showed, and write all of them: an interrupted run has told what it saw."""
        self.records.append(dict(case))
        content = {"date": time.strftime("%Y-%m-%d", time.gmtime()), "host": self.host, "cases": self.records}
        write_json(FOLDER / "disaster.json", json.loads(self.place.anonymous(json.dumps(content))))


def why_not(gpu: Mapping[str, Any]) -> str | None:
    """Why this host cannot show the disaster, or None."""
    installed = gpu["installed"]
    if not gpu["devices"]:
        return "there is no NVIDIA GPU here"
    if not gpu["platform"]["root"]:
        return "system-wide start-up files need root"
    if not installed["compat"]:
        return "the image has no cuda-compat package"
    if not any(row["nvcc"] and not row["broken"] for row in installed["toolkits"]):
        return "the image has no CUDA toolkit to adopt"
    if not any(row["cuda"] and not row["managed"] for row in installed["pytorch"]):
        return "the image has no PyTorch with CUDA to adopt"
    return None


def find_native(driver: str) -> Path:
    """The driver's own libcuda, where drivers and container runtimes put it."""
    paths = [Path(folder, f"libcuda.so.{driver}") for folder in NATIVE_FOLDERS]
    return next((path for path in paths if path.is_file()), paths[0])


def name_folder(folder: Path) -> list[Path]:
    """The files of the loader's configuration that name a folder, by its own name or by a link to it."""
    files = [Path(LOADER[0]), *sorted(LOADER_FOLDER.glob("*.conf"))]
    return [path for path in files if folder in map(lead_to, path.read_text(encoding="utf-8").splitlines())]


def lead_to(line: str) -> Path | None:
    """The folder that a line of the loader's configuration names, links followed."""
    return Path(line.strip()).resolve() if line.startswith("/") else None


def find_links(folder: Path | None = None) -> list[Path]:
    """The links to a libcuda in the loader's default folders; of a folder, those that lead there."""
    folders = dict.fromkeys(Path(name).resolve() for name in DEFAULT_FOLDERS if Path(name).is_dir())
    links = [path for name in folders for path in sorted(name.glob("libcuda.so*")) if path.is_symlink()]
    return [path for path in links if folder is None or path.resolve().parent == folder]


def find_place(gpu: Mapping[str, Any], scratch: Path) -> Place:
    """Where to break what."""
    installed = gpu["installed"]
    compat, driver = installed["compat"][0], str(gpu["driver"]["version"])
    torch = next(row for row in installed["pytorch"] if row["cuda"] and not row["managed"])
    cached = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=False).stdout
    try:
        image = Path("/proc/1/environ").read_bytes().decode("utf-8", "replace").split("\0")
    except PermissionError:  # not even root may, in some sandboxes; then what this process has is the nearest
        image = [f"{name}={value}" for name, value in os.environ.items()]
    paths = [item.partition("=")[2] for item in image if item.startswith("LD_LIBRARY_PATH=")]
    return Place(
        home=Path.home(),
        scratch=scratch,
        toolkit=next(row["path"] for row in installed["toolkits"] if row["nvcc"] and not row["broken"]),
        compat=Path(compat["path"]),
        compat_version=str(compat["version"]),
        driver=driver,
        native=find_native(driver),
        torch_python=str(torch["python"]),
        image_library_path="" if "libcuda.so.1 " in cached else "".join(paths),
    )
