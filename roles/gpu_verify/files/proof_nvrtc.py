# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check nvrtc: a kernel that CUDA's run-time compiler makes, as CuPy, Numba, Warp and PyTorch's own jiterator do.

NVRTC and the driver are called directly. PyTorch's own way to it (torch.cuda._compile_kernel) is private, and only in
newer releases.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from proof_driver import CudaError, Driver

Record = dict[str, Any]

NAME = b"podsmith_mix"
SOURCE = b"""
extern "C" __global__ void podsmith_mix(const unsigned *in, unsigned *out) {
  const unsigned index = blockIdx.x * blockDim.x + threadIdx.x;
  out[index] = (in[index] * 2654435761u) ^ index;
}
"""
BLOCKS, THREADS = 16, 256
CANNOT_READ_PTX = "the driver is of CUDA {driver}, older than NVRTC {nvrtc}, and cannot compile its PTX (error 222)"


class NvrtcError(Exception):
    """NVRTC failed; the message has the function, the code and what the compiler said."""


class Nvrtc:
    """CUDA's run-time compiler, each call checked."""

    def __init__(self, path: str) -> None:
        self.path = path
        # It opens its built-in functions by name, which the loader finds only where they are loaded already.
        self._builtins = [ctypes.CDLL(str(file)) for file in sorted(Path(path).parent.glob("libnvrtc-builtins.so.*"))]
        self._library = ctypes.CDLL(path)

    def call(self, name: str, *arguments: Any) -> None:
        """Raises NvrtcError where the function does not return 0."""
        code = int(getattr(self._library, name)(*arguments))
        if code != 0:
            raise NvrtcError(f"{name} of {self.path} returned {code}")

    def version(self) -> tuple[int, int]:
        """The CUDA release, as (13, 0)."""
        major, minor = ctypes.c_int(), ctypes.c_int()
        self.call("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
        return major.value, minor.value

    def architectures(self) -> list[int]:
        """What it compiles for, 90 for sm_90."""
        count = ctypes.c_int()
        self.call("nvrtcGetNumSupportedArchs", ctypes.byref(count))
        numbers = (ctypes.c_int * count.value)()
        self.call("nvrtcGetSupportedArchs", numbers)
        return list(numbers)

    def compile(self, source: bytes, target: str) -> dict[str, bytes]:
        """``ptx`` and, where the target is an ``sm_…``, ``cubin``.

        Raises NvrtcError with the compiler's own words.
        """
        program = ctypes.c_void_p()
        self.call("nvrtcCreateProgram", ctypes.byref(program), source, b"proof.cu", 0, None, None)
        options = (ctypes.c_char_p * 1)(f"-arch={target}".encode())
        try:
            self.call("nvrtcCompileProgram", program, 1, options)
        except NvrtcError as error:
            said = self._get(program, "nvrtcGetProgramLog").rstrip(b"\0").decode(errors="replace").strip()
            raise NvrtcError(f"{error} for {target}: {said or 'it says nothing'}") from error
        code = {"ptx": self._get(program, "nvrtcGetPTX")}
        if target.startswith("sm_"):
            code["cubin"] = self._get(program, "nvrtcGetCUBIN")
        return code

    def _get(self, program: ctypes.c_void_p, name: str) -> bytes:
        size = ctypes.c_size_t()
        self.call(f"{name}Size", program, ctypes.byref(size))
        text = ctypes.create_string_buffer(size.value)
        self.call(name, program, text)
        return text.raw


def find_nvrtc(folders: Iterable[str], cuda_home: str | None) -> str | None:
    """The libnvrtc of the environment, where PyTorch finds it too: of NVIDIA's wheel, else of the toolkit."""
    for folder in folders:
        found = sorted(Path(folder or ".").glob("nvidia/*/lib/libnvrtc.so.*"))
        if found:
            return str(found[-1])
    home = Path(cuda_home) if cuda_home else None
    for place in ("lib64", "targets/*/lib", "lib") if home else ():
        found = sorted(home.glob(f"{place}/libnvrtc.so.[0-9]*")) if home else []
        if found:
            return str(found[0])
    return None


def choose_target(supported: Iterable[int], capability: int) -> str | None:
    """What to compile for: the GPU's own machine code, else the nearest older of its major, else PTX; None for neither.

    Machine code runs on its own major from its minor upwards, PTX on the same and all newer GPUs.
    """
    older = [number for number in supported if number <= capability]
    if not older:
        return None
    nearest = max(older)
    return f"sm_{nearest}" if nearest // 10 == capability // 10 else f"compute_{nearest}"


def why_no_ptx(nvrtc: tuple[int, int], driver_api: str) -> str | None:
    """Why a driver does not take this NVRTC's PTX, or None: it takes that of its own CUDA release and of older ones."""
    release = ".".join(map(str, nvrtc))
    if tuple(map(int, driver_api.split("."))) >= nvrtc:
        return None
    return CANNOT_READ_PTX.format(driver=driver_api, nvrtc=release)


def nvrtc() -> Record:
    """Compile for every device and run what came, as machine code and, where the driver takes it, as PTX."""
    path = find_nvrtc(sys.path, os.environ.get("CUDA_HOME"))
    if not path:
        return {"skipped": "there is no libnvrtc in the environment, nor in CUDA_HOME"}
    driver, compiler = Driver(), None
    driver.call("cuInit", 0)
    try:
        compiler = Nvrtc(path)
        version, supported = compiler.version(), compiler.architectures()
    except NvrtcError as error:
        return {"failure": str(error)}
    api = driver.api()
    because = why_no_ptx(version, api)
    record: Record = {
        "nvrtc": ".".join(map(str, version)),
        "library": path,
        "driver_api": api,
        "devices": len(driver.devices()),
        "runs": [],
        "ptx_not_run": because,
    }
    for index, handle in enumerate(driver.devices()):
        target = choose_target(supported, driver.capability(handle))
        if target is None:
            record["runs"].append({"device": index, "error": f"NVRTC {record['nvrtc']} does not support this GPU"})
            continue
        try:
            code = compiler.compile(SOURCE, target)
        except NvrtcError as error:
            record["runs"].append({"device": index, "target": target, "error": str(error)})
            continue
        driver.open(handle)
        for kind in ("cubin", "ptx"):
            if kind in code and not (kind == "ptx" and because):
                record["runs"].append({"device": index, "kind": kind, "target": target, **run(driver, code[kind])})
    return record


def run(driver: Driver, code: bytes) -> Record:
    """Load and launch the kernel: ``{wrong}``, how many values differ, or the ``{call, code}`` that failed."""
    count = BLOCKS * THREADS
    values = [(7 * index + 3) & 0xFFFFFFFF for index in range(count)]
    given = struct.pack(f"<{count}I", *values)
    module = ctypes.c_void_p()
    try:
        driver.call("cuModuleLoadData", ctypes.byref(module), code)
        found = struct.unpack(f"<{count}I", driver.launch(module, NAME, (given, bytes(4 * count)), (BLOCKS, THREADS)))
    except CudaError as error:
        return error.record
    return {"wrong": sum(out != mixed(value, index) for index, (value, out) in enumerate(zip(values, found)))}


def mixed(value: int, index: int) -> int:
    """What the kernel computes of a value at a place."""
    return (value * 2654435761 & 0xFFFFFFFF) ^ index
