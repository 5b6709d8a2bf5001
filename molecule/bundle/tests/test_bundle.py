# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bundle of a pod's decision is written on the controller; the pod, cut off from the mirror, is bootstrapped from it.

Left out: NVIDIA's apt packages, which no bundle holds, and the compiler as wheels, which the main job's tests bundle.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from fleet import ROOT, Run, addresses, play

POD, PREFIX = "role-bundle", "/opt/podsmith"
BUNDLE = ROOT / ".cache" / "molecule" / "bundle"
# From PyTorch's index and from PyPI; uv, which the pod lacks, and what PyTorch and the extensions require.
WHEELS = {"torch", "torchvision", "triton", "xformers", "nvidia-cuda-runtime"} | {
    *("numpy", "ninja", "setuptools", "pip", "uv"),
}
SOURCES = (
    *("pytorch_index_url", "pytorch_extra_index_urls", "cuda_toolkit_index_url"),
    *("cutlass_index_url", "cutlass_git_url"),
)
FETCH = "import urllib.request; print(urllib.request.urlopen('http://mirror/pypi/', timeout=5).status)"


def requests(address: str) -> int:
    """How often the mirror was asked for something over HTTP from there."""
    done = subprocess.run(["docker", "logs", "podsmith-mirror"], capture_output=True, text=True, check=True)
    return len(re.findall(rf"^{re.escape(address)} - - ", done.stdout + done.stderr, re.MULTILINE))


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    """What the bundle says of itself."""
    found: dict[str, Any] = json.loads((BUNDLE / "manifest.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def variables() -> dict[str, Any]:
    """What an offline host is told."""
    found: dict[str, Any] = yaml.safe_load((BUNDLE / "variables.yml").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def cut_off(host: Any) -> int:
    """The pod does not find the mirror any more; how often it had asked it for something until then."""
    assert host.run(f'python3 -c "{FETCH}"').stdout == "200\n"
    assert requests(addresses()[POD]) > 0
    host.check_output("sed '/mirror/d' /etc/hosts >/run/hosts && cat /run/hosts >/etc/hosts")
    assert host.run(f'python3 -c "{FETCH}"').rc != 0
    return requests(addresses()[POD])


@pytest.fixture(scope="module")
def offline(cut_off: int, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The bootstrap from the bundle."""
    return play("bootstrap.yml", POD, tmp_path_factory.mktemp("offline"), "-e", f"@{BUNDLE}/variables.yml")


def test_it_holds_what_the_decision_fetches(manifest: dict[str, Any]) -> None:
    wheels = [Path(name).name for name in manifest["files"] if name.startswith("wheels/")]
    assert {name.split("-")[0].replace("_", "-") for name in wheels} == WHEELS
    assert [name for name in wheels if "+cu130" in name.replace("%2B", "+")] != []
    purposes = {row["for"] for row in manifest["files"].values()}
    assert {"CUTLASS 4.3.0", "PyTorch 2.9.1+cu130 and what is installed with it"} <= purposes
    assert manifest["left_out"] == []


def test_each_file_is_the_one_that_the_manifest_lists(manifest: dict[str, Any]) -> None:
    there = {str(path.relative_to(BUNDLE)) for path in BUNDLE.rglob("*") if path.is_file()}
    assert there == {*manifest["files"], "manifest.json"}
    digests = {name: hashlib.sha256((BUNDLE / name).read_bytes()).hexdigest() for name in manifest["files"]}
    assert digests == {name: row["sha256"] for name, row in manifest["files"].items()}


def test_the_headers_are_one_tag_of_the_repository() -> None:
    argv = ["git", f"--git-dir={BUNDLE}/git/cutlass.git", "tag"]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == "v4.3.0\n"


def test_the_variables_pin_the_wish_and_name_the_bundle_alone(variables: dict[str, Any]) -> None:
    wish = variables["stack_plan_request"]
    assert (wish["cuda"], wish["pytorch"], wish["cutlass"]) == ("13.0", "2.9.1", "4.3.0")
    assert variables["bundle_host_dir"].endswith(f"'{PREFIX}/bundle' }}}}")
    assert {name: variables[name] for name in SOURCES if "bundle_host_dir" not in str(variables[name])} == {
        "pytorch_extra_index_urls": [],
        "cuda_toolkit_index_url": "",
        "cutlass_index_url": "",
    }
    assert re.findall(r"(?:https?|git)://\S*", (BUNDLE / "variables.yml").read_text(encoding="utf-8")) == []


def test_the_pod_was_not_touched(host: Any) -> None:
    assert not host.file(PREFIX).exists


def test_the_pod_is_bootstrapped_from_it(offline: Run, manifest: dict[str, Any]) -> None:
    assert offline.rc == 0, offline.out
    decision = offline.plans[POD]
    assert decision["digest"] == manifest["decision"]
    assert [change["role"] for change in decision["applied"]] == [
        *("cutlass", "pytorch", "ml_extensions", "gpu_verify", "gpu_environment"),
    ]


def test_nothing_came_from_elsewhere(offline: Run, cut_off: int) -> None:
    assert offline.rc == 0, offline.out
    assert requests(addresses()[POD]) == cut_off


def test_cuda_works_and_the_headers_are_there(offline: Run, host: Any) -> None:
    ask = "import torch, xformers; print(torch.__version__, torch.cuda.device_count(), xformers.__version__)"
    assert host.check_output(f"env -i {PREFIX}/current/bin/python -c '{ask}'") == "2.9.1+cu130 1 0.0.33.post2+cu130"
    version = host.file(f"{PREFIX}/cutlass/4.3.0/include/cutlass/version.h").content_string
    assert "#define CUTLASS_MINOR 3" in version


def test_another_run_changes_nothing_and_calls_the_pod_once(offline: Run, tmp_path: Path) -> None:
    assert offline.rc == 0, offline.out
    again = play("bootstrap.yml", POD, tmp_path, "-vvv", "-e", f"@{BUNDLE}/variables.yml")
    assert (again.rc, again.recap[POD]["changed"], again.calls[POD]) == (0, 0, 1), again.out
