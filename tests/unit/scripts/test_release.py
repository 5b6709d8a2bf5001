from __future__ import annotations

import pathlib
import shutil
import subprocess
from collections.abc import Callable

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]

# Stand-ins for the tools: each notes its call, and fails where a file of the name `fail-<tool>` says so.
TOOL = """#!/bin/sh
name=$(basename "$0")
echo "$name $*" >>"$HOME/log"
[ ! -e "$HOME/fail-$name" ] || exit 1
"""
EFFECTS = {
    "antsibull-changelog": 'git rm --quiet changelogs/fragments/new.yml && echo "$1" >CHANGELOG.md\n',
    "ansible-galaxy": """[ "$2" = build ] || exit 0
version=$(sed -n "s/^version: //p" "$5/galaxy.yml")
tar -czf "$4/podsmith-gpu-$version.tar.gz" -C "$5" .
""",
    "ansible-playbook": "",
}


class Checkout:
    """A repository with the real script, on main, at version 1.1.0 of which no tag exists."""

    def __init__(self, home: pathlib.Path) -> None:
        self.home, self.path = home, home / "checkout"
        (self.path / "changelogs/fragments").mkdir(parents=True)
        (self.path / "scripts").mkdir()
        (self.path / ".venv/bin").mkdir(parents=True)
        shutil.copy(ROOT / "scripts/release.sh", self.path / "scripts/release.sh")
        self.program("scripts/prepare.sh", TOOL)
        for name, effect in EFFECTS.items():
            self.program(f".venv/bin/{name}", TOOL + effect)
        self.write("galaxy.yml", "namespace: podsmith\nname: gpu\nversion: 1.1.0\n")
        self.write("changelogs/fragments/new.yml", "bugfixes: [something]\n")
        self.write(".gitignore", ".venv/\n*.tar.gz\nignored\n")
        self.write("ignored", "must not get into the tarball\n")
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit()

    def write(self, name: str, text: str) -> None:
        (self.path / name).write_text(text, encoding="utf-8")

    def program(self, name: str, text: str) -> None:
        self.write(name, text)
        (self.path / name).chmod(0o755)

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        env = {
            "HOME": str(self.home),
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            **{f"GIT_{who}_{what}": "me" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        }
        return subprocess.run(argv, cwd=self.path, env=env, capture_output=True, text=True, timeout=60, check=False)

    def git(self, *argv: str) -> str:
        done = self.run("git", *argv)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message=A change")

    def release(self, *version: str) -> subprocess.CompletedProcess[str]:
        return self.run("scripts/release.sh", *version)

    @property
    def state(self) -> tuple[str, str, str]:
        return self.git("rev-parse", "HEAD"), self.git("status", "--porcelain"), self.git("tag")

    @property
    def calls(self) -> list[str]:
        log = self.home / "log"
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        return [" ".join(line.split()[:3]) for line in lines]


@pytest.fixture
def checkout(tmp_path: pathlib.Path) -> Checkout:
    return Checkout(tmp_path)


def untracked(checkout: Checkout) -> None:
    checkout.write("notes.txt", "mine\n")


def edited(checkout: Checkout) -> None:
    checkout.write("galaxy.yml", "version: 9.9.9\n")


def other_branch(checkout: Checkout) -> None:
    checkout.git("switch", "--quiet", "--create", "topic")


def detached(checkout: Checkout) -> None:
    checkout.git("switch", "--quiet", "--detach")


def tag(version: str) -> Callable[[Checkout], None]:
    return lambda checkout: checkout.git("tag", version) and None


@pytest.mark.parametrize(
    ("prepare", "version", "message"),
    [
        pytest.param(None, (), "the version is ''; expected one such as 1.2.0", id="no-version"),
        pytest.param(None, ("1.2",), "the version is '1.2'; expected one such as 1.2.0", id="two-parts"),
        pytest.param(None, ("v1.2.0",), "the version is 'v1.2.0'; expected one such as 1.2.0", id="prefix"),
        pytest.param(None, ("1.02.0",), "the version is '1.02.0'; expected one such as 1.2.0", id="leading-zero"),
        pytest.param(
            untracked, ("1.2.0",), "the working tree is not clean; commit or remove these first:\n?? notes.txt"
        ),
        pytest.param(edited, ("1.2.0",), "the working tree is not clean; commit or remove these first:\n M galaxy.yml"),
        pytest.param(other_branch, ("1.2.0",), "the branch is 'topic'; releases are made from main"),
        pytest.param(detached, ("1.2.0",), "the branch is 'a detached HEAD'; releases are made from main"),
        pytest.param(tag("1.2.0"), ("1.2.0",), "the tag 1.2.0 exists already", id="tag-exists"),
        pytest.param(
            tag("1.10.0"), ("1.9.0",), "the version is 1.9.0 and the newest tag is 1.10.0; choose a newer version"
        ),
        pytest.param(
            None, ("1.0.9",), "the version is 1.0.9 and galaxy.yml has 1.1.0; choose a newer version", id="older"
        ),
    ],
)
def test_refused(
    checkout: Checkout, prepare: Callable[[Checkout], None] | None, version: tuple[str, ...], message: str
) -> None:
    if prepare:
        prepare(checkout)
    before = checkout.state
    done = checkout.release(*version)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"release: {message}")
    assert checkout.state == before
    assert checkout.calls == [], "a refusal comes before anything is started"


@pytest.mark.parametrize("version", ["1.1.0", "1.2.0"], ids=["of-galaxy.yml", "newer"])
def test_a_release_is_tried_before_it_is_committed_and_tagged(checkout: Checkout, version: str) -> None:
    done = checkout.release(version)
    assert done.returncode == 0, done.stderr
    assert checkout.calls == [
        "prepare.sh dev",
        "antsibull-changelog release",
        "ansible-galaxy collection build",
        "ansible-galaxy collection install",
        "ansible-playbook --inventory h200,",
    ]
    assert checkout.git("log", "--format=%s", "-1") == f"Release {version}"
    assert checkout.git("tag", "--points-at", "HEAD") == version
    assert checkout.git("cat-file", "-t", version) == "tag", "annotated: git push --follow-tags takes no other"
    assert f"version: {version}\n" in checkout.git("show", "HEAD:galaxy.yml") + "\n"
    assert checkout.git("status", "--porcelain") == ""
    packed = checkout.run("tar", "-tzf", f"podsmith-gpu-{version}.tar.gz").stdout.split()
    assert "./galaxy.yml" in packed
    assert {"./ignored", "./changelogs/fragments/new.yml"} & set(packed) == set()
    assert done.stdout.endswith(
        f"  git push --follow-tags origin main\n  ansible-galaxy collection publish podsmith-gpu-{version}.tar.gz\n"
    )


@pytest.mark.parametrize("tool", sorted(EFFECTS))
def test_a_release_that_fails_leaves_the_checkout_as_it_was(checkout: Checkout, tool: str) -> None:
    (checkout.home / f"fail-{tool}").touch()
    before = checkout.state
    done = checkout.release("1.2.0")
    assert done.returncode != 0
    assert "1.2.0 was not made; the checkout is as it was" in done.stderr
    assert checkout.state == before
    assert (checkout.path / "changelogs/fragments/new.yml").is_file()
    assert list(checkout.path.glob("*.tar.gz")) == []
