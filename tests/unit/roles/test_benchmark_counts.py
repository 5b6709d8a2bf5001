"""How the benchmark counts work, bounds errors and sums up times: against counting one by one."""

from __future__ import annotations

import importlib.util
import itertools
import pathlib
from typing import Any

import pytest

FILE = pathlib.Path(__file__).resolve().parents[3] / "roles/gpu_benchmark/files/benchmark_counts.py"


def load() -> Any:
    spec = importlib.util.spec_from_file_location("benchmark_counts", FILE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


counts = load()


@pytest.mark.parametrize(("rows", "columns", "depth", "batch"), [(2, 3, 4, 1), (5, 1, 7, 3)])
def test_matmul(rows: int, columns: int, depth: int, batch: int) -> None:
    one_by_one = sum(2 for _term in itertools.product(range(batch), range(rows), range(columns), range(depth)))
    assert counts.matmul_flops(rows, columns, depth, batch) == one_by_one


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("tokens", [1, 2, 7, 16])
def test_attention(tokens: int, causal: bool) -> None:
    batch, heads, width = 2, 3, 5
    pairs = sum(1 for q, k in itertools.product(range(tokens), repeat=2) if k <= q or not causal)
    scores = mixed = batch * heads * pairs * width * 2
    assert counts.attention_flops(batch, heads, tokens, width, causal=causal) == scores + mixed


def test_the_time_of_a_known_attention_gives_its_corrected_figure() -> None:
    flops = counts.attention_flops(16, 96, 4096, 128, causal=True)
    assert flops / 12.27e-3 / 1e12 == pytest.approx(537.8, abs=0.05)
    assert flops / 12.75e-3 / 1e12 == pytest.approx(517.5, abs=0.05)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_convolution(groups: int) -> None:
    batch, into, out, side, kernel = 2, 4, 8, 3, 3
    terms = 0
    for _image, filters, _y, _x in itertools.product(range(batch), range(out), range(side), range(side)):
        group = filters * groups // out
        seen = [channel for channel in range(into) if channel * groups // into == group]
        terms += len(seen) * kernel * kernel
    assert counts.convolution_flops(batch, (into, out), side, kernel, groups) == 2 * terms


def test_resnet50_has_its_published_multiplications_and_weights() -> None:
    assert counts.resnet50_flops(1) / 2 == pytest.approx(4.089e9, rel=1e-3)
    assert counts.resnet50_flops(8) == 8 * counts.resnet50_flops(1)
    weights = sum(into * out * kernel * kernel for (into, out), _side, kernel in counts.resnet50_layers())
    assert weights == 23_454_912  # of 25,557,032: without the last layer and the normalisations
    assert len(list(counts.resnet50_layers())) == 53


def test_encoder_counts_its_products() -> None:
    tokens, width, hidden = 3, 4, 16
    projections = 4 * 2 * tokens * width * width
    attention = 2 * 2 * tokens * tokens * width
    feed_forward = 2 * 2 * tokens * width * hidden
    assert counts.encoder_flops(6, 2, tokens, width, hidden) == 6 * 2 * (projections + attention + feed_forward)


@pytest.mark.parametrize(("ranks", "share"), [(2, 1.0), (4, 1.5), (8, 1.75)])
def test_bus_bytes(ranks: int, share: float) -> None:
    assert counts.all_reduce_bytes(1000, ranks) == share * 1000


@pytest.mark.parametrize(
    ("precision", "terms", "deep", "bound"),
    [
        pytest.param("fp16", 8192, False, 8 * 2**-10, id="result-rounds"),
        pytest.param("bf16", 1, False, 8 * 2**-7, id="bf16"),
        pytest.param("fp32", 4096, False, 8 * 2**-23 * 64, id="sum-rounds"),
        pytest.param("fp64", 4, False, 8 * 2**-52 * 2, id="fp64"),
        pytest.param("fp16", 4096, True, 32 * 2**-10, id="network"),
        pytest.param("exact", 10**6, True, 0.0, id="copy"),
    ],
)
def test_tolerance(precision: str, terms: int, deep: bool, bound: float) -> None:
    assert counts.tolerance(precision, terms, deep=deep) == bound


@pytest.mark.parametrize(
    ("times", "wanted"),
    [
        pytest.param([3.0], (3.0, 3.0, 3.0), id="one"),
        pytest.param([1.0, 3.0], (1.4, 2.0, 2.6), id="two"),
        pytest.param([5.0, 1.0, 4.0, 2.0, 3.0, 6.0], (2.0, 3.5, 5.0), id="unsorted"),
    ],
)
def test_spread(times: list[float], wanted: tuple[float, float, float]) -> None:
    assert counts.spread(times) == pytest.approx(wanted)


@pytest.mark.parametrize(("length", "count", "wanted"), [(3, 5, [0, 1, 2]), (9, 3, [0, 4, 8]), (5, 5, [0, 1, 2, 3, 4])])
def test_evenly(length: int, count: int, wanted: list[int]) -> None:
    assert counts.evenly(length, count) == wanted
