# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role builds an environment with the wheels that were asked for, and PyTorch in it starts CUDA."""

from __future__ import annotations

from typing import Any

ENVIRONMENT = "/opt/podsmith/environments/1-torch2.9.1-cu130"


def python(host: Any, code: str) -> str:
    """What the environment's Python prints, without a shell's settings."""
    done = host.run(f"env -i {ENVIRONMENT}/bin/python -c %s", code)
    assert done.rc == 0, done.stderr
    return str(done.stdout)


def test_torch_is_the_build_that_was_asked_for(host: Any) -> None:
    assert python(host, "import torch; print(torch.__version__, torch.version.cuda)") == "2.9.1+cu130 13.0\n"


def test_torch_starts_cuda(host: Any) -> None:
    assert python(host, "import torch; print(torch.cuda.is_available(), torch.cuda.get_device_name(0))") == (
        "True NVIDIA H100 80GB HBM3\n"
    )


def test_the_companion_and_the_tools_came_along(host: Any) -> None:
    names = "'torchvision', 'ninja', 'setuptools', 'numpy', 'pip'"
    found = python(host, f"from importlib.metadata import version; print(*map(version, [{names}]))").split()
    assert found[0] == "0.24.1+cu130"
    assert len(found) == 5


def test_what_is_installed_fits_together(host: Any) -> None:
    checked = host.run(f"{ENVIRONMENT}/bin/python -m pip check")
    assert checked.rc == 0, checked.stdout


def test_the_system_s_python_was_left_alone(host: Any) -> None:
    assert host.run("/usr/bin/python3 -c 'import torch'").rc != 0
