# SPDX-License-Identifier: GPL-3.0-or-later
"""From facts to a proven host and again without change, on real hosts: `make acceptance LIMIT=pod-1`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from gpu_hosts import OUTPUT, Hosts, Run, describe, public, table, write_json

FOLDER = OUTPUT / "acceptance"
# What the steps are meant to take on a host with a GPU of its own. It is told and written down, never asserted: a host
# that is slow or busy is none the worse set up.
FACTS_SECONDS = 0.5  # the facts module
CONVERGED_SECONDS = 5.0  # a whole run that changes nothing
TOTAL_SECONDS = 60.0  # all steps, where next to nothing is to be fetched
SMALL_MIB = 100
GPU_CHECKS = {
    "cuinit",
    "nvcc",
    "torch",
    "matmul",
    "kernel",
    "cutlass",
    "nvrtc",
    "triton",
    "workers",
    "extension",
    "compile",
}

Record = dict[str, Any]


@pytest.fixture(scope="module")
def steps() -> Iterator[dict[str, Run]]:
    """All steps in order, each once; a failed one ends them. Tells and writes what came of them."""
    hosts = Hosts.of_environment(FOLDER, os.environ)
    runs: dict[str, Run] = {}
    plays: list[tuple[str, str, Record]] = [
        ("facts", "tests/acceptance/observe.yml", {}),
        ("plan", "playbooks/plan.yml", {}),
        ("bootstrap", "bootstrap.yml", {}),
        ("full proof", "playbooks/verify.yml", {"gpu_verify_level": "full"}),
        ("second run", "bootstrap.yml", {}),
    ]
    for name, playbook, variables in plays:
        runs[name] = hosts.play(name, playbook, **variables)
        if runs[name].rc:
            break
    observed = hosts.play("facts after", "tests/acceptance/observe.yml")
    yield {**runs, "after": observed}
    tell(runs, observed)


def tell(runs: dict[str, Run], after: Run) -> None:
    """Print the table and write acceptance.json."""
    total = sum(run.seconds for run in runs.values())
    rows = [("step", "seconds", "result")]
    rows += [(name, f"{run.seconds:.1f}", result(name, run, after)) for name, run in runs.items()]
    sys.stdout.write("\n" + table([*rows, ("all", f"{total:.1f}", "")], numbers=True) + "\n")
    figures = compare(runs)
    told = [(row["what"], f"{row['seconds']:.2f}", f"meant to take {row['meant']:g}") for row in figures]
    sys.stdout.write("\n" + table([("figure", "seconds", ""), *told], numbers=True) + "\n")
    content = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "seconds": round(total, 2),
        "figures": figures,
        "steps": [{"step": name, "seconds": run.seconds, "ok": run.rc == 0} for name, run in runs.items()],
        "hosts": {host: describe_host(host, runs, record) for host, record in after.records.items()},
    }
    write_json(FOLDER / "acceptance.json", content)


def compare(runs: dict[str, Run]) -> list[Record]:
    """What was measured beside what it is meant to be, for the steps that were reached: ``{what, seconds, meant}``."""
    rows = [
        {"what": f"facts of {host}", "seconds": record["gpu"]["timings"]["total"], "meant": FACTS_SECONDS}
        for host, record in runs["facts"].records.items()
    ]
    if "second run" in runs:
        rows.append({"what": "second run", "seconds": runs["second run"].seconds, "meant": CONVERGED_SECONDS})
        fetched = max(record["download"]["mib"] for record in runs["plan"].records.values())
        total = round(sum(run.seconds for run in runs.values()), 2)
        small = f"all, with {fetched} MiB to fetch"
        rows += [{"what": small, "seconds": total, "meant": TOTAL_SECONDS}] if fetched <= SMALL_MIB else []
    return rows


def result(name: str, run: Run, after: Run) -> str:
    """A step's outcome in a few words."""
    if run.rc:
        return run.complaint
    if name == "facts":
        return ", ".join(
            f"the module itself {record['gpu']['timings']['total']:.2f} s" for record in run.records.values()
        )
    if name == "full proof":
        return "; ".join(told_checks(record["verdict"]) for record in after.records.values() if record["verdict"])
    if name == "plan":
        return "; ".join(f"{record['summary']}, {len(record['changes'])} changes" for record in run.records.values())
    return f"{sum(run.changed.values())} tasks changed something"


def told_checks(verdict: Record) -> str:
    """The checks of a proof by outcome."""
    passed = [check["check"] for check in verdict["checks"] if check["ok"] and not check.get("skipped")]
    skipped = [check["check"] for check in verdict["checks"] if check.get("skipped")]
    return f"{len(passed)} passed: {' '.join(passed)}" + (f"; skipped: {' '.join(skipped)}" if skipped else "")


def describe_host(host: str, runs: dict[str, Run], record: Record) -> Record:
    """What acceptance.json tells of one host."""
    planned = runs["plan"].records.get(host, {}) if "plan" in runs else {}
    parts = ("toolkit", "pytorch", "cutlass", "forward_compat")
    return {
        **describe(record["gpu"]),
        "summary": planned.get("summary"),
        "providers": {part: (planned.get(part) or {}).get("provider") for part in parts},
        "compat_present": [row["package"] for row in record["gpu"]["installed"]["compat"]],
        "compat_active": record["gpu"]["loader"]["compat_active"],
        "facts_seconds": record["gpu"]["timings"]["total"],
        "proof": public(record["verdict"]),
    }


def verdicts(steps: dict[str, Run]) -> dict[str, Record]:
    """Host → the evidence of its last proof."""
    return {host: record["verdict"] for host, record in steps["after"].records.items()}


@pytest.mark.parametrize("name", ["facts", "plan", "bootstrap", "full proof", "second run"])
def test_step_succeeds(steps: dict[str, Run], name: str) -> None:
    if name not in steps:
        pytest.fail(f"{name} was not reached: an earlier step failed.")
    assert steps[name].rc == 0, steps[name].complaint


def test_nothing_hung_while_the_facts_were_read(steps: dict[str, Run]) -> None:
    problems = {host: record["gpu"]["problems"] for host, record in steps["facts"].records.items()}
    assert problems
    assert [text for texts in problems.values() for text in texts if "no answer within" in text] == []


def test_what_the_image_brought_is_used(steps: dict[str, Run]) -> None:
    """A whole toolkit of the decided release, and a PyTorch of the decided version and CUDA, are not brought again."""
    for host, record in steps["facts"].records.items():
        installed, request, decision = record["gpu"]["installed"], record["request"], steps["plan"].records[host]
        toolkit, torch, prefix = decision["toolkit"], decision["pytorch"], decision["environment"]["prefix"]
        toolkits = [
            row["path"]
            for row in installed["toolkits"]
            if toolkit and row["release"] == toolkit["version"] and row["nvcc"] and not row["broken"]
        ]
        torches = [
            row["path"]
            for row in installed["pytorch"]
            if torch and (public_version(row["version"]), row["cuda"]) == (torch["version"], torch["cuda"])
            if not row["managed"] and not row["broken"]
        ]
        foreign = [path for path in toolkits if not path.startswith(prefix)]
        if foreign and wished_provider(request, "toolkit") == "auto":
            assert toolkit["provider"] == "adopt", f"{host}: {foreign}"
        if torches and wished_provider(request, "wheels") == "auto":
            assert torch["provider"] in ("adopt", "host_wheels"), f"{host}: {torches}"


def public_version(version: str) -> str:
    """A version without its local label."""
    return version.partition("+")[0]


def wished_provider(request: Record, part: str) -> str:
    """Where the wish wants a part from."""
    return str((request.get(part) or {}).get("provider", "auto"))


def test_every_check_of_the_full_proof_passed(steps: dict[str, Run]) -> None:
    for host, verdict in verdicts(steps).items():
        assert verdict["ok"], f"{host}: {[check for check in verdict['checks'] if not check['ok']]}"
        assert verdict["level"] == "full"


def test_on_a_gpu_nothing_is_left_out_of_the_proof(steps: dict[str, Run]) -> None:
    with_gpu = {host for host, record in steps["after"].records.items() if record["gpu"]["devices"]}
    if not with_gpu:
        pytest.skip("None of the hosts has an NVIDIA GPU: nothing can run on one.")
    for host in with_gpu:
        checks = {row["check"]: row for row in verdicts(steps)[host]["checks"] if not row.get("skipped")}
        wanted = GPU_CHECKS & {*steps["plan"].records[host]["proof"]["checks"], "compile"}
        assert wanted <= set(checks), f"{host}: skipped or missing"
        assert checks["extension"]["evidence"]["kind"] == "cuda", f"{host}: no CUDA extension was built"


def test_a_compat_library_that_is_not_wanted_stays_off_the_path(steps: dict[str, Run]) -> None:
    for host, record in steps["after"].records.items():
        if not steps["plan"].records[host]["forward_compat"]["enabled"]:
            assert not record["gpu"]["loader"]["compat_active"], record["gpu"]["loader"]
        if record["gpu"]["devices"]:
            assert record["gpu"]["loader"]["init"] == {"code": 0, "name": "CUDA_SUCCESS"}, host


def test_the_second_run_changes_nothing(steps: dict[str, Run]) -> None:
    again = steps["second run"]
    assert {host: changed for host, changed in again.changed.items() if changed} == {}
    assert {host: record["changes"] for host, record in again.records.items() if record["changes"]} == {}
