"""A proof counts as long as driver, libcuda and GPUs are those that it ran with."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.reach import why_lapsed
from ansible_collections.podsmith.gpu.plugins.plugin_utils._report.stack import render_text

Decide = Callable[..., dict[str, Any]]
Facts = dict[str, Any]

OWN, COMPAT = "/usr/lib/x86_64-linux-gnu/libcuda.so.580.159.04", "/usr/local/cuda/compat/libcuda.so.580.95.05"
WSL = "/usr/lib/wsl/lib/libcuda.so.1"
DRIVER = "580.159.04"


NOW = {"works": False, "ways": {}, "causes": [], "hopeless": True, "summary": "the driver does not answer"}


def library(path: str | None, version: str | None) -> dict[str, Any]:
    return {"path": path, "version": version}


def way(path: str | None = OWN, version: str | None = DRIVER, **more: Any) -> dict[str, Any]:
    init = {"code": 0, "name": "CUDA_SUCCESS"} if path else None
    return {"libcuda": path, "version": version, "init": init, "devices": 1, **more}


def proved(**reach: Any) -> dict[str, Any]:
    return {"driver": DRIVER, "libcuda": library(OWN, DRIVER), "gpus": ["GPU-a", "GPU-b"], **reach}


def host_now(**now: Any) -> Facts:
    uuids = now.pop("gpus", ["GPU-b", "GPU-a"])
    devices = None if uuids is None else [{"name": "NVIDIA H200", "uuid": uuid} for uuid in uuids]
    return {
        "driver": {"status": "ok", "version": now.pop("driver", DRIVER)},
        "devices": devices,
        "ways": {"environment": now.pop("environment", way())},
        **now,
    }


CASES = [
    ("the-same", proved(), {}, None),
    ("another-driver", proved(), {"driver": "580.200.01"}, f"proved with driver {DRIVER}, not 580.200.01"),
    ("driver-unknown-now", proved(), {"driver": None}, None),
    ("driver-unknown-then", proved(driver=None), {"driver": "580.200.01"}, None),
    (
        "another-libcuda",
        proved(libcuda=library(COMPAT, "580.95.05")),
        {},
        f"proved with libcuda 580.95.05; {DRIVER} is loaded now",
    ),
    (
        "compat-now",
        proved(),
        {"environment": way(COMPAT, "580.95.05")},
        f"proved with libcuda {DRIVER}; 580.95.05 is loaded now",
    ),
    (
        "compat-then-and-now",
        proved(libcuda=library(COMPAT, "580.95.05")),
        {"environment": way(COMPAT, "580.95.05", compat_active=True)},
        None,
    ),
    ("the-same-build-in-another-folder", proved(), {"environment": way(f"/usr/local/nvidia/lib64/x.{DRIVER}")}, None),
    ("without-a-version", proved(libcuda=library(WSL, None)), {"environment": way(WSL, None)}, None),
    (
        "a-stub-without-a-version",
        proved(libcuda=library(WSL, None)),
        {"environment": way("/opt/stubs/libcuda.so", None)},
        f"proved with {WSL}; /opt/stubs/libcuda.so is loaded now",
    ),
    (
        "none-is-found-now",
        proved(),
        {"environment": way(None, None)},
        f"proved with libcuda {DRIVER}; none is found now",
    ),
    (
        "no-answer-now",
        proved(),
        {"environment": way(None, None) | {"init": {"code": None, "name": "TIMEOUT"}}},
        None,
    ),
    ("nobody-asked", proved(), {"ways": {"login": way(COMPAT, "580.95.05")}}, None),
    ("older-facts", proved(), {"ways": None, "loader": way(COMPAT, "580.95.05")}, None),
    ("libcuda-unknown-then", proved(libcuda=None), {}, None),
    ("one-gpu-more", proved(gpus=["GPU-a"]), {}, "proved on 1 GPU; the host has 2 now"),
    ("one-gpu-less", proved(), {"gpus": ["GPU-a"]}, "proved on 2 GPUs; the host has 1 now"),
    ("all-gone", proved(), {"gpus": []}, "proved on 2 GPUs; the host has 0 now"),
    ("another-gpu", proved(), {"gpus": ["GPU-a", "GPU-c"]}, "proved on other GPUs; GPU-c took the place of those"),
    (
        "all-others",
        proved(gpus=list("abcd")),
        {"gpus": list("efgh")},
        "proved on other GPUs; 4 of them took the place of those",
    ),
    ("gpus-unknown-now", proved(), {"gpus": None}, None),
    ("a-gpu-without-a-name", proved(), {"gpus": ["GPU-a", None]}, None),
    ("a-proof-without-gpus", proved(gpus=None, libcuda=None), {}, None),
    ("an-older-record", None, {}, "proved by a release that did not record its driver, libcuda and GPUs"),
    ("nonsense", "yes", {}, "proved by a release that did not record its driver, libcuda and GPUs"),
]


LOST = [
    ("none", proved(), {}, None),
    ("one-of-two", proved(), {"gpus": ["GPU-a"]}, "An earlier run saw 2 GPUs here; 1 is seen now; GPU-b is gone. "),
    (
        "and-the-proof-has-run-since",
        proved(gpus=["GPU-a"], seen=["GPU-a", "GPU-b"]),
        {"gpus": ["GPU-a"]},
        "An earlier run saw 2 GPUs here; 1 is seen now; GPU-b is gone. ",
    ),
    ("all", proved(), {"gpus": []}, "An earlier run saw 2 GPUs here; 0 are seen now. "),
    ("one-changed-place", proved(), {"gpus": ["GPU-a", "GPU-c"]}, None),
    ("another-host", proved(), {"gpus": ["GPU-x"]}, None),
    ("unknown-now", proved(), {"gpus": None}, None),
    ("unknown-then", proved(gpus=None), {"gpus": ["GPU-a"]}, None),
    ("nothing-on-record", None, {"gpus": ["GPU-a"]}, None),
]


@pytest.mark.parametrize(("record", "now", "words"), [pytest.param(*row, id=name) for name, *row in LOST])
def test_fewer_gpus_than_an_earlier_run_saw_are_a_warning(
    record: Any, now: dict[str, Any], words: str | None, decide: Decide
) -> None:
    facts = host_now(**copy.deepcopy(now))
    facts["installed"] = {"state": {"verdict": "ok", "reach": record}}
    told = [text for text in decide(facts)["warnings"] if text.startswith("An earlier run saw")]
    expected = None if words is None else [f"{words}stack_plan_require: {{gpus: 2}} would refuse the host."]
    assert told == (expected or [])


@pytest.mark.parametrize(("record", "now", "because"), [pytest.param(*row, id=name) for name, *row in CASES])
def test_what_a_proof_reaches(record: Any, now: dict[str, Any], because: str | None, case: Any) -> None:
    facts = host_now(**copy.deepcopy(now))
    facts["installed"] = {"state": {"verdict": "ok", "reach": record}}
    assert why_lapsed(case(facts).host) == because


@pytest.fixture
def pod(host: Any, decide: Decide, applied: Any) -> Facts:
    """A converged pod whose environment was asked."""
    fresh = host("H100", DRIVER)
    pod = applied(fresh, decide(fresh, cuda="13.0"))
    pod["ways"] = {"environment": way()}
    pod["installed"]["state"]["reach"]["libcuda"] = library(OWN, DRIVER)
    return dict(pod)


def told(pod: Facts, decision: dict[str, Any], **more: Any) -> str:
    """The report on one line."""
    return " ".join(render_text(decision, pod, "pod", **more).split())


def test_a_proof_that_counts_is_told(pod: Facts, decide: Decide) -> None:
    decision = decide(pod, cuda="13.0")
    assert decision["changes"] == []
    assert f"this stack passed its checks here with driver {DRIVER}" in told(pod, decision)


def test_a_proof_that_lapsed_is_made_again_and_the_report_says_why(pod: Facts, decide: Decide) -> None:
    pod["installed"]["state"]["reach"]["libcuda"] = library(COMPAT, "580.95.05")
    decision = decide(pod, cuda="13.0")
    because = f"proved with libcuda 580.95.05; {DRIVER} is loaded now"
    assert [(row["role"], row["action"], row["from"]) for row in decision["changes"]] == [
        ("gpu_verify", "prove", because)
    ]
    assert f"~ proof the stack is proved again: {because}" in told(pod, decision)
    assert "passed its checks" not in told(pod, decision)
    assert f"~ proof the stack was proved again: {because}" in told(pod, decision, changed=decision["changes"])


@pytest.mark.parametrize(
    "outcome",
    [
        pytest.param({"verdict": "blocked"}, id="blocked"),
        pytest.param({"now": NOW}, id="does-not-work-now"),
    ],
)
def test_what_once_passed_is_not_told_where_it_does_not_work_now(
    outcome: dict[str, Any], pod: Facts, decide: Decide
) -> None:
    decision = decide(pod, cuda="13.0") | outcome
    assert "passed its checks" not in told(pod, decision)
