"""Which PyTorch a project is to have on its host, and what leads there: a table of projects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import load_catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project import project as planning
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import RequestError

KNOWN = load_catalogue()
FIXTURES = Path(__file__).parents[4] / "fixtures"
HOST = json.loads((FIXTURES / "h200-driver-580-facts.json").read_text(encoding="utf-8"))["gpu"]
UV = '[project]\nname = "app"\ndependencies = ["torch>=2.9,<2.11", "torchvision"]\n'
POETRY = '[tool.poetry]\nname = "app"\n[tool.poetry.dependencies]\npython = ">=3.11"\ntorch = "^2.9"\n'


def lock(**versions: str) -> dict[str, Any]:
    rows = {
        name: {"version": version, "source": "https://x", "versions": [version]} for name, version in versions.items()
    }
    return {"sha256": "0", "packages": rows}


def requirements(compiler: str | None = None, text: str = "", hashes: bool = False, **pins: str) -> dict[str, Any]:
    command = {"pip-compile": "pip-compile -q requirements.in", "uv": "uv pip compile -q requirements.in", None: None}[
        compiler
    ]
    return {"text": text, "compiler": compiler, "command": command, "pins": pins, "hashes": hashes}


def environment(torch: str | None = "2.10.0", cuda: str | None = "12.8", **changes: Any) -> dict[str, Any]:
    name = torch.replace("+cu128", "") if torch else ""  # PyPI's build leaves it out of its distribution's name
    packages = {"torch": name, **changes.pop("packages", {})}
    return {
        "path": "/srv/app/.venv",
        "python": "/srv/app/.venv/bin/python",
        "python_version": "3.11",
        "works": True,
        "site_packages": "/srv/app/.venv/lib/python3.11/site-packages",
        "creator": "uv",
        "creator_version": "0.13.8",
        "conda": False,
        "packages": {name: version for name, version in packages.items() if version},
        "torch": {"version": torch, "cuda": cuda} if torch else None,
        "broken": [],
        "majors": {cuda.partition(".")[0]: ["nvidia-cublas"]} if torch and cuda else {},
        "lacks": [],
        "needed_by": {},
        "fence": {"podsmith-constraints.txt": None, "pip.conf": None, "bin/activate": None},
        **changes,
    }


def project(**changes: Any) -> dict[str, Any]:
    there = changes.pop("environment", environment())
    return {
        "path": "/srv/app",
        "exists": True,
        "owner": {"name": "root", "reader": "root"},
        "texts": {"pyproject.toml": UV},
        "locks": {},
        "others": [],
        "requirements": {},
        "environments": [there["path"]] if there else [],
        "environment": there,
        "tools": {"uv": "/usr/bin/uv", "poetry": "/usr/bin/poetry", "pip-compile": "/srv/app/.venv/bin/pip-compile"},
        "pip": {"extra_index_urls": [], "constraints": [], "secret": False},
        "state": {"folder": "/opt/podsmith/projects/app-0", "files": {}},
        "proof": None,
        **changes,
    }


def plan(
    project_: dict[str, Any], host: dict[str, Any] | None = None, request: dict[str, Any] | None = None, **wished: Any
) -> dict[str, Any]:
    wish = planning.parse_wish({"path": "/srv/app", **wished}, request or {"cuda": "12.6"}, KNOWN)
    return planning.plan_project(project_, HOST if host is None else host, wish, KNOWN)


@pytest.mark.parametrize(
    ("changes", "manager"),
    [
        pytest.param({"locks": {"uv.lock": lock()}}, "uv", id="uv-lock"),
        pytest.param({"locks": {"poetry.lock": lock()}}, "poetry", id="poetry-lock"),
        pytest.param({"texts": {"pyproject.toml": POETRY}}, "poetry", id="poetry-table"),
        pytest.param({"texts": {"pyproject.toml": UV + "[tool.uv]\n"}}, "uv", id="uv-table"),
        pytest.param(
            {"locks": {"uv.lock": lock()}, "texts": {"pyproject.toml": POETRY}}, "uv", id="a-lock-outweighs-a-table"
        ),
        pytest.param(
            {"requirements": {"requirements.txt": requirements("pip-compile")}}, "pip-tools", id="pip-compile"
        ),
        pytest.param({"requirements": {"requirements.txt": requirements("uv")}}, "pip-tools", id="uv-pip-compile"),
        pytest.param({"requirements": {"requirements.txt": requirements()}, "texts": {}}, "pip", id="requirements"),
        pytest.param({}, "pip", id="a-pyproject-alone"),
        pytest.param({"texts": {}}, "pip", id="an-environment-alone"),
    ],
)
def test_manager(changes: dict[str, Any], manager: str) -> None:
    assert plan(project(**changes))["manager"] == manager


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"exists": False}, ["/srv/app is not there", "project_environment_path"], id="no-folder"),
        pytest.param(
            {"others": ["pdm.lock"]},
            ["belongs to PDM (pdm.lock)", "Poetry, uv, pip-tools and pip", "by hand"],
            id="pdm",
        ),
        pytest.param({"others": ["environment.yml"]}, ["belongs to conda (environment.yml)"], id="conda"),
        pytest.param(
            {"environment": environment(conda=True)}, ["conda (/srv/app/.venv/conda-meta)"], id="conda-environment"
        ),
        pytest.param({"texts": {"pyproject.toml": "[tool.hatch.envs.default]\n"}}, ["belongs to Hatch"], id="hatch"),
        pytest.param(
            {"locks": {"uv.lock": lock(), "poetry.lock": lock()}},
            ["poetry.lock and uv.lock", "one manager is wanted", "project_environment_manager"],
            id="two-locks",
        ),
        pytest.param(
            {"texts": {"pyproject.toml": "[tool.uv]\n[tool.poetry]\n"}}, ["one manager is wanted"], id="two-tables"
        ),
        pytest.param(
            {"locks": {"poetry.lock": lock()}, "environment": None},
            ["has no environment", "makes none", "poetry install", "project_environment_environment"],
            id="no-environment",
        ),
        pytest.param(
            {"environments": ["/a", "/b"], "environment": None},
            ["has 2 environments (/a, /b)", "one is wanted"],
            id="two-environments",
        ),
        pytest.param(
            {"environment": environment(works=False)}, ["no Python that could be run", "anew"], id="dead-python"
        ),
        pytest.param(
            {"owner": {"name": "dev", "reader": "root"}},
            ["belongs to dev", "root would leave files", "-e ansible_become_user=dev"],
            id="another-user",
        ),
        pytest.param(
            {"environment": environment(None), "texts": {"pyproject.toml": '[project]\ndependencies = ["flask"]\n'}},
            ["has no PyTorch", "neither is it installed", "project_environment_pytorch"],
            id="no-pytorch",
        ),
        pytest.param(
            {"texts": {"pyproject.toml": "[project\n"}}, ["cannot be read as TOML", "correct it"], id="not-toml"
        ),
        pytest.param(
            {"texts": {}, "environment": None},
            ["no pyproject.toml, no lock file", "check project_environment_path"],
            id="empty",
        ),
    ],
)
def test_left_alone(changes: dict[str, Any], words: list[str]) -> None:
    found = plan(project(**changes))
    assert (found["verdict"], found["changes"], found["packages"], found["fence"]) == ("left_alone", [], None, [])
    assert [word for word in words if word not in found["help"][0]] == []


def test_the_user_says_whose_it_is() -> None:
    both = project(locks={"uv.lock": lock(torch="2.10.0"), "poetry.lock": lock()})
    assert plan(both, manager="uv")["manager"] == "uv"


MIXED = {"12": ["nvidia-cublas-cu12", "nvidia-nccl-cu12"], "13": ["nvidia-cublas"]}


@pytest.mark.parametrize(
    ("there", "verdict", "requirements_", "removed"),
    [
        pytest.param(environment("2.10.0+cu126", "12.6"), "ok", None, None, id="right"),
        pytest.param(environment("2.10.0", "12.6"), "ok", None, None, id="right-without-a-label"),
        pytest.param(environment("2.10.0", "12.8"), "swapped", ["torch==2.10.0+cu126"], [], id="another-cuda"),
        pytest.param(
            environment("2.10.0+cu130", "13.0"),
            "swapped",
            ["torch==2.10.0+cu126"],
            ["nvidia-cublas"],
            id="another-major",
        ),
        pytest.param(environment("2.10.0+cpu", None), "swapped", ["torch==2.10.0+cu126"], [], id="for-the-cpu"),
        pytest.param(environment(None), "missing", ["torch==2.11.0+cu126"], [], id="not-installed"),
        pytest.param(
            environment("2.10.0+cu126", "12.6", majors=MIXED),
            "mixed",
            ["torch==2.10.0+cu126"],
            ["nvidia-cublas"],
            id="mixed",
        ),
        pytest.param(
            environment("2.10.0+cu126", "12.6", majors=MIXED, needed_by={"nvidia-cublas": ["cupy"]}),
            "mixed",
            ["torch==2.10.0+cu126"],
            [],
            id="mixed-and-needed",
        ),
        pytest.param(
            environment("2.10.0+cu126", "12.6", lacks=["nvidia-nccl-cu12==2.27.5"]),
            "damaged",
            ["torch==2.10.0+cu126", "nvidia-nccl-cu12==2.27.5"],
            [],
            id="a-library-is-gone",
        ),
    ],
)
def test_verdict(
    there: dict[str, Any], verdict: str, requirements_: list[str] | None, removed: list[str] | None
) -> None:
    found = plan(
        project(environment=there, texts={"pyproject.toml": '[project]\ndependencies = ["torch<2.12"]\n'}),
        pytorch=None if there["torch"] else "2.11.0",
    )
    packages = found["packages"] or {"requirements": None, "remove": None}
    assert (found["verdict"], packages["requirements"], packages["remove"]) == (verdict, requirements_, removed)


def test_what_is_damaged_is_brought_anew() -> None:
    there = environment("2.10.0+cu126", "12.6", broken=["nvidia-nccl-cu12", "nvidia-cublas"], majors=MIXED)
    packages = plan(project(environment=there))["packages"]
    assert (packages["reinstall"], packages["remove"]) == (["nvidia-nccl-cu12"], ["nvidia-cublas"])


def test_a_library_that_others_need_is_told() -> None:
    there = environment("2.10.0+cu126", "12.6", majors=MIXED, needed_by={"nvidia-cublas": ["cupy"]})
    assert "nvidia-cublas stays, for cupy needs it" in " ".join(plan(project(environment=there))["notes"])


@pytest.mark.parametrize(
    ("changes", "wished", "local"),
    [
        pytest.param({}, {}, "2.10.0+cu126", id="the-installed-release-stays"),
        pytest.param({"locks": {"uv.lock": lock(torch="2.9.1")}}, {}, "2.9.1+cu126", id="the-locked-one-first"),
        pytest.param({}, {"cuda": "13.0"}, "2.10.0+cu130", id="another-cuda"),
        pytest.param({}, {"pytorch": "2.9.1"}, "2.9.1+cu126", id="another-release"),
        pytest.param(
            {"environment": environment("2.7.1", "12.6"), "texts": {"pyproject.toml": UV.replace(">=2.9,", "")}},
            {"cuda": "13.0"},
            "2.10.0+cu130",
            id="the-newest-that-the-project-allows",
        ),
        pytest.param(
            {"environment": environment("2.7.1", "12.6"), "texts": {"pyproject.toml": POETRY.replace("^2.9", "~2.7")}},
            {"cuda": "13.0"},
            "2.7.1+cu128",
            id="the-project-allows-none",
        ),
    ],
)
def test_release(changes: dict[str, Any], wished: dict[str, str], local: str) -> None:
    assert plan(project(**changes), **wished)["wanted"]["local"] == local


def test_a_cuda_that_cannot_be_had_is_told() -> None:
    there = environment("2.7.1", "12.6")
    found = plan(project(environment=there, texts={"pyproject.toml": POETRY.replace("^2.9", "~2.7")}), cuda="13.0")
    assert "CUDA 13.0 was asked for, PyTorch for CUDA 12.8 is what can be had" in found["notes"][0]
    assert "the project allows torch >=2.7,<2.8 only" in found["notes"][0]


def test_an_old_driver_is_honoured() -> None:
    host = {
        **HOST,
        "driver": {**HOST["driver"], "version": "535.183.01", "branch": 535, "cuda": "12.2"},
        "installed": {},
    }
    found = plan(project(), host, {"cuda": "13.0", "on_old_driver": ["fallback"]})
    assert found["wanted"]["cuda"].startswith("12.")


def test_no_gpu_is_the_cpu() -> None:
    host = {**HOST, "driver": {"status": "missing"}, "devices": []}
    assert plan(project(), host)["wanted"]["local"] == "2.10.0+cpu"


def test_companions_keep_their_release() -> None:
    there = environment("2.10.0", "12.8", packages={"torchvision": "0.25.0"})
    found = plan(project(environment=there))
    assert found["wanted"]["packages"] == {"torch": "2.10.0+cu126", "torchvision": "0.25.0+cu126"}
    assert "torchvision 0.25.0 is there; 0.25.0+cu126 is wanted" in found["why"]


def test_pypis_own_build_is_asked_for_by_the_name_it_has_there() -> None:
    """It calls itself 2.9.1+cu128, and its distribution is 2.9.1."""
    there = environment("2.9.1+cu128", "12.8", packages={"torchvision": "0.24.1"})
    found = plan(project(environment=there), cuda="12.8")
    assert (found["verdict"], found["packages"]) == ("ok", None)
    constraints = next(row["content"] for row in found["fence"] if row["what"] == "podsmith-constraints.txt")
    assert "torch==2.9.1\ntorchvision==0.24.1\n" in constraints


def test_the_hosts_own_wheels_are_no_index() -> None:
    offered = {
        "name": "torch",
        "version": "2.10.0+cu126",
        "path": "/w",
        "python_tag": "cp311",
        "arch": "x86_64",
        "cuda": "12.6",
    }
    host = {**HOST, "sources": {"wheels": [offered]}}
    found = plan(project(locks={"uv.lock": lock(torch="2.10.0")}), host, edit=True)
    assert (found["wanted"]["url"], found["edit"]) == (None, None)
    assert "no index that uv.lock could name; run this playbook after uv sync" in found["notes"][0]


def test_a_companion_of_another_release_is_replaced() -> None:
    there = environment("2.10.0+cu126", "12.6", packages={"torchvision": "0.24.1+cu126"})
    found = plan(project(environment=there))
    assert found["wanted"]["packages"]["torchvision"] == "0.25.0+cu126"
    assert found["verdict"] == "swapped"


def test_the_edit_is_shown_and_made_on_request_alone() -> None:
    locked = project(locks={"uv.lock": lock(torch="2.10.0")})
    shown = plan(locked)
    assert '+torch = {index = "pytorch-cu126"}' in shown["edit"]["diff"]
    assert {change["action"] for change in shown["changes"]} == {"replace", "fence"}
    assert "-e project_environment_edit=true" in shown["help"][0]
    made = plan(locked, edit=True)
    assert [change["what"] for change in made["changes"]][:2] == ["pyproject.toml", "uv.lock"]
    assert made["edit"]["command"] == ["/usr/bin/uv", "lock"]


@pytest.mark.parametrize(
    ("changes", "command", "held", "because"),
    [
        pytest.param(
            {"locks": {"uv.lock": lock(torch="2.10.0")}},
            "uv sync",
            False,
            "uv.lock pins torch 2.10.0 (CUDA 12.8)",
            id="open",
        ),
        pytest.param(
            {"locks": {"uv.lock": lock(torch="2.10.0+cu126")}}, "uv sync", True, "pins torch 2.10.0+cu126", id="held"
        ),
        pytest.param({"locks": {"uv.lock": lock()}}, "uv sync", False, "uv sync removes it", id="kept-out-uv"),
        pytest.param(
            {"locks": {"poetry.lock": lock()}, "texts": {"pyproject.toml": POETRY}},
            "poetry install",
            True,
            "leaves it",
            id="kept-out-poetry",
        ),
        pytest.param(
            {"requirements": {"requirements.txt": requirements("pip-compile", torch="2.11.0")}},
            "pip-sync",
            False,
            "requirements.txt pins torch 2.11.0 (CUDA 13.0)",
            id="compiled",
        ),
        pytest.param(
            {"requirements": {"requirements.txt": requirements(hashes=True, torch="2.10.0")}},
            "pip install -r requirements.txt",
            True,
            "checksum: pip refuses it",
            id="hashes",
        ),
    ],
)
def test_held(changes: dict[str, Any], command: str, held: bool, because: str) -> None:
    row = next(row for row in plan(project(**changes))["held"] if row["command"] == command)
    assert row["held"] is held
    assert because in row["because"]


def test_a_lock_for_several_systems_is_held_by_the_one_for_this() -> None:
    several = lock(torch="2.10.0")
    several["packages"]["torch"]["versions"] = ["2.10.0", "2.10.0+cu126"]
    assert plan(project(locks={"uv.lock": several}))["edit"] is None


def test_compiled_requirements_are_compiled_anew_with_the_constraints() -> None:
    edit = plan(project(requirements={"requirements.txt": requirements("pip-compile", torch="2.11.0")}))["edit"]
    assert edit["command"] == ["/srv/app/.venv/bin/pip-compile", "-q", "requirements.in"]
    assert edit["variables"]["PIP_CONSTRAINT"] == "/srv/app/.venv/podsmith-constraints.txt"
    edit = plan(project(requirements={"requirements.txt": requirements("uv", torch="2.11.0")}))["edit"]
    assert edit["command"] == ["/usr/bin/uv", "pip", "compile", "-q", "requirements.in"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param(
            {"tools": {"uv": None}}, ["uv is on nobody's path", "uv.lock is locked anew by it alone"], id="no-uv"
        ),
        pytest.param(
            {"texts": {"pyproject.toml": UV, "uv.toml": ""}}, ["uv.toml hides the indexes", "by hand"], id="uv-toml"
        ),
        pytest.param(
            {"texts": {"pyproject.toml": UV + '[tool.uv.sources]\ntorch = {path = "x.whl"}\n'}},
            ["left as it is"],
            id="another-source",
        ),
    ],
)
def test_an_edit_that_is_not_made_is_told(changes: dict[str, Any], words: list[str]) -> None:
    found = plan(project(locks={"uv.lock": lock(torch="2.10.0")}, **changes), edit=True)
    assert found["edit"] is None
    assert [word for word in words if word not in " ".join(found["notes"])] == []


def test_absent_leaves_pytorch() -> None:
    there = environment(
        fence={"podsmith-constraints.txt": planning.fencing.HEAD, "pip.conf": "[global]\n", "bin/activate": None}
    )
    files = {"pyproject.toml": {"original": "/copy/pyproject.toml", "edited": "0", "untouched": True}}
    found = plan(project(environment=there, state={"folder": "/x", "files": files}), state="absent")
    assert [(change["action"], change["what"]) for change in found["changes"]] == [
        ("remove", "podsmith-constraints.txt"),
        ("restore", "pyproject.toml"),
    ]
    assert (found["packages"], found["verdict"]) == (None, "unfenced")


def test_absent_takes_the_index_out_of_what_others_have_changed_since() -> None:
    state = {"folder": "/x", "files": {"pyproject.toml": {"original": None, "untouched": False}}}
    text = planning.editing.edit(UV, "uv", "cu126", "https://x/whl/cu126", ["torch"])
    changed = project(locks={"uv.lock": lock(torch="2.10.0+cu126")}, texts={"pyproject.toml": text}, state=state)
    found = plan(changed, state="absent")
    assert [(change["action"], change["what"]) for change in found["changes"]] == [
        ("edit", "pyproject.toml"),
        ("lock", "uv.lock"),
    ]
    assert found["edit"]["files"][0]["content"] == UV
    by_hand = plan({**changed, "texts": {"pyproject.toml": UV}}, state="absent")
    assert "changed by others since" in by_hand["notes"][0]
    assert "below /x" in by_hand["notes"][0]


@pytest.mark.parametrize(
    ("wished", "words"),
    [
        (
            {"path": None},
            ["project_environment_path is None", "folder of a project", "-e project_environment_path=/srv/app"],
        ),
        ({"path": "app"}, ['project_environment_path is "app"']),
        ({"cuda": "13"}, ['project_environment_cuda is "13"', "a version is wanted", "13.0"]),
        ({"cuda": "13.7"}, ["project_environment_cuda names", "13.7"]),
        ({"pytorch": "2.9; rm -rf /"}, ["project_environment_pytorch is", "a version is wanted"]),
        ({"state": "there"}, ['project_environment_state is "there"', "present, checked, absent"]),
        ({"manager": "pdm"}, ['project_environment_manager is "pdm"', "poetry, uv, pip-tools, pip"]),
    ],
)
def test_a_wish_that_is_refused(wished: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(RequestError) as caught:
        planning.parse_wish({"path": "/srv/app", **wished}, {}, KNOWN)
    assert [word for word in words if word not in str(caught.value)] == []


def test_an_edit_without_tomlkit_is_refused_before_any_host_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning.editing, "tomlkit", None)
    with pytest.raises(RequestError, match=r"project_environment_edit is true.*no tomlkit.*pip install tomlkit"):
        planning.parse_wish({"path": "/srv/app", "edit": True}, {}, KNOWN)
    assert "no tomlkit" in plan(project(locks={"uv.lock": lock(torch="2.10.0")}))["notes"][0]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("^2.5", ">=2.5,<3"),
        ("~2.5", ">=2.5,<2.6"),
        ("~2", ">=2,<3"),
        ("^2.5.1", ">=2.5.1,<3"),
        ("2.5.1", "==2.5.1"),
        (">=2.5,<2.9", ">=2.5,<2.9"),
        ("~=2.5", "~=2.5"),
        ("*", ""),
    ],
)
def test_specifier(text: str, plain: str) -> None:
    found = planning.find_specifier(project(texts={"pyproject.toml": POETRY.replace("^2.9", text)}))
    assert found == plain
