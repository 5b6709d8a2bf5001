#!/usr/bin/python
# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: offline_bundle
short_description: Write a folder with the wheels and repositories that an offline host needs
version_added: 1.0.0
description:
  - Resolves sets of wheels for another Python, machine and glibc with uv, and downloads exactly those with pip.
  - Writes C(wheels), the same wheels as an index (C(simple)), bare repositories (C(git)), the given texts, and
    C(manifest.json) with the digest, size and purpose of each file.
  - Runs on the controller, by delegation. Honours its pip configuration.
  - Where the folder holds what is asked for, by its manifest and by the digests of all files, nothing is fetched.
author:
  - Podsmith developers (@podsmith)
options:
  path:
    description: Folder to fill. Only what its manifest lists is ever removed from it.
    type: path
    required: true
  target:
    description: The host, as C(glibc) and C(arch).
    type: dict
    required: true
    suboptions:
      python:
        description: Its Python, as C(major.minor).
        type: str
        required: true
      glibc:
        description: Its glibc.
        type: str
        required: true
      arch:
        description: Its machine type.
        type: str
        choices: [x86_64, aarch64]
        required: true
  wheels:
    description: Sets of wheels, each resolved as one.
    type: list
    elements: dict
    default: []
    suboptions:
      purpose:
        description: What they are for, as the manifest tells.
        type: str
        required: true
      python:
        description: The Python they are for, as C(major.minor).
        type: str
        required: true
      requirements:
        description: Requirements.
        type: list
        elements: str
        default: []
      lock:
        description: A requirements file, which is taken as it is.
        type: path
      constraints:
        description: Exact versions that hold for what the requirements depend on.
        type: list
        elements: str
        default: []
      index_urls:
        description: Indexes beside the controller's own.
        type: list
        elements: str
        default: []
      no_deps:
        description: Whether to leave out what the requirements depend on.
        type: bool
        default: false
      have:
        description: Names of packages that the host has already.
        type: list
        elements: str
        default: []
  repositories:
    description: Git repositories, each cloned at one revision without its history.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the clone.
        type: str
        required: true
      url:
        description: Where it comes from.
        type: str
        required: true
      revision:
        description: Tag or branch.
        type: str
        required: true
      purpose:
        description: What it is for.
        type: str
        required: true
  texts:
    description: Further files, relative path to content.
    type: dict
    default: {}
  about:
    description: What the manifest tells beside its files, such as the decision's digest.
    type: dict
    default: {}
  limit_mib:
    description: Largest size of the bundle; 0 for any.
    type: int
    default: 0
  uv:
    description: The uv to use; the one beside the Python that runs this, or the one on PATH, where it is not given.
    type: path
  timeout:
    description: Seconds that one command may take.
    type: int
    default: 1800
attributes:
  check_mode:
    support: full
    description: Says whether the bundle is there and whole, and fetches nothing.
  diff_mode:
    support: none
    description: The manifest tells what it holds.
"""

EXAMPLES = r"""
- name: Bundle the CUTLASS headers for a host
  podsmith.gpu.offline_bundle:
    path: /srv/bundles/pod-1
    target: {python: "3.12", glibc: "2.39", arch: x86_64}
    wheels:
      - {purpose: CUTLASS, python: "3.12", requirements: [nvidia-cutlass==4.2.0.0], no_deps: true}
  delegate_to: localhost
"""

RETURN = r"""
path:
  description: The folder.
  type: str
  returned: always
mib:
  description: Size of all its files in MiB.
  type: float
  returned: when it is there
files:
  description: How many files it holds.
  type: int
  returned: when it is there
fetched:
  description: Wheels that were downloaded by this call.
  type: list
  elements: str
  returned: always
"""

import hashlib
import json
import os
import pathlib
import re
import shutil
import sys
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podsmith.gpu.plugins.module_utils._bundle import files
from ansible_collections.podsmith.gpu.plugins.module_utils._host.pip import (
    mask,
    parse_pip_config,
    read_pip_config,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._host.process import last_line, run_limited
from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root
from ansible_collections.podsmith.gpu.plugins.module_utils._host.units import to_mib
from ansible_collections.podsmith.gpu.plugins.module_utils._packages import uv

SAVED = re.compile(r"^\s*(?P<how>Saved|File was already downloaded) (?P<path>.+\.whl)$", re.MULTILINE)
OFTEN = "see the message above, and check the controller's pip configuration"


class Bundle:
    """One bundle on its way to what is asked for."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module, self.params = module, module.params
        self.path = pathlib.Path(self.params["path"])
        self.wheels = self.path / "wheels"
        self.uv: str = self.params["uv"] or uv.find_own_uv() or ""
        self.purposes: dict[str, str] = {}  # relative path -> what it is for
        self.fetched: list[str] = []
        asked = {name: self.params[name] for name in ("target", "wheels", "repositories", "texts", "about")}
        asked["locks"] = [pathlib.Path(row["lock"]).read_text("utf-8") for row in self.params["wheels"] if row["lock"]]
        self.request = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()

    def bring(self) -> None:
        """Write the bundle, unless it is there and whole."""
        manifest = files.read_manifest(self.path)
        whole = manifest.get("request") == self.request and not files.find_damage(self.path, manifest)
        if self.module.check_mode or whole:
            self.exit(manifest, changed=not whole)
        if not self.uv:
            self.fail("This controller has no uv, which resolves the wheels; install the package uv beside Ansible.")
        if self.path.is_dir() and not manifest and any(self.path.iterdir()) and not self.wheels.is_dir():
            self.fail(
                f"{self.path} holds files that are not a bundle; expected a bundle or an empty folder. Name another in"
                " bundle_dir, or empty this one."
            )
        self.wheels.mkdir(parents=True, exist_ok=True)
        (self.path / files.MANIFEST).unlink(missing_ok=True)
        for row in self.params["wheels"]:
            self.bring_wheels(row)
        for row in self.params["repositories"]:
            self.bring_repository(row)
        self.write_texts()
        self.prune()
        self.exit(self.write_manifest(), changed=True)

    def bring_wheels(self, row: dict[str, Any]) -> None:
        """Resolve one set for the target, and download it."""
        pins = self.resolve(row)
        if not pins:
            return
        listed = self.write("pins.txt", "\n".join(pins) + "\n")
        argv = [*self.pip(), "download", "--no-input", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
        argv += ["--dest", str(self.wheels), "--only-binary", ":all:", "--implementation", "cp"]
        argv += ["--python-version", row["python"]]
        for platform in files.platforms(self.params["target"]["glibc"], self.params["target"]["arch"]):
            argv += ["--platform", platform]
        for url in row["index_urls"]:
            argv += ["--extra-index-url", url]
        said = self.run([*argv, "--requirement", listed], f"The wheels of {row['purpose']} could not be downloaded")
        for match in SAVED.finditer(said):
            name = pathlib.PurePosixPath(match["path"]).name
            self.purposes.setdefault(f"wheels/{name}", row["purpose"])
            if match["how"] == "Saved":
                self.fetched.append(name)
        self.check_size()

    def resolve(self, row: dict[str, Any]) -> list[str]:
        """The exact versions of one set with their hashes, as lines of a requirements file."""
        environ = dict(os.environ)
        pip = parse_pip_config(read_pip_config(Root(), str(pathlib.Path.home()), environ), environ)
        arguments, variables = uv.uv_settings(pip, extra_index_urls=row["index_urls"])
        wished = row["lock"] or self.write("requirements.in", "\n".join(row["requirements"]) + "\n")
        argv = [self.uv, "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--generate-hashes"]
        argv += ["--only-binary", ":all:", "--python-version", row["python"], *arguments]
        argv += ["--python-platform", files.uv_platform(self.params["target"]["glibc"], self.params["target"]["arch"])]
        argv += ["--no-deps"] if row["no_deps"] else []
        if row["constraints"]:
            argv += ["--constraints", self.write("constraints.txt", "\n".join(row["constraints"]) + "\n")]
        rc, out, err = self.command([*argv, wished], variables)
        if rc:
            hint = "name an index that has it, or ask for another version"
            reason = uv.explain_failure(err + out, sources=uv.asked(variables), hint=hint)
            self.fail(f"The wheels of {row['purpose']} could not be resolved: {reason}")
        return files.drop_pins(out, set(row["have"]))

    def pip(self) -> list[str]:
        """The command that runs pip: this Python's own, else one that uv provides for this call."""
        rc, _out, _err = self.command([sys.executable, "-m", "pip", "--version"], {})
        return [sys.executable, "-m", "pip"] if rc == 0 else [self.uv, "tool", "run", "--quiet", "pip"]

    def bring_repository(self, row: dict[str, str]) -> None:
        """Clone one revision without its history, as a bare repository."""
        folder = self.path / "git" / f"{row['name']}.git"
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(exist_ok=True)
        argv = ["git", "clone", "--quiet", "--bare", "--template=", "--depth", "1", "--branch", row["revision"]]
        self.run([*argv, row["url"], str(folder)], f"{row['purpose']} could not be cloned from {mask(row['url'])}")
        for path in folder.rglob("*"):
            self.purposes[str(path.relative_to(self.path))] = row["purpose"]
        self.check_size()

    def write_texts(self) -> None:
        """Write the given files and the index of the wheels."""
        found = {path.name: files.sha256(path) for path in self.wheels.glob("*.whl") if self.is_wanted(path)}
        pages = files.index_pages(found)
        shutil.rmtree(self.path / "simple", ignore_errors=True)
        for name, text in {**pages, **self.params["texts"]}.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            self.purposes[name] = "index of the wheels" if name in pages else "what to do with the bundle"

    def is_wanted(self, wheel: pathlib.Path) -> bool:
        """Whether a wheel is one of those asked for now."""
        return f"wheels/{wheel.name}" in self.purposes

    def prune(self) -> None:
        """Remove wheels that an earlier bundle needed, and repositories that this one does not."""
        for path in self.wheels.glob("*.whl"):
            if not self.is_wanted(path):
                path.unlink()
        if not self.params["repositories"]:
            shutil.rmtree(self.path / "git", ignore_errors=True)

    def check_size(self) -> None:
        """Fail where the bundle has outgrown its limit, naming the largest files."""
        limit = self.params["limit_mib"]
        sizes = {path: (self.path / path).stat().st_size for path in self.purposes if (self.path / path).is_file()}
        total = to_mib(sum(sizes.values()))
        if limit and total > limit:
            largest = sorted(sizes, key=lambda path: sizes[path], reverse=True)[:3]
            named = ", ".join(f"{pathlib.PurePosixPath(path).name} {to_mib(sizes[path])} MiB" for path in largest)
            self.fail(
                f"The bundle takes {total} MiB or more; bundle_limit_mib allows {limit}. The largest: {named}."
                " Raise the limit, or ask for less."
            )

    def write_manifest(self) -> dict[str, Any]:
        """Write the manifest last, so that a bundle with one is complete, and return it."""
        content = {**self.params["about"], "request": self.request, "target": self.params["target"]}
        manifest = {**content, "files": files.list_files(self.path, self.purposes)}
        text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
        (self.path / files.MANIFEST).write_text(text, encoding="utf-8")
        return manifest

    # Commands

    def write(self, name: str, text: str) -> str:
        """Write a file for a command, and return its path."""
        path = pathlib.Path(self.module.tmpdir) / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    def command(self, argv: list[str], variables: dict[str, str]) -> tuple[int, str, str]:
        """Run a command with the time limit."""
        environ = {**variables, "NO_COLOR": "1", "UV_NO_PROGRESS": "1", "PIP_PROGRESS_BAR": "off", "PIP_NO_COLOR": "1"}
        seconds = self.params["timeout"]
        return run_limited(self.module, argv, seconds=seconds, variables=environ, cwd=str(self.path))

    def run(self, argv: list[str], failure: str) -> str:
        """Run a command and return what it says, or fail with its last words."""
        rc, out, err = self.command(argv, {})
        if rc:
            reason = last_line(mask(err or out), f"exit status {rc}")
            self.fail(f"{failure} ({reason}); {OFTEN}.", stderr=mask(err))
        return out

    def fail(self, msg: str, **more: Any) -> NoReturn:
        """Fail; what was fetched stays for the next try, without a manifest."""
        self.module.fail_json(msg=msg, path=str(self.path), fetched=self.fetched, **more)
        raise SystemExit(1)

    def exit(self, manifest: dict[str, Any], *, changed: bool) -> NoReturn:
        """Return what is there."""
        rows = manifest.get("files", {})
        size = to_mib(sum(row["size"] for row in rows.values()))
        self.module.exit_json(changed=changed, path=str(self.path), mib=size, files=len(rows), fetched=self.fetched)
        raise SystemExit(0)


def main() -> None:
    """Run the module."""
    text, words = {"type": "str", "required": True}, {"type": "list", "elements": "str", "default": []}
    arches = {"type": "str", "required": True, "choices": ["x86_64", "aarch64"]}
    wheels = {
        "purpose": text,
        "python": text,
        "requirements": words,
        "lock": {"type": "path"},
        "constraints": words,
        "index_urls": words,
        "no_deps": {"type": "bool", "default": False},
        "have": words,
    }
    repository = dict.fromkeys(("name", "url", "revision", "purpose"), text)
    rows = {"type": "list", "elements": "dict", "default": []}
    target = {"python": text, "glibc": text, "arch": arches}
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "target": {"type": "dict", "required": True, "options": target},
            "wheels": {**rows, "options": wheels},
            "repositories": {**rows, "options": repository},
            "texts": {"type": "dict", "default": {}},
            "about": {"type": "dict", "default": {}},
            "limit_mib": {"type": "int", "default": 0},
            "uv": {"type": "path"},
            "timeout": {"type": "int", "default": 1800},
        },
        supports_check_mode=True,
    )
    Bundle(module).bring()


if __name__ == "__main__":
    main()
