from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._verify import judge
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue

NVCC = """nvcc: NVIDIA (R) Cuda compiler driver
Copyright (c) 2005-2025 NVIDIA Corporation
Cuda compilation tools, release 13.0, V13.0.88
Build cuda_13.0.r13.0/compiler.36424714_0
"""
ERRORS = {
    "35": {"name": "cudaErrorInsufficientDriver", "cause": "Old driver.", "remedy": "Newer driver."},
    "209": {
        "name": "CUDA_ERROR_NO_BINARY_FOR_GPU",
        "words": ["no kernel image is available"],
        "cause": "No kernel image.",
        "remedy": "Compile for it.",
    },
    "803": {"name": "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "cause": "Old compat.", "remedy": "Take it out."},
}


BUILDS = Path(__file__).resolve().parents[4] / "fixtures" / "pytorch-builds"


def elf(number: int, *, abi: int = 8, machine: int = 190) -> bytes:
    """The header of a cubin; flags as nvcc 13 (ABI 8) or 12 (ABI 7) write them."""
    ident = b"\x7fELF\x02\x01\x01\x41" + bytes([abi]) + bytes(7)
    flags = 0x06000004 | number << 8 if abi >= 8 else 0x00500500 | number
    return struct.pack("<16sHHIQQQIHHHHHH", ident, 2, machine, 1, 0, 0, 0, flags, 64, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(NVCC, {"release": "13.0", "exact": "13.0.88"}, id="13.0"),
        pytest.param(
            "Cuda compilation tools, release 11.8, V11.8.89", {"release": "11.8", "exact": "11.8.89"}, id="11.8"
        ),
        pytest.param("nvcc: command not found", None, id="none"),
        pytest.param("", None, id="empty"),
    ],
)
def test_parse_nvcc(text: str, expected: dict[str, str] | None) -> None:
    assert judge.parse_nvcc(text) == expected


@pytest.mark.parametrize(
    ("text", "wanted", "problems"),
    [
        pytest.param(NVCC, "13.0", [], id="release"),
        pytest.param(NVCC, "13.0.88", [], id="exact"),
        pytest.param(NVCC, None, [], id="anything"),
        pytest.param(NVCC, "12.8", ["nvcc is 13.0.88; expected 12.8."], id="other-release"),
        pytest.param(NVCC, "13.0.8", ["nvcc is 13.0.88; expected 13.0.8."], id="no-prefix-match"),
        pytest.param("hello", "13.0", ["nvcc --version shows no release."], id="no-nvcc"),
    ],
)
def test_judge_nvcc(text: str, wanted: str | None, problems: list[str]) -> None:
    assert judge.judge_nvcc(text, wanted) == problems


@pytest.mark.parametrize(("name", "expected"), [("sm_90a", "9.0a"), ("sm_120", "12.0"), ("sm_75", "7.5")])
def test_capability(name: str, expected: str) -> None:
    assert judge.capability(name) == expected


@pytest.mark.parametrize(
    ("data", "found"),
    [
        pytest.param(elf(90), {90}, id="abi-8"),
        pytest.param(elf(75, abi=7), {75}, id="abi-7"),
        pytest.param(elf(0, machine=62) + bytes(100) + elf(90) + bytes(9) + elf(120), {90, 120}, id="inside-a-program"),
        pytest.param(elf(0, machine=62), set(), id="host-code-only"),
        pytest.param(elf(90)[:40], set(), id="cut-off"),
        pytest.param(b"", set(), id="empty"),
    ],
)
def test_find_cubins(data: bytes, found: set[int]) -> None:
    assert judge.find_cubins(data) == found


def test_missing_architecture_is_named() -> None:
    assert judge.judge_cubins(elf(90) + elf(75), ["sm_90a", "sm_120"]) == [
        "The compiled file lacks code for sm_120; it has sm_75, sm_90."
    ]
    assert judge.judge_cubins(b"", ["sm_90a"]) == ["The compiled file lacks code for sm_90a; it has no device code."]
    assert judge.judge_cubins(elf(90), ["sm_90a"]) == []


def test_parse_records_leaves_other_lines_out() -> None:
    assert judge.parse_records('Warning\n{"a": 1}\n{broken\n[1]\n  {"b": 2}\n{"c": 3}\n') == [{"a": 1}, {"c": 3}]


@pytest.mark.parametrize(
    ("records", "problems"),
    [
        pytest.param([{"device": 0, "wrong": 0, "sum": 5, "wanted": 5}], [], id="right"),
        pytest.param([], ["The program did not run on any device."], id="no-device"),
        pytest.param(
            [{"device": 1, "wrong": 3, "sum": 4, "wanted": 5}],
            ["Device 1 computed 3 wrong numbers and the sum 4, not 5."],
            id="wrong",
        ),
    ],
)
def test_judge_kernel_runs(records: list[dict[str, int]], problems: list[str]) -> None:
    assert judge.judge_kernel_runs(records) == problems


@pytest.mark.parametrize(
    ("record", "problems"),
    [
        pytest.param({"devices": 1, "runs": [{"device": 0, "cubin": "a", "wrong": 0}]}, [], id="right"),
        pytest.param({"devices": 0, "runs": []}, ["The kernel did not run on any device."], id="no-device"),
        pytest.param(
            {"devices": 2, "runs": [{"device": 0, "cubin": "a", "wrong": 7}]},
            ["No compiled kernel runs on device 1.", "a computed 7 wrong numbers on device 0."],
            id="wrong-and-idle",
        ),
    ],
)
def test_judge_cutlass_runs(record: dict[str, Any], problems: list[str]) -> None:
    assert judge.judge_cutlass_runs(record) == problems


@pytest.mark.parametrize(
    ("cuda", "arch_list", "device", "has_code"),
    [
        pytest.param("13.2", ["sm_80", "sm_90", "sm_110"], "8.7", True, id="orin-from-13.2"),
        pytest.param("13.0", ["sm_80", "sm_90", "sm_110"], "8.7", False, id="orin-before"),
        pytest.param("13.0", ["sm_87"], "8.9", False, id="tegra-code-on-discrete"),
        pytest.param("13.0", ["sm_80", "sm_120", "compute_120"], "12.1", True, id="gb10"),
        pytest.param("12.9", ["sm_80", "sm_120", "compute_120"], "9.0", False, id="ptx-of-a-newer-one"),
        pytest.param("12.9", ["sm_80", "compute_80"], "9.0", True, id="ptx"),
    ],
)
def test_the_proof_goes_by_the_same_rule_of_code(cuda: str, arch_list: list[str], device: str, has_code: bool) -> None:
    found = judge.judge_torch_devices(torch(cuda=cuda, arch_list=arch_list, devices=[device]))
    told = [f"torch has no code for device 0 (compute capability {device}); it has {', '.join(arch_list)}."]
    assert found == ([] if has_code else told)


def torch(**changes: Any) -> dict[str, Any]:
    return {
        "version": "2.9.1+cu130",
        "cuda": "13.0",
        "arch_list": ["sm_80", "sm_90", "sm_120"],
        "folder": "/env/lib/python3.12/site-packages/torch",
        "nvidia": {"nvidia-cudnn-cu13": "9.1", "nvidia-cublas": "13.1.0"},
        "devices": ["9.0"],
        "available": True,
        "libcuda": ["/usr/lib/libcuda.so.580.159.04"],
        **changes,
    }


PLAN = {"torch": "2.9.1+cu130", "cuda": "13.0", "arch_list": ["sm_80", "sm_90"]}


@pytest.mark.parametrize(
    ("changes", "gpu", "words"),
    [
        pytest.param({}, True, None, id="as-planned"),
        pytest.param({"devices": [], "available": False, "libcuda": []}, False, None, id="no-gpu-wanted"),
        pytest.param({"version": "2.9.1"}, True, None, id="no-local-part"),
        pytest.param({"version": "2.10.0+cu130"}, True, "torch is 2.10.0+cu130; expected 2.9.1+cu130.", id="swapped"),
        pytest.param({"version": "2.9.1+cu128"}, True, "torch is 2.9.1+cu128; expected 2.9.1+cu130.", id="local"),
        pytest.param({"cuda": "12.8"}, True, "torch is built for CUDA 12.8; expected CUDA 13.0.", id="cuda"),
        pytest.param({"cuda": None}, False, "torch is built for the CPU only; expected CUDA 13.0.", id="cpu"),
        pytest.param({"cuda": None}, True, "torch 2.9.1+cu130 is a build without CUDA.", id="cpu-on-gpu"),
        pytest.param({"arch_list": ["sm_90"]}, True, "torch has no code for sm_80; it has sm_90.", id="arch-list"),
        pytest.param(
            {"devices": ["9.0", "7.5"]},
            True,
            "torch has no code for device 1 (compute capability 7.5); it has",
            id="device",
        ),
        pytest.param(
            {"folder": "/root/.local/lib/torch"},
            True,
            "torch is imported from /root/.local/lib/torch; expected /env.",
            id="place",
        ),
        pytest.param(
            {"folder": "/environment-2/torch"},
            True,
            "imported from /environment-2/torch; expected /env.",
            id="same-prefix",
        ),
        pytest.param(
            {"nvidia": {"nvidia-cudnn-cu13": "9.1", "nvidia-nccl-cu12": "2"}},
            True,
            "libraries of different CUDA major versions: nvidia-nccl-cu12 (CUDA 12) and nvidia-cudnn-cu13 (CUDA 13).",
            id="mixed",
        ),
        pytest.param(
            {"nvidia": {"nvidia-cuda-runtime": "13.2.86", "nvidia-cuda-nvrtc": "13.5.37"}},
            True,
            "PyTorch loads parts of two CUDA releases: nvidia-cuda-nvrtc 13.5.37 beside nvidia-cuda-runtime 13.2.86.",
            id="mixed-minors",
        ),
        pytest.param(
            {"twice": {"nvidia-nvjitlink": ["13.2.86", "13.0.88"]}},
            True,
            "nvidia-nvjitlink 13.2.86 stands before nvidia-nvjitlink 13.0.88 on sys.path, and PyTorch loads the first.",
            id="twice-on-the-path",
        ),
        pytest.param(
            {"error": "Error 803: system has unsupported driver", "available": False},
            True,
            "torch cannot use the GPU: Error 803: system has unsupported driver",
            id="803",
        ),
        pytest.param(
            {"available": False, "devices": []}, True, "torch cannot use the GPU: none is visible.", id="none"
        ),
        pytest.param(
            {"available": False, "available_by_nvml": True, "devices": ["9.0"], "error": "Error 34: stub library"},
            True,
            "torch cannot use the GPU: Error 34: stub library. torch.cuda.is_available() with"
            " PYTORCH_NVML_BASED_CUDA_CHECK=1 says True all the same: it only counts.",
            id="nvml-says-yes",
        ),
        pytest.param(
            {"libcuda": []}, True, "torch reports that CUDA works, but no libcuda is loaded.", id="no-libcuda"
        ),
    ],
)
def test_judge_torch(changes: dict[str, Any], gpu: bool, words: str | None) -> None:
    problems = judge.judge_torch(torch(**changes), PLAN, "/env", gpu=gpu)
    assert bool(problems) == bool(words)
    assert (words or "") in " ".join(problems)


def test_nothing_expected_is_nothing_compared() -> None:
    assert judge.judge_torch(torch(), {}, "/env", gpu=False) == []


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"code": 0, "devices": 1}, None),
        ({"code": 0, "devices": 0}, "CUDA starts, but finds no device."),
        ({"call": "cuInit", "code": 803}, "cuInit returned 803 in a fresh shell."),
        ({"failure": "libcuda.so.1: cannot open shared object file"}, "libcuda.so.1: cannot open shared object file."),
    ],
)
def test_judge_cuinit(record: dict[str, Any], words: str | None) -> None:
    assert judge.judge_cuinit(record) == ([words] if words else [])


def test_judge_products() -> None:
    good = {"device": "cuda:0", "dtype": "float16", "share_of_bound": 0.3, "ok": True}
    bad = {"device": "cuda:1", "dtype": "float32", "share_of_bound": 41.2, "ok": False}
    assert judge.judge_products({"products": [good]}) == []
    assert judge.judge_products({"products": []}) == ["No device computed a product."]
    seen = {"products": [good], "devices": ["cuda:0", "cuda:1"]}
    assert judge.judge_products(seen) == ["cuda:1 computed no product."]
    assert judge.judge_products({"products": [good, bad]}) == [
        "The float32 product on cuda:1 is off by 41.2 times the bound of its rounding errors."
    ]


def test_judge_wrong() -> None:
    assert judge.judge_wrong({"wrong": {"cpu": 0, "cuda:0": 4}}) == ["4 values computed on cuda:0 are wrong."]


@pytest.mark.parametrize(
    ("code", "constrained", "problems"),
    [
        (1, True, []),
        (0, False, ["pip would replace torch: it accepts torch!=2.9.1."]),
        (1, False, ["pip refused torch!=2.9.1, but not because of the constraint file."]),
    ],
)
def test_judge_fence(code: int, constrained: bool, problems: list[str]) -> None:
    record = {"requirement": "torch!=2.9.1", "code": code, "constrained": constrained}
    assert judge.judge_fence(record) == problems


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        pytest.param(
            '{"call": "cuInit", "code": 803}', "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH: Old compat. Take it out.", id="code"
        ),
        pytest.param("RuntimeError: Error 803: system has", "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH: ", id="torch-words"),
        pytest.param('{"code": 35}', "cudaErrorInsufficientDriver: Old driver. Newer driver.", id="35"),
        pytest.param(
            "CUDA error: no kernel image is available for execution", "CUDA_ERROR_NO_BINARY_FOR_GPU", id="image"
        ),
        pytest.param("failed with CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", id="name"),
        pytest.param("nvcc fatal   : Failed to preprocess host compiler properties.", "Install g++", id="no-compiler"),
        pytest.param(
            "fatal error: cute/tensor.hpp: No such file or directory", "Run the cutlass role again", id="headers"
        ),
        pytest.param(
            "ModuleNotFoundError: No module named 'setuptools'", "Run the pytorch role again", id="setuptools"
        ),
        pytest.param("Cannot find a working triton installation.", "Add triton to the request's", id="no-triton"),
        pytest.param("ModuleNotFoundError: No module named 'torch'", "Run the pytorch role again", id="no-torch"),
        pytest.param(
            "ImportError: /env/lib/libcusparse.so.12: undefined symbol: __nvJitLinkCreate_12_8, version libnvJitLink",
            "An older libnvJitLink than the one that PyTorch comes with was loaded",
            id="nvjitlink",
        ),
        pytest.param(
            "flash_attn_2_cuda.so: undefined symbol: c10_cuda_check_implementation",
            "The library in the message was built for another PyTorch",
            id="other-torch",
        ),
        pytest.param(
            "flash_attn_2_cuda.so: undefined symbol: _ZN3c104cuda9SetDeviceEab",
            "The library in the message was built for another PyTorch",
            id="other-torch-mangled",
        ),
        pytest.param("x.so: undefined symbol: foo", "else", id="some-symbol"),
        pytest.param(
            "ImportError: libcudart.so.13: cannot open shared object file: No such file or directory",
            "A library that is imported was built for the CUDA major version after .so",
            id="cudart-13",
        ),
        pytest.param(
            "ImportError: libcudart.so.11.0: cannot open shared object file",
            "A library that is imported was built for the CUDA major version after .so",
            id="cudart-11",
        ),
        pytest.param("/usr/bin/ld: cannot find -lcuda: No such file", "The linker finds no libcuda.so", id="ld-lcuda"),
        pytest.param("/usr/bin/ld: cannot find -l:libcuda.so.1", "The linker finds no libcuda.so", id="ld-l-libcuda"),
        pytest.param("AssertionError: libcuda.so cannot found!", "The linker finds no libcuda.so", id="triton-libcuda"),
        pytest.param("/usr/bin/ld: cannot find -lcudart", "Run the cuda_toolkit role again", id="ld-lcudart"),
        pytest.param(
            "Failed to initialize NVML: Unknown Error",
            "If nvidia-smi works on the host, the container has",
            id="nvml-lost",
        ),
        pytest.param(
            "include/shm.h:28 NCCL WARN Call to posix_fallocate failed : No space left on device\n"
            "NCCL error: unhandled system error (run with NCCL_DEBUG=INFO for details)",
            "NCCL could not create its shared memory",
            id="nccl-shm",
        ),
        pytest.param(
            "NCCL WARN Error while creating shared memory segment /dev/shm/nccl-zTYolS (size 5967872)",
            "NCCL could not create its shared memory",
            id="nccl-segment",
        ),
        pytest.param(
            "NCCL error: unhandled cuda error (run with NCCL_DEBUG=INFO for details)",
            "NCCL does not say here what failed",
            id="nccl-cuda",
        ),
        pytest.param("NCCL error: unhandled system error", "NCCL does not say here what failed", id="nccl-system"),
        pytest.param(
            "unhandled cuda error (run with NCCL_DEBUG=INFO for details)\nCuda failure 803 'x'",
            "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
            id="nccl-names-cudas-error",
        ),
        pytest.param("No space left on device: '/tmp/x.o'", "Free some space", id="disk-full"),
        pytest.param(
            "ERROR: No matching distribution found for torch==2.9.1+cu130",
            "None of the indexes that pip asked has this version",
            id="pip",
        ),
        pytest.param('{"code": 4711}', "else", id="unknown-code"),
        pytest.param("", "else", id="silence"),
    ],
)
def test_advise(text: str, advice: str) -> None:
    assert judge.advise(text, ERRORS, "else").startswith(advice)


@pytest.mark.parametrize(("where", "forked"), [("probe", False), ("program", True)])
def test_advice_depends_on_where_the_error_was_met(where: str, *, forked: bool, known: Catalogue) -> None:
    rows, context = known["drivers"]["errors"], {"where": where, "kind": "bare_metal", "flavor": "open"}
    advice = judge.advise('{"call": "cuInit", "code": 3}', rows, "else", context)
    assert ("forked" in advice) is forked
    assert "uvm_disable_hmm=1" in advice


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Traceback\nModuleNotFoundError: No module named 'torch'\n", "ModuleNotFoundError: No module named 'torch'"),
        ("x.cu(3): error: expected a ;\n1 warning\n", "x.cu(3): error: expected a ;"),
        ("first\nlast\n\n", "last"),
        ("", "no output"),
    ],
)
def test_last_words(text: str, expected: str) -> None:
    assert judge.last_words(text) == expected


def test_shell_environment_forgets_the_environment_of_ansible() -> None:
    environ = {
        "VIRTUAL_ENV": "/venv",
        "PATH": "/venv/bin:/usr/bin",
        "ANSIBLE_CONFIG": "x",
        "PYTHONHOME": "/venv",
        "LD_LIBRARY_PATH": "/usr/local/nvidia/lib64",
        "HOME": "/root",
    }
    assert judge.shell_environment(environ) == {
        "PATH": "/usr/bin",
        "LD_LIBRARY_PATH": "/usr/local/nvidia/lib64",
        "HOME": "/root",
    }


CPU = {
    *("USE_FBGEMM", "USE_GLOO", "USE_KINETO", "USE_MKL", "USE_MKLDNN", "USE_NNPACK", "USE_OPENMP", "USE_PTHREADPOOL"),
    "USE_PYTORCH_QNNPACK",
}
CUDA = {"USE_CUDA", "USE_CUDNN", "USE_CUSPARSELT", "USE_MSLK", "USE_NCCL", "USE_XNNPACK"}
NEVER = {
    "USE_FBGEMM_GENAI",
    "USE_GFLAGS",
    "USE_GLOG",
    "USE_MPI",
    "USE_ROCM",
    "USE_ROCM_KERNEL_ASSERT",
    "USE_XCCL",
    "USE_XPU",
}


@pytest.mark.parametrize(("name", "on"), [("2.13.0+cpu", CPU), ("2.12.1+cu130", CPU | CUDA)])
def test_the_switches_of_a_recorded_build(name: str, on: set[str]) -> None:
    found = judge.parse_build((BUILDS / f"{name}.txt").read_text(encoding="utf-8"))
    assert {switch for switch, value in found.items() if value} == on
    assert {switch for switch, value in found.items() if not value} == NEVER | ((CPU | CUDA) - on)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", {}, id="nothing"),
        pytest.param("hello USE_NCCL=1", {}, id="no-summary"),
        pytest.param("CXX_FLAGS= -O2, ", dict.fromkeys(judge.ONLY_DEFINED, False), id="absent-flags-are-off"),
        pytest.param(
            "CXX_FLAGS= -DUSE_FBGEMM=OFF -DUSE_MSLK, USE_NCCL=0, ", {"USE_FBGEMM": False, "USE_NCCL": False}, id="off"
        ),
        pytest.param("CXX_FLAGS= -DUSE_MSLK, CUDA_FLAGS= -DUSE_XNNPACK, ", {"USE_XNNPACK": False}, id="other-flags"),
        pytest.param("CXX_FLAGS= -DNO_USE_XNNPACK, MY_USE_NCCL=1, ", {"USE_XNNPACK": False}, id="part-of-a-name"),
    ],
)
def test_parse_build(text: str, expected: dict[str, bool]) -> None:
    found = judge.parse_build(text)
    assert {name: found[name] for name in expected} == expected
    assert ("USE_NCCL" in found) == ("USE_NCCL" in expected)
    assert bool(found) == bool(expected)


def test_what_the_code_answers_weighs_more_than_the_summary() -> None:
    record = {"config": "CXX_FLAGS= -O2, USE_NCCL=1, ", "answers": {"USE_NCCL": False, "USE_UCC": True}}
    found = judge.find_features(record)
    assert (found["USE_NCCL"], found["USE_UCC"], found["USE_MSLK"]) == (False, True, False)
    assert list(found) == sorted(found)


@pytest.mark.parametrize(
    ("value", "on"),
    [
        (True, True),
        ("1", True),
        (1, True),
        ("ON", True),
        (False, False),
        ("0", False),
        ("off", False),
        ("FALSE", False),
    ],
)
def test_is_on(value: Any, *, on: bool) -> None:
    assert judge.is_on(value) is on


@pytest.mark.parametrize(
    ("expected", "problems", "advice"),
    [
        pytest.param({}, [], None, id="nothing"),
        pytest.param({"USE_NCCL": True, "USE_MPI": "0"}, [], None, id="met"),
        pytest.param(
            {"USE_MPI": True},
            ["USE_MPI is off in this PyTorch; expected on."],
            "Rebuild PyTorch with USE_MPI=1",
            id="off",
        ),
        pytest.param(
            {"USE_NCCL": "0"},
            ["USE_NCCL is on in this PyTorch; expected off."],
            "Rebuild PyTorch with USE_NCCL=0",
            id="on",
        ),
        pytest.param({"USE_CUFILE": True}, [], None, id="unknown"),
    ],
)
def test_judge_features(expected: dict[str, Any], problems: list[str], advice: str | None) -> None:
    found = {"USE_NCCL": True, "USE_MPI": False}
    assert judge.judge_features(found, expected) == problems
    told = judge.advise_features(found, expected)
    assert told is None if advice is None else str(told).startswith(advice)
    assert judge.unknown_features(found, expected) == [
        f"Unknown for this PyTorch: {name}; neither its build summary nor its code shows it."
        for name in expected
        if name not in found
    ]
