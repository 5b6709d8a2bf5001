# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run over many pods: what it printed, changed and decided, how often it called each; and what a pod is then."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
INVENTORY = ROOT / "molecule" / "shared" / "inventory"
GONE = "gone-580"  # the pod that is made to answer no more
LIMIT = 1500  # seconds for a run: beyond it something waits for ever
BIN = Path(sys.executable).parent
COUNT = re.compile(r"(\w+)=(\d+)")
CALL = re.compile(r"^<([\d.]+)> SSH: EXEC ", re.MULTILINE)

# Prints what a process of the environment meets: CUDA as PyTorch finds it, by NVIDIA's own runtime, and its libcuda.
MEET = r"""
import json, torch
try:
    torch.cuda.init()
    said = f"{torch.cuda.device_count()} GPU"
except (AssertionError, RuntimeError) as error:
    said = str(error)
with open("/proc/self/maps") as maps:
    found = {line.split("/libcuda.so.")[1].strip() for line in maps if "/libcuda.so." in line}
cuda = torch.cuda.is_available()
print(json.dumps({"torch": torch.__version__, "cuda": cuda, "said": said, "libcuda": sorted(found)}))
"""
# Prints all that the tests ask of a pod, as JSON. As the command of an SSH session it is one of the ways in itself. In
# user scope no shell was touched: who comes in sources the activation first.
LOOK = r"""
import json, os, shlex, subprocess, sys
prefix, meet = sys.argv[1:]
def run(words, env=None):
    done = subprocess.run(words, env=env, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else done.stdout + done.stderr
def met(words, env=None):
    answer = run(words, env)
    try:
        return json.loads(answer)
    except ValueError:
        return {"error": answer}
with open(prefix + "/state/decision.json") as file:
    decision = json.load(file)
with open(prefix + "/state/verdict.json") as file:
    verdict = json.load(file)
activate = "" if decision["environment"]["scope"] == "system" else f". {prefix}/activate.sh && "
python = f"{activate}python -c {shlex.quote(meet)}"
library_path = activate + 'echo "$LD_LIBRARY_PATH"'
bare = {"HOME": os.environ["HOME"], "TERM": "dumb"}
login = ["bash", "--login", "-c"]
places = [folder for folder in ("/etc", "/home", "/opt", "/root", "/usr/local", "/workspace") if os.path.isdir(folder)]
since = ["-newer", "/run/sshd", "-not", "-type", "d", "-not", "-path", prefix + "/*"]
find = subprocess.run(["find", *places, "-xdev", *since], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
written = set(find.stdout.splitlines()) - {"/etc/simulated-driver.conf", "/etc/ld.so.cache"}
dpkg = run(["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n"])
print(json.dumps({
    "decision": decision,
    "verdict": verdict,
    "ways": {
        "login shell": met([*login, python], bare),
        "ssh command": met(["sh", "-c", python]),
        "no shell": met([prefix + "/current/bin/python", "-c", meet], {}),
    },
    "library paths": [run([*login, library_path], bare), run(["sh", "-c", library_path])],
    "nvcc": run([*login, activate + "command -v nvcc && nvcc --version"], bare),
    "current": os.readlink(prefix + "/current"),
    "packages": [line.split()[0] for line in dpkg.splitlines() if line.endswith(" installed")],
    "written": sorted(written),
}))
"""


@dataclass(frozen=True)
class Run:
    """What a playbook printed, and by host: its plan, what its tasks came to, its calls over SSH."""

    rc: int
    lines: list[str] = field(repr=False)
    recap: dict[str, dict[str, int]] = field(repr=False)
    plans: dict[str, dict[str, Any]] = field(repr=False)
    calls: Counter[str] = field(repr=False)

    @property
    def out(self) -> str:
        """All that was printed."""
        return "".join(self.lines)

    def said_of(self, host: str) -> str:
        """The block that was printed for a host, up to its verdict, as one line."""
        block = re.search(rf"^{host}   .*?^  verdict  .*?$", self.out, re.MULTILINE | re.DOTALL)
        return " ".join(block[0].split()) if block else ""

    def place(self, start: str) -> int:
        """The number of the first line that starts so; raises ValueError where none does."""
        return min(number for number, line in enumerate(self.lines) if line.startswith(start))


def play(playbook: str, limit: str, plans: Path, *args: str) -> Run:
    """Run a playbook as a user does, without molecule's settings; calls are counted with -vvv among ``args``."""
    extra = json.dumps({"stack_plan_output_dir": str(plans)})
    argv = [BIN / "ansible-playbook", playbook, f"-i{INVENTORY}", f"-l{limit}", "-e", extra, *args]
    with subprocess.Popen(
        argv,
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        end = threading.Timer(LIMIT, os.killpg, (process.pid, signal.SIGKILL))
        end.start()
        lines = list(process.stdout or ())
        end.cancel()
    out = "".join(lines)
    rows = [line for line in out.rpartition("PLAY RECAP")[2].splitlines() if ": ok=" in line]
    recap = {row.split()[0]: {word: int(count) for word, count in COUNT.findall(row)} for row in rows}
    names = {address: name for name, address in addresses().items()}
    calls = Counter(names[address] for address in CALL.findall(out))
    told = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in plans.glob("*.json")}
    return Run(process.returncode, lines, recap, told, calls)


def environment() -> dict[str, str]:
    """This process's environment as a user's own would be."""
    dropped = ("ANSIBLE_", "MOLECULE_", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    return kept | {"ANSIBLE_FORCE_COLOR": "0", "COLUMNS": "160"}


def addresses() -> dict[str, str]:
    """Where each running pod is."""
    text = (ROOT / ".cache" / "molecule" / "pods.json").read_text(encoding="utf-8")
    return {name: row["ansible_host"] for name, row in json.loads(text)["_meta"]["hostvars"].items()}


def observe(*hosts: str) -> dict[str, dict[str, Any]]:
    """What gpu_facts says of hosts."""
    argv = [BIN / "ansible", ",".join(hosts), f"-i{INVENTORY}", "--one-line", "-m", "podsmith.gpu.gpu_facts"]
    done = subprocess.run(argv, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=600, check=True)
    found = {}
    for line in done.stdout.splitlines():
        host, word, facts = line.partition(" | SUCCESS => ")
        if word:
            found[host] = json.loads(facts)["ansible_facts"]["gpu"]
    return found


def look(host: Any, prefix: str) -> dict[str, Any]:
    """What a pod is now; ``host`` is testinfra's."""
    done = host.run(f"/usr/bin/python3 -I -c {shlex.quote(LOOK)} {prefix} {shlex.quote(MEET)}")
    assert done.rc == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen
