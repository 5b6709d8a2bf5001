"""Facts that a judgement of CUDA once misread: a wrong cause, advice that does harm, a promise that no run keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Decide = Callable[..., dict[str, Any]]
Facts = dict[str, Any]

DRIVER = "580.95.05"
SYSTEM = "/usr/lib/x86_64-linux-gnu"
OWN = f"{SYSTEM}/libcuda.so.{DRIVER}"
WORKS = {"init": {"code": 0, "name": "CUDA_SUCCESS"}, "devices": 1}
WAYS = ("login", "interactive", "pam", "command", "service")


def way(code: int | str, libcuda: str = OWN, devices: int = 0, **more: Any) -> Facts:
    """A way into the host as the facts have it."""
    version = libcuda.partition(".so.")[2]
    return {
        "libcuda": libcuda,
        "version": version if "." in version else None,
        "compat_active": "compat" in libcuda.split("/"),
        "stub": False,
        "init": {"code": code, "name": f"CUDA_ERROR_{code}"},
        "devices": devices,
        "environ": {},
        **more,
    }


def everywhere(facts: Facts, libcuda: str | None = OWN, native: Any = "works", **answer: Any) -> Facts:
    """The same answer by every way."""
    facts["ways"] = {name: way(**answer) for name in WAYS}
    facts["driver"] |= {"libcuda": libcuda, "native": WORKS if native == "works" else native}
    return facts


def test_another_library_that_works_is_not_told_as_missing_gpus(host: Any, decide: Decide) -> None:
    facts = everywhere(host("H100", DRIVER), code=0, devices=1)
    facts["ways"] = {name: way(0, "/opt/image/libcuda.so.580.65.06", 1) for name in WAYS}
    facts["conflicts"] = [
        {"kind": "loader_order", "file": "/etc/ld.so.conf.d/000.conf", "line": 1, "text": "/opt/image"}
        | {"path": "/opt/image", "version": "580.65.06"}
    ]
    (cause,) = decide(facts, cuda="13.0")["now"]["causes"]
    assert (cause["kind"], cause["file"], cause["line"]) == ("loader_order", "/etc/ld.so.conf.d/000.conf", 1)


def test_a_linux_library_on_windows_that_sees_no_gpu_is_the_cause(host: Any, decide: Decide) -> None:
    """It looks for the device files of a driver for Linux, and answers 100 as a hidden GPU does."""
    facts = host("RTX5090", "581.42", kind="wsl2")
    facts["ways"] = {name: way(100, OWN) for name in WAYS}
    facts["driver"] |= {"libcuda": "/usr/lib/wsl/lib/libcuda.so.1", "native": WORKS, "flavor": "windows"}
    facts["conflicts"] = [{"kind": "wsl_linux_library", "file": "", "line": None, "text": "", "path": OWN}]
    decision = decide(facts, cuda="13.0")
    assert [cause["kind"] for cause in decision["now"]["causes"]] == ["wsl_linux_library"]
    assert not any(OWN in warning for warning in decision["warnings"]), "it is told once"


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        ("container", "NVIDIA_DRIVER_CAPABILITIES=compute,utility"),
        ("container", f"needs those of driver {DRIVER}"),
        ("bare_metal", "in exactly the driver's version"),
    ],
)
def test_a_host_with_the_libraries_of_another_driver_alone(kind: str, remedy: str, host: Any, decide: Decide) -> None:
    """A container that was given NVML alone, with an image that has a libcuda of its own."""
    facts = host("H100", DRIVER, kind=kind)
    facts["ways"] = {name: way(803, f"{SYSTEM}/libcuda.so.580.65.06") for name in WAYS}
    facts["driver"] |= {"libcuda": None, "native": None}
    decision = decide(facts, cuda="13.0")
    assert (decision["verdict"], decision["download"]["mib"], decision["changes"]) == ("broken", 0, [])
    assert (
        f"no libcuda.so.1 of that version in any known folder, only {SYSTEM}/libcuda.so.580.65.06"
        in (decision["summary"])
    )
    assert remedy in " ".join(decision["remedies"])
    assert "grep" not in " ".join(decision["remedies"]), "the system's folder is not to be taken from the loader"
    facts["driver"].pop("libcuda")
    assert not decide(facts, cuda="13.0")["now"]["hopeless"], "older facts do not say that it was looked for"


def test_the_systems_folder_is_never_to_be_removed_from_the_loader(host: Any, decide: Decide) -> None:
    facts = host("H100", DRIVER)
    facts["ways"] = {name: way(803, f"{SYSTEM}/libcuda.so.580.65.06") for name in WAYS}
    facts["driver"] |= {"libcuda": "/usr/local/nvidia/lib64/libcuda.so.580.95.05", "native": WORKS}
    (cause,) = decide(facts, cuda="13.0")["now"]["causes"]
    remedy = f"Remove {SYSTEM}/libcuda.so.580.65.06, whose package dpkg -S or rpm -qf names, and run ldconfig."
    assert cause["remedy"] == remedy


def test_gpus_that_nobody_counted_are_judged(host: Any, decide: Decide) -> None:
    facts = host("H100", DRIVER)
    del facts["devices"]
    facts["ways"] = {name: way(803, "/opt/image/libcuda.so.580.65.06") for name in WAYS}
    facts["driver"] |= {"libcuda": OWN, "native": WORKS}
    assert decide(facts, cuda="13.0")["verdict"] == "broken"
    facts["ways"] = {name: way(0, devices=8) for name in WAYS}
    decision = decide(facts, cuda="13.0")
    assert (decision["verdict"], decision["now"]["works"]) == ("degraded", True)
    assert any("is assumed to fit until the proof has passed" in row["because"] for row in decision["rejected"])
    facts["ways"]["login"] = way(0)
    assert decide(facts, cuda="13.0")["now"]["summary"] == "CUDA does not work: login shell: CUDA sees no GPU"


def test_a_blocked_host_promises_no_repair(host: Any, decide: Decide) -> None:
    """Nothing runs there, so that no run mends the line either."""
    line = {"variable": "LD_LIBRARY_PATH", "value": "/opt/image", "file": "/root/.bashrc", "line": 3}
    facts = host("H100", DRIVER)
    facts["ways"] = {name: way(0, devices=1) for name in WAYS}
    facts["ways"]["interactive"] = way(
        803, "/opt/image/libcuda.so.580.65.06", environ={"LD_LIBRARY_PATH": "/opt/image"}
    )
    facts["ways"]["interactive"]["causes"] = [line | {"text": "export LD_LIBRARY_PATH=/opt/image"}]
    facts["driver"] |= {"libcuda": OWN, "native": WORKS}
    facts["platform"] |= {"home": "/root", "free_gib": {"/": 100.0}}
    wish = {"cuda": "13.0", "repair_files": ["~/.bashrc"]}
    (cause,) = decide(facts, **wish)["now"]["causes"]
    assert cause["mends"]
    facts["platform"]["free_gib"] = {"/": 0.1}
    decision = decide(facts, **wish)
    assert (decision["verdict"], decision["changes"]) == ("blocked", [])
    (cause,) = decision["now"]["causes"]
    remedy = "Remove line 3 of /root/.bashrc (export LD_LIBRARY_PATH=/opt/image) by hand."
    assert (cause["mends"], cause["remedy"]) == (False, remedy)
    assert remedy in decision["remedies"]
    assert not any("A run mends" in text for text in decision["remedies"])


def test_too_few_gpus_are_not_cured_by_our_python(host: Any, decide: Decide) -> None:
    facts = host(["H100", "H100"], DRIVER)
    everywhere(facts, code=0, devices=1, native=WORKS)
    decision = decide(facts, cuda="13.0")
    assert decision["verdict"] == "broken"
    assert not any("loads it whatever the loader finds" in warning for warning in decision["warnings"])


def test_an_error_that_nobody_explains_has_no_usual_reason(host: Any, decide: Decide) -> None:
    facts = everywhere(host("H100", DRIVER), code=777, native={"init": {"code": 777, "name": "?"}, "devices": 0})
    summary = decide(facts, cuda="13.0")["summary"]
    assert summary.endswith(f"by the driver's own library ({OWN}): the catalogue does not explain it")


@pytest.mark.parametrize("code", [803, "803"])
def test_numbers_as_text_are_numbers(code: int | str, host: Any, decide: Decide) -> None:
    facts = everywhere(host("H100", DRIVER), code=code)
    facts["devices"][0]["xid"] = ["13", "79"]
    decision = decide(facts, cuda="13.0")
    assert decision["now"]["ways"]["login"]["code"] == 803
    assert "Xid 79" in decision["summary"]


def test_a_choice_of_gpus_without_a_line_is_told_by_its_file(host: Any, decide: Decide) -> None:
    facts = host(["H100", "H100"], DRIVER)
    facts["ways"] = {name: way(0, devices=1, environ={"CUDA_VISIBLE_DEVICES": "1"}) for name in WAYS}
    facts["conflicts"] = [{"kind": "some_devices", "file": "/root/.config/fish/fish_variables"}]
    told = [text for text in decide(facts, cuda="13.0")["warnings"] if "hidden" in text]
    (text,) = told
    assert text.startswith('CUDA_VISIBLE_DEVICES is "1": some of the 2 GPUs are hidden')
    assert text.endswith("(every shell, ssh command, service; /root/.config/fish/fish_variables).")


def test_a_python_that_does_not_start_has_no_start_up_files(host: Any, decide: Decide) -> None:
    facts = everywhere(host("H100", DRIVER), code=0, devices=1)
    facts["ways"]["environment"] = {}
    (cause,) = decide(facts, cuda="13.0")["now"]["causes"]
    assert (cause["kind"], cause["because"]) == ("shell", "")
    assert cause["remedy"].startswith("See what /opt/podsmith/current/bin/python -I -c pass says")


@pytest.mark.parametrize("gpu", ["V100", "H100"])
def test_a_cpu_that_nothing_runs_on_is_told_where_there_is_a_gpu_too(gpu: str, host: Any, decide: Decide) -> None:
    observed = host(gpu, "550.163.01", os="centos 7", pythons=("3.6",))
    observed["platform"]["glibc"] = "2.17"
    decision = decide(observed, cuda="none")
    assert decision["verdict"] == "blocked"
    assert "needs glibc 2.28; found 2.17" in [row["because"] for row in decision["rejected"]]


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        pytest.param("devices", 0, "GPU 0", id="a-gpu-that-is-a-text"),
        pytest.param("platform", "pythons", ["/usr/bin/python3"], id="pythons-as-paths"),
        pytest.param("platform", "free_gib", {"/": "12 GB"}, id="a-size-that-is-a-text"),
    ],
)
def test_what_is_of_another_type_is_as_good_as_unknown(
    section: str, key: Any, value: Any, host: Any, decide: Decide
) -> None:
    observed = host("H100", DRIVER)
    observed[section][key] = value
    assert decide(observed)["verdict"] in ("ok", "degraded")


def test_a_brand_that_is_no_number_is_unknown(host: Any, decide: Decide) -> None:
    observed = host("H100", "550.163.01")
    observed["devices"][0]["brand_id"] = "Nvidia"
    assert decide(observed, cuda="13.0", on_old_driver=["forward_compat"])["route"] == "forward_compat"
