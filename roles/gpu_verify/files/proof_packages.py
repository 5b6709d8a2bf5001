# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check packages: each extension is imported in a process of its own and does one small operation.

A wheel may be installed, accepted by pip's own check, and yet fit no PyTorch here: its library is loaded at import, or
only when an operation asks for it. What an operation computes is compared with PyTorch's own.
"""

# ruff: noqa: PLC0415 - each package is there in some environments alone

from __future__ import annotations

import ctypes
import importlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

Record = dict[str, Any]

WORKERS = 2
LIMIT_S = 150.0  # seconds for one package: the largest import for most of a minute from a cold disk
MARGIN_S = 5.0  # seconds that are left to tell what was seen
OUTPUT = 6000  # characters of a package's own words that are kept, from their end
FFMPEG = range(56, 62)  # the versions of libavutil that belong to FFmpeg 4 to 9
TOLERANCE = 2e-2  # of half precision, for values of about one


class UnusableError(Exception):
    """The operation cannot be tried here, for a reason that is none of the package's."""


class Use(NamedTuple):
    """What Python imports, and what is then done with it on ``cuda`` or ``cpu``; it returns what was done, in words.

    ``gpu_only``: without a GPU the package is imported alone; ``imports``: not even that works without one.
    """

    module: str
    operate: Callable[[Any, str], str]
    gpu_only: bool = True
    imports: bool = True


def _same(found: Any, wanted: Any, tolerance: float = TOLERANCE) -> None:
    """Raise ArithmeticError where two tensors differ by more than the tolerance."""
    difference = float((found.detach().cpu().double() - wanted.detach().cpu().double()).abs().max())
    if math.isnan(difference) or difference > tolerance:
        raise ArithmeticError(f"the result is off by {difference:.3g}")


def _drawn(device: str, *shape: int, half: bool = True) -> Any:
    import torch

    values = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    return values.to(device, torch.float16 if half and device == "cuda" else torch.float32)


def _torchvision(module: Any, device: str) -> str:
    import torch

    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30]], device=device)
    kept = module.ops.nms(boxes, torch.tensor([0.9, 0.8, 0.7], device=device), 0.5).tolist()
    if kept != [0, 2]:
        raise ArithmeticError(f"non-maximum suppression kept {kept} of three boxes; expected [0, 2]")
    return "ops.nms"


def _torchaudio(_module: Any, device: str) -> str:
    import torch

    wave = torch.sin(torch.arange(16000, dtype=torch.float32) * (2 * torch.pi * 440 / 16000))
    found = importlib.import_module("torchaudio.functional").resample(wave.to(device), 16000, 8000)
    wanted = torch.sin(torch.arange(8000, dtype=torch.float32) * (2 * torch.pi * 440 / 8000))
    _same(found[100:-100], wanted[100:-100], 5e-2)
    return "functional.resample"


def _triton(_module: Any, _device: str) -> str:
    from proof_triton import run

    if wrong := run(0)["wrong"]:
        raise ArithmeticError(f"a kernel computed {wrong} wrong numbers")
    return "a kernel"


def _attention(device: str) -> tuple[list[Any], Any]:
    """Queries, keys and values as (batch, length, heads, depth), and what PyTorch makes of them."""
    import torch

    drawn = [_drawn(device, 1, 64, 4, 64) for _unused in range(3)]
    heads = [one.transpose(1, 2).float() for one in drawn]
    return drawn, torch.nn.functional.scaled_dot_product_attention(*heads).transpose(1, 2)


def _xformers(_module: Any, device: str) -> str:
    from xformers import ops
    from xformers.ops import fmha

    drawn, wanted = _attention(device)
    _same(ops.memory_efficient_attention(*drawn), wanted)
    used = fmha._dispatch_fw(fmha.Inputs(*drawn), needs_gradient=False) if hasattr(fmha, "_dispatch_fw") else None
    return f"memory_efficient_attention ({used.NAME})" if used else "memory_efficient_attention"


def _flash_attn(module: Any, device: str) -> str:
    drawn, wanted = _attention(device)
    _same(module.flash_attn_func(*drawn), wanted)
    return "flash_attn_func"


def _bitsandbytes(module: Any, device: str) -> str:
    import torch

    values = _drawn(device, 64, 64, half=False)
    packed, state = module.functional.quantize_blockwise(values)
    _same(module.functional.dequantize_blockwise(packed, state), values, 0.1)
    if device == "cpu":
        return "functional.quantize_blockwise"
    weight = torch.nn.Parameter(_drawn(device, 64, 128, half=False))
    before = weight.detach().clone()
    optimizer = module.optim.Adam8bit([weight], lr=0.1)
    weight.square().sum().backward()
    optimizer.step()
    if not bool((weight.detach().abs() < before.abs() + 0.11).all()) or bool((weight == before).all()):
        raise ArithmeticError("a step of Adam8bit moved the weights where they do not belong")
    return "functional.quantize_blockwise, optim.Adam8bit"


def _fbgemm(_module: Any, device: str) -> str:
    import torch

    sums = torch.ops.fbgemm.asynchronous_complete_cumsum(torch.tensor([3, 1, 4], device=device)).tolist()
    if sums != [0, 3, 4, 8]:
        raise ArithmeticError(f"the cumulative sum of 3, 1, 4 is {sums}")
    return "asynchronous_complete_cumsum"


def _gated(device: str) -> tuple[Any, Any]:
    """Values, and the SiLU of their first half times their second."""
    import torch

    values = _drawn(device, 8, 256)
    first, second = values.float().chunk(2, dim=-1)
    return values, torch.nn.functional.silu(first) * second


def _vllm(_module: Any, device: str) -> str:
    import torch

    importlib.import_module("vllm._custom_ops")  # loads its library, or says why it cannot
    values, wanted = _gated(device)
    out = torch.empty_like(values[:, :128])
    torch.ops._C.silu_and_mul(out, values)
    _same(out, wanted)
    return "silu_and_mul"


def _sglang(_module: Any, device: str) -> str:
    kernels = importlib.import_module("sgl_kernel")
    if not hasattr(kernels, "silu_and_mul"):
        return "the import of sgl_kernel"
    values, wanted = _gated(device)
    _same(kernels.silu_and_mul(values), wanted)
    return "sgl_kernel.silu_and_mul"


def _unsloth(_module: Any, device: str) -> str:
    import torch
    from unsloth.kernels import swiglu_fg_kernel

    one, other = _drawn(device, 1, 8, 128), _drawn(device, 1, 8, 128).flip(-1).contiguous()
    _same(swiglu_fg_kernel(one, other), torch.nn.functional.silu(one.float()) * other.float())
    return "kernels.swiglu_fg_kernel"


def _torchcodec(_module: Any, _device: str) -> str:
    import torch

    try:
        from torchcodec.decoders import decode_image
        from torchcodec.encoders import PngEncoder
    except ImportError:  # a release that decodes by FFmpeg alone, which its import has loaded
        return "the import of its decoder"
    image = torch.arange(3 * 8 * 8, dtype=torch.uint8).reshape(3, 8, 8)
    _same(decode_image(PngEncoder(image).to_tensor()), image, 0.0)
    return "decode_image"


def _torchao(module: Any, device: str) -> str:
    import torch

    layer = torch.nn.Linear(64, 64, bias=False).to(device, torch.bfloat16 if device == "cuda" else torch.float32)
    values = _drawn(device, 4, 64, half=False).to(layer.weight.dtype)
    wanted = layer(values)
    quantization = importlib.import_module("torchao.quantization")
    config = getattr(quantization, "Int8WeightOnlyConfig", None) or quantization.int8_weight_only
    module.quantize_(layer, config())
    _same(layer(values), wanted, 0.1)
    return "quantize_ to int8 weights"


def _flashinfer(module: Any, device: str) -> str:
    import torch

    home = os.environ.get("CUDA_HOME")
    if not (shutil.which("nvcc") or (home and Path(home, "bin", "nvcc").exists())):
        raise UnusableError("its kernels are compiled when they are first used, and there is no nvcc here")
    values, weight = _drawn(device, 8, 128), torch.ones(128, device=device, dtype=torch.float16)
    wanted = values.float() * torch.rsqrt(values.float().square().mean(-1, keepdim=True) + 1e-6)
    _same(module.norm.rmsnorm(values, weight), wanted)
    return "norm.rmsnorm"


def _cupy(module: Any, _device: str) -> str:
    total = int(module.arange(1000).sum())
    if total != 499500:
        raise ArithmeticError(f"the sum of 0 to 999 is {total}")
    return "arange(1000).sum()"


def _cuda_python(_module: Any, _device: str) -> str:
    driver = importlib.import_module("cuda.bindings.driver")
    status, version = driver.cuDriverGetVersion()
    if int(status) or version < 1000:
        raise ArithmeticError(f"cuDriverGetVersion returned {int(status)} and version {version}")
    return f"cuDriverGetVersion: {version // 1000}.{version % 1000 // 10}"


def _cutlass(_module: Any, _device: str) -> str:
    importlib.import_module("cutlass.cute")
    return "the import of cutlass.cute"


def _transformer_engine(module: Any, device: str) -> str:
    import torch

    layer = module.RMSNorm(128, eps=1e-6, params_dtype=torch.float32, device=device)
    values = _drawn(device, 8, 128, half=False)
    _same(layer(values), values * torch.rsqrt(values.square().mean(-1, keepdim=True) + 1e-6))
    return "RMSNorm"


def _deepspeed(_module: Any, _device: str) -> str:
    from deepspeed.runtime.utils import get_global_norm

    if abs(float(get_global_norm([3.0, 4.0])) - 5.0) > 1e-6:
        raise ArithmeticError("the norm of 3 and 4 is not 5")
    return "runtime.utils.get_global_norm"


def _causal_conv1d(module: Any, device: str) -> str:
    import torch

    values, weight = _drawn(device, 1, 16, 32), _drawn(device, 16, 4)
    padded = torch.nn.functional.pad(values.float(), (3, 0))
    wanted = torch.nn.functional.conv1d(padded, weight.float().unsqueeze(1), groups=16)
    _same(module.causal_conv1d_fn(values, weight), wanted, 5e-2)
    return "causal_conv1d_fn"


def _mamba_ssm(_module: Any, device: str) -> str:
    from mamba_ssm.ops import selective_scan_interface as scan

    u, delta = _drawn(device, 1, 8, 32, half=False), _drawn(device, 1, 8, 32, half=False).abs()
    a, b, c = -_drawn(device, 8, 4, half=False).abs(), *(_drawn(device, 1, 4, 32, half=False) for _unused in range(2))
    _same(scan.selective_scan_fn(u, delta, a, b, c), scan.selective_scan_ref(u, delta, a, b, c), 1e-2)
    return "selective_scan_fn"


def _gsplat(module: Any, device: str) -> str:
    import torch

    turns, sizes = torch.tensor([[1.0, 0, 0, 0]], device=device), torch.tensor([[1.0, 2, 3]], device=device)
    found, _unused = module.quat_scale_to_covar_preci(turns, sizes, compute_preci=False)
    _same(found[0], torch.diag(torch.tensor([1.0, 4, 9])), 1e-4)
    return "quat_scale_to_covar_preci"


def _torch_scatter(module: Any, device: str) -> str:
    import torch

    sums = module.scatter(torch.tensor([1.0, 2, 4], device=device), torch.tensor([0, 1, 0], device=device)).tolist()
    if sums != [5.0, 2.0]:
        raise ArithmeticError(f"the scattered sums are {sums}; expected [5.0, 2.0]")
    return "scatter"


USES: dict[str, Use] = {
    "torchvision": Use("torchvision", _torchvision, gpu_only=False),
    "torchaudio": Use("torchaudio", _torchaudio, gpu_only=False),
    "triton": Use("triton", _triton),
    "xformers": Use("xformers", _xformers),
    "vllm": Use("vllm", _vllm),
    "bitsandbytes": Use("bitsandbytes", _bitsandbytes, gpu_only=False),
    "flash-attn": Use("flash_attn", _flash_attn, imports=False),
    "fbgemm-gpu": Use("fbgemm_gpu", _fbgemm, gpu_only=False),
    "torchcodec": Use("torchcodec", _torchcodec, gpu_only=False),
    "torchao": Use("torchao", _torchao, gpu_only=False),
    "flashinfer-python": Use("flashinfer", _flashinfer),
    "nvidia-cutlass-dsl": Use("cutlass", _cutlass, gpu_only=False),
    "cupy-cuda12x": Use("cupy", _cupy),
    "cupy-cuda13x": Use("cupy", _cupy),
    "cuda-python": Use("cuda.bindings", _cuda_python),
    "sglang": Use("sglang", _sglang),
    "unsloth": Use("unsloth", _unsloth, imports=False),
    "deepspeed": Use("deepspeed", _deepspeed, gpu_only=False),
    "causal-conv1d": Use("causal_conv1d", _causal_conv1d, imports=False),
    "mamba-ssm": Use("mamba_ssm", _mamba_ssm, imports=False),
    "transformer-engine": Use("transformer_engine.pytorch", _transformer_engine, imports=False),
    "gsplat": Use("gsplat", _gsplat),
    "torch-scatter": Use("torch_scatter", _torch_scatter, gpu_only=False),
}


def package(name: str, *devices: str) -> Record:
    """Import one package and do its operation: ``{version, module, did, device}``; ``skipped``: it was not tried."""
    from importlib import metadata

    use = USES[name]
    record: Record = {"version": metadata.version(name), "module": use.module}
    device = "cuda" if "gpu" in devices else "cpu"
    if device == "cpu" and not use.imports:
        return {**record, "skipped": "it cannot be imported without a GPU"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            module = importlib.import_module(use.module)
        except OSError as error:  # of a library that is loaded by its path
            raise ImportError(str(error)) from error
        if device == "cpu" and use.gpu_only:
            return {**record, "did": "the import", "device": device}
        try:
            return {**record, "did": use.operate(module, device), "device": device}
        except UnusableError as reason:
            return {**record, "did": "the import", "device": device, "untried": str(reason)}


def packages(seconds: str, *arguments: str) -> Record:
    """Each package in a process of its own: name → its record, or ``{error, code, output}`` for what it met.

    ``arguments``: names, and ``gpu`` first where there is one. A process that does not answer in time is killed, with
    all that it started.
    """
    devices, names = (("gpu",), arguments[1:]) if arguments[:1] == ("gpu",) else ((), arguments)
    deadline = time.monotonic() + float(seconds) - MARGIN_S
    with ThreadPoolExecutor(WORKERS) as pool:
        records = list(pool.map(lambda name: _apart(name, devices, deadline), names))
    return {"packages": dict(zip(names, records)), "ffmpeg": find_ffmpeg()}


def _apart(name: str, devices: tuple[str, ...], deadline: float) -> Record:
    limit = min(LIMIT_S, deadline - time.monotonic())
    if limit <= 0:
        return {"error": "no time was left for it", "code": None, "output": ""}
    program = Path(sys.argv[0]).with_name("proof.py")
    argv = [sys.executable, "-W", "ignore", str(program), "package", name, *devices]
    begun = time.monotonic()
    child = subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True
    )
    try:
        output, _unused = child.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        output, _unused = child.communicate()
        return {"error": f"it did not finish within {limit:.0f} s", "code": None, "output": output[-OUTPUT:]}
    record = next((line for line in reversed(output.splitlines()) if line.startswith('{"version"')), None)
    if child.returncode or record is None:
        return {"error": last_line(output), "code": child.returncode, "output": output[-OUTPUT:]}
    answered = json.loads(record)
    said = output.replace(record, "").strip()[-OUTPUT:]
    return {**answered, "said": said, "seconds": round(time.monotonic() - begun, 1)}


def last_line(output: str) -> str:
    """The line that names an exception, else the last: a traceback ends with it, and some packages write on."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    named = [line for line in lines if line.split(":")[0].endswith(("Error", "Exception", "Interrupt"))]
    return (named or lines or ["it gave no reason"])[-1][:500]


def find_ffmpeg() -> list[int]:
    """The versions of libavutil that the loader finds here; torchcodec decodes video by one of these."""
    found = []
    for version in FFMPEG:
        try:
            ctypes.CDLL(f"libavutil.so.{version}")
        except OSError:
            continue
        found.append(version)
    return found
