# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start a build on the host, tell how far it is while it works, and share its wheel with other hosts."""

from __future__ import annotations

import fcntl
import hashlib
import json
import pathlib
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.podsmith.gpu.plugins.module_utils._build import plan, progress

TRIES = 20  # unanswered looks in a row before the task fails
PAUSE = 5.0  # seconds before the next one, growing
PACKAGES = "podsmith.gpu.python_packages"
FILES = "podsmith.gpu.managed_files"
TOOLS = ("pip",)

display = Display()


class ActionModule(ActionBase):
    """One wheel: kept already, brought from the controller, or built."""

    TRANSFERS_FILES = True
    _supports_check_mode = True
    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """See what there is, and build or transfer what is missing; the result is as the module documents it."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        self.task_vars, self.arguments = task_vars or {}, dict(self._task.args)
        self.build = self.arguments.get("build") or {}
        self.host = str(self.task_vars.get("inventory_hostname", "host"))
        problems = plan.check_build(self.build)
        if problems:  # before the host is asked
            raise AnsibleActionFail(" ".join(problems))
        self.label = f"{self.build['name']} {self.build['version']}"
        try:
            if self.build.get("pending") is False and not self.build.get("wheel"):
                # The plan found it installed; its wheel is gone and needed by nobody.
                result.update(name=self.build["name"], wheel=None, requirement=None, changed=False, how="installed")
            elif self.arguments.get("state") == "absent":
                result.update(self.call("absent"))
            else:
                result.update(self.bring(self.call("look")))
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def call(self, step: str, **more: Any) -> dict[str, Any]:
        """One call on the host; raises AnsibleActionFail with the host's own words where it fails."""
        arguments = {**self.arguments, "step": step, **more}
        answer: dict[str, Any] = self._execute_module(
            module_name="podsmith.gpu.source_wheel", module_args=arguments, task_vars=self.task_vars
        )
        if answer.get("unreachable"):
            raise AnsibleConnectionFailure(str(answer.get("msg")))
        if answer.get("failed"):
            raise AnsibleActionFail(str(answer.get("msg")), result=answer)
        return answer

    # The ways to a wheel

    def bring(self, seen: dict[str, Any]) -> dict[str, Any]:
        """Provide the wheel; the result says where it came from and whether anything changed."""
        if self._task.check_mode:
            return self.told(seen, changed=not seen["wheel"], how="kept" if seen["wheel"] else "built")
        if not self.is_shared:
            return self.told(seen, changed=False, how="kept") if seen["wheel"] else self.make(seen)
        with self.alone(seen["key"]):
            if not seen["wheel"]:
                sent = self.send(seen)
                if sent:
                    return self.told(sent, changed=True, how="shared")
                done = self.make(seen)
            else:
                done = self.told(seen, changed=False, how="kept")
            self.fetch(done)
            return done

    @property
    def is_shared(self) -> bool:
        """Whether wheels are kept on the controller."""
        return str(self.arguments.get("share", False)).lower() in ("true", "yes", "1")

    def told(self, answer: dict[str, Any], **more: Any) -> dict[str, Any]:
        """The part of a host's answer that the task returns."""
        inner = (
            "invocation",
            "running",
            "progress",
            "offset",
            "step",
            "seconds_so_far",
            "problem",
            "work",
            "attached",
            "attempt",
        )
        return {
            name: value
            for name, value in {**answer, **more}.items()
            if name not in inner and not name.startswith("_ansible")
        }

    def make(self, seen: dict[str, Any]) -> dict[str, Any]:
        """Build it, or wait for the build that is at work."""
        if not seen["running"]:
            origin = self.build["origin"]
            if origin.get("url") and origin["kind"] != "git" and not origin.get("sha256"):
                display.warning(
                    f"{self.host}: {self.label}: {origin['url']} has no sha256; the download is not verified."
                )
            for text in seen.get("cautions") or []:
                display.warning(f"{self.host}: {self.label}: {text}")
            if seen.get("problems"):
                raise AnsibleActionFail(
                    f"{self.label} cannot be built on {self.host}: {' '.join(seen['problems'])}", result=self.told(seen)
                )
            self.prepare(seen["work"])
        begun = self.call("start")
        attached = bool(begun.get("attached"))
        words = "is already running, waiting for it" if attached else "started" if begun["attempt"] == 1 else "resumed"
        display.display(f"{self.host}: the build of {self.label} {words}; log: {seen['work']}/log")
        done = self.wait(attached=attached)
        if done["problem"]:
            raise AnsibleActionFail(done["problem"], result=self.told(done))
        return self.told(done, changed=True, how="attached" if attached else "built")

    def prepare(self, work: str) -> None:
        """Make the build's own environment, with what it requires. Raises AnsibleActionFail."""
        given, torch = self.arguments, self.build.get("torch")
        requires = [*(self.build.get("build_requires") or []), *TOOLS]
        names = {str(name).partition("=")[0] for name in requires}
        if torch and not given.get("adopt") and "torch" not in names:
            requires.append(f"torch=={torch}")
        wished = {
            "environment": f"{work}/environment",
            "python": self.build["python"]["path"],
            "prefix": given.get("prefix") or str(pathlib.PurePosixPath(given["store"]).parent),
            "requirements": requires,
            "uv_version": given.get("uv_version"),
            "hint": "set a mirror of PyPI in the host's pip configuration, or correct the build's build_requires",
        }
        passed = ("index_url", "extra_index_urls", "find_links", *(("adopt",) if torch else ()))
        wished.update({name: given[name] for name in passed if given.get(name)})
        task = self._task.copy()
        task.action, task.args = PACKAGES, wished
        action = self._shared_loader_obj.action_loader.get(
            PACKAGES,
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=self._templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        answer = action.run(task_vars=self.task_vars)
        if answer.get("failed"):
            raise AnsibleActionFail(f"Installing the build requirements of {self.label} failed: {answer.get('msg')}")
        links = [
            {"path": f"{work}/environment/{path}", "target": target, "make_folder": False}
            for path, target in plan.links_of(self.build).items()
        ]
        answer = (
            self._execute_module(module_name=FILES, module_args={"links": links}, task_vars=self.task_vars)
            if links
            else {}
        )
        if answer.get("failed"):
            raise AnsibleActionFail(
                f"Linking libraries into the build environment of {self.label} failed: {answer.get('msg')}"
            )

    def wait(self, *, attached: bool) -> dict[str, Any]:
        """Look at the build until it ends, less and less often, and tell how far it is."""
        follow: dict[str, Any] = {"wait": 0 if attached else progress.interval(0)}
        limit, looks, silent, begun = int(self.arguments.get("timeout") or 0), 0, 0, time.monotonic()
        samples: list[tuple[float, int]] = []
        while True:
            try:
                answer = self.call("follow", follow=follow)
                silent = 0
            except AnsibleConnectionFailure as error:
                silent += 1
                if silent > TRIES:
                    raise
                display.display(
                    f"{self.host}: no answer ({error}); the build of {self.label} continues there, retrying"
                )
                time.sleep(min(60.0, PAUSE * silent))
                self._connection.reset()
                continue
            if not answer["running"]:
                return answer
            looks += 1
            now = progress.Progress(*answer["progress"])
            samples.append((answer["seconds_so_far"], now.done))
            left = progress.seconds_left(samples, now.total, minutes=self.build.get("minutes"))
            line = progress.describe(
                self.label, now, phase=str(answer["step"]), seconds=answer["seconds_so_far"], left=left
            )
            display.display(f"{self.host}: {line}")
            if limit and time.monotonic() - begun > limit:
                raise AnsibleActionFail(
                    f"Building {self.label} did not finish within {limit} s and continues on {self.host}. Rerun to wait"
                    " for it, with a larger pytorch_source_timeout."
                )
            follow = {"wait": progress.interval(looks), "offset": answer["offset"], "progress": answer["progress"]}

    # The controller's own store

    @property
    def folder(self) -> pathlib.Path:
        """The controller's store; absolute, as connections count from folders of their own."""
        return pathlib.Path(str(self.arguments.get("share_dir") or "wheelhouse")).expanduser().absolute()

    @contextmanager
    def alone(self, key: str) -> Iterator[None]:
        """Hosts that want the same wheel come one after the other: the first builds, the next find what it built."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / f".{key}.lock").open("a+")
        except OSError as error:
            raise AnsibleActionFail(
                f"{self.folder} on the controller is not writable ({error}); set pytorch_source_store_dir to a folder"
                " that is, or pytorch_source_share to false."
            ) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lock.seek(0)
                holder = lock.read().strip() or "another host"
                display.display(f"{self.host}: waiting for the wheel of {self.label}, which is being built on {holder}")
                fcntl.flock(lock, fcntl.LOCK_EX)
            lock.truncate(0)
            lock.write(self.host)
            lock.flush()
            yield

    def send(self, seen: dict[str, Any]) -> dict[str, Any] | None:
        """Send the controller's wheel to the host; None where there is none, or it is damaged (it is removed then)."""
        place = self.folder / seen["key"]
        try:
            record = json.loads((place / "build.json").read_text(encoding="utf-8"))
            wheel = place / record["wheel"]
            if digest(wheel) != record["sha256"]:
                display.warning(f"{wheel} is damaged and is built again.")
                shutil.rmtree(place)
                return None
        except (OSError, ValueError, KeyError):
            return None
        if not self._connection._shell.tmpdir:
            self._make_tmp_path()
        target = self._connection._shell.join_path(self._connection._shell.tmpdir, record["wheel"])
        self._transfer_file(str(wheel), target)
        self._fixup_perms2((self._connection._shell.tmpdir, target))
        return self.call("keep", source={"path": target, "record": record})

    def fetch(self, done: dict[str, Any]) -> None:
        """Keep the host's wheel on the controller, unless it is there. Raises AnsibleActionFail."""
        record, place = done["record"], self.folder / done["key"]
        if (place / record["wheel"]).is_file() and (place / "build.json").is_file():
            return
        new = place.with_name(f".new-{place.name}")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        try:
            self._connection.fetch_file(done["wheel"], str(new / record["wheel"]))
            found = digest(new / record["wheel"])
        except (AnsibleError, OSError) as error:
            shutil.rmtree(new, ignore_errors=True)
            raise AnsibleActionFail(
                f"{done['wheel']} could not be fetched from {self.host} ({error}); rerun, or set pytorch_source_share"
                " to false to keep no wheels on the controller."
            ) from error
        if found != record["sha256"]:
            shutil.rmtree(new, ignore_errors=True)
            raise AnsibleActionFail(
                f"{record['wheel']}: the SHA-256 of the file fetched from {self.host} is {found}; expected"
                f" {record['sha256']}. Rerun to fetch it again."
            )
        (new / "build.json").write_text(json.dumps(record, indent=1, sort_keys=True), encoding="utf-8")
        shutil.rmtree(place, ignore_errors=True)
        new.rename(place)


def digest(path: pathlib.Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
