# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bundles of two tiny wheels and a repository, with the real pip and a uv that answers what it is told."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

UV = """#!/bin/sh
echo "uv $*" >>"{log}"
[ ! -e "{broken}" ] || {{ echo "error: there is no version of gamma==9" >&2; exit 1; }}
cat "{pins}"
"""


def make_wheel(folder: Path, name: str, size: int = 10) -> str:
    """A wheel without code; its pin with its digest."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(
            f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{name}-1.0.dist-info/RECORD", "")
        archive.writestr(f"{name}.py", os.urandom(size))
    return f"{name}==1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


class Site:
    """A controller with a folder of wheels as its only source."""

    def __init__(self, path: Path, run_module: Callable[..., Any], like: Site | None = None) -> None:
        self.run_module = run_module
        self.path, self.bundle, self.links = path, path / "bundle", path / "links"
        if like:
            shutil.copytree(like.path, path, dirs_exist_ok=True)
            self.pins = like.pins
        else:
            self.links.mkdir()
            self.pins = {
                name: make_wheel(self.links, name, 3 << 20 if name == "beta" else 10) for name in ("alpha", "beta")
            }
        uv = path / "uv"
        uv.write_text(UV.format(log=path / "log", broken=path / "broken", pins=path / "pins"), encoding="utf-8")
        uv.chmod(0o755)
        self.offer("alpha", "beta")

    def offer(self, *names: str) -> None:
        """What uv resolves the next set to."""
        (self.path / "pins").write_text("".join(self.pins[name] + "\n" for name in names), encoding="utf-8")

    def run(self, *, check: bool = False, **changes: Any) -> dict[str, Any]:
        """Run the module once."""
        arguments = {
            "path": str(self.bundle),
            "uv": str(self.path / "uv"),
            "target": {"python": "3.12", "glibc": "2.39", "arch": "x86_64"},
            "wheels": [{"purpose": "a test", "python": "3.12", "requirements": ["alpha"]}],
            "texts": {"variables.yml": "---\n"},
            "about": {"decision": "d1"},
            **changes,
        }
        (self.path / "log").write_text("", encoding="utf-8")
        env = {**os.environ, "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.links)}
        return dict(self.run_module("offline_bundle", arguments, check=check, environ=env).data)

    @property
    def asked(self) -> list[str]:
        """What uv was asked."""
        return (self.path / "log").read_text(encoding="utf-8").splitlines()

    @property
    def wheels(self) -> list[str]:
        return sorted(path.name for path in (self.bundle / "wheels").glob("*"))


@pytest.fixture
def site(tmp_path: Path, run_module: Callable[..., Any]) -> Site:
    return Site(tmp_path, run_module)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, run_module: Callable[..., Any]) -> Site:
    """A bundle that is written: pip is slow to start."""
    site = Site(tmp_path_factory.mktemp("made"), run_module)
    assert site.run()["changed"]
    return site


@pytest.fixture
def written(tmp_path: Path, made: Site, run_module: Callable[..., Any]) -> Site:
    """A site with a copy of that bundle."""
    return Site(tmp_path, run_module, like=made)


def test_a_bundle_is_written_once(site: Site) -> None:
    first = site.run()
    assert (first["changed"], sorted(first["fetched"])) == (
        True,
        ["alpha-1.0-py3-none-any.whl", "beta-1.0-py3-none-any.whl"],
    )
    assert "--python-platform x86_64-manylinux_2_39" in site.asked[0]
    assert "--python-version 3.12" in site.asked[0]
    manifest = json.loads((site.bundle / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["decision"] == "d1"
    row = manifest["files"]["wheels/alpha-1.0-py3-none-any.whl"]
    content = (site.bundle / "wheels/alpha-1.0-py3-none-any.whl").read_bytes()
    assert row == {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "for": "a test"}
    assert {"variables.yml", "simple/index.html", "simple/beta/index.html"} <= set(manifest["files"])
    again = site.run()
    assert (again.get("failed"), again["changed"], again["fetched"], site.asked) == (None, False, [], [])


def test_a_damaged_file_is_brought_again_and_nothing_else(written: Site) -> None:
    (written.bundle / "wheels/alpha-1.0-py3-none-any.whl").unlink()
    assert written.run()["fetched"] == ["alpha-1.0-py3-none-any.whl"]


def test_another_decision_leaves_no_wheel_of_the_first(written: Site) -> None:
    written.offer("beta")
    written.run(about={"decision": "d2"})
    assert written.wheels == ["beta-1.0-py3-none-any.whl"]
    assert "alpha" not in (written.bundle / "simple/index.html").read_text(encoding="utf-8")


def test_what_the_host_has_is_not_fetched(site: Site) -> None:
    site.run(wheels=[{"purpose": "a test", "python": "3.12", "requirements": ["alpha"], "have": ["beta"]}])
    assert site.wheels == ["alpha-1.0-py3-none-any.whl"]


def test_a_lock_is_taken_as_it_is(site: Site) -> None:
    lock = site.path / "requirements.txt"
    lock.write_text("alpha==1.0\n", encoding="utf-8")
    rows = [{"purpose": "the controller", "python": "3.12", "lock": str(lock)}]
    assert site.run(wheels=rows)["changed"]
    assert site.asked[0].endswith(str(lock))
    lock.write_text("alpha==1.0\nbeta==1.0\n", encoding="utf-8")
    assert site.run(wheels=rows)["changed"], "another lock is another bundle"


def test_check_mode_writes_nothing(site: Site) -> None:
    assert site.run(check=True)["changed"]
    assert not site.bundle.exists()


def test_a_bundle_over_its_limit_is_refused_with_the_largest_files(site: Site) -> None:
    told = site.run(limit_mib=2)
    assert told["failed"]
    assert "bundle_limit_mib allows 2. The largest: beta-1.0-py3-none-any.whl 3.0 MiB" in told["msg"]
    assert not (site.bundle / "manifest.json").exists()


def test_a_package_that_no_source_has_is_named(site: Site) -> None:
    (site.path / "broken").touch()
    told = site.run()
    assert told["msg"].startswith(
        "The wheels of a test could not be resolved: gamma==9 is offered by none of the sources"
    )


def test_a_wheel_that_differs_from_its_digest_is_refused(site: Site) -> None:
    make_wheel(site.links, "alpha")
    told = site.run()
    assert told["failed"]
    assert "The wheels of a test could not be downloaded" in told["msg"]


def test_a_folder_that_is_no_bundle_is_left_alone(site: Site) -> None:
    site.bundle.mkdir()
    (site.bundle / "thesis.txt").touch()
    told = site.run()
    assert "holds files that are not a bundle; expected a bundle or an empty folder. Name another" in told["msg"]
    assert [path.name for path in site.bundle.iterdir()] == ["thesis.txt"]


def test_a_repository_is_cloned_at_its_tag_and_can_be_cloned_again(site: Site) -> None:
    source = site.path / "source"
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
    git = ["git", "-C", str(source), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "init", "--quiet", str(source)], check=True, env=env)
    (source / "header.h").write_text("// one\n", encoding="utf-8")
    for command in (["add", "."], ["commit", "--quiet", "-m", "one"], ["tag", "v1"]):
        subprocess.run([*git, *command], check=True, env=env)
    rows = [{"name": "cutlass", "url": f"file://{source}", "revision": "v1", "purpose": "headers"}]
    assert site.run(wheels=[], repositories=rows)["changed"]
    clone = ["git", "clone", "--quiet", "--depth", "1", "--branch", "v1", f"file://{site.bundle}/git/cutlass.git"]
    subprocess.run([*clone, str(site.path / "host")], check=True, env=env, capture_output=True)
    assert (site.path / "host/header.h").is_file()
    assert not site.run(wheels=[], repositories=rows)["changed"]
    missing = [{**rows[0], "revision": "v9"}]
    assert "headers could not be cloned from file://" in site.run(wheels=[], repositories=missing)["msg"]
