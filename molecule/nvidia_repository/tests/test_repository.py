"""The role alone: a key that is trusted for one repository, which stays while a package needs it."""

from __future__ import annotations

from life import Pod

ROLE = "molecule/nvidia_repository/converge.yml"
FILES = "ls /etc/apt/sources.list.d /etc/apt/keyrings"
MESSAGE = "repository stays: cuda-cccl-13-0 came from it."


def test_its_key_is_trusted_for_it_alone(pod: Pod) -> None:
    source = pod.sh("cat /etc/apt/sources.list.d/podsmith-cuda.sources")
    assert "URIs: http://mirror/cuda/repos/debian13/x86_64/" in source
    assert "Signed-By: /etc/apt/keyrings/podsmith-cuda.gpg" in source
    assert "cuda" not in pod.sh("ls -A /etc/apt/trusted.gpg.d")


def test_apt_installs_from_it(pod: Pod) -> None:
    pod.sh("apt-get update -qq && apt-get install -qq -y --no-install-recommends cuda-cccl-13-0 2>&1")
    run = pod.play(ROLE)
    assert (run.rc, run.changed) == (0, 0), run.out


def test_it_stays_while_a_package_from_it_is_installed(pod: Pod) -> None:
    run = pod.play(ROLE, "-v", nvidia_repository_state="absent")
    assert (run.rc, run.changed) == (0, 0), run.out
    assert MESSAGE in run.out
    assert "podsmith-cuda.sources" in pod.sh(FILES)


def test_then_it_goes_without_a_trace(pod: Pod) -> None:
    pod.sh("apt-get purge -qq -y cuda-cccl-13-0 2>&1")
    check = pod.play(ROLE, "--check", nvidia_repository_state="absent")
    assert (check.rc, check.changed) == (0, 1), check.out
    assert "podsmith-cuda.sources" in pod.sh(FILES)
    run = pod.play(ROLE, nvidia_repository_state="absent")
    assert (run.rc, run.changed) == (0, 1), run.out
    assert "podsmith" not in pod.sh(FILES)
    again = pod.play(ROLE, nvidia_repository_state="absent")
    assert (again.rc, again.changed) == (0, 0), again.out
