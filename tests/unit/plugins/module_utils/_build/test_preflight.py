# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a build can succeed on a host."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._build import preflight


@pytest.mark.parametrize(
    ("architectures", "listed", "unknown"),
    [
        ("12.0", "sm_80 sm_90", ["sm_120"]),
        ("9.0a;12.0+PTX", "sm_90 sm_100 sm_120", []),
        ("7.0 9.0", "sm_75 sm_90", ["sm_70"]),
        ("10.3a", "sm_100 sm_103", []),
        ("12.0", "", []),  # an nvcc too old to say
        ("", "sm_90", []),
    ],
)
def test_gpus_that_nvcc_does_not_know(architectures: str, listed: str, unknown: list[str]) -> None:
    assert preflight.unknown_code(architectures, listed.split()) == unknown


@pytest.mark.parametrize(
    ("jobs", "gib", "words"),
    [
        (64, 23.4, ["64 parallel compilers", "128 GiB", "23 GiB are available", "set MAX_JOBS to 11"]),
        (64, 64.0, None),
        (1, 0.5, ["MAX_JOBS to 1"]),
        (None, 1.0, None),
        (8, None, None),
    ],
)
def test_memory(jobs: int | None, gib: float | None, words: list[str] | None) -> None:
    said = preflight.check_memory(jobs, gib)
    assert (said is None) if words is None else [word for word in words if word not in str(said)] == []


BUILD: dict[str, Any] = {
    "origin": {"kind": "git"},
    "environment": {"TORCH_CUDA_ARCH_LIST": "9.0", "CXX": "ccache g++-13"},
    "python": {"path": "/usr/bin/python3"},
    "cuda_home": "/cuda",
    "disk_mib": 2048,
}
READY = preflight.Tools("cpython-312", True, True, True, True, ("sm_80", "sm_90"), 30.0, 16.0)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, None),
        ({"python_tag": "", "has_headers": False}, "/usr/bin/python3 cannot be run on this host; set the build's python"),
        ({"has_headers": False}, "/usr/bin/python3 has no Python.h; install its development package"),
        ({"has_compiler": False}, "no C++ compiler (g++-13) was found; install g++"),
        ({"has_git": False}, "git was not found; install it"),
        ({"has_nvcc": False, "gpu_code": ()}, "/cuda/bin/nvcc was not found; install the toolkit"),
        ({"gpu_code": ("sm_70", "sm_80")}, "/cuda/bin/nvcc does not support sm_90, only sm_70, sm_80; use a newer"),
        ({"free_gib": 1.5}, "/w has 1.5 GiB free, the build needs 2.0; free up space"),
    ],
)
def test_problems(changes: dict[str, Any], problem: str | None) -> None:
    found = preflight.find_problems(BUILD, replace(READY, **changes), "/w")
    assert [text.startswith(str(problem)) for text in found] == ([] if problem is None else [True])


def test_what_needs_no_git_and_no_cuda_is_not_asked_for_them() -> None:
    build = {**BUILD, "origin": {"kind": "pypi"}, "cuda_home": None}
    assert preflight.find_problems(build, replace(READY, has_git=False, has_nvcc=False, gpu_code=()), "/w") == []


def test_a_host_is_asked(tmp_path: pathlib.Path) -> None:
    for name in ("python", "cuda/bin/nvcc"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        path.chmod(0o755)
    answers = {"-I": "cpython-312 True", "--list-gpu-code": "sm_80\nsm_90\n", "--version": "Copyright\nrelease x, V\n"}

    def run(argv: Sequence[str]) -> tuple[int, str, str]:
        return 0, answers[argv[1]], ""

    build = {**BUILD, "python": {"path": str(tmp_path / "python")}, "cuda_home": str(tmp_path / "cuda")}
    tools = preflight.observe(build, tmp_path / "a/b", run)
    assert (tools.python_tag, tools.has_headers, tools.has_nvcc) == ("cpython-312", True, True)
    assert tools.gpu_code == ("sm_80", "sm_90")
    assert tools.free_gib > 0
    told = preflight.describe_host(build, run)
    assert (told["python"], told["cuda"]) == ("cpython-312", "release x, V")
    assert preflight.describe_host({**build, "cuda_home": None}, run)["cuda"] == ""


def test_the_variables_of_a_build_on_this_host(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "environment/lib/python3.12/site-packages").mkdir(parents=True)
    monkeypatch.setattr(preflight.shutil, "which", {"ccache": "/usr/bin/ccache"}.get)
    monkeypatch.setattr(preflight, "CCACHE_LINKS", (str(tmp_path / "none"), str(tmp_path)))
    build = {**BUILD, "environment": {"ROOT": "{site}/nvidia"}}
    seen = preflight.read_variables(build, tmp_path, adopt=None, cache="/c")
    assert seen["ROOT"] == f"{tmp_path}/environment/lib/python3.12/site-packages/nvidia"
    assert (seen["CCACHE_DIR"], seen["PATH"].split(":")[1]) == ("/c/ccache", str(tmp_path))
