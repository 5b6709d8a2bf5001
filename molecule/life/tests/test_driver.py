"""The driver of an H100's host changes under a pod: forward compatibility comes, goes, and comes back, and nothing else moves."""

from __future__ import annotations

from life import PREFIX, Change, Pod, converged, everywhere, touched

NATIVE, COMPAT = "580.159.04", "580.95.05"
GENERATION = f"{PREFIX}/environments/1-torch2.9.1-cu130"
BOOTSTRAPPED = [
    Change("forward_compat", "install", "cuda-compat-13-0", None, COMPAT),
    Change("pytorch", "install", "PyTorch 2.9.1+cu130", None, "1-torch2.9.1-cu130"),
    Change("gpu_verify", "prove", "the stack"),
    Change("gpu_environment", "switch", "live environment", None, "1-torch2.9.1-cu130"),
]


def test_570_gets_forward_compatibility(pod: Pod) -> None:
    run = pod.bootstrap()
    assert run.rc == 0, run.out
    assert run.applied == BOOTSTRAPPED
    assert pod.cuda() == everywhere(COMPAT)
    converged(pod)
