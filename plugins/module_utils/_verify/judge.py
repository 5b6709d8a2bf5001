# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the output of a check means: text and records in, problems in words out. Nothing here reads or runs anything."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.podsmith.gpu.plugins.module_utils._host.pip import mixed_parts
from ansible_collections.podsmith.gpu.plugins.module_utils._verify.coverage import (
    covers,
    parse_architecture,
    split_architecture,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._verify.errors import explain_error

Record = dict[str, Any]

EM_CUDA = 190  # the ELF machine number of device code
NVCC_RELEASE = re.compile(r"release (?P<release>\d+\.\d+), V(?P<exact>\d+(?:\.\d+)+)")
CUDA_MAJOR = re.compile(r"-cu(\d+)$")
# USE_NCCL=1 of PyTorch's own build summary, and -DUSE_FBGEMM among its compiler's flags
SETTING = re.compile(r"(?<![\w-])(USE_\w+)=(\w+)")
DEFINE = re.compile(r"(?<!\S)-D(USE_\w+)(?:=(\w+))?(?=[\s,]|$)")
# What the summary leaves out, so that the flags alone say it: absent means off.
ONLY_DEFINED = ("USE_FBGEMM", "USE_FBGEMM_GENAI", "USE_KINETO", "USE_MSLK", "USE_PYTORCH_QNNPACK", "USE_XNNPACK")
# Packages without a CUDA suffix in their name whose own version is CUDA's.
CUDA_VERSIONED = ("nvidia-cuda-runtime", "nvidia-cuda-nvrtc", "nvidia-cublas", "cuda-toolkit")

# What a tool says, as a pattern → what helps; the first that is found counts. CUDA's own errors are the catalogue's.
ADVICE: Sequence[tuple[str, str]] = (
    # https://github.com/pytorch/pytorch/issues/152783, 111469; https://github.com/infiniflow/ragflow/issues/4466
    (
        r"undefined symbol: __nvJitLink",
        (
            "An older libnvJitLink than the one that PyTorch comes with was loaded, most often a toolkit's: ldd on the"
            " library in the message shows which. Remove that toolkit's lib64 from LD_LIBRARY_PATH."
        ),
    ),
    # https://github.com/Dao-AILab/flash-attention/issues/2219, 1832
    (
        r"undefined symbol: (c10_|_ZNK?3c10|_ZNK?2at|_ZNK?5torch)",
        (
            "The library in the message was built for another PyTorch than the one installed. Install the wheel for"
            " this PyTorch, or compile it here (source.extensions); another toolkit or driver changes nothing."
        ),
    ),
    # https://github.com/vllm-project/vllm/issues/52300, 43435
    (
        r"libcudart\.so\.[\d.]+: cannot open shared object file",
        (
            "A library that is imported was built for the CUDA major version after .so, and the environment has"
            " another. Install its build for the CUDA in torch.version.cuda, or a PyTorch for that major version."
        ),
    ),
    # The operation of the package's own, with the versions: _verify/judge_packages.py
    (
        r"xFormers can't load C\+\+/CUDA extensions",
        (
            "This wheel of xFormers does not load with this PyTorch, and leaves out its own kernels. Have it compiled"
            " here (source.extensions), or leave it out."
        ),
    ),
    (
        r"operator torchvision::nms does not exist|libc10_cuda\.so: cannot open shared object file",
        (
            "A build for CUDA stands beside a PyTorch for the CPU, or the other way round. Install the build of the"
            " index that PyTorch is from, such as +cpu."
        ),
    ),
    # https://pip.pypa.io/en/stable/news/, release 25.3
    (
        r"--build-constraint cannot be used with --no-build-isolation",
        (
            "This pip refuses PIP_BUILD_CONSTRAINT for a build that it does not isolate: run it without that variable"
            " (env -u PIP_BUILD_CONSTRAINT pip install ...), or use the environment's own pip."
        ),
    ),
    # https://github.com/pytorch/pytorch/issues/103417, 107960; https://github.com/triton-lang/triton/pull/1981
    (
        r"cannot find -l(:libcuda\.so|cuda\b)|libcuda\.so cannot found",
        (
            "The linker finds no libcuda.so. Add the folder with the driver's libcuda to LIBRARY_PATH, or the toolkit's"
            " lib64/stubs; never add the stubs to LD_LIBRARY_PATH."
        ),
    ),
    # https://github.com/NVIDIA/nvidia-container-toolkit/issues/48
    (
        r"Failed to initialize NVML: Unknown Error",
        (
            "If nvidia-smi works on the host, the container has lost its GPUs, as after systemctl daemon-reload there:"
            " start it anew. See NVIDIA's page on containers that lose access to their GPUs."
        ),
    ),
    # https://github.com/NVIDIA/nccl/issues/290, 328, 342
    (
        r"Error while creating shared memory segment|(?:posix_fallocate|shm_open) failed",
        (
            "NCCL could not create its shared memory; the line says why. With No space left on device, start the"
            " container with a larger --shm-size or with --ipc=host, and remove what ended jobs left behind"
            " (/dev/shm/nccl-*); with Permission denied, /dev/shm needs mode 1777."
        ),
    ),
    # https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting.html
    (
        r"unhandled (cuda|system) error",
        (
            "NCCL does not say here what failed. Run it with NCCL_DEBUG=INFO: the first line with NCCL WARN names the"
            " call. Most frequent are a small /dev/shm, used-up GPU memory, and a GPU that fails on its own."
        ),
    ),
    # https://pip.pypa.io/en/stable/cli/pip_install/
    (
        r"No matching distribution found for",
        (
            "None of the indexes that pip asked has this version for this Python, machine and glibc; versions such as"
            " +cu130 are on PyTorch's own indexes only. The lines above it say which indexes were asked."
        ),
    ),
    ("No space left on device", "Free some space in the temporary folder, or set TMPDIR to a larger one."),
    ("Permission denied", "Use a temporary folder from which programs may be run (mounted without noexec)."),
    # https://github.com/NVIDIA/cuda-samples/issues/378; https://github.com/ggml-org/llama.cpp/issues/19100
    (
        "exception specification is incompatible",
        (
            "The host's glibc declares a function of math.h differently from this toolkit's headers: use a newer CUDA"
            " release, or a host with an older glibc. Another g++ changes nothing."
        ),
    ),
    ("unsupported GNU version", "Install a g++ that this CUDA release supports, and set NVCC_CCBIN to it."),
    ("unsupported clang version", "Install a clang or g++ that this CUDA release supports; set NVCC_CCBIN to it."),
    ("Failed to preprocess host compiler", "Install g++: nvcc needs it even for device code alone."),
    ("Unsupported gpu architecture", "Remove this architecture, or use a CUDA release that supports it."),
    ("cute/tensor.hpp: No such file", "Run the cutlass role again: the headers are missing or incomplete."),
    ("cuda_runtime.h: No such file", "Run the cuda_toolkit role again: the runtime's headers are missing."),
    ("cannot find -lcudart", "Run the cuda_toolkit role again: the runtime's libraries for linking are missing."),
    ("Python.h: No such file", "Install the headers of this Python (python3-dev)."),
    ("No module named 'torch'", "Run the pytorch role again: torch is not installed in this environment."),
    ("libcuda.so.1: cannot open", "Install the driver's library on this host, or start the container with --gpus all."),
    ("out of memory", "Free GPU memory (nvidia-smi shows what uses it) or host memory, and verify again."),
    (
        "working triton installation",
        "Add triton to the request's extensions: only PyTorch's own CUDA wheels include it.",
    ),
    ("No module named 'setuptools'", "Run the pytorch role again: PyTorch's build tools import setuptools."),
    ("CUDA version mismatch", "Use a toolkit of the CUDA major version that PyTorch was built with."),
    ("detected CUDA version", "Use a toolkit of the CUDA major version that PyTorch was built with."),
)


def parse_nvcc(text: str) -> Record | None:
    """``{release: "13.0", exact: "13.0.88"}`` from ``nvcc --version``, None where it says neither."""
    found = NVCC_RELEASE.search(text)
    return found.groupdict() if found else None


def parse_records(text: str) -> list[Record]:
    """The lines of an output that are JSON objects."""
    records = []
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                records.append(record)
    return records


def capability(name: str) -> str:
    """sm_90a → 9.0a, as TORCH_CUDA_ARCH_LIST has it.

    Raises ValueError, see parse_architecture.
    """
    return "".join(split_architecture(name))


def find_cubins(data: bytes) -> set[int]:
    """The architectures, as 90 for sm_90, of the uncompressed device code inside a file.

    In ABI 8 (CUDA 13) the ELF header's flags hold the number in their second byte, before in their first.
    """
    found = set()
    start = data.find(b"\x7fELF\x02\x01")
    while start >= 0:
        header = data[start : start + 64]
        if len(header) == 64 and struct.unpack_from("<H", header, 18)[0] == EM_CUDA:
            flags = struct.unpack_from("<I", header, 48)[0]
            found.add(flags >> 8 & 0xFF if header[8] >= 8 else flags & 0xFF)
        start = data.find(b"\x7fELF\x02\x01", start + 1)
    return found


def judge_nvcc(text: str, wanted: str | None) -> list[str]:
    """Compare ``nvcc --version`` with "13.0" or "13.0.88"."""
    found = parse_nvcc(text)
    if not found:
        return ["nvcc --version shows no release."]
    if wanted and wanted not in (found["release"], found["exact"]):
        return [f"nvcc is {found['exact']}; expected {wanted}."]
    return []


def judge_cubins(data: bytes, architectures: Sequence[str]) -> list[str]:
    """Compare what a compiled file holds with what it was compiled for."""
    found = find_cubins(data)
    missing = [name for name in architectures if parse_architecture(name)[0] not in found]
    if not missing:
        return []
    has = ", ".join(f"sm_{number}" for number in sorted(found)) or "no device code"
    return [f"The compiled file lacks code for {', '.join(missing)}; it has {has}."]


def judge_kernel_runs(records: Sequence[Record]) -> list[str]:
    """Each device ran the kernel and every number was right."""
    if not any("device" in record for record in records):
        return ["The program did not run on any device."]
    return [
        f"Device {record['device']} computed {record['wrong']} wrong numbers and the sum {record['sum']},"
        f" not {record['wanted']}."
        for record in records
        if "device" in record and (record["wrong"] or record["sum"] != record["wanted"])
    ]


def judge_cutlass_runs(record: Record) -> list[str]:
    """Each device ran at least one cubin, and every run's product was exact."""
    runs = record.get("runs", [])
    ran = {run["device"] for run in runs}
    idle = [index for index in range(record.get("devices", 0)) if index not in ran]
    problems = [f"No compiled kernel runs on device {index}." for index in idle]
    if not record.get("devices"):
        problems.append("The kernel did not run on any device.")
    wrong = [run for run in runs if run["wrong"]]
    return problems + [
        f"{run['cubin']} computed {run['wrong']} wrong numbers on device {run['device']}." for run in wrong
    ]


def judge_torch(found: Record, expected: Mapping[str, Any], home: str, *, gpu: bool) -> list[str]:
    """Compare what PyTorch says of itself with the plan's torch, cuda and arch_list, as far as these are given.

    ``home`` is the resolved folder that it must be imported from.
    """
    problems = []
    wanted = expected.get("torch")
    if wanted and not is_same_build(found["version"], wanted):
        problems.append(f"torch is {found['version']}; expected {wanted}.")
    cuda = expected.get("cuda")
    if cuda and found["cuda"] != cuda:
        problems.append(f"torch is built for {_cuda(found['cuda'])}; expected CUDA {cuda}.")
    lacking = [name for name in expected.get("arch_list") or [] if name not in found["arch_list"]]
    if lacking and found["cuda"]:
        problems.append(f"torch has no code for {', '.join(lacking)}; it has {', '.join(found['arch_list'])}.")
    if not found["folder"].startswith(f"{home}/"):
        problems.append(f"torch is imported from {found['folder']}; expected {home}.")
    majors = find_cuda_majors(found["nvidia"])
    if len(majors) > 1:
        listed = " and ".join(f"{', '.join(names)} (CUDA {major})" for major, names in sorted(majors.items()))
        problems.append(f"The environment mixes libraries of different CUDA major versions: {listed}.")
    problems += [f"PyTorch loads parts of two CUDA releases: {clause}." for clause in mixed_parts(found["nvidia"])]
    problems += [
        f"{name} {versions[0]} stands before {name} {versions[1]} on sys.path, and PyTorch loads the first."
        for name, versions in sorted((found.get("twice") or {}).items())
    ]
    return problems + (judge_torch_devices(found) if gpu else [])


def judge_torch_devices(found: Record) -> list[str]:
    """PyTorch started CUDA, sees devices, and has code for each."""
    if not found["cuda"]:
        return [f"torch {found['version']} is a build without CUDA."]
    if found.get("error") or not found["available"] or not found["devices"]:
        why = str(found.get("error") or "none is visible").rstrip(".")
        told = " torch.cuda.is_available() with PYTORCH_NVML_BASED_CUDA_CHECK=1 says True all the same: it only counts."
        return [f"torch cannot use the GPU: {why}.{told if found.get('available_by_nvml') else ''}"]
    problems = [] if found["libcuda"] else ["torch reports that CUDA works, but no libcuda is loaded."]
    return problems + [
        f"torch has no code for device {index} (compute capability {device}); it has {', '.join(found['arch_list'])}."
        for index, device in enumerate(found["devices"])
        if not covers(found["arch_list"], device, ptx=True, cuda=found["cuda"])
    ]


def parse_build(text: str) -> dict[str, bool]:
    """The switches that ``torch.__config__.show()`` tells, ``USE_NCCL`` → on or off; none from another text."""
    flags = text.partition("CXX_FLAGS=")[2].partition(", ")[0]
    if not flags:
        return {}
    found = dict.fromkeys(ONLY_DEFINED, False)
    found.update((match[1], is_on(match[2] or "1")) for match in DEFINE.finditer(flags))
    found.update((match[1], is_on(match[2])) for match in SETTING.finditer(text))
    return found


def is_on(value: Any) -> bool:
    """Whether a value switches something on, as CMake and the environment write it."""
    return str(value).upper() not in ("0", "OFF", "FALSE", "NO", "N", "")


def find_features(record: Record) -> dict[str, bool]:
    """Each switch of a build and whether it is on; what the built code answers weighs more than its summary."""
    found = {**parse_build(record["config"]), **record["answers"]}
    return dict(sorted(found.items()))


def judge_features(found: Mapping[str, bool], expected: Mapping[str, Any]) -> list[str]:
    """Compare the switches of a build with those wanted, as far as the build shows them."""
    words = {True: "on", False: "off"}
    return [
        f"{name} is {words[found[name]]} in this PyTorch; expected {words[is_on(wanted)]}."
        for name, wanted in sorted(expected.items())
        if name in found and found[name] != is_on(wanted)
    ]


def advise_features(found: Mapping[str, bool], expected: Mapping[str, Any]) -> str | None:
    """How to build it anew, None where no switch differs."""
    wrong = [name for name, wanted in sorted(expected.items()) if name in found and found[name] != is_on(wanted)]
    if not wrong:
        return None
    switches = " ".join(f"{name}={int(is_on(expected[name]))}" for name in wrong)
    lacking = " Its configure step leaves out what it does not find, and says so." if "=1" in switches else ""
    return f"Rebuild PyTorch with {switches}, or change gpu_verify_features to match it.{lacking}"


def unknown_features(found: Mapping[str, bool], expected: Mapping[str, Any]) -> list[str]:
    """What is wanted of switches that the build does not show."""
    names = sorted(name for name in expected if name not in found)
    return [f"Unknown for this PyTorch: {', '.join(names)}; neither its build summary nor its code shows it."] * bool(
        names
    )


def is_same_build(found: str, wanted: str) -> bool:
    """2.9.1+cu130 is 2.9.1+cu130, and 2.9.1 without a local part may be either's other name."""
    (public, _unused, local), (wanted_public, _unused, wanted_local) = found.partition("+"), wanted.partition("+")
    return public == wanted_public and (local == wanted_local or not local or not wanted_local)


def find_cuda_majors(packages: Mapping[str, str]) -> dict[int, list[str]]:
    """CUDA major → the distributions (normalised name → version) that belong to it."""
    majors: dict[int, list[str]] = {}
    for name, version in sorted(packages.items()):
        suffix = CUDA_MAJOR.search(name)
        if suffix:
            majors.setdefault(int(suffix[1]), []).append(name)
        elif name in CUDA_VERSIONED and version.split(".")[0].isdigit():
            majors.setdefault(int(version.split(".")[0]), []).append(name)
    return majors


def judge_products(record: Record) -> list[str]:
    """Every device computed, and every product stayed within its bound."""
    computed = {product["device"] for product in record["products"]}
    idle = [name for name in record.get("devices") or () if name not in computed]
    return [
        f"The {product['dtype']} product on {product['device']} is off by {product['share_of_bound']:.3g} times"
        " the bound of its rounding errors."
        for product in record["products"]
        if not product["ok"]
    ] + ([f"{name} computed no product." for name in idle] if computed else ["No device computed a product."])


def judge_wrong(record: Record) -> list[str]:
    """Every device computed what was wanted; ``record`` has ``wrong``: device → number of wrong elements."""
    return [f"{count} values computed on {device} are wrong." for device, count in record["wrong"].items() if count]


def judge_cuinit(record: Record) -> list[str]:
    """CUDA started and counts at least one device."""
    if record.get("failure"):
        return [f"{record['failure']}."]
    if record.get("code"):
        return [f"{record['call']} returned {record['code']} in a fresh shell."]
    return [] if record.get("devices") else ["CUDA starts, but finds no device."]


def judge_fence(record: Record) -> list[str]:
    """pip refused another torch because of the constraints."""
    if record["code"] == 0:
        return [f"pip would replace torch: it accepts {record['requirement']}."]
    return (
        []
        if record["constrained"]
        else [f"pip refused {record['requirement']}, but not because of the constraint file."]
    )


def advise(
    text: str, errors: Mapping[str, Mapping[str, Any]], otherwise: str, context: Mapping[str, Any] | None = None
) -> str:
    """What helps against a failure with this output; ``context`` is what is known of the host, see explain_error."""
    found = explain_error(text, context or {}, errors)
    if found:
        return f"{found['name']}: {found['cause']} {found['remedy']}"
    return next((advice for pattern, advice in ADVICE if re.search(pattern, text)), otherwise)


def last_words(text: str) -> str:
    """The line of an output that best says what went wrong: the last with the word error in it, else the last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"\berror\b|Error:|\bfatal\b", line)]
    return (errors or lines or ["no output"])[-1][:300]


def shell_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of a fresh shell of this user: without the virtual environment that Ansible itself may run in."""
    home = environ.get("VIRTUAL_ENV")
    dropped = ("VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "TORCH_EXTENSIONS_DIR")
    kept = {name: value for name, value in environ.items() if name not in dropped and not name.startswith("ANSIBLE_")}
    path = environ.get("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").split(":")
    kept["PATH"] = ":".join(part for part in path if not (home and part.startswith(f"{home}/")))
    return kept


def _cuda(version: str | None) -> str:
    return f"CUDA {version}" if version else "the CPU only"
