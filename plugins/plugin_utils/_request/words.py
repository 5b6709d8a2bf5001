# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an error quotes what was found and names what is nearest to it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version

NAME = "stack_plan_request"


class RequestError(Exception):
    """A request that cannot be understood; the message says what was found, what was expected and what to do."""


def escape(text: str) -> str:
    """A text of somebody else's as a terminal may have it: control characters are spelled out."""
    return "".join(mark if mark.isprintable() else repr(mark)[1:-1] for mark in text)


def show(value: Any) -> str:
    """A value as an error quotes it: on one line, and not all of a long one."""
    text = str(value) if isinstance(value, str) else repr(value)
    line = escape(text[:60])
    return f'"{line}"' if isinstance(value, str) else line


def nearest(found: str, known: Iterable[str]) -> str:
    """A half sentence that names what is nearest to ``found``, or all there is to choose from."""
    listed = [str(name) for name in known]
    close = difflib.get_close_matches(found, listed, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"choose one of {', '.join(listed)}."


def expected(found: str, choices: Iterable[str]) -> str:
    """A half sentence that lists all there is to choose from, and names what is nearest to ``found``."""
    listed = [str(name) for name in choices]
    close = difflib.get_close_matches(found, listed, n=1, cutoff=0.5)
    return f"expected one of {', '.join(listed)}{f'; did you mean {close[0]}?' if close else '.'}"


def nearest_version(found: str, listed: Iterable[str]) -> str:
    """A half sentence that names the newest listed version that is not newer, or else the oldest."""
    ordered = sorted(listed, key=parse_version)
    older = [version for version in ordered if parse_version(version) <= parse_version(found)]
    return f"the nearest is {older[-1] if older else ordered[0]}."


def unlisted(where: str, found: str, listed: Iterable[str]) -> RequestError:
    """The error for a value that the catalogue does not have; it names what is nearest."""
    choice = nearest_version if found[:1].isdigit() else nearest
    return RequestError(f'{NAME}.{where} names "{found}", which the catalogue does not have; {choice(found, listed)}')
