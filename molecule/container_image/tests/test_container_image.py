# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""One image on every driver: what is baked into it, and what each start makes of the driver that it meets."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
WORK = ROOT / ".cache" / "molecule"
SECONDS = 180  # beyond it something waits for ever
IMAGE = "podsmith-pod:container-image"
POD = "podsmith-role-container-image"
H100 = "gpu 9.0 14 81559 0 NVIDIA H100 80GB HBM3"
RTX4090 = "gpu 8.9 5 24564 0 NVIDIA GeForce RTX 4090"
COMPAT = "/usr/local/cuda-13.0/compat"
ASK = """
import ctypes, os
library, version = ctypes.CDLL("libcuda.so.1"), ctypes.c_int()
print(library.cuInit(0), library.cuDriverGetVersion(ctypes.byref(version)) or version.value)
print(os.environ.get("LD_LIBRARY_PATH", "-"))
"""


def docker(*words: str, text: str | None = None) -> str:
    return subprocess.run(["docker", *words], input=text, capture_output=True, text=True, check=True).stdout


def start(conf: str) -> dict[str, Any]:
    """The container starts anew on a host with this driver; what its check wrote."""
    script = "cat >/etc/simulated-driver.conf; rm -f /run/podsmith-start.json"
    docker("exec", "--interactive", POD, "sh", "-c", script, text=conf)
    docker("restart", "--time=1", POD)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        done = subprocess.run(
            ["docker", "exec", POD, "cat", "/run/podsmith-start.json"], capture_output=True, text=True, check=False
        )
        if done.returncode == 0 and done.stdout.endswith("}\n"):
            return json.loads(done.stdout)
        time.sleep(0.1)
    raise AssertionError(docker("logs", "--tail=20", POD))


def ssh(command: str) -> subprocess.CompletedProcess[str]:
    """A command by real SSH, with the key that PUBLIC_KEY brought and no other."""
    address = docker("inspect", "--format", "{{.NetworkSettings.Networks.podsmith.IPAddress}}", POD).strip()
    options = (
        "IdentitiesOnly=yes",
        "BatchMode=yes",
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "LogLevel=ERROR",
    )
    argv = [
        "ssh",
        "-i",
        f"{WORK}/image.key",
        *(word for option in options for word in ("-o", option)),
        f"root@{address}",
        command,
    ]
    end = time.monotonic() + SECONDS
    while True:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode != 255 or time.monotonic() > end:  # 255: sshd is still to come
            return done
        time.sleep(0.1)


# --- what is baked into the image ---


def test_no_variable_of_the_image_is_for_one_driver() -> None:
    config = json.loads(docker("image", "inspect", IMAGE))[0]["Config"]
    assert not [line for line in config["Env"] if "compat" in line or line.startswith("LD_LIBRARY_PATH")]
    planned = json.loads((WORK / "image/role-container-image.json").read_text(encoding="utf-8"))
    assert config["Labels"]["podsmith.gpu.decision"] != planned["digest"], "on a pod the GPU is proved, too"


def test_the_file_system_has_no_path_for_one_driver_and_no_key_of_a_host() -> None:
    files = ("/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ld.so.preload", "/etc/environment")
    script = f"grep -rs compat {' '.join(files)}; ls /etc/ssh/ssh_host_*; ls -d /opt/podsmith/cache; true"
    assert docker("run", "--rm", "--entrypoint=sh", IMAGE, "-c", script) == ""
    assert docker("run", "--rm", "--entrypoint=sh", IMAGE, "-c", f"ls {COMPAT}").split()[0].startswith("libcuda.so")


def test_the_build_proved_what_needs_no_gpu() -> None:
    verdict = json.loads(docker("run", "--rm", "--entrypoint=cat", IMAGE, "/opt/podsmith/state/verdict.json"))
    assert (verdict["ok"], verdict["driver"]) == (True, None)
    assert {row["check"] for row in verdict["checks"] if row["ok"]} >= {"nvcc", "torch", "kernel"}


# --- on a host ---


def test_on_its_first_host_only_the_proof_was_outstanding() -> None:
    told = json.loads((WORK / "image/role-container-image.json").read_text(encoding="utf-8"))
    assert [(change["role"], change["action"]) for change in told["applied"]] == [
        ("forward_compat", "switch"),
        ("gpu_verify", "prove"),
        ("gpu_environment", "replace"),
    ]


STARTS = [
    pytest.param("", "cpu", None, "no NVIDIA driver in this container", id="none"),
    pytest.param(f"driver 535.183.01\ncuda 12.2\n{H100}\n", "ok", 13000, "by cuda-compat-13-0", id="535"),
    pytest.param(f"driver 560.35.03\ncuda 12.6\n{H100}\n", "failed", None, "supports the branches 535, 550", id="560"),
    pytest.param(f"driver 570.133.20\ncuda 12.8\n{H100}\n", "ok", 13000, "by cuda-compat-13-0", id="570"),
    pytest.param(f"driver 580.95.05\ncuda 13.0\n{H100}\n", "ok", 13000, "cuda-compat-13-0 stays off", id="580"),
    pytest.param(f"driver 610.43.02\ncuda 13.3\n{H100}\n", "ok", 13030, "cuda-compat-13-0 stays off", id="newer"),
    pytest.param(f"driver 570.133.20\ncuda 12.8\n{RTX4090}\n", "failed", None, "does not support this", id="geforce"),
    pytest.param(f"driver 580.95.05\ncuda 13.0\n{RTX4090}\n", "ok", 13000, "by the driver itself", id="geforce-580"),
]  # fmt: skip


@pytest.mark.parametrize(("conf", "verdict", "level", "told"), STARTS)
def test_each_start_looks_at_its_driver(conf: str, verdict: str, level: int | None, told: str) -> None:
    start_ = start(conf)
    assert (start_["verdict"], told in start_["text"]) == (verdict, True), start_["text"]
    compat = "by cuda-compat" in told
    assert start_["compat"] is compat
    asked = ssh(f"python -c '{ASK}'")
    if level:
        assert asked.stdout.split() == ["0", str(level), COMPAT if compat else "-"], asked
    else:
        assert COMPAT not in asked.stdout
    assert f"podsmith: {start_['text']}" in docker("logs", "--tail=30", POD)


def test_a_start_proves_the_stack_on_request() -> None:
    """The controller inside does it, on the GPU that is there; the converge had another driver."""
    start(f"driver 580.95.05\ncuda 13.0\n{H100}\n")
    docker("exec", "--env", "PODSMITH_START=prove", POD, "/opt/podsmith-image/start.sh", "true")
    end = time.monotonic() + SECONDS
    while True:
        verdict = json.loads(docker("exec", POD, "cat", "/opt/podsmith/state/verdict.json"))
        if verdict["driver"] == "580.95.05" or time.monotonic() > end:
            break
        time.sleep(0.1)
    assert (verdict["driver"], verdict["ok"]) == ("580.95.05", True), docker(
        "exec", POD, "cat", "/var/log/podsmith-start.log"
    )


def test_the_key_of_public_key_stands_there_once() -> None:
    key = (WORK / "image.pub").read_text(encoding="utf-8").strip()
    assert docker("exec", POD, "grep", "-cxF", "--", key, "/root/.ssh/authorized_keys").strip() == "1"
