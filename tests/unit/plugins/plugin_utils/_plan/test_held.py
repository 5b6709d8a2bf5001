# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts are given of the packages that are published for several CUDAs, and what is held beside PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.builds import least_glibc
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.held import built_with, held_parts

Decide = Callable[..., dict[str, Any]]
VLLM = "https://wheels.vllm.ai"


@pytest.mark.parametrize(
    ("torch", "index", "arch", "glibc"),
    [
        ("2.6.0", "cu124", "x86_64", "2.17"),
        ("2.6.0", "cu126", "x86_64", "2.28"),  # the first of PyTorch's indexes on manylinux 2.28
        ("2.6.0", "cpu", "aarch64", "2.28"),
        ("2.15.0", "cu132", "x86_64", "2.28"),
    ],
)
def test_the_c_library_of_an_index(torch: str, index: str, arch: str, glibc: str, known: Catalogue) -> None:
    assert least_glibc(known["pytorch"]["releases"][torch], index, arch) == glibc


@pytest.mark.parametrize(
    ("torch", "cuda", "held"),
    [
        ("2.15.0", "13.2", ("nvidia-cuda-cccl==13.2.86", "nvidia-nvjitlink==13.2.86")),
        ("2.15.0", "13.0", ()),  # another index, whose METADATA is not on PyPI
        ("2.14.1", "13.0", ("nvidia-nvjitlink==13.0.88",)),
        ("2.9.1", "12.8", ()),
        ("2.15.0", None, ()),
        ("2.99.0", "13.2", ()),
    ],
)
def test_what_is_held_of_a_cuda(torch: str, cuda: str | None, held: tuple[str, ...], known: Catalogue) -> None:
    assert held_parts(torch, cuda, known) == held


# --- hosts ---


@pytest.mark.parametrize(
    ("machine", "wished", "name", "requirement", "index"),
    [
        pytest.param(
            {"gpu": "A100", "driver": "570.133.20"},
            {"cuda": "12.9", "pytorch": "2.13.0"},
            "vllm",
            "vllm==0.31.0+cu129",
            f"{VLLM}/0.31.0/cu129",
            id="vllm-for-cuda-12",
        ),
        pytest.param(
            {"gpu": "RTX5090", "driver": "580.95.05"},
            {"cuda": "13.0", "pytorch": "2.9.1"},
            "vllm",
            "vllm==0.16.0+cu130",
            f"{VLLM}/0.16.0/cu130",
            id="vllm-for-cuda-13",
        ),
        pytest.param(
            {"gpu": "H100", "driver": "580.95.05"},
            {"cuda": "13.0", "pytorch": "2.14.1"},
            "cupy",
            "cupy-cuda13x==14.2.0",
            "pypi",
            id="cupy-13",
        ),
        pytest.param(
            {"gpu": "H100", "driver": "550.163.01"},
            {"cuda": "12.6", "pytorch": "2.14.1"},
            "cupy",
            "cupy-cuda12x==14.2.0",
            "pypi",
            id="cupy-12",
        ),
        pytest.param(
            {"gpu": "H100", "driver": "580.95.05"},
            {"cuda": "13.0", "pytorch": "2.14.1"},
            "nvidia-cutlass-dsl",
            "nvidia-cutlass-dsl[cu13]==4.8.1",
            "pypi",
            id="an-extra-for-cuda-13",
        ),
        pytest.param(
            {"gpu": "H100", "driver": "550.163.01"},
            {"cuda": "12.6", "pytorch": "2.14.1"},
            "torchcodec",
            "torchcodec==0.14.0+cu126",
            "cu126",
            id="torchcodec-from-pytorchs-index",
        ),
        pytest.param(
            {"gpu": None, "driver": None},
            {"pytorch": "2.14.1"},
            "torchcodec",
            "torchcodec==0.17.0+cpu",
            "cpu",
            id="torchcodec-without-cuda",
        ),
        pytest.param(
            {"gpu": "H100", "driver": "550.163.01"},
            {"cuda": "12.6", "pytorch": "2.14.1"},
            "torchvision",
            "torchvision==0.29.1+cu126",
            "cu126",
            id="torchvision-of-a-torch-with-cuda-12",
        ),
        pytest.param(
            {"gpu": "H100", "driver": "595.58.03"},
            {"cuda": "13.2", "pytorch": "2.15.0"},
            "torchaudio",
            "torchaudio==2.11.1+cu132",
            "cu132",
            id="torchaudio-is-no-longer-exact",
        ),
    ],
)
def test_what_is_asked_for(
    machine: Any, wished: Any, name: str, requirement: str, index: str, host: Any, decide: Decide
) -> None:
    decision = decide(host(**machine), **wished, extensions=[name])
    entry = decision["extensions"][requirement.partition("==")[0] if name == "cupy" else name]
    assert (entry.get("requirement"), entry.get("index")) == (requirement, index), entry
    assert not any("[" in pin for pin in decision["environment"]["constraints"])  # pip allows no extras in them


@pytest.mark.parametrize(
    ("glibc", "cuda", "pytorch", "name", "skipped"),
    [
        pytest.param("2.31", "13.0", "2.14.1", "sglang", "needs glibc 2.34; found 2.31", id="sglang"),
        pytest.param("2.28", "12.8", "2.10.0", "vllm", "needs glibc 2.31; found 2.28", id="vllm"),
        pytest.param("2.39", "13.0", "2.14.1", "transformer-engine", "published as source only", id="instead"),
    ],
)
def test_what_cannot_be_had(
    glibc: str, cuda: str, pytorch: str, name: str, skipped: str, host: Any, decide: Decide
) -> None:
    observed = host("H100", "580.95.05")
    observed["platform"]["glibc"] = glibc
    entry = decide(observed, cuda=cuda, pytorch=pytorch, extensions=[name])["extensions"][name]
    assert skipped in entry.get("skipped", ""), entry


def test_the_advice_to_compile_is_for_what_can_be_compiled(known: Catalogue) -> None:
    for name, about in known["extensions"]["packages"].items():
        if not about["wheels"]:
            assert ("instead" in about) != (name in known["source"]["packages"]), name


def test_torch_keeps_its_own_nvjitlink(host: Any, decide: Decide) -> None:
    decision = decide(host("H100", "595.58.03"), cuda="13.2", pytorch="2.15.0")
    assert decision["environment"]["constraints"] == [
        "torch==2.15.0+cu132",
        "nvidia-cuda-cccl==13.2.86",
        "nvidia-nvjitlink==13.2.86",
    ]


def test_an_alternative_that_is_there_is_not_installed_again(host: Any, decide: Decide, applied: Any) -> None:
    wished = {"cuda": "13.0", "pytorch": "2.14.1", "extensions": ["cupy", "nvidia-cutlass-dsl"]}
    fresh = host("H100", "580.95.05")
    again = decide(applied(fresh, decide(fresh, **wished)), **wished)
    assert again["changes"] == []


def test_the_torch_whose_indexes_have_a_release(known: Catalogue) -> None:
    """torchvision 0.29.2 serves PyTorch from 2.14 on; its builds are for the CUDAs of 2.15."""
    rows = known["pypi"]["packages"]
    assert built_with(rows["torchvision"]["0.29.2"], "0.29.2") == built_with(rows["torchaudio"]["2.11.1"], "2.11.1")
    assert built_with(rows["torchvision"]["0.29.2"], "0.29.2") == "2.15.0"
    assert built_with(rows["torchaudio"]["2.9.1"], "2.9.1") == "2.9.1"


def test_the_proof_uses_each_extension_where_one_is_planned(host: Any, decide: Decide) -> None:
    observed = host("H100", "580.95.05")
    for wished, proved in ((["vllm"], True), (["torchvision"], True), (["transformer-engine"], False), ([], False)):
        decision = decide(observed, cuda="13.0", pytorch="2.14.0", extensions=wished)
        assert ("packages" in decision["proof"]["checks"]) is proved, wished
