"""A table for each rule of the driver, the GPU and compiled code."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import rules
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import level
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Reason, Refusal

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
        ({"driver": "580.65.06"}, ("13.0",), "supports CUDA 13.0"),
        ({"driver": "580.65.06"}, ("12.6",), "enough for CUDA 12.6"),
        ({"driver": "580.65.06"}, ("13.2",), None),
        ({"driver": "615.71.09"}, ("13.4",), "supports CUDA 13.4"),
        ({"driver": "999.10"}, ("13.4",), "supports CUDA 13.4"),
        ({"driver": "570.26"}, ("12.8",), "supports CUDA 12.8"),
        ({"driver": "566.36", "kind": "wsl2"}, ("12.8",), None),
        ({"driver": "581.42", "kind": "wsl2"}, ("13.0",), "Windows driver 581.42 supports CUDA 13.0"),
        ({"driver": None}, ("13.0",), None),
    ],
    "minor_version": [
        ({"driver": "580.65.06"}, ("13.2",), "driver 580.65.06 is at least 580"),
        ({"driver": "580.65.06"}, ("13.0",), None),
        ({"driver": "535.183.01"}, ("12.9",), "at least 525.60.13"),
        ({"driver": "535.183.01"}, ("12.9",), "not for its PTX (error 222), nor for calls that need a newer driver"),
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
        ({"gpu": "H100", "driver": "520.56.06"}, (), "(Hopper) needs driver 520.61.05"),
        ({"gpu": "RTX4090", "driver": "520.56.06"}, (), None),
        ({"gpu": "RTX4090", "driver": "515.105.01"}, (), "(Ada) needs driver 520.56.06"),
        ({"gpu": "A100", "driver": "450.80.02"}, (), None),
    ],
    "gpu_dropped": [
        ({"gpu": "V100", "driver": "580.95.05"}, (), None),
        ({"gpu": "V100", "driver": "590.44.01"}, (), "driver branch 580 is the last for Volta"),
        ({"gpu": "K80", "driver": "535.183.01"}, (), "driver branch 470 is the last for Kepler"),
        ({"gpu": "T4", "driver": "615.71.09"}, (), None),
    ],
    "no_machine_code": [
        ({"gpu": "H100"}, (("sm_80", "sm_90"),), None),
        ({"gpu": "B200"}, (("sm_80", "sm_90"),), "no machine code for NVIDIA B200 (sm_100); it has sm_80 sm_90"),
        ({"gpu": None}, (("sm_80",),), None),
    ],
}
ROWS = [
    pytest.param(name, setup, extra, told, id=f"{name}-{number}")
    for name, table in TABLES.items()
    for number, (setup, extra, told) in enumerate(table)
]


@pytest.mark.parametrize(("name", "setup", "extra", "told"), ROWS)
def test_rule(name: str, setup: Any, extra: Any, told: str | None, gpu_case: Any) -> None:
    answer = getattr(rules, name)(gpu_case(**setup), *extra, **({"ptx": False} if name == "no_machine_code" else {}))
    if told is None:
        assert answer is None
    elif isinstance(answer, Reason):
        assert told in answer.text
        assert answer.source
    else:
        assert isinstance(answer, Refusal)
        assert told in answer.because
        if name.startswith("gpu_"):
            assert answer.remedy.startswith(("Use a host with", "Update the Windows driver to"))


def test_every_rule_has_a_table() -> None:
    found = {
        name
        for name, function in inspect.getmembers(rules, inspect.isfunction)
        if function.__module__ == rules.__name__
        and not name.startswith("_")
        and next(iter(inspect.signature(function).parameters), "") == "case"
    }
    assert found - {"floor"} == set(TABLES)


@pytest.mark.parametrize(
    ("archs", "capability", "ptx", "covered"),
    [
        (["sm_80"], "8.0", False, True),
        (["sm_86"], "8.9", False, True),
        (["sm_89"], "8.6", False, False),
        (["sm_90"], "10.0", False, False),
        (["sm_90"], "10.0", True, False),
        (["sm_90", "compute_90"], "10.0", True, True),
        (["sm_90", "compute_90"], "10.0", False, False),
        (["sm_90", "compute_120"], "8.9", True, False),
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


@pytest.mark.parametrize(("cuda", "covered"), [("12.6", False), ("13.0", False), ("13.2", True), (None, False)])
def test_code_for_discrete_gpus_on_orin(cuda: str | None, covered: bool, known: Catalogue) -> None:
    """The catalogue's number and the one that hosts know are compared in test_host_copies."""
    assert rules.covers(["sm_80", "sm_90"], "8.7", ptx=False, known=known, cuda=cuda) is covered
    assert not rules.covers(["sm_87"], "8.9", ptx=False, known=known, cuda=cuda)


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
