"""Where the parts of a stack come from, and what stops a plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Decide = Callable[..., dict[str, Any]]
TOOLKIT_13 = {
    "version": "13.0.88",
    "release": "13.0",
    "path": "/usr/local/cuda-13.0",
    "provider": "image",
    "cudart": True,
    "nvcc": True,
    "broken": [],
}
IMAGE_TORCH = {
    "path": "/opt/venv/lib/python3.12/site-packages",
    "python": "/opt/venv/bin/python",
    "python_version": "3.12",
    "version": "2.11.0",
    "local": "2.11.0+cu130",
    "cuda": "13.0",
    "arch_list": ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"],
    "managed": False,
    "broken": [],
}
CPU_WHEEL = {
    "name": "torch",
    "version": "2.13.0+cpu",
    "path": "/srv/wheels/torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl",
    "python_tag": "cp311",
    "arch": "x86_64",
    "cuda": None,
}


def texts(decision: dict[str, Any], key: str) -> str:
    return " ".join(
        entry if isinstance(entry, str) else entry.get("text") or f"{entry['option']}: {entry['because']}"
        for entry in decision[key]
    )


# --- the toolkit ---


@pytest.mark.parametrize(
    ("observed", "wished", "provider", "path"),
    [
        pytest.param({"toolkits": [TOOLKIT_13]}, {}, "adopt", "/usr/local/cuda-13.0", id="adopt-first"),
        pytest.param(
            {"toolkits": [{**TOOLKIT_13, "nvcc": False}]}, {}, "apt", "/usr/local/cuda-13.0", id="runtime-only"
        ),
        pytest.param({}, {}, "apt", "/usr/local/cuda-13.0", id="apt"),
        pytest.param({"os": "rocky 9.4"}, {}, "pypi", "/opt/podsmith/toolkits/13.0/nvidia/cu13", id="no-apt"),
        pytest.param({"os": "ubuntu 25.10"}, {}, "pypi", "/opt/podsmith/toolkits/13.0/nvidia/cu13", id="no-repository"),
        pytest.param(
            {"root": False}, {}, "pypi", "/home/ada/.local/share/podsmith/toolkits/13.0/nvidia/cu13", id="user-scope"
        ),
        pytest.param({}, {"provider": "pypi"}, "pypi", "/opt/podsmith/toolkits/13.0/nvidia/cu13", id="wished"),
        pytest.param({"toolkits": [TOOLKIT_13]}, {"provider": "apt"}, "apt", "/usr/local/cuda-13.0", id="wished-apt"),
    ],
)
def test_toolkit_provider(observed: Any, wished: Any, provider: str, path: str, host: Any, decide: Decide) -> None:
    toolkit = decide(host(**observed), cuda="13.0", toolkit=wished)["toolkit"]
    assert (toolkit["provider"], toolkit["path"]) == (provider, path)


def test_toolkit_from_pypi_is_pinned(host: Any, decide: Decide) -> None:
    toolkit = decide(host(root=False), cuda="13.0")["toolkit"]
    assert toolkit["exact"] == "13.0.88"
    assert "nvidia-cuda-nvcc==13.0.88" in toolkit["packages"]
    assert all("==" in package for package in toolkit["packages"])


def test_a_toolkit_that_lost_its_compiler_is_not_adopted(host: Any, decide: Decide) -> None:
    decision = decide(
        host(toolkits=[{**TOOLKIT_13, "broken": ["bin/nvcc"]}]), cuda="13.0", toolkit={"provider": "adopt"}
    )
    assert decision["toolkit"] is None
    assert "lacks bin/nvcc" in texts(decision, "rejected")


def test_no_toolkit_of_cuda_12_without_root(host: Any, decide: Decide) -> None:
    decision = decide(host(root=False), cuda="12.6")
    assert (decision["verdict"], decision["toolkit"]) == ("degraded", None)
    assert "PyPI has no compiler of CUDA 12.6" in texts(decision, "rejected")
    assert "toolkit.provider: none" in texts(decision, "remedies")


def test_a_toolkit_alone_that_cannot_be_had_blocks(host: Any, decide: Decide) -> None:
    decision = decide(host(root=False), cuda="12.6", pytorch="none")
    assert (decision["verdict"], decision["changes"]) == ("blocked", [])
    assert "CUDA toolkit 12.6 is not available" in decision["summary"]


def test_a_toolkit_of_the_same_major_serves_where_the_release_is_free(host: Any, decide: Decide) -> None:
    """Extensions build with any minor of PyTorch's CUDA major."""
    image = {**TOOLKIT_13, "version": "12.4.131", "release": "12.4", "path": "/usr/local/cuda-12.4"}
    decision = decide(host("V100", root=False, toolkits=[image]))
    assert decision["pytorch"]["index"] == "cu126"
    assert (decision["toolkit"]["version"], decision["toolkit"]["provider"]) == ("12.4", "adopt")


def test_toolkits_side_by_side(host: Any, decide: Decide) -> None:
    decision = decide(host(driver="550.163.01"), cuda="12.8", pytorch="2.8", toolkit={"also": ["13.0", "12.8"]})
    assert decision["toolkit"]["version"] == "12.8"
    assert [toolkit["version"] for toolkit in decision["toolkits"]] == ["13.0"]


def test_a_missing_compiler_is_installed_with_root(host: Any, decide: Decide) -> None:
    observed = host()
    observed["platform"]["compiler"] = None
    decision = decide(observed, cuda="13.0")
    assert decision["toolkit"]["system_packages"] == ["g++"]
    assert ("cuda_toolkit", "C++ compiler") in [(change["role"], change["what"]) for change in decision["changes"]]


def test_a_missing_compiler_blocks_without_root(host: Any, decide: Decide) -> None:
    observed = host(root=False)
    observed["platform"]["compiler"] = None
    decision = decide(observed, cuda="13.0")
    assert decision["summary"] == "blocked: the host has no C++ compiler, which nvcc needs"
    assert decision["remedies"] == ["Install g++ on the host.", "Set toolkit.provider: none."]
    assert decide(observed, cuda="13.0", toolkit={"provider": "none"})["verdict"] == "ok"


def test_a_compiler_that_is_too_new_leads_to_a_newer_toolkit_and_the_named_one_is_not_met(
    host: Any, decide: Decide
) -> None:
    observed = host()
    observed["platform"]["compiler"]["version"] = "16.1.0"
    decision = decide(observed, cuda="13.0")
    assert (decision["verdict"], decision["pytorch"]["cuda"], decision["toolkit"]["version"]) == (
        "degraded",
        "13.0",
        "13.4",
    )
    told = "CUDA 13.0 supports g++ 6 to 15 and clang 7 to 20; found g++ 16.1.0"
    assert {"option": "CUDA toolkit 13.0", "because": told} in decision["rejected"]


def test_without_a_gpu_the_toolkit_follows_the_newest_cuda_of_torch(host: Any, decide: Decide) -> None:
    decision = decide(host(None, None, root=False))
    assert decision["route"] == "cpu"
    assert decision["toolkit"]["version"] == "13.2"


# --- forward compatibility ---


def test_the_librarys_own_note_counts_more_than_the_catalogue(host: Any, decide: Decide) -> None:
    note = {"package": "cuda-compat-13-0", "version": "580.95.05", "path": "/compat", "cuda": "13.0"}
    decision = decide(host(driver="550.163.01", compat=[note | {"branches": [535, 570], "brands": [14]}]), cuda="13.0")
    assert decision["forward_compat"]["package"] == "cuda-compat-13-1", "a newer one lists the branch"
    assert "cuda-compat-13-0 lists branches 535, 570, not 550" in texts(decision, "reasons")
    decision = decide(host(driver="555.42.06", compat=[note | {"branches": [535, 555], "brands": [14]}]), cuda="13.0")
    compat = decision["forward_compat"]
    assert (compat["provider"], compat["path"], compat["confidence"]) == ("adopt", "/compat", "listed")


def test_a_refused_library_is_not_tried_again(host: Any, decide: Decide) -> None:
    state = {"refused_compat": {"cuda-compat-13-0 580.95.05": 804}}
    decision = decide(host(driver="570.133.20", state=state), cuda="13.0")
    assert decision["route"] == "fallback"
    assert "cuda-compat-13-0 580.95.05 was tried here and refused with error 804" in texts(decision, "rejected")


def test_a_library_not_newer_than_the_driver_is_refused(host: Any, decide: Decide) -> None:
    note = {"package": "cuda-compat-13-0", "version": "570.10", "path": "/compat", "cuda": "13.0", "branches": [570]}
    decision = decide(host(driver="570.133.20", compat=[note]), cuda="13.0")
    assert decision["forward_compat"]["package"] == "cuda-compat-13-1", "that of a newer CUDA is newer"
    assert "570.10 is not newer than driver 570.133.20 (error 803)" in texts(decision, "reasons")


@pytest.mark.parametrize(
    ("observed", "because"),
    [
        pytest.param({"root": False}, "nothing is installed outside the prefix", id="user-scope"),
        pytest.param({"os": "rocky 7.9"}, "no packages for rocky 7.9", id="no-folder"),
        pytest.param({"os": "ubuntu 25.10"}, "no packages for ubuntu 25.10", id="no-repository"),
    ],
)
def test_compat_that_cannot_be_installed(observed: Any, because: str, host: Any, decide: Decide) -> None:
    decision = decide(host(driver="570.133.20", **observed), cuda="13.0")
    assert decision["route"] == "fallback"
    assert because in texts(decision, "rejected")


def test_workstation_gpus_are_left_to_the_probe(host: Any, decide: Decide) -> None:
    decision = decide(host("A6000", "570.133.20"), cuda="13.0")
    assert (decision["route"], decision["forward_compat"]["confidence"]) == ("forward_compat", "probe")


def test_every_gpu_of_a_host_counts(host: Any, decide: Decide) -> None:
    assert decide(host(["H100", "RTX4090"], "570.133.20"), cuda="13.0")["route"] == "fallback"
    decision = decide(host(["V100", "H100"], "580.95.05"), cuda="13.0")
    assert decision["pytorch"]["index"] == "cu126"
    assert decision["environment"]["arch_list"] == "7.0;9.0"


# --- PyTorch ---


@pytest.mark.parametrize(
    ("change", "wished", "adopted"),
    [
        ({"incoherent": ["nvidia-cuda-nvrtc 13.5.37 beside nvidia-cuda-runtime 13.0.96"]}, {"pytorch": "2.11"}, False),
        ({"incoherent": []}, {"pytorch": "2.11"}, True),
        pytest.param({}, {"pytorch": "2.11"}, True, id="as-wished"),
        pytest.param({}, {"pytorch": "2.11.0", "cuda": "13.0"}, True, id="exactly-as-wished"),
        pytest.param(
            {"packages": {"triton": "3.6.0", "torchvision": "0.26.0"}},
            {"pytorch": "2.11", "extensions": ["triton", "torchvision"]},
            True,
            id="with-its-extensions",
        ),
        pytest.param(
            {"packages": {"triton": "3.6.0"}}, {"pytorch": "2.11", "extensions": ["xformers"]}, False, id="without-one"
        ),
        pytest.param({}, {}, True, id="not-the-newest"),
        pytest.param({"version": "2.15.0", "cuda": "13.2"}, {}, True, id="the-newest"),
        pytest.param({}, {"pytorch": "2.11", "cuda": "12.8"}, False, id="another-cuda"),
        pytest.param({"broken": ["torch/lib/libtorch.so"]}, {"pytorch": "2.11"}, False, id="broken"),
        pytest.param({"managed": True}, {"pytorch": "2.11"}, False, id="ours"),
        pytest.param({"arch_list": ["sm_80"]}, {"pytorch": "2.11"}, False, id="no-code-for-the-gpu"),
        pytest.param({"arch_list": None}, {"pytorch": "2.11"}, True, id="code-from-the-catalogue"),
        pytest.param({}, {"pytorch": "2.11", "extensions": ["xformers"]}, False, id="with-an-extension"),
        pytest.param({}, {"pytorch": "2.11", "python": "3.11"}, False, id="another-python"),
        pytest.param({}, {"pytorch": "2.11", "wheels": {"provider": "pytorch_index"}}, False, id="another-source"),
    ],
)
def test_adoption(change: Any, wished: Any, adopted: bool, host: Any, decide: Decide) -> None:
    decision = decide(host(pythons=("3.11", "3.12"), pytorch=[{**IMAGE_TORCH, **change}]), **{"cuda": "13.0"} | wished)
    if change.get("cuda"):
        decision = decide(host(pytorch=[{**IMAGE_TORCH, **change}]), **wished)
    assert (decision["pytorch"]["provider"] == "adopt") is adopted
    if adopted:
        assert decision["pytorch"]["adopt"] == decision["environment"]["adopt"] == IMAGE_TORCH["path"]
        assert decision["pytorch"]["requirements"] == []
        assert decision["environment"]["name"].endswith("-adopted")


def test_an_adopted_torch_converges(host: Any, decide: Decide, applied: Any) -> None:
    fresh = host(pytorch=[IMAGE_TORCH])
    decision = decide(fresh, pytorch="2.11", cuda="13.0")
    assert decision["pytorch"]["provider"] == "adopt"
    assert ("PyTorch 2.11.0+cu130 (adopted)", 0) in [(change["what"], change["mib"]) for change in decision["changes"]]
    assert decide(applied(fresh, decision), pytorch="2.11", cuda="13.0")["changes"] == []


def test_the_hosts_own_configuration_gives_the_cpu_build(host: Any, decide: Decide) -> None:
    observed = host(None, None, root=False, pythons=("3.11", "3.13"))
    observed["sources"]["wheels"] = [CPU_WHEEL]
    decision = decide(observed)
    torch = decision["pytorch"]
    assert (torch["provider"], torch["local"], torch["python"]["version"]) == ("host_wheels", "2.13.0+cpu", "3.11")
    assert 'used as "newest"' in texts(decision, "reasons")
    other = decide(observed, pytorch="2.9")["pytorch"]
    assert (other["provider"], other["local"]) == ("pytorch_index", "2.9.1+cpu")


def test_pypi_has_one_cuda(host: Any, decide: Decide) -> None:
    torch = decide(host(), pytorch="2.9", wheels={"provider": "pypi"})["pytorch"]
    assert (torch["provider"], torch["cuda"], torch["requirements"]) == ("pypi", "12.8", ["torch==2.9.1"])
    assert torch["local"] == "2.9.1+cu128"
    decision = decide(host(), pytorch="2.9", cuda="13.0", wheels={"provider": "pypi"}, on_old_driver=["fail"])
    assert decision["verdict"] == "blocked"
    assert "PyPI's PyTorch 2.9.1 is built for CUDA 12.8" in texts(decision, "rejected")


def test_no_python_fits(host: Any, decide: Decide) -> None:
    decision = decide(host(pythons=("3.8",)), cuda="13.0")
    assert decision["verdict"] == "blocked"
    assert "Install Python 3.11 to 3.15 with its venv module; found 3.8" in texts(decision, "remedies")
    assert decide(host(None, None, pythons=("3.8",)))["verdict"] == "blocked"


def test_the_newest_torch_for_an_old_python(host: Any, decide: Decide) -> None:
    assert decide(host(pythons=("3.9",)))["pytorch"]["version"] == "2.8.0"


def test_an_old_c_library(host: Any, decide: Decide) -> None:
    observed = host(None, None)
    observed["platform"]["glibc"] = "2.17"
    decision = decide(observed, pytorch="2.9")
    assert decision["verdict"] == "blocked"
    assert "glibc 2.28 or newer; found 2.17" in texts(decision, "remedies")


# --- extensions ---


def test_one_coherent_set(host: Any, decide: Decide) -> None:
    wished = ["xformers", "triton", "torchvision", "torchaudio", "vllm", "bitsandbytes", "flash-attn"]
    decision = decide(host(), cuda="13.0", pytorch="2.9.1", extensions=wished)
    extensions = decision["extensions"]
    assert list(extensions) == wished
    assert extensions["xformers"]["requirement"] == "xformers==0.0.33.post2+cu130"
    assert extensions["triton"] == {"version": "3.5.1", "requirement": None, "index": "cu130"}
    assert decision["pytorch"]["companions"] == {"torchvision": "0.24.1", "torchaudio": "2.9.1"}
    assert "torchvision==0.24.1+cu130" in decision["pytorch"]["requirements"]
    assert extensions["vllm"]["requirement"] == "vllm==0.16.0+cu130"
    assert extensions["vllm"]["index"] == "https://wheels.vllm.ai/0.16.0/cu130"
    assert "source only" in extensions["flash-attn"]["skipped"]
    assert "xformers==0.0.33.post2+cu130" in decision["environment"]["constraints"]


@pytest.mark.parametrize(
    ("observed", "wished", "name", "skipped"),
    [
        pytest.param({}, {"cuda": "12.9", "pytorch": "2.9"}, "bitsandbytes", "0.50.2 has no build", id="cuda"),
        pytest.param({"gpu": None, "driver": None}, {}, "xformers", "needs CUDA", id="cpu"),
        pytest.param({"gpu": None, "driver": None}, {}, "triton", "without it", id="bundled"),
        pytest.param({"gpu": "GTX1080"}, {}, "xformers", "found 6.1", id="capability"),
        pytest.param({"arch": "aarch64"}, {"cuda": "13.0"}, "xformers", "no wheel for aarch64", id="arch"),
        pytest.param(
            {"driver": "570.133.20"},
            {"cuda": "12.8", "pytorch": "2.14"},
            "vllm",
            "0.33.0 requires torch 2.14.0",
            id="nearest-torch",
        ),
        pytest.param(
            {"pythons": ("3.14",)},
            {"cuda": "12.8", "pytorch": "2.9.1"},
            "vllm",
            "0.16.0 requires Python <3.14,>=3.10",
            id="nearest-python",
        ),
        pytest.param(
            {"pythons": ("3.14",)},
            {"cuda": "13.0", "pytorch": "2.9.1"},
            "fbgemm-gpu",
            "1.4.0 has no wheel for Python 3.14",
            id="nearest-not-withdrawn",
        ),
        pytest.param(
            {},
            {"cuda": "13.0", "pytorch": "2.13.0"},
            "fbgemm-gpu",
            "1.9.0 does not say which PyTorch",
            id="torch-unnamed",
        ),
        pytest.param(
            {}, {"cuda": "13.0", "pytorch": "2.14.1"}, "vllm", "0.33.0 requires torch 2.14.0", id="none-near-newest"
        ),
        pytest.param({}, {"pytorch": "none"}, "xformers", "pytorch is none", id="no-torch"),
    ],
)
def test_a_skipped_extension(observed: Any, wished: Any, name: str, skipped: str, host: Any, decide: Decide) -> None:
    entry = decide(host(**observed), **wished, extensions=[name])["extensions"][name]
    if name == "bitsandbytes":
        assert entry["version"] == "0.49.2" if "version" in entry else skipped in entry["skipped"]
    else:
        assert skipped in entry["skipped"]


# --- CUTLASS ---


@pytest.mark.parametrize(
    ("wished", "observed", "provider", "requirement"),
    [
        ("4.2.0", {}, "pypi", "nvidia-cutlass==4.2.0.0"),
        ("4.3.0", {}, "git", None),
        ("4.3.0", {"cutlasses": [{"version": "4.3.0", "path": "/opt/cutlass", "broken": []}]}, "adopt", None),
        ("4.3.0", {"cutlasses": [{"version": "4.3.0", "path": "/opt/cutlass", "broken": ["include"]}]}, "git", None),
    ],
)
def test_cutlass(wished: str, observed: Any, provider: str, requirement: Any, host: Any, decide: Decide) -> None:
    cutlass = decide(host(**observed), cutlass=wished)["cutlass"]
    assert (cutlass["version"], cutlass["provider"], cutlass["requirement"]) == (wished, provider, requirement)


def test_cutlass_without_git(host: Any, decide: Decide) -> None:
    observed = host(root=False)
    observed["platform"]["tools"]["git"] = None
    decision = decide(observed, cuda="13.0", cutlass="4.3.0")
    assert (decision["verdict"], decision["cutlass"]) == ("degraded", None)
    assert "git, which is not installed" in texts(decision, "rejected")


# --- scope, prefix, disk ---


@pytest.mark.parametrize(
    ("observed", "wished", "scope", "prefix"),
    [
        pytest.param({}, {}, "system", "/opt/podsmith", id="root-with-a-driver"),
        pytest.param({"root": False}, {}, "user", "/home/ada/.local/share/podsmith", id="no-root"),
        pytest.param(
            {"gpu": None, "driver": None}, {}, "user", "/root/.local/share/podsmith", id="root-without-a-driver"
        ),
        pytest.param({"gpu": None, "driver": None}, {"scope": "system"}, "system", "/opt/podsmith", id="wished"),
        pytest.param({}, {"prefix": "/srv/gpu"}, "system", "/srv/gpu", id="wished-prefix"),
    ],
)
def test_scope_and_prefix(observed: Any, wished: Any, scope: str, prefix: str, host: Any, decide: Decide) -> None:
    environment = decide(host(**observed), **wished)["environment"]
    assert (environment["scope"], environment["prefix"]) == (scope, prefix)


def test_a_persistent_volume_holds_the_prefix(host: Any, decide: Decide) -> None:
    observed = host()
    observed["platform"]["persistent_dir"] = "/workspace"
    assert decide(observed)["environment"]["prefix"] == "/workspace/podsmith"


def test_system_scope_needs_root(host: Any, decide: Decide) -> None:
    decision = decide(host(root=False), scope="system")
    assert decision["summary"] == "blocked: system scope needs root, and this is not root"
    assert "become: true" in texts(decision, "remedies")


def test_too_little_disk_says_how_much_is_missing(host: Any, decide: Decide) -> None:
    observed = host(root=False)
    observed["platform"]["free_gib"] = {"/": 100.0, "/home": 3.1}
    decision = decide(observed, cuda="13.0", toolkit={"provider": "none"})
    assert (decision["verdict"], decision["changes"]) == ("blocked", [])
    assert decision["summary"] == (
        "blocked: needs 9.8 GiB at /home/ada/.local/share/podsmith; 3.1 GiB are free, 6.7 GiB too little"
    )
    assert "Free 6.7 GiB at /home/ada" in texts(decision, "remedies")
    forced = decide(observed, cuda="13.0", toolkit={"provider": "none"}, overrides={"disk": False})
    assert forced["verdict"] == "ok"
    assert "override disk: needs 9.8 GiB" in texts(forced, "warnings")


def test_unknown_disk_is_not_checked(host: Any, decide: Decide) -> None:
    observed = host()
    del observed["platform"]["free_gib"]
    decision = decide(observed)
    assert (decision["verdict"], decision["download"]["free_mib"]) == ("ok", None)


# --- what the operator knows better ---


@pytest.mark.parametrize(
    ("overrides", "route", "warning"),
    [
        ({"driver": "580.95.05"}, "native", "override driver: observed 550.163.01, used 580.95.05."),
        ({"brand_id": 5}, "fallback", "override brand_id: observed 14, used 5."),
        ({"compute_capability": "7.0"}, "fallback", "override compute_capability: observed 9.0, used 7.0."),
        ({"compute_capability": "7.0", "arch_list": False}, "forward_compat", "override arch_list: machine code"),
    ],
)
def test_overrides_are_honoured_and_named(overrides: Any, route: str, warning: str, host: Any, decide: Decide) -> None:
    decision = decide(host(driver="550.163.01"), cuda="13.0", overrides=overrides)
    assert decision["route"] == route
    assert warning in texts(decision, "warnings")


# --- partial observations ---


def test_nothing_observed(decide: Decide) -> None:
    decision = decide({}, toolkit={"provider": "none"})
    assert (decision["route"], decision["verdict"]) == ("cpu", "ok")
    assert decision["pytorch"]["python"] == {"path": None, "version": None}
    assert "no NVIDIA driver was observed" in texts(decision, "reasons")


def test_a_driver_and_a_name_are_enough(decide: Decide) -> None:
    """What a cloud's listing tells before a pod is rented."""
    facts = {"driver": {"status": "ok", "version": "570.133.20"}, "devices": [{"name": "NVIDIA H100 PCIe"}]}
    facts["platform"] = {"root": True}
    decision = decide(facts, cuda="13.0")
    assert (decision["route"], decision["forward_compat"]["confidence"]) == ("forward_compat", "probe")
    facts["devices"] = [{"name": "NVIDIA GeForce RTX 4090"}]
    assert decide(facts, cuda="13.0")["route"] == "fallback"


def test_a_driver_without_a_version(decide: Decide) -> None:
    decision = decide({"driver": {"status": "ok"}, "devices": [{"compute_capability": "9.0"}]}, cuda="13.0")
    assert (decision["route"], decision["verdict"]) == ("native", "degraded")
    assert "driver's version is unknown" in texts(decision, "warnings")
    because = "the driver's version is unknown; CUDA 13.0 is assumed to run on it, and the proof decides"
    assert {"option": "driver", "because": because} in decision["rejected"]
    assert "Set overrides.driver to the version of the driver" in texts(decision, "remedies")
    known = {"driver": {"status": "ok", "cuda": "13.0"}, "devices": [{"compute_capability": "9.0"}]}
    assert decide(known, cuda="13.0")["verdict"] == "ok"


def test_a_driver_without_a_known_gpu(decide: Decide) -> None:
    decision = decide({"driver": {"status": "ok", "version": "580.95.05"}}, cuda="13.0")
    assert decision["route"] == "native"
    assert "compute capability is unknown" in texts(decision, "warnings")
    assert decide({"driver": {"status": "ok", "version": "570.26"}}, cuda="13.0")["route"] == "fallback"


@pytest.mark.parametrize("section", ["platform", "driver", "devices", "loader", "sources", "installed", "conflicts"])
def test_any_section_may_be_absent(section: str, host: Any, decide: Decide) -> None:
    observed = host()
    del observed[section]
    decide(observed, cuda="13.0", cutlass="newest", extensions=["torchvision"])


# --- drivers and GPUs that do not go together ---


@pytest.mark.parametrize(
    ("gpu", "driver", "kind", "because", "remedy"),
    [
        ("B200", "570.124.06", "bare_metal", "needs driver 570.133.20", "driver 570.133.20 or newer"),
        ("RTX5090", "565.57.01", "bare_metal", "needs driver 570.26", "driver 570.26 or newer"),
        ("RTX5090", "566.36", "wsl2", "needs Windows driver 570.65", "Update the Windows driver to 570.65 or newer"),
        ("H100", "470.256.02", "bare_metal", "needs driver 520.61.05", "driver 520.61.05 or newer"),
        ("V100", "590.48.01", "bare_metal", "branch 580 is the last", "driver of branch 580"),
    ],
)
def test_gpu_and_driver(gpu: str, driver: str, kind: str, because: str, remedy: str, host: Any, decide: Decide) -> None:
    decision = decide(host(gpu, driver, kind=kind))
    assert decision["verdict"] == "blocked"
    assert because in texts(decision, "rejected")
    assert remedy in texts(decision, "remedies")


@pytest.mark.parametrize(
    ("status", "remedy"), [("mismatch", "reload the modules"), ("timeout", "Xid"), ("lost", "dmesg")]
)
def test_a_driver_that_does_not_answer(status: str, remedy: str, host: Any, decide: Decide) -> None:
    observed = host()
    observed["driver"] = {"status": status, "version": "580.95.05"}
    decision = decide(observed)
    assert (decision["verdict"], decision["route"], decision["changes"]) == ("broken", "blocked", [])
    assert remedy in texts(decision, "remedies")
    assert decide(observed, cuda="none")["route"] == "cpu"


def test_a_second_libcuda_is_named_by_its_path_alone(host: Any, decide: Decide) -> None:
    observed, path = host(), "/usr/local/lib/libcuda.so.1"
    observed["conflicts"] = [{"kind": "second_libcuda", "file": path, "line": None, "text": "", "path": path}]
    assert decide(observed)["warnings"] == [f"{path} is a second libcuda beside the driver's; remove it."]


def test_a_driver_without_a_device(host: Any, decide: Decide) -> None:
    observed = host(None, "580.95.05", kind="container")
    observed["driver"]["status"] = "no_device"
    decision = decide(observed)
    assert (decision["route"], decision["verdict"]) == ("cpu", "degraded")
    assert "Start it with --gpus all" in texts(decision, "warnings")


def test_a_gpu_without_a_driver(host: Any, decide: Decide) -> None:
    decision = decide(host("H100", None))
    assert (decision["route"], decision["verdict"]) == ("cpu", "degraded")
    assert decision["remedies"] == ["Install NVIDIA's driver on the host."]


def test_a_combination_that_nobody_builds(host: Any, decide: Decide) -> None:
    decision = decide(host(), pytorch="2.6", cuda="13.0", on_old_driver=["fail"])
    assert "PyTorch 2.6 on CUDA 13.0: there is no such build for x86_64" in texts(decision, "rejected")
    assert 'Set cuda: "12.6": PyTorch 2.6.0+cu126 runs here.' in decision["remedies"]


# --- the proof ---


@pytest.mark.parametrize(
    ("gpu", "wished", "architectures"),
    [
        ("H100", {}, ["sm_90a"]),
        ("L4", {}, ["sm_89"]),
        ("H100", {"architectures": ["9.0", "12.0"]}, ["sm_90", "sm_120"]),
        (None, {}, ["sm_90a", "sm_100a", "sm_120a"]),
    ],
)
def test_what_the_proof_compiles_for(gpu: Any, wished: Any, architectures: Any, host: Any, decide: Decide) -> None:
    decision = decide(host(gpu, "580.95.05" if gpu else None), cuda="13.0", **wished)
    assert decision["proof"]["architectures"] == architectures


def test_the_proof_fits_the_route(host: Any, decide: Decide) -> None:
    gpu = decide(host(), cuda="13.0", cutlass="newest")["proof"]
    of_gpu = {"cuinit", "nvrtc", "triton", "health"}
    of_all = {"limits", "nvcc", "kernel", "cutlass", "torch", "matmul", "workers", "extension"}
    assert set(gpu["checks"]) == of_gpu | of_all
    two = decide(host(["H100", "H100"]), cuda="13.0", cutlass="newest")["proof"]
    assert set(two["checks"]) == {*gpu["checks"], "peers"}
    cpu = decide(host(None, None), toolkit={"provider": "none"})["proof"]
    assert (cpu["gpu"], cpu["checks"], cpu["architectures"]) == (False, ["limits", "torch", "matmul", "workers"], [])


def test_the_reasons_are_of_the_pytorch_that_is_used(host: Any, decide: Decide) -> None:
    """Where a release of CUDA is named, the newest PyTorch for it is looked at first, and that of the image is used."""
    decision = decide(host(pytorch=[IMAGE_TORCH]), cuda="13.0")
    told = [reason["text"].partition(" has ")[0] for reason in decision["reasons"] if reason["rule"] == "machine-code"]
    assert (decision["pytorch"]["adopt"] is not None, told) == (True, [f"PyTorch {IMAGE_TORCH['local']}"])
