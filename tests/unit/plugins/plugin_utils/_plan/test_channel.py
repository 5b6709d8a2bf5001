"""PyTorch of its test and nightly indexes: what is asked for, and what is told as unknown."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._generate.activation import generation_digests
from ansible_collections.podsmith.gpu.plugins.plugin_utils._offline.bundle import BundleError, Target, list_needs, pin
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.plan import check_request
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import RequestError

Decide = Callable[..., dict[str, Any]]
NEW = "615.71.09"  # a driver on which everything runs


@pytest.fixture
def following(known: Catalogue) -> str:
    """The least nightly after the newest release: 2.15.0 → 2.16.0.dev0."""
    major, minor = max(map(parse_version, known["pytorch"]["releases"]))[:2]
    return f"{major}.{minor + 1}.0.dev0"


def test_a_nightly_is_asked_for_by_its_least_release(host: Any, decide: Decide, following: str) -> None:
    decision = decide(host(driver=NEW), channel="nightly", cuda="13.2", extensions=["torchvision", "torchaudio"])
    torch = decision["pytorch"]
    assert (torch["channel"], torch["index"], torch["local"]) == ("nightly", "nightly-cu132", "nightly+cu132")
    assert torch["requirements"] == [f"torch>={following}", "torchvision>=0.dev0", "torchaudio>=0.dev0"]
    assert decision["environment"]["constraints"] == torch["requirements"]
    assert "/" not in decision["environment"]["name"]
    assert decision["summary"] == "native → CUDA 13.2, PyTorch nightly+cu132"
    assert decision["verdict"] == "ok"


def test_the_test_index_starts_at_the_newest_release(host: Any, decide: Decide, known: Catalogue) -> None:
    newest = max(known["pytorch"]["releases"], key=parse_version)
    torch = decide(host(driver=NEW), channel="test", cuda="13.0", extensions=["torchvision"])["pytorch"]
    assert (torch["index"], torch["local"]) == ("test-cu130", "test+cu130")
    assert torch["requirements"] == [f"torch>={newest}.dev0", "torchvision>=0.dev0"]


def test_what_is_unknown_is_told_as_unknown(host: Any, decide: Decide) -> None:
    """No wheel's machine code is known: neither promised for the GPU, nor the reason to refuse it."""
    decision = decide(host("B300", NEW), channel="nightly", extensions=["triton"])
    assert decision["pytorch"]["arch_list"] == []
    told = " ".join(reason["text"] for reason in decision["reasons"])
    name = f"PyTorch {decision['pytorch']['local']}"
    assert f"what {name} has machine code for is not known before it is installed; the proof decides" in told
    assert "has machine code for NVIDIA B300" not in told
    assert decision["extensions"]["triton"]["version"] == "nightly"


@pytest.mark.parametrize(
    ("gpu", "driver", "route", "index"),
    [
        ("H100", NEW, "native", "nightly-cu134"),
        ("H100", "570.133.20", "forward_compat", "nightly-cu134"),
        ("RTX4090", "570.133.20", "fallback", "cu126"),
        (None, None, "cpu", "nightly-cpu"),
    ],
)
def test_the_driver_counts_as_ever(gpu: Any, driver: Any, route: str, index: str, host: Any, decide: Decide) -> None:
    decision = decide(host(gpu, driver), channel="nightly")
    assert (decision["route"], decision["pytorch"]["index"]) == (route, index)
    assert decision["verdict"] == ("degraded" if route == "fallback" else "ok")


def test_a_cuda_that_the_channel_does_not_have_is_named(host: Any, decide: Decide) -> None:
    decision = decide(host(driver=NEW), channel="nightly", cuda="12.6", on_old_driver=["fail"])
    assert decision["verdict"] == "blocked"
    assert "there is one for CUDA 13.2, 13.4" in decision["rejected"][0]["because"]


def test_an_extension_of_one_release_cannot_be_had(host: Any, decide: Decide) -> None:
    decision = decide(host(driver=NEW), channel="nightly", extensions=["torchvision", "vllm"])
    assert "requires torch 2." in decision["extensions"]["vllm"]["skipped"]
    assert decision["verdict"] == "degraded"
    assert any(text.startswith("Set channel: stable: PyTorch 2.") for text in decision["remedies"])


def test_the_channel_has_the_size_of_a_stable_one(host: Any, decide: Decide) -> None:
    changes = decide(host(driver=NEW), channel="nightly")["changes"]
    assert [change["mib"] for change in changes if change["what"].startswith("PyTorch")] == [3000]


def test_a_nightly_that_is_there_stays(host: Any, decide: Decide, applied: Any, following: str) -> None:
    observed, wished = host(driver=NEW), {"channel": "nightly", "extensions": ["torchvision"]}
    decision = decide(observed, **wished)
    there = {"torch": following.replace("dev0", "dev20261130") + "+cu134", "torchvision": "0.30.0.dev20261130+cu134"}
    plain = copy.deepcopy(decision)
    plain["pytorch"]["requirements"] = [f"{name}=={version}" for name, version in there.items()]
    plain["environment"]["constraints"] = plain["pytorch"]["requirements"]
    converged = applied(observed, plain)
    converged["installed"]["environment"]["files"] = generation_digests(decision["environment"])
    again = decide(converged, **wished)
    assert again["changes"] == []
    converged["installed"]["environment"]["packages"]["torch"] = "2.9.1+cu130"
    del converged["installed"]["environment"]["packages"]["torchvision"]
    changes = [(row["what"], row["from"], row["to"]) for row in decide(converged, **wished)["changes"]]
    assert changes[:2] == [("torch", "2.9.1+cu130", f">={following}"), ("torchvision", None, ">=0.dev0")]


@pytest.mark.parametrize(
    ("wished", "told"),
    [
        ({"channel": "beta"}, 'channel is "beta"; expected one of stable, test, nightly'),
        ({"channel": "nightly", "pytorch": "2.9"}, "set pytorch: newest, or channel: stable"),
        ({"channel": "nightly", "pytorch": "none"}, "set pytorch: newest, or channel: stable"),
        ({"channel": "test", "wheels": {"provider": "pypi"}}, "expected wheels.provider auto or pytorch_index"),
        ({"channel": "test", "wheels": {"provider": "source"}}, "expected wheels.provider auto or pytorch_index"),
        ({"channel": "nightly", "source": {"extensions": ["flash-attn"]}}, "kept for one release of PyTorch"),
    ],
)
def test_what_cannot_be_asked_of_a_channel(wished: dict[str, Any], told: str, known: Catalogue) -> None:
    with pytest.raises(RequestError) as error:
        check_request(wished, known)
    assert told in str(error.value)


def test_no_bundle_of_a_channel(host: Any, decide: Decide, known: Catalogue) -> None:
    observed = host(driver=NEW)
    decision = decide(observed, channel="nightly")
    with pytest.raises(BundleError, match="set channel: stable to make a bundle"):
        list_needs(decision, observed, Target("3.12", "2.39", "x86_64"), {}, known)
    pinned = pin({"channel": "nightly", "pytorch": "newest"}, decision)
    assert pinned == {"channel": "nightly", "pytorch": "newest", "cuda": "13.4"}
    check_request(pinned, known)
