# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The address that nvidia_repository makes, which apt compares as text with an image's own, and its former names."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import load_catalogue

ROLE = pathlib.Path(__file__).resolve().parents[3] / "roles/nvidia_repository"
LOOKUP = "lookup('podsmith.gpu.catalogue', "
OLD, NEW = "https://old.example/cuda", "https://new.example/cuda"


def known(file: str, section: str, key: str) -> Any:
    return load_catalogue()[file][section][key]


def templated(name: str, given: dict[str, Any]) -> Any:
    variables = {}
    for file in ("defaults/main.yml", "vars/main.yml"):
        content = yaml.safe_load((ROLE / file).read_text(encoding="utf-8"))
        variables |= {key: trust_as_template(value.replace(LOOKUP, "known(")) for key, value in content.items()}
    more = {"known": known, "ansible_facts": {"architecture": "x86_64"}}
    templar = Templar(DataLoader(), variables={**variables, **more, **given})
    return templar.template(trust_as_template("{{ " + name + " }}"))


@pytest.mark.parametrize("url", ["https://mirror.example/cuda", "https://mirror.example/cuda/"])
def test_the_address_has_single_slashes(url: str) -> None:
    given = {"nvidia_repository_url": url, "nvidia_repository_folder": "debian12"}
    assert templated("__nvidia_repository_address", given) == "https://mirror.example/cuda/debian12/x86_64/"


@pytest.mark.parametrize(
    ("given", "address"),
    [
        pytest.param({}, "https://developer.download.nvidia.com/compute/cuda/repos/x/x86_64/", id="the-catalogue's"),
        pytest.param({"cuda_toolkit_repository_url": OLD}, f"{OLD}/x/x86_64/", id="former-name"),
        pytest.param({"cuda_toolkit_repository_url": OLD, "nvidia_repository_url": NEW}, f"{NEW}/x/x86_64/", id="both"),
    ],
)
def test_the_former_name_of_the_mirror_still_works(given: dict[str, str], address: str) -> None:
    assert templated("__nvidia_repository_address", {"nvidia_repository_folder": "x", **given}) == address


def test_the_former_name_of_the_fingerprint_still_works() -> None:
    assert templated("nvidia_repository_key_fingerprint", {"cuda_toolkit_key_fingerprint": "ABC"}) == "ABC"
    assert len(templated("nvidia_repository_key_fingerprint", {})) == 40


@pytest.mark.parametrize(
    ("folder", "kind", "key"),
    [
        pytest.param("ubuntu2404", "apt", "3bf863cc.pub", id="apt"),
        pytest.param("rhel9", "rpm", "D42D0685.pub", id="dnf"),
        pytest.param("sles15", "rpm", "D42D0685.pub", id="zypper"),
        pytest.param("", "apt", "3bf863cc.pub", id="none"),
    ],
)
def test_the_folder_says_which_kind_of_repository_it_is_and_whose_key(folder: str, kind: str, key: str) -> None:
    given = {"nvidia_repository_folder": folder}
    assert templated("nvidia_repository_format", given) == kind
    assert templated("__nvidia_repository_key", given)["file"] == key
    assert templated("nvidia_repository_key_fingerprint", given).upper().endswith(key.removesuffix(".pub").upper())


def test_arm_servers_have_a_folder_of_their_own_beside_x86() -> None:
    given = {"nvidia_repository_folder": "rhel9", "ansible_facts": {"architecture": "aarch64"}}
    assert templated("__nvidia_repository_address", given).endswith("/rhel9/sbsa/")
