# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls of NVIDIA's management library by ctypes; meant for a child, since a hung driver never answers."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

# nvmlReturn_t
INVALID_ARGUMENT = 2
NOT_SUPPORTED = 3
NO_PERMISSION = 4
INSUFFICIENT_SIZE = 7
DRIVER_NOT_LOADED = 9
TIMEOUT = 10
FUNCTION_NOT_FOUND = 13
GPU_IS_LOST = 15
RESET_REQUIRED = 16
LIB_RM_VERSION_MISMATCH = 18


class Nvml:
    """Calls of a loaded libnvidia-ml; what the library lacks or refuses is ``None``."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    def call(self, function: str, *arguments: Any) -> int:
        """The function's nvmlReturn_t; 13, "function not found", where the library is too old for it."""
        try:
            return int(getattr(self._library, function)(*arguments))
        except AttributeError:
            return FUNCTION_NOT_FOUND

    def text(self, function: str, *arguments: Any) -> str | None:
        """The text that ``function`` writes, or None where it fails."""
        buffer = ctypes.create_string_buffer(96)
        return None if self.call(function, *arguments, buffer, 96) else buffer.value.decode("utf-8", "replace")

    def number(self, function: str, *arguments: Any) -> int | None:
        """The number that ``function`` writes, or None where it fails."""
        value = ctypes.c_int()
        return None if self.call(function, *arguments, ctypes.byref(value)) else value.value

    def pair(self, function: str, *arguments: Any) -> tuple[int, int] | None:
        """The two numbers that ``function`` writes, or None where it fails."""
        one, two = ctypes.c_int(), ctypes.c_int()
        code = self.call(function, *arguments, ctypes.byref(one), ctypes.byref(two))
        return None if code else (one.value, two.value)


def load_first(libraries: Sequence[str]) -> ctypes.CDLL | None:
    """The first of these libraries, names or paths, that can be loaded."""
    for library in libraries:
        try:
            return ctypes.CDLL(library)
        except OSError:
            continue
    return None
