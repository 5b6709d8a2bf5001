# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of faults: how a converged pod is broken, and what has to be said of it and done about it."""

from __future__ import annotations

from dataclasses import dataclass

COMPAT = "/usr/local/cuda-13.0/compat"
OTHER = "/opt/image/lib"
STUBS = "/opt/toolkit/lib64/stubs"
BASHRC, SOURCED, PROFILE = "/root/.bashrc", "/root/.cuda_env", "/etc/profile.d/gpus.sh"
COMPAT_CONF, IMAGE_CONF = "/etc/ld.so.conf.d/000-compat.conf", "/etc/ld.so.conf.d/000-image.conf"
PRELOAD, PAM = "/etc/ld.so.preload", "/etc/environment"
REPAIR = [BASHRC, SOURCED, PROFILE, COMPAT_CONF, IMAGE_CONF, PRELOAD, PAM]
CONF = "/etc/simulated-driver.conf"

BROKEN, DEGRADED, OK = "broken", "degraded", "ok"


@dataclass(frozen=True)
class Fault:
    """One way to break a pod.

    ``do`` is a shell command of root's; ``kind`` and ``place``, a file with its line or None, are the cause's, and
    ``words`` are told by a plan. A run with the files of :data:`REPAIR` mends it or not, one without them where that is
    ``by_itself``. ``code`` is cuInit's answer in the live environment's Python, started without a shell.
    """

    name: str
    do: str
    kind: str | None
    words: tuple[str, ...]
    place: str | None = None
    verdict: str = BROKEN
    mends: bool = False
    by_itself: bool = False
    code: int | None = 0

    @property
    def fails(self) -> bool:
        """Whether a run without repairs ends with an error."""
        return self.verdict == BROKEN


def line(text: str, file: str = BASHRC) -> str:
    """Put a line at the end of a file."""
    return f"echo '{text}' >>{file}"


def driver(*lines: str) -> str:
    """Change what the pod's host answers."""
    return "".join(f"echo {text} >>{CONF}; " for text in lines) + "simulated-driver"


def answers(code: int, name: str, *words: str) -> Fault:
    """The driver itself answers with this code: nothing that is installed helps."""
    told = (f"CUDA answers {code} ({name})", *words)
    return Fault(f"cuInit answers {code}", driver(f"cuinit {code}"), "driver", told, code=code)


# What people set: a run may mend it where the file is listed, and our own Python works before that.
SETTINGS = [
    Fault(
        "compat directory in .bashrc",
        line(f"export LD_LIBRARY_PATH={COMPAT}:$LD_LIBRARY_PATH"),
        "ld_library_path",
        ("interactive shell", "580.95.05", "error 803"),
        BASHRC,
        mends=True,
    ),
    Fault(
        "compat directory by a variable, behind a condition, in a file that .bashrc sources",
        f"""cat >{SOURCED} <<'end'
export CUDA_HOME=/usr/local/cuda-13.0
[ -d $CUDA_HOME/compat ] && export LD_LIBRARY_PATH=$CUDA_HOME/compat:$LD_LIBRARY_PATH
end
{line(f". {SOURCED}")}""",
        "ld_library_path",
        ("interactive shell", "error 803"),
        f"{SOURCED}:2",
        mends=True,
    ),
    Fault(
        "wrong library in LD_PRELOAD",
        line(f"export LD_PRELOAD={COMPAT}/libcuda.so.1"),
        "preload",
        ("interactive shell", "error 803"),
        BASHRC,
        mends=True,
    ),
    Fault(
        "a GPU named twice",
        line("export CUDA_VISIBLE_DEVICES=0,0"),
        "repeated_devices",
        ("interactive shell", "names a GPU twice", "error 101"),
        BASHRC,
        mends=True,
    ),
    Fault(
        "every GPU hidden from login shells",
        line("export CUDA_VISIBLE_DEVICES=-1", PROFILE),
        "hidden_devices",
        ("login shell", "hides every GPU"),
        f"{PROFILE}:1",
        mends=True,
    ),
    Fault(
        "stubs on the loader's path",
        line(f"export LD_LIBRARY_PATH={STUBS}:$LD_LIBRARY_PATH"),
        "stubs",
        ("interactive shell", "stub"),
        BASHRC,
        mends=True,
    ),
    Fault(
        "compat directory in the loader's configuration",
        f"echo {COMPAT} >{COMPAT_CONF} && ldconfig",
        "ld_library_path",
        ("580.95.05", "error 803"),
        f"{COMPAT_CONF}:1",
        verdict=DEGRADED,
        mends=True,
    ),
    Fault(
        "compat directory in the loader's cache alone",
        f"echo {COMPAT} >{COMPAT_CONF} && ldconfig && rm {COMPAT_CONF}",
        "loader_cache",
        ("error 803", "ldconfig"),
        "/etc/ld.so.cache",
        verdict=DEGRADED,
        mends=True,
        by_itself=True,
    ),
    Fault(
        "another libcuda first in the loader's configuration",
        f"echo {OTHER} >{IMAGE_CONF} && ldconfig",
        "loader_order",
        ("libcuda 575.57.08", "instead of the driver's 580.159.04", "error 803"),
        f"{IMAGE_CONF}:1",
        verdict=DEGRADED,
        mends=True,
    ),
    Fault(
        "another libcuda preloaded into every program",
        f"echo {OTHER}/libcuda.so.575.57.08 >{PRELOAD}",
        "preload",
        ("575.57.08", "error 803"),
        f"{PRELOAD}:1",
        mends=True,
    ),
    Fault(
        "compat directory in PAM's environment",
        line(f"LD_LIBRARY_PATH={COMPAT}", PAM),
        "ld_library_path",
        ("580.95.05", "error 803"),
        PAM,
        verdict=DEGRADED,
        mends=True,
    ),
    Fault(
        "the driver's libraries in a folder that the loader does not know",
        driver("folder /usr/local/nvidia/lib64"),
        "loader_missing",
        ("/usr/local/nvidia/lib64", "ldconfig"),
        verdict=DEGRADED,
    ),
    Fault(
        "one of two GPUs chosen",
        line("export CUDA_VISIBLE_DEVICES=1"),
        None,
        ('CUDA_VISIBLE_DEVICES is "1": some of the 2 GPUs are hidden',),
        verdict=OK,
    ),
    Fault(
        "small shared memory",
        "mount -o remount,size=1m /dev/shm",
        None,
        ("/dev/shm has 1 MiB", "--shm-size"),
        verdict=OK,
    ),
]

# What the driver does: nothing is installed for it, and there is nothing to mend on the host.
DRIVERS = [
    answers(3, "CUDA_ERROR_NOT_INITIALIZED"),
    answers(46, "CUDA_ERROR_DEVICE_UNAVAILABLE"),
    answers(304, "CUDA_ERROR_OPERATING_SYSTEM"),
    answers(500, "CUDA_ERROR_NOT_FOUND"),
    answers(802, "CUDA_ERROR_SYSTEM_NOT_READY"),
    answers(999, "CUDA_ERROR_UNKNOWN"),
    Fault("cuInit crashes", driver("cuinit crash"), "driver", ("cuInit crashes (SIGNAL_11)",), code=-11),
    Fault("cuInit does not return", driver("cuinit hang"), "driver", ("cuInit does not return in time",), code=None),
    Fault(
        "MIG without a slice",
        f"sed -i 's/ 0 NVIDIA/ 1 NVIDIA/' {CONF}; {driver('slices 0')}",
        "driver",
        ("MIG is on for GPU 0, 1, and CUDA sees no slice of it", "nvidia-smi mig"),
        code=100,
    ),
    Fault("an Xid of weight", driver("xid 79 1"), "driver", ("GPU 1 had Xid 79",)),
    Fault("every GPU lost", driver("fault lost"), "driver", ("fallen off the bus",), code=999),
    Fault(
        "libraries of another version than the kernel's driver",
        driver("fault mismatch", "library 575.57.08"),
        "driver",
        ("575.57.08",),
        code=803,
    ),
    Fault("fewer GPUs than NVML counts", driver("shown 1"), "fewer_devices", ("CUDA sees 1 of 2 GPUs",)),
    Fault(
        "no libcuda on the host",
        "rm /usr/lib/x86_64-linux-gnu/libcuda.so*",
        "loader_missing",
        ("the loader finds no libcuda.so.1", "NVIDIA_DRIVER_CAPABILITIES=compute,utility"),
        code=-1,
    ),
]
ROUNDS = [SETTINGS, DRIVERS]
FAULTS = [fault for faults in ROUNDS for fault in faults]
