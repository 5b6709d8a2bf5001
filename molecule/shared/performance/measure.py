# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time the bootstrap on simulated pods, from nothing and again, beside a script that does the same steps pod after pod.

    measure.py [PODS...]    so many pods at once, by default 1, 8 and 24; writes docs/performance.md and .json

The images and the mirror must be there; the pods perf-01 to perf-24 of the inventory are started anew and removed.
Nothing else should be at work on the machine: its load is kept beside each figure.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SHARED = HERE.parent
ROOT = SHARED.parents[1]
WORK = ROOT / ".cache" / "molecule"
INVENTORY = SHARED / "inventory"
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- BEGIN MEASURED -->", "<!-- END MEASURED -->"
LEVELS = ("standard", "light")  # of the proof
SSH = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR")
AGAIN = 3  # converged runs, of which the median counts
MOST_PODS = 24
DEFAULT_PODS = [1, 8, MOST_PODS]
BY_HAND = 8  # pods that the script is timed on; it takes one after the other, so more take as much longer


class MeasureError(Exception):
    """What was found, what was expected and what to do."""


@dataclass(frozen=True)
class Cost:
    """What a run cost: seconds on the clock, CPU seconds on either side, the most ssh calls that one pod got.

    ``load`` is that of the machine a minute before.
    """

    pods: int
    wall: float
    controller_cpu: float
    pods_cpu: float
    calls: int
    load: float

    @property
    def cpu(self) -> float:
        """CPU seconds of both sides."""
        return self.controller_cpu + self.pods_cpu


@dataclass(frozen=True)
class ByHand:
    """What the script cost on one pod; ``steps``: step -> seconds."""

    wall: float
    pods_cpu: float
    steps: Mapping[str, float]
    load: float


def names(count: int) -> list[str]:
    """The first pods of the inventory."""
    return [f"perf-{number:02}" for number in range(1, count + 1)]


def run(*words: str | Path, **more: Any) -> str:
    """What a command prints; raises MeasureError with the end of its words."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [*words], cwd=ROOT, capture_output=True, text=True, check=False, **more
    )
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-25:])
        raise MeasureError(f"{' '.join(map(str, words))} ended with {done.returncode}:\n{said}")
    return done.stdout


def clean_environment() -> dict[str, str]:
    """This process's environment without what molecule or a caller set for Ansible."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MOLECULE_"))}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return kept | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}


def playbook(book: Path, pods: Sequence[str], *args: str, **environment: str) -> str:
    """What ansible-playbook prints for these pods."""
    program = Path(sys.executable).with_name("ansible-playbook")
    return run(program, "-i", INVENTORY, "-l", ",".join(pods), book, *args, env=clean_environment() | environment)


def start(pods: Sequence[str]) -> None:
    """Machines that nobody has used."""
    playbook(SHARED / "playbooks" / "prepare.yml", pods)


def remove(pods: Sequence[str]) -> None:
    """Take them away."""
    playbook(SHARED / "playbooks" / "cleanup.yml", pods)


def addresses() -> dict[str, str]:
    """Pod -> address, of all that run."""
    hosts = json.loads((WORK / "pods.json").read_text(encoding="utf-8"))["_meta"]["hostvars"]
    return {name: values["ansible_host"] for name, values in hosts.items()}


def pods_cpu(pods: Sequence[str]) -> float:
    """CPU seconds that these containers have used since they started."""
    shown = run("docker", "inspect", "--format", "{{.Id}}", *(f"podsmith-{pod}" for pod in pods))
    return sum(container_cpu(container) for container in shown.split())


def container_cpu(container: str) -> float:
    """CPU seconds of a container, as either version of the kernel's control groups counts them."""
    groups = Path("/sys/fs/cgroup")
    for path in (groups / f"system.slice/docker-{container}.scope/cpu.stat", groups / f"docker/{container}/cpu.stat"):
        if path.exists() and (found := re.search(r"^usage_usec (\d+)", path.read_text(encoding="utf-8"))):
            return int(found[1]) / 1e6
    for path in (groups / f"cpuacct/docker/{container}/cpuacct.usage",):
        if path.exists():
            return int(path.read_text(encoding="utf-8")) / 1e9
    raise MeasureError(f"No control group below {groups} counts the CPU of container {container}; run Docker on Linux.")


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for the connections and the count; its path is short, as sockets want it, wherever the checkout is."""
    folder = Path(tempfile.mkdtemp(prefix="ps", dir="/tmp"))
    try:
        yield folder
    finally:
        for socket in folder.glob("c-*"):
            words = ["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "nobody"]
            subprocess.run(words, capture_output=True, check=False)
        shutil.rmtree(folder)


def bootstrap(pods: Sequence[str], level: str = LEVELS[0]) -> Cost:
    """Run bootstrap.yml on these pods, over new connections."""
    with scratch() as folder:
        counted = folder / "calls"
        common = " ".join([*SSH, "-o", f"ControlPath={folder}/c-%C"])
        wish = {"gpu_verify_level": level, "ansible_ssh_common_args": common}
        environment = {"ANSIBLE_SSH_EXECUTABLE": str(HERE / "ssh_counted"), "SSH_COUNTED": str(counted)}
        load, spent, used = os.getloadavg()[0], pods_cpu(pods), controller_cpu()
        begin = time.monotonic()
        playbook(ROOT / "bootstrap.yml", pods, "-e", json.dumps(wish), **environment)
        wall = time.monotonic() - begin
        lines = counted.read_text(encoding="utf-8").splitlines()
        there = addresses()
        calls = max(count_calls(lines, there[pod]) for pod in pods)
        return Cost(len(pods), wall, controller_cpu() - used, pods_cpu(pods) - spent, calls, load)


def count_calls(lines: Sequence[str], address: str) -> int:
    """The commands that ssh ran on a host."""
    return sum(f" {address} " in line for line in lines)


def controller_cpu() -> float:
    """CPU seconds of all children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def by_hand(pod: str) -> ByHand:
    """Run the script on one pod."""
    load, spent = os.getloadavg()[0], pods_cpu([pod])
    ssh = ["ssh", "-i", str(WORK / "key"), *SSH, f"root@{addresses()[pod]}", "bash", "-s"]
    begin = time.monotonic()
    shown = run(*ssh, input=(HERE / "by_hand.sh").read_text(encoding="utf-8"))
    wall = time.monotonic() - begin
    steps = {step: float(seconds) for seconds, step in (line.split("\t") for line in shown.splitlines())}
    return ByHand(wall, pods_cpu([pod]) - spent, steps, load)


def say(text: str) -> None:
    """Keep whoever waits informed."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)  # noqa: T201


def measure(counts: Sequence[int]) -> dict[str, Any]:
    """All figures: ``cold`` level -> costs, ``converged`` costs, ``by_hand`` one for each pod that the script had."""
    found: dict[str, Any] = {"cold": {level: [] for level in LEVELS}, "converged": []}
    for count in counts:
        pods = names(count)
        for level in LEVELS:
            start(pods)
            found["cold"][level].append(cost := bootstrap(pods, level))
            say(f"{count} pods, cold, proof {level}: {cost}")
        again = [bootstrap(pods) for turn in range(AGAIN if count < MOST_PODS else 1)]
        found["converged"].append(cost := sorted(again, key=lambda one: one.wall)[len(again) // 2])
        say(f"{count} pods, converged: {cost}")
        remove(pods)
    pods = names(min(max(counts), BY_HAND))
    start(pods)
    found["by_hand"] = []
    for pod in pods:
        found["by_hand"].append(hand := by_hand(pod))
        say(f"{pod} by hand: {hand}")
    remove(pods)
    return found


def render(found: Mapping[str, Any], command: str) -> str:
    """The tables, as Markdown."""
    hand: list[ByHand] = found["by_hand"]
    loads = sorted(round(cost.load, 1) for cost in all_costs(found))
    when, where = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}", f"{os.cpu_count()} cores of {processor()}"
    lines = [
        f"`{command}`, {when}, {where}, load before a run {loads[0]} to {loads[-1]}.",
        "",
        "| pods | run | seconds | seconds a pod | CPU seconds a pod: controller | pod | ssh calls a pod |",
        "|---|---|---|---|---|---|---|",
    ]
    for index, converged in enumerate(found["converged"]):
        rows = [(f"cold, proof {level}", found["cold"][level][index]) for level in LEVELS]
        for title, cost in [*rows, ("converged", converged)]:
            lines.append(row(cost.pods, title, cost.wall, cost.controller_cpu, cost.pods_cpu, str(cost.calls)))
        done = hand[: converged.pods]
        times = converged.pods / len(done)
        wall, spent = times * sum(one.wall for one in done), times * sum(one.pods_cpu for one in done)
        title = "script, pod after pod" + (f" ({len(done)} measured)" if times > 1 else "")
        lines.append(row(converged.pods, title, wall, 0, spent, "1"))
    steps = {step: statistics.median(one.steps[step] for one in hand) for step in hand[0].steps}
    shown = ", ".join(f"{step} {seconds:.1f}" for step, seconds in steps.items())
    return "\n".join([*lines, "", f"The script's steps, median of {len(hand)} pods, in seconds: {shown}.", ""])


def row(pods: int, title: str, wall: float, controller: float, pod: float, calls: str) -> str:
    """A line of the table."""
    cells = [str(pods), title, f"{wall:.1f}", *(f"{spent / pods:.1f}" for spent in (wall, controller, pod)), calls]
    return f"| {' | '.join(cells)} |"


def all_costs(found: Mapping[str, Any]) -> list[Cost | ByHand]:
    """Everything that was measured."""
    return [*(cost for level in LEVELS for cost in found["cold"][level]), *found["converged"], *found["by_hand"]]


def processor() -> str:
    """The model of this machine's processor."""
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else platform.machine()


def write_page(found: Mapping[str, Any], command: str) -> None:
    """Put the tables between the page's markers, and the figures beside it."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{render(found, command)}{END}{after}", encoding="utf-8")
    plain = json.dumps(found, indent=1, default=lambda one: rounded(asdict(one)))
    PAGE.with_suffix(".json").write_text(plain + "\n", encoding="utf-8")


def rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same with hundredths."""
    return {key: round(value, 2) if isinstance(value, float) else value for key, value in values.items()}


def main() -> None:
    """Exit status: 0, or 1 with the reason on standard error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pods", nargs="*", type=int, choices=range(1, MOST_PODS + 1), metavar="PODS")
    counts = parser.parse_args().pods or DEFAULT_PODS
    try:
        found = measure(counts)
    except MeasureError as error:
        parser.exit(1, f"measure.py: {error}\n")
    asked = "" if counts == DEFAULT_PODS else f" PODS='{' '.join(map(str, counts))}'"
    write_page(found, f"make performance{asked}")


if __name__ == "__main__":
    main()
