"""The host of an H100 gets another driver: forward compatibility comes, goes and comes back, and nothing else moves."""

from __future__ import annotations

from life import PREFIX, Change, Pod, converged, everywhere, states, touched

COMPAT = "580.95.05"  # the library's version
OLD, NEW = "570.133.20", "580.159.04"
TOO_OLD = "The NVIDIA driver on your system is too old (found version 12080)"
NAME = "1-torch2.9.1-cu130"
GENERATION = f"{PREFIX}/environments/{NAME}"
HOOK = "lib/python3.13/site-packages/_podsmith_cuda.py"
SWITCHED = [  # the activation and the hook say whether forward compatibility may be used
    Change("gpu_verify", "prove", "the stack"),
    Change("gpu_environment", "repair", "activate.sh", "edited", "as generated"),
    Change("gpu_environment", "repair", "site-packages/_podsmith_cuda.py", "edited", "as generated"),
]
WRITTEN = {f"~ {GENERATION}/activate.sh", f"~ {GENERATION}/{HOOK}"} | states("compat", "decision", "history", "verdict")
# NVIDIA's repository goes with the last package that came from it, and comes back with the next one.
REPOSITORY = ("/etc/apt/keyrings/podsmith-cuda.gpg", "/etc/apt/sources.list.d/podsmith-cuda.sources")


def test_an_old_driver_gets_forward_compatibility(pod: Pod) -> None:
    run = pod.bootstrap()
    assert run.rc == 0, run.out
    assert run.applied == [
        Change("forward_compat", "install", "cuda-compat-13-0", None, COMPAT),
        Change("pytorch", "install", "PyTorch 2.9.1+cu130", None, NAME),
        Change("gpu_verify", "prove", "the stack"),
        Change("gpu_environment", "switch", "live environment", None, NAME),
    ]
    assert pod.cuda() == everywhere(COMPAT)
    converged(pod)


def test_every_driver_works_before_anybody_runs_anything(pod: Pod) -> None:
    before = pod.snapshot()
    for driver, library in {
        "580.65.06": COMPAT,  # of the library's own branch, and older
        "580.95.04": COMPAT,  # older in the third number alone
        "580.95.05": "580.95.05",
        "580.159.04": "580.159.04",  # newer as numbers, older as text
        "595.71.05": "595.71.05",
        OLD: COMPAT,
    }.items():
        pod.set_driver(driver)
        assert pod.cuda() == everywhere(library), f"driver {driver}"
    assert touched(before, pod.snapshot()) == set()


def test_a_new_driver_takes_the_library_away_and_nothing_else(pod: Pod) -> None:
    pod.set_driver(NEW)
    before = pod.snapshot()
    run = pod.bootstrap()
    assert run.rc == 0, run.out
    assert run.decision["route"] == "native"
    assert run.applied == [Change("forward_compat", "remove", "cuda-compat-13-0", "installed"), *SWITCHED]
    assert touched(before, pod.snapshot()) == WRITTEN | {
        "- /usr/local/cuda-13.0/",
        "- package cuda-compat-13-0",
        *(f"- {path}" for path in REPOSITORY),
    }
    assert pod.cuda() == everywhere(NEW)
    converged(pod)


def test_moved_back_the_pod_says_what_it_lacks_and_the_next_run_brings_it(pod: Pod) -> None:
    pod.set_driver(OLD)
    assert pod.cuda() == everywhere(OLD, TOO_OLD)
    before = pod.snapshot()
    run = pod.bootstrap()
    assert run.rc == 0, run.out
    assert run.decision["route"] == "forward_compat"
    assert run.applied == [Change("forward_compat", "install", "cuda-compat-13-0", None, COMPAT), *SWITCHED]
    assert touched(before, pod.snapshot()) == WRITTEN | {
        "+ /usr/local/cuda-13.0/",
        "+ package cuda-compat-13-0",
        *(f"+ {path}" for path in REPOSITORY),
    }
    assert pod.cuda() == everywhere(COMPAT)
    converged(pod)
