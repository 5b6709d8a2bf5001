#!/usr/bin/env python
# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print a run's results.json as a row of catalogue/benchmarks.yml, for a reviewer to put there."""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import yaml


def to_row(result: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The row: what was measured and correct, with four digits; of several devices the slowest.

    Raises ValueError where the run did not end, has several kinds of devices, or found a wrong result.
    """
    names = sorted({device["name"] for device in result["devices"]})
    wrong = [case["name"] for case in result["cases"] if case["status"] == "wrong"]
    if not result["complete"] or len(names) != 1 or wrong:
        found = f"complete: {result['complete']}, devices: {', '.join(names)}, wrong: {', '.join(wrong) or 'none'}"
        raise ValueError(f"The run has {found}; expected a complete run on devices of one kind without a wrong result.")
    figures: dict[str, float] = {}
    for case in result["cases"]:
        if case["status"] == "ok":
            value = float(f"{case['value']:.4g}")
            figures[case["name"]] = min(value, figures.get(case["name"], value))
    software = result["software"]
    return {
        "device": names[0],
        "torch": software["torch"],
        "driver": software["driver"],
        "date": result["time"][:7],
        "results": figures,
        "confidence": "A",
        "source": source,
    }


def main(arguments: list[str]) -> int:
    """Print the row; 1 where the run is none to refer to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("results", type=pathlib.Path, help="results.json of a run")
    parser.add_argument("--name", required=True, help="the row's key, such as H200")
    parser.add_argument("--source", required=True, help="where it was measured")
    options = parser.parse_args(arguments)
    try:
        row = to_row(json.loads(options.results.read_text(encoding="utf-8")), options.source)
    except (OSError, ValueError) as error:
        print(f"{options.results}: {error}", file=sys.stderr)
        return 1
    print(yaml.safe_dump({options.name: row}, allow_unicode=True, sort_keys=False, width=120), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
