# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver's library, called directly, and the checks of gpu_verify that need nothing else."""

from __future__ import annotations

import ctypes
import operator
import os
import re
import struct
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Record = dict[str, Any]

LIBCUDA = re.compile(r"/libcuda\.so\.(\d{3,}(?:\.\d+){1,2})$")
CAPABILITY = (75, 76)  # CUdevice_attribute: its major and its minor
# The tile of cutlass.cu.
ROWS, COLUMNS, DEPTH, THREADS = 64, 16, 64, 128


class CudaError(Exception):
    """A call of the driver's library failed; ``record`` has its name and its code."""

    def __init__(self, call: str, code: int) -> None:
        super().__init__(f"{call} returned {code}")
        self.record = {"call": call, "code": code}


class Driver:
    """The driver's library, each call checked."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libcuda.so.1")

    def call(self, name: str, *arguments: Any) -> None:
        """Raises CudaError where the function does not return 0."""
        code = int(getattr(self._library, name)(*arguments))
        if code != 0:
            raise CudaError(name, code)

    def devices(self) -> list[int]:
        """The handles of the devices that this process sees."""
        count = ctypes.c_int()
        self.call("cuDeviceGetCount", ctypes.byref(count))
        handles = []
        for index in range(count.value):
            handle = ctypes.c_int()
            self.call("cuDeviceGet", ctypes.byref(handle), index)
            handles.append(handle.value)
        return handles

    def api(self) -> str:
        """The CUDA release of the library, such as 13.0."""
        version = ctypes.c_int()
        self.call("cuDriverGetVersion", ctypes.byref(version))
        return f"{version.value // 1000}.{version.value % 1000 // 10}"

    def capability(self, handle: int) -> int:
        """A device's compute capability, 90 for 9.0."""
        numbers = []
        for attribute in CAPABILITY:
            value = ctypes.c_int()
            self.call("cuDeviceGetAttribute", ctypes.byref(value), attribute, handle)
            numbers.append(value.value)
        return numbers[0] * 10 + numbers[1]

    def uuid(self, handle: int) -> str:
        """The UUID of the whole GPU that a device is or, under MIG, is a part of, as NVML and nvidia-smi write it."""
        number = (ctypes.c_ubyte * 16)()
        name = "cuDeviceGetUuid" if hasattr(self._library, "cuDeviceGetUuid") else "cuDeviceGetUuid_v2"
        self.call(name, ctypes.byref(number), handle)
        return f"GPU-{uuid.UUID(bytes=bytes(number))}"

    def open(self, handle: int) -> None:
        """Make the device's own context the one of the calls that follow."""
        context = ctypes.c_void_p()
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), handle)
        self.call("cuCtxSetCurrent", context)

    def launch(self, module: ctypes.c_void_p, name: bytes, values: Sequence[bytes], threads: tuple[int, int]) -> bytes:
        """Run a kernel on copies of these values, its only arguments; the last of them as the kernel left it.

        :param threads: blocks, and threads of a block.
        """
        function = ctypes.c_void_p()
        self.call("cuModuleGetFunction", ctypes.byref(function), module, name)
        pointers = []
        for value in values:
            pointer = ctypes.c_uint64()
            self.call("cuMemAlloc_v2", ctypes.byref(pointer), ctypes.c_size_t(len(value)))
            self.call("cuMemcpyHtoD_v2", pointer, value, ctypes.c_size_t(len(value)))
            pointers.append(pointer)
        arguments = (ctypes.c_void_p * len(pointers))(*map(ctypes.addressof, pointers))
        self.call("cuLaunchKernel", function, threads[0], 1, 1, threads[1], 1, 1, 0, None, arguments, None)
        self.call("cuCtxSynchronize")
        out = ctypes.create_string_buffer(len(values[-1]))
        self.call("cuMemcpyDtoH_v2", out, pointers[-1], ctypes.c_size_t(len(out)))
        for pointer in pointers:
            self.call("cuMemFree_v2", pointer)
        return out.raw


def mapped_libcuda() -> list[str]:
    """The files from which this process has mapped a libcuda."""
    maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    return sorted(set(re.findall(r"(/\S*/libcuda\.so\S*)", maps)))


class _Place(ctypes.Structure):
    """What dladdr says of an address: ``Dl_info`` of dlfcn.h."""

    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("symbol", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


def used_libcuda() -> Record | None:
    """``{path, version}`` of the libcuda whose functions a program of this process gets; None where there is none.

    Several may be mapped, one by LD_PRELOAD and one by the loader's search, so the function itself is asked where it
    lies. ``version`` is the one in the file's name, None where that has none, as under WSL2.
    """
    place = _Place()
    try:
        address = ctypes.cast(ctypes.CDLL("libcuda.so.1").cuInit, ctypes.c_void_p)
        found = ctypes.CDLL(None).dladdr(address, ctypes.byref(place))
    except (OSError, AttributeError):
        return None
    if not found or not place.file:
        return None
    path = os.path.realpath(os.fsdecode(place.file))
    version = LIBCUDA.search(path)
    return {"path": path, "version": version[1] if version else None}


def cuinit() -> Record:
    """Start CUDA as a program of this shell would, and name the libcuda and the GPUs that it got."""
    driver = Driver()
    driver.call("cuInit", 0)
    devices = driver.devices()
    return {
        "code": 0,
        "devices": len(devices),
        "driver_api": driver.api(),
        "libcuda": mapped_libcuda(),
        "used": used_libcuda(),
        "gpus": [driver.uuid(handle) for handle in devices],
    }


def left(row: int, k: int) -> int:
    """An element of the left matrix: a small whole number, so that every product and sum is exact."""
    return (row * 3 + k * 5) % 17 - 8


def right(column: int, k: int) -> int:
    """An element of the right matrix, which stands transposed."""
    return (column * 7 + k * 2) % 13 - 6


def cutlass(*cubins: str) -> Record:
    """Run the compiled tile on every device, from each cubin made for it, and compare with whole-number arithmetic."""
    driver = Driver()
    driver.call("cuInit", 0)
    runs = []
    for index, handle in enumerate(driver.devices()):
        driver.open(handle)
        for cubin in cubins:
            module = ctypes.c_void_p()
            try:
                driver.call("cuModuleLoad", ctypes.byref(module), os.fsencode(cubin))
            except CudaError as error:
                if error.record["code"] == 209:  # made for another architecture than this device's
                    continue
                raise
            runs.append({"device": index, "cubin": Path(cubin).name, "wrong": count_wrong(run_tile(driver, module))})
    return {"runs": runs, "devices": len(driver.devices())}


def run_tile(driver: Driver, module: ctypes.c_void_p) -> tuple[float, ...]:
    """Launch the kernel of cutlass.cu; its product, row by row."""
    values_a = struct.pack(f"<{ROWS * DEPTH}e", *(left(row, k) for row in range(ROWS) for k in range(DEPTH)))
    values_b = struct.pack(
        f"<{COLUMNS * DEPTH}e", *(right(column, k) for column in range(COLUMNS) for k in range(DEPTH))
    )
    values_c = b"\xff" * (ROWS * COLUMNS * 4)  # not a number, until the kernel has written it
    product = driver.launch(module, b"multiply", (values_a, values_b, values_c), (1, THREADS))
    return struct.unpack(f"<{ROWS * COLUMNS}f", product)


def count_wrong(product: tuple[float, ...]) -> int:
    """How many elements of the tile differ from the exact product."""
    wanted = [
        sum(left(row, k) * right(column, k) for k in range(DEPTH)) for row in range(ROWS) for column in range(COLUMNS)
    ]
    return sum(map(operator.ne, product, wanted))
