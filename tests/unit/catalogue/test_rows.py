"""The rows of catalogue/ hold what NVIDIA's and PyTorch's own tables say, and damage to them is told."""

from __future__ import annotations

import copy
import pathlib
import re
from typing import Any

import pytest
import yaml
from schema import COMMON, SCHEMA, check_assemblers, validate

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue

ROOT = pathlib.Path(__file__).resolve().parents[3]
GONE = object()
VERSION = "a version in quotes"
RELEASE = "major.minor in quotes"
ADD = "correct it, or add the row there."
ONE = "correct one of them."
NUMBERS = "a mapping of least (a whole number), below (a whole number) or null"
REQUIREMENTS = "a mapping, each key a package's name, each value a specifier in quotes"
ROW: dict[str, Any] = {"source": "here"}


# --- the schema ---


def test_the_catalogue_is_sound(known: Catalogue) -> None:
    assert validate(known) == []


def test_the_page_on_releases_has_the_keys_of_a_row() -> None:
    """Who adds a PyTorch release fills in what docs/adding-a-cuda-release.md lists."""
    page = (ROOT / "docs" / "adding-a-cuda-release.md").read_text(encoding="utf-8")
    _key, row = SCHEMA["pytorch"]["releases"]
    assert set(re.findall(r"^ *\| `(\w+)` \|", page, re.MULTILINE)) == {*row, *COMMON}


def damaged(known: Catalogue, path: str, value: object) -> Catalogue:
    """A copy in which the value at `path` (keys joined by "/", which in a key is "~1") is another, or gone."""
    found: Any = copy.deepcopy(known)
    *parents, last = (key.replace("~1", "/") for key in path.split("/"))
    whole = found
    for key in parents:
        found = found[int(key) if isinstance(found, list) else key]
    if value is GONE:
        del found[last]
    else:
        found[last] = value
    return whole


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        # Files and sections
        pytest.param("tools", GONE, "tools.yml is missing; restore it.", id="file"),
        pytest.param("cuda/keys", GONE, "cuda.yml lacks the section keys; restore it.", id="section"),
        pytest.param(
            "gpus/models/B200",
            "10.0",
            "gpus.yml: models: B200 is '10.0', not a mapping.",
            id="row-is-text",
        ),
        pytest.param(
            "gpus/modells",
            {},
            "gpus.yml has the section modells; it knows brands, capabilities, models, pci only.",
            id="unknown-section",
        ),
        pytest.param("tools/tools", None, "tools.yml: tools is null, not a mapping of rows.", id="section-is-null"),
        pytest.param(
            "pypi/packages/torch",
            GONE,
            "pypi.yml: packages lacks torch; write it anew with scripts/refresh_catalogue.py.",
            id="no-torch",
        ),
        # Rows by themselves
        pytest.param(
            "cuda/releases/13.0/source", GONE, "cuda.yml: releases: 13.0 lacks source; add it: text.", id="source"
        ),
        pytest.param(
            "pypi/packages/triton/3.5.1/source",
            "",
            "pypi.yml: packages: triton: 3.5.1: source is ''; it must be text.",
            id="empty-source",
        ),
        pytest.param(
            "cuda/releases/13.0/driver",
            GONE,
            f"cuda.yml: releases: 13.0 lacks driver; add it: {VERSION} or null.",
            id="field",
        ),
        pytest.param(
            "cuda/releases/13.0/least_driver",
            580,
            f"cuda.yml: releases: 13.0: least_driver is 580; it must be {VERSION}.",
            id="version-is-a-number",
        ),
        pytest.param(
            "cuda/releases/13.0/gcc",
            {"least": 6},
            f"cuda.yml: releases: 13.0: gcc is {{'least': 6}}; it must be {NUMBERS}.",
            id="record-lacks-a-field",
        ),
        pytest.param(
            "cuda/releases/13.0/pypi",
            1,
            "cuda.yml: releases: 13.0: pypi is 1; it must be true or false.",
            id="number-for-a-boolean",
        ),
        pytest.param(
            "drivers/compat/13.0/size_mib",
            True,
            "drivers.yml: compat: 13.0: size_mib is true; it must be a whole number.",
            id="boolean-for-a-number",
        ),
        pytest.param(
            "drivers/branches/580/lst",
            True,
            "drivers.yml: branches: 580 has lst, which no row there has; correct its name or remove it.",
            id="misspelt-field",
        ),
        pytest.param(
            "drivers/branches/R580",
            ROW,
            "drivers.yml: branches: the key R580 must be digits in quotes.",
            id="malformed-key",
        ),
        pytest.param(
            "cuda/releases/12.6/confidence",
            "D",
            "cuda.yml: releases: 12.6: confidence is 'D'; it must be one of A, B, C.",
            id="confidence",
        ),
        pytest.param(
            "pytorch/indexes/cu126/side",
            "yes",
            "pytorch.yml: indexes: cu126: side is 'yes'; it must be true or false.",
            id="side",
        ),
        pytest.param(
            "pytorch/releases/2.9.1/pythons",
            ["3.10", 3.11],
            f"pytorch.yml: releases: 2.9.1: pythons is ['3.10', 3.11]; it must be a list, each {RELEASE}.",
            id="list-with-a-number",
        ),
        pytest.param(
            "pypi/packages/torch/2.9.1/requires",
            {"triton": "3.5.1"},
            f"pypi.yml: packages: torch: 2.9.1: requires is {{'triton': '3.5.1'}}; it must be {REQUIREMENTS}.",
            id="specifier",
        ),
        # Errors and settings
        pytest.param(
            "drivers/errors/803/sure",
            GONE,
            "drivers.yml: errors: 803 lacks sure; add it: one of A, B, C.",
            id="an-error-of-unknown-certainty",
        ),
        pytest.param(
            "drivers/errors/803/remedy",
            "remove it",
            "drivers.yml: errors: 803: remedy is 'remove it'; it must be whole sentences.",
            id="half-a-sentence",
        ),
        pytest.param(
            "drivers/errors/34/causes",
            [{"when": {"colour": ["red"]}}],
            "drivers.yml: errors: 34: causes is [{'when': {'colour': ['red']}}]; it must be"
            " a list, each a cause with when, cause, tell, remedy, sure and source.",
            id="a-cause-without-its-parts",
        ),
        pytest.param(
            "settings/variables/PYTORCH_ALLOC_CONF/unless_platform",
            {"true": [{"kinds": ["windows"], "because": "it breaks", "source": "https://x.org/"}]},
            "settings.yml: variables: PYTORCH_ALLOC_CONF: unless_platform is {'true': [{'kinds': ['windows'],"
            " 'because': 'it breaks', 'source': 'https://x.org/'}]}; it must be a mapping, each key one of true,"
            " false, lazy, eager, version, warn, info, each value a list, each a mapping of kinds (a list, each one of"
            " bare_metal, vm, container, wsl2, vgpu, tegra), because (text), source (an address, or several).",
            id="a-kind-of-host-that-is-none",
        ),
        # What rows say of each other
        pytest.param(
            "settings/assemblers/3.9/ptxas",
            "12.7",
            f"settings.yml: assemblers: 3.9: ptxas is 12.7, which cuda.yml releases lacks; {ADD}",
            id="ptxas-of-no-release",
        ),
        pytest.param(
            "drivers/errors/34/words",
            ["system not yet initialized"],
            "drivers.yml: errors: 802: system not yet initialized is what 34 is called as well; keep it in one row.",
            id="words-of-two-errors",
        ),
        pytest.param(
            "drivers/errors/34/source",
            "seen once",
            "drivers.yml: errors: 34: source is 'seen once'; it must be an address, or several.",
            id="an-error-without-an-address",
        ),
        pytest.param(
            "settings/variables/PYTORCH_ALLOC_CONF/unless_platform",
            {"lazy": [{"kinds": ["wsl2"], "because": "it breaks", "source": "https://x.org/"}]},
            "settings.yml: variables: PYTORCH_ALLOC_CONF: unless_platform has lazy, which values has not; correct"
            " one of them.",
            id="a-value-that-is-never-set",
        ),
        pytest.param(
            "drivers/compat/13.0/brands",
            [14, 99],
            f"drivers.yml: compat: 13.0: a brand is 99, which gpus.yml brands lacks; {ADD}",
            id="brand",
        ),
        pytest.param(
            "drivers/compat/13.0/note_branches",
            [535, 571],
            f"drivers.yml: compat: 13.0: a branch is 571, which drivers.yml branches lacks; {ADD}",
            id="branch",
        ),
        pytest.param(
            "drivers/compat/13.0/package",
            "cuda-compat-13-1",
            "drivers.yml: compat: 13.0: package is cuda-compat-13-1; that of this release is cuda-compat-13-0.",
            id="compat-package",
        ),
        pytest.param(
            "drivers/compat/13.0/branch",
            590,
            f"drivers.yml: compat: 13.0: version is 580.95.05, which is not of branch 590; {ONE}",
            id="compat-branch",
        ),
        pytest.param(
            "cuda/releases/13.0/driver",
            "570.26",
            f"cuda.yml: releases: 13.0: driver is 570.26, whose branch 570 is of CUDA 12.8; {ONE}",
            id="driver-of-another-release",
        ),
        pytest.param(
            "cuda/releases/13.4/driver",
            "616",
            f"cuda.yml: releases: 13.4: driver is 616, whose branch drivers.yml branches lacks; {ADD}",
            id="driver-of-no-branch",
        ),
        pytest.param(
            "cuda/releases/12.8/gpu_code",
            [50, 52, 53, 60, 61, 62, 70, 72, 75, 80, 86, 87, 89, 90, 100, 101],
            f"cuda.yml: releases: 12.8: gpu_code lacks 12.0, but gpus.yml says 12.8 to the newest compile it; {ONE}",
            id="code-lost",
        ),
        pytest.param(
            "gpus/capabilities/10.3/first_cuda",
            "13.0",
            f"cuda.yml: releases: 12.9: gpu_code has 10.3, but gpus.yml says 13.0 to the newest compile it; {ONE}",
            id="code-too-early",
        ),
        pytest.param(
            "cuda/releases/12.9/pypi",
            True,
            "cuda.yml: releases: 12.9: pypi is true, and pypi.yml has no such cuda-toolkit; refresh it.",
            id="no-compiler-on-pypi",
        ),
        pytest.param(
            "cuda/repositories/debian12/first_cuda",
            "12.7",
            f"cuda.yml: repositories: debian12: first_cuda is 12.7, which cuda.yml releases lacks; {ADD}",
            id="repository",
        ),
        pytest.param(
            "gpus/models/NVIDIA H200/compute_capability",
            "9.9",
            f"gpus.yml: models: NVIDIA H200: compute_capability is 9.9, which gpus.yml capabilities lacks; {ADD}",
            id="capability",
        ),
        pytest.param(
            "gpus/capabilities/9.0/last_branch",
            581,
            f"gpus.yml: capabilities: 9.0: last_branch is 581, which drivers.yml branches lacks; {ADD}",
            id="last-branch",
        ),
        pytest.param(
            "pytorch/indexes/cu129/cuda",
            "12.8",
            f"pytorch.yml: indexes: cu129: cuda is 12.8, whose index is cu128; {ONE}",
            id="index-of-another-cuda",
        ),
        pytest.param(
            "pytorch/sizes/cu129",
            GONE,
            f"pytorch.yml: an index without its size is cu129, which pytorch.yml sizes lacks; {ADD}",
            id="size",
        ),
        pytest.param(
            "pytorch/releases/2.15.0",
            GONE,
            "pypi.yml has torch 2.15.0, which pytorch.yml lacks; add its row to the releases there.",
            id="new-torch",
        ),
        pytest.param(
            "pytorch/releases/2.15.0/pythons",
            ["3.11"],
            "pytorch.yml: releases: 2.15.0: pythons is 3.11; the wheels on PyPI are for 3.11, 3.12, 3.13, 3.14, 3.15.",
            id="pythons",
        ),
        pytest.param(
            "pytorch/releases/2.15.0/indexes",
            {"cpu": {}},
            "pytorch.yml: releases: 2.15.0: no index is of CUDA 13.2, for which the wheel on PyPI is built; add it.",
            id="default-index",
        ),
        pytest.param(
            "pytorch/releases/2.15.0/indexes/cu134",
            {},
            f"pytorch.yml: releases: 2.15.0: an index is cu134, which pytorch.yml indexes lacks; {ADD}",
            id="index",
        ),
        pytest.param(
            "pytorch/releases/2.15.0/indexes/cpu",
            {"x86_64": {"linux": ["sm_95"], "ptx": []}},
            f"pytorch.yml: releases: 2.15.0: cpu: a target is 9.5, which gpus.yml capabilities lacks; {ADD}",
            id="target",
        ),
        # What is compiled
        pytest.param(
            "source/features/USE_NCCL/does",
            GONE,
            "source.yml: features: USE_NCCL lacks does; add it: text.",
            id="switch-without-words",
        ),
        pytest.param(
            "source/unreal/USE_NCCL",
            {"because": "it is none", **ROW},
            "source.yml: USE_NCCL is both a switch and none; remove one of the rows.",
            id="switch-and-none",
        ),
        pytest.param(
            "source/packages/flash-attn/components",
            ["cudnn"],
            f"source.yml: packages: flash-attn: a component is cudnn, which cuda.yml components lacks; {ADD}",
            id="component-of-a-build",
        ),
        pytest.param(
            "source/packages/flash-attn/url",
            "https://m.example/f.git",
            "source.yml: packages: flash-attn: url is 'https://m.example/f.git' and kind pypi; pypi alone has none.",
            id="address-of-an-sdist",
        ),
        pytest.param(
            "source/packages/gsplat/releases",
            {},
            "source.yml: packages: gsplat: a package without releases is gsplat, which extensions.yml packages lacks; "
            + ADD,
            id="package-without-releases",
        ),
        pytest.param(
            "source/layouts/nvidia-nccl/switch",
            "USE_NCLC",
            f"source.yml: layouts: nvidia-nccl: switch is USE_NCLC, which source.yml features lacks; {ADD}",
            id="switch-of-a-library",
        ),
        pytest.param(
            "source/times/torch-8-1/package",
            "tourch",
            f"source.yml: times: torch-8-1: package is tourch, which source.yml packages lacks; {ADD}",
            id="time-of-nothing",
        ),
        pytest.param(
            "pypi/packages/vllm",
            GONE,
            f"extensions.yml: a package is vllm, which pypi.yml packages lacks; {ADD}",
            id="extension",
        ),
        pytest.param(
            "devices/devices/NVIDIA H200/gb_per_s/memory",
            0,
            "devices.yml: devices: NVIDIA H200: gb_per_s is {'memory': 0, 'nvlink': 450, 'pcie': 64}; it must be a "
            "mapping of memory (a number above zero), nvlink (a number above zero or null), "
            "pcie (a number above zero).",
            id="peak",
        ),
        pytest.param(
            "devices/floors/memory~1copy/of_peak",
            70,
            "devices.yml: floors: memory/copy: of_peak is 70; it must be a share between 0 and 1.",
            id="floor-in-percent",
        ),
        pytest.param(
            "benchmarks/references/H200/device",
            "H200",
            f"benchmarks.yml: references: H200: device is H200, which devices.yml devices lacks; {ADD}",
            id="reference-of-no-device",
        ),
        pytest.param(
            "benchmarks/references/H100/results",
            {"gemm/*": 1},
            "benchmarks.yml: references: H100: gemm/* stands for several cases; write one row for each.",
            id="reference-of-several-cases",
        ),
        pytest.param(
            "extensions/packages/vllm/variants/0/cuda",
            "12.9",
            "extensions.yml: packages: vllm: variants: cu130: cuda is 12.9, whose name is another; "
            "correct one of them.",
            id="variant-of-another-cuda",
        ),
        pytest.param(
            "extensions/packages/vllm/variants/0/first",
            "0.13.0",
            "extensions.yml: packages: vllm: variants: cu130: first is 0.13.0, which is newer than last, 0.12.0.",
            id="variant-that-ends-first",
        ),
        pytest.param(
            "extensions/alternatives/cupy/packages/13",
            "cupy-cuda14x",
            "extensions.yml: alternatives: cupy: a package is cupy-cuda14x, "
            f"which extensions.yml packages lacks; {ADD}",
            id="alternative-of-no-row",
        ),
        pytest.param(
            "pytorch/releases/2.6.0/glibc_of/aarch64",
            "2.17",
            "pytorch.yml: releases: 2.6.0: glibc is 2.17 for aarch64; the wheels on PyPI need 2.28.",
            id="glibc-of-the-wheels",
        ),
        pytest.param(
            "tools/tools/uv/version",
            "0.1.0",
            f"tools.yml: tools: uv: version is 0.1.0, which pypi.yml uv lacks; {ADD}",
            id="tool",
        ),
        pytest.param(
            "cutlass/releases/4.3.0/pypi",
            "4.3.0.0",
            f"cutlass.yml: releases: 4.3.0: pypi is 4.3.0.0, which pypi.yml nvidia-cutlass lacks; {ADD}",
            id="headers",
        ),
        pytest.param(
            "cutlass/releases/4.3.0/tag",
            "v4.3.1",
            "cutlass.yml: releases: 4.3.0: tag is v4.3.1; that of this release is v4.3.0.",
            id="tag",
        ),
    ],
)
def test_damage_is_told(path: str, value: object, sentence: str, known: Catalogue) -> None:
    assert validate(damaged(known, path, value)) == [sentence]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"ptxas": "12.9", "newer": {"from": "9.0", "ptxas": "13.4", "variable": "X"}}, None),
        ({"ptxas": "12.9", "newer": {"from": "10.0", "ptxas": "13.4", "variable": "X"}}, "'blackwell_from': '10.0'"),
        ({"ptxas": "12.8", "newer": None}, "settings.yml: assemblers: of triton 3.9.0 it says {'legacy': '12.8'"),
    ],
)
def test_the_ptxas_of_a_triton_is_held_against_its_wheel(row: Any, words: str | None, known: Catalogue) -> None:
    changed = {**known, "settings": {**known["settings"], "assemblers": {"3.9": row}}}
    told = list(check_assemblers(changed))
    assert len(told) == (words is not None)
    assert words is None or words in told[0]


def test_an_unquoted_key_is_refused(known: Catalogue) -> None:
    for text, told in (("580: {}", '580 is not quoted; write "580"'), ("13.0: {}", '13.0 is not quoted; write "13.0"')):
        rows = {**known["drivers"]["branches"], **yaml.safe_load(text)}
        assert validate(damaged(known, "drivers/branches", rows)) == [f"drivers.yml: branches: the key {told}."]


def test_a_component_needs_its_extra_in_every_toolkit(known: Catalogue) -> None:
    toolkits = [name for name in known["pypi"]["packages"]["cuda-toolkit"] if name.startswith("13.")]
    told = validate(damaged(known, "cuda/components/compiler/pypi", ["nvcc", "cudart", "ccl"]))
    assert told == [
        f"cuda.yml: components: compiler: an extra is ccl, which pypi.yml cuda-toolkit {toolkit} lacks; {ADD}"
        for toolkit in sorted(toolkits)
    ]


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        pytest.param(
            "settings/variables/CUDA_MODULE_LOADING/what/lazy",
            GONE,
            "settings.yml: variables: CUDA_MODULE_LOADING: values are for lazy, eager, what is said of eager; "
            "say what each value does.",
            id="untold",
        ),
        pytest.param(
            "settings/variables/CUDA_MODULE_LOADING/setting",
            "tf32",
            "settings.yml: variables: CUDA_MODULE_LOADING: tf32 is never lazy; its wishes are false, true.",
            id="never-wished",
        ),
        pytest.param(
            "settings/variables/PYTORCH_ALLOC_CONF/unless",
            ["PYTORCH_HIP_ALLOC_CONF"],
            "settings.yml: variables: PYTORCH_ALLOC_CONF: unless is PYTORCH_HIP_ALLOC_CONF, "
            f"which settings.yml variables lacks; {ADD}",
            id="unless",
        ),
        pytest.param(
            "settings/programs",
            {},
            "settings.yml switches cudnn_benchmark by nothing; add a row to its variables or programs.",
            id="without-a-switch",
        ),
    ],
)
def test_what_the_settings_say_of_each_other(path: str, value: object, sentence: str, known: Catalogue) -> None:
    assert sentence in validate(damaged(known, path, value))


CAUSE = {"when": {}, "cause": "X.", "tell": "Then x.", "remedy": "Do.", "sure": "A", "source": "https://x.org/"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        pytest.param({}, None, id="sound"),
        pytest.param({"when": {"kind": ["vm", None]}, "decides": True}, None, id="decides"),
        pytest.param(
            {"decides": True}, "'X.' decides without being sure (A) or without a condition.", id="decides-by-nothing"
        ),
        pytest.param(
            {"when": {"kind": ["vm"]}, "decides": True, "sure": "C"},
            "'X.' decides without being sure (A) or without a condition.",
            id="decides-by-a-guess",
        ),
        pytest.param(
            {"tell": "See x."}, "tell is 'See x.'; it says how a cause shows and begins with Then.", id="tells-nothing"
        ),
        pytest.param({"when": {"kind": ["pod"]}}, "it must be a list, each a cause with", id="a-kind-that-is-none"),
        pytest.param({"when": {"place": ["vm"]}}, "it must be a list, each a cause with", id="a-key-that-is-none"),
        pytest.param({"when": {"kind": []}}, "it must be a list, each a cause with", id="allows-nothing"),
        pytest.param({"cause": "no sentence"}, "it must be a list, each a cause with", id="no-sentence"),
        pytest.param({"source": "a friend"}, "it must be a list, each a cause with", id="no-address"),
        pytest.param({"because": "y"}, "it must be a list, each a cause with", id="unknown-field"),
    ],
)
def test_a_cause_of_an_error(changes: dict[str, Any], sentence: str | None, known: Catalogue) -> None:
    """What is guessed must not be told as decided, and what is listed must say how it shows."""
    found = validate(damaged(known, "drivers/errors/34/causes", [CAUSE | changes, CAUSE]))
    assert [text for text in found if (sentence or "34") not in text] == []
    assert bool(found) is bool(sentence)


def test_one_cause_alone_is_no_list(known: Catalogue) -> None:
    assert validate(damaged(known, "drivers/errors/34/causes", [CAUSE])) == [
        "drivers.yml: errors: 34: causes has one row; say it as the cause, or add what else it may be."
    ]


# --- NVIDIA's tables ---


@pytest.mark.parametrize(
    ("branch", "cuda"),
    [
        ("450", "11.0"),
        ("470", "11.4"),
        ("495", "11.5"),
        ("510", "11.6"),
        ("515", "11.7"),
        ("520", "11.8"),
        ("525", "12.0"),
        ("530", "12.1"),
        ("535", "12.2"),
        ("545", "12.3"),
        ("550", "12.4"),
        ("555", "12.5"),
        ("560", "12.6"),
        ("565", "12.7"),
        ("570", "12.8"),
        ("575", "12.9"),
        ("580", "13.0"),
        ("590", "13.1"),
        ("595", "13.2"),
        ("610", "13.3"),
        ("615", "13.4"),
    ],
)
def test_the_cuda_of_a_driver_branch(branch: str, cuda: str, known: Catalogue) -> None:
    assert known["drivers"]["branches"][branch]["cuda"] == cuda


def test_no_driver_branch_beyond_the_table(known: Catalogue) -> None:
    assert len(known["drivers"]["branches"]) == 21
    assert "12.7" not in known["cuda"]["releases"]


@pytest.mark.parametrize(
    ("release", "drivers", "windows"),
    [
        ("11.8", "520.61.05", "520.06"),
        ("12.0", "525.60.13 525.85.12", "527.41"),
        ("12.1", "530.30.02 530.30.02", "531.14"),
        ("12.2", "535.54.03 535.86.09 535.104.05", "536.25"),
        ("12.3", "545.23.06 545.23.08", "545.84"),
        ("12.4", "550.54.14 550.54.15", "551.61"),
        ("12.5", "555.42.02 555.42.06", "555.85"),
        ("12.6", "560.28.03 560.35.03 560.35.03 560.35.05", "560.76"),
        ("12.8", "570.26 570.124.06", "570.65"),
        ("12.9", "575.51.03 575.57.08", "576.02"),
        ("13.0", "580.65.06 580.82.07 580.95.05", None),
        ("13.1", "590.44.01 590.48.01", None),
        ("13.2", "595.45.04 595.58.03 595.71.05", None),
        ("13.3", "610.43.02 610.43.02", None),
        ("13.4", "615", None),
    ],
)
def test_the_drivers_of_a_release(release: str, drivers: str, windows: str | None, known: Catalogue) -> None:
    row = known["cuda"]["releases"][release]
    assert " ".join([row["driver"], *row["updates"]]) == drivers
    assert row["driver_windows"] == windows


@pytest.mark.parametrize(
    ("major", "linux", "windows"),
    [("11", "450.80.02", "452.39"), ("12", "525.60.13", "528.33"), ("13", "580", "580")],
)
def test_the_least_driver_of_a_major(major: str, linux: str, windows: str, known: Catalogue) -> None:
    rows = [row for release, row in known["cuda"]["releases"].items() if release.startswith(f"{major}.")]
    assert {(row["least_driver"], row["least_driver_windows"]) for row in rows} == {(linux, windows)}


@pytest.mark.parametrize(
    ("release", "branches"),
    [
        ("12.9", [535, 550, 560, 565, 570, 575]),
        ("13.0", [535, 550, 565, 570, 575, 580]),
        ("13.1", [535, 550, 570, 575, 580, 590]),
        ("13.2", []),
        ("13.3", []),
        ("13.4", []),
    ],
)
def test_the_branches_in_a_compat_librarys_note(release: str, branches: list[int], known: Catalogue) -> None:
    assert known["drivers"]["compat"][release]["note_branches"] == branches


def test_forward_compatibility_is_for_no_geforce_and_no_titan(known: Catalogue) -> None:
    names = {key: row["name"] for key, row in known["gpus"]["brands"].items()}
    for row in known["drivers"]["compat"].values():
        assert row["brands"] == [1, 2, 7, 8, 9, 10, 11, 12, 13, 14]
    assert [names[brand] for brand in ("5", "6", "15", "16")] == ["geforce", "titan", "geforce_rtx", "titan_rtx"]


@pytest.mark.parametrize(
    ("release", "branches"),
    [
        ("12.2", []),
        ("12.3", [535]),
        ("12.6", [535]),
        ("12.8", [535]),
        ("12.9", [535, 570]),
        ("13.0", [535, 570]),
        ("13.1", [535, 570, 580]),
        ("13.2", [535, 570, 580, 590]),
        ("13.3", [535, 570, 580, 590, 595]),
        ("13.4", [535, 570, 580, 590, 595, 610]),
    ],
)
def test_the_documented_branches_of_a_compat_package(release: str, branches: list[int], known: Catalogue) -> None:
    assert known["drivers"]["compat"][release]["documented_branches"] == branches


# --- PyTorch's tables ---

OLD = "50 60 70 75 80 86 90"
VOLTA = "70 75 80 86 90 100 120"
TURING = "75 80 86 90 100 120"
SERVER = "80 90 100 110 120"


@pytest.mark.parametrize(
    ("torch", "index", "arch", "code", "ptx"),
    [
        ("2.6.0", "cu118", "x86_64", OLD, ""),
        ("2.6.0", "cu124", "x86_64", OLD, ""),
        ("2.6.0", "cu126", "x86_64", OLD, ""),
        ("2.7.1", "cu128", "x86_64", TURING, "120"),
        ("2.7.1", "cu128", "aarch64", "90 100 120", ""),
        ("2.8.0", "cu126", "x86_64", OLD, ""),
        ("2.8.0", "cu128", "x86_64", VOLTA, ""),
        ("2.8.0", "cu129", "x86_64", VOLTA, "120"),
        ("2.9.1", "cu126", "aarch64", "80 90", ""),
        ("2.9.1", "cu128", "x86_64", VOLTA, ""),
        ("2.9.1", "cu129", "x86_64", VOLTA, "120"),
        ("2.9.1", "cu130", "x86_64", TURING, "120"),
        ("2.9.1", "cu130", "aarch64", SERVER, "120"),
        ("2.10.0", "cu128", "x86_64", VOLTA, ""),
        ("2.11.0", "cu128", "x86_64", TURING, ""),
        ("2.11.0", "cu129", "x86_64", TURING, "120"),
        ("2.12.1", "cu126", "x86_64", OLD, ""),
        ("2.10.0", "cu130", "x86_64", TURING, "120"),
        ("2.11.0", "cu130", "x86_64", TURING, ""),
        ("2.13.0", "cu129", "x86_64", TURING, "120"),
        ("2.13.0", "cu130", "aarch64", SERVER, ""),
        ("2.13.0", "cu132", "x86_64", TURING, ""),
        ("2.14.1", "cu126", "x86_64", OLD, ""),
        ("2.14.1", "cu130", "x86_64", TURING, ""),
        ("2.14.1", "cu132", "aarch64", SERVER, ""),
        ("2.15.0", "cu132", "x86_64", TURING, ""),
    ],
)
def test_the_machine_code_of_a_wheel(torch: str, index: str, arch: str, code: str, ptx: str, known: Catalogue) -> None:
    build = known["pytorch"]["releases"][torch]["indexes"][index][arch]
    assert " ".join(target.removeprefix("sm_") for target in build["linux"]) == code
    assert " ".join(target.removeprefix("compute_") for target in build["ptx"]) == ptx


@pytest.mark.parametrize(
    ("torch", "indexes", "default", "triton", "torchvision", "torchaudio"),
    [
        ("2.6.0", "cu118 cu124 cu126", "12.4", "3.2.0", "0.21.0", "2.6.0"),
        ("2.7.0", "cu118 cu126 cu128", "12.6", "3.3.0", "0.22.0", "2.7.0"),
        ("2.7.1", "cu118 cu126 cu128", "12.6", "3.3.1", "0.22.1", "2.7.1"),
        ("2.8.0", "cu126 cu128 cu129", "12.8", "3.4.0", "0.23.0", "2.8.0"),
        ("2.9.0", "cu126 cu128 cu129 cu130", "12.8", "3.5.0", "0.24.0", "2.9.0"),
        ("2.9.1", "cu126 cu128 cu129 cu130", "12.8", "3.5.1", "0.24.1", "2.9.1"),
        ("2.10.0", "cu126 cu128 cu129 cu130", "12.8", "3.6.0", "0.25.0", "2.10.0"),
        ("2.11.0", "cu126 cu128 cu129 cu130", "13.0", "3.6.0", "0.26.0", "2.11.1"),
        ("2.12.0", "cu126 cu130 cu132", "13.0", "3.7.0", "0.27.0", "2.11.1"),
        ("2.12.1", "cu126 cu129 cu130 cu132", "13.0", "3.7.1", "0.27.1", "2.11.1"),
        ("2.13.0", "cu126 cu129 cu130 cu132", "13.0", "3.7.1", "0.28.0", "2.11.1"),
        ("2.14.1", "cu126 cu130 cu132", "13.0", "3.8.0", "0.29.2", "2.11.1"),
        ("2.15.0", "cu130 cu132", "13.2", "3.9.0", "0.29.2", "2.11.1"),
    ],
)
def test_what_goes_with_a_torch(
    torch: str,
    indexes: str,
    default: str,
    triton: str,
    torchvision: str,
    torchaudio: str,
    known: Catalogue,
    host: Any,
    decide: Any,
) -> None:
    assert " ".join(sorted(known["pytorch"]["releases"][torch]["indexes"])) == f"cpu {indexes}"
    assert known["pypi"]["packages"]["torch"][torch]["cuda"] == default
    wished = ["triton", "torchvision", "torchaudio"]
    chosen = decide(host(), cuda=default, pytorch=torch, extensions=wished)["extensions"]
    assert [chosen[name].get("version") for name in wished] == [triton, torchvision, torchaudio]


@pytest.mark.parametrize(
    ("version", "compiler"),
    [("13.0.0", "13.0.48"), ("13.0.1", "13.0.88"), ("13.0.2", "13.0.88"), ("13.0.3", "13.0.88")],
)
def test_the_compiler_of_a_toolkit_from_pypi(version: str, compiler: str, known: Catalogue) -> None:
    assert known["pypi"]["packages"]["cuda-toolkit"][version]["extras"]["nvcc"]["nvidia-cuda-nvcc"] == compiler


def test_what_names_a_pod_also_has_words_for_a_machine_of_ones_own(known: Catalogue) -> None:
    rows = [row for section in known["health"].values() for row in section.values()]
    named = [row for row in rows if re.search(r"\bpods?\b", str(row["remedy"]))]
    assert len(named) > 40
    assert [row for row in named if re.search(r"\bpods?\b", str(row.get("remedy_own", "pod")))] == []
