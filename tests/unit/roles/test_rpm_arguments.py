# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles accept what is decided for a system with rpm packages, and lead to the task files of that provider."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import load_catalogue

ROLES = pathlib.Path(__file__).resolve().parents[3] / "roles"
LOOKUP = re.compile(r"lookup\('podsmith\.gpu\.catalogue', ")
FILTERS = re.compile(r"podsmith\.gpu\.\w+(?:\(\w+\))?")  # outside of a run the collection's own are not there


def known(file: str, section: str, key: str) -> Any:
    return load_catalogue()[file][section][key]


def load(role: str, name: str) -> Any:
    text = (ROLES / role / name).read_text(encoding="utf-8")
    return yaml.safe_load(FILTERS.sub("string", LOOKUP.sub("known(", text)))


def arguments(role: str, decision: dict[str, Any]) -> dict[str, Any]:
    """What Ansible checks before the role's first task: the values of its options, by its own defaults."""
    spec = load(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    trusted = {
        name: trust_as_template(value) if isinstance(value, str) else value
        for name, value in {**load(role, "vars/main.yml"), **load(role, "defaults/main.yml")}.items()
    }
    more = {"stack_plan_decision": decision, "known": known, "ansible_facts": {"architecture": "x86_64"}}
    templar = Templar(loader=DataLoader(), variables={**trusted, **more})
    given = {name: templar.template(trusted[name]) for name in spec if name in trusted}
    accepted = {name: {**option, "default": None} for name, option in spec.items()}
    assert ArgumentSpecValidator(accepted).validate(given).error_messages == []
    return given


@pytest.fixture
def decision(host: Any, decide: Any) -> dict[str, Any]:
    """A machine with Rocky Linux, without a driver and without a compiler."""
    facts = host("V100", None, os="rocky 9.5")
    facts["platform"] |= {"compiler": None, "kernel": "5.14.0-570.el9.x86_64", "tools": {"dnf": "/usr/bin/dnf"}}
    facts["installed"]["driver"] = {"packages": {}, "headers": False, "pci": ["1db4"]}
    made: dict[str, Any] = decide(facts, driver="580", cuda="12.6")
    return made


def test_the_driver_comes_from_a_stream(decision: dict[str, Any]) -> None:
    given = arguments("nvidia_driver", decision)
    assert (given["nvidia_driver_provider"], given["nvidia_driver_stream"]) == ("rpm", "nvidia-driver:580-dkms")
    assert given["nvidia_driver_packages"] == ["kernel-devel-5.14.0-570.el9.x86_64", "cuda-drivers"]
    for folder in ("install", "remove"):
        assert (ROLES / "nvidia_driver/tasks" / folder / f"{given['nvidia_driver_provider']}.yml").is_file()


def test_the_toolkit_and_its_compiler_are_rpm_packages(decision: dict[str, Any]) -> None:
    given = arguments("cuda_toolkit", decision)
    assert (given["cuda_toolkit_provider"], given["cuda_toolkit_repository"]) == ("rpm", "rhel9")
    assert (given["cuda_toolkit_system_packages"], given["cuda_toolkit_system_provider"]) == (["gcc-c++"], "rpm")
    for folder in ("install", "remove", "packages"):
        assert (ROLES / "cuda_toolkit/tasks" / folder / "rpm.yml").is_file()


def test_a_compat_library_is_installed_and_removed_by_the_same(host: Any, decide: Any) -> None:
    facts = host("H100", "570.133.20", os="rocky 9.5")
    given = arguments("forward_compat", decide(facts, cuda="13.0"))
    assert (given["forward_compat_provider"], given["forward_compat_system_provider"]) == ("rpm", "rpm")
    library = {"package": "cuda-compat-13-0", "version": "580.95.05", "path": "/usr/local/cuda-13.0/compat"}
    later = host("H100", "580.105.08", os="rocky 9.5", compat=[{**library, "cuda": "13.0", "managed": True}])
    removed = arguments("forward_compat", decide(later, cuda="13.0"))
    assert (removed["forward_compat_state"], removed["forward_compat_remove"]) == ("absent", ["cuda-compat-13-0"])
    assert removed["forward_compat_system_provider"] == "rpm"
    for folder in ("install", "remove"):
        assert (ROLES / "forward_compat/tasks" / folder / "rpm.yml").is_file()


def test_without_a_decision_it_is_apt_as_before() -> None:
    assert arguments("nvidia_driver", {})["nvidia_driver_provider"] == "apt"
    toolkit = {"version": "13.0", "provider": "adopt", "repository": None}
    assert arguments("cuda_toolkit", {"toolkit": toolkit})["cuda_toolkit_system_provider"] == "apt"
