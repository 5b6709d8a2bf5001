"""A pod through its life: its host gets another driver, the bootstrap runs, and what that changed is told exactly."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[3]
SHARED = ROOT / "molecule" / "shared"
LIMIT = 1500  # seconds for a run, and for anything else: beyond it something waits for ever
INVENTORY = SHARED / "inventory"
WORK = ROOT / ".cache" / "molecule"
PREFIX = "/opt/podsmith"
CURRENT = f"{PREFIX}/current"
LOGIN = "env -i HOME=$HOME TERM=dumb bash --login -c"

# Paths below these are the system's own book-keeping, or the simulated host itself.
UNWATCHED = (
    *("/dev", "/proc", "/run", "/sys", "/tmp", "/var/cache", "/var/log", "/etc/ld.so.cache"),
    *("/var/lib/apt", "/var/lib/dpkg", "/var/lib/simulated-driver", "/root/.ansible", f"{PREFIX}/cache"),
)
# Prints {path: [type and mode, inode, size, time of change of the content in ns, target of a link]} and the packages.
SNAPSHOT = f"""
import json, os, subprocess
with open("/var/lib/simulated-driver/made") as made:
    unwatched = {{*{UNWATCHED!r}, *made.read().splitlines(), "/etc/simulated-driver.conf"}}
found = {{}}
for parent, folders, names in os.walk("/"):
    folders[:] = [name for name in folders if os.path.join(parent, name) not in unwatched and name != "__pycache__"]
    for name in folders + names:
        path = os.path.join(parent, name)
        if path in unwatched:
            continue
        stat, link = os.lstat(path), os.path.islink(path)
        folder = name in folders and not link
        found[path + "/" * folder] = [stat.st_mode] if folder else [
            stat.st_mode, stat.st_ino, stat.st_size, stat.st_mtime_ns, os.readlink(path) if link else None]
shown = subprocess.run(["dpkg-query", "--show"], capture_output=True, text=True, check=True).stdout
print(json.dumps([found, dict(line.split("\\t") for line in shown.splitlines())]))
"""
# Prints [the libcuda that was loaded, what cuInit says].
CUINIT = """
import ctypes, json
code = ctypes.CDLL("libcuda.so.1").cuInit(0)
with open("/proc/self/maps") as maps:
    loaded = {line.split(None, 5)[5].strip() for line in maps if "/libcuda.so" in line}
print(json.dumps([" and ".join(sorted(path.rpartition("libcuda.so.")[2] for path in loaded)), code]))
"""
# Prints the same and what PyTorch says: by NVIDIA's own runtime.
TORCH = f"""
import torch
try:
    torch.cuda.init()
    said = f"{{torch.cuda.device_count()}} GPU"
except RuntimeError as error:
    said = str(error).partition(". ")[0]
{CUINIT.strip().replace("code])", "code, said])")}
"""


class Change(NamedTuple):
    """One change of a decision."""

    role: str
    action: str
    what: str
    old: str | None = None
    new: str | None = None


class Snapshot(NamedTuple):
    """All that lies on a pod's disk: path -> what tells whether it was touched, and package -> version."""

    files: dict[str, list[Any]]
    packages: dict[str, str]


class Cuda(NamedTuple):
    """What a process meets: its libcuda's version, what cuInit says, and what PyTorch says where that was asked."""

    library: str
    code: int
    torch: str | None = None


@dataclass(frozen=True)
class Run:
    """What a playbook printed, counted, decided and did."""

    rc: int
    out: str = field(repr=False)
    changed: int
    decision: dict[str, Any] = field(repr=False)

    @property
    def applied(self) -> list[Change]:
        """The changes that were made, in their order."""
        return read_changes(self.decision.get("applied", ()))

    @property
    def told(self) -> str:
        """What was printed, as one line."""
        return " ".join(self.out.split())


def read_changes(rows: Any) -> list[Change]:
    """The changes of a decision without their sizes."""
    return [Change(row["role"], row["action"], row["what"], row["from"], row["to"]) for row in rows]


def touched(before: Snapshot, after: Snapshot) -> set[str]:
    """What differs: "+ new", "- gone", "~ changed", of files and "package NAME"; a folder stands for all in it."""
    signs = {}
    for path in before.files.keys() | after.files.keys():
        if path not in before.files:
            signs[path] = "+"
        elif path not in after.files:
            signs[path] = "-"
        elif before.files[path] != after.files[path]:
            signs[path] = "~"
    folders = {path for path, sign in signs.items() if path.endswith("/") and sign != "~"}
    outermost = {path for path in signs if not any(f"{parent}/" in folders for parent in Path(path).parents)}
    differing = {f"{signs[path]} {path}" for path in outermost}
    for name in before.packages.keys() | after.packages.keys():
        old, new = before.packages.get(name), after.packages.get(name)
        if old != new:
            differing.add(f"{'+' if old is None else '-' if new is None else '~'} package {name}")
    return differing


def everywhere(library: str, torch: str = "1 GPU") -> dict[str, Cuda]:
    """What every way into a pod has to find: the driver's own or a compat package's libcuda, with which CUDA starts."""
    return {
        "login shell": Cuda(library, 0),
        "python of a login shell": Cuda(library, 0, torch),
        "ssh command": Cuda(library, 0),
        "python as ssh command": Cuda(library, 0, torch),
        "python without environment": Cuda(library, 0, torch),
    }


@dataclass(frozen=True)
class Pod:
    """One simulated pod, reached as Ansible reaches it."""

    name: str
    plans: Path

    def bootstrap(self, *args: str, wish: dict[str, Any] | None = None, **variables: Any) -> Run:
        """Run the bootstrap; ``wish`` stands for the whole wish of the inventory."""
        return self.play("bootstrap.yml", *args, **({"stack_plan_request": wish} if wish else {}), **variables)

    def wish(self) -> dict[str, Any]:
        """The wish of the inventory."""
        hosts = yaml.safe_load((INVENTORY / "life.yml").read_text(encoding="utf-8"))["all"]["children"]
        own: dict[str, Any] = hosts["pods"]["hosts"][self.name]
        wish: dict[str, Any] = own.get("stack_plan_request", hosts["life"]["vars"]["stack_plan_request"])
        return wish

    def play(self, playbook: str, *args: str, **variables: Any) -> Run:
        """Run a playbook of the repository."""
        plan = self.plans / f"{self.name}.json"
        plan.unlink(missing_ok=True)
        process = self.start(playbook, *args, **variables)
        out, _empty = process.communicate(timeout=LIMIT)
        recap = re.search(rf"^{self.name}\s.*\bchanged=(\d+)", out, re.MULTILINE)
        decision = json.loads(plan.read_text(encoding="utf-8")) if plan.exists() else {}
        return Run(process.returncode, out, int(recap[1]) if recap else -1, decision)

    def start(self, playbook: str, *args: str, **variables: Any) -> subprocess.Popen[str]:
        """Start a playbook in a process group of its own; errors are in its output."""
        extra = json.dumps(variables | {"stack_plan_output_dir": str(self.plans)})
        argv = [Path(sys.executable).with_name("ansible-playbook"), playbook, f"-i{INVENTORY}", f"-l{self.name}"]
        dropped = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "ANSIBLE_")  # molecule's settings are not a user's
        environment = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
        environment |= {"ANSIBLE_FORCE_COLOR": "0", "COLUMNS": "160"}
        return subprocess.Popen(
            [*argv, "-e", extra, *args],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def kill_bootstrap(self, at: str, **variables: Any) -> str:
        """Start the bootstrap and kill it as soon as it says ``at``; what it said until then."""
        said = []
        with self.start("bootstrap.yml", **variables) as process:
            for line in process.stdout or ():
                said.append(line)
                if at in line:
                    os.killpg(process.pid, signal.SIGKILL)
        # What it had started on the pod ends by itself: then nothing of it is met in twenty looks.
        looks = "if pgrep -f '[A]nsiballZ_' >/dev/null; then quiet=0; else quiet=$((quiet + 1)); fi; sleep 0.1"
        self.sh(f"quiet=0; while [ $quiet -lt 20 ]; do {looks}; done")
        return "".join(said)

    def ssh(self, command: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command as a session of its own, as ``ssh pod command`` does."""
        hosts = json.loads((WORK / "pods.json").read_text(encoding="utf-8"))["_meta"]["hostvars"]
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ControlPath=none")
        argv = ["ssh", "-i", WORK / "key", *(f"-o{option}" for option in options)]
        address = f"root@{hosts[self.name]['ansible_host']}"
        return subprocess.run(
            [*argv, address, command], input=text, capture_output=True, text=True, timeout=LIMIT, check=False
        )

    def sh(self, command: str, text: str | None = None) -> str:
        """What a command prints that must succeed."""
        done = self.ssh(command, text)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def set_driver(self, version: str) -> None:
        """The pod's host has another driver now; its GPUs stay."""
        branches = yaml.safe_load((ROOT / "catalogue/drivers.yml").read_text(encoding="utf-8"))["branches"]
        level = branches[version.partition(".")[0]]["cuda"]
        conf = self.sh("cat /etc/simulated-driver.conf")
        conf = re.sub(r"^driver .*$", f"driver {version}", conf, flags=re.MULTILINE)
        conf = re.sub(r"^cuda .*$", f"cuda {level}", conf, flags=re.MULTILINE)
        argv = [sys.executable, SHARED / "pods.py", "driver", self.name]
        subprocess.run(argv, input=f"{conf}\n", text=True, check=True, timeout=LIMIT)

    def snapshot(self) -> Snapshot:
        """All that lies on the disk now."""
        return Snapshot(*json.loads(self.sh("/usr/bin/python3 -I -", SNAPSHOT)))

    def cuda(self) -> dict[str, Cuda]:
        """What each way into the pod meets; the other programs of a shell are those that no hook of ours helps."""
        other = f"/usr/bin/python3 -I -S -c {shlex.quote(CUINIT)}"
        ways = {
            "login shell": f"{LOGIN} {shlex.quote(other)}",
            "python of a login shell": f"{LOGIN} {shlex.quote(f'python -c {shlex.quote(TORCH)}')}",
            "ssh command": other,
            "python as ssh command": f"python -c {shlex.quote(TORCH)}",
            "python without environment": f"env -i {CURRENT}/bin/python -c {shlex.quote(TORCH)}",
        }
        with ThreadPoolExecutor(2) as pool:
            return dict(zip(ways, pool.map(self.ask, ways.values()), strict=True))

    def ask(self, command: str) -> Cuda:
        """What one of the two programs above answers."""
        return Cuda(*json.loads(self.sh(command)))

    def stack(self) -> tuple[str, str, str]:
        """The live generation, and the releases of the CUDA toolkit and of PyTorch's CUDA that a login shell meets."""
        torch = "python -c 'import torch; print(torch.version.cuda)'"
        toolkit = "nvcc --version | sed -n 's/.*release \\([0-9.]*\\),.*/\\1/p'"
        live, release, cuda = self.sh(f"readlink {CURRENT}; {LOGIN} {shlex.quote(f'{toolkit}; {torch}')}").split()
        return live.rpartition("/")[2], release, cuda


def states(*names: str) -> set[str]:
    """The files that a run writes about itself."""
    return {f"~ {PREFIX}/state/{name}.json" for name in names}


def converged(pod: Pod, **variables: Any) -> None:
    """A further run finds nothing to change and touches nothing."""
    before = pod.snapshot()
    run = pod.bootstrap(**variables)
    assert run.rc == 0, run.out
    assert (run.applied, run.decision["changes"], run.changed) == ([], [], 0)
    assert touched(before, pod.snapshot()) == set()
