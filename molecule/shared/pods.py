# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start containers that look like rented GPU machines, change the driver of their host, lose their disk, remove them.

    pods.py up < PODS          start pods anew; PODS is JSON: {"pod-1": {"driver": "driver 570.133.20\\n…",
                               "image": "debian12", "volume": false, "environment": {"RUNPOD_POD_ID": "x"},
                               "shm": "1m"}}; each of the five may be left out
    pods.py driver POD < CONF  the host got another driver: CONF is the new /etc/simulated-driver.conf
    pods.py wipe POD...        the pods' root disks are lost; drivers, addresses and the volumes at /workspace stay
    pods.py down [--all|POD…]  remove these pods with their volumes; the mirror and the network go with the last one

Addresses of all running pods stand in .cache/molecule/pods.json, as a dynamic inventory prints them.
"""

from __future__ import annotations

import argparse
import fcntl
import functools
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

SHARED = Path(__file__).resolve().parent
WORK = SHARED.parents[1] / ".cache" / "molecule"
ADDRESSES = WORK / "pods.json"
NETWORK = "podsmith"
MIRROR = "podsmith-mirror"
SPEC = "podsmith.pod"  # label of a pod: how it was started, as JSON
START_SECONDS = 120  # beyond it nothing will come
WORKERS = 4  # docker calls at once; on two cores more of them wait for each other


class PodError(Exception):
    """What was found, what was expected and what to do."""


@dataclass(frozen=True)
class Pod:
    """One rented machine; ``driver`` is the text of its simulated-driver.conf, empty on a machine without a GPU."""

    name: str
    driver: str = ""
    image: str = "debian12"
    volume: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    shm: str = ""  # size of /dev/shm, as docker takes it; empty: docker's own

    @property
    def container(self) -> str:
        """Name of its container; the volume has it, too."""
        return f"podsmith-{self.name}"


def docker(*words: str, text: str | None = None) -> str:
    """What a docker command prints; raises PodError with its complaint."""
    done = subprocess.run(["docker", *words], input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PodError(f"docker {' '.join(words)} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout.strip()


def parse_pods(text: str) -> list[Pod]:
    """The pods that ``up`` was asked for."""
    try:
        wanted = json.loads(text)
        return [Pod(name, **values) for name, values in wanted.items()]
    except (ValueError, TypeError, AttributeError) as error:
        raise PodError(f"The pods on standard input are not as `pods.py --help` says: {error}.") from error


def list_pods() -> dict[str, tuple[Pod, str]]:
    """Each of our containers: name of the pod, how it was started, its address or "" where it does not run."""
    names = docker("ps", "--all", "--quiet", "--filter", f"label={SPEC}").split()
    found = {}
    for container in json.loads(docker("inspect", *names)) if names else []:
        pod = Pod(**json.loads(container["Config"]["Labels"][SPEC]))
        network = container["NetworkSettings"]["Networks"].get(NETWORK, {})
        found[pod.name] = (pod, network.get("IPAddress", ""))
    return found


def find_pods(names: Iterable[str]) -> list[tuple[Pod, str]]:
    """The named pods of those that were started."""
    there = list_pods()
    missing = [name for name in names if name not in there]
    if missing:
        raise PodError(f"No pod is called {', '.join(missing)}; there are {', '.join(there) or 'none'}.")
    return [there[name] for name in names]


def has_network() -> bool:
    """Whether the pods' network is there."""
    return bool(docker("network", "ls", "--quiet", "--filter", f"name=^{NETWORK}$"))


def make_network() -> None:
    """An internal network, whose subnet is spelt out: on such a one alone a container may ask for its old address."""
    if has_network():
        return
    docker("network", "create", "--internal", NETWORK)
    subnet = docker("network", "inspect", "--format", "{{(index .IPAM.Config 0).Subnet}}", NETWORK)
    docker("network", "rm", NETWORK)
    docker("network", "create", "--internal", "--subnet", subnet, NETWORK)


def start_mirror() -> None:
    """The packages' server, from what shared/mirror has built."""
    served, script = WORK / "mirror", SHARED / "mirror" / "serve.sh"
    if docker("ps", "--quiet", "--filter", f"name=^{MIRROR}$"):
        return
    remove([MIRROR])
    if not served.is_dir():
        raise PodError(f"There is no mirror in {served}; run molecule/shared/mirror/build.py first.")
    docker(
        *("run", "--detach", "--init", "--name", MIRROR, "--hostname", "mirror"),
        *("--network", NETWORK),
        *("--volume", f"{served}:/srv/mirror:ro", "--volume", f"{script}:/usr/local/sbin/serve:ro"),
        *("--entrypoint", "/usr/local/sbin/serve", find_image("debian12"), "/srv/mirror"),
    )
    await_port(MIRROR, find_address(MIRROR), 80)


@functools.cache
def find_address(container: str) -> str:
    """Where a running container can be reached."""
    return docker("inspect", "--format", f"{{{{.NetworkSettings.Networks.{NETWORK}.IPAddress}}}}", container)


def find_image(name: str) -> str:
    """The image of that name; NVIDIA's stands for Debian 12 where it was made."""
    if name == "debian12" and docker("image", "ls", "--quiet", "podsmith-pod:vendor"):
        name = "vendor"
    return f"podsmith-pod:{name}"


def start(pod: Pod, address: str = "") -> None:
    """A new container and its driver."""
    docker(
        *("run", "--detach", "--init", "--name", pod.container, "--hostname", pod.name, "--network", NETWORK),
        *(("--ip", address) if address else ()),
        *("--add-host", f"mirror:{find_address(MIRROR)}"),  # the only name that a pod knows
        # The simulated driver mounts what a container runtime would have mounted.
        *("--cap-add", "SYS_ADMIN", "--security-opt", "apparmor=unconfined"),
        *(("--volume", f"{pod.container}:/workspace") if pod.volume else ()),
        *(("--shm-size", pod.shm) if pod.shm else ()),
        *(word for name, value in pod.environment.items() for word in ("--env", f"{name}={value}")),
        *("--label", f"{SPEC}={json.dumps(vars(pod))}", find_image(pod.image)),
    )
    if pod.driver:
        set_driver(pod, pod.driver)


def set_driver(pod: Pod, conf: str) -> None:
    """The pod's host got this driver; the label keeps the one it was started with."""
    # Whole at once: the pod's own start may be reading it.
    conf_file = "/etc/simulated-driver.conf"
    script = f"cat >{conf_file}.new && mv {conf_file}.new {conf_file} && simulated-driver"
    docker("exec", "--interactive", pod.container, "sh", "-ec", script, text=conf)


def read_driver(pod: Pod) -> str:
    """The driver that the pod's host has now."""
    return docker("exec", pod.container, "sh", "-c", "cat /etc/simulated-driver.conf 2>/dev/null || :")


def await_port(container: str, address: str, port: int) -> None:
    """Return as soon as something listens there."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        try:
            socket.create_connection((address, port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise PodError(f"Nothing listens on {address}:{port} within {START_SECONDS} s; see docker logs {container}.")


def remove(containers: Iterable[str]) -> None:
    """Remove these containers where they are."""
    docker("rm", "--force", *containers)


def write_addresses() -> None:
    """Tell Ansible where the running pods are."""
    hosts = {name: {"ansible_host": address} for name, (_pod, address) in list_pods().items() if address}
    access = {"ansible_ssh_private_key_file": str(WORK / "key")}
    inventory = {"_meta": {"hostvars": hosts}, "pods": {"hosts": list(hosts), "vars": access}}
    fresh = ADDRESSES.with_suffix(".new")
    fresh.write_text(json.dumps(inventory, indent=1), encoding="utf-8")
    fresh.replace(ADDRESSES)


def start_all(pods: Mapping[str, tuple[Pod, str]]) -> None:
    """Start pods side by side, each at its address where one is given; return when all can be reached."""
    with ThreadPoolExecutor(WORKERS) as pool:
        each(pool.submit(start, pod, address) for pod, address in pods.values())
    there = list_pods()
    write_addresses()
    with ThreadPoolExecutor(max(len(pods), 1)) as pool:
        each(pool.submit(await_port, pod.container, there[pod.name][1], 22) for pod, _address in pods.values())


def each(jobs: Iterable[Future[None]]) -> None:
    """Wait for all jobs; raises what the first failed one raised."""
    for job in list(jobs):
        job.result()


def up(pods: Iterable[Pod]) -> None:
    """Start pods, each anew where it is there, and the mirror before them."""
    wanted = {pod.name: (pod, "") for pod in pods}
    down(wanted)
    make_network()
    start_mirror()
    start_all(wanted)


def wipe(names: Iterable[str]) -> None:
    """Lose the root disks."""
    kept = {pod.name: (replace(pod, driver=read_driver(pod)), address) for pod, address in find_pods(names)}
    remove(pod.container for pod, _address in kept.values())
    start_all(kept)


def list_names() -> list[str]:
    """Every pod that is there, or has left a volume."""
    volumes = docker("volume", "ls", "--quiet", "--filter", "name=^podsmith-").split()
    return sorted({*list_pods(), *(volume.removeprefix("podsmith-") for volume in volumes)})


def down(names: Iterable[str]) -> None:
    """Remove those of the pods that are there, and their volumes; after the last one the mirror and the network."""
    there = list_pods()
    if containers := [f"podsmith-{name}" for name in names]:
        remove(containers)
        docker("volume", "rm", "--force", *containers)  # also one that an interrupted run has left
        there = {name: found for name, found in there.items() if found[0].container not in containers}
    if not there:
        remove([MIRROR])
        if has_network():
            docker("network", "rm", NETWORK)


@contextmanager
def alone() -> Iterator[None]:
    """One of these programs works at a time: the network and the file of addresses belong to all."""
    WORK.mkdir(parents=True, exist_ok=True)
    with (WORK / "pods.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> None:
    """Exit status: 0, or 1 with the reason on standard error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("up")
    actions.add_parser("driver").add_argument("pods", nargs=1, metavar="POD")
    actions.add_parser("wipe").add_argument("pods", nargs="+", metavar="POD")
    ending = actions.add_parser("down")
    ending.add_argument("--all", action="store_true")
    ending.add_argument("pods", nargs="*", metavar="POD")
    given = parser.parse_args()
    try:
        with alone():
            act(given)
    except PodError as error:
        parser.exit(1, f"pods.py: {error}\n")


def act(given: argparse.Namespace) -> None:
    """Do what was asked for."""
    if given.action == "up":
        up(parse_pods(sys.stdin.read()))
    elif given.action == "driver":
        [(pod, _address)] = find_pods(given.pods)
        set_driver(pod, sys.stdin.read())
    elif given.action == "wipe":
        wipe(given.pods)
    else:
        down(list_names() if given.all else given.pods)
        write_addresses()


if __name__ == "__main__":
    main()
