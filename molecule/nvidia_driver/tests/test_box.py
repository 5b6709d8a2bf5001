"""An RTX 5090 of one's own goes from 570 to 580, and later to 590 by hand: pending, rebooted, told, gone on."""

from __future__ import annotations

import time

from life import LIMIT, PREFIX, Change, Pod, everywhere, touched

OLD, NEW, NEWER = "570.124.06", "580.95.05", "590.44.01"
PACKAGES = ("libcuda1", "nvidia-kernel-open-dkms", "nvidia-open")
INSTALLED = f"dpkg-query --show --showformat '${{Package}} ${{Version}}\\n' {' '.join(PACKAGES)}"
LOADED = "cat /sys/module/nvidia/version"


def packages_of(version: str) -> list[str]:
    return [f"{name} {version}-1" for name in PACKAGES]


def reboot(pod: Pod) -> None:
    """Restart the machine, as its user does, and wait until it is there again."""
    boot = pod.sh("cat /proc/sys/kernel/random/boot_id")
    pod.ssh("shutdown -r now")
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        if pod.ssh("cat /proc/sys/kernel/random/boot_id").stdout.strip() not in ("", boot):
            return
        time.sleep(0.2)
    raise AssertionError("the machine did not come back")


def test_without_leave_to_reboot_the_driver_is_installed_and_nothing_else(pod: Pod) -> None:
    run = pod.bootstrap()
    assert run.rc == 0, run.out
    new = "the newest of branch 580, open kernel modules, pinned; then a reboot"
    assert run.applied == [Change("nvidia_driver", "replace", "NVIDIA driver 580", OLD, new)]
    assert f"verdict pending: driver {NEW} is installed, driver {OLD} is still loaded" in run.told
    assert "Reboot and run this again, or set nvidia_driver_reboot: true" in run.told
    driver = run.decision["driver"]
    assert (driver["reboot"], driver["version"], driver["loaded"]) == ("pending", NEW, OLD)
    assert pod.sh(INSTALLED).splitlines() == packages_of(NEW)
    assert pod.sh(LOADED) == OLD
    assert pod.sh(f"ls {PREFIX}") == "state"


def test_again_it_waits_and_touches_nothing(pod: Pod) -> None:
    before = pod.snapshot()
    run = pod.bootstrap()
    assert (run.rc, run.changed, run.applied) == (0, 0, []), run.out
    assert "verdict pending" in run.told
    assert touched(before, pod.snapshot()) == set()


def test_no_upgrade_moves_it(pod: Pod) -> None:
    policy = pod.sh("apt-cache policy nvidia-open")
    assert f"Candidate: {NEW}-1" in policy
    assert "615.71.09-1" in policy, "the repository has a newer branch"
    assert "Inst" not in pod.sh("apt-get --simulate dist-upgrade")
    assert pod.sh("apt-mark showhold").splitlines() == list(PACKAGES)
    pod.sh(f"apt-mark unhold {' '.join(PACKAGES)}")
    assert "Inst" not in pod.sh("apt-get --simulate dist-upgrade"), "the pin alone keeps the branch"
    pod.sh(f"apt-mark hold {' '.join(PACKAGES)}")


def test_after_the_reboot_the_bootstrap_goes_on(pod: Pod) -> None:
    reboot(pod)
    assert pod.sh(LOADED) == NEW
    run = pod.bootstrap()
    assert run.rc == 0, run.out
    assert (run.decision["route"], run.decision["cuda"], run.decision["verdict"]) == ("native", "13.0", "ok")
    assert [change.role for change in run.applied] == ["pytorch", "gpu_verify", "gpu_environment"]
    assert pod.cuda() == everywhere(NEW)
    assert "Open Kernel Module" in pod.sh("cat /proc/driver/nvidia/version")


def test_an_upgrade_by_hand_is_explained(pod: Pod) -> None:
    names = " ".join(f"{name}={NEWER}-1" for name in PACKAGES)
    command = f"apt-get install --yes -qq --allow-change-held-packages {names}"
    pod.sh(f"{command} 2>&1")
    run = pod.play("playbooks/plan.yml", wished_driver="keep")
    assert run.decision["verdict"] == "broken"
    assert f"the kernel runs driver {NEW} and its libraries on the disk are of {NEWER}" in run.told
    assert "/var/log/apt/history.log" in run.told
    assert command[:60] in run.told
    assert f"to {NEWER}-1" in run.told


def test_with_leave_to_reboot_one_run_does_it_all(pod: Pod) -> None:
    run = pod.bootstrap(wished_driver="590", nvidia_driver_reboot=True)
    assert run.rc == 0, run.out
    assert run.applied[:2] == [
        Change("nvidia_driver", "reboot", "the machine", f"driver {NEW} runs", f"driver {NEWER}"),
        Change("nvidia_driver", "repair", "pin of NVIDIA driver 590", "580.*", "590.*"),
    ]
    assert (run.decision["changes"], run.decision["driver"]["reboot"]) == ([], "no")
    assert (pod.sh(LOADED), pod.cuda()) == (NEWER, everywhere(NEWER))


def test_then_nothing_is_left_to_change(pod: Pod) -> None:
    before = pod.snapshot()
    run = pod.bootstrap(wished_driver="590", nvidia_driver_reboot=True)
    assert (run.rc, run.changed, run.applied, run.decision["changes"]) == (0, 0, [], []), run.out
    assert touched(before, pod.snapshot()) == set()


def test_apt_can_go_back(pod: Pod) -> None:
    run = pod.play("molecule/nvidia_driver/role.yml", "--check")
    assert (run.rc, run.changed) == (0, 1), run.out


def test_absent_refuses_a_driver_that_was_there_before(pod: Pod) -> None:
    before = pod.snapshot()
    run = pod.play("molecule/nvidia_driver/role.yml", nvidia_driver_state="absent")
    assert run.rc != 0
    assert f"A driver was here before this role came (libcuda1 {OLD}-1)" in run.told
    assert touched(before, pod.snapshot()) == set()
