# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much work an operation is, how exact its result must be, what a list of times says. Nothing here needs torch."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

# Distance from 1 to the next number of each format; tf32 keeps ten bits of its inputs' fractions. "exact" allows none.
EPSILON = {
    "fp64": 2.0**-52,
    "fp32": 2.0**-23,
    "tf32": 2.0**-10,
    "fp16": 2.0**-10,
    "bf16": 2.0**-7,
    "fp8": 2.0**-7,  # inputs are taken as they are, the product is stored as bf16
    "exact": 0.0,
}
ACCUMULATOR = {"fp64": 2.0**-52, "exact": 0.0}  # of the sums; of all others fp32's
SAFETY = 8.0  # the largest of some hundred thousand rounding errors is about five of their standard deviations
DEPTH = 4.0  # how much more the roundings of a whole network add up to

# Blocks of ResNet-50: how many, and the channels inside; each ends in four times as many.
RESNET50 = ((3, 64), (4, 128), (6, 256), (3, 512))


def matmul_flops(rows: int, columns: int, depth: int, batch: int = 1) -> int:
    """Of a product of matrices: one multiplication and one addition for each term."""
    return 2 * batch * rows * columns * depth


def attention_flops(batch: int, heads: int, tokens: int, width: int, *, causal: bool) -> int:
    """Of scaled dot product attention: two products for each pair of tokens that see each other.

    With a causal mask a token sees itself and those before it: half of the square and half of its diagonal.
    """
    pairs = tokens * (tokens + 1) // 2 if causal else tokens * tokens
    return 4 * batch * heads * width * pairs


def convolution_flops(batch: int, channels: tuple[int, int], side: int, kernel: int, groups: int = 1) -> int:
    """Of a square 2-D convolution from ``channels`` in to out, ``side`` being the side of its output."""
    into, out = channels
    return 2 * batch * out * side * side * (into // groups) * kernel * kernel


def resnet50_layers(side: int = 224) -> Iterator[tuple[tuple[int, int], int, int]]:
    """Channels, side of the output and kernel of each convolution, for images of ``side`` pixels."""
    side //= 2
    yield (3, 64), side, 7
    side //= 2
    into = 64
    for stage, (blocks, inner) in enumerate(RESNET50):
        for block in range(blocks):
            before = side
            if stage and not block:
                side //= 2
            yield (into, inner), before, 1
            yield (inner, inner), side, 3
            yield (inner, 4 * inner), side, 1
            if not block:
                yield (into, 4 * inner), side, 1
            into = 4 * inner


def resnet50_flops(images: int, side: int = 224) -> int:
    """Of a forward pass: the convolutions and the last layer, as everybody counts them."""
    layers = resnet50_layers(side)
    per_image = sum(convolution_flops(1, channels, out, kernel) for channels, out, kernel in layers)
    return images * (per_image + matmul_flops(1, 1000, 2048))


def encoder_flops(layers: int, batch: int, tokens: int, width: int, hidden: int) -> int:
    """Of a forward pass of a transformer encoder: projections, attention, the two layers of the feed-forward net."""
    projections = matmul_flops(tokens, 4 * width, width, batch)
    feed_forward = 2 * matmul_flops(tokens, hidden, width, batch)
    return layers * (projections + feed_forward + attention_flops(batch, 1, tokens, width, causal=False))


def all_reduce_bytes(size: int, ranks: int) -> float:
    """What a rank's link carries in one direction when ``size`` bytes are summed over all ranks ("bus bandwidth")."""
    return 2 * (ranks - 1) / ranks * size


def tolerance(precision: str, terms: int = 1, *, deep: bool = False) -> float:
    """How far a result may be from the reference, relative to its size or, if larger, its row's root mean square.

    ``terms`` is the length of the sums: their rounding errors add up to about its root. ``deep`` is for whole networks.
    """
    accumulated = ACCUMULATOR.get(precision, EPSILON["fp32"]) * terms**0.5
    return SAFETY * (DEPTH if deep else 1.0) * max(EPSILON[precision], accumulated)


def spread(times: Sequence[float]) -> tuple[float, float, float]:
    """The 20th percentile, the median and the 80th percentile."""
    if len(times) == 1:
        return times[0], times[0], times[0]
    fifths = statistics.quantiles(times, n=5, method="inclusive")
    return fifths[0], statistics.median(times), fifths[3]


def evenly(length: int, count: int) -> list[int]:
    """At most ``count`` whole numbers below ``length``, evenly spread, the first and the last among them."""
    if length <= count:
        return list(range(length))
    return [index * (length - 1) // (count - 1) for index in range(count)]
