"""The files of the proof, run as far as a machine without a GPU can: on a driver and an NVRTC made here."""

from __future__ import annotations

import ctypes
import importlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable
from typing import Any

import pytest

FILES = pathlib.Path(__file__).resolve().parents[3] / "roles/gpu_verify/files"
Load = Callable[[str], Any]

# A driver whose device memory is the process's own and whose module is either "cubin" or "ptx".
CUDA = r"""
#include <stdlib.h>
#include <string.h>
static int ptx;
int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int *version) { *version = DRIVER; return 0; }
int cuDeviceGetCount(int *count) { *count = COUNT; return 0; }
int cuDeviceGet(int *device, int index) { *device = index; return 0; }
int cuDeviceGetAttribute(int *value, int which, int device) { *value = which == 75 ? 9 : 0; return 0; }
int cuDeviceGetUuid(unsigned char *uuid, int device) { memset(uuid, 0x11 * (device + 1), 16); return 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = 0; return 0; }
int cuCtxSetCurrent(void *context) { return 0; }
int cuModuleLoadData(void **module, const char *code) { ptx = !strcmp(code, "ptx"); return ptx ? PTX : 0; }
int cuModuleGetFunction(void **function, void *module, const char *name) { return strcmp(name, "podsmith_mix"); }
int cuMemAlloc_v2(void **pointer, size_t size) { *pointer = malloc(size); return 0; }
int cuMemFree_v2(void *pointer) { free(pointer); return 0; }
int cuMemcpyHtoD_v2(void *to, const void *from, size_t size) { memcpy(to, from, size); return 0; }
int cuMemcpyDtoH_v2(void *to, const void *from, size_t size) { memcpy(to, from, size); return 0; }
int cuCtxSynchronize(void) { return 0; }
int cuLaunchKernel(void *function, unsigned blocks, unsigned by, unsigned bz, unsigned threads, unsigned ty,
                   unsigned tz, unsigned shared, void *stream, void **arguments, void **extra)
{
  const unsigned *in = *(unsigned **)arguments[0];
  unsigned *out = *(unsigned **)arguments[1];
  for (unsigned i = 0; i < blocks * threads; i++) out[i] = (in[i] * 2654435761u) ^ i;
  out[5] += WRONG;
  return 0;
}
"""
NVRTC = r"""
#include <string.h>
static char target[32];
int nvrtcVersion(int *major, int *minor) { *major = 13; *minor = 0; return 0; }
int nvrtcGetNumSupportedArchs(int *count) { *count = 2; return 0; }
int nvrtcGetSupportedArchs(int *archs) { archs[0] = 80; archs[1] = 90; return 0; }
int nvrtcCreateProgram(void **program, const char *source, const char *name, int n, void *a, void *b)
{ *program = (void *)source; return 0; }
int nvrtcCompileProgram(void *program, int count, const char **options)
{ strcpy(target, options[0]); return strstr(program, "__global__") ? 0 : 6; }
int nvrtcGetProgramLogSize(void *program, size_t *size) { *size = 9; return 0; }
int nvrtcGetProgramLog(void *program, char *log) { strcpy(log, "no sense"); return 0; }
int nvrtcGetPTXSize(void *program, size_t *size) { *size = 4; return 0; }
int nvrtcGetPTX(void *program, char *code) { strcpy(code, "ptx"); return 0; }
int nvrtcGetCUBINSize(void *program, size_t *size) { *size = 6; return 0; }
int nvrtcGetCUBIN(void *program, char *code) { strcpy(code, "cubin"); return strcmp(target, "-arch=sm_90"); }
"""


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    monkeypatch.syspath_prepend(str(FILES))
    return importlib.import_module


def build(path: pathlib.Path, source: str, **values: int) -> pathlib.Path:
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler")
    path.parent.mkdir(parents=True, exist_ok=True)
    argv = [compiler, "-w", "-shared", "-fPIC", *(f"-D{name}={value}" for name, value in values.items()), "-x", "c"]
    subprocess.run([*argv, "-", "-o", str(path)], input=source.encode(), check=True)
    return path


@pytest.fixture
def driver(load: Load, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> Callable[..., Any]:
    """Puts a driver of our own in place of libcuda.so.1."""
    real = ctypes.CDLL

    def make(**values: int) -> pathlib.Path:
        wanted = {"DRIVER": 13000, "PTX": 0, "WRONG": 0, "COUNT": 2, **values}
        name = "-".join(f"{key}{value}" for key, value in wanted.items())
        path = build(tmp_path / name / "libcuda.so.580.159.04", CUDA, **wanted)

        def choose(library: Any, *arguments: Any, **options: Any) -> Any:
            return real(str(path) if library == "libcuda.so.1" else library, *arguments, **options)

        monkeypatch.setattr(ctypes, "CDLL", choose)
        return path

    return make


@pytest.fixture
def site(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """An environment with an NVRTC, where NVIDIA's wheel puts it."""
    folder = tmp_path / "site"
    build(folder / "nvidia/cu13/lib/libnvrtc.so.13", NVRTC)
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_cuinit_names_the_library_and_the_gpus(load: Load, driver: Callable[..., Any]) -> None:
    path = driver()
    found = load("proof_driver").cuinit()
    assert found["used"] == {"path": str(path), "version": "580.159.04"}
    assert str(path) in found["libcuda"]
    one, two = ("-".join(digit * count for count in (8, 4, 4, 4, 12)) for digit in "12")
    assert (found["devices"], found["gpus"], found["driver_api"]) == (2, [f"GPU-{one}", f"GPU-{two}"], "13.0")


def test_nvrtc_runs_machine_code_and_ptx_on_every_device(load: Load, driver: Any, site: pathlib.Path) -> None:
    driver()
    found = load("proof_nvrtc").nvrtc()
    assert found["library"] == str(site / "nvidia/cu13/lib/libnvrtc.so.13")
    assert [(run["device"], run["kind"], run["wrong"]) for run in found["runs"]] == [
        *((0, "cubin", 0), (0, "ptx", 0)),
        *((1, "cubin", 0), (1, "ptx", 0)),
    ]
    assert (found["nvrtc"], found["ptx_not_run"]) == ("13.0", None)


def test_nvrtc_does_not_try_ptx_on_a_driver_that_cannot_read_it_and_says_so(
    load: Load, driver: Any, site: pathlib.Path
) -> None:
    driver(DRIVER=12080, PTX=222)
    found = load("proof_nvrtc").nvrtc()
    assert [run["kind"] for run in found["runs"]] == ["cubin", "cubin"]
    assert found["ptx_not_run"] == (
        "the driver is of CUDA 12.8, older than NVRTC 13.0, and cannot compile its PTX (error 222)"
    )


def test_nvrtc_tells_what_the_driver_refused_and_what_is_wrong(load: Load, driver: Any, site: pathlib.Path) -> None:
    driver(PTX=222)
    runs = load("proof_nvrtc").nvrtc()["runs"]
    assert (runs[1]["call"], runs[1]["code"]) == ("cuModuleLoadData", 222)
    driver(WRONG=1)
    assert [run["wrong"] for run in load("proof_nvrtc").nvrtc()["runs"]] == [1, 1, 1, 1]


def test_nvrtc_without_its_library_is_skipped(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [str(FILES)])
    monkeypatch.delenv("CUDA_HOME", raising=False)
    found = load("proof_nvrtc").nvrtc()
    assert found == {"skipped": "there is no libnvrtc in the environment, nor in CUDA_HOME"}


def test_nvrtc_is_found_in_a_toolkit_too(load: Load, tmp_path: pathlib.Path) -> None:
    place = tmp_path / "targets/x86_64-linux/lib/libnvrtc.so.13"
    place.parent.mkdir(parents=True)
    place.touch()
    assert load("proof_nvrtc").find_nvrtc([], str(tmp_path)) == str(place)


def test_nvrtc_s_own_words_are_told(load: Load, site: pathlib.Path) -> None:
    module = load("proof_nvrtc")
    compiler = module.Nvrtc(module.find_nvrtc([str(site)], None))
    with pytest.raises(module.NvrtcError, match=r"nvrtcCompileProgram of .* returned 6 for sm_90: no sense"):
        compiler.compile(b"nonsense", "sm_90")


@pytest.mark.parametrize(
    ("supported", "capability", "target"),
    [
        ((75, 80, 90), 90, "sm_90"),
        ((75, 80, 90), 86, "sm_80"),
        ((75, 80, 90), 89, "sm_80"),
        ((75, 80, 90), 120, "compute_90"),
        ((75, 80), 70, None),
        ((), 90, None),
    ],
)
def test_choose_target(load: Load, supported: tuple[int, ...], capability: int, target: str | None) -> None:
    assert load("proof_nvrtc").choose_target(supported, capability) == target


@pytest.mark.parametrize(
    ("nvrtc", "driver_api", "runs"), [((13, 0), "13.0", True), ((13, 0), "13.2", True), ((13, 2), "13.0", False)]
)
def test_a_driver_takes_the_ptx_of_its_release_and_of_older_ones(
    load: Load, nvrtc: tuple[int, int], driver_api: str, runs: bool
) -> None:
    assert (load("proof_nvrtc").why_no_ptx(nvrtc, driver_api) is None) == runs


def test_limits_are_those_of_this_process(load: Load) -> None:
    code = "import proof_host, json; print(json.dumps(proof_host.limits()))"
    shell = f"ulimit -n 777; ulimit -l 512; exec {shutil.which('python3')} -c '{code}'"
    said = subprocess.run(["/bin/sh", "-c", shell], cwd=FILES, capture_output=True, text=True, check=True).stdout
    assert '"open_files": 777, "open_files_most": 777, "memlock_kib": 512' in said


def test_no_shared_memory_is_told_as_none(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load("proof_host"), "SHM", "/nowhere/shm")
    assert load("proof_host").shared_memory() == {"shm_mib": None, "shm_free_mib": None}


class Values:
    """As much of a tensor as the check workers asks for: equal values, and how many differ from a number."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __ne__(self, other: object) -> Any:
        return types.SimpleNamespace(sum=lambda: int(self.value != other))

    __hash__ = None  # type: ignore[assignment]


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """In place of torch; what its DataLoader was given. With ``error`` set it fails, with ``swap`` it mixes rows up."""
    seen: dict[str, Any] = {}

    def load(data: Any, **options: Any) -> Any:
        seen.update(options, folder=tempfile.gettempdir())
        size = options["batch_size"]
        for start in range(0, len(data), size):
            if seen.get("error"):
                raise RuntimeError(f"Caught RuntimeError in worker.\nTraceback\n  x\nRuntimeError: {seen['error']}\n")
            rows = [data[start + row] for row in range(size)]
            yield rows[::-1] if seen.get("swap") else rows

    package = types.ModuleType("torch")
    package.full = lambda shape, value: Values(value)  # type: ignore[attr-defined]
    data = types.ModuleType("torch.utils.data")
    data.DataLoader = load  # type: ignore[attr-defined]
    for name, module in {"torch": package, "torch.utils": types.ModuleType("utils"), "torch.utils.data": data}.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(tempfile, "tempdir", None)
    return seen


def test_workers_send_every_batch_and_each_value_is_looked_at(load: Load, torch: dict[str, Any]) -> None:
    found = load("proof_host").workers()
    assert (found["batches"], found["wrong"], found.get("failure")) == (4, 0, None)
    assert (torch["num_workers"], torch["timeout"]) == (
        2,
        60,
    )  # else nothing goes through /dev/shm, or it waits for ever
    torch["swap"] = True
    assert load("proof_host").workers()["wrong"] == 16


def test_workers_tell_the_last_line_of_what_they_met(load: Load, torch: dict[str, Any]) -> None:
    torch["error"] = "unable to allocate shared memory(shm): No space left on device (28)"
    found = load("proof_host").workers()
    assert found["failure"] == f"RuntimeError: {torch['error']}"
    assert found["batches"] == 0


def test_workers_get_a_temporary_folder_whose_name_leaves_room_for_a_socket_s(
    load: Load, torch: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    folder = tmp_path / ("x" * 60)
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    load("proof_host").workers()
    assert torch["folder"] == "/tmp"


def test_one_gpu_has_no_peers_and_torch_is_not_loaded_for_it(
    load: Load, driver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver(COUNT=1)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert load("proof_peers").peers("gpu") == {"skipped": "it takes two GPUs, and this process sees 1"}


def test_processes_of_a_check_answer_each_for_itself(load: Load) -> None:
    module = load("proof_peers")
    assert module._ask([lambda: {"pid": 1}, lambda: {"pid": 2}]) == [{"pid": 1}, {"pid": 2}]


def test_a_process_that_fails_dies_or_hangs_is_named(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load("proof_peers")

    def fail() -> dict[str, Any]:
        raise RuntimeError("NCCL error in: x\nmiddle\nncclUnhandledCudaError: Call failed.\nLast error: 401")

    words = "process 1: RuntimeError: NCCL error in: x ncclUnhandledCudaError: Call failed. Last error: 401"
    with pytest.raises(module.RankError, match=words):
        module._ask([dict, fail])
    with pytest.raises(module.RankError, match="process 1: RuntimeError"):  # process 0 waits for it in vain
        module._ask([lambda: __import__("time").sleep(600), fail])
    with pytest.raises(module.RankError, match="process 0 died with exit code 9"):
        module._ask([lambda: os._exit(9)])
    monkeypatch.setattr(module, "LIMIT_S", 0.2)
    with pytest.raises(module.RankError, match=r"process 0 did not answer within 0\.2 s"):
        module._ask([lambda: __import__("time").sleep(600)])


def test_the_variables_of_a_check_come_back(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODSMITH_ONE", "before")
    with load("proof").changed_environment(PODSMITH_ONE=None, PODSMITH_TWO="x"):
        assert (os.environ.get("PODSMITH_ONE"), os.environ["PODSMITH_TWO"]) == (None, "x")
    assert (os.environ["PODSMITH_ONE"], os.environ.get("PODSMITH_TWO")) == ("before", None)


def test_the_role_passes_every_file_of_the_proof() -> None:
    task = (FILES.parent / "tasks/state/present.yml").read_text(encoding="utf-8")
    names = sorted(path.name for path in FILES.iterdir() if path.is_file())
    assert [name for name in names if f"'{name}'" not in task] == []
