#!/usr/bin/python
# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: python_packages
short_description: Bring Python packages into an environment or a folder, with uv
version_added: 1.0.0
description:
  - Brings exact versions of Python packages from wheels, into a virtual environment of its own or into a plain
    folder, and repairs them in place.
  - Compares what is there with the wish first, by each package's own list of files. Where nothing is missing, uv is
    not called at all.
  - Honours the host's own pip configuration, variables included. C(index-url), C(extra-index-url), C(find-links),
    C(no-index), C(trusted-host) and
    C(cert) mean for uv what they mean for pip. What the task names comes first.
  - Uses the uv that the host has, if it is new enough; else brings one into C(<prefix>/tools), with the host's own
    pip, or as a copy of the one on the
    controller.
  - An environment or folder that this call created and could not fill is removed again; wheels fetched so far stay
    in the cache.
author:
  - Podsmith developers (@podsmith)
options:
  prefix:
    description: Folder that holds uv's cache (C(cache/uv)) and, where the host has none, uv itself (C(tools)).
    type: path
    required: true
  environment:
    description:
      - Virtual environment to fill; created where it is absent, and created anew where it has another Python than
        O(python).
      - Exactly one of O(environment) and O(directory) is to be given.
    type: path
  directory:
    description: Plain folder to fill, as with C(pip install --target).
    type: path
  python:
    description: Interpreter on the host that the packages are for; the one that Ansible uses where it is not given.
    type: path
  adopt:
    description:
      - C(site-packages) folder of another environment, whose packages become importable in O(environment) and count
        as present.
      - Nothing is written into that folder.
    type: path
  requirements:
    description:
      - What is to be there, each as V(name==version), as V(name @ URL of a wheel), or as V(name) where any version
        will do.
      - With O(state=absent), what is to be taken out of O(environment).
    type: list
    elements: str
    default: []
  constraints:
    description: Exact versions, as V(name==version), that hold for whatever the requirements bring along.
    type: list
    elements: str
    default: []
  index_url:
    description: Index that is asked first, such as PyTorch's. The host's own, or uv's default, stays the fallback.
    type: str
  extra_index_urls:
    description: Further indexes.
    type: list
    elements: str
    default: []
  find_links:
    description: Folders or pages with wheels. A folder that is not there holds none.
    type: list
    elements: str
    default: []
  no_deps:
    description: Whether to leave out what the requirements depend on.
    type: bool
    default: false
  reinstall:
    description: Names of packages known to be broken, to be brought anew even if their files look right.
    type: list
    elements: str
    default: []
  foreign:
    description:
      - The environment belongs to somebody else, such as a project's package manager. It is never made or made anew,
        only what O(reinstall) names is repaired, only what was asked for is judged afterwards, and no note of what came
        is left in it.
    type: bool
    default: false
  remove:
    description:
      - Names of packages that have to go once the others are there. What shares files with them and is damaged by that
        is brought anew. Needs O(foreign).
    type: list
    elements: str
    default: []
  links:
    description:
      - Symbolic links to keep in the environment or folder, path to target, the path relative to it and the target
        to the link.
    type: dict
    default: {}
  linker_names:
    description:
      - Folders, relative to O(directory) or O(environment), in which each C(libX.so.N) is to have the name
        C(libX.so) that linkers look for.
    type: list
    elements: str
    default: []
  state:
    description:
      - V(absent) takes O(requirements) out of the environment, or the whole environment or folder where no
        requirement is given.
    type: str
    choices: [present, absent]
    default: present
  uv_version:
    description: Least version of uv that will do, and the one that is installed where there is none.
    type: str
    required: true
  uv_path:
    description: The uv to use.
    type: path
  uv_source:
    description:
      - A uv executable on the host, to be copied to C(<prefix>/tools) if no other can be had. The controller's is
        sent by itself.
    type: path
  timeout:
    description: Seconds that one call of uv may take.
    type: int
    default: 1800
  hint:
    description:
      - What the user can do about a source that does not answer or lacks a package; ends the error's sentence.
    type: str
    default: name an index that has it with index_url
attributes:
  check_mode:
    support: full
    description:
      - Says what it would bring; asks the sources where uv is at hand already, else names the requirements alone.
  diff_mode:
    support: full
    description: Shows the packages before and after.
notes:
  - Version numbers compare as PEP 440 says, in so far as exact versions need it.
"""

EXAMPLES = r"""
- name: Bring torch into an environment of its own
  podsmith.gpu.python_packages:
    prefix: /opt/podsmith
    uv_version: "{{ lookup('podsmith.gpu.catalogue', 'tools', 'tools', 'uv')['version'] }}"
    environment: /opt/podsmith/environments/1-torch2.9.1-cu130
    python: /usr/bin/python3.12
    index_url: https://download.pytorch.org/whl/cu130
    requirements: [torch==2.9.1+cu130, numpy]

- name: Bring the CUTLASS headers into a folder
  podsmith.gpu.python_packages:
    prefix: /opt/podsmith
    uv_version: "{{ lookup('podsmith.gpu.catalogue', 'tools', 'tools', 'uv')['version'] }}"
    directory: /opt/podsmith/cutlass/4.2.0
    requirements: [nvidia-cutlass==4.2.0.0]
    no_deps: true
    links: {include: cutlass_library/source/include}
"""

RETURN = r"""
folder:
  description: The environment or folder.
  type: str
  returned: always
site_packages:
  description: Where its packages lie.
  type: str
  returned: when it exists
installed:
  description: Packages that came, with their versions. In check mode, those that would come.
  type: list
  elements: dict
  returned: always
  sample: [{name: torch, version: 2.9.1+cu130}]
removed:
  description: Packages that went or were replaced, with the versions they had.
  type: list
  elements: dict
  returned: always
repaired:
  description: Packages whose files were missing or damaged and were brought anew.
  type: list
  elements: str
  returned: always
links:
  description: Symbolic links that were made.
  type: list
  elements: str
  returned: always
downloads:
  description: The larger files that were fetched, with their size in MiB.
  type: list
  elements: dict
  returned: always
uv:
  description: The uv that was used, as C(path) and C(version); nothing where none was needed.
  type: dict
  returned: always
seconds:
  description: How long it took.
  type: float
  returned: always
uv_needed:
  description: The host has no uv and cannot install one, so that the controller's is to be sent.
  type: bool
  returned: on failure
machine:
  description: The host's machine type, for which such a uv must be built.
  type: str
  returned: on failure
"""

import json
import os
import pathlib
import platform
import re
import shutil
import sys
import time
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podsmith.gpu.plugins.module_utils._host.pip import (
    mask,
    parse_pip_config,
    read_pip_config,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root
from ansible_collections.podsmith.gpu.plugins.module_utils._packages import uv as _uv

Distributions = dict[str, _uv.Distribution]  # by normalised name

PATH_FILE = "_podsmith_adopted.pth"
CA_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem")
PLANNED = re.compile(r"^ (?P<sign>[+~-]) (?P<name>\S+?)==(?P<version>\S+)", re.MULTILINE)
TIMED_OUT = 124  # how timeout says so
DESCRIBE = (
    "import sys, site; print('%d.%d' % sys.version_info[:2],"
    " sys.prefix == sys.base_prefix and sys.argv[1] in site.getsitepackages())"
)


class Packages:
    """One environment or folder on its way to what is wished."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module, self.params, self.start = module, module.params, time.monotonic()
        self.is_environment = bool(self.params["environment"])
        self.path = pathlib.Path(self.params["environment"] or self.params["directory"])
        lonely = self.params["remove"] and not self.params["foreign"]
        if lonely or (self.params["foreign"] and not self.is_environment):
            module.fail_json(
                msg="foreign wants an environment, and remove wants foreign; give both, or leave both out."
            )
        self.prefix = pathlib.Path(self.params["prefix"])
        self.python: str = self.params["python"] or sys.executable
        self.created = False
        self.uv: dict[str, str] = {}
        self.output = ""
        home, environ = str(pathlib.Path.home()), dict(os.environ)
        bundle = next((path for path in CA_BUNDLES if pathlib.Path(path).exists()), None)
        self.arguments, self.variables = _uv.uv_settings(
            parse_pip_config(read_pip_config(Root(), home, environ), environ),
            index_url=self.params["index_url"],
            extra_index_urls=self.params["extra_index_urls"],
            find_links=[link for link in self.params["find_links"] if "://" in link or pathlib.Path(link).exists()],
            ca_bundle=environ.get("SSL_CERT_FILE") or bundle,
        )
        try:
            self.requirements = [_uv.parse_requirement(text) for text in self.params["requirements"]]
            self.constraints = [_uv.parse_requirement(text) for text in self.params["constraints"]]
        except _uv.PackagesError as error:
            module.fail_json(msg=str(error))

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

    def present(self) -> Distributions:
        """The distributions that are there."""
        return _uv.read_distributions(str(self.site_packages)) if self.site_packages else {}

    def adopted(self) -> Distributions:
        """The distributions of the adopted environment."""
        adopt = self.params["adopt"]
        found = _uv.read_distributions(adopt) if adopt else {}
        if adopt and not found:
            self.fail(f"{adopt} holds no Python packages; name the site-packages folder of the environment to adopt.")
        return found

    def must_create(self) -> bool:
        """Whether the folder or environment is absent, unusable, or made for another Python."""
        if not self.is_environment:
            return not self.path.is_dir()
        if not self.own_python.exists() or not (self.path / "pyvenv.cfg").exists() or not self.site_packages:
            return True
        if self.own_python.resolve() == pathlib.Path(self.python).resolve():
            return False
        return f"python{self.describe_python()[0]}" != self.site_packages.parent.name

    def describe_python(self) -> tuple[str, bool]:
        """The wished interpreter's minor version, and whether the adopted folder is its own."""
        rc, out, err = self.run([self.python, "-I", "-c", DESCRIBE, self.params["adopt"] or ""])
        if rc:
            reason = err.strip()[-200:] or f"exit status {rc}"
            self.fail(f"{self.python} does not run ({reason}); name a Python interpreter of the host with python.")
        version, is_own = out.split()
        return version, is_own == "True"

    # uv

    def find_uv(self) -> bool:
        """Find a uv that is new enough."""
        candidates = [shutil.which("uv"), self.prefix / "tools/bin/uv", pathlib.Path.home() / ".local/bin/uv"]
        for path in [self.params["uv_path"]] if self.params["uv_path"] else candidates:
            if path and os.access(path, os.X_OK):
                rc, out, _err = self.run([str(path), "--version"])
                words = out.split()
                if rc == 0 and len(words) > 1 and _uv.newer_or_same(words[1], self.params["uv_version"]):
                    self.uv = {"path": str(path), "version": words[1]}
                    return True
        return False

    def bring_uv(self) -> None:
        """Find a uv, or bring one into the prefix; fail with all that was tried."""
        if self.find_uv():
            return
        wanted, tools = self.params["uv_version"], self.prefix / "tools"
        if self.params["uv_path"]:
            self.fail(
                f"{self.params['uv_path']} is no uv {wanted} or newer; name another with uv_path, or leave it out."
            )
        if self.params["uv_source"]:
            (tools / "bin").mkdir(parents=True, exist_ok=True)
            new = tools / "bin" / "uv.new"
            shutil.copyfile(self.params["uv_source"], new)
            new.chmod(0o755)
            new.replace(tools / "bin" / "uv")
            if self.find_uv():
                return
            self.fail(
                f"The uv sent to this host does not run or is older than {wanted}; install uv {wanted} on the host."
            )
        options = ["--quiet", "--no-input", "--disable-pip-version-check", "--upgrade", "--target", str(tools)]
        _rc, out, err = self.run([self.python, "-m", "pip", "install", *options, f"uv=={wanted}"])
        if self.find_uv():
            return
        words = (err or out).strip().splitlines()
        reason = mask(words[-1]).rstrip(".") if words else "pip said nothing"
        self.fail(
            f"uv {wanted} or newer is neither on this host's PATH nor in {tools}, {self.python} could not install it"
            f" ({reason}), and the controller has none for this host to copy; install uv on the host, or install the"
            " package uv beside Ansible on the controller.",
            uv_needed=True,
            machine=platform.machine(),
        )

    def run(self, argv: list[str]) -> tuple[int, str, str]:
        """Run a command with the time limit, in the prefix, with uv's settings."""
        limit = ["timeout", str(self.params["timeout"])] if shutil.which("timeout") else []
        environ = {
            **self.variables,
            "UV_CACHE_DIR": str(self.cache()),
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_NO_PROGRESS": "1",
            "NO_COLOR": "1",
        }
        cwd = str(self.prefix) if self.prefix.is_dir() else "/"
        rc, out, err = self.module.run_command([*limit, *argv], environ_update=environ, cwd=cwd)
        return rc, out, err

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
            reason = _uv.explain_failure(err + out, sources=_uv.asked(self.variables), hint=self.params["hint"])
            self.fail(f"The packages for {self.path} could not be brought: {reason}", stderr=mask(err))
        return out + err

    def fail(self, msg: str, **more: Any) -> NoReturn:
        """Fail, and remove what this call created: nothing half-made stays."""
        if self.created:
            shutil.rmtree(self.path, ignore_errors=True)
        seconds = round(time.monotonic() - self.start, 2)
        self.module.fail_json(msg=msg, folder=str(self.path), uv=self.uv, seconds=seconds, **more)
        raise SystemExit(1)

    # Changes

    def make_present(self) -> None:
        """Bring what is wished."""
        create = self.must_create()
        if self.params["foreign"] and create:
            self.fail(
                f"{self.path} has no Python of its own that runs, and a foreign environment is never made; make it "
                "with the tool that it belongs to."
            )
        before, recorded = ({}, {}) if create else (self.present(), _uv.read_packages(self.path))
        if self.params["foreign"]:
            recorded = {}
        adopted = self.adopted()
        work = _uv.outstanding(
            self.requirements,
            self.constraints,
            before,
            adopted={name: distribution.version for name, distribution in adopted.items()},
            recorded=recorded,
            reinstall=self.params["reinstall"],
        )
        if self.params["foreign"]:
            work = _uv.only_named(work, self.params["reinstall"], before)
        gone = [name for name in map(_uv.normalise, self.params["remove"]) if name in before]
        result: dict[str, Any] = {"repaired": list(work.repair)}
        if self.params["foreign"]:
            result.update(self.change_foreign(work, before, gone))
        elif self.module.check_mode:
            result.update(self.preview(work, before, adopted, create=create))
        elif create or not recorded or not work.is_empty:
            self.bring_uv()
            if create:
                self.create()
            if not work.is_empty:
                self.install(work, before, adopted)
            after = self.present()
            result.update(difference(before, after))
            wrong = self.find_faults(after, adopted)
            if wrong:
                self.undo(before, after)
                reason = "; ".join(wrong)
                self.fail(f"The packages in {self.path} do not fit together: {reason}. Ask for versions that do.")
            self.record(after)
        result["links"] = self.link()
        changed = any((create, not work.is_empty, gone, self.write_path_file(), result["links"]))
        self.exit(changed=changed, before=before, **result)

    def change_foreign(self, work: _uv.Work, before: Distributions, gone: list[str]) -> dict[str, Any]:
        """Bring, remove and repair what was asked for in somebody else's environment; nothing else is judged."""
        if work.is_empty and not gone:
            return {}
        if self.module.check_mode:
            result: dict[str, Any] = {"removed": [], **self.preview(work, before, {}, create=False)}
            rows = [{"name": name, "version": before[name].version} for name in gone]
            rows = [row for row in rows if row not in result["removed"]]
            return {**result, "removed": [*result["removed"], *rows]}
        self.bring_uv()
        if not work.is_empty:
            self.install(work, before, {})
        middle = self.present()
        repaired: list[str] = []
        if left := [name for name in gone if name in middle]:
            self.call_uv(["pip", "uninstall", "--python", str(self.own_python), *left])
            after = self.present()
            repaired = sorted(name for name, item in after.items() if item.missing and not middle[name].missing)
            if repaired:  # they shared files with what went
                mending = _uv.Work((), (), tuple(repaired), refetch=False)
                self.install(mending, after, {})
        after = self.present()
        versions = {name: item.version for name, item in after.items()}
        wrong = [f"{wish.text} did not come" for wish in self.requirements if not _uv.satisfied(wish, versions)]
        wrong += [f"{name} did not go" for name in gone if name in after]
        for name in {*repaired, *work.repair, *(wish.name for wish in self.requirements)} & set(after):
            wrong += [f"{name} lacks {path}" for path in after[name].missing[:1]]
        if wrong:
            reason = "; ".join(wrong)
            self.fail(
                f"The packages in {self.path} are not as wanted: {reason}. Run again; if it stays, see uv's output."
            )
        return {**difference(before, after), "repaired": sorted({*work.repair, *repaired})}

    def create(self) -> None:
        """Create the environment or folder."""
        self.prefix.mkdir(parents=True, exist_ok=True)
        self.created = True
        if not self.is_environment:
            self.path.mkdir(parents=True)
            return
        inherit = ["--system-site-packages"] if self.params["adopt"] and self.describe_python()[1] else []
        self.call_uv(["venv", "--clear", "--no-project", "--python", self.python, *inherit, str(self.path)])
        self.write_path_file()

    def install(self, work: _uv.Work, before: Distributions, adopted: Distributions) -> None:
        """Have uv bring what is outstanding."""
        _uv.record_path(self.path).unlink(missing_ok=True)
        where = ["--python", str(self.own_python)] if self.is_environment else self.into(self.path)
        argv = self.install_arguments(work, before, adopted, where)
        if work.repair and not work.install and not work.refetch:
            rc, _out, _err = self.run([self.uv["path"], *argv, "--offline"])  # what came once lies in the cache
            if rc == 0:
                return
        self.call_uv(argv)

    def into(self, folder: pathlib.Path) -> list[str]:
        """uv's arguments for a plain folder."""
        return ["--python", self.python, "--target", str(folder)]

    def install_arguments(
        self, work: _uv.Work, before: Distributions, adopted: Distributions, where: list[str]
    ) -> list[str]:
        """The arguments of ``uv pip install``."""
        argv = ["pip", "install", *where, *self.arguments, *(["--no-deps"] if self.params["no_deps"] else [])]
        for name in work.repair:
            argv += ["--reinstall-package", name]
        if self.constraints:
            argv += ["--constraints", self.write_list("constraints.txt", [rule.text for rule in self.constraints])]
        wishes = _uv.wishes(self.requirements, work, before)
        if adopted:
            foreign = sorted(set(adopted) - {wish.name for wish in wishes})
            argv += ["--excludes", self.write_list("excludes.txt", foreign)]
        return [*argv, *(wish.text for wish in wishes)]

    def write_list(self, name: str, lines: list[str]) -> str:
        """Write a requirements file for uv, and return its path."""
        path = pathlib.Path(self.module.tmpdir) / name
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return str(path)

    def preview(
        self, work: _uv.Work, before: Distributions, adopted: Distributions, *, create: bool
    ) -> dict[str, list[dict[str, str | None]]]:
        """What would come and go: uv's own answer where it is at hand, else the wishes alone."""
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
        said = self.call_uv([*self.install_arguments(work, before, adopted, where), "--dry-run"])
        rows: dict[str, list[dict[str, str | None]]] = {"+": [], "-": [], "~": []}
        for row in PLANNED.finditer(said):
            rows[row["sign"]].append({"name": _uv.normalise(row["name"]), "version": row["version"]})
        came = [row for row in rows["+"] if row not in rows["-"]]  # a repair brings the same version anew
        return {"installed": came, "removed": [row for row in rows["-"] if row not in rows["+"]]}

    def find_faults(self, after: Distributions, adopted: Distributions) -> list[str]:
        """Why what is there now cannot work together, or is still not what was wished, one clause each."""
        versions = {name: distribution.version for name, distribution in {**adopted, **after}.items()}
        wrong = [f"{item.name} lacks {path}" for item in after.values() for path in (*item.missing, *item.damaged)[:1]]
        wrong += [f"{wish.text} did not come" for wish in self.requirements if not _uv.satisfied(wish, versions)]
        wrong += _uv.incoherence(after, adopted, self.constraints)
        wrong += _uv.broken_pins(str(self.site_packages), {name: adopted[name] for name in set(adopted) - set(after)})
        if self.is_environment and not self.params["no_deps"]:
            _rc, out, err = self.run([self.uv["path"], "pip", "check", "--python", str(self.own_python)])
            wrong += _uv.unmet(out + err, versions)
        return wrong

    def undo(self, before: Distributions, after: Distributions) -> None:
        """Take out again what came, so that the next wish starts from what was there. A replaced version stays."""
        came = sorted(set(after) - set(before))
        if came and self.is_environment and not self.created:
            self.run([self.uv["path"], "pip", "uninstall", "--python", str(self.own_python), *came])

    def record(self, after: Distributions) -> None:
        """Note what a complete installation holds, so that what goes missing later is noticed."""
        versions = {name: distribution.version for name, distribution in after.items()}
        path = _uv.record_path(self.path)
        new = path.with_suffix(".new")
        new.write_text(json.dumps(versions, indent=1, sort_keys=True), encoding="utf-8")
        new.replace(path)

    def link(self) -> list[str]:
        """Make the symbolic links that are missing, and return their paths."""
        wanted = {str(path): str(target) for path, target in self.params["links"].items()}
        for folder in self.params["linker_names"]:
            names = _uv.linker_names(self.path / folder)
            wanted.update({f"{folder}/{name}": target for name, target in names.items()})
        made = []
        for relative, target in wanted.items():
            path = self.path / relative
            if path.is_symlink() and str(path.readlink()) == target:
                continue
            if path.exists() and not path.is_symlink():
                if relative in self.params["links"]:
                    self.fail(f"{path} is there and is no link to {target}; move it away.")
                continue
            made.append(relative)
            if not self.module.check_mode:
                if not path.parent.is_dir():
                    self.fail(
                        f"{path.parent} did not come with the packages, so {relative} cannot be a link; check links."
                    )
                path.unlink(missing_ok=True)
                path.symlink_to(target)
        return made

    def write_path_file(self) -> bool:
        """Write the file that makes the adopted packages importable; whether it had to be."""
        if not self.params["adopt"]:
            return False
        line, path = f"{self.params['adopt']}\n", (self.site_packages or self.path) / PATH_FILE
        if path.is_file() and path.read_text(encoding="utf-8") == line:
            return False
        if not self.module.check_mode:
            path.write_text(line, encoding="utf-8")
        return True

    def make_absent(self) -> None:
        """Take the requirements out, or all of it."""
        before = self.present()
        gone = [before[wish.name] for wish in self.requirements if wish.name in before]
        if self.requirements and gone and not self.module.check_mode:
            self.bring_uv()
            self.call_uv(["pip", "uninstall", "--python", str(self.own_python), *(item.name for item in gone)])
            self.record(self.present())
        must_remove = not self.requirements and self.path.exists()
        if must_remove:
            self.check_removable(before)
            gone = list(before.values())
            if not self.module.check_mode:
                shutil.rmtree(self.path)
        removed = [{"name": item.name, "version": item.version} for item in gone]
        self.exit(changed=bool(gone) or must_remove, before=before, removed=removed)

    def check_removable(self, before: Distributions) -> None:
        """Fail for a folder that this module cannot have filled."""
        if self.is_environment and not (self.path / "pyvenv.cfg").exists():
            self.fail(f"{self.path} is no virtual environment; remove it by hand if it is to go.")
        if not self.is_environment and not before and any(self.path.iterdir()):
            self.fail(f"{self.path} holds no Python packages; remove it by hand if it is to go.")

    def exit(self, *, changed: bool, before: Distributions, **more: Any) -> None:
        """Tell what was done."""
        result: dict[str, Any] = {"installed": [], "removed": [], "repaired": [], "links": [], **more}
        known = {item.name: item.version for item in before.values()}
        gone = {row["name"] for row in result["removed"]}
        later = {name: version for name, version in known.items() if name not in gone}
        later.update({row["name"]: row["version"] or "any version" for row in result["installed"]})
        self.module.exit_json(
            changed=changed,
            folder=str(self.path),
            site_packages=str(self.site_packages) if self.site_packages else None,
            uv=self.uv,
            downloads=_uv.downloads(self.output),
            seconds=round(time.monotonic() - self.start, 2),
            diff={"before": listing(known), "after": listing(later)},
            **result,
        )


def listing(versions: dict[str, str]) -> str:
    """The packages as a text to compare."""
    return "".join(f"{name}=={version}\n" for name, version in sorted(versions.items()))


def difference(before: Distributions, after: Distributions) -> dict[str, list[dict[str, str]]]:
    """What came and what went, a replaced version in both lists."""
    came = [item for name, item in after.items() if name not in before or before[name].version != item.version]
    went = [item for name, item in before.items() if name not in after or after[name].version != item.version]
    return {
        "installed": [{"name": item.name, "version": item.version} for item in came],
        "removed": [{"name": item.name, "version": item.version} for item in went],
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "prefix": {"type": "path", "required": True},
            "environment": {"type": "path"},
            "directory": {"type": "path"},
            "python": {"type": "path"},
            "adopt": {"type": "path"},
            "requirements": {"type": "list", "elements": "str", "default": []},
            "constraints": {"type": "list", "elements": "str", "default": []},
            "index_url": {"type": "str"},
            "extra_index_urls": {"type": "list", "elements": "str", "default": []},
            "find_links": {"type": "list", "elements": "str", "default": []},
            "no_deps": {"type": "bool", "default": False},
            "reinstall": {"type": "list", "elements": "str", "default": []},
            "foreign": {"type": "bool", "default": False},
            "remove": {"type": "list", "elements": "str", "default": []},
            "links": {"type": "dict", "default": {}},
            "linker_names": {"type": "list", "elements": "str", "default": []},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "uv_version": {"type": "str", "required": True},
            "uv_path": {"type": "path"},
            "uv_source": {"type": "path"},
            "timeout": {"type": "int", "default": 1800},
            "hint": {"type": "str", "default": "name an index that has it with index_url"},
        },
        required_one_of=[("environment", "directory")],
        mutually_exclusive=[("environment", "directory"), ("directory", "adopt")],
        supports_check_mode=True,
    )
    packages = Packages(module)
    if module.params["state"] == "absent":
        packages.make_absent()
    else:
        packages.make_present()


if __name__ == "__main__":
    main()
