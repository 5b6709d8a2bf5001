"""What is compiled on a host: the rules by their tables, then whole plans."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compile.architectures import choose_architectures
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compile.estimate import choose_jobs, estimate_minutes
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compile.features import (
    choose_features,
    choose_libraries,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.fetches import needs_pypi, required_sources
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.plan import check_request
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal
from ansible_collections.podsmith.gpu.plugins.plugin_utils._report.stack import render_text
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import Request, parse_request
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import RequestError

Decide = Callable[..., dict[str, Any]]
TORCH = {"cuda": "13.0", "pytorch": "2.13", "wheels": {"provider": "source"}}
FLASH = {"cuda": "13.0", "pytorch": "2.13", "source": {"extensions": ["flash-attn"]}}


@pytest.fixture
def box(host: Any) -> Callable[..., dict[str, Any]]:
    """A host with so many cores and so much free memory; ``installed`` as in the fixture host."""

    def make(
        gpu: Any = "RTX5090", driver: str | None = "580.95.05", cpus: Any = 16, memory: Any = 60.0, **more: Any
    ) -> Any:
        platform = more.pop("platform", {})
        observed = host(gpu, driver, **more)
        observed["platform"].update(cpus=cpus, memory_gib=memory, memory_free_gib=memory, **platform)
        return observed

    return make


def build(decision: dict[str, Any], name: str) -> dict[str, Any]:
    return next(entry for entry in decision["source"]["builds"] if entry["name"] == name)


# --- the request ---


@pytest.mark.parametrize(
    ("wished", "told"),
    [
        (
            {"features": {"USE_NCLC": True}},
            (
                "stack_plan_request.source.features.USE_NCLC is no switch of PyTorch's build that the catalogue has; "
                "did you mean USE_NCCL?"
            ),
        ),
        (
            {"features": {"USE_CUDNN_FRONTEND": True}},
            (
                "USE_CUDNN_FRONTEND is no switch of PyTorch's build: "
                "the cuDNN frontend is header-only and comes with USE_CUDNN; remove it."
            ),
        ),
        (
            {"features": {"USE_TENSOREXPR": True}},
            (
                "USE_TENSOREXPR is no switch of PyTorch's build: TensorExpr (NNC), the fuser of TorchScript, is part of"
                " every build, and no PyTorch from 2.6 on has a switch for it; remove it."
            ),
        ),
        ({"features": {"USE_NCCL": "yes"}}, 'USE_NCCL is "yes"; expected true or false, as in USE_NCCL: true.'),
        ({"features": ["USE_NCCL"]}, "expected a mapping such as {USE_NCCL: true}."),
        (
            {"features": {"use nccl": True}},
            'source.features has the key "use nccl"; expected a name, as in {USE_NCCL: true}.',
        ),
        ({"feature": {}}, 'stack_plan_request.source has the unknown key "feature"; did you mean features?'),
        (
            {"extensions": ["flash_atn"]},
            'source.extensions names "flash-atn", which the catalogue cannot build; did you mean flash-attn?',
        ),
        (
            {"extensions": ["torch"]},
            "lists torch; expected its extensions such as flash-attn; set wheels.provider: source",
        ),
        ({"extensions": "flash-attn"}, "expected a list such as [flash-attn or flash-attn=="),
        (
            {"extensions": ["flash-attn>=2"]},
            'holds "flash-attn>=2"; expected entries such as flash-attn or ',
        ),
        (
            {"extensions": ["gsplat==1.0.0"]},
            'source.extensions: gsplat names "1.0.0", which the catalogue does not have',
        ),
        ({"jobs": 0}, "stack_plan_request.source.jobs is 0; expected auto or a number of compilers at once"),
        ({"jobs": "all"}, 'source.jobs is "all"; expected auto or a number of compilers at once'),
        ({"jobs": True}, "source.jobs is True"),
        (
            {"urls": {"torch": "pytorch.git"}},
            'source.urls.torch is "pytorch.git"; expected the address',
        ),
        ({"urls": {"torch": "https://x/$(id).git"}}, "expected the address of a repository or an archive"),
        (
            {"urls": {"tourch": "https://x/y.git"}},
            'source.urls names "tourch", which the catalogue cannot build; did you',
        ),
    ],
)
def test_a_wish_that_cannot_be_understood_is_refused(wished: Any, told: str, known: Catalogue) -> None:
    with pytest.raises(RequestError) as caught:
        check_request({"source": wished}, known)
    assert told in str(caught.value)


def test_source_without_a_pytorch_is_refused(known: Catalogue) -> None:
    with pytest.raises(RequestError, match=r"wheels\.provider is source and pytorch is none"):
        check_request({"wheels": {"provider": "source"}, "pytorch": "none"}, known)


def test_what_a_wish_becomes() -> None:
    wished = {
        "extensions": ["Flash_Attn==2.8.3", "vllm", "vllm"],
        "jobs": "8",
        "urls": {"torch": "file:///srv/pytorch.git"},
    }
    source = parse_request({"source": wished}).source
    assert source.extensions == ("flash-attn==2.8.3", "vllm")
    assert (source.jobs, source.urls, source.features) == (8, {"torch": "file:///srv/pytorch.git"}, {})


# --- the rules ---


@pytest.mark.parametrize(
    ("wished", "cuda", "offers", "expected"),
    [
        pytest.param(("12.0",), "13.0", None, ("12.0",), id="as-it-is"),
        pytest.param(("9.0a", "12.0"), "13.0", None, ("9.0a", "12.0"), id="architecture-specific"),
        pytest.param(("12.0", "8.0"), "12.8", None, ("8.0", "12.0"), id="lowest-first"),
        pytest.param(("10.3",), "12.8", None, ("10.0",), id="nearest-below-in-the-major"),
        pytest.param(("8.6", "8.9"), "13.0", ["8.0", "9.0"], ("8.0",), id="what-the-package-offers"),
        pytest.param(("9.0a",), "13.0", ["8.0", "9.0"], ("9.0",), id="a-package-without-specific-code"),
        pytest.param(("7.0",), "12.8", None, ("7.0",), id="volta-on-12"),
    ],
)
def test_architectures(wished: Any, cuda: str, offers: Any, expected: Any, known: Catalogue) -> None:
    assert choose_architectures(wished, cuda, offers, known) == expected


@pytest.mark.parametrize(
    ("wished", "cuda", "because", "remedy"),
    [
        pytest.param(
            ("12.0",), "12.6", "it is to be compiled for 12.0; with CUDA 12.6 it", 'Set cuda: "12.8"', id="newer"
        ),
        pytest.param(("7.0",), "13.0", "it is to be compiled for 7.0; with CUDA 13.0", 'Set cuda: "12.9"', id="older"),
        pytest.param(("11.0",), "13.0", "it is to be compiled for 11.0", "Ask for cuda", id="offers"),
    ],
)
def test_architectures_that_nvcc_lacks(wished: Any, cuda: str, because: str, remedy: str, known: Catalogue) -> None:
    offers = ["8.0"] if wished == ("11.0",) else None
    refusal = choose_architectures(wished, cuda, offers, known)
    assert isinstance(refusal, Refusal)
    assert because in refusal.because
    assert refusal.remedy.startswith(remedy if offers is None else "Remove the architecture")


@pytest.mark.parametrize(
    ("cpus", "free", "job", "wished", "jobs"),
    [
        pytest.param(122, 396.0, 2048, None, 122, id="cores-bound"),
        pytest.param(122, 100.0, 2048, None, 49, id="memory-bound"),
        pytest.param(8, 16.0, 5120, None, 3, id="large-jobs"),
        pytest.param(8, 5.5, 5120, None, 1, id="just-one"),
        pytest.param(8, 4.9, 5120, None, 0, id="not-one"),
        pytest.param(None, None, 2048, None, 1, id="unknown"),
        pytest.param(8, None, 2048, None, 8, id="memory-unknown"),
        pytest.param(8, 4.0, 5120, 2, 2, id="as-wished"),
    ],
)
def test_jobs(cpus: Any, free: Any, job: int, wished: Any, jobs: int) -> None:
    assert choose_jobs(cpus, free, job, wished) == jobs


@pytest.mark.parametrize(
    ("package", "jobs", "architectures", "minutes", "confidence"),
    [
        pytest.param("torch", 122, 1, 22, "B", id="timed"),
        pytest.param("torch", 120, 1, 22, "B", id="nearly-as-many-cores"),
        pytest.param("torch", 8, 1, 180, "B", id="eight"),
        pytest.param("torch", 64, 6, 120, "B", id="all-architectures"),
        pytest.param("torch", 4, 1, 360, "C", id="below-the-smallest"),
        pytest.param("torch", 256, 1, 22, "C", id="no-faster-than-the-largest"),
        pytest.param("torch", 122, 6, 88, "C", id="more-architectures"),
        pytest.param("flash-attn", 16, 1, 32, "C", id="in-proportion"),
    ],
)
def test_minutes(package: str, jobs: int, architectures: int, minutes: int, confidence: str, known: Catalogue) -> None:
    assert estimate_minutes(package, jobs, architectures, known) == (minutes, confidence)


def test_between_two_timed_builds_the_estimate_lies_between(known: Catalogue) -> None:
    found = [estimate_minutes("torch", jobs, 1, known) for jobs in (8, 16, 32, 64, 122)]
    minutes = [entry[0] for entry in found if entry]
    assert minutes == sorted(minutes, reverse=True)
    assert len(set(minutes)) == len(found)


def test_what_nobody_timed_has_no_estimate(known: Catalogue) -> None:
    assert estimate_minutes("vllm", 8, 1, known) is None


@pytest.mark.parametrize(
    ("torch", "cuda", "arch", "wished", "because"),
    [
        pytest.param("2.10.0", "13.0", "x86_64", "USE_MSLK", "was added in PyTorch 2.11.0; building 2.10.0", id="new"),
        pytest.param("2.13.0", "13.0", "x86_64", "USE_FBGEMM_GENAI", "was removed after PyTorch 2.10.0", id="gone"),
        pytest.param("2.13.0", "13.0", "aarch64", "USE_FBGEMM", "is for x86_64; found aarch64", id="machine"),
        pytest.param("2.13.0", None, "x86_64", "USE_NCCL", "needs CUDA, and this build is for the CPU", id="cpu"),
    ],
)
def test_features_that_a_build_cannot_have(
    torch: str, cuda: Any, arch: str, wished: str, because: str, known: Catalogue
) -> None:
    chosen, refused = choose_features(torch, cuda, arch, {wished: True}, known)
    assert wished not in chosen
    assert [entry.because for entry in refused if because in entry.because]
    assert wished in refused[0].remedy
    assert choose_features(torch, cuda, arch, {wished: False}, known)[1] == []


def test_features_of_a_build(known: Catalogue) -> None:
    chosen, refused = choose_features("2.13.0", "13.0", "x86_64", {"USE_MSLK": True, "USE_GLOO": False}, known)
    assert refused == []
    assert {
        "USE_CUDA": True,
        "USE_MSLK": True,
        "USE_GLOO": False,
        "USE_NCCL": True,
        "BUILD_TEST": False,
    }.items() <= chosen.items()
    assert "USE_MKLDNN" not in chosen  # PyTorch's own decision


@pytest.mark.parametrize(
    ("torch", "cuda", "expected"),
    [
        ("2.13.0", "13.0", {"nvidia-cudnn-cu13": "9.20.0.48", "nvidia-nccl-cu13": "2.29.7"}),
        ("2.12.0", "13.2", {"nvidia-cudnn-cu13": "9.20.0.48", "nvidia-nccl-cu13": "2.29.7"}),
        ("2.9.1", "12.8", {"nvidia-cudnn-cu12": "9.10.2.21", "nvidia-nccl-cu12": "2.27.5"}),
        ("2.15.0", "13.2", {"nvidia-cudnn-cu13": "9.24.0.43", "nvidia-nccl-cu13": "2.30.7"}),
        ("2.13.0", "12.8", {"nvidia-cudnn-cu12": "9.10.2.21", "nvidia-nccl-cu12": "2.27.5"}),
        ("2.6.0", "11.8", {}),
    ],
)
def test_libraries_are_those_of_pytorchs_own_wheels(torch: str, cuda: str, expected: Any, known: Catalogue) -> None:
    assert choose_libraries(torch, cuda, known) == expected


# --- whole plans: PyTorch itself ---


@pytest.mark.parametrize("count", [1, 2])
def test_pytorch_for_the_gpus_that_are_there(count: int, box: Any, decide: Decide) -> None:
    decision = decide(box(["RTX5090"] * count, cpus=122, memory=396.0), **TORCH)
    torch = build(decision, "torch")
    assert (decision["verdict"], decision["pytorch"]["provider"], decision["pytorch"]["cuda"]) == (
        "ok",
        "source",
        "13.0",
    )
    assert torch["version"] == decision["pytorch"]["local"]
    assert torch["version"].startswith("2.13.0+cu130.src")
    assert torch["version"].endswith(torch["key"][:8])
    assert (torch["jobs"], torch["minutes"], torch["architectures"]) == (122, 22, ["12.0"])
    assert torch["origin"] == {
        "kind": "git",
        "url": "https://github.com/pytorch/pytorch.git",
        "ref": "v2.13.0",
        "sha256": None,
        "submodules": True,
    }
    environment = torch["environment"]
    assert environment["TORCH_CUDA_ARCH_LIST"] == "12.0"
    assert environment["PYTORCH_BUILD_VERSION"] == torch["version"]
    assert (environment["MAX_JOBS"], environment["USE_NCCL"], environment["USE_SYSTEM_NCCL"]) == ("122", "1", "1")
    assert "nvidia-cudnn-cu13==9.20.0.48" in torch["build_requires"]
    assert torch["links"]["nvidia/cudnn/lib/libcudnn.so"] == "libcudnn.so.9"
    assert "triton==3.7.1" in environment["PYTORCH_EXTRA_INSTALL_REQUIREMENTS"]
    assert decision["toolkit"]["components"] == ["full"]
    assert decision["pytorch"]["arch_list"] == ["sm_120"]
    assert decision["source"]["features"]["USE_FLASH_ATTENTION"] is True
    told = next(entry["text"] for entry in decision["reasons"] if entry["rule"] == "source-features")
    assert "USE_FLASH_ATTENTION, USE_GLOO," in told
    assert told.endswith(", without BUILD_TEST; its own defaults for the rest")
    assert torch["cuda_home"] == decision["toolkit"]["path"]


def test_the_changes_of_a_build_and_how_they_are_told(box: Any, decide: Decide) -> None:
    observed = box(cpus=122, memory=396.0)
    decision = decide(observed, **TORCH, source={"extensions": ["flash-attn"]})
    order = [(change["role"], change["action"]) for change in decision["changes"]]
    assert order.index(("pytorch_source", "build")) < order.index(("pytorch", "install"))
    assert order.index(("pytorch", "install")) < len(order) - 1 - order[::-1].index(("pytorch_source", "build"))
    text = render_text(decision, observed, "box")
    assert "built for sm_120, about 22 min on 122 cores" in text
    assert "22 min is an estimate\n" in text or "22 min is an estimate (confidence B)" in " ".join(text.split())


def test_a_torch_of_another_build_is_another_version(box: Any, decide: Decide) -> None:
    wishes = [{}, {"features": {"USE_GLOO": False}}]
    found = {decide(box(), **TORCH, source=wish)["pytorch"]["local"] for wish in wishes}
    found |= {
        decide(box("H100"), **TORCH)["pytorch"]["local"],
        decide(box(pythons=("3.13",)), **TORCH)["pytorch"]["local"],
    }
    assert len(found) == 4


def test_the_key_is_the_same_for_the_same_wheel(box: Any, decide: Decide) -> None:
    plans = [
        decide(box(), **TORCH),
        decide(box(cpus=4, memory=9.0), **TORCH),
        decide(box(["RTX5090"] * 2), **TORCH),
        decide(box(), **TORCH, source={"jobs": 2}),
        decide(box(), **TORCH, prefix="/data/podsmith", architectures=["12.0"]),
    ]
    assert len({build(plan, "torch")["key"] for plan in plans}) == 1
    assert len({plan["digest"] for plan in plans[:4]}) == 1


def test_an_extensions_key_is_of_what_changes_its_bytes(box: Any, decide: Decide) -> None:
    def key(observed: Any, **more: Any) -> str:
        wish = {**FLASH, **more, "source": {"extensions": ["flash-attn"], **more.get("source", {})}}
        return str(build(decide(observed, **wish), "flash-attn")["key"])

    same = [
        key(box()),
        key(box(cpus=4, memory=9.0)),
        key(box(), source={"jobs": 2}),
        key(box(), prefix="/data/podsmith"),
    ]
    others = [
        key(box("H100")),
        key(box(pythons=("3.13",))),
        key(box(), pytorch="2.12"),
        key(box(), cuda="13.2"),
        key(box(platform={"glibc": "2.36"})),
        key(box(arch="aarch64")),
    ]
    assert len(set(same)) == 1
    assert len({*same, *others}) == 1 + len(others)


def test_a_cuda_that_pytorch_publishes_no_wheel_for(box: Any, decide: Decide) -> None:
    decision = decide(box(), cuda="12.8", pytorch="2.13", wheels={"provider": "source"}, extensions=["torchvision"])
    assert decision["pytorch"]["local"].startswith("2.13.0+cu128.src")
    assert decision["toolkit"]["version"] == "12.8"
    assert decision["extensions"]["torchvision"]["skipped"].endswith("has no build for CUDA 12.8")


def test_a_cuda_between_two_that_pytorch_publishes_for_is_compiled_with(
    box: Any, decide: Decide, known: Catalogue
) -> None:
    """PyTorch has wheels for CUDA 13.0 and 13.2; a wheel for 13.0 stands in for 13.1, a build need not."""
    ready = decide(box(driver="595.71.05"), cuda="13.1", pytorch="2.13")
    assert (ready["pytorch"]["local"], ready["pytorch"]["cuda"]) == ("2.13.0+cu130", "13.0")
    built = decide(box(driver="595.71.05"), cuda="13.1", pytorch="2.13", wheels={"provider": "source"})
    assert built["pytorch"]["local"].startswith("2.13.0+cu131.src")
    assert (built["cuda"], built["pytorch"]["cuda"], built["toolkit"]["version"]) == ("13.1", "13.1", "13.1")
    assert "cu131" not in str(required_sources(built, {}, known))  # there is no such index


def test_companions_come_from_pytorchs_index(box: Any, decide: Decide) -> None:
    decision = decide(box(), **TORCH, extensions=["torchvision", "triton"])
    assert decision["pytorch"]["requirements"][1:] == ["torchvision==0.28.0+cu130"]
    assert decision["extensions"]["triton"]["version"] == "3.7.1"


@pytest.mark.parametrize(
    ("urls", "origin"),
    [
        pytest.param(
            {"torch": "https://mirror.example/pytorch-v{version}.tar.gz"},
            ("archive", "https://mirror.example/pytorch-v2.13.0.tar.gz", None, False),
            id="archive",
        ),
        pytest.param(
            {"torch": "file:///srv/pytorch.git"}, ("git", "file:///srv/pytorch.git", "v2.13.0", True), id="repository"
        ),
    ],
)
def test_a_mirror_of_the_source(urls: Any, origin: Any, box: Any, decide: Decide, known: Catalogue) -> None:
    decision = decide(box(), **TORCH, source={"urls": urls})
    found = build(decision, "torch")["origin"]
    assert (found["kind"], found["url"], found["ref"], found["submodules"]) == origin
    asked = [entry for entry in required_sources(decision, {}, known) if entry["name"] == "the source of torch"]
    assert [(entry["url"], entry["variable"]) for entry in asked] == [
        (origin[1], "stack_plan_request.source.urls.torch")
    ]


@pytest.mark.parametrize(
    ("changed", "wished", "because", "remedy"),
    [
        pytest.param(
            {"memory": 1.5},
            {},
            "one compiler needs 2.0 GiB of free memory; found 1.5 GiB",
            "Use a host with 2.0 GiB of free memory",
            id="memory",
        ),
        pytest.param(
            {"platform": {"compiler": None}, "root": False},
            {},
            "the host has no C++ compiler, which nvcc needs",
            "Install g++ on the host",
            id="compiler",
        ),
        pytest.param(
            {"platform": {"compiler": {"path": "/usr/bin/g++", "version": "16.1.0"}}},
            {},
            "CUDA 13.0 supports g++ 6 to 15 and clang 7 to 20; found g++ 16.1.0",
            "Install a C++ compiler that CUDA 13.0 supports, beside the one that is there.",
            id="gcc",
        ),
        pytest.param(
            {"root": False, "platform": {"tools": {"git": None, "apt": "/usr/bin/apt-get"}}},
            {},
            "fetching the source needs git; found none, and in user scope",
            "Install git on the host.",
            id="git",
        ),
        pytest.param(
            {},
            {"architectures": ["9.0"]},
            "architectures is 9.0, and code for it runs on no GPU of this host: NVIDIA GeForce RTX 5090 (12.0)",
            "Set architectures: auto for this host",
            id="other-architectures",
        ),
        pytest.param(
            {},
            {"toolkit": {"provider": "none"}},
            "compiling it needs nvcc of CUDA 13.0; found no CUDA toolkit",
            "and toolkit.provider: auto",
            id="no-toolkit",
        ),
        pytest.param(
            {"platform": {"free_gib": {"/": 12.0}}},
            {},
            "GiB at /opt/podsmith; 12.0 GiB are free",
            "GiB at /opt/podsmith.",
            id="disk",
        ),
        pytest.param(
            {"gpu": None, "driver": None},
            {},
            "compiling PyTorch needs a GPU or a list of architectures",
            "Set cuda: none to compile it for the CPU.",
            id="no-gpu",
        ),
    ],
)
def test_what_cannot_be_built_blocks_and_says_so(
    changed: Any, wished: Any, because: str, remedy: str, box: Any, decide: Decide
) -> None:
    decision = decide(box(**changed), **TORCH, **wished)
    assert decision["verdict"] == "blocked"
    assert because in decision["summary"]
    assert any(remedy in text for text in decision["remedies"]), decision["remedies"]
    assert decision["source"] is None


def test_architectures_for_one_of_two_gpus_build_nothing_for_the_other(box: Any, decide: Decide) -> None:
    decision = decide(box(["RTX5090", "H100"]), **TORCH, architectures=["9.0"])
    assert decision["verdict"] == "blocked"
    assert "no machine code for NVIDIA GeForce RTX 5090 (sm_120)" in decision["summary"]
    assert "Add 12.0 to architectures." in decision["remedies"]


def test_without_a_gpu_for_wished_architectures(box: Any, decide: Decide) -> None:
    decision = decide(box(None, None), **TORCH, architectures=["9.0a", "12.0"])
    assert (decision["route"], decision["verdict"]) == ("cpu", "ok")
    assert build(decision, "torch")["environment"]["TORCH_CUDA_ARCH_LIST"] == "9.0a;12.0"
    assert decision["pytorch"]["cuda"] == "13.0"


def test_for_the_cpu(box: Any, decide: Decide) -> None:
    decision = decide(box(None, None), cuda="none", pytorch="2.13", wheels={"provider": "source"})
    torch = build(decision, "torch")
    assert torch["version"].startswith("2.13.0+cpu.src")
    assert (torch["environment"]["USE_CUDA"], torch["architectures"], torch["cuda_home"]) == ("0", [], None)
    assert "TORCH_CUDA_ARCH_LIST" not in torch["environment"]
    assert [name for name in torch["build_requires"] if "nvidia" in name] == []


def test_a_wished_switch_that_is_not_of_this_release_degrades(box: Any, decide: Decide) -> None:
    decision = decide(
        box(), cuda="13.0", pytorch="2.10", wheels={"provider": "source"}, source={"features": {"USE_MSLK": True}}
    )
    assert decision["verdict"] == "degraded"
    assert "USE_MSLK was added in PyTorch 2.11.0; building 2.10.0" in [
        entry["because"] for entry in decision["rejected"]
    ]
    assert "USE_MSLK" not in decision["source"]["features"]


# --- whole plans: extensions ---


def test_an_extension_beside_pytorchs_own_wheel(box: Any, decide: Decide) -> None:
    decision = decide(box(cpus=16, memory=96.0), **FLASH)
    flash = build(decision, "flash-attn")
    assert decision["pytorch"]["provider"] == "pytorch_index"
    assert decision["extensions"]["flash-attn"] == {
        "version": "2.8.3.post2",
        "requirement": "flash-attn==2.8.3.post2",
        "index": "source",
    }
    assert flash["torch"] == "2.13.0+cu130"
    assert flash["environment"] == {
        "FLASH_ATTENTION_FORCE_BUILD": "TRUE",
        "NVCC_THREADS": "1",
        "FLASH_ATTN_CUDA_ARCHS": "120",
        "TORCH_CUDA_ARCH_LIST": "12.0",
        "MAX_JOBS": "16",
        "FORCE_CUDA": "1",
    }
    assert (flash["minutes"], flash["steps"], flash["origin"]["kind"]) == (32, 73, "pypi")
    assert decision["toolkit"]["components"] == ["compiler", "runtime_dev", "libraries"]
    assert decision["source"]["links"] == [f"/opt/podsmith/wheels/{flash['key']}"]
    assert "flash-attn==2.8.3.post2" in decision["environment"]["constraints"]


def test_what_is_asked_for_as_a_wheel_stays_one(box: Any, decide: Decide) -> None:
    decision = decide(box(), cuda="13.0", pytorch="2.13", extensions=["flash-attn"])
    assert decision["source"] is None
    assert decision["extensions"]["flash-attn"] == {"skipped": "it is published as source only"}
    assert (decision["verdict"], decision["remedies"]) == (
        "degraded",
        ["Add flash-attn to source.extensions to have it compiled here."],
    )


def test_compiling_is_no_remedy_where_it_cannot_be_done(box: Any, decide: Decide) -> None:
    """Without a toolkit nothing is compiled, so nobody is told to list it there."""
    wished = {"cuda": "13.0", "pytorch": "2.13", "toolkit": {"provider": "none"}, "extensions": ["flash-attn"]}
    decision = decide(box(), **wished)
    assert decision["remedies"] == ["Leave flash-attn out of extensions."]


def test_a_wished_version(box: Any, decide: Decide) -> None:
    decision = decide(box(), cuda="13.0", source={"extensions": ["xformers==0.0.33.post2"]}, pytorch="2.9.1")
    assert build(decision, "xformers")["version"] == "0.0.33.post2"


@pytest.mark.parametrize(
    ("gpu", "memory", "because", "remedy"),
    [
        (
            "T4",
            60.0,
            "it cannot be built here: it needs compute capability 8.0; found 7.5",
            "Remove flash-attn from source.extensions on this host.",
        ),
        ("RTX5090", 4.0, "one compiler needs 5.0 GiB of free memory; found 4.0 GiB", "Set source.jobs: 1 to try"),
        (
            None,
            60.0,
            "it is compiled against a PyTorch for CUDA; found PyTorch 2.13.0+cpu",
            "Build it on a host with a GPU",
        ),
    ],
)
def test_an_extension_that_cannot_be_built_is_skipped(
    gpu: Any, memory: float, because: str, remedy: str, box: Any, decide: Decide
) -> None:
    decision = decide(box(gpu, "580.95.05" if gpu else None, memory=memory), **FLASH)
    assert (decision["verdict"], decision["source"]) == ("degraded", None)
    assert because in decision["extensions"]["flash-attn"]["skipped"]
    assert any(remedy in text for text in decision["remedies"])


@pytest.mark.parametrize(("cuda", "index"), [("13.0", "cu130"), ("newest", "cu132")])
def test_an_extension_for_gpus_of_other_hosts(cuda: str, index: str, box: Any, decide: Decide) -> None:
    wish = {"architectures": ["9.0a"], "source": {"extensions": ["flash-attn"]}}
    decision = decide(box(None, None), cuda=cuda, pytorch="2.13", **wish)
    flash = build(decision, "flash-attn")
    assert (decision["route"], decision["verdict"], decision["pytorch"]["index"]) == ("cpu", "ok", index)
    assert (flash["torch"], flash["environment"]["FLASH_ATTN_CUDA_ARCHS"]) == (f"2.13.0+{index}", "90")
    assert decision["proof"]["gpu"] is False
    assert any("for GPUs of other hosts (9.0a)" in entry["text"] for entry in decision["reasons"])


def test_without_nvcc_of_that_cuda_it_is_skipped(box: Any, decide: Decide) -> None:
    wish = {"architectures": ["9.0"], "source": {"extensions": ["flash-attn"]}}
    decision = decide(box(None, None), cuda="12.6", pytorch="2.13", **wish)  # PyPI has no compiler of CUDA 12
    skipped = decision["extensions"]["flash-attn"]["skipped"]
    assert skipped.endswith("compiling it needs nvcc of CUDA 12.6; found no CUDA toolkit")
    assert decision["verdict"] == "degraded"


def test_what_needs_no_cuda_stays_with_the_cpus_pytorch(box: Any, decide: Decide) -> None:
    decision = decide(box(None, None), architectures=["9.0a"], source={"extensions": ["torch-scatter"]})
    assert decision["pytorch"]["index"] == "cpu"
    assert decide(box(None, None), architectures=["9.0a"], extensions=["flash-attn"])["pytorch"]["index"] == "cpu"


def test_no_build_of_pytorch_for_the_architecture_of_the_machine(box: Any, decide: Decide) -> None:
    observed = box(None, None, pythons=("3.9",))
    decision = decide(
        observed, cuda="13.0", pytorch="2.13", architectures=["9.0"], source={"extensions": ["flash-attn"]}
    )
    assert decision["verdict"] == "blocked"
    assert "has wheels for Python 3.10 to 3.14; found 3.9" in [entry["because"] for entry in decision["rejected"]]


def test_an_extension_for_the_cpu(box: Any, decide: Decide) -> None:
    decision = decide(box(None, None, cpus=2, memory=8.0), source={"extensions": ["torch-scatter"]})
    scatter = build(decision, "torch-scatter")
    assert (scatter["architectures"], scatter["environment"], scatter["jobs"]) == ([], {"MAX_JOBS": "2"}, 2)
    assert scatter["torch"].endswith("+cpu")


def test_jobs_as_wished(box: Any, decide: Decide) -> None:
    decision = decide(box(memory=4.0), cuda="13.0", source={"extensions": ["flash-attn"], "jobs": 1})
    assert build(decision, "flash-attn")["jobs"] == 1


def test_beside_an_adopted_pytorch(box: Any, decide: Decide) -> None:
    torch = {
        "path": "/opt/venv/site-packages",
        "python": "/opt/venv/bin/python",
        "python_version": "3.12",
        "version": "2.13.0",
    }
    torch |= {
        "local": "2.13.0+cu130",
        "cuda": "13.0",
        "arch_list": ["sm_120"],
        "managed": False,
        "packages": {},
        "broken": [],
    }
    decision = decide(box(pytorch=[torch]), cuda="13.0", pytorch="2.13", source={"extensions": ["flash-attn"]})
    assert decision["pytorch"]["provider"] == "adopt"
    assert build(decision, "flash-attn")["torch"] == "2.13.0+cu130"
    assert decision["extensions"]["flash-attn"]["requirement"] == "flash-attn==2.8.3.post2"


# --- what is there already ---


def test_a_wheel_in_the_store_is_not_built_again(box: Any, decide: Decide, known: Catalogue) -> None:
    key = build(decide(box(), **FLASH), "flash-attn")["key"]
    path = f"/opt/podsmith/wheels/{key}/flash_attn-2.8.3.post2-cp312-cp312-linux_x86_64.whl"
    row = {"key": key, "name": "flash-attn", "version": "2.8.3.post2", "path": path}
    decision = decide(box(wheels=[row]), **FLASH)
    flash = build(decision, "flash-attn")
    assert (flash["wheel"], flash["pending"]) == (path, False)
    assert [change["role"] for change in decision["changes"] if change["role"] == "pytorch_source"] == []
    assert [change["what"] for change in decision["changes"] if change["role"] == "ml_extensions"] == ["flash-attn"]
    assert decision["source"]["links"] == [f"/opt/podsmith/wheels/{key}"]
    elsewhere = decide(box(wheels=[row]), **FLASH, prefix="/data/podsmith")
    assert build(elsewhere, "flash-attn")["pending"] is True


@pytest.mark.parametrize("wished", [TORCH, FLASH], ids=["torch", "extension"])
def test_converged_nothing_is_pending_whatever_is_in_the_store(
    wished: Any, box: Any, decide: Decide, applied: Any
) -> None:
    observed = box()
    decision = decide(observed, **wished)
    again = decide(applied(observed, decision), **wished)
    assert again["changes"] == []
    assert [entry["pending"] for entry in again["source"]["builds"]] == [False]
    assert again["digest"] == decision["digest"]


def test_another_gpu_is_another_wheel_and_another_environment(box: Any, decide: Decide, applied: Any) -> None:
    first = decide(box("RTX4090"), **FLASH)
    moved = applied(box("RTX4090"), first)
    moved["devices"] = box("RTX5090")["devices"]
    second = decide(moved, **FLASH)
    assert build(second, "flash-attn")["key"] != build(first, "flash-attn")["key"]
    assert second["environment"]["identity"] != first["environment"]["identity"]
    assert build(second, "flash-attn")["pending"] is True


def test_a_lost_package_is_built_again_where_the_store_lacks_it(box: Any, decide: Decide, applied: Any) -> None:
    there = applied(box(), decide(box(), **FLASH))
    del there["installed"]["environment"]["packages"]["flash-attn"]
    roles = [change["role"] for change in decide(there, **FLASH)["changes"]]
    assert roles.index("pytorch_source") < roles.index("ml_extensions")


# --- what must hold for every host ---


@pytest.mark.parametrize("wished", [TORCH, FLASH], ids=["torch", "extension"])
@pytest.mark.parametrize("kind", ["bare_metal", "container", "wsl2"])
def test_every_host(kind: str, wished: Any, box: Any, decide: Decide, known: Catalogue) -> None:
    axes = itertools.product(
        ["V100", "T4", "A100", "RTX4090", "H100", "B200", "B300", "RTX5090", None],
        ["580.95.05", "550.163.01", None],
        ["12.6", "12.8", "13.0", "13.2"],
        ["x86_64", "aarch64"],
    )
    built = 0
    for gpu, driver, cuda, arch in axes:
        decision = decide(box(gpu, driver, kind=kind, arch=arch), **{**wished, "cuda": cuda})
        json.dumps(decision)
        if decision["verdict"] != "ok":
            assert decision["remedies"], decision["summary"]
        pending = [change for change in decision["changes"] if change["role"] == "pytorch_source"]
        assert len(pending) == sum(entry["pending"] for entry in (decision["source"] or {}).get("builds", ()))
        for entry in (decision["source"] or {}).get("builds", ()):
            built += 1
            code = known["cuda"]["releases"][decision["toolkit"]["version"]]["gpu_code"]
            assert entry["architectures"], decision["summary"]
            assert {int(name.rstrip("a").replace(".", "")) for name in entry["architectures"]} <= set(code)
            assert parse_version(decision["toolkit"]["version"])[0] == parse_version(decision["pytorch"]["cuda"])[0]
            assert needs_pypi(decision)
            assert entry["jobs"] >= 1
    assert built


def test_a_default_request_builds_nothing(box: Any, decide: Decide) -> None:
    assert Request().source.extensions == ()
    assert decide(box())["source"] is None


@pytest.mark.parametrize(
    ("components", "provider"),
    [
        pytest.param(["compiler", "runtime_dev", "libraries"], "adopt", id="with-all-that-the-build-needs"),
        pytest.param(["compiler"], "apt", id="without-the-libraries-headers"),
        pytest.param(None, "apt", id="unknown"),
    ],
)
def test_an_images_toolkit_is_used_where_it_has_what_the_build_needs(
    components: Any, provider: str, box: Any, decide: Decide
) -> None:
    toolkit = {"version": "13.0.88", "release": "13.0", "path": "/usr/local/cuda-13.0", "nvcc": True, "cudart": True}
    toolkit |= {"components": components} if components else {}
    decision = decide(box(toolkits=[toolkit]), **FLASH)
    assert decision["toolkit"]["provider"] == provider
    assert build(decision, "flash-attn")["cuda_home"] == "/usr/local/cuda-13.0"


def test_an_own_toolkit_gets_what_a_new_build_needs(box: Any, decide: Decide, applied: Any) -> None:
    there = applied(box(), decide(box(), cuda="13.0", pytorch="2.13"))
    changes = [(change["role"], change["action"]) for change in decide(there, **FLASH)["changes"]]
    assert ("cuda_toolkit", "repair") in changes
    there["installed"]["toolkits"][0]["components"] = ["compiler", "runtime_dev", "libraries"]
    assert "cuda_toolkit" not in [change["role"] for change in decide(there, **FLASH)["changes"]]
