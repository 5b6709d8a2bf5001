# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two networks: ResNet-50, torchvision's where it is installed, and a transformer encoder from torch.nn."""

# ruff: noqa: PLC0415 - torchvision need not be there

from __future__ import annotations

from typing import Any

import torch
from benchmark_counts import RESNET50
from torch import nn

LAYERS, HEADS, FEED_FORWARD = 6, 16, 4


def normed(into: int, out: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """A convolution without bias and its batch normalisation."""
    convolution = nn.Conv2d(into, out, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out))


class Bottleneck(nn.Module):
    """Three convolutions beside a shortcut; the one in the middle strides."""

    def __init__(self, into: int, inner: int, stride: int, *, first: bool) -> None:
        super().__init__()
        out = 4 * inner
        self.shortcut = normed(into, out, 1, stride) if first else nn.Identity()
        self.path = nn.Sequential(
            normed(into, inner, 1), nn.ReLU(), normed(inner, inner, 3, stride), nn.ReLU(), normed(inner, out, 1)
        )

    def forward(self, x: Any) -> Any:
        """The block's output."""
        return torch.relu(self.path(x) + self.shortcut(x))


def own_resnet50() -> nn.Module:
    """ResNet-50 as torchvision defines it (version 1.5: the 3×3 convolution strides), with random weights."""
    blocks: list[nn.Module] = [normed(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    into = 64
    for stage, (count, inner) in enumerate(RESNET50):
        for block in range(count):
            blocks.append(Bottleneck(into, inner, 2 if stage and not block else 1, first=not block))
            into = 4 * inner
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(into, 1000))


def resnet50() -> tuple[nn.Module, str]:
    """The network and whose definition it is."""
    try:
        from torchvision import models
    except ImportError:
        return own_resnet50(), "own definition: torchvision is not installed"
    return models.resnet50(weights=None), "torchvision"


def encoder(width: int) -> nn.Module:
    """Six layers with 16 heads and a feed-forward net four times as wide."""
    layer = nn.TransformerEncoderLayer(width, HEADS, FEED_FORWARD * width, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
