# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows and sections, and what is said of one that is not there."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleLookupError

from ansible_collections.podsmith.gpu.plugins.lookup.catalogue import find_row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import load_catalogue

CATALOGUE = {"tools": {"tools": {"uv": {"version": "1"}, "ninja": {"version": "2"}}}}


def test_row_and_section() -> None:
    assert find_row(CATALOGUE, ["tools", "tools", "uv"]) == {"version": "1"}
    assert find_row(CATALOGUE, ["tools", "tools"]) == CATALOGUE["tools"]["tools"]


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        (["tools", "tools", "pip"], "catalogue/tools/tools has no 'pip'; it has uv, ninja."),
        (["tool", "tools", "uv"], "catalogue has no 'tool'; it has tools."),
        (["tools"], "has 1 terms; expected file, section and key"),
    ],
)
def test_what_is_not_there(terms: list[str], words: str) -> None:
    with pytest.raises(AnsibleLookupError, match=words):
        find_row(CATALOGUE, terms)


@pytest.mark.parametrize("tool", ["uv", "ninja", "setuptools"])
def test_tools_that_roles_read_have_a_version(tool: str) -> None:
    assert find_row(load_catalogue(), ["tools", "tools", tool])["version"]
