"""A bundle of this machine's decision, and the bootstrap from it with the network cut."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import Site, snapshot

NO_NETWORK = ("unshare", "--net", "--map-root-user") if os.geteuid() else ("unshare", "--net")
REQUEST = {"cutlass": "4.2.0", "pytorch": "none"}  # no PyTorch: the compiler and the headers show all that is special


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A prefix of this module's own."""
    scratch = tmp_path_factory.mktemp("bundle")
    return Site(scratch / "podsmith", scratch)


@pytest.fixture(scope="module")
def bundle(site: Site) -> Path:
    return site.scratch / "bundle"


def test_a_bundle_holds_what_the_plan_fetches(site: Site, bundle: Path) -> None:
    run = site.play("playbooks/bundle.yml", request=REQUEST, bundle_dir=str(bundle))
    assert run.rc == 0, run.out
    assert not site.prefix.exists(), "the host is not touched"
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["decision"] == run.decision["digest"]
    purposes = {row["for"] for path, row in manifest["files"].items() if path.startswith("wheels/")}
    assert {"CUDA toolkit 13.0", "CUTLASS 4.2.0"} <= purposes


def test_the_second_run_fetches_nothing(site: Site, bundle: Path) -> None:
    before = snapshot(bundle)
    run = site.play("playbooks/bundle.yml", request=REQUEST, bundle_dir=str(bundle))
    assert run.rc == 0, run.out
    assert run.recap["changed"] == 0
    assert snapshot(bundle) == before


@pytest.mark.skipif(
    subprocess.run([*NO_NETWORK, "true"], capture_output=True, check=False).returncode != 0,
    reason="This user may not make a namespace without a network.",
)
def test_bootstrap_without_a_network(site: Site, bundle: Path) -> None:
    """From a copy, as a host over SSH gets it; then a repair from where the bundle lies; then nothing to change."""
    elsewhere, copy = bundle.rename(bundle.with_name("moved")), site.scratch / "copy"
    arguments = ("-e", f"@{elsewhere}/variables.yml", "-e", f"bundle_dir={elsewhere}")
    options: dict[str, Any] = {"within": NO_NETWORK, "gpu_verify_level": "light"}
    run = site.play("bootstrap.yml", *arguments, "-e", f"bundle_host_dir={copy}", **options)
    assert run.rc == 0, run.out
    assert run.decision["digest"] == json.loads((elsewhere / "manifest.json").read_text(encoding="utf-8"))["decision"]
    assert (copy / "manifest.json").read_bytes() == (elsewhere / "manifest.json").read_bytes()
    shutil.rmtree(copy)
    shutil.rmtree(site.prefix / "cutlass/4.2.0")
    repair = site.play("bootstrap.yml", *arguments, **options)
    assert (repair.rc, repair.roles("applied")[:1]) == (0, ["cutlass"]), repair.out
    assert (site.prefix / "cutlass/4.2.0/include/cutlass/cutlass.h").is_file()
    again = site.play("bootstrap.yml", *arguments, **options)
    assert (again.rc, again.recap["changed"], copy.exists()) == (0, 0, False), again.out


def test_a_missing_bundle_is_named(site: Site, bundle: Path) -> None:
    arguments = ("-e", f"@{bundle.with_name('moved')}/variables.yml", "-e", "bundle_dir=bundle/nowhere")
    run = site.play("bootstrap.yml", *arguments, stack_plan_prefix=str(site.scratch / "other"))
    assert run.rc != 0
    assert "bundle/nowhere is not a bundle: it has no manifest.json; write one with playbooks/bundle.yml" in " ".join(
        run.out.split()
    )


def test_a_limit_is_kept_before_anything_is_fetched(site: Site) -> None:
    small = site.scratch / "small"
    run = site.play(
        "playbooks/bundle.yml", bundle_dir=str(small), bundle_limit_mib="1", stack_plan_prefix=str(small / "p")
    )
    assert run.rc != 0
    assert "bundle_limit_mib is 1. Raise the limit, or request less" in " ".join(run.out.split())
    assert not small.exists()
