# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time decisions, scripts/plan and what it is compared with, turn about in one run; prints a table, asserts nothing.

    .venv/bin/python scripts/time_plan.py [TURNS]

The controls are ansible-playbook with playbooks/plan.yml for the same recording, and ``uv pip compile`` with a warm
cache. uv is asked for --torch-backend=auto too, which needs PyTorch's own index: where that cannot be reached, what is
left is PyPI's PyTorch, of which uv reads one index instead of two and looks for no driver, so it is quicker than what
it stands for. uv's --offline asks no index whether its copies are still true.
"""

from __future__ import annotations

import functools
import itertools
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import plan

ROOT = pathlib.Path(__file__).resolve().parents[1]
RECORDING = ROOT / "tests" / "fixtures" / "h200-driver-580"
TURNS = 15
HOSTS = (
    ("H100", "580"),
    ("H100", "525"),
    ("8x H100", "550"),
    ("A100-SXM4-80GB", "535"),
    ("V100-SXM2-16GB", "570"),
    ("T4", "470"),
    ("RTX 4090", "560"),
    ("RTX 5090", "570"),
    ("B200", "575"),
)
WISHES: tuple[Mapping[str, Any], ...] = (
    {},
    {"cuda": "13.0"},
    {"cuda": "12.8", "pytorch": "2.9"},
    {"extensions": ["torchvision", "torchaudio"]},
    {"cuda": "13.0", "extensions": ["xformers", "vllm"]},
    {"cuda": "13.0", "pytorch": "2.9", "extensions": ["vllm", "torchao", "torchcodec"]},
)
EIGHT = ["torchvision", "torchaudio", "torchao", "torchcodec", "bitsandbytes", "xformers", "vllm", "triton"]
WAYS_OUT = "with ways out"


def main() -> int:
    """Print all figures."""
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else TURNS
    plan.reach_collection()
    say(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, {turns} turns")
    for name, times in time_decisions().items():
        say(f"{name:42} {len(times):4}  median {statistics.median(times):6.1f} ms  most {max(times):6.1f} ms")
    with tempfile.TemporaryDirectory() as folder:
        for name, times in take_turns(commands(pathlib.Path(folder)), turns).items():
            told = (
                f"median {statistics.median(times):6.0f} ms  least {min(times):6.0f} ms"
                if times
                else "does not run here"
            )
            say(f"{name:42} {len(times):4}  {told}")
    return 0


def say(line: str) -> None:
    """A line of the table."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


# --- decisions ---


def time_decisions() -> dict[str, list[float]]:
    """Kind of decision → CPU milliseconds of each, nothing being remembered of an earlier one; and of the resolver."""
    known = plan.load("plugins.plugin_utils._catalogue.load").load_catalogue()
    forget = plan.load("plugins.plugin_utils._plan.memo").forget
    resolve = plan.load("plugins.plugin_utils._plan.plan").resolve
    found: dict[str, list[float]] = {}
    by_host: dict[tuple[str, str], list[float]] = {}
    for host, wish in itertools.product(HOSTS, WISHES):
        facts = describe(host[0], host[1], known)
        resolve(facts, wish, known)
        forget()
        spent, decided = clock(functools.partial(resolve, facts, wish, known))
        kind = f"{decided.verdict}, {WAYS_OUT}" if decided.ways_out else decided.verdict
        found.setdefault(f"decision: {kind}", []).append(spent)
        by_host.setdefault(host, []).append(spent)
    found["decision: median of each host"] = [statistics.median(times) for times in by_host.values()]
    found["eight extensions, by themselves"] = [
        time_set(describe("H100", driver, known), known) for driver in ("580", "550")
    ]
    return found


def describe(gpu: str, driver: str, known: Any) -> dict[str, Any]:
    """The facts of a host in words."""
    options = plan.parse_arguments(["--gpu", gpu, "--driver", driver, "--kind", "vm"])
    facts: dict[str, Any] = plan.describe(options, known)
    return facts


def time_set(facts: Mapping[str, Any], known: Any) -> float:
    """CPU milliseconds of choosing eight extensions together with PyTorch, its CUDA and its Python."""
    parts = {
        name: plan.load(f"plugins.plugin_utils._plan.{name}")
        for name in ("case", "choose_set", "host", "layout", "memo")
    }
    request = plan.load("plugins.plugin_utils._request.request").parse_request({"extensions": EIGHT})
    host = parts["host"].read_host(facts, request.overrides, known)
    case = parts["case"].Case(host, request, parts["layout"].choose_layout(host, request), known)
    parts["memo"].forget()
    return clock(lambda: parts["choose_set"].choose(case))[0]


def clock(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU milliseconds of a call, and what it returns."""
    begin = time.process_time()
    found = work()
    return 1000 * (time.process_time() - begin), found


# --- programs ---


def commands(folder: pathlib.Path) -> dict[str, Sequence[str]]:
    """Name → command; files that they read are put into a folder."""
    few, many = folder / "torch.in", folder / "vllm.in"
    few.write_text("torch\n", encoding="utf-8")
    many.write_text("torch\nvllm\n", encoding="utf-8")
    binaries = pathlib.Path(sys.executable).parent
    ask, uv = [str(ROOT / "scripts" / "plan"), str(RECORDING)], [str(binaries / "uv"), "pip", "compile", "--quiet"]
    book = [str(binaries / "ansible-playbook"), "-i", "h200,", str(ROOT / "playbooks" / "plan.yml")]
    return {
        "scripts/plan": ask,
        "make plan RECORDING=": ["make", "-s", "-C", str(ROOT), "plan", f"RECORDING={RECORDING}", "LIMIT=h100"],
        "ansible-playbook playbooks/plan.yml": [*book, "-e", f"stack_plan_recording={RECORDING}"],
        "uv pip compile --torch-backend=auto, torch": [*uv, "--torch-backend=auto", str(few)],
        "uv pip compile, torch": [*uv, str(few)],
        "uv pip compile --offline, torch": [*uv, "--offline", str(few)],
        "scripts/plan extensions=vllm": [*ask, "extensions=vllm"],
        "uv pip compile, torch and vllm": [*uv, str(many)],
        "uv pip compile --offline, torch and vllm": [*uv, "--offline", str(many)],
    }


def take_turns(asked: Mapping[str, Sequence[str]], turns: int) -> dict[str, list[float]]:
    """Name → milliseconds on the clock of each turn, after one that warms the caches; none where it fails."""
    found: dict[str, list[float]] = {name: [] for name in asked}
    able = {name: command for name, command in asked.items() if run(command) is not None}
    for _turn in range(turns):
        for name, command in able.items():
            if (spent := run(command)) is not None:
                found[name].append(spent)
    return found


def run(command: Sequence[str]) -> float | None:
    """Milliseconds on the clock of a command; None where it ends with an error, which a plan that is refused is not."""
    begin = time.monotonic()
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, timeout=120)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return 1000 * (time.monotonic() - begin) if done.returncode == 0 else None


if __name__ == "__main__":
    sys.exit(main())
