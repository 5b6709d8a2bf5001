# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How uv is told, and what its words mean."""

from __future__ import annotations

import pathlib

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host.pip import PipSources
from ansible_collections.podsmith.gpu.plugins.module_utils._packages.uv import (
    asked,
    downloads,
    explain_failure,
    find_own_uv,
    planned,
    unmet,
    uv_settings,
)


@pytest.mark.parametrize(
    ("pip", "own", "arguments", "variables"),
    [
        pytest.param(PipSources(), {}, [], {}, id="nothing"),
        pytest.param(
            PipSources(index_url="https://m/simple", cert="/ca.pem", trusted_hosts=("m", "n")),
            {"ca_bundle": "/etc/ssl/ca.crt"},
            [],
            {"UV_DEFAULT_INDEX": "https://m/simple", "SSL_CERT_FILE": "/ca.pem", "UV_INSECURE_HOST": "m n"},
            id="mirror-and-its-certificate",
        ),
        pytest.param(
            PipSources(extra_index_urls=("file:///a/simple", "https://b"), find_links=("/w",)),
            {},
            [],
            {"UV_INDEX": "file:///a/simple https://b", "UV_INDEX_STRATEGY": "unsafe-best-match", "UV_FIND_LINKS": "/w"},
            id="several-indexes-match-as-pip-does",
        ),
        pytest.param(
            PipSources(index_url="https://m/simple", extra_index_urls=("https://b",), find_links=("/w",)),
            {"index_url": "https://t/cu130", "extra_index_urls": ["https://b"], "find_links": ["/v", "/w"]},
            [],
            {
                "UV_DEFAULT_INDEX": "https://m/simple",
                "UV_INDEX": "https://t/cu130 https://b",
                "UV_INDEX_STRATEGY": "unsafe-best-match",
                "UV_FIND_LINKS": "/v,/w",
            },
            id="own-come-first",
        ),
        pytest.param(
            PipSources(no_index=True, find_links=("/w",)), {}, ["--no-index"], {"UV_FIND_LINKS": "/w"}, id="no-index"
        ),
        pytest.param(
            PipSources(no_index=True),
            {"index_url": "https://t"},
            [],
            {"UV_INDEX": "https://t", "UV_INDEX_STRATEGY": "unsafe-best-match"},
            id="own-index-wins-over-no-index",
        ),
        pytest.param(
            PipSources(),
            {"ca_bundle": "/etc/ssl/ca.crt"},
            [],
            {"SSL_CERT_FILE": "/etc/ssl/ca.crt"},
            id="system-certificates",
        ),
        pytest.param(
            PipSources(),
            {"index_url": "https://t/nightly/cu132", "strategy": "first-match"},
            [],
            {"UV_INDEX": "https://t/nightly/cu132", "UV_INDEX_STRATEGY": "unsafe-first-match"},
            id="first-match",
        ),
    ],
)
def test_settings(pip: PipSources, own: dict[str, str], arguments: list[str], variables: dict[str, str]) -> None:
    assert uv_settings(pip, **own) == (arguments, variables)


def test_asked_hides_credentials() -> None:
    variables = {"UV_INDEX": "https://user:secret@t/cu130", "UV_FIND_LINKS": "/w,/v"}
    assert asked(variables) == ["https://****@t/cu130", "PyPI", "/w", "/v"]


@pytest.mark.parametrize(
    ("output", "words"),
    [
        pytest.param(
            "Using Python 3.11.2 environment at: v1\nerror: No solution found when resolving dependencies\n"
            "  cause: Because there is no version of torch==9.9.9 and you require torch==9.9.9, we can conclude",
            "torch==9.9.9 is offered by none of the sources asked (https://t, PyPI); set X to a mirror.",
            id="version-absent",
        ),
        pytest.param(
            "error: No solution found when resolving dependencies\n"
            "  cause: Because nosuch was not found in the package registry and you require nosuch==1, …",
            "nosuch is offered by none of the sources asked (https://t, PyPI); set X to a mirror.",
            id="package-absent",
        ),
        pytest.param(
            "error: Failed to fetch: https://user:secret@t/simple/foo/\n  cause: error sending request for url (x)\n"
            "  cause: client error (Connect)\n  cause: Connection refused (os error 111)",
            "https://****@t/simple/foo/ could not be fetched (Connection refused (os error 111)); set X to a mirror.",
            id="unreachable",
        ),
        pytest.param(
            "error: Failed to fetch: `https://t/x.whl`\n  Caused by: No space left on device (os error 28)",
            "the disk is full; free space, or choose a prefix on a larger file system.",
            id="disk-full",
        ),
        pytest.param(
            "Resolved 3 packages in 1ms\nerror: No solution found when resolving dependencies\n"
            "  cause: Because xformers==0.0.33 depends on torch==2.9.0 and torch==2.13.0, this cannot be used.",
            "uv says: No solution found when resolving dependencies Because xformers==0.0.33 depends on torch==2.9.0"
            " and torch==2.13.0, this cannot be used (sources asked: https://t, PyPI); set X to a mirror.",
            id="conflict",
        ),
    ],
)
def test_failures_are_explained(output: str, words: str) -> None:
    hint = "set X to a mirror"
    assert explain_failure(output, sources=["https://t", "PyPI"], hint=hint) == words


def test_downloads() -> None:
    said = "Downloading nvcc (35.7MiB)\n Downloaded nvcc\nDownloading torch (1.5GiB)\nDownloading x (512KiB)\n"
    assert downloads(said) == [
        {"name": "nvcc", "mib": 35.7},
        {"name": "torch", "mib": 1536.0},
        {"name": "x", "mib": 0.5},
    ]


def test_unmet_leaves_out_what_is_adopted() -> None:
    said = (
        "Checked 3 packages in 1ms\nFound 3 incompatibilities\n"
        "The package `xformers` requires `torch==2.9.0`, but it's not installed\n"
        "The package `vllm` requires `ray>=2`, but it's not installed\n"
        "The package `vllm` requires `numpy<2`, but `2.4.6` is installed\n"
    )
    assert unmet(said, {"torch": "2.9.1"}) == [
        "vllm requires ray>=2, but it's not installed",
        "vllm requires numpy<2, but `2.4.6` is installed",
    ]


def test_what_a_dry_run_says() -> None:
    """A package that is brought anew in its own version neither comes nor goes."""
    said = "Would install 2 packages\n - torch==2.8.0\n + torch==2.9.1\n - Nv_x==1\n + nv-x==1\n ~ numpy==2.0\n"
    assert planned(said) == {
        "installed": [{"name": "torch", "version": "2.9.1"}],
        "removed": [{"name": "torch", "version": "2.8.0"}],
    }


@pytest.mark.parametrize("beside", [True, False])
def test_our_own_uv_is_the_one_beside_this_python(
    beside: bool, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the one on PATH; the bundle's module and the action that sends it to a host now answer alike."""
    (tmp_path / "venv").mkdir()
    (tmp_path / "path").mkdir()
    for folder in ["path", *(["venv"] if beside else [])]:
        (tmp_path / folder / "uv").touch(mode=0o755)
    monkeypatch.setattr("sys.executable", str(tmp_path / "venv/python"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    assert find_own_uv() == str(tmp_path / ("venv" if beside else "path") / "uv")
