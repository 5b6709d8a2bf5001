"""The resolver finds a set wherever there is one, and of several the one with the best release of what comes first."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.resolver import Offer, satisfies, solve

Universe = Mapping[str, Sequence[Offer]]
NAMES = ("app", "blocks", "core", "disk")
VERSIONS = ("4", "3", "2", "1")
SPECS = ("==4", "==3", "<3", ">=2", "!=2", "~=1.0", "<1")


def make_universe(seed: int) -> dict[str, list[Offer]]:
    """Four packages, each with some releases that require packages after it; no packages here require each other."""
    dice = random.Random(seed)
    found = {}
    for name in NAMES:
        others = NAMES[NAMES.index(name) + 1 :]
        versions = [version for version in VERSIONS if dice.random() < 0.8]
        found[name] = [
            Offer(name, version, tuple((other, dice.choice(SPECS)) for other in others if dice.random() < 0.4))
            for version in versions
        ]
    return found


def wish(seed: int) -> list[str]:
    """One to four of the packages, in any order."""
    return random.Random(seed).sample(NAMES, 1 + seed % 4)


def agree(chosen: Mapping[str, Offer]) -> bool:
    """Whether every requirement inside a set is met by it."""
    return all(
        package in chosen and satisfies(chosen[package].version, spec)
        for offer in chosen.values()
        for package, spec in offer.requires
    )


def search(universe: Universe, wished: Sequence[str]) -> dict[str, str] | None:
    """By trying everything: the versions of the wished packages in the best set, None where there is none."""
    others = [name for name in universe if name not in wished]
    for combination in itertools.product(*(universe[name] for name in wished)):
        for rest in itertools.product(*([None, *universe[name]] for name in others)):
            chosen = {offer.name: offer for offer in (*combination, *rest) if offer}
            if agree(chosen):
                return {offer.name: offer.version for offer in combination}
    return None


@pytest.mark.parametrize("seed", range(60))
def test_a_set_is_found_where_there_is_one(seed: int) -> None:
    universe, wished = make_universe(seed), wish(seed)
    found = solve(universe, wished)
    best = search(universe, wished)
    assert (found is None) == (best is None)
    if found is not None and best is not None:
        assert agree(found)
        assert {name: found[name].version for name in wished} == best


def test_the_seeds_meet_both_ends() -> None:
    found = [solve(make_universe(seed), wish(seed)) for seed in range(60)]
    assert 0 < sum(one is None for one in found) < 55


def test_what_nobody_knows_constrains_nothing() -> None:
    universe = {"app": [Offer("app", "2", (("unheard-of", "==7"),))]}
    assert solve(universe, ["app"]) == {"app": universe["app"][0]}


def test_nothing_wished_is_an_empty_set() -> None:
    assert solve({}, []) == {}


@pytest.mark.parametrize(
    ("version", "spec", "expected"),
    [
        ("2.14.0+cu130", "==2.14.0", True),
        ("2.14.0", "", True),
        ("2.16.0.dev20261130", ">=2.15", True),
        ("2.9.1", "==2.9.*", True),
        ("3.0", "<3,>=2.4", False),
        ("2.9.1", "no specifier", False),
    ],
)
def test_satisfies(version: str, spec: str, expected: bool) -> None:
    assert satisfies(version, spec) is expected
