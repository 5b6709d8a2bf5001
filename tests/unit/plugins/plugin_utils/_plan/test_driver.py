"""The driver of a machine that its user owns: each rule by its words, and what is planned beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import driver as drivers
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.fetches import required_sources
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.plan import check_request
from ansible_collections.podsmith.gpu.plugins.plugin_utils._report.stack import render_text
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import RequestError

Decision = dict[str, Any]
Observe = Callable[..., dict[str, Any]]
Decide = Callable[..., Decision]


def disk(version: str | None = "570.133.20", **changes: Any) -> dict[str, Any]:
    """``installed.driver`` of a machine whose driver came from NVIDIA's repository and runs."""
    return {
        "packages": {"nvidia-open": f"{version}-1", "libcuda1": f"{version}-1"} if version else {},
        "source": "apt" if version else "none",
        "flavor": "open" if version else None,
        "held": False,
        "pinned": None,
        "module_version": version,
        "library_version": version,
        "loaded_version": version,
        "dkms": bool(version),
        "headers": True,
        "secure_boot": False,
        "mok": "none",
        "nouveau_loaded": False,
        "in_use": False,
        "pci": [],
        "changed": None,
        **changes,
    }


@pytest.fixture
def box(host: Observe) -> Callable[..., dict[str, Any]]:
    """A build box with an RTX 5090; ``driver`` runs, ``on_disk`` changes what the disk has."""

    def call(driver: str | None = "570.133.20", gpu: str = "RTX5090", **on_disk: Any) -> dict[str, Any]:
        keys = ("kind", "os", "root", "arch")
        platform = {key: on_disk.pop(key) for key in keys if key in on_disk}
        observed = host(gpu if driver else None, driver, **platform)
        observed["platform"]["kernel"] = "6.8.0-45-generic"
        observed["installed"]["driver"] = disk(driver, **on_disk)
        return observed

    return call


def told(decision: Decision) -> str:
    return " ".join([decision["summary"], *decision["remedies"]])


def pending(decision: Decision) -> list[tuple[str, str, str | None, str | None]]:
    rows = [row for row in decision["changes"] if row["role"] == "nvidia_driver"]
    return [(row["action"], row["what"], row["from"], row["to"]) for row in rows]


# --- the wish ---


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        pytest.param(580, 'is the number 580; expected text: put it in quotes, such as "580".', id="number"),
        pytest.param("5800.1.2.3", "expected a branch or version of the driver such as 580", id="form"),
        pytest.param("580; reboot", "expected a branch or version of the driver", id="shell"),
        pytest.param("newest", "expected a branch or version of the driver", id="newest"),
        pytest.param("581", 'names "581", which the catalogue does not have; the nearest is 580.', id="branch"),
        pytest.param("581.42", 'names "581", which the catalogue does not have; the nearest is 580.', id="windows"),
        pytest.param("57", "expected a branch or version of the driver", id="short"),
    ],
)
def test_a_wish_that_cannot_be_understood(wish: Any, words: str, known: Catalogue) -> None:
    with pytest.raises(RequestError) as caught:
        check_request({"driver": wish}, known)
    assert words in str(caught.value)


@pytest.mark.parametrize("wish", ["keep", "580", "580.95.05", "570.26"])
def test_a_wish_that_is_understood(wish: str, known: Catalogue) -> None:
    assert check_request({"driver": wish}, known).driver == wish


def test_by_default_the_driver_is_left_alone(box: Observe, decide: Decide) -> None:
    decision = decide(box())
    assert (decision["driver"]["action"], decision["driver"]["reboot"], pending(decision)) == ("keep", "no", [])


# --- what may not be touched ---


@pytest.mark.parametrize(
    ("observed", "wish", "words"),
    [
        pytest.param(
            {"kind": "container"},
            "580",
            [
                "this is a container, which uses its host's driver and cannot upgrade it",
                "on the host itself",
                "driver: keep",
            ],
            id="container",
        ),
        pytest.param(
            {"driver": "580.95.05", "kind": "container"}, "580", ["this is a container"], id="container-of-that-branch"
        ),
        pytest.param(
            {"driver": "566.36", "kind": "wsl2"},
            "580",
            [
                "this is WSL2, where the driver is the one of Windows",
                "Update the NVIDIA driver in Windows",
                "wsl --shutdown",
            ],
            id="wsl2",
        ),
        pytest.param({"root": False}, "580", ["this is not root", "become: true"], id="not-root"),
        pytest.param({"os": "fedora 42"}, "580", ["keeps dnf to branch 580", "leave driver: keep"], id="no-branches"),
        pytest.param(
            {"os": "debian 10"}, "580", ["no driver for Debian 10 on x86_64; it has", "Ubuntu 24.04"], id="old-system"
        ),
        pytest.param({"os": "debian 12", "arch": "aarch64"}, "580", ["no driver for Debian 12 on aarch64"], id="arch"),
        pytest.param(
            {"source": "runfile", "packages": {}},
            "580",
            ["driver 570.133.20 was installed by NVIDIA's .run installer", "nvidia-uninstall, then reboot"],
            id="runfile",
        ),
        pytest.param(
            {"source": "distribution"},
            "580",
            ["driver 570.133.20 comes from the distribution's packages", "apt-get purge"],
            id="distribution",
        ),
        pytest.param(
            {"source": "none", "packages": {}},
            "580",
            ["driver 570.133.20 runs, and no package", "reboot"],
            id="unknown",
        ),
        pytest.param(
            {"secure_boot": True, "mok": "waiting"},
            "580",
            ["Secure Boot is on", "not enrolled", "mokutil --import", "confirm at the console"],
            id="secure-boot",
        ),
        pytest.param({"secure_boot": True, "mok": "none"}, "580", ["mokutil --import"], id="secure-boot-without-key"),
        pytest.param(
            {"driver": "580.95.05"},
            "565",
            ["NVIDIA GeForce RTX 5090 (Blackwell) needs driver 570.26", "driver 565", 'Set driver: "570" or newer'],
            id="too-old-for-the-gpu",
        ),
        pytest.param(
            {"driver": "580.95.05", "gpu": "B200"},
            "570.133.07",
            ["NVIDIA B200 (Blackwell) needs driver 570.133.20, and driver 570.133.07 is older"],
            id="too-old-in-the-third-number",
        ),
        pytest.param(
            {"gpu": "V100", "flavor": "proprietary"},
            "590",
            [
                "driver branch 580 is the last one for Tesla V100-SXM2-16GB (Volta), and 590 is newer",
                'Set driver: "580"',
            ],
            id="dropped",
        ),
    ],
)
def test_a_driver_is_refused(
    observed: dict[str, Any], wish: str, words: list[str], box: Observe, decide: Decide
) -> None:
    decision = decide(box(**observed), driver=wish)
    assert decision["verdict"] == "blocked"
    assert [word for word in words if word not in told(decision)] == []
    assert (decision["changes"], decision["driver"]["reboot"]) == ([], "no")


def test_a_driver_must_serve_the_wished_cuda(box: Observe, decide: Decide) -> None:
    decision = decide(box("580.95.05"), driver="570", cuda="13.0")
    assert "supports CUDA 12.8; CUDA 13.0 needs driver 580" in told(decision)
    assert decision["remedies"][:2] == ['Set driver: "580" or newer.', 'Set cuda: "12.8".']


def test_a_disk_that_nobody_read_is_unknown_and_refuses_nothing(host: Observe, decide: Decide) -> None:
    assert decide(host("RTX5090", "570.133.20"), driver="580")["driver"]["action"] == "upgrade"


def test_user_scope_is_refused(box: Observe, decide: Decide) -> None:
    assert "the scope is user" in told(decide(box(), driver="580", scope="user"))


def test_two_gpus_that_want_different_modules(host: Observe, decide: Decide) -> None:
    observed = host(["RTX5090", "GTX1080"], "570.133.20")
    observed["installed"]["driver"] = disk()
    assert "runs only with open kernel modules and" in told(decide(observed, driver="580"))


# --- the modules ---


@pytest.mark.parametrize(
    ("gpu", "wish", "flavor", "packages"),
    [
        pytest.param("RTX5090", "580", "open", ["nvidia-open-580"], id="blackwell"),
        pytest.param("RTX4090", "580", "open", ["nvidia-open-580"], id="default-since-560"),
        pytest.param("RTX4090", "550", "proprietary", ["cuda-drivers-550"], id="default-before-560"),
        pytest.param("GH200", "550", "open", ["nvidia-open-550"], id="grace-hopper"),
        pytest.param("V100", "580", "proprietary", ["cuda-drivers-580"], id="volta"),
        pytest.param("GTX1080", "580", "proprietary", ["cuda-drivers-580"], id="pascal"),
        pytest.param("RTX5090", "590", "open", ["nvidia-open"], id="names-without-branch"),
    ],
)
def test_kernel_modules(
    gpu: str, wish: str, flavor: str, packages: list[str], host: Observe, decide: Decide, known: Catalogue
) -> None:
    observed = host(gpu, "535.171.04" if gpu != "RTX5090" else "570.133.20")
    observed["installed"]["driver"] = disk(observed["driver"]["version"])
    driver = decide(observed, driver=wish, pytorch="none", toolkit={"provider": "none"})["driver"]
    assert (driver["flavor"], driver["packages"]) == (flavor, packages)


def test_modules_that_the_gpu_does_not_run_with_are_replaced(box: Observe, decide: Decide) -> None:
    driver = decide(box("580.95.05", flavor="proprietary"), driver="580")["driver"]
    assert (driver["action"], driver["flavor"], driver["reboot"]) == ("upgrade", "open", "needed")


def test_debian_has_names_without_a_branch(box: Observe, decide: Decide) -> None:
    driver = decide(box(os="debian 12"), driver="580")["driver"]
    assert (driver["packages"], driver["repository"], driver["pin"]) == (["nvidia-open"], "debian12", "580.*")


def test_missing_headers_are_installed(box: Observe, decide: Decide) -> None:
    driver = decide(box(headers=False), driver="580")["driver"]
    assert driver["packages"] == ["linux-headers-6.8.0-45-generic", "nvidia-open-580"]


# --- the plan for the driver that will be there ---


def test_the_rest_is_planned_for_after_the_reboot(box: Observe, decide: Decide) -> None:
    decision = decide(box(), driver="580", cuda="13.0")
    driver = decision["driver"]
    assert (driver["action"], driver["version"], driver["reboot"]) == ("upgrade", "580.95.05", "needed")
    assert (driver["held"], driver["loaded"], driver["exact"]) == (True, "570.133.20", False)
    assert (decision["route"], decision["cuda"]) == ("native", "13.0")
    new = "the newest of branch 580, open kernel modules, pinned; then a reboot"
    assert pending(decision) == [("replace", "NVIDIA driver 580", "570.133.20", new)]
    assert decision["changes"][0]["role"] == "nvidia_driver"
    assert "cuda_toolkit" in {row["role"] for row in decision["changes"]}


def test_a_machine_without_a_driver_gets_one(box: Observe, decide: Decide) -> None:
    observed = box(None, nouveau_loaded=True)
    decision = decide(observed, driver="580", cuda="13.0", architectures=["12.0"])
    assert (decision["driver"]["action"], decision["driver"]["flavor"]) == ("install", "open")
    assert (decision["route"], decision["environment"]["scope"]) == ("native", "system")
    assert any("nouveau" in text for text in decision["warnings"])


@pytest.mark.parametrize(
    ("device", "flavor", "capability"),
    [
        pytest.param("2b85", "open", "12.0", id="rtx5090"),
        pytest.param("2684", "open", "8.9", id="rtx4090"),
        pytest.param("1db1", "proprietary", "7.0", id="v100"),
        pytest.param("1b80", "proprietary", "6.1", id="gtx1080"),
        pytest.param("1eb8", "open", "7.5", id="t4"),
        pytest.param("20b0", "open", "8.0", id="a100"),
    ],
)
def test_a_gpu_without_a_driver_is_known_by_its_pci_id(
    device: str, flavor: str, capability: str, box: Observe, decide: Decide, known: Catalogue
) -> None:
    driver = decide(box(None, pci=[device]), driver="580")["driver"]
    assert (driver["action"], driver["flavor"]) == ("install", flavor)
    row = drivers.by_pci(device, known)
    assert row is not None
    assert row["compute_capability"] == capability


def test_a_gpu_of_no_known_pci_id(known: Catalogue) -> None:
    assert drivers.by_pci("ffff", known) is None
    assert drivers.by_pci("no number", known) is None


def test_a_gpu_that_nobody_saw_is_named(box: Observe, decide: Decide) -> None:
    decision = decide(box(None), driver="580")
    assert any("list its compute capability in architectures" in text for text in decision["warnings"])


@pytest.mark.parametrize(
    ("there", "wish", "action"),
    [
        ("580.65.06", "580", "none"),
        ("580.65.06", "580.95.05", "upgrade"),
        ("580.159.04", "580.95.05", "downgrade"),  # newer as numbers, older as text
        ("590.44.01", "580", "downgrade"),
        ("570.133.20", "580", "upgrade"),
        ("580.95.05", "580.95.05", "none"),
    ],
)
def test_action(there: str, wish: str, action: str, box: Observe, decide: Decide) -> None:
    assert decide(box(there), driver=wish)["driver"]["action"] == action


@pytest.mark.parametrize(
    ("version", "wish", "meets"),
    [
        ("580.95.05", "580", True),
        ("5800.1", "580", False),
        ("580.95.05", "580.95.5", True),
        ("580.95", "580.95.05", False),
        ("570.133.20", "580", False),
    ],
)
def test_meets(version: str, wish: str, meets: bool) -> None:
    assert drivers.meets(version, wish) is meets


def test_the_newest_known_of_a_branch(known: Catalogue) -> None:
    assert (drivers.newest_of("580", known), drivers.newest_of("450", known)) == ("580.95.05", "450")


# --- adopted ---


def test_a_driver_of_the_wished_branch_is_adopted_and_pinned(box: Observe, decide: Decide) -> None:
    decision = decide(box("580.65.06"), driver="580")
    assert (decision["driver"]["packages"], decision["driver"]["reboot"]) == ([], "no")
    assert pending(decision) == [("repair", "pin of NVIDIA driver 580", None, "580.*")]
    assert any("is used as it is" in reason["text"] for reason in decision["reasons"])


def test_a_pinned_driver_has_no_change(box: Observe, decide: Decide) -> None:
    decision = decide(box("580.65.06", held=True, pinned="580.*"), driver="580")
    assert (pending(decision), decision["driver"]["held"]) == ([], True)


@pytest.mark.parametrize("source", ["runfile", "distribution"])
def test_a_foreign_driver_of_the_wished_branch_is_left_and_named(source: str, box: Observe, decide: Decide) -> None:
    decision = decide(box("580.65.06", source=source), driver="580")
    assert (pending(decision), decision["driver"]["held"], decision["verdict"]) == ([], False, "ok")
    assert any("it is not pinned" in text for text in decision["warnings"])


# --- the reboot ---


@pytest.fixture
def waiting(box: Observe) -> dict[str, Any]:
    """The driver was installed; the old one still runs."""
    observed = box(module_version="580.95.05", library_version="580.95.05", held=True, pinned="580.*")
    observed["driver"]["status"] = "mismatch"
    observed["devices"][0]["compute_capability"] = None  # /proc tells the name alone
    return observed


def test_what_is_missing_is_a_reboot(waiting: dict[str, Any], decide: Decide) -> None:
    decision = decide(waiting, driver="580", cuda="13.0")
    driver = decision["driver"]
    assert (driver["action"], driver["version"], driver["reboot"]) == ("none", "580.95.05", "pending")
    assert pending(decision) == [("reboot", "the machine", "driver 570.133.20 runs", "driver 580.95.05")]
    assert (decision["verdict"], decision["route"], decision["cuda"]) == ("broken", "native", "13.0")
    assert decision["now"]["hopeless"], "until the reboot CUDA does not start, and the verdict is of now"


def test_the_report_says_so(waiting: dict[str, Any], decide: Decide) -> None:
    decision = decide(waiting, driver="580")
    text = " ".join(render_text(decision, waiting, "box", changed=[]).split())
    assert "verdict pending: driver 580.95.05 is installed, driver 570.133.20 is still loaded" in text
    assert "nothing that needs the new one was changed. Reboot and run this again, or set" in text
    assert "nvidia_driver_reboot: true" in text
    assert "activate with" not in text, "nothing was built yet"


def test_the_report_of_an_upgrade(box: Observe, decide: Decide) -> None:
    observed = box()
    text = " ".join(render_text(decide(observed, driver="580"), observed, "box").split())
    assert (
        "~ NVIDIA driver 580 570.133.20 → the newest of branch 580, open kernel modules, pinned; then a reboot" in text
    )
    assert "verdict ok:" in text


def test_after_the_reboot_nothing_is_left_of_the_driver(box: Observe, decide: Decide) -> None:
    decision = decide(box("580.95.05", held=True, pinned="580.*"), driver="580")
    assert (pending(decision), decision["driver"]["reboot"]) == ([], "no")


def test_the_digest_is_that_of_the_stack(box: Observe, decide: Decide) -> None:
    there = box("580.95.05", held=True, pinned="580.*")
    assert decide(there, driver="580")["digest"] == decide(there)["digest"] == decide(box(), driver="580")["digest"]


# --- a mismatch that nobody planned ---

UPGRADE = {
    "at": "2026-11-20 06:12:33",
    "command": "/usr/bin/unattended-upgrade",
    "by": None,
    "package": "libcuda1",
    "from": "570.133.20-1",
    "to": "570.211.01-1",
    "log": "/var/log/apt/history.log",
}


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        pytest.param(
            {"in_use": True, "changed": UPGRADE},
            "bare_metal",
            [
                "the kernel runs driver 570.133.20 and its libraries on the disk are of 570.211.01",
                '/var/log/apt/history.log: 2026-11-20 06:12:33 "/usr/bin/unattended-upgrade" changed libcuda1',
                "from 570.133.20-1 to 570.211.01-1",
                "Reboot: the driver is in use",
            ],
            id="in-use",
        ),
        pytest.param({"in_use": False}, "bare_metal", ["modprobe --remove nvidia_uvm", "Or reboot."], id="idle"),
        pytest.param({"in_use": True}, "container", ["Restart the container"], id="container"),
        pytest.param(
            {"library_version": None},
            "bare_metal",
            ["driver/library mismatch", "modprobe --remove nvidia_uvm nvidia_drm nvidia_modeset nvidia"],
            id="unknown",
        ),
    ],
)
def test_a_mismatch_is_explained(
    changes: dict[str, Any], kind: str, words: list[str], box: Observe, decide: Decide
) -> None:
    observed = box(kind=kind, **{"library_version": "570.211.01", **changes})
    observed["driver"]["status"] = "mismatch"
    decision = decide(observed)
    assert decision["verdict"] == "broken"
    assert [word for word in words if word not in told(decision)] == []


# --- where it comes from ---


def test_the_repository_is_asked_before_anything_is_changed(box: Observe, decide: Decide, known: Catalogue) -> None:
    wish = {"pytorch": "none", "toolkit": {"provider": "none"}}
    mirrors = {"nvidia_repository_url": "http://mirror/cuda/repos/"}
    (source,) = required_sources(decide(box(), driver="580", **wish), mirrors, known)
    assert source["url"] == "http://mirror/cuda/repos/"
    held = box("580.65.06")
    assert required_sources(decide(held, driver="580", **wish), mirrors, known) == []
