# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel of the check triton. Triton wants it in a file, and its language as a name of that file."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

COUNT, BLOCK = 4096, 256


@triton.jit
def mix(given, out, count, block: tl.constexpr):
    """Three times a value plus its place."""
    index = tl.program_id(0) * block + tl.arange(0, block)
    inside = index < count
    value = tl.load(given + index, mask=inside)
    tl.store(out + index, value * 3 + index, mask=inside)


def run(index: int) -> dict[str, Any]:
    """Compile and launch it on one device: ``{device, target, kinds, wrong}``."""
    count = COUNT - 5  # not a whole number of blocks: the mask counts
    values = torch.arange(count, dtype=torch.int32) * 7 + 1
    with torch.cuda.device(index):
        given = values.to(f"cuda:{index}")
        out = torch.full_like(given, -1)
        compiled = mix[(triton.cdiv(count, BLOCK),)](given, out, count, block=BLOCK)
        found = out.cpu()
    wanted = values * 3 + torch.arange(count, dtype=torch.int32)
    return {
        "device": index,
        "target": str(getattr(getattr(compiled, "metadata", None), "target", "")) or None,
        "kinds": sorted(getattr(compiled, "asm", {})),
        "wrong": int((found != wanted).sum()),
    }
