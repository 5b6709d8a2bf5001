"""Only what must change in a pyproject.toml changes; the same edit again changes nothing."""

from __future__ import annotations

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project import edit as editing
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.words import tell

URL = "https://download.pytorch.org/whl/cu126"
UV = """\
# the app
[project]
name = "app"   # its name
dependencies = [
    "torch>=2.9",  # not older
    'numpy',
]

[tool.black]
line-length = 99
"""
UV_TAIL = """
[tool.uv.sources]
torch = {index = "pytorch-cu126"}

[[tool.uv.index]]
name = "pytorch-cu126"
url = "https://download.pytorch.org/whl/cu126"
explicit = true
"""
POETRY = """\
[tool.poetry]
name = "app"

[tool.poetry.dependencies]
python = ">=3.11"
torch = "^2.9"   # not older
numpy = "<3"

[build-system]
requires = ["poetry-core"]
"""
STANDARD = """\
[project]
name = "app"
dependencies = ["torchvision (>=0.24)"]

[dependency-groups]
train = ["torchaudio"]

[tool.poetry]
package-mode = false
"""


def diff(before: str, after: str) -> list[str]:
    lines = editing.unified("pyproject.toml", before, after)
    return [line for line in lines if line[:1] in "+-" and line[1:].strip()]


def edited(text: str, manager: str, index: str, url: str, packages: list[str]) -> str:
    found = editing.edit(text, manager, index, url, packages)
    assert isinstance(found, str), found
    return found


def refused(text: str, manager: str) -> Refusal:
    found = editing.edit(text, manager, "cu126", URL, ["torch"])
    assert isinstance(found, Refusal), found
    return found


def test_uv_gets_an_explicit_index() -> None:
    assert edited(UV, "uv", "cu126", URL, ["torch"]) == UV + UV_TAIL


def test_a_package_that_others_bring_is_named() -> None:
    after = edited(UV, "uv", "cu126", URL, ["torch", "torchvision"])
    assert '+    "torchvision",' in diff(UV, after)
    assert '+torchvision = {index = "pytorch-cu126"}' in diff(UV, after)


def test_the_next_cuda_takes_the_place_of_the_last() -> None:
    before = edited(UV, "uv", "cu126", URL, ["torch"])
    after = edited(before, "uv", "cu130", URL.replace("cu126", "cu130"), ["torch"])
    assert after == before.replace("cu126", "cu130")
    assert edited(after, "uv", "cu126", URL, ["torch"]) == before


def test_an_index_of_the_users_own_is_used() -> None:
    own = UV + UV_TAIL.replace("pytorch-cu126", "pytorch").replace("cu126", "cu124")
    after = edited(own, "uv", "cu126", URL, ["torch"])
    assert after.count("[[tool.uv.index]]") == 1
    assert diff(own, after) == [
        '-torch = {index = "pytorch"}',
        '+torch = {index = "pytorch-cu126"}',
        '-name = "pytorch"',
        '-url = "https://download.pytorch.org/whl/cu124"',
        '+name = "pytorch-cu126"',
        '+url = "https://download.pytorch.org/whl/cu126"',
    ]


def test_poetry_keeps_the_version_and_the_comment() -> None:
    after = edited(POETRY, "poetry", "cu126", URL, ["torch"])
    assert diff(POETRY, after) == [
        '-torch = "^2.9"   # not older',
        '+torch = {version = "^2.9", source = "pytorch-cu126"}   # not older',
        "+[[tool.poetry.source]]",
        '+name = "pytorch-cu126"',
        '+url = "https://download.pytorch.org/whl/cu126"',
        '+priority = "explicit"',
    ]
    assert edited(after, "poetry", "cu126", URL, ["torch"]) == after
    following = edited(after, "poetry", "cu130", URL.replace("cu126", "cu130"), ["torch"])
    assert following == after.replace("cu126", "cu130")


def test_poetry_with_the_standard_tables() -> None:
    after = edited(STANDARD, "poetry", "cu126", URL, ["torch", "torchvision", "torchaudio"])
    lines = diff(STANDARD, after)
    assert '+dependencies = ["torchvision (>=0.24)", "torch"]' in lines
    assert '+torch = {source = "pytorch-cu126"}' in lines
    group = after.partition("[tool.poetry.group.train.dependencies]")[2]
    assert group.strip().startswith('torchaudio = {source = "pytorch-cu126"}')
    assert edited(after, "poetry", "cu126", URL, ["torch", "torchvision", "torchaudio"]) == after


@pytest.mark.parametrize(
    ("text", "manager", "words"),
    [
        pytest.param("[project\n", "uv", ["is not valid TOML", "Correct it"], id="not-toml"),
        pytest.param(
            '[project]\ndependencies = ["torch"]\n[tool.uv.sources]\ntorch = {git = "https://x"}\n',
            "uv",
            ["gives torch the source", "git", "expected one index", "not edited", URL],
            id="uv-from-git",
        ),
        pytest.param(
            '[project]\ndependencies = ["torch"]\n[tool.uv.sources]\ntorch = [{index = "a", marker = "x"}]\n',
            "uv",
            ["expected one index", "by hand"],
            id="uv-by-system",
        ),
        pytest.param(
            '[tool.poetry.dependencies]\ntorch = {url = "https://x/torch.whl"}\n',
            "poetry",
            ["installs torch from", "https://x/torch.whl", "expected an index", "by hand"],
            id="poetry-url",
        ),
        pytest.param(
            '[tool.poetry.dependencies]\ntorch = [{version = "2.9"}, {version = "2.8"}]\n',
            "poetry",
            ["several versions or sources; expected one", "not edited"],
            id="poetry-several",
        ),
        pytest.param(
            '[project]\nname = "app"\ndynamic = ["dependencies"]\n',
            "uv",
            ["no list project.dependencies", "torch", "by hand"],
            id="dynamic",
        ),
    ],
)
def test_left_as_it_is(text: str, manager: str, words: list[str]) -> None:
    told = tell(refused(text, manager))
    assert [word for word in words if word not in told] == []


def test_a_source_is_quoted_on_one_line() -> None:
    """What this file had of its own to quote a value kept the line break."""
    text = '[project]\ndependencies = ["torch"]\n[tool.uv.sources]\ntorch = "a\\nb"\n'
    assert refused(text, "uv").because == 'pyproject.toml gives torch the source "a\\nb"; expected one index'


@pytest.mark.parametrize(("manager", "text"), [("uv", UV), ("poetry", POETRY)])
def test_the_index_goes_again(manager: str, text: str) -> None:
    after = edited(text, manager, "cu126", URL, ["torch"])
    more = after.replace("numpy", "numpy-quaternion")
    assert editing.unedit(more, manager) == text.replace("numpy", "numpy-quaternion")


def test_without_tomlkit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(editing, "tomlkit", None)
    assert refused(UV, "uv").because.startswith("Ansible's Python has no tomlkit")
    assert "python -m pip install tomlkit" in refused(UV, "uv").remedy
    assert editing.unedit(UV, "uv") == refused(UV, "uv")
