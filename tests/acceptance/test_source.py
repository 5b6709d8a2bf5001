# SPDX-License-Identifier: GPL-3.0-or-later
"""An extension is compiled on real hosts, for their GPUs alone, computes what it must, and is not compiled again:
`make acceptance WHAT=source LIMIT=pod-1`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from gpu_hosts import OUTPUT, Hosts, Run, describe, table, write_json

FOLDER = OUTPUT / "acceptance-source"
EXTENSION = "gsplat"
WISH = {"cuda": "13.0", "pytorch": "2.11", "source": {"extensions": [EXTENSION]}}
LARGEST_ERROR = 1e-5  # of single precision, values up to about 1.2

Record = dict[str, Any]


@pytest.fixture(scope="module")
def steps() -> Iterator[dict[str, Run]]:
    """All steps in order, each once; a failed one ends them. Tells and writes what came of them."""
    hosts = Hosts.of_environment(FOLDER, os.environ)
    runs: dict[str, Run] = {}
    plays = [
        ("plan", "playbooks/plan.yml"),
        ("bootstrap", "bootstrap.yml"),
        ("use", "tests/acceptance/extension.yml"),
        ("second run", "bootstrap.yml"),
    ]
    for name, playbook in plays:
        runs[name] = hosts.play(name, playbook, stack_plan_request=WISH)
        if runs[name].rc:
            break
    yield runs
    tell(runs)


def tell(runs: dict[str, Run]) -> None:
    """Print the table and write acceptance-source/source.json."""
    rows = [("step", "seconds", "result")]
    rows += [(name, f"{run.seconds:.1f}", run.complaint if run.rc else "") for name, run in runs.items()]
    sys.stdout.write("\n" + table(rows, numbers=True) + "\n")
    plans = runs["plan"].records
    content = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "steps": [{"step": name, "seconds": run.seconds, "ok": run.rc == 0} for name, run in runs.items()],
        "hosts": {
            host: {
                **describe(record["gpu"]),
                "computed": {key: value for key, value in record["computed"].items() if key != "file"},
                "builds": [
                    {key: build[key] for key in ("name", "version", "torch", "architectures", "jobs", "steps", "key")}
                    for build in plans[host]["source"]["builds"]
                ],
            }
            for host, record in (runs["use"].records if "use" in runs else {}).items()
        },
    }
    write_json(FOLDER / "source.json", content)


def builds(run: Run) -> dict[str, list[Record]]:
    """Host → what its decision builds."""
    return {host: record["source"]["builds"] for host, record in run.records.items()}


@pytest.mark.parametrize("name", ["plan", "bootstrap", "use", "second run"])
def test_step_succeeds(steps: dict[str, Run], name: str) -> None:
    if name not in steps:
        pytest.fail(f"{name} was not reached: an earlier step failed.")
    assert steps[name].rc == 0, steps[name].complaint


def test_it_was_planned_and_built(steps: dict[str, Run]) -> None:
    for host, planned in builds(steps["plan"]).items():
        assert [(build["name"], build["pending"]) for build in planned] == [(EXTENSION, True)], host
        assert "steps" in steps["bootstrap"].out, "no progress was told"


def test_it_has_code_for_the_gpu_alone(steps: dict[str, Run]) -> None:
    for host, record in steps["use"].records.items():
        assert record["computed"]["machine_code"] == [record["computed"]["capability"]], host


def test_it_computes_what_pytorch_does(steps: dict[str, Run]) -> None:
    for host, record in steps["use"].records.items():
        assert 0 < record["computed"]["largest_error"] < LARGEST_ERROR, host


def test_the_second_run_builds_and_changes_nothing(steps: dict[str, Run]) -> None:
    again = steps["second run"]
    assert {host: changed for host, changed in again.changed.items() if changed} == {}
    assert {host: [build["pending"] for build in found] for host, found in builds(again).items()} == {
        host: [False] for host in builds(steps["plan"])
    }
