"""What is worked out once is the same for whoever asks, and is not worked out again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import memo
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.extensions import Options

VLLM = {"cuda": "13.0", "extensions": ["xformers", "vllm"]}


@pytest.fixture(autouse=True)
def nothing() -> None:
    memo.forget()


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[Any, ...]]:
    """How often the releases of each package were held against each PyTorch and host."""
    counted: Counter[tuple[Any, ...]] = Counter()
    original = Options._fit

    def fit(self: Options, name: str, package: str) -> Iterable[Any]:
        counted[package, name in self.wished, self._place()] += 1
        return original(self, name, package)

    monkeypatch.setattr(Options, "_fit", fit)
    return counted


def test_ways_out_find_no_release_twice(host: Any, decide: Any, found: Counter[tuple[Any, ...]]) -> None:
    decision = decide(host(driver="525.147.05"), **VLLM)
    assert decision["ways_out"] != []
    assert {number for _key, number in found.items()} == {1}


def test_a_host_that_is_alike_finds_nothing_anew(host: Any, decide: Any, found: Counter[tuple[Any, ...]]) -> None:
    decide(host("H100", driver="525.147.05"), **VLLM)
    before = found.total()
    decide(host(["A100", "A100"], driver="525.147.05", root=False), **VLLM)
    assert found.total() == before > 0


def test_what_is_shared_halves_the_cost_of_ways_out(
    host: Any, decide: Any, count_calls: Callable[[Callable[[], object]], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each way out is a decision of its own, and shares with the others what depends on the catalogue alone."""
    old = host(driver="525.147.05")
    decide(old, **VLLM)  # what packaging says of versions is remembered from here on
    memo.forget()
    shared = count_calls(lambda: decide(old, **VLLM))
    monkeypatch.setattr(memo, "ENTRIES", 0)
    memo.forget()
    assert shared < 0.5 * count_calls(lambda: decide(old, **VLLM))


@pytest.mark.parametrize(
    "wish",
    [
        {},
        VLLM,
        {"pytorch": "2.9", "extensions": ["torchvision", "torchao"]},
        {"wheels": {"provider": "pypi"}, "extensions": ["torchvision"]},
        {"wheels": {"provider": "host_wheels"}, "extensions": ["torchvision"]},
        {"overrides": {"glibc": False}, "extensions": ["vllm"]},
        {"channel": "nightly", "extensions": ["torchvision"]},
        {"pytorch": "2.9.0", "cuda": "12.8", "extensions": ["vllm"]},
    ],
)
def test_what_other_hosts_left_changes_no_decision(wish: dict[str, Any], host: Any, decide: Any) -> None:
    hosts = [
        host(driver="525.147.05"),
        host("T4", driver="550.163.01", pythons=("3.10", "3.13")),
        host("GH200", driver="570.133.20", arch="aarch64"),
        host(["H100", "V100"], driver="570.133.20", os="rocky 9.5"),
        *(host("H100", driver="580.95.05") for _number in range(4)),
    ]
    hosts[4]["platform"]["glibc"] = "2.28"
    wheel = {"python_tag": "cp312", "arch": "x86_64", "cuda": "12.8", "path": "/wheels/one.whl"}
    for number, build in ((5, "cu128"), (6, "cu128.rebuilt")):
        names = {"torch": "2.9.0+cu128", "torchvision": f"0.24.0+{build}"}
        hosts[number]["sources"]["wheels"] = [{**wheel, "name": name, "version": it} for name, it in names.items()]
    alone = []
    for one in hosts:
        memo.forget()
        alone.append(decide(one, **wish))
    memo.forget()
    assert [decide(one, **wish) for one in hosts] == alone
    assert [decide(one, **wish) for one in reversed(hosts)] == alone[::-1]


def test_a_changed_copy_of_the_catalogue_is_another_one(known: Catalogue) -> None:
    assert memo.remember(known, "kind", 1, lambda: "one") == "one"
    assert memo.remember(known, "kind", 1, lambda: "two") == "one"
    assert memo.remember({**known}, "kind", 1, lambda: "two") == "two"


def test_what_is_remembered_is_bounded(known: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memo, "ENTRIES", 3)
    for number in range(9):
        memo.remember(known, "kind", number, lambda number=number: number)
    assert list(memo._MEMOS[id(known)][1]["kind"]) == [6, 7, 8]
    for _number in range(9):
        memo.remember({**known}, "kind", 0, int)
    assert len(memo._MEMOS) <= memo.CATALOGUES
