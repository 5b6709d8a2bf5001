"""Extensions whose wheels are built for a newer CUDA of PyTorch's major than the one whose libraries PyTorch brings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.decision import to_decision
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.plan import resolve

Decide = Callable[..., dict[str, Any]]


@pytest.fixture
def decide_with_one(known: Catalogue) -> Decide:
    """The decision where vLLM has one release: for PyTorch 2.13.0, for CUDA 13 on PyPI, elsewhere for CUDA 12.9."""
    row = known["pypi"]["packages"]["vllm"]["0.31.0"]
    variants = {"cu129": {"cuda": "12.9", "index": "https://wheels.vllm.ai/0.31.0/cu129", "architectures": ["x86_64"]}}
    rows = {"0.31.0": {**row, "requires": {"torch": "==2.13.0"}, "cuda": "13.0", "variants": variants}}
    packages = {**known["pypi"]["packages"], "vllm": rows}
    catalogue = {**known, "pypi": {**known["pypi"], "packages": packages}}

    def call(observed: dict[str, Any], **wished: Any) -> dict[str, Any]:
        return to_decision(resolve(observed, wished, catalogue))

    return call


@pytest.mark.parametrize(
    ("gpu", "driver", "torch", "route"),
    [
        pytest.param("A6000", "570.86.10", "2.13.0+cu129", "minor_version", id="not-cu126-by-the-driver-itself"),
        pytest.param("RTX3090", "560.35.03", "2.13.0+cu129", "minor_version", id="of-560-as-well"),
        pytest.param("A6000", "535.183.01", "2.13.0+cu129", "minor_version", id="both-by-minor-version"),
        pytest.param("A6000", "575.57.08", "2.13.0+cu129", "native", id="both-native"),
        pytest.param("A6000", "580.95.05", "2.13.0+cu130", "native", id="pypi-s-own"),
    ],
)
def test_pytorch_is_on_the_cuda_of_the_wheels(
    gpu: str, driver: str, torch: str, route: str, host: Any, decide_with_one: Decide
) -> None:
    decision = decide_with_one(host(gpu, driver), extensions=["vllm"])
    assert (decision["pytorch"]["local"], decision["route"], decision["verdict"]) == (torch, route, "ok")
    assert not any("brings the libraries" in text for text in decision["warnings"])


def test_why_it_is_not_the_older_cuda(host: Any, decide_with_one: Decide) -> None:
    rejected = decide_with_one(host("A6000", "570.86.10"), extensions=["vllm"])["rejected"]
    told = {entry["option"]: entry["because"] for entry in rejected}
    assert told["PyTorch 2.13.0+cu126"] == "a wheel of the extensions is built for the newer CUDA 12.9"
    assert "native cu130 of PyTorch 2.13.0 to 2.15.0" in told  # what was met before is told as well


def test_a_named_cuda_stays_and_the_difference_is_told(host: Any, decide_with_one: Decide) -> None:
    decision = decide_with_one(host("A6000", "570.86.10"), cuda="12.6", pytorch="2.13", extensions=["vllm"])
    assert (decision["pytorch"]["local"], decision["extensions"]["vllm"]["requirement"]) == (
        "2.13.0+cu126",
        "vllm==0.31.0+cu129",
    )
    assert (
        "vllm 0.31.0 is built for CUDA 12.9, and PyTorch 2.13.0+cu126 brings the libraries of CUDA 12.6: what these "
        "lack fails when it is called. The proof imports it and runs one operation."
    ) in decision["warnings"]


def test_what_needs_no_minor_version_compatibility_is_told_once(host: Any, decide_with_one: Decide) -> None:
    """Only of the build that is taken, not of all that were met on the way to it."""
    rejected = decide_with_one(host("H100", "580.95.05"), extensions=["vllm"])["rejected"]
    told = [entry for entry in rejected if "needs no minor-version compatibility" in entry["because"]]
    assert told == [
        {
            "option": "minor_version cu132 of PyTorch 2.15.0",
            "because": "PyTorch 2.13.0+cu130 needs no minor-version compatibility",
        }
    ]
