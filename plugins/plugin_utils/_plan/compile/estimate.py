# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many compilers run at once, and how long a build takes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue, Row

RESERVE_MIB = 1024  # memory that is left to the rest of the host
NEAR = 0.1  # a timed build on as many cores, but for this share, is as good as the build itself


def choose_jobs(cpus: int | None, free_gib: float | None, job_mib: int, wished: int | None = None) -> int:
    """How many compilers may run at once; 0 where there is not memory for one."""
    if wished:
        return wished
    fits = cpus or 1
    if free_gib is not None:
        free = free_gib * 1024
        fits = min(fits, int((free - RESERVE_MIB) // job_mib) or int(free >= job_mib))
    return max(fits, 0)


def estimate_minutes(package: str, jobs: int, architectures: int, known: Catalogue) -> tuple[int, str] | None:
    """Minutes and the confidence in them, from builds that were timed; None where none was.

    Between two timed builds the line through their logarithms, below the smallest in proportion to the jobs, above the
    largest no faster than it. Each further architecture costs what it cost where that was timed.
    """
    rows = [row for row in known["source"]["times"].values() if row["package"] == package]
    one = {int(row["cores"]): float(row["minutes"]) for row in rows if row["architectures"] <= 1}
    if not one:
        return None
    count, cores = max(architectures, 1), max(jobs, 1)
    for row in rows:
        if row["architectures"] == count and abs(row["cores"] - cores) <= NEAR * row["cores"]:
            return round(row["minutes"]), str(row["confidence"])
    return max(1, round(_interpolate(one, cores) * (1 + _slope(rows, one) * (count - 1)))), "C"


def _slope(rows: Iterable[Row], one: Mapping[int, float]) -> float:
    """What each further architecture adds, as a share of the first."""
    several = [row for row in rows if row["architectures"] > 1 and row["cores"] in one]
    shares = [(row["minutes"] / one[row["cores"]] - 1) / (row["architectures"] - 1) for row in several]
    return sum(shares) / len(shares) if shares else 1.0


def _interpolate(points: Mapping[int, float], cores: int) -> float:
    known = sorted(points)
    if cores <= known[0]:
        return points[known[0]] * known[0] / cores
    for low, high in itertools.pairwise(known):
        if cores <= high:
            share = math.log(cores / low) / math.log(high / low)
            return float(points[low] * (points[high] / points[low]) ** share)
    return points[known[-1]]


def duration(minutes: int | None) -> str:
    """92 → 1 h 32 min."""
    if not minutes or minutes < 60:
        return f"{minutes or 0} min"
    return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")
