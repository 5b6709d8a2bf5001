# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.filter.bootstrap_steps import FilterModule

bootstrap_steps = FilterModule().filters()["bootstrap_steps"]

BUILD = {"name": "torch"}


def decision(*roles: str, reboot: str = "no", source: Any = None) -> dict[str, Any]:
    return {"changes": [{"role": role, "what": role} for role in roles], "driver": {"reboot": reboot}, "source": source}


def test_repairs_are_a_step_of_their_own() -> None:
    line = {"role": "gpu_environment", "what": "/root/.bashrc: export A=1"}
    switch = {"role": "gpu_environment", "what": "live environment"}
    given = decision() | {
        "changes": [line, switch],
        "environment": {"repairs": [{"path": "/root/.bashrc", "line": "export A=1"}]},
    }
    assert bootstrap_steps(given)["repairs"] == [line]
    assert bootstrap_steps(decision("gpu_environment") | {"environment": None})["repairs"] == []


@pytest.mark.parametrize(
    ("given", "check_mode", "steps"),
    [
        (decision(), False, ([], [], False)),
        (decision("pytorch", "gpu_verify", "pytorch"), False, (["pytorch", "gpu_verify"], [], False)),
        (decision("nvidia_driver", reboot="pending"), False, (["nvidia_driver"], [], True)),
        (decision("nvidia_driver", reboot="pending"), True, (["nvidia_driver"], [], False)),
        (decision("pytorch_source", source={"builds": [BUILD]}), False, (["pytorch_source"], [BUILD], False)),
        (decision(source={}), False, ([], [], False)),
    ],
)
def test_steps(given: dict[str, Any], steps: tuple[list[str], list[Any], bool], *, check_mode: bool) -> None:
    told = bootstrap_steps(given, check_mode=check_mode)
    assert (told["pending"], told["builds"], told["waits"]) == steps
