"""A table for each rule."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import rules
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import Host, level, read_host
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.rules import Compat
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import Overrides

NOTE = {"version": "580.95.05", "branches": [535, 550, 570], "brands": [2, 14]}
ROW = {
    "package": "cuda-compat-13-0",
    "branch": 580,
    "version": "580.95.05",
    "documented_branches": [535, 570],
    "note_branches": [535, 550, 565, 570, 575, 580],
    "brands": [1, 2, 14],
}

# rule → rows of: host, further arguments, words of the answer or None
TABLES: dict[str, list[tuple[dict[str, Any], tuple[Any, ...], str | None]]] = {
    "driver_floor": [
        ({"driver": "580.65.06"}, ("13.0",), None),
        ({"driver": "575.57.08"}, ("13.0",), "driver 575.57.08 is older than 580, which CUDA 13 needs"),
        ({"driver": "525.60.13"}, ("12.9",), None),
        ({"driver": "525.60.11"}, ("12.9",), "older than 525.60.13"),
        ({"driver": "450.80.02"}, ("11.8",), None),
        ({"driver": "450.51.06"}, ("11.8",), "older than 450.80.02"),
        ({"driver": "528.33", "kind": "wsl2"}, ("12.6",), None),
        ({"driver": "527.41", "kind": "wsl2"}, ("12.6",), "Windows driver 527.41 is older than 528.33"),
        ({"driver": None}, ("13.0",), None),
    ],
    "native": [
        ({"driver": "580.65.06"}, ("13.0",), "has CUDA 13.0 itself"),
        ({"driver": "580.65.06"}, ("12.6",), "enough for CUDA 12.6"),
        ({"driver": "580.65.06"}, ("13.2",), None),
        ({"driver": "615.71.09"}, ("13.4",), "has CUDA 13.4"),
        ({"driver": "999.10"}, ("13.4",), "has CUDA 13.4"),
        ({"driver": "570.26"}, ("12.8",), "has CUDA 12.8"),
        ({"driver": "566.36", "kind": "wsl2"}, ("12.8",), None),
        ({"driver": "581.42", "kind": "wsl2"}, ("13.0",), "Windows driver 581.42 has CUDA 13.0 itself"),
        ({"driver": None}, ("13.0",), None),
    ],
    "minor_version": [
        ({"driver": "580.65.06"}, ("13.2",), "driver 580.65.06 is at least 580"),
        ({"driver": "580.65.06"}, ("13.0",), None),
        ({"driver": "535.183.01"}, ("12.9",), "at least 525.60.13"),
        ({"driver": "525.60.11"}, ("12.9",), None),
        ({"driver": "570.26"}, ("13.0",), None),
        ({"driver": "470.256.02"}, ("11.8",), "at least 450.80.02"),
        ({"driver": "566.36", "kind": "wsl2"}, ("12.8",), "Windows driver 566.36 is at least 528.33"),
    ],
    "driver_unknown": [
        ({"driver": None}, ("13.0",), "the proof decides"),
        ({"driver": "580.65.06"}, ("13.0",), None),
    ],
    "gpu_floor": [
        ({"gpu": "B200", "driver": "570.133.20"}, (), None),
        ({"gpu": "B200", "driver": "570.124.06"}, (), "needs driver 570.133.20; found 570.124.06"),
        ({"gpu": "RTX5090", "driver": "570.26"}, (), None),
        ({"gpu": "RTX5090", "driver": "570.2"}, (), "needs driver 570.26"),
        ({"gpu": "RTX5090", "driver": "570.65", "kind": "wsl2"}, (), None),
        ({"gpu": "RTX5090", "driver": "566.36", "kind": "wsl2"}, (), "needs Windows driver 570.65"),
        ({"gpu": "H100", "driver": "515.105.01"}, (), "(Hopper) needs driver 520.61.05"),
        ({"gpu": "A100", "driver": "450.80.02"}, (), None),
    ],
    "gpu_dropped": [
        ({"gpu": "V100", "driver": "580.95.05"}, (), None),
        ({"gpu": "V100", "driver": "590.44.01"}, (), "driver branch 580 is the last for Volta"),
        ({"gpu": "K80", "driver": "535.183.01"}, (), "driver branch 470 is the last for Kepler"),
        ({"gpu": "T4", "driver": "615.71.09"}, (), None),
    ],
    "compat_platform": [
        ({}, (ROW, None), None),
        ({"kind": "container"}, (ROW, None), None),
        ({"kind": "wsl2"}, (ROW, None), "WSL2 has no forward compatibility"),
    ],
    "compat_brand": [
        ({"gpu": "H100"}, (ROW, None), None),
        ({"gpu": "A6000"}, (ROW, None), "NVIDIA RTX A6000 is of a brand without"),
        ({"gpu": "V100"}, (ROW, NOTE), None),
        ({"gpu": "RTX4090"}, (ROW, None), "error 804"),
        ({"gpu": "RTX4090", "brand": 14}, (ROW, None), "error 804"),
        ({"gpu": None}, (ROW, None), "the GPU is unknown"),
        ({"gpu": "unheard of"}, (ROW, None), "the brand of unheard of is unknown"),
    ],
    "compat_branch": [
        ({"driver": "570.133.20"}, (ROW, None), None),
        ({"driver": "550.163.01"}, (ROW, None), None),
        ({"driver": "525.147.05"}, (ROW, None), "lists branches 535, 550, 565, 570, 575, not 525"),
        ({"driver": "580.65.06"}, (ROW, None), "not 580"),
        ({"driver": "575.57.08"}, (ROW, NOTE), "lists branches 535, 550, 570, not 575"),
        ({"driver": None}, (ROW, None), "branch is unknown"),
    ],
    "compat_newer": [
        ({"driver": "570.133.20"}, (ROW, None), None),
        (
            {"driver": "580.159.04"},
            (ROW, None),
            "cuda-compat-13-0 580.95.05 is not newer than driver 580.159.04 (error 803)",
        ),
        ({"driver": "580.95.05"}, (ROW, None), "not newer"),
        ({"driver": "570.133.20"}, (ROW, NOTE | {"version": "570.86.10"}), "570.86.10 is not newer"),
    ],
    "compat_refused": [
        ({}, (ROW, None), None),
        ({"refused": {"cuda-compat-13-0 580.95.05": 803}}, (ROW, NOTE), "tried here and refused with error 803"),
        ({"refused": {"cuda-compat-13-0 580.95.05": 804}}, (ROW, None), "refused with error 804"),
        ({"refused": {"cuda-compat-13-0 580.65.06": 804}}, (ROW, NOTE), None),
        ({"refused": {"cuda-compat-12-9 575.57.08": 804}}, (ROW, None), None),
    ],
    "machine_code": [
        ({"gpu": "H100"}, (("sm_80", "sm_90"),), None),
        ({"gpu": "B200"}, (("sm_80", "sm_90"),), "no machine code for NVIDIA B200 (sm_100); it has sm_80 sm_90"),
        ({"gpu": None}, (("sm_80",),), None),
    ],
    "forward_compat": [
        ({"driver": "570.133.20"}, ("13.0",), "documented"),
        ({"driver": "550.163.01"}, ("13.0",), "listed"),
        ({"gpu": "A6000", "driver": "570.133.20"}, ("13.0",), "probe"),
        ({"driver": "525.147.05"}, ("13.0",), "not 525"),
        ({"driver": "570.133.20"}, ("11.8",), "there is no forward-compatibility package for CUDA 11.8"),
    ],
    "standby": [
        ({"driver": "580.95.05"}, ("13.0",), "listed"),
        ({"driver": "570.133.20"}, ("13.0",), "documented"),
        ({"driver": "525.147.05"}, ("13.0",), "listed"),
        ({"gpu": "A6000", "driver": "610.43.02"}, ("13.0",), "probe"),
        ({"gpu": "RTX4090", "driver": "580.95.05"}, ("13.0",), "of a brand without forward compatibility (error 804)"),
        ({"gpu": "unheard of"}, ("13.0",), "the brand of unheard of is unknown"),
        ({"gpu": None}, ("13.0",), "the GPU is unknown"),
        ({"driver": "581.42", "kind": "wsl2"}, ("13.0",), "WSL2 has no forward compatibility"),
        ({"refused": {"cuda-compat-13-0 580.95.05": 804}}, ("13.0",), "refused with error 804"),
        ({"driver": "580.95.05"}, ("11.8",), "there is no forward-compatibility package for CUDA 11.8"),
    ],
}
ROWS = [
    pytest.param(name, setup, extra, told, id=f"{name}-{number}")
    for name, table in TABLES.items()
    for number, (setup, extra, told) in enumerate(table)
]


@pytest.fixture
def make(host: Any, known: Catalogue) -> Any:
    def call(
        gpu: str | None = "H100",
        driver: str | None = "570.133.20",
        kind: str = "bare_metal",
        brand: int = 0,
        refused: Any = None,
    ) -> Host:
        unheard = gpu == "unheard of"
        facts = host(
            None if unheard else gpu, driver, kind=kind, state={"refused_compat": refused} if refused else None
        )
        if unheard:
            facts["devices"] = [{"name": gpu}]
        if brand:
            facts["devices"][0]["brand_id"] = brand
        return read_host(facts, Overrides(), known)

    return call


@pytest.mark.parametrize(("name", "setup", "extra", "told"), ROWS)
def test_rule(name: str, setup: Any, extra: Any, told: str | None, make: Any, known: Catalogue) -> None:
    rule = getattr(rules, name)
    keywords = {"ptx": False, "known": known} if name == "machine_code" else {}
    knows = "known" in inspect.signature(rule).parameters and not keywords
    answer = rule(make(**setup), *extra, *((known,) if knows else ()), **keywords)
    text = answer.text if isinstance(answer, rules.Reason) else answer
    if isinstance(answer, Compat):
        text = answer.confidence
    if isinstance(answer, tuple):
        text = answer[0]
        assert answer[1].startswith(("Use a host with", "Update the Windows driver to"))
    assert (text is None) is (told is None), text
    assert told is None or told in text


def test_every_rule_has_a_table() -> None:
    found = {
        name
        for name, function in inspect.getmembers(rules, inspect.isfunction)
        if function.__module__ == rules.__name__
        and not name.startswith("_")
        and next(iter(inspect.signature(function).parameters), "") == "host"
    }
    assert found - {"floor", "usable_branches"} == set(TABLES)


@pytest.mark.parametrize(
    ("driver", "note", "wanted"),
    [
        ("580.95.05", None, (535, 550, 565, 570, 575, 580)),
        ("560.35.03", None, (535, 550, 565, 570, 575, 580)),
        ("560.35.03", [535, 560], (535, 550, 560, 565, 570, 575, 580)),
        ("570.26", [535, 570], (535, 550, 565, 570, 575, 580)),
    ],
)
def test_usable_branches(
    driver: str, note: list[int] | None, wanted: tuple[int, ...], host: Any, known: Catalogue
) -> None:
    """Those of the catalogue whatever is installed, so that installing changes no file of ours; and this host's own."""
    rows = [{"package": "cuda-compat-13-0", "cuda": "13.0", "branches": note}] if note else []
    observed = read_host(host(driver=driver, compat=rows), Overrides(), known)
    assert rules.usable_branches(observed, "13.0", known) == wanted


@pytest.mark.parametrize(
    ("archs", "capability", "ptx", "covered"),
    [
        (["sm_80"], "8.0", False, True),
        (["sm_86"], "8.9", False, True),
        (["sm_89"], "8.6", False, False),
        (["sm_90"], "10.0", False, False),
        (["sm_90"], "10.0", True, True),
        (["sm_120"], "10.0", True, False),
        (["sm_100"], "10.3", False, True),
        (["sm_100a"], "10.3", True, False),
        (["sm_100a"], "10.0", False, True),
        (["sm_120"], "12.1", False, True),
        (["sm_60"], "6.1", False, True),
        (["sm_86"], "8.7", False, False),
        (["sm_87"], "8.7", False, True),
        (["sm_87"], "8.9", False, False),
        (["sm_110"], "11.0", False, True),
        ([], "9.0", True, False),
    ],
)
def test_covers(archs: list[str], capability: str, ptx: bool, covered: bool, known: Catalogue) -> None:
    assert rules.covers(archs, capability, ptx=ptx, known=known) is covered


@pytest.mark.parametrize(
    ("driver", "cuda"),
    [
        ("450.80.02", "11.0"),
        ("525.60.13", "12.0"),
        ("530.30.02", "12.1"),
        ("565.57.01", "12.7"),
        ("579.10", "12.9"),
        ("580.159.04", "13.0"),
        ("616.1", "13.4"),
        ("440.33", None),
    ],
)
def test_level_of_a_driver(driver: str, cuda: str | None, known: Catalogue) -> None:
    assert level(driver, known) == cuda
