# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked for of a package, and which version satisfies it."""

from __future__ import annotations

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._packages.requirement import (
    PackagesError,
    Requirement,
    newer_or_same,
    parse_requirement,
    same_version,
    satisfied,
)


@pytest.mark.parametrize(
    ("text", "name", "version"),
    [
        ("torch==2.9.1+cu130", "torch", "2.9.1+cu130"),
        ("Typing_Extensions == 4.16.0", "typing-extensions", "4.16.0"),
        ("cuda-toolkit[nvcc,cudart]==13.0.3", "cuda-toolkit", "13.0.3"),
        ("numpy", "numpy", None),
        (
            "flash-attn @ https://e.org/f/flash_attn-2.8.3%2Bcu12-cp312-cp312-linux_x86_64.whl#sha256=0",
            "flash-attn",
            "2.8.3+cu12",
        ),
    ],
)
def test_requirement(text: str, name: str, version: str | None) -> None:
    assert parse_requirement(text) == Requirement(text, name, version)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "torch>=2.9",
            'The requirement is "torch>=2.9"; expected name==version, name @ <URL of a wheel>, or',
        ),
        ("--index-url=x", 'is "--index-url=x"; expected name==version'),
        ("torch==2.9; rm -rf /", 'is "torch==2.9; rm -rf /"; expected'),
        ("x @ https://e.org/x.tar.gz", "expected the URL of a .whl file, or name==version"),
    ],
)
def test_requirement_refused(text: str, words: str) -> None:
    with pytest.raises(PackagesError, match=words):
        parse_requirement(text)


@pytest.mark.parametrize(
    ("wanted", "found", "same"),
    [
        ("2.9.1", "2.9.1", True),
        ("2.9", "2.9.0", True),
        ("4.2.0.0", "4.2", True),
        ("2.9.1", "2.9.1+cu130", True),
        ("2.9.1+cu130", "2.9.1", False),
        ("2.9.1+cu128", "2.9.1+cu130", False),
        ("0.0.33.post2", "0.0.33", False),
        ("0.0.33.post2", "0.0.33-post2", True),
        ("2.10", "2.1", False),
        ("20", "2", False),
    ],
)
def test_same_version(wanted: str, found: str, same: bool) -> None:
    assert same_version(wanted, found) is same


@pytest.mark.parametrize(
    ("text", "found", "enough"),
    [
        ("torch>=2.16.0.dev0", "2.16.0.dev20261130+cu132", True),
        ("torch>=2.16.0.dev0", "2.16.0", True),
        ("torch>=2.16.0.dev0", "2.16", True),
        ("torch>=2.16.0.dev0", "3.0.0.dev20271130", True),
        ("torch>=2.16.0.dev20261130", "2.16.0.dev20261129", False),
        ("torch>=2.16.0.dev0", "2.15.1+cu132", False),
        ("torch>=2.16.0.dev0", None, False),
        ("torchvision >= 0.dev0", "0.30.0.dev20261130", True),
    ],
)
def test_a_least_development_release(text: str, found: str | None, enough: bool) -> None:
    wish = parse_requirement(text)
    assert (wish.text, wish.version) == (text, None)
    assert satisfied(wish, {wish.name: found} if found else {}) is enough


@pytest.mark.parametrize(
    ("version", "least", "enough"),
    [("0.13.8", "0.13.8", True), ("0.13.10", "0.13.8", True), ("0.9.9", "0.13.8", False)],
)
def test_newer_or_same(version: str, least: str, enough: bool) -> None:
    assert newer_or_same(version, least) is enough
