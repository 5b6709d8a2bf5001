"""The module, run as Ansible runs it: a process that reads its arguments and prints one JSON object."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import BEGIN, END
from ansible_collections.podsmith.gpu.plugins.modules import managed_files as module

Run = Callable[..., dict[str, Any]]
BLOCK = f"{BEGIN}\nsource it\n{END}\n"


@pytest.fixture
def run(run_module: Callable[..., Any]) -> Run:
    def call(*, check: bool = False, fails: bool = False, **params: Any) -> dict[str, Any]:
        ran = run_module("managed_files", params, check=check, diff=True)
        assert ran.failed == fails, ran
        return dict(ran.data)

    return call


def snapshot(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): f"-> {path.readlink()}" if path.is_symlink() else path.read_text()
        for path in sorted(root.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


@pytest.mark.parametrize(
    ("names", "linked", "keep", "removed"),
    [
        pytest.param(["1-a", "2-b", "10-c"], {"10-c", "2-b"}, 2, ["1-a"], id="ten-is-newer-than-two"),
        pytest.param(["1-a", "2-b", "3-c"], {"3-c"}, 2, ["1-a"], id="newest-fills-up"),
        pytest.param(["1-a", "2-b", "3-c"], {"1-a", "2-b"}, 2, ["3-c"], id="rolled-back"),
        pytest.param(["1-a", "2-b"], {"1-a", "2-b"}, 1, [], id="what-is-linked-stays"),
        pytest.param(["1-a", "notes", ".cache"], {"1-a"}, 1, [], id="what-is-no-generation-stays"),
    ],
)
def test_prunable(names: list[str], linked: set[str], keep: int, removed: list[str]) -> None:
    assert module.prunable(names, linked, keep) == removed


def params(root: Path) -> dict[str, Any]:
    return {
        "root": str(root / "environments/2-b"),
        "files": [
            {"path": "activate.sh", "content": "A=1\n"},
            {"path": str(root / "bashrc"), "content": "source it\n", "block": True},
        ],
        "links": [
            {"path": str(root / "current"), "target": "environments/2-b", "previous": str(root / "previous")},
        ],
        "prune": {"path": str(root / "environments"), "keep": 2},
        "history": {"path": str(root / "state/history.json"), "entry": {"name": "2-b"}},
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("0-old", "1-a", "2-b"):
        (tmp_path / "environments" / name).mkdir(parents=True)
        (tmp_path / "environments" / name / "kept").write_text(name)
    (tmp_path / "current").symlink_to("environments/1-a")
    (tmp_path / "bashrc").write_text("return\n")
    (tmp_path / "bashrc").chmod(0o600)
    return tmp_path


def test_check_mode_says_the_same_and_changes_nothing(root: Path, run: Run) -> None:
    before = snapshot(root)
    planned = run(check=True, **params(root))
    assert snapshot(root) == before
    assert planned["paths"] == run(**params(root))["paths"]


def test_everything_in_one_call(root: Path, run: Run) -> None:
    answer = run(**params(root))
    after = snapshot(root)
    history = json.loads(after.pop("state/history.json"))
    assert after == {
        "environments/1-a/kept": "1-a",
        "environments/2-b/kept": "2-b",
        "environments/2-b/activate.sh": "A=1\n",
        "bashrc": BLOCK + "return\n",
        "current": "-> environments/2-b",
        "previous": "-> environments/1-a",
    }
    assert (root / "bashrc").stat().st_mode & 0o777 == 0o600
    assert (root / "environments/2-b/activate.sh").stat().st_mode & 0o777 == 0o644
    assert [entry["name"] for entry in history] == ["2-b"]
    assert history[0]["changed"] == answer["paths"][:-1]
    assert {entry["before_header"] for entry in answer["diff"]} == set(answer["paths"])


def test_the_second_time_nothing_changes(root: Path, run: Run) -> None:
    run(**params(root))
    before = snapshot(root)
    assert run(**params(root)) | {"invocation": None} == {
        "changed": False, "paths": [], "diff": [], "invocation": None,
    }  # fmt: skip
    assert snapshot(root) == before


def test_a_changed_mode_is_put_right(root: Path, run: Run) -> None:
    run(**params(root))
    (root / "environments/2-b/activate.sh").chmod(0o600)
    assert run(**params(root))["paths"][0] == str(root / "environments/2-b/activate.sh")
    assert (root / "environments/2-b/activate.sh").stat().st_mode & 0o777 == 0o644


def test_absent_takes_out_what_is_ours_alone(root: Path, run: Run) -> None:
    run(**params(root))
    wanted = params(root)
    run(
        files=[
            {"path": str(root / "environments/2-b/activate.sh"), "state": "absent"},
            {"path": str(root / "bashrc"), "block": True, "state": "absent"},
            {"path": str(root / "never-there"), "state": "absent"},
        ],
        links=[{**wanted["links"][0], "target": None, "state": "absent"}],
    )
    after = snapshot(root)
    assert after["bashrc"] == "return\n"
    assert {"environments/2-b/activate.sh", "current", "previous"} & set(after) == set()


def test_back_and_forth(root: Path, run: Run) -> None:
    run(**params(root))
    back = {"path": str(root / "current"), "target": "environments/1-a", "previous": str(root / "previous")}
    run(links=[back])
    assert {name: snapshot(root)[name] for name in ("current", "previous")} == {
        "current": "-> environments/1-a",
        "previous": "-> environments/2-b",
    }


def test_a_block_is_written_through_a_link(root: Path, run: Run) -> None:
    (root / "bashrc").rename(root / "dotfile")
    (root / "bashrc").symlink_to("dotfile")
    run(**params(root))
    assert (root / "dotfile").read_text() == BLOCK + "return\n"
    assert (root / "bashrc").is_symlink()


def test_bytes_that_are_no_utf8_survive(root: Path, run: Run) -> None:
    (root / "bashrc").write_bytes(b"# caf\xe9\r\n")
    run(**params(root))
    assert (root / "bashrc").read_bytes() == BLOCK.encode() + b"# caf\xe9\r\n"


def test_a_folder_in_a_links_place_is_left_alone(root: Path, run: Run) -> None:
    (root / "current").unlink()
    (root / "current").mkdir()
    answer = run(fails=True, **params(root))
    assert "current is a file or folder, expected a link or nothing; move it away and run again." in answer["msg"]


def test_what_cannot_be_written_is_named(root: Path, run: Run) -> None:
    (root / "file").write_text("")
    answer = run(fails=True, files=[{"path": str(root / "file/activate.sh"), "content": "A=1\n"}])
    assert f"{root}/file" in answer["msg"]
    assert "choose a prefix that this user may write to" in answer["msg"]


def test_libraries_get_the_names_that_linkers_look_for(root: Path, run: Run) -> None:
    """A wheel has neither these names nor lib64; what is there under such a name stays."""
    folder = root / "cu13/lib"
    folder.mkdir(parents=True)
    for name in ("libcudart.so.13", "libcublas.so.13", "libnvvm.so.4", "libnvvm.so"):
        (folder / name).touch()
    (folder / "libcublas.so").symlink_to("libcublas.so.12")  # of the release before
    wished: dict[str, Any] = {
        "links": [{"path": str(root / "cu13/lib64"), "target": "lib", "make_folder": False}],
        "linker_names": [str(folder), str(root / "absent")],
    }
    changed = [str(root / "cu13/lib64"), str(folder / "libcublas.so"), str(folder / "libcudart.so")]
    assert run(check=True, **wished)["paths"] == changed
    assert not (root / "cu13/lib64").exists()
    assert run(**wished)["paths"] == changed
    assert (root / "cu13/lib64/libcudart.so").resolve() == folder / "libcudart.so.13"
    assert (folder / "libcublas.so").readlink() == Path("libcublas.so.13")
    assert not (folder / "libnvvm.so").is_symlink()
    assert not run(**wished)["changed"]


def test_a_link_may_need_the_folder_that_something_else_brings(root: Path, run: Run) -> None:
    link = {"path": str(root / "cu13/lib64"), "target": "lib", "make_folder": False}
    assert run(check=True, links=[link])["changed"]
    answer = run(fails=True, links=[link])
    assert answer["msg"] == (
        f"{root}/cu13 is missing, where the link lib64 is to be; install what creates that folder first, or correct the"
        " link's path."
    )
    assert not (root / "cu13").exists()
    assert run(links=[{**link, "make_folder": True}])["changed"]
