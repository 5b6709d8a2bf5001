# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operations that are measured: how each is built, and what it must compute."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import benchmark_counts as counts
import benchmark_models as models
import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

DTYPES = {
    "fp64": torch.float64,
    "fp32": torch.float32,
    "tf32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}
BACKENDS = {
    "math": SDPBackend.MATH,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
}
SAMPLE = 256  # rows, and columns, of a result that are compared with the reference
MIB = 2**20


@dataclass(frozen=True)
class Operation:
    """What is timed; ``error`` runs it once and gives its distance from the reference, see ``deviation``.

    ``backend`` names what does the work, ``baseline`` is what its time is compared with.
    """

    run: Callable[[], Any]
    error: Callable[[], float]
    backend: str | None = None
    baseline: Callable[[], Any] | None = None


def deviation(found: Any, reference: Any) -> float:
    """The largest distance relative to the wanted value or, if larger, its row's root mean square; inf: no number."""
    found, reference = found.double(), reference.double()
    if not bool(torch.isfinite(found).all()):
        return math.inf
    size = torch.maximum(reference.abs(), reference.square().mean(dim=-1, keepdim=True).sqrt())
    return float(((found - reference).abs() / size.clamp_min(torch.finfo(torch.float64).tiny)).max())


def differing(found: Any, wanted: Any) -> float:
    """The share of the elements that are not the same; 0 where a copy is one."""
    return float((found != wanted.to(found.device)).double().mean())


def set_precision(precision: str) -> None:
    """Let float32 operations round their inputs to TF32, or not."""
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"


def sampled(length: int, device: torch.device) -> Any:
    """The indices of the rows that are compared."""
    return torch.tensor(counts.evenly(length, SAMPLE), device=device)


# --- products of matrices ---


def matmul(batch: int, size: int, precision: str, device: torch.device) -> Operation:
    """A product of two square matrices, or of ``batch`` pairs."""
    shape = (batch, size, size) if batch > 1 else (size, size)
    left, right = (torch.randn(shape, device=device, dtype=DTYPES[precision]) for _side in range(2))

    def error() -> float:
        rows = sampled(size, device)
        product, a, b = (tensor if batch == 1 else tensor[-1] for tensor in (left @ right, left, right))
        return deviation(product[rows][:, rows], a[rows].double() @ b[:, rows].double())

    return Operation(lambda: left @ right, error)


def scaled_matmul(size: int, device: torch.device) -> Operation:
    """A product in fp8 (e4m3) with one scale a matrix and fast accumulation, stored as bf16."""
    left = torch.randn(size, size, device=device).to(torch.float8_e4m3fn)
    right = torch.randn(size, size, device=device).to(torch.float8_e4m3fn).t()
    one = torch.ones((), device=device)

    def run() -> Any:
        return torch._scaled_mm(left, right, one, one, out_dtype=torch.bfloat16, use_fast_accum=True)

    def error() -> float:
        rows = sampled(size, device)
        return deviation(run()[rows][:, rows], left.float()[rows].double() @ right.float()[:, rows].double())

    return Operation(run, error)


def linear(tokens: int, into: int, out: int, precision: str, device: torch.device) -> Operation:
    """A linear layer with bias."""
    x = torch.randn(tokens, into, device=device, dtype=DTYPES[precision])
    weight = torch.randn(out, into, device=device, dtype=DTYPES[precision])
    bias = torch.randn(out, device=device, dtype=DTYPES[precision])

    def error() -> float:
        rows, columns = sampled(tokens, device), sampled(out, device)
        reference = functional.linear(x[rows].double(), weight[columns].double(), bias[columns].double())
        return deviation(functional.linear(x, weight, bias)[rows][:, columns], reference)

    return Operation(lambda: functional.linear(x, weight, bias), error)


# --- convolutions ---


def convolution(
    batch: int, channels: tuple[int, int], side: int, kernel: int, groups: int, precision: str, device: torch.device
) -> Operation:
    """A convolution that keeps the size, channels last."""
    dtype, order = DTYPES[precision], torch.channels_last
    x = torch.randn(batch, channels[0], side, side, device=device, dtype=dtype).to(memory_format=order)
    weight = torch.randn(channels[1], channels[0] // groups, kernel, kernel, device=device, dtype=dtype)
    weight = weight.to(memory_format=order)

    def run(images: Any = x, filters: Any = weight) -> Any:
        return functional.conv2d(images, filters, padding=kernel // 2, groups=groups)

    return Operation(run, lambda: deviation(run()[-1:], run(x[-1:].double(), weight.double())))


# --- attention ---


def attention(
    sizes: tuple[int, int, int, int], precision: str, backend: str | None, device: torch.device, *, causal: bool
) -> Operation:
    """scaled_dot_product_attention of (batch, heads, tokens, width), by one backend or the one that PyTorch chooses."""
    query, key, value = (torch.randn(sizes, device=device, dtype=DTYPES[precision]) for _input in range(3))
    attend = functools.partial(functional.scaled_dot_product_attention, query, key, value, is_causal=causal)

    def run() -> Any:
        if backend is None:
            return attend()
        with sdpa_kernel(BACKENDS[backend]):
            return attend()

    def error() -> float:
        rows = sampled(sizes[2], device)
        q, k, v = (tensor[-1, -1].double() for tensor in (query, key, value))
        scores = q[rows] @ k.T / sizes[3] ** 0.5
        if causal:
            later = torch.arange(sizes[2], device=device) > rows[:, None]
            scores = scores.masked_fill(later, -math.inf)
        return deviation(run()[-1, -1][rows], scores.softmax(dim=-1) @ v)

    return Operation(run, error, backend or chosen_backend(query, key, value, causal=causal))


def chosen_backend(query: Any, key: Any, value: Any, *, causal: bool) -> str | None:
    """The backend that PyTorch chooses for these inputs; None where it does not tell."""
    try:
        choice = torch._fused_sdp_choice(query, key, value, is_causal=causal)
    except (AttributeError, RuntimeError):
        return None
    return next((name for name, backend in BACKENDS.items() if int(backend) == int(choice)), None)


# --- element by element, and memory ---


def layer_norm(rows: int, width: int, precision: str, device: torch.device) -> Operation:
    """A layer normalisation over the last dimension."""
    x = torch.randn(rows, width, device=device, dtype=DTYPES[precision])
    weight, bias = (torch.randn(width, device=device, dtype=DTYPES[precision]) for _parameter in range(2))

    def error() -> float:
        some = sampled(rows, device)
        reference = functional.layer_norm(x[some].double(), (width,), weight.double(), bias.double())
        return deviation(functional.layer_norm(x, (width,), weight, bias)[some], reference)

    return Operation(lambda: functional.layer_norm(x, (width,), weight, bias), error)


def softmax(rows: int, width: int, precision: str, device: torch.device) -> Operation:
    """A softmax over the last dimension."""
    x = torch.randn(rows, width, device=device, dtype=DTYPES[precision])

    def error() -> float:
        some = sampled(rows, device)
        return deviation(x.softmax(dim=-1)[some], x[some].double().softmax(dim=-1))

    return Operation(lambda: x.softmax(dim=-1), error)


def memory(kind: str, size: int, device: torch.device) -> Operation:
    """A pass over the device's memory: write, copy, or a sum of two into a third ("triad")."""
    first, second, third = (torch.randn(size // 4, device=device) for _tensor in range(3))
    if kind == "write":
        return Operation(lambda: first.fill_(1.5), lambda: differing(first.fill_(1.5), torch.tensor(1.5)))
    if kind == "copy":
        return Operation(lambda: first.copy_(second), lambda: differing(first.copy_(second), second))

    def error() -> float:
        torch.add(first, second, alpha=3.0, out=third)
        return deviation(third[:MIB], first[:MIB].double() + 3.0 * second[:MIB].double())

    return Operation(lambda: torch.add(first, second, alpha=3.0, out=third), error)


def transfer(size: int, device: torch.device, *, to_device: bool, pinned: bool) -> Operation:
    """A copy between the host's memory and a device's."""
    there = torch.randint(256, (size,), dtype=torch.uint8, device=device)
    here = torch.randint(256, (size,), dtype=torch.uint8)
    if pinned and device.type == "cuda":
        here = here.pin_memory()
    source, target = (here, there) if to_device else (there, here)

    def error() -> float:
        target.copy_(source)
        return differing(there, here)

    return Operation(lambda: target.copy_(source, non_blocking=pinned), error)


def peer_copy(size: int, source: torch.device, target: torch.device, link: str) -> Operation:
    """A copy from one device to another."""
    values = torch.randint(256, (size,), dtype=torch.uint8, device=source)
    copied = torch.zeros(size, dtype=torch.uint8, device=target)
    return Operation(
        lambda: copied.copy_(values, non_blocking=True), lambda: differing(copied.copy_(values), values), link
    )


# --- networks ---


def network(
    model: Any, inputs: Any, backend: str, *, compiled: bool, last: Callable[[Any], Any] = lambda output: output[-1:]
) -> Operation:
    """A forward pass; ``compiled`` by torch.compile, with the pass as it is for a baseline.

    The reference is the same network with the same weights in fp64, for the last of the inputs.
    """

    def eager() -> Any:
        return model(inputs)

    run = torch.compile(model, mode="reduce-overhead", dynamic=False) if compiled else model

    def error() -> float:
        exact = copy.deepcopy(model).double()
        return deviation(last(run(inputs)), exact(inputs[-1:].double()))

    return Operation(lambda: run(inputs), error, backend, eager if compiled else None)


def resnet50(batch: int, side: int, precision: str, device: torch.device, *, compiled: bool = False) -> Operation:
    """Inference of ResNet-50, channels last."""
    model, origin = models.resnet50()
    order = {"device": device, "dtype": DTYPES[precision], "memory_format": torch.channels_last}
    images = torch.randn(batch, 3, side, side, device=device).to(**order)
    return network(model.eval().to(**order), images, origin, compiled=compiled)


def encoder(
    batch: int, tokens: int, width: int, precision: str, device: torch.device, *, compiled: bool = False
) -> Operation:
    """Inference of a transformer encoder."""
    model = models.encoder(width).eval().to(device=device, dtype=DTYPES[precision])
    x = torch.randn(batch, tokens, width, device=device, dtype=DTYPES[precision])
    return network(model, x, "torch.nn.TransformerEncoder", compiled=compiled)
