"""From nothing to a proven environment, again without change, and each broken part repaired alone."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, WISH, Site, ansible_playbook, snapshot


def test_check_mode_on_a_bare_prefix_says_what_it_would_do_and_does_nothing(site: Site) -> None:
    run = site.play("bootstrap.yml", "--check")
    assert run.rc == 0, run.out
    assert run.roles("changes") == ["cuda_toolkit", "cutlass", "pytorch", "gpu_verify", "gpu_environment"]
    assert not site.prefix.exists()


def test_bootstrap_from_nothing(site: Site) -> None:
    run = site.play("bootstrap.yml")
    assert run.rc == 0, run.out
    assert run.recap["failed"] == 0
    assert run.decision["changes"] == []
    verdict = json.loads((site.prefix / "state/verdict.json").read_text(encoding="utf-8"))
    assert verdict["ok"]
    assert {check["check"] for check in verdict["checks"] if check["ok"]} >= {
        "nvcc",
        "kernel",
        "cutlass",
        "torch",
        "matmul",
        "workers",
        "extension",
    }


def test_second_run_changes_nothing_in_one_remote_call(site: Site) -> None:
    before = snapshot(site.prefix)
    run = site.play("bootstrap.yml", "-vvv")
    assert run.rc == 0, run.out
    assert run.recap["changed"] == 0
    assert "nothing to change" in run.out
    on_the_host = run.out.partition("against arg spec 'tell'")[0]  # what tells runs on the controller
    modules = [line for line in on_the_host.splitlines() if "Using module file" in line]
    assert [line.rsplit("/", 1)[-1] for line in modules] == ["gpu_facts.py"]
    assert snapshot(site.prefix) == before


def test_the_shell_that_sources_the_activation_has_everything(site: Site) -> None:
    headers = 'test -f "$CUTLASS_HOME/include/cute/tensor.hpp"'
    torch = "python -c 'import torch; print(torch.__version__)'"
    script = f". {site.prefix}/activate.sh && nvcc --version && {headers} && {torch}"
    done = site.sh(script)
    assert done.returncode == 0, done.stderr
    assert "release 13.0" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("2.")


def test_programs_that_call_the_driver_link_in_the_activated_shell(site: Site, tmp_path: Path) -> None:
    """The wheels have neither libcuda.so nor libcudart.so; what is linked asks for the driver's library alone."""
    (tmp_path / "driver.cu").write_text("#include <cuda.h>\nint main() { return cuInit(0); }\n", encoding="utf-8")
    script = f". {site.prefix}/activate.sh && cd {tmp_path} && nvcc -cudart shared driver.cu -o driver -lcuda"
    done = site.sh(script)
    assert done.returncode == 0, done.stderr
    # Not the whole file: nvcc keeps its own options in the program, and they name the stubs.
    dynamic = site.sh(f"readelf -d {tmp_path}/driver")
    assert "[libcuda.so.1]" in dynamic.stdout, dynamic.stderr
    assert "stubs" not in dynamic.stdout


def test_the_environment_needs_no_shell(site: Site) -> None:
    assert site.sh(f"{site.current}/bin/python -c 'import torch; torch.ones(2).sum().item()'").returncode == 0


@pytest.mark.parametrize(
    "install",
    [
        pytest.param("{current}/bin/python -m pip install --dry-run", id="pip-without-activation"),
        pytest.param(". {prefix}/activate.sh && {uv} pip install --dry-run", id="uv-in-an-activated-shell"),
    ],
)
def test_a_later_install_cannot_swap_torch(site: Site, install: str) -> None:
    uv = next(path for path in [*site.prefix.glob("tools/**/uv"), Path(shutil.which("uv") or "uv")] if path.is_file())
    done = site.sh(install.format(current=site.current, prefix=site.prefix, uv=uv) + " 'torch<2.13'")
    assert done.returncode != 0
    assert "conflict" in done.stderr or "unsatisfiable" in done.stderr


def remove_nvcc(site: Site) -> None:
    next(site.prefix.glob("toolkits/13.0/**/bin/nvcc")).unlink()


def remove_headers(site: Site) -> None:
    shutil.rmtree(next(site.prefix.glob("cutlass/4.2.0/**/include/cute")))


def remove_wheel(site: Site) -> None:
    shutil.rmtree(next(site.current.glob("lib/python*/site-packages/sympy")))


def remove_activation(site: Site) -> None:
    (site.prefix / "activate.sh").unlink()


@pytest.mark.parametrize(
    ("damage", "roles", "touched"),
    [
        pytest.param(remove_activation, ["gpu_environment"], "activate.sh", id="activation"),
        pytest.param(remove_nvcc, ["cuda_toolkit", "gpu_verify"], "toolkits", id="nvcc"),
        pytest.param(remove_headers, ["cutlass", "gpu_verify"], "cutlass", id="headers"),
        pytest.param(remove_wheel, ["pytorch", "gpu_verify"], "environments", id="wheel"),
    ],
)
def test_one_deleted_part_is_repaired_alone(
    site: Site, damage: Callable[[Site], None], roles: list[str], touched: str
) -> None:
    before = snapshot(site.prefix)
    damage(site)
    run = site.play("bootstrap.yml", gpu_verify_level="light")
    assert run.rc == 0, run.out
    assert run.roles("applied") == roles
    after = snapshot(site.prefix)
    assert after.keys() >= before.keys()
    changed = {path.split("/")[0] for path in before if before[path] != after[path]}
    assert changed - {"state"} <= {touched}


def test_a_failed_proof_leaves_the_previous_environment_live(site: Site) -> None:
    live, before = site.current.resolve(), snapshot(site.current.resolve())
    run = site.play("bootstrap.yml", request={"cutlass": "3.8.0"}, gpu_verify_timeout=1)
    assert run.rc != 0
    assert "did not finish within 1 s" in run.out
    assert "failed: nothing was switched" in run.out
    assert site.current.resolve() == live
    assert snapshot(live) == before
    again = site.play("bootstrap.yml", gpu_verify_level="light")
    assert again.rc == 0, again.out
    assert site.current.resolve() == live


def test_another_wish_is_built_beside_and_switched_after_its_proof(site: Site) -> None:
    live = site.current.resolve()
    run = site.play("bootstrap.yml", request={"cutlass": "3.8.0"}, gpu_verify_level="light")
    assert run.rc == 0, run.out
    assert site.current.resolve() != live
    assert live.is_dir()
    assert site.sh(f'. {site.prefix}/activate.sh && echo "$CUTLASS_HOME"').stdout.strip().endswith("cutlass/3.8.0")


def test_a_setting_reaches_every_process_and_rewrites_two_files(site: Site) -> None:
    ask = "import os; print(os.environ.get('CUDA_MODULE_LOADING'), os.environ.get('PYTORCH_ALLOC_CONF'))"
    before = snapshot(site.prefix)
    wish = {"cutlass": "3.8.0", "settings": {"module_loading": "eager", "expandable_segments": True}}
    run = site.play("bootstrap.yml", request=wish)
    assert run.rc == 0, run.out
    assert run.roles("applied") == ["gpu_environment"] * 2
    changed = {path for path, seen in snapshot(site.prefix).items() if before.get(path) != seen}
    assert {path.rsplit("/", 1)[-1] for path in changed} == {
        *("activate.sh", "_podsmith_cuda.py"),
        *("decision.json", "history.json"),
    }
    program = f'{site.current}/bin/python -c "{ask}"'
    assert site.sh(program).stdout == "EAGER expandable_segments:True\n"
    assert site.sh(f". {site.prefix}/activate.sh; {program}", CUDA_MODULE_LOADING="LAZY").stdout.startswith("LAZY ")
    assert site.play("bootstrap.yml", request={"cutlass": "3.8.0"}).roles("applied") == ["gpu_environment"] * 2
    assert site.sh(program).stdout == "None None\n"


BAD_INPUT = {
    "unknown-key": ({"request": {"cudaa": "13.0"}}, ["cudaa", "did you mean cuda"]),
    "malformed-version": ({"request": {"pytorch": "2.9; rm -rf /"}}, ["2.9; rm -rf /"]),
    "cuda-that-the-catalogue-lacks": ({"request": {"cuda": "13.7"}}, ["13.7", "13.5"]),
    "torch-that-the-catalogue-lacks": ({"request": {"pytorch": "2.99"}}, ["2.99", "2.15"]),
    "unknown-variable": ({"pytorch_proivder": "pypi"}, ["pytorch_proivder", "pytorch_provider"]),
    "no-usable-python": ({"request": {"python": "3.42"}}, ["3.42"]),
    "unreachable-source": (
        {"request": {"wheels": {"provider": "pytorch_index"}}, "pytorch_index_url": "http://127.0.0.1:9/whl"},
        ["127.0.0.1:9", "pytorch_index_url"],
    ),
    "unknown-override": ({"request": {"overrides": {"free_gib": 1}}}, ["free_gib"]),
}


@pytest.fixture(scope="module")
def refused(site: Site) -> dict[str, str]:
    """What one run over this machine under many names says of each, as one line; each has its own bad input."""
    hosts = {
        name: {
            "ansible_connection": "local",
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "stack_plan_prefix": str(site.scratch / "refused" / name),
            **{key: value for key, value in changes.items() if key != "request"},
            "stack_plan_request": WISH | changes.get("request", {}),
        }
        for name, (changes, _words) in BAD_INPUT.items()
    }
    inventory = site.scratch / "refused.json"
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}), encoding="utf-8")
    done = ansible_playbook("bootstrap.yml", "-i", str(inventory))
    assert done.returncode != 0
    blocks = " ".join((done.stdout + done.stderr).split()).split("fatal: ")
    return {name: " ".join(text for text in blocks if text.startswith(f"[{name}]")) for name in hosts}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_is_refused_before_anything_changes(site: Site, refused: dict[str, str], name: str) -> None:
    words = BAD_INPUT[name][1]
    assert [word for word in words if word not in refused[name]] == []
    assert not (site.scratch / "refused" / name).exists()


def test_a_recorded_host_explains_itself(site: Site) -> None:
    recording = str(ROOT / "tests/fixtures/h200-driver-580")
    wish = {
        "cuda": "13.0",
        "pytorch": "2.9",
        "cutlass": "4.3.0",
        "toolkit": {"provider": "auto"},
        "extensions": ["xformers"],
    }
    run = site.play("playbooks/plan.yml", request=wish, stack_plan_recording=recording)
    assert run.rc == 0, run.out
    assert run.decision["route"] == "native"
    text = " ".join(run.out.split())
    assert "NVIDIA H200 · driver 580.159.04 (CUDA 13.0)" in text
    assert "driver 580.159.04 supports CUDA 13.0, enough for CUDA 13.0" in text
    assert "PyTorch 2.9.1+cu130 has machine code for NVIDIA H200" in text


def test_a_recorded_host_whose_driver_does_not_work_is_shown_by_a_plan_and_refused_by_a_bootstrap(site: Site) -> None:
    """That a bootstrap of such a host itself fails is shown by the scenario ``now``."""
    gpu = json.loads((ROOT / "tests/fixtures/h200-580.159.04-facts.json").read_text(encoding="utf-8"))["gpu"]
    gpu["loader"] = {"libcuda": "/usr/lib/libcuda.so.580.159.04", "init": {"code": 3, "name": "x"}, "devices": 0}
    gpu.pop("ways", None)
    recording = site.scratch / "broken.json"
    recording.write_text(json.dumps(gpu), encoding="utf-8")
    planned = site.play("playbooks/plan.yml", stack_plan_recording=str(recording))
    text = " ".join(planned.out.split())
    assert planned.rc == 0, planned.out
    assert "now CUDA answers 3 (x) by the driver's own library (/usr/lib/libcuda.so.580.159.04)" in text
    assert "possible cause: The open kernel modules cannot set up" in text
    assert "On the host, write the line options nvidia_uvm uvm_disable_hmm=1" in text
    assert "verdict broken: nothing was changed" in text
    assert (planned.decision["verdict"], planned.decision["changes"], planned.recap["changed"]) == ("broken", [], 0)
    run = site.play("bootstrap.yml", stack_plan_recording=str(recording))
    assert run.rc != 0
    assert f"stack_plan_recording names {recording}; expected a host that can be reached" in " ".join(run.out.split())
    assert run.recap["changed"] == 0


def test_verify_proves_the_live_environment_and_a_broken_one_fails(site: Site) -> None:
    variables = {"request": {"cutlass": "3.8.0"}, "gpu_verify_checks": ["nvcc", "cutlass"]}
    assert site.play("playbooks/verify.yml", **variables).rc == 0
    header = next(site.prefix.glob("cutlass/3.8.0/**/include/cute/layout.hpp"))
    text = header.read_text(encoding="utf-8")
    header.write_text("#error broken on purpose\n" + text, encoding="utf-8")
    run = site.play("playbooks/verify.yml", **variables)
    header.write_text(text, encoding="utf-8")
    assert run.rc != 0
    assert "cutlass failed" in run.out
    assert "nvcc failed" not in run.out


def test_what_torch_was_built_with_is_read_from_the_built_torch(site: Site) -> None:
    wanted = {"USE_GLOO": True, "USE_MPI": True}
    variables = {"request": {"cutlass": "3.8.0"}, "gpu_verify_checks": ["features"]}
    run = site.play("playbooks/verify.yml", **variables, gpu_verify_features=wanted)
    assert run.rc != 0
    text = " ".join(run.out.split())
    assert "USE_MPI is off in this PyTorch; expected on. Rebuild PyTorch with USE_MPI=1" in text
    assert "USE_GLOO is" not in text
    evidence = json.loads((site.prefix / "state/verdict.json").read_text(encoding="utf-8"))["checks"][0]["evidence"]
    found = evidence["features"]
    assert (found["USE_GLOO"], found["USE_FBGEMM"], found["USE_MPI"]) == (True, True, False)
    assert found["USE_CUDA"] is (evidence["cuda"] is not None)


def test_processes_sum_together_on_a_host_without_a_gpu(site: Site) -> None:
    """What the check peers does on two GPUs or more, by gloo."""
    argv = [f"{site.prefix}/current/bin/python", f"{ROOT}/roles/gpu_verify/files/proof.py", "peers", "cpu", "2"]
    answer = subprocess.run(argv, capture_output=True, text=True, check=True)
    record = json.loads(answer.stdout)
    assert (record["backend"], record["ranks"]) == ("gloo", [{"rank": 0, "wrong": 0}, {"rank": 1, "wrong": 0}])


FAULTS = """
import json
import torch
import benchmark
from benchmark_cases import Case
from benchmark_operations import Operation


def case(run, error=lambda: 0.0):
    operation = lambda device: Operation(run, error)
    return Case("gemm/1-fp32", "fp32", "1", operation, "TFLOPS", peak="fp32", flops=1, tolerance=0.1)


def throws(problem):
    def run():
        raise problem
    return run


def none():
    return None


host = benchmark.Host("cpu")
cases = [
    case(none), case(none, lambda: 0.2), case(none, lambda: float("nan")),
    case(none, throws(torch.cuda.OutOfMemoryError("CUDA out of memory. Tried"))),
    case(throws(NotImplementedError("no fp4"))), case(throws(RuntimeError("No available kernel. Aborting"))),
    case(throws(ValueError("a mistake"))),
]
settings = benchmark.TIMES["tiny"]
done = [benchmark.run_case(one, 0, host, settings, "torch.utils.benchmark") for one in cases]
print(json.dumps([record["status"] for record in done]))
json.dumps(done, allow_nan=False)
"""


def test_the_benchmark_measures_the_live_environment_and_checks_every_result(site: Site) -> None:
    output = site.scratch / "benchmarks"
    run = site.play(
        "playbooks/benchmark.yml",
        request={"cutlass": "3.8.0"},
        gpu_benchmark_level="tiny",
        gpu_benchmark_output_dir=str(output),
    )
    assert run.rc == 0, run.out
    result = json.loads((output / "localhost-tiny/results.json").read_text(encoding="utf-8"))
    assert {case["status"] for case in result["cases"]} == {"ok"}
    assert {case["family"] for case in result["cases"]} >= {"attention", "gemm", "resnet50", "encoder", "all_reduce"}
    page = output / "localhost-tiny/report.html"
    text = page.read_text(encoding="utf-8")
    page.unlink()
    again = site.play("playbooks/report.yml", gpu_benchmark_results_path=str(output / "localhost-tiny/results.json"))
    assert again.rc == 0, again.out
    assert page.read_text(encoding="utf-8") == text


def test_the_benchmark_takes_a_fault_for_a_finding(site: Site) -> None:
    files = f"{ROOT}/roles/gpu_benchmark/files:{ROOT}/plugins/module_utils/_host"
    program = site.scratch / "faults.py"
    program.write_text(FAULTS, encoding="utf-8")
    done = site.sh(f"PYTHONDONTWRITEBYTECODE=1 PYTHONPATH={files} {site.current}/bin/python {program}")
    found = ["ok", "wrong", "wrong", "out_of_memory", "unsupported", "unsupported", "failed"]
    assert (done.returncode, json.loads(done.stdout)) == (0, found), done.stderr


REMOVE = """
- name: Remove all that the collection installed
  hosts: local
  gather_facts: false
  tasks:
    - name: Plan the stack
      ansible.builtin.include_role:
        name: podsmith.gpu.stack_plan
        public: true
    - name: Remove the parts
      ansible.builtin.include_role:
        name: "podsmith.gpu.{{ item }}"
      loop: [gpu_verify, gpu_environment, ml_extensions, pytorch, cutlass, cuda_toolkit]
"""


def test_every_part_can_be_removed(site: Site) -> None:
    book = site.scratch / "remove.yml"
    book.write_text(REMOVE, encoding="utf-8")
    roles = ("gpu_verify", "gpu_environment", "ml_extensions", "pytorch", "cutlass", "cuda_toolkit")
    states: dict[str, Any] = {f"{role}_state": "absent" for role in roles}
    states["gpu_environment_remove_generations"] = True
    run = site.play(str(book), request={"cutlass": "3.8.0"}, **states)
    assert run.rc == 0, run.out
    for gone in ("activate.sh", "current", "cutlass/3.8.0", "toolkits/13.0", "state/verdict.json"):
        assert not (site.prefix / gone).exists(), gone
    assert list(site.prefix.glob("environments/*")) == []
    assert site.play(str(book), request={"cutlass": "3.8.0"}, **states).recap["changed"] == 0
