"""Which toolkit compiles on a host, by its C++ compilers and its C library, and which patch release it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host_compiler import cannot_compile
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.plan import check_request
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import (
    as_mapping,
    parse_request,
    restore_request,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import RequestError

Decide = Callable[..., dict[str, Any]]
SUPPORTED = {
    "13.0": "CUDA 13.0 supports g++ 6 to 15 and clang 7 to 20",
    "13.2": "CUDA 13.2 supports g++ 6 to 15 and clang 7 to 21",
    "12.3": "CUDA 12.3 supports g++ 6 to 12 and clang 7 to 16",
}


def too_new(release: str, below: str, found: str) -> str:
    declared = "whose math.h declares functions that the toolkit's headers declare differently"
    return f"CUDA {release} compiles nothing with glibc {below} or newer, {declared}; found glibc {found}"


def compiler(kind: str, version: str, path: str = "") -> dict[str, Any]:
    name = {"gcc": "g++", "clang": "clang++"}[kind]
    return {"kind": kind, "path": path or f"/usr/bin/{name}-{version}", "version": version}


def toolkit(version: str, **more: Any) -> dict[str, Any]:
    release = ".".join(version.split(".")[:2])
    return {
        "version": version,
        "release": release,
        "path": f"/usr/local/cuda-{release}",
        "provider": "image",
        "cudart": True,
        "nvcc": True,
        "components": ["compiler", "runtime_dev", "libraries", "full"],
        "broken": [],
        **more,
    }


@pytest.fixture
def machine(host: Any) -> Callable[..., dict[str, Any]]:
    """A host with this glibc, this g++ on its path (None: none) and these compilers beside it."""

    def make(os: str, glibc: str, gcc: str | None, *, driver: str | None = "580.95.05", **more: Any) -> dict[str, Any]:
        observed: dict[str, Any] = host(more.pop("gpu", "RTX3090"), driver, os=os, **more)
        observed["platform"]["glibc"] = glibc
        observed["platform"]["compiler"] = {"path": "/usr/bin/g++", "version": gcc} if gcc else None
        if observed["platform"]["os"]["family"] != "debian":
            observed["platform"]["tools"]["apt"] = None
        return observed

    return make


# --- what compiles nothing here is not planned ---

FEDORA_44 = {"os": "fedora 44", "glibc": "2.43", "gcc": "16.1.1"}
FEDORA_42 = {"os": "fedora 42", "glibc": "2.41", "gcc": "15.1.1"}
UBUNTU_2510 = {"os": "ubuntu 25.10", "glibc": "2.42", "gcc": "15.2.0"}
DEBIAN_13 = {"os": "debian 13", "glibc": "2.41", "gcc": "14.2.0"}
CENTOS_7 = {"os": "centos 7", "glibc": "2.17", "gcc": "4.8.5", "root": False}
CLANG_ALONE = {"os": "fedora 42", "glibc": "2.41", "gcc": None, "root": False}


@pytest.mark.parametrize(
    ("hardware", "wished", "chosen", "verdict", "because"),
    [
        pytest.param(
            {**FEDORA_44, "driver": "595.71.05"},
            {"pytorch": "2.15"},
            ("13.4", "13.4.92", None),
            "ok",
            ("CUDA toolkit 13.2", f"{SUPPORTED['13.2']}; found g++ 16.1.1"),
            id="too-new-a-compiler-takes-the-next-release-that-supports-it",
        ),
        pytest.param(
            {**FEDORA_44},
            {"cuda": "13.0", "pytorch": "2.9"},
            ("13.4", "13.4.92", None),
            "degraded",
            ("CUDA toolkit 13.0", too_new("13.0", "2.42", "2.43")),
            id="a-release-that-was-named-is-not-met",
        ),
        pytest.param(
            {**UBUNTU_2510, "toolkits": [toolkit("13.0.88")]},
            {"pytorch": "2.9"},
            ("13.2", "13.2.86", None),
            "ok",
            ("CUDA toolkit 13.0", too_new("13.0", "2.42", "2.42")),
            id="glibc-2.42-with-13.0-in-the-image",
        ),
        pytest.param(
            {**UBUNTU_2510, "toolkits": [toolkit("13.0.88")]},
            {"cuda": "13.0", "pytorch": "none"},
            None,
            "blocked",
            ("CUDA toolkit 13.0", too_new("13.0", "2.42", "2.42")),
            id="glibc-2.42-where-the-toolkit-is-all-that-is-asked-for",
        ),
        pytest.param(
            {**FEDORA_42, "toolkits": [toolkit("12.9.86")], "compilers": [compiler("gcc", "14")]},
            {"cuda": "12.9", "pytorch": "2.9"},
            None,
            "degraded",
            ("CUDA toolkit 12.9", too_new("12.9", "2.41", "2.41")),
            id="glibc-2.41-and-an-older-g++-does-not-help",
        ),
        pytest.param(
            {**DEBIAN_13, "toolkits": [toolkit("12.8.93")]},
            {"cuda": "13.0", "pytorch": "2.9", "toolkit": {"also": ["12.8"]}},
            ("13.0", None, None),
            "degraded",
            ("CUDA toolkit 12.8", too_new("12.8", "2.41", "2.41")),
            id="beside-the-active-one",
        ),
        pytest.param(
            {"os": "ubuntu 22.04", "glibc": "2.35", "gcc": "13.1.0", "toolkits": [toolkit("12.3.107")]},
            {"cuda": "12.3", "pytorch": "none", "toolkit": {"provider": "adopt"}},
            None,
            "blocked",
            ("CUDA toolkit 12.3", f"{SUPPORTED['12.3']}; found g++ 13.1.0"),
            id="g++-13-under-12.3",
        ),
        pytest.param(
            {**CENTOS_7},
            {"cuda": "13.0", "pytorch": "none"},
            None,
            "blocked",
            ("CUDA toolkit 13.0", f"{SUPPORTED['13.0']}; found g++ 4.8.5"),
            id="g++-4.8",
        ),
        pytest.param(
            {**CENTOS_7, "compilers": [compiler("gcc", "11", "/opt/rh/devtoolset-11/root/usr/bin/g++")]},
            {"cuda": "13.0", "pytorch": "none"},
            ("13.0", "13.0.88", "/opt/rh/devtoolset-11/root/usr/bin/g++"),
            "ok",
            None,
            id="g++-4.8-with-a-toolset-beside-it",
        ),
        pytest.param(
            {**CLANG_ALONE, "compilers": [compiler("clang", "20", "/usr/bin/clang++")]},
            {"cuda": "13.0", "pytorch": "2.9"},
            ("13.0", "13.0.88", "/usr/bin/clang++"),
            "ok",
            None,
            id="clang-alone",
        ),
        pytest.param(
            {**CLANG_ALONE, "compilers": [compiler("clang", "21", "/usr/bin/clang++")]},
            {"pytorch": "2.9"},
            ("13.1", "13.1.115", "/usr/bin/clang++"),
            "ok",
            ("CUDA toolkit 13.0", f"{SUPPORTED['13.0']}; found clang 21"),
            id="clang-21-alone",
        ),
        pytest.param(
            {
                **FEDORA_42,
                "compilers": [compiler("gcc", "16"), compiler("clang", "19"), compiler("gcc", "13")],
                "gcc": "16.1.1",
            },
            {"cuda": "13.0", "pytorch": "2.9"},
            ("13.0", "13.0.88", "/usr/bin/g++-13"),
            "ok",
            None,
            id="g++-before-clang",
        ),
        pytest.param(
            {"os": "ubuntu 24.04", "glibc": "2.39", "gcc": "13.2.0", "compilers": [compiler("gcc", "14")]},
            {"cuda": "13.0", "pytorch": "2.9"},
            ("13.0", None, None),
            "ok",
            None,
            id="the-default-stays-where-it-fits",
        ),
    ],
)
def test_what_compiles_here(
    hardware: Any, wished: Any, chosen: Any, verdict: str, because: Any, machine: Any, decide: Decide
) -> None:
    decision = decide(machine(**hardware), **wished)
    found = decision["toolkit"]
    assert decision["verdict"] == verdict, decision["rejected"]
    assert (found and (found["version"], found["exact"], (found["compiler"] or {}).get("path"))) == chosen
    rejected = [(entry["option"], entry["because"]) for entry in decision["rejected"]]
    assert [entry for entry in rejected if entry[0].startswith("CUDA toolkit")] == ([because] if because else [])


@pytest.mark.parametrize("os", ["ubuntu 24.04", "rocky 9.6", "opensuse-leap 15.6"])
def test_the_system_s_own_compiler_is_installed_beside_one_that_is_too_new(
    os: str, machine: Any, decide: Decide
) -> None:
    """By the package manager that the system has, not by apt alone."""
    observed = machine(os, "2.34", None, compilers=[compiler("clang", "22")])
    decision = decide(observed, cuda="13.0", pytorch="2.9")
    assert decision["verdict"] == "ok", decision["rejected"]
    assert decision["toolkit"]["system_packages"], decision["toolkit"]


@pytest.mark.parametrize("os", ["ubuntu 25.10", "fedora 43", "opensuse-tumbleweed 20251120"])
def test_a_pytorch_that_runs_natively_is_not_left_for_a_toolkit_of_another_release(
    os: str, machine: Any, decide: Decide
) -> None:
    """With glibc 2.42 nvcc of CUDA 13.0 compiles nothing; one of 13.2 builds the extensions of cu130 as well."""
    decision = decide(machine(os, "2.42", "15.2.0", pythons=("3.13",)), pytorch="2.15")
    assert (decision["route"], decision["pytorch"]["index"], decision["verdict"]) == ("native", "cu130", "ok")
    assert decision["toolkit"]["version"] == "13.2"


def test_a_toolkit_in_the_image_that_compiles_nothing_is_not_used_as_it_is(machine: Any, decide: Decide) -> None:
    """Debian 13 with CUDA 12.8: an extension is neither promised nor timed, and nobody is told to change g++."""
    observed = machine("debian 13", "2.41", "13.3.0", driver="570.195.03", toolkits=[toolkit("12.8.93")])
    decision = decide(observed, cuda="12.8", pytorch="2.9.1", source={"extensions": ["flash-attn"]})
    assert (decision["verdict"], decision["toolkit"]) == ("degraded", None)
    assert decision["remedies"] == ["Use an image or a host with a glibc older than 2.41."]
    told = f"it cannot be built here: compiling it needs nvcc of CUDA 12.8, and {too_new('12.8', '2.41', '2.41')}"
    assert decision["extensions"]["flash-attn"] == {"skipped": told}


def test_a_header_that_was_patched_for_a_newer_glibc_compiles(machine: Any, decide: Decide) -> None:
    """Distributions and users patch crt/math_functions.h: what it says itself counts, not what NVIDIA published."""
    wished = {"cuda": "12.8", "pytorch": "2.9.1"}
    patched = machine("debian 13", "2.41", "13.3.0", toolkits=[toolkit("12.8.93", may_throw=["rsqrt"])])
    decision = decide(patched, **wished)
    assert (decision["verdict"], decision["toolkit"]["provider"]) == ("ok", "adopt")
    newer = machine("debian 13", "2.42", "13.3.0", toolkits=[toolkit("12.8.93", may_throw=["rsqrt"])])
    assert {"option": "CUDA toolkit 12.8", "because": too_new("12.8", "2.42", "2.42")} in decide(newer, **wished)[
        "rejected"
    ]
    whole = machine("debian 13", "2.42", "13.3.0", toolkits=[toolkit("12.8.93", may_throw=[])])
    assert decide(whole, **wished)["verdict"] == "ok"


def test_a_release_that_compiles_here_is_named_where_this_driver_runs_it(machine: Any, decide: Decide) -> None:
    newer = machine("debian 13", "2.41", "14.2.0", driver="580.95.05", toolkits=[toolkit("12.8.93")])
    assert 'Ask for cuda: "13.0", which compiles here.' in decide(newer, cuda="12.8", pytorch="2.9.1")["remedies"]
    assert decide(newer, cuda="13.0", pytorch="2.9.1")["verdict"] == "ok"
    older = machine("debian 13", "2.41", "14.2.0", gpu="V100", toolkits=[toolkit("12.8.93")])
    assert not any("Ask for cuda" in told for told in decide(older, cuda="12.8", pytorch="none")["remedies"])
    alone = machine(**UBUNTU_2510, driver="615.71.09")
    assert decide(alone, cuda="13.1", pytorch="none")["remedies"] == ['Ask for cuda: "13.2", which compiles here.']
    assert decide(alone, cuda="13.2", pytorch="none")["verdict"] == "ok"


def test_what_is_unknown_refuses_nothing(machine: Any, decide: Decide) -> None:
    observed = machine("fedora 44", "2.39", "16.1.1")
    observed["platform"]["glibc"] = None
    observed["platform"]["compiler"] = {"path": "/usr/bin/g++", "version": None}
    decision = decide(observed, cuda="13.0", pytorch="2.9")
    assert (decision["verdict"], decision["toolkit"]["version"], decision["toolkit"]["compiler"]) == (
        "ok",
        "13.0",
        None,
    )


def test_the_chosen_compiler_reaches_shells_and_builds(machine: Any, decide: Decide) -> None:
    """nvcc, CMake and PyTorch's extension builder each ask another variable, and each is set only where it is free."""
    observed = machine("debian 12", "2.36", "16.1.0", compilers=[compiler("gcc", "13")], toolkits=[toolkit("13.0.88")])
    decision = decide(observed, cuda="13.0", pytorch="2.9.1", source={"extensions": ["flash-attn"]})
    names = {"NVCC_CCBIN": "/usr/bin/g++-13", "CUDAHOSTCXX": "/usr/bin/g++-13", "CXX": "/usr/bin/g++-13"}
    names["CC"] = "/usr/bin/gcc-13"
    assert {one["variable"]: one["value"] for one in decision["settings"]} == names
    [build] = decision["source"]["builds"]
    assert {name: build["environment"][name] for name in names} == names
    told = "nvcc of CUDA 13.0 compiles with /usr/bin/g++-13 (g++ 13): it does not support g++ 16.1.0"
    assert told in [reason["text"] for reason in decision["reasons"]]
    plain = decide(machine("debian 12", "2.36", "12.2.0", toolkits=[toolkit("13.0.88")]), cuda="13.0", pytorch="2.9.1")
    assert plain["settings"] == []


@pytest.mark.parametrize(
    ("glibc", "refused"),
    [
        ("2.40", []),
        ("2.41", ["11.8", "12.0", "12.1", "12.2", "12.3", "12.4", "12.5", "12.6", "12.8", "12.9"]),
        ("2.42", ["11.8", "12.0", "12.1", "12.2", "12.3", "12.4", "12.5", "12.6", "12.8", "12.9", "13.0", "13.1"]),
    ],
)
def test_every_release_against_glibc(glibc: str, refused: list[str], machine: Any, case: Any, known: Catalogue) -> None:
    """https://github.com/NVIDIA/cuda-samples/issues/378; https://github.com/ggml-org/llama.cpp/issues/19100."""
    found: Case = case(machine("debian 13", glibc, None))
    assert [release for release in known["cuda"]["releases"] if cannot_compile(found, release)] == refused


# --- a patch release ---


@pytest.mark.parametrize(
    ("given", "cuda", "patch"),
    [
        ({"cuda": "13.0.2"}, "13.0", "13.0.2"),
        ({"cuda": "13.0"}, "13.0", None),
        ({"cuda": "13.0", "toolkit": {"patch": "13.0.2"}}, "13.0", "13.0.2"),
        ({"cuda": "newest"}, "newest", None),
    ],
)
def test_a_patch_release_is_of_the_toolkit_alone(given: Any, cuda: str, patch: str | None) -> None:
    request = parse_request(given)
    assert (request.cuda, request.toolkit.patch) == (cuda, patch)
    assert parse_request(as_mapping(request)) == restore_request(as_mapping(request)) == request


@pytest.mark.parametrize(
    ("wished", "told"),
    [
        pytest.param(
            {"cuda": "13.0.88"},
            'stack_plan_request.cuda is "13.0.88", which is the number of nvcc; expected that of the toolkit: '
            "13.0.1 or 13.0.2 or 13.0.3.",
            id="number-of-nvcc",
        ),
        pytest.param(
            {"toolkit": {"also": ["12.8.93"]}},
            'stack_plan_request.toolkit.also is "12.8.93", which is the number of nvcc; expected that of the toolkit: '
            "12.8.1 or 12.8.2.",
            id="number-of-nvcc-beside",
        ),
        pytest.param(
            {"cuda": "13.0", "toolkit": {"patch": "13.1.1"}},
            'stack_plan_request.toolkit.patch is "13.1.1"; expected a patch release of stack_plan_request.cuda, which '
            'is "13.0".',
            id="of-another-release",
        ),
        pytest.param({"cuda": "13.7.1"}, 'stack_plan_request.cuda names "13.7"', id="no-such-release"),
    ],
)
def test_what_is_no_patch_release_is_refused(wished: Any, told: str, known: Catalogue) -> None:
    with pytest.raises(RequestError) as caught:
        check_request(wished, known)
    assert told in str(caught.value)


PINS_13_0_2 = [
    "nvidia-cuda-cccl==13.0.85",
    "nvidia-cuda-crt==13.0.88",
    "nvidia-cuda-nvcc==13.0.88",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-nvvm==13.0.88",
]
APT_13_0_2 = ["cuda-nvcc-13-0=13.0.88-1", "cuda-cudart-dev-13-0=13.0.96-1", "cuda-cccl-13-0=13.0.85-1"]


@pytest.mark.parametrize(
    ("installed", "wished", "provider", "packages"),
    [
        pytest.param({"root": False}, {"cuda": "13.0.2"}, "pypi", PINS_13_0_2, id="pypi"),
        pytest.param({}, {"cuda": "13.0.2"}, "apt", APT_13_0_2, id="apt"),
        pytest.param({"toolkits": [toolkit("13.0.88", patch="13.0.2")]}, {"cuda": "13.0.2"}, "adopt", [], id="adopt"),
        pytest.param(
            {"toolkits": [toolkit("13.0.88", patch="13.0.1")]}, {"cuda": "13.0.2"}, "apt", APT_13_0_2, id="another-one"
        ),
        pytest.param(
            {"toolkits": [toolkit("13.0.88")]}, {"cuda": "13.0.2"}, "apt", APT_13_0_2, id="13.0.1-has-this-nvcc-too"
        ),
        pytest.param(
            {"toolkits": [toolkit("13.0.88")]},
            {"cuda": "13.0.2", "toolkit": {"provider": "adopt"}},
            "adopt",
            [],
            id="asked-to-adopt-it",
        ),
        pytest.param(
            {"toolkits": [toolkit("13.0.48")]}, {"cuda": "13.0.0"}, "adopt", [], id="the-only-one-of-its-nvcc"
        ),
    ],
)
def test_a_patch_release_is_had_as_it_is(
    installed: Any, wished: Any, provider: str, packages: list[str], host: Any, decide: Decide
) -> None:
    decision = decide(host(**installed), pytorch="2.9", **wished)
    found = decision["toolkit"]
    assert (decision["verdict"], decision["pytorch"]["local"]) == ("ok", "2.9.1+cu130")
    assert (found["version"], found["patch"], found["provider"]) == ("13.0", wished["cuda"], provider)
    assert found["packages"] == packages


@pytest.mark.parametrize(
    ("installed", "wished", "told"),
    [
        pytest.param(
            {},
            {"cuda": "13.2.0", "toolkit": {"provider": "apt"}},
            "NVIDIA's packages of nvcc 13.2.51 come with other parts of the compiler of 13.2.86, the newest update of "
            "CUDA 13.2",
            id="apt-would-mix",
        ),
        pytest.param(
            {},
            {"cuda": "13.0.2", "toolkit": {"provider": "apt", "components": ["libraries"]}},
            "the version of cuda-libraries-dev-13-0 that belongs to CUDA 13.0.2 is not known",
            id="apt-of-a-metapackage",
        ),
        pytest.param(
            {},
            {"cuda": "13.0.9", "toolkit": {"provider": "pypi"}},
            "PyPI has no cuda-toolkit 13.0.9",
            id="pypi-lacks-it",
        ),
        pytest.param(
            {"toolkits": [toolkit("12.8.61")]},
            {"cuda": "12.8.1", "toolkit": {"provider": "adopt"}},
            "the one at /usr/local/cuda-12.8 has nvcc 12.8.61; CUDA 12.8.1 has 12.8.93",
            id="another-update-in-the-image",
        ),
        pytest.param(
            {"toolkits": [toolkit("13.0.88", patch="13.0.1")]},
            {"cuda": "13.0.2", "toolkit": {"provider": "adopt"}},
            "the one at /usr/local/cuda-13.0 is CUDA 13.0.1, not 13.0.2",
            id="the-image-says-which",
        ),
    ],
)
def test_a_patch_release_that_cannot_be_had_blocks(
    installed: Any, wished: Any, told: str, host: Any, decide: Decide
) -> None:
    decision = decide(host(**installed), pytorch="none", **wished)
    name = f"CUDA toolkit {wished['cuda']}"
    assert decision["summary"] == f"blocked: {name} is not available: {told}"


def test_another_patch_release_of_ours_is_replaced(host: Any, decide: Decide) -> None:
    path = "/home/ada/.local/share/podsmith/toolkits/13.2/nvidia/cu13"
    ours = toolkit("13.2.51", path=path, provider="pypi")
    decision = decide(host(root=False, driver="610.43.02", toolkits=[ours]), cuda="13.2.2", pytorch="none")
    [change] = [change for change in decision["changes"] if change["role"] == "cuda_toolkit"]
    assert (change["action"], change["from"], change["to"]) == ("replace", "13.2.51", "13.2.86 from PyPI")
    kept = decide(host(root=False, driver="610.43.02", toolkits=[ours]), cuda="13.2", pytorch="none")
    assert [change for change in kept["changes"] if change["role"] == "cuda_toolkit"] == []


def test_who_knows_better_leaves_out_the_check_of_the_c_library(machine: Any, decide: Decide) -> None:
    """Where the toolkit's headers were mended by hand, say; the report names the override."""
    observed = machine("ubuntu 24.04", "2.41", "13.2.0", driver="570.133.20")
    checked = decide(observed, cuda="12.8", pytorch="2.9")
    trusted = decide(observed, cuda="12.8", pytorch="2.9", overrides={"glibc": False})
    assert (checked["verdict"], checked["toolkit"]) == ("degraded", None)
    assert trusted["toolkit"]["version"] == "12.8"
    assert [text for text in trusted["warnings"] if "override glibc" in text]
