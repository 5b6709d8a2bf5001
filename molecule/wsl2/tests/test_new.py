"""A new driver of Windows: the stable CUDA by default, the next one by one variable, and back without building anew."""

from __future__ import annotations

import pytest
from life import LOGIN, PREFIX, Change, Pod, converged, states, touched

STABLE, NEXT = "1-torch2.14.1-cu126", "2-torch2.15.0-cu130"
WSL = "/usr/lib/wsl/lib"
# Every byte and every mark of Windows' folder and of the loader's configuration of it.
LOOK = f"cd {WSL} && stat -c '%n %A %s %Y %i' * . && sha256sum * /etc/ld.so.conf.d/ld.wsl.conf"
NOWHERE = {  # whoever fetches something now fails
    "nvidia_repository_url": "http://127.0.0.1:9/",
    "pytorch_index_url": "http://127.0.0.1:9/",
    "ml_extensions_index_urls": ["http://127.0.0.1:9/"],
}
PROVED = Change("gpu_verify", "prove", "the stack")
# Prints what cuInit says, and the libcuda that was loaded; for a program of the system's, which no hook of ours helps.
LIBRARY = """
import ctypes
code = ctypes.CDLL("libcuda.so.1").cuInit(0)
with open("/proc/self/maps") as maps:
    print(code, *{line.split(None, 5)[5].strip() for line in maps if "/libcuda.so" in line})
"""
PROGRAM = "/usr/bin/python3 -I -S -"


@pytest.fixture(scope="module")
def windows(pod: Pod) -> str:
    """Windows' folder as it was before anything ran."""
    return pod.sh(LOOK)


def test_the_stable_cuda_by_default(pod: Pod, windows: str) -> None:
    run = pod.bootstrap()
    assert run.rc == 0, run.out
    assert run.applied == [
        Change("cuda_toolkit", "install", "CUDA toolkit 12.6", None, "12.6 from apt"),
        Change("pytorch", "install", "PyTorch 2.14.1+cu126", None, STABLE),
        Change("ml_extensions", "install", "xformers", None, "0.0.35+cu126"),
        Change("ml_extensions", "install", "bitsandbytes", None, "0.50.2"),
        PROVED,
        Change("gpu_environment", "switch", "live environment", None, STABLE),
    ]
    assert "repos/wsl-ubuntu/x86_64/" in pod.sh("cat /etc/apt/sources.list.d/podsmith-cuda.sources")
    assert run.decision["forward_compat"]["enabled"] is False
    assert (
        "versions Windows driver 581.42 supports CUDA 13.0; PyTorch 2.14.1+cu126 and the CUDA toolkit are built "
        "for CUDA 12.6: no problem, a newer driver runs what is built for older CUDA releases." in run.told
    )
    assert pod.stack() == (STABLE, "12.6", "12.6")


def test_the_next_cuda_by_one_variable(pod: Pod) -> None:
    run = pod.bootstrap(wsl2_cuda="13.0")
    assert run.rc == 0, run.out
    assert [change.what for change in run.applied if change.action == "install"] == [
        "CUDA toolkit 13.0", "PyTorch 2.15.0+cu130", "xformers", "bitsandbytes",
    ]  # fmt: skip
    assert not [row for row in run.decision["versions"] if len(set(row["numbers"].values())) > 1]
    assert pod.stack() == (NEXT, "13.0", "13.0")


def test_back_is_a_proof_and_a_switch(pod: Pod) -> None:
    """With sources that do not answer: nothing is fetched, no toolkit is touched; links and state change alone."""
    before, cache = pod.snapshot(), pod.sh(f"find {PREFIX}/cache | sort | sha256sum")
    run = pod.bootstrap(**NOWHERE)
    assert run.rc == 0, run.out
    assert run.applied == [PROVED, Change("gpu_environment", "switch", "live environment", NEXT, STABLE)]
    links = {f"~ {PREFIX}/current", f"~ {PREFIX}/previous"}
    assert touched(before, pod.snapshot()) == links | states("decision", "history", "verdict")
    assert pod.sh(f"find {PREFIX}/cache | sort | sha256sum") == cache
    assert pod.stack() == (STABLE, "12.6", "12.6")
    converged(pod)


def test_no_driver_came_and_windows_folder_is_as_it_was(pod: Pod, windows: str) -> None:
    assert pod.sh(LOOK) == windows
    names = pod.snapshot().packages
    assert [name for name in names if name.startswith(("libcuda1", "libnvidia-", "nvidia-", "cuda-drivers"))] == []
    for way in (PROGRAM, f"{LOGIN} '{PROGRAM}'"):
        assert pod.sh(way, LIBRARY) == f"0 {WSL}/libcuda.so.1"


def test_a_lost_configuration_of_the_loader_is_named_and_the_activation_bridges_it(pod: Pod) -> None:
    conf = pod.sh("cat /etc/ld.so.conf.d/ld.wsl.conf")
    pod.sh("rm /etc/ld.so.conf.d/ld.wsl.conf && ldconfig")
    try:
        run = pod.play("playbooks/plan.yml")
        assert run.rc == 0, run.out
        command = "run: echo /usr/lib/wsl/lib | sudo tee /etc/ld.so.conf.d/ld.wsl.conf && sudo ldconfig."
        assert command in run.told.lower()
        assert pod.ssh(f"env -i {PROGRAM}", LIBRARY).returncode != 0
        assert pod.sh(PROGRAM, LIBRARY) == f"0 {WSL}/libcuda.so.1"
    finally:
        pod.sh("cat >/etc/ld.so.conf.d/ld.wsl.conf && ldconfig", f"{conf}\n")
