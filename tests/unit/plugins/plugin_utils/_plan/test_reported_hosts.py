"""Hosts that people reported in public, each with what was wrong there: the verdict, and the words that say it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._report.stack import render_text

Decide = Callable[..., dict[str, Any]]


def gpu(name: str, capability: str, brand: int | None, **more: Any) -> list[dict[str, Any]]:
    return [{"index": 0, "name": name, "compute_capability": capability, "brand_id": brand, **more}]


def answer(code: int, name: str, libcuda: str) -> dict[str, Any]:
    return {"libcuda": libcuda, "compat_active": False, "init": {"code": code, "name": name}, "devices": 0}


IMAGE_12_8 = {
    "version": "12.8.93",
    "release": "12.8",
    "path": "/usr/local/cuda-12.8",
    "provider": "image",
    "nvcc": True,
    "cudart": True,
    "components": ["compiler", "runtime_dev", "libraries"],
    "broken": [],
}
COMPAT_12_9 = {
    "package": "cuda-compat-12-9",
    "version": "575.57.08",
    "path": "/usr/local/cuda-12.9/compat",
    "cuda": "12.9",
}
LINE = {
    "kind": "ld_library_path",
    "file": "/etc/ld.so.conf.d/00-cuda-compat.conf",
    "line": 1,
    "text": COMPAT_12_9["path"],
    "path": COMPAT_12_9["path"],
}

# source, host, what else was observed there, request, verdict, PyTorch, words
REPORTED = [
    pytest.param(
        # NVIDIA/open-gpu-kernel-modules#947
        ("H100", "580.95.05", {"os": "almalinux 10.0"}),
        {
            "devices": gpu("NVIDIA L20", "8.9", 14),
            "driver": {"flavor": "open"},
            "loader": answer(3, "CUDA_ERROR_NOT_INITIALIZED", "/usr/lib64/libcuda.so.580.95.05"),
        },
        {"cuda": "13.0"},
        ("broken", None),
        ["cannot set up heterogeneous memory management (HMM)", "options nvidia_uvm uvm_disable_hmm=1"],
        id="code-3-by-open-modules",
    ),
    pytest.param(
        # huggingface/huggingface_hub#4134
        ("H100", "580.126.09", {"kind": "container"}),
        {"loader": answer(802, "CUDA_ERROR_SYSTEM_NOT_READY", "/usr/lib/x86_64-linux-gnu/libcuda.so.580.126.09")},
        {"cuda": "13.0"},
        ("broken", None),
        ["nothing inside the container helps", "In a rented container ask for another host"],
        id="fabric-of-a-rented-container",
    ),
    pytest.param(
        # NVIDIA/nvidia-container-toolkit#520
        ("RTX4090", "555.85", {"kind": "wsl2"}),
        {"driver": {"flavor": "windows"}, "loader": answer(500, "CUDA_ERROR_500", "/usr/lib/wsl/lib/libcuda.so.1")},
        {"cuda": "12.6"},
        ("broken", None),
        ["libnvdxgdmal.so.1", "Update NVIDIA's container toolkit to 1.14.4, 1.15 or newer", "driver can stay"],
        id="wsl2-container-toolkit",
    ),
    pytest.param(
        # pytorch/pytorch#192330
        ("A6000", "581.42", {"kind": "wsl2"}),
        {"driver": {"flavor": "windows"}},
        {"cuda": "13.0", "pytorch": "2.11", "settings": {"expandable_segments": True}},
        ("degraded", "2.11.0+cu130"),
        ["first allocation with expandable segments is reported to fail", "Leave settings.expandable_segments out"],
        id="expandable-segments-on-wsl2",
    ),
    pytest.param(
        # vllm-project/vllm#31700
        ("H100", "550.144.03", {}),
        {"devices": gpu("NVIDIA H100 PCIe", "9.0", 14)},
        {"pytorch": "2.9.0", "extensions": ["vllm"]},
        ("ok", "2.9.0+cu128"),
        ["vllm 0.13.0 ships kernels only as PTX of CUDA 12.8", "cuda-compat-12-9 lists branch 550", "forward_compat"],
        id="ptx-in-vllm",
    ),
    pytest.param(
        # vllm-project/vllm#47397
        ("GB10", "580.159.03", {"arch": "aarch64"}),
        {},
        {"cuda": "13.3", "pytorch": "none"},
        ("ok", None),
        ["not for its PTX (error 222)", "A host with driver 610.43.02 or newer also compiles PTX of CUDA 13.3"],
        id="a-newer-toolkit-on-gb10",
    ),
    pytest.param(
        # OpenRAL/openral#167
        ("GB10", "580.00", {"arch": "aarch64"}),
        {"devices": gpu("NVIDIA Thor", "11.0", 14), "platform": {"kernel": "6.8.12-tegra"}},
        {"cuda": "12.8", "pytorch": "2.9.1"},
        ("degraded", "2.9.1+cu130"),
        ["no machine code for NVIDIA Thor (sm_110)", 'Set cuda: "13.0": PyTorch 2.9.1+cu130 runs here.'],
        id="cu128-on-thor",
    ),
    pytest.param(
        # pollen-robotics/microduck_rl#38
        ("GB10", "580.00", {"arch": "aarch64"}),
        {"devices": gpu("NVIDIA Thor", "11.0", 14), "platform": {"kernel": "6.8.12-tegra"}},
        {"cuda": "12.9", "pytorch": "2.9.1"},
        ("degraded", "2.9.1+cu130"),
        ["there is no such build for aarch64", 'Set cuda: "13.0": PyTorch 2.9.1+cu130 runs here.'],
        id="cu129-on-thor",
    ),
    pytest.param(
        # dusty-nv/jetson-containers#1257
        ("GB10", "540.4.0", {"arch": "aarch64", "os": "ubuntu 22.04"}),
        {
            "devices": gpu("Orin (nvgpu)", "8.7", None),
            "platform": {
                "kernel": "5.15.148-tegra",
                "glibc": "2.35",
                "pythons": [{"path": "/usr/bin/python3", "version": "3.10"}],
            },
        },
        {"cuda": "12.6", "pytorch": "none"},
        ("blocked", None),
        [
            "build for Arm servers (SBSA); JetPack 7 is the first that does",
            "https://repo.download.nvidia.com/jetson/common",
        ],
        id="orin-and-sbsa",
    ),
    pytest.param(
        # NVIDIA/cuda-samples#378
        ("RTX3090", "570.195.03", {"os": "debian 13", "pythons": ("3.13",), "toolkits": [IMAGE_12_8]}),
        {"platform": {"glibc": "2.41"}},
        {"cuda": "12.8", "pytorch": "2.9.1", "source": {"extensions": ["flash-attn"]}},
        ("degraded", "2.9.1+cu128"),
        ["compiles nothing with glibc 2.41 or newer", "Use an image or a host with a glibc older than 2.41."],
        id="glibc-2.41",
    ),
    pytest.param(
        # NixOS/nixos-hardware#1880
        (None, "595.71.05", {}),
        {
            "driver": {"status": "no_device"},
            "installed": {"driver": {"flavor": "open", "pci": ["1c8d"], "loaded_version": "595.71.05"}},
        },
        {},
        ("blocked", None),
        ["is driven by branch 580 and older, with proprietary kernel modules", "Set cuda: none to run on the CPU."],
        id="pascal-on-595",
    ),
    pytest.param(
        # NVIDIA/open-gpu-kernel-modules#1003
        (None, "595.71.05", {}),
        {
            "driver": {"status": "no_device"},
            "installed": {
                "driver": {
                    "flavor": "open",
                    "pci": ["1c8d"],
                    "source": "apt",
                    "packages": {"nvidia-open": "595.71.05-1"},
                }
            },
        },
        {"driver": "580"},
        ("ok", "2.14.1+cu126"),
        ["driver 580 replaces it with an older one", "runs only with proprietary kernel modules"],
        id="pascal-with-580-wished",
    ),
    pytest.param(
        # nvidiavgpuarchive/index#1
        ("T4", "570.148.06", {"kind": "container"}),
        {
            "driver": {"status": "mismatch"},
            "devices": gpu("GRID RTX6000-8Q", "7.5", 9),
            "installed": {
                "driver": {"source": "runfile", "loaded_version": "570.148.06", "library_version": "570.148.08"}
            },
        },
        {"cuda": "12.6"},
        ("broken", None),
        ["kernel driver (host) 570.148.06, the container's own libraries 570.148.08", "with --no-kernel-modules"],
        id="libraries-of-a-system-container",
    ),
    pytest.param(
        # vllm-project/vllm#43435
        ("A6000", "570.86.10", {"kind": "container", "os": "ubuntu 22.04"}),
        {"platform": {"glibc": "2.35"}},
        {"cuda": "12.9", "pytorch": "2.11", "extensions": ["vllm"]},
        ("ok", "2.11.0+cu129"),
        ["0.26.0+cu129"],
        id="vllm-for-cuda-12",
    ),
    pytest.param(
        # modelscope/ms-swift#8257
        ("H100", "575.64.03", {}),
        {},
        {"cuda": "12.8", "pytorch": "2.10", "extensions": ["flash-attn"]},
        ("degraded", "2.10.0+cu128"),
        ["flash-attn: it is published as source only", "Add flash-attn to source.extensions to have it compiled here."],
        id="flash-attn-of-another-torch",
    ),
    pytest.param(
        # ai-dynamo/nixl#441
        (
            "H100",
            "570.133.20",
            {
                "kind": "container",
                "compat": [{**COMPAT_12_9, "package": "cuda-compat-12-8", "version": "570.124.06", "cuda": "12.8"}],
            },
        ),
        {},
        {"cuda": "12.8", "pytorch": "2.9"},
        ("ok", "2.9.1+cu128"),
        ["native", "cuda-compat-12-8 570.124.06 is present; it stays off the path."],
        id="compat-of-its-own-branch",
    ),
    pytest.param(
        # gpustack/gpustack#4678
        ("B200", "580.105.08", {"kind": "container", "compat": [COMPAT_12_9]}),
        {
            "loader": {
                **answer(803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "/usr/local/cuda-12.9/compat/libcuda.so.575.57.08"),
                "compat_active": True,
            },
            "conflicts": [LINE],
        },
        {"cuda": "12.9", "pytorch": "2.11", "repair_files": [LINE["file"]]},
        ("broken", "2.11.0+cu129"),
        [
            "/etc/ld.so.conf.d/00-cuda-compat.conf:1 puts another libcuda before the driver's",
            "/etc/ld.so.cache out of date",
        ],
        id="compat-in-the-loader-s-configuration",
    ),
    pytest.param(
        # PrismML-Eng/Bonsai-demo#170
        ("RTX4090", "616.92", {"kind": "wsl2"}),
        {"driver": {"flavor": "windows"}},
        {},
        ("ok", "2.15.0+cu132"),
        ["Windows driver 616.92 supports CUDA 13.4"],
        id="a-windows-driver-of-13.4",
    ),
]


@pytest.mark.parametrize(("made_of", "seen", "wish", "wanted", "words"), REPORTED)
def test_reported_host(
    made_of: Any, seen: Any, wish: Any, wanted: Any, words: list[str], host: Any, decide: Decide
) -> None:
    name, driver, more = made_of
    observed = copy.deepcopy(host(name, driver, **more))
    for key, value in seen.items():
        observed[key] = {**observed[key], **value} if isinstance(value, dict) and key != "loader" else value
    decision = decide(observed, **wish)
    assert (decision["verdict"], (decision["pytorch"] or {}).get("local")) == wanted
    text = " ".join(render_text(decision, observed, "host").split())
    assert [part for part in words if part not in text] == []


def test_one_of_different_gpus_is_hidden_before_another_is_bought(host: Any, decide: Decide) -> None:
    observed = host(["P100", "RTX5090"], "580.95.05")
    remedies = decide(observed)["remedies"]
    assert any(text.startswith("Leave out Tesla P100-PCIE-16GB: ") for text in remedies)
    assert not any("Use a host with a GPU" in text for text in remedies)


@pytest.mark.parametrize(
    ("damage", "because"),
    [
        (
            {"incoherent": ["nvidia-cuda-nvrtc 13.5.37 beside nvidia-cuda-runtime 13.0.96"]},
            "it is damaged (nvidia-cuda-nvrtc 13.5.37 beside nvidia-cuda-runtime 13.0.96)",
        ),
        ({"broken": ["nvidia/nccl/lib/libnccl.so.2"]}, "it is damaged (nvidia/nccl/lib/libnccl.so.2 is missing)"),
        ({}, None),
        ({"broken": ["x"], "arch_list": ["sm_120"]}, None),  # it would not be adopted anyway
    ],
)
@pytest.mark.parametrize("wish", [{}, {"extensions": ["torchvision"]}])
def test_why_the_image_s_own_pytorch_is_not_used(
    damage: Any, because: str | None, wish: Any, host: Any, decide: Decide
) -> None:
    """CUDA 12's and 13's wheels own the same file of NCCL, and an upgrade may leave parts of two releases."""
    row = {
        "path": "/opt/venv/lib/python3.12/site-packages",
        "python": "/opt/venv/bin/python",
        "python_version": "3.12",
        "version": "2.14.1",
        "local": "2.14.1+cu130",
        "cuda": "13.0",
        "arch_list": ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"],
        "managed": False,
        "broken": [],
        "incoherent": [],
        "packages": {"torchvision": "0.29.1"},
        **damage,
    }
    decision = decide(host("H100", "580.95.05", pytorch=[row]), **wish)
    told = {entry["option"]: entry["because"] for entry in decision["rejected"]}
    wanted = f"{because}, and what is not ours is not changed" if because else None
    assert told.get("PyTorch 2.14.1+cu130 at /opt/venv/lib/python3.12/site-packages") == wanted
    assert (decision["pytorch"]["local"] == "2.14.1+cu130") == (not damage)
