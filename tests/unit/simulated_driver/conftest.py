# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated driver, compiled once, and children that load its libraries, each on a host of its own."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
SOURCE = ROOT / "molecule/shared/simulated_driver"

CUDA = """
import ctypes, json
cuda, version, count, text = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(), ctypes.c_int(-1), ctypes.c_char_p()
cuda.cuDriverGetVersion(ctypes.byref(version))
code = cuda.cuInit(0)
cuda.cuDeviceGetCount(ctypes.byref(count))
cuda.cuGetErrorName(code, ctypes.byref(text))
name = text.value and text.value.decode()
print(json.dumps({"version": version.value, "code": code, "name": name, "count": count.value}))
"""


class Driver:
    """What ``build.sh install`` made, as a container gets it, and hosts on which it is asked."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.libraries = folder / "lib/simulated-driver"
        self.warnings = subprocess.run(
            [SOURCE / "build.sh", "install", folder], check=True, capture_output=True, text=True
        ).stderr
        self.stubs = self.libraries / "stubs"
        for folder, name in (
            (self.libraries, "libcuda.so"),
            (self.libraries, "libnvidia-ml.so"),
            (self.stubs, "libcuda.so"),
        ):
            (folder / f"{name}.1").symlink_to(name)

    def build_compat(self, version: str, cuda: str, branches: list[int], brands: list[int]) -> pathlib.Path:
        """The folder of a compat package; built once for each of its kinds."""
        lists = [",".join(map(str, numbers)) or "-" for numbers in (branches, brands)]
        folder = self.folder / "compat" / "_".join([version, cuda, *lists])
        if not folder.exists():
            subprocess.run([SOURCE / "build.sh", "compat", folder, version, cuda, *lists], check=True)
        return folder

    def build_other(self, version: str) -> pathlib.Path:
        """A folder with the driver's library under another version's name, as an image's own package leaves it."""
        folder = self.folder / "other" / version
        if not folder.exists():
            folder.mkdir(parents=True)
            shutil.copy(self.libraries / "libcuda.so", folder / f"libcuda.so.{version}")
            (folder / "libcuda.so.1").symlink_to(f"libcuda.so.{version}")
        return folder

    def environment(self, conf: str, *first: pathlib.Path, **more: str) -> dict[str, str]:
        """For a child on the host of ``conf``; the loader searches the folders ``first`` before the driver's."""
        path = self.folder / "conf" / f"{abs(hash(conf))}.conf"
        path.parent.mkdir(exist_ok=True)
        path.write_text(conf, encoding="utf-8")
        searched = ":".join(map(str, [*first, self.libraries]))
        return {"PATH": os.environ["PATH"], "SIMULATED_DRIVER_CONF": str(path), "LD_LIBRARY_PATH": searched, **more}

    def ask(self, script: str, conf: str, *first: pathlib.Path, **more: str) -> Any:
        """What a Python script prints as JSON on that host."""
        environment = self.environment(conf, *first, **more)
        done = subprocess.run(
            [sys.executable, "-c", script], check=True, capture_output=True, text=True, env=environment, timeout=120
        )
        return json.loads(done.stdout)

    def ask_cuda(self, conf: str, *first: pathlib.Path, **more: str) -> Mapping[str, Any]:
        """``{version, code, name, count}`` of the libcuda that is found first; a count of -1 was refused."""
        answer: Mapping[str, Any] = self.ask(CUDA, conf, *first, **more)
        return answer

    def run_smi(self, conf: str, *arguments: str, first: tuple[pathlib.Path, ...] = ()) -> tuple[int, str]:
        """``(exit status, output)`` of nvidia-smi on that host."""
        environment = self.environment(conf, *first)
        command = [str(self.libraries / "nvidia-smi"), *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=120)
        return done.returncode, done.stdout

    def inject(self, conf: str | None, root: pathlib.Path) -> subprocess.CompletedProcess[str]:
        """Run ``simulated-driver`` on a folder that stands for a container."""
        path = root / "etc/simulated-driver.conf"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if conf is not None:
            path.write_text(conf, encoding="utf-8")
        environment = {"PATH": os.environ["PATH"], "SIMULATED_DRIVER_ROOT": str(root)}
        command = [self.folder / "sbin/simulated-driver"]
        return subprocess.run(command, check=False, capture_output=True, text=True, env=environment)


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Driver:
    if not shutil.which("gcc"):
        pytest.skip("the simulated driver is written in C; install gcc and the C library's headers")
    return Driver(tmp_path_factory.mktemp("simulated-driver"))


def describe(
    driver: str = "580.159.04", cuda: str = "13.0", gpu: str = "9.0 14 143771 0 NVIDIA H200", **words: str
) -> str:
    """The text of a simulated-driver.conf: the recorded host's, unless told otherwise; ``gpu`` may hold several."""
    lines = [f"driver {driver}", f"cuda {cuda}", *(f"{word} {value}" for word, value in words.items())]
    return "\n".join(lines + [f"gpu {line}" for line in gpu.splitlines()]) + "\n"


@pytest.fixture(scope="session")
def host() -> Callable[..., str]:
    return describe
