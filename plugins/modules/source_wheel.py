#!/usr/bin/python
# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: source_wheel
short_description: Build a wheel from source, detached, resumable, once for all hosts
version_added: 1.0.0
description:
  - Builds PyTorch, or an extension of it, from source into a wheel, and keeps the wheel by a key of all that changes
    its bytes.
  - The build runs in a session of its own on the host. It outlives Ansible, and a run that finds one at work waits.
    One that was killed goes on where it stopped, for its folder stays.
  - While it waits, the task tells how far the build is, as steps done of all and the time that is left.
  - Where O(share) is set the wheel is fetched to the controller, and other hosts with the same key get it from there.
    In one play the first host builds and those with the same key wait.
author:
  - Podsmith developers (@podsmith)
options:
  build:
    description:
      - What to build, as an entry of C(stack_plan_decision['source']['builds']).
    type: dict
    required: true
  store:
    description: Folder of finished wheels, each in a folder of its key.
    type: path
    required: true
  work:
    description: Folder in which builds are made, each in a folder of its key; C(builds) beside O(store) by default.
    type: path
  prefix:
    description: Folder of all that is ours on the host; caches are in it. The parent of O(store) by default.
    type: path
  adopt:
    description: >-
      C(site-packages) folder with the PyTorch to compile against. Where it is not given, that PyTorch is brought into
      the build's own environment.
    type: path
  index_url:
    description: Index that is asked first for what the build requires.
    type: str
  extra_index_urls:
    description: Further indexes.
    type: list
    elements: str
    default: []
  find_links:
    description: Folders or pages with wheels.
    type: list
    elements: str
    default: []
  uv_version:
    description: Least version of uv that will do for the build's environment.
    type: str
  mirrors:
    description: Beginnings of addresses, each with what replaces it; for the source and for its submodules.
    type: dict
    default: {}
  share:
    description: Whether the wheel is kept on the controller, too, and brought to other hosts from there.
    type: bool
    default: false
  share_dir:
    description: That folder on the controller.
    type: path
    default: wheelhouse
  keep:
    description: Whether the build's folder stays after the wheel is kept.
    type: bool
    default: false
  timeout:
    description: Seconds to wait for a build; it goes on when they are over. V(0) is without end.
    type: int
    default: 0
  state:
    description: V(absent) ends the build where it is at work, and removes its folder and its wheel.
    type: str
    choices: [present, absent]
    default: present
  step:
    description: What one call on the host does. The action plugin sets it.
    type: str
    choices: [look, start, follow, keep, absent]
    default: look
  follow:
    description: What the last look returned, and for how many seconds to wait. The action plugin sets it.
    type: dict
    default: {}
  source:
    description: Wheel sent by the controller, with its record. The action plugin sets it.
    type: dict
attributes:
  check_mode:
    support: full
    description: Says whether a wheel would be built or brought.
  diff_mode:
    support: none
    description: A wheel is new or it is there.
notes:
  - Needs Linux on the host, for it reads C(/proc).
"""

EXAMPLES = r"""
- name: Build flash-attn for the RTX 5090
  podsmith.gpu.source_wheel:
    build:
      name: flash-attn
      version: "{{ flash_attn_version }}"
      origin:
        kind: git
        url: https://github.com/Dao-AILab/flash-attention
        ref: "v{{ flash_attn_version }}"
        submodules: true
      environment: {FLASH_ATTN_CUDA_ARCHS: "120", FLASH_ATTENTION_FORCE_BUILD: "TRUE"}
      build_requires: [ninja, setuptools, packaging, psutil]
      python: {path: /usr/bin/python3}
      cuda_home: /usr/local/cuda
      jobs: 8
    store: /opt/podsmith/wheels
    adopt: /opt/podsmith/current/lib/python3/site-packages
    uv_version: "{{ lookup('podsmith.gpu.catalogue', 'tools', 'tools', 'uv')['version'] }}"
    share: true
"""

RETURN = r"""
name:
  description: The distribution.
  type: str
  returned: always
key:
  description: The content key.
  type: str
  returned: always
wheel:
  description: Path of the wheel, nothing where it is not there.
  type: str
  returned: always
requirement:
  description: How to install exactly this wheel, as V(name @ URL); nothing where it is not there.
  type: str
  returned: always
sha256:
  description: Checksum of the wheel.
  type: str
  returned: when it is there
how:
  description: Where the wheel came from.
  type: str
  returned: always
  sample: kept, shared, built, attached
seconds:
  description: How long the build took, as its record says.
  type: float
  returned: when it is there
steps:
  description: How many steps it took, as its record says.
  type: int
  returned: when it is there
problems:
  description: Why it cannot be built here.
  type: list
  elements: str
  returned: when the wheel is not there
"""

import fcntl
import importlib
import json
import os
import pathlib
import platform
import shutil
import signal
import socket
import time
from typing import Any, NoReturn
from urllib.parse import quote

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podsmith.gpu.plugins.module_utils._build import build as _source_build
from ansible_collections.podsmith.gpu.plugins.module_utils._build import program as _source_run
from ansible_collections.podsmith.gpu.plugins.module_utils._build.build import Progress
from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import normalise

TICK = 0.1  # seconds between two looks at a build
PATIENCE = 5.0  # seconds that processes get to end by themselves
LIMIT = 4 << 20  # bytes of the log that an error's cause is looked for in
CCACHE_LINKS = ("/usr/lib/ccache", "/usr/lib64/ccache")
DESCRIBE = (
    "import os, sys, sysconfig; print(sys.implementation.cache_tag,"
    " os.path.exists(os.path.join(sysconfig.get_paths()['include'], 'Python.h')))"
)


class Builder:
    """One build on this host."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module, self.params = module, module.params
        self.build: dict[str, Any] = self.params["build"]
        problems = _source_build.check_build(self.build)
        if problems:
            module.fail_json(msg=" ".join(problems))
        self.name = normalise(self.build["name"])
        self.label = f"{self.name} {self.build['version']}"
        self.store = pathlib.Path(self.params["store"])
        self.prefix = pathlib.Path(self.params["prefix"] or self.store.parent)
        self.python_tag, self.has_headers = self.describe_python()
        self.key = self.build.get("key") or _source_build.content_key(self.build, self.describe_host())
        self.target = self.store / self.key
        self.work = pathlib.Path(self.params["work"] or self.store.parent / "builds") / self.key

    # What is there

    def describe_python(self) -> tuple[str, bool]:
        """The interpreter's tag, empty where it does not run, and whether its headers are there."""
        path = self.build["python"]["path"]
        if not os.access(path, os.X_OK):
            return "", False
        _rc, out, _err = self.module.run_command([path, "-I", "-c", DESCRIBE])
        words = out.split()
        return (words[0], words[1] == "True") if len(words) == 2 else ("", False)

    def nvcc(self, *words: str) -> str:
        """What the build's nvcc says; nothing where there is none."""
        path = f"{self.build.get('cuda_home')}/bin/nvcc"
        if not self.build.get("cuda_home") or not os.access(path, os.X_OK):
            return ""
        rc, out, _err = self.module.run_command([path, *words])
        return str(out) if rc == 0 else ""

    def describe_host(self) -> dict[str, str]:
        """What a host adds to the key."""
        library, version = platform.libc_ver()
        release = next((line for line in self.nvcc("--version").splitlines() if "release" in line), "")
        return {
            "machine": platform.machine(),
            "libc": f"{library} {version}",
            "python": self.python_tag,
            "nvcc": release.strip(),
        }

    def kept(self) -> dict[str, Any] | None:
        """The record of the finished wheel, if it is whole."""
        try:
            record = json.loads((self.target / "build.json").read_text(encoding="utf-8"))
            wheel = self.target / record["wheel"]
            return record if wheel.stat().st_size == record["size"] else None
        except (OSError, ValueError, KeyError):
            return None

    def read(self, name: str) -> dict[str, Any]:
        """One of the files that the build tells by."""
        try:
            content = json.loads((self.work / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def is_running(self) -> bool:
        """Whether a build is at work: the process that was noted, and no later one of the same number."""
        run = self.read("run.json")
        return bool(run) and run.get("boot") == boot() and started(run.get("pid", 0)) == run.get("start")

    def result(self, **more: Any) -> dict[str, Any]:
        """What every call returns."""
        record = self.kept()
        wheel = self.target / record["wheel"] if record else None
        found: dict[str, Any] = {
            "name": self.name,
            "key": self.key,
            "wheel": str(wheel) if wheel else None,
            "work": str(self.work),
        }
        found["requirement"] = f"{self.name} @ file://{quote(str(wheel))}" if wheel else None
        if record:
            found.update({name: record.get(name) for name in ("sha256", "seconds", "steps", "size")}, record=record)
        return {**found, **more}

    # Steps

    def look(self) -> dict[str, Any]:
        """What there is, and what is in the way of a build."""
        running = self.is_running()
        result = self.result(running=running)
        if not result["wheel"] and not running:
            result["problems"] = self.find_problems()
            result["cautions"] = [
                text for text in [_source_build.check_memory(self.build.get("jobs"), available_gib())] if text
            ]
        return result

    def find_problems(self) -> list[str]:
        """Why it cannot be built here, one sentence each."""
        problems, build = [], self.build
        python, cuda = build["python"]["path"], build.get("cuda_home")
        environment = build.get("environment") or {}
        if not self.python_tag:
            problems.append(f"{python} does not run on this host; name another interpreter as the build's python.")
        elif not self.has_headers:
            problems.append(f"{python} has no Python.h; install its development package, such as python3-dev.")
        compiler = str(environment.get("CXX") or "c++").split()[-1]
        if not shutil.which(compiler):
            problems.append(
                f"there is no C++ compiler ({compiler}); install g++, or list it in pytorch_source_system_packages."
            )
        if build["origin"]["kind"] == "git" and not shutil.which("git"):
            problems.append("there is no git; install it, or list it in pytorch_source_system_packages.")
        if cuda and not os.access(f"{cuda}/bin/nvcc", os.X_OK):
            problems.append(
                f"{cuda}/bin/nvcc is not there; install the toolkit, or name its folder as the build's cuda_home."
            )
        listed = self.nvcc("--list-gpu-code").split()
        unknown = _source_build.unknown_code(str(environment.get("TORCH_CUDA_ARCH_LIST") or ""), listed)
        if unknown:
            problems.append(
                f"{cuda}/bin/nvcc does not know {', '.join(unknown)}, it compiles for {', '.join(listed)};"
                " choose a newer toolkit, or leave that out of TORCH_CUDA_ARCH_LIST."
            )
        wanted, free = float(build.get("disk_mib") or 0) / 1024, free_gib(self.work)
        if free < wanted:
            problems.append(
                f"{self.work.parent} has {free:.1f} GiB free, the build wants {wanted:.1f}; free space, or set"
                " pytorch_source_work_dir to a larger file system."
            )
        return problems

    def start(self) -> dict[str, Any]:
        """Start the build, unless one is at work."""
        self.work.mkdir(parents=True, exist_ok=True)
        self.target.parent.mkdir(parents=True, exist_ok=True)
        with (self.work / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return self.result(attached=True, running=True)
            end_session(self.read("run.json"))  # compilers of a build whose head was killed
            attempt = int(self.read("state.json").get("attempt") or 0) + 1
            self.write_plan(attempt)
            self.spawn(lock.fileno(), attempt)
        return self.result(attached=False, running=True, attempt=attempt)

    def write_plan(self, attempt: int) -> None:
        """Write what the detached program needs."""
        links = next((folder for folder in CCACHE_LINKS if pathlib.Path(folder).is_dir()), None)
        ccache = shutil.which("ccache")
        environment = _source_build.build_environment(
            self.build,
            str(self.work),
            os.environ,
            site=next(map(str, self.work.glob("environment/lib/python3*/site-packages")), ""),
            adopt=self.params["adopt"] if self.build.get("torch") else None,
            ccache=ccache,
            ccache_links=links if ccache else None,
            cache=str(self.prefix / "cache"),
        )
        plan = {
            "name": self.name,
            "version": self.build["version"],
            "attempt": attempt,
            "environment": environment,
            "steps": _source_build.plan_steps(self.build, str(self.work), self.params["mirrors"]),
            "target": str(self.target),
            "record": {
                "schema": 1,
                "name": self.name,
                "key": self.key,
                "build": self.build,
                "host": socket.gethostname(),
            },
        }
        _source_run.write_json(self.work / "plan.json", plan)
        _source_run.write_json(
            self.work / "state.json", {"attempt": attempt, "begun": time.time(), "step": "start", "ok": None}
        )
        loader = importlib.import_module(_source_run.__name__).__loader__
        text = loader.get_source(_source_run.__name__)  # type: ignore[union-attr]  # an archive's, too
        (self.work / "run.py").write_text(text, encoding="utf-8")

    def spawn(self, lock: int, attempt: int) -> None:
        """Start the program in a session of its own. It inherits the lock, which so is held as long as it lives."""
        log = os.open(str(self.work / "log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.write(log, f"{_source_build.ATTEMPT}{attempt}\n".encode())
        ready, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(ready)
            program = [self.build["python"]["path"], "-I", str(self.work / "run.py"), str(self.work), str(lock)]
            become(program, log, lock, write_end)
        os.close(write_end)
        os.close(log)
        pid = int(os.read(ready, 32) or 0)
        os.close(ready)
        os.waitpid(child, 0)
        _source_run.write_json(
            self.work / "run.json", {"pid": pid, "start": started(pid), "boot": boot(), "attempt": attempt}
        )

    def follow(self) -> dict[str, Any]:
        """Wait for a while, then say how far the build is."""
        given = self.params["follow"]
        end = time.monotonic() + float(given.get("wait") or 0)
        while self.is_running() and time.monotonic() < end:
            time.sleep(TICK)
        running, state = self.is_running(), self.read("state.json")
        offset, progress = int(given.get("offset") or 0), Progress(*(given.get("progress") or ()))
        text, offset = self.read_log(offset)
        progress = _source_build.scan(text, progress)
        seconds = (time.time() if running else state.get("ended") or time.time()) - float(
            state.get("begun") or time.time()
        )
        result = self.result(
            running=running, progress=list(progress), offset=offset, step=state.get("step"), seconds_so_far=seconds
        )
        if running:
            return result
        if result["wheel"]:
            if not self.params["keep"]:
                shutil.rmtree(self.work, ignore_errors=True)
            return {**result, "problem": None}
        code = state.get("code")
        killed = state.get("ok") is None
        log = self.read_end()
        text = _source_build.explain(
            self.label,
            log,
            path=str(self.work / "log"),
            jobs=self.build.get("jobs"),
            code=None if killed else code,
            step=str(state.get("step")),
        )
        return {**result, "problem": text}

    def read_log(self, offset: int) -> tuple[str, int]:
        """The whole lines of the log from there on, and where they end."""
        try:
            with (self.work / "log").open("rb") as file:
                file.seek(offset)
                data = file.read()
        except OSError:
            return "", offset
        data = data[: data.rfind(b"\n") + 1]
        return data.decode("utf-8", "replace"), offset + len(data)

    def read_end(self) -> str:
        """The end of the log."""
        try:
            with (self.work / "log").open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - LIMIT))
                return file.read().decode("utf-8", "replace")
        except OSError:
            return ""

    def keep(self) -> dict[str, Any]:
        """Keep a wheel that the controller sent, if it is the one that its record names."""
        source, record = pathlib.Path(self.params["source"]["path"]), self.params["source"]["record"]
        found = _source_run.digest(source)
        if found != record["sha256"]:
            self.module.fail_json(
                msg=f"{record['wheel']} came with the checksum {found}, wanted was {record['sha256']}; run again."
            )
        new = self.target.with_name(f".new-{self.key}")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        shutil.copyfile(source, new / record["wheel"])
        (new / record["wheel"]).chmod(0o644)
        _source_run.write_json(new / "build.json", record)
        shutil.rmtree(self.target, ignore_errors=True)
        new.rename(self.target)
        return self.result(running=False)

    def remove(self) -> dict[str, Any]:
        """Remove what there is of this build."""
        found = [path for path in (self.work, self.target) if path.exists()]
        if not self.module.check_mode and found:
            end_session(self.read("run.json"))
            for path in found:
                shutil.rmtree(path)
            for folder in (self.work.parent, self.target.parent):
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()
        return {"name": self.name, "key": self.key, "wheel": None, "requirement": None, "changed": bool(found)}


def become(argv: list[str], log: int, lock: int, ready: int) -> NoReturn:
    """In a forked child: fork again, so that nobody waits for it, tell the number, and be the program."""
    try:
        os.setsid()  # the first one's session; the program gets one of its own below
        if os.fork():
            os._exit(0)
        os.setsid()
        os.write(ready, str(os.getpid()).encode())
        null = os.open(os.devnull, os.O_RDONLY)
        for fd, place in ((null, 0), (log, 1), (log, 2)):
            os.dup2(fd, place)
        os.set_inheritable(lock, True)
        os.chdir("/")
        os.execv(argv[0], argv)
    finally:
        os._exit(127)


def boot() -> str:
    """What tells one start of the machine from the next."""
    try:
        return pathlib.Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def stat_fields(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat after the name; nothing where there is no such process, or a dead one."""
    try:
        fields = (
            pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
    except OSError:
        return []
    return [] if fields[:1] in (["Z"], ["X"]) else fields


def started(pid: int) -> int | None:
    """When a process began, in the kernel's ticks; ``None`` where there is none of that number."""
    fields = stat_fields(pid) if pid else []
    return int(fields[19]) if len(fields) > 19 else None


def session_members(pid: int) -> list[int]:
    """The processes of a session."""
    numbers = (int(path.name) for path in pathlib.Path("/proc").iterdir() if path.name.isdigit())
    return [number for number in numbers if (stat_fields(number)[3:4] or ["0"])[0] == str(pid)]


def end_session(run: dict[str, Any]) -> None:
    """End what is left of a build: all of its session, whose number is nobody else's while one of them lives."""
    pid = int(run.get("pid") or 0)
    if not pid or run.get("boot") != boot() or started(pid) not in (None, run.get("start")):
        return
    end = time.monotonic() + PATIENCE
    while True:
        members = session_members(pid)
        if not members:
            return
        late = time.monotonic() > end
        for member in members:
            try:
                os.kill(member, signal.SIGKILL if late else signal.SIGTERM)
            except OSError:
                continue
        if time.monotonic() > end + PATIENCE:
            return
        time.sleep(TICK)


def available_gib() -> float | None:
    """Memory that is free for new work."""
    try:
        lines = pathlib.Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = next((line.split()[1] for line in lines if line.startswith("MemAvailable:")), None)
    return int(found) / 1048576 if found else None


def free_gib(path: pathlib.Path) -> float:
    """Space below the nearest folder that is there."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free / 1073741824


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "build": {"type": "dict", "required": True},
            "store": {"type": "path", "required": True},
            "work": {"type": "path"},
            "prefix": {"type": "path"},
            "adopt": {"type": "path"},
            "index_url": {"type": "str"},
            "extra_index_urls": {"type": "list", "elements": "str", "default": []},
            "find_links": {"type": "list", "elements": "str", "default": []},
            "uv_version": {"type": "str"},
            "mirrors": {"type": "dict", "default": {}},
            "share": {"type": "bool", "default": False},
            "share_dir": {"type": "path", "default": "wheelhouse"},
            "keep": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 0},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "step": {"type": "str", "choices": ["look", "start", "follow", "keep", "absent"], "default": "look"},
            "follow": {"type": "dict", "default": {}},
            "source": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    builder = Builder(module)
    steps = {
        "look": builder.look,
        "start": builder.start,
        "follow": builder.follow,
        "keep": builder.keep,
        "absent": builder.remove,
    }
    module.exit_json(**{"changed": False, **steps[module.params["step"]]()})


if __name__ == "__main__":
    main()
