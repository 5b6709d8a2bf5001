"""Which error a text names, and what it means by what is known of the host: every row of the catalogue, in context."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._observe.startup_files import judge_devices
from ansible_collections.podsmith.gpu.plugins.module_utils._verify.errors import (
    compare_library,
    explain_error,
    find_cuda_error,
    judge_visible,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue

TORCH = (
    "RuntimeError: Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before calling"
    " NumCudaDevices() that might have already set an error? Error "
)
ASYNC = (
    "\nCUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be"
    " incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
)


@pytest.fixture(name="rows")
def _rows(known: Catalogue) -> Any:
    return known["drivers"]["errors"]


# --- which error a text names ---

# What libcudart's cudaGetErrorString says for each code; 11.8, 12.4 and 13.0 say the same.
WORDS = {
    "3": "initialization error",
    "34": "CUDA driver is a stub library",
    "35": "CUDA driver version is insufficient for CUDA runtime version",
    "36": "API call is not supported in the installed CUDA driver",
    "46": "CUDA-capable device(s) is/are busy or unavailable",
    "100": "no CUDA-capable device is detected",
    "101": "invalid device ordinal",
    "201": "invalid device context",
    "209": "no kernel image is available for execution on the device",
    "214": "uncorrectable ECC error encountered",
    "222": "the provided PTX was compiled with an unsupported toolchain.",
    "304": "OS call failed or operation not supported on this OS",
    "500": "named symbol not found",
    "801": "operation not supported",
    "802": "system not yet initialized",
    "803": "system has unsupported display driver / cuda driver combination",
    "804": "forward compatibility was attempted on non supported HW",
    "999": "unknown error",
}
NAMES = {
    "3": ("CUDA_ERROR_NOT_INITIALIZED", "cudaErrorInitializationError"),
    "34": ("CUDA_ERROR_STUB_LIBRARY", "cudaErrorStubLibrary"),
    "35": ("cudaErrorInsufficientDriver",),
    "36": ("cudaErrorCallRequiresNewerDriver",),
    "46": ("CUDA_ERROR_DEVICE_UNAVAILABLE", "cudaErrorDevicesUnavailable"),
    "100": ("CUDA_ERROR_NO_DEVICE", "cudaErrorNoDevice"),
    "101": ("CUDA_ERROR_INVALID_DEVICE", "cudaErrorInvalidDevice"),
    "201": ("CUDA_ERROR_INVALID_CONTEXT", "cudaErrorDeviceUninitialized"),
    "209": ("CUDA_ERROR_NO_BINARY_FOR_GPU", "cudaErrorNoKernelImageForDevice"),
    "214": ("CUDA_ERROR_ECC_UNCORRECTABLE", "cudaErrorECCUncorrectable"),
    "222": ("CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "cudaErrorUnsupportedPtxVersion"),
    "304": ("CUDA_ERROR_OPERATING_SYSTEM", "cudaErrorOperatingSystem"),
    "500": ("CUDA_ERROR_NOT_FOUND", "cudaErrorSymbolNotFound"),
    "801": ("CUDA_ERROR_NOT_SUPPORTED", "cudaErrorNotSupported"),
    "802": ("CUDA_ERROR_SYSTEM_NOT_READY", "cudaErrorSystemNotReady"),
    "803": ("CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "cudaErrorSystemDriverMismatch"),
    "804": ("CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE", "cudaErrorCompatNotSupportedOnDevice"),
    "999": ("CUDA_ERROR_UNKNOWN", "cudaErrorUnknown"),
}


def test_the_tables_here_are_of_the_whole_catalogue(rows: Any) -> None:
    assert set(WORDS) == set(NAMES) == set(rows)


@pytest.mark.parametrize(("code", "words"), WORDS.items())
@pytest.mark.parametrize(
    "form",
    [
        pytest.param("{words}", id="alone"),
        pytest.param("RuntimeError: CUDA error: {words}" + ASYNC, id="torch"),
        pytest.param("RuntimeError: CUDA driver error: {words}", id="torch-driver"),
        pytest.param("Cuda failure '{words}'", id="nccl"),
        pytest.param(TORCH + "{code}: {words}", id="torch-start"),
        pytest.param("RuntimeError: cuda runtime error ({code}) : {words} at /opt/THCGeneral.cpp:50", id="old-torch"),
        pytest.param("[1]\nCUDA ERROR: {words}\n", id="upper-case"),
    ],
)
def test_the_words_of_the_runtime(form: str, code: str, words: str, rows: Any) -> None:
    assert find_cuda_error(form.format(words=words, code=code), rows) == code


@pytest.mark.parametrize(("code", "name"), [(code, name) for code, names in NAMES.items() for name in names])
def test_names(code: str, name: str, rows: Any) -> None:
    assert find_cuda_error(f"cuda call failed ({name}) in x.cu", rows) == code
    assert find_cuda_error(f"see {name}Xyz", rows) is None, "a part of another name"


@pytest.mark.parametrize("code", WORDS)
@pytest.mark.parametrize(
    "form",
    [
        '{{"call": "cuInit", "code": {code}}}',
        '{{"call": "cudaMalloc", "code": {code}, "name": "x"}}',
        '{{"code": {code}}}',
        "CUDA error {code} at /tmp/ggml-cuda.cu:5065: something",
        "CUDA failure {code}: something ; GPU=32694 ;",
        "CUDA error: {code}",
        "CUDA Runtime Error({code}): something",
        "cuda driver library init failure: {code}",
        "cudaGetDeviceProperties returned {code}\n-> something",
        "cuInit(0) returned {code}",
        'CUDA error at bandwidthTest.cu:256 code={code}(cudaErrorWhatever) "cudaSetDevice(currentDevice)"',
        "{code}",
    ],
)
def test_codes(form: str, code: str, rows: Any) -> None:
    assert find_cuda_error(form.format(code=code), rows) == code


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4711",
        "802 MiB",
        "Downloading torch (802 MB)",
        "CUDA error: 802 MiB could not be allocated",
        "CUDA error: 100.5 of 200 wrong",
        "CUDA error: 804x",
        "CUDA error 35%",
        "804 errors",
        "Error 100: Network is down",
        "[Errno 101] Network is unreachable",
        "OSError: [Errno 95] Operation not supported: '/usr/local/cuda-13.0/lib64'",
        "HTTP Error 304: Not Modified",
        "urllib.error.HTTPError: HTTP Error 500: Internal Server Error",
        "HTTP Error 999: blocked",
        "make: *** [x] Error 3",
        "exited with status 35",
        "Failed to initialize NVML: Unknown Error",
        "nvidia-container-cli: initialization error: nvml error: driver not loaded",
        "ncclSystemError: System call failed",
        "unhandled cuda error (run with NCCL_DEBUG=INFO for details)",
        '{"call": "cublasCreate", "code": 3}',
        '{"call": "ncclCommInitRank", "code": 3, "name": "internal error"}',
        '{"call": "cuInit", "code": 0}',
        '{"call": "cuInit", "code": "803"',
        "cublasCreate returned 3",
        "everything ran on the initialization errors page",
    ],
)
def test_what_names_no_error_of_cuda(text: str, rows: Any) -> None:
    assert find_cuda_error(text, rows) is None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param(
            "The NVIDIA driver on your system is too old (found version 12040). Please update your GPU driver",
            "35",
            id="too-old",
        ),
        pytest.param("RuntimeError: Found no NVIDIA driver on your system. Please check that you", "35", id="none"),
        pytest.param("CUDA driver initialization failed, you might not have a CUDA gpu.", "3", id="initialization"),
        pytest.param("CUDA unknown error - this may be due to an incorrectly set up environment", "999", id="unknown"),
        pytest.param("RuntimeError: No CUDA GPUs are available", "100", id="no-gpus"),
        pytest.param("RuntimeError: Cannot re-initialize CUDA in forked subprocess. To use CUDA", "3", id="forked"),
        pytest.param("error code all CUDA-capable devices are busy or unavailable", "46", id="older-words"),
        pytest.param("the provided PTX was compiled with\n   an unsupported   toolchain", "222", id="broken-lines"),
        pytest.param("[[ System not yet initialized (error 802) ]]", "802", id="container-banner"),
        pytest.param(
            "Couldn't init CUDA: system not yet initialized\nCouldn't init a GPU test: CUDA initialization error",
            "802",
            id="longest",
        ),
        pytest.param(
            "nvidia-container-cli: cuda error: os call failed or operation not supported on this os",
            "304",
            id="longer-than-801",
        ),
        pytest.param("CUDA error: unknown error\ncudaErrorSystemDriverMismatch", "803", id="name-before-words"),
        pytest.param("CUDA error: unknown error\nand elsewhere: CUDA failure 802", "802", id="code-before-words"),
        pytest.param('CUDA error: unknown error\n{"call": "cuInit", "code": 803}', "803", id="record-before-words"),
        pytest.param(
            "system has unsupported display driver / cuda driver combination, and then CUDA failure 802",
            "802",
            id="code-before-longer-words",
        ),
        pytest.param("CUDA failure 46, CUDA failure 802", "802", id="longest-code"),
        pytest.param("CUDA failure 804: then CUDA failure 802:", "804", id="earliest"),
        pytest.param("Error 803: some day other words", "803", id="alone-from-800-on"),
        pytest.param("CUDA failure 719; CUDA failure 802", "802", id="what-the-catalogue-has"),
    ],
)
def test_what_is_printed(text: str, code: str, rows: Any) -> None:
    assert find_cuda_error(text, rows) == code


# --- what it means here ---

PROBE, PROGRAM = {"where": "probe"}, {"where": "program"}
BARE, VM, POD = {"kind": "bare_metal"}, {"kind": "vm"}, {"kind": "container"}
WSL = {"kind": "wsl2", "flavor": "windows"}
OPEN, CLOSED = {"flavor": "open"}, {"flavor": "proprietary"}
OLDER = {"driver": "580.159.04", "libcuda": "580.95.05"}
NEWER = {"driver": "570.133.20", "libcuda": "580.95.05"}

# Error, context, for each cause that is told in this order a part of its words; one that is decided begins with "=".
EXPLAINED: list[Any] = [
    # 3: a fresh cuInit was not forked, and is not older than a program that there is not
    pytest.param(3, {**PROBE, **BARE, **OPEN, "model": "NVIDIA L20"}, ["HMM"], id="3-open"),
    pytest.param(3, {**PROBE, **POD, **OPEN}, ["HMM"], id="3-open-pod"),
    pytest.param(3, {**PROBE, **BARE}, ["HMM"], id="3-modules-unknown"),
    pytest.param(3, {**PROBE, **BARE, **CLOSED}, [], id="3-proprietary"),
    pytest.param(3, {**PROBE, **WSL}, [], id="3-wsl"),
    pytest.param(3, {**PROBE, **BARE, **OPEN, "model": "NVIDIA GB10"}, ["SMMU_V3_SVA", "HMM"], id="3-gb10"),
    pytest.param(3, {**PROGRAM, **BARE, **OPEN}, ["forked", "HMM", "newer major"], id="3-program"),
    pytest.param(3, {**PROGRAM, **BARE, **CLOSED}, ["forked", "newer major"], id="3-program-proprietary"),
    pytest.param("Cannot re-initialize CUDA in forked subprocess", {**PROGRAM, **OPEN}, ["=forked"], id="3-forked"),
    pytest.param("Cannot re-initialize CUDA in forked subprocess", {}, ["=forked"], id="3-forked-anywhere"),
    # 34, 36, 209, 214, 222: by their definition
    *[pytest.param(code, {**PROBE, **BARE}, [], id=str(code)) for code in (34, 36, 209, 214, 222)],
    # 35
    pytest.param(35, {**PROGRAM, **BARE}, ["newer CUDA", "no libcuda.so.1"], id="35"),
    pytest.param(
        "The NVIDIA driver on your system is too old (found version 12040)", PROGRAM, ["=newer CUDA"], id="35-too-old"
    ),
    pytest.param("Found no NVIDIA driver on your system", PROGRAM, ["=no libcuda.so.1"], id="35-no-library"),
    # 46
    pytest.param(46, {**PROGRAM, **BARE}, ["exclusive mode", "filled the GPU's memory", "MPS"], id="46"),
    pytest.param(
        46,
        {**PROGRAM, **POD},
        ["exclusive mode", "filled the GPU's memory", "MPS", "outside this container"],
        id="46-pod",
    ),
    pytest.param(46, {**PROGRAM, **WSL}, ["exclusive mode", "filled the GPU's memory"], id="46-wsl"),
    # 100
    pytest.param(100, {**PROBE, **BARE, "visible_devices": ""}, ["=hides every GPU"], id="100-empty"),
    pytest.param(100, {**PROBE, **BARE, "visible_devices": "-1", "gpus": 1}, ["=hides every GPU"], id="100-minus-one"),
    pytest.param(100, {**PROBE, **POD, "visible_devices": "1,0", "gpus": 1}, ["=hides every GPU"], id="100-beyond"),
    pytest.param(
        100, {**PROBE, **BARE, "mig": True, "slices": 0, "visible_devices": None}, ["=no slice"], id="100-mig"
    ),
    pytest.param(
        100,
        {**PROBE, **POD, "mig": True, "visible_devices": None},
        ["no slice", "started without the GPU"],
        id="100-mig-pod",
    ),
    pytest.param(
        100, {**PROBE, **POD, "mig": False, "visible_devices": None}, ["started without the GPU"], id="100-pod"
    ),
    pytest.param(
        100, {**PROBE, **BARE, "mig": False, "visible_devices": None}, ["device files are missing"], id="100-bare"
    ),
    pytest.param(
        100, {**PROBE, **BARE, "mig": False, "visible_devices": None, "device_files": "present"}, [], id="100-no-cause"
    ),
    pytest.param(100, {**PROBE, **BARE, "mig": False}, ["hides every GPU", "device files"], id="100-unknown-variable"),
    # 101
    pytest.param(101, {**PROBE, **BARE, "visible_devices": "0,0", "gpus": 1}, ["=twice"], id="101-repeated"),
    pytest.param(101, {**PROBE, **BARE, "visible_devices": None}, [], id="101-not-set"),
    pytest.param(101, {**PROGRAM, **BARE, "visible_devices": None}, ["beyond the GPUs"], id="101-program"),
    pytest.param(101, {**PROGRAM, **BARE}, ["twice", "beyond the GPUs"], id="101-unknown-variable"),
    # 201
    pytest.param(201, PROGRAM, ["contexts belong to threads", "destroyed"], id="201"),
    # 304
    pytest.param(304, {**PROBE, **BARE}, ["device file is missing", "error state"], id="304"),
    pytest.param(304, {**PROBE, **BARE, "device_files": "present"}, ["error state"], id="304-files-present"),
    pytest.param(
        304, {**PROBE, **POD}, ["device file is missing", "control group", "seccomp", "error state"], id="304-pod"
    ),
    # 500
    pytest.param(500, {**PROBE, **WSL}, ["old NVIDIA container toolkit"], id="500-wsl"),
    pytest.param(
        500, {**PROGRAM, **WSL}, ["old NVIDIA container toolkit", "kernel or a variable"], id="500-wsl-program"
    ),
    pytest.param(500, {**PROGRAM, **POD, **OPEN}, ["kernel or a variable"], id="500-program"),
    pytest.param(500, {**PROBE, **BARE, **OPEN}, [], id="500-bare"),
    # 801
    pytest.param(801, {**PROGRAM, **VM, **OPEN}, ["vGPU"], id="801"),
    pytest.param(801, {**PROGRAM, **WSL}, ["Windows's driver"], id="801-wsl"),
    pytest.param(801, {**PROBE, **BARE, **OPEN}, [], id="801-probe"),
    # 802
    pytest.param(802, {**PROBE, **BARE, "gpus": 8}, ["NVSwitch", "still starting"], id="802-bare"),
    pytest.param(
        802,
        {**PROBE, **POD, "gpus": 1},
        ["a single GPU of such a system", "still starting", "Confidential"],
        id="802-pod-one-gpu",
    ),
    pytest.param(802, {**PROBE, **VM}, ["NVSwitch", "still starting", "Confidential"], id="802-vm"),
    pytest.param(802, {**PROBE, **WSL}, [], id="802-wsl"),
    # 803
    pytest.param(803, {**PROBE, **BARE, **OLDER, "compat_active": True}, ["=compatibility library"], id="803-compat"),
    pytest.param(803, {**PROBE, **POD, **OLDER, "compat_active": False}, ["=Another libcuda"], id="803-second"),
    pytest.param(803, {**PROBE, **BARE, **NEWER, "compat_active": False}, ["old modules"], id="803-upgraded"),
    pytest.param(803, {**PROBE, **POD, **NEWER, "compat_active": False}, ["newer driver than"], id="803-image"),
    pytest.param(803, {**PROBE, **POD, **NEWER, "compat_active": True}, ["not made for this branch"], id="803-branch"),
    pytest.param(
        803,
        {**PROBE, **BARE},
        ["compatibility library that is older", "Another libcuda", "old modules", "this branch"],
        id="803-unknown",
    ),
    # 804
    pytest.param(
        804,
        {**PROBE, **POD, "compat_active": True, "model": "NVIDIA GeForce RTX 4090"},
        ["=GeForce or Titan"],
        id="804-geforce",
    ),
    pytest.param(
        804,
        {**PROBE, **POD, "compat_active": True, "model": "NVIDIA RTX A4000"},
        ["one of the visible GPUs"],
        id="804-card",
    ),
    pytest.param(
        804,
        {**PROBE, **BARE, "compat_active": False, "model": "NVIDIA GeForce RTX 4090"},
        ["host not restarted"],
        id="804-upgraded",
    ),
    pytest.param(804, PROBE, ["one of the visible GPUs", "host not restarted"], id="804-unknown"),
    # 999
    pytest.param(999, {**PROGRAM, **WSL}, ["expandable segments", "error state"], id="999-wsl"),
    pytest.param(999, {**PROBE, **BARE}, ["nvidia_uvm is not loaded", "suspended", "error state"], id="999-bare"),
    pytest.param(999, {**PROBE, **BARE, "device_files": "present"}, ["suspended", "error state"], id="999-present"),
    pytest.param(999, {**PROBE, **POD}, ["nvidia_uvm is not loaded", "control group", "error state"], id="999-pod"),
    pytest.param(999, {**PROBE, **WSL}, ["error state"], id="999-wsl-probe"),
    pytest.param(
        999,
        {**PROBE, **POD, "engine": "docker"},
        ["nvidia_uvm is not loaded", "CDI specification", "control group", "error state"],
        id="999-docker",
    ),
    pytest.param(
        999,
        {**PROBE, **POD, "engine": "lxc", "device_files": "present"},
        ["a major number that it no longer has", "control group", "error state"],
        id="999-lxc",
    ),
    pytest.param(
        100,
        {**PROBE, **POD, "engine": "incus", "visible_devices": None, "device_files": "missing", "mig": False},
        ["started without the GPU", "configuration of this system container"],
        id="100-incus",
    ),
    pytest.param(
        100,
        {**PROBE, **POD, "engine": "gvisor", "visible_devices": None, "device_files": "present", "mig": False},
        ["The nvproxy of gVisor"],
        id="100-gvisor",
    ),
]


@pytest.mark.parametrize(("error", "context", "causes"), EXPLAINED)
def test_the_meaning_of_an_error_in_its_context(
    error: int | str, context: dict[str, Any], causes: list[str], rows: Any
) -> None:
    found = explain_error(error, context, rows)
    assert found is not None
    row = rows[str(found["code"])]
    assert found["name"] == row["name"]
    if causes and causes[0].startswith("="):
        assert causes[0][1:] in found["cause"]
        assert ("causes" in found, found["sure"]) == (False, "A")
        assert found["remedy"] in [one["remedy"] for one in row["causes"]]
        return
    told = found.get("causes", [])
    assert [words for words, one in zip(causes, told, strict=True) if words not in one["cause"]] == []
    assert found["cause"].startswith(row["cause"])
    assert found["remedy"].endswith(row["remedy"])
    for one in told:
        assert f"{one['cause']} {one['tell']}" in found["cause"]
        assert one["remedy"] in found["remedy"]
    if told:  # what may be is never told as what is
        assert found["sure"] == "C"
        assert "Possible cause" in found["cause"].removeprefix(row["cause"])
    else:
        assert (found["cause"], found["remedy"], found["sure"]) == (row["cause"], row["remedy"], row["sure"])


def test_every_row_and_every_cause_is_met_above(rows: Any) -> None:
    """What no case reaches could be worded in any way, or ruled out everywhere."""
    met = set()
    for case in EXPLAINED:
        error, context, _causes = case.values
        found = explain_error(error, context, rows) or {}
        met |= {(found["code"], one["cause"]) for one in found.get("causes", [])} | {(found["code"], found["cause"])}
    assert {int(code) for code in rows} == {code for code, _cause in met}
    assert [
        (code, one["cause"])
        for code, row in rows.items()
        for one in row.get("causes", ())
        if (int(code), one["cause"]) not in met
    ] == []


def test_a_remedy_is_numbered_as_its_cause(rows: Any) -> None:
    found = explain_error(802, {**PROBE, **VM}, rows) or {}
    assert "Possible causes, the most frequent first: (1) The GPUs are connected by NVSwitch" in found["cause"]
    assert found["remedy"].startswith("(1) Start nvidia-fabricmanager on the host")
    assert "(3) Confidential computing is on" in found["cause"]
    assert "(3) Attest the GPU" in found["remedy"]
    assert " If it is none of these: Read the part Fabric" in found["remedy"]


def test_one_possible_cause_is_still_only_possible(rows: Any) -> None:
    found = explain_error(500, {**PROBE, **WSL}, rows) or {}
    assert "Possible cause: In a container on WSL2" in found["cause"]
    assert found["remedy"].startswith("If it is that: Update NVIDIA's container toolkit to 1.14.4")
    assert found["remedy"].endswith(
        " Else: See which call returned it; LD_DEBUG=libs shows which libraries were looked for."
    )
    assert found["causes"][0]["source"] == "https://github.com/NVIDIA/nvidia-container-toolkit/issues/520"
    assert found["causes"][0]["sure"] == "A"


def test_a_code_that_the_catalogue_lacks(rows: Any) -> None:
    found = explain_error(719, PROBE, rows) or {}
    assert (found["code"], found["name"], found["sure"]) == (719, "CUDA_ERROR_719", "C")
    assert "719, which the catalogue does not explain" in found["cause"]


def test_a_text_without_an_error(rows: Any) -> None:
    assert explain_error("all is well", PROBE, rows) is None


@pytest.mark.parametrize(
    ("value", "gpus", "expected"),
    [  # on an H200 with driver 580 cuInit answered 100, 101 and 0 for the rows below
        (None, 1, "all"),
        ("", 1, "hides"),
        ("-1", 1, "hides"),
        ("NoDevFiles", 1, "hides"),
        ("1,0", 1, "hides"),
        ("0,0", 1, "repeats"),
        ("0,1", 1, "names"),
        (" 0", 1, "names"),
        ("0 ", 1, "names"),
        ("0x0", 1, "names"),
        ("1,0", 2, "names"),
        ("1,0", None, "names"),
        ("GPU-1b", 1, "names"),
        ("MIG-1b,MIG-1b", 1, "repeats"),
        ("0,-1,0", 2, "names"),
        ("7,7", None, "repeats"),
    ],
)
def test_judge_visible(value: str | None, gpus: int | None, expected: str) -> None:
    assert judge_visible(value, gpus) == expected
    if value is not None:  # the observation of files says the same
        devices = None if gpus is None else [{"uuid": None}] * gpus
        kinds = {"hides": "hidden_devices", "repeats": "repeated_devices"}
        assert judge_devices(value, devices) in ([kinds[expected]] if expected in kinds else [None, "some_devices"])


@pytest.mark.parametrize(
    ("libcuda", "driver", "expected"),
    [
        ("580.95.05", "580.159.04", "older"),
        ("580.159.04", "580.95.05", "newer"),
        ("580.159.04", "580.159.04", "same"),
        (None, "580.159.04", None),
        ("580.159.04", None, None),
        ("1", "580.159.04", None),
        ("x.y", "580.159.04", None),
    ],
)
def test_compare_library(libcuda: str | None, driver: str | None, expected: str | None) -> None:
    assert compare_library(libcuda, driver) == expected
