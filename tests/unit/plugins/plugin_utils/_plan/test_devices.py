"""Hosts whose GPUs differ, are virtual, integrated, hidden, unknown, or set to run nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import devices
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import find_model

Decide = Callable[..., dict[str, Any]]
Observe = Callable[..., dict[str, Any]]

EVERY_WAY = ("login", "interactive", "pam", "command", "service")
OWN = "/usr/lib/x86_64-linux-gnu/libcuda.so.580.95.05"


def gpu(name: str, capability: str | None = None, brand: int | None = None, **more: Any) -> dict[str, Any]:
    return {"name": name, "compute_capability": capability, "brand_id": brand, **more}


P40 = gpu("Tesla P40", "6.1", 2)
ORIN = gpu("Orin (nvgpu)", "8.7")
THOR = gpu("NVIDIA Thor", "11.0")
A16_8Q = gpu("NVIDIA A16-8Q", "8.6", 10, virtual=True)


@pytest.fixture
def machine(host: Observe) -> Observe:
    """A host with GPUs of one's own making; ``visible``: what CUDA_VISIBLE_DEVICES is in every way."""

    def build(gpus: list[Any], driver: str = "580.95.05", visible: str | None = None, **words: Any) -> dict[str, Any]:
        facts = host([one for one in gpus if isinstance(one, str)], driver, **words)
        named = iter(facts["devices"])
        facts["devices"] = [next(named) if isinstance(one, str) else dict(one) for one in gpus]
        for index, device in enumerate(facts["devices"]):
            device |= {"index": index, "uuid": f"GPU-{index}a-b"}
        if visible is not None:
            facts["driver"] |= {"libcuda": OWN, "native": None}
            facts["ways"] = {
                name: {
                    "libcuda": OWN,
                    "version": driver,
                    "init": {"code": 0, "name": "CUDA_SUCCESS"},
                    "devices": len(visible.split(",")),
                    "environ": {"CUDA_VISIBLE_DEVICES": visible},
                }
                for name in EVERY_WAY
            }
        return facts

    return build


def told(decision: dict[str, Any]) -> str:
    rejected = [f"{row['option']}: {row['because']}" for row in decision["rejected"]]
    return "\n".join([decision["summary"], *rejected, *decision["remedies"], *decision["warnings"]])


# --- integrated GPUs ---


@pytest.mark.parametrize(
    ("gpus", "driver", "wish", "verdict", "local", "words"),
    [
        pytest.param(
            [ORIN], "595.58.03", {"pytorch": "2.9.1", "cuda": "13.0", "on_old_driver": ["fail"]}, "blocked", None,
            "cu130 of PyTorch 2.9.1: no machine code for Orin (nvgpu) (sm_87); it has sm_80 sm_90 sm_100 sm_110 sm_120",
            id="orin-has-no-ptx-of-sm_80",
        ),
        pytest.param([ORIN], "595.58.03", {}, "ok", "2.15.0+cu132", "", id="orin-runs-discrete-code-from-13.2-on"),
        pytest.param(
            [ORIN], "595.58.03", {"cuda": "13.0", "pytorch": "2.13"}, "degraded", "2.13.0+cu132",
            "no machine code for Orin (nvgpu) (sm_87)", id="orin-needs-13.2",
        ),
        pytest.param(
            [ORIN], "580.95.05", {"cuda": "13.2", "on_old_driver": ["fail"]}, "blocked", None,
            "no machine code for Orin (nvgpu) (sm_87)", id="orin-needs-a-driver-of-13.2-as-well",
        ),
        pytest.param([THOR], "580.00", {"pytorch": "2.9.1"}, "ok", "2.9.1+cu130", "", id="thor-has-code-of-its-own"),
        pytest.param(
            ["H100"], "580.95.05", {"pytorch": "2.9.1", "cuda": "13.0"}, "ok", "2.9.1+cu130", "", id="a-server-with-arm"
        ),
    ],
)  # fmt: skip
def test_integrated_gpus(
    gpus: Any, driver: str, wish: Any, verdict: str, local: str | None, words: str, machine: Observe, decide: Decide
) -> None:
    decision = decide(machine(gpus, driver, arch="aarch64"), **wish)
    assert (decision["verdict"], (decision["pytorch"] or {}).get("local")) == (verdict, local)
    assert words in told(decision)


# --- several GPUs ---


@pytest.mark.parametrize(
    ("gpus", "driver", "wish", "stands", "remedy"),
    [
        pytest.param(
            ["H100", "GTX1080"], "580.95.05", {"cuda": "13.0"},
            "no machine code for NVIDIA GeForce GTX 1080 (sm_61)",
            "Leave out NVIDIA GeForce GTX 1080: set CUDA_VISIBLE_DEVICES=GPU-0a-b for every program (in"
            " /etc/environment, and in ~/.bashrc above all else); PyTorch 2.15.0+cu130 then runs here.",
            id="pascal-beside-hopper",
        ),
        pytest.param(
            ["A100", P40, "A100"], "580.95.05", {"cuda": "13.0"}, "no machine code for Tesla P40 (sm_61)",
            "Leave out Tesla P40: set CUDA_VISIBLE_DEVICES=GPU-0a-b,GPU-2a-b for every program", id="p40-between-a100",
        ),
        pytest.param(
            ["H100", "RTX4090"], "550.163.01", {"cuda": "13.0"},
            "NVIDIA GeForce RTX 4090 is of a brand without forward compatibility (error 804)",
            "Leave out NVIDIA GeForce RTX 4090: set CUDA_VISIBLE_DEVICES=GPU-0a-b for every program", id="geforce",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("policy", [["forward_compat", "fallback"], ["forward_compat"]])
def test_a_gpu_in_the_way_is_named_and_what_hides_it(
    gpus: Any, driver: str, wish: Any, stands: str, remedy: str, policy: Any, machine: Observe, decide: Decide
) -> None:
    decision = decide(machine(gpus, driver), **wish, on_old_driver=policy)
    assert decision["verdict"] == ("degraded" if "fallback" in policy else "blocked")
    assert stands in told(decision)
    assert any(text.startswith(remedy) for text in decision["remedies"]), decision["remedies"]


def test_what_the_remedy_says_is_what_the_same_rules_then_decide(machine: Observe, decide: Decide) -> None:
    decision = decide(machine(["H100", "GTX1080"], visible="GPU-0a-b"), cuda="13.0")
    assert (decision["verdict"], decision["pytorch"]["local"]) == ("ok", "2.15.0+cu130")
    assert "GTX 1080" not in told(decision)
    assert decision["proof"]["architectures"] == ["sm_90a"]
    assert "peers" not in decision["proof"]["checks"]


@pytest.mark.parametrize(
    ("visible", "is_known"),
    [
        pytest.param("GPU-0a-b", True, id="uuid"),
        pytest.param("GPU-0", True, id="begin-of-a-uuid"),
        pytest.param("gpu-0a-b", False, id="a-uuid-is-written-in-capitals"),
        pytest.param("0", False, id="an-index-is-of-cuda-s-order"),
        pytest.param("GPU-", False, id="begin-of-both"),
        pytest.param("GPU-7", False, id="of-neither"),
    ],
)
def test_a_hidden_gpu_is_left_out_where_it_is_known_which_one(
    visible: str, is_known: bool, machine: Observe, case: Any
) -> None:
    found = case(machine(["H100", "GTX1080"], visible=visible)).host
    seen = devices.only_seen(found)
    assert [one.name for one in seen.gpus] == [one.name for one in found.gpus][: 1 if is_known else 2]
    assert len(seen.hidden) == (1 if is_known else 0)


def test_a_gpu_that_one_way_sees_counts(machine: Observe, case: Any) -> None:
    facts = machine(["H100", "GTX1080"], visible="GPU-0a-b")
    facts["ways"]["service"]["environ"] = {}
    facts["ways"]["service"]["devices"] = 2
    assert len(devices.seen(case(facts).host) or ()) == 2


def test_gpus_of_one_kind_have_none_to_leave_out(host: Observe, decide: Decide) -> None:
    assert "Leave out" not in told(decide(host(["GTX1080", "GTX1080"]), cuda="13.0"))


def test_a_proof_reaches_the_hidden_gpus_too(machine: Observe, decide: Decide, applied: Any) -> None:
    """NVML counts them, and the proof keeps what NVML counts."""
    facts = machine(["H100", "GTX1080"], visible="GPU-0a-b")
    decision = decide(facts, cuda="13.0")
    again = decide(applied(facts, decision), cuda="13.0")
    assert not [change for change in again["changes"] if change["action"] == "prove"]


# --- Triton ---


@pytest.mark.parametrize(
    ("gpus", "verdict", "skipped", "proved"),
    [
        pytest.param(["V100"], "ok", False, True, id="volta"),
        pytest.param(["P100"], "degraded", True, False, id="pascal"),
        pytest.param(["A100", P40], "degraded", True, False, id="pascal-beside-ampere"),
    ],
)
def test_the_triton_that_pytorch_brings_has_a_least_capability(
    gpus: Any, verdict: str, skipped: bool, proved: bool, machine: Observe, decide: Decide
) -> None:
    decision = decide(machine(gpus), extensions=["triton"], cuda="12.6")
    assert decision["verdict"] == verdict
    assert ("triton" in decision["proof"]["checks"]) is proved
    assert (decision["extensions"]["triton"].get("skipped") is not None) is skipped
    assert ("it needs compute capability 7.0; found 6." in told(decision)) is skipped
    assert ("Triton and torch.compile need compute capability 7.0" in told(decision)) is skipped


def test_without_a_wish_for_triton_an_old_gpu_is_no_fault(host: Observe, decide: Decide) -> None:
    decision = decide(host("P100"), cuda="12.6")
    assert decision["verdict"] == "ok"
    assert "triton" not in decision["proof"]["checks"]
    assert "on Tesla P100-PCIE-16GB (6.0) they do not run, and the proof leaves them out." in told(decision)


@pytest.mark.parametrize(
    ("model", "torch", "variable", "told_of"),
    [
        pytest.param("GB10", "2.9.1", "TRITON_PTXAS_PATH", "CUDA 12.8, which does not know sm_121a", id="gb10"),
        pytest.param("GB10", "2.10", None, "", id="gb10-later"),
        pytest.param("B300", "2.9.1", "TRITON_PTXAS_PATH", "CUDA 12.8, which does not know sm_103a", id="b300"),
        pytest.param(THOR, "2.9.1", "TRITON_PTXAS_PATH", "CUDA 12.8, which does not know sm_110a", id="thor"),
        pytest.param(THOR, "2.11", "TRITON_PTXAS_BLACKWELL_PATH", "12.9, which does not know sm_110a", id="thor-3.6"),
        pytest.param(THOR, "2.13", None, "", id="thor-later"),
        pytest.param("RTX5090", "2.9.1", None, "", id="rtx-5090"),
        pytest.param("H100", "2.15", None, "", id="hopper"),
    ],
)
def test_a_gpu_that_is_newer_than_triton_s_own_ptxas(
    model: Any, torch: str, variable: str | None, told_of: str, machine: Observe, decide: Decide
) -> None:
    decision = decide(machine([model], arch="aarch64"), pytorch=torch, cuda="13.0", extensions=["triton"])
    assert decision["verdict"] == "ok"
    rows = [row for row in decision["settings"] if row["setting"] == "triton"]
    assert [row["variable"] for row in rows] == ([variable] if variable else [])
    assert [row["value"] for row in rows] == [f"{decision['toolkit']['path']}/bin/ptxas"] * bool(variable)
    assert all(told_of in row["default"] for row in rows)
    assert "triton" in decision["proof"]["checks"]


@pytest.mark.parametrize(
    ("model", "driver", "wish", "variable", "words"),
    [
        pytest.param(
            "A100",
            "470.256.02",
            {"pytorch": "2.7", "cuda": "11.8"},
            "TRITON_PTXAS_PATH",
            "ptxas of CUDA 12.4, whose code a driver of CUDA 11.4 is not made for (NVIDIA A100-SXM4-80GB)",
            id="cuda-11",
        ),
        pytest.param(
            "RTX5090",
            "575.57.08",
            {"pytorch": "2.13", "cuda": "12.9"},
            "TRITON_PTXAS_BLACKWELL_PATH",
            "ptxas of CUDA 13.1, whose code a driver of CUDA 12.9 is not made for (NVIDIA GeForce RTX 5090)",
            id="cuda-12",
        ),
        pytest.param("A100", "535.183.01", {"pytorch": "2.13", "cuda": "12.6"}, None, "", id="the-older-of-the-two"),
        pytest.param("B200", "570.133.20", {"pytorch": "2.13", "cuda": "13.0"}, None, "", id="a-compat-library"),
    ],
)
def test_triton_s_own_ptxas_is_of_a_newer_cuda_than_the_driver(
    model: str, driver: str, wish: Any, variable: str | None, words: str, host: Observe, decide: Decide
) -> None:
    """A driver calls what a ptxas of a newer major makes an invalid image: pytorch issue 119054."""
    facts = host(model, driver, os="ubuntu 22.04")
    facts["platform"].update(glibc="2.35", compiler={"path": "/usr/bin/g++", "version": "11.4.0"})
    decision = decide(facts, **wish)
    assert decision["verdict"] == "ok"
    rows = [row for row in decision["settings"] if row["setting"] == "triton"]
    assert [row["variable"] for row in rows] == ([variable] if variable else [])
    assert all(words in row["default"] for row in rows)
    assert all(row["value"].startswith(f"/usr/local/cuda-{wish['cuda']}/") for row in rows)
    assert "triton" in decision["proof"]["checks"]


def test_no_toolkit_of_the_driver_s_major_leaves_triton_out(host: Observe, decide: Decide) -> None:
    decision = decide(
        host("A100", "470.256.02"), pytorch="2.7", cuda="11.8", extensions=["triton"], toolkit={"provider": "none"}
    )
    assert decision["verdict"] == "degraded"
    assert "triton" not in decision["proof"]["checks"]
    assert "the path of a ptxas of CUDA 11.8." in told(decision)


def test_without_a_toolkit_triton_does_not_run_on_a_newer_gpu(host: Observe, decide: Decide) -> None:
    decision = decide(
        host("GB10", arch="aarch64"), pytorch="2.9.1", extensions=["triton"], toolkit={"provider": "none"}
    )
    assert (decision["verdict"], decision["settings"]) == ("degraded", [])
    because = "Triton 3.5.1 has a ptxas of CUDA 12.8, which does not know sm_121a (NVIDIA GB10)"
    assert decision["extensions"]["triton"] == {"skipped": because}
    assert "triton" not in decision["proof"]["checks"]
    remedy = "Triton and torch.compile need TRITON_PTXAS_PATH on this GPU: the path of a ptxas of CUDA 12.9 or newer."
    assert remedy in decision["remedies"]


def test_the_ptxas_is_no_edit_of_ours(host: Observe, decide: Decide, applied: Any) -> None:
    """A file with other settings is told from an edited one, also where Triton has a variable."""
    facts = host("GB10", arch="aarch64")
    wish = {"pytorch": "2.9.1", "cuda": "13.0"}
    converged = applied(facts, decide(facts, **wish))
    assert decide(converged, **wish)["changes"] == []
    changes = decide(converged, **wish, settings={"module_loading": "lazy", "nccl_debug": "warn"})["changes"]
    assert {row["from"] for row in changes} <= {"edited", "other settings", None}
    changes = decide(converged, **wish, settings={"module_loading": "lazy"})["changes"]
    assert {row["from"] for row in changes} == {"other settings"}


# --- vGPUs ---


@pytest.mark.parametrize(
    ("name", "capability", "virtual"),
    [
        ("NVIDIA A16-8Q", "8.6", True),
        ("GRID A100D-16C", "8.0", True),
        ("NVIDIA A100-1-5C", "8.0", True),
        ("NVIDIA H100-1-10CME", "9.0", True),
        ("NVIDIA A10-24Q", "8.6", True),
        ("NVIDIA L40S-24Q", "8.9", True),
        ("NVIDIA RTX6000-8Q", "7.5", True),
        ("NVIDIA RTXA6000-48Q", "8.6", True),
        ("GRID T4-16Q", "7.5", True),
        ("GRID V100D-32Q", "7.0", True),
        ("GRID P40-24Q", "6.1", True),
        ("GRID M60-8Q", "5.2", True),
        ("NVIDIA A2", "8.6", None),
        ("NVIDIA A10G", "8.6", None),
        ("NVIDIA A100X", "8.0", None),
        ("NVIDIA A1000", None, None),
        ("NVIDIA NVL2", None, None),
        ("NVIDIA RTX A1000 Laptop GPU", "8.6", None),
        ("NVIDIA RTX A4000", "8.6", None),
        ("NVIDIA RTX 2000 Ada Generation", "8.9", None),
        ("NVIDIA GB300", "10.3", None),
        ("NVIDIA L20", "8.9", None),
        ("Orin (nvgpu)", "8.7", None),
        ("NVIDIA GeForce RTX 5090", "12.0", None),
        ("NVIDIA GeForce GT 1030", None, None),
        ("NVIDIA Graphics Device", None, None),
    ],
)
def test_a_gpu_by_its_name(
    name: str, capability: str | None, virtual: bool | None, known: Catalogue, case: Any
) -> None:
    assert (find_model(name, known) or {}).get("compute_capability") == capability
    (found,) = case({"devices": [{"name": name}]}).host.gpus
    assert (found.capability, found.virtual) == (capability, virtual)


@pytest.mark.parametrize("virtual", [True, None, False])
def test_a_driver_that_is_advised_for_a_vgpu_is_a_guest_driver(
    virtual: bool | None, machine: Observe, decide: Decide
) -> None:
    """Where NVML does not say it, the name does."""
    facts = machine([{**A16_8Q, "virtual": virtual}], "570.133.20", kind="vm")
    note = "NVIDIA A16-8Q is a vGPU: only a guest driver of NVIDIA's vGPU software drives it, and it must fit"
    decision = decide(facts, cuda="13.0", on_old_driver=["fail"])
    assert decision["verdict"] == "blocked"
    assert any(text.startswith(note) for text in decision["warnings"]) is (virtual is not False)
    decision = decide(machine([{**A16_8Q, "virtual": virtual}], "580.95.05", kind="vm"), cuda="13.0")
    assert not any(text.startswith(note) for text in decision["warnings"]), "no other driver was advised"


def test_no_driver_of_nvidia_s_repository_is_installed_for_a_vgpu(machine: Observe, decide: Decide) -> None:
    decision = decide(machine([A16_8Q], "570.133.20", kind="vm"), driver="580")
    assert (decision["verdict"], decision["driver"]["packages"], decision["changes"]) == ("blocked", [], [])
    assert "only a guest driver of NVIDIA's vGPU software drives it" in decision["summary"]
    assert any(text.startswith("Leave driver: keep") for text in decision["remedies"])


@pytest.mark.parametrize(
    ("gpus", "words", "because"),
    [
        pytest.param([A16_8Q], {"kind": "vm"}, "a vGPU is reported not to support CUDA's virtual memory", id="vgpu"),
        pytest.param([ORIN], {"arch": "aarch64"}, "on Tegra (Jetson), PyTorch with expandable segments", id="orin"),
        pytest.param([THOR], {"arch": "aarch64"}, "on Tegra (Jetson), PyTorch with expandable segments", id="thor"),
    ],
)
def test_expandable_segments_are_refused_with_the_reason(
    gpus: Any, words: Any, because: str, machine: Observe, decide: Decide
) -> None:
    decision = decide(machine(gpus, "595.58.03", **words), settings={"expandable_segments": True})
    assert decision["verdict"] == "degraded"
    assert f"settings.expandable_segments: true is not set here: {because}" in told(decision)
    assert not any("ALLOC_CONF" in str(row["variable"]) for row in decision["settings"])


@pytest.mark.parametrize("name", ["GB10", "H100"])
def test_expandable_segments_are_set_elsewhere(name: str, host: Observe, decide: Decide) -> None:
    decision = decide(host(name, arch="aarch64"), cuda="13.0", settings={"expandable_segments": True})
    assert (decision["verdict"], len(decision["settings"])) == ("ok", 1)


# --- MIG ---


def test_a_slice_counts_as_its_full_gpu(machine: Observe, decide: Decide) -> None:
    facts = machine([gpu("NVIDIA H100 80GB HBM3", "9.0", 14, mig=True)], "535.183.01")
    decision = decide(facts, cuda="13.0")
    assert (decision["route"], decision["forward_compat"]["package"]) == ("forward_compat", "cuda-compat-13-0")
    assert decision["verdict"] == "ok"


# --- unknown GPUs ---


def test_no_build_is_taken_on_faith_for_an_unknown_gpu(machine: Observe, decide: Decide, applied: Any) -> None:
    facts = machine([gpu("NVIDIA Graphics Device")])
    decision = decide(facts, cuda="13.0")
    assert decision["verdict"] == "degraded"
    because = (
        "machine code: the compute capability of NVIDIA Graphics Device is unknown: PyTorch 2.15.0+cu130 has code for"
        " sm_75 sm_80 sm_86 sm_90 sm_100 sm_120, and is assumed to fit until the proof has passed"
    )
    assert because in told(decision)
    assert any(text.startswith("Set overrides.compute_capability") for text in decision["remedies"])
    assert decide(applied(facts, decision), cuda="13.0")["verdict"] == "ok", "the proof has shown it"


@pytest.mark.parametrize("override", [{"compute_capability": "9.0"}, {"arch_list": False}])
def test_what_the_operator_says_of_an_unknown_gpu_counts(override: Any, machine: Observe, decide: Decide) -> None:
    assert decide(machine([gpu("NVIDIA Graphics Device")]), cuda="13.0", overrides=override)["verdict"] == "ok"


def test_gpus_that_nobody_counted_are_unknown(host: Observe, decide: Decide) -> None:
    facts = host("H100")
    del facts["devices"]
    decision = decide(facts, cuda="13.0")
    assert decision["verdict"] == "degraded"
    assert "the compute capability of the GPU is unknown" in told(decision)


def test_a_toolkit_alone_needs_no_known_gpu(machine: Observe, decide: Decide) -> None:
    assert decide(machine([gpu("NVIDIA Graphics Device")]), cuda="13.0", pytorch="none")["verdict"] == "ok"


# --- compute modes ---


@pytest.mark.parametrize(
    ("modes", "kind", "verdict", "command"),
    [
        pytest.param(["prohibited"], "bare_metal", "broken", "Run as root: nvidia-smi -c 0.", id="the-only-gpu"),
        pytest.param(
            ["default", "prohibited"], "bare_metal", "broken", "Run as root: nvidia-smi -i 1 -c 0.", id="one-of-two"
        ),
        pytest.param(
            ["prohibited"], "container", "broken", "Run as root on the host of this container: nvidia-smi -c 0.",
            id="in-a-container",
        ),
        pytest.param(["exclusive_process"], "bare_metal", "ok", "", id="exclusive"),
        pytest.param(["default"], "bare_metal", "ok", "", id="default"),
        pytest.param([None], "bare_metal", "ok", "", id="unknown"),
    ],
)  # fmt: skip
def test_compute_modes(modes: Any, kind: str, verdict: str, command: str, machine: Observe, decide: Decide) -> None:
    gpus = [gpu("NVIDIA H100 80GB HBM3", "9.0", 14, compute_mode=mode) for mode in modes]
    decision = decide(machine(gpus, kind=kind), cuda="13.0")
    assert decision["verdict"] == verdict
    assert (command in decision["remedies"]) is bool(command)
    assert ("every program on it fails with error 46" in told(decision)) is (verdict == "broken")
    assert ("only one process at a time can use it" in told(decision)) is (modes == ["exclusive_process"])


def test_a_prohibited_gpu_that_may_be_hidden_is_told(machine: Observe, decide: Decide) -> None:
    """A screen's GPU is set so, and hidden by its index: which one that is nobody can tell."""
    gpus = [gpu("NVIDIA H100 80GB HBM3", "9.0", 14), gpu("NVIDIA T400 4GB", "7.5", 13, compute_mode="prohibited")]
    decision = decide(machine(gpus, visible="0"), cuda="13.0")
    assert decision["verdict"] == "ok"
    assert "fails with error 46, unless CUDA_VISIBLE_DEVICES hides it. Run as root: nvidia-smi -i 1 -c 0." in told(
        decision
    )
    decision = decide(machine(gpus, visible="GPU-0"), cuda="13.0")
    assert "error 46" not in told(decision)


# --- requested architectures ---


@pytest.mark.parametrize(
    ("gpus", "wished", "verdict", "words"),
    [
        pytest.param(
            ["RTX5090"], ["9.0a"], "blocked",
            "architectures is 9.0a, and code for it runs on no GPU of this host: NVIDIA GeForce RTX 5090 (12.0)",
            id="none-fits",
        ),
        pytest.param(
            ["RTX5090", "H100"], ["9.0a"], "ok",
            "architectures is 9.0a: what is compiled here does not run on NVIDIA GeForce RTX 5090 (12.0).",
            id="one-fits",
        ),
        pytest.param(["RTX5090", "H100"], ["9.0a", "12.0"], "ok", "", id="all-fit"),
        pytest.param(["L4"], ["8.6"], "ok", "", id="a-lower-minor-fits"),
        pytest.param(["A100"], ["8.6"], "blocked", "code for it runs on no GPU of this host", id="a-higher-does-not"),
        pytest.param([ORIN], ["8.6"], "blocked", "runs on no GPU of this host: Orin (nvgpu) (8.7)", id="tegra"),
    ],
)  # fmt: skip
def test_requested_architectures(
    gpus: Any, wished: list[str], verdict: str, words: str, machine: Observe, decide: Decide
) -> None:
    decision = decide(machine(gpus), cuda="13.0", pytorch="none", architectures=wished)
    assert decision["verdict"] == verdict
    assert words in told(decision)
    assert words or "architectures is" not in told(decision)
    if verdict == "blocked":
        assert any(text.startswith("Set architectures: auto for this host") for text in decision["remedies"])


def test_hiding_a_gpu_makes_no_architecture_fit_another(machine: Observe, decide: Decide) -> None:
    decision = decide(machine(["RTX5090", "A100"]), cuda="13.0", architectures=["9.0a"])
    assert decision["verdict"] == "blocked"
    assert "Leave out" not in told(decision)


def test_architectures_fit_no_gpu_that_is_unknown(machine: Observe, decide: Decide) -> None:
    facts = machine([gpu("NVIDIA Graphics Device")])
    assert decide(facts, cuda="13.0", pytorch="none", architectures=["9.0a"])["verdict"] == "ok"
