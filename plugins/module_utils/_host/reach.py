# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a source of packages answers this host."""

from __future__ import annotations

import pathlib
import re
import urllib.error
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from ansible.module_utils.urls import open_url

from ansible_collections.podsmith.gpu.plugins.module_utils._host.pip import local_path, mask

NO_HEAD = (403, 405, 501)  # servers that refuse HEAD and may still serve GET


class Source(NamedTuple):
    """Something a plan needs to reach: what it is for, where it is, which variable names another place."""

    name: str
    url: str
    variable: str | None = None


class Answer(NamedTuple):
    """What came back; ``error`` is ``None`` where the source answers."""

    source: Source
    status: int | None
    error: str | None


def check_sources(sources: list[Source], *, timeout: int, ca_path: str | None) -> list[Answer]:
    """Ask all of them at once, each for at most ``timeout`` seconds a try."""
    if not sources:
        return []
    with ThreadPoolExecutor(max_workers=min(len(sources), 16)) as pool:
        return list(pool.map(lambda source: check_source(source, timeout=timeout, ca_path=ca_path), sources))


def check_source(source: Source, *, timeout: int, ca_path: str | None) -> Answer:
    """Ask one: a local folder by looking, a remote address by HEAD, then GET where that is refused."""
    folder = local_path(source.url)
    if folder is not None:
        error = None if pathlib.Path(folder).exists() else "there is no such file or folder"
        return Answer(source, None, error)
    if not source.url.startswith(("http://", "https://")):
        return Answer(source, None, None)  # git over SSH and the like: its own client asks with the user's keys
    status, error = ask(source.url, "HEAD", timeout, ca_path)
    if status in NO_HEAD:
        status, error = ask(source.url, "GET", timeout, ca_path)
    return Answer(source, status, error)


def ask(url: str, method: str, timeout: int, ca_path: str | None) -> tuple[int | None, str | None]:
    """Status and error of one request; the error is ``None`` where the server has what was asked for."""
    try:
        with open_url(url, method=method, timeout=timeout, ca_path=ca_path) as response:
            return int(response.status), None
    except urllib.error.HTTPError as error:
        return error.code, f"the server answered {error.code} {error.reason}"
    except (OSError, ValueError) as error:
        return None, explain(error, timeout)


def explain(error: Exception, timeout: int) -> str:
    """The cause of a failed request in the fewest words."""
    text = re.sub(r"^<\w+ error (.*)>$", r"\1", str(error))  # urllib wraps the cause so
    if "timed out" in text:
        return f"no answer within {timeout} s"
    return mask(re.sub(r"^\[(?:Errno|SSL)[^\]]*\] ", "", text)) or type(error).__name__


def complain(answer: Answer) -> str:
    """One sentence for a source that does not answer: what was asked, what came back, what to do."""
    source = answer.source
    remedy = f"set {source.variable} to a mirror" if source.variable else "change the host's pip configuration"
    url = mask(source.url)
    return f"{source.name}: {url} cannot be used from this host ({answer.error}); {remedy}, or let this host reach it."
