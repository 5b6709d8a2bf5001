"""A GPU refuses forward compatibility (error 804): remembered for this driver, forgotten with the next one."""

from __future__ import annotations

import json

from life import PREFIX, Change, Pod, converged, everywhere, states, touched

FIRST, SECOND, NATIVE = "535.171.04", "550.163.01", "580.159.04"
OLD, NEW = "1-torch2.9.1-cu128", "2-torch2.9.1-cu130"
REFUSED = "cuda-compat-13-0 580.95.05"


def remembered(pod: Pod) -> dict[str, dict[str, object]]:
    """What was refused on the pod."""
    return json.loads(pod.sh(f"cat {PREFIX}/state/compat.json"))["refused"]


def test_the_refused_library_is_taken_out_and_the_wish_falls_back(pod: Pod) -> None:
    run = pod.bootstrap()
    assert run.rc == 0, run.out
    assert "Switch forward compatibility" in run.out
    assert (run.decision["verdict"], run.decision["route"]) == ("degraded", "fallback")
    assert run.applied == [  # after the refusal: the library came and went
        Change("pytorch", "install", "PyTorch 2.9.1+cu128", None, OLD),
        Change("gpu_verify", "prove", "the stack"),
        Change("gpu_environment", "switch", "live environment", None, OLD),
    ]
    assert remembered(pod) == {REFUSED: {"code": 804, "driver": FIRST}}
    assert "cuda-compat-13-0" not in pod.snapshot().packages
    assert pod.cuda() == everywhere(FIRST)


def test_it_is_not_tried_again_with_the_same_driver(pod: Pod) -> None:
    converged(pod)
    rejected = {row["option"]: row["because"] for row in pod.bootstrap("--check").decision["rejected"]}
    assert rejected["forward_compat cu130"].startswith(f"{REFUSED} was tried here and refused with error 804; ")


def test_another_driver_is_asked_anew(pod: Pod) -> None:
    pod.set_driver(SECOND)
    before = pod.snapshot()
    run = pod.bootstrap()
    assert run.rc == 0, run.out
    assert "Switch forward compatibility" in run.out
    lapsed = f"proved with driver {FIRST}, not {SECOND}"
    assert run.applied == [Change("gpu_verify", "prove", "the stack", lapsed)]
    assert touched(before, pod.snapshot()) == states("compat", "verdict")
    assert remembered(pod) == {REFUSED: {"code": 804, "driver": SECOND}}
    assert pod.cuda() == everywhere(SECOND)
    converged(pod)


def test_a_driver_that_needs_no_library_brings_the_wish(pod: Pod) -> None:
    pod.set_driver(NATIVE)
    before = pod.snapshot()
    run = pod.bootstrap()
    assert run.rc == 0, run.out
    assert (run.decision["verdict"], run.decision["route"]) == ("ok", "native")
    assert "Switch forward compatibility" not in run.out
    assert run.applied == [
        Change("pytorch", "install", "PyTorch 2.9.1+cu130", OLD, NEW),
        Change("gpu_verify", "prove", "the stack"),
        Change("gpu_environment", "switch", "live environment", OLD, NEW),
    ]
    built = {f"+ {PREFIX}/environments/{NEW}/", f"~ {PREFIX}/current", f"+ {PREFIX}/previous"}
    assert touched(before, pod.snapshot()) == built | states("decision", "history", "verdict")
    assert pod.cuda() == everywhere(NATIVE)
    converged(pod)
