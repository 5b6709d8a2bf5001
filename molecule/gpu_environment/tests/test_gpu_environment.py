# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every way into the host gets the environment that was switched to; the one before is kept and one call away."""

from __future__ import annotations

from typing import Any

import pytest

PREFIX = "/opt/podsmith"
SAY = "import torch; print(torch.__version__)"


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(f"python -c '{SAY}'", id="ssh pod command"),
        pytest.param(f"bash -lc \"python -c '{SAY}'\"", id="login shell"),
        pytest.param(f"bash -ic \"python -c '{SAY}'\"", id="interactive shell"),
        pytest.param(f"env -i BASH_ENV={PREFIX}/activate.sh bash -c \"python -c '{SAY}'\"", id="bash script"),
        pytest.param(f"env -i {PREFIX}/current/bin/python -c '{SAY}'", id="no shell at all"),
    ],
)
def test_every_way_in_gets_it(host: Any, command: str) -> None:
    done = host.run(command)
    assert done.stdout == "2.9.1+cu130\n", done.stderr


def test_the_settings_are_those_of_the_generation(host: Any) -> None:
    assert (
        host.run(". /opt/podsmith/activate.sh && echo $CUDA_HOME $TORCH_CUDA_ARCH_LIST").stdout
        == "/usr/local/cuda-13.0 9.0\n"
    )


ASK = "printenv CUDA_MODULE_LOADING"


@pytest.mark.parametrize(
    ("command", "value"),
    [
        pytest.param(ASK, "EAGER", id="ssh pod command"),
        pytest.param(f"bash -lc '{ASK}'", "EAGER", id="login shell"),
        pytest.param(
            f"env -i PATH=/usr/bin:/bin {PREFIX}/current/bin/python -c 'import os; os.system(\"{ASK}\")'",
            "EAGER",
            id="no shell",
        ),
        pytest.param(f"env CUDA_MODULE_LOADING=LAZY bash -lc '{ASK}'", "LAZY", id="the user's own"),
    ],
)
def test_a_run_time_setting_is_everybody_s_default(host: Any, command: str, value: str) -> None:
    assert host.run(command).stdout == f"{value}\n"


def test_the_fence_keeps_torch(host: Any) -> None:
    done = host.run(f"{PREFIX}/current/bin/python -m pip install --no-index --no-deps --dry-run 'torch!=2.9.1'")
    assert done.rc != 0
    assert "constraint" in done.stdout + done.stderr


def test_the_generation_before_is_kept_and_runs(host: Any) -> None:
    assert host.file(f"{PREFIX}/previous").linked_to == f"{PREFIX}/environments/1-torch2.9.1-cu128"
    assert host.run(f"env -i {PREFIX}/previous/bin/python -c '{SAY}'").stdout == "2.9.1+cu128\n"


def test_somebody_else_s_lines_are_left_alone(host: Any) -> None:
    text = host.file("/root/.bashrc").content_string
    assert text.startswith("# BEGIN podsmith.gpu\n")
    assert "umask" in text or "PS1" in text  # what Debian puts there
