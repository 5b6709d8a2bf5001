"""Which commands will leave PyTorch as it is."""

from __future__ import annotations

from typing import Any

import pytest
from projects import POETRY, lock, plan, project, requirements


@pytest.mark.parametrize(
    ("changes", "command", "held", "because"),
    [
        pytest.param(
            {"locks": {"uv.lock": lock(torch="2.10.0")}},
            "uv sync",
            False,
            "uv.lock pins torch 2.10.0 (CUDA 12.8), which it installs again",
            id="open",
        ),
        pytest.param(
            {"locks": {"uv.lock": lock(torch="2.10.0+cu126")}}, "uv sync", True, "pins torch 2.10.0+cu126", id="held"
        ),
        pytest.param({"locks": {"uv.lock": lock()}}, "uv sync", False, "uv sync removes it", id="kept-out-uv"),
        pytest.param(
            {"locks": {"poetry.lock": lock()}, "texts": {"pyproject.toml": POETRY}},
            "poetry install",
            True,
            "leaves it as it is",
            id="kept-out-poetry",
        ),
        pytest.param(
            {"requirements": {"requirements.txt": requirements("pip-compile", torch="2.11.0")}},
            "pip-sync",
            False,
            "requirements.txt pins torch 2.11.0 (CUDA 13.0)",
            id="compiled",
        ),
        pytest.param(
            {"requirements": {"requirements.txt": requirements(hashes=True, torch="2.10.0")}},
            "pip install -r requirements.txt",
            True,
            "pins the checksum of another wheel: pip refuses it",
            id="hashes",
        ),
    ],
)
def test_held(changes: dict[str, Any], command: str, held: bool, because: str) -> None:
    row = next(row for row in plan(project(**changes))["held"] if row["command"] == command)
    assert row["held"] is held
    assert because in row["because"]
