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
    assert not any("has the libraries" in text for text in decision["warnings"])


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
        "vllm 0.31.0 is built for CUDA 12.9, and PyTorch 2.13.0+cu126 has the libraries of CUDA 12.6: what these "
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


def test_the_reason_names_the_cuda_that_was_left(host: Any, decide: Decide) -> None:
    decision = decide(host("RTX5090", "570.133.20"), pytorch="2.11", extensions=["vllm"])
    assert decision["pytorch"]["local"] == "2.11.0+cu129"
    because = "the extensions' wheels are built for another CUDA than 12.8"
    assert f"PyTorch 2.11.0+cu129 is chosen for the extensions: on PyTorch 2.11.0+cu128, {because}" in [
        entry["text"] for entry in decision["reasons"]
    ]
    told = [entry["because"] for entry in decision["rejected"] if entry["option"] == "PyTorch 2.11.0+cu128"]
    assert told == [because]
    newer = [text for text in decision["remedies"] if "575.51.03 or newer" in text]
    assert [text.partition(" (")[0] for text in newer] == [
        "Use a host with driver 575.51.03 or newer: it compiles PTX of CUDA 12.9."
    ]


@pytest.mark.parametrize(
    ("gpu", "arch", "wish", "cuda", "remedy"),
    [
        pytest.param("GB10", "aarch64", {"cuda": "12.9", "pytorch": "2.9.1"}, "13.0", "13.0", id="not-cu128-on-12.1"),
        pytest.param("GB10", "aarch64", {"cuda": "12.9", "pytorch": "2.11"}, "13.0", "13.0", id="nor-with-2.11"),
        pytest.param("B300", "x86_64", {"cuda": "12.9", "pytorch": "2.7"}, "12.8", "12.8", id="there-is-no-other"),
        pytest.param("GH200", "aarch64", {"cuda": "12.9", "pytorch": "2.9.1"}, "12.8", "12.8", id="known-to-12.8"),
    ],
)
def test_what_stands_in_compiles_for_the_gpu(
    gpu: str, arch: str, wish: Any, cuda: str, remedy: str, host: Any, decide: Decide
) -> None:
    """Machine code for a like GPU runs; Triton and nvcc of a CUDA that does not know the GPU do not."""
    decision = decide(host(gpu, "580.95.05", arch=arch), **wish)
    assert (decision["route"], decision["cuda"], decision["verdict"]) == ("fallback", cuda, "degraded")
    assert any(text.startswith(f'Set cuda: "{remedy}"') for text in decision["remedies"])


def test_what_stands_in_stays_a_fallback(host: Any, decide: Decide) -> None:
    """PyTorch 2.15 is for CUDA 13 alone: what is taken in its place is on the CUDA of the wheels, and no native run."""
    decision = decide(host("A6000", "570.86.10", kind="wsl2"), pytorch="2.15", extensions=["vllm"])
    assert (decision["route"], decision["verdict"]) == ("fallback", "degraded")
    assert decision["pytorch"]["local"] == "2.13.0+cu129"


def test_ptx_is_not_told_as_machine_code(host: Any, decide: Decide) -> None:
    """A GPU newer than every machine code there is: the newest release with PTX, which its driver compiles."""
    observed = host("H100", "700.10")
    observed["devices"][0] |= {"name": "NVIDIA Z", "compute_capability": "13.0"}
    texts = [entry["text"] for entry in decide(observed)["reasons"]]
    assert (
        "PyTorch 2.10.0+cu130 has PTX (compute_120), which the driver compiles for NVIDIA Z (compute capability 13.0)"
    ) in texts
