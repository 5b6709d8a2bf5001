"""What is pending: nothing on a converged host, exactly what was lost after a loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Decide = Callable[..., dict[str, Any]]
Pending = list[tuple[str, str, str]]

H100_WISH = {
    "cuda": "13.0",
    "pytorch": "2.9",
    "cutlass": "4.3.0",
    "extensions": ["torchvision", "torchaudio", "triton", "xformers", "vllm"],
    "toolkit": {"also": ["12.8"]},
}
LOCAL_WISH = {"cuda": "13.0", "cutlass": "4.2.0"}
PROVE = ("gpu_verify", "prove", "the stack")
ENVIRONMENT = "1-torch2.9.1-cu130"


def pending(decision: dict[str, Any]) -> Pending:
    return [(change["role"], change["action"], change["what"]) for change in decision["changes"]]


@pytest.fixture
def pod(host: Any, decide: Decide, applied: Any) -> dict[str, Any]:
    """An H100 with an older driver, converged."""
    fresh = host("H100", "570.133.20", kind="container")
    return applied(fresh, decide(fresh, **H100_WISH))


@pytest.fixture
def laptop(host: Any, decide: Decide, applied: Any) -> dict[str, Any]:
    """A machine without a GPU and without root, converged."""
    fresh = host(None, None, root=False)
    return applied(fresh, decide(fresh, **LOCAL_WISH))


def test_a_fresh_host_gets_everything_in_order(host: Any, decide: Decide) -> None:
    decision = decide(host("H100", "570.133.20", kind="container"), **H100_WISH)
    assert pending(decision) == [
        ("cuda_toolkit", "install", "CUDA toolkit 13.0"),
        ("cuda_toolkit", "install", "CUDA toolkit 12.8"),
        ("forward_compat", "install", "cuda-compat-13-0"),
        ("cutlass", "install", "CUTLASS headers"),
        ("pytorch", "install", "PyTorch 2.9.1+cu130"),
        ("ml_extensions", "install", "xformers"),
        ("ml_extensions", "install", "vllm"),
        PROVE,
        ("gpu_environment", "switch", "live environment"),
    ]
    assert decision["changes"][2] == {
        "role": "forward_compat",
        "action": "install",
        "what": "cuda-compat-13-0",
        "from": None,
        "to": "580.95.05",
        "mib": 65,
    }
    assert decision["download"]["mib"] == sum(change["mib"] for change in decision["changes"])


def test_a_converged_host_needs_nothing(pod: Any, laptop: Any, decide: Decide) -> None:
    assert pending(decide(pod, **H100_WISH)) == []
    assert pending(decide(laptop, **LOCAL_WISH)) == []


def test_the_decision_stays_the_same_once_it_is_applied(host: Any, pod: Any, decide: Decide) -> None:
    fresh = decide(host("H100", "570.133.20", kind="container"), **H100_WISH)
    again = decide(pod, **H100_WISH)
    assert again["digest"] == fresh["digest"] == again["proof"]["digest"]
    assert again["environment"]["live"] is True
    assert again["toolkit"]["provider"] == "adopt"


def lose_nvcc(host: dict[str, Any]) -> None:
    host["installed"]["toolkits"][0] |= {"broken": ["bin/nvcc"], "nvcc": False}


def lose_toolkit(host: dict[str, Any]) -> None:
    del host["installed"]["toolkits"][0]


def lose_headers(host: dict[str, Any]) -> None:
    host["installed"]["cutlasses"] = []
    host["installed"]["cutlass"] = None


def lose_one_header(host: dict[str, Any]) -> None:
    host["installed"]["cutlasses"][0]["broken"] = ["include/cutlass/cutlass.h"]


def lose_compat(host: dict[str, Any]) -> None:
    host["installed"]["compat"] = []


def lose_link(host: dict[str, Any]) -> None:
    host["installed"]["compat"][0]["broken"] = ["libcuda.so.1"]


def lose_wheel(host: dict[str, Any]) -> None:
    del host["installed"]["environment"]["packages"]["torchvision"]


def break_wheel(host: dict[str, Any]) -> None:
    host["installed"]["environment"]["broken"] = ["torch"]


def swap_wheel(host: dict[str, Any]) -> None:
    host["installed"]["environment"]["packages"]["torch"] = "2.15.0"


def lose_extension(host: dict[str, Any]) -> None:
    del host["installed"]["environment"]["packages"]["xformers"]


def break_extension(host: dict[str, Any]) -> None:
    host["installed"]["environment"]["broken"] = ["xformers"]


def swap_extension(host: dict[str, Any]) -> None:
    host["installed"]["environment"]["packages"]["xformers"] = "0.0.35"


def lose_activation(host: dict[str, Any]) -> None:
    del host["installed"]["environment"]["files"]["activate.sh"]


def edit_profile(host: dict[str, Any]) -> None:
    host["installed"]["files"]["/etc/profile.d/podsmith.sh"] = "edited"


def change_driver(host: dict[str, Any]) -> None:
    host["driver"]["version"] = "570.172.08"


def change_gpu(host: dict[str, Any]) -> None:
    host["devices"][0]["uuid"] = "GPU-9"


def forget_reach(host: dict[str, Any]) -> None:
    del host["installed"]["state"]["reach"]


def fail_proof(host: dict[str, Any]) -> None:
    host["installed"]["state"]["verdict"] = "failed"


def lose_state(host: dict[str, Any]) -> None:
    host["installed"]["state"] = None


SWITCH_ON = ("forward_compat", "switch", "cuda-compat-13-0 580.95.05")
LOSSES: list[tuple[Callable[[dict[str, Any]], None], Pending]] = [
    (lose_nvcc, [("cuda_toolkit", "repair", "CUDA toolkit 13.0"), PROVE]),
    (lose_toolkit, [("cuda_toolkit", "install", "CUDA toolkit 13.0"), PROVE]),
    (lose_headers, [("cutlass", "install", "CUTLASS headers"), PROVE]),
    (lose_one_header, [("cutlass", "repair", "CUTLASS headers"), PROVE]),
    (lose_compat, [("forward_compat", "install", "cuda-compat-13-0"), PROVE]),
    (lose_link, [("forward_compat", "repair", "cuda-compat-13-0"), PROVE]),
    (lose_wheel, [("pytorch", "repair", "torchvision"), PROVE]),
    (break_wheel, [("pytorch", "repair", "torch"), PROVE]),
    (swap_wheel, [("pytorch", "replace", "torch"), PROVE]),
    (lose_extension, [("ml_extensions", "install", "xformers"), PROVE]),
    (break_extension, [("ml_extensions", "repair", "xformers"), PROVE]),
    (swap_extension, [("ml_extensions", "replace", "xformers"), PROVE]),
    (lose_activation, [("gpu_environment", "repair", "activate.sh")]),
    (edit_profile, [("gpu_environment", "repair", "/etc/profile.d/podsmith.sh")]),
    (change_driver, [SWITCH_ON, PROVE]),
    (change_gpu, [SWITCH_ON, PROVE]),
    (forget_reach, [SWITCH_ON, PROVE]),
    (fail_proof, [SWITCH_ON, PROVE]),
    (lose_state, [SWITCH_ON, PROVE, ("gpu_environment", "replace", "decision on record")]),
]


@pytest.mark.parametrize(("lose", "wanted"), LOSSES, ids=[lose.__name__ for lose, _unused in LOSSES])
def test_a_loss_is_exactly_what_is_put_right(
    lose: Callable[[dict[str, Any]], None], wanted: Pending, pod: Any, decide: Decide
) -> None:
    lose(pod)
    decision = decide(pod, **H100_WISH)
    assert pending(decision) == wanted
    assert decision["environment"]["name"] == ENVIRONMENT


@pytest.mark.parametrize(
    ("lose", "wanted"),
    [
        (lose_nvcc, [("cuda_toolkit", "repair", "CUDA toolkit 13.0"), PROVE]),
        (lose_headers, [("cutlass", "install", "CUTLASS headers"), PROVE]),
        (break_wheel, [("pytorch", "repair", "torch"), PROVE]),
        (lose_activation, [("gpu_environment", "repair", "activate.sh")]),
    ],
)
def test_a_loss_in_a_private_prefix(lose: Any, wanted: Pending, laptop: Any, decide: Decide) -> None:
    lose(laptop)
    assert pending(decide(laptop, **LOCAL_WISH)) == wanted


def test_a_lost_link_is_named_and_nothing_is_fetched_for_it(pod: Any, decide: Decide) -> None:
    lose_link(pod)
    change = decide(pod, **H100_WISH)["changes"][0]
    assert (change["from"], change["to"], change["mib"]) == ("without libcuda.so.1", "580.95.05", 0)


def test_an_edited_file_is_called_edited(pod: Any, decide: Decide) -> None:
    edit_profile(pod)
    assert decide(pod, **H100_WISH)["changes"][0]["from"] == "edited"


def test_a_newer_driver_takes_compat_off_in_place(pod: Any, decide: Decide) -> None:
    """The pod woke up on a newer host: the environment stays, its activation changes, the library stays unused."""
    pod["driver"]["version"] = "580.126.09"
    decision = decide(pod, **H100_WISH)
    assert decision["route"] == "native"
    assert decision["forward_compat"]["enabled"] is False
    assert decision["environment"]["compat_path"] is None
    roles = {change["role"] for change in decision["changes"]}
    assert roles == {"gpu_verify", "gpu_environment"}
    assert any("stays off the path" in warning for warning in decision["warnings"])


def test_a_compat_library_that_is_on_the_path_is_not_said_to_stay_off(pod: Any, decide: Decide) -> None:
    pod["driver"]["version"] = "580.126.09"
    pod["loader"]["compat_active"] = True
    decision = decide(pod, **H100_WISH)
    assert decision["verdict"] == "broken"
    assert "compat library 580.95.05 is loaded, which is not newer than driver 580.126.09" in decision["now"]["summary"]
    assert "stays off" not in " ".join(decision["warnings"])


def test_a_compat_package_of_ours_is_removed_when_it_is_not_wanted(pod: Any, decide: Decide) -> None:
    pod["installed"]["compat"][0]["managed"] = True
    pod["driver"]["version"] = "580.126.09"
    decision = decide(pod, **H100_WISH)
    assert decision["forward_compat"]["remove"] == ["cuda-compat-13-0"]
    assert ("forward_compat", "remove", "cuda-compat-13-0") in pending(decision)


def test_another_release_is_built_beside(pod: Any, decide: Decide) -> None:
    decision = decide(pod, **H100_WISH | {"pytorch": "2.10"})
    environment = decision["environment"]
    assert environment["name"] == "2-torch2.10.0-cu130"
    assert (environment["live"], environment["previous"]) == (False, ENVIRONMENT)
    assert ("gpu_environment", "switch", "live environment") in pending(decision)


def test_another_python_is_built_beside(pod: Any, decide: Decide) -> None:
    pod["platform"]["pythons"].append({"path": "/usr/bin/python3.13", "version": "3.13.0", "headers": True})
    assert pending(decide(pod, **H100_WISH)) == []
    assert decide(pod, **H100_WISH, python="3.13")["environment"]["name"] == "2-torch2.9.1-cu130"


@pytest.mark.parametrize(
    ("wished", "name"),
    [
        pytest.param({}, ENVIRONMENT, id="the-same"),
        pytest.param({"extensions": ["torchvision", "triton"]}, "2-torch2.9.1-cu130", id="another-set-of-extensions"),
        pytest.param({"cutlass": "4.2.0"}, "2-torch2.9.1-cu130", id="other-headers"),
    ],
)
def test_another_wish_is_built_beside(wished: Any, name: str, pod: Any, decide: Decide) -> None:
    """A failed proof of it must leave the live generation as it is."""
    assert decide(pod, **H100_WISH | wished)["environment"]["name"] == name


def test_a_live_environment_of_another_prefix_is_left_alone(laptop: Any, decide: Decide) -> None:
    laptop["installed"]["environment"]["prefix"] = "/srv/elsewhere"
    decision = decide(laptop, **LOCAL_WISH)
    assert (decision["environment"]["live"], decision["environment"]["previous"]) == (False, None)
    assert ("pytorch", "install") in {change[:2] for change in pending(decision)}
    laptop["installed"]["environment"]["prefix"] = decision["environment"]["prefix"]
    assert pending(decide(laptop, **LOCAL_WISH)) == []


LINE = "export LD_LIBRARY_PATH=/usr/local/cuda-13.0/compat:$LD_LIBRARY_PATH"
CONFLICT = {
    "kind": "ld_library_path",
    "file": "/root/.bashrc",
    "line": 12,
    "text": LINE,
    "path": "/usr/local/cuda-13.0/compat",
}


@pytest.mark.parametrize(
    ("allowed", "repairs"),
    [
        pytest.param([], [], id="not-allowed"),
        pytest.param(["/root/.profile"], [], id="another-file"),
        pytest.param(["/root/.bashrc"], [("/root/.bashrc", LINE)], id="allowed"),
        pytest.param(["~/.bashrc"], [("/root/.bashrc", LINE)], id="below-the-home"),
    ],
)
def test_a_foreign_setting_is_named_and_repaired_where_allowed(
    allowed: list[str], repairs: list[tuple[str, str]], pod: Any, decide: Decide
) -> None:
    pod["conflicts"], pod["platform"]["home"] = [CONFLICT], "/root"
    decision = decide(pod, **H100_WISH, repair_files=allowed)
    assert [(row["path"], row["line"]) for row in decision["environment"]["repairs"]] == repairs
    assert pending(decision) == [("gpu_environment", "remove", f"/root/.bashrc: {LINE}")] * len(repairs)
    assert any("/root/.bashrc:12" in warning for warning in decision["warnings"]) is not bool(repairs)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param({}, {"tf32": False, "module_loading": "eager"}, id="set"),
        pytest.param({"tf32": True, "cudnn_benchmark": True}, {"expandable_segments": True}, id="others"),
        pytest.param({"module_loading": "lazy"}, {}, id="taken-back"),
    ],
)
def test_another_setting_rewrites_two_files_and_proves_nothing(
    before: dict[str, Any], after: dict[str, Any], host: Any, applied: Any, decide: Decide
) -> None:
    observed = host("H100", "580.126.09")
    first = decide(observed, **H100_WISH, settings=before)
    there = applied(observed, first)
    assert pending(decide(there, **H100_WISH, settings=before)) == []
    second = decide(there, **H100_WISH, settings=after)
    assert pending(second) == [
        ("gpu_environment", "repair", "activate.sh"),
        ("gpu_environment", "repair", "site-packages/_podsmith_cuda.py"),
    ]
    assert {change["from"] for change in second["changes"]} == {"other settings"}
    for key in ("name", "identity", "live"):
        assert second["environment"][key] == (True if key == "live" else first["environment"][key])
    assert second["digest"] == first["digest"]
    assert pending(decide(applied(there, second), **H100_WISH, settings=after)) == []


def test_an_edited_activation_is_no_other_setting(pod: Any, decide: Decide) -> None:
    pod["installed"]["environment"]["files"]["activate.sh"] = "0" * 64
    (change,) = decide(pod, **H100_WISH, settings={})["changes"]
    assert (change["what"], change["from"]) == ("activate.sh", "edited")


def test_a_newer_driver_keeps_the_generation(pod: Any, decide: Decide) -> None:
    pod["driver"]["version"] = "580.126.09"
    assert decide(pod, **H100_WISH)["environment"]["name"] == ENVIRONMENT


def test_an_unfinished_generation_is_taken_up_again(pod: Any, decide: Decide) -> None:
    pod["installed"]["environments"] += ["2-torch2.10.0-cu130", "3-torch2.8.0-cu128"]
    assert decide(pod, **H100_WISH | {"pytorch": "2.10"})["environment"]["name"] == "2-torch2.10.0-cu130"


def test_an_older_generation_is_not_touched(pod: Any, decide: Decide) -> None:
    """It does not say what it was built for: a rollback goes to it, no wish does."""
    pod["installed"]["generations"] = []
    pod["installed"]["environment"]["name"] = "2-torch2.8.0-cu128"
    pod["installed"]["environments"] = [ENVIRONMENT, "2-torch2.8.0-cu128"]
    assert decide(pod, **H100_WISH)["environment"]["name"] == "3-torch2.9.1-cu130"


# --- environments side by side ---

NEWER = H100_WISH | {"pytorch": "2.10"}
SWITCH = ("gpu_environment", "switch", "live environment")


@pytest.fixture
def two(pod: dict[str, Any], decide: Decide, applied: Any) -> dict[str, Any]:
    """A pod whose second generation is live, the first whole beside it."""
    return applied(pod, decide(pod, **NEWER))


def test_an_earlier_environment_is_switched_to_not_rebuilt(two: Any, decide: Decide, applied: Any) -> None:
    back = decide(two, **H100_WISH)
    assert pending(back) == [SWITCH_ON, PROVE, SWITCH]
    assert back["changes"][-1] | {"from": "2-torch2.10.0-cu130", "to": ENVIRONMENT} == back["changes"][-1]
    assert (back["download"]["mib"], back["download"]["installed_mib"]) == (0, 0)
    environment = back["environment"]
    assert (environment["live"], environment["reused"], environment["previous"]) == (False, True, "2-torch2.10.0-cu130")
    assert any(ENVIRONMENT in reason["text"] for reason in back["reasons"] if reason["rule"] == "reuse-environment")
    host = applied(two, back)
    assert pending(decide(host, **H100_WISH)) == []
    assert decide(host, **NEWER)["environment"]["name"] == "2-torch2.10.0-cu130"


def earlier(host: dict[str, Any]) -> dict[str, Any]:
    return next(row for row in host["installed"]["generations"] if row["name"] == ENVIRONMENT)


def lose_an_earlier_wheel(host: dict[str, Any]) -> None:
    del earlier(host)["packages"]["torchvision"]


def break_an_earlier_wheel(host: dict[str, Any]) -> None:
    earlier(host)["broken"] = ["torch"]


def lose_an_earlier_extension(host: dict[str, Any]) -> None:
    del earlier(host)["packages"]["xformers"]


def interrupt_an_earlier_change(host: dict[str, Any]) -> None:
    earlier(host)["complete"] = False


@pytest.mark.parametrize(
    ("lose", "wanted"),
    [
        (lose_an_earlier_wheel, [("pytorch", "repair", "torchvision")]),
        (break_an_earlier_wheel, [("pytorch", "repair", "torch")]),
        (lose_an_earlier_extension, [("ml_extensions", "install", "xformers")]),
        (
            interrupt_an_earlier_change,
            [
                ("pytorch", "install", "PyTorch 2.9.1+cu130"),
                ("ml_extensions", "install", "xformers"),
                ("ml_extensions", "install", "vllm"),
            ],
        ),
    ],
)
def test_what_an_earlier_environment_lost_is_put_right_before_the_switch(
    lose: Any, wanted: Pending, two: Any, decide: Decide
) -> None:
    lose(two)
    decision = decide(two, **H100_WISH)
    assert pending(decision) == [SWITCH_ON, *wanted, PROVE, SWITCH]
    assert decision["environment"]["name"] == ENVIRONMENT


def test_an_earlier_environment_of_the_same_kind_but_another_wish_is_kept(two: Any, decide: Decide) -> None:
    """It is what a later wish, or a rollback, goes back to: it is never built over."""
    decision = decide(two, **H100_WISH | {"extensions": ["triton"]})
    assert decision["environment"]["name"] == "3-torch2.9.1-cu130"


def test_a_newer_environment_is_not_built_over_after_a_rollback(two: Any, decide: Decide) -> None:
    """The first is live again, the decision that stands is still the second's: each is known by what it says itself."""
    first = earlier(two)
    two["installed"]["environment"] |= first | {"path": f"/opt/podsmith/environments/{ENVIRONMENT}"}
    assert (
        decide(two, **H100_WISH)["environment"] | {"name": ENVIRONMENT, "live": True}
        == (decide(two, **H100_WISH)["environment"])
    )
    decision = decide(two, **NEWER)
    assert (decision["environment"]["name"], decision["environment"]["reused"]) == ("2-torch2.10.0-cu130", True)
    assert decide(two, **NEWER | {"extensions": []})["environment"]["name"] == "3-torch2.10.0-cu130"


def test_a_generation_is_known_by_what_it_says_not_by_the_decision_that_stands(
    pod: Any, decide: Decide, applied: Any
) -> None:
    """After a rollback the decision is the second's, of the same kind; the first is not changed to fit it."""
    wish = H100_WISH | {"extensions": ["triton"]}
    host = applied(pod, decide(pod, **wish))
    host["installed"]["environment"] |= earlier(host) | {"path": f"/opt/podsmith/environments/{ENVIRONMENT}"}
    environment = decide(host, **wish)["environment"]
    assert (environment["name"], environment["reused"]) == ("2-torch2.9.1-cu130", True)


def test_a_toolkit_that_was_proved_is_not_installed_again_for_another_gpu(pod: Any, decide: Decide) -> None:
    wish = H100_WISH | {"toolkit": {"also": ["12.8"], "components": ["full"]}}
    pod["installed"]["state"]["decision"] = decide(pod, **wish)["digest"]
    change_gpu(pod)
    assert pending(decide(pod, **wish)) == [SWITCH_ON, PROVE]


def test_more_of_the_toolkit_is_installed_until_it_was_proved(pod: Any, decide: Decide) -> None:
    wish = H100_WISH | {"toolkit": {"also": ["12.8"], "components": ["full"]}}
    decision = decide(pod, **wish)
    assert ("cuda_toolkit", "repair", "CUDA toolkit 13.0") in pending(decision)
    pod["installed"]["state"]["decision"] = decision["digest"]
    assert pending(decide(pod, **wish)) == []


# --- forward compatibility on standby ---

STANDBY = {**H100_WISH, "forward_compat": "standby"}


def test_standby_installs_the_library_where_the_driver_needs_none(host: Any, decide: Decide, applied: Any) -> None:
    fresh = host("H100", "580.95.05", kind="container")
    decision = decide(fresh, **STANDBY)
    compat = decision["forward_compat"]
    assert (decision["route"], compat["enabled"], compat["standby"]) == ("native", True, True)
    assert ("forward_compat", "install", "cuda-compat-13-0") in pending(decision)
    assert "compat-standby" in {reason["rule"] for reason in decision["reasons"]}
    assert decision["environment"]["compat_branches"] == [535, 550, 565, 570, 575, 580]
    assert pending(decide(applied(fresh, decision), **STANDBY)) == []


def test_standby_goes_on_and_off_with_the_driver(host: Any, decide: Decide, applied: Any) -> None:
    """The same library and the same files: only the proof is made again."""
    fresh = host("H100", "570.133.20", kind="container")
    pod = applied(fresh, decide(fresh, **STANDBY))
    assert decide(pod, **STANDBY)["forward_compat"]["standby"] is False
    pod["driver"] = {"status": "ok", "version": "580.95.05"}
    newer = decide(pod, **STANDBY)
    assert (newer["route"], newer["forward_compat"]["standby"], pending(newer)) == ("native", True, [PROVE])
    pod["driver"] = {"status": "ok", "version": "590.44.01"}
    assert pending(decide(pod, **STANDBY)) == [PROVE]


def test_without_standby_a_library_that_nobody_needs_goes(pod: dict[str, Any], decide: Decide) -> None:
    pod["driver"] = {"status": "ok", "version": "580.95.05"}
    pod["installed"]["compat"][0]["managed"] = True
    assert ("forward_compat", "remove", "cuda-compat-13-0") in pending(decide(pod, **H100_WISH))
    assert ("forward_compat", "remove", "cuda-compat-13-0") not in pending(decide(pod, **STANDBY))


@pytest.mark.parametrize(
    ("observed", "verdict", "because"),
    [
        ({"gpu": "RTX4090"}, "ok", "of a brand without forward compatibility"),
        ({"gpu": "H100", "kind": "wsl2", "driver": "581.42"}, "ok", "WSL2 has no forward compatibility"),
        ({"gpu": "H100", "root": False}, "degraded", "in user scope nothing is installed outside the prefix"),
        ({"gpu": "H100", "os": "fedora 40"}, "degraded", "has no packages for fedora 40"),
    ],
)
def test_where_standby_is_of_no_use(observed: Any, verdict: str, because: str, host: Any, decide: Decide) -> None:
    decision = decide(host(**observed), cuda="13.0", toolkit={"provider": "none"}, forward_compat="standby")
    assert (decision["verdict"], decision["forward_compat"]["enabled"]) == (verdict, False)
    [told] = [entry["because"] for entry in decision["rejected"] if entry["option"] == "standby"]
    assert because in told


def test_without_a_gpu_nothing_stands_by(host: Any, decide: Decide) -> None:
    decision = decide(host(None, None), **STANDBY)
    assert (decision["route"], decision["forward_compat"]["enabled"]) == ("cpu", False)
