"""scripts/plan answers as the playbook does, without Ansible."""

from __future__ import annotations

import importlib.util
import json
import pathlib
import subprocess
import sys
from typing import Any

import pytest
from ansible.errors import AnsibleLookupError

from ansible_collections.podsmith.gpu.plugins.filter.stack_plan import stack_plan
from ansible_collections.podsmith.gpu.plugins.lookup.recording import read_recording
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import load_catalogue

ROOT = pathlib.Path(__file__).resolve().parents[3]
RECORDING = ROOT / "tests" / "fixtures" / "h200-driver-580"


def load() -> Any:
    spec = importlib.util.spec_from_file_location("plan", ROOT / "scripts" / "plan.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


plan = load()


@pytest.fixture(autouse=True)
def cache(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    status = plan.main(argv)
    told = capsys.readouterr()
    return status, told.out, told.err


def test_a_recording_is_decided_as_the_filter_decides_it(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("cuda=13.0", "pytorch=2.9", "extensions=triton,vllm", "overrides={driver: '570.133.20'}")
    status, out, err = run(capsys, str(RECORDING), *words, "--json")
    request = {
        "cuda": "13.0",
        "pytorch": "2.9",
        "extensions": ["triton", "vllm"],
        "overrides": {"driver": "570.133.20"},
    }
    assert (status, err) == (0, "")
    assert json.loads(out) == stack_plan(read_recording(str(RECORDING), ROOT), request)


def test_the_report_is_that_of_a_playbook(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _err = run(capsys, str(RECORDING), "cuda=13.0")
    assert (status, out.splitlines()[0]) == (
        0,
        "h200-driver-580   NVIDIA H200 · driver 580.159.04 (CUDA 13.0) · Ubuntu 24.04 · x86_64",
    )
    assert out.splitlines()[-1].startswith("  verdict  ok: ")


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["--gpu", "8x H100", "--driver", "550.163.01"], "host   8x H100 · driver 550.163.01 (CUDA 12.4) · container"),
        (
            ["--gpu", "RTX 5090", "--driver", "581.42", "--kind", "wsl2"],
            "host   NVIDIA GeForce RTX 5090 · driver 581.42",
        ),
        (["--gpu", "9.0", "--driver", "580"], "host   GPU of compute capability 9.0 · driver 580 (CUDA 13.0)"),
        (["--gpu", "H100, T4", "--driver", "580"], "host   H100, Tesla T4 · driver 580 (CUDA 13.0)"),
    ],
)
def test_a_host_in_words(argv: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, *argv)
    assert (status, err) == (0, "")
    assert out.startswith(line)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (
            ["--gpu", "H10O"],
            'plan: --gpu names "H10O", which the catalogue does not have; did you mean H100? Or give its',
        ),
        (
            ["--driver", "580", "--os", "9.5"],
            'plan: --os is "9.5"; expected ID and VERSION_ID of os-release, such as rocky 9.5, ',
        ),
        (["--driver", "new"], 'plan: --driver is "new"; expected a version or a branch, such as 570.133.20 or 570.'),
        ([str(RECORDING), "--gpu", "H100"], "plan: found a recording and a host in words; expected one of them."),
        (["a", "b"], "plan: found the recordings a and b; expected one."),
        (["nowhere"], "plan: The recording nowhere does not exist; expected a folder of recorded texts or a JSON file"),
        (
            ["--gpu", "H100", "cuda=13"],
            'plan: stack_plan_request.cuda is "13"; expected a version such as 13.0, newest or',
        ),
        (["--gpu", "H100", "--profile", "h10"], 'plan: --profile is "h10"; expected one of h100, '),
        (
            ["--gpu", "H100", "--require", "{gpu: 1}"],
            'plan: stack_plan_require has the unknown key "gpu"; did you mean',
        ),
        (["--gpu", "H100", "toolkit={provider: [}"], "plan: the request is not YAML: "),
    ],
)
def test_what_cannot_be_understood(argv: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, *argv)
    assert (status, out) == (2, "")
    assert err.startswith(words)


@pytest.mark.parametrize(
    ("system", "family", "program"),
    [
        ("ubuntu 24.04", "debian", "apt"),
        ("linuxmint 22", "debian", None),  # NVIDIA has no repository for it
        ("rocky 9.5", "redhat", "rpm"),
        ("miracle 9.4 rhel fedora", "redhat", "rpm"),
        ("sles_sap 15.6", "suse", "rpm"),
        ("opensuse-leap 15.6", "suse", "rpm"),
        ("amzn 2023", "redhat", "rpm"),
    ],
)
def test_the_system_of_a_host_in_words(
    system: str, family: str, program: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Packages are planned from the repository that NVIDIA has for the system, or for what it is like."""
    words = ["--gpu", "H100", "--driver", "580", "--kind", "vm", "--os", system, "cuda=13.0"]
    status, out, err = run(capsys, *words, "toolkit={provider: " + (program or "auto") + "}", "--json")
    toolkit = json.loads(out)["toolkit"]
    assert (status, err, toolkit["provider"]) == (0, "", program or "pypi")
    assert plan.describe_os(system)["family"] == family


def test_a_host_that_cannot_be_used_ends_with_a_status_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--gpu", "7x H100", "--driver", "580.95.05", "--require", "{gpus: 8}"]
    status, out, _err = run(capsys, *words)
    assert status == 3
    assert "unmet    8 GPUs are required; the host has 7 (7x H100)." in out
    assert run(capsys, "--gpu", "K80", "--driver", "580")[0] == 3


@pytest.mark.parametrize("words", ["vllm", "[vllm]", "vllm,"])
def test_a_list_of_one_needs_no_brackets(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "--gpu", "H100", "--driver", "580.95.05", f"extensions={words}")
    assert (status, err) == (0, "")
    assert "  + vllm " in out


def test_each_profile_of_the_example_is_planned(capsys: pytest.CaptureFixture[str]) -> None:
    names = sorted(path.stem for path in (ROOT / "inventories" / "example" / "group_vars").glob("*.yml"))
    assert "rtx5090" in names
    for name in names:
        status, _out, err = run(capsys, "--gpu", "RTX 5090", "--driver", "580.95.05", "--profile", name)
        assert (name, status in (0, 3), err) == (name, True, "")


def test_one_extension_is_a_list_of_one(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, str(RECORDING), "extensions=vllm", "on_old_driver=fail", "--json")
    assert (status, err) == (0, "")
    assert json.loads(out) == stack_plan(
        read_recording(str(RECORDING), ROOT), {"extensions": ["vllm"], "on_old_driver": ["fail"]}
    )


def test_a_request_in_a_file_is_overridden_by_words(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "wish.yml"
    file.write_text('stack_plan_request: {cuda: "12.6", pytorch: "2.9"}\n', encoding="utf-8")
    _status, out, _err = run(capsys, str(RECORDING), "--request", str(file), "cuda=12.8", "--json")
    decision = json.loads(out)
    assert (decision["cuda"], decision["pytorch"]["version"][:3]) == ("12.8", "2.9")


def test_it_runs_without_ansible_and_without_the_link(tmp_path: pathlib.Path) -> None:
    """From a copy of the checkout, in a Python that has PyYAML and packaging alone beside the standard library."""
    for name in ("catalogue", "plugins", "scripts"):
        (tmp_path / name).symlink_to(ROOT / name)
    code = (
        "import runpy, sys, importlib.abc\n"
        "class Refuse(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name.partition('.')[0] in ('ansible', 'jinja2'): raise ImportError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        f"sys.argv = ['plan', {str(RECORDING)!r}, 'cuda=13.0']\n"
        f"runpy.run_path({str(tmp_path / 'scripts' / 'plan.py')!r}, run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "verdict  ok" in done.stdout


def test_a_plan_imports_nothing_that_it_does_not_need(tmp_path: pathlib.Path) -> None:
    """What takes longer to import than a decision takes: none of it is met where the catalogue was read before."""
    program = [sys.executable, "-X", "importtime", str(ROOT / "scripts" / "plan.py"), str(RECORDING), "cuda=13.0"]
    for _turn in range(2):
        environment = {"XDG_CACHE_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
        done = subprocess.run(program, capture_output=True, text=True, timeout=120, check=True, env=environment)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "packaging.specifiers" in imported
    assert imported.isdisjoint({"yaml", "jinja2", "ansible", "packaging.requirements", "urllib.request", "asyncio"})


RECORDED = sorted(
    path
    for path in (*(ROOT / "tests" / "fixtures").iterdir(), *(ROOT / "tests" / "fixtures" / "texts").iterdir())
    if path.name not in ("benchmarks", "pytorch-builds", "texts")
)


@pytest.mark.parametrize("recording", RECORDED, ids=lambda path: path.name)
@pytest.mark.parametrize("words", [(), ("cuda=13.0", "extensions=xformers,vllm")])
def test_each_recording_is_answered_as_by_the_playbook(
    recording: pathlib.Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """The decision, or the refusal of a text, is that of the playbook's lookup and filter."""
    request: dict[str, Any] = {"cuda": "13.0", "extensions": ["xformers", "vllm"]} if words else {}
    status, out, err = run(capsys, str(recording), *words, "--json")
    try:
        expected = stack_plan(read_recording(str(recording), ROOT), request)
    except AnsibleLookupError as error:
        refused = f"plan: {error}\n"
    else:
        refused = ""
    if refused:
        assert (status, out, err) == (2, "", refused)
        return
    assert (json.loads(out), err) == (expected, "")
    assert status == (3 if expected["verdict"] in ("blocked", "broken", "unmet") else 0)


def test_the_catalogue_has_what_a_copy_in_json_keeps() -> None:
    """A copy in JSON is the same: text for keys, and no value that JSON has not."""
    assert json.loads(json.dumps(load_catalogue())) == load_catalogue()
