"""Whether a CUTLASS release, and the toolkit that compiles it, have instructions for what they are wanted for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Decide = Callable[..., dict[str, Any]]
Observe = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("gpu", "wish", "because", "remedy"),
    [
        pytest.param(
            "B200",
            {"cutlass": "3.5.1"},
            "CUTLASS 3.5.1 has no instructions for 10.0a (NVIDIA B200); 3.8.0 was the first",
            'Set cutlass: "3.8.0", which has them.',
            id="gpu-newer-than-cutlass",
        ),
        pytest.param(
            "GB10",
            {"cutlass": "4.1.0"},
            "CUTLASS 4.1.0 has no instructions for 12.1a (NVIDIA GB10); 4.2.0 was the first",
            'Set cutlass: "4.2.0", which has them.',
            id="gb10",
        ),
        pytest.param(
            "H100",
            {"cutlass": "3.8.0", "architectures": ["9.0a", "12.0f"]},
            "CUTLASS 3.8.0 has no instructions for 12.0a (architectures: 12.0f); 3.9.0 was the first",
            'Set cutlass: "3.9.0", which has them.',
            id="requested-target",
        ),
        pytest.param(
            "B300",
            {"cutlass": "newest", "cuda": "12.8"},
            "CUTLASS needs CUDA 12.9 for 10.3a (NVIDIA B300); found CUDA toolkit 12.8",
            'Set cuda: "12.9".',
            id="toolkit-too-old",
        ),
        pytest.param(
            "H100",
            {"cutlass": "newest", "architectures": ["9.0a", "10.7a"]},
            "no CUTLASS release in the catalogue is known to have instructions for 10.7a (architectures: 10.7a)",
            "What is compiled with CUTLASS uses those of older GPUs there, where it compiles.",
            id="in-no-row",
        ),
    ],
)
def test_a_target_that_it_does_not_know_is_named(
    gpu: str, wish: dict[str, Any], because: str, remedy: str, host: Observe, decide: Decide
) -> None:
    decision = decide(host(gpu), **wish)
    assert decision["verdict"] == "degraded"
    assert because in [row["because"] for row in decision["rejected"] if row["option"] == "cutlass"]
    assert remedy in decision["remedies"]
    assert decision["cutlass"], "the headers are there for what else they serve"


@pytest.mark.parametrize(
    ("gpu", "wish"),
    [
        pytest.param("B200", {"cutlass": "3.8.0"}, id="b200"),
        pytest.param("GB10", {"cutlass": "4.2.0"}, id="gb10"),
        pytest.param("B300", {"cutlass": "newest", "cuda": "12.9"}, id="b300-on-12.9"),
        pytest.param("A100", {"cutlass": "3.5.1"}, id="no-instructions-of-its-own"),
        pytest.param("H100", {"cutlass": "3.5.1", "architectures": ["9.0", "12.0"]}, id="targets-without-a-suffix"),
        pytest.param("B200", {}, id="no-cutlass"),
    ],
)
def test_what_its_remedies_ask_for_is_right(gpu: str, wish: dict[str, Any], host: Observe, decide: Decide) -> None:
    decision = decide(host(gpu), **wish)
    assert (decision["verdict"], [row for row in decision["rejected"] if row["option"] == "cutlass"]) == ("ok", [])


def test_a_newer_toolkit_that_this_driver_does_not_run_is_not_advised(host: Observe, decide: Decide) -> None:
    """GeForce on 570: CUDA 12 by minor-version compatibility, and no CUDA 13 at all."""
    decision = decide(host("RTX5090", "570.133.20"), cutlass="newest", cuda="12.8", architectures=["12.0", "11.0a"])
    assert "found CUDA toolkit 12.8" in " ".join(row["because"] for row in decision["rejected"])
    assert not any(text.startswith("Set cuda") for text in decision["remedies"])
