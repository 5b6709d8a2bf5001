# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses that cuda_toolkit makes: apt compares them, as text, with those that an image has."""

from __future__ import annotations

import pathlib

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

VARS = yaml.safe_load(
    (pathlib.Path(__file__).resolve().parents[3] / "roles/cuda_toolkit/vars/main.yml").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("url", ["https://mirror.example/cuda", "https://mirror.example/cuda/"])
def test_a_repository_has_single_slashes(url: str) -> None:
    given = {"cuda_toolkit_repository_url": url, "cuda_toolkit_repository": "debian12"}
    made = {name: trust_as_template(VARS[name]) for name in ("__cuda_toolkit_base", "__cuda_toolkit_folder")}
    templar = Templar(DataLoader(), variables={**given, **made, "__cuda_toolkit_arch": {"folder": "x86_64"}})
    assert templar.template(made["__cuda_toolkit_folder"]) == "https://mirror.example/cuda/debian12/x86_64/"
