"""From nothing to a proven environment, again without change, and each broken part repaired alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Site, snapshot


def test_check_mode_on_a_bare_prefix_says_what_it_would_do_and_does_nothing(site: Site) -> None:
    run = site.play("bootstrap.yml", "--check")
    assert run.rc == 0, run.out
    assert run.changed_roles == ["cuda_toolkit", "cutlass", "pytorch", "gpu_verify", "gpu_environment"]
    assert not site.prefix.exists()


def test_bootstrap_from_nothing(site: Site) -> None:
    run = site.play("bootstrap.yml")
    assert run.rc == 0, run.out
    assert run.recap["failed"] == 0
    assert run.decision["changes"] == []
    verdict = json.loads((site.prefix / "state/verdict.json").read_text(encoding="utf-8"))
    assert verdict["ok"]
    assert {check["check"] for check in verdict["checks"] if check["ok"]} >= {
        "nvcc",
        "kernel",
        "cutlass",
        "torch",
        "matmul",
        "extension",
    }


def test_second_run_changes_nothing_in_one_remote_call(site: Site) -> None:
    before = snapshot(site.prefix)
    run = site.play("bootstrap.yml", "-v")
    assert run.rc == 0, run.out
    assert run.recap["changed"] == 0
    assert "nothing to change" in run.out
    assert run.out.count("podsmith.gpu.gpu_facts") <= 1
    assert snapshot(site.prefix) == before


def test_the_shell_that_sources_the_activation_has_everything(site: Site) -> None:
    script = f". {site.prefix}/activate.sh && nvcc --version && test -f \"$CUTLASS_HOME/include/cute/tensor.hpp\" && python -c 'import torch; print(torch.__version__)'"
    done = site.sh(script)
    assert done.returncode == 0, done.stderr
    assert "release 13.0" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("2.")


def test_the_environment_needs_no_shell(site: Site) -> None:
    assert site.sh(f"{site.current}/bin/python -c 'import torch; torch.ones(2).sum().item()'").returncode == 0


@pytest.mark.parametrize(
    "install",
    [
        pytest.param("{current}/bin/python -m pip install --dry-run", id="pip-without-activation"),
        pytest.param(". {prefix}/activate.sh && {uv} pip install --dry-run", id="uv-in-an-activated-shell"),
    ],
)
def test_a_later_install_cannot_swap_torch(site: Site, install: str) -> None:
    uv = next(path for path in [*site.prefix.glob("tools/**/uv"), Path(shutil.which("uv") or "uv")] if path.is_file())
    done = site.sh(install.format(current=site.current, prefix=site.prefix, uv=uv) + " 'torch<2.13'")
    assert done.returncode != 0
    assert "conflict" in done.stderr or "unsatisfiable" in done.stderr


def remove_nvcc(site: Site) -> None:
    next(site.prefix.glob("toolkits/13.0/**/bin/nvcc")).unlink()


def remove_headers(site: Site) -> None:
    shutil.rmtree(next(site.prefix.glob("cutlass/4.2.0/**/include/cute")))


def remove_wheel(site: Site) -> None:
    shutil.rmtree(next(site.current.glob("lib/python*/site-packages/sympy")))


def remove_activation(site: Site) -> None:
    (site.prefix / "activate.sh").unlink()


@pytest.mark.parametrize(
    ("damage", "roles", "touched"),
    [
        pytest.param(remove_activation, ["gpu_environment"], "activate.sh", id="activation"),
        pytest.param(remove_nvcc, ["cuda_toolkit", "gpu_verify"], "toolkits", id="nvcc"),
        pytest.param(remove_headers, ["cutlass", "gpu_verify"], "cutlass", id="headers"),
        pytest.param(remove_wheel, ["pytorch", "gpu_verify"], "environments", id="wheel"),
    ],
)
def test_one_deleted_part_is_repaired_alone(
    site: Site, damage: Callable[[Site], None], roles: list[str], touched: str
) -> None:
    before = snapshot(site.prefix)
    damage(site)
    assert site.play("playbooks/plan.yml").changed_roles == roles
    run = site.play("bootstrap.yml", gpu_verify_level="light")
    assert run.rc == 0, run.out
    after = snapshot(site.prefix)
    assert after.keys() >= before.keys()
    changed = {path.split("/")[0] for path in before if before[path] != after[path]}
    assert changed - {"state", "cache"} <= {touched}
    assert site.play("bootstrap.yml").recap["changed"] == 0


def test_a_failed_proof_leaves_the_previous_environment_live(site: Site) -> None:
    live = site.current.resolve()
    other = next(
        path
        for path in python_interpreters("3.11")
        if str(path) not in (live / "pyvenv.cfg").read_text(encoding="utf-8")
    )
    run = site.play("bootstrap.yml", request={"python": str(other)}, gpu_verify_timeout=1)
    assert run.rc != 0
    assert "no answer within 1 s" in run.out
    assert site.current.resolve() == live
    assert site.sh(f"{site.current}/bin/python -c 'import torch'").returncode == 0
    assert site.play("bootstrap.yml").rc == 0


def python_interpreters(minor: str) -> list[Path]:
    """Interpreters of one minor version on this machine."""
    folders = [Path("/usr/bin"), Path("/usr/local/bin"), *Path.home().glob(".pyenv/versions/*/bin")]
    return [folder / f"python{minor}" for folder in folders if (folder / f"python{minor}").exists()]
