# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for PyTorch that the benchmark's program runs on: nothing is computed, every result is right at once.

Its GPUs are those that the simulated driver tells. A run takes MEDIAN_S because it says so; an H200 reaches its floors
with it. STAND_IN_FAULT in the environment makes one thing go wrong.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

FAULT = os.environ.get("STAND_IN_FAULT", "")
MEDIAN_S = 1.6e-3 * (2 if FAULT == "slow" else 1)
SMI = ("nvidia-smi", "--query-gpu=name,uuid,compute_cap,memory.total", "--format=csv,noheader,nounits")
__version__ = "2.9.1+cu130"

if FAULT == "broken":
    raise ImportError("libcudart.so.13: cannot open shared object file: No such file or directory")


class Tensor:
    """A value of which nothing is known: whatever is done with it gives another one."""

    def __getattr__(self, name: str) -> Tensor:
        if name.startswith("__"):
            raise AttributeError(name)
        return Tensor()

    def __call__(self, *given: Any, **named: Any) -> Tensor:
        return Tensor()

    def __float__(self) -> float:
        return 0.5 if FAULT == "wrong" else 0.0  # the program asks how far a result is from the reference

    def __int__(self) -> int:
        return 0

    __getitem__ = __matmul__ = __add__ = __sub__ = __mul__ = __rmul__ = __truediv__ = __gt__ = __call__


class Type:
    """A number's format."""

    def __init__(self, itemsize: int) -> None:
        self.itemsize = itemsize


float64, float32, float16, bfloat16 = (Type(size) for size in (8, 4, 2, 2))


class Device:
    """A device by its kind and number."""

    def __init__(self, kind: str, index: int = 0) -> None:
        self.type, self.index = kind, index


class Timer:
    """Times what it is told, without running it."""

    measured: ClassVar[int] = 0

    def __init__(self, *given: Any, **named: Any) -> None:
        pass

    def timeit(self, count: int) -> None:
        """The warm-up."""

    def blocked_autorange(self, min_run_time: float) -> SimpleNamespace:
        """Ten runs; after the third operation a killed program is no more, and one that hangs stays here."""
        Timer.measured += 1
        if FAULT == "killed" and Timer.measured == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        if FAULT == "hangs" and Timer.measured == 3:
            time.sleep(3600)
        return SimpleNamespace(times=[MEDIAN_S] * 10)


class OutOfMemoryError(RuntimeError):
    """What the real package raises."""


def randn(*sizes: Any, **named: Any) -> Tensor:
    """A tensor, where there is memory for it."""
    if FAULT == "memory":
        raise OutOfMemoryError("CUDA out of memory. Tried to allocate 128.00 MiB")
    return Tensor()


def read_gpus() -> list[SimpleNamespace]:
    """The properties of the GPUs that the driver tells."""
    lines = subprocess.run(SMI, capture_output=True, text=True, check=True).stdout.splitlines()
    found = []
    for line in lines:
        name, uuid, capability, memory = (word.strip() for word in line.split(","))
        major, minor = map(int, capability.split("."))
        about = {"name": name, "uuid": uuid.removeprefix("GPU-"), "major": major, "minor": minor}
        found.append(SimpleNamespace(**about, total_memory=int(memory) * 2**20))
    return found


GPUS = read_gpus()
device = Device
cuda = SimpleNamespace(
    is_available=lambda: bool(GPUS),
    device_count=lambda: len(GPUS),
    get_device_properties=lambda index: GPUS[index],
    can_device_access_peer=lambda first, second: True,
    synchronize=lambda device=None: None,
    empty_cache=lambda: None,
    nccl=SimpleNamespace(version=lambda: (2, 27, 7)),
    OutOfMemoryError=OutOfMemoryError,
)
version = SimpleNamespace(cuda="13.0")
backends = SimpleNamespace(cudnn=SimpleNamespace(version=lambda: 91400), cuda=SimpleNamespace(matmul=SimpleNamespace()))


def __getattr__(name: str) -> Any:
    """Whatever else the program names."""
    if name.startswith("__"):
        raise AttributeError(name)
    return Tensor()


def submodule(name: str, **contents: Any) -> ModuleType:
    """A module below this one, importable by its name."""
    module = ModuleType(f"{__name__}.{name}")
    vars(module).update(contents)
    sys.modules[module.__name__] = module
    return module


class Module:
    """A network's base class."""


attention = submodule("nn.attention", SDPBackend=Tensor(), sdpa_kernel=Tensor())
nn = submodule("nn", attention=attention, functional=Tensor(), Module=Module)
utils = submodule("utils", benchmark=SimpleNamespace(Timer=Timer))
