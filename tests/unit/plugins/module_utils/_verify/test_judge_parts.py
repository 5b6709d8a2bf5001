"""What the records of limits, workers, nvrtc, triton and peers mean: tables of cases."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._verify import judge_parts
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import load_catalogue

ROWS = load_catalogue()["health"]["process_limits"]
ENOUGH = {"shm_mib": 24106, "open_files": 20000, "memlock_kib": 8192, "container": False}


@pytest.mark.parametrize(
    ("changes", "low"),
    [
        pytest.param({}, {}, id="enough"),
        pytest.param({"open_files": None, "memlock_kib": None}, {}, id="no-limit"),
        pytest.param({"shm_mib": 1}, {"shm_mib": "/dev/shm has 1 MiB"}, id="measured-on-an-h200"),
        pytest.param({"shm_mib": 64}, {"shm_mib": "/dev/shm has 64 MiB"}, id="what-docker-gives"),
        pytest.param({"shm_mib": 65}, {}, id="more-than-docker-gives"),
        pytest.param({"shm_mib": None}, {"shm_mib": "there is no /dev/shm"}, id="none"),
        pytest.param({"open_files": 256}, {"open_files": "a program may have 256 files open"}, id="files"),
        pytest.param({"memlock_kib": 64}, {"memlock_kib": "a program may lock 64 KiB of memory"}, id="memlock"),
    ],
)
def test_judge_limits(changes: dict[str, Any], low: dict[str, str]) -> None:
    findings = judge_parts.judge_limits({**ENOUGH, **changes}, ROWS)
    assert [row["name"] for row in findings] == ["shm_mib", "open_files", "memlock_kib"]
    assert {row["name"]: row["text"] for row in findings if row["severity"] == "warning"} == low


def test_a_limit_that_is_none_is_told_as_none() -> None:
    texts = [row["text"] for row in judge_parts.judge_limits({**ENOUGH, "memlock_kib": None}, ROWS)]
    assert texts[2] == "a program may lock any amount of memory"


@pytest.mark.parametrize(
    ("container", "words"),
    [
        (True, {"shm_mib": "--shm-size", "open_files": "--ulimit nofile=", "memlock_kib": "--ulimit memlock=-1"}),
        (False, {"shm_mib": "mount -o remount", "open_files": "ulimit -n", "memlock_kib": "limits.conf"}),
    ],
)
def test_low_limits_name_the_flag_that_raises_them(container: bool, words: dict[str, str]) -> None:
    record = {"shm_mib": 1, "open_files": 1, "memlock_kib": 1, "container": container}
    for row in judge_parts.judge_limits(record, ROWS):
        assert words[row["name"]] in row["advice"]


SENT = {"shm_mib": 64, "shm_free_mib": 60, "workers": 2, "batch_mib": 2, "batches": 4, "wrong": 0}


@pytest.mark.parametrize(
    ("changes", "problem", "of_size"),
    [
        pytest.param({}, None, False, id="good"),
        pytest.param({"batches": 0}, "The DataLoader sent no batch.", False, id="nothing"),
        pytest.param({"wrong": 3}, "3 values that the DataLoader's workers sent are wrong.", False, id="wrong"),
        pytest.param(
            {"failure": "RuntimeError: it died", "shm_free_mib": 1},
            "A DataLoader with 2 workers cannot send batches of 2 MiB through /dev/shm (64 MiB, 1 MiB free):"
            " RuntimeError: it died.",
            True,
            id="full",
        ),
        pytest.param({"failure": "RuntimeError: it died"}, "(64 MiB, 60 MiB free): RuntimeError", False, id="room"),
        pytest.param(
            {"failure": "no file", "shm_mib": None, "shm_free_mib": None}, "without /dev/shm: no file.", True, id="none"
        ),
    ],
)
def test_judge_workers(changes: dict[str, Any], problem: str | None, of_size: bool) -> None:
    """The size is told as the cause only where it is small; a failure with room enough has another."""
    record = {**SENT, **changes}
    problems = judge_parts.judge_workers(record)
    assert len(problems) == bool(problem)
    assert (problem or "") in "".join(problems)
    assert bool(judge_parts.advise_workers(record)) == of_size


CUBIN = {"device": 0, "kind": "cubin", "target": "sm_90", "wrong": 0}
PTX = {**CUBIN, "kind": "ptx"}
NVRTC = {"nvrtc": "13.0", "devices": 1, "runs": [CUBIN, PTX], "ptx_not_run": None}


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        pytest.param({}, [], id="both"),
        pytest.param({"runs": [CUBIN], "ptx_not_run": "the driver is older"}, [], id="machine-code-alone"),
        pytest.param(
            {"failure": "nvrtcVersion of /x returned 7"}, ["nvrtcVersion of /x returned 7."], id="broken-library"
        ),
        pytest.param(
            {"runs": [CUBIN, {**PTX, "call": "cuModuleLoadData", "code": 222}]},
            ["The kernel of NVRTC 13.0 as PTX (sm_90) on device 0 does not run: cuModuleLoadData returned 222."],
            id="ptx-refused",
        ),
        pytest.param(
            {"runs": [{**CUBIN, "wrong": 9}, PTX]},
            ["The kernel of NVRTC 13.0 as machine code (sm_90) on device 0 computed 9 wrong values."],
            id="wrong",
        ),
        pytest.param(
            {"runs": [{"device": 0, "error": "NVRTC 13.0 does not support this GPU"}]},
            ["Device 0: NVRTC 13.0 does not support this GPU."],
            id="unsupported",
        ),
        pytest.param({"devices": 2}, ["No kernel ran on device 1."], id="second-device-idle"),
        pytest.param(
            {"runs": [], "ptx_not_run": "the driver is older"},
            ["No kernel ran on device 0: the driver is older."],
            id="ptx-only-and-refused",
        ),
        pytest.param(
            {"devices": 0, "runs": []}, ["The kernel did not run on any device: none is visible."], id="no-device"
        ),
    ],
)
def test_judge_nvrtc(changes: dict[str, Any], problems: list[str]) -> None:
    assert judge_parts.judge_nvrtc({**NVRTC, **changes}) == problems


@pytest.mark.parametrize(
    ("devices", "wrong", "problems"),
    [
        (1, [0], []),
        (2, [0, 0], []),
        (2, [0, 5], ["The kernel of Triton 3.6.0 computed 5 wrong values on device 1."]),
        (2, [0], ["No kernel ran on device 1."]),
        (0, [], ["The kernel did not run on any device: none is visible."]),
    ],
)
def test_judge_triton(devices: int, wrong: list[int], problems: list[str]) -> None:
    runs = [{"device": index, "wrong": count} for index, count in enumerate(wrong)]
    assert judge_parts.judge_triton({"triton": "3.6.0", "devices": devices, "runs": runs}) == problems


COPIES = [
    {"source": 0, "target": 1, "direct": True, "wrong": 0},
    {"source": 1, "target": 0, "direct": False, "wrong": 0},
]
PEERS = {"devices": 2, "backend": "nccl", "copies": COPIES, "ranks": [{"rank": 0, "wrong": 0}, {"rank": 1, "wrong": 0}]}


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        pytest.param({}, [], id="good"),
        pytest.param(
            {"copies": [{**COPIES[0], "wrong": 7}, {**COPIES[1], "wrong": 1}]},
            [
                "7 of the values copied from GPU 0 to GPU 1 are wrong (direct).",
                "1 of the values copied from GPU 1 to GPU 0 are wrong (through the host).",
            ],
            id="copies",
        ),
        pytest.param(
            {"ranks": [{"rank": 0, "wrong": 0}, {"rank": 1, "wrong": 4}]},
            ["The sum of an all-reduce over 2 devices (nccl) has 4 wrong values in process 1."],
            id="sum",
        ),
        pytest.param(
            {"backend": None, "version": "2.9.1", "ranks": []},
            ["torch 2.9.1 is built without NCCL, so its GPUs cannot work together."],
            id="no-nccl",
        ),
        pytest.param({"failure": "process 1 died with exit code -7"}, ["process 1 died with exit code -7."], id="dead"),
    ],
)
def test_judge_peers(changes: dict[str, Any], problems: list[str]) -> None:
    assert judge_parts.judge_peers({**PEERS, **changes}) == problems
