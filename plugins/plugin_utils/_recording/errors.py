# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a recording cannot be read."""

from __future__ import annotations


class RecordingError(ValueError):
    """The recording can't be read as facts; its message says what was found and what was expected."""


def quote(text: str) -> str:
    """The beginning of a text, on one line, as an error quotes it."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return f'"{"".join(mark if mark.isprintable() else "?" for mark in line[:60])}"'
