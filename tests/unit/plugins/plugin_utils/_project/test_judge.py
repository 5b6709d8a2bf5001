"""What is wrong with the PyTorch of an environment, and what is installed and removed."""

from __future__ import annotations

from typing import Any

import pytest
from projects import environment, plan, project

MIXED = {"12": ["nvidia-cublas-cu12", "nvidia-nccl-cu12"], "13": ["nvidia-cublas"]}


@pytest.mark.parametrize(
    ("there", "verdict", "requirements_", "removed"),
    [
        pytest.param(environment("2.10.0+cu126", "12.6"), "ok", None, None, id="right"),
        pytest.param(environment("2.10.0", "12.6"), "ok", None, None, id="right-without-a-label"),
        pytest.param(environment("2.10.0", "12.8"), "swapped", ["torch==2.10.0+cu126"], [], id="another-cuda"),
        pytest.param(
            environment("2.10.0+cu130", "13.0"),
            "swapped",
            ["torch==2.10.0+cu126"],
            ["nvidia-cublas"],
            id="another-major",
        ),
        pytest.param(environment("2.10.0+cpu", None), "swapped", ["torch==2.10.0+cu126"], [], id="for-the-cpu"),
        pytest.param(environment(None), "missing", ["torch==2.11.0+cu126"], [], id="not-installed"),
        pytest.param(
            environment("2.10.0+cu126", "12.6", majors=MIXED),
            "mixed",
            ["torch==2.10.0+cu126"],
            ["nvidia-cublas"],
            id="mixed",
        ),
        pytest.param(
            environment("2.10.0+cu126", "12.6", majors=MIXED, needed_by={"nvidia-cublas": ["cupy"]}),
            "mixed",
            ["torch==2.10.0+cu126"],
            [],
            id="mixed-and-needed",
        ),
        pytest.param(
            environment("2.10.0+cu126", "12.6", lacks=["nvidia-nccl-cu12==2.27.5"]),
            "damaged",
            ["torch==2.10.0+cu126", "nvidia-nccl-cu12==2.27.5"],
            [],
            id="a-library-is-gone",
        ),
    ],
)
def test_verdict(
    there: dict[str, Any], verdict: str, requirements_: list[str] | None, removed: list[str] | None
) -> None:
    found = plan(
        project(environment=there, texts={"pyproject.toml": '[project]\ndependencies = ["torch<2.12"]\n'}),
        pytorch=None if there["torch"] else "2.11.0",
    )
    packages = found["packages"] or {"requirements": None, "remove": None}
    assert (found["verdict"], packages["requirements"], packages["remove"]) == (verdict, requirements_, removed)


def test_what_is_damaged_is_brought_anew() -> None:
    there = environment("2.10.0+cu126", "12.6", broken=["nvidia-nccl-cu12", "nvidia-cublas"], majors=MIXED)
    packages = plan(project(environment=there))["packages"]
    assert (packages["reinstall"], packages["remove"]) == (["nvidia-nccl-cu12"], ["nvidia-cublas"])


def test_a_library_that_others_need_is_told() -> None:
    there = environment("2.10.0+cu126", "12.6", majors=MIXED, needed_by={"nvidia-cublas": ["cupy"]})
    assert "nvidia-cublas is kept, because cupy needs it" in " ".join(plan(project(environment=there))["notes"])


def test_companions_keep_their_release() -> None:
    there = environment("2.10.0", "12.8", packages={"torchvision": "0.25.0"})
    found = plan(project(environment=there))
    assert found["expected"]["packages"] == {"torch": "2.10.0+cu126", "torchvision": "0.25.0+cu126"}
    assert "torchvision 0.25.0 is installed; expected 0.25.0+cu126" in found["why"]


def test_pypis_own_build_is_asked_for_by_the_name_it_has_there() -> None:
    """It calls itself 2.9.1+cu128, and its distribution is 2.9.1."""
    there = environment("2.9.1+cu128", "12.8", packages={"torchvision": "0.24.1"})
    found = plan(project(environment=there), cuda="12.8")
    assert (found["verdict"], found["packages"]) == ("ok", None)
    constraints = next(row["content"] for row in found["fence"] if row["what"] == "podsmith-constraints.txt")
    assert "torch==2.9.1\ntorchvision==0.24.1\n" in constraints


def test_a_companion_of_another_release_is_replaced() -> None:
    there = environment("2.10.0+cu126", "12.6", packages={"torchvision": "0.24.1+cu126"})
    found = plan(project(environment=there))
    assert found["expected"]["packages"]["torchvision"] == "0.25.0+cu126"
    assert found["verdict"] == "swapped"
