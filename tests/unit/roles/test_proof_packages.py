# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check packages, on packages made here that are called as real ones are; the real ones need a PyTorch."""

from __future__ import annotations

import importlib
import json
import pathlib
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
FILES = ROOT / "roles/gpu_verify/files"
Call = Callable[..., dict[str, Any]]
WRONG = "class arange:\n    def __init__(self, n): pass\n    def sum(self): return 7\n"
RIGHT = "class arange:\n    def __init__(self, n): self.n = n\n    def sum(self): return sum(range(self.n))\n"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FILES))
    return importlib.import_module("proof_packages")


@pytest.fixture
def site(tmp_path: pathlib.Path) -> Callable[..., None]:
    """Writes a distribution with one module of this text."""

    def write(name: str, version: str, imported: str, text: str) -> None:
        folder = tmp_path / imported.replace(".", "/")
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text(textwrap.dedent(text), encoding="utf-8")
        info = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")

    return write


@pytest.fixture
def call(tmp_path: pathlib.Path) -> Call:
    def run(*arguments: str) -> dict[str, Any]:
        answer = subprocess.run(
            [sys.executable, "-W", "ignore", str(FILES / "proof.py"), "packages", *arguments],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
        )
        return dict(json.loads(answer.stdout.splitlines()[-1]))

    return run


def test_every_extension_has_a_use_that_imports_what_the_catalogue_says(module: Any) -> None:
    known = {
        name: row["import"]
        for name, row in yaml.safe_load((ROOT / "catalogue/extensions.yml").read_text())["packages"].items()
    }
    compiled = set(yaml.safe_load((ROOT / "catalogue/source.yml").read_text())["packages"]) - {"torch"}
    assert {name: use.module for name, use in module.USES.items() if name in known} == known
    assert module.USES.keys() == {*known, *compiled}


def test_each_package_is_told_for_itself(site: Any, call: Call) -> None:
    """One works, one computes wrong, one is not there, one dies, one says something first; none takes another along."""
    site(
        "cupy-cuda13x",
        "14.2.0",
        "cupy",
        "class arange:\n    def __init__(self, n): pass\n    def sum(self): return 7\n",
    )
    site("triton", "3.8.0", "triton", "print('a warning of its own')\n")
    site("vllm", "0.33.0", "vllm", "import os, signal\nos.kill(os.getpid(), signal.SIGABRT)\n")
    site("xformers", "0.0.35", "xformers", "raise OSError('libcudart.so.12: cannot open shared object file')\n")
    found = call("60", "cupy-cuda13x", "triton", "vllm", "xformers", "sglang")["packages"]
    assert list(found) == ["cupy-cuda13x", "triton", "vllm", "xformers", "sglang"]
    assert found["cupy-cuda13x"]["did"] == found["triton"]["did"] == "the import"  # there is no GPU for more
    assert (found["triton"]["version"], found["triton"]["said"]) == ("3.8.0", "a warning of its own")
    assert (found["vllm"]["code"], found["vllm"]["error"]) == (-6, "it gave no reason")
    assert found["xformers"]["error"] == "ImportError: libcudart.so.12: cannot open shared object file"
    assert "PackageNotFoundError" in found["sglang"]["error"]


def test_an_operation_that_computes_wrong_is_an_error(site: Any, call: Call) -> None:
    site(
        "cupy-cuda13x",
        "14.2.0",
        "cupy",
        "class arange:\n    def __init__(self, n): pass\n    def sum(self): return 7\n",
    )
    found = call("60", "gpu", "cupy-cuda13x")["packages"]["cupy-cuda13x"]
    assert found["error"] == "ArithmeticError: the sum of 0 to 999 is 7"


def test_an_operation_that_works_is_named(site: Any, call: Call) -> None:
    site("cupy-cuda12x", "14.2.0", "cupy", RIGHT)
    found = call("60", "gpu", "cupy-cuda12x")["packages"]["cupy-cuda12x"]
    assert (found["did"], found["device"], found["module"]) == ("arange(1000).sum()", "cuda", "cupy")


def test_what_needs_a_gpu_to_be_imported_is_not_imported_without(site: Any, call: Call) -> None:
    site("unsloth", "2026.10.9", "unsloth", "raise NotImplementedError('cannot find any torch accelerator')\n")
    found = call("60", "unsloth")["packages"]["unsloth"]
    assert found["skipped"] == "it cannot be imported without a GPU"


def test_a_package_that_hangs_is_killed_with_what_it_started(module: Any, site: Any, call: Call, tmp_path: Any) -> None:
    site(
        "deepspeed",
        "0.19.8",
        "deepspeed",
        f"""
        import subprocess, sys, time
        quiet = {{"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}}
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], **quiet)
        open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
        print("still importing", flush=True)
        time.sleep(60)
        """,
    )
    found = call(str(module.MARGIN_S + 3), "deepspeed")["packages"]["deepspeed"]
    assert (found["code"], found["output"].strip()) == (None, "still importing")
    assert found["error"].startswith("it did not finish within")
    state = pathlib.Path(f"/proc/{(tmp_path / 'pid').read_text()}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


def test_no_time_left_is_told(call: Call) -> None:
    found = call("1", "vllm")["packages"]["vllm"]
    assert found == {"error": "no time was left for it", "code": None, "output": ""}


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("Traceback\n  File x\nImportError: a.so: undefined symbol: b\nPlease report this\n", "ImportError: a.so: "),
        ("torch.cuda.OutOfMemoryError: out\nbye", "torch.cuda.OutOfMemoryError: out"),
        ("the end", "the end"),
        ("\n", "it gave no reason"),
    ],
)
def test_the_line_that_names_the_error(output: str, line: str, module: Any) -> None:
    assert module.last_line(output).startswith(line)


class Tensor:
    """As much of a tensor as is compared: one number."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __sub__(self, other: Tensor) -> Tensor:
        return Tensor(self.value - other.value)

    def __float__(self) -> float:
        return self.value

    def abs(self) -> Tensor:
        return Tensor(abs(self.value))

    def __getattr__(self, _name: str) -> Callable[[], Tensor]:
        return lambda: self


@pytest.mark.parametrize("found", [1.5, float("nan"), float("inf")])
def test_a_result_that_is_off_or_no_number_is_wrong(found: float, module: Any) -> None:
    module._same(Tensor(1.0), Tensor(1.0))
    with pytest.raises(ArithmeticError, match="the result is off by"):
        module._same(Tensor(found), Tensor(1.0))
