# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module with package managers that are a few lines of shell; what real ones say is in test_rpm_real.py."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import pytest

RPM = """\
#!/bin/sh
case "$*" in
  *--all*) cat {folder}/installed ;;
  *--test*) [ -e {folder}/needed ] || exit 0
    echo 'error: Failed dependencies:' >&2; cat {folder}/needed >&2; exit 1 ;;
esac
"""
MANAGER = """\
#!/bin/sh
echo "{name} $*" >>{folder}/asked
[ -e {folder}/out ] && cat {folder}/out
if [ -e {folder}/err ]; then cat {folder}/err >&2; exit 1; fi
case "$*" in
  *--assumeno*) echo 'Operation aborted.' >&2; exit 1 ;;
  *--dry-run*) ;;
  *" remove "*) : >{folder}/installed ;;
  *) printf 'cuda-nvcc-12-8\\t12.8.93-1\\tNVIDIA\\n' >>{folder}/installed ;;
esac
"""
NOTHING = "<?xml version='1.0'?>\n<stream></stream>\n"
COMING = """\
<?xml version='1.0'?>
<stream><message type="info">Resolving package dependencies...</message>
<install-summary packages-to-change="2"><to-install>
<solvable type="package" name="cuda-nvcc-12-8" edition="12.8.93-1" arch="x86_64"/>
<solvable type="package" name="{other}" edition="580.95.05-1" arch="x86_64"/>
</to-install></install-summary></stream>
"""
NONE = "but none of the providers can be installed"
KEPT = f"""\
Error:
 Problem: package site-tools-1.0-1.noarch requires cuda-extras >= 12.8.1, {NONE}
  - package cuda-extras-12.8.1-1.x86_64 requires cuda-drivers >= 570.124.06, {NONE}
  - conflicting requests
  - package cuda-drivers-580.95.05-1.el9.x86_64 is filtered out by exclude filtering
(try to add '--skip-broken' to skip uninstallable packages)
"""
TAIL = (
    ": a part of NVIDIA's driver for Linux, which belongs to the machine itself; a container or WSL2 must not have one"
    " of its own. Nothing was installed; do this."
)


class Host:
    """A folder with rpm and one package manager."""

    def __init__(self, folder: pathlib.Path, run_module: Callable[..., Any]) -> None:
        self.folder, self.run_module = folder, run_module
        (folder / "installed").write_text("bash\t5.1.8-9.el9\tRocky Linux\n")
        self.program("rpm", RPM)

    def program(self, name: str, text: str = MANAGER) -> None:
        """Put a program on the search path."""
        (self.folder / name).write_text(text.format(folder=self.folder, name=name))
        (self.folder / name).chmod(0o755)

    def run(self, *, check: bool = False, fails: bool = False, **params: Any) -> dict[str, Any]:
        given = {"packages": ["cuda-nvcc-12-8"], "hint": "do this", **params}
        ran = self.run_module("rpm_packages", given, check=check, environ={"PATH": f"{self.folder}:/bin"})
        assert ran.failed == fails, ran
        return dict(ran.data)

    @property
    def asked(self) -> list[str]:
        path = self.folder / "asked"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture(params=["dnf", "zypper"])
def host(tmp_path: pathlib.Path, run_module: Callable[..., Any], request: Any, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host whose own package manager is the one of the case, whatever this machine has."""
    return build(tmp_path, run_module, request.param, monkeypatch)


def build(folder: pathlib.Path, run_module: Any, manager: str, monkeypatch: pytest.MonkeyPatch) -> Host:
    module = "ansible_collections.podsmith.gpu.plugins.modules.rpm_packages"
    monkeypatch.setattr(f"{module}.rpm.find_manager", lambda _text, _has: manager)
    host = Host(folder, run_module)
    host.program(manager)
    return host


@pytest.fixture
def dnf(tmp_path: pathlib.Path, run_module: Any, monkeypatch: pytest.MonkeyPatch) -> Host:
    return build(tmp_path, run_module, "dnf", monkeypatch)


@pytest.fixture
def zypper(tmp_path: pathlib.Path, run_module: Any, monkeypatch: pytest.MonkeyPatch) -> Host:
    return build(tmp_path, run_module, "zypper", monkeypatch)


def test_dnf_installs_what_is_missing_and_is_kept_from_each_driver(dnf: Host) -> None:
    answer = dnf.run(packages=["bash", "cuda-nvcc-12-8"])
    assert (answer["changed"], answer["packages"], answer["manager"]) == (True, ["cuda-nvcc-12-8"], "dnf")
    (asked,) = dnf.asked
    assert asked.startswith("dnf --assumeyes --setopt=install_weak_deps=False --exclude=cuda ")
    assert asked.endswith(" install cuda-nvcc-12-8")
    assert {"--exclude=cuda-drivers*", "--exclude=nvidia-driver*", "--exclude=kmod-nvidia*"} <= set(asked.split())
    assert not dnf.run(packages=["bash", "cuda-nvcc-12-8"])["changed"]
    assert len(dnf.asked) == 1


def test_zypper_is_asked_before_it_installs(zypper: Host) -> None:
    (zypper.folder / "out").write_text(NOTHING)
    assert zypper.run()["changed"]
    assert zypper.asked == [
        "zypper --xmlout --non-interactive install --dry-run --no-recommends -- cuda-nvcc-12-8",
        "zypper --non-interactive install --no-recommends -- cuda-nvcc-12-8",
    ]


def test_check_mode_asks_and_changes_nothing(host: Host) -> None:
    (host.folder / "out").write_text(NOTHING)
    answer = host.run(check=True)
    assert (answer["changed"], answer["packages"]) == (True, ["cuda-nvcc-12-8"])
    assert len(host.asked) == 1
    assert "--assumeno" in host.asked[0] or "--dry-run" in host.asked[0]
    assert "cuda" not in (host.folder / "installed").read_text()


def test_check_mode_asks_nothing_of_a_repository_that_is_not_there_yet(host: Host) -> None:
    assert host.run(check=True, listed=False)["changed"]
    assert host.asked == []


@pytest.mark.parametrize("check", [False, True])
def test_a_driver_that_dnf_was_kept_from_is_named_with_its_way(*, check: bool, dnf: Host) -> None:
    (dnf.folder / "err").write_text(KEPT)
    answer = dnf.run(packages=["site-tools"], check=check, fails=True)
    way = "site-tools → cuda-extras"
    assert answer["msg"] == f"dnf would install cuda-drivers, which {way} pulls in{TAIL}"
    assert answer["drivers"] == ["cuda-drivers"]


def test_a_driver_in_zyppers_forecast_is_refused(zypper: Host) -> None:
    (zypper.folder / "out").write_text(COMING.format(other="nvidia-compute-G06"))
    answer = zypper.run(fails=True)
    assert answer["msg"] == f"zypper would install nvidia-compute-G06, which cuda-nvcc-12-8 pulls in{TAIL}"
    assert [line for line in zypper.asked if "--dry-run" not in line] == []


def test_a_driver_by_its_own_name_is_refused_unasked(host: Host) -> None:
    answer = host.run(packages=["cuda-nvcc-12-8", "nvidia-open"], fails=True)
    assert f"would install nvidia-open{TAIL}" in answer["msg"]
    assert host.asked == []


def test_zypper_that_says_something_else_is_not_trusted(zypper: Host) -> None:
    (zypper.folder / "out").write_text("Loading repository data...\n")
    answer = zypper.run(fails=True)
    assert "What would be installed is not known: zypper answered with something else than XML" in answer["msg"]
    assert answer["msg"].endswith("nothing was installed.")
    assert len(zypper.asked) == 1


@pytest.mark.parametrize(
    ("manager", "said", "told"),
    [
        ("dnf", "Error: Unable to find a match: cuda-nvcc-12-8\n", "Unable to find a match: cuda-nvcc-12-8"),
        (
            "zypper",
            NOTHING.replace("><", ">\n<message type='error'>No provider of &apos;x&apos; found.</message><"),
            "No provider of 'x' found",
        ),
    ],
)
def test_what_the_package_manager_complains_of_is_told(
    manager: str, said: str, told: str, tmp_path: pathlib.Path, run_module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = build(tmp_path, run_module, manager, monkeypatch)
    (host.folder / "err").write_text(said)
    assert host.run(fails=True)["msg"] == f"{manager} could not install cuda-nvcc-12-8: {told}."


def test_a_success_that_installed_nothing_is_none(dnf: Host) -> None:
    answer = dnf.run(packages=["cuda-crt-12-8"], fails=True)
    assert answer["msg"] == "dnf reported no error, and rpm does not know cuda-crt-12-8 afterwards."


@pytest.mark.parametrize(
    ("manager", "spelled"), [("dnf", "cuda-compat-12-8-570.124.06*"), ("zypper", "cuda-compat-12-8=570.124.06")]
)
def test_a_version_is_spelled_as_each_takes_it(
    manager: str, spelled: str, tmp_path: pathlib.Path, run_module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = build(tmp_path, run_module, manager, monkeypatch)
    (host.folder / "out").write_text(NOTHING)
    host.run(packages=["cuda-compat-12-8"], version="570.124.06", check=True)
    assert host.asked[0].endswith(f" {spelled}")


def test_removal(host: Host) -> None:
    assert not host.run(state="absent")["changed"]
    (host.folder / "installed").write_text("cuda-nvcc-12-8\t12.8.93-1\tNVIDIA\n")
    assert host.run(state="absent", check=True)["packages"] == ["cuda-nvcc-12-8"]
    assert host.asked == []
    assert host.run(state="absent")["packages"] == ["cuda-nvcc-12-8"]
    assert "--clean-deps" in host.asked[0] or "clean_requirements_on_remove=True" in host.asked[0]
    assert not host.run(state="absent")["changed"]


def test_what_another_package_needs_is_not_removed(host: Host) -> None:
    (host.folder / "installed").write_text("cuda-nvcc-12-8\t12.8.93-1\tNVIDIA\n")
    (host.folder / "needed").write_text("\tcuda-nvcc-12-8 is needed by (installed) site-tools-1.0-1.noarch\n")
    answer = host.run(state="absent", fails=True)
    assert answer["msg"] == (
        "Nothing was removed: Failed dependencies: cuda-nvcc-12-8 is needed by (installed) site-tools-1.0-1.noarch;"
        " remove what needs cuda-nvcc-12-8 first."
    )
    assert host.asked == []


def test_a_system_with_neither(tmp_path: pathlib.Path, run_module: Any) -> None:
    ran = run_module("rpm_packages", {"packages": ["bash"]}, environ={"PATH": str(tmp_path)})
    assert ran.msg == "This system has neither dnf nor zypper, by which rpm packages are installed."
