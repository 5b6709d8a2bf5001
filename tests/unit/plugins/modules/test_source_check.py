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
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host import reach

Run = Callable[..., dict[str, Any]]


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by path: /200, /404, /get-only."""

    def do_HEAD(self) -> None:
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


def check(url: str) -> reach.Answer:
    return reach.check_source(reach.Source("it", url), timeout=1, ca_path=None)


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
    assert check(hanging).error == "no answer within 1 s"
    assert check(closed).error == "Connection refused"
    assert check("ssh://git@127.0.0.1/x.git").error is None


def test_all_are_asked_at_once(hanging: str) -> None:
    start = time.monotonic()
    answers = reach.check_sources([reach.Source("it", hanging)] * 8, timeout=1, ca_path=None)
    assert [answer.error for answer in answers] == ["no answer within 1 s"] * 8
    assert time.monotonic() - start < 4
    assert reach.check_sources([], timeout=1, ca_path=None) == []


@pytest.mark.parametrize(
    ("variable", "remedy"),
    [
        ("pytorch_index_url", "set pytorch_index_url to a mirror, or open the way to it."),
        (None, "change the host's pip configuration, or open the way to it."),
    ],
)
def test_complaint(variable: str | None, remedy: str) -> None:
    source = reach.Source("PyTorch's index", "https://user:secret@t/", variable)
    sentence = f"PyTorch's index: https://****@t/ cannot be used from this host (Connection refused); {remedy}"
    assert reach.complain(reach.Answer(source, None, "Connection refused")) == sentence


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
