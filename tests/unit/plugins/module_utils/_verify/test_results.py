"""What the outcomes of a check's commands come to, in records and sentences."""

from __future__ import annotations

import dataclasses

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._verify.checks import CHECKS, Check, Finding, Settings
from ansible_collections.podsmith.gpu.plugins.module_utils._verify.results import AGAIN, conclude, lack, skip, summarize
from ansible_collections.podsmith.gpu.plugins.module_utils._verify.run import Job, Outcome
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue

SETTINGS = Settings(folder="/work", python="/usr/bin/python3")


def test_every_check_has_advice() -> None:
    assert set(AGAIN) == set(CHECKS)


def check_of(finding: Finding) -> Check:
    return Check("torch", (Job("torch", ("/env/bin/python", "/w/proof.py", "torch"), 9),), lambda outcomes: finding)


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        pytest.param(Outcome(None, "", 9.0, 9.0), "proof.py torch did not finish within 9 s.", id="hang"),
        pytest.param(
            Outcome(None, "", 0.0, 0.0, started=False),
            "proof.py torch was not started: the total time limit was reached.",
            id="no-time",
        ),
        pytest.param(
            Outcome(1, "Traceback\nModuleNotFoundError: No module named 'torch'", 1.0, 9.0),
            "proof.py torch exited with status 1: ModuleNotFoundError: No module named 'torch'.",
            id="status",
        ),
        pytest.param(Outcome(-11, "", 1.0, 9.0), "proof.py torch was killed by signal 11: no output.", id="signal"),
        pytest.param(Outcome(1, '{"call": "cuInit", "code": 803}', 1.0, 9.0), "cuInit returned 803.", id="cuda-error"),
        pytest.param(
            Outcome(1, '{"call": "cudaMalloc", "code": 2, "name": "cudaErrorMemoryAllocation"}', 1.0, 9.0),
            "cudaMalloc returned 2 (cudaErrorMemoryAllocation).",
            id="runtime-error",
        ),
        pytest.param(
            Outcome(1, '{"failure": "libcuda.so.1: cannot open"}', 1.0, 9.0),
            "proof.py torch exited with status 1: libcuda.so.1: cannot open.",
            id="failure",
        ),
    ],
)
def test_conclude_failed(outcome: Outcome, error: str) -> None:
    result = conclude(check_of(Finding()), {"torch": outcome}, SETTINGS)
    assert (result["ok"], result["error"]) == (False, error)
    assert result["advice"]
    assert result["evidence"]["output"] == outcome.output


@pytest.mark.parametrize(("name", "forked"), [("cuinit", False), ("torch", True)])
def test_advice_is_for_this_host_and_this_check(name: str, *, forked: bool, known: Catalogue) -> None:
    """What cuInit answers in a fresh process cannot come of a fork; what a program meets can."""
    rows = known["drivers"]["errors"]
    settings = dataclasses.replace(SETTINGS, errors=rows, host={"kind": "bare_metal", "flavor": "open"})
    check = Check(name, (Job(name, ("/env/bin/python", "/w/proof.py", name), 9),), lambda outcomes: Finding())
    result = conclude(check, {name: Outcome(1, '{"call": "cuInit", "code": 3}', 1.0, 9.0)}, settings)
    assert ("forked" in result["advice"]) is forked
    assert "uvm_disable_hmm=1" in result["advice"]


def test_conclude_tells_advice_and_warnings() -> None:
    finding = Finding(["It is hot."], advice="Cool it.", warnings=["It is loud."])
    result = conclude(check_of(finding), {"torch": Outcome(0, "", 1.0, 9.0)}, SETTINGS)
    assert (result["advice"], result["warnings"]) == ("Cool it.", ["It is loud."])


def test_conclude_ok_keeps_the_evidence() -> None:
    result = conclude(check_of(Finding(evidence={"version": "2"})), {"torch": Outcome(0, "x", 1.5, 9.0)}, SETTINGS)
    assert result == {
        "check": "torch",
        "ok": True,
        "seconds": 1.5,
        "evidence": {"commands": ["/env/bin/python /w/proof.py torch"], "version": "2"},
    }


def test_conclude_skipped_says_why() -> None:
    result = conclude(check_of(Finding(skipped="no compiler")), {"torch": Outcome(0, "", 1.5, 9.0)}, SETTINGS)
    assert (result["ok"], result["skipped"]) == (True, "no compiler")


def test_summarize() -> None:
    good = {"check": "nvcc", "ok": True}
    bad = {"check": "torch", "ok": False, "error": "torch is gone.", "advice": "Install it."}
    assert summarize([good, bad]) == "torch: torch is gone. Install it."
    assert summarize([good, skip("extension", "no compiler")]) == "1 checks passed; extension skipped: no compiler."
    warned = {"check": "health", "ok": True, "warnings": ["ECC is off."]}
    assert summarize([good, warned]) == "2 checks passed. health: ECC is off."
    assert summarize([lack("kernel", ["cuda_home"])]) == (
        "kernel: The check kernel was requested, but cuda_home is not set. "
        "Set cuda_home, or leave kernel out of the checks."
    )
