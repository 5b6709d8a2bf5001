"""What breaks CUDA in a file of the user is removed before anything else; a file that is refused ends the run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import Run, Site

COMPAT = "/usr/local/cuda/compat"
LINE = f"export LD_LIBRARY_PATH={COMPAT}:$LD_LIBRARY_PATH"
BEFORE = f"alias ll='ls -l'\nif true; then\n  {LINE}\nfi\n{LINE}\nexport EDITOR=vi\n"
AFTER = "alias ll='ls -l'\nif true; then\n  :\nfi\nexport EDITOR=vi\n"
NOTHING = {"cuda": "none", "pytorch": "none", "cutlass": "none", "toolkit": {"provider": "none"}, "scope": "user"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user whose start-up file was written for an older driver."""
    home = tmp_path_factory.mktemp("home")
    (home / ".bashrc").write_text(BEFORE)
    return home


class Bootstrap:
    """Runs as that user, with nothing to install."""

    def __init__(self, site: Site, home: Path) -> None:
        self.site, self.home = site, home

    def __call__(self, *args: str, files: tuple[str, ...] = ("~/.bashrc",)) -> Run:
        request = NOTHING | {"repair_files": list(files)}
        return self.site.play("bootstrap.yml", *args, request=request, stack_plan_prefix=str(self.home / "podsmith"))


@pytest.fixture
def bootstrap(site: Site, home: Path, monkeypatch: pytest.MonkeyPatch) -> Bootstrap:
    monkeypatch.setenv("HOME", str(home))
    return Bootstrap(site, home)


def test_check_mode_names_the_lines_and_changes_nothing(bootstrap: Bootstrap) -> None:
    run = bootstrap("--check", "--diff")
    assert run.rc == 0, run.out
    assert [change["action"] for change in run.decision["changes"]][:2] == ["remove", "remove"]
    assert (bootstrap.home / ".bashrc").read_text() == BEFORE
    assert f"-{LINE}" in run.out


def test_the_lines_go_first_and_the_rest_is_planned_anew(bootstrap: Bootstrap) -> None:
    run = bootstrap()
    assert run.rc == 0, run.out
    assert (bootstrap.home / ".bashrc").read_text() == AFTER
    assert (bootstrap.home / ".bashrc.podsmith-backup").read_text() == BEFORE
    applied = [(change["action"], change["what"]) for change in run.decision["applied"]]
    assert applied[:2] == [("remove", f"{bootstrap.home}/.bashrc: {LINE}")] * 2
    assert run.decision["changes"] == run.decision["environment"]["repairs"] == []
    order = [run.out.index(words) for words in ("Take the settings out", "Prove the stack", "Switch to the proven")]
    assert order == sorted(order)
    bash = shutil.which("bash")
    assert bash
    assert subprocess.run([bash, "-n", bootstrap.home / ".bashrc"], check=False).returncode == 0


def test_the_second_run_changes_nothing(bootstrap: Bootstrap) -> None:
    run = bootstrap()
    assert (run.rc, run.recap["changed"]) == (0, 0), run.out


def test_a_repair_alone_is_told_and_nothing_is_proved_again(bootstrap: Bootstrap) -> None:
    with (bootstrap.home / ".bashrc").open("a") as file:
        file.write(f"{LINE}\n")
    run = bootstrap()
    assert (run.rc, run.recap["changed"]) == (0, 1), run.out
    assert [change["action"] for change in run.decision["applied"]] == ["remove"]
    assert "Prove the stack" not in run.out
    assert (bootstrap.home / ".bashrc").read_text() == AFTER


def test_a_link_that_leads_elsewhere_ends_the_run_before_anything_else(bootstrap: Bootstrap, tmp_path: Path) -> None:
    (tmp_path / "shared").write_text(f"{LINE}\n")
    (bootstrap.home / ".profile").symlink_to(tmp_path / "shared")
    run = bootstrap(files=("~/.profile",))
    assert run.rc == 2, run.out
    assert (
        f".profile: it is a link to {tmp_path}/shared, outside {bootstrap.home}; remove it by hand: {LINE}" in run.out
    )
    assert (tmp_path / "shared").read_text() == f"{LINE}\n"
