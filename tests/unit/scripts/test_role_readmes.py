from __future__ import annotations

import importlib.util
import pathlib

import pytest

SCRIPT = pathlib.Path(__file__).resolve().parents[3] / "scripts" / "role_readmes.py"
spec = importlib.util.spec_from_file_location("role_readmes", SCRIPT)
role_readmes = importlib.util.module_from_spec(spec)
spec.loader.exec_module(role_readmes)

README = "# role\n\n<!-- BEGIN_ANSIBLE_DOCS -->\nold\n<!-- END_ANSIBLE_DOCS -->\n\nMore.\n"
OPTIONS = {
    "role_request": {
        "description": "A wish.",
        "type": "dict",
        "options": {"cuda": {"description": "B", "default": "newest"}},
    },
    "role_path": {"description": ["Where.", "Absolute."], "type": "path", "required": True},
    "role_provider": {"description": "From where.", "choices": ["apt", "pypi"], "default": "apt"},
    "role_enabled": {"description": "Whether.", "type": "bool"},
    "role_list": {"description": "Names.", "type": "list", "elements": "str", "default": []},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("C(sh) and V(1.5) of O(role_path)", "`sh` and `1.5` of `role_path`", id="code"),
        pytest.param("V([fail]) or V(f(x\\))", "`[fail]` or `f(x)`", id="brackets-inside"),
        pytest.param("L(the guide, https://example.org/a)", "[the guide](https://example.org/a)", id="link"),
        pytest.param(
            "Blackwell (sm_120), FAB(x), a|b", "Blackwell (sm_120), FAB(x), a\\|b", id="what-is-no-markup-stays"
        ),
        pytest.param(["One.", "Two\n  lines."], "One. Two lines.", id="paragraphs-become-one-line"),
        pytest.param(
            "RV(gpu_verify_results) from M(podsmith.gpu.gpu_verify)",
            "`gpu_verify_results` from `podsmith.gpu.gpu_verify`",
            id="names",
        ),
    ],
)
def test_markdown(text: str | list[str], expected: str) -> None:
    assert role_readmes.markdown(text) == expected


def test_rows_follow_the_argument_spec() -> None:
    assert list(role_readmes.rows(OPTIONS, {"role_enabled": "{{ plan['enabled'] }}"})) == [
        "| `role_request` | dict |  | A wish. |",
        "| `role_request.cuda` | str | `newest` | B |",
        "| `role_path` | path | required | Where. Absolute. |",
        "| `role_provider` | str | `apt` | From where. One of `apt`, `pypi`. |",
        "| `role_enabled` | bool | `{{ plan['enabled'] }}` | Whether. |",
        "| `role_list` | list of str | `[]` | Names. |",
    ]


def test_only_the_table_is_replaced() -> None:
    text = role_readmes.rendered(README, {"main": {"options": OPTIONS}}, {})
    assert text.startswith("# role\n\n<!-- BEGIN_ANSIBLE_DOCS -->\n\n| Variable |")
    assert text.endswith("\n\n<!-- END_ANSIBLE_DOCS -->\n\nMore.\n")
    assert "old" not in text
    assert role_readmes.rendered(text, {"main": {"options": OPTIONS}}, {}) == text


def test_further_entry_points_have_their_own_table() -> None:
    text = role_readmes.table({"main": {}, "remove": {"short_description": "Take it out", "options": OPTIONS}}, {})
    assert text.startswith("No variables.\n\n### Entry point `remove`\n\nTake it out.\n\n| Variable |")


def test_a_readme_without_the_markers_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'<!-- BEGIN_ANSIBLE_DOCS -->' or .* is missing; add both"):
        role_readmes.rendered("# role\n", {"main": {}}, {})
