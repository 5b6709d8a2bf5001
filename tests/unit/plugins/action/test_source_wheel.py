# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the task tells while it waits, and that hosts with one key build once."""

from __future__ import annotations

import hashlib
import json
import pathlib
import threading
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure

from ansible_collections.podsmith.gpu.plugins.action import source_wheel as action

KEY = "0123456789abcdef"
LIMIT = 120  # seconds: only a hang takes as long
SHA256 = hashlib.sha256(b"a wheel").hexdigest()
RECORD = {"wheel": "thing-1.0-py3-none-any.whl", "sha256": SHA256, "steps": 3, "seconds": 9.0}
BUILD: dict[str, Any] = {
    "name": "thing",
    "version": "1.0",
    "origin": {"kind": "pypi"},
    "build_requires": ["ninja"],
    "torch": "2.9.1+cu130",
    "python": {"path": "/usr/bin/python3"},
}
ABSENT = {"name": "thing", "key": KEY, "wheel": None, "requirement": None, "running": False, "work": "/p/builds/k"}
KEPT = {
    **ABSENT,
    "wheel": f"/p/wheels/{KEY}/{RECORD['wheel']}",
    "requirement": "thing @ file:///w",
    "record": RECORD,
    "sha256": SHA256,
}
DONE = {**KEPT, "problem": None, "progress": [3, 3], "offset": 9, "step": "store", "seconds_so_far": 9.0}
BUSY = {**ABSENT, "running": True, "progress": [1, 3, 0, 0, 1, 3], "offset": 5, "step": "build", "seconds_so_far": 60.0}
BEGUN = {**ABSENT, "attached": False, "attempt": 1}


class Host:
    """The plugin for one host, whose module answers from a script."""

    def __init__(self, name: str, folder: pathlib.Path, answers: list[Any], **arguments: Any) -> None:
        self.name, self.asked = name, []
        self.plugin = plugin = action.ActionModule.__new__(action.ActionModule)
        given = {"build": BUILD, "store": "/p/wheels", "share_dir": str(folder), "uv_version": "1", **arguments}
        plugin._task = mock.Mock(args=given, async_val=0, check_mode=False)
        plugin._task.copy.side_effect = mock.Mock
        plugin._connection = mock.Mock()
        plugin._connection._shell.tmpdir = "/tmp/ansible"
        plugin._connection._shell.join_path = lambda *parts: "/".join(parts)
        plugin._connection.fetch_file.side_effect = lambda _path, target: pathlib.Path(target).write_bytes(b"a wheel")
        plugin._play_context = plugin._loader = plugin._templar = None
        self.packages = mock.Mock(**{"run.return_value": {"changed": True}})
        plugin._shared_loader_obj = mock.Mock(**{"action_loader.get.return_value": self.packages})
        plugin._transfer_file, plugin._fixup_perms2, plugin._remove_tmp_path = mock.Mock(), mock.Mock(), mock.Mock()
        self.answers = iter(answers)
        plugin._execute_module = self.answer

    def answer(self, *, module_args: dict[str, Any], **_more: Any) -> dict[str, Any]:
        """The next answer; an error is raised, a function called."""
        self.asked.append(module_args.get("step", "link"))
        self.last = module_args
        found = next(self.answers)
        if isinstance(found, Exception):
            raise found
        return dict(found() if callable(found) else found)

    def run(self) -> dict[str, Any]:
        """The task's result."""
        with mock.patch.object(action.ActionBase, "run", return_value={}):
            return self.plugin.run(None, {"inventory_hostname": self.name})


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What is told."""
    said: list[str] = []
    with mock.patch.object(action, "display") as display, mock.patch.object(action.time, "sleep"):
        display.display.side_effect = said.append
        display.warning.side_effect = said.append
        yield said


def test_a_kept_wheel_costs_one_call(tmp_path: pathlib.Path, lines: list[str]) -> None:
    host = Host("h", tmp_path, [KEPT])
    result = host.run()
    assert (host.asked, result["changed"], result["how"], lines) == (["look"], False, "kept", [])
    assert result["requirement"] == "thing @ file:///w"
    assert "work" not in result


def test_a_build_tells_how_far_it_is(tmp_path: pathlib.Path, lines: list[str]) -> None:
    later = {**BUSY, "progress": [2, 3, 0, 0, 2, 3], "seconds_so_far": 120.0}
    host = Host("h", tmp_path, [{**ABSENT, "cautions": ["little memory"]}, BEGUN, BUSY, later, DONE])
    result = host.run()
    assert host.asked == ["look", "start", "follow", "follow", "follow"]
    assert lines == [
        "h: thing 1.0: little memory",
        "h: the build of thing 1.0 started; log: /p/builds/k/log",
        "h: thing 1.0: 1 of 3 steps, 60 s",
        "h: thing 1.0: 2 of 3 steps, 2 min, about 60 s left",
    ]
    assert (result["changed"], result["how"], result["wheel"]) == (True, "built", KEPT["wheel"])
    assert host.last["follow"]["offset"] == 5


def test_its_environment_has_what_it_requires(tmp_path: pathlib.Path, lines: list[str]) -> None:
    host = Host("h", tmp_path, [ABSENT, BEGUN, DONE], index_url="https://i")
    host.run()
    task = host.plugin._shared_loader_obj.action_loader.get.call_args.kwargs["task"]
    assert task.action == "podsmith.gpu.python_packages"
    assert task.args["requirements"] == ["ninja", "pip", "torch==2.9.1+cu130"]
    assert (task.args["environment"], task.args["prefix"], task.args["index_url"]) == (
        "/p/builds/k/environment",
        "/p",
        "https://i",
    )


def test_its_environment_gets_the_links_that_the_build_needs(tmp_path: pathlib.Path, lines: list[str]) -> None:
    """They are made by managed_files once the packages are there, in a folder that these brought."""
    build = {**BUILD, "python": {**BUILD["python"], "version": "3.12"}, "links": {"nvidia/lib/libx.so": "libx.so.9"}}
    given: list[Any] = []

    def link() -> dict[str, Any]:
        given.append(host.last)
        return {"changed": True}

    host = Host("h", tmp_path, [ABSENT, link, BEGUN, DONE], build=build)
    host.run()
    assert host.asked == ["look", "link", "start", "follow"]
    path = "/p/builds/k/environment/lib/python3.12/site-packages/nvidia/lib/libx.so"
    assert given == [{"links": [{"path": path, "target": "libx.so.9", "make_folder": False}]}]
    refused = Host("h", tmp_path, [ABSENT, {"failed": True, "msg": "no folder"}], build=build)
    with pytest.raises(action.AnsibleActionFail, match=r"build environment of thing 1\.0 failed: no folder"):
        refused.run()


def test_a_torch_that_is_there_is_not_brought(tmp_path: pathlib.Path, lines: list[str]) -> None:
    host = Host("h", tmp_path, [ABSENT, BEGUN, DONE], adopt="/e/site-packages")
    host.run()
    task = host.plugin._shared_loader_obj.action_loader.get.call_args.kwargs["task"]
    assert (task.args["requirements"], task.args["adopt"]) == (["ninja", "pip"], "/e/site-packages")


def test_torch_itself_is_built_without_another(tmp_path: pathlib.Path, lines: list[str]) -> None:
    host = Host("h", tmp_path, [ABSENT, BEGUN, DONE], adopt="/e/site-packages", build={**BUILD, "torch": None})
    host.run()
    assert "adopt" not in host.plugin._shared_loader_obj.action_loader.get.call_args.kwargs["task"].args


def test_what_is_installed_is_not_built_again(tmp_path: pathlib.Path, lines: list[str]) -> None:
    host = Host("h", tmp_path, [], build={**BUILD, "pending": False, "wheel": None})
    result = host.run()
    assert (host.asked, result["changed"], result["requirement"], result["how"]) == ([], False, None, "installed")


def test_an_archive_without_a_checksum_is_told(tmp_path: pathlib.Path, lines: list[str]) -> None:
    build = {**BUILD, "origin": {"kind": "archive", "url": "https://x.org/y.tar.gz"}}
    Host("h", tmp_path, [ABSENT, BEGUN, DONE], build=build).run()
    assert lines[0] == "h: thing 1.0: https://x.org/y.tar.gz has no sha256; the download is not verified."


def test_a_build_at_work_is_waited_for(tmp_path: pathlib.Path, lines: list[str]) -> None:
    host = Host("h", tmp_path, [{**ABSENT, "running": True}, {**BEGUN, "attached": True}, DONE])
    assert host.run()["how"] == "attached"
    assert "h: the build of thing 1.0 is already running, waiting for it; log: /p/builds/k/log" in lines
    host.packages.run.assert_not_called()


def test_a_host_that_goes_away_is_asked_again(tmp_path: pathlib.Path, lines: list[str]) -> None:
    host = Host(
        "h", tmp_path, [ABSENT, BEGUN, AnsibleConnectionFailure("gone"), {"unreachable": True, "msg": "gone"}, DONE]
    )
    assert host.run()["how"] == "built"
    assert lines[1:] == ["h: no answer (gone); the build of thing 1.0 continues there, retrying"] * 2


def test_a_host_that_stays_away_fails(tmp_path: pathlib.Path, lines: list[str]) -> None:
    host = Host("h", tmp_path, [ABSENT, BEGUN, *[AnsibleConnectionFailure("gone")] * (action.TRIES + 1)])
    with pytest.raises(AnsibleConnectionFailure):
        host.run()


@pytest.mark.parametrize(
    ("answers", "arguments", "words"),
    [
        ([], {"build": {**BUILD, "version": "x"}}, 'version is "x"; expected an exact version'),
        ([{**ABSENT, "problems": ["no nvcc."]}], {}, "thing 1.0 cannot be built on h: no nvcc."),
        ([ABSENT, BEGUN, {**DONE, "problem": "Building it failed: why"}], {}, "Building it failed: why"),
        ([{"failed": True, "msg": "broken"}], {}, "broken"),
    ],
)
def test_failures(
    tmp_path: pathlib.Path, lines: list[str], answers: list[Any], arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(AnsibleActionFail, match=words):
        Host("h", tmp_path, answers, **arguments).run()


def test_what_it_requires_may_not_come(tmp_path: pathlib.Path, lines: list[str]) -> None:
    host = Host("h", tmp_path, [ABSENT])
    host.packages.run.return_value = {"failed": True, "msg": "no ninja"}
    with pytest.raises(AnsibleActionFail, match=r"Installing the build requirements of thing 1\.0 failed: no ninja"):
        host.run()


def test_waiting_has_an_end_where_one_is_wished(tmp_path: pathlib.Path, lines: list[str]) -> None:
    host = Host("h", tmp_path, [ABSENT, BEGUN, BUSY], timeout=1)
    clock = iter([0.0, 5.0])
    with (
        mock.patch.object(action.time, "monotonic", side_effect=lambda: next(clock)),
        pytest.raises(AnsibleActionFail, match=r"did not finish within 1 s and continues on h\. Rerun to wait for it"),
    ):
        host.run()


def test_check_mode_looks_alone(tmp_path: pathlib.Path, lines: list[str]) -> None:
    host = Host("h", tmp_path, [ABSENT])
    host.plugin._task.check_mode = True
    assert host.run()["changed"] is True
    assert host.asked == ["look"]


def test_one_host_builds_and_the_other_gets_its_wheel(tmp_path: pathlib.Path, lines: list[str]) -> None:
    is_building, may_end = threading.Event(), threading.Event()
    look = threading.Event()  # never set: time.sleep is replaced here

    def build() -> dict[str, Any]:
        is_building.set()
        assert may_end.wait(2 * LIMIT)
        return DONE

    first = Host("one", tmp_path, [ABSENT, BEGUN, build], share=True)
    second = Host("two", tmp_path, [ABSENT, KEPT], share=True)
    results: dict[str, Any] = {}
    threads = [
        threading.Thread(target=lambda host=host: results.update({host.name: host.run()})) for host in (first, second)
    ]
    threads[0].start()
    assert is_building.wait(LIMIT)
    threads[1].start()
    looks = iter(range(100 * LIMIT))
    while not any("waiting for the wheel" in line for line in lines):
        assert next(looks, None) is not None, lines
        look.wait(0.01)
    may_end.set()
    for thread in threads:
        thread.join(LIMIT)
    assert "two: waiting for the wheel of thing 1.0, which is being built on one" in lines
    assert (results["one"]["how"], results["two"]["how"]) == ("built", "shared")
    assert second.asked == ["look", "keep"]
    assert second.last["source"]["record"] == RECORD
    assert (tmp_path / KEY / str(RECORD["wheel"])).read_bytes() == b"a wheel"


def test_a_relative_store_counts_from_the_working_directory(
    tmp_path: pathlib.Path, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection would count from a folder of its own: ``local`` does from the playbook's."""
    monkeypatch.chdir(tmp_path)
    host = Host("h", pathlib.Path("wheelhouse"), [KEPT], share=True)
    host.run()
    target = pathlib.Path(host.plugin._connection.fetch_file.call_args[0][1])
    assert target.is_relative_to(tmp_path / "wheelhouse")
    assert (tmp_path / "wheelhouse" / KEY / str(RECORD["wheel"])).read_bytes() == b"a wheel"


def test_a_damaged_copy_is_not_sent(tmp_path: pathlib.Path, lines: list[str]) -> None:
    place = tmp_path / KEY
    place.mkdir()
    (place / "build.json").write_text(json.dumps(RECORD))
    (place / str(RECORD["wheel"])).write_bytes(b"a whe")
    host = Host("h", tmp_path, [ABSENT, BEGUN, DONE], share=True)
    assert host.run()["how"] == "built"
    assert "is damaged and is built again" in lines[0]
    assert (place / str(RECORD["wheel"])).read_bytes() == b"a wheel"


def test_a_wheel_that_was_damaged_on_its_way_is_not_kept(tmp_path: pathlib.Path, lines: list[str]) -> None:
    host = Host("h", tmp_path, [KEPT], share=True)
    host.plugin._connection.fetch_file.side_effect = lambda _path, target: pathlib.Path(target).write_bytes(b"x")
    with pytest.raises(AnsibleActionFail, match="the SHA-256 of the file fetched from h is"):
        host.run()
    assert [path.name for path in tmp_path.iterdir()] == [f".{KEY}.lock"]


def test_a_controller_without_room_says_what_to_do(tmp_path: pathlib.Path, lines: list[str]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AnsibleActionFail, match="pytorch_source_share to false"):
        Host("h", tmp_path / "file", [ABSENT], share=True).run()
