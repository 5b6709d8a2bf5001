from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._report.stack import WIDTH, render_text

Decide = Callable[..., dict[str, Any]]
WISH = {"cuda": "13.0", "pytorch": "2.9.1", "extensions": ["triton", "cupy-cuda12x"]}
MET = WISH | {"extensions": ["triton"]}  # all of it can be had
TOOLKIT = {"version": "13.0.88", "release": "13.0", "path": "/usr/local/cuda-13.0", "nvcc": True, "broken": []}

PLAN = """\
h100-1   NVIDIA H100 80GB HBM3 · driver 570.133.20 (CUDA 12.8) · RunPod container · Ubuntu 24.04 · x86_64
  route    forward_compat → CUDA 13.0, PyTorch 2.9.1+cu130
  why      driver 570.133.20 is older than 580; cuda-compat-13-0 lists branch 570 (documented by NVIDIA)
           PyTorch 2.9.1+cu130 has machine code for NVIDIA H100 80GB HBM3 (compute capability 9.0)
           CUDA toolkit 13.0 is installed at /usr/local/cuda-13.0; extensions of PyTorch 2.9.1+cu130 build
           with it
  versions driver 570.133.20 supports CUDA 12.8; PyTorch 2.9.1+cu130 and the CUDA toolkit are built for CUDA
           13.0: no problem while the compat library of CUDA 13.0 is active.
  change   + cuda-compat-13-0      580.95.05, used only while the driver is older, 65 MiB to fetch
           + PyTorch 2.9.1+cu130   new environment, 2.9 GiB to fetch
           ~ proof                 the stack is proved before it goes live
           ~ live environment      1-torch2.9.1-cu130
           = CUDA toolkit 13.0.88  already installed, used as it is
  not      native cu130 of PyTorch 2.9.1: driver 570.133.20 is older than 580, which CUDA 13 needs
           cupy-cuda12x: 14.2.0 is built for CUDA 12.0, not for CUDA 13.0
  help     A host with driver 580 or newer needs no forward compatibility.
           Set cuda: newest: PyTorch 2.9.1+cu128 then runs here, with cupy-cuda12x 14.2.0. (3.7 GiB to fetch,
           about 4 min; another CUDA than the requested 13.0)
  where    /opt/podsmith/environments/1-torch2.9.1-cu130
           activate with: . /opt/podsmith/activate.sh
  verdict  degraded: 4 changes pending"""


@pytest.fixture
def pod(host: Any) -> dict[str, Any]:
    observed = host("H100", "570.133.20", kind="container", toolkits=[TOOLKIT])
    observed["platform"]["provider"] = "runpod"
    observed["driver"]["cuda"] = "12.8"
    return observed


def lines(text: str, label: str) -> list[str]:
    """The lines under a label, without the label."""
    found, on = [], False
    for line in text.splitlines()[1:]:
        on = line.startswith(f"  {label} ") if line[2:3] != " " else on
        if on:
            found.append(line[11:])
    return found


def test_a_plan_explains_itself(pod: Any, decide: Decide) -> None:
    assert render_text(decide(pod, **WISH), pod, "h100-1") == PLAN


def test_nothing_to_change(pod: Any, decide: Decide, applied: Any) -> None:
    host = applied(pod, decide(pod, **MET))
    text = render_text(decide(host, **MET), host, "h100-1")
    assert lines(text, "change") == ["nothing to change"]
    assert text.endswith("verdict  ok")


def test_a_run_tells_what_it_changed_and_proved(pod: Any, decide: Decide, applied: Any) -> None:
    before = decide(pod, **MET)
    host = applied(pod, before)
    results = [{"check": "nvcc", "ok": True, "seconds": 1.6}, {"check": "matmul", "ok": True, "seconds": 39.5}]
    results += [{"check": "cutlass", "ok": True, "seconds": 0.0, "skipped": "no CUTLASS headers"}]
    text = render_text(decide(host, **MET), host, "h100-1", results=results, changed=before["changes"])
    assert lines(text, "proof") == ["2 checks passed, 1 skipped (cutlass: no CUTLASS headers)"]
    results += [{"check": "health", "ok": True, "seconds": 0.1, "warnings": ["GPU 0: ECC is off."]}]
    text = render_text(decide(host, **MET), host, "h100-1", results=results, changed=before["changes"])
    assert lines(text, "proof")[1:] == ["health: GPU 0: ECC is off."]
    assert (
        lines(text, "changed")[0]
        == "+ cuda-compat-13-0      580.95.05, used only while the driver is older, 65 MiB fetched"
    )
    assert lines(text, "verdict") == ["ok"]
    assert [line for line in lines(text, "changed") if line.startswith("=")] == [
        "= CUDA toolkit 13.0.88  already installed, used as it is"
    ]


def test_the_features_of_a_build_are_a_table(pod: Any, decide: Decide) -> None:
    found = {"USE_CUDA": True, "USE_MPI": False, "USE_NCCL": True, "USE_XPU": False}
    evidence = {"features": found, "versions": {"NCCL": "2.27.5"}}
    results = [{"check": "torch", "ok": True}, {"check": "features", "ok": True, "evidence": evidence}]
    assert lines(render_text(decide(pod, **WISH), pod, "h100-1", results=results), "proof") == [
        "2 checks passed",
        "PyTorch was built with CUDA, NCCL",
        "and without MPI, XPU",
        "it has NCCL 2.27.5",
    ]


def test_a_failed_check_is_the_verdict(pod: Any, decide: Decide) -> None:
    results = [{"check": "matmul", "ok": False, "error": "it is off by 0.3.", "advice": "Report it."}]
    text = render_text(decide(pod, **WISH), pod, "h100-1", results=results, changed=[])
    assert lines(text, "proof") == ["matmul failed: it is off by 0.3. Report it."]
    assert lines(text, "verdict") == ["failed: nothing was switched"]


@pytest.mark.parametrize(
    ("verdict", "unfinished", "told"),
    [
        pytest.param("ok", False, "ok: {pending} changes pending", id="plan"),
        pytest.param("ok", True, "failed: the run ended early, for the reason above", id="run-that-ended-early"),
        pytest.param("blocked", True, "blocked: nothing was changed", id="blocked"),
    ],
)
def test_the_verdict_of_a_run(verdict: str, unfinished: bool, told: str, pod: Any, decide: Decide) -> None:
    decision = decide(pod, **WISH) | {"verdict": verdict}
    text = render_text(decision, pod, "h100-1", unfinished=unfinished)
    assert lines(text, "verdict") == [told.format(pending=len(decision["changes"]))]


def test_a_converged_host_tells_of_its_proof(pod: Any, decide: Decide, applied: Any) -> None:
    host = applied(pod, decide(pod, **WISH))
    text = render_text(decide(host, **WISH), host, "h100-1")
    assert lines(text, "proof") == ["this stack passed its checks here with driver 570.133.20"]


def test_a_blocked_host_says_why_and_what_would_help(host: Any, decide: Decide) -> None:
    observed = host("RTX5090", "570.124.06")
    text = render_text(decide(observed, cuda="13.0", on_old_driver=["fail"]), observed, "box")
    assert lines(text, "route") == ["nothing that was requested runs here"]
    assert lines(text, "help")[0] == "Use a host with driver 580 or newer. (3.3 GiB to fetch, about 4 min)"
    assert lines(text, "verdict") == ["blocked: nothing was changed"]
    assert lines(text, "change") == lines(text, "where") == []


# --- whether CUDA works now ---

DRIVER = "570.133.20"
LOGIN, OTHERS = "login", ("interactive", "pam", "command", "service")


def way(version: str = DRIVER, code: int = 0, folder: str = "/usr/lib/x86_64-linux-gnu") -> dict[str, Any]:
    init = {"code": code, "name": "CUDA_SUCCESS" if code == 0 else "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"}
    libcuda = f"{folder}/libcuda.so.{version}"
    return {"libcuda": libcuda, "version": version, "init": init, "devices": int(code == 0), "environ": {}}


@pytest.fixture
def broken(pod: Any, decide: Decide, applied: Any) -> dict[str, Any]:
    """Proved once; then a line of the loader's put another libcuda before the driver's."""
    host = applied(pod, decide(pod, **WISH))
    host["ways"] = {LOGIN: way("565.57.01", 803, "/opt/image"), **{name: way() for name in OTHERS}}
    row = {"kind": "loader_order", "file": "/etc/ld.so.conf.d/000-image.conf", "line": 1}
    host["conflicts"] = [row | {"text": "/opt/image", "path": "/opt/image"}]
    return dict(host)


def test_now_stands_above_the_route(pod: Any, decide: Decide) -> None:
    pod["ways"] = {name: way() for name in (LOGIN, *OTHERS)}
    text = render_text(decide(pod, **WISH), pod, "h100-1")
    assert lines(text, "now") == ["works: every shell, ssh command, service (libcuda 570.133.20)"]
    assert text.index("  now ") < text.index("  route ")


def test_what_was_not_observed_has_no_row(pod: Any, decide: Decide) -> None:
    assert lines(render_text(decide(pod, **WISH), pod, "h100-1"), "now") == []


def test_a_broken_host_says_what_does_not_work_and_where(broken: Any, decide: Decide) -> None:
    text = render_text(decide(broken, **WISH), broken, "h100-1")
    assert lines(text, "now") == [
        "login shell: libcuda 565.57.01 (/opt/image/libcuda.so.565.57.01) is loaded instead of the driver's",
        "570.133.20 (error 803)",
        "/etc/ld.so.conf.d/000-image.conf:1 puts another libcuda before the driver's (/opt/image)",
        "works: interactive shell, bash -c, ssh command, service (libcuda 570.133.20)",
    ]
    assert lines(text, "help")[:2] == [
        "Remove line 1 of /etc/ld.so.conf.d/000-image.conf (/opt/image) and run ldconfig, or list the file",
        "in repair_files.",
    ]
    assert text.index("  now ") < text.index("  help ") < text.index("  route "), "what to do comes before the plan"
    assert lines(text, "verdict") == ["broken: CUDA fails by the ways named under now"]
    assert lines(text, "note") == [], "the line is told once"
    assert lines(text, "proof") == [], "an earlier proof is not told as if it held"
    assert lines(text, "where"), "the environment is there"


def test_a_broken_host_that_a_run_mends(broken: Any, decide: Decide) -> None:
    wish = WISH | {"repair_files": ["/etc/ld.so.conf.d/000-image.conf"]}
    text = render_text(decide(broken, **wish), broken, "h100-1")
    assert lines(text, "help")[0].startswith("A run mends line 1 of /etc/ld.so.conf.d/000-image.conf (/opt/image)")
    assert lines(text, "verdict")[0].startswith("broken: ")
    assert lines(text, "verdict") == ["broken: 2 changes pending"]  # the line, and the loader's cache after it


def test_a_host_where_only_services_fail(broken: Any, decide: Decide) -> None:
    broken["ways"]["service"], broken["ways"][LOGIN] = broken["ways"][LOGIN], way()
    text = render_text(decide(broken, **WISH), broken, "h100-1")
    assert text.index("  now ") < text.index("  help ") < text.index("  route ")
    assert lines(text, "verdict") == ["degraded: CUDA fails by the ways named under now"]


def test_one_change_is_one(pod: Any, decide: Decide, applied: Any) -> None:
    host = applied(pod, decide(pod, **MET))
    host["installed"]["environment"]["broken"] = ["torch"]
    decision = decide(host, **MET)
    decision["changes"] = decision["changes"][:1]
    assert lines(render_text(decision, host, "h100-1"), "verdict") == ["ok: 1 change pending"]


def test_a_driver_that_cannot_work(pod: Any, decide: Decide) -> None:
    pod["ways"] = {LOGIN: way(code=803)}
    pod["driver"]["native"] = {"init": {"code": 802, "name": "CUDA_ERROR_SYSTEM_NOT_READY"}, "devices": 0}
    text = render_text(decide(pod, **WISH), pod, "h100-1", unfinished=True)
    assert lines(text, "now")[0].startswith("CUDA answers 802 (CUDA_ERROR_SYSTEM_NOT_READY) by the driver's own")
    assert lines(text, "route") == ["none: nothing is installed"]
    assert lines(text, "verdict") == ["broken: nothing was changed"]
    assert lines(text, "change") == lines(text, "not") == lines(text, "where") == []
    assert lines(text, "now")[2].startswith("possible cause 1: The host's NVLink fabric is not up")
    assert lines(text, "help")[:2] == [
        "Read the part Fabric of nvidia-smi -q: its State must be Completed, or N/A.",
        "For possible cause 1: In a rented container ask for another host; on a host of your own start",
    ]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        pytest.param({"init": None, "libcuda": None}, ["login shell: the loader finds no libcuda.so.1"], id="none"),
        pytest.param({"devices": 0}, ["login shell: CUDA sees 0 of 1 GPUs"], id="fewer"),
    ],
)
def test_a_fault_is_not_told_twice(changes: dict[str, Any], told: list[str], pod: Any, decide: Decide) -> None:
    """Where nothing is known beyond it, no second line says the same."""
    pod["ways"] = {LOGIN: {**way(), "environ": None, **changes}}
    assert lines(render_text(decide(pod, **WISH), pod, "h100-1"), "now") == told


def test_all_that_is_wrong_with_a_driver_is_told(pod: Any, decide: Decide) -> None:
    pod["driver"]["status"] = "lost"
    pod["devices"][0]["xid"] = [79]
    pod["ways"] = {LOGIN: way(code=999)}
    now = lines(render_text(decide(pod, **WISH), pod, "h100-1"), "now")
    assert now[0].startswith("the driver knows of a GPU that does not answer")
    assert now[1].startswith("GPU 0 had Xid 79")


def test_a_line_of_a_file_does_nothing_to_the_terminal(broken: Any, decide: Decide) -> None:
    """It is told as it stands, with its control characters spelled out, in the report and in a run's error."""
    broken["conflicts"][0] |= {"text": "/opt/image # \x1b[2J{{ lookup('pipe', 'id') }}\x07"}
    broken["conflicts"] += [{"kind": "cuda_home", "file": "/root/.bash\x1b[1mrc", "line": 3, "text": "\x1b[2J"}]
    broken["ways"][LOGIN]["environ"] = {"CUDA_VISIBLE_DEVICES": "0\x1b[2J"}
    decision = decide(broken, **WISH)
    text = render_text(decision, broken, "h100-1")
    assert "{{ lookup('pipe', 'id') }}" in " ".join(text.split())
    assert r"\x1b[2J" in text
    told = [decision["now"]["summary"], *decision["remedies"], *decision["warnings"], *text.splitlines()]
    assert [line for line in told if not line.isprintable()] == []


def test_the_verdict_broken_has_a_colour(broken: Any, decide: Decide) -> None:
    assert "\033[31mbroken\033[0m" in render_text(decide(broken, **WISH), broken, "h100-1", color=True)


def test_repairs_say_what_was_wrong(pod: Any, decide: Decide, applied: Any) -> None:
    host = applied(pod, decide(pod, **WISH))
    host["installed"]["environment"]["packages"]["torch"] = "2.15.0"
    text = render_text(decide(host, **WISH), host, "h100-1")
    assert (
        lines(text, "change")[0]
        == "~ torch                       2.15.0 → 2.9.1+cu130, replaced by hand: repaired, 2.9 GiB to fetch"
    )


@pytest.mark.parametrize(
    ("gpu", "driver", "kind", "head"),
    [
        (None, None, "bare_metal", "pc   no GPU · no NVIDIA driver · bare metal · Ubuntu 24.04 · x86_64"),
        (
            ["H100", "H100"],
            "580.95.05",
            "vm",
            "pc   2x NVIDIA H100 80GB HBM3 · driver 580.95.05 · virtual machine · Ubuntu 24.04 · x86_64",
        ),
    ],
)
def test_the_host_in_one_line(gpu: Any, driver: Any, kind: str, head: str, host: Any, decide: Decide) -> None:
    observed = host(gpu, driver, kind=kind)
    assert render_text(decide(observed), observed, "pc").splitlines()[0] == head


def test_lines_are_no_wider_than_promised(pod: Any, decide: Decide) -> None:
    pod["conflicts"] = [
        {"kind": "ld_library_path", "file": "/root/.bashrc", "line": 12, "text": "export A=" + "b:" * 60}
    ]
    text = render_text(decide(pod, **WISH, cutlass="newest"), pod, "a-host-with-a-rather-long-name-1")
    wide = [line for line in text.splitlines() if len(line) > WIDTH]
    assert [line for line in wide if "export" not in line and "b:b:" not in line] == []


def test_color_is_for_the_verdict_alone(pod: Any, decide: Decide) -> None:
    text = render_text(decide(pod, **MET), pod, "h100-1", color=True)
    assert text.count("\033[") == 2
    assert "\033[32mok\033[0m" in text


def test_no_observation_at_all(decide: Decide) -> None:
    text = render_text(decide({}, toolkit={"provider": "none"}), {}, "nowhere")
    assert text.splitlines()[0] == "nowhere   GPUs unknown · driver unknown"
