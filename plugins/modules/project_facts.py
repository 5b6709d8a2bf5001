#!/usr/bin/python
# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: project_facts
short_description: Read a Python project, its environment and its PyTorch
version_added: 1.0.0
description:
  - Reads which package manager a project folder belongs to, where its environment is and which PyTorch is installed
    there, what its lock files pin, and what keeps PyTorch from being replaced.
  - Reads files only, unless O(prove) is set. A project or an environment that does not exist is a result, not an error.
author:
  - Podsmith developers (@podsmith)
options:
  path:
    description: The project's folder.
    type: path
    required: true
  environment:
    description:
      - Its environment, if it is neither C(.venv), C(venv) or C(env) in the project nor one of Poetry's.
    type: path
  prefix:
    description: Folder of everything that the collection installs on the host; copies of edited files are there.
    type: path
    required: true
  prove:
    description: Whether to import torch with the environment's Python, which takes seconds.
    type: bool
    default: false
  timeout:
    description: Seconds that the import may take.
    type: int
    default: 120
attributes:
  check_mode:
    support: full
    description: Changes nothing anyway.
  diff_mode:
    support: none
    description: There is nothing to compare.
"""

EXAMPLES = r"""
- name: Read a project
  podsmith.gpu.project_facts:
    path: /srv/app
    prefix: /opt/podsmith
  register: app
"""

RETURN = r"""
project:
  description: What was read.
  type: dict
  returned: always
  contains:
    path:
      description: The project's folder.
      type: str
      returned: always
    exists:
      description: Whether it exists.
      type: bool
      returned: always
    owner:
      description: Owner of the environment, or else of the folder, as C(name); the user who reads, as C(reader).
      type: dict
      returned: always
    texts:
      description: The texts of the files that a person writes, by name.
      type: dict
      returned: always
    locks:
      description: What the lock files pin of PyTorch, with each file's checksum.
      type: dict
      returned: always
    requirements:
      description: The requirements files, and who compiled them.
      type: dict
      returned: always
    others:
      description: Files of managers that the collection does not support.
      type: list
      elements: str
      returned: always
    environments:
      description: The environments that were found.
      type: list
      elements: str
      returned: always
    environment:
      description: What the environment holds, where there is exactly one.
      type: dict
      returned: always
    tools:
      description: Paths of C(poetry), C(uv) and C(pip-compile), null if there is none.
      type: dict
      returned: always
    pip:
      description: The settings of the host's pip configuration that a file in the environment would override.
      type: dict
      returned: always
    state:
      description: What an earlier edit of the project's files left.
      type: dict
      returned: always
    proof:
      description: Result of the import of torch, null unless O(prove) is set.
      type: dict
      returned: always
"""

import json
import os
import pathlib
import pwd
import shutil
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podsmith.gpu.plugins.module_utils._host.pip import (
    mask,
    parse_pip_config,
    parse_pip_option,
    read_pip_config,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root
from ansible_collections.podsmith.gpu.plugins.module_utils._project import project as projects

PROOF = (
    "import json, torch; print(json.dumps({'version': torch.__version__, 'cuda': torch.version.cuda,"
    " 'available': bool(torch.cuda.is_available())}))"
)


def find_tools(home: str, prefix: str, environment: str | None) -> dict[str, str | None]:
    """The managers' commands: of the environment, on PATH, in the user's own folder, in ours."""
    folders = [*([f"{environment}/bin"] if environment else []), *os.get_exec_path()]
    folders += [f"{home}/.local/bin", f"{home}/.local/share/pypoetry/venv/bin", f"{prefix}/tools/bin"]
    return {name: shutil.which(name, path=os.pathsep.join(folders)) for name in ("poetry", "uv", "pip-compile")}


def read_pip(home: str, environ: dict[str, str]) -> dict[str, Any]:
    """What of pip's own configuration an environment's pip.conf would hide; a URL with credentials is never told."""
    texts = read_pip_config(Root(), home, environ)
    urls = parse_pip_config(texts, {}).extra_index_urls
    return {
        "extra_index_urls": [url for url in urls if mask(url) == url],
        "secret": any(mask(url) != url for url in urls),
        "constraints": parse_pip_option(texts, "constraint").split(),
    }


def owner_of(path: str) -> str | None:
    """The user who owns a file or folder."""
    try:
        uid = pathlib.Path(path).stat().st_uid
    except OSError:
        return None
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def prove(module: AnsibleModule, python: str) -> dict[str, Any]:
    """Import torch in the environment, with a time limit."""
    argv = ["timeout", str(module.params["timeout"]), python, "-I", "-c", PROOF]
    rc, out, err = module.run_command(argv, cwd="/")
    try:
        return {"ok": rc == 0, **json.loads(out.strip().splitlines()[-1])}
    except (IndexError, ValueError):
        words = err.strip().splitlines()
        return {"ok": False, "error": words[-1] if words else f"{python} exited with status {rc}"}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "environment": {"type": "path"},
            "prefix": {"type": "path", "required": True},
            "prove": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    home, environ = str(pathlib.Path.home()), dict(os.environ)
    path, prefix = module.params["path"].rstrip("/") or "/", module.params["prefix"]
    project = projects.read_project(path, module.params["environment"], home, environ)
    environment = project["environment"] or {}
    folder = environment.get("path")
    project["owner"] = {"name": owner_of(folder or path), "reader": pwd.getpwuid(os.geteuid()).pw_name}
    project["tools"] = find_tools(home, prefix, folder)
    project["pip"] = read_pip(home, environ)
    project["state"] = projects.read_state(path, prefix)
    runs = module.params["prove"] and environment.get("works") and environment.get("torch")
    project["proof"] = prove(module, environment["python"]) if runs else None
    module.exit_json(changed=False, project=project)


if __name__ == "__main__":
    main()
