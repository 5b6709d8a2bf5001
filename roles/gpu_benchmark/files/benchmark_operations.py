# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operations that are measured: how each is built, what it must compute, and how much work it is."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterator
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


@dataclass(frozen=True)
class Case:
    """An operation of one shape in one precision.

    ``unit`` is what its headline figure is in, ``peak`` the figure of the data sheet that bounds it, ``items`` what it
    processes (for ``unit`` "images/s"). ``everywhere`` cases run on each device, the others on ``device``. ``needs_s``
    is the time that must be left for it to begin.
    """

    name: str
    precision: str
    shape: str
    build: Callable[[torch.device], Operation]
    unit: str
    peak: str | None = None
    flops: float | None = None
    bytes: float | None = None
    items: int | None = None
    tolerance: float = 0.0
    everywhere: bool = False
    device: int = 0
    needs_s: float = 0.0


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


# --- the cases of a level ---

# Shapes of each level. "tiny" runs anywhere and proves only that the operations are right.
SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {
        "gemm": [(64, ["fp64", "fp32", "bf16", "fp16", "fp8"])],
        "batched_gemm": [(3, 32)],
        "linear": [(16, 32, 48)],
        "conv2d": [(2, (4, 8), 8, 3)],
        "depthwise": [(2, 4, 8, 3)],
        "attention": [((2, 3, 40, 16), [None, "math"])],
        "rows": [(8, 64)],
        "resnet50": [(2, 64, ["fp32"])],
        "encoder": [(2, 8, 64, ["fp32"])],
        "compile": [],
        "memory_mib": 1,
        "copies_mib": [1],
        "precisions": ["fp32"],
    },
    "quick": {
        "gemm": [(8192, ["fp16", "bf16", "fp8", "tf32", "fp32", "fp64"])],
        "batched_gemm": [(64, 1024)],
        "linear": [(8192, 4096, 16384)],
        "conv2d": [(32, (256, 256), 56, 3)],
        "depthwise": [(32, 256, 56, 3)],
        "attention": [((16, 96, 4096, 128), [None, "flash", "cudnn"])],
        "rows": [(16384, 8192)],
        "resnet50": [(128, 224, ["fp16"])],
        "encoder": [(8, 512, 1024, ["fp16"])],
        "compile": [("encoder", 1)],
        "memory_mib": 2048,
        "copies_mib": [256],
        "precisions": ["fp16"],
    },
    "full": {
        "gemm": [(size, ["fp16", "bf16", "fp8", "tf32", "fp32", "fp64"]) for size in (8192, 1024, 2048, 4096, 16384)],
        "batched_gemm": [(512, 256), (128, 512), (64, 1024), (16, 2048)],
        "linear": [(8192, 1024, 4096), (8192, 4096, 4096), (8192, 4096, 16384), (8192, 16384, 4096)],
        "conv2d": [
            (32, (256, 256), 56, 3),
            (32, (64, 64), 112, 3),
            (32, (128, 128), 28, 3),
            (32, (512, 512), 14, 3),
            (32, (256, 1024), 14, 1),
        ],
        "depthwise": [(32, 256, 56, 3), (32, 512, 28, 3), (32, 128, 112, 5)],
        "attention": [
            ((16, 96, 4096, 128), [None, "flash", "cudnn", "efficient"]),
            ((8, 16, 512, 64), [None]),
            ((8, 16, 1024, 64), [None, "math"]),
            ((4, 32, 2048, 128), [None]),
            ((4, 32, 4096, 128), [None]),
            ((2, 32, 8192, 128), [None]),
            ((1, 32, 16384, 128), [None]),
        ],
        "rows": [(16384, 1024), (16384, 4096), (16384, 8192)],
        "resnet50": [(batch, 224, ["fp32", "tf32", "fp16", "bf16"]) for batch in (1, 8, 32, 128)],
        "encoder": [(batch, 512, 1024, ["fp32", "tf32", "fp16", "bf16"]) for batch in (1, 8, 32)],
        "compile": [("resnet50", 1), ("resnet50", 32), ("encoder", 1), ("encoder", 32)],
        "memory_mib": 2048,
        "copies_mib": [1, 16, 256, 1024],
        "precisions": ["fp16", "bf16"],
    },
}
HEADLINE_SIZE = 8192  # of the product that every device computes, where the level has it
COMPILE_S = {"quick": 20.0, "full": 45.0, "tiny": 0.0}


def cases(level: str) -> Iterator[Case]:
    """All cases of a level on one device, those that every device runs first."""
    found = [
        *attention_cases(level),
        *matmul_cases(level),
        *memory_cases(level),
        *transfer_cases(level),
        *convolution_cases(level),
        *row_cases(level),
        *network_cases(level),
        *compile_cases(level),
    ]
    yield from (case for case in found if case.everywhere)
    yield from (case for case in found if not case.everywhere)


def matmul_cases(level: str) -> Iterator[Case]:
    """GEMM, batched GEMM and linear layers."""
    shapes = SHAPES[level]
    for size, precisions in shapes["gemm"]:
        for precision in precisions:
            build = functools.partial(matmul, 1, size, precision)
            yield Case(
                name=f"gemm/{size}-{precision}",
                precision=precision,
                shape=f"{size}×{size}×{size}",
                build=functools.partial(scaled_matmul, size) if precision == "fp8" else build,
                unit="TFLOPS",
                peak=precision,
                flops=counts.matmul_flops(size, size, size),
                tolerance=counts.tolerance(precision, size),
                everywhere=precision in ("fp16", "bf16") and size in (HEADLINE_SIZE, 64),
            )
    for precision in shapes["precisions"]:
        for batch, size in shapes["batched_gemm"]:
            yield Case(
                name=f"batched_gemm/{batch}x{size}-{precision}",
                precision=precision,
                shape=f"{batch} × {size}×{size}×{size}",
                build=functools.partial(matmul, batch, size, precision),
                unit="TFLOPS",
                peak=precision,
                flops=counts.matmul_flops(size, size, size, batch),
                tolerance=counts.tolerance(precision, size),
            )
        for tokens, into, out in shapes["linear"]:
            yield Case(
                name=f"linear/{tokens}x{into}x{out}-{precision}",
                precision=precision,
                shape=f"{tokens} tokens, {into} → {out}",
                build=functools.partial(linear, tokens, into, out, precision),
                unit="TFLOPS",
                peak=precision,
                flops=counts.matmul_flops(tokens, out, into),
                tolerance=counts.tolerance(precision, into),
            )


def attention_cases(level: str) -> Iterator[Case]:
    """Scaled dot product attention, causal and not, as PyTorch chooses and by each backend."""
    precision = SHAPES[level]["precisions"][0]
    for index, (sizes, backends) in enumerate(SHAPES[level]["attention"]):
        batch, heads, tokens, width = sizes
        for causal in (True, False):
            for backend in backends if causal else backends[:1]:
                mask = "causal" if causal else "full"
                yield Case(
                    name=f"attention/b{batch}-h{heads}-s{tokens}-d{width}-{mask}-{precision}"
                    + (f"-{backend}" if backend else ""),
                    precision=precision,
                    shape=f"B{batch} H{heads} S{tokens} D{width} {mask}",
                    build=functools.partial(attention, sizes, precision, backend, causal=causal),
                    unit="TFLOPS",
                    peak=precision,
                    flops=counts.attention_flops(batch, heads, tokens, width, causal=causal),
                    tolerance=counts.tolerance(precision, tokens),
                    everywhere=index == 0 and causal and backend is None,
                )


def convolution_cases(level: str) -> Iterator[Case]:
    """2-D convolutions, depthwise ones too."""
    shapes = SHAPES[level]
    wanted = [("conv2d", batch, channels, side, kernel, 1) for batch, channels, side, kernel in shapes["conv2d"]]
    wanted += [
        ("depthwise", batch, (channels, channels), side, kernel, channels)
        for batch, channels, side, kernel in shapes["depthwise"]
    ]
    for precision in shapes["precisions"]:
        for kind, batch, channels, side, kernel, groups in wanted:
            yield Case(
                name=f"{kind}/n{batch}-c{channels[0]}x{channels[1]}-s{side}-k{kernel}-{precision}",
                precision=precision,
                shape=f"N{batch} C{channels[0]}→{channels[1]} {side}² {kernel}×{kernel}",
                build=functools.partial(convolution, batch, channels, side, kernel, groups, precision),
                unit="TFLOPS",
                peak=precision,
                flops=counts.convolution_flops(batch, channels, side, kernel, groups),
                tolerance=counts.tolerance(precision, channels[0] // groups * kernel * kernel),
            )


def row_cases(level: str) -> Iterator[Case]:
    """Layer normalisation and softmax: one read and one write of their rows."""
    for precision in SHAPES[level]["precisions"]:
        for kind, build in (("layer_norm", layer_norm), ("softmax", softmax)):
            for rows, width in SHAPES[level]["rows"]:
                yield Case(
                    name=f"{kind}/{rows}x{width}-{precision}",
                    precision=precision,
                    shape=f"{rows}×{width}",
                    build=functools.partial(build, rows, width, precision),
                    unit="GB/s",
                    peak="memory",
                    bytes=2 * rows * width * DTYPES[precision].itemsize,
                    tolerance=counts.tolerance(precision, width),
                )


def memory_cases(level: str) -> Iterator[Case]:
    """The device's memory: bytes read and bytes written, together."""
    mib = SHAPES[level]["memory_mib"]
    for kind, passes in (("copy", 2), ("write", 1), ("triad", 3)):
        yield Case(
            name=f"memory/{kind}",
            precision="fp32",
            shape=f"{mib} MiB",
            build=functools.partial(memory, kind, mib * MIB),
            unit="GB/s",
            peak="memory",
            bytes=passes * mib * MIB,
            tolerance=counts.tolerance("fp32" if kind == "triad" else "exact"),
            everywhere=kind == "copy",
        )


def transfer_cases(level: str) -> Iterator[Case]:
    """Copies between host and device, from pinned and from pageable memory."""
    largest = min(max(SHAPES[level]["copies_mib"]), 256)
    for pinned in (True, False):
        for to_device in (True, False):
            way, kind = "h2d" if to_device else "d2h", "pinned" if pinned else "pageable"
            yield Case(
                name=f"transfer/{way}-{kind}",
                precision="exact",
                shape=f"{largest} MiB",
                build=functools.partial(transfer, largest * MIB, to_device=to_device, pinned=pinned),
                unit="GB/s",
                peak="pcie",
                bytes=largest * MIB,
                everywhere=pinned,
            )


def peer_cases(level: str, devices: int, links: dict[tuple[int, int], str]) -> Iterator[Case]:
    """Copies from the first device to each other one and back; ``links`` says what joins a pair."""
    pairs = [pair for other in range(1, devices) for pair in ((0, other), (other, 0))]
    for source, target in pairs:
        link = links.get((source, target), "")
        for mib in SHAPES[level]["copies_mib"]:

            def build(device: torch.device, target: int = target, size: int = mib * MIB, link: str = link) -> Operation:
                return peer_copy(size, device, torch.device(device.type, target), link)

            yield Case(
                name=f"peer/{source}-{target}-{mib}MiB",
                precision="exact",
                shape=f"{mib} MiB, device {source} → {target}",
                build=build,
                unit="GB/s",
                peak="nvlink" if link.startswith("NVLink") else "pcie",
                bytes=mib * MIB,
                device=source,
            )


def network_cases(level: str) -> Iterator[Case]:
    """Inference of the two networks by batch and precision."""
    for batch, side, precisions in SHAPES[level]["resnet50"]:
        for precision in precisions:
            yield resnet50_case(batch, side, precision)
    for batch, tokens, width, precisions in SHAPES[level]["encoder"]:
        for precision in precisions:
            yield encoder_case(batch, tokens, width, precision)


def resnet50_case(batch: int, side: int, precision: str) -> Case:
    """Inference of ResNet-50."""
    return Case(
        name=f"resnet50/b{batch}-{precision}",
        precision=precision,
        shape=f"{batch} images of {side}²",
        build=functools.partial(resnet50, batch, side, precision),
        unit="images/s",
        peak=precision,
        flops=counts.resnet50_flops(batch, side),
        items=batch,
        tolerance=counts.tolerance(precision, 2048, deep=True),
    )


def encoder_case(batch: int, tokens: int, width: int, precision: str) -> Case:
    """Inference of the encoder."""
    hidden = models.FEED_FORWARD * width
    return Case(
        name=f"encoder/b{batch}-{precision}",
        precision=precision,
        shape=f"{batch} × {tokens} tokens, d={width}, {models.LAYERS} layers",
        build=functools.partial(encoder, batch, tokens, width, precision),
        unit="TFLOPS",
        peak=precision,
        flops=counts.encoder_flops(models.LAYERS, batch, tokens, width, hidden),
        tolerance=counts.tolerance(precision, hidden, deep=True),
    )


def compile_cases(level: str) -> Iterator[Case]:
    """torch.compile against eager; the figure is how many times faster it is."""
    for kind, batch in SHAPES[level]["compile"]:
        plain = resnet50_case(batch, 224, "fp16") if kind == "resnet50" else encoder_case(batch, 512, 1024, "fp16")
        yield Case(
            name=f"compile/{plain.name.replace('/', '-')}",
            precision=plain.precision,
            shape=plain.shape,
            build=functools.partial(plain.build, compiled=True),
            unit="x",
            flops=plain.flops,
            tolerance=plain.tolerance,
            needs_s=COMPILE_S[level],
        )
