"""An old driver of Windows, bootstrapped from inside WSL2: what would bring a driver is refused, CUDA 13 falls back."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile

from life import ROOT, WORK, Pod, converged

LIVE = "1-torch2.14.1-cu126"
COLLECTION = "/root/.ansible/collections/ansible_collections/podsmith/gpu"
ANSIBLE = "/root/ansible"
PARTS = ("catalogue", "galaxy.yml", "inventories/example", "meta", "playbooks", "plugins", "roles")
INVENTORY = """\
wsl2:
  hosts:
    localhost:
      ansible_connection: local
      ansible_python_interpreter: /usr/bin/python3
"""


def pack() -> bytes:
    """The collection as it is published, and Ansible with what it needs."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "--", *PARTS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    name = hashlib.sha1((ROOT / "requirements.txt").read_text(encoding="utf-8").rstrip("\n").encode()).hexdigest()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in filter(None, listed):
            if (ROOT / path).exists():
                archive.add(ROOT / path, f"{COLLECTION}/{path}")
        for part in sorted((WORK / "ansible" / name).iterdir()):
            if part.name != "ansible_test":
                archive.add(part, f"{ANSIBLE}/{part.name}")
    return buffer.getvalue()


def test_what_would_bring_a_driver_along_is_refused(pod: Pod) -> None:
    before = pod.snapshot()
    run = pod.bootstrap(cuda_toolkit_packages=["cuda-nvcc-12-6", "nvidia-cuda-dev"])
    assert run.rc == 2, run.out
    assert "apt would install libcuda1" in run.told
    assert "which nvidia-cuda-dev pulls in: a part of NVIDIA's driver for Linux" in run.told
    assert "Nothing was installed; name the toolkit's own packages in cuda_toolkit_packages" in run.told
    after = pod.snapshot()
    assert after.packages == before.packages
    assert "/usr/local/cuda-12.6/" not in after.files


def test_the_collection_runs_inside_wsl2(pod: Pod) -> None:
    """``localhost`` with Ansible's own local connection: what a person types in the terminal of WSL2."""
    done = subprocess.run(
        ["docker", "cp", "-", f"podsmith-{pod.name}:/"], input=pack(), capture_output=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    fingerprint = (WORK / "mirror/fingerprint").read_text(encoding="utf-8").strip()
    variables = {
        "stack_plan_request": {  # as molecule/shared/inventory/wsl2.yml has it, where it says why
            "cuda": "13.0",
            "on_old_driver": ["fallback"],
            "extensions": ["torchvision", "triton", "xformers", "bitsandbytes"],
            "overrides": {"glibc": False},
        },
        "nvidia_repository_url": "http://mirror/cuda/repos/",
        "nvidia_repository_key_fingerprint": fingerprint,
        "pytorch_index_url": "http://mirror/whl/cu126",
        "ml_extensions_index_urls": ["http://mirror/whl/cu126"],
        "gpu_verify_gpu": False,
        "gpu_verify_checks": ["cuinit", "nvcc", "torch", "kernel"],
    }
    pod.sh(f"cd {COLLECTION} && cat >inventories/example/hosts.yml", INVENTORY)
    pod.sh(f"cat >{ANSIBLE}/variables.json", json.dumps(variables))
    settings = f"PYTHONPATH={ANSIBLE} PATH={ANSIBLE}/bin:$PATH ANSIBLE_FORCE_COLOR=0 COLUMNS=160"
    inside = f"cd {COLLECTION} && env {settings} python3 -m ansible playbook"
    run = pod.ssh(f"{inside} -i inventories/example -l wsl2 -e @{ANSIBLE}/variables.json podsmith.gpu.bootstrap")
    told = " ".join(run.stdout.split())
    assert run.returncode == 0, run.stdout + run.stderr
    assert "localhost NVIDIA GeForce RTX 4090 · Windows driver 566.36 (CUDA 12.7) · WSL2" in told
    assert "route fallback → CUDA 12.6, PyTorch 2.14.1+cu126" in told
    assert "Windows driver 566.36 is older than 580, which CUDA 13 needs" in told
    assert "Update the Windows driver to 580 or newer." in told
    assert "verdict degraded" in told
    # The compiler of this image is too new for CUDA 12.6; a toolkit of 12.8 builds the extensions of cu126 as well.
    assert pod.stack() == (LIVE, "12.8", "12.6")


def test_from_outside_nothing_is_left_to_do(pod: Pod) -> None:
    """The same wish by SSH: the environment is the one that was built inside."""
    converged(pod)
