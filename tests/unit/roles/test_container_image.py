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

pytestmark = pytest.mark.xdist_group("container_image")  # one worker renders the image
ROOT = pathlib.Path(__file__).resolve().parents[3]
BIN = pathlib.Path(sys.executable).parent
FILES = {
    *("Dockerfile", ".dockerignore", "README.md", "build.sh", "check.py", "collection.tar.gz", "controller.txt"),
    *("image.json", "pod.json", "start.sh", "target.json", "template.json", "variables.json"),
}


def play(folder: pathlib.Path, *words: str, image: str = "h100") -> subprocess.CompletedProcess[str]:
    argv = [str(BIN / "ansible-playbook"), "playbooks/image.yml", "-e", f"image_hosts={image}"]
    argv += [
        "-e",
        f"container_image_dir={folder}",
        "-e",
        '{"stack_plan_request": {"cuda": "13.0", "forward_compat": "standby"}}',
    ]
    env = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCALHOST_WARNING": "False"}
    return subprocess.run([*argv, *words], cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("image") / "h100"
    checked = play(folder, "--check")
    assert (checked.returncode, folder.exists()) == (0, False), checked.stdout
    assert "would be written" in checked.stdout
    done = play(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr
    assert "is written" in done.stdout
    return folder


def test_everything_is_there_and_nothing_else(rendered: pathlib.Path) -> None:
    assert {path.name for path in rendered.iterdir()} == FILES


def test_the_second_time_nothing_changes(rendered: pathlib.Path) -> None:
    before = {path.name: path.read_bytes() for path in rendered.iterdir()}
    done = play(rendered)
    assert re.search(r"image-of-h100 +: ok=\d+ +changed=0 ", done.stdout), done.stdout
    assert "is unchanged" in done.stdout
    assert {path.name: path.read_bytes() for path in rendered.iterdir()} == before


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("-e", '{"container_image_target": {"gpus": ["NVIDIA H200"], "driver": "570", "gpu": "x"}}'),
            "did you mean gpus?",
        ),
        (("-e", '{"container_image_ports": ["22"]}'), "expected a port such as 22/tcp or 8888/http."),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    words: tuple[str, str], told: str, tmp_path: pathlib.Path
) -> None:
    done = play(tmp_path / "h100", *words)
    assert done.returncode != 0
    assert told in " ".join(done.stdout.split())
    assert not (tmp_path / "h100").exists()


def test_absent_takes_away_what_was_written_and_leaves_the_rest(rendered: pathlib.Path, tmp_path: pathlib.Path) -> None:
    copy = tmp_path / "h100"
    shutil.copytree(rendered, copy)
    (copy / "mine.txt").write_text("mine")
    done = play(copy, "-e", "container_image_state=absent")
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
