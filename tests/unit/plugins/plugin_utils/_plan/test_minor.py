"""What minor-version compatibility leaves out: PTX that a wish needs, and functions of a newer driver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import minor

Decision = dict[str, Any]
Observe = Callable[..., dict[str, Any]]
Decide = Callable[..., Decision]
VLLM = {"pytorch": "2.9.0", "extensions": ["vllm"]}


def told(decision: Decision, key: str) -> str:
    return " ".join(entry if isinstance(entry, str) else " ".join(map(str, entry.values())) for entry in decision[key])


@pytest.mark.parametrize(
    ("gpu", "driver", "wish", "route", "cuda", "package"),
    [
        pytest.param("H100", "550.144.03", VLLM, "forward_compat", "12.8", "cuda-compat-12-9", id="listed-by-12.9"),
        pytest.param("H100", "535.183.01", VLLM, "forward_compat", "12.8", "cuda-compat-12-8", id="documented"),
        pytest.param("H100", "570.133.20", VLLM, "native", "12.8", None, id="native"),
        pytest.param("H100", "550.144.03", {"pytorch": "2.9.0"}, "minor_version", "12.8", None, id="without-the-wish"),
        pytest.param("A100", "550.144.03", VLLM, "minor_version", "12.8", None, id="machine-code-for-8.0"),
        pytest.param("RTX4090", "550.144.03", VLLM, "minor_version", "12.8", None, id="that-of-8.0-runs-on-8.9"),
        pytest.param(
            "H100", "570.133.20", {**VLLM, "cuda": "12.9"}, "minor_version", "12.9", None, id="vllm-is-built-for-12.8"
        ),
        pytest.param("H100", "560.35.03", VLLM, "forward_compat", "12.8", "cuda-compat-12-9", id="cuda-of-the-wheels"),
        pytest.param(
            "H100",
            "590.48.01",
            {"pytorch": "2.14.0", "cuda": "13.2", "extensions": ["vllm"]},
            "minor_version",
            "13.2",
            None,
            id="vllm-is-built-for-13.0",
        ),
        pytest.param(
            "H100", "580.95.05", {"pytorch": "2.14", "cuda": "13.2"}, "minor_version", "13.2", None, id="torch-alone"
        ),
    ],
)
def test_a_wish_that_needs_ptx_gets_forward_compatibility(
    gpu: str, driver: str, wish: Any, route: str, cuda: str, package: str | None, host: Observe, decide: Decide
) -> None:
    decision = decide(host(gpu, driver), **wish)
    found = (decision["route"], decision["cuda"], decision["forward_compat"]["package"])
    assert found == (route, cuda, package)
    assert decision["verdict"] == "ok"
    if package:
        need = f"ships kernels only as PTX of CUDA 12.8 for compute capability 9.0, which driver {driver}"
        assert need in told(decision, "reasons")
        assert not any("PTX does not" in entry["text"] for entry in decision["versions"])


def test_the_driver_that_would_need_no_compat(host: Observe, decide: Decide) -> None:
    """Inside a major it is the toolkit's own driver, not the oldest that runs the major."""
    decision = decide(host("H100", "550.144.03"), **VLLM)
    assert "A host with driver 570.26 or newer needs no forward compatibility." in decision["remedies"]


def test_without_forward_compatibility_the_wish_is_met_in_part(host: Observe, decide: Decide) -> None:
    """No library lists branch 525: what will not run is named, and the verdict is not ok."""
    decision = decide(host("H100", "525.147.05"), **VLLM)
    assert (decision["verdict"], decision["route"]) == ("degraded", "minor_version")
    assert "vllm 0.13.0 ships kernels only as PTX of CUDA 12.8" in told(decision, "rejected")
    assert "cuda-compat-12-8 lists branches 535, not 525" in told(decision, "rejected")
    assert "Use a host with driver 570.26 or newer: it compiles PTX of CUDA 12.8." in decision["remedies"]


def test_windows_has_no_forward_compatibility(host: Observe, decide: Decide) -> None:
    decision = decide(host("RTX5090", "581.42", kind="wsl2"), pytorch="2.14.0", extensions=["vllm"])
    assert decision["verdict"] == "ok", "vLLM 0.33.0 is built for CUDA 13.0, the driver's own"
    decision = decide(host("H100", "566.36", kind="wsl2"), **VLLM)
    assert decision["verdict"] == "degraded"
    assert "Update the Windows driver to 570.65 or newer: it compiles PTX of CUDA 12.8." in decision["remedies"]


def test_a_driver_that_nvidia_names_by_its_branch_alone(host: Observe, case: Any) -> None:
    assert minor.driver_of(case(host("H100", "590.48", kind="wsl2")), "13.2") == "595"
    assert minor.driver_of(case(host("H100", "590.48.01")), "13.2") == "595.45.04"


def test_a_policy_without_it_is_told_what_it_would_bring(host: Observe, decide: Decide) -> None:
    decision = decide(host("H100", "550.144.03"), **VLLM, on_old_driver=["fallback"])
    assert (decision["verdict"], decision["route"]) == ("degraded", "minor_version")
    remedy = "Add forward_compat to on_old_driver: cuda-compat-12-9 compiles it."
    assert remedy in decision["remedies"]
    again = decide(host("H100", "550.144.03"), **VLLM, on_old_driver=["fallback", "forward_compat"])
    assert (again["verdict"], again["route"]) == ("ok", "forward_compat")


@pytest.mark.parametrize(
    ("driver", "kind", "cuda", "warned"),
    [
        ("525.147.05", "bare_metal", "12.8", True),
        ("528.49", "wsl2", "12.8", True),
        ("530.41.03", "bare_metal", "12.8", False),
        ("535.183.01", "bare_metal", "12.8", False),
        ("470.256.02", "bare_metal", "11.8", False),
    ],
)
def test_large_kernel_parameters_need_branch_530(
    driver: str, kind: str, cuda: str, warned: bool, host: Observe, decide: Decide
) -> None:
    decision = decide(host("A100", driver, kind=kind), cuda=cuda)
    assert decision["route"] == "minor_version"
    text = "kernels with more than 4,096 bytes of parameters do not run on"
    assert (text in told(decision, "warnings")) is warned


# --- newest: what runs here without limits ---


@pytest.mark.parametrize(
    ("gpu", "driver", "wish", "route", "torch"),
    [
        pytest.param("H100", "580.95.05", {}, "native", "2.15.0+cu130", id="not-cu132-by-minor-version"),
        pytest.param("H100", "595.71.05", {}, "native", "2.15.0+cu132", id="the-newest-is-native"),
        pytest.param("H100", "570.133.20", {"pytorch": "2.9"}, "native", "2.9.1+cu128", id="a-named-torch"),
        pytest.param("H100", "560.35.03", {"pytorch": "2.9"}, "native", "2.9.1+cu126", id="an-older-index"),
        pytest.param("H100", "550.163.01", {"pytorch": "2.9"}, "minor_version", "2.9.1+cu128", id="none-is-native"),
        pytest.param("H100", "550.163.01", {}, "minor_version", "2.14.1+cu126", id="not-2.7.1-of-last-year"),
        pytest.param("H100", "580.95.05", {"cuda": "13.2"}, "minor_version", "2.15.0+cu132", id="a-named-cuda"),
        pytest.param("RTX5090", "570.133.20", {}, "native", "2.11.0+cu128", id="blackwell-on-570"),
        pytest.param("RTX4090", "555.85", {}, "minor_version", "2.14.1+cu126", id="between-two-indexes"),
    ],
)
def test_newest_is_native_first(
    gpu: str, driver: str, wish: Any, route: str, torch: str, host: Observe, decide: Decide
) -> None:
    decision = decide(host(gpu, driver), **wish)
    assert (decision["route"], decision["pytorch"]["local"]) == (route, torch)


def test_why_the_newer_cuda_was_left(host: Observe, decide: Decide) -> None:
    rejected = decide(host("H100", "580.95.05"))["rejected"]
    told_of = {entry["option"]: entry["because"] for entry in rejected}
    assert told_of["minor_version cu132 of PyTorch 2.15.0"] == (
        "PyTorch 2.15.0+cu130 needs no minor-version compatibility"
    )


def test_why_the_newer_cuda_was_left_is_told_once_where_extensions_decide(host: Observe, decide: Decide) -> None:
    decision = decide(host("H100", "580.95.05"), extensions=["xformers", "unsloth", "torchcodec", "sglang"])
    told = [entry["because"] for entry in decision["rejected"] if "minor-version" in entry["because"]]
    assert told == [f"PyTorch {decision['pytorch']['local']} needs no minor-version compatibility"]


@pytest.mark.parametrize(
    ("driver", "os", "cuda", "route"),
    [
        pytest.param("580.95.05", "ubuntu 24.04", "13.0", "native", id="native"),
        pytest.param("550.163.01", "ubuntu 22.04", "12.4", "native", id="an-older-toolkit"),
        pytest.param("550.163.01", "ubuntu 24.04", "12.9", "minor_version", id="not-one-that-cannot-be-had"),
    ],
)
def test_newest_toolkit_alone(driver: str, os: str, cuda: str, route: str, host: Observe, decide: Decide) -> None:
    decision = decide(host("H100", driver, os=os), pytorch="none")
    assert (decision["cuda"], decision["route"], decision["verdict"]) == (cuda, route, "ok")


@pytest.mark.parametrize(
    ("there", "wish", "cuda", "provider"),
    [
        pytest.param({}, {}, "12.8", "adopt", id="it-is-there-and-runs"),
        pytest.param({}, {"cuda": "13.0"}, "13.0", "apt", id="another-was-named"),
        pytest.param({"nvcc": False}, {}, "13.0", "apt", id="it-has-no-compiler"),
        pytest.param({"version": "13.4.10", "release": "13.4"}, {}, "13.4", "adopt", id="by-minor-version"),
        pytest.param({}, {"toolkit": {"provider": "apt"}}, "13.0", "apt", id="another-source-was-asked-for"),
    ],
)
def test_a_toolkit_of_the_image_stays(
    there: Any, wish: Any, cuda: str, provider: str, host: Observe, decide: Decide
) -> None:
    row = {"version": "12.8.93", "release": "12.8", "path": "/usr/local/cuda", "nvcc": True, "cudart": True, **there}
    decision = decide(host("H100", "580.95.05", toolkits=[row]), pytorch="none", **wish)
    assert (decision["cuda"], decision["toolkit"]["provider"], decision["verdict"]) == (cuda, provider, "ok")


def image(version: str, cuda: str, **more: Any) -> dict[str, Any]:
    """A PyTorch of the image, with machine code for Hopper."""
    return {
        "version": version,
        "local": f"{version}+cu{cuda.replace('.', '')}",
        "cuda": cuda,
        "path": "/opt/conda/lib/python3.12/site-packages",
        "python": "/opt/conda/bin/python3.12",
        "python_version": "3.12",
        "arch_list": ["sm_80", "sm_90"],
        "managed": False,
        "broken": [],
        "packages": {},
        **more,
    }


@pytest.mark.parametrize(
    ("there", "driver", "wish", "route", "provider", "torch"),
    [
        pytest.param([image("2.9.1", "12.8")], "580.95.05", {}, "native", "adopt", "2.9.1+cu128", id="it-runs"),
        pytest.param(
            [image("2.6.0", "12.4")],
            "550.163.01",
            {"pytorch": "2.6", "toolkit": {"provider": "none"}},
            "native",
            "adopt",
            "2.6.0+cu124",
            id="exact-fit",
        ),
        pytest.param(
            [image("2.9.1", "12.8")], "550.163.01", {}, "minor_version", "adopt", "2.9.1+cu128", id="by-minor-version"
        ),
        pytest.param(
            [image("2.9.1", "13.0"), image("2.8.0", "12.8")],
            "570.133.20",
            {},
            "native",
            "adopt",
            "2.8.0+cu128",
            id="the-one-that-runs",
        ),
        pytest.param(
            [image("2.9.1", "13.0")], "570.133.20", {}, "native", "pytorch_index", "2.14.1+cu126", id="it-does-not-run"
        ),
        pytest.param(
            [image("2.9.1", "12.8")],
            "580.95.05",
            {"cuda": "13.0"},
            "native",
            "pytorch_index",
            "2.15.0+cu130",
            id="a-cuda-was-named",
        ),
        pytest.param(
            [image("2.9.1", "12.8")],
            "580.95.05",
            {"pytorch": "2.14"},
            "native",
            "pytorch_index",
            "2.14.1+cu130",
            id="another-release-was-named",
        ),
        pytest.param(
            [image("2.9.1", "12.8", arch_list=["sm_80"])],
            "580.95.05",
            {},
            "native",
            "pytorch_index",
            "2.15.0+cu130",
            id="no-code-for-the-gpu",
        ),
        pytest.param(
            [image("2.9.1", "12.8")],
            "580.95.05",
            {"wheels": {"provider": "pytorch_index"}},
            "native",
            "pytorch_index",
            "2.15.0+cu130",
            id="another-source-was-asked-for",
        ),
    ],
)
def test_what_runs_stays(
    there: Any, driver: str, wish: Any, route: str, provider: str, torch: str, host: Observe, decide: Decide
) -> None:
    decision = decide(host("H100", driver, pytorch=there), **wish)
    found = decision["pytorch"]
    assert (decision["route"], found["provider"], found["local"], found["cuda"]) == (
        route,
        provider,
        torch,
        decision["cuda"],
    )
    assert decision["verdict"] == "ok"
    if provider == "adopt":
        assert f"PyTorch {torch} is installed here, runs and meets" in told(decision, "reasons")


def test_an_adopted_torch_that_needs_ptx_for_a_wish(host: Observe, decide: Decide) -> None:
    """vLLM of the image lies beside its PyTorch: it needs the compat library as one that is installed does."""
    there = [image("2.9.0", "12.8", packages={"vllm": "0.13.0"})]
    decision = decide(host("H100", "550.144.03", pytorch=there), extensions=["vllm"])
    found = (decision["route"], decision["pytorch"]["provider"], decision["forward_compat"]["package"])
    assert found == ("forward_compat", "adopt", "cuda-compat-12-9")


def test_a_cpu_host_keeps_the_torch_of_its_image(host: Observe, decide: Decide) -> None:
    there = [image("2.9.1", "12.8")]
    found = decide(host(None, None, pytorch=there))["pytorch"]
    assert (found["provider"], found["local"]) == ("adopt", "2.9.1+cu128")
