# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The questions that need no kernel: is CUDA there, and which GPUs. The errors are worded as the real package's."""

from __future__ import annotations

import ctypes
from pathlib import Path

from torch import _C, version

SUCCESS, INSUFFICIENT_DRIVER, NO_DEVICE, SYMBOL_NOT_FOUND = 0, 35, 100, 500
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76  # CUdevice_attribute
DOWNLOAD = "http://www.nvidia.com/Download/index.aspx"


def init() -> None:
    """Start CUDA, or raise what the real package raises."""
    if version.cuda is None:
        raise AssertionError("Torch not compiled with CUDA enabled")
    if _count() == 0:
        raise RuntimeError("No CUDA GPUs are available")


def is_available() -> bool:
    """Whether CUDA starts and sees a GPU."""
    return device_count() > 0


def device_count() -> int:
    """The GPUs that this process may use, 0 where CUDA does not start."""
    try:
        return _count() if version.cuda else 0
    except RuntimeError:
        return 0


def get_arch_list() -> list[str]:
    """The architectures that the build has code for; none where CUDA does not start."""
    return (_C._cuda_getArchFlags() or "").split() if is_available() else []


def get_device_capability(device: int = 0) -> tuple[int, int]:
    """A GPU's compute capability."""
    init()
    found = []
    for attribute in (CAPABILITY_MAJOR, CAPABILITY_MINOR):
        value = ctypes.c_int()
        _ask("cuDeviceGetAttribute", ctypes.byref(value), attribute, _handle(device))
        found.append(value.value)
    return found[0], found[1]


def get_device_name(device: int = 0) -> str:
    """A GPU's name."""
    init()
    name = ctypes.create_string_buffer(256)
    _ask("cuDeviceGetName", name, len(name), _handle(device))
    return name.value.decode()


def _count() -> int:
    """Count the GPUs as the real package does, by cudaGetDeviceCount of NVIDIA's runtime.

    That ends with 500 where a simulated driver was accepted, which lacks the private tables that the runtime asks for
    next. From there on the driver's own count is good.
    """
    runtime = _runtime()
    count = ctypes.c_int()
    code = runtime.cudaGetDeviceCount(ctypes.byref(count))
    if code == SUCCESS:
        return count.value
    if code == SYMBOL_NOT_FOUND:
        _ask("cuInit", 0)
        _ask("cuDeviceGetCount", ctypes.byref(count))
        return count.value
    if code == NO_DEVICE:
        return 0
    if code == INSUFFICIENT_DRIVER:
        driver = ctypes.c_int()
        runtime.cudaDriverGetVersion(ctypes.byref(driver))
        raise RuntimeError(_too_old(driver.value))
    runtime.cudaGetErrorString.restype = ctypes.c_char_p
    raise RuntimeError(
        "Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before calling NumCudaDevices()"
        f" that might have already set an error? Error {code}: {runtime.cudaGetErrorString(code).decode()}"
    )


def _too_old(driver: int) -> str:
    if driver <= 0:
        return (
            "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and installed a driver"
            f" from {DOWNLOAD}"
        )
    return (
        f"The NVIDIA driver on your system is too old (found version {driver}). Please update your GPU driver by"
        f" downloading and installing a new version from the URL: {DOWNLOAD} Alternatively, go to: https://pytorch.org"
        " to install a PyTorch version that has been compiled with your version of the CUDA driver."
    )


def _runtime() -> ctypes.CDLL:
    """NVIDIA's runtime of this build's major, from its wheel: nvidia/cu13, before CUDA 13 nvidia/cuda_runtime."""
    site, name = Path(__file__).parents[1], f"libcudart.so.{(version.cuda or '').partition('.')[0]}*"
    libraries = sorted(site.glob(f"nvidia/*/lib/{name}"))
    if not libraries:
        raise ImportError(f"{name}: cannot open shared object file: {site}/nvidia holds none")
    return ctypes.CDLL(str(libraries[-1]))


def _handle(device: int) -> int:
    handle = ctypes.c_int()
    _ask("cuDeviceGet", ctypes.byref(handle), device)
    return handle.value


def _ask(name: str, *arguments: object) -> None:
    code = getattr(ctypes.CDLL("libcuda.so.1"), name)(*arguments)
    if code:
        raise RuntimeError(f"CUDA error: {name} returned {code}")
