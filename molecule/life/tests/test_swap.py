"""A wheel is swapped and files are deleted by hand: each is seen, and put right in place."""

from __future__ import annotations

from life import CURRENT, PREFIX, Change, Pod, converged, everywhere, states, touched

DRIVER = "580.95.05"
NAME = "1-torch2.9.1-cu130"
GENERATION = f"{PREFIX}/environments/{NAME}"
SITE = f"{GENERATION}/lib/python3.13/site-packages"
PROVED = Change("gpu_verify", "prove", "the stack")


def others(differing: set[str]) -> set[str]:
    """Of what differs, all but the files of the packages that are brought again, and our own list of packages."""
    packages = tuple(f"{SITE}/{name}{end}" for name in ("torch", "triton") for end in ("/", "-"))
    return {path for path in differing if not path[2:].startswith((*packages, f"{GENERATION}/.podsmith-packages.json"))}


def test_bootstrap(pod: Pod) -> None:
    run = pod.bootstrap()
    assert run.rc == 0, run.out
    assert run.applied == [
        Change("pytorch", "install", "PyTorch 2.9.1+cu130", None, NAME),
        PROVED,
        Change("gpu_environment", "switch", "live environment", None, NAME),
    ]
    assert pod.cuda() == everywhere(DRIVER)


def test_pip_alone_cannot_swap_the_wheel(pod: Pod) -> None:
    done = pod.ssh(f"{CURRENT}/bin/python -m pip install --no-cache-dir --no-deps torch==2.8.0")
    assert done.returncode != 0
    assert "(constraint) torch==2.9.1+cu130" in done.stdout


def test_a_swapped_wheel_is_put_right_in_place(pod: Pod) -> None:
    before = pod.snapshot()
    unbound = "PIP_CONSTRAINT= PIP_CONFIG_FILE=/dev/null"
    pip = f"{unbound} {CURRENT}/bin/python -m pip install --quiet --no-cache-dir --trusted-host mirror"
    pod.sh(f"{pip} --no-deps --index-url http://mirror/whl/cu129 torch==2.8.0+cu129")
    run = pod.bootstrap()
    assert run.rc == 0, run.out
    assert run.applied == [Change("pytorch", "replace", "torch", "2.8.0+cu129", "2.9.1+cu130"), PROVED]
    assert others(touched(before, pod.snapshot())) == states("verdict")
    assert pod.cuda() == everywhere(DRIVER)
    converged(pod)


def test_what_was_deleted_and_edited_is_put_right_in_one_run(pod: Pod) -> None:
    before = pod.snapshot()
    pod.sh(f"cd {SITE} && rm torch/version.py triton/__init__.py && echo pass >>_podsmith_cuda.py")
    pod.sh(f"rm {PREFIX}/activate.sh && sed -i '/BEGIN podsmith.gpu/,/END podsmith.gpu/d' ~/.bashrc")
    run = pod.bootstrap()
    assert run.rc == 0, run.out
    assert run.applied == [
        Change("pytorch", "repair", "torch", "files are missing or altered", "2.9.1+cu130"),
        Change("pytorch", "repair", "triton", "files are missing or altered", "3.5.1"),
        PROVED,
        Change("gpu_environment", "repair", "site-packages/_podsmith_cuda.py", "edited", "as generated"),
        Change("gpu_environment", "repair", f"{PREFIX}/activate.sh", None, "as generated"),
        Change("gpu_environment", "repair", "/root/.bashrc", None, "as generated"),
    ]
    own = {f"~ {SITE}/_podsmith_cuda.py", f"~ {PREFIX}/activate.sh", "~ /root/.bashrc"}
    assert others(touched(before, pod.snapshot())) == own | states("history", "verdict")
    assert pod.cuda() == everywhere(DRIVER)
    converged(pod)
