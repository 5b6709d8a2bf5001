# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host built the wheel with the real nvcc, the other got it; both have installed and can load it."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import testinfra
from fatbin import list_code

ROOT = Path(__file__).resolve().parents[3]
KEPT = ROOT / ".cache" / "molecule" / "wheelhouse"
STORE = "/opt/podsmith/wheels"
PODS = ("role-pytorch-source-1", "role-pytorch-source-2")
NO_DRIVER, NO_DEVICE = 35, 100  # the pods have no GPU: what NVIDIA's runtime says to a launch


@pytest.fixture(params=PODS)
def pod(request: pytest.FixtureRequest) -> Any:
    """Each of the two."""
    inventory = ROOT / "molecule" / "shared" / "inventory"
    return testinfra.get_host(f"ansible://{request.param}", ansible_inventory=str(inventory))


def record(pod: Any) -> dict[str, Any]:
    """What the store says of the wheel of release 1.0 that was built for sm_120 alone."""
    found = pod.run(f"cat {STORE}/*/build.json")
    assert found.rc == 0, found.stderr
    return dict(json.loads(found.stdout))


def test_the_wheel_is_kept_whole(pod: Any) -> None:
    kept = record(pod)
    wheel = f"{STORE}/{kept['key']}/{kept['wheel']}"
    assert pod.file(wheel).sha256sum == kept["sha256"]
    assert (kept["name"], kept["version"], kept["steps"], kept["attempts"]) == ("podsmith-kernels", "1.0", 8, 1)
    assert len(kept["commit"]) == 40
    assert pod.run("ls -A /opt/podsmith/builds").stdout == ""  # the host that built nothing has no such folder


def test_one_host_built_it(pod: Any) -> None:
    """The log stays with the one that did; the record names it on both, and on the controller."""
    kept = record(pod)
    assert kept["host"] in PODS
    assert pod.file(f"{STORE}/{kept['key']}/build.log").exists == (pod.check_output("hostname") == kept["host"])
    copy = KEPT / kept["key"] / kept["wheel"]
    assert hashlib.sha256(copy.read_bytes()).hexdigest() == kept["sha256"]


def test_it_was_compiled_beside_the_pytorch_that_it_is_for(pod: Any) -> None:
    kept = record(pod)
    assert kept["build"]["torch"] == "2.9.1+cu130"
    found = pod.check_output("/opt/podsmith/environments/1/bin/python -m pip list --format freeze").splitlines()
    assert {"torch==2.9.1+cu130", "podsmith-kernels==1.0"} <= set(found)


def test_it_holds_code_for_the_wished_gpu_alone(pod: Any) -> None:
    kept = record(pod)
    with zipfile.ZipFile(io.BytesIO((KEPT / kept["key"] / kept["wheel"]).read_bytes())) as wheel:
        library = next(name for name in wheel.namelist() if name.endswith(".so"))
        assert list_code(wheel.read(library)) == ["sm_120"] * 6


def test_it_is_installed_and_asks_the_gpu(pod: Any) -> None:
    code = "import json, podsmith_kernels; print(json.dumps(podsmith_kernels.launch()))"
    done = pod.run("/opt/podsmith/environments/1/bin/python -c %s", code)
    assert done.rc == 0, done.stderr
    answers = json.loads(done.stdout)
    assert sorted(answers) == ["axpy", "histogram", "reduce", "scale", "scan", "transpose"]
    assert set(answers.values()) <= {NO_DRIVER, NO_DEVICE}
