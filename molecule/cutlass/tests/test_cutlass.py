# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role brings the headers of the release that was asked for."""

from __future__ import annotations

from typing import Any

HOME = "/opt/podsmith/cutlass/4.3.0"


def test_the_headers_are_those_of_the_release(host: Any) -> None:
    version = host.file(f"{HOME}/include/cutlass/version.h").content_string
    numbers = dict(line.split()[1:3] for line in version.splitlines() if line.startswith("#define CUTLASS_M"))
    assert (numbers["CUTLASS_MAJOR"], numbers["CUTLASS_MINOR"]) == ("4", "3")


def test_a_program_includes_them(host: Any) -> None:
    built = host.run(f"echo '#include <cutlass/version.h>' | g++ -fsyntax-only -I{HOME}/include -x c++ -")
    assert built.rc == 0, built.stderr
