"""Which variables a wish for a run-time setting becomes, for which PyTorch, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.settings import (
    all_choices,
    choose_settings,
    refuse,
)
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
        pytest.param({"nccl_p2p": False}, {"NCCL_P2P_DISABLE": "1"}, id="no-peer-to-peer"),
        pytest.param({"nccl_p2p": True}, {"NCCL_P2P_DISABLE": "0"}, id="peer-to-peer"),
        pytest.param({"nccl_shm": False}, {"NCCL_SHM_DISABLE": "1"}, id="no-shared-memory"),
        pytest.param({"nccl_ib": False}, {"NCCL_IB_DISABLE": "1"}, id="no-infiniband"),
        pytest.param({"nccl_debug": "info"}, {"NCCL_DEBUG": "INFO"}, id="nccl-tells"),
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


@pytest.mark.parametrize(
    ("gpus", "wished", "words"),
    [
        pytest.param(
            ["H100"],
            {"nccl_p2p": False},
            ["settings.nccl_p2p is set: it is about two GPUs of one host, and this host has one GPU"],
            id="one-gpu",
        ),
        pytest.param(["H100", "H100"], {"nccl_p2p": False, "nccl_shm": False, "nccl_debug": "warn"}, [], id="two"),
        pytest.param(
            ["H100", "H100"],
            {"nccl_ib": False},
            ["settings.nccl_ib is set: it is about GPUs of several hosts, and this host has 2 GPUs; it changes"],
            id="between-hosts",
        ),
    ],
)
def test_what_changes_nothing_on_a_host_is_told(
    gpus: list[str], wished: dict[str, Any], words: list[str], host: Callable[..., Any], decide: Callable[..., Any]
) -> None:
    decision = decide(host(gpus), cuda="13.0", settings=wished)
    assert decision["verdict"] == "ok"
    assert len(decision["settings"]) == len(wished)
    found = [text for text in decision["warnings"] if text.startswith("settings.")]
    assert len(found) == len(words)
    assert all(text.startswith(start) for text, start in zip(found, words, strict=True))


@pytest.mark.parametrize(
    ("gpus", "torch", "words"),
    [
        pytest.param(["RTX5090", "RTX5090"], "2.7.1", "NCCL 2.26.2, which PyTorch 2.7 requires", id="two-rtx-5090"),
        pytest.param(["RTX5090"], "2.7.1", "", id="one"),
        pytest.param(["RTX5090", "RTX5090"], "2.8", "", id="a-newer-nccl"),
        pytest.param(["H100", "H100"], "2.7.1", "", id="hopper"),
    ],
)
def test_a_fault_of_nccl_is_told_where_it_is_to_be_expected(
    gpus: list[str], torch: str, words: str, host: Callable[..., Any], decide: Callable[..., Any]
) -> None:
    warnings = decide(host(gpus), pytorch=torch, cuda="12.8")["warnings"]
    assert [text[: len(words)] for text in warnings if "NCCL" in text] == ([words] if words else [])


def test_vgpus_have_no_peer_to_peer(host: Callable[..., Any], decide: Callable[..., Any]) -> None:
    facts = host(["A6000", "A6000"], kind="vm")
    assert not any("vGPUs" in text for text in decide(facts, cuda="13.0")["warnings"])
    for device in facts["devices"]:
        device["name"] = "NVIDIA RTXA6000-24Q"
    assert any("Between vGPUs there is no peer-to-peer" in text for text in decide(facts, cuda="13.0")["warnings"])


def test_without_pytorch_there_is_no_nccl(known: Catalogue) -> None:
    assert chosen(known, None, nccl_p2p=False, nccl_debug="info") == {}


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


@pytest.mark.parametrize(
    ("kinds", "torch", "segments", "variables"),
    [
        pytest.param({"wsl2"}, "2.13.0", True, set(), id="wsl"),
        pytest.param({"wsl2"}, "2.9.1", True, set(), id="wsl-older-name"),
        pytest.param({"wsl2"}, "2.13.0", False, {"PYTORCH_ALLOC_CONF"}, id="wsl-off"),
        pytest.param({"vm", "vgpu"}, "2.13.0", True, set(), id="vgpu"),
        pytest.param({"vm", "vgpu"}, "2.13.0", False, {"PYTORCH_ALLOC_CONF"}, id="vgpu-off"),
        pytest.param({"bare_metal", "tegra"}, "2.13.0", True, set(), id="tegra"),
        pytest.param({"container"}, "2.13.0", True, {"PYTORCH_ALLOC_CONF"}, id="container"),
        pytest.param({"bare_metal"}, "2.9.1", True, {"PYTORCH_CUDA_ALLOC_CONF"}, id="bare-metal"),
        pytest.param(set(), "2.13.0", True, {"PYTORCH_ALLOC_CONF"}, id="kind-unknown"),
        pytest.param({"wsl2"}, None, True, set(), id="no-pytorch"),
        pytest.param({"wsl2"}, "2.13.0", None, set(), id="not-requested"),
    ],
)
def test_what_breaks_on_a_kind_of_host_is_not_set_there(
    kinds: set[str], torch: str | None, segments: bool | None, variables: set[str], known: Catalogue
) -> None:
    """Expandable segments fail at the first allocation under WSL2 (error 999), and on vGPU and Tegra."""
    wished = parse_request({"settings": {"expandable_segments": segments}}).settings
    assert {one.variable for one in choose_settings(wished, torch, known, kinds)} == variables
    refused = refuse(wished, torch, known, kinds)
    assert set(refused) == ({"expandable_segments"} if segments and torch and not variables else set())


@pytest.mark.parametrize(
    ("segments", "verdict", "rejected"), [(True, "degraded", ["settings.expandable_segments"]), (False, "ok", [])]
)
def test_a_plan_for_wsl_says_that_expandable_segments_are_not_set(
    segments: bool, verdict: str, rejected: list[str], host: Callable[..., Any], decide: Callable[..., Any]
) -> None:
    observed = host("RTX4090", "581.42", kind="wsl2")
    observed["driver"]["flavor"] = "windows"
    decision = decide(observed, cuda="13.0", pytorch="2.11", settings={"expandable_segments": segments})
    assert decision["verdict"] == verdict
    assert [row["option"] for row in decision["rejected"] if row["option"].startswith("settings")] == rejected
    told = [row["because"] for row in decision["rejected"] if row["option"] == "settings.expandable_segments"]
    assert all(text.startswith("true is not set here: under WSL2, PyTorch's first allocation") for text in told)
    remedy = (
        "Leave settings.expandable_segments out of the request for this host; to try it all the same, set"
        " PYTORCH_ALLOC_CONF=expandable_segments:True in your own environment."
    )
    assert (remedy in decision["remedies"]) is segments
    assert [row["value"] for row in decision["settings"]] == ([] if segments else ["expandable_segments:False"])
    assert not any("less fragmentation" in reason["text"] for reason in decision["reasons"])


def test_the_recorded_request_for_expandable_segments_on_wsl(decide: Callable[..., Any]) -> None:
    """A workstation with Windows driver 581.42 whose first allocation failed: pytorch issue 192330."""
    observed = {
        "platform": {
            "kind": "wsl2",
            "os": {"id": "ubuntu", "version": "24.04", "family": "debian"},
            "arch": "x86_64",
            "glibc": "2.39",
            "root": True,
            "pythons": [{"path": "/usr/bin/python3", "version": "3.12"}],
        },
        "driver": {"status": "ok", "version": "581.42", "flavor": "windows"},
        "devices": [{"index": 0, "name": "NVIDIA RTX A4000", "compute_capability": "8.6", "brand_id": 13}],
    }
    decision = decide(observed, cuda="13.0", pytorch="2.11", settings={"expandable_segments": True})
    assert (decision["verdict"], decision["settings"]) == ("degraded", [])
