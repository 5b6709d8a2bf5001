"""An image under build is planned like the hosts that it is for, and nothing is run on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._observe.host import SCHEMA
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.target import Target, observe_target, parse_target
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import RequestError

Decide = Callable[..., dict[str, Any]]
H100 = {"gpus": ["NVIDIA H100 80GB HBM3"], "driver": "570"}


@pytest.fixture
def see(known: Catalogue) -> Callable[..., dict[str, Any]]:
    def call(observed: dict[str, Any] | None = None, **target: Any) -> dict[str, Any]:
        return observe_target(parse_target({**H100, **target}, known), observed or {}, known)

    return call


def test_what_is_left_out_has_its_default(known: Catalogue) -> None:
    assert parse_target(H100, known) == Target(("NVIDIA H100 80GB HBM3",), "570", "ubuntu24.04", "x86_64", None)
    assert parse_target({**H100, "system": None, "python": "3.12"}, known).python == "3.12"


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("H100", 'stack_plan_target is "H100"; expected a mapping of keys and values, such as {gpus'),
        ({**H100, "gpu": "H100"}, 'has the unknown key "gpu"; did you mean gpus?'),
        ({"driver": "570"}, "has no gpus, which an image cannot be planned without; add gpus: [NVIDIA H200]."),
        ({"gpus": ["NVIDIA H200"]}, 'has no driver, which an image cannot be planned without; add driver: "570".'),
        ({**H100, "gpus": "NVIDIA H200"}, 'gpus is "NVIDIA H200"; expected a list of GPUs'),
        ({**H100, "gpus": []}, "gpus is []; expected a list of GPUs such as [NVIDIA H200]"),
        ({**H100, "gpus": [9.0]}, "gpus is 9.0; expected text: put it in quotes"),
        ({**H100, "gpus": ["NVIDIA H2OO"]}, "which the catalogue does not have; did you mean NVIDIA H200?"),
        ({**H100, "gpus": ["9.7"]}, 'gpus names "9.7", which the catalogue does not have; did you mean'),
        ({**H100, "gpus": ["$(reboot)"]}, 'gpus is "$(reboot)"; expected a value such as "NVIDIA H200".'),
        ({**H100, "driver": 570}, 'driver is 570; expected text: put it in quotes, such as "570".'),
        ({**H100, "driver": "new"}, 'driver is "new"; expected a value such as "570".'),
        ({**H100, "driver": "104"}, 'driver is "104"; expected a branch of '),
        ({**H100, "system": "ubuntu2404"}, 'system is "ubuntu2404"; expected one of ubuntu24.04, '),
        ({**H100, "arch": "arm64"}, 'arch is "arm64"; expected one of x86_64, aarch64'),
        ({**H100, "python": "python3"}, 'python is "python3"; expected a value such as "3.12".'),
    ],
)
def test_a_target_that_cannot_be_understood(target: Any, told: str, known: Catalogue) -> None:
    with pytest.raises(RequestError) as caught:
        parse_target(target, known)
    assert told in str(caught.value)


def test_an_image_that_nobody_has_looked_into(see: Any) -> None:
    facts = see(system="debian12")
    assert facts["schema"] == SCHEMA, "they are facts as gpu_facts gathers them"
    assert (facts["platform"]["kind"], facts["platform"]["os"]["id"]) == ("container", "debian")
    assert facts["platform"]["pythons"][0]["version"] == "3.11"
    assert (facts["driver"]["status"], facts["driver"]["branch"], facts["driver"]["cuda"]) == ("ok", 570, "12.8")
    assert facts["devices"] == [
        {"index": 0, "name": "NVIDIA H100 80GB HBM3", "compute_capability": "9.0", "brand_id": 14}
    ]


def test_what_was_seen_inside_stays_but_driver_gpus_and_volumes(see: Any, host: Any) -> None:
    inside = host("RTX4090", "610.43.02", os="debian 12", pythons=("3.11",), toolkits=[{"release": "13.0"}])
    inside["platform"]["persistent_dir"] = "/workspace"
    facts = see(inside)
    assert (facts["driver"]["version"], [device["name"] for device in facts["devices"]]) == ("570", H100["gpus"])
    assert (facts["platform"]["os"]["id"], facts["platform"]["persistent_dir"]) == ("debian", None)
    assert facts["installed"]["toolkits"] == [{"release": "13.0"}]


def test_the_plan_of_an_image_runs_nothing_on_a_gpu(see: Any, decide: Decide) -> None:
    decision = decide(see(), cuda="13.0", pytorch="2.9", forward_compat="standby")
    compat = decision["forward_compat"]
    assert (decision["verdict"], decision["route"]) == ("ok", "forward_compat")
    assert (compat["package"], compat["standby"], compat["branches"][0]) == ("cuda-compat-13-0", True, 535)
    assert (decision["proof"]["gpu"], decision["proof"]["architectures"]) == (False, ["sm_90a"])
    assert {"cuinit", "limits", "nvrtc", "triton", "peers", "workers", "health"} & set(
        decision["proof"]["checks"]
    ) == set()
    assert decision["environment"]["prefix"] == "/opt/podsmith"


def test_on_a_newer_least_driver_the_library_is_kept_only_on_standby(see: Any, decide: Decide) -> None:
    facts = see(driver="580")
    assert decide(facts, cuda="13.0")["forward_compat"]["enabled"] is False
    standby = decide(facts, cuda="13.0", forward_compat="standby")
    assert (standby["route"], standby["forward_compat"]["enabled"]) == ("native", True)


def test_what_was_built_is_what_was_planned(see: Any, host: Any, decide: Decide, applied: Any) -> None:
    """From the catalogue's word on the system, from inside the base, and from inside what was built."""
    wish = {"cuda": "13.0", "pytorch": "2.9", "forward_compat": "standby", "extensions": ["triton"]}
    planned, base = decide(see(), **wish), host(None, None, kind="container")
    within = decide(see(base), **wish)
    built = applied(base, within)
    assert within["digest"] == planned["digest"]
    again = decide(see(built), **wish)
    assert (again["digest"], again["changes"]) == (planned["digest"], [])


@pytest.mark.parametrize(("driver", "compat"), [("570.133.20", "switch"), ("580.95.05", None), ("610.43.02", None)])
def test_on_its_first_start_only_the_proof_is_outstanding(
    driver: str, compat: str | None, see: Any, host: Any, decide: Decide, applied: Any
) -> None:
    wish = {"cuda": "13.0", "pytorch": "2.9", "forward_compat": "standby"}
    base = host(None, None, kind="container")
    installed = applied(base, decide(see(base), **wish))["installed"]
    started = host("H100", driver, kind="container")
    pending = decide({**started, "installed": installed}, **wish)["changes"]
    wanted = ([("forward_compat", compat)] if compat else []) + [
        ("gpu_verify", "prove"),
        ("gpu_environment", "replace"),
    ]
    assert [(change["role"], change["action"]) for change in pending] == wanted
    assert pending[-1]["what"] == "decision on record"


def test_gpus_of_several_kinds_are_all_served(see: Any, decide: Decide) -> None:
    facts = see(gpus=["NVIDIA H100 80GB HBM3", "NVIDIA GeForce RTX 4090", "12.0"], driver="580")
    decision = decide(facts, cuda="13.0", forward_compat="standby")
    assert decision["proof"]["architectures"] == ["sm_89", "sm_90a", "sm_120a"]
    assert decision["forward_compat"]["standby"] is True
