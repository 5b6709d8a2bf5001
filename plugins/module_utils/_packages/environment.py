# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A virtual environment or a folder that a module changes with uv, which is found on the host or installed there."""

from __future__ import annotations

import os
import pathlib
import platform
import shutil
import time
from collections.abc import Iterable
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podsmith.gpu.plugins.module_utils._host.pip import mask, parse_pip_config, read_pip_config
from ansible_collections.podsmith.gpu.plugins.module_utils._host.process import TIMED_OUT, last_line, run_limited
from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root
from ansible_collections.podsmith.gpu.plugins.module_utils._packages.folder import (
    Distributions,
    Work,
    read_distributions,
    wishes,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._packages.requirement import (
    PackagesError,
    Requirement,
    newer_or_same,
    parse_requirement,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._packages.uv import (
    asked,
    downloads,
    explain_failure,
    planned,
    uv_settings,
)

CA_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem")

# The options that every module of uv's has; their documentation is the fragment podsmith.gpu.uv.
OPTIONS: dict[str, dict[str, Any]] = {
    "prefix": {"type": "path", "required": True},
    "requirements": {"type": "list", "elements": "str", "default": []},
    "reinstall": {"type": "list", "elements": "str", "default": []},
    "index_url": {"type": "str"},
    "extra_index_urls": {"type": "list", "elements": "str", "default": []},
    "find_links": {"type": "list", "elements": "str", "default": []},
    "uv_version": {"type": "str", "required": True},
    "uv_path": {"type": "path"},
    "uv_source": {"type": "path"},
    "timeout": {"type": "int", "default": 1800},
    "hint": {"type": "str", "default": "name an index that has it with index_url"},
}


class Environment:
    """What lies at one path, and uv's calls for it.

    :param python: the interpreter that the packages are for, and whose pip installs uv where the host has none.
    :param is_environment: whether it is a virtual environment, not a plain folder.
    """

    def __init__(self, module: AnsibleModule, path: str, python: str, *, is_environment: bool) -> None:
        self.module, self.params, self.start = module, module.params, time.monotonic()
        self.path, self.python, self.is_environment = pathlib.Path(path), python, is_environment
        self.prefix = pathlib.Path(self.params["prefix"])
        self.created = False
        self.uv: dict[str, str] = {}
        self.output = ""
        home, environ = str(pathlib.Path.home()), dict(os.environ)
        bundle = next((path for path in CA_BUNDLES if pathlib.Path(path).exists()), None)
        self.arguments, self.variables = uv_settings(
            parse_pip_config(read_pip_config(Root(), home, environ), environ),
            index_url=self.params["index_url"],
            extra_index_urls=self.params["extra_index_urls"],
            find_links=[link for link in self.params["find_links"] if "://" in link or pathlib.Path(link).exists()],
            ca_bundle=environ.get("SSL_CERT_FILE") or bundle,
            strategy=self.params.get("index_strategy") or "best-match",
        )
        self.requirements = self.parse(self.params["requirements"])

    def parse(self, texts: Iterable[str]) -> list[Requirement]:
        """Requirements from their texts, or a failure in one sentence."""
        try:
            return [parse_requirement(text) for text in texts]
        except PackagesError as error:
            self.fail(str(error))

    # What is there

    @property
    def own_python(self) -> pathlib.Path:
        """The environment's interpreter."""
        return self.path / "bin" / "python"

    @property
    def site_packages(self) -> pathlib.Path | None:
        """Where the packages lie; ``None`` for an environment that is not there yet."""
        if not self.is_environment:
            return self.path
        return next(iter(sorted(self.path.glob("lib/python3*/site-packages"))), None)

    @property
    def is_usable(self) -> bool:
        """Whether it is there; an environment with the interpreter that it was made with."""
        if not self.is_environment:
            return self.path.is_dir()
        return self.own_python.exists() and (self.path / "pyvenv.cfg").exists() and self.site_packages is not None

    def present(self) -> Distributions:
        """The distributions that are there."""
        return read_distributions(str(self.site_packages)) if self.site_packages else {}

    # uv

    def find_uv(self) -> bool:
        """Find a uv that is new enough."""
        candidates = [shutil.which("uv"), self.prefix / "tools/bin/uv", pathlib.Path.home() / ".local/bin/uv"]
        for path in [self.params["uv_path"]] if self.params["uv_path"] else candidates:
            if path and os.access(path, os.X_OK):
                rc, out, _err = self.run([str(path), "--version"])
                words = out.split()
                if rc == 0 and len(words) > 1 and newer_or_same(words[1], self.params["uv_version"]):
                    self.uv = {"path": str(path), "version": words[1]}
                    return True
        return False

    def bring_uv(self) -> None:
        """Find a uv, or install one into the prefix; fail with all that was tried."""
        if self.find_uv():
            return
        least, tools = self.params["uv_version"], self.prefix / "tools"
        if self.params["uv_path"]:
            self.fail(
                f'uv_path is "{self.params["uv_path"]}", which is not uv {least} or newer; name another, or leave it'
                " out to have one installed."
            )
        if self.params["uv_source"]:
            copy_program(pathlib.Path(self.params["uv_source"]), tools / "bin" / "uv")
            if self.find_uv():
                return
            self.fail(
                f"The uv copied to this host does not run or is older than {least}; install uv {least} on the host."
            )
        options = ["--quiet", "--no-input", "--disable-pip-version-check", "--upgrade", "--target", str(tools)]
        _rc, out, err = self.run([self.python, "-m", "pip", "install", *options, f"uv=={least}"])
        if self.find_uv():
            return
        reason = last_line(mask(err or out), "pip gave no reason")
        self.fail(
            f"uv {least} or newer is neither on this host's PATH nor in {tools}, {self.python} could not install it"
            f" ({reason}), and the controller has none for this host to copy; install uv on the host, or install the"
            " package uv beside Ansible on the controller.",
            uv_needed=True,
            machine=platform.machine(),
        )

    def run(self, argv: list[str]) -> tuple[int, str, str]:
        """Run a command with the time limit, in the prefix, with uv's settings."""
        variables = {
            **self.variables,
            "UV_CACHE_DIR": str(self.cache()),
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_NO_PROGRESS": "1",
            "NO_COLOR": "1",
        }
        cwd = str(self.prefix) if self.prefix.is_dir() else "/"
        return run_limited(self.module, argv, seconds=self.params["timeout"], variables=variables, cwd=cwd)

    def cache(self) -> pathlib.Path:
        """uv's cache: in the prefix, but check mode creates none there."""
        folder = self.prefix / "cache" / "uv"
        return pathlib.Path(self.module.tmpdir) if self.module.check_mode and not folder.is_dir() else folder

    def call_uv(self, argv: list[str]) -> str:
        """Call uv and return what it says, or fail with one sentence."""
        rc, out, err = self.run([self.uv["path"], *argv])
        self.output += err
        if rc == TIMED_OUT:
            seconds, hint = self.params["timeout"], self.params["hint"]
            self.fail(f"uv did not finish {self.path} within {seconds} s; raise timeout, or {hint}.")
        if rc:
            reason = explain_failure(err + out, sources=asked(self.variables), hint=self.params["hint"])
            self.fail(f"Installing the packages for {self.path} failed: {reason}", stderr=mask(err))
        return out + err

    # Changes

    def install(self, work: Work, before: Distributions, more: Iterable[str] = ()) -> None:
        """Have uv install what is outstanding; ``more`` are further arguments."""
        where = ["--python", str(self.own_python)] if self.is_environment else self.into(self.path)
        argv = self.install_arguments(work, before, where, more)
        if work.repair and not work.install and not work.refetch:
            rc, _out, _err = self.run([self.uv["path"], *argv, "--offline"])  # what came once lies in the cache
            if rc == 0:
                return
        self.call_uv(argv)

    def uninstall(self, names: Iterable[str]) -> None:
        """Have uv take packages out of the environment."""
        self.call_uv(["pip", "uninstall", "--python", str(self.own_python), *names])

    def into(self, folder: pathlib.Path) -> list[str]:
        """uv's arguments for a plain folder."""
        return ["--python", self.python, "--target", str(folder)]

    def install_arguments(
        self, work: Work, before: Distributions, where: list[str], more: Iterable[str] = ()
    ) -> list[str]:
        """The arguments of ``uv pip install``."""
        argv = ["pip", "install", *where, *self.arguments, *more]
        for name in work.repair:
            argv += ["--reinstall-package", name]
        return [*argv, *(wish.text for wish in wishes(self.requirements, work, before))]

    def preview(
        self, work: Work, before: Distributions, *, create: bool = False, more: Iterable[str] = ()
    ) -> dict[str, list[dict[str, str | None]]]:
        """What would be ``{installed, removed}``: as uv says where it is at hand, else the requirements alone."""
        if work.is_empty:
            return {}
        if not self.find_uv() or not pathlib.Path(self.python).exists():
            came = [{"name": wish.name, "version": wish.version} for wish in (*work.install, *work.restore)]
            gone = [before[wish.name] for wish in work.install if wish.name in before]
            return {"installed": came, "removed": [{"name": item.name, "version": item.version} for item in gone]}
        if create or not self.is_environment:
            where = self.into(pathlib.Path(self.module.tmpdir) / "preview" if create else self.path)
        else:
            where = ["--python", str(self.own_python)]
        said = self.call_uv([*self.install_arguments(work, before, where, more), "--dry-run"])
        return {key: [dict(row) for row in rows] for key, rows in planned(said).items()}

    # The end

    def fail(self, msg: str, **more: Any) -> NoReturn:
        """Fail, and remove what this call created: nothing half-made stays."""
        if self.created:
            shutil.rmtree(self.path, ignore_errors=True)
        seconds = round(time.monotonic() - self.start, 2)
        self.module.fail_json(msg=msg, folder=str(self.path), uv=self.uv, seconds=seconds, **more)
        raise SystemExit(1)

    def exit(self, *, changed: bool, before: Distributions, **more: Any) -> NoReturn:
        """Return what was done."""
        result: dict[str, Any] = {"installed": [], "removed": [], "repaired": [], **more}
        known = {item.name: item.version for item in before.values()}
        gone = {row["name"] for row in result["removed"]}
        later = {name: version for name, version in known.items() if name not in gone}
        later.update({row["name"]: row["version"] or "any version" for row in result["installed"]})
        self.module.exit_json(
            changed=changed,
            folder=str(self.path),
            site_packages=str(self.site_packages) if self.site_packages else None,
            uv=self.uv,
            downloads=downloads(self.output),
            seconds=round(time.monotonic() - self.start, 2),
            diff={"before": listing(known), "after": listing(later)},
            **result,
        )
        raise SystemExit(0)


def copy_program(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copy a program, which everybody may run, into its place in one step."""
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copyfile(source, new)
    new.chmod(0o755)
    new.replace(target)


def listing(versions: dict[str, str]) -> str:
    """The packages as a text to compare."""
    return "".join(f"{name}=={version}\n" for name, version in sorted(versions.items()))
