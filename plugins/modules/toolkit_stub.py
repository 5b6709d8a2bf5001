#!/usr/bin/python
# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: toolkit_stub
short_description: Make the stub of the driver's library for a CUDA toolkit of wheels
version_added: 1.0.0
description:
  - NVIDIA's packages of a toolkit have C(lib64/stubs/libcuda.so), with which programs that call the driver are linked
    (C(-lcuda)) on hosts without one. Its wheels on PyPI do not.
  - Reads the names of the driver API from the toolkit's own headers and has the host's C++ compiler make a library of
    them below C(lib/stubs). Each function answers CUDA_ERROR_STUB_LIBRARY.
  - A program that is linked with it asks the loader for C(libcuda.so.1), which no stub is called, and so finds the
    driver's own.
  - Does nothing where the toolkit has no C(cuda.h), or a stub with all names.
author:
  - Podsmith developers (@podsmith)
options:
  path:
    description: The toolkit, as in C(CUDA_HOME).
    type: path
    required: true
  compiler:
    description: C++ compiler to use; by default the first of C(g++), C(c++) and C(clang++) on the path.
    type: path
attributes:
  check_mode:
    description: Can run in check mode.
    support: full
"""

EXAMPLES = r"""
- name: Make the stub
  podsmith.gpu.toolkit_stub:
    path: /opt/podsmith/toolkits/13.0/nvidia/cu13
"""

RETURN = r"""
functions:
  description: How many functions of the driver API the toolkit's headers name.
  returned: success
  type: int
"""

import shutil
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podsmith.gpu.plugins.module_utils._packages.stubs import (
    HEADERS,
    driver_functions,
    is_complete,
    stub_command,
    stub_source,
)

COMPILERS = ("g++", "c++", "clang++")


def read_headers(home: Path) -> list[str]:
    """The texts of the headers that declare the driver API; none where the toolkit has no cuda.h.

    Raises OSError.
    """
    paths = [home / "include" / name for name in HEADERS]
    if not paths[0].is_file():
        return []
    return [path.read_text(encoding="utf-8", errors="replace") for path in paths if path.is_file()]


def make_stub(module: AnsibleModule, target: Path, names: tuple[str, ...]) -> None:
    """Compile the stub beside its place and put it there in one step.

    Raises OSError.
    """
    compiler = module.params["compiler"] or next(filter(None, map(shutil.which, COMPILERS)), None)
    if not compiler:
        looked = ", ".join(COMPILERS)
        module.fail_json(msg=f"No C++ compiler was found ({looked}); expected one to make {target}; install g++.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        source, library = Path(folder, "stub.c"), Path(folder, target.name)
        source.write_text(stub_source(names), encoding="utf-8")
        command = stub_command(str(compiler), str(source), str(library))
        code, _out, err = module.run_command(command)
        if code:
            words = (err.strip().splitlines() or ["it said nothing"])[-1]
            module.fail_json(
                msg=f"{compiler} could not make {target}: {words}; check the compiler, or name another one."
            )
        library.chmod(0o755)
        library.replace(target)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"path": {"type": "path", "required": True}, "compiler": {"type": "path"}},
        supports_check_mode=True,
    )
    target = Path(module.params["path"], "lib", "stubs", "libcuda.so")
    try:
        names = driver_functions(read_headers(Path(module.params["path"])))
        done = not names or is_complete(target, names)
        if not done and not module.check_mode:
            make_stub(module, target, names)
    except OSError as error:
        module.fail_json(msg=f"{target} could not be made: {error}; check the folder and its owner.")
    module.exit_json(changed=not done, functions=len(names))


if __name__ == "__main__":
    main()
