"""GPUs on the PCI bus that the driver does not list: named, with what drives them, and never a silent CPU set-up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import bus
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import driver as drivers

Decision = dict[str, Any]
Observe = Callable[..., dict[str, Any]]
Decide = Callable[..., Decision]


@pytest.fixture
def ignored(host: Observe) -> Observe:
    """A machine whose driver lists no GPU (without ``driver``: has none), with these device ids on its bus."""

    def call(pci: list[str], driver: str | None = "580.95.05", flavor: str | None = "open", **more: Any) -> Any:
        kind, source = more.get("kind", "bare_metal"), more.get("source", "apt")
        facts = host(None, driver, kind=kind, os=more.get("os", "ubuntu 24.04"))
        facts["driver"]["status"] = "no_device" if driver else "missing"
        disk = {"flavor": flavor, "pci": pci, "loaded_version": driver, "library_version": driver}
        facts["installed"]["driver"] = {**disk, "source": source if driver else "none"}
        return facts

    return call


PASCAL = "the GPU with PCI id 10de:1c8d (Pascal, compute capability 6.1)"
REASONS = [
    pytest.param(
        ["1c8d"],
        "595.71.05",
        "open",
        f"{PASCAL} is driven by branch 580 and older, with proprietary kernel modules; "
        "found driver 595.71.05 with open ones",
        'Set driver: "580": it installs a driver of branch 580 with proprietary kernel modules.',
        id="pascal-on-595",
    ),
    pytest.param(["1cb1"], "590.48.01", None, "driven by branch 580 and older", 'Set driver: "580"', id="p1000-on-590"),
    pytest.param(
        ["1db6"],
        "580.95.05",
        "open",
        "(Volta, compute capability 7.0) is driven by proprietary kernel modules alone; "
        "found driver 580.95.05 with open ones",
        'Set driver: "580": it installs a driver of branch 580 with proprietary kernel modules.',
        id="volta-under-open-modules",
    ),
    pytest.param(
        ["2b85"],
        "580.95.05",
        "proprietary",
        "(Blackwell, compute capability 12.0) is driven by open kernel modules alone; "
        "found driver 580.95.05 with proprietary ones",
        'Set driver: "580": it installs a driver of branch 580 with open kernel modules.',
        id="rtx-5090-under-proprietary-modules",
    ),
    pytest.param(
        ["2bb5"],
        "550.163.01",
        "open",
        "is driven by 570.26 and newer, with open kernel modules; found driver 550.163.01 with open ones",
        'Set driver: "580"',
        id="rtx-pro-6000-on-550",
    ),
    pytest.param(
        ["2901"], "570.86.15", "open", "is driven by 570.133.20 and newer", 'Set driver: "580"', id="b200-on-570-86"
    ),
    pytest.param(
        ["2330"],
        "515.105.01",
        "proprietary",
        "(Hopper, compute capability 9.0) is driven by 520.61.05 and newer; found driver 515.105.01",
        'Set driver: "580"',
        id="hopper-on-515",
    ),
    pytest.param(
        ["2342"], "535.183.01", "proprietary", "is driven by open kernel modules alone", 'Set driver: "580"', id="gh200"
    ),
    pytest.param(
        ["102d"], "535.183.01", None, "driven by branch 470 and older", "Use another GPU: with", id="k80-on-535"
    ),
    pytest.param(
        ["2684"],
        None,
        None,
        "there is no NVIDIA driver for the GPU with PCI id 10de:2684 (Ada, compute capability 8.9)",
        'Set driver: "580": it installs a driver of branch 580.',
        id="no-driver-yet",
    ),
    pytest.param(
        ["2684"],
        "580.95.05",
        "open",
        "driver 580.95.05 lists no GPU, and the GPU with PCI id 10de:2684 (Ada, compute capability 8.9) is on the",
        "Look for lines of NVRM in the kernel log",
        id="a-driver-that-fits-and-no-known-cause",
    ),
    pytest.param(
        ["1b80"],
        "575.57.08",
        None,
        "it is driven by proprietary kernel modules alone, and which are loaded is unknown",
        "Look for lines of NVRM",
        id="unknown-modules-are-no-cause",
    ),
    pytest.param(
        ["1b80", "2b85"],
        "595.71.05",
        "open",
        "is driven by branch 580 and older",
        "No one driver runs all of these GPUs: put them into two machines.",
        id="two-that-no-driver-serves",
    ),
]


@pytest.mark.parametrize(("pci", "driver", "flavor", "because", "remedy"), REASONS)
def test_a_gpu_that_the_driver_leaves_out(
    pci: list[str], driver: str, flavor: str, because: str, remedy: str, ignored: Observe, decide: Decide
) -> None:
    decision = decide(ignored(pci, driver, flavor))
    assert (decision["verdict"], decision["route"], decision["pytorch"]) == ("blocked", "blocked", None)
    assert because in decision["summary"]
    assert decision["remedies"][0].startswith(remedy)
    assert "Set cuda: none to run on the CPU." in decision["remedies"]


@pytest.mark.parametrize(("pci", "driver", "flavor", "because", "remedy"), REASONS)
def test_its_remedy_is_a_wish_that_is_met(
    pci: list[str], driver: str, flavor: str, because: str, remedy: str, ignored: Observe, decide: Decide
) -> None:
    """What is told to be set is planned for the same machine, and then the GPU is one of the plan's."""
    if remedy.startswith("Set driver"):
        decision = decide(ignored(pci, driver, flavor), driver=remedy.split('"')[1])
        assert decision["driver"]["action"] in drivers.CHANGING, because
        assert decision["route"] not in ("cpu", "forward_compat")
    assert decide(ignored(pci, driver, flavor), cuda="none")["route"] == "cpu"


@pytest.mark.parametrize(
    ("pci", "nouveau", "because"),
    [
        (["1c8d"], False, "is driven by branch 580 and older, with proprietary kernel modules; found driver 595.71.05"),
        (["2684"], False, "driver 595.71.05 is installed and not loaded, and the GPU with PCI id 10de:2684"),
        (["2684"], True, "not loaded: the kernel's own nouveau is loaded in its place, and the GPU with"),
    ],
)
def test_modules_that_find_no_gpu_are_not_loaded_at_all(
    pci: list[str], because: str, ignored: Observe, decide: Decide, *, nouveau: bool
) -> None:
    facts = ignored(pci, "595.71.05")
    facts["driver"] = {"status": "missing", "version": None}
    facts["installed"]["driver"] |= {"loaded_version": None, "module_version": "595.71.05", "nouveau_loaded": nouveau}
    decision = decide(facts)
    assert decision["verdict"] == "blocked"
    assert because in decision["summary"]


def test_the_refusal_carries_its_wish(ignored: Observe, case: Any) -> None:
    refusal = bus.judge_bus(case(ignored(["1c8d"], "595.71.05")))
    assert refusal is not None
    assert refusal.wish == {"driver": "580"}


def test_a_wish_that_the_machine_refuses_is_told_with_what_stands_in_its_way(ignored: Observe, decide: Decide) -> None:
    [remedy, *_rest] = decide(ignored(["1c8d"], "595.71.05", source="runfile"))["remedies"]
    assert remedy == (
        "Install a driver of branch 580 with proprietary kernel modules. Driver 595.71.05 was installed by NVIDIA's "
        ".run installer, which packages must not be mixed with. Remove it first: nvidia-uninstall, then reboot. "
        'Then set driver: "580", or install it by hand.'
    )


def test_a_container_cannot_change_the_driver(ignored: Observe, decide: Decide) -> None:
    decision = decide(ignored(["1db6"], "595.71.05", kind="container"))
    assert decision["verdict"] == "blocked"
    assert decision["remedies"][0].startswith("Use another host, or have its owner install a driver of branch 580")


@pytest.mark.parametrize("driver", ["580.95.05", None])
def test_a_container_that_was_not_given_the_gpu_of_its_host(
    driver: str | None, ignored: Observe, decide: Decide
) -> None:
    """The bus shows the host's GPUs to every container: one that its driver runs was not given to this one."""
    decision = decide(ignored(["2330"], driver, kind="container"))
    assert (decision["verdict"], decision["route"]) == ("degraded", "cpu")
    assert "Start the container with --gpus all." in decision["remedies"]


@pytest.mark.parametrize("pci", [["10c0"], ["22a3"], ["zz"]])
def test_an_unknown_id_is_told_as_unknown(pci: list[str], ignored: Observe, decide: Decide) -> None:
    decision = decide(ignored(pci, None))
    assert (decision["verdict"], decision["route"]) == ("degraded", "cpu")
    text = f"On the PCI bus is a GPU of NVIDIA's that is not known here: 10de:{pci[0]}; see lspci -nn."
    assert text in decision["warnings"]


def test_an_empty_bus_is_a_machine_without_a_gpu(ignored: Observe, decide: Decide) -> None:
    assert decide(ignored([], None))["verdict"] == "ok"


def test_a_gpu_beside_others_is_told_of(host: Observe, decide: Decide) -> None:
    facts = host("RTX3090", "580.95.05")
    facts["installed"]["driver"] = {"flavor": "open", "pci": ["2204", "1b82"], "loaded_version": "580.95.05"}
    decision = decide(facts)
    assert (decision["verdict"], decision["route"]) == ("ok", "native")
    assert any(
        "left out: the GPU with PCI id 10de:1b82 (Pascal, compute capability 6.1) is driven by proprietary" in text
        for text in decision["warnings"]
    )


def test_compiling_for_other_gpus_needs_none(ignored: Observe, decide: Decide) -> None:
    wish = {"pytorch": "2.9", "cuda": "12.8", "architectures": ["9.0"], "source": {"extensions": ["flash-attn"]}}
    decision = decide(ignored(["2684"], None), **wish)
    assert (decision["verdict"], decision["route"]) == ("degraded", "cpu")
