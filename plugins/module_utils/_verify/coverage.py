# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which compiled code runs on which GPU: the one rule, for the proof on hosts and for the plan on the controller."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Callable

ARCHITECTURE = re.compile(r"(?:sm|compute)_(?P<number>\d+)(?P<feature>[af]?)")
# The compute capabilities of integrated GPUs (53 is 5.3), as in catalogue/gpus.yml, which hosts do not have.
TEGRA = frozenset({53, 62, 72, 87, 88, 110})


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


def covers(
    architectures: Iterable[str], capability: str, *, ptx: bool, tegra: Callable[[str], bool] = is_tegra
) -> bool:
    """Whether code compiled for these architectures runs on a GPU of this compute capability.

    Machine code (sm_80) runs on its own major from its minor upwards, but not across the split between integrated
    (Tegra) and discrete GPUs. Code with a suffix is narrower: sm_90a runs on 9.0 alone, sm_100f within its family, that
    is the same major from its minor upwards. PTX without a suffix (compute_80) is compiled by the driver for the same
    and all newer GPUs of either kind.

    :param architectures: names such as sm_90, sm_90a, sm_100f, compute_90.
    :param capability: major and minor, such as "9.0".
    :param ptx: whether each sm_… without a suffix counts as PTX, too.
    :param tegra: whether GPUs of a compute capability are integrated.
    """
    major, minor = (int(part) for part in capability.split("."))
    wanted = major * 10 + minor
    for name in architectures:
        number, feature = parse_architecture(name)
        if name.startswith("sm_"):
            in_reach = number == wanted if feature == "a" else number // 10 == major and number <= wanted
            if in_reach and tegra(split_architecture(name)[0]) == tegra(capability):
                return True
        if not feature and (ptx or name.startswith("compute_")) and number <= wanted:
            return True
    return False
