"""Which variables a wish for a run-time setting becomes, for which PyTorch, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.settings import all_choices, choose_settings
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import parse_request

TF32 = "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"


def chosen(known: Catalogue, torch: str | None = "2.13.0", **wished: Any) -> dict[str | None, str]:
    settings = choose_settings(parse_request({"settings": wished}).settings, torch, known)
    return {one.variable: one.value for one in settings}


@pytest.mark.parametrize(
    ("wished", "expected"),
    [
        pytest.param({}, {}, id="nothing"),
        pytest.param({"tf32": None, "module_loading": None}, {}, id="null"),
        pytest.param({"tf32": True}, {TF32: "1"}, id="tf32"),
        # cuDNN's convolutions use TF32 by default: PyTorch's own variable does not reach them.
        pytest.param({"tf32": False}, {TF32: "0", "NVIDIA_TF32_OVERRIDE": "0"}, id="no-tf32-anywhere"),
        pytest.param({"module_loading": "lazy"}, {"CUDA_MODULE_LOADING": "LAZY"}, id="lazy"),
        pytest.param({"module_loading": "eager"}, {"CUDA_MODULE_LOADING": "EAGER"}, id="eager"),
        pytest.param({"expandable_segments": True}, {"PYTORCH_ALLOC_CONF": "expandable_segments:True"}, id="segments"),
        pytest.param({"expandable_segments": False}, {"PYTORCH_ALLOC_CONF": "expandable_segments:False"}, id="fixed"),
        pytest.param({"cudnn_benchmark": True}, {None: "torch.backends.cudnn.benchmark = True"}, id="no-variable"),
        pytest.param({"cudnn_benchmark": False}, {None: "torch.backends.cudnn.benchmark = False"}, id="nor-for-off"),
    ],
)
def test_the_variables_of_a_wish(wished: dict[str, Any], expected: dict[str | None, str], known: Catalogue) -> None:
    assert chosen(known, **wished) == expected


@pytest.mark.parametrize(
    ("torch", "names"),
    [
        ("2.8.0", {TF32, "CUDA_MODULE_LOADING", "PYTORCH_CUDA_ALLOC_CONF"}),
        ("2.9.1", {TF32, "CUDA_MODULE_LOADING", "PYTORCH_CUDA_ALLOC_CONF"}),
        ("2.10.0", {TF32, "CUDA_MODULE_LOADING", "PYTORCH_CUDA_ALLOC_CONF"}),
        ("2.11.0+cu130", {TF32, "CUDA_MODULE_LOADING", "PYTORCH_ALLOC_CONF"}),
        ("2.15.0", {TF32, "CUDA_MODULE_LOADING", "PYTORCH_ALLOC_CONF"}),
        (None, {"CUDA_MODULE_LOADING"}),
    ],
)
def test_the_names_that_this_pytorch_reads(torch: str | None, names: set[str], known: Catalogue) -> None:
    assert set(chosen(known, torch, tf32=True, module_loading="lazy", expandable_segments=True)) == names


def test_an_older_name_of_the_allocator_keeps_the_newer_one_out(known: Catalogue) -> None:
    """The newer name would outweigh what a user has written in the older one."""
    (one,) = choose_settings(parse_request({"settings": {"expandable_segments": True}}).settings, "2.13.0", known)
    assert one.unless == ("PYTORCH_CUDA_ALLOC_CONF",)


def test_the_variable_that_does_not_exist_is_never_set(known: Catalogue) -> None:
    names = {one.variable for torch in ("2.8.0", "2.13.0", None) for row in all_choices(torch, known) for one in row}
    assert "CUDNN_ALLOW_TF32_CUBLAS_OVERRIDE" not in names
    assert names >= {*known["settings"]["variables"], None}


def test_the_decision_says_what_each_does_and_since_when_it_is_the_default(
    host: Callable[..., Any], decide: Callable[..., Any]
) -> None:
    wished = {"module_loading": "lazy", "tf32": False, "cudnn_benchmark": True}
    decision = decide(host(), pytorch="2.9", settings=wished)
    told = [reason for reason in decision["reasons"] if reason["rule"] == "setting"]
    assert [reason["text"].partition("=")[0] for reason in told] == [
        TF32,
        "NVIDIA_TF32_OVERRIDE",
        "CUDA_MODULE_LOADING",
    ]
    assert "since CUDA 12.2 on Linux and 12.3 on Windows" in told[2]["text"]
    assert all(reason["source"] for reason in told)
    assert any("write torch.backends.cudnn.benchmark = True in the program" in text for text in decision["warnings"])
    assert [row["variable"] for row in decision["settings"]] == [
        TF32,
        "NVIDIA_TF32_OVERRIDE",
        "CUDA_MODULE_LOADING",
        None,
    ]
    assert decision["environment"]["settings"] == decision["settings"]


def test_without_a_wish_nothing_is_set_and_nothing_said(host: Callable[..., Any], decide: Callable[..., Any]) -> None:
    decision = decide(host())
    assert (decision["settings"], decision["environment"]["settings"]) == ([], [])
    assert not [reason for reason in decision["reasons"] if reason["rule"] == "setting"]
