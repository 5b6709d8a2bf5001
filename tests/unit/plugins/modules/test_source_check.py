# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sources on a loopback server: those that answer, refuse, hang or are not there."""

from __future__ import annotations

import http.server
import os
import pathlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host import reach as _reach

Run = Callable[..., dict[str, Any]]


LIMIT = 120  # seconds: only a hang takes as long
MANY = 8
ALL_ASK = threading.Barrier(MANY, timeout=LIMIT / 2)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by path: /200, /404, /get-only; /together once so many have asked."""

    def do_HEAD(self) -> None:
        if self.path == "/together":
            ALL_ASK.wait()  # raises where the others do not come, and closes the connection
            self.path = "/200"
        self.send_response(405 if self.path == "/get-only" else int(self.path.strip("/")))
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/get-only" else 404)
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        """Stay silent."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()


@pytest.fixture
def hanging() -> Iterator[str]:
    """A server that takes the connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


@pytest.fixture
def closed() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}/"


def check(url: str, timeout: int = LIMIT) -> _reach.Answer:
    return _reach.check_source(_reach.Source("it", url), timeout=timeout, ca_path=None)


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/200", 200, None),
        ("/get-only", 200, None),
        ("/404", 404, "the server answered 404 Not Found"),
        ("/503", 503, "the server answered 503 Service Unavailable"),
    ],
)
def test_server_answers(server: str, path: str, status: int, error: str | None) -> None:
    answer = check(server + path)
    assert (answer.status, answer.error) == (status, error)


def test_local_folders(tmp_path: pathlib.Path) -> None:
    assert check(str(tmp_path)).error is None
    assert check(tmp_path.as_uri()).error is None
    assert check(f"{tmp_path.as_uri()}/absent").error == "there is no such file or folder"


def test_no_answer(hanging: str, closed: str) -> None:
    assert check(hanging, timeout=1).error == "no answer within 1 s"
    assert check(closed).error == "Connection refused"
    assert check("ssh://git@127.0.0.1/x.git").error is None


def test_all_are_asked_at_once(server: str) -> None:
    answers = _reach.check_sources([_reach.Source("it", f"{server}/together")] * MANY, timeout=LIMIT, ca_path=None)
    assert [answer.error for answer in answers] == [None] * MANY
    assert _reach.check_sources([], timeout=LIMIT, ca_path=None) == []


@pytest.mark.parametrize(
    ("variable", "remedy"),
    [
        ("pytorch_index_url", "set pytorch_index_url to a mirror, or let this host reach it."),
        (None, "change the host's pip configuration, or let this host reach it."),
    ],
)
def test_complaint(variable: str | None, remedy: str) -> None:
    source = _reach.Source("PyTorch's index", "https://user:secret@t/", variable)
    sentence = f"PyTorch's index: https://****@t/ cannot be used from this host (Connection refused); {remedy}"
    assert _reach.complain(_reach.Answer(source, None, "Connection refused")) == sentence


@pytest.fixture
def run(run_module: Callable[..., Any]) -> Run:
    def call(environ: dict[str, str], **params: Any) -> dict[str, Any]:
        given = {"PATH": os.environ["PATH"], "PIP_CONFIG_FILE": os.devnull, **environ}
        return dict(run_module("source_check", params, check=True, environ=given).data)

    return call


def test_module(server: str, closed: str, tmp_path: pathlib.Path, run: Run) -> None:
    good = {"name": "good", "url": f"{server}/200", "variable": "good_url"}
    bad = {"name": "bad", "url": closed, "variable": "bad_url"}
    answer = run({}, sources=[good])
    assert (answer["changed"], answer["sources"][0]["ok"], answer["sources"][0]["status"]) == (False, True, 200)
    answer = run({}, sources=[good, bad, {**bad, "name": "worse"}])
    assert answer["failed"]
    assert answer["msg"].count("set bad_url to a mirror") == 2
    assert [row["ok"] for row in answer["sources"]] == [True, False, False]
    environ = {"PIP_INDEX_URL": f"{server}/404", "PIP_FIND_LINKS": str(tmp_path)}
    assert run(environ, sources=[good])["sources"] == [{**good, "ok": True, "status": 200, "error": None}]
    answer = run(environ, sources=[good], pip=True)
    assert [(row["name"], row["ok"]) for row in answer["sources"]] == [
        ("good", True),
        ("pip's index", False),
        ("pip's find-links", True),
    ]
    assert "pip's index: " in answer["msg"]
    assert "change the host's pip configuration" in answer["msg"]
