"""What the Makefile's targets hand on, and what they say where a variable is missing."""

from __future__ import annotations

import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]


@pytest.fixture
def checkout(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder with the real Makefile, an inventory's figures, and stand-ins for what it calls."""
    for name, line in (("scripts/prepare.sh", ":"), (".venv/bin/ansible-playbook", 'printf "<%s>" "$@"')):
        program = tmp_path / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
        program.chmod(0o755)
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "results.json").write_text("{}", encoding="utf-8")
    return tmp_path


def make(checkout: pathlib.Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *argv],
        cwd=checkout,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("argv", [[], ["RESULTS=nowhere.json"], ["RESULTS=scripts"]])
def test_a_report_without_figures_says_what_is_missing(checkout: pathlib.Path, argv: list[str]) -> None:
    done = make(checkout, "report", *argv)
    given = "".join(argv).partition("=")[2]
    assert f"RESULTS is '{given}'; expected the results.json that `make benchmark` wrote" in done.stderr
    assert "make report RESULTS=benchmarks/HOST-LEVEL/results.json" in done.stderr
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize(
    ("argv", "given"),
    [
        (["report", "RESULTS=results.json"], "<playbooks/report.yml><-e><gpu_benchmark_results_path={}/results.json>"),
        (
            ["project", "LIMIT=h100", "PROJECT=/srv/app"],
            "<playbooks/project.yml><-l><h100><-e><project_environment_path=/srv/app>",
        ),
        # Without PROJECT the inventory's path counts, which an empty one would override.
        (["project", "LIMIT=h100"], "<playbooks/project.yml><-l><h100>"),
        (["plan"], "<playbooks/plan.yml><-l><local>"),
    ],
)
def test_what_is_handed_on(checkout: pathlib.Path, argv: list[str], given: str) -> None:
    done = make(checkout, *argv)
    assert (done.stdout, done.returncode) == (given.format(checkout), 0), done.stderr


def test_without_a_target_the_targets_are_listed(checkout: pathlib.Path) -> None:
    listed = make(checkout).stdout
    assert "bootstrap  Set up this machine" in listed
    assert "<" not in listed
