# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the words of extensions mean. Those of torchvision, torchaudio, torchcodec, torchao and xFormers are their own,
with PyTorch 2.13.0+cpu and their wheels on PyPI; the others are from reports."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._verify.judge_packages import (
    advise_packages,
    judge_packages,
    planned,
    warn_packages,
)

TORCH = "2.13.0+cpu"
XFORMERS = """\
WARNING[XFORMERS]: xFormers can't load C++/CUDA extensions. xFormers was built for:
    PyTorch 2.10.0+cu128 with CUDA 1208 (you have 2.13.0+cpu)
    Python  3.10.19 (you have 3.11.7)
  Please reinstall xformers (see https://github.com/facebookresearch/xformers#installing-xformers)
  Memory-efficient attention, SwiGLU, sparse and more won't be available.
"""
SYMBOL = (
    "ImportError: /v/flash_attn_2_cuda.cpython-312-x86_64-linux-gnu.so: undefined symbol: "
    "_ZN3c104cuda29c10_cuda_check_implementationEiPKcS2_ib"
)
TORCHAO = (
    "Failed to load /v/torchao/_C_cutlass_90a.abi3.so: Could not load this library: /v/torchao/_C_cutlass_90a.abi3.so"
)


def failed(error: str, output: str = "", code: int | None = 1) -> dict[str, Any]:
    return {"error": error, "code": code, "output": output or error}


def worked(version: str, module: str = "m", said: str = "", **more: Any) -> dict[str, Any]:
    return {"version": version, "module": module, "did": "an operation", "device": "cpu", "said": said, **more}


@pytest.mark.parametrize(
    ("name", "seen", "problem", "advice"),
    [
        pytest.param("vllm", worked("1"), None, None, id="well"),
        pytest.param("vllm", worked("1+cu129"), None, None, id="well-with-a-label"),
        pytest.param("vllm", worked("2"), "vllm is 2; expected 1.", None, id="another-version"),
        pytest.param(
            "xformers",
            worked("0.0.35", "xformers", XFORMERS),
            "xformers 0.0.35: its kernels are built for PyTorch 2.10.0+cu128 and are not loaded by PyTorch 2.13.0+cpu.",
            "This wheel is for PyTorch 2.10.0+cu128 alone",
            id="imports-and-has-no-kernels",
        ),
        pytest.param(
            "flash-attn",
            failed(SYMBOL),
            "flash-attn 1: its library was built for another PyTorch than PyTorch 2.13.0+cpu (undefined symbol _ZN3c10",
            "Install its wheel for this PyTorch, or leave it out",
            id="symbol-of-torch",
        ),
        pytest.param(
            "torchvision",
            failed("ImportError: /v/lib.so: undefined symbol: __nvJitLinkCreate_12_8, version libnvJitLink.so.12"),
            "torchvision 1: a library that it loads lacks the symbol __nvJitLinkCreate_12_8,",
            "an older one of the same name is found first",
            id="symbol-of-cuda",
        ),
        pytest.param(
            "torchvision",
            failed("RuntimeError: operator torchvision::nms does not exist"),
            "torchvision 1: its library was not loaded by PyTorch 2.13.0+cpu: the operator torchvision::nms is",
            "Install its build of the index that PyTorch is from",
            id="operator-is-missing",
        ),
        pytest.param(
            "torchaudio",
            failed(
                "ImportError: Could not load this library: /v/torchaudio/lib/_torchaudio.so",
                "OSError: libc10_cuda.so: cannot open shared object file: No such file or directory\n",
            ),
            "torchaudio 1: it is a build for CUDA, which needs libc10_cuda.so, and this PyTorch is for the CPU.",
            "Install its build for the CPU",
            id="cuda-build-beside-a-cpu-torch",
        ),
        pytest.param(
            "vllm",
            failed("ImportError: libcudart.so.13: cannot open shared object file: No such file or directory"),
            "vllm 1: it needs libcudart.so.13, which is not in this environment.",
            "Install its build for the CUDA in torch.version.cuda",
            id="another-cuda",
        ),
        pytest.param(
            "torchcodec",
            failed(
                "RuntimeError: Could not load libtorchcodec. Likely causes:", "libtorchcodec: libavutil.so.59: cannot"
            ),
            "torchcodec 1: it finds no FFmpeg library, by which it decodes.",
            "Install FFmpeg's libraries on the host",
            id="no-ffmpeg",
        ),
        pytest.param(
            "xformers",
            failed("NotImplementedError: No operator found for `memory_efficient_attention_forward` with inputs:"),
            "xformers 1: it has no kernel for this GPU and these inputs: NotImplementedError: No operator found for",
            "Leave it out on this GPU",
            id="no-kernel",
        ),
        pytest.param(
            "torchao", failed("no output", code=-6), "torchao 1: no output (killed by signal 6).", None, id="killed"
        ),
        pytest.param(
            "sglang",
            failed("it did not finish within 150 s", "importing", None),
            "sglang 1: it did not finish within 150 s.",
            None,
            id="hangs",
        ),
        pytest.param("sglang", None, "sglang 1: it was not tried.", None, id="not-in-the-record"),
    ],
)
def test_what_a_package_met(name: str, seen: Any, problem: str | None, advice: str | None) -> None:
    record = {"packages": {name: seen} if seen else {}, "ffmpeg": []}
    wanted = {name: "0.0.35" if name == "xformers" and seen and "version" in seen else "1"}
    found = judge_packages(record, wanted, TORCH)
    assert len(found) == (problem is not None)
    assert problem is None or found[0].startswith(problem.rstrip("."))
    told = advise_packages(record, wanted, TORCH)
    assert (told is None) == (advice is None), told
    assert advice is None or advice in str(told)


def test_an_ffmpeg_that_is_there_is_not_called_missing() -> None:
    record = {"packages": {"torchcodec": failed("RuntimeError: Could not load libtorchcodec.")}, "ffmpeg": [59]}
    assert judge_packages(record, {"torchcodec": "1"}) == ["torchcodec 1: RuntimeError: Could not load libtorchcodec."]


@pytest.mark.parametrize(
    ("name", "seen", "ffmpeg", "told"),
    [
        ("torchao", worked("1", said=TORCHAO), [], ["torchao works, but left out kernels of its own"]),
        ("torchcodec", worked("1"), [], ["torchcodec decodes images alone: there is no FFmpeg library here"]),
        ("torchcodec", worked("1"), [59], []),
        (
            "flashinfer-python",
            worked("1", untried="there is no nvcc"),
            [],
            ["imported alone: there is no nvcc"],
        ),
        (
            "flash-attn",
            worked("1", skipped="it cannot be imported without a GPU"),
            [],
            ["flash-attn was not tried"],
        ),
        ("vllm", worked("1"), [], []),
    ],
)
def test_what_is_to_be_known_although_it_works(name: str, seen: Any, ffmpeg: list[int], told: list[str]) -> None:
    found = warn_packages({"packages": {name: seen}, "ffmpeg": ffmpeg}, {name: "1"})
    assert len(found) == len(told)
    assert all(part in text for part, text in zip(told, found, strict=True))


def test_what_is_planned_is_asked_for_by_its_package() -> None:
    extensions = {
        "cupy": {"version": "14.2.0", "requirement": "cupy-cuda13x==14.2.0", "index": "pypi"},
        "vllm": {"version": "0.31.0", "requirement": "vllm==0.31.0+cu129", "index": "https://wheels.example"},
        "nvidia-cutlass-dsl": {"version": "4.8.1", "requirement": "nvidia-cutlass-dsl[cu13]==4.8.1", "index": "pypi"},
        "triton": {"version": "3.8.0", "requirement": None, "index": "cu130"},
        "xformers": {"skipped": "it needs CUDA"},
    }
    assert planned(extensions) == {
        "cupy-cuda13x": "14.2.0",
        "vllm": "0.31.0+cu129",
        "nvidia-cutlass-dsl": "4.8.1",
        "triton": "3.8.0",
    }
