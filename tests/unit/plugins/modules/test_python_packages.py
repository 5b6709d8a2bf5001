# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module, run as Ansible runs it, against a stand-in for uv that writes down each call."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import sys
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.modules import python_packages as module

UV = """#!{python}
import json, os, pathlib, sys
words = sys.argv[1:]
log = pathlib.Path({log!r})
given = os.environ
names = {{"index": "UV_INDEX", "strategy": "UV_INDEX_STRATEGY", "links": "UV_FIND_LINKS", "cache": "UV_CACHE_DIR"}}
call = {{"words": words, **{{key: given.get(name) for key, name in names.items()}}}}
log.open("a").write(json.dumps(call) + "\\n")
pathlib.Path(os.environ["UV_CACHE_DIR"]).mkdir(parents=True, exist_ok=True)
def value(name):
    return words[words.index(name) + 1] if name in words else None
def place(folder, name, version):
    info = folder / f"{{name}}-{{version}}.dist-info"
    for old in folder.glob(f"{{name}}-*.dist-info"):
        for path in old.iterdir(): path.unlink()
        old.rmdir()
    info.mkdir(parents=True)
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "lib.py").write_text("x")
    (info / "METADATA").write_text(f"Name: {{name}}\\n")
    (info / "RECORD").write_text(f"{{name}}/lib.py,sha256=x,1\\n")
if words[0] == "--version":
    print("uv 9.9.9 (stand-in)")
elif words[0] == "venv":
    root = pathlib.Path(words[-1])
    (root / "bin").mkdir(parents=True)
    (root / "bin/python").symlink_to({python!r})
    (root / "pyvenv.cfg").write_text("home = x")
    (root / "lib/python3.12/site-packages").mkdir(parents=True)
elif words[1] == "install":
    if "--target" in words:
        folder = pathlib.Path(value("--target"))
    else:
        folder = next((pathlib.Path(value("--python")).parent.parent / "lib").glob("*/site-packages"))
    wanted = [word for word in words if "==" in word and not word.startswith("-")]
    if any("absent==" in word for word in wanted):
        sys.exit("error: No solution found\\n  cause: Because there is no version of absent==1, no.")
    if "--dry-run" in words:
        print("\\n".join(f" + {{word}}" for word in wanted))
        sys.exit(0)
    names = [word for word in wanted if not (folder / (word.replace("==", "-") + ".dist-info")).exists()]
    anew = [words[at + 1] for at, word in enumerate(words) if word == "--reinstall-package"]
    names += [word for word in wanted if word.split("==")[0] in anew]
    for word in names: place(folder, *word.split("=="))
elif words[1] == "check":
    sys.stderr.write({complaint!r})
elif words[1] == "uninstall":
    folder = next((pathlib.Path(value("--python")).parent.parent / "lib").glob("*/site-packages"))
    for name in words[4:]:
        for old in folder.glob(f"{{name}}-*.dist-info"):
            for path in old.iterdir(): path.unlink()
            old.rmdir()
"""


class Host:
    """A scratch prefix with a stand-in uv."""

    def __init__(self, root: pathlib.Path, run_module: Callable[..., Any]) -> None:
        self.run_module = run_module
        self.root, self.log = root, root / "calls.jsonl"
        self.prefix, self.environment = root / "prefix", root / "prefix/environments/1"
        self.site = self.environment / "lib/python3.12/site-packages"
        self.variables = {"PIP_EXTRA_INDEX_URL": "https://extra.example.org/simple"}
        self.complain("")

    def complain(self, complaint: str) -> None:
        """Write the stand-in, with what its check finds."""
        path = self.root / "uv"
        path.write_text(UV.format(python=sys.executable, log=str(self.log), complaint=complaint))
        path.chmod(0o755)

    def calls(self, verb: str) -> list[list[str]]:
        """The calls with this verb."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [words for words in (json.loads(line)["words"] for line in lines) if verb in words[:2]]

    def run(self, *, check: bool = False, fails: bool = False, uv: str | None = None, **params: Any) -> dict[str, Any]:
        """Run the module on the environment, unless a directory is named."""
        given = {
            "prefix": str(self.prefix),
            "uv_version": "0.13.8",
            "uv_path": uv or str(self.root / "uv"),
            "python": sys.executable,
        }
        given |= {} if "directory" in params else {"environment": str(self.environment)}
        environ = {"PATH": "/usr/bin:/bin", "HOME": str(self.root), "PIP_CONFIG_FILE": os.devnull, **self.variables}
        given |= {"_ansible_tmpdir": str(self.root), **params}
        ran = self.run_module("python_packages", given, check=check, environ=environ)
        assert ran.failed == fails, ran
        return dict(ran.data)


@pytest.fixture
def host(tmp_path: pathlib.Path, run_module: Callable[..., Any]) -> Host:
    return Host(tmp_path, run_module)


def test_environment_is_built_and_a_second_run_needs_no_uv(host: Host) -> None:
    first = host.run(requirements=["torch==2.9.1", "ninja==1.13.2"], index_url="https://t.example.org/cu130")
    assert first["changed"]
    assert first["installed"] == [{"name": "ninja", "version": "1.13.2"}, {"name": "torch", "version": "2.9.1"}]
    assert first["site_packages"] == str(host.site)
    assert first["uv"] == {"path": str(host.root / "uv"), "version": "9.9.9"}
    called = json.loads(host.log.read_text().splitlines()[-1])
    assert called["index"] == "https://t.example.org/cu130 https://extra.example.org/simple"
    assert called["cache"] == str(host.prefix / "cache/uv")
    host.log.unlink()
    second = host.run(requirements=["torch==2.9.1", "ninja==1.13.2"], uv="/nowhere/uv")
    assert (second["changed"], second["installed"], second["uv"]) == (False, [], {})
    assert not host.log.exists()


@pytest.mark.parametrize(
    ("params", "strategy"),
    [({}, "unsafe-best-match"), ({"index_strategy": "first-match"}, "unsafe-first-match")],
)
def test_which_index_counts(params: dict[str, Any], strategy: str, host: Host) -> None:
    host.run(requirements=["ninja==1.13.2"], index_url="https://t.example.org/nightly/cu132", **params)
    assert json.loads(host.log.read_text().splitlines()[-1])["strategy"] == strategy


def test_a_lost_file_is_repaired_alone_and_from_the_cache(host: Host) -> None:
    host.run(requirements=["torch==2.9.1", "ninja==1.13.2"])
    (host.site / "torch/lib.py").unlink()
    answer = host.run(requirements=["torch==2.9.1", "ninja==1.13.2"])
    assert (answer["changed"], answer["repaired"], answer["installed"]) == (True, ["torch"], [])
    assert (host.site / "torch/lib.py").exists()
    words = host.calls("install")[-1]
    assert words[words.index("--reinstall-package") + 1] == "torch"
    assert words.count("--reinstall-package") == 1
    assert "--offline" in words


def test_a_file_changed_in_place_is_fetched_anew(host: Host) -> None:
    host.run(requirements=["torch==2.9.1"])
    (host.site / "torch/lib.py").write_text("longer")
    host.run(requirements=["torch==2.9.1"])
    assert "--offline" not in host.calls("install")[-1]


def test_a_package_that_was_brought_and_is_gone_comes_back_as_it_was(host: Host) -> None:
    host.run(requirements=["torch==2.9.1"])
    host.run(requirements=["xformers==0.0.33"])
    shutil.rmtree(host.site / "xformers-0.0.33.dist-info")
    answer = host.run(requirements=["torch==2.9.1"])
    assert answer["installed"] == [{"name": "xformers", "version": "0.0.33"}]


def test_check_mode_says_what_would_come_and_writes_nothing(host: Host) -> None:
    bare = host.run(requirements=["torch==2.9.1", "numpy"], check=True, uv="/nowhere/uv")
    assert bare["changed"]
    assert bare["installed"] == [{"name": "torch", "version": "2.9.1"}, {"name": "numpy", "version": None}]
    asked = host.run(requirements=["torch==2.9.1"], check=True)
    assert asked["installed"] == [{"name": "torch", "version": "2.9.1"}]
    assert "--dry-run" in host.calls("install")[-1]
    assert not host.prefix.exists()


def test_a_failed_build_leaves_nothing_and_says_what_to_do(host: Host) -> None:
    answer = host.run(requirements=["absent==1"], hint="set pytorch_index_url to a mirror", fails=True)
    assert answer["msg"] == (
        f"Installing the packages for {host.environment} failed: absent==1 is offered by none of the sources asked"
        " (https://extra.example.org/simple, PyPI); set pytorch_index_url to a mirror."
    )
    assert not host.environment.exists()


def test_a_failed_addition_leaves_the_environment_as_it_was(host: Host) -> None:
    host.run(requirements=["torch==2.9.1"])
    host.run(requirements=["absent==1"], fails=True)
    assert host.run(requirements=["torch==2.9.1"])["installed"] == []
    host.complain("The package `xformers` requires `torch==2.9.0`, but `2.9.1` is installed\n")
    answer = host.run(requirements=["xformers==0.0.33"], fails=True)
    assert (
        "do not fit together: xformers requires torch==2.9.0, but `2.9.1` is installed. Ask for versions that do."
        in answer["msg"]
    )
    assert not (host.site / "xformers-0.0.33.dist-info").exists()
    assert (host.site / "torch-2.9.1.dist-info").exists()


def test_cuda_majors_never_mix(host: Host) -> None:
    wishes = ["nvidia_nccl_cu12==2.27", "nvidia_cudnn_cu13==9.2"]
    answer = host.run(requirements=wishes, fails=True)
    assert "CUDA 12 libraries (nvidia-nccl-cu12 2.27) beside CUDA 13 libraries (nvidia-cudnn-cu13 9.2)" in answer["msg"]
    assert not host.environment.exists()


def test_one_major_is_never_installed_over_another(host: Host) -> None:
    """libnccl.so.2 belongs to nvidia-nccl-cu12 and to -cu13: what is taken out later takes the other's along."""
    host.run(requirements=["torch==2.9.1+cu128", "nvidia_nccl_cu12==2.27.5"])
    before = host.calls("install")
    told = host.run(requirements=["torch==2.14.1+cu130", "nvidia_nccl_cu13==2.30.7"], fails=True)["msg"]
    assert "holds the libraries of CUDA 12, and a package for CUDA 13 is asked for" in told
    assert "Use another environment, or remove this one first" in told
    assert host.calls("install") == before
    assert (host.site / "nvidia_nccl_cu12-2.27.5.dist-info").is_dir()


def test_what_an_undone_addition_took_along_is_put_back(host: Host) -> None:
    """The stand-in's uninstall removes a file that another package owns as well, as pip and uv do."""
    host.run(requirements=["torch==2.9.1", "shared==1"])
    host.complain("The package `other` requires `shared>=2`, but `1` is installed\n")
    stand_in = host.root / "uv"
    text = stand_in.read_text().replace(
        "    for name in words[4:]:\n", '    (folder / "shared/lib.py").unlink()\n    for name in words[4:]:\n', 1
    )
    assert text != stand_in.read_text()
    stand_in.write_text(text)
    host.run(requirements=["torch==2.9.1", "shared==1", "other==3"], fails=True)
    assert (host.site / "shared/lib.py").is_file()
    assert host.calls("install")[-1][-4:] == ["--no-deps", "--reinstall-package", "shared", "shared==1"]


def test_adopted_packages_count_and_stay_untouched(host: Host) -> None:
    adopted = host.root / "image"
    (adopted / "torch-2.9.1.dist-info").mkdir(parents=True)
    (adopted / "torch-2.9.1.dist-info/RECORD").write_text("")
    (adopted / "torch-2.9.1.dist-info/METADATA").write_text("")
    before = sorted(adopted.rglob("*"))
    answer = host.run(adopt=str(adopted), requirements=["torch==2.9.1", "ninja==1.13.2"])
    assert answer["installed"] == [{"name": "ninja", "version": "1.13.2"}]
    assert (host.site / module.PATH_FILE).read_text() == f"{adopted}\n"
    words = host.calls("install")[-1]
    assert pathlib.Path(words[words.index("--excludes") + 1]).read_text() == "torch\n"
    assert sorted(adopted.rglob("*")) == before
    assert not host.run(adopt=str(adopted), requirements=["torch==2.9.1", "ninja==1.13.2"])["changed"]
    (host.site / module.PATH_FILE).unlink()
    assert host.run(adopt=str(adopted), requirements=["torch==2.9.1"])["changed"]
    lost = host.run(adopt="/nowhere", fails=True)
    assert 'adopt is "/nowhere", which holds no Python packages; expected the site-packages folder' in lost["msg"]


def test_removal(host: Host) -> None:
    host.run(requirements=["torch==2.9.1", "xformers==0.0.33"])
    part = host.run(state="absent", requirements=["xformers==0.0.33", "never==1"])
    assert part["removed"] == [{"name": "xformers", "version": "0.0.33"}]
    assert not host.run(state="absent", requirements=["xformers"])["changed"]
    assert host.run(state="absent", check=True)["changed"]
    assert host.environment.exists()
    whole = host.run(state="absent")
    assert (whole["changed"], whole["removed"]) == (True, [{"name": "torch", "version": "2.9.1"}])
    assert not host.environment.exists()
    assert not host.run(state="absent")["changed"]


@pytest.mark.parametrize(
    ("kind", "words"), [("environment", "is not a virtual environment"), ("directory", "holds no Python packages")]
)
def test_removal_refuses_what_is_not_ours(host: Host, kind: str, words: str) -> None:
    (host.root / "home").mkdir()
    (host.root / "home/precious").touch()
    answer = host.run(**{kind: str(host.root / "home")}, state="absent", fails=True)
    assert f"{words} and is left alone; remove it by hand if it is to go." in answer["msg"]
    assert (host.root / "home/precious").exists()


def test_a_host_without_uv_asks_for_the_controllers(host: Host) -> None:
    no_pip = host.root / "python"
    no_pip.write_text("#!/bin/sh\necho 'No module named pip' >&2; exit 1\n")
    no_pip.chmod(0o755)
    answer = host.run(requirements=["torch==2.9.1"], uv_path=None, python=str(no_pip), fails=True)
    assert answer["uv_needed"] is True
    assert answer["machine"]
    assert "uv 0.13.8 or newer is neither on this host's PATH nor in" in answer["msg"]
    assert (
        "could not install it (No module named pip), and the controller has none for this host to copy" in answer["msg"]
    )
    sent = host.run(requirements=["torch==2.9.1"], uv_path=None, uv_source=str(host.root / "uv"))
    assert sent["uv"]["path"] == str(host.prefix / "tools/bin/uv")


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"requirements": ["torch>=2"]}, 'The requirement is "torch>=2"; expected name==version'),
        (
            {"uv": "/nowhere/uv", "requirements": ["a==1"]},
            'uv_path is "/nowhere/uv", which is not uv 0.13.8 or newer; name another',
        ),
        ({"uv_version": "10.0.0", "requirements": ["a==1"]}, "is not uv 10.0.0 or newer"),
    ],
)
def test_bad_input_is_refused(host: Host, params: dict[str, Any], words: str) -> None:
    assert words in host.run(**params, fails=True)["msg"]
    assert not host.environment.exists()


def test_a_folder_of_wheels_that_is_not_there_holds_none(host: Host) -> None:
    there = host.root / "wheels"
    there.mkdir()
    host.run(requirements=["torch==2.9.1"], find_links=[str(there), str(host.root / "later"), "https://w.example.org/"])
    links = json.loads(host.log.read_text().splitlines()[-1])["links"]
    assert links == f"{there},https://w.example.org/"
