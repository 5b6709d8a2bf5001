# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of what was changed on a host, kept as JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any


def add_entry(text: str | None, entry: Mapping[str, Any], changed: Sequence[str], keep: int) -> str:
    """The history with one entry more, at most ``keep``; one that cannot be read is started again.

    :param text: the history so far; None where there is none.
    :param entry: what to add; ``time`` in UTC and ``changed``, the paths, are added to it.
    """
    try:
        entries = json.loads(text or "[]")
    except ValueError:
        entries = []
    entries = entries if isinstance(entries, list) else []
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    entries.append({"time": now, **entry, "changed": list(changed)})
    return json.dumps(entries[-keep:], indent=2, sort_keys=True) + "\n"
