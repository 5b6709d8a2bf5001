# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cases of each level: which operations in which shapes and precisions, and how much work each is."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import benchmark_counts as counts
import benchmark_models as models
import torch
from benchmark_operations import (
    DTYPES,
    MIB,
    Operation,
    attention,
    convolution,
    encoder,
    layer_norm,
    linear,
    matmul,
    memory,
    peer_copy,
    resnet50,
    scaled_matmul,
    softmax,
    transfer,
)

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
