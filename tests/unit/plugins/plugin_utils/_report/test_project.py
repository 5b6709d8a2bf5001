"""What a person reads of a project."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._report.project import render_project

PLAN: dict[str, Any] = {
    "path": "/srv/app",
    "manager": "uv",
    "environment": "/srv/app/.venv",
    "python": "3.11",
    "verdict": "swapped",
    "found": {"version": "2.10.0", "cuda": "12.8", "build": "2.10.0 (CUDA 12.8)"},
    "expected": {"packages": {"torch": "2.10.0+cu126"}, "url": "https://download.pytorch.org/whl/cu126"},
    "versions": {
        "driver": "580.95.05 (CUDA 13.0)",
        "toolkit": None,
        "torch": "2.10.0 (CUDA 12.8)",
        "differences": ["driver 580.95.05 supports CUDA 13.0: no problem."],
    },
    "why": ["torch 2.10.0 (CUDA 12.8) is installed; expected 2.10.0+cu126 (CUDA 12.6)"],
    "proof": None,
    "held": [{"command": "uv sync", "held": False, "because": "uv.lock pins torch 2.10.0"}],
    "edit": {"diff": ["@@ -1 +1,2 @@", " [tool.uv]", "+x = 1"], "command": ["/usr/bin/uv", "lock"]},
    "notes": [],
    "help": ["-e project_environment_edit=true makes this edit."],
    "changes": [
        {"action": "replace", "what": "torch", "how": "", "from": "2.10.0", "to": "2.10.0+cu126"},
        {"action": "remove", "what": "nvidia-cublas", "how": "", "from": "13.0.0.19", "to": None},
    ],
}


def test_the_block() -> None:
    assert render_project(PLAN, "pod") == [
        "pod   /srv/app · uv · /srv/app/.venv · Python 3.11",
        "  found    torch 2.10.0 (CUDA 12.8)",
        "  expected torch 2.10.0+cu126 from https://download.pytorch.org/whl/cu126",
        "  versions driver 580.95.05 (CUDA 13.0) · toolkit none · torch 2.10.0 (CUDA 12.8)",
        "           driver 580.95.05 supports CUDA 13.0: no problem.",
        "  why      torch 2.10.0 (CUDA 12.8) is installed; expected 2.10.0+cu126 (CUDA 12.6)",
        "  change   ~ torch          2.10.0 → 2.10.0+cu126",
        "           - nvidia-cublas  13.0.0.19 is removed",
        "  held     uv sync: no, uv.lock pins torch 2.10.0",
        "  edit     @@ -1 +1,2 @@",
        "            [tool.uv]",
        "           +x = 1",
        "           then: /usr/bin/uv lock",
        "  help     -e project_environment_edit=true makes this edit.",
        "  verdict  swapped: the installed PyTorch is not the build for this host, 2 changes pending",
    ]


@pytest.mark.parametrize(
    ("changes", "told", "line"),
    [
        ({"verdict": "ok", "changes": []}, {}, "  verdict  ok: PyTorch is the build for this host"),
        ({"verdict": "ok", "changes": []}, {}, "  change   nothing to change"),
        ({}, {"changed": []}, "  changed  nothing had to change"),
        ({}, {"changed": PLAN["changes"]}, "           - nvidia-cublas  13.0.0.19 removed"),
        ({}, {"changed": [], "unfinished": True}, "  verdict  failed: the run ended early, for the reason above"),
        (
            {"verdict": "left_alone", "found": None, "expected": None},
            {"unfinished": True},
            "  verdict  left_alone: nothing was changed, 2 changes pending",
        ),
        (
            {"proof": {"ok": True, "version": "2.10.0+cu126", "cuda": "12.6", "available": False}},
            {},
            "  proof    torch 2.10.0+cu126 imports; no GPU is available",
        ),
        (
            {"proof": {"ok": False, "error": "libcudart.so.12 is missing"}},
            {},
            "  proof    torch does not import: libcudart.so.12 is missing",
        ),
        (
            {"verdict": "ok", "changes": [], "proof": {"ok": False, "error": "x"}},
            {"changed": []},
            "  verdict  failed: the run ended early, for the reason above",
        ),
        ({"found": None}, {}, "  found    no torch"),
        (
            {"changes": PLAN["changes"][:1]},
            {},
            "  verdict  swapped: the installed PyTorch is not the build for this host, 1 change pending",
        ),
    ],
)
def test_lines(changes: dict[str, Any], told: dict[str, Any], line: str) -> None:
    assert line in render_project({**PLAN, **changes}, "pod", **told)
