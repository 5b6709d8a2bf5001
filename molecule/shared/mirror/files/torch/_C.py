# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: N999  the real name
"""What the real package's compiled part says of the build."""

from __future__ import annotations

from pathlib import Path

_LIBRARY = Path(__file__).parent / "lib" / "libtorch_python.so"


def _cuda_getArchFlags() -> str | None:  # noqa: N802  the real name
    """The architectures that the build has code for, as ``sm_90 sm_100``; None in a build for the CPU."""
    return _LIBRARY.read_bytes().strip(b"\0").decode() or None
