"""The profile of a WSL2 workstation, by its own file: Windows' drivers, both CUDAs, and what extensions come to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[5]
Decide = Callable[..., dict[str, Any]]
DRIVER_WORDS = ("cuda-drivers", "nvidia-open", "nvidia-driver", "libcuda1", "libnvidia")


def wish(cuda: str | None = None) -> dict[str, Any]:
    """The profile's wish, with its one variable filled in."""
    profile = yaml.safe_load((ROOT / "inventories/example/group_vars/wsl2.yml").read_text(encoding="utf-8"))
    request: dict[str, Any] = profile["stack_plan_request"]
    assert request["cuda"] == "{{ wsl2_cuda }}"
    return request | {"cuda": cuda or profile["wsl2_cuda"]}


CASES = [
    # GPU, Windows driver, wish, route, CUDA, what is said
    pytest.param("RTX4090", "581.42", None, ("native", "12.6"), "supports CUDA 13.0", id="stable"),
    pytest.param("RTX4090", "581.42", "13.0", ("native", "13.0"), "supports CUDA 13.0", id="next"),
    pytest.param("RTX4090", "566.36", None, ("native", "12.6"), "supports CUDA 12.7", id="old-driver-stable"),
    pytest.param(
        "RTX4090", "566.36", "13.0", ("fallback", "12.6"), "566.36 is older than 580, which CUDA 13 needs",
        id="old-driver-next",
    ),
    pytest.param(
        "RTX4090", "528.33", None, ("minor_version", "12.6"), "is at least 528.33, enough for compiled code",
        id="oldest-for-cuda-12",
    ),
    pytest.param(
        "RTX4090", "527.41", None, ("fallback", "11.8"), "527.41 is older than 528.33, which CUDA 12 needs",
        id="too-old-for-cuda-12",
    ),
    pytest.param(
        "RTX5090", "566.36", "13.0", ("blocked", None), "(Blackwell) needs Windows driver 570.65; found 566.36",
        id="blackwell-old-driver",
    ),
    pytest.param("RTX5090", "581.42", "13.0", ("native", "13.0"), "supports CUDA 13.0", id="blackwell-next"),
    pytest.param(
        "RTX5090", "581.42", None, ("fallback", "13.0"), "no machine code for NVIDIA GeForce RTX 5090 (sm_120)",
        id="blackwell-stable",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("gpu", "driver", "cuda", "wanted", "told"), CASES)
def test_windows_drivers_are_judged_by_windows_column(
    gpu: str, driver: str, cuda: str | None, wanted: tuple[str, str | None], told: str, host: Any, decide: Decide
) -> None:
    decision = decide(host(gpu, driver, kind="wsl2"), **wish(cuda))
    assert (decision["route"], decision["cuda"]) == wanted
    texts = [row["text"] for row in decision["reasons"]] + [row["because"] for row in decision["rejected"]]
    assert any(told in text for text in texts)
    assert decision["forward_compat"]["enabled"] is False
    assert not any("reboot" in remedy.lower() for remedy in decision["remedies"])


@pytest.mark.parametrize(("cuda", "major"), [("12.6", "12"), ("13.0", "13")])
def test_nvidias_repository_for_wsl_and_no_driver(cuda: str, major: str, host: Any, decide: Decide) -> None:
    toolkit = decide(host("RTX4090", "581.42", kind="wsl2"), **wish(cuda))["toolkit"]
    assert (toolkit["provider"], toolkit["repository"]) == ("apt", "wsl-ubuntu")
    assert [
        name for name in toolkit["packages"] if name.startswith(DRIVER_WORDS) or name in ("cuda", f"cuda-{major}")
    ] == []
    pypi = decide(host("RTX4090", "581.42", kind="wsl2"), **wish(cuda), toolkit={"provider": "pypi"})
    assert (pypi["toolkit"] or {}).get("provider") == ("pypi" if cuda == "13.0" else None)


@pytest.mark.parametrize(
    ("cuda", "pytorch", "wanted"),
    [
        pytest.param(
            "12.6", "newest",
            {"torchvision": None, "triton": None, "xformers": "+cu126", "bitsandbytes": "bitsandbytes=="}, id="stable",
        ),
        pytest.param(
            "13.0", "newest",
            {"torchvision": None, "triton": None, "xformers": "+cu130", "bitsandbytes": "bitsandbytes=="}, id="next",
        ),
        pytest.param("12.6", "2.9.1", {"xformers": "0.0.33.post2+cu126"}, id="pinned"),
        pytest.param("13.0", "2.9.1", {"xformers": "0.0.33.post2+cu130"}, id="pinned-next"),
    ],
)  # fmt: skip
def test_extensions_fit_the_chosen_cuda(
    cuda: str, pytorch: str, wanted: dict[str, str | None], host: Any, decide: Decide
) -> None:
    """None: it comes with PyTorch itself."""
    decision = decide(host("RTX4090", "581.42", kind="wsl2"), **wish(cuda), pytorch=pytorch)
    for name, part in wanted.items():
        entry = decision["extensions"][name]
        assert "skipped" not in entry, entry
        requirement = entry["requirement"] or ""
        assert part in requirement if part else entry["index"] == decision["pytorch"]["index"]


@pytest.mark.parametrize(
    ("gpu", "cuda", "pytorch", "name", "because"),
    [
        ("RTX4090", "12.6", "2.14.1", "vllm", "0.33.0 requires torch 2.14.0"),
        ("RTX4090", "12.6", "2.14.1", "cupy-cuda13x", "14.2.0 is built for CUDA 13.0, not for CUDA 12.6"),
        ("GTX1080", "12.6", "newest", "xformers", "it needs compute capability 7.5; found 6.1"),
        ("M60", "12.6", "newest", "bitsandbytes", "it needs compute capability 6.0; found 5.2"),
    ],
)
def test_what_is_skipped_says_why(
    gpu: str, cuda: str, pytorch: str, name: str, because: str, host: Any, decide: Decide
) -> None:
    request = wish(cuda) | {"pytorch": pytorch, "extensions": [*wish()["extensions"], name]}
    entry = decide(host(gpu, "581.42", kind="wsl2"), **request)["extensions"][name]
    assert because in entry["skipped"]


def test_both_environments_stand_side_by_side(host: Any, decide: Decide, applied: Any) -> None:
    """The stable one, the next one, and back: the third is a proof and a switch, and so is the fourth."""
    machine = host("RTX4090", "581.42", kind="wsl2")
    for cuda in ("12.6", "13.0"):
        machine = applied(machine, decide(machine, **wish(cuda)))
    names = machine["installed"]["environments"]
    assert len(names) == 2
    for cuda, name in zip(("12.6", "13.0", "12.6"), (*names, names[0]), strict=True):
        decision = decide(machine, **wish(cuda))
        assert (decision["environment"]["name"], decision["download"]["mib"]) == (name, 0)
        assert {change["action"] for change in decision["changes"]} == {"prove", "switch"}
        machine = applied(machine, decision)
        assert decide(machine, **wish(cuda))["changes"] == []


def test_without_root_the_toolkit_is_what_is_missing(host: Any, decide: Decide) -> None:
    decision = decide(host("RTX4090", "581.42", kind="wsl2", root=False), **wish())
    assert (decision["verdict"], decision["environment"]["scope"]) == ("degraded", "user")
    assert any("PyPI has no compiler of CUDA 12.6" in row["because"] for row in decision["rejected"])
