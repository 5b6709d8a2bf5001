# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which compiled code runs on which GPU: the one rule, for the proof on hosts and for the plan on the controller."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Callable

ARCHITECTURE = re.compile(r"(?:sm|compute)_(?P<number>\d+)(?P<feature>[af]?)")
# The compute capabilities of integrated GPUs (53 is 5.3), and those of them that run code for discrete GPUs too, from
# which CUDA release of the code on; as in catalogue/gpus.yml, which hosts do not have.
TEGRA = frozenset({53, 62, 72, 87, 88, 110})
JOINED = {87: (13, 2)}
RENAMED = {101: 110}  # one GPU under two names: CUDA 12 compiles for sm_101, CUDA 13 for sm_110


@cache
def parse_architecture(name: str) -> tuple[int, str]:
    """sm_90a → (90, "a").

    Raises ValueError for what is not written like that.
    """
    found = ARCHITECTURE.fullmatch(name)
    if not found:
        raise ValueError(f'"{name}" is not an architecture; expected a name such as sm_90 or sm_90a.')
    return int(found["number"]), found["feature"]


def split_architecture(name: str) -> tuple[str, str]:
    """sm_90a → ("9.0", "a"). Raises ValueError, see parse_architecture."""
    number, feature = parse_architecture(name)
    return f"{number // 10}.{number % 10}", feature


def is_tegra(capability: str) -> bool:
    """Whether GPUs of a compute capability such as "8.7" are integrated, by what hosts know."""
    return int(capability.replace(".", "")) in TEGRA


def joined_since(capability: str) -> tuple[int, ...] | None:
    """The CUDA release, such as (13, 2), from which on its code for discrete GPUs runs on an integrated one, too."""
    return JOINED.get(int(capability.replace(".", "")))


@dataclass(frozen=True)
class Split:
    """What is known of integrated GPUs: by default what hosts know, on the controller what the catalogue says."""

    is_tegra: Callable[[str], bool] = is_tegra
    joined_since: Callable[[str], tuple[int, ...] | None] = joined_since


SPLIT = Split()


def covers(
    architectures: Iterable[str], capability: str, *, ptx: bool, cuda: str | None = None, split: Split = SPLIT
) -> bool:
    """Whether code compiled for these architectures runs on a GPU of this compute capability.

    Machine code (sm_80) runs on its own major from its minor upwards, but not across the split between integrated
    (Tegra) and discrete GPUs; an integrated GPU that is joined runs code for discrete ones of that CUDA release on.
    Code with a suffix is narrower: sm_90a runs on 9.0 alone, sm_100f within its family, that is the same major from its
    minor upwards. PTX (compute_80) is compiled by the driver for the same and all newer GPUs of either kind, with a
    suffix only where machine code with it would run. What is listed as sm_… has no PTX.

    Source: CUDA's programming guide on compute capabilities; the table DEVICE_REQUIREMENT of PyTorch 2.14.1.

    :param architectures: names such as sm_90, sm_90a, sm_100f, compute_90.
    :param capability: major and minor, such as "9.0".
    :param ptx: whether the driver compiles PTX of this CUDA release; it does not under minor-version compatibility.
    :param cuda: the release that the code is compiled with, such as "13.2"; None is unknown.
    :param split: what is known of integrated GPUs.
    """
    wanted = _number(capability)
    for name in architectures:
        number, feature = parse_architecture(name)
        number = RENAMED.get(number, number)
        in_reach = number == wanted if feature == "a" else number // 10 == wanted // 10 and number <= wanted
        if name.startswith("sm_"):
            if in_reach and _same_kind(number, capability, cuda, split):
                return True
        elif ptx and (in_reach if feature else number <= wanted):
            return True
    return False


def _same_kind(number: int, capability: str, cuda: str | None, split: Split) -> bool:
    """Whether no split between integrated and discrete GPUs lies between the code and the GPU."""
    code = split.is_tegra(f"{number // 10}.{number % 10}")
    if code == split.is_tegra(capability):
        return True
    since = split.joined_since(capability)  # of integrated GPUs alone
    return bool(since and cuda and tuple(int(part) for part in cuda.split(".")) >= since)


def _number(capability: str) -> int:
    major, minor = (int(part) for part in capability.split("."))
    return RENAMED.get(major * 10 + minor, major * 10 + minor)
