"""The module, run as Ansible runs it, against a toolkit and an environment made of shell scripts."""

from __future__ import annotations

import json
import shutil
import stat
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LIMIT = 120  # seconds: only a hang takes as long
import yaml

from ansible_collections.podsmith.gpu.plugins.modules import gpu_verify
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import load_catalogue

CUBIN = struct.pack(
    "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01A\x08" + bytes(7), 2, 190, 1, 0, 0, 0, 0x06005A04, *[0] * 6
)
NVCC = """\
if [ "$1" = --version ]; then echo "Cuda compilation tools, release 13.0, V13.0.88"; exit; fi
while [ "$1" != -o ]; do shift; done
cp "$(dirname "$0")/cubin" "$2"
"""
TORCH = '{"version": "2.9.1+cu130", "cuda": "13.0", "arch_list": ["sm_90"], "folder": "HOME/lib/torch", "nvidia": {}}'
PYTHON = f"""\
case $4 in
torch) echo '{TORCH}' ;;
matmul) echo '{{"products": [{{"device": "cpu", "dtype": "float32", "share_of_bound": 0.1, "ok": true}}]}}' ;;
workers) echo '{{"batches": 4, "wrong": 0}}' ;;
extension) echo '{{"kind": "cpp", "wrong": {{"cpu": 0}}}}' ;;
esac
"""
NO_TORCH = "echo \"ModuleNotFoundError: No module named 'torch'\" >&2; exit 1"
Run = Callable[..., dict[str, Any]]
STANDARD = ["nvcc", "torch", "matmul", "kernel", "cutlass", "workers", "extension"]


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def stack(tmp_path: Path) -> dict[str, Any]:
    """The parameters of a proof that passes."""
    script(tmp_path / "cuda/bin/nvcc", NVCC)
    (tmp_path / "cuda/bin/cubin").write_bytes(CUBIN)
    script(tmp_path / "env/bin/python", PYTHON.replace("HOME", f"{tmp_path}/env"))
    (tmp_path / "activate.sh").write_text("")
    return {
        "environment": f"{tmp_path}/env",
        "activation": f"{tmp_path}/activate.sh",
        "cuda_home": f"{tmp_path}/cuda",
        "cutlass_home": f"{tmp_path}/cutlass",
        "architectures": ["sm_90a"],
        "expected": {"nvcc": "13.0.88", "torch": "2.9.1+cu130"},
        "sources": {"proof.py": "", "kernel.cu": ""},
        "evidence": f"{tmp_path}/state/verdict.json",
        "digest": "abc",
        "driver": "580.159.04",
        "timeout": LIMIT,
    }


@pytest.fixture
def run(run_module: Callable[..., Any]) -> Run:
    return lambda params, *, check=False: run_module("gpu_verify", params, check=check).data


def errors(answer: dict[str, Any]) -> dict[str, str]:
    return {result["check"]: result["error"] for result in answer["results"] if not result["ok"]}


def test_good_stack_passes_and_leaves_a_verdict(stack: dict[str, Any], run: Run) -> None:
    answer = run(stack)
    assert errors(answer) == {}
    assert (answer["ok"], answer["changed"], answer["summary"]) == (True, False, "7 checks passed.")
    assert [result["check"] for result in answer["results"]] == STANDARD
    path = Path(stack["evidence"])
    verdict = json.loads(path.read_text())
    assert (verdict["digest"], verdict["ok"], verdict["driver"]) == ("abc", True, "580.159.04")
    assert verdict["checks"] == answer["results"]
    assert verdict["reach"] == {"driver": "580.159.04", "libcuda": None, "gpus": None}
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [child.name for child in path.parent.iterdir()] == ["verdict.json"]


@pytest.mark.parametrize(
    ("broken", "failed"),
    [
        pytest.param(
            {"cuda/bin/nvcc": None}, {"nvcc": "bin/nvcc: not found", "kernel": "", "cutlass": ""}, id="no-nvcc"
        ),
        pytest.param(
            {"cuda/bin/nvcc": NVCC.replace("13.0", "12.8")},
            {"nvcc": "nvcc is 12.8.88; expected 13.0.88."},
            id="other-nvcc",
        ),
        pytest.param(
            {"cuda/bin/nvcc": "exec sleep 600"},
            {
                "nvcc": "nvcc did not finish within 1 s.",
                "kernel": "nvcc did not finish within 1 s.",
                "cutlass": "nvcc did not finish within 1 s.",
            },
            id="hanging-nvcc",
        ),
        pytest.param(
            {"cuda/bin/nvcc": NVCC.replace("cp ", "case $2 in kernel) exit 2 ;; esac; cp ")},
            {"kernel": "nvcc exited with status 2: no output."},
            id="kernel-not-compiled",
        ),
        pytest.param(
            {"cuda/bin/nvcc": NVCC.replace("cp ", "case $2 in *cutlass*) echo >$2; exit ;; esac; cp ")},
            {"cutlass": "The compiled file lacks code for sm_90a; it has no device code."},
            id="empty-cubin",
        ),
        pytest.param(
            {"env/bin/python": PYTHON.replace("torch) ", f"torch) {NO_TORCH} ;; none) ")},
            {"torch": "proof.py torch exited with status 1: ModuleNotFoundError: No module named 'torch'."},
            id="no-torch",
        ),
        pytest.param(
            {"env/bin/python": PYTHON.replace("2.9.1", "2.10.0").replace("HOME/lib", "ENV/lib")},
            {"torch": "torch is 2.10.0+cu130; expected 2.9.1+cu130."},
            id="other-torch",
        ),
        pytest.param(
            {"env/bin/python": PYTHON.replace('0.1, "ok": true', '9, "ok": false').replace("HOME/lib", "ENV/lib")},
            {"matmul": "The float32 product on cpu is off by 9 times the bound of its rounding errors."},
            id="wrong-product",
        ),
        pytest.param(
            {"env/bin/python": PYTHON.replace('"cpu": 0', '"cpu": 5').replace("HOME/lib", "ENV/lib")},
            {"extension": "5 values computed on cpu are wrong."},
            id="wrong-extension",
        ),
        pytest.param(
            {"env/bin/python": None},
            {"torch": "bin/python: not found", **dict.fromkeys(["matmul", "workers", "extension"], "not found")},
            id="no-environment",
        ),
        pytest.param({"activate.sh": None}, dict.fromkeys(STANDARD, "activate.sh"), id="no-activation"),
    ],
)
def test_broken_part_turns_its_check_red(
    stack: dict[str, Any], tmp_path: Path, broken: dict[str, str | None], failed: dict[str, str], run: Run
) -> None:
    for name, text in broken.items():
        if text is None:
            (tmp_path / name).unlink()
        else:
            script(tmp_path / name, text.replace("ENV/lib", f"{tmp_path}/env/lib"))
    hangs = any("sleep" in (text or "") for text in broken.values())
    # The limit is one for all checks: where one hangs, those that have to pass are left out and need not hurry.
    answer = run({**stack, "timeout": 1, "checks": list(failed)} if hangs else stack)
    found = errors(answer)
    assert set(found) == set(failed)
    for name, words in failed.items():
        assert words in found[name]
        assert found[name] in answer["summary"]
    assert (answer["ok"], answer.get("failed", False)) == (False, False)
    verdict = json.loads(Path(stack["evidence"]).read_text())
    assert verdict["ok"] is False
    assert all(result["advice"] for result in verdict["checks"] if not result["ok"])


def test_gpu_that_is_wanted_and_not_there_is_a_failure(stack: dict[str, Any], tmp_path: Path, run: Run) -> None:
    row = {"name": "CUDA_ERROR_NO_DEVICE", "cause": "No GPU is seen.", "remedy": "Start the container with --gpus."}
    code = "import json, sys; print(json.dumps({'call': 'cuInit', 'code': 100})); sys.exit(1)"
    answer = run({**stack, "gpu": True, "checks": ["cuinit"], "sources": {"proof.py": code}, "errors": {"100": row}})
    assert errors(answer) == {"cuinit": "cuInit returned 100."}
    assert answer["results"][0]["advice"] == "CUDA_ERROR_NO_DEVICE: No GPU is seen. Start the container with --gpus."


def test_the_advice_is_for_this_host(stack: dict[str, Any], run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module knows where it runs: a cause that needs another kind of host, or an unset variable, is not told."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,0")
    common = {"tell": "Then x.", "sure": "A", "source": "https://x.org/", "decides": True}
    causes = [
        {**common, "when": {"kind": [None]}, "cause": "Unknown kind.", "remedy": "Look."},
        {**common, "when": {"visible": ["all", None]}, "cause": "Not set.", "remedy": "Look."},
        {**common, "when": {"visible": ["repeats"], "where": ["probe"]}, "cause": "Twice.", "remedy": "Name it once."},
    ]
    row = {"name": "CUDA_ERROR_INVALID_DEVICE", "cause": "Y.", "remedy": "Z.", "sure": "A", "causes": causes}
    code = "import json, sys; print(json.dumps({'call': 'cuInit', 'code': 101})); sys.exit(1)"
    answer = run({**stack, "gpu": True, "checks": ["cuinit"], "sources": {"proof.py": code}, "errors": {"101": row}})
    assert answer["results"][0]["advice"] == "CUDA_ERROR_INVALID_DEVICE: Twice. Name it once."


NVML = """
#include <stdio.h>
#include <string.h>
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 1; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { *device = (void *)8; return 0; }
int nvmlDeviceGetRemappedRows(void *device, unsigned *one, unsigned *two, unsigned *three, unsigned *four)
{ *one = *two = *three = 0; *four = FAILURE; return 0; }
int nvmlDeviceGetClockInfo(void *device, int type, unsigned *mhz)
{ FILE *f = fopen(LOOKS, "a"); fputc('x', f); fclose(f); *mhz = 1900; return 0; }
int nvmlDeviceGetMaxClockInfo(void *device, int type, unsigned *mhz) { *mhz = 1980; return 0; }
"""
# Works until it was looked at three times, which are two clocks each.
LOAD = """
import json, os, sys, time
begun = time.monotonic()
wanted = os.stat(LOOKS).st_size + 6
while os.stat(LOOKS).st_size < wanted:
    time.sleep(0.01)
print(json.dumps({"begun": begun, "ended": time.monotonic(), "argument": sys.argv[1:]}))
"""


@pytest.mark.parametrize("failure", [0, 1])
def test_health_is_read_from_nvml_and_under_load(
    stack: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: int, run: Run
) -> None:
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler")
    argv = [compiler, "-w", "-shared", "-fPIC", f"-DFAILURE={failure}", f'-DLOOKS="{tmp_path}/looks"', "-x", "c", "-"]
    subprocess.run([*argv, "-o", f"{tmp_path}/libnvidia-ml.so.1"], input=NVML.encode(), check=True)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    script(tmp_path / "env/bin/python", f'exec {sys.executable} "$@"')
    wanted = {"gpu": True, "level": "full", "checks": ["health"], "health": load_catalogue()["health"]}
    answer = run({**stack, **wanted, "sources": {"proof.py": LOAD.replace("LOOKS", repr(f"{tmp_path}/looks"))}})
    (result,) = answer["results"]
    assert result["evidence"]["load"]["argument"] == ["load", "5"]
    texts = [finding["text"] for finding in result["evidence"]["findings"]]
    assert "the SM clock under load is 96 percent of the maximum (1900 of 1980 MHz)" in texts
    assert any(
        "the persistence mode" in words and "not available with this driver" in words for words in result["warnings"]
    )
    failed = {"health": "GPU 0: a memory row that could not be replaced (1 is yes): 1."} if failure else {}
    assert errors(answer) == failed
    assert result.get("advice") == ("Return this pod; the GPU has to be replaced." if failure else None)


def test_check_mode_runs_nothing_on_a_bare_host(stack: dict[str, Any], tmp_path: Path, run: Run) -> None:
    answer = run({**stack, "environment": "/nowhere", "cuda_home": "/nowhere", "activation": "/nowhere"}, check=True)
    assert answer["ok"]
    assert {result["skipped"] for result in answer["results"]} == {"not run in check mode"}
    assert not Path(stack["evidence"]).exists()


def test_check_that_lacks_its_setting_says_which(stack: dict[str, Any], run: Run) -> None:
    answer = run({**stack, "cutlass_home": "", "checks": ["cutlass"]})
    assert errors(answer) == {"cutlass": "The check cutlass was requested, but cutlass_home is not set."}


def test_odd_architecture_is_refused(stack: dict[str, Any], run: Run) -> None:
    answer = run({**stack, "architectures": ["9.0"]})
    assert answer["failed"]
    assert answer["msg"] == 'architectures: "9.0" is not an architecture; expected a name such as sm_90 or sm_90a.'


def test_verdict_that_cannot_be_written_is_told(stack: dict[str, Any], tmp_path: Path, run: Run) -> None:
    answer = run({**stack, "evidence": f"{tmp_path}/activate.sh/verdict.json"})
    assert answer["failed"]
    assert "The verdict cannot be written to" in answer["msg"]
    assert answer["results"]


def test_build_is_kept_on_request_only(stack: dict[str, Any], run: Run) -> None:
    assert "build" not in run(stack)
    folder = Path(run({**stack, "keep_build": True, "checks": ["kernel"]})["build"])
    assert (folder / "kernel").is_file()
    subprocess.run(["rm", "-r", str(folder)], check=True)


def test_documentation_names_the_options() -> None:
    documented = yaml.safe_load(gpu_verify.DOCUMENTATION)["options"]
    assert list(documented) == list(gpu_verify.SPEC)
