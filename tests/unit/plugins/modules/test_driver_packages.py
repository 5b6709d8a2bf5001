# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module on a machine whose apt and dpkg are a script and a table: what it asks, refuses, writes and remembers."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.modules import driver_packages as module

BOTH = ("nvidia-open", "libcuda1")


class Machine:
    """Packages by version, what is held, and an apt that installs what the pin names."""

    def __init__(self, folder: pathlib.Path, run_module: Callable[..., Any]) -> None:
        self.folder, self.run_module = folder, run_module
        self.packages: dict[str, tuple[str, str]] = {}  # name -> version, maintainer
        self.held: set[str] = set()
        self.asked: list[list[str]] = []
        self.said: str | None = None  # instead of what apt would say of its own
        self.code = 0
        self.breaks = False  # an installation that begins and fails
        self.offers = {"nvidia-open": "580.95.05-1", "libcuda1": "580.95.05-1"}
        self.preferences, self.record = folder / "preferences.d/podsmith-nvidia-driver", folder / "state/driver.json"
        self.loaded = ""

    def has(self, version: str, *names: str, maintainer: str = "NVIDIA <cudatools@nvidia.com>") -> None:
        self.packages |= dict.fromkeys(names, (version, maintainer))

    def read(self, path: str) -> str:
        if path == "/sys/module/nvidia/version":
            return self.loaded
        return "".join(
            f"Package: {name}\nStatus: {'hold' if name in self.held else 'install'} ok installed\n"
            f"Maintainer: {maintainer}\nVersion: {version}\n\n"
            for name, (version, maintainer) in self.packages.items()
        )

    def run_command(self, argv: list[str], environ_update: dict[str, str]) -> tuple[int, str, str]:
        self.asked.append(argv)
        assert environ_update["DEBIAN_FRONTEND"] == "noninteractive"
        if argv[0] == "apt-mark":
            (self.held.update if argv[1] == "hold" else self.held.difference_update)(argv[2:])
            return 0, "", ""
        verb = next(word for word in argv if word in ("update", "install", "purge"))
        if "--simulate" in argv:
            return self.simulate(argv, verb)
        if verb == "install":
            assert self.preferences.is_file(), "the pin is in force before anything is installed"
            if self.breaks:
                return 100, "", "dkms: build failed"
            self.has("580.95.05-1", *self.offers)
        if verb == "purge":
            self.packages = {name: row for name, row in self.packages.items() if name not in argv}
        return 0, "", ""

    def simulate(self, argv: list[str], verb: str) -> tuple[int, str, str]:
        if self.said is not None:
            return self.code, self.said, ""
        if verb == "purge":
            return 0, "".join(f"Purg {name} [1]\n" for name in self.packages if name in argv), ""
        steps = [(name, new) for name, new in self.offers.items() if self.packages.get(name, ("",))[0] != new]
        return 0, "".join(f"Inst {name} [570] ({new} NVIDIA CUDA [amd64])\n" for name, new in steps), ""

    def run(self, monkeypatch: pytest.MonkeyPatch, *, check: bool = False, **params: Any) -> dict[str, Any]:
        given = {
            "packages": ["nvidia-open"],
            "pin": "580.*",
            "record": str(self.record),
            "preferences": str(self.preferences),
            "listed": True,
            **params,
        }
        monkeypatch.setattr(
            module.AnsibleModule, "run_command", lambda _self, argv, **words: self.run_command(argv, **words)
        )
        monkeypatch.setattr(module.Root, "read", lambda _self, path, *_limit: self.read(path))
        return dict(self.run_module("driver_packages", given, check=check).data)

    def verbs(self) -> list[str]:
        found = []
        for argv in self.asked:
            verb = next(word for word in argv if word in ("update", "install", "purge", "hold", "unhold"))
            found.append(f"simulate {verb}" if "--simulate" in argv else verb)
        return found

    def remembered(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.record.read_text(encoding="utf-8"))
        return content


@pytest.fixture
def machine(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, run_module: Callable[..., Any]) -> Machine:
    monkeypatch.setattr(module, "find_kind", lambda _root, _environ: "bare_metal")
    monkeypatch.setattr(module, "PARTS", str(tmp_path / "preferences.d"))
    monkeypatch.setattr(module, "RUNFILE", (str(tmp_path / "nvidia-uninstall"),))
    return Machine(tmp_path, run_module)


def test_an_upgrade(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.has("570.133.20-1", *BOTH)
    machine.loaded = "570.133.20\n"
    result = machine.run(monkeypatch)
    assert machine.verbs() == ["update", "simulate install", "install", "hold"]
    assert (result["changed"], result["reboot"], result["held"]) == (True, True, sorted(BOTH))
    assert result["before"] == dict.fromkeys(BOTH, "570.133.20-1")
    text = machine.preferences.read_text(encoding="utf-8")
    assert "Pin: version 580.*\nPin-Priority: 1001\n" in text
    assert machine.remembered() == {
        "before": dict.fromkeys(BOTH, "570.133.20-1"),
        "installed": [],
        "held": sorted(BOTH),
        "pin": "580.*",
    }
    asked = machine.asked[2]
    assert asked[-2:] == ["nvidia-open", "libcuda1"]
    assert {"--allow-downgrades", "--allow-change-held-packages", "--no-install-recommends"} <= set(asked)


def test_again_nothing_changes(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.has("570.133.20-1", *BOTH)
    machine.run(monkeypatch)
    machine.loaded = "580.95.05"
    files = (machine.preferences, machine.record)
    before = [path.stat().st_ino for path in files]
    again = machine.run(monkeypatch, packages=[])
    assert (again["changed"], again["reboot"]) == (False, False)
    assert [path.stat().st_ino for path in files] == before
    assert machine.run(monkeypatch)["changed"] is False


def test_check_mode_asks_and_changes_nothing(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.has("570.133.20-1", *BOTH)
    result = machine.run(monkeypatch, check=True)
    assert (result["changed"], machine.verbs()) == (True, ["simulate install"])
    assert not machine.preferences.exists()
    assert not machine.record.exists()
    assert result["diff"]["after"].startswith("# Written by podsmith.gpu")


def test_check_mode_does_not_ask_for_what_apt_cannot_know(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    result = machine.run(monkeypatch, check=True, listed=False)
    assert (result["changed"], machine.asked) == (True, [])


def test_a_driver_that_is_there_is_pinned_and_held(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.has("580.65.06-1", *BOTH)
    machine.loaded = "580.65.06"
    result = machine.run(monkeypatch, packages=[])
    assert (result["changed"], result["held"], machine.verbs()) == (True, sorted(BOTH), ["hold"])
    assert machine.remembered()["installed"] == []


def test_pin_and_holds_are_taken_back(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.has("580.65.06-1", *BOTH, "nvidia-settings")
    machine.held = {"nvidia-settings"}  # the user's own
    machine.run(monkeypatch, packages=[])
    result = machine.run(monkeypatch, packages=[], hold=False)
    assert (result["changed"], result["held"]) == (True, ["nvidia-settings"])
    assert not machine.preferences.exists()
    assert machine.run(monkeypatch, packages=[], hold=False)["changed"] is False


@pytest.mark.parametrize(
    ("kind", "words"),
    [("container", "upgrade the driver on the host itself"), ("wsl2", "update the NVIDIA driver in Windows")],
)
def test_elsewhere_nothing_is_touched(kind: str, words: str, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_kind", lambda _root, _environ: kind)
    result = machine.run(monkeypatch)
    assert words in result["msg"]
    assert result["msg"].endswith("Nothing was changed.")
    assert (machine.asked, list(machine.folder.iterdir())) == ([], [])


def test_a_distributions_driver_is_not_mixed(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.has("535.261.03-1", "nvidia-driver", maintainer="Debian NVIDIA Maintainers")
    result = machine.run(monkeypatch)
    assert "comes from the distribution (nvidia-driver 535.261.03-1)" in result["msg"]
    assert "apt-get purge '*nvidia*', then reboot" in result["msg"]
    assert machine.asked == []


def test_a_run_files_driver_is_not_mixed(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine.folder / "nvidia-uninstall").touch()
    assert "remove it first: nvidia-uninstall, then reboot." in machine.run(monkeypatch)["msg"]
    assert machine.asked == []


@pytest.mark.parametrize(
    ("code", "said", "words"),
    [
        pytest.param(
            0,
            "Inst nvidia-open (590.48.01-1 NVIDIA [amd64])\n",
            "apt would install nvidia-open 590.48.01-1, expected a version 580.*",
            id="another-branch",
        ),
        pytest.param(
            0,
            "Inst nvidia-open (580.95.05-1 NVIDIA [amd64])\nRemv docker-ce [5:28.0]\n",
            "apt would remove docker-ce, which is no part of the driver",
            id="removes-others",
        ),
        pytest.param(
            100,
            "Unable to locate package nvidia-open",
            "choose a branch or a version that the repository has",
            id="none",
        ),
    ],
)
def test_apt_is_asked_first(
    code: int, said: str, words: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.has("570.133.20-1", *BOTH)
    machine.code, machine.said = code, said
    assert words in machine.run(monkeypatch)["msg"]
    assert machine.verbs() == ["update", "simulate install"]
    assert not machine.preferences.exists()


def test_an_epoch_is_no_other_version() -> None:
    assert module.find_objection("Inst libcuda1 (1:580.95.05-1 NVIDIA [amd64])\n", "580.*") is None
    assert module.find_objection("Remv nvidia-kernel-dkms [570.1]\nInst dkms (3.0.10 Debian [all])\n", "580.*") is None


def test_what_fails_takes_the_pin_back(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.has("570.133.20-1", *BOTH)
    machine.breaks = True
    message = machine.run(monkeypatch)["msg"]
    assert "dkms: build failed" in message
    assert "make.log" in message
    assert not machine.preferences.exists()


@pytest.mark.parametrize(
    ("before", "asked"),
    [
        (["nvidia-open-570", "libnvidia-gl-570", "nvidia-settings"], ["nvidia-open-580", "nvidia-settings"]),
        (["nvidia-kernel-dkms", "cuda-drivers", "libcuda1"], ["nvidia-open-580", "libcuda1"]),
        (
            ["nvidia-kernel-open-dkms", "nvidia-kernel-support", "nvidia-open"],
            ["nvidia-open-580", "nvidia-kernel-open-dkms", "nvidia-kernel-support", "nvidia-open"],
        ),
        (["libnvidia-gl-580"], ["nvidia-open-580", "libnvidia-gl-580"]),
    ],
)
def test_what_apt_is_asked_for(before: list[str], asked: list[str]) -> None:
    assert module.list_asked(["nvidia-open-580"], dict.fromkeys(before), "580.*") == asked


# --- absent ---


def test_absent_removes_what_was_installed(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.run(monkeypatch)
    assert machine.remembered()["installed"] == sorted(BOTH)
    result = machine.run(monkeypatch, state="absent")
    assert (result["changed"], machine.packages) == (True, {})
    assert not machine.preferences.exists()
    assert not machine.record.exists()
    assert machine.run(monkeypatch, state="absent")["changed"] is False


def test_absent_in_check_mode(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.run(monkeypatch)
    assert machine.run(monkeypatch, state="absent", check=True)["changed"] is True
    assert set(machine.packages) == set(BOTH)
    assert machine.record.exists()


def test_absent_refuses_what_was_there_before(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.has("570.133.20-1", *BOTH)
    machine.run(monkeypatch)
    message = machine.run(monkeypatch, state="absent")["msg"]
    assert "A driver was here before this role came (libcuda1 570.133.20-1)" in message
    assert "nothing was changed" in message
    assert set(machine.packages) == set(BOTH)
    assert machine.preferences.exists()


def test_absent_refuses_a_driver_that_it_does_not_know(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.has("570.133.20-1", *BOTH)
    assert "it is not this role's to remove" in machine.run(monkeypatch, state="absent")["msg"]


def test_absent_removes_nobody_elses(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.run(monkeypatch)
    machine.said = "Purg nvidia-open [580]\nPurg libcuda1 [580]\nRemv blender [4.0]\n"
    assert "apt would also remove blender, which needs the driver" in machine.run(monkeypatch, state="absent")["msg"]
    assert set(machine.packages) == set(BOTH)
