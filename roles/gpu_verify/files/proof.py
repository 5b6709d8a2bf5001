# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of gpu_verify that need a process of their own: ``proof.py CHECK [ARGUMENT…]``.

Each prints what it saw as one line of JSON, which gpu_verify judges. It runs in the environment under proof; a check
that needs the driver alone runs in any Python from 3.9.
"""

# ruff: noqa: PLC0415 - torch is there in the environment alone

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from proof_driver import CudaError, cuinit, cutlass, mapped_libcuda, used_libcuda
from proof_host import limits, workers
from proof_nvrtc import nvrtc
from proof_packages import package, packages
from proof_peers import peers

Record = dict[str, Any]

# The matmul check's matrices: large enough for a tensor core's kernel, small enough for a float64 reference on the CPU.
SIDE = 512
# The rounding errors of a sum of K terms add up to about √K of them; beyond this multiple something is wrong.
SAFETY = 4.0
# The load's matrices: each product keeps a large GPU busy for a millisecond or more, and 400 MB suffice for it.
LOAD_SIDE = 8192
LOAD_ROUND = 4


def torch_facts() -> Record:
    """What PyTorch says of itself, and the CUDA libraries installed beside it."""
    from importlib import metadata

    import torch

    flags = torch._C._cuda_getArchFlags() if torch.version.cuda else None
    record: Record = {
        "version": str(torch.__version__),
        "cuda": torch.version.cuda,
        "arch_list": (flags or "").split(),
        "folder": str(Path(torch.__file__).parent.resolve()),
        "python": sys.executable,
        "nvidia": {},
        "twice": {},
        "devices": [],
        "available": False,
        "available_by_nvml": False,
    }
    # In the order of sys.path, in which PyTorch loads their libraries: the first of a name counts.
    for distribution in metadata.distributions():
        name, version = (distribution.metadata["Name"] or "").lower(), distribution.version
        if name.startswith(("nvidia-", "cuda-toolkit")) and record["nvidia"].setdefault(name, version) != version:
            record["twice"].setdefault(name, [record["nvidia"][name], version])
    if torch.version.cuda:
        # Counted by NVML, which starts nothing and says yes where no operation works; asked first, as starting CUDA
        # fixes the answer.
        with changed_environment(PYTORCH_NVML_BASED_CUDA_CHECK="1"):
            record["available_by_nvml"] = torch.cuda.is_available()
        with changed_environment(PYTORCH_NVML_BASED_CUDA_CHECK=None):
            record["available"] = torch.cuda.is_available()
        try:
            torch.cuda.init()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what a program here would meet
            record["error"] = str(error).splitlines()[0] if str(error) else type(error).__name__
        else:
            record["devices"] = [
                "{}.{}".format(*torch.cuda.get_device_capability(index)) for index in range(torch.cuda.device_count())
            ]
    record["libcuda"] = mapped_libcuda()
    record["used"] = used_libcuda() if record["libcuda"] else None
    return record


@contextlib.contextmanager
def changed_environment(**changes: str | None) -> Iterator[None]:
    """The process's variables changed for a while; None removes one."""
    before = {name: os.environ.pop(name, None) for name in changes}
    os.environ.update({name: value for name, value in changes.items() if value is not None})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def features() -> Record:
    """What the PyTorch that is here was built with: the text of its own build, and what the built code answers.

    ``answers`` has the switches of PyTorch's setup.py that a function or a library of the build shows, and only those
    that depend on the build alone: not on this host's GPU or processor.
    """
    import torch

    answers = {}
    for name, ask in FEATURES.items():
        try:
            answers[name] = bool(ask(torch))
        except (AttributeError, ImportError, OSError, RuntimeError):
            continue  # this release has no such function
    versions = {}
    for name, ask in VERSIONS.items():
        try:
            versions[name] = ask(torch)
        except (AttributeError, ImportError, OSError, RuntimeError) as error:
            versions[name] = f"unknown ({str(error).partition(chr(10))[0]})"
    flags = torch._C._cuda_getArchFlags() if torch.version.cuda else None
    return {
        "version": str(torch.__version__),
        "cuda": torch.version.cuda,
        "arch_list": (flags or "").split(),
        "config": torch.__config__.show() if hasattr(torch, "__config__") else "",
        "answers": answers,
        "versions": {name: version for name, version in versions.items() if version is not None},
    }


def _library_has(torch: Any, name: str, words: bytes) -> bool:
    """Whether a library of PyTorch's holds some bytes; FileNotFoundError where it has no such library."""
    import mmap

    with Path(torch.__file__).with_name("lib").joinpath(name).open("rb") as stream:
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ).find(words) >= 0


def _has_efficient_attention(torch: Any) -> bool:
    # The operator is there in any case; the names of its kernels only where they were compiled.
    return torch.version.cuda is not None and _library_has(torch, "libtorch_cuda.so", b"fmha_cutlassF_")


def _has_numpy(torch: Any) -> bool:
    try:
        torch.zeros(1).numpy()
    except RuntimeError as error:
        if "without NumPy" in str(error):
            return False
        raise  # NumPy is not installed, and nothing is known of the bridge to it
    return True


def _nccl_version(torch: Any) -> str | None:
    if not torch.distributed.is_nccl_available():
        return None
    return ".".join(map(str, torch.cuda.nccl.version()))


FEATURES: dict[str, Callable[[Any], Any]] = {
    "USE_CUDA": lambda torch: torch.backends.cuda.is_built(),
    "USE_CUDNN": lambda torch: torch._C._has_cudnn,
    "USE_CUSPARSELT": lambda torch: torch._C._has_cusparselt,
    "USE_DISTRIBUTED": lambda torch: torch.distributed.is_available(),
    "USE_FLASH_ATTENTION": lambda torch: torch.backends.cuda.is_flash_attention_available(),
    "USE_GLOO": lambda torch: torch.distributed.is_gloo_available(),
    "USE_ITT": lambda torch: torch.profiler.itt.is_available(),
    "USE_KLEIDIAI": lambda torch: torch.backends.kleidiai.is_available(),
    "USE_KINETO": lambda torch: torch.autograd.kineto_available(),
    "USE_MAGMA": lambda torch: torch._C._has_magma,
    "USE_MEM_EFF_ATTENTION": _has_efficient_attention,
    "USE_MKL": lambda torch: torch.backends.mkl.is_available(),
    "USE_MKLDNN": lambda torch: torch.backends.mkldnn.is_available(),
    "USE_MPI": lambda torch: torch.distributed.is_mpi_available(),
    "USE_NCCL": lambda torch: torch.distributed.is_nccl_available(),
    "USE_NUMPY": _has_numpy,
    "USE_OPENMP": lambda torch: torch.backends.openmp.is_available(),
    "USE_TENSORPIPE": lambda torch: hasattr(torch._C._distributed_rpc, "TensorPipeAgent"),
    "USE_UCC": lambda torch: torch.distributed.is_ucc_available(),
    "USE_XNNPACK": lambda torch: torch._C._is_xnnpack_enabled(),
}
VERSIONS: dict[str, Callable[[Any], Any]] = {
    "cuDNN": lambda torch: torch.backends.cudnn.version() if torch._C._has_cudnn else None,
    "NCCL": _nccl_version,
}


def matmul_bound(depth: int, eps_sum: float, eps_result: float) -> tuple[float, float]:
    """The factors f, g of the bound f·(|A|·|B|) + g·|A·B| on the error of a product over ``depth`` terms.

    A rounding errs by half an ``eps``: the sum in one format by √depth of them, in the magnitude of its terms, and
    storing it in another by one, in the magnitude of the result.
    """
    return SAFETY * depth**0.5 * eps_sum / 2, eps_result / 2


def matmul(*devices: str) -> Record:
    """Multiply on every device in the formats that matter and compare with float64 on the CPU."""
    # Images of NVIDIA's switch TF32 on for everybody; a float32 product is to be one here.
    for name in ("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "NVIDIA_TF32_OVERRIDE"):
        os.environ.pop(name, None)
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(SIDE, SIDE, generator=generator, dtype=torch.float64) for _unused in range(2)]
    names = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if "gpu" in devices else ["cpu"]
    dtypes = [torch.float32, torch.float16, torch.bfloat16] if "gpu" in devices else [torch.float32]
    products = []
    for dtype in dtypes:
        a, b = (matrix.to(dtype) for matrix in drawn)
        reference = a.double() @ b.double()
        magnitude = a.double().abs() @ b.double().abs()
        of_sum, of_result = matmul_bound(SIDE, torch.finfo(torch.float32).eps, torch.finfo(dtype).eps)
        bound = of_sum * magnitude + of_result * reference.abs()
        for name in names:
            found = (a.to(name) @ b.to(name)).cpu().double()
            share = float(((found - reference).abs() / bound).max())
            ok = bool(torch.isfinite(found).all()) and share <= 1.0
            products.append(
                {"device": name, "dtype": str(dtype).removeprefix("torch."), "share_of_bound": share, "ok": ok}
            )
    return {"products": products, "devices": names}


def load(seconds: str) -> Record:
    """Keep every device busy with half-precision products; ``begun`` and ``ended`` are on the monotonic clock."""
    import torch

    devices = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    if not devices:
        return {"error": "torch sees no GPU"}
    operands = []
    for device in devices:
        left, right = (torch.randn(LOAD_SIDE, LOAD_SIDE, device=device, dtype=torch.float16) for _unused in range(2))
        operands.append((left, right, torch.empty_like(left)))
    rounds = -1  # the first is warm-up
    begun = time.monotonic()
    while rounds < 1 or time.monotonic() - begun < float(seconds):
        for _turn in range(LOAD_ROUND):
            for left, right, product in operands:
                torch.matmul(left, right, out=product)
        for device in devices:
            torch.cuda.synchronize(device)
        rounds += 1
        if rounds == 0:
            begun = time.monotonic()
    ended = time.monotonic()
    work = 2 * LOAD_SIDE**3 * LOAD_ROUND * rounds
    return {"begun": begun, "ended": ended, "tflops_per_device": round(work / (ended - begun) / 1e12, 1)}


def extension(folder: str, *devices: str) -> Record:
    """Build the operator with PyTorch's own tools, load it and call it."""
    import torch

    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    compiler = os.environ.get("CXX", "c++")
    if not shutil.which(compiler):
        return {"skipped": f"there is no C++ compiler ({compiler}) on this host"}
    try:
        from torch.utils import cpp_extension
    except ImportError as error:
        return {"skipped": f"torch.utils.cpp_extension cannot be imported here: {error}"}
    if not cpp_extension.is_ninja_available():
        return {"skipped": "there is no ninja in the environment or on the PATH"}
    cuda = is_cuda_buildable(torch.version.cuda, cpp_extension.CUDA_HOME)
    sources = ["extension.cpp", "extension.cu"] if cuda else ["extension.cpp"]
    if "gpu" in devices and cuda:
        found = {torch.cuda.get_device_capability(index) for index in range(torch.cuda.device_count())}
        os.environ["TORCH_CUDA_ARCH_LIST"] = ";".join(f"{major}.{minor}" for major, minor in sorted(found))
    build = Path(folder, "extension")
    build.mkdir(exist_ok=True)
    library = cpp_extension.load(
        name="podsmith_proof",
        sources=[str(Path(folder, name)) for name in sources],
        extra_cflags=["-O0", *(["-DPODSMITH_CUDA"] if cuda else [])],
        build_directory=str(build),
        with_cuda=cuda,
        is_python_module=False,
        verbose=True,
    )
    x = torch.arange(1000, dtype=torch.float32)
    names = ["cpu"]
    if cuda and "gpu" in devices:
        names += [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    wrong = {name: int((torch.ops.podsmith_proof.scale(x.to(name), 3.0).cpu() != 3.0 * x).sum()) for name in names}
    return {"kind": "cuda" if cuda else "cpp", "library": str(library), "compiler": compiler, "wrong": wrong}


def is_cuda_buildable(torch_cuda: str | None, cuda_home: str | None) -> bool:
    """Whether PyTorch and the toolkit at CUDA_HOME share their CUDA major."""
    if not torch_cuda or not cuda_home or not Path(cuda_home, "bin", "nvcc").exists():
        return False
    answer = subprocess.run([f"{cuda_home}/bin/nvcc", "--version"], capture_output=True, text=True, check=False)
    release = re.search(r"release (\d+)\.", answer.stdout)
    return bool(release) and release[1] == torch_cuda.split(".")[0]


def triton(*_devices: str) -> Record:
    """A kernel of Triton's on every device. Triton makes PTX and compiles that itself: the driver gets machine code."""
    import sysconfig
    from importlib import metadata, util

    import torch

    if not util.find_spec("triton"):
        return {"skipped": "there is no triton in the environment"}
    record: Record = {"triton": metadata.version("triton"), "devices": torch.cuda.device_count(), "runs": []}
    try:
        from proof_triton import run

        record["runs"] = [run(index) for index in range(record["devices"])]
    except Exception as error:
        # Triton compiles the code that launches a kernel: without a compiler nothing is known of the kernel.
        lacking = []
        if not (os.environ.get("CC") or any(map(shutil.which, ("gcc", "clang", "cc")))):
            lacking.append("a C compiler")
        if not Path(sysconfig.get_paths()["include"], "Python.h").is_file():
            lacking.append("the headers of this Python")
        if not lacking:
            raise
        return {"skipped": f"Triton needs {' and '.join(lacking)} here ({str(error).partition(chr(10))[0]})"}
    return record


def compiled(*devices: str) -> Record:
    """torch.compile of a small function, against the same function as it is."""
    import torch

    def function(x: Any) -> Any:
        return torch.sin(x) * 2 + x.sum(dim=-1, keepdim=True)

    wrong = {}
    for name in ["cuda:0"] if "gpu" in devices else ["cpu"]:
        x = torch.linspace(0, 1, 4096, device=name).reshape(64, 64)
        wrong[name] = int((~torch.isclose(torch.compile(function)(x), function(x), rtol=1e-4, atol=1e-5)).sum())
    return {"wrong": wrong}


def pip_fence() -> Record:
    """Ask pip, without installing anything, for another torch than the one that is here."""
    from importlib import metadata, util

    if not util.find_spec("pip"):
        return {"skipped": "there is no pip in the environment"}
    requirement = f"torch!={metadata.version('torch').partition('+')[0]}"
    argv = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--upgrade", requirement]
    answer = subprocess.run(argv, capture_output=True, text=True, check=False)
    said = answer.stdout + answer.stderr
    record = {"requirement": requirement, "code": answer.returncode, "constrained": "(constraint)" in said}
    return {**record, "said": said[-1000:]}


CHECKS: dict[str, Callable[..., Record]] = {
    "cuinit": cuinit,
    "cutlass": cutlass,
    "torch": torch_facts,
    "matmul": matmul,
    "nvrtc": nvrtc,
    "triton": triton,
    "peers": peers,
    "limits": limits,
    "workers": workers,
    "extension": extension,
    "package": package,
    "packages": packages,
    "features": features,
    "load": load,
    "compile": compiled,
    "pip_fence": pip_fence,
}


def main(arguments: list[str]) -> int:
    """Run one check; 0 where it could say what it saw."""
    try:
        record = CHECKS[arguments[0]](*arguments[1:])
    except CudaError as error:
        sys.stdout.write(json.dumps({**error.record, "libcuda": mapped_libcuda()}) + "\n")
        return 1
    except OSError as error:
        sys.stdout.write(json.dumps({"failure": str(error)}) + "\n")
        return 1
    sys.stdout.write(json.dumps(record) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
