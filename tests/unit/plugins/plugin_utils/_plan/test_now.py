"""Whether CUDA works now: a table of faults, each of which one rule alone sees, and what follows for the plan."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import now as judgement
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.ways import LABELS, MAIN

Decide = Callable[..., dict[str, Any]]
Facts = dict[str, Any]

DRIVER = "580.95.05"
OWN = f"/usr/lib/x86_64-linux-gnu/libcuda.so.{DRIVER}"
COMPAT = {
    "package": "cuda-compat-12-9",
    "version": "575.57.08",
    "path": "/usr/local/cuda-12.9/compat",
    "cuda": "12.9",
}
NEWER = {
    "package": "cuda-compat-13-0",
    "version": "580.95.05",
    "path": "/usr/local/cuda-13.0/compat",
    "cuda": "13.0",
    "branches": [535, 570],
    "brands": [1, 2, 3, 4, 7, 8, 9, 10, 11, 12, 14],
}
NAMES = {
    0: "CUDA_SUCCESS",
    3: "CUDA_ERROR_NOT_INITIALIZED",
    34: "CUDA_ERROR_STUB_LIBRARY",
    100: "CUDA_ERROR_NO_DEVICE",
    101: "CUDA_ERROR_INVALID_DEVICE",
    802: "CUDA_ERROR_SYSTEM_NOT_READY",
    803: "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
    999: "CUDA_ERROR_UNKNOWN",
}


def way(code: int | None = 0, libcuda: str | None = OWN, *, devices: int | None = None, **more: Any) -> Facts:
    """One way into the host as the facts give it."""
    name = NAMES.get(code, "TIMEOUT") if code is not None else "TIMEOUT"
    return {
        "libcuda": libcuda,
        "version": None if libcuda is None else libcuda.partition(".so.")[2],
        "driver_api": "13.0",
        "compat_active": "compat" in (libcuda or "").split("/"),
        "stub": False,
        "init": None if libcuda is None else {"code": code, "name": name},
        "devices": (1 if code == 0 else 0) if devices is None else devices,
        "environ": {},
        **more,
    }


OPEN = {"status": "ok", "version": DRIVER, "flavor": "open"}


def native(code: int = 0, devices: int | None = None) -> Facts:
    """What the driver's own library answers in a clean environment."""
    return {"init": {"code": code, "name": NAMES[code]}, "devices": int(code == 0) if devices is None else devices}


# fault → what changes it makes to healthy facts: (ways, driver, devices, anything else)
def wrong(facts: Facts, *names: str, **changes: Any) -> Facts:
    """The same host, wrong by these ways and fine by the others."""
    facts["ways"] = {name: way(**changes) if name in names else way() for name in LABELS if name != "environment"}
    facts["driver"] |= {"libcuda": OWN, "native": native()}
    return facts


def never_asks(facts: Facts) -> Facts:
    facts = wrong(facts)
    facts["ways"]["login"] = {}
    return facts


def silent_shell(facts: Facts) -> Facts:
    facts = wrong(facts)
    facts["ways"]["interactive"] = {}
    return facts


def no_library(facts: Facts) -> Facts:
    facts = wrong(facts, "login", libcuda=None)
    row = {"kind": "loader_missing", "file": "", "line": None, "text": "", "path": "/usr/local/nvidia/lib64"}
    facts["conflicts"] = [row]
    return facts


def stub_library(facts: Facts) -> Facts:
    return wrong(facts, "login", code=34, libcuda="/usr/local/cuda/lib64/stubs/libcuda.so", stub=True, version=None)


def repeated_device(facts: Facts) -> Facts:
    facts = wrong(facts, "interactive", code=101, environ={"CUDA_VISIBLE_DEVICES": "0,0"})
    row = {"variable": "CUDA_VISIBLE_DEVICES", "value": "0,0", "file": "/root/.bashrc", "line": 12}
    facts["ways"]["interactive"]["causes"] = [row | {"text": "export CUDA_VISIBLE_DEVICES=0,0"}]
    return facts


def hidden_devices(facts: Facts) -> Facts:
    return wrong(facts, "login", code=100, environ={"CUDA_VISIBLE_DEVICES": "-1"})


def compat_not_allowed(facts: Facts) -> Facts:
    library = f"{COMPAT['path']}/libcuda.so.{COMPAT['version']}"
    facts = wrong(facts, "login", "service", code=803, libcuda=library)
    facts["installed"]["compat"] = [COMPAT]
    file = "/etc/ld.so.conf.d/00-cuda-compat.conf"
    row = {"kind": "ld_library_path", "file": file, "line": 1, "text": COMPAT["path"], "path": COMPAT["path"]}
    facts["conflicts"] = [row]
    return facts


def another_library(facts: Facts) -> Facts:
    """An image brings a libcuda of its own, which starts: nobody would see it by the answer."""
    return wrong(facts, "login", libcuda="/opt/image/libcuda.so.580.65.06")


def another_path(facts: Facts) -> Facts:
    return wrong(facts, "login", libcuda="/opt/image/libcuda.so.1", version=None)


def cuda_fails(facts: Facts) -> Facts:
    return wrong(facts, "environment", "login", code=999)


def fewer_devices(facts: Facts) -> Facts:
    facts["devices"] *= 2
    facts = wrong(facts, *LABELS, devices=1)
    facts["driver"]["native"] = native(devices=1)
    return facts


def driver_does_not_answer(facts: Facts) -> Facts:
    facts["driver"]["status"] = "mismatch"
    return facts


def grave_xid(facts: Facts) -> Facts:
    facts["devices"][0]["xid"] = [79]
    return wrong(facts)


def compute_prohibited(facts: Facts) -> Facts:
    facts["devices"][0]["compute_mode"] = "prohibited"
    return wrong(facts)


def exclusive_process(facts: Facts) -> Facts:
    facts["devices"][0]["compute_mode"] = "exclusive_process"
    return wrong(facts)


def mig_without_slice(facts: Facts) -> Facts:
    facts["devices"][0]["mig"] = True
    facts = wrong(facts, *LABELS, code=100)
    facts["driver"]["native"] = native(100)
    return facts


def own_library_fails(facts: Facts) -> Facts:
    """By a library of another version in every way, and by the driver's own as well: it is the driver."""
    facts = wrong(facts, *LABELS, code=803, libcuda="/opt/image/libcuda.so.580.65.06")
    facts["driver"]["native"] = native(802)
    return facts


def own_library_failed(facts: Facts) -> Facts:
    """As older facts have it: a login shell, and nothing else was asked."""
    facts["loader"] = {key: value for key, value in way(3).items() if key not in ("version", "stub", "environ")}
    return facts


def no_library_at_all(facts: Facts) -> Facts:
    facts["ways"] = {}
    return facts


def lesser_xid(facts: Facts) -> Facts:
    facts["devices"][0]["xid"] = [63, 13]
    return wrong(facts)


def chosen_devices(facts: Facts) -> Facts:
    facts["devices"] *= 2
    facts = wrong(facts, devices=2)
    for name in facts["ways"]:
        facts["ways"][name] = way(devices=1, environ={"CUDA_VISIBLE_DEVICES": "1"})
    return facts


def small_shared_memory(facts: Facts) -> Facts:
    facts["platform"]["limits"] = {"shm_mib": 1, "open_files": 1024, "memlock_kib": 8192}
    return wrong(facts)


# rule → a host that this rule alone sees through, and words that it tells
DRIVER_FAULTS = {
    "driver_does_not_answer": (driver_does_not_answer, "different versions"),
    "grave_xid": (grave_xid, "GPU 0 had Xid 79 (GPU fell off the bus) since the kernel started"),
    "compute_prohibited": (
        compute_prohibited,
        "is in compute mode Prohibited: CUDA starts, and every program on it fails with error 46",
    ),
    "mig_without_slice": (mig_without_slice, "MIG is on for GPU 0, and CUDA sees no slice of it"),
    "own_library_fails": (
        own_library_fails,
        f"CUDA answers 802 (CUDA_ERROR_SYSTEM_NOT_READY) by the driver's own library ({OWN})",
    ),
    "own_library_failed": (
        own_library_failed,
        f"CUDA answers 3 (CUDA_ERROR_NOT_INITIALIZED) by the driver's own library ({OWN})",
    ),
    "no_library_at_all": (no_library_at_all, f"driver {DRIVER} is loaded, and the host has no libcuda.so.1"),
}
WAY_FAULTS = {
    "never_asks": (never_asks, "login shell: it ended before CUDA was asked"),
    "no_library": (no_library, "login shell: the loader finds no libcuda.so.1"),
    "stub_library": (
        stub_library,
        "the stub /usr/local/cuda/lib64/stubs/libcuda.so is loaded, which is for linking only (error 34)",
    ),
    "repeated_device": (repeated_device, 'CUDA_VISIBLE_DEVICES is "0,0", which names a GPU twice (error 101)'),
    "hidden_devices": (hidden_devices, 'CUDA_VISIBLE_DEVICES is "-1", which hides every GPU (error 100)'),
    "compat_not_allowed": (
        compat_not_allowed,
        f"compat library 575.57.08 from {COMPAT['path']} is loaded, which is not newer than driver {DRIVER}",
    ),
    "another_library": (
        another_library,
        f"libcuda 580.65.06 (/opt/image/libcuda.so.580.65.06) is loaded instead of the driver's {DRIVER}",
    ),
    "cuda_fails": (cuda_fails, "login shell: CUDA answers 999 (CUDA_ERROR_UNKNOWN)"),
    "fewer_devices": (fewer_devices, "CUDA sees 1 of 2 GPUs"),
}
NOTES = {
    "lesser_xid": (lesser_xid, "GPU 0 had Xid 63 (Memory row or page marked for replacement) since the kernel started"),
    "exclusive_process": (exclusive_process, "GPU 0 is in compute mode Exclusive_Process"),
    "silent_shell": (silent_shell, "The interactive shell ended before CUDA was asked"),
    "chosen_devices": (chosen_devices, 'CUDA_VISIBLE_DEVICES is "1": some of the 2 GPUs are hidden'),
    "small_shared_memory": (small_shared_memory, "/dev/shm has 1 MiB"),
}
RULES = [
    *(("DRIVER_RULES", name, *case) for name, case in DRIVER_FAULTS.items()),
    *(("WAY_RULES", name, *case) for name, case in WAY_FAULTS.items()),
    *(("NOTES", name, *case) for name, case in NOTES.items()),
]


def told(decision: Facts) -> str:
    """All that a judgement says, in one text."""
    return " ".join([decision["now"]["summary"], *decision["warnings"]])


@pytest.mark.parametrize(("table", "name", "fault", "words"), RULES, ids=[row[1] for row in RULES])
def test_each_judgement_is_made(table: str, name: str, fault: Any, words: str, host: Any, decide: Decide) -> None:
    decision = decide(fault(host("H100", DRIVER)), cuda="13.0")
    assert words in told(decision)
    stopped = table == "DRIVER_RULES"
    assert decision["now"]["hopeless"] is stopped
    verdict = {"DRIVER_RULES": "broken", "WAY_RULES": "broken", "NOTES": "ok"}[table]
    assert decision["verdict"] == verdict
    assert decision["now"]["works"] is (verdict == "ok")
    if stopped:
        assert (decision["route"], decision["changes"], decision["download"]["mib"]) == ("blocked", [], 0)
        assert decision["summary"].endswith(decision["now"]["summary"]), "the driver is the reason, and no other"
    elif verdict == "broken":
        assert decision["route"] == "native", "the stack is planned, and goes on"
    assert decision["remedies"] or verdict == "ok"


@pytest.mark.parametrize(("table", "name", "fault", "words"), RULES, ids=[row[1] for row in RULES])
def test_without_its_rule_a_fault_is_not_seen(
    table: str, name: str, fault: Any, words: str, host: Any, decide: Decide, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each rule carries its case alone: switched off, its words are gone."""
    rest = tuple(rule for rule in getattr(judgement, table) if rule.__name__ != name)
    assert len(rest) == len(getattr(judgement, table)) - 1
    monkeypatch.setattr(judgement, table, rest)
    assert words not in told(decide(fault(host("H100", DRIVER)), cuda="13.0"))


def test_every_rule_has_a_case() -> None:
    rules = [rule.__name__ for table in ("DRIVER_RULES", "WAY_RULES", "NOTES") for rule in getattr(judgement, table)]
    assert sorted(rules) == sorted(row[1] for row in RULES)


def test_a_healthy_host_works_by_every_way(host: Any, decide: Decide) -> None:
    facts = wrong(host("H100", DRIVER))
    facts["ways"]["environment"] = way()
    facts["driver"]["native"] = None
    decision = decide(facts, cuda="13.0")
    assert decision["verdict"] == "ok"
    now = decision["now"]
    assert (now["works"], now["hopeless"], now["causes"], now["summary"]) == (True, False, [], "")
    assert {name: row["works"] for name, row in now["ways"].items()} == dict.fromkeys(LABELS, True)
    assert now["ways"]["login"] == {
        "works": True,
        "libcuda": OWN,
        "version": DRIVER,
        "code": 0,
        "name": "CUDA_SUCCESS",
        "devices": 1,
        "because": "",
    }


# --- there is nothing to judge ---


@pytest.mark.parametrize(
    ("changes", "wished"),
    [
        pytest.param({}, {"cuda": "none"}, id="no-cuda-is-wanted"),
        pytest.param({"devices": []}, {"cuda": "13.0"}, id="no-gpu"),
        pytest.param({"driver": {"status": "missing"}}, {"cuda": "13.0"}, id="no-driver"),
        pytest.param({"driver": {"status": "no_device"}}, {"cuda": "13.0"}, id="a-driver-without-a-gpu"),
        pytest.param({"target": {"gpus": ["NVIDIA H100 80GB HBM3"]}}, {"cuda": "13.0"}, id="an-image-under-build"),
    ],
)
def test_nothing_to_judge(changes: Facts, wished: Facts, host: Any, decide: Decide) -> None:
    decision = decide(wrong(host("H100", DRIVER), *LABELS, code=803) | changes, **wished)
    assert (decision["now"]["works"], decision["now"]["ways"]) == (None, {})
    assert decision["verdict"] != "broken"


def test_facts_that_say_nothing_are_not_judged(host: Any, decide: Decide) -> None:
    facts = host("H100", DRIVER)
    assert decide(facts, cuda="13.0")["now"]["works"] is None, "the loader's answer is not among them"
    del facts["loader"]
    assert decide(facts, cuda="13.0")["now"]["works"] is None


# --- what is right although it looks odd ---


def one_way(facts: Facts, **changes: Any) -> Facts:
    facts["ways"] = {"login": way(**changes)}
    return facts


@pytest.mark.parametrize("answer", [{}, way(None, None, init={"code": None, "name": "TIMEOUT"})])
def test_an_interactive_shell_without_a_terminal_may_be_silent(answer: Facts, host: Any, decide: Decide) -> None:
    """It may start another shell, or wait for its user: that says nothing of CUDA."""
    facts = wrong(host("H100", DRIVER))
    facts["ways"]["interactive"] = answer
    decision = decide(facts, cuda="13.0")
    assert (decision["verdict"], decision["now"]["ways"]["interactive"]["works"]) == ("ok", None)


def test_compat_that_the_plan_uses_is_right(host: Any, decide: Decide) -> None:
    facts = host("H100", "570.133.20", compat=[NEWER])
    decision = decide(one_way(facts, libcuda=f"{NEWER['path']}/libcuda.so.580.95.05"), cuda="13.0")
    assert (decision["route"], decision["now"]["works"], decision["verdict"]) == ("forward_compat", True, "ok")


@pytest.mark.parametrize(
    ("gpu", "driver", "kind", "words"),
    [
        ("RTX5090", "570.133.20", "bare_metal", "is of a brand without forward compatibility (error 804)"),
        ("H100", "560.35.03", "bare_metal", "which is not for drivers of branch 560 (error 999)"),
        ("H100", "580.95.05", "bare_metal", "CUDA answers 999"),  # the driver's own library, at another place
        ("RTX5090", "581.42", "wsl2", "which Windows' driver must not have (error 999)"),
    ],
)
def test_compat_where_it_must_be_off(gpu: str, driver: str, kind: str, words: str, host: Any, decide: Decide) -> None:
    facts = host(gpu, driver, kind=kind, compat=[NEWER])
    decision = decide(one_way(facts, code=999, libcuda=f"{NEWER['path']}/libcuda.so.580.95.05"), pytorch="newest")
    assert words in decision["now"]["summary"]


def test_a_branch_alone_is_compared_with_a_branch(host: Any, decide: Decide) -> None:
    assert decide(one_way(host("H100", "580")), cuda="13.0")["now"]["works"] is True


def test_an_override_of_the_driver_is_not_compared_with_libraries(host: Any, decide: Decide) -> None:
    decision = decide(one_way(host("H100", DRIVER)), cuda="13.0", overrides={"driver": "590.48.01"})
    assert decision["now"]["works"] is True


@pytest.mark.parametrize(
    ("libcuda", "works"),
    [
        ("/usr/lib/wsl/lib/libcuda.so.1", True),
        ("/usr/lib/wsl/drivers/nv_dispi.inf_amd64_1/libcuda.so.1.1", True),
        ("/usr/lib/x86_64-linux-gnu/libcuda.so.1", False),
        ("/usr/lib/x86_64-linux-gnu/libcuda.so.580.95.05", False),
    ],
)
def test_windows_driver_has_its_own_folder(libcuda: str, works: bool, host: Any, decide: Decide) -> None:
    decision = decide(one_way(host("RTX5090", "581.42", kind="wsl2"), libcuda=libcuda), cuda="13.0")
    assert decision["now"]["works"] is works


def test_another_library_of_no_version_is_told_by_its_path(host: Any, decide: Decide) -> None:
    decision = decide(another_path(host("H100", DRIVER)), cuda="13.0")
    assert f"libcuda (/opt/image/libcuda.so.1) is loaded instead of the driver's {OWN}" in decision["now"]["summary"]


@pytest.mark.parametrize(
    ("visible", "devices", "works"),
    [
        pytest.param("1", 1, True, id="chosen"),
        pytest.param("0,1", 2, True, id="all"),
        pytest.param("0,5,1", 1, False, id="an-index-that-is-not-there-ends-the-list"),
        pytest.param("0,1,2", 2, True, id="more-than-there-are"),
        pytest.param(None, 1, False, id="nobody-chose"),
    ],
)
def test_how_many_gpus_a_way_should_see(
    visible: str | None, devices: int, works: bool, host: Any, decide: Decide
) -> None:
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    decision = decide(one_way(host(["H100", "H100"], DRIVER), devices=devices, environ=environ), cuda="13.0")
    assert decision["now"]["works"] is works


def test_a_mig_gpu_is_not_counted_as_others_are(host: Any, decide: Decide) -> None:
    facts = host(["H100", "H100"], DRIVER)
    for device in facts["devices"]:
        device["mig"] = True
    assert decide(one_way(facts), cuda="13.0")["now"]["works"] is True


def test_mig_behind_a_line_that_hides_it_is_not_hopeless(host: Any, decide: Decide) -> None:
    facts = host("H100", DRIVER)
    facts["devices"][0]["mig"] = True
    facts["loader"] = {"libcuda": OWN, "compat_active": False, "init": {"code": 100, "name": NAMES[100]}, "devices": 0}
    line = {"kind": "hidden_devices", "file": "/root/.bashrc", "line": 3, "text": "export CUDA_VISIBLE_DEVICES="}
    facts["conflicts"] = [line]
    decision = decide(facts, cuda="13.0")
    assert (decision["now"]["hopeless"], decision["now"]["causes"][0]["file"]) == (False, "/root/.bashrc")


@pytest.mark.parametrize(
    ("init", "words"),
    [
        ({"code": None, "name": "TIMEOUT"}, "cuInit does not return in time by the driver's own library"),
        ({"code": None, "name": "SIGNAL_11"}, "cuInit crashes (SIGNAL_11) by the driver's own library"),
    ],
)
def test_a_start_that_does_not_return(init: Facts, words: str, host: Any, decide: Decide) -> None:
    decision = decide(one_way(host("H100", DRIVER), init=init, devices=0), cuda="13.0")
    assert decision["now"]["hopeless"]
    assert words in decision["summary"]


@pytest.mark.parametrize("code", [100, 101])
def test_what_an_environment_can_do_is_not_put_down_to_the_driver(code: int, host: Any, decide: Decide) -> None:
    """Older facts do not say what CUDA_VISIBLE_DEVICES was."""
    decision = decide(one_way(host("H100", DRIVER), code=code, environ=None), cuda="13.0")
    assert (decision["now"]["hopeless"], decision["verdict"]) == (False, "broken")
    assert decision["changes"]


def test_the_clean_environment_tells_a_driver_from_a_library(host: Any, decide: Decide) -> None:
    facts = cuda_fails(host("H100", DRIVER))
    assert not decide(facts, cuda="13.0")["now"]["hopeless"]
    facts["ways"] = {"login": way(999)}
    facts["driver"]["native"] = native(999)
    assert decide(facts, cuda="13.0")["now"]["hopeless"]


def test_a_driver_that_is_to_be_exchanged_stops_nothing(host: Any, decide: Decide) -> None:
    facts = own_library_failed(host("H100", DRIVER))
    facts["installed"]["driver"] = {"source": "apt", "loaded_version": DRIVER}
    decision = decide(facts, cuda="13.0", driver="590")
    assert decision["driver"]["action"] == "upgrade", decision["summary"]
    assert (decision["verdict"], decision["route"]) == ("broken", "native")
    assert decision["changes"][0]["role"] == "nvidia_driver"


# --- real hosts ---


def reported(host: Any, gpu: tuple[str, str, int], driver: str, loader: Facts, **more: Any) -> Facts:
    facts = host("H100", driver, **more)
    name, capability, brand = gpu
    facts["devices"] = [{"index": 0, "name": name, "compute_capability": capability, "brand_id": brand}]
    facts["loader"] = {"compat_active": False, "devices": 0, **loader}
    return facts


@pytest.mark.parametrize(
    ("gpu", "driver", "kind", "libcuda", "code", "wished"),
    [
        pytest.param(
            ("NVIDIA L20", "8.9", 14),
            "580.95.05",
            "bare_metal",
            "/usr/lib64/libcuda.so.580.95.05",
            3,
            {"cuda": "13.0"},
            id="open-modules-whose-memory-manager-does-not-start",
        ),
        pytest.param(
            ("NVIDIA H200", "9.0", 14),
            "580.126.09",
            "container",
            "/usr/lib/x86_64-linux-gnu/libcuda.so.580.126.09",
            802,
            {"cuda": "13.0"},
            id="a-fabric-that-never-completes",
        ),
        pytest.param(
            ("NVIDIA GeForce RTX 4090", "8.9", 5),
            "555.85",
            "wsl2",
            "/usr/lib/wsl/lib/libcuda.so.1",
            500,
            {"cuda": "12.6"},
            id="a-container-under-wsl2-without-a-library",
        ),
    ],
)
def test_a_driver_that_cannot_work_fetches_nothing(
    gpu: Any, driver: str, kind: str, libcuda: str, code: int, wished: Facts, host: Any, decide: Decide
) -> None:
    name = NAMES.get(code, f"CUDA_ERROR_{code}")
    loader = {"libcuda": libcuda, "init": {"code": code, "name": name}}
    decision = decide(reported(host, gpu, driver, loader, kind=kind), **wished)
    assert (decision["verdict"], decision["route"], decision["changes"]) == ("broken", "blocked", [])
    assert decision["download"]["mib"] == 0
    assert decision["summary"].startswith(f"broken: CUDA answers {code} ({name}) by the driver's own library")
    cured = {3: "uvm_disable_hmm=1", 802: "In a rented container ask for another host", 500: "container toolkit"}
    assert cured[code] in " ".join(decision["remedies"])
    assert "fork" not in decision["summary"], "a fresh cuInit is not that of a forked process"


REPORTED = {"package": "cuda-compat-12-9", "version": "575.57.08", "path": COMPAT["path"], "cuda": "12.9"}


@pytest.mark.parametrize(
    ("line", "repair", "mends", "remedy"),
    [
        pytest.param(
            {"kind": "ld_library_path", "file": "/etc/ld.so.conf.d/00-cuda-compat.conf", "line": 1},
            True,
            True,
            "A run mends line 1 of /etc/ld.so.conf.d/00-cuda-compat.conf (/usr/local/cuda-12.9/compat): the file is"
            " in repair_files.",
            id="listed",
        ),
        pytest.param(
            {"kind": "ld_library_path", "file": "/etc/ld.so.conf.d/00-cuda-compat.conf", "line": 1},
            False,
            False,
            "Remove line 1 of /etc/ld.so.conf.d/00-cuda-compat.conf (/usr/local/cuda-12.9/compat) and run ldconfig, or"
            " list the file in repair_files.",
            id="not-listed",
        ),
        pytest.param(
            {"kind": "loader_cache", "file": "/etc/ld.so.cache", "line": None},
            False,
            True,
            "Run: sudo ldconfig. A run does it by itself.",
            id="only-in-the-cache",
        ),
    ],
)
def test_compat_by_the_loaders_own_configuration(
    line: Facts, repair: bool, mends: bool, remedy: str, host: Any, decide: Decide
) -> None:
    init = {"code": 803, "name": NAMES[803]}
    loader = {"libcuda": f"{COMPAT['path']}/libcuda.so.575.57.08", "compat_active": True, "init": init}
    facts = reported(host, ("NVIDIA B200", "10.0", 14), "580.105.08", loader, kind="container", compat=[REPORTED])
    text = {"text": COMPAT["path"] if line["line"] else None, "path": COMPAT["path"]}
    facts["conflicts"] = [line | text]
    wish = {"repair_files": [line["file"]]} if repair else {}
    decision = decide(facts, cuda="12.9", pytorch="2.11", **wish)
    assert (decision["verdict"], decision["route"]) == ("broken", "native")
    assert decision["changes"], "the stack is built all the same"
    (cause,) = decision["now"]["causes"]
    assert (cause["file"], cause["line"], cause["mends"]) == (line["file"], line["line"], mends)
    assert cause["remedy"] == remedy
    assert remedy in decision["remedies"]
    assert not any(line["file"] in warning for warning in decision["warnings"]), "it is told once"


# --- causes ---


def test_a_trace_names_the_line_and_what_else_lies_about_is_no_cause(host: Any, decide: Decide) -> None:
    facts = repeated_device(host("H100", DRIVER))
    other = {"kind": "repeated_devices", "file": "/root/.zshrc", "line": 2, "text": "export CUDA_VISIBLE_DEVICES=1,1"}
    facts["conflicts"] = [other]
    decision = decide(facts, cuda="13.0")
    (cause,) = decision["now"]["causes"]
    assert cause == {
        "kind": "repeated_devices",
        "file": "/root/.bashrc",
        "line": 12,
        "text": "export CUDA_VISIBLE_DEVICES=0,0",
        "path": "/usr/lib/x86_64-linux-gnu",
        "because": 'sets CUDA_VISIBLE_DEVICES to "0,0"',
        "remedy": "Remove line 12 of /root/.bashrc (export CUDA_VISIBLE_DEVICES=0,0)"
        ", or list the file in repair_files.",
        "mends": False,
    }
    assert any("/root/.zshrc:2" in warning for warning in decision["warnings"]), "it is a note, as before"


def test_what_the_image_sets_is_no_line_to_remove(host: Any, decide: Decide) -> None:
    facts = repeated_device(host("H100", DRIVER))
    text = "CUDA_VISIBLE_DEVICES=0,0"
    row = {"variable": "CUDA_VISIBLE_DEVICES", "value": "0,0", "file": "/proc/1/environ", "line": None, "text": text}
    facts["ways"]["interactive"]["causes"] = [row]
    (cause,) = decide(facts, cuda="13.0")["now"]["causes"]
    assert cause["remedy"] == "Correct CUDA_VISIBLE_DEVICES where the container or the session is started with it."


def test_the_same_line_is_one_cause_for_all_ways(host: Any, decide: Decide) -> None:
    facts = repeated_device(host("H100", DRIVER))
    facts["ways"]["login"] = facts["ways"]["interactive"]
    assert len(decide(facts, cuda="13.0")["now"]["causes"]) == 1


def test_a_line_for_a_variable_that_is_not_set_is_no_cause(host: Any, decide: Decide) -> None:
    """The way has no LD_LIBRARY_PATH: whatever a file says of it, the way did not read that file."""
    facts = compat_not_allowed(host("H100", DRIVER))
    line = {"kind": "ld_library_path", "file": "/root/.bashrc", "line": 3, "text": "export …", "path": COMPAT["path"]}
    facts["conflicts"].append(line)
    causes = decide(facts, cuda="13.0")["now"]["causes"]
    assert [cause["file"] for cause in causes] == ["/etc/ld.so.conf.d/00-cuda-compat.conf"]
    for name in facts["ways"]:
        facts["ways"][name]["environ"] = {"LD_LIBRARY_PATH": COMPAT["path"]}
    causes = decide(facts, cuda="13.0")["now"]["causes"]
    assert [cause["file"] for cause in causes] == ["/etc/ld.so.conf.d/00-cuda-compat.conf", "/root/.bashrc"]


IMAGE = "/opt/image/libcuda.so.580.65.06"


@pytest.mark.parametrize(
    ("libcuda", "row", "is_cause"),
    [
        pytest.param(IMAGE, {"kind": "loader_order", "path": "/opt/image"}, True, id="its-folder"),
        pytest.param(IMAGE, {"kind": "preload", "path": IMAGE}, True, id="its-file"),
        pytest.param(IMAGE, {"kind": "loader_order", "path": "/opt/link", "version": "580.65.06"}, True, id="version"),
        pytest.param(IMAGE, {"kind": "loader_order", "path": "/opt/link", "version": "575.51"}, False, id="not-its"),
        pytest.param(IMAGE, {"kind": "second_libcuda", "path": "/usr/local/lib/libcuda.so.1"}, False, id="elsewhere"),
        pytest.param(IMAGE, {"kind": "ld_library_path", "path": "/usr/local/cuda/compat"}, False, id="another-kind"),
        pytest.param(
            "/usr/local/cuda-12.9/compat/libcuda.so.575.57.08",
            {"kind": "ld_library_path", "path": "/usr/local/cuda/compat"},
            True,
            id="compat-by-a-link",
        ),
        pytest.param(IMAGE, {"kind": "loader_missing", "path": "/usr/local/nvidia/lib64"}, False, id="found-one"),
        pytest.param(None, {"kind": "loader_missing", "path": "/usr/local/nvidia/lib64"}, True, id="found-none"),
        pytest.param(None, {"kind": "loader_cache", "path": "/usr/lib/x86_64-linux-gnu"}, True, id="cache-without-it"),
        pytest.param(None, {"kind": "loader_order", "path": "/opt/image"}, False, id="nothing-came-first"),
        pytest.param(IMAGE, {"kind": "cuda_home", "path": "/opt/image"}, False, id="no-matter"),
        pytest.param(IMAGE, {"kind": "hidden_devices", "path": ""}, False, id="another-matter"),
    ],
)
def test_which_lines_explain_a_library(
    libcuda: str | None, row: Facts, is_cause: bool, host: Any, decide: Decide
) -> None:
    facts = wrong(host("H100", DRIVER), "service", code=803, libcuda=libcuda, environ=None)
    facts["conflicts"] = [{"file": "/etc/ld.so.conf.d/x.conf", "line": 1, "text": "x", **row}]
    decision = decide(facts, cuda="13.0")
    named = [cause["file"] for cause in decision["now"]["causes"]]
    assert (named == ["/etc/ld.so.conf.d/x.conf"]) is is_cause, decision["now"]["causes"]
    assert any("/etc/ld.so.conf.d/x.conf" in warning for warning in decision["warnings"]) is not is_cause


def test_a_choice_of_gpus_is_told_once_with_its_line(host: Any, decide: Decide) -> None:
    facts = chosen_devices(host("H100", DRIVER))
    facts["conflicts"] = [{"kind": "some_devices", "file": "/root/.bashrc", "line": 7, "text": "x", "path": ""}]
    told = [warning for warning in decide(facts, cuda="13.0")["warnings"] if "hid" in warning]
    (told,) = told
    assert told.endswith(' is "1": some of the 2 GPUs are hidden (every shell, ssh command, service; /root/.bashrc:7).')


@pytest.mark.parametrize(
    ("changes", "because", "remedy"),
    [
        pytest.param(
            {"code": 101, "environ": {"CUDA_VISIBLE_DEVICES": "0,0"}},
            'no start-up file was found that sets CUDA_VISIBLE_DEVICES to "0,0"',
            "Correct CUDA_VISIBLE_DEVICES where the container or the session is started with it.",
            id="a-variable-of-unknown-origin",
        ),
        pytest.param(
            {"code": 803, "libcuda": "/opt/x/libcuda.so.580.65.06", "environ": {"LD_LIBRARY_PATH": "/a:/opt/x/"}},
            "LD_LIBRARY_PATH has /opt/x before the driver's folder in the login shell",
            "Correct LD_LIBRARY_PATH where the container or the session is started with it.",
            id="a-folder",
        ),
        pytest.param(
            {
                "code": 803,
                "libcuda": "/opt/x/libcuda.so.580.65.06",
                "environ": {"LD_PRELOAD": "/opt/x/libcuda.so.1"},
            },
            "LD_PRELOAD is /opt/x/libcuda.so.1 in the login shell",
            "Correct LD_PRELOAD where the container or the session is started with it.",
            id="a-preload",
        ),
        pytest.param(
            {"code": 803, "libcuda": "/opt/x/libcuda.so.580.65.06"},
            "what puts /opt/x before the driver's folder was not found",
            "Find what names /opt/x (grep -r /opt/x /etc/ld.so.conf.d), remove it and run ldconfig.",
            id="the-loader-itself",
        ),
        pytest.param(
            {"libcuda": "/opt/x/libcuda.so.580.65.06"},
            "what puts /opt/x before the driver's folder was not found",
            "Find what names /opt/x (grep -r /opt/x /etc/ld.so.conf.d), remove it and run ldconfig.",
            id="another-library-that-starts",
        ),
        pytest.param(
            {"code": 999},
            "CUDA_ERROR_UNKNOWN: the driver gave no reason",
            "Look for lines of Xid, NVRM and nvidia-uvm in the kernel log (dmesg), and at ls -l /dev/nvidia*.",
            id="the-error-alone",
        ),
    ],
)
def test_a_way_without_a_trace(changes: Facts, because: str, remedy: str, host: Any, decide: Decide) -> None:
    facts = one_way(host("H100", DRIVER), **changes)
    facts["driver"] |= {"libcuda": OWN, "native": native()}
    cause, *possible = decide(facts, cuda="13.0")["now"]["causes"]
    assert (cause["because"], cause["remedy"]) == (because, remedy)
    assert {row["kind"] for row in possible} == ({"possible"} if changes.get("code") == 999 else set())


@pytest.mark.parametrize(
    ("changes", "because", "remedy"),
    [
        pytest.param(
            {"libcuda": None, "error": "libcuda.so.1: file too short"},
            "login shell: libcuda.so.1 cannot be loaded (libcuda.so.1: file too short)",
            "Run: echo /usr/lib/x86_64-linux-gnu | sudo tee -a /etc/ld.so.conf.d/nvidia-driver.conf && sudo ldconfig.",
            id="a-library-that-is-none",
        ),
        pytest.param(
            {"libcuda": None, "error": "libcuda.so.1: cannot open shared object file: No such file or directory"},
            "login shell: the loader finds no libcuda.so.1",
            "Run: echo /usr/lib/x86_64-linux-gnu | sudo tee",
            id="no-library",
        ),
        pytest.param(
            {"libcuda": None, "init": {"code": None, "name": "TIMEOUT"}},
            "login shell: it did not answer in time, before CUDA was asked",
            "Check the start-up files of the login shell for an error, an exit, or something that waits.",
            id="a-shell-that-waits",
        ),
        pytest.param(
            {"init": {"code": None, "name": "ENDED"}, "devices": 0},
            "login shell: cuInit ended the program",
            "Look at the driver with nvidia-smi",
            id="a-library-that-ends-the-program",
        ),
        pytest.param(
            {"devices": 0},
            "login shell: CUDA sees 0 of 1 GPUs",
            "Compare ls -l /dev/nvidia[0-9]* with nvidia-smi -L",
            id="fewer-gpus",
        ),
    ],
)
def test_a_way_that_nothing_in_a_file_explains(
    changes: Facts, because: str, remedy: str, host: Any, decide: Decide
) -> None:
    decision = decide(wrong(host("H100", DRIVER), "login", **changes), cuda="13.0")
    assert because in decision["now"]["summary"]
    assert [cause["remedy"].startswith(remedy) for cause in decision["now"]["causes"]] == [True], decision["now"]
    assert decision["verdict"] == "broken"


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        (
            "container",
            "where there is none, start the container with NVIDIA_DRIVER_CAPABILITIES=compute,utility, or all.",
        ),
        ("bare_metal", "where there is none, install the driver's CUDA library in exactly the driver's version."),
    ],
)
def test_a_driver_whose_library_is_nowhere(kind: str, remedy: str, host: Any, decide: Decide) -> None:
    """Another libcuda, a compat package's, lies about, so that the ways are asked: none of them loads one."""
    facts = wrong(host("H100", DRIVER), *LABELS, libcuda=None)
    facts["driver"] |= {"libcuda": None, "native": None}
    facts["platform"]["kind"] = kind
    (cause,) = decide(facts, cuda="13.0")["now"]["causes"]
    assert cause["remedy"].startswith(f"Look for the driver's library (find / -name 'libcuda.so.{DRIVER}')")
    assert cause["remedy"].endswith(remedy)


def test_our_own_python_is_promised_only_where_the_drivers_library_works(host: Any, decide: Decide) -> None:
    promise = "/opt/podsmith/current/bin/python loads it whatever the loader finds"
    facts = compat_not_allowed(host("H100", DRIVER))
    assert promise in told(decide(facts, cuda="13.0"))
    facts["ways"]["environment"] = way()
    assert promise not in told(decide(facts, cuda="13.0")), "what works is shown, and needs no promise"
    for fault in (hidden_devices, never_asks, cuda_fails, fewer_devices):
        facts = fault(host("H100", DRIVER))
        facts["ways"].pop("environment", None)
        assert promise not in told(decide(facts, cuda="13.0")), "another library is not what is wrong"


@pytest.mark.parametrize("native_code", [None, 802])
def test_what_may_be_behind_an_error_is_a_cause_of_its_own(native_code: int | None, host: Any, decide: Decide) -> None:
    """Each with how it shows and what to do then, after the error itself and what to look at; the summary is short."""
    facts = one_way(host("H100", DRIVER), code=802)
    facts["driver"] |= {"libcuda": OWN, "native": native() if native_code is None else native(802)}
    decision = decide(facts, cuda="13.0")
    look, *possible = decision["now"]["causes"]
    assert look["kind"] == ("cuda" if native_code is None else "driver")
    assert look["because"].endswith("the GPUs are there, and the system is not ready to start CUDA on them")
    assert look["remedy"] == "Read the part Fabric of nvidia-smi -q: its State must be Completed, or N/A."
    assert [row["kind"] for row in possible] == ["possible", "possible"]
    assert possible[1]["because"] == (
        "possible cause 2: The fabric is still starting, after a boot or a reset. Then the Fabric State is In Progress"
    )
    assert possible[1]["remedy"] == "For possible cause 2: Wait a few minutes and try again."
    assert decision["remedies"][:3] == [row["remedy"] for row in decision["now"]["causes"]]
    assert "possible cause" not in decision["summary"]


def test_a_single_possible_cause_has_no_number(host: Any, decide: Decide) -> None:
    look, possible = decide(own_library_failed(host("H100", DRIVER)) | {"driver": OPEN}, cuda="13.0")["now"]["causes"]
    assert look["remedy"] == "Look for lines of NVRM, Xid and nvidia-uvm in the kernel log (dmesg)."
    assert possible["because"].startswith("possible cause: The open kernel modules cannot set up")
    assert possible["remedy"].startswith("For the possible cause: On the host, write the line options nvidia_uvm")


def test_what_two_ways_have_is_told_once(host: Any, decide: Decide) -> None:
    causes = decide(cuda_fails(host("H100", DRIVER)), cuda="13.0")["now"]["causes"]
    assert len(causes) == len({cause["because"] for cause in causes}) > 2


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        ("container", "Restart the container: its runtime then mounts the libraries of the host's driver."),
        ("bare_metal", "Reboot the host, or reload the modules while nothing uses them"),
    ],
)
def test_a_mismatch_of_unknown_versions(kind: str, remedy: str, host: Any, decide: Decide) -> None:
    decision = decide(driver_does_not_answer(host("H100", DRIVER, kind=kind)), cuda="13.0")
    assert decision["remedies"][0].startswith(remedy), "no container can reload its host's modules"


def test_a_folder_that_is_the_cause_is_no_note_beside_it(host: Any, decide: Decide) -> None:
    decision = decide(no_library(host("H100", DRIVER)), cuda="13.0")
    assert [cause["path"] for cause in decision["now"]["causes"]] == ["/usr/local/nvidia/lib64"]
    assert [warning for warning in decision["warnings"] if "the loader does not look there" in warning] == []


@pytest.mark.parametrize("fault", [mig_without_slice, grave_xid])
def test_where_the_driver_says_why_its_error_adds_no_guesses(fault: Any, host: Any, decide: Decide) -> None:
    facts = fault(host("H100", DRIVER))
    facts["ways"] = {name: way(999 if fault is grave_xid else 100) for name in facts["ways"]}
    facts["driver"]["native"] = native(999 if fault is grave_xid else 100)
    decision = decide(facts, cuda="13.0")
    assert [cause["kind"] for cause in decision["now"]["causes"]] == ["driver"]
    assert len(decision["remedies"]) == 1


def test_another_library_that_starts_is_put_down_to_its_line(host: Any, decide: Decide) -> None:
    """Whatever it answers: not to the GPUs, of which it has all."""
    facts = another_library(host("H100", DRIVER))
    row = {"kind": "loader_order", "file": "/etc/ld.so.conf.d/000-image.conf", "line": 1, "text": "/opt/image"}
    facts["conflicts"] = [row | {"path": "/opt/image", "version": "580.65.06"}]
    (cause,) = decide(facts, cuda="13.0")["now"]["causes"]
    assert (cause["kind"], cause["file"]) == ("loader_order", "/etc/ld.so.conf.d/000-image.conf")


def test_a_compat_library_that_may_be_there_is_not_to_blame_for_gpus(host: Any, decide: Decide) -> None:
    facts = host(["H100", "H100"], "570.133.20", compat=[NEWER])
    facts = one_way(facts, libcuda=f"{NEWER['path']}/libcuda.so.580.95.05", devices=1)
    (cause,) = decide(facts, cuda="13.0")["now"]["causes"]
    assert (cause["kind"], cause["because"]) == ("fewer_devices", "CUDA_VISIBLE_DEVICES is not set")


# --- the verdict ---


def test_a_run_that_sees_no_gpu_itself_could_prove_nothing(host: Any, decide: Decide) -> None:
    facts = wrong(host("H100", DRIVER), *LABELS, code=100, environ={"CUDA_VISIBLE_DEVICES": ""})
    line = {"kind": "hidden_devices", "file": "/etc/environment", "line": 3, "text": "CUDA_VISIBLE_DEVICES="}
    facts["conflicts"] = [line]
    decision = decide(facts, cuda="13.0")
    assert (decision["verdict"], decision["route"], decision["changes"]) == ("broken", "blocked", [])
    assert not decision["now"]["hopeless"]
    assert "list the file in repair_files" in " ".join(decision["remedies"])
    decision = decide(facts, cuda="13.0", repair_files=["/etc/environment"])
    assert (decision["verdict"], decision["route"]) == ("broken", "native")


def test_a_service_alone_is_degraded(host: Any, decide: Decide) -> None:
    decision = decide(wrong(host("H100", DRIVER), "service", code=803, libcuda="/opt/x/libcuda.so.1"), cuda="13.0")
    assert (decision["verdict"], decision["now"]["works"]) == ("degraded", False)
    assert decision["remedies"]


FAULTS: dict[str, Facts] = {
    "error": {"code": 803},
    "another": {"libcuda": "/opt/x/libcuda.so.580.65.06"},
    "none": {"libcuda": None},
    "hang": {"code": None},
    "hidden": {"code": 100, "environ": {"CUDA_VISIBLE_DEVICES": "7"}},
    "fewer": {"devices": 0},
}
HOSTS = [("H100", "580.95.05", "bare_metal"), ("H100", "570.133.20", "container"), ("RTX5090", "581.42", "wsl2")]


@pytest.mark.parametrize(("gpu", "driver", "kind"), HOSTS)
@pytest.mark.parametrize("fault", FAULTS)
def test_ok_means_that_every_way_works(
    gpu: str, driver: str, kind: str, fault: str, host: Any, decide: Decide, applied: Any
) -> None:
    """Whatever fails by whatever way, on a new host and on a converged one: the verdict is not ok."""
    own = "/usr/lib/wsl/lib/libcuda.so.1" if kind == "wsl2" else f"/usr/lib/x86_64-linux-gnu/libcuda.so.{driver}"
    new = host(gpu, driver, kind=kind)
    converged = applied(new, decide(new, cuda="13.0"))
    healthy = {name: way(libcuda=own) for name in LABELS}
    for facts, name in itertools.product((new, converged), LABELS):
        ways = healthy | {name: way(**{"libcuda": own, **FAULTS[fault]})}
        decision = decide(facts | {"ways": ways}, cuda="13.0")
        judged = decision["now"]["ways"]
        assert judged[name]["works"] is False, name
        assert decision["verdict"] in (("broken", "blocked") if name in MAIN else ("degraded",)), name
        assert all(row["works"] for other, row in judged.items() if other != name)
    decision = decide(converged | {"ways": healthy}, cuda="13.0")
    assert (decision["verdict"], decision["now"]["works"], decision["changes"]) == ("ok", True, [])
