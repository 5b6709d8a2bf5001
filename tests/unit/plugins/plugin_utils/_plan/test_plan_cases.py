"""The worked cases: a host and a wish, the route and the build that they must get."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Decide = Callable[..., dict[str, Any]]
COMPAT_13 = {
    "package": "cuda-compat-13-0",
    "version": "580.95.05",
    "path": "/usr/local/cuda-13.0/compat",
    "cuda": "13.0",
    "branches": [535, 550, 565, 570, 575, 580],
    "brands": [1, 2, 7, 8, 9, 10, 11, 12, 13, 14],
}
CU130 = {"cuda": "13.0"}
FAIL = {"on_old_driver": ["fail"]}

# host, wish, what the decision must say: route, index, and parts of its texts
CASES = [
    pytest.param({"driver": "580.95.05"}, {"pytorch": "2.14", **CU130}, {"route": "native", "index": "cu130"}, id="1"),
    pytest.param(
        {"driver": "580.65.06", "kind": "container"},
        {"cuda": "13.2"},
        {"route": "minor_version", "index": "cu132", "reasons": "at least 580"},
        id="2",
    ),
    pytest.param({"driver": "595.71.05"}, CU130, {"route": "native", "index": "cu130"}, id="3"),
    pytest.param(
        {"driver": "570.133.20", "kind": "container"},
        CU130,
        {"route": "forward_compat", "index": "cu130", "confidence": "documented", "package": "cuda-compat-13-0"},
        id="4",
    ),
    pytest.param(
        {"driver": "550.163.01"}, CU130, {"route": "forward_compat", "index": "cu130", "confidence": "listed"}, id="5"
    ),
    pytest.param(
        {"driver": "550.163.01"},
        {**CU130, "pytorch": "2.9", "on_old_driver": ["fallback"]},
        {"route": "fallback", "index": "cu128"},
        id="5-fallback",
    ),
    pytest.param(
        {"driver": "535.183.01"},
        CU130,
        {"route": "forward_compat", "index": "cu130", "confidence": "documented"},
        id="6",
    ),
    pytest.param(
        {"driver": "525.147.05"},
        CU130,
        {"route": "fallback", "index": "cu126", "rejected": "not 525", "remedies": "driver 580 or newer"},
        id="7",
    ),
    pytest.param(
        {"gpu": "A100", "driver": "470.256.02"},
        {"cuda": "12.8"},
        {
            "route": "fallback",
            "index": "cu118",
            "torch": "2.7.1",
            "rejected": "older than 525.60.13",
            "remedies": "525.60.13",
        },
        id="8",
    ),
    pytest.param(
        {"gpu": "GH200", "driver": "565.57.01", "arch": "aarch64"},
        {"pytorch": "2.13", **CU130},
        {
            "route": "forward_compat",
            "index": "cu130",
            "torch": "2.13.0",
            "confidence": "listed",
            "repository": "ubuntu2404",
        },
        id="9",
    ),
    pytest.param(
        {"gpu": "B200", "driver": "570.133.20"},
        CU130,
        {"route": "forward_compat", "index": "cu130", "confidence": "documented"},
        id="10",
    ),
    pytest.param(
        {"gpu": "B200", "driver": "570.133.20"},
        {},
        {"route": "native", "index": "cu128", "torch": "2.11.0"},
        id="10-newest",
    ),
    pytest.param(
        {"gpu": "B200", "driver": "580.126.09"},
        {"cuda": "12.6"},
        {"route": "fallback", "index": "cu130", "rejected": "no machine code for NVIDIA B200 (sm_100)"},
        id="11",
    ),
    pytest.param(
        {"gpu": "RTX5090", "driver": "570.124.06"},
        {"pytorch": "2.14"},
        {
            "route": "fallback",
            "index": "cu128",
            "torch": "2.11.0",
            "remedies": "driver 580 or newer",
            "rejected": "error 804",
        },
        id="12",
    ),
    pytest.param(
        {"gpu": "RTX5090", "driver": "570.124.06"},
        {"pytorch": "2.14", **FAIL},
        {"route": "blocked", "remedies": "PyTorch 2.11.0+cu128"},
        id="12-fail",
    ),
    pytest.param(
        {"gpu": "RTX5090", "driver": "580.95.05"},
        {"cuda": "13.2"},
        {"route": "minor_version", "index": "cu132"},
        id="13",
    ),
    pytest.param(
        {"gpu": "RTX5090", "driver": "570.124.06", "compat": [COMPAT_13], "active": True},
        {**CU130, "on_old_driver": ["forward_compat"]},
        {"route": "blocked", "rejected": "error 804", "remedies": "driver 580 or newer", "causes": ".bashrc:12"},
        id="14",
    ),
    pytest.param(
        {"gpu": "RTX4090", "driver": "535.171.04"},
        {**CU130, "pytorch": "2.9"},
        {"route": "fallback", "index": "cu128", "rejected": "error 804"},
        id="15",
    ),
    pytest.param(
        {"gpu": "RTX3090", "driver": "470.223.02"},
        {"pytorch": "2.14"},
        {"route": "fallback", "index": "cu118", "torch": "2.7.1"},
        id="16",
    ),
    pytest.param(
        {"gpu": "V100", "driver": "580.95.05"},
        CU130,
        {"route": "fallback", "index": "cu126", "torch": "2.14.1", "rejected": "no machine code for Tesla V100"},
        id="17",
    ),
    pytest.param({"gpu": "GTX1080", "driver": "580.95.05"}, CU130, {"route": "fallback", "index": "cu126"}, id="18"),
    pytest.param({"gpu": "GTX1080", "driver": "580.95.05"}, {}, {"route": "native", "index": "cu126"}, id="18-newest"),
    pytest.param({"gpu": "T4", "driver": "580.95.05"}, CU130, {"route": "native", "index": "cu130"}, id="19"),
    pytest.param(
        {"gpu": "RTX4090", "driver": "581.42", "kind": "wsl2"},
        CU130,
        {"route": "native", "index": "cu130", "toolkit_repository": "wsl-ubuntu"},
        id="20",
    ),
    pytest.param(
        {"gpu": "RTX4090", "driver": "566.36", "kind": "wsl2"},
        {**CU130, "pytorch": "2.11"},
        {
            "route": "fallback",
            "index": "cu128",
            "rejected": "WSL2 has no",
            "remedies": "Update the Windows driver to 580",
        },
        id="21",
    ),
    pytest.param(
        {"gpu": "H100", "driver": "580.126.09", "compat": [COMPAT_13], "active": True},
        CU130,
        {"route": "native", "index": "cu130", "package": None, "verdict": "broken", "causes": "/root/.bashrc:12"},
        id="22",
    ),
    pytest.param(
        {"gpu": "H100", "driver": "535.183.01", "mig": True},
        CU130,
        {"route": "forward_compat", "index": "cu130"},
        id="23",
    ),
    pytest.param(
        {"gpu": None, "driver": None, "root": False},
        CU130,
        {"route": "cpu", "index": "cpu", "toolkit": "13.0", "verdict": "ok"},
        id="24",
    ),
    pytest.param(
        {"gpu": None, "driver": None, "kind": "container"},
        {},
        {"route": "cpu", "index": "cpu", "warnings": "Start it with --gpus"},
        id="25",
    ),
    pytest.param({"driver": "610.57.04"}, CU130, {"route": "native", "index": "cu130"}, id="26"),
    pytest.param(
        {
            "driver": "550.163.01",
            "toolkits": [{"version": "13.0.88", "release": "13.0", "path": "/usr/local/cuda-13.0", "nvcc": True}],
        },
        {"cuda": "12.8", "pytorch": "2.8"},
        {"route": "minor_version", "index": "cu128", "toolkit": "12.8"},
        id="27",
    ),
]


@pytest.mark.parametrize(("observed", "wished", "wanted"), CASES)
def test_worked_case(
    observed: dict[str, Any], wished: dict[str, Any], wanted: dict[str, Any], host: Any, decide: Decide
) -> None:
    active, mig = observed.pop("active", False), observed.pop("mig", False)
    facts = host(**observed)
    if active:
        facts["loader"]["compat_active"] = True
        line = {"kind": "ld_library_path", "file": "/root/.bashrc", "line": 12, "text": "export LD_LIBRARY_PATH=…"}
        facts["conflicts"] = [line]
    for device in facts["devices"]:
        device["mig"] = mig
    decision = decide(facts, **wished)
    torch, compat = decision["pytorch"] or {}, decision["forward_compat"]
    found = {
        "route": decision["route"],
        "verdict": decision["verdict"],
        "index": torch.get("index"),
        "torch": torch.get("version"),
        "package": compat["package"],
        "confidence": compat["confidence"],
        "repository": compat["repository"],
        "toolkit": (decision["toolkit"] or {}).get("version"),
        "toolkit_repository": (decision["toolkit"] or {}).get("repository"),
    }
    texts = {
        "reasons": " ".join(entry["text"] for entry in decision["reasons"]),
        "rejected": " ".join(f"{entry['option']} {entry['because']}" for entry in decision["rejected"]),
        "remedies": " ".join(decision["remedies"]),
        "warnings": " ".join(decision["warnings"]),
        "causes": " ".join(f"{cause['file']}:{cause['line']}" for cause in decision["now"]["causes"]),
    }
    for key, value in wanted.items():
        if key in texts:
            assert value in texts[key]
        else:
            assert found[key] == value, decision["rejected"]
