"""The rendered files, as the playbook writes them: linted, nothing for one driver alone, the same each time."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
BIN = pathlib.Path(sys.executable).parent
FILES = {
    *("Dockerfile", ".dockerignore", "README.md", "build.sh", "check.py", "collection.tar.gz", "controller.txt"),
    *("image.json", "pod.json", "start.sh", "target.json", "template.json", "variables.json"),
}


TARGET = {"gpus": ["NVIDIA H200"], "driver": "570"}
WISH = '{"stack_plan_request": {"cuda": "13.0", "forward_compat": "standby"}}'


def play(*words: str, times: int = 1) -> subprocess.CompletedProcess[str]:
    """Run the playbook, several times in one start of Ansible where ``times`` says so."""
    argv = [str(BIN / "ansible-playbook"), *["playbooks/image.yml"] * times, "-e", WISH, *words]
    env = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCALHOST_WARNING": "False"}
    return subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=120)


def into(folder: pathlib.Path) -> tuple[str, ...]:
    return ("-e", "image_hosts=h100", "-e", f"container_image_dir={folder}")


@pytest.fixture(scope="module")
def written_twice(tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, str]:
    """The folder, and what two runs into it printed."""
    folder = tmp_path_factory.mktemp("image") / "h100"
    done = play(*into(folder), times=2)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr
    return folder, done.stdout


@pytest.fixture(scope="module")
def rendered(written_twice: tuple[pathlib.Path, str]) -> pathlib.Path:
    return written_twice[0]


def test_everything_is_there_and_nothing_else(rendered: pathlib.Path) -> None:
    assert {path.name for path in rendered.iterdir()} == FILES


def test_check_mode_writes_nothing(tmp_path: pathlib.Path) -> None:
    done = play(*into(tmp_path / "h100"), "--check")
    assert (done.returncode, (tmp_path / "h100").exists()) == (0, False), done.stdout
    assert "would be written" in done.stdout


def test_the_second_time_nothing_changes(written_twice: tuple[pathlib.Path, str]) -> None:
    first, second = written_twice[1].split("PLAY [Find the images to render]")[1:]
    assert ("is written" in first, "changed: [image-of-h100" in first) == (True, True), first
    assert ("is unchanged" in second, "changed: [" in second) == (True, False), second


def test_bad_input_is_refused_before_anything_is_written(tmp_path: pathlib.Path) -> None:
    """Two hosts in one run, each with a fault of its own."""
    faults = {
        "misspelt": (
            {"container_image_target": {"gpus": ["NVIDIA H200"], "driver": "570", "gpu": "x"}},
            "did you mean gpus?",
        ),
        "portless": (
            {"container_image_target": TARGET, "container_image_ports": ["22"]},
            "expected a port such as 22/tcp or 8888/http.",
        ),
    }
    groups = {
        name: {"hosts": {f"{name}-1": {}}, "vars": {**values, "container_image_dir": str(tmp_path / name)}}
        for name, (values, _told) in faults.items()
    }
    inventory = tmp_path / "hosts.json"
    inventory.write_text(json.dumps({"all": {"children": groups}}), encoding="utf-8")
    done = play("-i", str(inventory), "-e", f"image_hosts={','.join(groups)}")
    told = " ".join(done.stdout.split())
    assert re.findall(r"image-of-(\w+) : ok=\d+ changed=0 unreachable=0 failed=1", told) == list(groups), told
    assert [words in told for _values, words in faults.values()] == [True, True], told
    assert [path.name for path in tmp_path.iterdir()] == ["hosts.json"]


def test_absent_takes_away_what_was_written_and_leaves_the_rest(rendered: pathlib.Path, tmp_path: pathlib.Path) -> None:
    copy = tmp_path / "h100"
    shutil.copytree(rendered, copy)
    (copy / "mine.txt").write_text("mine")
    done = play(*into(copy), "-e", "container_image_state=absent")
    assert done.returncode == 0, done.stdout
    assert [path.name for path in copy.iterdir()] == ["mine.txt"]


def test_the_dockerfile_is_clean(rendered: pathlib.Path) -> None:
    done = subprocess.run(
        [BIN / "hadolint", "--no-color", rendered / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_scripts_are_clean(rendered: pathlib.Path) -> None:
    scripts = [str(rendered / name) for name in ("build.sh", "start.sh")]
    done = subprocess.run([BIN / "shellcheck", *scripts], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert all(os.access(script, os.X_OK) for script in scripts)


def test_nothing_bakes_a_path_for_one_driver(rendered: pathlib.Path) -> None:
    """No ENV with LD_LIBRARY_PATH, no file of the loader, and no variable of a pod."""
    docker = [
        line for line in (rendered / "Dockerfile").read_text(encoding="utf-8").splitlines() if not line.startswith("#")
    ]
    assert not [line for line in docker if line.startswith("ENV") or "LD_LIBRARY_PATH" in line or "compat" in line]
    for name in ("pod.json", "template.json"):
        assert "LD_LIBRARY_PATH" not in json.loads((rendered / name).read_text(encoding="utf-8"))["env"]
    for name in ("build.sh", "start.sh"):
        text = (rendered / name).read_text(encoding="utf-8")
        assert not re.search(r"(?:export|ENV) +LD_LIBRARY_PATH|>+ *\S*ld\.so|ldconfig", text), name


def test_no_key_stands_in_a_file(rendered: pathlib.Path) -> None:
    readme = (rendered / "README.md").read_text(encoding="utf-8")
    assert readme.count('"Authorization: Bearer $RUNPOD_API_KEY"') == 2
    assert "https://api.runpod.io/v2/templates" in readme
    assert "https://api.runpod.io/v2/pods" in readme


def test_the_archive_holds_what_the_playbooks_need(rendered: pathlib.Path) -> None:
    with tarfile.open(rendered / "collection.tar.gz") as archive:
        names = archive.getnames()
    place = "collections/ansible_collections/podsmith/gpu"
    wanted = {"playbooks/bootstrap.yml", "catalogue/cuda.yml", "plugins/modules/gpu_facts.py", "meta/runtime.yml"}
    assert {f"{place}/{name}" for name in wanted} <= set(names)
    assert [name for name in names if "__pycache__" in name or not name.startswith(place)] == []
