"""What docs/troubleshooting.md says of CUDA's errors is what the catalogue says, word for word."""

from __future__ import annotations

import importlib.util
import pathlib
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue

ROOT = pathlib.Path(__file__).resolve().parents[3]
spec = importlib.util.spec_from_file_location("error_page", ROOT / "scripts" / "error_page.py")
error_page = importlib.util.module_from_spec(spec)
spec.loader.exec_module(error_page)

ROWS: dict[str, Any] = {
    "7": {
        "name": "CUDA_ERROR_X",
        "also": ["cudaErrorX", "cudaErrorY"],
        "words": ["no | x"],
        "cause": "It is so.",
        "remedy": "Look.",
        "sure": "A",
        "source": "https://a.org/b",
        "causes": [
            {
                "words": ["Old x"],
                "cause": "Old.",
                "tell": "Then it is old.",
                "remedy": "Run | b.",
                "sure": "B",
                "source": "https://github.com/o/r/pull/1, 2; here",
            },
            {"cause": "New.", "tell": "Then x -q is.", "remedy": "Go.", "sure": "C", "source": "https://c.org/"},
        ],
    },
    "8": {"name": "cudaErrorZ", "cause": "Z.", "remedy": "Do.", "sure": "A", "source": "https://a.org/b"},
}
LINKS = "[r#1](https://github.com/o/r/pull/1), [r#2](https://github.com/o/r/pull/2)"
PAGE = f"""| you see | read |
|---|---|
| `no \\| x`, `Old x` | [7](#7-cuda_error_x) |
|  | [8](#8-cudaerrorz) |

### 7: CUDA_ERROR_X

Also `cudaErrorX`, `cudaErrorY`.

It is so.

| possible cause, the most frequent first | how it shows | what to do | sure |
|---|---|---|---|
| Old. | It is old. It prints `Old x`. | Run \\| b. | B: {LINKS}, here |
| New. | x -q is. | Go. | C: [c.org](https://c.org/) |

If it is none of these: Look. (Of the code itself: [a.org](https://a.org/b).)

### 8: cudaErrorZ

Z.

Do. (A: [a.org](https://a.org/b).)"""


def test_the_page_is_the_catalogues(known: Catalogue) -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    assert text == error_page.rendered(text, known["drivers"]["errors"]), "run `make readmes`"


def test_a_row_is_rendered() -> None:
    assert error_page.render(ROWS) == PAGE


@pytest.mark.parametrize(
    ("tell", "shown"),
    [
        ("Then nvidia-smi -L lists no MIG device.", "nvidia-smi -L lists no MIG device."),
        ("Then ldconfig -p does not list it.", "ldconfig -p does not list it."),
        ("Then cuInit succeeds.", "cuInit succeeds."),
        ("Then /dev/nvidia-uvm is missing.", "/dev/nvidia-uvm is missing."),
        ("Then CUDA works.", "CUDA works."),
        ("Then the kernel log has Xid lines.", "The kernel log has Xid lines."),
        ("Then it began after a suspend.", "It began after a suspend."),
    ],
)
def test_a_command_is_shown_as_it_is_typed(tell: str, shown: str) -> None:
    assert error_page.show(tell) == shown


def test_no_command_is_capitalised_and_no_sentence_is_left_without_a_capital(known: Catalogue) -> None:
    """A new word that begins a sentence goes into WORDS, a new command in here."""
    commands = {"cuInit", "dpkg", "ldconfig", "ls", "nvidia-cuda-mps-control", "nvidia-smi", "systemctl"}
    causes = [cause for row in known["drivers"]["errors"].values() for cause in row.get("causes", ())]
    first = {error_page.show(cause["tell"]).partition(" ")[0] for cause in causes}
    assert {word for word in first - commands if word[0].islower() and not word.startswith("torch.")} == set()
    capitals = {command[0].upper() + command[1:] for command in commands}
    assert first & capitals == set()


def test_the_words_around_it_stay() -> None:
    page = f"before\n{error_page.BEGIN}\nold\n{error_page.END}\nafter\n"
    made = error_page.rendered(page, ROWS)
    assert made == f"before\n{error_page.BEGIN}\n\n{PAGE}\n\n{error_page.END}\nafter\n"
    assert error_page.rendered(made, ROWS) == made


@pytest.mark.parametrize("page", ["nothing", error_page.BEGIN, error_page.END])
def test_a_page_without_the_markers_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="is missing; add both where the errors belong"):
        error_page.rendered(page, ROWS)


def test_check_writes_nothing(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{error_page.BEGIN}\n{error_page.END}\n", encoding="utf-8")
    monkeypatch.setattr(error_page, "PAGE", page)
    before = page.read_text(encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["error_page.py", "--check"])
    assert (error_page.main(), page.read_text(encoding="utf-8")) == (1, before)
    assert "page.md differs from drivers.yml; run `make readmes`." in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["error_page.py"])
    assert (error_page.main(), page.read_text(encoding="utf-8") != before) == (0, True)
    monkeypatch.setattr("sys.argv", ["error_page.py", "--check"])
    assert error_page.main() == 0
