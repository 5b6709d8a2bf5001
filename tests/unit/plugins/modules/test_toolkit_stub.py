# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module makes a stub that a linker takes and that no program is led to."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HEADER = "#define cuMemAlloc cuMemAlloc_v2\nint CUDAAPI cuInit(unsigned int);\n"
PROGRAM = (
    "int cuInit(unsigned int);\nint cuMemAlloc_v2(void);\nint main(void) { return cuInit(0) + cuMemAlloc_v2(); }\n"
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A toolkit of nothing but a header."""
    (tmp_path / "include").mkdir()
    (tmp_path / "include/cuda.h").write_text(HEADER)
    return tmp_path


@pytest.fixture
def compiler() -> str:
    """The machine's own C++ compiler."""
    found = shutil.which("g++") or shutil.which("c++")
    if not found:
        pytest.skip("this machine has no C++ compiler")
    return found


def test_programs_link_with_the_stub_and_ask_for_the_drivers_library(
    home: Path, compiler: str, run_module: Callable[..., Any]
) -> None:
    stub = home / "lib/stubs/libcuda.so"
    assert run_module("toolkit_stub", {"path": str(home)}, check=True).changed
    assert not stub.exists()
    made = run_module("toolkit_stub", {"path": str(home)})
    assert (made.changed, made.data["functions"]) == (True, 2)
    assert sorted(path.name for path in stub.parent.iterdir()) == ["libcuda.so"]
    assert not run_module("toolkit_stub", {"path": str(home)}).changed
    assert ctypes.CDLL(str(stub)).cuInit(0) == 34
    source = home / "program.c"
    source.write_text(PROGRAM)
    linked = [compiler, "-x", "c", str(source), "-o", str(home / "program"), f"-L{stub.parent}", "-lcuda"]
    subprocess.run(linked, check=True, timeout=60)
    needed = (home / "program").read_bytes()
    assert b"\0libcuda.so.1\0" in needed
    assert str(stub.parent).encode() not in needed, "no path of the stub stays in the program"


def test_a_newer_header_makes_a_newer_stub(home: Path, compiler: str, run_module: Callable[..., Any]) -> None:
    assert run_module("toolkit_stub", {"path": str(home), "compiler": compiler}).changed
    (home / "include/cuda.h").write_text(f"{HEADER}int CUDAAPI cuNewCall(void);\n")
    assert run_module("toolkit_stub", {"path": str(home), "compiler": compiler}).data["functions"] == 3
    assert ctypes.CDLL(str(home / "lib/stubs/libcuda.so")).cuNewCall() == 34


def test_a_toolkit_without_the_drivers_header_gets_none(tmp_path: Path, run_module: Callable[..., Any]) -> None:
    ran = run_module("toolkit_stub", {"path": str(tmp_path)})
    assert (ran.changed, ran.data["functions"]) == (False, 0)
    assert not (tmp_path / "lib").exists()


def test_a_compiler_that_fails_is_named(home: Path, run_module: Callable[..., Any]) -> None:
    ran = run_module("toolkit_stub", {"path": str(home), "compiler": "/bin/false"})
    assert ran.failed
    stub = home / "lib/stubs/libcuda.so"
    assert ran.msg == f"/bin/false could not make {stub}: it said nothing; check the compiler, or name another one."
    assert list((home / "lib/stubs").iterdir()) == []


def test_no_compiler_is_told(home: Path, run_module: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(home))
    ran = run_module("toolkit_stub", {"path": str(home)})
    assert ran.msg.startswith("No C++ compiler was found (g++, c++, clang++); expected one to make ")
