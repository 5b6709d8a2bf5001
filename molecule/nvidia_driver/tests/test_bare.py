"""A machine without a driver, and the role alone: installed, rebooted where allowed, taken out without a trace."""

from __future__ import annotations

from life import Pod

ROLE = "molecule/nvidia_driver/role.yml"
OURS = ("/etc/apt/preferences.d", "/etc/apt/sources.list.d", "/etc/apt/keyrings", "/opt/podsmith/state")
LIST = f"ls {' '.join(OURS)} 2>/dev/null"


def test_it_is_installed_and_no_reboot_happens(pod: Pod) -> None:
    boot = pod.sh("cat /proc/sys/kernel/random/boot_id")
    run = pod.play(ROLE)
    assert run.rc == 0, run.out
    assert "580.95.05-1" in pod.sh("apt-mark showhold | xargs dpkg-query --show nvidia-open")
    assert pod.sh("cat /proc/sys/kernel/random/boot_id") == boot
    assert pod.ssh("cat /sys/module/nvidia/version").returncode != 0


def test_where_it_is_allowed_the_machine_is_rebooted(pod: Pod) -> None:
    boot = pod.sh("cat /proc/sys/kernel/random/boot_id")
    run = pod.play(ROLE, nvidia_driver_reboot=True)
    assert run.rc == 0, run.out
    assert pod.sh("cat /proc/sys/kernel/random/boot_id") != boot
    assert pod.sh("cat /sys/module/nvidia/version") == "580.95.05"
    again = pod.play(ROLE, nvidia_driver_reboot=True)
    assert (again.rc, again.changed) == (0, 0), again.out


def test_absent_leaves_the_repository_to_a_toolkit_that_came_from_it(pod: Pod) -> None:
    pod.sh("apt-get install -qq -y --no-install-recommends cuda-cccl-13-0")
    run = pod.play(ROLE, nvidia_driver_state="absent")
    assert run.rc == 0, run.out
    assert "podsmith-cuda.sources" in pod.ssh(LIST).stdout
    assert pod.sh("apt-get update -qq && apt-cache policy cuda-cccl-13-0 | grep -c http://mirror/cuda") == "1"
    pod.sh("apt-get purge -qq -y cuda-cccl-13-0")


def test_absent_takes_it_out_again(pod: Pod) -> None:
    run = pod.play(ROLE, nvidia_driver_state="absent")
    assert run.rc == 0, run.out
    assert pod.sh("dpkg-query --list '*nvidia*' libcuda1 2>/dev/null | grep -c ^ii || :") == "0"
    assert "podsmith" not in pod.ssh(LIST).stdout.replace("/opt/podsmith", "")
    assert "driver.json" not in pod.ssh(LIST).stdout
    again = pod.play(ROLE, nvidia_driver_state="absent")
    assert (again.rc, again.changed) == (0, 0), again.out
