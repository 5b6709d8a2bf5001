# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role adds extensions that fit the torch that is there, and nothing that would replace it."""

from __future__ import annotations

from typing import Any

import pytest

PYTHON = "/opt/podsmith/environments/1-torch2.9.1-cu130/bin/python"


@pytest.mark.parametrize(
    ("name", "version"),
    [("torch", "2.9.1+cu130"), ("triton", "3.5.1"), ("xformers", "0.0.33.post2"), ("bitsandbytes", "0.48.2")],
)
def test_the_set_is_coherent(host: Any, name: str, version: str) -> None:
    said = host.run(
        f"{PYTHON} -c \"from importlib.metadata import version; print(version('{name}').partition('+cu')[0])\""
    )
    assert said.stdout.strip() == version.partition("+cu")[0], said.stderr


def test_torch_is_the_same_build(host: Any) -> None:
    assert host.run(f"{PYTHON} -c 'import torch; print(torch.__version__)'").stdout == "2.9.1+cu130\n"


def test_what_does_not_fit_was_left_out(host: Any) -> None:
    assert host.run(f"{PYTHON} -c 'import vllm'").rc != 0
