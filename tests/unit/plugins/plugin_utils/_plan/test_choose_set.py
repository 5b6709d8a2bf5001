"""PyTorch, CUDA, Python and the extensions as one set: what is chosen, what is left out, why, and what would help."""

from __future__ import annotations

import copy
import itertools
import json
import pathlib
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.decision import to_decision
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.plan import resolve

Decide = Callable[..., dict[str, Any]]
IMAGE = {
    "path": "/opt/venv/lib/python3.12/site-packages",
    "python": "/opt/venv/bin/python",
    "python_version": "3.12",
    "version": "2.15.0",
    "local": "2.15.0+cu130",
    "cuda": "13.0",
    "arch_list": ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"],
    "managed": False,
    "broken": [],
}


ROWS = json.loads(pathlib.Path(__file__).with_name("extension_rows.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def rows(known: Catalogue) -> dict[str, Any]:
    """The catalogue with the extensions as they stood on a day: what the tables here expect does not move with it."""
    about = {name: entry["about"] for name, entry in ROWS.items() if entry["about"]}
    packages = {**known["pypi"]["packages"], **{name: entry["releases"] for name, entry in ROWS.items()}}
    return {**known, "pypi": {**known["pypi"], "packages": packages}, "extensions": {"packages": about}}


@pytest.fixture(scope="module")
def settle(rows: dict[str, Any]) -> Decide:
    """The decision with these rows."""

    def call(observed: dict[str, Any], **wished: Any) -> dict[str, Any]:
        return to_decision(resolve(observed, wished, rows))

    return call


def versions(decision: dict[str, Any]) -> dict[str, str]:
    """Package → version of the whole set: PyTorch, what comes with it, what is installed for the wish."""
    torch = decision["pytorch"]
    found = {name: entry["version"] for name, entry in decision["extensions"].items() if "version" in entry}
    return {"torch": torch["version"], **torch["companions"], **found}


# --- which set ---


@pytest.mark.parametrize(
    ("observed", "wished", "torch", "expected"),
    [
        pytest.param(
            {"driver": "610.43.02"}, {"extensions": ["vllm"]}, "2.14.0+cu130", {"vllm": "0.33.0"}, id="newest-with-it"
        ),
        pytest.param(
            {"gpu": "RTX5090"},
            {"pytorch": "2.9", "extensions": ["vllm"]},
            "2.9.1+cu128",
            {"vllm": "0.16.0"},
            id="cuda-of-its-wheel",
        ),
        pytest.param(
            {"driver": "570.133.20"},
            {"extensions": ["vllm", "xformers"]},
            "2.10.0+cu128",
            {"vllm": "0.19.1", "xformers": "0.0.35"},
            id="cuda-12-alone-runs",
        ),
        pytest.param(
            {"gpu": "V100"},
            {"extensions": ["vllm", "torchvision"]},
            "2.10.0+cu128",
            {"vllm": "0.19.1", "torchvision": "0.25.0"},
            id="volta",
        ),
        pytest.param(
            {"gpu": "GH200", "arch": "aarch64"}, {"extensions": ["vllm"]}, "2.14.0+cu130", {"vllm": "0.33.0"}, id="arm"
        ),
        pytest.param(
            {"pythons": ("3.10", "3.15")},
            {"extensions": ["vllm"]},
            "2.13.0+cu130",
            {"vllm": "0.31.0"},
            id="another-python",
        ),
        pytest.param(
            {"pythons": ("3.12", "3.15")},
            {"extensions": ["vllm"]},
            "2.14.0+cu130",
            {"vllm": "0.33.0"},
            id="older-python",
        ),
        pytest.param(
            {"driver": "610.43.02"},
            {"extensions": ["torchvision", "vllm"]},
            "2.14.0+cu130",
            {"torchvision": "0.29.0", "vllm": "0.33.0"},
            id="an-older-companion",
        ),
        pytest.param(
            {"driver": "610.43.02"},
            {"extensions": ["torchaudio", "fbgemm-gpu", "vllm", "triton"]},
            "2.11.0+cu130",
            {"torchaudio": "2.11.0", "fbgemm-gpu": "1.6.0", "vllm": "0.26.0", "triton": "3.6.0"},
            id="the-newest-that-all-have",
        ),
        pytest.param(
            {"gpu": "RTX4090", "driver": "570.124.06"},
            {"cuda": "13.0", "pytorch": "2.9", "extensions": ["vllm"]},
            "2.9.1+cu128",
            {"vllm": "0.16.0"},
            id="fallback-keeps-the-named-release",
        ),
        pytest.param(
            {"driver": "525.147.05"},
            {"cuda": "13.0", "extensions": ["xformers", "vllm"]},
            "2.10.0+cu128",
            {"xformers": "0.0.35", "vllm": "0.19.1"},
            id="fallback-of-newest",
        ),
        pytest.param(
            {"gpu": None, "driver": None},
            {"extensions": ["torchvision", "torchaudio"]},
            "2.15.0+cpu",
            {"torchvision": "0.29.2", "torchaudio": "2.11.0"},
            id="cpu",
        ),
        pytest.param(
            {"gpu": "A100", "driver": "570.133.20"},
            {"pytorch": "2.6", "extensions": ["xformers", "torchvision"]},
            "2.6.0+cu126",
            {"xformers": "0.0.29.post3", "torchvision": "0.21.0"},
            id="an-old-release-is-not-moved",
        ),
    ],
)
def test_a_set(observed: Any, wished: Any, torch: str, expected: Any, host: Any, settle: Decide) -> None:
    decision = settle(host(**observed), **wished)
    assert decision["pytorch"]["local"] == torch
    assert {name: entry.get("version") for name, entry in decision["extensions"].items()} == expected
    assert (decision["verdict"] == "ok") == (decision["route"] != "fallback")


def test_the_handed_host(settle: Decide, rows: Any) -> None:
    """PyPI's vLLM for PyTorch 2.11 is CUDA 13's; where it is published for CUDA 12.9 elsewhere, that is taken."""
    observed = {
        "platform": {"kind": "container", "arch": "x86_64", "glibc": "2.35", "root": True},
        "driver": {"status": "ok", "version": "570.86.10"},
        "devices": [{"name": "NVIDIA RTX A6000", "compute_capability": "8.6", "brand_id": 13}],
    }
    observed["platform"]["os"] = {"id": "ubuntu", "version": "22.04", "family": "debian"}
    observed["platform"]["pythons"] = [{"path": "/usr/bin/python3", "version": "3.12"}]
    observed["platform"]["compiler"] = {"path": "/usr/bin/g++", "version": "13.3.0"}
    wished = {"cuda": "12.9", "pytorch": "2.11", "extensions": ["vllm"]}
    decision = settle(observed, **wished)
    assert decision["extensions"]["vllm"] == {"skipped": "0.26.0 is built for CUDA 13.0, not for CUDA 12.9"}
    assert (decision["verdict"], decision["pytorch"]["local"]) == ("degraded", "2.11.0+cu129")
    remedy = "Set cuda: newest, pytorch: newest: PyTorch 2.10.0+cu128 then runs here, with vllm 0.19.1."
    assert remedy in decision["remedies"]
    other = with_row(rows, "vllm", "0.26.0", variants={"cu129": {"cuda": "12.9", "index": "https://wheels.test/cu129"}})
    decision = to_decision(resolve(observed, wished, other))
    assert decision["extensions"]["vllm"] == {
        "version": "0.26.0",
        "requirement": "vllm==0.26.0+cu129",
        "index": "https://wheels.test/cu129",
    }
    assert (decision["verdict"], decision["pytorch"]["local"]) == ("ok", "2.11.0+cu129")


def with_row(known: Catalogue, name: str, version: str, **row: Any) -> dict[str, Any]:
    """The catalogue with one release of a package that has other values."""
    packages = known["pypi"]["packages"]
    rows = {**packages[name], version: {**packages[name].get(version, {}), **row}}
    return {**known, "pypi": {**known["pypi"], "packages": {**packages, name: rows}}}


def test_what_an_extension_needs_is_of_the_cuda_of_pytorch(host: Any, settle: Decide) -> None:
    """vLLM needs torchvision and torchaudio; an installer would take PyPI's, which are for another CUDA."""
    decision = settle(host(), cuda="12.6", pytorch="2.9.1", extensions=["vllm"])
    assert decision["extensions"]["vllm"]["version"] == "0.16.0"
    assert list(decision["extensions"]) == ["vllm"]
    assert decision["pytorch"]["requirements"] == [
        "torch==2.9.1+cu126",
        "torchvision==0.24.1+cu126",
        "torchaudio==2.9.1+cu126",
    ]


def test_the_set_says_why_it_is_not_the_newest(host: Any, settle: Decide) -> None:
    decision = settle(host(driver="610.43.02"), extensions=["vllm"])
    told = [reason["text"] for reason in decision["reasons"] if reason["rule"] == "extensions"]
    assert told == [
        "PyTorch 2.14.0+cu130 is chosen for the extensions: on PyTorch 2.15.0+cu132, vllm 0.33.0 requires torch 2.14.0"
    ]
    assert {"option": "PyTorch 2.15.0+cu132", "because": "vllm 0.33.0 requires torch 2.14.0"} in decision["rejected"]


def test_the_wheels_own_cuda_comes_before_a_newer_one(host: Any, settle: Decide) -> None:
    """PyTorch 2.14.0 is there for CUDA 13.2 as well, and would run; vLLM's wheel is built for 13.0."""
    decision = settle(host(driver="610.43.02"), pytorch="2.14.0", extensions=["vllm"])
    assert decision["pytorch"]["index"] == "cu130"
    left = {"option": "PyTorch 2.14.0+cu132", "because": "the extensions' wheels are built for another CUDA than 13.2"}
    assert left in decision["rejected"]
    assert settle(host(driver="610.43.02"), pytorch="2.14.0")["pytorch"]["index"] == "cu132"
    named = settle(host(driver="610.43.02"), pytorch="2.14.0", cuda="13.2", extensions=["vllm"])
    assert (named["pytorch"]["index"], named["extensions"]["vllm"]["version"]) == ("cu132", "0.33.0")


# --- what cannot be had ---


@pytest.mark.parametrize(
    ("observed", "wished", "skipped", "remedy"),
    [
        pytest.param(
            {"driver": "595.71.05"},
            {"pytorch": "2.15", "extensions": ["vllm"]},
            {"vllm": "0.33.0 requires torch 2.14.0"},
            "Set pytorch: newest: PyTorch 2.14.0+cu130 then runs here, with vllm 0.33.0.",
            id="named-pytorch",
        ),
        pytest.param(
            {},
            {"cuda": "12.6", "pytorch": "2.13", "extensions": ["vllm"]},
            {"vllm": "0.32.0 is built for CUDA 13.0, not for CUDA 12.6"},
            "Set cuda: newest: PyTorch 2.13.0+cu130 then runs here, with vllm 0.32.0.",
            id="named-cuda",
        ),
        pytest.param(
            {"pythons": ("3.12", "3.14")},
            {"cuda": "12.8", "pytorch": "2.9.1", "python": "3.14", "extensions": ["vllm"]},
            {"vllm": "0.16.0 requires Python <3.14,>=3.10"},
            "Set python: auto: PyTorch 2.9.1+cu128 then runs here, with vllm 0.16.0.",
            id="named-python",
        ),
        pytest.param(
            {},
            {"pytorch": "2.9", "wheels": {"provider": "pypi"}, "extensions": ["torchvision", "fbgemm-gpu", "xformers"]},
            {},
            "",
            id="pypi-has-them",
        ),
        pytest.param(
            {"gpu": "GH200", "arch": "aarch64"},
            {"extensions": ["vllm", "xformers"]},
            {"xformers": "0.0.35 has no wheel for aarch64"},
            "Leave xformers out of extensions.",
            id="machine",
        ),
        pytest.param(
            {"gpu": "GTX1080"},
            {"extensions": ["torchvision", "xformers"]},
            {"xformers": "it needs compute capability 7.5; found 6.1 (NVIDIA GeForce GTX 1080)"},
            "Leave xformers out of extensions.",
            id="capability",
        ),
        pytest.param(
            {"gpu": None, "driver": None},
            {"extensions": ["torchvision", "vllm"]},
            {"vllm": "it needs CUDA, and this environment is for the CPU"},
            "Leave vllm out of extensions.",
            id="cpu",
        ),
        pytest.param(
            {},
            {"pytorch": "none", "extensions": ["triton"]},
            {"triton": "pytorch is none, and it extends PyTorch"},
            "Leave triton out of extensions.",
            id="no-pytorch",
        ),
    ],
)
def test_what_cannot_be_had_is_named(
    observed: Any, wished: Any, skipped: Any, remedy: str, host: Any, settle: Decide
) -> None:
    decision = settle(host(**observed), **wished)
    assert {name: entry["skipped"] for name, entry in decision["extensions"].items() if "skipped" in entry} == skipped
    assert decision["verdict"] == ("degraded" if skipped else "ok")
    told = [text for text in decision["remedies"] if not text.startswith("A host with driver")]
    assert told == [remedy] * bool(remedy)
    for name, because in skipped.items():
        assert {"option": name, "because": because} in decision["rejected"]


def test_an_old_c_library_counts_for_extensions(host: Any, settle: Decide) -> None:
    """The wheels of PyTorch 2.6 run on glibc 2.17, those of xformers do not."""
    observed = host("A100", "550.163.01")
    observed["platform"]["glibc"] = "2.17"
    decision = settle(observed, pytorch="2.6", extensions=["xformers"])
    assert decision["extensions"]["xformers"]["skipped"] == "0.0.29.post3 needs glibc 2.28; found 2.17"
    trusted = settle(observed, pytorch="2.6", extensions=["xformers"], overrides={"glibc": False})
    assert trusted["extensions"]["xformers"]["version"] == "0.0.29.post3"


def only(rows: Any, name: str, version: str, **changes: Any) -> dict[str, Any]:
    """The catalogue with one release of a package, of which some values are others."""
    packages = rows["pypi"]["packages"]
    return {
        **rows,
        "pypi": {**rows["pypi"], "packages": {**packages, name: {version: {**packages[name][version], **changes}}}},
    }


def test_what_an_extension_needs_and_cannot_have_is_the_constraint(host: Any, rows: Any) -> None:
    """bitsandbytes would fit; xformers, which it needs here, has no code for the GPU, and nobody wished for it."""
    other = only(rows, "bitsandbytes", "0.50.2", requires={"torch": ">=2.4", "xformers": ">=0.0.30"})
    wished = {"cuda": "12.6", "pytorch": "2.9", "extensions": ["bitsandbytes"]}
    decision = to_decision(resolve(host("V100"), wished, other))
    gpu = "it needs compute capability 7.5; found 7.0 (Tesla V100-SXM2-16GB)"
    because = f"requires xformers >=0.0.30, which cannot be had here: {gpu}"
    assert decision["extensions"] == {"bitsandbytes": {"skipped": f"0.50.2 {because}"}}
    had = to_decision(resolve(host("T4"), wished, other))
    assert had["extensions"]["bitsandbytes"]["version"] == "0.50.2"
    assert had["extensions"]["xformers"]["requirement"] == "xformers==0.0.33.post2+cu126"


def test_what_a_release_says_of_pytorch_comes_first(host: Any, rows: Any) -> None:
    other = only(rows, "bitsandbytes", "0.50.2", requires={"torchvision": "==0.1", "torch": "==2.14.1"})
    wished = {"pytorch": "2.15", "extensions": ["torchvision", "bitsandbytes"]}
    decision = to_decision(resolve(host(), wished, other))
    assert decision["extensions"]["bitsandbytes"]["skipped"] == "0.50.2 requires torch 2.14.1"


def test_the_build_for_the_very_cuda_comes_before_that_of_pypi(host: Any, rows: Any) -> None:
    """Both are CUDA 12's and would run; for another CUDA of PyTorch it is PyPI's."""
    builds = {"cu129": {"cuda": "12.9", "index": "https://download.pytorch.org/whl/cu129"}}
    other = only(rows, "vllm", "0.16.0", variants=builds)
    for cuda, requirement, index in (("12.9", "vllm==0.16.0+cu129", "cu129"), ("12.8", "vllm==0.16.0", "pypi")):
        wished = {"cuda": cuda, "pytorch": "2.9.1", "extensions": ["vllm"]}
        entry = to_decision(resolve(host(driver="610.43.02"), wished, other))["extensions"]["vllm"]
        assert (entry["requirement"], entry["index"]) == (requirement, index)


@pytest.fixture
def rivals(rows: Any) -> dict[str, Any]:
    """The catalogue with bitsandbytes for PyTorch 2.14.1 alone, and vLLM for 2.14.0 alone."""
    packages = rows["pypi"]["packages"]
    others = {"0.50.2": {**packages["bitsandbytes"]["0.50.2"], "requires": {"torch": "==2.14.1"}}}
    changed = {**packages, "bitsandbytes": others, "vllm": {"0.33.0": packages["vllm"]["0.33.0"]}}
    return {**rows, "pypi": {**rows["pypi"], "packages": changed}}


@pytest.mark.parametrize(
    ("wished", "torch", "skipped"),
    [
        (["vllm", "bitsandbytes"], "2.14.0", "bitsandbytes"),
        (["bitsandbytes", "vllm"], "2.14.1", "vllm"),
        (["torchvision", "bitsandbytes", "vllm"], "2.14.1", "vllm"),
    ],
)
def test_of_two_that_exclude_each_other_the_first_is_had(
    wished: list[str], torch: str, skipped: str, host: Any, rivals: Any
) -> None:
    decision = to_decision(resolve(host(), {"extensions": wished}, rivals))
    first = next(name for name in wished if name != "torchvision")
    assert decision["pytorch"]["version"] == torch
    assert "version" in decision["extensions"][first]
    assert decision["extensions"][skipped]["skipped"].endswith(
        f"; {first}, which is named before it, cannot be had with that"
    )
    assert f"Leave {first} out of extensions to have {skipped}." in decision["remedies"]
    assert decision["verdict"] == "degraded"
    other = [name for name in wished if name != first]
    followed = to_decision(resolve(host(), {"extensions": other}, rivals))
    assert (followed["verdict"], "version" in followed["extensions"][skipped]) == ("ok", True)


def test_what_is_left_out_does_not_take_others_with_it(host: Any, rivals: Any) -> None:
    wished = {"extensions": ["vllm", "bitsandbytes", "torchaudio", "xformers"]}
    decision = to_decision(resolve(host(), wished, rivals))
    assert [name for name, entry in decision["extensions"].items() if "skipped" in entry] == ["bitsandbytes"]


def test_an_image_that_lacks_an_extension_is_not_adopted_and_told(host: Any, settle: Decide) -> None:
    image = {**IMAGE, "packages": {"triton": "3.9.0"}}
    decision = settle(host(pytorch=[image]), cuda="13.0", extensions=["triton", "torchvision", "torchaudio"])
    assert decision["pytorch"]["provider"] == "pytorch_index"
    assert {
        "option": "PyTorch 2.15.0+cu130 at /opt/venv/lib/python3.12/site-packages",
        "because": "it lacks torchvision, torchaudio, and nothing is installed into an environment of others",
    } in decision["rejected"]
    whole = settle(host(pytorch=[image]), cuda="13.0", extensions=["triton"])
    assert (whole["pytorch"]["adopt"], [row for row in whole["rejected"] if "lacks" in row["because"]]) == (
        IMAGE["path"],
        [],
    )


def test_a_fallback_is_no_way_to_an_extension(host: Any, settle: Decide) -> None:
    """PyTorch 2.15 runs here as wished; that 2.14 would have vLLM is told, and not done."""
    decision = settle(host(), pytorch="2.15", extensions=["vllm"], on_old_driver=["fallback"])
    assert (decision["pytorch"]["version"], decision["route"] == "fallback") == ("2.15.0", False)


def test_what_stands_in_keeps_the_named_release(host: Any, rivals: Any) -> None:
    """CUDA 13.0 cannot run here, PyTorch 2.9 can on CUDA 12.8: another PyTorch that had vLLM is not taken for it."""
    wished = {"pytorch": "2.9", "cuda": "13.0", "on_old_driver": ["fallback"], "extensions": ["bitsandbytes", "vllm"]}
    decision = to_decision(resolve(host("RTX4090", "570.124.06"), wished, rivals))
    assert (decision["route"], decision["pytorch"]["local"]) == ("fallback", "2.9.1+cu128")
    assert decision["extensions"]["vllm"]["skipped"] == "0.33.0 requires torch 2.14.0"


def test_an_image_that_has_what_no_wheel_has_is_adopted(host: Any, settle: Decide) -> None:
    """flash-attn has no wheels: an older PyTorch of the image that has it is better than a newer one without."""
    image = {**IMAGE, "version": "2.11.0", "local": "2.11.0+cu130", "packages": {"flash-attn": "2.8.3"}}
    decision = settle(host(pytorch=[image]), cuda="13.0", extensions=["flash-attn"])
    assert (decision["pytorch"]["adopt"], decision["verdict"]) == (IMAGE["path"], "ok")
    assert decision["extensions"]["flash-attn"] == {"version": "2.8.3", "requirement": None, "index": "adopt"}


def test_a_name_for_one_package_per_cuda_major(host: Any, rows: Any) -> None:
    entry = {
        "python": ">=3.10",
        "tags": {"x86_64": ["cp312"]},
        "glibc": "2.17",
        "requires": {},
        "size_mib": {"x86_64": 70},
    }
    packages = {
        f"cupy-cuda{major}x": {"14.2.0": {**entry, "cuda": f"{major}.0", "yanked": False}} for major in ("12", "13")
    }
    about = {"index": "pypi", "cuda": None, "torch": {}, "wheels": True, "bundled": False, "least_capability": "5.0"}
    other = {
        **rows,
        "pypi": {**rows["pypi"], "packages": {**rows["pypi"]["packages"], **packages}},
        "extensions": {
            "packages": {**rows["extensions"]["packages"], **dict.fromkeys(packages, about)},
            "alternatives": {"cupy": {"packages": {major: f"cupy-cuda{major}x" for major in ("12", "13")}}},
        },
    }
    for cuda, package in (("12.8", "cupy-cuda12x"), ("13.0", "cupy-cuda13x")):
        decision = to_decision(resolve(host(), {"cuda": cuda, "extensions": ["cupy"]}, other))
        assert decision["extensions"] == {
            package: {"version": "14.2.0", "requirement": f"{package}==14.2.0", "index": "pypi"}
        }
    decision = to_decision(resolve(host(None, None), {"extensions": ["cupy"]}, other))
    assert decision["extensions"]["cupy"]["skipped"] == "it is published for each CUDA major, not for the CPU"


def test_an_extra_per_cuda_major_stands_in_the_requirement_alone(host: Any, rows: Any) -> None:
    packages = rows["extensions"]["packages"]
    about = {**packages["bitsandbytes"], "extras": {"13": "cu13"}}
    other = {**rows, "extensions": {"packages": {**packages, "bitsandbytes": about}}}
    decision = to_decision(resolve(host(), {"cuda": "13.0", "extensions": ["bitsandbytes"]}, other))
    assert decision["extensions"]["bitsandbytes"]["requirement"] == "bitsandbytes[cu13]==0.50.2"
    assert "bitsandbytes==0.50.2" in decision["environment"]["constraints"]
    assert [change["to"] for change in decision["changes"] if change["what"] == "bitsandbytes"] == ["0.50.2"]


# --- what must hold for every wish ---

HOSTS = {
    "h100": {"gpu": "H100", "driver": "580.95.05"},
    "rented": {"gpu": "H100", "driver": "570.133.20", "kind": "container", "pythons": ("3.11",)},
    "old": {"gpu": "T4", "driver": "535.183.01", "pythons": ("3.10", "3.14")},
    "volta": {"gpu": "V100", "driver": "580.95.05"},
    "pascal": {"gpu": "GTX1080", "driver": "550.163.01", "pythons": ("3.9", "3.12")},
    "blackwell": {"gpu": "RTX5090", "driver": "610.43.02", "pythons": ("3.13", "3.15")},
    "arm": {"gpu": "GB10", "driver": "580.95.05", "arch": "aarch64"},
    "wsl": {"gpu": "RTX4090", "driver": "581.42", "kind": "wsl2"},
    "mixed": {"gpu": ["V100", "H100"], "driver": "575.57.08"},
    "cpu": {"gpu": None, "driver": None},
}
ASKED = [{}, {}, {"pytorch": "2.9"}, {"cuda": "13.0"}, {"cuda": "12.8"}, {"pytorch": "2.13"}, {"cuda": "12.6"}]


def wishes(known: Catalogue) -> Iterator[tuple[str, dict[str, Any]]]:
    """Some dozens of hosts with wishes, drawn by a die that always falls the same way."""
    dice = random.Random(12)
    names = sorted(known["extensions"]["packages"])
    for name, asked in itertools.product(HOSTS, ASKED):
        yield name, {**asked, "extensions": dice.sample(names, dice.randint(1, 5))}


@pytest.fixture(scope="module")
def drawn(host: Any, decide: Decide, known: Catalogue) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    found = [(name, wish, decide(host(**HOSTS[name]), **wish)) for name, wish in wishes(known)]
    return [entry for entry in found if entry[2]["pytorch"]]


def test_the_draw_meets_both_ends(drawn: Any) -> None:
    skipped = [any("skipped" in one for one in decision["extensions"].values()) for *_unused, decision in drawn]
    assert 10 < sum(skipped) < len(skipped) - 10


def test_every_set_agrees_with_itself(drawn: Any, known: Catalogue) -> None:
    """By packaging alone, not by the resolver: each release is content with the others, the Python and the CUDA."""
    packages = known["pypi"]["packages"]
    for name, wish, decision in drawn:
        chosen, torch = versions(decision), decision["pytorch"]
        if "triton" not in chosen and torch["cuda"]:
            chosen["triton"] = max(
                (one for one in packages["triton"] if one in SpecifierSet(needs(packages, torch).get("triton", "==0"))),
                key=parse_version,
                default="",
            )
        for package, version in chosen.items():
            row = packages.get(package, {}).get(version)
            if row is None:
                continue
            for needed, spec in (row.get("requires") or {}).items():
                if chosen.get(needed):
                    assert SpecifierSet(spec).contains(chosen[needed], prereleases=True), (name, wish, package, chosen)
            if row.get("python") and torch["python"]["version"] and package != "triton":
                assert SpecifierSet(row["python"]).contains(torch["python"]["version"]), (name, wish, package)
            index = decision["extensions"].get(package, {}).get("index")
            if index == "pypi" and row.get("cuda") and torch["cuda"] and HOSTS[name].get("arch") != "aarch64":
                requirement = decision["extensions"][package]["requirement"]
                built = row["cuda"] if "+" not in requirement else torch["cuda"]
                assert built.split(".")[0] == torch["cuda"].split(".")[0], (name, wish, package)


def needs(packages: Any, torch: Any) -> dict[str, str]:
    """What a PyTorch requires."""
    return packages["torch"].get(torch["version"], {}).get("requires", {})


def test_what_is_left_out_degrades_and_is_told(drawn: Any) -> None:
    for name, wish, decision in drawn:
        skipped = {one: entry["skipped"] for one, entry in decision["extensions"].items() if "skipped" in entry}
        if skipped:
            assert decision["verdict"] == "degraded", (name, wish)
            assert decision["remedies"], (name, wish)
        elif decision["verdict"] != "ok":
            assert decision["route"] == "fallback", (name, wish, decision["rejected"])
        told = {(row["option"], row["because"]) for row in decision["rejected"]}
        assert set(skipped.items()) <= told


def test_nothing_that_is_left_out_could_have_been_had(drawn: Any, host: Any, decide: Decide, known: Catalogue) -> None:
    """On no PyTorch and CUDA that the request allows is it to be had beside what is named before it."""
    for name, wish, decision in drawn[::3]:
        kept: list[str] = []
        for one in wish["extensions"]:
            if "skipped" not in decision["extensions"].get(one, {}):
                kept.append(one)
                continue
            if decision["route"] in ("cpu", "fallback"):
                continue
            for release, row in known["pytorch"]["releases"].items():
                if "pytorch" in wish and not f"{release}.".startswith(f"{wish['pytorch']}."):
                    continue
                for index in row["indexes"]:
                    cuda = known["pytorch"]["indexes"][index]["cuda"]
                    if cuda is None or wish.get("cuda", cuda) != cuda:
                        continue
                    named = {"pytorch": release, "cuda": cuda, "on_old_driver": ["forward_compat"]}
                    other = decide(host(**HOSTS[name]), **named, extensions=[*kept, one])
                    assert any("skipped" in entry for entry in other["extensions"].values()) or not other["pytorch"], (
                        name,
                        wish,
                        one,
                        release,
                        cuda,
                    )


def test_the_same_wish_gives_the_same_set(host: Any, decide: Decide) -> None:
    wish = {"extensions": ["xformers", "vllm", "torchvision", "bitsandbytes", "triton"]}
    first, again = (decide(host(pythons=("3.11", "3.12")), **copy.deepcopy(wish)) for _unused in range(2))
    assert json.dumps(first, sort_keys=True) == json.dumps(again, sort_keys=True)


def test_a_set_is_cheap(host: Any, decide: Decide, count_calls: Callable[[Callable[[], object]], int]) -> None:
    """Of eight extensions, of which not all can be had, on a host where several PyTorches and Pythons run."""
    names = ["torchvision", "torchaudio", "triton", "xformers", "bitsandbytes", "vllm", "fbgemm-gpu", "flash-attn"]
    observed = host(driver="610.43.02", pythons=("3.11", "3.12"))
    decide(observed, extensions=names)
    assert count_calls(lambda: decide(observed, extensions=names)) < 480_000


def test_the_packages_of_the_catalogue_require_each_other_one_way(known: Catalogue) -> None:
    """Packages that need each other would cost the resolver its order: see it before a row brings it."""
    packages = known["pypi"]["packages"]
    arrows = {
        name: {needed for row in packages.get(name, {}).values() for needed in row.get("requires") or {}} - {"torch"}
        for name in known["extensions"]["packages"]
    }
    while ends := {name for name, targets in arrows.items() if not targets & set(arrows)}:
        arrows = {name: targets for name, targets in arrows.items() if name not in ends}
    assert arrows == {}


@pytest.mark.parametrize(
    ("gpu", "driver", "wished"),
    [
        ("H100", "570.133.20", {"cuda": "13.0", "pytorch": "2.9", "extensions": ["torchaudio", "triton", "xformers"]}),
        ("RTX5090", "580.95.05", {"cuda": "13.0", "extensions": ["torchvision", "torchaudio", "triton"]}),
        ("RTX4090", "581.42", {"cuda": "12.6", "extensions": ["torchvision", "triton", "xformers", "bitsandbytes"]}),
        ("RTX4090", "581.42", {"cuda": "13.0", "extensions": ["torchvision", "triton", "xformers", "bitsandbytes"]}),
    ],
)
def test_the_example_profiles_get_all_they_ask_for(
    gpu: str, driver: str, wished: Any, host: Any, decide: Decide
) -> None:
    decision = decide(host(gpu, driver, kind="wsl2" if driver == "581.42" else "container"), **wished)
    assert [entry for entry in decision["extensions"].values() if "skipped" in entry] == []
    assert decision["verdict"] == "ok"


# --- what the metadata of packages that are not listed here forbids ---


def test_sglang_and_vllm_go_with_no_release_of_each_other(host: Any, decide: Decide) -> None:
    plan = decide(host(), extensions=["sglang", "vllm"])
    assert plan["verdict"] == "degraded"
    assert "version" in plan["extensions"]["sglang"]
    assert "goes with no release of sglang" in plan["extensions"]["vllm"]["skipped"]
    other = decide(host(), extensions=["vllm", "sglang"])
    assert "goes with no release of vllm" in other["extensions"]["sglang"]["skipped"]


@pytest.mark.parametrize(("glibc", "is_old"), [("2.28", True), ("2.31", False)])
def test_what_a_wheel_needs_has_no_wheel_for_an_old_c_library(
    glibc: str, is_old: bool, host: Any, decide: Decide
) -> None:
    facts = host()
    facts["platform"]["glibc"] = glibc
    plan = decide(facts, pytorch="2.14.0", extensions=["vllm"])
    words = "needs llguidance, whose wheels need glibc 2.31; found 2.28"
    assert (words in plan["extensions"]["vllm"].get("skipped", "")) is is_old


def test_a_route_that_was_passed_by_is_told_once(host: Any, decide: Decide) -> None:
    plan = decide(host(), extensions=["vllm"])
    options = [entry["option"] for entry in plan["rejected"]]
    assert "PyTorch 2.15.0+cu130" in options
    assert len(options) == len(set(options))
