# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""uv on a host: which one is taken, how one is brought, and what is said where none can be had."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._packages.environment import OPTIONS, Environment
from ansible_collections.podsmith.gpu.plugins.module_utils._packages.folder import Work

PYTHON = "/usr/bin/python3"


class FailedError(Exception):
    """The module failed; its answer is ``args[0]``."""


def raise_failed(**answer: Any) -> None:
    raise FailedError(answer)


class Host:
    """A module whose commands are functions: each uv is a path with a version."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.uvs, self.ran = root, {}, []
        self.said = (0, "", "")
        monkeypatch.setenv("HOME", str(root / "home"))
        monkeypatch.setenv("PATH", str(root / "bin"))
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)

    def has_uv(self, place: str, version: str) -> str:
        path = self.root / place / "uv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o755)
        self.uvs[str(path)] = version
        return str(path)

    def run_command(self, argv: list[str], environ_update: dict[str, str], cwd: str) -> tuple[int, str, str]:
        self.ran.append((argv, environ_update, cwd))
        if argv[1:] == ["--version"] or argv[-1] == "--version":
            return (0, f"uv {self.uvs[argv[0]]} (x)\n", "") if argv[0] in self.uvs else (1, "", "")
        return self.said

    def make(self, *, check: bool = False, is_environment: bool = True, **params: Any) -> Environment:
        module: Any = mock.Mock(check_mode=check, tmpdir=str(self.root / "tmp"))
        module.params = {name: option.get("default") for name, option in OPTIONS.items()}
        module.params |= {"prefix": str(self.root / "prefix"), "uv_version": "0.13.8", **params}
        module.run_command.side_effect = self.run_command
        module.fail_json.side_effect = raise_failed
        return Environment(module, str(self.root / "env"), PYTHON, is_environment=is_environment)

    def fails(self, environ: Environment, call: str, *arguments: Any) -> dict[str, Any]:
        with pytest.raises(FailedError) as failed:
            getattr(environ, call)(*arguments)
        answer: dict[str, Any] = failed.value.args[0]
        return answer


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        pytest.param({"bin": "0.14.0", "prefix/tools/bin": "0.13.8"}, "bin", id="the-hosts-own"),
        pytest.param({"bin": "0.9.0", "prefix/tools/bin": "0.13.8"}, "prefix/tools/bin", id="the-hosts-is-too-old"),
        pytest.param({"home/.local/bin": "0.13.10"}, "home/.local/bin", id="the-users"),
        pytest.param({"bin": "0.9.0"}, None, id="none-is-new-enough"),
        pytest.param({}, None, id="none"),
    ],
)
def test_which_uv_is_taken(there: dict[str, str], taken: str | None, host: Host) -> None:
    for place, version in there.items():
        host.has_uv(place, version)
    environ = host.make()
    assert environ.find_uv() is (taken is not None)
    assert environ.uv.get("path") == (f"{host.root}/{taken}/uv" if taken else None)


def test_a_uv_that_is_named_is_the_only_one(host: Host) -> None:
    host.has_uv("bin", "0.14.0")
    named = host.has_uv("old", "0.1.0")
    answer = host.fails(host.make(uv_path=named), "bring_uv")
    assert answer["msg"] == (
        f'uv_path is "{named}", which is not uv 0.13.8 or newer; name another, or leave it out to have one installed.'
    )


def test_a_uv_that_was_sent_is_put_into_the_prefix(host: Host) -> None:
    sent = host.has_uv("sent", "0.14.0")
    host.uvs[f"{host.root}/prefix/tools/bin/uv"] = "0.14.0"
    environ = host.make(uv_source=sent)
    environ.bring_uv()
    assert environ.uv == {"path": f"{host.root}/prefix/tools/bin/uv", "version": "0.14.0"}
    assert [path.name for path in (host.root / "prefix/tools/bin").iterdir()] == ["uv"]
    host.uvs.clear()
    answer = host.fails(host.make(uv_source=sent), "bring_uv")
    assert answer["msg"] == (
        "The uv copied to this host does not run or is older than 0.13.8; install uv 0.13.8 on the host."
    )


@pytest.mark.parametrize(("err", "reason"), [("x\nNo module named pip.\n", "No module named pip"), ("", "pip gave no")])
def test_a_host_that_cannot_have_one_says_what_was_tried(err: str, reason: str, host: Host) -> None:
    host.said = (1, "", err)
    answer = host.fails(host.make(), "bring_uv")
    assert answer["msg"].startswith(
        f"uv 0.13.8 or newer is neither on this host's PATH nor in {host.root}/prefix/tools"
    )
    assert f"{PYTHON} could not install it ({reason}" in answer["msg"]
    assert answer["uv_needed"] is True
    assert host.ran[-1][0][:4] == [PYTHON, "-m", "pip", "install"]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ((124, "", ""), "uv did not finish {env} within 7 s; raise timeout, or set X."),
        (
            (1, "", "Failed to fetch: `https://u:secret@m/`"),
            "Installing the packages for {env} failed: https://****@m/ could not be fetched (no reason given); set X.",
        ),
    ],
)
def test_a_call_that_fails(said: tuple[int, str, str], words: str, host: Host) -> None:
    host.has_uv("bin", "0.14.0")
    environ = host.make(timeout=7, hint="set X")
    assert environ.find_uv()
    host.said = said
    answer = host.fails(environ, "call_uv", ["pip", "check"])
    assert answer["msg"] == words.format(env=environ.path)
    assert "secret" not in str(answer)


@pytest.mark.parametrize(
    ("check", "there", "cache"),
    [(False, False, "prefix/cache/uv"), (True, False, "tmp"), (True, True, "prefix/cache/uv")],
)
def test_check_mode_creates_no_cache(check: bool, there: bool, cache: str, host: Host) -> None:
    if there:
        (host.root / "prefix/cache/uv").mkdir(parents=True)
    environ = host.make(check=check)
    environ.run(["uv", "--version"])
    _argv, variables, cwd = host.ran[-1]
    assert variables["UV_CACHE_DIR"] == str(host.root / cache)
    assert variables["UV_PYTHON_DOWNLOADS"] == "never"
    assert cwd == (str(host.root / "prefix") if there else "/")


def test_what_a_failed_call_created_is_removed(host: Host) -> None:
    environ = host.make()
    for created in (False, True):
        (host.root / "env").mkdir(exist_ok=True)
        environ.created = created
        host.fails(environ, "fail", "why")
        assert (host.root / "env").exists() is not created


def test_a_repair_tries_the_cache_first(host: Host) -> None:
    host.has_uv("bin", "0.14.0")
    environ = host.make(is_environment=False)
    assert environ.find_uv()
    host.ran.clear()
    present: Any = {"torch": mock.Mock(version="2.9.1")}
    environ.install(Work((), (), ("torch",), refetch=False), present)
    assert [argv[-3:] for argv, _variables, _cwd in host.ran] == [["torch", "torch==2.9.1", "--offline"]]
    host.ran.clear()
    environ.install(Work((), (), ("torch",), refetch=True), present)
    assert [argv[-2:] for argv, _variables, _cwd in host.ran] == [["torch", "torch==2.9.1"]]
