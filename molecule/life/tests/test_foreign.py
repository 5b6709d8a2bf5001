"""An image brings its own compat library, and its .bashrc puts that first for good: right on 570, error 803 on 595."""

from __future__ import annotations

import shlex

from life import CURRENT, PREFIX, TORCH, Change, Cuda, Pod, converged, everywhere, states, touched

COMPAT, NEW = "580.95.05", "595.71.05"
LINE = "export LD_LIBRARY_PATH=/usr/local/cuda-13.0/compat${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
NAME = "1-torch2.9.1-cu130"
GENERATION = f"{PREFIX}/environments/{NAME}"
HOOK = "lib/python3.13/site-packages/_podsmith_cuda.py"
INSTALL = """
source=/etc/apt/sources.list.d/image.list
echo 'deb [trusted=yes] http://mirror/cuda/repos/debian13/x86_64/ /' >$source
apt-get update -qq && apt-get install -qq -y cuda-compat-13-0=580.95.05-1 >/dev/null && rm $source
"""


def healed(driver: str) -> dict[str, Cuda]:
    """Our Python works by its start-up hook; whatever else runs in such a shell meets the wrong library."""
    return everywhere(driver) | {"login shell": Cuda(COMPAT, 803), "ssh command": Cuda(COMPAT, 803)}


def test_an_old_driver_uses_the_library_of_the_image(pod: Pod) -> None:
    pod.sh(f"set -e{INSTALL}cat >>~/.bashrc", f"{LINE}\n")
    run = pod.bootstrap()
    assert run.rc == 0, run.out
    assert run.applied == [
        Change("forward_compat", "switch", f"cuda-compat-13-0 {COMPAT}", "off", "on"),
        Change("pytorch", "install", "PyTorch 2.9.1+cu130", None, NAME),
        Change("gpu_verify", "prove", "the stack"),
        Change("gpu_environment", "switch", "live environment", None, NAME),
    ]
    assert pod.cuda() == everywhere(COMPAT)


def test_a_driver_that_is_newer_in_the_third_number_alone_works_too(pod: Pod) -> None:
    pod.set_driver("580.95.06")
    assert pod.cuda() == healed("580.95.06")
    pod.sh("mkdir /opt/image && cp -a /usr/local/cuda-13.0/compat /opt/image/compat")  # a folder that we never heard of
    ask = f"LD_LIBRARY_PATH=/opt/image/compat {CURRENT}/bin/python -c {shlex.quote(TORCH)}"
    assert pod.ask(ask) == Cuda("580.95.06", 0, "1 GPU")


def test_a_new_driver_leaves_library_and_line_alone_and_names_the_line(pod: Pod) -> None:
    pod.set_driver(NEW)
    assert pod.cuda() == healed(NEW)
    number = pod.sh("grep -n '^export LD_LIBRARY_PATH' ~/.bashrc | cut -d: -f1")
    before = pod.snapshot()
    run = pod.bootstrap()
    assert run.rc != 0, "what a user starts in a shell of this pod meets the wrong library"
    assert run.applied == [
        Change("gpu_verify", "prove", "the stack"),
        Change("gpu_environment", "repair", "activate.sh", "edited", "as generated"),
        Change("gpu_environment", "repair", "site-packages/_podsmith_cuda.py", "edited", "as generated"),
    ]
    written = {f"~ {GENERATION}/activate.sh", f"~ {GENERATION}/{HOOK}"}
    assert touched(before, pod.snapshot()) == written | states("decision", "history", "verdict")
    assert (run.decision["verdict"], run.decision["changes"]) == ("broken", [])
    assert f"/root/.bashrc:{number} puts another libcuda before the driver's ({LINE})" in run.told
    remedy = f"Remove line {number} of /root/.bashrc ({LINE}), or list the file in repair_files."
    assert remedy in run.decision["remedies"]
    assert f"compat library {COMPAT} from /usr/local/cuda-13.0/compat is loaded, which is not newer than" in run.told
    assert pod.cuda() == healed(NEW)
    before = pod.snapshot()
    again = pod.bootstrap()
    assert (again.rc == 0, again.applied, again.changed) == (False, [], 0)
    assert touched(before, pod.snapshot()) == set()


def test_the_line_alone_is_taken_out_where_that_is_allowed(pod: Pod) -> None:
    wish = pod.wish() | {"repair_files": ["~/.bashrc"]}
    text, before = pod.sh("cat ~/.bashrc"), pod.snapshot()
    run = pod.bootstrap(wish=wish)
    assert run.rc == 0, run.out
    assert run.applied == [Change("gpu_environment", "remove", f"/root/.bashrc: {LINE}", LINE)]
    written = {"~ /root/.bashrc", "+ /root/.bashrc.podsmith-backup"}
    assert touched(before, pod.snapshot()) == written | states("history")
    assert pod.sh("cat ~/.bashrc").splitlines() == [line for line in text.splitlines() if line != LINE]
    assert pod.sh("cat ~/.bashrc.podsmith-backup") == text
    assert pod.cuda() == everywhere(NEW)
    converged(pod, wish=wish)
