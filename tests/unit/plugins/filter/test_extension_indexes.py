# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.podsmith.gpu.plugins.filter.extension_indexes import FilterModule

extension_indexes = FilterModule().filters()["extension_indexes"]

WHEELS = "https://download.pytorch.org/whl"


@pytest.mark.parametrize(
    ("packages", "urls"),
    [
        pytest.param({}, [], id="none"),
        pytest.param({"a": {"requirement": "a==1", "index": "cu130"}}, [f"{WHEELS}/cu130"], id="pytorch's"),
        pytest.param({"a": {"requirement": "a==1"}}, [], id="pypi-by-default"),
        pytest.param({"a": {"requirement": "a==1", "index": "source"}}, [], id="built-here"),
        pytest.param({"a": {"requirement": None, "index": "cu130"}}, [], id="nothing-to-install"),
        pytest.param(
            {"vllm": {"requirement": "vllm==0.23.0+cu129", "index": "https://wheels.vllm.ai/0.23.0/cu129"}},
            ["https://wheels.vllm.ai/0.23.0/cu129"],
            id="its-own",
        ),
        pytest.param(
            {
                "a": {"requirement": "a==1", "index": "cu126"},
                "b": {"requirement": "b==1", "index": "pypi"},
                "c": {"requirement": "c==1", "index": "cu130"},
                "d": {"requirement": "d==1", "index": "cu126"},
            },
            [f"{WHEELS}/cu126", f"{WHEELS}/cu130"],
            id="each-once",
        ),
        pytest.param(
            {
                "a": {"requirement": "a==1+cu129", "index": "https://wheels.example/1/cu129"},
                "b": {"requirement": "b>=0.dev0", "index": "nightly-cu132"},
            },
            ["https://wheels.example/1/cu129", f"{WHEELS}/nightly/cu132"],
            id="an-address-and-a-channel",
        ),
    ],
)
def test_indexes(packages: dict[str, Any], urls: list[str]) -> None:
    assert [url.rstrip("/") for url in extension_indexes(packages)] == urls


def test_an_index_that_nobody_knows() -> None:
    for index in ("cu1", "http://wheels.example"):
        expected = f"has the index '{index}'; expected one of pypi, host_wheels, source, .*, or an https address"
        with pytest.raises(AnsibleFilterError, match=expected):
            extension_indexes({"a": {"requirement": "a==1", "index": index}})
