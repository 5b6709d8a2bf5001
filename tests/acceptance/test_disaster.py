# SPDX-License-Identifier: GPL-3.0-or-later
"""Every known way to break CUDA from a start-up file, for real: what a user sees, what the plan names, what is mended.

Needs a host with a GPU, root, and an image that brought a CUDA toolkit, its compat package and PyTorch. The start-up
files are put back at the end; everything else goes into a scratch prefix.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gpu_hosts import OUTPUT, Hosts, describe, table, write_json

FOLDER = OUTPUT / "disaster"
OWN_PROFILE = "/etc/profile.d/podsmith.sh"
ETC = ("/etc/bash.bashrc", "/etc/environment", OWN_PROFILE)
PLAIN_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
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

    def anonymous(self, text: str) -> str:
        """A text without this run's folder."""
        return text.replace(str(self.scratch), "/scratch")


@dataclass(frozen=True)
class Case:
    """One way to break CUDA: a line of .bashrc, or a variable that a session starts with."""

    name: str
    line: Callable[[Place], str] | None = None
    variables: Callable[[Place], dict[str, str]] | None = None
    kind: str | None = None  # of the conflict that the facts name
    mended: bool = True  # whether CUDA must work afterwards


def copy_of_compat(place: Place, version: str) -> str:
    """A compat folder whose library says another version by its file name; its content stays what it is."""
    folder = place.scratch / f"driver-{version}" / "compat"
    if not folder.is_dir():
        shutil.copytree(place.compat, folder, symlinks=True)
        for library in folder.glob(f"*.so.{place.compat_version}"):
            library.rename(library.with_name(library.name.replace(place.compat_version, version)))
        for link in [path for path in folder.iterdir() if path.is_symlink()]:
            target = str(link.readlink()).replace(place.compat_version, version)
            link.unlink()
            link.symlink_to(target)
    return str(folder)


def stubs(place: Place) -> str:
    """The toolkit's stub of libcuda under the name that programs load."""
    folder = place.scratch / "toolkit" / "lib64" / "stubs"
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "libcuda.so.1"
    if not link.is_symlink():
        link.symlink_to(f"{place.toolkit}/lib64/stubs/libcuda.so")
    return str(folder)


def branch(place: Place, step: int) -> str:
    """The compat library's version, some branches away."""
    major, dot, rest = place.compat_version.partition(".")
    return f"{int(major) + step}{dot}{rest}"


CASES = [
    Case(
        "compat directory first, in .bashrc",
        line=lambda place: f"export LD_LIBRARY_PATH={place.compat}:$LD_LIBRARY_PATH",
        kind="ld_library_path",
    ),
    Case(
        "an older copy of the compat library, in the session's environment",
        variables=lambda place: {"LD_LIBRARY_PATH": copy_of_compat(place, branch(place, -10))},
    ),
    Case(
        "a newer copy of the compat library, in the session's environment (its content is no newer: CUDA cannot work)",
        variables=lambda place: {"LD_LIBRARY_PATH": copy_of_compat(place, branch(place, 10))},
        mended=False,
    ),
    Case(
        "stubs directory on the loader's path, in .bashrc",
        line=lambda place: f"export LD_LIBRARY_PATH={stubs(place)}:$LD_LIBRARY_PATH",
        kind="stubs",
    ),
    Case(
        "CUDA_VISIBLE_DEVICES empty, in .bashrc",
        line=lambda place: 'export CUDA_VISIBLE_DEVICES=""',
        kind="hidden_devices",
    ),
    Case(
        "CUDA_HOME points to a toolkit that is not there, in .bashrc",
        line=lambda place: "export CUDA_HOME=/usr/local/cuda-gone",
        kind="cuda_home",
    ),
]


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


class Keeper:
    """The start-up files as they were; they can be put back any number of times."""

    def __init__(self, paths: list[Path]) -> None:
        self.kept = {path: (path.read_bytes(), path.stat().st_mode) if path.is_file() else None for path in paths}

    def put_back(self) -> None:
        """Write each file as it was, and remove what was not there."""
        for path, kept in self.kept.items():
            if kept is None:
                path.unlink(missing_ok=True)
            elif not path.is_file() or path.read_bytes() != kept[0]:
                path.write_bytes(kept[0])
                path.chmod(kept[1] & 0o7777)

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
    request: dict[str, Any]
    records: list[dict[str, Any]]

    def play(self, name: str, playbook: str, *, repair: bool) -> Any:
        """Run a playbook with the wish of the host, into the scratch prefix."""
        request = {**self.request, "scope": "system", "repair_files": [str(self.place.bashrc)] if repair else []}
        return self.hosts.play(name, playbook, stack_plan_request=request, stack_plan_prefix=str(self.place.prefix))


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
        torch_python=str(torch["python"]),
        image_library_path="" if "libcuda.so.1 " in cached else "".join(paths),
    )


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    """The host, observed; its start-up files are put back and the scratch prefix removed at the end."""
    hosts = Hosts.of_environment(FOLDER, os.environ)
    if hosts.limit != "local":
        pytest.skip("The disaster breaks the files of this very host: run it there, with LIMIT=local.")
    observed = hosts.play("facts", "tests/acceptance/observe.yml")
    assert observed.rc == 0, observed.complaint
    record: dict[str, Any] = next(iter(observed.records.values()), {})
    if because := why_not(record["gpu"]):
        pytest.skip(f"Nothing can be shown on this host: {because}.")
    scratch = Path(tempfile.mkdtemp(prefix="podsmith-disaster-", dir="/var/tmp"))
    place = find_place(record["gpu"], scratch)
    (scratch / "probe.py").write_text(PROBE, encoding="utf-8")
    backup = place.bashrc.with_name(f"{place.bashrc.name}.podsmith-backup")
    keeper = Keeper([place.bashrc, backup, *map(Path, ETC)])
    records: list[dict[str, Any]] = []
    try:
        yield Scene(place, hosts, keeper, dict(record["request"]), records)
    finally:
        keeper.put_back()
        shutil.rmtree(scratch, ignore_errors=True)
        host = describe(record["gpu"]) | {"compat": f"{place.compat} {place.compat_version}"}
        text = place.anonymous(
            json.dumps({"date": time.strftime("%Y-%m-%d", time.gmtime()), "host": host, "cases": records})
        )
        write_json(FOLDER / "disaster.json", json.loads(text))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_play_mends(scene: Scene, case: Case) -> None:
    place = scene.place
    scene.keeper.start_over()
    original = place.bashrc.read_text(encoding="utf-8") if place.bashrc.is_file() else ""
    variables = case.variables(place) if case.variables else {}
    line = case.line(place) if case.line else None
    if line:
        place.bashrc.write_text(f"{line}\n{original}", encoding="utf-8")

    before = ask_all(place, place.torch_python, by_name=False, variables=variables)
    facts = scene.play("facts", "tests/acceptance/observe.yml", repair=False)
    plan = scene.play("plan", "playbooks/plan.yml", repair=False)
    mended = scene.play("bootstrap", "bootstrap.yml", repair=True)
    after = ask_all(place, f"{place.prefix}/current/bin/python", by_name=True, variables=variables)
    again = scene.play("second run", "bootstrap.yml", repair=True)

    ((_host, observed),) = facts.records.items()
    conflicts = [row for row in observed["gpu"]["conflicts"] if row["file"] == str(place.bashrc)]
    decision = next(iter(mended.records.values()), {})
    scene.records.append(
        {
            "case": case.name,
            "did": line or " ".join(f"{name}={value}" for name, value in variables.items()),
            "before": before,
            "facts": {"conflicts": conflicts, "loader": observed["gpu"]["loader"]},
            "plan": list(next(iter(plan.records.values()), {}).get("warnings", [])),
            "bootstrap": {"seconds": mended.seconds, "applied": [row["what"] for row in decision.get("applied", [])]},
            "after": after,
            "second_run": {"seconds": again.seconds, "changed": sum(again.changed.values())},
        }
    )
    tell(case, before, after)

    broken = [way for way, answer in before.items() if not answer["works"]]
    assert broken, "nothing was broken: the case shows nothing on this host"
    if case.kind:
        assert [(row["kind"], row["line"], row["text"]) for row in conflicts] == [(case.kind, 1, line)]
        assert f"{place.bashrc}:1" in "".join(plan.out.split()), "the plan does not name file and line"
    assert mended.rc == 0, mended.complaint
    text = place.bashrc.read_text(encoding="utf-8") if place.bashrc.is_file() else ""
    assert BLOCK.sub("", text).split("\n") == original.split("\n"), "more than the line was taken out of .bashrc"
    assert again.rc == 0, again.complaint
    assert sum(again.changed.values()) == 0
    if case.mended:
        assert {way: answer for way, answer in after.items() if not answer["works"]} == {}
        own = f"{place.prefix}/"
        assert [way for way, answer in after.items() if not answer["python"].startswith(own)] == []
    else:
        kept = variables["LD_LIBRARY_PATH"]
        lost = [way for way, answer in after.items() if not answer.get("LD_LIBRARY_PATH", "").startswith(kept)]
        assert lost == [], "a library newer than the driver is left to who put it there"


def tell(case: Case, before: dict[str, Answer], after: dict[str, Answer]) -> None:
    """Print before and after of one case."""
    rows = [("way", "before", "after")]
    rows += [(way, outcome(answer), outcome(after[way])) for way, answer in before.items()]
    sys.stdout.write(f"\n{case.name}\n{table(rows)}\n")


def outcome(answer: Answer) -> str:
    """An answer in a few words."""
    return "works" if answer["works"] else str(answer.get("error", "wrong result"))[:90]
