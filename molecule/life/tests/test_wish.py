"""Another CUDA is wished: it is built beside the live environment, which no kill and no failed proof touches."""

from __future__ import annotations

from life import PREFIX, Change, Pod, converged, everywhere, states, touched

DRIVER = "580.95.05"
H100 = "NVIDIA H100 80GB HBM3"
OLD, NEW = "1-torch2.9.1-cu128", "2-torch2.9.1-cu130"
ROLLBACK = "molecule/life/rollback.yml"
CICC = "/usr/local/cuda-13.0/nvvm/bin/cicc"  # nvcc's compiler of device code
TOOLKIT = {
    "+ package cuda-cccl-13-0",
    "+ package cuda-crt-13-0",
    "+ package cuda-cudart-13-0",
    "+ package cuda-cudart-dev-13-0",
    "+ package cuda-driver-dev-13-0",
    "+ package cuda-nvcc-13-0",
    "+ package cuda-toolkit-13-0-config-common",
    "+ package cuda-toolkit-13-config-common",
    "+ package libnvvm-13-0",
    "+ /usr/local/cuda-13.0/",
    "+ /usr/local/cuda-13",
    "+ /etc/alternatives/cuda-13",
    "~ /etc/alternatives/cuda",
}
PROVED = Change("gpu_verify", "prove", "the stack")
SWITCHED = [PROVED, Change("gpu_environment", "switch", "live environment", OLD, NEW)]


def newer(pod: Pod) -> dict[str, object]:
    """The same wish with the next CUDA."""
    return pod.wish() | {"cuda": "13.0"}


def test_a_pod_that_is_not_what_was_ordered_is_refused_before_anything_is_changed(pod: Pod) -> None:
    before = pod.snapshot()
    run = pod.bootstrap(stack_plan_require={"gpus": 2, "model": "B200", "driver": ">=590", "route": "native"})
    assert (run.rc, run.changed, run.decision["verdict"], run.decision["changes"]) == (2, 0, "unmet", [])
    assert run.decision["unmet"] == [
        f"2 GPUs are required; the host has 1 ({H100}).",
        f"B200 is required; the host has {H100}.",
        f"A driver >=590 is required; found {DRIVER}.",
    ]
    assert "verdict unmet: nothing was changed, the host is not what is required" in run.told
    assert touched(before, pod.snapshot()) == set()


def test_bootstrap(pod: Pod) -> None:
    run = pod.bootstrap(stack_plan_require={"gpus": 1, "driver": ">=570", "health": "ok", "route": "native"})
    assert run.rc == 0, run.out
    assert run.applied == [
        Change("cuda_toolkit", "install", "CUDA toolkit 12.8", None, "12.8 from apt"),
        Change("pytorch", "install", "PyTorch 2.9.1+cu128", None, OLD),
        PROVED,
        Change("gpu_environment", "switch", "live environment", None, OLD),
    ]
    assert pod.cuda() == everywhere(DRIVER)
    assert pod.stack() == (OLD, "12.8", "12.8")
    converged(pod)


def test_a_run_that_is_killed_leaves_the_live_environment_alone(pod: Pod) -> None:
    before = pod.snapshot()
    pod.kill_bootstrap("Prepare the activation", stack_plan_request=newer(pod))
    assert touched(before, pod.snapshot()) == TOOLKIT | {f"+ {PREFIX}/environments/{NEW}/"}
    assert pod.stack() == (OLD, "12.8", "12.8")


def test_a_failed_proof_leaves_it_alone_too(pod: Pod) -> None:
    pod.sh(f"chmod a-x {CICC}")
    before = pod.snapshot()
    run = pod.bootstrap(wish=newer(pod))
    assert run.rc == 2, run.out
    assert "kernel: nvcc exited with status 126" in run.told
    assert "verdict failed: nothing was switched" in run.told
    differing = {path for path in touched(before, pod.snapshot()) if f"{PREFIX}/environments/{NEW}/" not in path}
    assert differing == states("verdict")
    assert pod.stack() == (OLD, "12.8", "12.8")
    assert pod.cuda() == everywhere(DRIVER)
    pod.sh(f"chmod a+x {CICC}")


def test_the_next_run_finishes_and_switches(pod: Pod) -> None:
    before = pod.snapshot()
    run = pod.bootstrap(wish=newer(pod))
    assert run.rc == 0, run.out
    assert run.applied == SWITCHED  # the environment was whole before its proof failed
    links = {f"~ {PREFIX}/current", f"+ {PREFIX}/previous"}
    assert touched(before, pod.snapshot()) == links | states("decision", "history", "verdict")
    assert pod.stack() == (NEW, "13.0", "13.0")
    assert pod.cuda() == everywhere(DRIVER)
    ask = "import torch; print(torch.version.cuda, torch.cuda.is_available())"
    assert pod.sh(f"env -i {PREFIX}/environments/{OLD}/bin/python -c '{ask}'") == "12.8 True"
    converged(pod, wish=newer(pod))


def test_rollback_goes_back_and_forth(pod: Pod) -> None:
    before = pod.snapshot()
    for stack in ((OLD, "12.8", "12.8"), (NEW, "13.0", "13.0")):
        run = pod.play(ROLLBACK)
        assert run.rc == 0, run.out
        assert pod.stack() == stack
        assert pod.cuda() == everywhere(DRIVER)
    assert touched(before, pod.snapshot()) == {f"~ {PREFIX}/current", f"~ {PREFIX}/previous"} | states("history")
    converged(pod, wish=newer(pod))
