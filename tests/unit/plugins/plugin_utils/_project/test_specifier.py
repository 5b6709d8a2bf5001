"""Which releases of torch a project allows."""

from __future__ import annotations

import pytest
from projects import POETRY, case, environment, project, requirements

from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.document import named_packages
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.specifier import find_specifier


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
    found = find_specifier(case(project(texts={"pyproject.toml": POETRY.replace("^2.9", text)})))
    assert found == plain


@pytest.mark.parametrize(
    ("requirement", "plain"),
    [
        ("torch", ""),
        ("torch<2.11,>=2.9", ">=2.9,<2.11"),
        ("torch (>=2.9,!=2.10.*)", ">=2.9,!=2.10.*"),
        ("Torch[opt-einsum] ~= 2.9", "~=2.9"),
        ("torch @ https://example.org/torch.whl", ""),
        ("torch>=2.9; python_version < '3.13'", ">=2.9"),
        ("torch>=2.9; python_version >= '3.13'", ""),
        ("torch==2.8.0; sys_platform == 'darwin'", ""),
        ("torch==2.8.0; platform_machine == 'aarch64'", ""),
        ("torch==2.8.0; platform_machine == 'x86_64' and platform_system == 'Linux'", "==2.8.0"),
        ("torchvision==0.24.0", ""),
    ],
)
def test_a_standard_requirement(requirement: str, plain: str) -> None:
    text = f'[project]\ndependencies = ["{requirement}"]\n'
    assert find_specifier(case(project(texts={"pyproject.toml": text}))) == plain


def test_a_requirement_for_another_system_does_not_count() -> None:
    """By hand the first of the two was used, whatever its marker said: ==2.2.2."""
    lines = "torch==2.2.2 ; sys_platform == 'darwin'\ntorch>=2.9 ; sys_platform == 'linux'\n"
    found = project(texts={}, requirements={"requirements.in": requirements(text=lines)})
    assert find_specifier(case(found)) == ">=2.9"


def test_a_free_threaded_python_is_compared_by_its_number() -> None:
    text = "[project]\ndependencies = [\"torch>=2.9; python_version >= '3.13'\"]\n"
    there = environment(python_version="3.13t")
    assert find_specifier(case(project(environment=there, texts={"pyproject.toml": text}))) == ">=2.9"


def test_lines_of_a_requirements_file() -> None:
    """By hand the options and the comment belonged to the specifier, and a URL was a package named https."""
    lines = (
        "# torch==1.0\n-r base.txt\n--extra-index-url https://x\nnumpy\n\n"
        "torch==2.9.1 --hash=sha256:00  # the newest that works\n    --hash=sha256:01\n"
        "https://example.org/six.whl\n./local.whl\ntorchvision>=0.24 \\\n"
    )
    found = project(texts={}, requirements={"requirements.txt": requirements(text=lines)})
    assert find_specifier(case(found)) == "==2.9.1"
    assert named_packages(found, {}) == {"numpy", "torch", "torchvision"}
