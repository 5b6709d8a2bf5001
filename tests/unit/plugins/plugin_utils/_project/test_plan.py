"""What a plan takes back."""

from __future__ import annotations

import json

from projects import HOST, UV, environment, lock, plan, project

from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.edit import edit
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.fence import HEAD


def test_absent_leaves_pytorch() -> None:
    there = environment(fence={"podsmith-constraints.txt": HEAD, "pip.conf": "[global]\n", "bin/activate": None})
    files = {"pyproject.toml": {"original": "/copy/pyproject.toml", "edited": "0", "untouched": True}}
    found = plan(project(environment=there, state={"folder": "/x", "files": files}), state="absent")
    assert [(change["action"], change["what"]) for change in found["changes"]] == [
        ("remove", "podsmith-constraints.txt"),
        ("restore", "pyproject.toml"),
    ]
    assert (found["packages"], found["verdict"]) == (None, "unfenced")


def test_absent_takes_the_index_out_of_what_others_have_changed_since() -> None:
    state = {"folder": "/x", "files": {"pyproject.toml": {"original": None, "untouched": False}}}
    text = edit(UV, "uv", "cu126", "https://x/whl/cu126", ["torch"])
    changed = project(locks={"uv.lock": lock(torch="2.10.0+cu126")}, texts={"pyproject.toml": text}, state=state)
    found = plan(changed, state="absent")
    assert [(change["action"], change["what"]) for change in found["changes"]] == [
        ("edit", "pyproject.toml"),
        ("lock", "uv.lock"),
    ]
    assert found["edit"]["files"][0]["content"] == UV
    by_hand = plan({**changed, "texts": {"pyproject.toml": UV}}, state="absent")
    told = "pyproject.toml was changed by others since and is not restored; remove PyTorch's index by hand."
    assert by_hand["notes"] == [f"{told} The copies of what was there before are in /x."]


def test_absent_of_a_file_that_no_parser_reads_is_told() -> None:
    """It ended in a traceback."""
    state = {"folder": "/x", "files": {"pyproject.toml": {"original": None, "untouched": False}}}
    broken = project(locks={"uv.lock": lock(torch="2.10.0")}, texts={"pyproject.toml": "[project\n"}, state=state)
    found = plan(broken, state="absent", manager="uv")
    assert (found["verdict"], found["edit"]) == ("unfenced", None)
    assert "pyproject.toml is not valid TOML" in found["notes"][0]


def test_the_plan_is_plain_data() -> None:
    locked = project(locks={"uv.lock": lock(torch="2.10.0")})
    for found in (plan(locked), plan(locked, edit=True), plan(locked, state="absent"), plan(project(exists=False))):
        assert json.loads(json.dumps(found)) == found


OWN = "/usr/lib/x86_64-linux-gnu/libcuda.so.{}"


def test_a_host_on_which_cuda_does_not_work_now_is_told_beside_the_plan() -> None:
    """A line of a start-up file is no reason to leave a project's PyTorch alone, and its user has to know of it."""
    version = HOST["driver"]["version"]
    way = {"libcuda": OWN.format(version), "init": {"code": 101, "name": "CUDA_ERROR_INVALID_DEVICE"}}
    seen = {**way, "devices": 0, "environ": {"CUDA_VISIBLE_DEVICES": "0,0"}}
    found = plan(project(), {**HOST, "ways": {"interactive": seen}})
    assert found["verdict"] == plan(project())["verdict"]
    assert 'CUDA does not work: interactive shell: CUDA_VISIBLE_DEVICES is "0,0"' in found["notes"][0]
    assert found["notes"][0].endswith(
        "Correct CUDA_VISIBLE_DEVICES where the container or the session is started with it."
    )


def test_what_may_be_behind_an_error_stands_before_what_to_do_about_it() -> None:
    version = HOST["driver"]["version"]
    way = {"libcuda": OWN.format(version), "init": {"code": 999, "name": "CUDA_ERROR_UNKNOWN"}, "devices": 0}
    healthy = {**way, "init": {"code": 0, "name": "CUDA_SUCCESS"}, "devices": 1}
    (note,) = plan(project(), {**HOST, "ways": {"login": way, "interactive": healthy}})["notes"][:1]
    assert note.index("possible cause 1: The module nvidia_uvm") < note.index(
        "For possible cause 1: Run nvidia-modprobe"
    )


def test_on_a_driver_that_cannot_work_a_project_is_left_alone() -> None:
    version = HOST["driver"]["version"]
    way = {"libcuda": OWN.format(version), "init": {"code": 999, "name": "CUDA_ERROR_UNKNOWN"}, "devices": 0}
    found = plan(project(), {**HOST, "ways": {"login": way}})
    assert (found["verdict"], found["changes"]) == ("left_alone", [])
    assert "CUDA answers 999 (CUDA_ERROR_UNKNOWN) by the driver's own library" in found["help"][0]
