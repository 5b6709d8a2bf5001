"""A table for each rule of forward compatibility, and for what they make of a library."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import compat
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compat import Compat, Library
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal

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
    "not_on_windows_driver": [
        ({}, (ROW, None), None),
        ({"kind": "container"}, (ROW, None), None),
        ({"kind": "wsl2"}, (ROW, None), "WSL2 has no forward compatibility"),
    ],
    "unlisted_brand": [
        ({"gpu": "H100"}, (ROW, None), None),
        ({"gpu": "A6000"}, (ROW, None), "NVIDIA RTX A6000 is of a brand without"),
        ({"gpu": "V100"}, (ROW, NOTE), None),
        ({"gpu": "RTX4090"}, (ROW, None), "error 804"),
        ({"gpu": "RTX4090", "brand": 14}, (ROW, None), "error 804"),
        ({"gpu": None}, (ROW, None), "the GPU is unknown"),
        ({"gpu": "unheard of"}, (ROW, None), "the brand of unheard of is unknown"),
    ],
    "unlisted_branch": [
        ({"driver": "570.133.20"}, (ROW, None), None),
        ({"driver": "550.163.01"}, (ROW, None), None),
        ({"driver": "525.147.05"}, (ROW, None), "lists branches 535, 550, 565, 570, 575, not 525"),
        ({"driver": "580.65.06"}, (ROW, None), "not 580"),
        ({"driver": "575.57.08"}, (ROW, NOTE), "lists branches 535, 550, 570, not 575"),
        ({"driver": None}, (ROW, None), "branch is unknown"),
    ],
    "not_newer": [
        ({"driver": "570.133.20"}, (ROW, None), None),
        (
            {"driver": "580.159.04"},
            (ROW, None),
            "cuda-compat-13-0 580.95.05 is not newer than driver 580.159.04 (error 803)",
        ),
        ({"driver": "580.95.05"}, (ROW, None), "not newer"),
        ({"driver": "570.133.20"}, (ROW, NOTE | {"version": "570.86.10"}), "570.86.10 is not newer"),
    ],
    "refused_before": [
        ({}, (ROW, None), None),
        ({"refused": {"cuda-compat-13-0 580.95.05": 803}}, (ROW, NOTE), "tried here and refused with error 803"),
        ({"refused": {"cuda-compat-13-0 580.95.05": 804}}, (ROW, None), "refused with error 804"),
        ({"refused": {"cuda-compat-13-0 580.65.06": 804}}, (ROW, NOTE), None),
        ({"refused": {"cuda-compat-12-9 575.57.08": 804}}, (ROW, None), None),
    ],
    "refused_device": [
        ({}, (ROW, None), None),
        ({"refused": {"cuda-compat-12-9 575.57.08": 804}}, (ROW, None), "which is the GPU's answer to any"),
        ({"refused": {"cuda-compat-12-9 575.57.08": 803}}, (ROW, None), None),
        ({"refused": {"cuda-compat-13-0 580.65.06": 804}}, (ROW, NOTE), None),
    ],
    "forward_compat": [
        ({"driver": "570.133.20"}, ("13.0",), "documented"),
        ({"driver": "550.163.01"}, ("13.0",), "listed"),
        ({"gpu": "A6000", "driver": "570.133.20"}, ("13.0",), "probe"),
        ({"driver": "525.147.05"}, ("13.0",), "not 525"),
        ({"driver": "570.133.20"}, ("99.0",), "there is no forward-compatibility package for CUDA 99.0"),
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


@pytest.mark.parametrize(("name", "setup", "extra", "told"), ROWS)
def test_rule(name: str, setup: Any, extra: Any, told: str | None, gpu_case: Any) -> None:
    """A rule is asked of a library; what it makes of a release is asked of the release."""
    asked = extra if name in ("forward_compat", "standby") else (Library("13.0", *extra),)
    answer = getattr(compat, name)(gpu_case(**setup), *asked)
    if told is None:
        assert answer is None
    elif isinstance(answer, Compat):
        assert answer.confidence == told
    else:
        assert isinstance(answer, Refusal)
        assert told in answer.because


def test_every_rule_has_a_table() -> None:
    assert {rule.__name__ for rule in (*compat.RULES, *compat.STANDBY_RULES)} == set(TABLES) - {
        "forward_compat",
        "standby",
    }


@pytest.mark.parametrize(
    ("driver", "note", "wanted"),
    [
        ("580.95.05", None, (535, 550, 565, 570, 575, 580)),
        ("560.35.03", None, (535, 550, 565, 570, 575, 580)),
        ("560.35.03", [535, 560], (535, 550, 560, 565, 570, 575, 580)),
        ("570.26", [535, 570], (535, 550, 565, 570, 575, 580)),
    ],
)
def test_usable_branches(driver: str, note: list[int] | None, wanted: tuple[int, ...], host: Any, case: Any) -> None:
    """Those of the catalogue whatever is installed, so that installing changes no file of ours; and this host's own."""
    rows = [{"package": "cuda-compat-13-0", "cuda": "13.0", "branches": note}] if note else []
    assert compat.usable_branches(case(host(driver=driver, compat=rows)), "13.0") == wanted


# --- which of several libraries ---


def lying(*releases: str, **more: Any) -> list[dict[str, Any]]:
    """Compat libraries of the image; without a note of their own, as older ones are, unless ``more`` has it."""
    versions = {"12.9": "575.57.08", "13.0": "580.95.05", "13.1": "590.48.01", "13.4": "615.71.09", "13.7": "640.10"}
    return [
        {
            "package": f"cuda-compat-{release.replace('.', '-')}",
            "cuda": release,
            "version": versions[release],
            "path": f"/usr/local/cuda-{release}/compat",
            **more,
        }
        for release in releases
    ]


@pytest.mark.parametrize(
    ("driver", "cuda", "there", "package", "provider"),
    [
        pytest.param("570.133.20", "13.0", [], "cuda-compat-13-0", "apt", id="the-nearest"),
        pytest.param("570.133.20", "13.0", lying("13.1"), "cuda-compat-13-1", "adopt", id="a-newer-one-in-the-image"),
        pytest.param("570.133.20", "13.0", lying("13.4", "13.1"), "cuda-compat-13-1", "adopt", id="the-nearest-there"),
        pytest.param("570.133.20", "13.0", lying("12.9"), "cuda-compat-13-0", "apt", id="an-older-one-is-of-no-use"),
        pytest.param("565.57.01", "13.0", lying("13.1"), "cuda-compat-13-0", "apt", id="the-one-there-is-not-for-565"),
        pytest.param("550.163.01", "12.8", [], "cuda-compat-12-9", "apt", id="12.8-does-not-list-550"),
        pytest.param("560.35.03", "12.8", [], "cuda-compat-12-9", "apt", id="560-stands-in-one-note"),
        pytest.param("580.95.05", "13.2", [], "cuda-compat-13-2", "apt", id="inside-a-major"),
        pytest.param(
            "570.133.20", "13.0", lying("13.7", branches=[570], brands=[14]), "cuda-compat-13-7", "adopt", id="unknown"
        ),
        pytest.param("570.133.20", "13.0", lying("13.7"), "cuda-compat-13-0", "apt", id="unknown-and-without-a-note"),
    ],
)
def test_the_best_library(
    driver: str, cuda: str, there: Any, package: str, provider: str, host: Any, case: Any
) -> None:
    asked = case(host(driver=driver, compat=there))
    found = compat.forward_compat(asked, cuda)
    assert isinstance(found, Compat), found
    assert (found.package, "adopt" if found.installed else "apt") == (package, provider)
    decided = compat.provide_compat(asked, found, None)
    assert asked.host.branch in decided.branches, "the activation uses it under this driver"


def test_one_that_cannot_be_fetched_gives_way(host: Any, case: Any) -> None:
    """NVIDIA's repository for the system begins with a later CUDA than the nearest library's."""
    asked = case(host(driver="570.133.20", os="debian 13"))
    found = compat.forward_compat(asked, "12.9")
    assert isinstance(found, Compat)
    assert compat.find_repository(asked, found.cuda) == "debian13"


def test_what_fits_nowhere_names_them_all(host: Any, case: Any) -> None:
    refusal = compat.forward_compat(case(host(driver="525.147.05")), "13.0")
    assert isinstance(refusal, Refusal)
    assert refusal.because == (
        "cuda-compat-13-0 lists branches 535, 550, 565, 570, 575, not 525; of a newer CUDA cuda-compat-13-1, "
        "cuda-compat-13-2, cuda-compat-13-3, cuda-compat-13-4 do not fit either"
    )
    refusal = compat.forward_compat(case(host("RTX4090", "570.133.20")), "13.0")
    assert isinstance(refusal, Refusal)
    assert refusal.because == "NVIDIA GeForce RTX 4090 is of a brand without forward compatibility (error 804)"


def test_a_library_of_the_image_waits(host: Any, case: Any) -> None:
    """Standby takes what lies there of a newer CUDA rather than fetching another."""
    found = compat.standby(case(host(driver="580.95.05", compat=lying("13.1"))), "13.0")
    assert isinstance(found, Compat)
    assert (found.package, found.installed) == ("cuda-compat-13-1", True)
